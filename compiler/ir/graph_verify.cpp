#include "compiler/ir/graph.h"
#include "compiler/ir/graph_storage.h"

namespace kroton {
namespace {

using Vertex = Graph::Vertex;

[[noreturn]] void fail(const Graph& graph, const std::string& what) {
  throw InternalError("graph: " + what + "\n" + to_string(graph));
}

[[noreturn]] void fail(const Graph& graph, Vertex v, const std::string& what) {
  fail(graph, "%" + std::to_string(v) + " (" + std::string(graph[v].op->name) + ") " + what);
}

// Each position 0 ... n-1 once, and as many as the op takes.
void verify_operands(const Graph& graph, Vertex v) {
  const Graph::Storage& storage = graph.storage();
  const std::size_t count = boost::in_degree(v, storage);
  const int arity = graph[v].op->arity;
  if (arity >= 0 && count != static_cast<std::size_t>(arity)) {
    fail(graph, v, "has " + std::to_string(count) + " operands, expected " + std::to_string(arity));
  }
  std::vector<bool> seen(count, false);
  for (auto [edge, end] = boost::in_edges(v, storage); edge != end; ++edge) {
    const int position = storage[*edge].position;
    if (position < 0 || static_cast<std::size_t>(position) >= count ||
        seen[static_cast<std::size_t>(position)]) {
      fail(graph, v, "has no or two operands at position " + std::to_string(position));
    }
    seen[static_cast<std::size_t>(position)] = true;
  }
}

void verify_type(const Graph& graph, Vertex v, std::span<const Tensor> arguments) {
  const VertexData& data = graph[v];
  TensorType type;
  try {
    type = infer_type(*data.op, arguments, data.attributes, data.line);
  } catch (const Error& error) {
    fail(graph, v, std::string("has no type: ") + error.what());
  }
  if (!(type == data.type)) {
    fail(graph, v, "is " + to_string(data.type) + ", its rule gives " + to_string(type));
  }
}

}  // namespace

void verify(const Graph& graph) {
  for (const auto* roots : {&graph.inputs, &graph.outputs}) {
    for (const Vertex root : *roots) {
      if (root >= graph.size()) fail(graph, "no vertex %" + std::to_string(root));
    }
  }
  for (const Graph::Update& update : graph.updates) {
    if (update.value >= graph.size()) fail(graph, "no vertex %" + std::to_string(update.value));
  }
  if (graph.inputs.size() != graph.input_tensors.size()) {
    fail(graph, "the inputs do not match the function's parameters");
  }
  std::vector<Vertex> order;
  try {
    order = graph.topological_order();
  } catch (const InternalError& error) {
    throw InternalError(std::string(error.what()) + "\n" + to_string(graph));
  }
  std::vector<Tensor> stand_ins(graph.size());
  for (const Vertex v : order) {
    verify_operands(graph, v);
    std::vector<Tensor> arguments;
    for (const Vertex operand : graph.operands(v)) arguments.push_back(stand_ins[operand]);
    verify_type(graph, v, arguments);
    stand_ins[v] = stand_in(graph[v].type, graph[v].line);
  }
}

}  // namespace kroton
