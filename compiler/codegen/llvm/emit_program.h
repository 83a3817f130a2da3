// A Program as LLVM modules: the entry function and its kernels.
#pragma once
#include "compiler/codegen/llvm/program_kernels.h"

namespace kroton::codegen {

// The entry's name in an object. Users' names never are symbols: one may be called malloc.
inline constexpr const char* entry_symbol = "kroton_entry";

// The module with the entry, `int32_t kroton_entry(void** args, const int64_t* sizes, void* arena,
// kroton_context*)` (runtime/abi.h). With `full` it has the last of the kernels only: modules with
// the others go there as soon as they are complete, and define hidden symbols that this one
// declares. Everything else in a module is internal.
OwnedModule emit_program(const Program& program, const Machine& machine,
                         const llvm::TargetMachine& target, const ModuleSink& full = nullptr);

}  // namespace kroton::codegen
