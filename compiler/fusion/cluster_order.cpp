#include "compiler/fusion/cluster_order.h"

#include <algorithm>

namespace kroton {

void ClusterOrder::add() {
  readers_.emplace_back();
  read_by_.emplace_back();
  seen_.push_back(0);
  around_ = -1;
}

void ClusterOrder::add_reader(int cluster, int reader) {
  insert(readers_[static_cast<std::size_t>(cluster)], reader);
  insert(read_by_[static_cast<std::size_t>(reader)], cluster);
  around_ = -1;
}

void ClusterOrder::merge(int a, int b) {
  const std::vector<int> readers = std::move(readers_[static_cast<std::size_t>(b)]);
  const std::vector<int> read = std::move(read_by_[static_cast<std::size_t>(b)]);
  readers_[static_cast<std::size_t>(b)].clear();
  read_by_[static_cast<std::size_t>(b)].clear();
  for (const int reader : readers) {
    replace(read_by_[static_cast<std::size_t>(reader)], b, a);
    insert(readers_[static_cast<std::size_t>(a)], reader);
  }
  for (const int other : read) {
    replace(readers_[static_cast<std::size_t>(other)], b, a);
    insert(read_by_[static_cast<std::size_t>(a)], other);
  }
  // Where one of them read the other.
  std::erase(readers_[static_cast<std::size_t>(a)], a);
  std::erase(read_by_[static_cast<std::size_t>(a)], a);
  around_ = -1;
}

bool ClusterOrder::lead_to(const std::vector<int>& from, int to) {
  ++question_;
  pending_.clear();
  const auto reach = [&](int cluster) {
    std::uint32_t& seen = seen_[static_cast<std::size_t>(cluster)];
    if (seen == question_) return;
    seen = question_;
    pending_.push_back(cluster);
  };
  for (const int cluster : from) reach(cluster);
  while (!pending_.empty()) {
    const int next = pending_.back();
    pending_.pop_back();
    if (next == to) return true;
    for (const int reader : readers_of(next)) reach(reader);
  }
  return false;
}

bool ClusterOrder::are_ordered(int a, int b) {
  if (around_ != a) {
    mark(readers_, a, after_);
    mark(read_by_, a, before_);
    around_ = a;
  }
  const auto k = static_cast<std::size_t>(b);
  return after_[k] || before_[k];
}

void ClusterOrder::insert(std::vector<int>& list, int cluster) {
  const auto place = std::lower_bound(list.begin(), list.end(), cluster);
  if (place == list.end() || *place != cluster) list.insert(place, cluster);
}

void ClusterOrder::replace(std::vector<int>& list, int from, int to) {
  std::erase(list, from);
  insert(list, to);
}

void ClusterOrder::mark(const Lists& lists, int cluster, std::vector<bool>& marks) {
  marks.assign(lists.size(), false);
  std::vector<int> pending = at(lists, cluster);
  for (const int first : pending) marks[static_cast<std::size_t>(first)] = true;
  while (!pending.empty()) {
    const int next = pending.back();
    pending.pop_back();
    for (const int other : at(lists, next)) {
      if (marks[static_cast<std::size_t>(other)]) continue;
      marks[static_cast<std::size_t>(other)] = true;
      pending.push_back(other);
    }
  }
}

}  // namespace kroton
