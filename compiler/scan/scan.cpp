#include "compiler/scan/scan.h"

#include <algorithm>
#include <numeric>
#include <unordered_map>
#include <unordered_set>

#include "compiler/autodiff/branch_paths.h"
#include "compiler/autodiff/sweep.h"
#include "compiler/ir/deep_stack.h"
#include "compiler/ir/leaf.h"
#include "compiler/ops/attribute_views.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"
#include "compiler/scan/batch.h"

namespace kroton {
namespace {

using NodeMap = std::unordered_map<const Node*, Tensor>;

// What the value of a node changes with.
enum Varies : unsigned { never = 0, with_rows = 1, with_states = 2 };

// A function of one number costs as much as that of a vector of them.
constexpr int costly_alone = 8;  // work of one element
constexpr int few = 8;           // elements of a step

bool fills_no_vector(const Node& node) {
  const Dim count = element_count(node.type.shape);
  return count.is_constant() && count.constant() < few;
}

bool is_heavy(const Node& node) {
  switch (node.op.kind) {
    case OpKind::leaf:
      return false;
    case OpKind::elementwise:
    case OpKind::pointwise:
      return &node.op == &take_op || &node.op == &pick_op ||
             (node.op.cost >= costly_alone && fills_no_vector(node));
    default:
      return true;
  }
}

Dims stacked_shape(const Dim& count, const Dims& shape) {
  Dims result{count};
  result.insert(result.end(), shape.begin(), shape.end());
  return result;
}

Tensor node_like(const Tensor& original, std::vector<Tensor> operands) {
  const Node& node = original.node();
  const LineScope scope(node.line, "");
  return make_node(node.op, std::move(operands), node.attributes, node.line);
}

class ScanMaker {
 public:
  ScanMaker(ScanDefinition loop, std::span<const ScanResult> wanted)
      : loop_(std::move(loop)), wanted_(wanted.begin(), wanted.end()) {
    // In a sum over the steps their order is free: that in which rows are read forwards.
    for (const ScanRows& row : loop_.rows) sum_backwards_ = sum_backwards_ || row.stride < 0;
  }

  std::vector<Tensor> run() {
    classify();
    simplify();
    if (!loop_.recomputes) take_rows_out();
    find_feedback();
    std::vector<Tensor> results;
    for (const ScanResult& wanted : wanted_) results.push_back(collect(wanted));
    return with_loop(results);
  }

 private:
  // A value that only the loop can give, by the input that stands for it until the loop is made.
  struct Promise {
    Tensor stand_in;
    int state = -1;     // its last value
    Tensor expression;  // or this in every step
    bool backwards = false;
  };

  std::vector<Tensor> roots() const {
    std::vector<Tensor> result;
    for (const ScanState& state : loop_.states) result.push_back(state.next);
    for (const ScanResult& wanted : wanted_) result.push_back(wanted.expression);
    return result;
  }

  unsigned varies(const Tensor& tensor) const { return varies_.at(&tensor.node()); }

  void classify() {
    for (const ScanState& state : loop_.states) varies_[&state.parameter.node()] = with_states;
    for (const ScanRows& row : loop_.rows) varies_[&row.parameter.node()] = with_rows;
    for (const Tensor& tensor : topological_order(roots())) classify(tensor);
  }

  void classify(const Tensor& tensor) {
    unsigned result = never;
    for (const Tensor& input : tensor.node().inputs) result |= varies(input);
    varies_.try_emplace(&tensor.node(), result);
  }

  // Whether a value that no step changes is made inside: a view costs nothing there, and rules of
  // simplification look for literals.
  static bool stays_inside(const Node& node) {
    return node.op.is_view || &node.op == &literal_op ||
           (node.op.kind == OpKind::pointwise && node.inputs.empty());
  }

  // The step in the form that is differentiated, so that the loop computes what its gradient reads.
  void simplify() {
    Cut cut;
    for (const Tensor& tensor : topological_order(roots())) {
      if (varies(tensor) == never && !stays_inside(tensor.node())) cut.add(tensor);
    }
    const std::vector<Tensor> now = cut.undo(simplified(cut.apply(roots())));
    for (const Tensor& tensor : topological_order(now)) classify(tensor);
    std::size_t next = 0;
    for (ScanState& state : loop_.states) state.next = now[next++];
    for (ScanResult& wanted : wanted_) wanted.expression = now[next++];
  }

