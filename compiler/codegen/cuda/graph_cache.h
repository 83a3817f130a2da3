// The CUDA graphs of one Program, by the sizes of its calls and the addresses of its arguments.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "runtime/device.h"

namespace kroton::codegen {

// Which calls are captured, and which graphs are kept. A call is worth a graph when one with the
// same sizes came before. Graphs take memory by their launches: where there is no room, the graphs
// go of sizes that came half as often of late as the new ones; sizes that go round in a larger
// circle than there is room for keep the graphs they have instead of making each anew.
//
// A graph is of certain addresses. The same sizes may have a few, for memory that takes turns;
// where further addresses come, the one that was not used for longest is updated. That costs the
// host about what it costs to start the kernels one by one, and the device what a graph does.
class GraphCache {
 public:
  using Key = std::vector<std::int64_t>;
  using Addresses = std::vector<DeviceAddress>;

  static constexpr std::size_t most_graphs = 64;
  static constexpr std::int64_t most_launches = 1 << 16;                 // of one graph
  static constexpr std::int64_t most_launches_kept = 2 * most_launches;  // of all
  static constexpr std::size_t most_of_same_sizes = 4;

  // Notes a call. Its graph, or null.
  DeviceGraph* look_up(const Key& key, const Addresses& addresses = {});
  // Whether the call that was just looked up is to be captured: room is made then.
  bool wants(std::int64_t launches);
  // The graph that is to be updated for it; null: it gets one of its own.
  std::unique_ptr<DeviceGraph> take_outdated();
  // All graphs of that call: there are several where it is not the sizes and addresses alone that
  // tell which is meant. One of them is used; what is of no use any more is let go.
  std::vector<DeviceGraph*> all_of_call() const;
  void note_use(const DeviceGraph& graph);
  void forget(const std::function<bool(const DeviceGraph&)>& is_useless);
  // Keeps the graph of that call.
  DeviceGraph* keep(std::unique_ptr<DeviceGraph> graph, std::int64_t launches);

 private:
  struct Bound {
    Addresses addresses;
    std::unique_ptr<DeviceGraph> graph;
    std::int64_t used = 0;  // looked_up_ then
  };
  struct Entry {
    std::int64_t calls = 0;     // of late
    std::int64_t launches = 0;  // of each
    std::vector<Bound> graphs;
  };

  bool has_room(std::int64_t launches) const;
  void age();
  void drop(Entry& entry);

  std::map<Key, Entry> entries_;
  Entry* last_ = nullptr;  // that was looked up, with these addresses
  Addresses last_addresses_;
  std::int64_t looked_up_ = 0;
  std::size_t graphs_ = 0;
  std::int64_t launches_ = 0;  // of the graphs
};

}  // namespace kroton::codegen
