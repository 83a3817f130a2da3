// Functions for CUDA through the real Device (runtime/cuda), on the driver of the tests.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include "tests/driver/process.h"

namespace kt = kroton;
using fake_driver::Process;

TEST_CASE("driver: a function runs on the driver of the tests") {
  const Process process;
  if (!process) return;
  const auto x = kt::vector("x");
  const auto f = kt::function({x}, kt::sum(2 * x), {.target = kt::cuda()});
  CHECK(f(kt::Array::ones({37})).item<float>() == 74);
  CHECK(f(kt::Array::ones({5})).item<float>() == 10);
  CHECK(process->kernels() >= 2);
}
