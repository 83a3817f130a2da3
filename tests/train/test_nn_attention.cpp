// Attention under masks.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <cmath>

#include "tests/tools/error_text.h"

using namespace kroton;      // NOLINT: tests
using namespace error_text;  // NOLINT: tests

namespace {

constexpr std::int64_t steps = 5, width = 4, heads = 2;

// Attention of x to memory, or to itself, under a mask; gradients of a loss that leaves out the
// positions of weight 0.
struct Attention {
  explicit Attention(bool to_itself, bool causal, Shape mask_shape = {2, 1, 1, steps})
      : layer((nn::seed(3), heads), {.causal = causal}) {
    const nn::Recorder recorder;
    Dims sizes;
    for (const std::int64_t size : mask_shape) sizes.push_back(size);
    const Tensor x = tensor("x", {2, steps, width}, f64),
                 given = tensor("m", {2, steps, width}, f64);
    const Tensor mask = tensor("mask", sizes), weights = matrix("weights", f64);
    const Tensor memory = to_itself ? x : given;
    const Tensor y = layer(x, memory, mask);
    const Tensor counted = where(ne(expand_dims(weights, 2), 0), y, 0);
    const Tensor loss = sum(square(counted - 0.3));
    std::vector<Tensor> of = {x};
    if (!to_itself) of.push_back(given);
    for (const Shared& parameter : recorder.parameters()) of.push_back(parameter);
    std::vector<Tensor> outputs = {y};
    for (const Tensor& slope : grad(loss, of)) outputs.push_back(slope);
    step = function(std::vector<Tensor>{x, given, mask, weights}, outputs,
                    {.on_unused_input = UnusedInput::ignore});
    // Biases are no zeros, so that a position that is 0 is so without them.
    for (Shared parameter : recorder.parameters()) {
      if (parameter.rank() == 1) parameter.set_value(Array::normal({width}, 9, 0, 1, f64));
    }
  }
  std::vector<Array> operator()(const Array& x, const Array& memory, const Array& mask,
                                const Array& weights) const {
    return (*step)(x, memory, mask, weights);
  }
  nn::MultiHeadAttention layer;
  std::optional<Function<dynamic_outputs>> step;
};

bool is_finite(const Array& values) {
  for (const double value : values.cast(f64).contiguous().data<double>()) {
    if (!std::isfinite(value)) return false;
  }
  return true;
}

// x with `bad` in a row.
Array with(const Array& x, std::int64_t example, std::int64_t position, double bad) {
  Array changed = x.copy();
  for (std::int64_t k = 0; k < width; ++k) changed(example, position, k) = bad;
  return changed;
}

const double bad_numbers[] = {NAN, HUGE_VAL, -HUGE_VAL, 1e300};

}  // namespace

TEST_CASE("attention: what is masked may be anything") {
  const Array x = Array::normal({2, steps, width}, 1, 0, 1, f64);
  const Array memory = Array::normal({2, steps, width}, 2, 0, 1, f64);
  Array mask = Array::ones({2, 1, 1, steps}), weights = Array::ones({2, steps}, f64);
  mask(1, 0, 0, 3) = 0;
  mask(1, 0, 0, 4) = 0;
  for (const bool to_itself : {false, true}) {
    for (const bool causal : {false, true}) {
      INFO("to itself ", to_itself, " causal ", causal);
      const Attention attention(to_itself, causal);
      // The padding's own outputs are in no loss.
      Array counted = weights.copy();
      for (const std::int64_t k : {3, 4}) counted(1, k) = to_itself ? 0 : 1;
      const auto good = attention(x, memory, mask, counted);
      for (const Array& value : good) CHECK(is_finite(value));
      for (const double bad : bad_numbers) {
        INFO(bad);
        const Array& hidden = to_itself ? x : memory;
        const Array wrong = with(with(hidden, 1, 3, bad), 1, 4, -bad);
        const auto got = to_itself ? attention(wrong, memory, mask, counted)
                                   : attention(x, wrong, mask, counted);
        for (std::size_t k = 0; k < got.size(); ++k) CHECK(is_finite(got[k]));
        for (std::int64_t row = 0; row < 2; ++row) {
          for (std::int64_t position = 0; position < steps; ++position) {
            if (to_itself && row == 1 && position >= 3) continue;
            for (std::int64_t k = 0; k < width; ++k) {
              CHECK(got[0](row, position, k).item<double>() ==
                    good[0](row, position, k).item<double>());
            }
          }
        }
        for (std::size_t k = 1; k < got.size(); ++k) CHECK(array_equal(got[k], good[k]));
        const Array& slope = got[to_itself ? 1 : 2];
        for (std::int64_t k = 0; k < width; ++k) CHECK(slope(1, 3, k).item<double>() == 0);
      }
    }
  }
}

TEST_CASE("attention: a position that sees nothing gives 0") {
  const Array x = Array::normal({2, steps, width}, 1, 0, 1, f64);
  const Array memory = Array::normal({2, steps, width}, 2, 0, 1, f64);
  const Array weights = Array::ones({2, steps}, f64);
  const Attention attention(false, false);
  Array mask = Array::ones({2, 1, 1, steps});
  for (std::int64_t k = 0; k < steps; ++k) mask(0, 0, 0, k) = 0;
  const auto got = attention(x, memory, mask, weights);
  const auto with_nan = attention(with(x, 0, 2, NAN), with(memory, 0, 1, NAN), mask, weights);
  for (std::size_t k = 0; k < got.size(); ++k) {
    CHECK(is_finite(got[k]));
    CHECK(array_equal(got[k], with_nan[k]));
  }
  for (std::int64_t position = 0; position < steps; ++position) {
    for (std::int64_t k = 0; k < width; ++k) {
      CHECK(got[0](0, position, k).item<double>() == 0);
      CHECK(got[1](0, position, k).item<double>() == 0);
      CHECK(got[2](0, position, k).item<double>() == 0);
      CHECK(got[0](1, position, k).item<double>() != 0);
    }
  }
}

