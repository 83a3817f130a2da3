// Losses and metrics: weights and masks, what has no alignment, errors, no examples.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <cmath>

#include "tests/tools/error_text.h"

using namespace kroton;      // NOLINT: tests
using namespace error_text;  // NOLINT: tests

namespace {

Tensor reals(std::initializer_list<double> values, const Shape& shape) {
  return constant(Array::from(std::vector<double>(values), shape));
}
Tensor integers(std::initializer_list<std::int64_t> values, const Shape& shape) {
  return constant(Array::from(std::vector<std::int64_t>(values), shape));
}
double number(const Tensor& x) { return function({}, x)().cast(f64).item<double>(); }

}  // namespace

TEST_CASE("losses: weights of elements and of examples and masks") {
  const Tensor x = reals({1, 2, 3, NAN}, {2, 2}), y = reals({0, 0, 0, 0}, {2, 2});
  const Tensor each = reals({1, 3, 0, 0}, {2, 2});
  CHECK(number(nn::mean_squared_error(x, y, {.weights = each})) == doctest::Approx(13.0 / 4));
  // What has no weight may be anything.
  CHECK(number(nn::mean_squared_error(x, y, {.weights = integers({2, 0}, {2})})) ==
        doctest::Approx(2.5));
  CHECK(number(nn::mean_squared_error(x, y, {.weights = ne(each, 0)})) == doctest::Approx(2.5));
  CHECK(number(nn::huber(x, y, 1, {.weights = reals({0, 0}, {2})})) == 0);
  // Of losses of rows.
  const Tensor p = reals({0.5, 0.5, 1, 0}, {2, 2}), logits = reals({0, 0, 1, 1}, {2, 2});
  CHECK(number(nn::soft_cross_entropy(logits, p, {.weights = reals({1, 0}, {2})})) ==
        doctest::Approx(std::log(2)));
  CHECK(shape_error([&] { nn::soft_cross_entropy(logits, p, {.weights = each}); }) ==
        "soft_cross_entropy: weights have the shape (2,) of the losses, or that of its first axes: "
        "constant is f64 (2, 2)  [here]");
  CHECK(number(nn::cross_entropy(logits, integers({0, 1}, {2}), {.mask = reals({1, 0}, {2})})) ==
        doctest::Approx(std::log(2)));
  CHECK(number(nn::cross_entropy(logits, integers({0, -1}, {2}), {.mask = reals({1, 0}, {2})})) ==
        doctest::Approx(std::log(2)));  // a label that fills up is no class
  CHECK(shape_error([&] { nn::cross_entropy(logits, integers({0, 1}, {2}), {.mask = each}); }) ==
        "cross_entropy: masks are (2,): constant is f64 (2, 2)  [here]");
  // Gradients go where weights are.
  const Tensor v = vector("v"), w = vector("w");
  const auto f =
      function({v, w}, grad(nn::mean_squared_error(v, zeros_like(v), {.weights = w}), v));
  CHECK(all_close(f(std::vector<float>{1, 2, 3}, std::vector<float>{0, 1, 3}),
                  Array::from({0.0F, 1.0F, 4.5F})));
}

