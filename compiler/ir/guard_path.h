// Under which conditions something is evaluated: paths of conditions, outermost first. Used on
// graphs (conditions are vertices) and on expressions (conditions are nodes).
#pragma once
#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

namespace kroton {

template <class Condition>
struct GuardStep {
  Condition condition;
  bool holds;  // evaluated where the condition is true, or where it is false
  bool operator==(const GuardStep&) const = default;
};

// All steps must hold; empty: always evaluated.
template <class Condition>
using GuardPath = std::vector<GuardStep<Condition>>;

template <class Condition>
GuardPath<Condition> common_prefix(const GuardPath<Condition>& a, const GuardPath<Condition>& b) {
  const auto ends = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return {a.begin(), ends.first};
}

template <class Condition>
GuardPath<Condition> common_prefix(const std::vector<GuardPath<Condition>>& paths) {
  GuardPath<Condition> prefix = paths.front();
  for (const auto& path : paths) prefix = common_prefix(prefix, path);
  return prefix;
}

// The path one step further; a step that is on it already adds nothing.
template <class Condition>
GuardPath<Condition> extended(GuardPath<Condition> path, const GuardStep<Condition>& step) {
  if (std::find(path.begin(), path.end(), step) == path.end()) path.push_back(step);
  return path;
}

// The fewest paths of which one holds exactly when one of `paths` does: without those that another
// one begins, and with a path in the place of its two continuations by a condition and its
// opposite. In the order of first appearance.
template <class Condition>
std::vector<GuardPath<Condition>> reduced(const std::vector<GuardPath<Condition>>& paths) {
  std::vector<GuardPath<Condition>> result;
  std::vector<GuardPath<Condition>> pending(paths.rbegin(), paths.rend());
  while (!pending.empty()) {
    GuardPath<Condition> path = std::move(pending.back());
    pending.pop_back();
    const auto begins = [](const GuardPath<Condition>& a, const GuardPath<Condition>& b) {
      return a.size() <= b.size() && std::equal(a.begin(), a.end(), b.begin());
    };
    if (std::any_of(result.begin(), result.end(), [&](const auto& r) { return begins(r, path); })) {
      continue;
    }
    std::erase_if(result, [&](const auto& r) { return begins(path, r); });
    if (!path.empty()) {
      GuardPath<Condition> opposite = path;
      opposite.back().holds = !opposite.back().holds;
      const auto found = std::find(result.begin(), result.end(), opposite);
      if (found != result.end()) {
        result.erase(found);
        path.pop_back();
        pending.push_back(std::move(path));
        continue;
      }
    }
    result.push_back(std::move(path));
  }
  return result;
}

}  // namespace kroton
