#pragma once
#include <llvm/IR/Function.h>

namespace kroton::codegen {

// type f(type x, type y), for float, double, and vectors of them: the exact remainder of floor
// division, with the sign of y; a zero has that sign too. NaN for y = 0 and infinite x.
llvm::Function* remainder_function(llvm::Module& module, llvm::Type* type);

}  // namespace kroton::codegen
