// A call of a function that takes batches of matrices, shared by workers.
#pragma once
#include <llvm/IR/Module.h>

#include <span>

#include "compiler/lower/program.h"

namespace kroton::codegen {

// The kroton_body that calls the function on the matrices from `begin` to `end`. Its environment is
// two pointers: to the array of the values' addresses, and to that of their sizes, one after the
// other, of which the first is the number of matrices, at least 1. What the function says of a
// failure, its last value, goes nowhere: which matrix is the first that failed is not known here.
llvm::Function* matrices_body(llvm::Module& module, llvm::Function* function,
                              std::span<const Call::Value> values);

}  // namespace kroton::codegen
