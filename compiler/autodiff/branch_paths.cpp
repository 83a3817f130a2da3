#include "compiler/autodiff/branch_paths.h"

#include <kroton/ops.h>

#include "compiler/ir/op.h"

namespace kroton {

BranchPaths::BranchPaths(const std::vector<Tensor>& order, std::span<const Tensor> roots) {
  const auto is_branch = [](const Tensor& t) { return t.node().op.kind == OpKind::branch; };
  if (std::none_of(order.begin(), order.end(), is_branch)) return;
  std::unordered_map<const Node*, std::vector<Path>> needs;
  for (const Tensor& root : roots) needs[&root.node()] = {Path()};
  const auto add = [&](const Node& node, Path path) {
    std::vector<Path>& paths = needs[&node];
    if (paths.size() == 1 && paths[0].empty()) return;
    if (std::find(paths.begin(), paths.end(), path) != paths.end()) return;
    if (path.empty()) paths.clear();
    paths.push_back(std::move(path));
  };
  for (auto tensor = order.rbegin(); tensor != order.rend(); ++tensor) {
    const Node& node = tensor->node();
    const std::vector<Path> paths = reduced(needs[&node]);
    needs.erase(&node);
    if (paths.empty()) continue;
    const LineScope scope(node.line, "");
    Place place{common_prefix(paths), 0};
    place.shared = place.path.size();
    if (paths.size() > 1) {
      Tensor needed;
      for (const Path& path : paths) {
        const Tensor one = holds(path, place.shared);
        needed = needed ? logical_or(needed, one) : one;
      }
      conditions_[&needed.node()] = needed;
      place.path = extended(place.path, {&needed.node(), true});
    }
    if (!place.path.empty()) places_[&node] = std::move(place);
    if (is_branch(*tensor)) {
      conditions_[&node.inputs[0].node()] = node.inputs[0];
      add(node.inputs[0].node(), of(node));
      add(node.inputs[1].node(), of_value(node, true));
      add(node.inputs[2].node(), of_value(node, false));
    } else {
      for (const Tensor& input : node.inputs) add(input.node(), of(node));
    }
  }
}

const BranchPaths::Path& BranchPaths::of(const Node& node) const {
  static const Path& always = *new Path;  // never destroyed
  const auto found = places_.find(&node);
  return found == places_.end() ? always : found->second.path;
}

BranchPaths::Path BranchPaths::of_value(const Node& ifelse, bool first) const {
  return extended(of(ifelse), {&ifelse.inputs[0].node(), first});
}

Tensor BranchPaths::sum(const Node& node, const std::vector<BranchCotangent>& arrived) const {
  const auto found = places_.find(&node);
  return sum(arrived, found == places_.end() ? 0 : found->second.shared);
}

// All paths agree up to `depth`; the steps behind it become ifelse.
Tensor BranchPaths::sum(const std::vector<BranchCotangent>& arrived, std::size_t depth) const {
  struct Sides {
    const Node* condition;
    std::vector<BranchCotangent> list[2];
  };
  Tensor total;
  const auto add_to_total = [&](const Tensor& value) { total = total ? add(total, value) : value; };
  std::vector<Sides> branches;
  for (const BranchCotangent& one : arrived) {
    if (one.path.size() <= depth) {
      add_to_total(one.value);
      continue;
    }
    const auto& step = one.path[depth];
    auto sides = std::find_if(branches.begin(), branches.end(),
                              [&](const Sides& s) { return s.condition == step.condition; });
    if (sides == branches.end()) sides = branches.insert(sides, {step.condition, {}});
    sides->list[step.holds ? 0 : 1].push_back(one);
  }
  for (const Sides& sides : branches) {
    Tensor values[2];
    for (int side : {0, 1}) {
      if (!sides.list[side].empty()) values[side] = sum(sides.list[side], depth + 1);
    }
    for (int side : {0, 1}) {
      if (!values[side]) values[side] = zeros_like(values[1 - side]);
    }
    add_to_total(ifelse(conditions_.at(sides.condition), values[0], values[1]));
  }
  return total;
}

// Whether the path holds from its step `first` on, as an expression: a condition behind another is
// only evaluated under it.
Tensor BranchPaths::holds(const Path& path, std::size_t first) const {
  Tensor result;
  for (std::size_t k = path.size(); k-- > first;) {
    const Tensor& condition = conditions_.at(path[k].condition);
    if (!result) {
      result = path[k].holds ? condition : logical_not(condition);
    } else {
      result = path[k].holds ? ifelse(condition, result, false) : ifelse(condition, false, result);
    }
  }
  return result;
}

}  // namespace kroton
