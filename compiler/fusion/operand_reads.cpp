// Where an op reads its operands, found by asking its `at`.
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
    return loop::check_index(index, loop::size(size), 0);
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

}  // namespace kroton
