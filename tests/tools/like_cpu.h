// Functions for CUDA beside the same ones for the CPU.
#pragma once
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <vector>

namespace compiled_test {

namespace kt = kroton;

// The outputs for the CPU and for CUDA, of the same arguments.
inline void check_like_cpu(const std::vector<kt::Tensor>& inputs,
                           const std::vector<kt::Tensor>& outputs,
                           const std::vector<std::vector<kt::Array>>& calls,
                           double tolerance = 1e-5) {
  constexpr auto ignore = kt::UnusedInput::ignore;
  const auto on_cpu = kt::function(inputs, outputs, {.on_unused_input = ignore});
  const auto on_cuda =
      kt::function(inputs, outputs, {.target = kt::cuda(), .on_unused_input = ignore});
  for (const std::vector<kt::Array>& values : calls) {
    const std::vector<kt::Argument> arguments(values.begin(), values.end());
    const std::vector<kt::Array> want = on_cpu.call(arguments), have = on_cuda.call(arguments);
    REQUIRE(want.size() == have.size());
    for (std::size_t k = 0; k < want.size(); ++k) {
      CAPTURE(k);
      CAPTURE(kt::to_string(want[k].shape()));
      CHECK(kt::all_close(have[k], want[k], tolerance, tolerance));
    }
  }
}

}  // namespace compiled_test
