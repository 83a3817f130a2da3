// Profiles of functions on the driver of the tests, whose events tell the times that a test asks
// for.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include "tests/fake_driver/process.h"

namespace kt = kroton;

namespace {

// A product of the library's, and a kernel.
kt::Function<1> profiled(bool downloads = true) {
  const auto x = kt::tensor("x", {kt::dim("n"), 130});
  const auto w = kt::shared(kt::Array::ones({130, 17}), "w");
  const auto calls = kt::shared(kt::Array::zeros({}), "calls");
  return kt::function({x}, kt::dot(x, w),
                      {.updates = {{calls, calls + 1}},
                       .name = "layer",
                       .target = kt::cuda(),
                       .profile = true,
                       .downloads = downloads});
}

}  // namespace

TEST_CASE("profile on a device: times are those of events around kernels, products and copies") {
  const fake_driver::Process process;
  if (!process) return;
  const auto f = profiled();
  process->times(std::vector<float>(100, 2.0F));
  for (int k = 0; k < 3; ++k) {
    CHECK(kt::all_close(f(kt::Array::ones({5, 130})), kt::Array::full({5, 17}, 130), 0, 0));
  }
  CHECK(process->products() == 3);
  CHECK(process->calls("cuGraphLaunch") == 0);
  const kt::Profile profile = f.profile();
  CHECK(profile.device == "cuda:0 (test GPU)");
  CHECK(profile.model.starts_with("a device like H100"));
  int kernels = 0;
  for (const kt::KernelProfile& row : profile.kernels) {
    CAPTURE(row.name);
    CHECK(row.seconds == doctest::Approx(2e-3 * static_cast<double>(row.calls)));
    kernels += row.calls > 0 ? 1 : 0;
    if (row.calls > 0) CHECK(row.predicted.value() > 1e-6);
  }
  CHECK(kernels == 2);
  CHECK(profile.to_device.count == 2 + 3);
  CHECK(profile.to_device.seconds == doctest::Approx(5 * 2e-3));
  CHECK(profile.to_host.count == 3);
  CHECK(profile.to_host.seconds == doctest::Approx(3 * 2e-3));
}

TEST_CASE("profile on a device: a call that leaves its results there is waited for") {
  const fake_driver::Process process("memory_clock=0");
  if (!process) return;
  const auto f = profiled(false);
  const kt::Array y = f(kt::Array::ones({5, 130}));
  const kt::Profile profile = f.profile();
  CHECK(profile.to_host.count == 0);
  CHECK(process->products() == 1);
  // The driver does not tell what a prediction takes.
  CHECK(profile.model.empty());
  CHECK(profile.peak_flops == 0);
  for (const kt::KernelProfile& row : profile.kernels) CHECK(!row.predicted);
  CHECK(kt::to_string(profile).find("no prediction") != std::string::npos);
  CHECK(kt::all_close(y.to(kt::cpu()), kt::Array::full({5, 17}, 130), 0, 0));
  // What fails with an event is an error of the call, and the next one is measured again.
  process->fail_call("cuEventElapsedTime", 1, 999);
  CHECK_THROWS_AS(f(kt::Array::ones({5, 130})), kt::DeviceError);
  CHECK(f.profile().calls == 1);
  f(kt::Array::ones({5, 130}));
  CHECK(f.profile().calls == 2);
}
