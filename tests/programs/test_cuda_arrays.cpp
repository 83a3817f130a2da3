// Arrays on a device as arguments and results of programs with loops, branches and variables.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include "tests/gpu_emulator/emulated_device.h"
#include "tests/tools/error_text.h"

namespace test_cuda_arrays {

namespace kt = kroton;
using gpu_emulator::TestCuda;

namespace {

// A function of two matrices with outputs of several kinds, and a variable that it updates.
struct Program {
  kt::Tensor x = kt::tensor("x", {kt::dim("t"), 3});
  kt::Tensor w = kt::tensor("w", {3, 3});
  kt::Shared total = kt::shared(kt::Array::zeros({3}), "total");

  auto function(const kt::Target& target, bool stays) const {
    const kt::Tensor states =
        kt::scan([&](kt::Tensor row, kt::Tensor state,
                     kt::Tensor weights) { return kt::tanh(kt::dot(state, weights) + row); },
                 {.sequences = {x}, .outputs_info = {total}, .non_sequences = {w}});
    const kt::Tensor chosen =
        kt::ifelse(kt::sum(x) > 0, kt::dot(x, w), kt::softmax(x) + kt::sum(w));
    return kt::function({x, w}, {states, chosen, kt::argmax(x, 1), kt::sum(states)},
                        {.updates = {{total, total + kt::sum(x, 0)}},
                         .target = target,
                         .uploads = !stays,
                         .downloads = !stays});
  }
};

}  // namespace

TEST_CASE("cuda: arrays on the device in loops and branches with a variable") {
  const TestCuda cuda;
  const Program here, moved, stayed;
  const auto on_cpu = here.function(kt::cpu(), true);  // neither says anything there
  const auto moves = moved.function(kt::cuda(), false);
  const auto stays = stayed.function(kt::cuda(), true);
  const kt::Array w = kt::Array::normal({3, 3}, 1), w_there = w.to(kt::cuda());
  for (const std::int64_t t : {1, 3, 17, 3, 1, 0}) {
    const kt::Array x = kt::Array::normal({t, 3}, static_cast<std::uint64_t>(t) + 5);
    const auto want = on_cpu(x, w);
    const auto mixed = moves(x, w_there);
    const auto there = stays(x.to(kt::cuda()), w_there);
    for (std::size_t k = 0; k < want.size(); ++k) {
      CAPTURE(k);
      CHECK(mixed[k].device() == kt::cpu());
      CHECK(there[k].device() == kt::cuda());
      CHECK(kt::all_close(mixed[k], want[k], 1e-5, 1e-5));
      CHECK(kt::array_equal(there[k].to(kt::cpu()), mixed[k]));
    }
  }
  CHECK(kt::all_close(moved.total.get_value(), here.total.get_value(), 1e-5, 1e-5));
  CHECK(kt::array_equal(moved.total.get_value(), stayed.total.get_value()));
}

TEST_CASE("cuda: arrays on the device of every dtype") {
  const TestCuda cuda;
  for (const kt::DTypeInfo& info : kt::dtype_table) {
    CAPTURE(info.name);
    const auto x = kt::vector("x", info.dtype);
    const auto f =
        kt::function({x}, kt::concatenate({x, x}, 0), {.target = kt::cuda(), .downloads = false});
    for (const std::int64_t n : {0, 1, 3, 17}) {
      const kt::Array values = kt::Array::ones({n}, info.dtype);
      const kt::Array twice = f(values.to(kt::cuda()));
      CHECK(kt::array_equal(twice.to(kt::cpu()), kt::Array::ones({2 * n}, info.dtype)));
      kt::Array target = kt::Array::zeros({2 * n}, info.dtype, kt::cuda());
      f.into(target)(values);
      CHECK(kt::array_equal(target.to(kt::cpu()), twice.to(kt::cpu())));
    }
  }
}

TEST_CASE("cuda: an argument on the device is not changed by the function") {
  const TestCuda cuda;
  const auto x = kt::vector("x");
  // What could be computed in x's place.
  const auto f = kt::function({x}, kt::at(kt::at(x, 0).set(7), 1).add(1) - kt::cumsum(x, 0),
                              {.target = kt::cuda(), .downloads = false});
  const kt::Array values = kt::Array::normal({17}, 1), there = values.to(kt::cuda());
  const kt::Array first = f(there).to(kt::cpu());
  CHECK(kt::array_equal(there.to(kt::cpu()), values));
  CHECK(kt::array_equal(f(there).to(kt::cpu()), first));
  // Nor what a function gave earlier by a later call.
  const kt::Array a = f(there), b = f(kt::Array::zeros({17}));
  CHECK(kt::array_equal(a.to(kt::cpu()), first));
  CHECK(b.to(kt::cpu()).data<float>()[0] == 7);
}

TEST_CASE("cuda: results on the device outlive their function") {
  const TestCuda cuda;
  const auto x = kt::vector("x");
  kt::Array kept;
  {
    const auto f = kt::function({x}, 2 * x, {.target = kt::cuda(), .downloads = false});
    kept = f(kt::Array::ones({17}));
  }
  CHECK(kt::array_equal(kept.to(kt::cpu()), kt::Array::full({17}, 2)));
}

TEST_CASE("cuda: results are collected on the device") {
  const TestCuda cuda;
  const auto x = kt::vector("x");
  const auto total = kt::function({x}, kt::sum(x), {.target = kt::cuda(), .downloads = false});
  const kt::Array rows = kt::Array::arange(12).reshape({4, 3}), there = rows.to(kt::cuda());
  kt::Array sums = kt::Array::zeros({4}, kt::f32, kt::cuda());
  for (int k = 0; k < 4; ++k) sums.row(k).assign(total(there.row(k)));
  CHECK(kt::array_equal(sums.to(kt::cpu()), kt::Array::from({3.0F, 12.0F, 21.0F, 30.0F})));
}

}  // namespace test_cuda_arrays
