// Launches of a device noted in graphs.
#include <kroton/error.h>

#include "runtime/cuda/cuda_device.h"

namespace kroton::nvidia {

class CudaDevice::Graph : public DeviceGraph {
 public:
  Graph(CudaDevice& device, CUgraphExec graph) : device_(device), graph_(graph) {}
  // The driver keeps it until its launches are done.
  ~Graph() override {
    device_.release([&] { driver().cuGraphExecDestroy(graph_); });
  }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  CUgraphExec get() const { return graph_; }

 private:
  CudaDevice& device_;
  CUgraphExec graph_;
};

void CudaDevice::begin_capture() {
  const Use use(*this);
  home_.captures_.lock_shared();
  const CUresult begun = driver().cuStreamBeginCapture(stream_, capture_mode_relaxed);
  if (begun != 0) home_.captures_.unlock_shared();
  check(begun, "cuStreamBeginCapture");
}

bool CudaDevice::orders_captured() const {
  return driver().cuStreamGetCaptureInfo && driver().cuStreamUpdateCaptureDependencies;
}

void CudaDevice::capture_behind(std::span<const CapturedPlace> places) {
  const Use use(*this);
  dependencies_.clear();
  for (const CapturedPlace place : places) {
    dependencies_.push_back(static_cast<CUgraphNode>(place));
  }
  check(driver().cuStreamUpdateCaptureDependencies(stream_, dependencies_.data(),
                                                   dependencies_.size(), capture_set_dependencies),
        "cuStreamUpdateCaptureDependencies");
}

std::vector<Device::CapturedPlace> CudaDevice::captured_places() {
  const Use use(*this);
  int status = 0;
  const CUgraphNode* nodes = nullptr;
  std::size_t count = 0;
  check(driver().cuStreamGetCaptureInfo(stream_, &status, nullptr, nullptr, &nodes, &count),
        "cuStreamGetCaptureInfo");
  return {nodes, nodes + count};
}

std::unique_ptr<DeviceGraph> CudaDevice::end_capture() {
  const std::shared_lock captured(home_.captures_, std::adopt_lock);
  const Use use(*this);
  CUgraph graph = nullptr;
  check(driver().cuStreamEndCapture(stream_, &graph), "cuStreamEndCapture");
  CUgraphExec executable = nullptr;
  const CUresult result = driver().cuGraphInstantiate(&executable, graph, 0);
  driver().cuGraphDestroy(graph);
  check(result, "cuGraphInstantiate");
  return std::make_unique<Graph>(*this, executable);
}

void CudaDevice::end_capture(std::unique_ptr<DeviceGraph>& into) {
  const std::shared_lock captured(home_.captures_, std::adopt_lock);
  const Use use(*this);
  CUgraph graph = nullptr;
  check(driver().cuStreamEndCapture(stream_, &graph), "cuStreamEndCapture");
  void* failed_node = nullptr;
  int why = 0;
  const CUresult result =
      driver().cuGraphExecUpdate(static_cast<Graph&>(*into).get(), graph, &failed_node, &why);
  // What cannot be updated, for whatever reason, is made anew.
  const bool again = result != 0 && !is_lasting(result);
  CUgraphExec executable = nullptr;
  const CUresult made = again ? driver().cuGraphInstantiate(&executable, graph, 0) : 0;
  driver().cuGraphDestroy(graph);
  if (!again) {
    check(result, "cuGraphExecUpdate");
    return;
  }
  check(made, "cuGraphInstantiate");
  into = std::make_unique<Graph>(*this, executable);
}

void CudaDevice::abandon_capture() noexcept {
  const std::shared_lock captured(home_.captures_, std::adopt_lock);
  release([&] {
    CUgraph graph = nullptr;
    driver().cuStreamEndCapture(stream_, &graph);
    if (graph) driver().cuGraphDestroy(graph);
  });
}

void CudaDevice::launch(DeviceGraph& graph) {
  const Use use(*this);
  note_work();
  check(driver().cuGraphLaunch(static_cast<Graph&>(graph).get(), stream_), "cuGraphLaunch");
}

}  // namespace kroton::nvidia