TEST_CASE("losses: sizes that are free are compared axis by axis at the call") {
  const Tensor logits = tensor3("logits"), labels = matrix("labels", i64), mask = matrix("mask");
  const auto f = function({logits, labels},
                          {nn::cross_entropy(logits, labels), nn::top_k_accuracy(logits, labels, 1),
                           sum(nn::confusion_matrix(logits, labels))});
  CHECK(f(Array::ones({2, 5, 3}), Array::ones({2, 5}, i64))[2].item<std::int64_t>() == 10);
  CHECK(
      contains(message_of<ShapeError>([&] { f(Array::ones({2, 5, 3}), Array::ones({5, 2}, i64)); }),
               "logits.shape[0] is 2, labels.shape[0] is 5"));
  const auto g =
      function({logits, labels, mask}, nn::cross_entropy(logits, labels, {.mask = mask}));
  CHECK_THROWS_AS(g(Array::ones({2, 5, 3}), Array::ones({2, 5}, i64), Array::ones({5, 2})),
                  ShapeError);
  const Tensor column = tensor("column", {dim("n"), 1}), x = matrix("x");
  const auto h = function({column, x}, {nn::mean_squared_error(column, x),
                                        grad(nn::mean_squared_error(column, x), column)});
  CHECK(h(Array::ones({4, 1}), Array::zeros({4, 1}))[0].item<float>() == 1);
  CHECK(h(Array::ones({4, 1}), Array::zeros({4, 1}))[1](3, 0).item<float>() == 0.5F);
  CHECK_THROWS_AS(h(Array::ones({4, 1}), Array::zeros({4, 3})), ShapeError);
  CHECK_THROWS_AS(h(Array::ones({4, 1}), Array::zeros({1, 4})), ShapeError);
  const Tensor one = tensor("one", {1}, i64), scores = matrix("scores");
  const auto a = function({scores, one}, nn::accuracy(scores, one));
  CHECK(a(Array::ones({1, 3}), Array::zeros({1}, i64)).item<float>() == 1);
  CHECK_THROWS_AS(a(Array::ones({2, 3}), Array::zeros({1}, i64)), ShapeError);
  const auto w = function({x, mask}, nn::mean_absolute_error(x, zeros_like(x), {.weights = mask}));
  CHECK_THROWS_AS(w(Array::ones({2, 3}), Array::zeros({3, 2})), ShapeError);
}

TEST_CASE("losses: where logarithms end") {
  const Tensor logits = reals({0, 0, -HUGE_VAL}, {1, 3}), p = reals({0.5, 0.5, 0}, {1, 3});
  CHECK(number(nn::soft_cross_entropy(logits, p)) == doctest::Approx(std::log(2)));
  CHECK(number(nn::kl_divergence(log_softmax(logits, 1), p)) == doctest::Approx(0));
  CHECK(number(nn::cross_entropy(logits, integers({0}, {1}))) == doctest::Approx(std::log(2)));
  const Tensor x = vector("x");
  const auto f = function({x}, {nn::binary_cross_entropy(x, ones_like(x)), nn::log_cosh(x, -x),
                                grad(nn::binary_focal(x, ones_like(x), 0.5), x),
                                grad(nn::focal(stack({x, -x}, 1), cast(0 * x, i64), 0.5), x)});
  const auto values = f(std::vector<float>{1e4F, -1e4F});
  CHECK(values[0].item<float>() == doctest::Approx(5e3));
  CHECK(values[1].item<float>() == doctest::Approx(2e4 - std::log(2)));
  for (std::int64_t k = 0; k < 2; ++k) {
    CHECK(std::isfinite(values[2](k).item<float>()));
    CHECK(std::isfinite(values[3](k).item<float>()));
  }
}

TEST_CASE("losses: any can be handed on as a function") {
  const std::vector<std::function<Tensor(const Tensor&, const Tensor&)>> measures = {
      nn::mean_squared_error, nn::mean_absolute_error,  nn::log_cosh, nn::hinge,
      nn::kl_divergence,      nn::binary_cross_entropy, nn::r_squared};
  const Tensor x = tensor("x", {2, 2});
  for (const auto& measure : measures) CHECK(measure(x, x).rank() == 0);
  // The line is that of x, not one of the library.
  CHECK(shape_error([&] { measures[0](x, tensor("y", {2, 3})); }) ==
        "mean_squared_error: takes two tensors of one shape: x is f32 (2, 2), y is f32 (2, 3)  "
        "[here]");
}