TEST_CASE("attention: a NaN reaches those that see it and no others") {
  const Array x = Array::normal({2, steps, width}, 1, 0, 1, f64);
  // Position 3 is seen by 1 and by 3 alone.
  Array mask = Array::ones({1, 1, steps, steps}), weights = Array::ones({2, steps}, f64);
  for (std::int64_t k = 0; k < steps; ++k) mask(0, 0, k, 3) = k == 1 || k == 3 ? 1 : 0;
  for (std::int64_t k = 0; k < 4; ++k) weights(k / 2, 1 + 2 * (k % 2)) = 0;
  const Attention attention(true, false, {1, 1, steps, steps});
  const auto good = attention(x, x, mask, weights);
  const auto got = attention(with(x, 0, 3, NAN), x, mask, weights);
  for (std::int64_t row = 0; row < 2; ++row) {
    for (std::int64_t position = 0; position < steps; ++position) {
      const bool is_nan = row == 0 && (position == 1 || position == 3);
      for (std::int64_t k = 0; k < width; ++k) {
        const double value = got[0](row, position, k).item<double>();
        CHECK(std::isnan(value) == is_nan);
        if (!is_nan) CHECK(value == good[0](row, position, k).item<double>());
      }
    }
  }
  for (std::size_t k = 1; k < got.size(); ++k) CHECK(array_equal(got[k], good[k]));
}

TEST_CASE("attention: masks of heads and fewer axes and wrong ones") {
  const Array x = Array::normal({2, steps, width}, 1, 0, 1, f64);
  const Array weights = Array::ones({2, steps}, f64);
  // One head sees nothing: a head's part is 0, the other one's is not.
  const Attention by_head(true, false, {1, heads, 1, 1}), by_others(true, false, {steps});
  Array one_head = Array::ones({1, heads, 1, 1});
  one_head(0, 1, 0, 0) = 0;
  const auto got = by_head(x, x, one_head, weights);
  for (const Array& value : got) CHECK(is_finite(value));
  const auto both = by_head(x, x, Array::ones({1, heads, 1, 1}), weights);
  CHECK_FALSE(array_equal(got[0], both[0]));
  CHECK(all_close(by_others(x, x, Array::ones({steps}), weights)[0], both[0], 1e-12, 1e-12));

  const nn::MultiHeadAttention layer(heads);
  const Tensor t = tensor("t", {2, steps, width});
  CHECK(contains(shape_error([&] { layer(t, t, tensor("mask", {2, steps})); }),
                 "MultiHeadAttention: takes a mask that broadcasts to (batch, heads, positions, "
                 "others), (2, 2, 5, 5): mask is f32 (2, 5)"));
  CHECK(contains(shape_error([&] { layer(t, t, tensor("mask", {1, 2, 1, 1, 5})); }),
                 "mask is f32 (1, 2, 1, 1, 5)"));
}

TEST_CASE("attention: a transformer's block sees no padding") {
  nn::seed(4);
  const nn::TransformerBlock block(heads, 8);
  const nn::Recorder recorder;
  const Tensor x = tensor("x", {dim("batch"), dim("steps"), width}, f64);
  const Tensor mask = tensor("mask", {dim("batch"), dim("steps")});
  const Tensor y = block(x, expand_dims(expand_dims(mask, 1), 1));
  std::vector<Tensor> of = {x};
  for (const Shared& parameter : recorder.parameters()) of.push_back(parameter);
  const Tensor counted = where(ne(expand_dims(mask, 2), 0), y, 0);
  std::vector<Tensor> outputs = {counted};
  for (const Tensor& slope : grad(sum(square(counted)), of)) outputs.push_back(slope);
  const auto f = function(std::vector<Tensor>{x, mask}, outputs);
  const Array values = Array::normal({2, steps, width}, 1, 0, 1, f64);
  Array some = Array::ones({2, steps});
  for (std::int64_t k = 2; k < steps; ++k) some(1, k) = 0;
  const auto good = f(values, some);
  std::vector<Array> got;
  for (const double bad : bad_numbers) {
    INFO(bad);
    got = f(with(values, 1, 3, bad), some);
    for (std::size_t k = 0; k < good.size(); ++k) {
      CHECK(is_finite(got[k]));
      CHECK(all_close(got[k], good[k], 1e-12, 1e-12));
    }
  }
  // The same as of the two steps alone.
  Array two = Array::zeros({1, 2, width}, f64);
  for (std::int64_t k = 0; k < 2 * width; ++k)
    two(0, k / width, k % width) = values(1, k / width, k % width).item<double>();
  const Array alone = function({x}, block(x))(two);
  for (std::int64_t k = 0; k < 2 * width; ++k) {
    CHECK(got[0](1, k / width, k % width).item<double>() ==
          doctest::Approx(alone(0, k / width, k % width).item<double>()).epsilon(1e-12));
  }
  CHECK(contains(shape_error([&] { block(tensor("t", {2, 5, 4}), tensor("m", {2, 5})); }),
                 "TransformerBlock: takes a mask that broadcasts to (batch, heads, positions, "
                 "others), (2, 2, 5, 5): m is f32 (2, 5)"));
}