  // Costly work on rows alone is done for all rows before the loop, which gets its rows instead.
  void take_rows_out() {
    std::unordered_set<const Node*> heavy, seen;
    std::vector<Tensor> candidates;
    const std::vector<Tensor> order = topological_order(roots());
    const BranchPaths paths(order, roots());
    const auto consider = [&](Tensor tensor) {
      while (tensor.node().op.is_view) tensor = tensor.node().inputs[0];
      if (varies(tensor) != with_rows || !heavy.contains(&tensor.node())) return;
      if (!paths.of(tensor.node()).empty()) return;  // some steps do not need it
      if (seen.insert(&tensor.node()).second) candidates.push_back(tensor);
    };
    for (const Tensor& tensor : order) {
      if (varies(tensor) == with_rows) {
        bool is = is_heavy(tensor.node());
        for (const Tensor& input : tensor.node().inputs) is |= heavy.contains(&input.node());
        if (is) heavy.insert(&tensor.node());
      } else if (varies(tensor) & with_states) {
        for (const Tensor& input : tensor.node().inputs) consider(input);
      }
    }
    for (const ScanState& state : loop_.states) consider(state.next);
    if (candidates.empty()) return;
    const auto batched = batch(candidates, all_rows(false), loop_.count);
    NodeMap replacements;
    for (std::size_t k = 0; k < candidates.size(); ++k) {
      if (!batched[k]) continue;
      const LineScope scope(candidates[k].line(), "");
      const Tensor parameter =
          make_input(candidates[k].name(), candidates[k].type(), candidates[k].line());
      varies_[&parameter.node()] = with_rows;
      loop_.rows.push_back({parameter, batched[k]->value, 0, 1});
      replacements.emplace(&candidates[k].node(), parameter);
    }
    if (replacements.empty()) return;
    // Wanted expressions of rows alone keep their form: all of their work is outside anyway.
    std::vector<Tensor> old;
    for (const ScanState& state : loop_.states) old.push_back(state.next);
    for (const ScanResult& wanted : wanted_) {
      if (varies(wanted.expression) & with_states) old.push_back(wanted.expression);
    }
    const std::vector<Tensor> now = substitute(old, [&](const Tensor& t) -> std::optional<Tensor> {
      const auto found = replacements.find(&t.node());
      return found == replacements.end() ? std::nullopt : std::optional(found->second);
    });
    for (const Tensor& tensor : topological_order(now)) classify(tensor);
    std::size_t next = 0;
    for (ScanState& state : loop_.states) state.next = now[next++];
    for (ScanResult& wanted : wanted_) {
      if (varies(wanted.expression) & with_states) wanted.expression = now[next++];
    }
  }

  // All rows by their parameters, in the order of the steps or against it.
  NodeMap all_rows(bool backwards) const {
    NodeMap result;
    const LineScope line(loop_.line);
    const ops::ScanScope loop(loop_.name, loop_.count);
    for (const ScanRows& row : loop_.rows) {
      const Dim first =
          backwards ? row.offset + Dim(row.stride) * (loop_.count - Dim(1)) : row.offset;
      result.emplace(&row.parameter.node(),
                     rows_of(row.all, first, backwards ? -row.stride : row.stride, loop_.count));
    }
    return result;
  }

  // The states that these expressions need, and what computes the next values of those.
  std::vector<bool> needed_states(std::vector<Tensor> pending) const {
    std::vector<bool> needed(loop_.states.size(), false);
    for (bool more = true; more;) {
      more = false;
      std::unordered_set<const Node*> reached;
      for (const Tensor& tensor : topological_order(pending)) reached.insert(&tensor.node());
      for (std::size_t k = 0; k < needed.size(); ++k) {
        if (needed[k] || !reached.contains(&loop_.states[k].parameter.node())) continue;
        needed[k] = more = true;
        pending.push_back(loop_.states[k].next);
      }
    }
    return needed;
  }

  void find_feedback() {
    std::vector<Tensor> expressions, next;
    for (const ScanResult& wanted : wanted_) expressions.push_back(wanted.expression);
    const std::vector<bool> needed = needed_states(expressions);
    for (std::size_t k = 0; k < needed.size(); ++k) {
      if (needed[k]) next.push_back(loop_.states[k].next);
    }
    // A view is taken of the stack of what it views.
    for (const Tensor& tensor : topological_order(next)) {
      if ((varies(tensor) & with_states) && !tensor.node().op.is_view) {
        feedback_.insert(&tensor.node());
      }
    }
    for (const ScanState& state : loop_.states) feedback_.insert(&state.parameter.node());
  }

