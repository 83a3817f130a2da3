#include "compiler/lower/order.h"

#include <algorithm>
#include <map>
#include <utility>

#include "compiler/lower/branches.h"

namespace kroton {

std::vector<std::size_t> order_of(const std::vector<StepGroup>& groups,
                                  const std::set<int>& states) {
  const std::size_t n = groups.size();
  std::vector<std::set<std::size_t>> after(n);
  std::map<int, std::vector<std::size_t>> writers;
  for (std::size_t g = 0; g < n; ++g) {
    for (int b : groups[g].written) writers[b].push_back(g);
  }
  for (std::size_t g = 0; g < n; ++g) {
    for (int b : groups[g].read) {
      const auto it = writers.find(b);
      if (it == writers.end()) continue;
      for (std::size_t w : it->second) {
        if (w == g || exclusive(groups[w].guard, groups[g].guard)) continue;
        if (states.count(b)) {
          after[g].insert(w);  // the old value is read before it is overwritten
        } else {
          after[w].insert(g);
        }
      }
    }
    if (!groups[g].checks) continue;
    for (std::size_t h = 0; h < n; ++h) {
      if (h == g || !groups[h].overwrites_state) continue;
      if (!exclusive(groups[g].guard, groups[h].guard)) after[g].insert(h);
    }
  }
  std::vector<int> waiting(n, 0);
  for (const auto& set : after) {
    for (std::size_t h : set) ++waiting[h];
  }
  std::set<std::size_t> ready;
  for (std::size_t g = 0; g < n; ++g) {
    if (waiting[g] == 0) ready.insert(g);
  }
  // The first in the order of fusion; with branches, what keeps their number small: all that no
  // further condition guards before the next branch begins, and a branch to its end.
  const bool branches = std::any_of(groups.begin(), groups.end(),
                                    [](const StepGroup& g) { return !g.guard.empty(); });
  const Guard always;
  std::vector<std::size_t> order;
  while (!ready.empty()) {
    auto next = ready.begin();
    if (branches) {
      const Guard& last = order.empty() ? always : groups[order.back()].guard;
      const auto key = [&](std::size_t g) {
        const Guard& guard = groups[g].guard;
        return std::tuple(-affinity(last, guard), guard.size(), g);
      };
      next = std::min_element(ready.begin(), ready.end(),
                              [&](auto a, auto b) { return key(a) < key(b); });
    }
    const std::size_t g = *next;
    ready.erase(next);
    order.push_back(g);
    for (std::size_t h : after[g]) {
      if (--waiting[h] == 0) ready.insert(h);
    }
  }
  if (order.size() != n) order.clear();
  return order;
}

GroupLinks::GroupLinks(const std::vector<StepGroup>& groups, std::set<int> states)
    : groups_(groups), states_(std::move(states)) {
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    for (const int buffer : groups_[g].read) readers_[buffer].push_back(g);
    for (const int buffer : groups_[g].written) {
      if (states_.count(buffer) != 0) overwriting_[buffer].push_back(g);
    }
  }
}

bool GroupLinks::may_overwrite(std::size_t group, int state) const {
  std::set<std::size_t> seen{group};
  std::vector<std::size_t> pending{group};
  bool is_first = false;  // whether the group leads to something that has to run before it
  const auto reach = [&](std::size_t from, std::size_t to) {
    const StepGroup& later = groups_[to];
    if (exclusive(groups_[from].guard, later.guard) || !seen.insert(to).second) return;
    const bool is_before = later.read.count(state) != 0 || later.checks;
    is_first = is_first || (is_before && !exclusive(groups_[group].guard, later.guard));
    pending.push_back(to);
  };
  const auto reach_all = [&](std::size_t from, const auto& known, int buffer) {
    const auto found = known.find(buffer);
    if (found == known.end()) return;
    for (const std::size_t to : found->second) reach(from, to);
  };
  while (!pending.empty() && !is_first) {
    const std::size_t next = pending.back();
    pending.pop_back();
    const StepGroup& done = groups_[next];
    for (const int buffer : done.written) {
      if (states_.count(buffer) == 0) reach_all(next, readers_, buffer);
    }
    for (const int buffer : done.read) {
      if (states_.count(buffer) != 0) reach_all(next, overwriting_, buffer);
    }
    if (!done.checks) continue;
    for (const auto& [overwritten, groups] : overwriting_)
      reach_all(next, overwriting_, overwritten);
  }
  return !is_first;
}

}  // namespace kroton
