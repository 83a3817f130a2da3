// What the lowering makes of rows, columns, indices, slices and long chains, at odd sizes.
#include <doctest/doctest.h>

#include <chrono>
#include <cmath>
#include <limits>

#include "tests/tools/compiled_tools.h"

using namespace kroton;         // NOLINT: tests
using namespace compiled_test;  // NOLINT: tests

namespace {

constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

// The outputs, as one function, at each of the shapes.
void check_shapes(const Tensor& x, const std::vector<Tensor>& outputs,
                  const std::vector<Shape>& shapes, const Tolerance& tolerance = {}) {
  const auto f = function({x}, outputs);
  for (const Shape& shape : shapes) {
    const Array value = random_array(shape, x.dtype(), 11);
    const std::vector<Array> have = f(value);
    const std::vector<ReferenceValue> want = expected(Problem{{x}, outputs, {value}});
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      CAPTURE(to_string(shape));
      CAPTURE(k);
      CHECK(difference(want[k], have[k], tolerance) == "");
    }
  }
}

Tensor layer_norm(const Tensor& x) {
  const Tensor centred = x - mean(x, -1, true);
  return centred / sqrt(mean(square(centred), -1, true) + 1e-5);
}

const std::vector<Shape> row_shapes = {{3, 1},  {1, 3},  {3, 3},    {17, 17}, {0, 3},
                                       {5, 31}, {2, 33}, {4, 1000}, {130, 10}};

}  // namespace

TEST_CASE("row kernels: softmax, log_softmax, logsumexp, layer norm") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Tensor x = matrix("x", dtype);
    check_shapes(x,
                 {softmax(x), log_softmax(x), logsumexp(x, 1), layer_norm(x), softmax(x, 0),
                  max(x, 1), x - max(x, 1, true)},
                 row_shapes, {5e-6, 1e-13});
  }
  // Large and infinite scores neither overflow nor turn into NaN.
  const Tensor x = matrix("x");
  const auto f = function({x}, {softmax(x), log_softmax(x)});
  const auto [p, log_p] = f(Array::from({1000.0F, 1000.0F, -1000.0F, -infinity}, {1, 4}));
  CHECK(all_close(p, Array::from({0.5F, 0.5F, 0.0F, 0.0F}, {1, 4})));
  CHECK(log_p.data<float>()[2] == doctest::Approx(-2000.69).epsilon(1e-5));
  CHECK(log_p.data<float>()[3] == -infinity);
}

TEST_CASE("sums over rows, columns, everything and middle axes") {
  for (const DType dtype : {DType::f32, DType::f64, DType::i32, DType::i64}) {
    const Tensor x = matrix("x", dtype);
    check_shapes(x, {sum(x), sum(x, 0), sum(x, 1), sum(x * x, 1, true), prod(x, 0), mean(x)},
                 {{3, 1}, {1, 3}, {3, 3}, {17, 17}, {5, 31}, {2, 33}, {4, 1000}, {300, 17}},
                 {5e-6, 1e-13});
    const Tensor t = tensor3("t", dtype);
    check_shapes(t, {sum(t, 1), sum(t, {0, 2}), sum(t, {0, 1}), max(t, 1), min(t, {1, 2})},
                 {{1, 1, 1}, {3, 1, 17}, {17, 3, 5}, {2, 17, 3}, {3, 33, 2}});
  }
  const Tensor b = matrix("b", boolean);
  check_shapes(b, {sum(b), any(b, 1), all(b, 0), sum(b, 0), any(b), all(b)},
               {{3, 1}, {1, 17}, {17, 17}, {0, 3}, {3, 0}, {4, 1000}});
}

TEST_CASE("sums of many elements are accurate") {
  const Tensor x = vector("x");
  const auto f = function({x}, {sum(x), mean(x), sum(x * x)});
  // One tenth, ten million times, is a tenth off when it is added one by one in f32.
  const auto [total, average, squares] = f(Array::full({10000000}, 0.1));
  CHECK(total.item<float>() == doctest::Approx(1e6).epsilon(1e-5));
  CHECK(average.item<float>() == doctest::Approx(0.1).epsilon(1e-5));
  CHECK(squares.item<float>() == doctest::Approx(1e5).epsilon(1e-5));
}

