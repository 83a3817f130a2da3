// The loop expressions and statements of every pointwise and writing op, run by the loop
// interpreter, against its reference.
#include <doctest/doctest.h>
#include <kroton/index.h>
#include <kroton/variables.h>

#include <cmath>
#include <utility>

#include "compiler/ir/block_context.h"
#include "compiler/loop/interpreter.h"
#include "compiler/loop/traverse.h"
#include "tests/tools/op_tools.h"

using namespace op_test;  // NOLINT: tests

namespace {

// Row-major buffers for a node and its operands, and the loops around what the record builds.
class OneNode {
 public:
  explicit OneNode(const Node& node) : node_(node) {
    for (const Tensor& input : node.inputs) {
      kernel_.inputs.push_back(buffer(input.type()));
    }
    kernel_.outputs.push_back(buffer(node.type));
    kernel_.name = std::string(node.op.name);
    kernel_.work = loop::integer(1);
  }

  loop::Expr load(int k, const Index& index, const loop::Expr& condition = nullptr) const {
    const auto position = static_cast<std::size_t>(k);
    return loop::load(kernel_.inputs[position], linear(node_.inputs[position].shape(), index),
                      condition);
  }

  loop::Expr load_output(const Index& index) const {
    return loop::load(kernel_.outputs[0], linear(node_.type.shape, index));
  }

  static loop::Expr check_index(const loop::Expr& index, const Dim& size, int axis) {
    return loop::check_index(index, loop::size(size), axis);
  }

  static loop::Expr check_position(const loop::Expr& position, const Dim& size, int axis) {
    const loop::Expr fits = loop::binary(loop::Op::le, loop::integer(0), position);
    return check_index(loop::check(position, fits, position, loop::size(size), axis), size, axis);
  }

  void store(const Index& index, const loop::Expr& value) {
    current_->push_back(loop::Store{kernel_.outputs[0], linear(node_.type.shape, index), value});
  }

  int scratch(DType dtype, const Dims& shape) {
    scratch_.emplace_back(buffer({dtype, shape}), shape);
    kernel_.outputs.push_back(scratch_.back().first);
    return static_cast<int>(scratch_.size()) - 1;
  }

  void store_scratch(int number, const Index& index, const loop::Expr& value) {
    const auto& [buffer, shape] = scratch_[static_cast<std::size_t>(number)];
    current_->push_back(loop::Store{buffer, linear(shape, index), value});
  }

  loop::Expr load_scratch(int number, const Index& index) const {
    const auto& [buffer, shape] = scratch_[static_cast<std::size_t>(number)];
    return loop::load(buffer, linear(shape, index));
  }

  loop::Expr hold(const loop::Expr& value) {
    const loop::Variable held{next_variable_++, value->dtype, "t"};
    current_->push_back(loop::Declare{held, value});
    return loop::variable(held);
  }

  void loop(const loop::Expr& extent, const std::function<void(const loop::Expr&)>& body) {
    loop::For loop;
    loop.variable = {next_variable_++, DType::i64, "i"};
    loop.extent = extent;
    loop::Block* const outside = std::exchange(current_, &loop.body);
    body(loop::variable(loop.variable));
    current_ = outside;
    current_->push_back(loop::statement(std::move(loop)));
  }

  void nest(const Dims& extents, const std::function<void(const Index&)>& body) {
    std::vector<loop::Variable> variables;
    Index index;
    for (std::size_t axis = 0; axis < extents.size(); ++axis) {
      variables.push_back({next_variable_++, DType::i64, "i"});
      index.push_back(loop::variable(variables.back()));
    }
    loop::Block block;
    loop::Block* const outside = std::exchange(current_, &block);
    body(index);
    current_ = outside;
    for (std::size_t axis = extents.size(); axis-- > 0;) {
      loop::For loop;
      loop.variable = variables[axis];
      loop.extent = loop::size(extents[axis]);
      loop.body = std::move(block);
      block = {loop::statement(std::move(loop))};
    }
    current_->insert(current_->end(), block.begin(), block.end());
  }

  // The output for these inputs.
  ReferenceValue run(const std::vector<ReferenceValue>& inputs, const SizeBindings& sizes,
                     const std::vector<std::int64_t>& shape) const {
    loop::verify(kernel_);
    loop::Memory memory;
    std::vector<Array> arrays;
    for (const ReferenceValue& input : inputs) {
      arrays.push_back(to_array(input));
    }
    arrays.push_back(Array::zeros(Shape(shape), node_.type.dtype));
    for (const auto& [buffer, dims] : scratch_) {
      const std::int64_t count = evaluate(buffer->size, sizes);
      arrays.push_back(Array::full(Shape({count}), 7, buffer->dtype));
    }
    for (std::size_t k = 0; k < arrays.size(); ++k) {
      const auto& buffers = k < inputs.size() ? kernel_.inputs : kernel_.outputs;
      memory.buffers[buffers[k < inputs.size() ? k : k - inputs.size()]->id] = {arrays[k].raw(),
                                                                                arrays[k].size()};
    }
    memory.size_of = [&](const DimAtom& atom) { return sizes.at(atom.identity); };
    if (const auto fault = loop::interpret(kernel_, memory)) {
      throw ValueError("index " + std::to_string(fault->index) + " is out of range on axis " +
                       std::to_string(fault->site) + " of size " + std::to_string(fault->size));
    }
    return from_array(arrays[inputs.size()]);
  }

