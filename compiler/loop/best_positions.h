// Best values and their positions as plain expressions, where they lie in arrays.
#pragma once
#include <vector>

#include "compiler/loop/ir.h"

namespace kroton::loop {

// Whether the value at `at` takes the place of `best` at `position`: it is better, or equal and at
// a lower position, or the first NaN.
Expr is_better(bool maximum, const Expr& value, const Expr& best, const Expr& at,
               const Expr& position);
// A position as another integer type, in which the largest number, too, stands for none. Anything
// else as it is.
Expr as_position(const Expr& e, DType to);
// Whether the variable is a position, of a loop's iteration wherever the reductions note it, and
// fits 32 bits.
bool is_narrow_position(const std::vector<const For*>& reductions, const Variable& position);

}  // namespace kroton::loop
