// The leaves of expressions: a function's inputs, shared variables, literals, constant arrays.
#pragma once
#include "compiler/ir/op.h"

namespace kroton {

extern const OpRecord input_op, shared_op, literal_op, constant_op;

// What an input stands for: a variable of the user's, or what the step of a loop is called with.
enum class InputRole : std::uint8_t { variable, row, state };
// A new input, different from every other.
Tensor make_input(std::string name, TensorType type, SourceLine line,
                  InputRole role = InputRole::variable);
InputRole role_of(const Tensor& input);
// A scalar. f32 values are rounded to f32. TypeError when an integer dtype does not hold the value;
// boolean holds 0 and 1.
Tensor make_literal(double value, DType dtype, SourceLine line);
Tensor make_literal(std::int64_t value, DType dtype, SourceLine line);
inline Tensor make_literal(int value, DType dtype, SourceLine line) {
  return make_literal(static_cast<std::int64_t>(value), dtype, line);
}
// Of the interpreter's number, whose integers are exact; they wrap around.
Tensor make_literal(const Number& value, DType dtype, SourceLine line);
// A scalar without a dtype of its own (Node::weak), an f32 whose value is not rounded or an i64.
Tensor make_weak_literal(double value, SourceLine line);
Tensor make_weak_literal(std::int64_t value, SourceLine line);
// The elements of `array`, copied; rank 0 gives a literal.
Tensor make_constant(const Array& array, SourceLine line);
// The value that a literal's attributes hold, as it was written: not rounded to its dtype.
double literal_value(const Attributes& literal);
// Whether the tensor is a literal; if so, its value.
bool literal_value(const Tensor& tensor, double& value);

}  // namespace kroton
