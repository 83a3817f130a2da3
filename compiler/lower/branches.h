// From steps with guards to nested Branch steps.
#pragma once
#include "compiler/lower/program.h"
#include "compiler/passes/guards.h"

namespace kroton {

// A step, and what must hold for it to run.
struct GuardedStep {
  struct Condition {
    loop::BufferRef buffer;  // one boolean
    bool holds = true;
    std::string source;  // the line of its ifelse
  };
  std::vector<Condition> guard;
  Step step;
};

// Neighbours whose guards begin with the same condition, or its opposite, share one Branch.
std::vector<Step> nest_branches(const std::vector<GuardedStep>& steps);

// How well a step fits behind one with the guard `last`: the larger, the fewer branches.
int affinity(const Guard& last, const Guard& next);

// Whether at most one of the two holds.
bool exclusive(const Guard& a, const Guard& b);

}  // namespace kroton
