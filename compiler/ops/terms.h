// Formulas on the values of single elements: the notation of the elementary functions
// (loop/math_term.h) over expressions of the loop IR.
#pragma once
#include <kroton/error.h>

#include <string>

#include "compiler/loop/expr_builder.h"
#include "compiler/loop/math_term.h"

// Terms are passed by value, as numbers are: formulas read best so.
// NOLINTBEGIN(performance-unnecessary-value-param)
namespace kroton::ops {

using loop::math::horner;
using loop::math::with_sign_of;
using Term = loop::math::Term<loop::ExprBuilder>;
using Format = loop::math::Format;

// The builder of that dtype, f32 or f64.
inline loop::ExprBuilder& builder_of(DType dtype) {
  static loop::ExprBuilder builders[] = {loop::ExprBuilder(DType::f32),
                                         loop::ExprBuilder(DType::f64)};
  for (loop::ExprBuilder& builder : builders) {
    if (builder.real(0)->dtype == dtype) return builder;
  }
  throw InternalError("formulas have no builder for " + std::string(name_of(dtype)));
}

inline Term term(const loop::Expr& x) { return {&builder_of(x->dtype), x}; }
inline Format format_of(const Term& x) { return Format(x.b->is_f64()); }
inline Term constant_like(const Term& x, double c) { return {x.b, x.b->real(c)}; }

// An elementary function, or another operation of one operand.
inline Term call(loop::Op op, const Term& x) { return {x.b, loop::unary(op, x.v)}; }
inline Term call(loop::Op op, const Term& x, const Term& y) {
  return {x.b, loop::binary(op, x.v, y.v)};
}
inline Term exp(const Term& x) { return call(loop::Op::exp, x); }
inline Term expm1(const Term& x) { return call(loop::Op::expm1, x); }
inline Term log(const Term& x) { return call(loop::Op::log, x); }
inline Term log1p(const Term& x) { return call(loop::Op::log1p, x); }

// The larger (smaller) of two that are no NaNs.
inline Term larger(const Term& x, const Term& y) { return select(x < y, y, x); }
inline Term smaller(const Term& x, const Term& y) { return select(x < y, x, y); }

// What a formula of Terms is on expressions, one that computes in the operands' dtype.
template <auto formula>
inline constexpr auto of_terms = [](const loop::Expr& x) { return formula(term(x)).v; };
template <auto formula>
inline constexpr auto of_two_terms =
    [](const loop::Expr& x, const loop::Expr& y) { return formula(term(x), term(y)).v; };

// One that is written for f64: an f32 operand is converted, and the result rounded.
template <auto formula>
inline constexpr auto in_f64 = [](const loop::Expr& x) {
  return loop::cast(formula(term(loop::cast(x, DType::f64))).v, x->dtype);
};
template <auto formula>
inline constexpr auto in_f64_of_two = [](const loop::Expr& x, const loop::Expr& y) {
  return loop::cast(formula(term(loop::cast(x, DType::f64)), term(loop::cast(y, DType::f64))).v,
                    x->dtype);
};

template <auto formula>
inline constexpr auto in_f64_of_three =
    [](const loop::Expr& x, const loop::Expr& y, const loop::Expr& z) {
      const auto wide = [](const loop::Expr& e) { return term(loop::cast(e, DType::f64)); };
      return loop::cast(formula(wide(x), wide(y), wide(z)).v, x->dtype);
    };

}  // namespace kroton::ops
// NOLINTEND(performance-unnecessary-value-param)