TEST_CASE("reductions over no elements, of a free size") {
  const Tensor x = matrix("x");
  const Tensor i = matrix("i", i32);
  const auto f = function({x, i}, {sum(x, 1), prod(x, 1), mean(x, 1), max(x, 1), min(x, 1),
                                   argmax(x, 1), max(i, 1), logsumexp(x, 1)});
  const auto r = f(Array::zeros({2, 0}), Array::zeros({2, 0}, i32));
  CHECK(r[0].data<float>()[1] == 0);
  CHECK(r[1].data<float>()[1] == 1);
  CHECK(std::isnan(r[2].data<float>()[1]));
  CHECK(r[3].data<float>()[1] == -infinity);
  CHECK(r[4].data<float>()[1] == infinity);
  CHECK(r[5].data<std::int64_t>()[1] == 0);
  CHECK(r[6].data<std::int32_t>()[1] == std::numeric_limits<std::int32_t>::min());
  CHECK(r[7].data<float>()[1] == -infinity);
}

TEST_CASE("max and min give NaN where there is one, wherever it stands") {
  const Tensor x = vector("x");
  const auto f = function({x}, {max(x), min(x), maximum(x, 0), minimum(0, x)});
  for (const std::int64_t size : {1, 3, 17, 33, 100, 1000}) {
    for (const std::int64_t place : {std::int64_t{0}, size / 2, size - 1}) {
      CAPTURE(size);
      CAPTURE(place);
      Array value = Array::normal({size}, 3);
      value.data<float>()[static_cast<std::size_t>(place)] = nan_value;
      const auto [largest, smallest, above, below] = f(value);
      CHECK(std::isnan(largest.item<float>()));
      CHECK(std::isnan(smallest.item<float>()));
      CHECK(std::isnan(above.data<float>()[static_cast<std::size_t>(place)]));
      CHECK(std::isnan(below.data<float>()[static_cast<std::size_t>(place)]));
    }
  }
}

TEST_CASE("argmax and argmin: the first of equals, the first NaN") {
  const Tensor x = matrix("x");
  const auto f = function({x}, {argmax(x, 1), argmin(x, 1), argmax(x, 0), argmax(x)});
  for (const std::int64_t size : {1, 3, 17, 33, 100, 1000}) {
    CAPTURE(size);
    Array ties = Array::zeros({3, size});
    const auto at = [&](std::int64_t row, std::int64_t column) -> float& {
      return ties.data<float>()[static_cast<std::size_t>(row * size + column)];
    };
    at(1, size / 2) = 5;
    at(1, size - 1) = 5;
    at(2, size / 3) = nan_value;
    at(2, size - 1) = nan_value;
    const auto [largest, smallest, by_column, of_all] = f(ties);
    CHECK(largest.data<std::int64_t>()[0] == 0);
    CHECK(largest.data<std::int64_t>()[1] == size / 2);
    CHECK(largest.data<std::int64_t>()[2] == size / 3);
    CHECK(smallest.data<std::int64_t>()[0] == 0);
    CHECK(smallest.data<std::int64_t>()[1] == 0);
    CHECK(smallest.data<std::int64_t>()[2] == size / 3);
    CHECK(by_column.data<std::int64_t>()[static_cast<std::size_t>(size - 1)] == 2);
    CHECK(of_all.item<std::int64_t>() == 2 * size + size / 3);
  }
  for (const DType dtype : {DType::i32, DType::i64, DType::f32, DType::f64}) {
    const Tensor y = matrix("y", dtype);
    check_shapes(y, {argmax(y, 0), argmin(y, 1), argmax(y, 1, true), argmin(y)},
                 {{3, 1}, {1, 3}, {17, 17}, {2, 33}, {4, 1000}});
  }
}

