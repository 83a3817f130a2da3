// Programs that the fuzzer has found, each with what it should do.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <cmath>
#include <limits>

namespace kt = kroton;

namespace {

template <class F>
bool is_shape_error(const F& call) {
  try {
    call();
  } catch (const kt::ShapeError&) {
    return true;
  }
  return false;
}

}  // namespace

TEST_CASE("found: the gradient of a row that is not there is an error, not a write past the end") {
  const auto x = kt::vector("x");
  const auto by_index = kt::function({x}, kt::grad(x[6], x));
  const auto from_end = kt::function({x}, kt::grad(x[-3], x));
  for (const int n : {0, 1, 2, 3, 6, 7, 17}) {
    CAPTURE(n);
    CHECK(is_shape_error([&] { by_index(kt::Array::ones({n})); }) == (n < 7));
    CHECK(is_shape_error([&] { from_end(kt::Array::ones({n})); }) == (n < 3));
  }
  CHECK(by_index(kt::Array::ones({7})).data<float>()[6] == 1);
}

TEST_CASE("found: the gradient of a scan over too short a sequence is an error") {
  const auto x = kt::vector("x");
  const auto steps = kt::tensor("steps", {kt::dim("steps")});
  const auto totals =
      kt::scan([](kt::Tensor row, kt::Tensor total) { return total + row; },
               {.sequences = {x}, .outputs_info = {kt::zeros({})}, .n_steps = steps.shape(0)});
  const auto f = kt::function({x, steps}, kt::grad(kt::sum(totals), x),
                              {.on_unused_input = kt::UnusedInput::ignore});
  CHECK(is_shape_error([&] { f(kt::Array::ones({2}), kt::Array::ones({17})); }));
  CHECK(f(kt::Array::ones({3}), kt::Array::ones({2})).data<float>()[0] == 2);
}

TEST_CASE("found: what an inner loop stacks is read by another one") {
  // The gradient of a gradient of a scan in a scan, each of one step.
  const auto outer = kt::shared(kt::Array::ones({1}), "outer");
  const auto factors = kt::shared(kt::Array::from({0.5F}), "factors");
  const auto weights = kt::tensor("weights", {1, 1});
  const auto slopes = kt::scan(
      [&](kt::Tensor x) {
        const auto quotients = kt::scan([](kt::Tensor factor, kt::Tensor y) { return y / factor; },
                                        {.sequences = {factors}, .outputs_info = {x}});
        return kt::grad(kt::mean(quotients), factors);
      },
      {.sequences = {outer}});
  // d(x / a) / da = -x / a^2, whose derivative by x is -1 / a^2.
  const auto f = kt::function({weights}, kt::vjp({slopes}, {outer}, {weights})[0]);
  CHECK(f(kt::Array::ones({1, 1})).data<float>()[0] == -4);
}

TEST_CASE("found: an index is checked where the value is the same for all") {
  const auto ids = kt::tensor("ids", {kt::dim("k")}, kt::i32);
  const auto x = kt::tensor("x", {1});
  const auto row = kt::tensor("row", {1, 3});
  const auto s = kt::scalar("s");
  const std::vector<kt::Tensor> gathered = {
      kt::take(x, ids),
      kt::take(kt::broadcast_to(s, {5}), ids),
      kt::take(kt::full({5}, 2.0), ids),
      kt::take(kt::exp(x) + kt::zeros({5}), ids),
      kt::take(kt::reshape(kt::exp(x), {1, 1}), ids, 1),
      kt::pick(kt::full({2, 5}, 2.0), ids),
      kt::pick(kt::broadcast_to(x, {2, 1}), ids),
      kt::softmax_cross_entropy(kt::broadcast_to(x, {2, 1}), ids),
      kt::grad(kt::sum(kt::square(kt::take(row, ids, 0))), row),
      kt::scatter_add(kt::exp(ids * s), ids, {1}, 0),
  };
  const auto call = [&](const kt::Tensor& y, int index) {
    return kt::function({ids, x, row, s}, std::vector<kt::Tensor>{y},
                        {.on_unused_input = kt::UnusedInput::ignore})(
        kt::Array::full({2}, index).cast(kt::i32), kt::Array::ones({1}), kt::Array::ones({1, 3}),
        1.0F);
  };
  for (std::size_t k = 0; k < gathered.size(); ++k) {
    CAPTURE(k);
    CHECK_THROWS_AS(call(gathered[k], 7), kt::ValueError);
    CHECK_THROWS_AS(call(gathered[k], -6), kt::ValueError);
    CHECK_NOTHROW(call(gathered[k], 0));
    CHECK_NOTHROW(call(gathered[k], -1));
  }
}