TEST_CASE("losses: errors name the line of the call") {
  const Tensor logits = tensor("logits", {2, 3}), labels = tensor("labels", {2}, i64);
  const auto check = [](const std::string& message, const std::string& begin) {
    CHECK_MESSAGE(message.starts_with(begin), message);
    CHECK_MESSAGE(message.ends_with("  [here]"), message);
  };
  check(value_error([&] { nn::cross_entropy(logits, labels, {.label_smoothing = 1}); }),
        "cross_entropy: label_smoothing is 1.0, expected one in [0, 1)");
  check(value_error([&] { nn::cross_entropy(logits, Tensor()); }), "cross_entropy: a Tensor is em");
  check(type_error([&] { nn::cross_entropy(logits, tensor("y", {2})); }),
        "cross_entropy: takes integers as labels: y is f32 (2,)");
  check(type_error([&] { nn::cross_entropy(tensor("l", {2, 3}, i64), labels); }),
        "cross_entropy: takes floating logits");
  check(shape_error([&] { nn::cross_entropy(logits, tensor("y", {3}, i64)); }),
        "cross_entropy: takes logits (..., classes) and labels (...)");
  check(value_error([&] { nn::focal(logits, labels, -1); }), "focal: gamma is -1.0");
  check(value_error([&] { nn::focal(logits, labels, 2, {.label_smoothing = 0.1}); }),
        "focal: has no label_smoothing");
  check(value_error([&] { nn::binary_focal(logits, logits, 2, 2); }), "binary_focal: alpha is 2.0");
  check(value_error([&] { nn::huber(logits, logits, 0); }), "huber: delta is 0.0, expected");
  check(value_error([&] { nn::huber(logits, logits, HUGE_VAL); }), "huber: delta is inf");
  check(value_error([&] { nn::gaussian_nll(logits, logits, logits, 0); }),
        "gaussian_nll: epsilon is 0.0");
  check(type_error([&] { nn::mean_squared_error(labels, labels); }),
        "mean_squared_error: takes floating x");
  check(shape_error([&] { nn::kl_divergence(scalar("q"), scalar("p")); }),
        "kl_divergence: takes x (..., n): p is a scalar");
  check(type_error([&] { nn::accuracy(logits, tensor("y", {2})); }), "accuracy: takes integers");
  check(shape_error([&] { nn::accuracy(logits, tensor("y", {2, 3}, i32)); }),
        "accuracy: takes logits (..., classes) and labels (...)");
  for (const int k : {-1, 0, 4}) {
    check(value_error([&] { nn::top_k_accuracy(logits, labels, k); }),
          "top_k_accuracy: k is " + std::to_string(k) + ", expected one from 1 to the 3 classes");
  }
  check(shape_error([&] { nn::precision(labels); }), "precision: takes a confusion matrix");
  // At calls.
  const auto f = function({labels}, nn::confusion_matrix(ones({2, 3}), labels));
  check(value_error([&] { f(std::vector<std::int64_t>{0, 3}); }), "function: take: index 3 is out");
  check(value_error([&] { f(std::vector<std::int64_t>{0, -1}); }),
        "function: check: a label is negative: it does not hold at index 1");
  const auto g = function({labels}, nn::top_k_accuracy(ones({2, 3}), labels, 1));
  CHECK_THROWS_AS(g(std::vector<std::int64_t>{0, 3}), ValueError);
  check(value_error([&] { g(std::vector<std::int64_t>{0, -1}); }),
        "function: check: a label is negative: it does not hold at index 1");
  const auto h = function({labels}, nn::cross_entropy(ones({2, 3}), labels));
  check(value_error([&] { h(std::vector<std::int64_t>{0, -3}); }),
        "function: check: a label is negative: it does not hold at index 1");
}

TEST_CASE("metrics: of classes") {
  const Tensor logits = reals({1, 2, HUGE_VAL, 3, 2, 1, NAN, 0, 1}, {3, 3});
  const Tensor labels = integers({1, 1, 2}, {3});
  // Larger than the label's: 1, 1, and the NaN.
  CHECK(number(nn::top_k_accuracy(logits, labels, 1)) == 0);
  CHECK(number(nn::top_k_accuracy(logits, labels, 2)) == 1);
  CHECK(number(nn::top_k_accuracy(reals({NAN, 1}, {1, 2}), integers({0}, {1}), 1)) == 0);
  CHECK(number(nn::binary_accuracy(reals({0.5, -1, 2}, {3}), integers({1, 0, 0}, {3}))) ==
        doctest::Approx(2.0 / 3));
  const Tensor sequences = reals({1, 0, 0, 1, 1, 0, 0, 1}, {2, 2, 2});
  CHECK(number(nn::accuracy(sequences, integers({0, 1, 1, 1}, {2, 2}))) == 0.75);
  CHECK(number(nn::top_k_accuracy(sequences, integers({0, 1, 1, 1}, {2, 2}), 1)) == 0.75);
}

