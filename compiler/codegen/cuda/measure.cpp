// What the calls of a Program on a device take, and what they would by the model of times.
#include "compiler/codegen/cuda/kernel_time.h"
#include "compiler/codegen/cuda/run_program.h"

namespace kroton::codegen {

void DeviceProgram::upload(DeviceAddress to, const void* from, std::int64_t bytes) {
  measured(&CallTimes::to_device, bytes, [&] { device_->upload(to, from, bytes); });
}

void DeviceProgram::download(void* to, DeviceAddress from, std::int64_t bytes) {
  measured(&CallTimes::to_host, bytes, [&] { device_->download(to, from, bytes); });
}

RunsOn DeviceProgram::runs_on() const {
  RunsOn result{device_->name(), "", {}};
  if (!rates_) return result;
  result.model = rates_->name;
  // A multiplication with an addition counts as two.
  result.peak.flops = 2e9 * rates_->processors * rates_->lanes * rates_->clock;
  result.peak.bandwidth = 1e9 * rates_->bandwidth;
  return result;
}

std::vector<KernelCost> DeviceProgram::costs(std::span<const std::int64_t> sizes) const {
  SizeValues values(program_);
  values.set(sizes);
  std::vector<KernelCost> costs;
  for_each_kernel(program_.steps, [&](const loop::Kernel& kernel) {
    const LoadedKernel& loaded = kernels_[costs.size()];
    KernelCost& cost = costs.emplace_back();
    KernelFacts facts =
        facts_of(kernel, *loaded.emitted, loaded.product.product != nullptr, values);
    const bool runs = facts.blocks > 0;
    if (rates_) facts.waiting = waiting_time(kernel, *loaded.emitted, values, *rates_);
    if (rates_) facts.steps = steps_time(kernel, *loaded.emitted, values, *rates_);
    if (rates_) cost.seconds = runs ? 1e-6 * kernel_time(*rates_, facts) : 0;
    if (!runs) return;
    cost.flops = facts.work;
    cost.bytes = facts.bytes;
  });
  return costs;
}

}  // namespace kroton::codegen
