// The driver of the tests: captured streams and graphs.
#include "tests/fake_driver/libraries/driver.h"
#include "tests/gpu_emulator/any_order.h"

#include <algorithm>

using namespace fake_driver;  // NOLINT: this is its interface

namespace {

// The nodes in one of the orders that their edges allow, another one each time.
std::vector<std::size_t> some_order(const std::vector<Node>& nodes) {
  std::vector<std::vector<std::size_t>> behind;
  for (const Node& node : nodes) behind.push_back(node.behind);
  return gpu_emulator::any_order(behind, machine().graph_order++);
}

int depth_of(const std::vector<Node>& nodes) {
  std::vector<int> depth(nodes.size(), 1);
  int deepest = 0;
  for (std::size_t k = 0; k < nodes.size(); ++k) {
    for (const std::size_t before : nodes[k].behind)
      depth[k] = std::max(depth[k], depth[before] + 1);
    deepest = std::max(deepest, depth[k]);
  }
  return deepest;
}

// Handles are positions from 1 on.
CUgraphNode handle_of(std::size_t position) {
  return reinterpret_cast<CUgraphNode>(static_cast<std::uintptr_t>(position + 1));
}

}  // namespace

DRIVER_FUNCTION(cuStreamGetCaptureInfo_v2)
(CUstream stream, int* status, std::uint64_t* /*id*/, CUgraph* /*graph*/,
 const CUgraphNode** dependencies, std::size_t* count) {
  const Call call("cuStreamGetCaptureInfo_v2");
  if (call.result != 0) return call.result;
  constexpr int capturing = 1;
  *status = stream->capturing ? capturing : 0;
  stream->handles.clear();
  for (const std::size_t position : stream->behind) stream->handles.push_back(handle_of(position));
  *dependencies = stream->handles.data();
  *count = stream->handles.size();
  return 0;
}

DRIVER_FUNCTION(cuStreamUpdateCaptureDependencies)
(CUstream stream, CUgraphNode* dependencies, std::size_t count, unsigned flags) {
  const Call call("cuStreamUpdateCaptureDependencies");
  if (call.result != 0) return call.result;
  if (!stream->capturing) {
    complain("cuStreamUpdateCaptureDependencies of a stream that is not being captured");
    return illegal_state;
  }
  if (flags != capture_set_dependencies) return invalid_value;
  stream->behind.clear();
  for (std::size_t k = 0; k < count; ++k) {
    const auto position =
        static_cast<std::size_t>(reinterpret_cast<std::uintptr_t>(dependencies[k]));
    if (position == 0 || position > stream->captured.size()) {
      complain("cuStreamUpdateCaptureDependencies: a node that is not in the graph");
      return invalid_value;
    }
    stream->behind.push_back(position - 1);
  }
  return 0;
}

DRIVER_FUNCTION(cuStreamBeginCapture_v2)(CUstream stream, int mode) {
  const Call call("cuStreamBeginCapture_v2");
  if (call.result != 0) return call.result;
  if (stream->capturing || !belongs("cuStreamBeginCapture", stream->context)) return illegal_state;
  if (mode != capture_mode_relaxed) complain("a capture that forbids other threads' calls");
  stream->capturing = true;
  stream->invalidated = false;
  stream->captured.clear();
  stream->behind.clear();
  return 0;
}

DRIVER_FUNCTION(cuStreamEndCapture)(CUstream stream, CUgraph* graph) {
  const Call call("cuStreamEndCapture");
  if (call.result != 0) {
    stream->capturing = false;  // it ends, however it ends
    stream->captured.clear();
    return call.result;
  }
  if (!stream->capturing) {
    complain("cuStreamEndCapture of a stream that is not being captured");
    return illegal_state;
  }
  stream->capturing = false;
  *graph = nullptr;
  if (stream->invalidated) {
    stream->captured.clear();
    return capture_invalidated;
  }
  *graph = keep(machine().graphs);
  (*graph)->nodes = std::move(stream->captured);
  return 0;
}

DRIVER_FUNCTION(cuGraphInstantiateWithFlags)
(CUgraphExec* executable, CUgraph graph, unsigned long long /*flags*/) {
  const Call call("cuGraphInstantiateWithFlags");
  if (call.result != 0) return call.result;
  if (!graph || graph->destroyed) {
    complain("cuGraphInstantiate of no graph");
    return invalid_handle;
  }
  *executable = keep(machine().executables);
  (*executable)->context = current_context();
  (*executable)->nodes = graph->nodes;
  machine().graph_depth = depth_of(graph->nodes);
  return 0;
}

// What is under way goes on as it was.
DRIVER_FUNCTION(cuGraphExecUpdate)
(CUgraphExec executable, CUgraph graph, void** /*failed_node*/, int* why) {
  const Call call("cuGraphExecUpdate");
  if (call.result != 0) return call.result;
  if (!graph || graph->destroyed || executable->destroyed) {
    complain("cuGraphExecUpdate of no graph");
    return invalid_handle;
  }
  constexpr int topology_changed = 2;
  constexpr CUresult update_failed = 910;
  if (!std::equal(executable->nodes.begin(), executable->nodes.end(), graph->nodes.begin(),
                  graph->nodes.end(),
                  [](const Node& a, const Node& b) { return a.behind == b.behind; })) {
    *why = topology_changed;
    return update_failed;
  }
  executable->nodes = graph->nodes;
  machine().graph_depth = depth_of(graph->nodes);
  return 0;
}

DRIVER_FUNCTION(cuGraphDestroy)(CUgraph graph) {
  const Call call("cuGraphDestroy");
  if (call.result != 0) return call.result;
  if (!graph || std::exchange(graph->destroyed, true)) {
    complain("cuGraphDestroy of no graph");
    return invalid_handle;
  }
  graph->nodes.clear();  // and what these hold
  return 0;
}

DRIVER_FUNCTION(cuGraphLaunch)(CUgraphExec executable, CUstream stream) {
  const Call call("cuGraphLaunch");
  if (call.result != 0) return call.result;
  if (executable->destroyed || stream->capturing ||
      !belongs("cuGraphLaunch", executable->context)) {
    complain("cuGraphLaunch of a graph that is destroyed, or into one");
    return invalid_handle;
  }
  for (const std::size_t node : some_order(executable->nodes)) {
    const Node& launched = executable->nodes[node];
    if (launched.launched) launched.launched(stream->queued);
    enqueue(stream, launched.work);
  }
  return 0;
}

DRIVER_FUNCTION(cuGraphExecDestroy)(CUgraphExec executable) {
  const Call call("cuGraphExecDestroy");
  if (call.result != 0) return call.result;
  if (std::exchange(executable->destroyed, true)) complain("cuGraphExecDestroy twice");
  executable->nodes.clear();
  return 0;
}

SAME(cuStreamBeginCapture, cuStreamBeginCapture_v2);
SAME(cuStreamEndCapture, cuStreamEndCapture);
SAME(cuStreamGetCaptureInfo, cuStreamGetCaptureInfo_v2);
SAME(cuStreamUpdateCaptureDependencies, cuStreamUpdateCaptureDependencies);
SAME(cuGraphInstantiate, cuGraphInstantiateWithFlags);
SAME(cuGraphExecUpdate, cuGraphExecUpdate);
SAME(cuGraphDestroy, cuGraphDestroy);
SAME(cuGraphLaunch, cuGraphLaunch);
SAME(cuGraphExecDestroy, cuGraphExecDestroy);
