// Compiled functions as a user sees them: inputs, outputs, updates, givens, results in the caller's
// memory, sizes that change from call to call.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <numeric>

#include "tests/tools/compiled_tools.h"

using namespace kroton;         // NOLINT: tests
using namespace compiled_test;  // NOLINT: tests

namespace {

// The logistic regression of the guide, with two columns.
struct Logistic {
  Tensor x = matrix("x");
  Tensor y = vector("y");
  Shared w = shared(Array::normal({2, 1}, /*seed=*/1), "w");
  Shared b = shared(Array::zeros({1}), "b");
  Tensor p = 1 / (1 + exp(-dot(x, w) - b));
  Tensor q = p(all, 0);
  Tensor xent = -y * log(q) - (1 - y) * log(1 - q);
  Tensor loss = mean(xent) + 0.01 * sum(square(w));
  Tensor new_w, new_b;

  Logistic() {
    const auto [gw, gb] = grad(loss, w, b);
    new_w = w - 0.1 * gw;
    new_b = b - 0.1 * gb;
  }
  Function<1> train() const {
    return function({x, y}, loss, {.updates = {{w, new_w}, {b, new_b}}, .name = "train"});
  }
};

Array labels_of(const Array& points) {
  Array labels = Array::zeros({points.shape()[0]});
  for (std::int64_t i = 0; i < labels.size(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    labels.data<float>()[at] = points.data<float>()[2 * at] > 0.3F ? 1.0F : 0.0F;
  }
  return labels;
}

std::vector<float> floats(const Array& array) {
  const std::span<const float> data = array.data<float>();
  return {data.begin(), data.end()};
}

using Floats = std::vector<float>;

}  // namespace

TEST_CASE("logistic regression: a compiled step is the reference's at every batch size") {
  const Logistic model;
  const std::int64_t before = compilation_count();
  const Function<1> train = model.train();
  CHECK(compilation_count() == before + 1);
  CHECK(train.name() == "train");
  CHECK(train.compile_seconds() > 0);
  std::uint64_t seed = 10;
  for (const std::int64_t rows : {1, 17, 128, 17, 1, 1000}) {
    CAPTURE(rows);
    const Array x = Array::normal({rows, 2}, seed++);
    const Array y = labels_of(x);
    const std::vector<std::pair<Tensor, Array>> at = {{model.x, x}, {model.y, y}};
    const ReferenceValue loss = expected(model.loss, at);
    const ReferenceValue w = expected(model.new_w, at);
    const ReferenceValue b = expected(model.new_b, at);
    CHECK(difference(loss, train(x, y)) == "");
    CHECK(difference(w, model.w.get_value()) == "");
    CHECK(difference(b, model.b.get_value()) == "");
  }
  CHECK(compilation_count() == before + 1);
}

TEST_CASE("logistic regression: training lowers the loss") {
  const Logistic model;
  const Function<1> train = model.train();
  const Array x = Array::normal({200, 2}, 3);
  const Array y = labels_of(x);
  const float first = train(x, y).item<float>();
  float last = first;
  for (int k = 0; k < 300; ++k) last = train(x, y).item<float>();
  CHECK(last < 0.6F * first);
}

TEST_CASE("a minibatch of no rows") {
  const Logistic model;
  const Function<1> train = model.train();
  const Array no_rows = Array::zeros({0, 2});
  CHECK(std::isnan(train(no_rows, Array::zeros({0})).item<float>()));  // the mean of nothing
  const Tensor x = matrix("x");
  const auto f = function({x}, {sum(x, 0), 2 * x, sum(x)});
  const auto [columns, twice, total] = f(Array::zeros({0, 17}));
  CHECK(array_equal(columns, Array::zeros({17})));
  CHECK(array_equal(twice, Array::zeros({0, 17})));
  CHECK(total.item<float>() == 0);
  const auto [columns3, twice3, total3] = f(Array::ones({3, 17}));
  CHECK(array_equal(columns3, Array::full({17}, 3)));
  CHECK(array_equal(twice3, Array::full({3, 17}, 2)));
  CHECK(total3.item<float>() == 51);
}

TEST_CASE("one output, several, as many as a vector holds, no_rows") {
  const Tensor x = vector("x");
  const Array value = Array::from({1.0F, 2.0F, 3.0F});
  const Array one = function({x}, x + 1)(value);
  CHECK(floats(one) == Floats{2, 3, 4});
  const auto [twice, total] = function({x}, {x * 2, sum(x)})(value);
  CHECK(floats(twice) == Floats{2, 4, 6});
  CHECK(total.item<float>() == 6);
  std::vector<Tensor> list;
  for (int k = 0; k < 5; ++k) list.push_back(x * k);
  const std::vector<Array> many = function({x}, list)(value);
  REQUIRE(many.size() == 5);
  CHECK(floats(many[4]) == Floats{4, 8, 12});
  CHECK(function({x}, std::vector<Tensor>{}, {.on_unused_input = UnusedInput::ignore})(value)
            .empty());
  const Shared total_so_far = shared(Array(0.0F), "total");
  const auto add = function({x}, {.updates = {{total_so_far, total_so_far + sum(x)}}});
  add(value);
  add(value);
  CHECK(total_so_far.get_value().item<float>() == 12);
  const auto next = function({}, total_so_far, {.updates = {{total_so_far, total_so_far + 1}}});
  CHECK(next().item<float>() == 12);
  CHECK(next().item<float>() == 13);
}

TEST_CASE("outputs that are inputs, constants, shared variables, or the same twice") {
  const Tensor x = vector("x");
  const Tensor n = scalar("n", i64);
  const Shared s = shared(Array::from({5.0F, 6.0F}), "s");
  const Tensor constant = Operand(Array::from({7.0F, 8.0F, 9.0F})).tensor();
  const Tensor y = x + 1;
  const auto f = function({x, n}, {x, constant, s, y, y, n, zeros({3}), x});
  const auto [x1, c, s1, y1, y2, n1, z, x2] = f(Array::from({1.0F, 2.0F}), 4);
  CHECK(floats(x1) == Floats{1, 2});
  CHECK(floats(c) == Floats{7, 8, 9});
  CHECK(floats(s1) == Floats{5, 6});
  CHECK(floats(y1) == Floats{2, 3});
  CHECK(floats(y2) == Floats{2, 3});
  CHECK(y1.raw() != y2.raw());
  CHECK(n1.item<std::int64_t>() == 4);
  CHECK(floats(z) == Floats{0, 0, 0});
  CHECK(floats(x2) == Floats{1, 2});
}

TEST_CASE("updates and outputs are computed from the old values") {
  SUBCASE("two variables swap their values") {
    const Shared a = shared(Array::from({1.0F, 2.0F, 3.0F}), "a");
    const Shared b = shared(Array::from({4.0F, 5.0F, 6.0F}), "b");
    const auto swap = function({}, {.updates = {{a, b}, {b, a}}});
    swap();
    CHECK(floats(a.get_value()) == Floats{4, 5, 6});
    CHECK(floats(b.get_value()) == Floats{1, 2, 3});
    swap();
    CHECK(floats(a.get_value()) == Floats{1, 2, 3});
  }
  SUBCASE("an update reads another variable that is updated too") {
    const Shared a = shared(Array::full({17}, 2), "a");
    const Shared b = shared(Array::full({17}, 3), "b");
    const auto step = function({}, {a, b, a + b}, {.updates = {{a, a + b}, {b, 2 * a}}});
    const auto [old_a, old_b, total] = step();
    CHECK(array_equal(old_a, Array::full({17}, 2)));
    CHECK(array_equal(old_b, Array::full({17}, 3)));
    CHECK(array_equal(total, Array::full({17}, 5)));
    CHECK(array_equal(a.get_value(), Array::full({17}, 5)));
    CHECK(array_equal(b.get_value(), Array::full({17}, 4)));
  }
  SUBCASE("one value is output and update, and the update of two variables") {
    const Shared a = shared(Array::zeros({3}), "a");
    const Shared b = shared(Array::zeros({3}), "b");
    const Tensor next = a + 1;
    const auto step = function({}, next, {.updates = {{a, next}, {b, next}}});
    CHECK(array_equal(step(), Array::full({3}, 1)));
    CHECK(array_equal(step(), Array::full({3}, 2)));
    CHECK(array_equal(a.get_value(), Array::full({3}, 2)));
    CHECK(array_equal(b.get_value(), Array::full({3}, 2)));
  }
  SUBCASE("elements move: reversed, transposed, rolled, summed") {
    const Shared a = shared(Array::arange(17), "a");
    const auto reverse = function({}, {.updates = {{a, a(slice(end, end, -1))}}});
    reverse();
    CHECK(floats(a.get_value())[0] == 16);
    CHECK(floats(a.get_value())[16] == 0);
    const Shared m = shared(Array::arange(9).reshape({3, 3}), "m");
    const auto flip = function({}, {.updates = {{m, transpose(m)}}});
    flip();
    CHECK(floats(m.get_value()) == Floats{0, 3, 6, 1, 4, 7, 2, 5, 8});
    const Shared r = shared(Array::from({1.0F, 2.0F, 3.0F}), "r");
    const auto roll =
        function({}, {.updates = {{r, concatenate({r(slice(1, end)), r(slice(0, 1))})}}});
    roll();
    CHECK(floats(r.get_value()) == Floats{2, 3, 1});
    const auto normalize = function({}, {.updates = {{r, r / sum(r)}}});
    normalize();
    CHECK(floats(r.get_value())[0] == doctest::Approx(1.0 / 3));
    CHECK(floats(r.get_value())[2] == doctest::Approx(1.0 / 6));
  }
  SUBCASE("a product with the old value, updated in place") {
    const Shared w = shared(Array::normal({33, 33}, 5), "w");
    const Tensor x = matrix("x");
    const Tensor next = w - 0.5 * dot(transpose(x), dot(x, w));
    const Array value = Array::normal({20, 33}, 6);
    const ReferenceValue want = expected(next, {{x, value}});
    const ReferenceValue old = expected(sum(w), {});
    const auto step = function({x}, sum(w), {.updates = {{w, next}}});
    CHECK(difference(old, step(value)) == "");
    CHECK(difference(want, w.get_value()) == "");
  }
  SUBCASE("constants, inputs and sizes as new values") {
    const Shared a = shared(Array::ones({3}), "a");
    const Shared n = shared(Array(std::int64_t{0}), "n");
    const Shared last = shared(Array::zeros({2}), "last");
    const Tensor x = vector("x");
    const Tensor y = tensor("y", {2});
    const auto step =
        function({x, y}, {.updates = {{a, zeros({3})}, {n, size_of_dim(x.shape(0))}, {last, y}}});
    step(Array::zeros({17}), Array::from({3.0F, 4.0F}));
    CHECK(array_equal(a.get_value(), Array::zeros({3})));
    CHECK(n.get_value().item<std::int64_t>() == 17);
    CHECK(floats(last.get_value()) == Floats{3, 4});
  }
}

TEST_CASE("givens replace variables and other expressions") {
  const Tensor x = vector("x");
  const Tensor y = vector("y");
  const Tensor h = x * y;
  const Array value = Array::from({1.0F, 2.0F, 3.0F});
  const auto f = function({x}, h + 1, {.givens = {{y, x + 10}}});
  CHECK(floats(f(value)) == Floats{12, 25, 40});
  const auto g = function({x}, exp(h) * h, {.givens = {{h, x * 0}}});
  CHECK(floats(g(value)) == Floats{0, 0, 0});
  // Theano's data in a shared variable: the minibatch is a slice of it.
  const Shared data = shared(Array::arange(20), "data");
  const Tensor ids = vector("ids", i64);
  const Shared total = shared(Array(0.0F), "total");
  const auto step = function(
      {ids}, sum(x), {.updates = {{total, total + sum(x)}}, .givens = {{x, take(data, ids)}}});
  CHECK(step(Array::from({std::int64_t{3}, std::int64_t{19}})).item<float>() == 22);
  CHECK(step(Array::from({std::int64_t{-1}})).item<float>() == 19);
  CHECK(total.get_value().item<float>() == 41);
  // Of a variable, only the sizes may be used.
  const Tensor longer = vector("longer");
  const auto sizes = function({longer}, sum(ones(x.shape())), {.givens = {{x, longer}}});
  CHECK(sizes(value).item<float>() == 3);
}

TEST_CASE("into writes results into the caller's arrays") {
  const Tensor x = vector("x");
  const auto f = function({x}, {x * 2, sum(x)});
  std::vector<float> memory(5, -1);
  Array total = Array::zeros({});
  Array twice = Array::view(memory.data() + 1, {3});
  auto call = f.into(twice, total);
  call(Array::from({1.0F, 2.0F, 3.0F}));
  CHECK(memory == Floats{-1, 2, 4, 6, -1});
  CHECK(total.item<float>() == 6);
  call(Array::from({0.0F, 0.0F, 1.0F}));
  CHECK(memory == Floats{-1, 0, 0, 2, -1});
  CHECK(total.item<float>() == 1);
  // What an earlier call returned stays as it is.
  const auto [first, first_sum] = f(Array::from({5.0F}));
  const auto [second, second_sum] = f(Array::from({6.0F}));
  CHECK(first.item<float>() == 10);
  CHECK(second.item<float>() == 12);
  // A result written into the memory of a shared variable's copy does not change the variable.
  const Shared s = shared(Array::ones({3}), "s");
  Array copy = s.get_value();
  function({x}, x * 2).into(copy)(Array::from({1.0F, 2.0F, 3.0F}));
  CHECK(floats(s.get_value()) == Floats{1, 1, 1});
}

TEST_CASE("arguments are read where they lie, or copied when they are not row-major") {
  const Tensor x = matrix("x");
  const auto f = function({x}, {x + 0.5, sum(x, 1)});
  std::array<float, 6> memory{0, 1, 2, 3, 4, 5};
  const Array rows = Array::view(memory.data(), {2, 3});
  CHECK(floats(f(rows)[0]) == Floats{0.5, 1.5, 2.5, 3.5, 4.5, 5.5});
  memory[5] = 50;
  CHECK(floats(f(rows)[0]) == Floats{0.5, 1.5, 2.5, 3.5, 4.5, 50.5});
  CHECK(floats(f(rows)[1]) == Floats{3, 57});
  const Array columns = Array::view(memory.data(), {3, 2}, {1, 3});
  CHECK(floats(f(columns)[0]) == Floats{0.5, 3.5, 1.5, 4.5, 2.5, 50.5});
  memory[0] = -1;
  CHECK(floats(f(columns)[1]) == Floats{2, 5, 52});
  const Array backwards = Array::view(memory.data() + 5, {2, 3}, {-3, -1});
  CHECK(floats(f(backwards)[1]) == Floats{57, 2});
  const Array repeated = Array::view(memory.data() + 1, {3, 2}, {0, 0});
  CHECK(floats(f(repeated)[1]) == Floats{2, 2, 2});
  const float* constant = memory.data();
  CHECK(floats(f(Array::view(constant, {1, 3}))[1]) == Floats{2});
}

TEST_CASE("C++ numbers are arguments of scalar inputs") {
  const Tensor a = scalar("a");
  const Tensor d = scalar("d", f64);
  const Tensor i = scalar("i", i32);
  const Tensor l = scalar("l", i64);
  const Tensor b = scalar("b", boolean);
  const auto f = function({a, d, i, l, b}, {a * 2, d * 2, i * 2, l * 2, ~b});
  const auto [a2, d2, i2, l2, nb] = f(1.5F, 0.1, -3, std::int64_t{1} << 40, true);
  CHECK(a2.item<float>() == 3.0F);
  CHECK(d2.item<double>() == 0.2);
  CHECK(i2.item<std::int32_t>() == -6);
  CHECK(l2.item<std::int64_t>() == std::int64_t{1} << 41);
  CHECK(!nb.item<bool>());
  const auto [a3, d3, i3, l3, nb3] = f(2, 3, std::int64_t{4}, Array(std::int64_t{5}), 0);
  CHECK(a3.item<float>() == 4);
  CHECK(d3.item<double>() == 6);
  CHECK(i3.item<std::int32_t>() == 8);
  CHECK(l3.item<std::int64_t>() == 10);
  CHECK(nb3.item<bool>());
}

TEST_CASE("sizes that are named, computed, or fixed") {
  const Dim batch = dim("rows of test_function");
  const Tensor x = tensor("x", {batch, 3});
  const Tensor y = tensor("y", {2 * batch + 1});
  const auto f = function({x, y}, {sum(x, 1), y(slice(0, batch))});
  for (const std::int64_t rows : {0, 1, 3, 17}) {
    const auto [sums, head] =
        f(Array::ones({rows, 3}), Array::arange(static_cast<double>(2 * rows + 1)));
    CHECK(array_equal(sums, Array::full({rows}, 3)));
    CHECK(array_equal(head, Array::arange(static_cast<double>(rows))));
  }
  // y before the x that fixes the size.
  const auto g = function({y, x}, sum(y) + sum(x));
  CHECK(g(Array::ones({7}), Array::ones({3, 3})).item<float>() == 16);
}

TEST_CASE("the memory of a call, with and without reuse and fusion") {
  const auto x = matrix("x"), w = tensor("w", {16, 16});
  Tensor h = x;
  for (int k = 0; k < 4; ++k) h = dot(h, w);
  const auto products = function({x, w}, h);
  const Array weights = Array::zeros({16, 16});
  for (const std::int64_t rows : {0, 1, 17, 64}) {
    CAPTURE(rows);
    const std::int64_t result = rows * 16 * 4;
    const MemoryUse use = products.memory(Array::zeros({rows, 16}), weights);
    // The third product takes the place of the first.
    CHECK(use.without_reuse - use.arena == result);
    CHECK(use.without_fusion == 3 * result);
  }
  CHECK_THROWS_AS(products.memory(weights), ValueError);

  const auto fused = function({x}, sum(exp(x) * 2));
  const MemoryUse use = fused.memory(Array::zeros({3, 5}));
  CHECK(use.arena <= use.without_reuse);
  CHECK(use.without_fusion == 2 * 15 * 4);
}

TEST_CASE("copies of a function share its code") {
  const Tensor x = vector("x");
  const std::int64_t before = compilation_count();
  const auto f = function({x}, x * 3);
  const auto copy = f;  // NOLINT: the copy is what is tested
  CHECK(copy(Array::from({2.0F})).item<float>() == 6);
  CHECK(compilation_count() == before + 1);
}

TEST_CASE("shared variables from numbers and in lists") {
  const Shared a = shared(0.0, "a");
  const Shared n = shared(3);
  CHECK(a.dtype() == f32);
  CHECK(n.dtype() == i64);
  CHECK(shared(true).dtype() == boolean);
  CHECK(n.get_value().item<std::int64_t>() == 3);
  const Tensor x = vector("x");
  const std::vector<Shared> parameters{a, shared(Array::from({1.0F, 2.0F}), "b")};
  const Tensor loss = sum(square(x - parameters[1])) + 3 * a;
  const std::vector<Tensor> gradients = grad(loss, parameters);
  CHECK(gradients.size() == 2);
  const auto f = function({x}, gradients, {.updates = {{n, 7}, {a, a + 1}}});
  const std::vector<Array> values = f(Array::from({2.0F, 4.0F}));
  CHECK(values[0].item<float>() == 3);
  CHECK(array_equal(values[1], Array::from({-2.0F, -4.0F})));
  CHECK(n.get_value().item<std::int64_t>() == 7);
  const std::vector<Array> now = function({}, parameters)();
  CHECK(now[0].item<float>() == 1);
  CHECK(now[1].size() == 2);
  const auto [g0, g1] = function({x}, grad(loss, parameters[0], parameters[1]))(Array::ones({2}));
  CHECK(g0.item<float>() == 3);
  CHECK(g1(1) == 2);
  // A number for a variable takes its dtype.
  const Shared d = shared(Array(0.5), "d");
  function({}, {.updates = {{d, 0.1}}})();
  CHECK(d.get_value().item<double>() == 0.1);
}

TEST_CASE("updates that come with values: several of one variable") {
  const Shared v = shared(Array(10.0), "v");
  const Tensor x = scalar("x", f64);
  const Tensor first = with_update(x, v, v + x), second = with_update(2 * x, v, 3 * v);
  // In the order in which they were written, whatever the order of the outputs.
  const auto f = function({x}, {second, first});
  const auto results = f(2.0);
  CHECK(results[0].item<double>() == 4);
  CHECK(results[1].item<double>() == 2);
  CHECK(v.get_value().item<double>() == 36);
  function({x}, {first, second, first})(1.0);
  CHECK(v.get_value().item<double>() == 111);
  CHECK_THROWS_AS(function({x}, first, {.updates = {{v, v + 1}}}), ValueError);

  // A layer on two batches, as in PyTorch.
  nn::Sequential net{nn::BatchNormalization({.momentum = 0.5})};
  const Tensor a = tensor("a", {dim("rows"), 1}), b = tensor("b", {dim("rows"), 1});
  const auto g = function({a, b}, {sum(net.train(a)), sum(net.train(b))});
  g(Array::full({4, 1}, 1.0F), Array::full({4, 1}, 4.0F));
  for (const Shared& p : net.state()) {
    if (!p.name().ends_with("running_mean")) continue;
    CHECK(p.get_value()(0).item<float>() == doctest::Approx(0.5 * (0.5 * 0 + 0.5 * 1) + 0.5 * 4));
  }
}
