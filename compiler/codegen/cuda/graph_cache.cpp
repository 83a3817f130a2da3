#include "compiler/codegen/cuda/graph_cache.h"

#include <algorithm>

namespace kroton::codegen {
namespace {

constexpr std::int64_t calls_to_age = 1024;  // then half of what was counted is forgotten
constexpr std::size_t most_entries = 4096;   // with a graph or without

}  // namespace

DeviceGraph* GraphCache::look_up(const Key& key, const Addresses& addresses) {
  if (++looked_up_ % calls_to_age == 0) age();
  if (entries_.size() >= most_entries && entries_.count(key) == 0) {
    std::erase_if(entries_, [](const auto& entry) { return entry.second.graphs.empty(); });
  }
  last_ = &entries_[key];
  last_addresses_ = addresses;
  ++last_->calls;
  for (Bound& bound : last_->graphs) {
    if (bound.addresses != addresses) continue;
    bound.used = looked_up_;
    return bound.graph.get();
  }
  return nullptr;
}

bool GraphCache::has_room(std::int64_t launches) const {
  return graphs_ < most_graphs && launches_ + launches <= most_launches_kept;
}

bool GraphCache::wants(std::int64_t launches) {
  if (last_->calls < 2 || launches > most_launches) return false;
  if (!last_->graphs.empty()) return true;
  while (!has_room(launches)) {
    Entry* rarest = nullptr;
    for (auto& [key, entry] : entries_) {
      if (!entry.graphs.empty() && (!rarest || entry.calls < rarest->calls)) rarest = &entry;
    }
    // Only for one that clearly comes more often: equals would take each other's place for ever.
    if (rarest == nullptr || 2 * rarest->calls > last_->calls) return false;
    drop(*rarest);
  }
  return true;
}

std::unique_ptr<DeviceGraph> GraphCache::take_outdated() {
  std::vector<Bound>& graphs = last_->graphs;
  if (graphs.empty()) return nullptr;
  if (graphs.size() < most_of_same_sizes && has_room(last_->launches)) return nullptr;
  const auto oldest = std::ranges::min_element(graphs, {}, &Bound::used);
  std::unique_ptr<DeviceGraph> taken = std::move(oldest->graph);
  graphs.erase(oldest);
  --graphs_;
  launches_ -= last_->launches;
  return taken;
}

std::vector<DeviceGraph*> GraphCache::all_of_call() const {
  std::vector<DeviceGraph*> all;
  for (const Bound& bound : last_->graphs) {
    if (bound.addresses == last_addresses_) all.push_back(bound.graph.get());
  }
  return all;
}

void GraphCache::note_use(const DeviceGraph& graph) {
  for (Bound& bound : last_->graphs) {
    if (bound.graph.get() == &graph) bound.used = looked_up_;
  }
}

void GraphCache::forget(const std::function<bool(const DeviceGraph&)>& is_useless) {
  const std::size_t count =
      std::erase_if(last_->graphs, [&](const Bound& bound) { return is_useless(*bound.graph); });
  graphs_ -= count;
  launches_ -= last_->launches * static_cast<std::int64_t>(count);
}

DeviceGraph* GraphCache::keep(std::unique_ptr<DeviceGraph> graph, std::int64_t launches) {
  last_->launches = launches;
  last_->graphs.push_back({last_addresses_, std::move(graph), looked_up_});
  ++graphs_;
  launches_ += launches;
  return last_->graphs.back().graph.get();
}

// What came once stays known as such.
void GraphCache::age() {
  for (auto& [key, entry] : entries_) entry.calls = std::max<std::int64_t>(1, entry.calls / 2);
}

void GraphCache::drop(Entry& entry) {
  graphs_ -= entry.graphs.size();
  launches_ -= entry.launches * static_cast<std::int64_t>(entry.graphs.size());
  entry.graphs.clear();
}

}  // namespace kroton::codegen
