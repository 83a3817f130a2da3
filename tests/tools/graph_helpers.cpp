#include "tests/tools/graph_helpers.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>

using kroton::DType;
using kroton::Graph;
using kroton::ReferenceValue;
using kroton::Tensor;

namespace graph_test {

Graph graph_of(const std::vector<Tensor>& outputs, bool unify) {
  std::vector<Tensor> inputs;
  for (const Tensor& tensor : kroton::topological_order(outputs)) {
    if (tensor.node().op.name == "input") inputs.push_back(tensor);
  }
  return Graph(inputs, outputs, {}, unify);
}

int count(const Graph& graph, std::string_view op) {
  const auto order = graph.topological_order();
  return static_cast<int>(std::count_if(order.begin(), order.end(),
                                        [&](Graph::Vertex v) { return graph[v].op->name == op; }));
}

namespace {

std::string number(double value) {
  std::string digits = std::to_string(value);
  digits.erase(digits.find_last_not_of('0') + 1);
  if (digits.back() == '.') digits.pop_back();
  return digits;
}

std::string text_of(const Graph& graph, Graph::Vertex v) {
  const kroton::VertexData& data = graph[v];
  if (data.op->name == "literal") {
    return number(is_float(data.attributes.dtype)
                      ? data.attributes.real
                      : static_cast<double>(data.attributes.integers.at(0)));
  }
  if (data.op->name == "shared") return data.attributes.state->name;
  if (!data.attributes.name.empty()) return data.attributes.name;
  const std::vector<Graph::Vertex> operands = graph.operands(v);
  if (data.op->name == "broadcast" && graph[operands[0]].op->name == "literal") {
    return text_of(graph, operands[0]);
  }
  std::string result(data.op->name);
  const std::string attributes = data.attributes.to_string();
  if (!attributes.empty()) result += "{" + attributes + "}";
  const char* separator = "(";
  for (const Graph::Vertex operand : operands) {
    result += separator + text_of(graph, operand);
    separator = ", ";
  }
  return result + (operands.empty() ? "" : ")");
}

}  // namespace

std::string text(const Graph& graph, std::size_t output) {
  return text_of(graph, graph.outputs.at(output));
}

std::vector<ReferenceValue> random_inputs(const Graph& graph, std::int64_t size,
                                          std::uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<double> normal(0, 1.5);
  std::vector<ReferenceValue> result;
  for (const Graph::Vertex input : graph.inputs) {
    ReferenceValue value;
    value.dtype = graph[input].type.dtype;
    std::size_t elements = 1;
    for (const kroton::Dim& dim : graph[input].type.shape) {
      value.shape.push_back(dim.evaluate([size](const kroton::DimAtom&) { return size; }));
      elements *= static_cast<std::size_t>(value.shape.back());
    }
    for (std::size_t k = 0; k < elements; ++k) {
      const double x = normal(engine);
      switch (value.dtype) {
        case DType::f32:
          value.data.push_back(static_cast<double>(static_cast<float>(x)));
          break;
        case DType::f64:
          value.data.push_back(x);
          break;
        case DType::boolean:
          value.data.push_back(x > 0 ? 1 : 0);
          break;
        default:
          value.data.push_back(static_cast<double>(engine() % 3));
      }
    }
    result.push_back(std::move(value));
  }
  return result;
}

std::vector<ReferenceValue> values(const Graph& graph, const std::vector<ReferenceValue>& inputs) {
  std::vector<Graph::Vertex> roots = graph.inputs;
  roots.insert(roots.end(), graph.outputs.begin(), graph.outputs.end());
  const std::vector<Tensor> exported = graph.export_expressions(roots);
  std::map<const kroton::Node*, ReferenceValue> bindings;
  for (std::size_t k = 0; k < inputs.size(); ++k) bindings[&exported[k].node()] = inputs[k];
  return kroton::evaluate(std::span(exported).subspan(inputs.size()), bindings);
}

void check_close(const std::vector<ReferenceValue>& before,
                 const std::vector<ReferenceValue>& after, double tolerance) {
  REQUIRE(before.size() == after.size());
  for (std::size_t k = 0; k < before.size(); ++k) {
    CHECK(before[k].dtype == after[k].dtype);
    REQUIRE(before[k].shape == after[k].shape);
    REQUIRE(before[k].data.size() == after[k].data.size());
    for (std::size_t i = 0; i < before[k].data.size(); ++i) {
      const double expected = before[k].data[i];
      const double actual = after[k].data[i];
      if (!std::isfinite(expected)) continue;
      const bool close =
          std::abs(actual - expected) <= tolerance * std::max(1.0, std::abs(expected));
      CAPTURE(i);
      CAPTURE(expected);
      CAPTURE(actual);
      REQUIRE(close);
    }
  }
}

}  // namespace graph_test
