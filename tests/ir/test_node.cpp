#include <doctest/doctest.h>
#include <kroton/error.h>
#include <kroton/grad.h>
#include <kroton/ops.h>
#include <kroton/variables.h>

#include <memory>
#include <source_location>
#include <thread>
#include <vector>

#include "compiler/ir/leaf.h"
#include "compiler/ir/reference.h"
#include "compiler/ops/records.h"

namespace kt = kroton;
using kt::Tensor;

TEST_CASE("equal expressions are one node") {
  const Tensor a = kt::scalar("a");
  const Tensor b = kt::scalar("b");
  const Tensor sum = a + b;
  CHECK(same(sum, a + b));
  CHECK_FALSE(same(sum, a - b));
  CHECK_FALSE(same(kt::scalar("a"), a));
  CHECK(same(a * 2, a * 2));
  CHECK(same(a * 0.1, a * 0.1F));  // f32 literals are rounded to f32
  CHECK_FALSE(same(a * 2, a * 3));
  CHECK(same(kt::exp(a + b), kt::exp(sum)));
  CHECK_FALSE(same(kt::make_literal(0.0, kt::f64, {}), kt::make_literal(-0.0, kt::f64, {})));
  CHECK_FALSE(same(kt::make_literal(1, kt::i64, {}), kt::make_literal(1, kt::i32, {})));
}

TEST_CASE("a node lives as long as its handles") {
  const Tensor a = kt::scalar("a");
  std::weak_ptr<const kt::Node> watched;
  {
    const Tensor product = a * a;
    watched = product.handle();
    CHECK_FALSE(watched.expired());
    CHECK(product.handle().use_count() == 1);
  }
  CHECK(watched.expired());
  CHECK(kt::to_string((a * a).type()) == "f32 ()");
}

namespace {

std::string previous_line(const std::source_location& here = std::source_location::current()) {
  return "test_node.cpp:" + std::to_string(here.line() - 1);
}

}  // namespace

TEST_CASE("nodes carry the line of the user's code") {
  const Tensor a = kt::vector("a");
  CHECK(to_string(a.line()) == previous_line());
  const Tensor b = kt::tensor("b", {a.shape(0)});
  CHECK(to_string(b.line()) == previous_line());
  const Tensor sum = a + b;
  CHECK(to_string(sum.line()) == previous_line());
  const Tensor log = kt::log(sum);
  CHECK(to_string(log.line()) == previous_line());
  const Tensor twice = 2 * log;
  CHECK(to_string(twice.line()) == previous_line());
  const Tensor moved = a + kt::Array::from({1.0F, 2.0F, 3.0F});
  CHECK(to_string(moved.line()) == previous_line());
  const kt::Shared w = kt::shared(kt::Array::zeros({3}), "w");
  CHECK(to_string(w.line()) == previous_line());
  const kt::LineScope scope({"elsewhere/model.cpp", 17});
  const Tensor difference = a - b;
  CHECK(to_string(difference.line()) == "model.cpp:17");
  CHECK(to_string(kt::SourceLine()) == "unknown line");
}

TEST_CASE("names are the user's, else the operation's") {
  const Tensor x = kt::matrix("x");
  CHECK(x.name() == "x");
  CHECK(kt::vector().name() == "vector");
  CHECK(kt::shared(kt::Array::zeros({3})).name() == "shared");
  CHECK(kt::exp(x).name() == "exp");
  CHECK(x.shape(1).to_string() == "x.shape[1]");
}

TEST_CASE("variables have the sizes they are given") {
  const Tensor x = kt::tensor("x", {kt::dim("rows"), 784}, kt::f64);
  CHECK(to_string(x.type()) == "f64 (rows, 784)");
  CHECK(x.shape(0) == kt::dim("rows"));
  CHECK(kt::tensor5("v", kt::i32).rank() == 5);
  CHECK(kt::tensor4().rank() == 4);
  CHECK(kt::tensor3().rank() == 3);
  CHECK(kt::scalar("s", kt::boolean).dtype() == kt::boolean);
  CHECK_FALSE(x.shape(0) == kt::matrix("x").shape(0));
  CHECK_THROWS_WITH_AS(
      kt::tensor("x", {3, -1}),
      doctest::Contains("tensor: expected no negative size: x is f32 (3, -1)  [test_node.cpp:"),
      kt::ShapeError);
}