TEST_CASE("metrics: of scores") {
  const Array scores = Array::from({0.1F, 0.4F, 0.35F, 0.8F});
  const Array labels = Array::from(std::vector<std::int64_t>{0, 0, 1, 1});
  CHECK(nn::roc_auc(scores, labels) == 0.75);
  CHECK(nn::average_precision(scores, labels) == doctest::Approx(0.8333333333));
  const Array equal = Array::ones({4});
  CHECK(nn::roc_auc(equal, labels) == 0.5);
  CHECK(nn::average_precision(equal, labels) == 0.5);
  CHECK(nn::roc_auc(scores.reshape({2, 2}), labels.cast(boolean)) == 0.75);
  CHECK(value_error([&] { nn::roc_auc(scores, Array::ones({4})); }) == "roc_auc: no label is 0");
  CHECK(value_error([&] { nn::roc_auc(scores, Array::zeros({4})); }) == "roc_auc: no label is 1");
  CHECK(value_error([&] { nn::roc_auc(Array(), Array()); }) == "roc_auc: no label is 1");
  CHECK(value_error([&] { nn::roc_auc(scores, Array::full({4}, 2)); }) ==
        "roc_auc: label 0 is 2.0, expected 0 or 1");
  CHECK(value_error([&] { nn::average_precision(Array::full({4}, NAN), labels); }) ==
        "average_precision: score 0 is NaN");
  CHECK(shape_error([&] { nn::roc_auc(Array::ones({3}), labels); }) ==
        "roc_auc: scores are (3,), labels are (4,): each score has a label");
}

TEST_CASE("ctc: the sum over all paths, and where there is none") {
  // All paths of 4 steps over 3 classes that read as the labels, by counting.
  const std::int64_t steps = 4, classes = 3;
  const Array values = Array::normal({1, steps, classes}, 3, 0, 1, f64);
  const Tensor x = tensor("x", {dim("n"), steps, classes}, f64);
  const Array log_p = function({x}, log_softmax(x, 2))(values);
  const auto probability = [&](const std::vector<std::int64_t>& labels) {
    double sum = 0;
    for (std::int64_t n = 0; n < 81; ++n) {
      std::vector<std::int64_t> read;
      double of_path = 0;
      std::int64_t before = 0, rest = n;
      for (std::int64_t t = 0; t < steps; ++t, rest /= 3) {
        const std::int64_t c = rest % 3;
        if (c != 0 && c != before) read.push_back(c);
        before = c;
        of_path += log_p(0, t, c).item<double>();
      }
      if (read == labels) sum += std::exp(of_path);
    }
    return sum;
  };
  const std::vector<std::vector<std::int64_t>> readings = {
      {}, {1}, {1, 2}, {1, 1}, {2, 1, 2}, {1, 1, 2}, {1, 2, 1, 2}};
  for (const std::vector<std::int64_t>& labels : readings) {
    const auto count = static_cast<std::int64_t>(labels.size());
    const Tensor loss = nn::ctc(x, constant(Array::from(labels, {1, count})),
                                integers({steps}, {1}), integers({count}, {1}));
    CHECK(function({x}, loss)(values).item<double>() ==
          doctest::Approx(-std::log(probability(labels))).epsilon(1e-10));
  }

  const Tensor labels = tensor("labels", {dim("n"), 3}, i64), lengths = vector("lengths", i64);
  const Tensor label_lengths = vector("label_lengths", i64);
  const auto make = [&](const nn::CtcOptions& options) {
    const Tensor loss = nn::ctc(x, labels, lengths, label_lengths, options);
    return function({x, labels, lengths, label_lengths}, {loss, grad(loss, x)});
  };
  const auto f = make({}), finite = make({.zero_infinity = true});
  using Ints = std::vector<std::int64_t>;
  const Array one_one_one = Array::from(Ints{1, 1, 1}, {1, 3});
  // It takes 5 steps.
  const auto [loss, slope] = f(values, one_one_one, Ints{4}, Ints{3});
  CHECK(loss.item<double>() == HUGE_VAL);
  CHECK(array_equal(slope, Array::zeros({1, 4, 3}, f64)));
  CHECK(finite(values, one_one_one, Ints{4}, Ints{3})[0].item<double>() == 0);
  // Of no steps only no labels can be read.
  CHECK(f(values, one_one_one, Ints{0}, Ints{0})[0].item<double>() == 0);
  CHECK(f(values, one_one_one, Ints{0}, Ints{1})[0].item<double>() == HUGE_VAL);
  // A class of probability 0.
  Array impossible = values.copy();
  for (std::int64_t t = 0; t < steps; ++t) impossible(0, t, 1) = -HUGE_VAL;
  CHECK(f(impossible, one_one_one, Ints{4}, Ints{1})[0].item<double>() == HUGE_VAL);
  Array broken = values.copy();
  broken(0, 1, 1) = NAN;
  CHECK(std::isnan(f(broken, one_one_one, Ints{4}, Ints{1})[0].item<double>()));
  // No examples.
  CHECK(std::isnan(f(Array::zeros({0, 4, 3}, f64), Array::zeros({0, 3}, i64), Ints{}, Ints{})[0]
                       .item<double>()));
  // Errors of calls.
  const auto fails = [&](const Array& l, const Ints& in, const Ints& out) {
    return message_of<Error>([&] { f(values, l, in, out); });
  };
  CHECK(contains(fails(one_one_one, {5}, {3}), "index 5 is out of range for axis 0"));
  CHECK(contains(fails(one_one_one, {-1}, {3}), "an input length is negative"));
  CHECK(contains(fails(one_one_one, {4}, {4}), "index 4 is out of range for axis 0"));
  CHECK(contains(fails(Array::full({1, 3}, 3, i64), {4}, {1}), "index 3 is out of range"));
  CHECK(contains(fails(Array::full({1, 3}, -1, i64), {4}, {1}),
                 "a label is negative: it does not hold at index (0, 0)"));
  CHECK(fails(Array::full({1, 3}, -1, i64), {4}, {0}) == "no error");
}

