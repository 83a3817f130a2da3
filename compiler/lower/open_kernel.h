// Kernels apart from their whole numbers.
#pragma once
#include <vector>

#include "compiler/loop/ir.h"

namespace kroton {

// A kernel with variables in place of its sizes and of the whole numbers that are added, compared
// or where an element is: x[5] is x[n], and i < 80 is i < n. Factors and divisors stay, as they
// decide how memory is read, and so do the places of what is held in registers.
struct OpenKernel {
  loop::Block body;
  std::vector<loop::Variable> numbers;
  std::vector<loop::Expr> values;  // integers and sizes, one for each of the numbers
};
OpenKernel open_numbers(const loop::Kernel& kernel);

}  // namespace kroton
