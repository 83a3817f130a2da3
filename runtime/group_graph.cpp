#include "runtime/group_graph.h"

#include <kroton/error.h>

#include <utility>
#include <vector>

namespace kroton {

bool GroupGraphs::end() {
  // A graph's end locks its device, which who lets one go may hold: not in here.
  std::vector<std::unique_ptr<DeviceGraph>> ended;
  const std::lock_guard lock(mutex_);
  bool all = true;
  for (GroupGraph* const graph : graphs_) {
    try {
      graph->device_->check_usable();
    } catch (const DeviceError&) {
      all = false;
    }
    ended.push_back(std::move(graph->graph_));
  }
  graphs_.clear();
  return all;
}

GroupGraph::GroupGraph(std::shared_ptr<GroupGraphs> group, std::shared_ptr<Device> device,
                       std::unique_ptr<DeviceGraph> graph, std::uint64_t number)
    : group_(std::move(group)),
      device_(std::move(device)),
      graph_(std::move(graph)),
      number_(number) {
  const std::lock_guard lock(group_->mutex_);
  group_->graphs_.insert(this);
}

GroupGraph::~GroupGraph() {
  const std::lock_guard lock(group_->mutex_);
  group_->graphs_.erase(this);
}

}  // namespace kroton
