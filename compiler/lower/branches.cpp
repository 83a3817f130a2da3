#include "compiler/lower/branches.h"

namespace kroton {
namespace {

// The guards of all steps agree up to `depth`.
std::vector<Step> nest(const std::vector<const GuardedStep*>& steps, std::size_t depth) {
  std::vector<Step> result;
  for (std::size_t k = 0; k < steps.size();) {
    if (steps[k]->guard.size() <= depth) {
      result.push_back(steps[k++]->step);
      continue;
    }
    const GuardedStep::Condition& condition = steps[k]->guard[depth];
    std::vector<const GuardedStep*> sides[2];
    for (; k < steps.size() && steps[k]->guard.size() > depth &&
           steps[k]->guard[depth].buffer == condition.buffer;
         ++k) {
      sides[steps[k]->guard[depth].holds ? 0 : 1].push_back(steps[k]);
    }
    Branch branch;
    branch.condition = condition.buffer;
    branch.then_steps = nest(sides[0], depth + 1);
    branch.else_steps = nest(sides[1], depth + 1);
    branch.source = condition.source;
    result.push_back({std::make_shared<const Branch>(std::move(branch))});
  }
  return result;
}

}  // namespace

std::vector<Step> nest_branches(const std::vector<GuardedStep>& steps) {
  std::vector<const GuardedStep*> all;
  for (const GuardedStep& step : steps) all.push_back(&step);
  return nest(all, 0);
}

int affinity(const Guard& last, const Guard& next) {
  const std::size_t shared = common_prefix(last, next).size();
  const bool opposite = shared < last.size() && shared < next.size() &&
                        last[shared].condition == next[shared].condition;
  return 2 * static_cast<int>(shared) + (opposite ? 1 : 0);
}

bool exclusive(const Guard& a, const Guard& b) {
  return std::any_of(a.begin(), a.end(), [&](const auto& step) {
    return std::find(b.begin(), b.end(), GuardStep<Graph::Vertex>{step.condition, !step.holds}) !=
           b.end();
  });
}

}  // namespace kroton
