// A Program as one LLVM module: the entry function and its kernels.
#pragma once
#include <llvm/IR/Module.h>
#include <llvm/Target/TargetMachine.h>

#include <memory>

#include "compiler/base/machine.h"
#include "compiler/lower/program.h"

namespace kroton::codegen {

// The entry's name in an object. Users' names never are symbols: one may be called malloc.
inline constexpr const char* entry_symbol = "kroton_entry";

// The entry is `int32_t kroton_entry(void** args, const int64_t* sizes, void* arena,
// kroton_context*)` (runtime/abi.h); everything else in the module is internal.
std::unique_ptr<llvm::Module> emit_program(llvm::LLVMContext& context, const Program& program,
                                           const Machine& machine,
                                           const llvm::TargetMachine& target);

}  // namespace kroton::codegen