TEST_CASE("ctc: f32 over many steps, and errors") {
  const Tensor x = tensor3("x"), labels = matrix("labels", i64);
  const Tensor lengths = vector("lengths", i32), label_lengths = vector("label_lengths", i64);
  const Tensor loss = nn::ctc(x, labels, lengths, label_lengths);
  const auto f = function({x, labels, lengths, label_lengths}, {loss, grad(loss, x)});
  const Array data = Array::normal({2, 300, 20}, 1);
  Array targets = Array::zeros({2, 40}, i64);
  for (std::int64_t k = 0; k < 80; ++k) targets(k / 40, k % 40) = 1 + k * 7 % 19;
  const auto [value, slope] =
      f(data, targets, std::vector<std::int32_t>{300, 250}, std::vector<std::int64_t>{40, 30});
  CHECK(std::isfinite(value.item<float>()));
  // Softmax less the parts of the paths: a step's sum is 0.
  for (std::int64_t t = 0; t < 300; t += 99) {
    double sum = 0;
    for (std::int64_t c = 0; c < 20; ++c) sum += slope(0, t, c).item<float>();
    CHECK(std::abs(sum) < 1e-4);
  }
  CHECK(slope(1, 250, 3).item<float>() == 0);

  CHECK(type_error([&] {
          nn::ctc(labels, labels, lengths, lengths);
        }).starts_with("ctc: takes floating logits"));
  CHECK(shape_error([&] { nn::ctc(matrix("m"), labels, lengths, lengths); }) ==
        "ctc: logits are (batch, steps, classes): m is f32 (m.shape[0], m.shape[1])  [here]");
  CHECK(type_error([&] { nn::ctc(x, matrix("m"), lengths, lengths); }) ==
        "ctc: takes integers as labels: m is f32 (m.shape[0], m.shape[1])  [here]");
  CHECK(shape_error([&] {
          nn::ctc(x, lengths, lengths, lengths);
        }).starts_with("ctc: labels are (x.shape[0], length): lengths is i32"));
  CHECK(value_error([&] {
          nn::ctc(tensor("t", {2, 3, 4}), labels, lengths, label_lengths, {.blank = 4});
        }) == "ctc: blank is 4, expected one of the 4 classes  [here]");
}