 private:
  loop::BufferRef buffer(const TensorType& type) {
    return std::make_shared<const loop::Buffer>(loop::Buffer{
        next_buffer_++, "b", type.dtype, element_count(type.shape), loop::Space::global});
  }

  static loop::Expr linear(const Dims& shape, const Index& index) {
    REQUIRE(shape.size() == index.size());
    loop::Expr result = loop::integer(0);
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
      result = result * loop::size(shape[axis]) + index[axis];
    }
    return result;
  }

  const Node& node_;
  loop::Kernel kernel_;
  loop::Block* current_ = &kernel_.body;
  std::vector<std::pair<loop::BufferRef, Dims>> scratch_;
  int next_buffer_ = 0;
  int next_variable_ = 0;
};

class Point final : public PointContext {
 public:
  Point(const Node& node, OneNode& loops) : node_(node), loops_(loops) {}
  const Attributes& attributes() const override { return node_.attributes; }
  const TensorType& type() const override { return node_.type; }
  int input_count() const override { return static_cast<int>(node_.inputs.size()); }
  const TensorType& input_type(int k) const override {
    return node_.inputs[static_cast<std::size_t>(k)].type();
  }
  loop::Expr input(int k, const Index& index) override { return loops_.load(k, index, condition_); }
  loop::Expr check_index(const loop::Expr& index, const Dim& size, int axis) override {
    return OneNode::check_index(index, size, axis);
  }
  loop::Expr check_position(const loop::Expr& position, const Dim& size, int axis) override {
    return OneNode::check_position(position, size, axis);
  }
  loop::Expr check(const loop::Expr& value, const loop::Expr& condition, const loop::Expr& index,
                   const loop::Expr& size, const std::string&) override {
    return loop::check(value, condition, index, size, 0);
  }
  loop::Expr choose(const loop::Expr& condition, const std::function<loop::Expr()>& then,
                    const std::function<loop::Expr()>& otherwise) override {
    const auto under = [&](const loop::Expr& own, const std::function<loop::Expr()>& value) {
      const loop::Expr outer = condition_;
      condition_ = outer ? loop::binary(loop::Op::logical_and, outer, own) : own;
      const loop::Expr result = value();
      condition_ = outer;
      return result;
    };
    const loop::Expr first = under(condition, then);
    return loop::select(condition, first,
                        under(loop::unary(loop::Op::logical_not, condition), otherwise));
  }

 private:
  const Node& node_;
  OneNode& loops_;
  loop::Expr condition_;
};

class Write final : public WriteContext, public BlockContext {
 public:
  Write(const Node& node, OneNode& loops) : node_(node), loops_(loops) {}
  const Attributes& attributes() const override { return node_.attributes; }
  const TensorType& type() const override { return node_.type; }
  int input_count() const override { return static_cast<int>(node_.inputs.size()); }
  const TensorType& input_type(int k) const override {
    return node_.inputs[static_cast<std::size_t>(k)].type();
  }
  loop::Expr input(int k, const Index& index) override { return loops_.load(k, index); }
  loop::Expr check_index(const loop::Expr& index, const Dim& size, int axis) override {
    return OneNode::check_index(index, size, axis);
  }
  loop::Expr check(const loop::Expr& value, const loop::Expr& condition, const loop::Expr& index,
                   const loop::Expr& size, const std::string&) override {
    return loop::check(value, condition, index, size, 0);
  }
  void nest(const Dims& extents, const std::function<void(const Index&)>& body) override {
    loops_.nest(extents, body);
  }
  void independent_nest(const Dims& extents,
                        const std::function<void(const Index&)>& body) override {
    loops_.nest(extents, body);
  }
  void loop(const loop::Expr& extent, const Dim& /*most*/,
            const std::function<void(const loop::Expr&)>& body) override {
    loops_.loop(extent, body);
  }
  void store(const Index& index, const loop::Expr& value) override { loops_.store(index, value); }
  loop::Expr stored(const Index& index) override { return loops_.load_output(index); }
  Scratch scratch(DType dtype, const Dims& shape) override {
    return {loops_.scratch(dtype, shape)};
  }
  Scratch scratch_of_iteration(DType dtype, const Dims& shape) override {
    return {loops_.scratch(dtype, shape)};
  }
  bool makes_kernels() const override { return false; }
  void sort(const Sorted&) override { throw InternalError("the test sorts nothing"); }
  bool run(const Running&) override { throw InternalError("the test runs along nothing"); }
  loop::Expr hold(const loop::Expr& value) override { return loops_.hold(value); }
  void store(Scratch scratch, const Index& index, const loop::Expr& value) override {
    loops_.store_scratch(scratch.number, index, value);
  }
  loop::Expr stored(Scratch scratch, const Index& index) override {
    return loops_.load_scratch(scratch.number, index);
  }

