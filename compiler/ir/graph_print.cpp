#include <numeric>
#include <sstream>

#include "compiler/ir/graph.h"
#include "compiler/ir/graph_storage.h"
#include "compiler/ir/leaf.h"
#include "compiler/loop/scalar.h"

namespace kroton {
namespace {

std::string number(Graph::Vertex v) { return "%" + std::to_string(v); }

std::string value_text(const Attributes& literal) {
  if (is_float(literal.dtype)) return loop::digits_of({literal.real, 0}, literal.dtype);
  return loop::digits_of({0, literal.integers.at(0)}, literal.dtype);
}

void append_vertex(std::string& text, const Graph& graph, Graph::Vertex v) {
  const VertexData& data = graph[v];
  text += number(v) + " = " + std::string(data.op->name) + "(";
  // Not by operands(), which a corrupt graph that is printed for its error would upset.
  std::map<int, Graph::Vertex> operands;
  const Graph::Storage& storage = graph.storage();
  for (auto [edge, end] = boost::in_edges(v, storage); edge != end; ++edge) {
    operands.emplace(storage[*edge].position, boost::source(*edge, storage));
  }
  const char* separator = "";
  for (const auto& [position, operand] : operands) {
    text += separator + number(operand);
    separator = ", ";
  }
  if (data.op == &literal_op) text += value_text(data.attributes);
  text += ")";
  const std::string attributes = data.op == &literal_op ? "" : data.attributes.to_string();
  if (!attributes.empty()) text += " {" + attributes + "}";
  text += " : " + to_string(data.type);
  if (data.line.line != 0) text += "  [" + to_string(data.line) + "]";
  text += "\n";
  if (!data.attributes.body) return;
  const Body& body = *data.attributes.body;
  std::istringstream lines(to_string(Graph(body.parameters, body.results, {}, false)));
  for (std::string line; std::getline(lines, line);) text += "  | " + line + "\n";
}

}  // namespace

std::string to_string(const Graph& graph) {
  std::string text = "inputs:";
  for (const Graph::Vertex input : graph.inputs) {
    text += (input == graph.inputs.front() ? " " : ", ") + number(input) + " " +
            graph[input].attributes.name;
  }
  text += "\n";
  std::vector<Graph::Vertex> order;
  try {
    order = graph.topological_order();
  } catch (const InternalError&) {  // a corrupt graph, whose error shows this text
    order.resize(graph.size());
    std::iota(order.begin(), order.end(), Graph::Vertex{0});
  }
  for (const Graph::Vertex v : order) append_vertex(text, graph, v);
  if (!graph.outputs.empty()) {
    text += "outputs:";
    for (std::size_t k = 0; k < graph.outputs.size(); ++k) {
      text += (k == 0 ? " " : ", ") + number(graph.outputs[k]);
    }
    text += "\n";
  }
  for (const Graph::Update& update : graph.updates) {
    text += "update: " + update.state->name + " <- " + number(update.value) + "\n";
  }
  return text;
}

}  // namespace kroton
