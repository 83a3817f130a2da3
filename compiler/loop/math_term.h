#pragma once

#include <bit>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <utility>
#include <vector>

// The notation in which the elementary functions are written: a Term is a B::Value that knows its
// builder, so formulas read as formulas. A double operand becomes a constant of the working dtype.
//
// Each operator makes its calls to the builder in order, but C++ leaves the order of two operands
// open. Hence the rule in these files: no expression has two operands that both call the builder.

// Terms are passed by value, as numbers are: formulas read best so.
// NOLINTBEGIN(performance-unnecessary-value-param)
namespace kroton::loop::math {

template <class B>
struct Term {
  B* b;
  typename B::Value v;

  /// A float operand: a Term, or a number that turns into a constant when the operator runs.
  struct Operand {
    const Term* term = nullptr;
    double number = 0;
    Operand(const Term& t) : term(&t) {}
    Operand(double c) : number(c) {}
    typename B::Value in(B& builder) const { return term ? term->v : builder.real(number); }
  };

  friend Term operator+(Term a, Operand c) { return {a.b, a.b->add(a.v, c.in(*a.b))}; }
  friend Term operator-(Term a, Operand c) { return {a.b, a.b->sub(a.v, c.in(*a.b))}; }
  friend Term operator*(Term a, Operand c) { return {a.b, a.b->mul(a.v, c.in(*a.b))}; }
  friend Term operator/(Term a, Operand c) { return {a.b, a.b->div(a.v, c.in(*a.b))}; }
  friend Term operator-(double c, Term a) { return {a.b, a.b->sub(a.b->real(c), a.v)}; }
  friend Term operator/(double c, Term a) { return {a.b, a.b->div(a.b->real(c), a.v)}; }
  friend Term operator-(Term a) { return {a.b, a.b->neg(a.v)}; }

  friend Term abs(Term a) { return {a.b, a.b->abs(a.v)}; }
  friend Term sqrt(Term a) { return {a.b, a.b->sqrt(a.v)}; }
  friend Term round_even(Term a) { return {a.b, a.b->round_even(a.v)}; }
  friend Term fma(Term a, Operand m, Operand c) {
    auto mv = m.in(*a.b);
    auto cv = c.in(*a.b);
    return {a.b, a.b->fma(a.v, mv, cv)};
  }

  // The number comes first so that a NaN in `a` is the result: comparisons with it are false.
  friend Term at_most(Term a, double c) { return {a.b, a.b->min(a.b->real(c), a.v)}; }
  friend Term at_least(Term a, double c) { return {a.b, a.b->max(a.b->real(c), a.v)}; }

  friend Term operator<(Term a, Operand c) { return {a.b, a.b->lt(a.v, c.in(*a.b))}; }
  friend Term operator>(Term a, Operand c) { return {a.b, a.b->gt(a.v, c.in(*a.b))}; }
  friend Term equal(Term a, Operand c) { return {a.b, a.b->eq(a.v, c.in(*a.b))}; }
  friend Term unequal(Term a, Operand c) { return {a.b, a.b->ne(a.v, c.in(*a.b))}; }
  friend Term operator&&(Term a, Term c) { return {a.b, a.b->logical_and(a.v, c.v)}; }
  friend Term operator||(Term a, Term c) { return {a.b, a.b->logical_or(a.v, c.v)}; }
  friend Term select(Term cond, Operand yes, Operand no) {
    auto yv = yes.in(*cond.b);
    auto nv = no.in(*cond.b);
    return {cond.b, cond.b->select(cond.v, yv, nv)};
  }

  friend Term shortcut(Term cond, Term quick, Term full) {
    return {cond.b, cond.b->shortcut(cond.v, quick.v, full.v)};
  }