 private:
  const Node& node_;
  OneNode& loops_;
};

ReferenceValue run_loops(const Node& node, const std::vector<ReferenceValue>& inputs,
                         const SizeBindings& sizes, const std::vector<std::int64_t>& shape) {
  OneNode loops(node);
  if (node.op.kind == OpKind::write) {
    Write context(node, loops);
    node.op.write(context);
  } else {
    Point context(node, loops);
    loops.nest(node.type.shape,
               [&](const Index& index) { loops.store(index, node.op.at(context, index)); });
  }
  return loops.run(inputs, sizes, shape);
}

// Every node of `op` in the case; returns how many there were.
int check_nodes(const Case& c, const OpRecord& op) {
  int count = 0;
  SizeBindings sizes;
  for (const Tensor& input : c.inputs) {
    bind_sizes(input.node(), c.bindings.at(&input.node()).shape, sizes);
  }
  for (const Tensor& tensor : topological_order(std::span(&c.output, 1))) {
    const Node& node = tensor.node();
    if (&node.op != &op) {
      continue;
    }
    ++count;
    const ReferenceValue expected = value_of(tensor, c.bindings);
    const ReferenceValue value =
        run_loops(node, evaluate(node.inputs, c.bindings), sizes, expected.shape);
    const double epsilon = node.type.dtype == DType::f32 ? 2e-6 : 1e-14;
    for (std::size_t i = 0; i < expected.data.size(); ++i) {
      CAPTURE(i);
      if (is_float(node.type.dtype) && std::isfinite(expected.data[i])) {
        CHECK(value.data[i] == doctest::Approx(expected.data[i]).epsilon(epsilon));
      } else {
        CHECK(equal(value.data[i], expected.data[i]));
      }
    }
  }
  return count;
}

}  // namespace

TEST_CASE("the loops of every pointwise and writing op give its reference's values") {
  for (const OpRecord* op : all_ops()) {
    if (!op->has_points() && op->kind != OpKind::write) {
      continue;
    }
    CAPTURE(op->name);
    int count = 0;
    int number = -1;
    for (const Sample& sample : op->samples()) {
      ++number;
      CAPTURE(number);
      count += check_nodes(make_case(sample), *op);
      count += check_nodes(make_case(sample, true), *op);
    }
    CHECK(count >= 6);
  }
}

TEST_CASE("loops of views compute no divisions where axes stay or merge") {
  const Dim n = dim("n");
  const auto index_of = [](const Tensor& y) {
    OneNode loops(y.node());
    Point context(y.node(), loops);
    Index index;
    for (int axis = 0; axis < y.rank(); ++axis) {
      index.push_back(
          loop::variable({axis, DType::i64, std::string(1, static_cast<char>('i' + axis))}));
    }
    return loop::to_string(y.node().op.at(context, index));
  };
  const auto divides = [&](const Tensor& y) {
    const std::string text = index_of(y);
    return text.find("mod") != std::string::npos || text.find('/') != std::string::npos;
  };
  const Tensor x = tensor("x", {n, 3, 5});
  CHECK(!divides(reshape(x, {n, 1, 3, 5})));
  CHECK(!divides(reshape(tensor("z", {n, 15}), {n, 3, 5})));
  CHECK(divides(reshape(x, {n, 15})));
  CHECK(index_of(expand_dims(vector("v"), 1)) == "b[i]");
}

TEST_CASE("loops of gathers and scatters stop at an index out of range") {
  const Tensor x = zeros({3, 2});
  const Tensor ids = tensor("ids", {2}, i32);
  const ReferenceValue rows = ops::spread(f32, {3, 2}, -2, 2);
  const auto run = [&](const Tensor& y, const ReferenceValue& values, double bad,
                       const std::vector<std::int64_t>& shape) {
    return run_loops(y.node(), {values, ops::values(i32, {2}, {-1, bad})}, {}, shape);
  };
  CHECK_NOTHROW(run(take(x, ids), rows, -3, {2, 2}));
  CHECK_THROWS_WITH_AS(run(take(x, ids), rows, 3, {2, 2}),
                       "index 3 is out of range on axis 0 of size 3", ValueError);
  CHECK_THROWS_WITH_AS(run(take(x, ids), rows, -4, {2, 2}),
                       "index -4 is out of range on axis 0 of size 3", ValueError);
  CHECK_THROWS_WITH_AS(
      run(scatter_add(zeros({2}), ids, {5}), ops::values(f32, {2}, {1, 2}), 5, {5}),
      "index 5 is out of range on axis 0 of size 5", ValueError);
  CHECK_THROWS_WITH_AS(run(pick(zeros({2, 4}), ids), ops::spread(f32, {2, 4}, -1, 1), 4, {2}),
                       "index 4 is out of range on axis 1 of size 4", ValueError);
}