TEST_CASE("found: an update whose parts are stored one after the other reads the old value") {
  const auto w = kt::shared(kt::Array::from({1.0F, 2.0F, 3.0F}), "w");
  const auto f =
      kt::function({}, std::vector<kt::Tensor>{}, {.updates = {{w, kt::pad(w, {{0, 0}})}}});
  f();
  CHECK(kt::array_equal(w.get_value(), kt::Array::from({1.0F, 2.0F, 3.0F})));
  // Both the whole and a part of it are computed from the old value.
  const kt::Tensor whole = 2 * w;
  const kt::Tensor part = 10 * kt::Tensor(w)(kt::slice(1, kt::end));
  const auto g = kt::function({}, std::vector<kt::Tensor>{},
                              {.updates = {{w, kt::concatenate({whole(kt::slice(0, 1)), part})}}});
  g();
  CHECK(kt::array_equal(w.get_value(), kt::Array::from({2.0F, 20.0F, 30.0F})));
}

TEST_CASE("found: a size that turns out to be 0 in a function is as one that is 0 at the call") {
  const auto x = kt::tensor("x", {kt::dim("k"), kt::dim("k")});
  const auto nothing = kt::tensor("nothing", {0});
  const auto none = kt::tensor("none", {kt::dim("k")});
  const kt::Tensor joined = none + nothing;  // k is 0
  const auto f =
      kt::function({x, nothing, none}, {joined, kt::argmin(x), kt::max(x), kt::log_softmax(x, 0),
                                        kt::softmax_cross_entropy(x, kt::cast(none, kt::i32))});
  const auto results = f(kt::Array::zeros({0, 0}), kt::Array::zeros({0}), kt::Array::zeros({0}));
  CHECK(results[1].item<std::int64_t>() == 0);
  CHECK(results[2].item<float>() == -std::numeric_limits<float>::infinity());
  CHECK(results[3].shape() == kt::Shape{0, 0});
  CHECK(results[4].shape() == kt::Shape{0});
}

TEST_CASE("found: what has no elements is not folded where a size is free") {
  const auto x = kt::tensor("x", {0, kt::dim("m")});
  const auto f = kt::function({x}, kt::sum(kt::exp(kt::zeros(x.shape()))),
                              {.on_unused_input = kt::UnusedInput::ignore});
  CHECK(f(kt::Array::zeros({0, 3})).item<float>() == 0);
}

TEST_CASE("found: an index that differs from lane to lane is no part of a stride") {
  const auto x = kt::tensor("x", {17, 1}, kt::f64);
  const auto f = kt::function({x}, kt::softmax_cross_entropy(x, kt::argmax(x, 1)));
  CHECK(kt::array_equal(f(kt::Array::uniform({17, 1}, 1, -3, 4, kt::f64)),
                        kt::Array::zeros({17}, kt::f64)));
}

TEST_CASE("found: sums in blocks read nothing that is not written") {
  const auto x = kt::tensor("x", {kt::dim("n"), kt::dim("m")});
  const auto f = kt::function({x}, kt::sum(x, 0), {.check = kt::Check::memory});
  for (const int n : {1, 33, 600, 5000}) {
    CAPTURE(n);
    CHECK(f(kt::Array::ones({n, 40})).data<float>()[39] == static_cast<float>(n));
  }
}

