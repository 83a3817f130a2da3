// Which numbers the model of times has for a device.
#include <doctest/doctest.h>

#include "compiler/codegen/cuda/gpu_rates.h"

using kroton::DeviceProperties;
using kroton::codegen::GpuRates;
using kroton::codegen::rates_of;

TEST_CASE("rates of a device: known ones by name and size, others from what the driver tells") {
  const DeviceProperties h100{"NVIDIA H100 80GB HBM3", 132, 1.98, 2, 2.619, 5120, 233472};
  const GpuRates known = rates_of(h100, 90).value();
  CHECK(known.name == "H100");
  CHECK(known.bandwidth == 3000);
  CHECK(rates_of({"Tesla T4", 40}, 75).value().name == "T4");
  CHECK(rates_of({"NVIDIA A100-SXM4-40GB", 108}, 80).value().name == "A100");
  // Others of that name have other numbers.
  DeviceProperties h200 = h100;
  h200.model = "NVIDIA H200";
  h200.memory_clock = 3.201;
  h200.memory_bits = 6144;
  DeviceProperties smaller = h100;
  smaller.model = "NVIDIA H100 PCIe";
  smaller.processors = 114;
  for (const DeviceProperties& told : {h200, smaller}) {
    const GpuRates rates = rates_of(told, 90).value();
    CAPTURE(told.model);
    CHECK(rates.name.starts_with("a device like H100, "));
    CHECK(rates.processors == told.processors);
    CHECK(rates.lanes == 128);
    CHECK(rates.clock < 1.98);
    CHECK(rates.f64_rate == 0.5);
    CHECK(rates.shared == 233472);
  }
  // The table's numbers come out of what the driver tells of the same device.
  CHECK(rates_of(h200, 90).value().bandwidth == doctest::Approx(4425).epsilon(0.01));
  CHECK(rates_of(smaller, 90).value().bandwidth == doctest::Approx(3000).epsilon(0.02));
  const DeviceProperties consumer{"NVIDIA GeForce RTX 3090", 82, 1.695, 64, 9.751, 384, 102400};
  const GpuRates rates = rates_of(consumer, 86).value();
  CHECK(rates.f64_rate == 1.0 / 64);
  CHECK(rates.lanes == 128);
  CHECK(rates.matrix == 256);
  // A T400 is no T4; a device that tells nothing has no numbers.
  CHECK(!rates_of({"NVIDIA T400", 40}, 75));
  DeviceProperties shared_memory = h100;
  shared_memory.model = "NVIDIA GH";
  shared_memory.memory_clock = 0;
  CHECK(!rates_of(shared_memory, 90));
  CHECK(!rates_of({}, 90));
}