  Tensor collect(const ScanResult& wanted) {
    const LineScope scope(wanted.expression.line(), "");
    switch (wanted.collect) {
      case Collect::stack:
        return stacked(wanted.expression, false);
      case Collect::stack_backwards:
        return stacked(wanted.expression, true);
      case Collect::sum:
        return summed(wanted.expression);
      case Collect::last:
        break;
    }
    for (std::size_t k = 0; k < loop_.states.size(); ++k) {
      if (same(loop_.states[k].parameter, wanted.expression)) return last(static_cast<int>(k));
    }
    throw InternalError("make_scan: the last value of something that is no state");
  }

  Tensor last(int state) {
    const ScanState& of = loop_.states[static_cast<std::size_t>(state)];
    promises_.push_back(
        {make_input("last", of.initial.type(), of.parameter.line()), state, {}, false});
    return promises_.back().stand_in;
  }

  Tensor promised(const Tensor& expression, bool backwards) {
    for (const Promise& known : promises_) {
      if (known.state < 0 && known.backwards == backwards && same(known.expression, expression)) {
        return known.stand_in;
      }
    }
    const TensorType type{expression.dtype(), stacked_shape(loop_.count, expression.shape())};
    promises_.push_back({make_input("stack", type, expression.line()), -1, expression, backwards});
    return promises_.back().stand_in;
  }

  // The values of states, and of what computes them, that an expression is computed from; whether
  // there is work on the way that is better done for all steps at once.
  struct Cone {
    std::vector<Tensor> boundary;
    bool heavy = false;
  };
  Cone cone_of(const Tensor& expression) const {
    Cone cone;
    std::unordered_set<const Node*> seen{&expression.node()};
    std::vector<Tensor> pending{expression};
    while (!pending.empty()) {
      const Tensor tensor = pending.back();
      pending.pop_back();
      if (varies(tensor) == never) continue;
      if (feedback_.contains(&tensor.node())) {
        cone.boundary.push_back(tensor);
        continue;
      }
      cone.heavy |= is_heavy(tensor.node());
      for (const Tensor& input : tensor.node().inputs) {
        if (seen.insert(&input.node()).second) pending.push_back(input);
      }
    }
    return cone;
  }

  // The expression for all steps from the values at its boundary; empty if an op has no rule.
  Tensor batched(const Tensor& expression, const Cone& cone, bool backwards) {
    NodeMap mapped = all_rows(backwards);
    for (const Tensor& tensor : cone.boundary) {
      mapped.insert_or_assign(&tensor.node(), promised(tensor, backwards));
    }
    const std::optional<Batched> result = batch(expression, mapped, loop_.count);
    return result ? result->value : Tensor();
  }

  static bool outside_pays(const Cone& cone) { return cone.heavy || cone.boundary.size() <= 1; }

  // Values of all steps that others are computed from take the memory that computing again saves.
  bool is_kept_inside(const Tensor& expression) const {
    return loop_.recomputes && (varies(expression) & with_states);
  }

  Tensor stacked(const Tensor& expression, bool backwards) {
    if (varies(expression) == never) {
      return ops::broadcast_axes(expression, stacked_shape(loop_.count, expression.shape()),
                                 ops::axes_from(1, expression.rank()));
    }
    if (!feedback_.contains(&expression.node())) {
      const Cone cone = cone_of(expression);
      if (outside_pays(cone) && !is_kept_inside(expression)) {
        if (Tensor result = batched(expression, cone, backwards)) return result;
      }
    }
    return promised(expression, backwards);
  }

  // The inputs of which the sum over the steps is enough, since the node is linear in them.
  std::vector<std::size_t> linear_inputs(const Tensor& tensor) const {
    const Node& node = tensor.node();
    if (varies(tensor) == never || feedback_.contains(&node)) return {};
    switch (node.op.linear) {
      case Linear::jointly: {
        std::vector<std::size_t> all(node.inputs.size());
        std::iota(all.begin(), all.end(), std::size_t{0});
        return all;
      }
      case Linear::each:
        if (varies(node.inputs[0]) == never) return {1};
        if (varies(node.inputs[1]) == never) return {0};
        return {};
      case Linear::no:
        return {};
    }
    return {};
  }

  // The sum over the steps. Linear steps are done once, on the sums of their inputs.
  Tensor summed(const Tensor& expression) {
    std::vector<Tensor> stack{expression};
    while (!stack.empty()) {
      const Tensor tensor = stack.back();
      const Node& node = tensor.node();
      const std::vector<std::size_t> linear = linear_inputs(tensor);
      bool ready = true;
      for (const std::size_t k : linear) {
        if (sums_.contains(&node.inputs[k].node())) continue;
        stack.push_back(node.inputs[k]);
        ready = false;
      }
      if (!ready) continue;
      stack.pop_back();
      if (sums_.contains(&node)) continue;
      std::vector<Tensor> operands = node.inputs;
      for (const std::size_t k : linear) operands[k] = sums_.at(&operands[k].node());
      sums_[&node] = linear.empty() ? summed_steps(tensor) : node_like(tensor, std::move(operands));
    }
    return sums_.at(&expression.node());
  }

