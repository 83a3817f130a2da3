// The driver of the tests: captured streams and graphs.
#include "tests/fake_driver/libraries/driver.h"

using namespace fake_driver;  // NOLINT: this is its interface

DRIVER_FUNCTION(cuStreamBeginCapture_v2)(CUstream stream, int mode) {
  const Call call("cuStreamBeginCapture_v2");
  if (call.result != 0) return call.result;
  if (stream->capturing || !belongs("cuStreamBeginCapture", stream->context)) return illegal_state;
  if (mode != capture_mode_relaxed) complain("a capture that forbids other threads' calls");
  stream->capturing = true;
  stream->invalidated = false;
  stream->captured.clear();
  return 0;
}

DRIVER_FUNCTION(cuStreamEndCapture)(CUstream stream, CUgraph* graph) {
  const Call call("cuStreamEndCapture");
  if (call.result != 0) {
    stream->capturing = false;  // it ends, however it ends
    return call.result;
  }
  if (!stream->capturing) {
    complain("cuStreamEndCapture of a stream that is not being captured");
    return illegal_state;
  }
  stream->capturing = false;
  *graph = nullptr;
  if (stream->invalidated) return capture_invalidated;
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
  if (executable->nodes.size() != graph->nodes.size()) {
    *why = topology_changed;
    return update_failed;
  }
  executable->nodes = graph->nodes;
  return 0;
}

DRIVER_FUNCTION(cuGraphDestroy)(CUgraph graph) {
  const Call call("cuGraphDestroy");
  if (call.result != 0) return call.result;
  if (!graph || std::exchange(graph->destroyed, true)) {
    complain("cuGraphDestroy of no graph");
    return invalid_handle;
  }
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
  for (const Work& work : executable->nodes) enqueue(stream, work);
  return 0;
}

DRIVER_FUNCTION(cuGraphExecDestroy)(CUgraphExec executable) {
  const Call call("cuGraphExecDestroy");
  if (call.result != 0) return call.result;
  if (std::exchange(executable->destroyed, true)) complain("cuGraphExecDestroy twice");
  return 0;
}

SAME(cuStreamBeginCapture, cuStreamBeginCapture_v2);
SAME(cuStreamEndCapture, cuStreamEndCapture);
SAME(cuGraphInstantiate, cuGraphInstantiateWithFlags);
SAME(cuGraphExecUpdate, cuGraphExecUpdate);
SAME(cuGraphDestroy, cuGraphDestroy);
SAME(cuGraphLaunch, cuGraphLaunch);
SAME(cuGraphExecDestroy, cuGraphExecDestroy);
