// The builder of math_term.h whose values are expressions of the loop IR.
#pragma once
#include "compiler/loop/ir.h"

namespace kroton::loop {

// The builder that math.h is written over, giving expressions.
class ExprBuilder {
 public:
  using Value = Expr;

  // dtype: f32 or f64, that of the argument and the result.
  explicit ExprBuilder(DType dtype) : real_(dtype), integer_(integer_of_size(dtype)) {}

  bool is_f64() const { return real_ == DType::f64; }
  Value real(double c) const { return loop::real(c, real_); }
  Value integer(std::int64_t c) const { return loop::integer(c, integer_); }

  Value add(const Value& a, const Value& b) const { return binary(Op::add, a, b); }
  Value sub(const Value& a, const Value& b) const { return binary(Op::sub, a, b); }
  Value mul(const Value& a, const Value& b) const { return binary(Op::mul, a, b); }
  Value div(const Value& a, const Value& b) const { return binary(Op::div, a, b); }
  Value neg(const Value& a) const { return unary(Op::neg, a); }
  Value fma(const Value& a, const Value& b, const Value& c) const { return loop::fma(a, b, c); }
  Value sqrt(const Value& a) const { return unary(Op::sqrt, a); }
  Value abs(const Value& a) const { return unary(Op::abs, a); }
  Value round_even(const Value& a) const { return unary(Op::round_even, a); }
  Value min(const Value& a, const Value& b) const { return select(lt(a, b), a, b); }
  Value max(const Value& a, const Value& b) const { return select(gt(a, b), a, b); }

  Value lt(const Value& a, const Value& b) const { return binary(Op::lt, a, b); }
  Value le(const Value& a, const Value& b) const { return binary(Op::le, a, b); }
  Value gt(const Value& a, const Value& b) const { return binary(Op::lt, b, a); }
  Value ge(const Value& a, const Value& b) const { return binary(Op::le, b, a); }
  Value eq(const Value& a, const Value& b) const { return binary(Op::eq, a, b); }
  Value ne(const Value& a, const Value& b) const { return binary(Op::ne, a, b); }
  Value select(const Value& condition, const Value& a, const Value& b) const {
    return loop::select(condition, a, b);
  }
  Value shortcut(const Value& condition, const Value& quick, const Value& full) const {
    return loop::shortcut(condition, quick, full);
  }
  Value logical_and(const Value& a, const Value& b) const { return binary(Op::logical_and, a, b); }
  Value logical_or(const Value& a, const Value& b) const { return binary(Op::logical_or, a, b); }
  Value logical_not(const Value& a) const { return unary(Op::logical_not, a); }

  Value bits(const Value& a) const { return loop::bitcast(a, integer_); }
  Value from_bits(const Value& a) const { return loop::bitcast(a, real_); }
  Value iadd(const Value& a, const Value& b) const { return binary(Op::add, a, b); }
  Value isub(const Value& a, const Value& b) const { return binary(Op::sub, a, b); }
  Value imul(const Value& a, const Value& b) const { return binary(Op::mul, a, b); }
  Value iand(const Value& a, const Value& b) const { return binary(Op::bit_and, a, b); }
  Value ior(const Value& a, const Value& b) const { return binary(Op::bit_or, a, b); }
  Value ixor(const Value& a, const Value& b) const { return binary(Op::bit_xor, a, b); }
  Value shl(const Value& a, int n) const { return binary(Op::shl, a, integer(n)); }
  Value ashr(const Value& a, int n) const { return binary(Op::ashr, a, integer(n)); }
  Value lshr(const Value& a, int n) const { return binary(Op::lshr, a, integer(n)); }
  Value ilt(const Value& a, const Value& b) const { return binary(Op::lt, a, b); }
  Value ieq(const Value& a, const Value& b) const { return binary(Op::eq, a, b); }
  Value to_int(const Value& a) const { return loop::cast(a, integer_); }
  Value to_real(const Value& a) const { return loop::cast(a, real_); }

 private:
  static Value unary(Op op, const Value& a) { return loop::unary(op, a); }
  static Value binary(Op op, const Value& a, const Value& b) { return loop::binary(op, a, b); }

  DType real_;
  DType integer_;
};

}  // namespace kroton::loop
