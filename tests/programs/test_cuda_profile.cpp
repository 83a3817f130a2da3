// What functions for CUDA tell of their kernels' times.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include "tests/gpu_emulator/emulated_device.h"

namespace kt = kroton;
using gpu_emulator::TestCuda;

TEST_CASE("cuda: a profile has the times of kernels and copies beside what is predicted") {
  const TestCuda cuda;
  const auto make = [](bool profile) {
    const auto x = kt::tensor("x", {kt::dim("n"), 3});
    const auto w = kt::shared(kt::Array::normal({3, 5}, 1), "w");
    const auto total = kt::shared(kt::Array::zeros({5}), "total");
    const auto y = kt::softmax(kt::dot(x, w));
    return kt::function({x}, y,
                        {.updates = {{total, total + kt::sum(y, 0)}},
                         .name = "layer",
                         .target = kt::cuda(),
                         .profile = profile});
  };
  const auto f = make(true), plain = make(false);
  CHECK(f.profile().calls == 0);
  CHECK(kt::to_string(f.profile()).starts_with("layer on cuda:0 ("));
  const int graphs = gpu_emulator::counts().graphs;
  for (const std::int64_t rows : {17, 17, 17, 1, 0}) {
    const kt::Array x = kt::Array::normal({rows, 3}, 2);
    CHECK(kt::all_close(f(x), plain(x), 0, 0));
  }
  const kt::Profile profile = f.profile();
  CHECK(profile.calls == 5);
  CHECK(profile.device.starts_with("cuda:0 ("));
  CHECK(!profile.model.empty());
  CHECK(profile.peak_flops > 0);
  // w, total and x; sizes 0 are no copy. y.
  CHECK(profile.to_device.count == 2 + 4);
  CHECK(profile.to_device.bytes == 4 * (15 + 5 + (3 * 17 + 1) * 3));
  CHECK(profile.to_host.count == 4);
  CHECK(profile.to_host.bytes == 4 * (3 * 17 + 1) * 5);
  double sum = profile.to_device.seconds + profile.to_host.seconds;
  std::int64_t runs = 0;
  for (const kt::KernelProfile& row : profile.kernels) {
    CAPTURE(row.name);
    runs += row.calls;
    CHECK(row.calls <= 5);
    CHECK((row.seconds > 0) == (row.calls > 0));
    CHECK(row.predicted.value() >= 1e-6 * static_cast<double>(row.calls));
    CHECK((row.bytes > 0) == (row.calls > 0));
    sum += row.seconds;
  }
  CHECK(runs >= 2 * 4);
  CHECK(sum <= profile.seconds);
  if (cuda.is_emulated()) CHECK(gpu_emulator::counts().graphs == graphs + 1);  // of the plain one
  const std::string table = kt::to_string(profile);
  CAPTURE(table);
  CHECK(table.find("predicted, not measured, for ") != std::string::npos);
  CHECK(table.find("  copies to the device\n") != std::string::npos);
  CHECK(table.find("  between kernels\n") != std::string::npos);
}

TEST_CASE("cuda: a profile adds up the steps of a scan, and ends with a failed check") {
  const TestCuda cuda;
  const auto links = kt::vector("links", kt::i64);
  const auto count = kt::scalar("count", kt::i64);
  // A step checks its index, so the host starts it.
  const auto at = kt::scan(
      [](kt::Tensor place, kt::Tensor to) { return kt::take(to, place, 0); },
      {.outputs_info = {kt::zeros({}, kt::i64)}, .non_sequences = {links}, .n_steps = count});
  const auto f = kt::function({links, count}, at[-1], {.target = kt::cuda(), .profile = true});
  const auto steps = [&] {
    std::int64_t runs = 0;
    for (const kt::KernelProfile& row : f.profile().kernels) {
      if (row.depth > 0) runs = std::max(runs, row.calls);
    }
    return runs;
  };
  const kt::Array circle = kt::Array::from(std::vector<std::int64_t>{2, 0, 1});
  CHECK(f(circle, 1300).item<std::int64_t>() == 2);  // more than are waited for at a time
  CHECK(steps() == 1300);
  const kt::Array wrong = kt::Array::from(std::vector<std::int64_t>{7, 0, 1});
  CHECK_THROWS_AS(f(wrong, 3), kt::ValueError);
  CHECK(steps() == 1303);
  CHECK(f(circle, 2).item<std::int64_t>() == 1);
  CHECK(f.profile().calls == 3);
  CHECK(steps() == 1305);
}