TEST_CASE("take, pick, one_hot and scatter_add") {
  const Tensor x = matrix("x");
  const Tensor ids = vector("ids", i64);
  const Tensor labels = vector("labels", i32);
  const Tensor grid = matrix("grid", i64);
  const std::vector<Tensor> outputs = {
      take(x, ids),         take(x, grid, 1),     pick(x, labels),
      one_hot(labels, 5),   x(all, ids),          scatter_add(take(x, ids), ids, {17, x.shape(1)}),
      take(x, ids) * 2 + 1, sum(take(x, ids), 0), -pick(log_softmax(x), labels)};
  for (const std::int64_t count : {0, 1, 3, 17, 100}) {
    CAPTURE(count);
    Array some = Array::zeros({count}, i64);
    for (std::int64_t k = 0; k < count; ++k) {
      some.data<std::int64_t>()[static_cast<std::size_t>(k)] = (7 * k) % 10 - 5;
    }
    const Array value = Array::normal({17, 5}, 3);
    Array classes = Array::zeros({17}, i32);
    for (std::size_t k = 0; k < 17; ++k) classes.data<std::int32_t>()[k] = static_cast<int>(k % 5);
    const Array square = Array::from<std::int64_t>({{0, -1}, {4, -5}, {2, 2}});
    // The ids are all valid along both axes, of 17 and of 5.
    for (std::int64_t& id : some.data<std::int64_t>()) id = id < 0 ? id : id % 5;
    check_agrees({{x, ids, labels, grid}, outputs, {value, some, classes, square}}, {5e-6, 1e-13});
  }
}

TEST_CASE("concatenate, stack, pad, reshape, transpose and slices") {
  const Tensor x = matrix("x");
  const std::vector<Tensor> outputs = {
      concatenate({x, x * 2, x(slice(0, 1))}),
      concatenate({x, x + 1}, 1),
      stack({x, -x}, 1),
      pad(x, {{1, 0}, {2, 3}}),
      reshape(x, {-1}) * 2,
      transpose(x) + 1,
      reshape(transpose(x), {-1}),
      x(slice(end, end, -1), slice(end, end, -2)),
      x(slice(1, end), slice(0, -1)),
      x(all, slice(-3, end)),
      x(slice(end, end, 3)),
      x(-1),
      exp(x)(slice(end, end, -1)),
      sum(x(slice(end, end, -1), all), 1),
      broadcast_to(expand_dims(x, 1), {x.shape(0), 3, x.shape(1)}),
      softmax(transpose(x)),
      concatenate({transpose(x), transpose(x)})(slice(end, end, -1))};
  check_shapes(x, outputs, {{1, 1}, {3, 1}, {1, 3}, {3, 3}, {17, 3}, {17, 17}, {5, 100}},
               {5e-6, 1e-13});
}

TEST_CASE("the front of a value and its rest, in kernels of their own") {
  // The front is read at the same indices as the whole; the loop over it computes no more.
  const Tensor x = vector("x", f64);
  const Tensor total = x + exp(x);
  const Tensor front = total(slice(0, 2)) + sum(x);
  const Tensor rest = total(slice(2, end)) * cos(x(slice(2, end)));
  check_shapes(x, {front, rest}, {{2}, {3}, {17}});
  check_shapes(x, {x(slice(0, 2)) + total(slice(0, 2)), rest}, {{2}, {3}, {17}});
  const Tensor m = matrix("m", f64);
  const Tensor grown = m * exp(m);
  const Tensor column = sum(grown(all, slice(0, 2)), 1);
  check_shapes(m, {column, grown(all, slice(1, end)) + m(all, slice(1, end))},
               {{1, 2}, {3, 3}, {17, 5}});
}

TEST_CASE("long chains compile and agree") {
  const Tensor x = vector("x");
  const Array value = Array::uniform({17}, 4, -1, 1);
  for (const int length : {1000, 20000}) {
    CAPTURE(length);
    // x/2 + c/2 has the fixed point c: rounding errors die out on the way.
    Tensor y = x;
    float want = 0;
    for (int k = 0; k < length / 2; ++k) {
      const double add = 0.25 + (k % 7) * 0.125;
      y = y * 0.5 + add;
      want = want * 0.5F + static_cast<float>(add);
    }
    const auto start = std::chrono::steady_clock::now();
    const auto f = function({x}, y);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    MESSAGE("a chain of " << length << " operations compiled in " << seconds.count() << " s");
    CHECK(seconds.count() < 60);
    CHECK(difference(expected(y, {{x, value}}), f(value)) == "");
    CHECK(f(value).data<float>()[16] == doctest::Approx(want));
  }
}