  friend Term bits(Term a) { return {a.b, a.b->bits(a.v)}; }
  friend Term from_bits(Term i) { return {i.b, i.b->from_bits(i.v)}; }
  friend Term iadd(Term i, Term j) { return {i.b, i.b->iadd(i.v, j.v)}; }
  friend Term iadd(Term i, int64_t c) { return {i.b, i.b->iadd(i.v, i.b->integer(c))}; }
  friend Term isub(Term i, Term j) { return {i.b, i.b->isub(i.v, j.v)}; }
  friend Term isub(int64_t c, Term i) { return {i.b, i.b->isub(i.b->integer(c), i.v)}; }
  friend Term iand(Term i, int64_t c) { return {i.b, i.b->iand(i.v, i.b->integer(c))}; }
  friend Term ior(Term i, Term j) { return {i.b, i.b->ior(i.v, j.v)}; }
  friend Term ixor(Term i, Term j) { return {i.b, i.b->ixor(i.v, j.v)}; }
  friend Term shl(Term i, int n) { return {i.b, i.b->shl(i.v, n)}; }
  friend Term lshr(Term i, int n) { return {i.b, i.b->lshr(i.v, n)}; }
};

template <class B>
Term<B> term(B& b, typename B::Value v) {
  return {&b, v};
}

/// What the algorithms need to know about the working dtype.
struct Format {
  bool f64;
  int mantissa;       // stored mantissa bits
  int64_t bias;       // exponent bias
  int64_t sign_bit;   // as a signed integer of the working width
  double unit;        // 2^mantissa: the spacing from here on is 1
  double to_integer;  // x + to_integer rounds x to an integer, which the low bits then hold

  explicit Format(bool is_f64)
      : f64(is_f64),
        mantissa(is_f64 ? 52 : 23),
        bias(is_f64 ? 1023 : 127),
        sign_bit(is_f64 ? std::numeric_limits<int64_t>::min()
                        : std::numeric_limits<int32_t>::min()),
        unit(is_f64 ? 0x1p52 : 0x1p23),
        to_integer(1.5 * unit) {}

  /// One constant per dtype.
  double pick(double c32, double c64) const { return f64 ? c64 : c32; }

  /// The bits of a constant as an integer of the working width.
  int64_t bits_of(double c) const {
    return f64 ? std::bit_cast<int64_t>(c) : int64_t{std::bit_cast<int32_t>(static_cast<float>(c))};
  }
};

/// c0 + x (c1 + x (c2 + ...)), by Horner's rule.
template <class B>
Term<B> horner(Term<B> x, std::initializer_list<double> low_to_high) {
  const double* c = low_to_high.end() - 1;
  Term<B> sum{x.b, x.b->real(*c)};
  while (c != low_to_high.begin()) {
    sum = fma(sum, x, *--c);
  }
  return sum;
}

/// The same sum by halves (Estrin's scheme): a multiplication more for each halving, but a chain of
/// few operations instead of one for each coefficient.
template <class B>
Term<B> estrin(Term<B> x, std::initializer_list<double> low_to_high) {
  std::vector<Term<B>> sums;
  for (const double* c = low_to_high.begin(); c != low_to_high.end(); c += 2) {
    const bool last = c + 1 == low_to_high.end();
    sums.push_back(last ? Term<B>{x.b, x.b->real(*c)} : fma(Term<B>{x.b, x.b->real(c[1])}, x, *c));
    if (last) break;
  }
  for (Term<B> power = x; sums.size() > 1;) {
    power = power * power;
    std::vector<Term<B>> halves;
    for (std::size_t k = 0; k + 1 < sums.size(); k += 2) {
      halves.push_back(fma(sums[k + 1], power, sums[k]));
    }
    if (sums.size() % 2 == 1) halves.push_back(sums.back());
    sums = std::move(halves);
  }
  return sums.front();
}

/// `magnitude` (not negative) with the sign of `x`.
template <class B>
Term<B> with_sign_of(const Format& fmt, Term<B> magnitude, Term<B> x) {
  Term<B> sign = iand(bits(x), fmt.sign_bit);
  Term<B> m = bits(magnitude);
  return from_bits(ior(m, sign));
}

}  // namespace kroton::loop::math
// NOLINTEND(performance-unnecessary-value-param)
