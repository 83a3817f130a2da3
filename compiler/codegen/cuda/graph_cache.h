// The CUDA graphs of one Program, by the sizes of its calls.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "runtime/device.h"

namespace kroton::codegen {

// Which calls are captured, and which graphs are kept. A call is worth a graph when one with the
// same key came before. Graphs take memory by their launches: where there is no room, a graph goes
// whose key came half as often of late as the new one; sizes that go round in a larger circle than
// there is room for keep the graphs they have instead of making each anew.
class GraphCache {
 public:
  using Key = std::vector<std::int64_t>;

  static constexpr std::size_t most_graphs = 64;
  static constexpr std::int64_t most_launches = 1 << 16;                 // of one graph
  static constexpr std::int64_t most_launches_kept = 2 * most_launches;  // of all

  // Notes a call. Its graph, or null.
  DeviceGraph* look_up(const Key& key);
  // Whether the call that was just looked up is to be captured: room is made then.
  bool wants(std::int64_t launches);
  // Keeps the graph of that call.
  DeviceGraph* keep(std::unique_ptr<DeviceGraph> graph, std::int64_t launches);
  // Memory that the graphs use goes away: so do they, but not what is known of the calls.
  void forget_graphs();

 private:
  struct Entry {
    std::int64_t calls = 0;  // of late
    std::int64_t launches = 0;
    std::unique_ptr<DeviceGraph> graph;
  };

  void age();
  void drop(Entry& entry);

  std::map<Key, Entry> entries_;
  Entry* last_ = nullptr;  // that was looked up
  std::int64_t looked_up_ = 0;
  std::size_t graphs_ = 0;
  std::int64_t launches_ = 0;  // of the graphs
};

}  // namespace kroton::codegen