  // What is left: a product, whose sum is one product over all steps, a value summed by a reduction
  // of all its values, or by a state of its own.
  Tensor summed_steps(const Tensor& expression) {
    const Node& node = expression.node();
    const LineScope scope(node.line, "");
    if (varies(expression) == never) {
      Attributes attributes;
      attributes.dims = {loop_.count};
      attributes.dtype = expression.dtype();
      return expression * make_node(size_op, {}, std::move(attributes), node.line);
    }
    if (is_kept_inside(expression)) return accumulated(expression);
    if (!feedback_.contains(&node)) {
      if (&node.op == &dot_op && expression.rank() == 2) return summed_product(node);
      if (&node.op == &scatter_add_op && varies(node.inputs[1]) != never) {
        return summed_scatter(node);
      }
    }
    const Cone cone = cone_of(expression);
    if (outside_pays(cone)) {
      if (Tensor all = batched(expression, cone, sum_backwards_)) return sum(all, 0);
    }
    return accumulated(expression);
  }

  // sum over t of op(a_t) x op(b_t), with the steps and the inner axis as one inner axis.
  Tensor summed_product(const Node& node) {
    const auto inner_first = [&](int k, bool transposed) {
      const Tensor& operand = node.inputs[static_cast<std::size_t>(k)];
      Tensor all = stacked(operand, sum_backwards_);  // (t, inner, outer) or (t, outer, inner)
      const Dim inner = all.shape(transposed ? 2 : 1);
      const Dim outer = all.shape(transposed ? 1 : 2);
      if (transposed && !inner.is_constant(1)) all = transpose(all, {0, 2, 1});
      return reshape(all, {loop_.count * inner, outer});
    };
    const DotView view(node.attributes);
    const Tensor a = inner_first(0, !view.transposes_a);
    const Tensor b = inner_first(1, view.transposes_b);
    return make_node(dot_op, {a, b}, DotView(true, false).attributes(), node.line);
  }

  // Values of all steps added at the indices of all steps.
  Tensor summed_scatter(const Node& node) {
    const Tensor values = stacked(node.inputs[0], sum_backwards_);
    const Tensor indices = stacked(node.inputs[1], sum_backwards_);
    const int axis = node.attributes.axes[0];
    std::vector<int> order = ops::axes_from(1, axis);
    order.push_back(0);
    for (int k = axis + 1; k < values.rank(); ++k) order.push_back(k);
    return make_node(scatter_add_op, {transpose(values, order), indices}, node.attributes,
                     node.line);
  }

  Tensor accumulated(const Tensor& expression) {
    const Tensor parameter = make_input("sum", expression.type(), expression.line());
    varies_[&parameter.node()] = with_states;
    const Tensor next = parameter + expression;
    varies_[&next.node()] = with_states;
    loop_.states.push_back({parameter, zeros_like(expression), next});
    return last(static_cast<int>(loop_.states.size()) - 1);
  }