TEST_CASE("a chain of 200,000 nodes is built, differentiated and destroyed") {
  const int length = 200000;
  const Tensor x = kt::scalar("x", kt::f64);
  Tensor chain = x;
  for (int i = 0; i < length; ++i) chain = chain * 1.00001 + x;
  const std::size_t nodes = kt::topological_order(std::span(&chain, 1)).size();
  CHECK(nodes == 2 * length + 2);
  Tensor gradient = kt::grad(chain, x);
  const std::map<const kt::Node*, kt::ReferenceValue> at = {{&x.node(), {kt::f64, {}, {2.0}}}};
  const auto values = kt::evaluate(std::vector<Tensor>{chain, gradient}, at);
  CHECK(values[0].data[0] == doctest::Approx(2 * values[1].data[0]));

  const std::vector<Tensor> copy =
      kt::substitute(std::span(&chain, 1), [&](const Tensor& t) -> std::optional<Tensor> {
        if (same(t, x)) return kt::scalar("y", kt::f64);
        return std::nullopt;
      });
  CHECK_FALSE(same(copy[0], chain));
  const std::weak_ptr<const kt::Node> watched = chain.handle();
  chain = Tensor();
  gradient = Tensor();
  CHECK(watched.expired());
}

TEST_CASE("substitute rebuilds users and leaves the rest") {
  const Tensor a = kt::scalar("a");
  const Tensor b = kt::scalar("b");
  const Tensor c = kt::scalar("c");
  const Tensor untouched = kt::exp(b);
  const Tensor root = (a + b) * untouched;
  const Tensor roots[] = {root, untouched};
  const auto result = kt::substitute(roots, [&](const Tensor& t) -> std::optional<Tensor> {
    if (same(t, a)) return c;
    return std::nullopt;
  });
  CHECK(same(result[0], (c + b) * untouched));
  CHECK(same(result[1], untouched));
  CHECK(to_string(result[0].line()) == to_string(root.line()));
}

TEST_CASE("topological order has inputs before users, each node once") {
  const Tensor a = kt::scalar("a");
  const Tensor sum = a + a;
  const Tensor root = sum * sum + a;
  const Tensor roots[] = {root, sum};
  const auto order = kt::topological_order(roots);
  REQUIRE(order.size() == 4);
  CHECK(same(order[0], a));
  CHECK(same(order[1], sum));
  CHECK(same(order[3], root));
}

TEST_CASE("attributes print what is set") {
  kt::Attributes attributes;
  CHECK(attributes.to_string().empty());
  attributes.axes = {0, 2};
  attributes.dims = {kt::Dim::named("batch"), 3};
  attributes.integers = {-1};
  attributes.dtype = kt::i64;
  attributes.real = 0.1;
  CHECK(attributes.to_string() == "axes=[0, 2] dims=(batch, 3) integers=[-1] dtype=i64 real=0.1");
  kt::Attributes other = attributes;
  CHECK(other == attributes);
  CHECK(other.hash() == attributes.hash());
  other.integers = {1};
  CHECK_FALSE(other == attributes);
}

TEST_CASE("literals take only values that their dtype holds") {
  double value = 0;
  CHECK(kt::literal_value(kt::make_literal(3, kt::f32, {}), value));
  CHECK(value == 3);
  CHECK(kt::literal_value(kt::make_literal(-4.0, kt::i64, {}), value));
  CHECK(value == -4);
  CHECK_FALSE(kt::literal_value(kt::scalar("x"), value));
  CHECK(kt::literal_value(kt::make_constant(kt::Array(2.5), {}), value));
  CHECK(value == 2.5);
  const kt::SourceLine line{"dir/a.cpp", 3};
  CHECK_THROWS_WITH_AS(kt::make_literal(0.5, kt::i64, line),
                       "literal: 0.500000 does not fit i64  [a.cpp:3]", kt::TypeError);
  CHECK_THROWS_WITH_AS(kt::make_literal(std::int64_t{1} << 31, kt::i32, line),
                       "literal: 2147483648 does not fit i32  [a.cpp:3]", kt::TypeError);
  CHECK_THROWS_AS(kt::make_literal(2, kt::boolean, line), kt::TypeError);
  const Tensor ids = kt::vector("ids", kt::i64);
  CHECK_THROWS_WITH_AS(
      ids + 0.5,
      doctest::Contains("expected a value of i64, got the floating literal 0.5  [test_node.cpp:"),
      kt::TypeError);
  CHECK((ids + 1).dtype() == kt::i64);
}

