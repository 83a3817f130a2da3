// Values with their derivative by one parameter: a formula that is written for any number gives
// both.
#pragma once
#include "compiler/ops/terms.h"

namespace kroton::ops {

struct Dual {
  Term value, derivative;

  friend Dual operator+(const Dual& a, const Dual& b) {
    return {a.value + b.value, a.derivative + b.derivative};
  }
  friend Dual operator-(const Dual& a, const Dual& b) {
    return {a.value - b.value, a.derivative - b.derivative};
  }
  friend Dual operator*(const Dual& a, const Dual& b) {
    return {a.value * b.value, fma(a.derivative, b.value, a.value * b.derivative)};
  }
  friend Dual operator/(const Dual& a, const Dual& b) {
    const Term quotient = a.value / b.value;
    return {quotient, (a.derivative - quotient * b.derivative) / b.value};
  }
  friend Dual operator-(const Dual& a) { return {-a.value, -a.derivative}; }
  friend Dual operator+(const Dual& a, double c) { return {a.value + c, a.derivative}; }
  friend Dual operator-(const Dual& a, double c) { return {a.value - c, a.derivative}; }
  friend Dual operator-(double c, const Dual& a) { return {c - a.value, -a.derivative}; }
  friend Dual operator*(const Dual& a, double c) { return {a.value * c, a.derivative * c}; }
  friend Dual operator*(const Dual& a, const Term& c) { return {a.value * c, a.derivative * c}; }
  friend Dual operator/(const Term& c, const Dual& a) {
    const Term quotient = c / a.value;
    return {quotient, -quotient * a.derivative / a.value};
  }
  friend Dual operator/(double c, const Dual& a) { return constant_like(a.value, c) / a; }
  friend Dual operator-(const Term& c, const Dual& a) { return {c - a.value, -a.derivative}; }
};

// One that the parameter does not change.
inline Dual fixed(const Term& x) { return {x, constant_like(x, 0)}; }
inline Dual constant_like(const Dual& x, double c) { return fixed(constant_like(x.value, c)); }
// The parameter itself.
inline Dual parameter(const Term& x) { return {x, constant_like(x, 1)}; }

inline Dual fma(const Dual& a, const Dual& b, double c) {
  return {fma(a.value, b.value, c), fma(a.derivative, b.value, a.value * b.derivative)};
}

// Beyond the limit the value is that, and does not change.
inline Dual at_most(const Dual& a, double limit) {
  const Term zero = constant_like(a.value, 0);
  return {at_most(a.value, limit), select(a.value < limit, a.derivative, zero)};
}

inline Dual horner(const Dual& x, std::initializer_list<double> low_to_high) {
  const double* c = low_to_high.end() - 1;
  Dual sum = constant_like(x, *c);
  while (c != low_to_high.begin()) sum = fma(sum, x, *--c);
  return sum;
}

}  // namespace kroton::ops
