// The incomplete gamma and beta functions as formulas, which their derivatives and inverses are
// made of.
#pragma once
#include "compiler/ir/op.h"
#include "compiler/ops/special_terms.h"

namespace kroton::ops {

// A record of an op that only gradients have: it has no name in programs.
constexpr OpRecord only_in_gradients(OpRecord record) {
  record.draw = nullptr;
  return record;
}

// The shares of gamma(a) below and beyond x, and x times the derivative by x of the lower one, for
// a, x >= 0; of so few terms as the dtype needs that the result is rounded to.
struct IncompleteGamma {
  Term lower, upper, slope;
};
IncompleteGamma incomplete_gamma(const Term& a, const Term& x, Format of_result = Format(true));
// The derivative of the lower one by a.
Term incomplete_gamma_by_a(const Term& a, const Term& x);

// The shares of beta(a, b) below and beyond x, and x (1 - x) times the derivative of the lower one,
// for a, b > 0 and 0 < x < 1. NaN where both parameters are above 1000.
struct IncompleteBeta {
  Term value, complement, slope;
};
IncompleteBeta incomplete_beta(const Term& a, const Term& b, const Term& x);

// Of the gamma distribution, by which x changes with a where the share below it stays: -dP/da over
// dP/dx, over x, at x = e^log_x.
Tensor deviate_slope(const Tensor& a, const Tensor& log_x);

// An op of two parameters and a place, of which literals take the dtype of a tensor among the
// others.
Tensor apply_of_three(const OpRecord& op, const Operand& a, const Operand& b, const Operand& x);

// Their samples, and one by the place alone at which finite differences are right: no derivative of
// second order by the parameters.
using OfThree = Tensor (*)(const Operand&, const Operand&, const Operand&);
std::vector<Sample> samples_of_three(OfThree function, Tensor (*of_halves)(const Operand&));

// a, of f32 or f64; where a gradient by it is asked for, it is one of second order: ValueError.
Tensor without_second_gradient(const Tensor& a, const char* function, const char* operand);

}  // namespace kroton::ops
