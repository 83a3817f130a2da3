// Programs that the fuzzer has found, each with what it should do.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

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
