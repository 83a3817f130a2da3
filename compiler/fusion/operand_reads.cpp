// Where an op reads its operands, found by asking its `at`.
#include <algorithm>

#include "compiler/fusion/fusion.h"

namespace kroton {
namespace {

using Vertex = Graph::Vertex;

// Answers `at` with stand-ins and notes what is read where.
class RecordingContext final : public PointContext {
 public:
  RecordingContext(const Graph& graph, Vertex v, std::vector<Vertex> operands)
      : graph_(graph), data_(graph[v]), operands_(std::move(operands)) {}
  const Attributes& attributes() const override { return data_.attributes; }
  const TensorType& type() const override { return data_.type; }
  int input_count() const override { return static_cast<int>(operands_.size()); }
  const TensorType& input_type(int k) const override {
    return graph_[operands_[static_cast<std::size_t>(k)]].type;
  }
  loop::Expr input(int k, const Index& index) override {
    reads.push_back({k, index, conditions_ > 0});
    // A value that depends on just what a load would: on the operand and the place.
    loop::Expr stand_in =
        loop::variable({(1 << 30) + static_cast<int>(operands_[static_cast<std::size_t>(k)]),
                        DType::i64, "operand"});
    for (const loop::Expr& i : index) stand_in = stand_in * loop::integer(1000003) + i;
    return loop::cast(stand_in, input_type(k).dtype);
  }
  loop::Expr check_index(const loop::Expr& index, const Dim& size, int) override {
    checked.push_back(index);
    return loop::check_index(index, loop::size(size), 0);
  }
  loop::Expr check_position(const loop::Expr& position, const Dim& size, int axis) override {
    return check_index(position, size, axis);
  }
  loop::Expr check(const loop::Expr& value, const loop::Expr& condition, const loop::Expr& index,
                   const loop::Expr& size, const std::string&) override {
    checked.push_back(condition);
    return loop::check(value, condition, index, size, 0);
  }
  loop::Expr choose(const loop::Expr& condition, const std::function<loop::Expr()>& then,
                    const std::function<loop::Expr()>& otherwise) override {
    ++conditions_;
    const loop::Expr first = then();
    const loop::Expr second = otherwise();
    --conditions_;
    return loop::select(condition, first, second);
  }
  std::vector<OperandRead> reads;
  std::vector<loop::Expr> checked;

 private:
  const Graph& graph_;
  const VertexData& data_;
  std::vector<Vertex> operands_;
  int conditions_ = 0;
};

}  // namespace

std::vector<OperandRead> operand_reads(const Graph& graph, Vertex v, const Index& point) {
  RecordingContext context(graph, v, graph.operands(v));
  graph[v].op->at(context, point);
  return std::move(context.reads);
}

std::vector<bool> checked_axes(const Graph& graph, Vertex v) {
  Index point;
  std::vector<loop::Variable> variables;
  for (int axis = 0; axis < graph[v].type.rank(); ++axis) {
    variables.push_back(loop::fresh_variable("i"));
    point.push_back(loop::variable(variables.back()));
  }
  RecordingContext context(graph, v, graph.operands(v));
  graph[v].op->at(context, point);
  std::vector<bool> result;
  for (const loop::Variable& variable : variables) {
    result.push_back(
        std::any_of(context.checked.begin(), context.checked.end(),
                    [&](const loop::Expr& e) { return loop::depends_on(e, variable); }));
  }
  return result;
}

}  // namespace kroton
