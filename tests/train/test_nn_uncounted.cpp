// What has the weight 0 may be anything: losses are finite, and its gradient is 0.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <cmath>
#include <string>

using namespace kroton;  // NOLINT: tests

namespace {

// With `bad` in the row that does not count the loss and all gradients are those without the row,
// and the row's own gradient is 0.
void check_loss(const char* name,
                const std::function<Tensor(const Tensor&, const Tensor&, const Tensor&)>& loss,
                bool of_rows = false) {
  INFO(std::string(name));
  const Tensor x = tensor("x", {dim("n"), 3}, f64), y = tensor("y", {dim("n"), 3}, f64);
  const Tensor w = vector("w", f64);
  const auto weights = [&](const Tensor& each) {
    return of_rows ? each : broadcast_to(expand_dims(each, 1), {x.shape(0), 3});
  };
  const Tensor value = loss(x, y, weights(w));
  const std::vector<Tensor> slopes = grad(value, {x, y});
  const auto f =
      function({x, y, w}, {value, slopes[0], slopes[1]}, {.on_unused_input = UnusedInput::ignore});
  const Array a = Array::uniform({3, 3}, 1, 0.1, 0.9, f64);
  const Array b = Array::uniform({3, 3}, 2, 0.1, 0.9, f64);
  for (const double bad : {double{NAN}, double{HUGE_VAL}, -double{HUGE_VAL}}) {
    for (const bool in_y : {false, true}) {
      INFO(bad, std::string(in_y ? " in y" : " in x"));
      Array bad_a = a.copy(), bad_b = b.copy();
      (in_y ? bad_b : bad_a)(2, 1) = bad;
      const auto good = f(a, b, std::vector<double>{1, 2, 0});
      const auto got = f(bad_a, bad_b, std::vector<double>{1, 2, 0});
      for (std::size_t k = 0; k < 3; ++k) CHECK(array_equal(got[k], good[k]));
      for (std::int64_t c = 0; c < 3; ++c) {
        CHECK(got[1](2, c).item<double>() == 0);
        CHECK(got[2](2, c).item<double>() == 0);
      }
      CHECK(std::isfinite(got[0].item<double>()));
    }
  }
}

}  // namespace

TEST_CASE("losses: what has no weight has no gradient whatever it is") {
  const auto check_one = [](const char* name, const nn::Loss& loss, bool of_rows = false) {
    check_loss(
        name,
        [&](const Tensor& x, const Tensor& y, const Tensor& w) {
          return loss(x, y, {.weights = w});
        },
        of_rows);
  };
  check_one("mean_squared_error", nn::mean_squared_error);
  check_one("mean_squared_error of rows", nn::mean_squared_error, true);
  check_one("mean_absolute_error", nn::mean_absolute_error);
  check_one("log_cosh", nn::log_cosh);
  check_one("hinge", nn::hinge);
  check_one("squared_hinge", nn::squared_hinge);
  check_one("binary_cross_entropy", nn::binary_cross_entropy);
  check_one("poisson_nll", nn::poisson_nll);
  check_one("categorical_hinge", nn::categorical_hinge, true);
  check_one("soft_cross_entropy", nn::soft_cross_entropy, true);
  check_one("kl_divergence", nn::kl_divergence, true);
  check_loss("huber", [](const Tensor& x, const Tensor& y, const Tensor& w) {
    return nn::huber(x, y, 0.1, {.weights = w});
  });
  check_loss("binary_focal", [](const Tensor& x, const Tensor& y, const Tensor& w) {
    return nn::binary_focal(x, y, 2, 0.25, {.weights = w});
  });
  check_loss("gaussian_nll, variance", [](const Tensor& x, const Tensor& y, const Tensor& w) {
    return nn::gaussian_nll(x, x, y, 1e-6, {.weights = w});
  });
  check_loss("gaussian_nll", [](const Tensor& x, const Tensor& y, const Tensor& w) {
    return nn::gaussian_nll(x, y, stop_gradient(square(x)), 1e-6, {.weights = w});
  });
  check_loss(
      "cosine_loss",
      [](const Tensor& x, const Tensor& y, const Tensor& w) {
        return nn::cosine_loss(x, y, 1e-8, {.weights = w});
      },
      true);
  check_loss(
      "triplet",
      [](const Tensor& x, const Tensor& y, const Tensor& w) {
        return nn::triplet(x, y, -x, 1, {.weights = w});
      },
      true);
}

TEST_CASE("losses: a missing target that a weight of its own says") {
  const Tensor o = matrix("o"), y = matrix("y");
  const auto f = function({o, y}, grad(nn::mean_squared_error(o, y, {.weights = eq(y, y)}), o));
  Array target = Array::zeros({4, 1});
  target(3, 0) = NAN;
  const Array expected = Array::from({2.0F / 3, 2.0F / 3, 2.0F / 3, 0.0F}, {4, 1});
  CHECK(all_close(f(Array::ones({4, 1}), target), expected));
}

