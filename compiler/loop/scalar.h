// What one scalar operation of the loop IR gives for given operands: the one definition of its
// arithmetic, which constant folding and the interpreter share.
#pragma once
#include <string>

#include "compiler/loop/ir.h"

namespace kroton::loop {

// A value of any dtype: `real` for the floating ones, rounded to the dtype, `integer` for the
// others, extended to 64 bits by the sign or by zeros; booleans are 0 or 1.
struct Scalar {
  double real = 0;
  std::int64_t integer = 0;
};

// `value` as a value of `dtype`: rounded, wrapped, or 0 and 1.
Scalar scalar_from_real(double value, DType dtype);
Scalar scalar_from_integer(std::int64_t value, DType dtype);

// args[0..] combined by `op`. `operand` is the dtype of args[0] (of args[1] for select), `result`
// that of the value. Every op but those that read something: constants, variable, size, load,
// check_index, check (InternalError).
Scalar evaluate(Op op, DType operand, DType result, const Scalar* args);

// The element of that dtype at `address`, and back.
Scalar read_element(const void* address, DType dtype);
void write_element(void* address, DType dtype, const Scalar& value);

// The fewest digits that give `value` back when they are read as that dtype.
std::string digits_of(const Scalar& value, DType dtype);

}  // namespace kroton::loop