TEST_CASE("long chains of elementary functions, views and sums compile and agree") {
  const Tensor x = vector("x");
  Tensor y = x;
  Tensor z = x;
  Tensor total = x;
  for (int k = 0; k < 2000; ++k) {
    y = tanh(y + 0.25);
    z = (z * 0.75)(slice(end, end, -1));
    total = total + x * (0.001 * k);
  }
  check_shapes(x, {y, z, total, grad(sum(total * x), x)}, {{1}, {3}, {17}}, {2e-5, 1e-12});
}

TEST_CASE("a chain of reductions and broadcasts, and its gradient") {
  const Tensor x = matrix("x", f64);
  Tensor y = x;
  for (int k = 0; k < 50; ++k) y = tanh(y - mean(y, k % 2, true)) + 0.1 * x;
  const Tensor g = grad(sum(y), x);
  check_shapes(x, {y, g}, {{3, 17}, {17, 3}, {1, 1}}, {1e-5, 1e-11});
}

TEST_CASE("results do not depend on the number of threads, to the bit") {
  const Tensor x = matrix("x");
  const Tensor labels = vector("labels", i64);
  const Tensor v = vector("v");
  Shared w1 = shared(Array::zeros({784, 64}), "w1");
  Shared b1 = shared(Array::zeros({64}), "b1");
  Shared w2 = shared(Array::zeros({64, 10}), "w2");
  const Tensor hidden = relu(dot(x, w1) + b1);
  const Tensor loss = mean(softmax_cross_entropy(dot(hidden, w2), labels));
  const auto [g1, gb, g2] = grad(loss, w1, b1, w2);
  const auto train =
      function({x, labels}, loss,
               {.updates = {{w1, w1 - 0.1 * g1}, {b1, b1 - 0.1 * gb}, {w2, w2 - 0.1 * g2}}});
  const auto reduce = function({v}, {sum(v), mean(v * v), max(v), logsumexp(v), argmax(v)});
  const Tensor m = matrix("m");
  const auto rows = function({m}, {sum(m, 0), sum(m, 1), softmax(m), sum(m), var(m, 0)});
  const Tensor a = matrix("a", f64);
  const auto product = function({a}, dot(transpose(a), a));

  const Array pixels = Array::uniform({128, 784}, 1);
  Array digits = Array::zeros({128}, i64);
  for (std::size_t k = 0; k < 128; ++k)
    digits.data<std::int64_t>()[k] = static_cast<std::int64_t>(k % 10);
  const Array many = Array::normal({100003}, 2);
  const Array table = Array::normal({257, 1031}, 3);
  const Array tall = Array::normal({1031, 57}, 4, 0, 1, f64);

  std::vector<Array> first;
  for (const std::int64_t threads : {1, 2, 3, 4, 5}) {
    const ThreadCount count(threads);
    std::vector<Array> results;
    w1.set_value(Array::normal({784, 64}, 5, 0, 0.05));
    b1.set_value(Array::zeros({64}));
    w2.set_value(Array::normal({64, 10}, 6, 0, 0.1));
    for (int step = 0; step < 3; ++step) results.push_back(train(pixels, digits));
    for (const Shared& s : {w1, b1, w2}) results.push_back(s.get_value());
    for (const Array& r : reduce(many)) results.push_back(r);
    for (const Array& r : rows(table)) results.push_back(r);
    results.push_back(product(tall));
    if (first.empty()) first = results;
    for (std::size_t k = 0; k < results.size(); ++k) {
      CAPTURE(threads);
      CAPTURE(k);
      CHECK(array_equal(results[k], first[k], true));
    }
  }
}
