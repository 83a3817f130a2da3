// The C functions around a Program's entry.
#pragma once
#include <llvm/IR/Module.h>

#include "compiler/aot/c_interface.h"

namespace kroton::codegen {

// Adds to the module of emit_program what the header of `interface` declares. The entry, which only
// these functions call, becomes internal.
void emit_c_interface(llvm::Module& module, const Program& program,
                      const aot::CInterface& interface);

}  // namespace kroton::codegen
