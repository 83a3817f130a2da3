#include "compiler/codegen/llvm/run_on_cpu.h"

#include "runtime/device_copy.h"
#include "runtime/pool.h"

namespace kroton::codegen {

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
  const std::int32_t status =
      code_->entry()(call.args.data(), call.sizes.data(), call.arena, &context);
  if (context.failure) std::rethrow_exception(context.failure);
  return status == 0 ? kroton_error{} : context.error;
}

}  // namespace kroton::codegen
