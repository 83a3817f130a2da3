// The elementary functions of the loop IR: exp, sin, pow ... Each is one node until code is made of
// it; then it is the arithmetic of math.h.
#pragma once
#include "compiler/loop/ir.h"

namespace kroton::loop {

inline bool is_elementary(Op op) { return op >= Op::exp && op <= Op::atan2; }
inline bool is_elementary_of_two(Op op) { return op >= Op::pow && op <= Op::atan2; }

// The arithmetic that computes the function.
Expr arithmetic_of(Op op, const std::vector<Expr>& args);
// The kernel with arithmetic in place of all functions.
Kernel with_arithmetic(const Kernel& kernel);

// How many operations computing the node takes once its operands are known: of a function, those
// of its arithmetic; of a leaf or of index arithmetic, none.
int operations_of(const ExprNode& e);

}  // namespace kroton::loop
