// A Program as code of this process.
#pragma once
#include "compiler/codegen/executable.h"
#include "compiler/codegen/llvm/jit.h"

namespace kroton::codegen {

class CpuExecutable final : public Executable {
 public:
  // `program` must live as long.
  CpuExecutable(const Program& program, std::shared_ptr<CompiledProgram> code)
      : program_(program), code_(std::move(code)) {}
  bool uses_host_memory() const override { return true; }
  std::int64_t workers() const override;
  bool moves_what_it_reads() const override { return false; }
  kroton_error run(const Call& call, CallContext& context) override;
  RunsOn runs_on() const override;
  std::vector<KernelCost> costs(std::span<const std::int64_t> sizes) const override;

 private:
  const Program& program_;
  std::shared_ptr<CompiledProgram> code_;
};

}  // namespace kroton::codegen
