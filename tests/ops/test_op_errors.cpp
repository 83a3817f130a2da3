// The text of every error that building an expression gives.
#include <doctest/doctest.h>
#include <kroton/grad.h>
#include <kroton/index.h>
#include <kroton/variables.h>

#include <functional>

#include "tests/tools/op_tools.h"

namespace test_op_errors {

using namespace op_test;  // NOLINT: tests

namespace {

// The message without its "  [file:line]", which must name this file.
template <class Error>
std::string message_of(const std::function<Tensor()>& build) {
  try {
    build();
  } catch (const Error& error) {
    const std::string text = error.what();
    const std::size_t place = text.find("  [test_op_errors.cpp:");
    CHECK(place != std::string::npos);
    return text.substr(0, place);
  }
  return "no error";
}

std::string shape_error(const std::function<Tensor()>& build) {
  return message_of<ShapeError>(build);
}
std::string type_error(const std::function<Tensor()>& build) {
  return message_of<TypeError>(build);
}
std::string value_error(const std::function<Tensor()>& build) {
  return message_of<ValueError>(build);
}

const Dim batch = dim("batch");
const Tensor x = tensor("x", {batch, 784});
const Tensor b = tensor("b", {512});
const Tensor w = tensor("w", {512, 10});
const Tensor i = tensor("i", {3}, i64);
const Tensor m = tensor("m", {3}, boolean);

}  // namespace

TEST_CASE("an error names the operation, the operands' types and the user's line") {
  const int line = __LINE__ + 2;
  try {
    [[maybe_unused]] const Tensor y = x + b;
    FAIL("no error");
  } catch (const ShapeError& error) {
    CHECK(std::string(error.what()) ==
          "add: sizes differ on axis 1: x is f32 (batch, 784), b is f32 (512,)  "
          "[test_op_errors.cpp:" +
              std::to_string(line) + "]");
  }
}

TEST_CASE("errors of shapes") {
  CHECK(shape_error([] { return b * tensor("c", {3}); }) ==
        "mul: sizes differ: b is f32 (512,), c is f32 (3,)");
  CHECK(shape_error([] { return dot(x, w); }) ==
        "dot: inner sizes differ: x is f32 (batch, 784), w is f32 (512, 10)");
  CHECK(shape_error([] { return dot(b, x); }) == "no error");  // batch may be 512
  CHECK(shape_error([] { return dot(b, i); }) ==
        "dot: inner sizes differ: b is f32 (512,), cast is f32 (3,)");
  CHECK(shape_error([] { return matmul(b, 3); }) ==
        "matmul: takes no scalars: b is f32 (512,), literal is f32 ()");
  CHECK(shape_error([] { return dot(tensor("t", {2, 3, 4}), w); }) ==
        "dot: takes ranks up to 2; use matmul: t is f32 (2, 3, 4), w is f32 (512, 10)");
  CHECK(shape_error([] { return reshape(b, {10, 10}); }) ==
        "reshape: the element count is not that of (10, 10): b is f32 (512,)");
  CHECK(shape_error([] { return reshape(w, {-1, 3}); }) ==
        "reshape: the element count is not that of (1706, 3): w is f32 (512, 10)");
  CHECK(shape_error([] { return broadcast_to(b, {512, 3}); }) ==
        "broadcast: cannot be repeated to (512, 3): b is f32 (512,)");
  CHECK(shape_error([] { return broadcast_to(w, {10}); }) ==
        "broadcast: cannot be repeated to (10,): w is f32 (512, 10)");
  CHECK(shape_error([] { return transpose(w, {0, 0}); }) ==
        "transpose: the axes are not a permutation of the axes of x: w is f32 (512, 10)");
  CHECK(shape_error([] { return squeeze(x, 0); }) ==
        "squeeze: the size of axis 0 is not known to be 1: x is f32 (batch, 784)");
  CHECK(shape_error([] { return concatenate({x, w}); }) ==
        "concatenate: sizes differ on axis 1: x is f32 (batch, 784), w is f32 (512, 10)");
  CHECK(shape_error([] { return concatenate({x, b}); }) ==
        "concatenate: ranks differ: x is f32 (batch, 784), b is f32 (512,)");
  CHECK(shape_error([] { return stack({x, b}); }) ==
        "stack: ranks differ: x is f32 (batch, 784), b is f32 (512,)");
  CHECK(shape_error([] { return stack({b, tensor("c", {3})}); }) ==
        "stack: sizes differ: b is f32 (512,), c is f32 (3,)");
  CHECK(shape_error([] { return stack({w, tensor("c", {512, 3})}, 2); }) ==
        "stack: sizes differ on axis 1: w is f32 (512, 10), c is f32 (512, 3)");
  CHECK(shape_error([] { return zeros({-2}); }) == "zeros: a size is negative in (-2,)");
  CHECK(shape_error([] { return ones({3, -1}); }) == "ones: a size is negative in (3, -1)");
  CHECK(shape_error([] { return full({-2}, 0.5); }) == "full: a size is negative in (-2,)");
  CHECK(shape_error([] { return broadcast_to(1.0, {-2}); }) ==
        "broadcast_to: a size is negative in (-2,)");
  CHECK(shape_error([] { return arange(-1); }) == "arange: a size is negative in (-1,)");
  CHECK(shape_error([] { return iota({3, -1}, 0); }) == "iota: a size is negative in (3, -1)");
  CHECK(shape_error([] { return one_hot(i, -10); }) == "one_hot: a size is negative in (3, -10)");
  CHECK(shape_error([] { return scatter_add(tensor("c", {3}), i, {-7}); }) ==
        "scatter_add: a size is negative in (-7,)");
  CHECK(shape_error([] { return zeros({batch - batch - 1}); }) ==
        "zeros: a size is negative in (-1,)");
  const Tensor deep = tensor("deep", {1, 1, 1, 1, 1, 1, 1, 2});
  CHECK(
      shape_error([&] { return expand_dims(deep, 0); }) ==
      "expand_dims: the result f32 (1, 1, 1, 1, 1, 1, 1, 1, 2) has 9 axes, at most 8 are possible");
  CHECK(shape_error([&] { return stack({deep, deep}); }) ==
        "stack: the result f32 (1, 1, 1, 1, 1, 1, 1, 1, 2) has 9 axes, at most 8 are possible");
  CHECK(shape_error([] { return pad(w, {{1, 1}}); }) ==
        "pad: there are 1 widths: w is f32 (512, 10)");
  CHECK(shape_error([] { return max(tensor("e", {0, 3}), 0); }) ==
        "max: axis 0 is empty: e is f32 (0, 3)");
  CHECK(shape_error([] { return argmin(tensor("e", {0}), 0); }) ==
        "argmin: axis 0 is empty: e is f32 (0,)");
  CHECK(shape_error([] { return softmax(tensor("e", {3, 0})); }) ==
        "softmax: axis 1 is empty: e is f32 (3, 0)");
  CHECK(shape_error([] { return softmax_cross_entropy(w, i); }) ==
        "softmax_cross_entropy: sizes differ on axis 0: w is f32 (512, 10), i is i64 (3,)");
  CHECK(shape_error([] { return pick(b, i); }) ==
        "pick: takes a matrix and a vector of labels: b is f32 (512,), i is i64 (3,)");
  CHECK(shape_error([] { return scatter_add(b, i, {7}); }) ==
        "scatter_add: values must be (3,): b is f32 (512,), i is i64 (3,)");
  CHECK(shape_error([] { return outer(w, b); }) ==
        "outer: takes two vectors: w is f32 (512, 10), b is f32 (512,)");
  CHECK(shape_error([] { return b(0, 0); }) == "index: there are 2 indices: b is f32 (512,)");
}

TEST_CASE("errors of dtypes") {
  CHECK(type_error([] { return exp(i); }) == "exp: takes floating point only: i is i64 (3,)");
  CHECK(type_error([] { return sigmoid(m); }) ==
        "sigmoid: takes floating point only: m is boolean (3,)");
  CHECK(type_error([] { return reciprocal(i); }) ==
        "reciprocal: takes floating point only: i is i64 (3,)");
  CHECK(type_error([] { return m + m; }) ==
        "add: takes numbers only: m is boolean (3,), m is boolean (3,)");
  CHECK(type_error([] { return -m; }) == "neg: takes numbers only: m is boolean (3,)");
  CHECK(type_error([] { return max(m); }) == "max: takes numbers only: m is boolean (3,)");
  CHECK(type_error([] { return scatter_add(m, i, {7}); }) ==
        "scatter_add: takes numbers only: m is boolean (3,), i is i64 (3,)");
  CHECK(type_error([] { return add_at(m, m, i); }) ==
        "add_at: takes numbers only: m is boolean (3,), i is i64 (3,), m is boolean (3,)");
  CHECK(type_error([] { return all(i); }) == "all: takes booleans only: i is i64 (3,)");
  CHECK(type_error([] { return logical_and(i, m); }) ==
        "logical_and: takes booleans only: i is i64 (3,), cast is i64 (3,)");
  CHECK(type_error([] { return logical_xor(i, i); }) ==
        "logical_xor: takes booleans only (x to the power of y is pow(x, y)): i is i64 (3,), "
        "i is i64 (3,)");
  CHECK(type_error([] { return logical_not(i); }) ==
        "logical_not: takes booleans only: i is i64 (3,)");
  CHECK(type_error([] { return x & 2; }) ==
        "bitwise_and: takes integers and booleans only: x is f32 (batch, 784), "
        "literal is f32 ()");
  CHECK(type_error([] { return x ^ 2; }) ==
        "bitwise_xor: takes integers and booleans only (x to the power of y is pow(x, y)): "
        "x is f32 (batch, 784), literal is f32 ()");
  CHECK(type_error([] { return ~x; }) == "bitwise_not: takes integers only: x is f32 (batch, 784)");
  CHECK(type_error([] { return where(i, 1.0, 2.0); }) ==
        "where: the condition must be boolean: i is i64 (3,), broadcast is f32 (3,), "
        "broadcast is f32 (3,)");
  CHECK(type_error([] { return dot(m, m); }) ==
        "dot: takes numbers only: m is boolean (3,), m is boolean (3,)");
  CHECK(type_error([] { return take(x, b); }) ==
        "take: indices must be integers: x is f32 (batch, 784), b is f32 (512,)");
  CHECK(type_error([] { return x(b); }) ==
        "index: indices must be integers: x is f32 (batch, 784), b is f32 (512,)");
  CHECK(type_error([] { return one_hot(b, 10); }) ==
        "one_hot: indices must be integers: b is f32 (512,)");
  CHECK(type_error([] { return softmax_cross_entropy(w, b); }) ==
        "softmax_cross_entropy: labels must be integers: w is f32 (512, 10), b is f32 (512,)");
  CHECK(type_error([] { return softmax(i); }) ==
        "softmax: takes floating point only: i is i64 (3,)");
  CHECK(type_error([] { return i * 0.5; }).starts_with("literal: "));
}

TEST_CASE("errors of arguments") {
  CHECK(value_error([] { return sum(x, 2); }) == "sum: axis 2 is out of range for rank 2");
  CHECK(value_error([] { return sum(x, {0, -2}); }) == "sum: axis 0 is named twice");
  CHECK(value_error([] { return softmax(x, -3); }) ==
        "softmax: axis -3 is out of range for rank 2");
  CHECK(value_error([] { return expand_dims(b, 3); }) ==
        "expand_dims: axis 3 is out of range for rank 2");
  CHECK(value_error([] { return reshape(w, {-1, -1}); }) ==
        "reshape: more than one size is -1 in (-1, -1)");
  CHECK(value_error([] { return reshape(w, {-1, 0}); }) ==
        "reshape: -1 cannot be worked out in (-1, 0)");
  CHECK(value_error([] { return reshape(w, {-2, 5}); }) ==
        "reshape: a size is negative in (-2, 5)");
  CHECK(value_error([] { return concatenate({}); }) == "concatenate: there are no tensors");
  CHECK(value_error([] { return pad(b, {{-1, 0}}); }) == "pad: a width is negative: -1");
  CHECK(value_error([] { return b[512]; }) ==
        "index: index 512 is out of range on axis 0 of size 512: b is f32 (512,)");
  CHECK(value_error([] { return w(all, -11); }) ==
        "index: index -11 is out of range on axis 1 of size 10: w is f32 (512, 10)");
  CHECK(value_error([] { return b(slice(0, end, 0)); }) ==
        "index: the step of a slice is 0: b is f32 (512,)");
}

TEST_CASE("errors of sizes name the line") {
  CHECK(value_error([] { return zeros({floor_div(batch, 0)}); }) ==
        "floor_div: expected a positive divisor of the size batch, got 0");
  CHECK(value_error([] { return zeros({ceil_div(batch, -1)}); }) ==
        "floor_div: expected a positive divisor of the size batch - 2, got -1");
}

TEST_CASE("errors of gradients name the line of the gradient, not of an expression") {
  const Tensor cost = sum(x);
  int line = 0;
  std::string message;
  try {
    line = __LINE__ + 1;
    grad(cost, b);
  } catch (const ValueError& error) {
    message = error.what();
  }
  CHECK(message == "grad: the cost does not depend on b, f32 (512,)  [test_op_errors.cpp:" +
                       std::to_string(line) + "]");
  const auto line_of = [&](const std::function<void(int&)>& call) {
    try {
      call(line);
    } catch (const Error& error) {
      return std::string(error.what())
          .ends_with("[test_op_errors.cpp:" + std::to_string(line) + "]");
    }
    return false;
  };
  CHECK(line_of([&](int& at) { at = __LINE__, grad(cost, std::vector<Tensor>{b}); }));
  CHECK(line_of([&](int& at) { at = __LINE__, grad(cost, b, w); }));
  CHECK(line_of([&](int& at) { at = __LINE__, grad(cost, i); }));
  CHECK(line_of([&](int& at) { at = __LINE__, grad(x, x); }));
  CHECK(line_of([&](int& at) { at = __LINE__, grad(sum(i), x); }));
  CHECK(line_of([&](int& at) { at = __LINE__, grad(Tensor(), x); }));
  CHECK(line_of([&](int& at) { at = __LINE__, grad(Tensor(), b, {.known_grads = {{x, x}}}); }));
  CHECK(line_of([&](int& at) { at = __LINE__, vjp({x}, {x}, {b}); }));
  CHECK(line_of([&](int& at) { at = __LINE__, vjp({x}, {i}, {x}); }));
  CHECK(line_of([&](int& at) { at = __LINE__, vjp({x}, {x}, {}); }));
  CHECK(line_of([&](int& at) { at = __LINE__, verify_grad(cost, {}); }));
}

TEST_CASE("sizes that only the call knows are checked there") {
  const Tensor p = vector("p");
  const Tensor q = vector("q");
  const Tensor total = p + q;
  const Bindings differ = {{&p.node(), ops::values(f32, {3}, {1, 2, 3})},
                           {&q.node(), ops::values(f32, {2}, {1, 2})}};
  CHECK_THROWS_WITH_AS(value_of(total, differ),
                       doctest::Contains("add: sizes differ: p.shape[0] and q.shape[0]"),
                       ShapeError);
  const Bindings short_p = {{&p.node(), ops::values(f32, {3}, {1, 2, 3})}};
  CHECK(value_of(p[2], short_p).data[0] == 3);
  CHECK(value_of(p[-3], short_p).data[0] == 1);
  CHECK_THROWS_WITH_AS(
      value_of(p[3], short_p),
      doctest::Contains("index: index 3 is out of range for axis 0 of p, whose size is 3"),
      ShapeError);
  CHECK_THROWS_WITH_AS(
      value_of(p[-4], short_p),
      doctest::Contains("index: index -4 is out of range for axis 0 of p, whose size is 3"),
      ShapeError);
}

TEST_CASE("an index out of range names index, axis and size") {
  const Tensor ids = vector("ids", i64);
  const Bindings at = {{&ids.node(), ops::values(i64, {2}, {1, 512})}};
  CHECK_THROWS_WITH_AS(value_of(take(zeros({512, 2}), ids), at),
                       "take: index 512 is out of range on axis 0 of size 512", ValueError);
  CHECK_THROWS_WITH_AS(value_of(one_hot(ids, 10), at),
                       "one_hot: index 512 is out of range on axis 1 of size 10", ValueError);
  CHECK_THROWS_WITH_AS(value_of(pick(zeros({2, 5}), ids), at),
                       "pick: index 512 is out of range on axis 1 of size 5", ValueError);
  CHECK_THROWS_WITH_AS(value_of(add_at(zeros({4, 3}), ones({4, 2}), ids, 1), at),
                       "add_at: index 512 is out of range on axis 1 of size 3", ValueError);
  CHECK_THROWS_WITH_AS(value_of(scatter_add(ones({2}), ids, {3}), at),
                       "scatter_add: index 512 is out of range on axis 0 of size 3", ValueError);
}

}  // namespace test_op_errors