TEST_CASE("a constant keeps its values when the array changes") {
  kt::Array array = kt::Array::from({1.0F, 2.0F, 3.0F});
  const Tensor constant = kt::vector("x") + array;
  array.data<float>()[0] = 17;
  const Tensor leaf = constant.node().inputs[1];
  CHECK(kt::evaluate(std::span(&leaf, 1), {})[0].data == std::vector<kt::Number>{1, 2, 3});
}

TEST_CASE("an empty tensor is named as the fault") {
  const Tensor x = kt::scalar("x");
  CHECK_THROWS_WITH_AS(kt::make_node(kt::add_op, {x, Tensor()}, {}, {"m.cpp", 1}),
                       "add: a Tensor is empty: no expression has been assigned to it  [m.cpp:1]",
                       kt::ValueError);
  CHECK_THROWS_WITH_AS(kt::make_node(kt::add_op, {x}, {}, {"m.cpp", 1}),
                       "add: expected 2 inputs, got 1  [m.cpp:1]", kt::InternalError);
}

TEST_CASE("a type error names the op, every input and the line") {
  const Tensor x = kt::tensor("x", {kt::dim("batch"), 784});
  const Tensor w = kt::tensor("w", {512, 10});
  const std::vector<Tensor> inputs = {x, w};
  const kt::Attributes attributes;
  kt::TypeContext context(kt::dot_op, inputs, attributes, {"model/model.cpp", 17});
  CHECK_THROWS_WITH_AS(
      context.fail_shape("inner sizes differ"),
      "dot: inner sizes differ: x is f32 (batch, 784), w is f32 (512, 10)  [model.cpp:17]",
      kt::ShapeError);
  CHECK_THROWS_WITH_AS(
      context.fail_type("expected numbers"),
      "dot: expected numbers: x is f32 (batch, 784), w is f32 (512, 10)  [model.cpp:17]",
      kt::TypeError);
}

TEST_CASE("sizes that must be equal are noted unless they are known") {
  const std::vector<Tensor> inputs = {kt::vector("x"), kt::vector("y")};
  const kt::Attributes attributes;
  const kt::Dim x = inputs[0].shape(0);
  const kt::Dim y = inputs[1].shape(0);
  kt::TypeContext context(kt::add_op, inputs, attributes, {"m.cpp", 1});
  CHECK(context.equal(x, x, "sizes differ") == x);
  CHECK(context.equal(3, 3, "sizes differ") == kt::Dim(3));
  CHECK(context.take_constraints().empty());
  CHECK(context.equal(x, 3, "sizes differ") == kt::Dim(3));
  CHECK(context.equal(x, y, "sizes differ") == x);
  const auto constraints = context.take_constraints();
  REQUIRE(constraints.size() == 2);
  CHECK(constraints[1].message == "add: sizes differ: x.shape[0] and y.shape[0]  [m.cpp:1]");
  CHECK_THROWS_AS(context.equal(3, 4, "sizes differ"), kt::ShapeError);
  CHECK_THROWS_AS(context.equal(x, x + 1, "sizes differ"), kt::ShapeError);
}

TEST_CASE("a shared variable keeps a copy of its value, type and name") {
  kt::Array initial = kt::Array::from({1.0F, 2.0F, 3.0F});
  kt::Shared w = kt::shared(initial, "w");
  initial.data<float>()[0] = 17;
  CHECK(kt::array_equal(w.get_value(), kt::Array::from({1.0F, 2.0F, 3.0F})));
  w.get_value().data<float>()[0] = 17;
  CHECK(w.get_value().data<float>()[0] == 1);
  w.set_value(kt::Array::from({4.0F, 5.0F, 6.0F}));
  CHECK(kt::array_equal(w.get_value(), kt::Array::from({4.0F, 5.0F, 6.0F})));
  CHECK_THROWS_WITH_AS(w.set_value(kt::Array::zeros({2})), "set_value: w is f32 (3,), got f32 (2,)",
                       kt::ShapeError);
  CHECK_THROWS_WITH_AS(w.set_value(kt::Array::zeros({3}, kt::f64)),
                       "set_value: w is f32 (3,), got f64 (3,)", kt::TypeError);
  CHECK(kt::array_equal(w.get_value(), kt::Array::from({4.0F, 5.0F, 6.0F})));
}

TEST_CASE("expressions are built on several threads at once") {
  const Tensor a = kt::scalar("a");
  std::vector<Tensor> results(4);
  std::vector<std::thread> threads;
  for (Tensor& result : results) {
    threads.emplace_back([&result, a] {
      for (int i = 0; i < 300; ++i) {
        result = kt::exp(a * 2) + (i % 3);
        result = result * a;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Tensor& result : results) CHECK(same(result, results[0]));
}