  // The results with the loop in place of what stands for its values.
  std::vector<Tensor> with_loop(const std::vector<Tensor>& results) {
    std::unordered_set<const Node*> reached;
    for (const Tensor& tensor : topological_order(results)) reached.insert(&tensor.node());
    std::erase_if(promises_,
                  [&](const Promise& p) { return !reached.contains(&p.stand_in.node()); });
    if (promises_.empty()) return results;

    std::vector<Tensor> expressions;
    for (const Promise& p : promises_) {
      expressions.push_back(
          p.state < 0 ? p.expression : loop_.states[static_cast<std::size_t>(p.state)].parameter);
    }
    const std::vector<bool> needed = needed_states(expressions);
    std::vector<int> position(needed.size(), -1);
    Body body;
    std::vector<Tensor> operands, inside;
    Attributes attributes;
    for (std::size_t k = 0; k < needed.size(); ++k) {
      if (!needed[k]) continue;
      position[k] = static_cast<int>(operands.size());
      operands.push_back(loop_.states[k].initial);
      body.parameters.push_back(loop_.states[k].parameter);
      inside.push_back(loop_.states[k].next);
    }
    const std::size_t states = operands.size();
    inside.insert(inside.end(), expressions.begin(), expressions.end());
    std::unordered_set<const Node*> used;
    for (const Tensor& tensor : topological_order(inside)) used.insert(&tensor.node());
    ScanView::set(attributes, loop_.count, states, loop_.truncate);
    if (loop_.recomputes) ScanView::set_recomputes(attributes);
    if (loop_.name != ScanDefinition().name) attributes.name = loop_.name;
    for (const ScanRows& row : loop_.rows) {
      if (!used.contains(&row.parameter.node())) continue;
      operands.push_back(row.all);
      body.parameters.push_back(row.parameter);
      ScanView::add_row(attributes, row.offset, row.stride);
    }
    // What stays the same comes in from outside; views of it are made inside, where they cost
    // nothing. What may fail and only a branch needs stays in the branch.
    NodeMap constants;
    const std::vector<Tensor> order = topological_order(inside);
    const BranchPaths paths(order, inside);
    std::unordered_set<const Node*> fails;
    for (const Tensor& tensor : order) {
      const Node& node = tensor.node();
      if (may_fail(node.op, node.attributes) ||
          std::any_of(node.inputs.begin(), node.inputs.end(),
                      [&](const Tensor& input) { return fails.contains(&input.node()); })) {
        fails.insert(&node);
      }
    }
    inside = substitute(inside, [&](const Tensor& t) -> std::optional<Tensor> {
      const Node& node = t.node();
      if (fails.contains(&node) && !paths.of(node).empty()) return std::nullopt;
      if (varies(t) != never || stays_inside(node)) return std::nullopt;
      const auto [found, fresh] = constants.try_emplace(&node);
      if (fresh) {
        found->second = make_input(t.name(), t.type(), t.line());
        operands.push_back(t);
        body.parameters.push_back(found->second);
      }
      return found->second;
    });
    body.results.assign(inside.begin(), inside.begin() + static_cast<std::ptrdiff_t>(states));
    attributes.body = std::make_shared<const Body>(std::move(body));
    const ops::ScanScope speaking(loop_.name, loop_.count);
    const Tensor loop = make_node(scan_op, std::move(operands), std::move(attributes),
                                  LineScope::current().value_or(SourceLine{}));
    NodeMap made;
    for (std::size_t k = 0; k < promises_.size(); ++k) {
      const Promise& p = promises_[k];
      const LineScope scope(p.stand_in.line(), "");
      made.emplace(&p.stand_in.node(),
                   p.state < 0 ? scan_stack(loop, inside[states + k], p.backwards)
                               : scan_last(loop, position[static_cast<std::size_t>(p.state)]));
    }
    return substitute(results, [&](const Tensor& t) -> std::optional<Tensor> {
      const auto found = made.find(&t.node());
      return found == made.end() ? std::nullopt : std::optional(found->second);
    });
  }

  ScanDefinition loop_;
  std::vector<ScanResult> wanted_;
  std::unordered_map<const Node*, unsigned> varies_;
  std::unordered_set<const Node*> feedback_;  // what next values of states are computed by
  std::vector<Promise> promises_;
  bool sum_backwards_ = false;
  NodeMap sums_;  // over the steps, of what has been summed
};

}  // namespace

std::vector<Tensor> make_scan(const ScanDefinition& loop, std::span<const ScanResult> wanted) {
  return on_deep_stack([&] { return ScanMaker(loop, wanted).run(); });
}

Tensor rows_of(const Tensor& all, const Dim& offset, std::int64_t stride, const Dim& count) {
  if (stride == 1 && offset.is_constant(0) && count == all.shape(0)) return all;
  Dims starts(all.shape().size(), 0), sizes = all.shape();
  std::vector<std::int64_t> steps(all.shape().size(), 1);
  starts[0] = offset;
  sizes[0] = count;
  steps[0] = stride;
  return ops::strided_slice(all, starts, sizes, steps);
}

Tensor scan_last(const Tensor& loop, int state) {
  const Node& node = loop.node();
  const ScanView view(node.attributes);
  const TensorType& type = node.inputs[static_cast<std::size_t>(state)].type();
  Attributes attributes;
  attributes.dtype = type.dtype;
  attributes.dims = type.shape;
  set_last(attributes, state, view.states);
  return make_node(scan_last_op, {loop}, std::move(attributes), node.line);
}

Tensor scan_stack(const Tensor& loop, const Tensor& expression, bool backwards) {
  const Node& node = loop.node();
  Attributes attributes;
  attributes.dtype = expression.dtype();
  attributes.dims = stacked_shape(ScanView(node.attributes).count, expression.shape());
  set_backwards(attributes, backwards);
  attributes.name = node.attributes.name;
  attributes.body =
      std::make_shared<const Body>(Body{node.attributes.body->parameters, {expression}});
  return make_node(scan_stack_op, {loop}, std::move(attributes), node.line);
}

}  // namespace kroton