TEST_CASE("losses: a row of classes that does not count has no gradient") {
  const Tensor logits = tensor("logits", {dim("n"), 4, 3}, f64), labels = matrix("labels", i64);
  const Tensor mask = matrix("mask", f64);
  const Tensor of_class = constant(Array::from(std::vector<double>{1, 0.5, 0}));
  Array values = Array::normal({2, 4, 3}, 1, 0, 1, f64), there = Array::ones({2, 4}, f64);
  Array targets = Array::zeros({2, 4}, i64);
  targets(0, 0) = 1;
  there(1, 2) = 0;
  const auto check = [&](const char* name, const Tensor& loss, std::int64_t label, bool is_masked) {
    INFO(std::string(name));
    const auto f = function({logits, labels, mask}, {loss, grad(loss, logits)},
                            {.on_unused_input = UnusedInput::ignore});
    Array marked = targets.copy(), bad = values.copy();
    marked(1, 2) = label;
    for (std::int64_t c = 0; c < 3; ++c) bad(1, 2, c) = c == 1 ? NAN : -HUGE_VAL;
    const Array counts = is_masked ? there : Array::ones({2, 4}, f64);
    const auto good = f(values, marked, counts), got = f(bad, marked, counts);
    CHECK(std::isfinite(got[0].item<double>()));
    CHECK(array_equal(got[0], good[0]));
    CHECK(array_equal(got[1], good[1]));
    for (std::int64_t c = 0; c < 3; ++c) CHECK(got[1](1, 2, c).item<double>() == 0);
  };
  check("mask", nn::cross_entropy(logits, labels, {.mask = mask}), -1, true);
  check("smoothed", nn::cross_entropy(logits, labels, {.label_smoothing = 0.1, .mask = mask}), -1,
        true);
  check("focal", nn::focal(logits, labels, 2, {.mask = mask}), 7, true);
  check("ignored", nn::cross_entropy(logits, labels, {.ignored_label = -100}), -100, false);
  check("class of weight 0", nn::cross_entropy(logits, labels, {.class_weights = of_class}), 2,
        false);
  // With smoothing such a class still says something of the others.
  const Tensor smoothed =
      nn::cross_entropy(logits, labels, {.label_smoothing = 0.1, .class_weights = of_class});
  const auto slope = function({logits, labels}, grad(smoothed, logits));
  Array marked = targets.copy();
  marked(1, 2) = 2;
  CHECK(slope(values, marked)(1, 2, 0).item<double>() != 0);
}

TEST_CASE("ctc: steps past the end have no gradient whatever they are") {
  const Tensor x = tensor("x", {1, 5, 3}, f64);
  const auto ints = [](std::int64_t value) {
    return constant(Array::from(std::vector<std::int64_t>{value}));
  };
  const Tensor loss = nn::ctc(x, reshape(ints(1), {1, 1}), ints(3), ints(1));
  const auto f = function({x}, {loss, grad(loss, x)});
  const Array values = Array::normal({1, 5, 3}, 1, 0, 1, f64);
  Array bad = values.copy();
  for (std::int64_t k = 0; k < 6; ++k) bad(0, 3 + k / 3, k % 3) = NAN;
  const auto good = f(values), got = f(bad);
  CHECK(array_equal(got[0], good[0]));
  CHECK(array_equal(got[1], good[1]));
  CHECK(got[1](0, 4, 0).item<double>() == 0);
}

TEST_CASE("recurrent: steps that a mask leaves out have no gradient whatever they are") {
  const Tensor x = tensor("x", {dim("n"), dim("steps"), 2}, f64), mask = matrix("mask", f64);
  Array values = Array::normal({2, 4, 2}, 1, 0, 1, f64), there = Array::ones({2, 4}, f64);
  there(0, 3) = there(1, 1) = there(1, 3) = 0;
  Array bad = values.copy();
  bad(0, 3, 0) = bad(1, 1, 1) = NAN;
  bad(1, 3, 0) = HUGE_VAL;
  const auto check = [&](const char* name, const auto& layer) {
    INFO(std::string(name));
    const nn::Recorder recorder;
    const Tensor loss = mean(square(layer(x, mask)));
    std::vector<Tensor> results = {loss, grad(loss, x)};
    for (const Tensor& slope : grad(loss, recorder.parameters())) results.push_back(slope);
    CHECK(results.size() > 4);
    const auto f = function({x, mask}, results);
    const auto good = f(values, there), got = f(bad, there);
    for (std::size_t k = 0; k < results.size(); ++k) CHECK(array_equal(got[k], good[k]));
    CHECK(got[1](1, 1, 1).item<double>() == 0);
    CHECK(got[1](0, 3, 0).item<double>() == 0);
    CHECK(std::isfinite(got[0].item<double>()));
  };
  check("SimpleRnn", nn::SimpleRnn(3));
  check("Lstm", nn::Lstm(3, {.sequences = true}));
  check("Gru", nn::Gru(3));
  check("stack", nn::Stacked<nn::Gru>(3, 2));
  check("bidirectional", nn::bidirectional<nn::Lstm>(3));
}
