// Graphs of several devices that exchange something inside them.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>

#include "runtime/device.h"

namespace kroton {

class GroupGraph;

// All such graphs of a group. What connects the devices knows of its exchanges in graphs and waits
// for their end: they end before it, whoever holds them.
class GroupGraphs {
 public:
  // Ends all there are. False where one cannot be ended, since its device has failed.
  bool end();

 private:
  friend class GroupGraph;
  std::mutex mutex_;
  std::set<GroupGraph*> graphs_;
};

// One device's, captured in the same call as those of the others.
class GroupGraph final : public DeviceGraph {
 public:
  // `number` says which call that was.
  GroupGraph(std::shared_ptr<GroupGraphs> group, std::shared_ptr<Device> device,
             std::unique_ptr<DeviceGraph> graph, std::uint64_t number);
  ~GroupGraph() override;
  GroupGraph(const GroupGraph&) = delete;
  GroupGraph& operator=(const GroupGraph&) = delete;

  // 0: it has been ended.
  std::uint64_t number() const { return graph_ ? number_ : 0; }
  DeviceGraph& graph() { return *graph_; }

 private:
  friend class GroupGraphs;
  std::shared_ptr<GroupGraphs> group_;
  std::shared_ptr<Device> device_;
  std::unique_ptr<DeviceGraph> graph_;
  std::uint64_t number_ = 0;
};

}  // namespace kroton