TEST_CASE("found: loops that a checked index holds apart are not made one") {
  const auto x = kt::tensor("x", {1, 1}, kt::i64);
  const auto ids = kt::tensor("ids", {2, 2}, kt::i32);
  const auto f = kt::function({x, ids}, kt::take(kt::broadcast_to(x, {3, 1, 1}), ids, 2));
  const kt::Array values = kt::Array::full({1, 1}, 7).cast(kt::i64);
  // Behind the ids lies what is no index.
  const kt::Array memory = kt::Array::full({64}, 1000).cast(kt::i32);
  kt::Array four = kt::Array::zeros({64}, kt::i32);
  std::copy_n(memory.data<std::int32_t>().begin(), 64, four.data<std::int32_t>().begin());
  for (int k = 0; k < 4; ++k) four.data<std::int32_t>()[static_cast<std::size_t>(k)] = 0;
  const kt::Array given = kt::Array::view(four.data<std::int32_t>().data(), {2, 2});
  const kt::Array result = f(values, given);
  CHECK(kt::array_equal(result, kt::Array::full({3, 1, 2, 2}, 7).cast(kt::i64)));
}

TEST_CASE("found: the cotangent of a gradient of a product may be the factors themselves") {
  const auto x = kt::vector("x", kt::f64);
  const kt::Tensor others = kt::grad(kt::prod(x), x);  // (x1, x0)
  const auto f = kt::function({x}, kt::vjp({others}, {x}, {x})[0]);
  CHECK(kt::array_equal(f(kt::Array::from({2.0, 3.0})), kt::Array::from({3.0, 2.0})));
}

TEST_CASE("found: a choice between compared numbers is no maximum where one is NaN") {
  const auto x = kt::vector("x");
  const kt::Tensor positive = kt::relu(x), above = kt::maximum(x, 3);
  const kt::Tensor below = kt::minimum(x, -3);
  const auto f =
      kt::function({x}, std::vector<kt::Tensor>{
                            kt::where(positive > 0, positive, 0), kt::where(above > 2, above, 2),
                            kt::where(below < -2, below, -2), kt::where(0 >= positive, 0, positive),
                            kt::grad(kt::sum(kt::relu(positive)), x)});
  for (const std::int64_t n : {1, 3, 17}) {
    const std::vector<kt::Array> results =
        f(kt::Array::full({n}, std::numeric_limits<double>::quiet_NaN()));
    for (std::size_t k : {0U, 1U, 2U}) {
      CHECK(kt::array_equal(results[k], kt::Array::full({n}, k == 0 ? 0 : k == 1 ? 2 : -2)));
    }
    CHECK(std::isnan(results[3].data<float>()[0]));
    CHECK(kt::array_equal(results[4], kt::Array::zeros({n})));
  }
}

TEST_CASE("found: parts of a join that are read backwards begin where they are") {
  const auto x = kt::matrix("x");
  const auto y = kt::tensor("y", {x.shape(0), x.shape(1)});
  const kt::Tensor joined = kt::concatenate({x, x, y}, 0);
  const std::vector<kt::Tensor> outputs{joined(kt::slice(2, 1, -2)), joined(kt::slice(9, 1, -3)),
                                        joined(kt::slice(-1, 0, -2))};
  const auto f = kt::function({x, y}, outputs);
  for (const std::int64_t n : {1, 2, 3, 4, 16, 100}) {
    const kt::Array xs = kt::Array::uniform({n, 3}, 1), ys = kt::Array::uniform({n, 3}, 2);
    const std::vector<kt::Array> results = f(xs, ys);
    const auto row = [&](std::int64_t i) {
      const kt::Array& part = i < 2 * n ? xs : ys;
      return part.data<float>()[static_cast<std::size_t>(i % n * 3)];
    };
    if (n >= 4) {
      CHECK(results[0].data<float>()[0] == row(2));
      for (std::int64_t k = 0; k < 3; ++k) {
        CHECK(results[1].data<float>()[static_cast<std::size_t>(3 * k)] == row(9 - 3 * k));
      }
    }
    for (std::int64_t k = 0; 3 * n - 1 - 2 * k > 0; ++k) {
      CHECK(results[2].data<float>()[static_cast<std::size_t>(3 * k)] == row(3 * n - 1 - 2 * k));
    }
  }
}
