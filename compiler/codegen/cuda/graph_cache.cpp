#include "compiler/codegen/cuda/graph_cache.h"

#include <algorithm>

namespace kroton::codegen {
namespace {

constexpr std::int64_t calls_to_age = 1024;  // then half of what was counted is forgotten
constexpr std::size_t most_entries = 4096;   // with a graph or without

}  // namespace

DeviceGraph* GraphCache::look_up(const Key& key) {
  if (++looked_up_ % calls_to_age == 0) age();
  if (entries_.size() >= most_entries && entries_.count(key) == 0) {
    std::erase_if(entries_, [](const auto& entry) { return !entry.second.graph; });
  }
  last_ = &entries_[key];
  ++last_->calls;
  return last_->graph.get();
}

bool GraphCache::wants(std::int64_t launches) {
  if (last_->calls < 2 || launches > most_launches) return false;
  while (graphs_ == most_graphs || launches_ + launches > most_launches_kept) {
    Entry* rarest = nullptr;
    for (auto& [key, entry] : entries_) {
      if (entry.graph && (!rarest || entry.calls < rarest->calls)) rarest = &entry;
    }
    // Only for one that clearly comes more often: equals would take each other's place for ever.
    if (rarest == nullptr || 2 * rarest->calls > last_->calls) return false;
    drop(*rarest);
  }
  return true;
}

DeviceGraph* GraphCache::keep(std::unique_ptr<DeviceGraph> graph, std::int64_t launches) {
  last_->graph = std::move(graph);
  last_->launches = launches;
  ++graphs_;
  launches_ += launches;
  return last_->graph.get();
}

void GraphCache::forget_graphs() {
  for (auto& [key, entry] : entries_) {
    if (entry.graph) drop(entry);
  }
}

// What came once stays known as such.
void GraphCache::age() {
  for (auto& [key, entry] : entries_) entry.calls = std::max<std::int64_t>(1, entry.calls / 2);
}

void GraphCache::drop(Entry& entry) {
  entry.graph.reset();
  --graphs_;
  launches_ -= entry.launches;
}

}  // namespace kroton::codegen
