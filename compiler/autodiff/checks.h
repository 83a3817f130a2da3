// What grad, vjp, jvp and the functions made of them ask of their arguments. Errors name the line
// of the user's call, not that of an expression.
#pragma once
#include <kroton/tensor.h>

namespace kroton {

// Whether it is an input or a shared variable.
bool is_variable(const Tensor& tensor);
// "x is f32 (3,)".
std::string described(const Tensor& tensor);
// "  [model.cpp:7]": the line of the outermost call in progress, else `line`.
std::string place(const SourceLine& line);

// ValueError "op: what is an empty Tensor ..." for an empty one.
void check_given(const char* op, const char* what, const Tensor& tensor, const SourceLine& line);
// Given and floating (TypeError), each.
void check_wrt(const char* op, const std::vector<Tensor>& wrt, const SourceLine& line);
// A floating scalar (TypeError, ShapeError).
void check_cost(const char* op, const Tensor& cost, const SourceLine& line);
// ValueError "op: what does not depend on x" unless the roots are computed from each of `wrt`.
void check_used(const char* op, const char* what, std::span<const Tensor> roots,
                const std::vector<Tensor>& wrt, const SourceLine& line);
// A given cotangent or tangent, `what`, where it meets its expression, whose type it has, as far as
// sizes are known (TypeError, ShapeError).
Tensor met_by_type(const char* op, const char* what, const Tensor& tensor, const Tensor& given,
                   const SourceLine& line);

}  // namespace kroton
