// The order in which the kernels of clusters run.
#pragma once
#include <map>
#include <set>
#include <vector>

#include "compiler/lower/program.h"
#include "compiler/passes/guards.h"

namespace kroton {

// The kernels of one cluster, and what decides when they may run.
struct StepGroup {
  std::vector<Step> steps;
  Guard guard;
  std::set<int> read, written;  // buffers
  bool checks = false;          // or prints: the call may end in it
  bool overwrites_state = false;
};

// Positions of the groups in an order that respects reads, overwrites and checks; empty if there is
// none. `states`: the buffers of shared variables.
std::vector<std::size_t> order_of(const std::vector<StepGroup>& groups,
                                  const std::set<int>& states);

// Which groups have to run before which, for asking whether one of them may overwrite a state
// without working out the order of all.
class GroupLinks {
 public:
  // The groups are kept by reference: only written and overwrites_state may change. There must be
  // an order for them.
  GroupLinks(const std::vector<StepGroup>& groups, std::set<int> states);
  // Whether there still is an order when this group overwrites the state: behind all that reads the
  // old value, and behind all that may end the call.
  bool may_overwrite(std::size_t group, int state) const;
  // The group does, and says so in what it has written.
  void overwrites(std::size_t group, int state) { overwriting_[state].push_back(group); }

 private:
  const std::vector<StepGroup>& groups_;
  std::set<int> states_;
  std::map<int, std::vector<std::size_t>> readers_, overwriting_;  // by buffer, by state
};

}  // namespace kroton
