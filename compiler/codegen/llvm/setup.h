// What LLVM needs before it is used, and the tables that it makes while it is.
#pragma once
#include <llvm/IR/Function.h>
#include <llvm/Target/TargetMachine.h>

namespace kroton::codegen {

void initialize_llvm();
// Code generators for processors other than the host's.
void initialize_foreign_targets();

// LLVM makes some tables when it first needs them. Those that code generation always needs are made
// here, each with a guard right after it, so that exit finds the guard first. The rest are guarded
// once they are there.
void make_tables(const llvm::TargetMachine& machine, const llvm::Function& function);
// To be called when code has been generated: the first, second, fourth, ... time.
void guard_new_tables();

}  // namespace kroton::codegen
