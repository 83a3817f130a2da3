#include "compiler/codegen/llvm/run_on_cpu.h"

#include <kroton/error.h>

#include <chrono>

#include "compiler/loop/count.h"
#include "runtime/device_copy.h"
#include "runtime/pool.h"

namespace kroton::codegen {
namespace {

using Clock = std::chrono::steady_clock;

// The context of a call that is measured.
struct MeasuredContext : CallContext {
  MeasuredTime* kernels = nullptr;
  Clock::time_point start;  // of the kernel that runs: kernels do not nest
};

extern "C" void kroton_measure(kroton_context* context, std::int32_t kernel, std::int32_t begin) {
  auto* measured = static_cast<MeasuredContext*>(context);
  if (begin != 0) {
    measured->start = Clock::now();
  } else {
    MeasuredTime& time = measured->kernels[kernel];
    time.seconds += std::chrono::duration<double>(Clock::now() - measured->start).count();
    ++time.runs;
  }
}

}  // namespace

std::int64_t CpuExecutable::workers() const { return Pool::global().workers(); }

kroton_error CpuExecutable::run(const Call& call, CallContext& context) {
  for (std::size_t k = 0; k < program_.states.size(); ++k) {
    SharedState& state = *program_.states[k];
    if (state.copy) {
      state.bring_to_host();
      if (program_.state_is_updated[k]) state.copy->written_on_host();
    }
    call.args[program_.inputs.size() + k] = address_of(state.value);
  }
  const auto enter = [&](CallContext& with) {
    const std::int32_t status =
        code_->entry()(call.args.data(), call.sizes.data(), call.arena, &with);
    if (with.failure) std::rethrow_exception(with.failure);
    return status == 0 ? kroton_error{} : with.error;
  };
  if (call.times == nullptr) return enter(context);
  MeasuredContext measured{context, call.times->kernels.data(), {}};
  measured.profile = kroton_measure;
  return enter(measured);
}

RunsOn CpuExecutable::runs_on() const { return {"", "", machine_peak(workers())}; }

std::vector<KernelCost> CpuExecutable::costs(std::span<const std::int64_t> sizes) const {
  const std::function<std::int64_t(const DimAtom&)> value_of = [&](const DimAtom& atom) {
    for (std::size_t k = 0; k < program_.sizes.size(); ++k) {
      if (program_.sizes[k]->identity == atom.identity) return sizes[k];
    }
    throw InternalError("profile: the size " + atom.name + " is not among the program's");
  };
  std::vector<KernelCost> costs;
  for_each_kernel(program_.steps, [&](const loop::Kernel& kernel) {
    const loop::Work work = loop::count_work(kernel, value_of);
    costs.push_back({work.flops, loop::count_bytes(kernel, work, value_of), std::nullopt});
  });
  return costs;
}

}  // namespace kroton::codegen
