// Floor division, minimum and maximum of sizes, and what is known of their order.
#include <kroton/error.h>
#include <kroton/tensor.h>

#include <algorithm>
#include <numeric>
#include <unordered_map>

#include "compiler/dim/dim_atoms.h"
#include "compiler/dim/size_samples.h"

namespace kroton {
namespace {

using Term = Dim::Term;

Dim operation(DimAtom::Kind kind, const Dim& a, const Dim& b) {
  return from_atom(intern_atom(kind, "", {a, b}));
}

// numerator / denominator when the coefficient and the factors divide.
std::optional<Term> divide_term(const Term& numerator, const Term& denominator) {
  if (numerator.coefficient % denominator.coefficient != 0 ||
      !std::includes(numerator.factors.begin(), numerator.factors.end(),
                     denominator.factors.begin(), denominator.factors.end(), by_identity)) {
    return std::nullopt;
  }
  Term quotient{numerator.coefficient / denominator.coefficient, {}};
  std::set_difference(numerator.factors.begin(), numerator.factors.end(),
                      denominator.factors.begin(), denominator.factors.end(),
                      std::back_inserter(quotient.factors), by_identity);
  return quotient;
}

// a / b when b divides a as a polynomial. One divisor and a monomial order: if b divides a, its
// leading term divides the leading term of every remainder on the way.
std::optional<Dim> divide_exactly(const Dim& a, const Dim& b) {
  const std::vector<Term> divisor = b.terms();
  std::vector<Term> quotient;
  Dim rest = a;
  while (!rest.is_constant(0)) {
    const std::optional<Term> step = divide_term(rest.terms().front(), divisor.front());
    if (!step) {
      return std::nullopt;
    }
    quotient.push_back(*step);
    rest = rest - Dim::from_terms({*step}) * b;
  }
  return Dim::from_terms(std::move(quotient));
}

// What is left to divide after the multiples of b went to `quotient`:
// floor((q*b + r) / b) = q + floor(r / b).
Dim split_multiples(const Dim& a, const Dim& b, Dim& quotient) {
  const std::vector<Term> divisor = b.terms();
  if (divisor.size() != 1) {
    return a;
  }
  std::vector<Term> taken;
  std::vector<Term> rest;
  for (Term& term : a.terms()) {
    if (b.is_constant()) {
      const std::int64_t whole = term.factors.empty() ? floor_divide(term.coefficient, b.constant())
                                                      : term.coefficient / b.constant();
      taken.push_back({whole, term.factors});
      rest.push_back({term.coefficient - whole * b.constant(), term.factors});
    } else if (const std::optional<Term> whole = divide_term(term, divisor.front())) {
      taken.push_back(*whole);
    } else {
      rest.push_back(std::move(term));
    }
  }
  quotient = Dim::from_terms(std::move(taken));
  return Dim::from_terms(std::move(rest));
}

// The greatest number that divides all coefficients, that of the constant as well if it is to
// count.
std::int64_t common_factor(const std::vector<Term>& terms, bool with_constant) {
  std::int64_t common = 0;
  for (const Term& term : terms) {
    if (with_constant || !term.factors.empty()) common = std::gcd(common, term.coefficient);
  }
  return common;
}

// The variables that all terms have as factors.
std::vector<DimAtomRef> common_variables(const std::vector<Term>& terms) {
  std::vector<DimAtomRef> common = terms.front().factors;
  for (const Term& term : terms) {
    std::vector<DimAtomRef> both;
    std::set_intersection(common.begin(), common.end(), term.factors.begin(), term.factors.end(),
                          std::back_inserter(both), by_identity);
    common = std::move(both);
  }
  return common;
}

// floor((c*m + k) / (c*q)) = floor((m + floor(k/c)) / q), for a number c and a constant k, and for
// a size c where nothing is left over.
std::optional<Dim> without_common_factor(const Dim& dividend, const Dim& b) {
  const std::vector<Term> terms = dividend.terms(), divisor = b.terms();
  std::vector<Term> all = terms;
  all.insert(all.end(), divisor.begin(), divisor.end());
  const Term common{std::gcd(common_factor(terms, false), common_factor(divisor, true)),
                    common_variables(all)};
  if (common.coefficient <= 1 && common.factors.empty()) return std::nullopt;
  const auto divided = [&](const std::vector<Term>& of) {
    std::vector<Term> result;
    for (const Term& term : of) {
      if (term.factors.empty()) {
        result.push_back({floor_divide(term.coefficient, common.coefficient), {}});
      } else {
        result.push_back(*divide_term(term, common));
      }
    }
    return Dim::from_terms(std::move(result));
  };
  return floor_div(divided(terms), divided(divisor));
}

// floor((floor(a / c) + r) / b) = floor((a + c * r) / (c * b)): sizes that are divided again and
// again stay flat.
std::optional<Dim> without_inner_division(const Dim& dividend, const Dim& b) {
  constexpr std::int64_t largest = std::int64_t{1}
                                   << 31;  // products of divisors stay far from 2^63
  if (!b.is_constant()) return std::nullopt;
  for (const Term& term : dividend.terms()) {
    if (term.coefficient != 1 || term.factors.size() != 1) continue;
    const DimAtom& inner = *term.factors.front();
    if (inner.kind != DimAtom::Kind::floor_div || !inner.operands[1].is_constant()) continue;
    const Dim& c = inner.operands[1];
    if (c.constant() > largest || b.constant() > largest) continue;
    const Dim rest = dividend - Dim::from_terms({term});
    return floor_div(inner.operands[0] + c * rest, c * b);
  }
  return std::nullopt;
}

// ---- Bounds.

// How deep into atoms within atoms a proof goes, and how many terms the forms have in all that it
// looks at: what takes more is not known.
struct Effort {
  int depth;
  int& left;
  Effort deeper() const { return {depth - 1, left}; }
};

bool non_negative(const Dim& dim, Effort effort);

bool non_negative(const DimAtom& atom, Effort effort) {
  switch (atom.kind) {
    case DimAtom::Kind::variable:
    case DimAtom::Kind::value:
    case DimAtom::Kind::count:
      return true;
    case DimAtom::Kind::floor_div:
      return non_negative(atom.operands[0], effort);
    case DimAtom::Kind::minimum:
      return non_negative(atom.operands[0], effort) && non_negative(atom.operands[1], effort);
    case DimAtom::Kind::maximum:
      return non_negative(atom.operands[0], effort) || non_negative(atom.operands[1], effort);
  }
  return false;
}

// Whether the products of a proof stay far from the ends of 64 bits.
bool is_small(const Dim& dim) {
  constexpr std::int64_t largest = std::int64_t{1} << 30;
  const std::vector<Term> terms = dim.terms();
  return std::all_of(terms.begin(), terms.end(), [](const Term& term) {
    return term.coefficient > -largest && term.coefficient < largest;
  });
}

// rest + factor * floor_div(a, b) >= 0, for a constant b.
bool non_negative_with_quotient(const Dim& rest, std::int64_t factor, const DimAtom& quotient,
                                Effort effort) {
  const Dim& a = quotient.operands[0];
  const std::int64_t b = quotient.operands[1].constant();
  if (!is_small(rest) || !is_small(a) || !is_small(b) || !is_small(factor)) {
    return false;
  }
  // c * floor_div(a, b) lies within c - 1 below floor_div(a, b / c).
  if (const std::int64_t c = std::gcd(factor, b); c > 1) {
    const Dim larger = floor_div(a, b / c);
    const Dim bound = factor > 0 ? larger - Dim(c - 1) : larger;
    return non_negative(rest + Dim(factor / c) * bound, effort.deeper());
  }
  // Times b, as b * floor_div(a, b) lies between a - b + 1 and a; of integers, one quotient is at
  // least another number where it is above that number less 1.
  const Dim bound = factor > 0 ? a - Dim(b - 1) : a;
  const Dim spare = factor == 1 || factor == -1 ? b - 1 : 0;
  return non_negative(Dim(b) * rest + Dim(factor) * bound + spare, effort.deeper());
}

// The sum of `terms` with another value of the atom that is `term`.
Dim with_in_place_of(const std::vector<Term>& terms, const Term& term, const Dim& value) {
  std::vector<Term> result;
  result.reserve(terms.size() + 4);
  for (const Term& other : terms) {
    if (&other != &term) result.push_back(other);
  }
  for (Term& part : value.terms()) {
    part.coefficient = checked_multiply(part.coefficient, term.coefficient);
    result.push_back(std::move(part));
  }
  return Dim::from_terms(std::move(result));
}

bool non_negative(const Dim& dim, Effort effort) {
  if (dim.is_constant()) {
    return dim.constant() >= 0;
  }
  if (effort.depth <= 0 || effort.left <= 0) {
    return false;
  }
  const std::vector<Term> terms = dim.terms();
  effort.left -= static_cast<int>(terms.size());
  bool all = true;
  for (const Term& term : terms) {
    all = all && term.coefficient > 0;
    for (const DimAtomRef& factor : term.factors) {
      all = all && non_negative(*factor, effort.deeper());
    }
  }
  if (all) {
    return true;
  }
  // A lone minimum that is subtracted is at most either operand; a lone maximum that is added is
  // at least either operand. Of the others, all operands have to do.
  for (const Term& term : terms) {
    if (term.factors.size() != 1) {
      continue;
    }
    const DimAtom& atom = *term.factors.front();
    if (atom.kind == DimAtom::Kind::floor_div && atom.operands[1].is_constant()) {
      if (non_negative_with_quotient(dim - Dim::from_terms({term}), term.coefficient, atom,
                                     effort)) {
        return true;
      }
      continue;
    }
    const bool is_minimum = atom.kind == DimAtom::Kind::minimum;
    if (!is_minimum && atom.kind != DimAtom::Kind::maximum) {
      continue;
    }
    const auto does = [&](const Dim& operand) {
      return effort.left > 0 &&
             non_negative(with_in_place_of(terms, term, operand), effort.deeper());
    };
    const bool either = is_minimum == (term.coefficient < 0);
    if (either ? std::any_of(atom.operands.begin(), atom.operands.end(), does)
               : std::all_of(atom.operands.begin(), atom.operands.end(), does)) {
      return true;
    }
  }
  return false;
}

// The terms' coefficients and the identities of their atoms, as bytes.
std::string identities_of(const Dim& size) {
  std::string all;
  const auto add = [&](std::uint64_t number) {
    all.append(reinterpret_cast<const char*>(&number), sizeof number);
  };
  for (const Dim::Term& term : size.terms()) {
    add(static_cast<std::uint64_t>(term.coefficient));
    add(term.factors.size());
    for (const DimAtomRef& atom : term.factors) add(atom->identity);
  }
  return all;
}

// A fixed order of the operands of minimum and maximum, which commute.
bool before(const Dim& a, const Dim& b) {
  const std::vector<Term> x = a.terms();
  const std::vector<Term> y = b.terms();
  return std::lexicographical_compare(
      x.begin(), x.end(), y.begin(), y.end(), [](const Term& s, const Term& t) {
        const int order = compare_factors(s.factors, t.factors);
        return order != 0 ? order < 0 : s.coefficient < t.coefficient;
      });
}

}  // namespace

Dim count_of(const Dim& form) {
  if (form.is_constant() || provably_at_least(form, 0)) {
    return form;
  }
  return from_atom(intern_atom(DimAtom::Kind::count, "", {form}));
}

Dim value_of_input(const std::string& name, std::uint64_t identity) {
  return from_atom(
      intern_atom(DimAtom::Kind::value, name, {Dim(static_cast<std::int64_t>(identity))}));
}

Dim floor_div(const Dim& a, const Dim& b, const std::source_location& at) {
  if (b.is_constant() && b.constant() <= 0) {
    const SourceLine line = LineScope::current().value_or(SourceLine{at.file_name(), at.line()});
    throw ValueError("floor_div: expected a positive divisor of the size " + a.to_string() +
                     ", got " + b.to_string() + "  [" + to_string(line) + "]");
  }
  if (a.is_constant() && b.is_constant()) {
    return floor_divide(a.constant(), b.constant());
  }
  if (const std::optional<Dim> exact = divide_exactly(a, b)) {
    return *exact;
  }
  Dim quotient;
  const Dim rest = split_multiples(a, b, quotient);
  if (rest.is_constant() && b.is_constant()) {
    return quotient + floor_divide(rest.constant(), b.constant());
  }
  if (const std::optional<Dim> smaller = without_common_factor(rest, b)) {
    return quotient + *smaller;
  }
  if (const std::optional<Dim> flat = without_inner_division(rest, b)) {
    return quotient + *flat;
  }
  return quotient + operation(DimAtom::Kind::floor_div, rest, b);
}

Dim ceil_div(const Dim& a, const Dim& b, const std::source_location& at) {
  if (!b.is_constant()) {
    if (const std::optional<Dim> exact = divide_exactly(a, b)) {
      return *exact;
    }
  }
  return floor_div(a + b - 1, b, at);
}

Dim minimum(const Dim& a, const Dim& b) {
  if (provably_at_least(b, a)) {
    return a;
  }
  if (provably_at_least(a, b)) {
    return b;
  }
  return before(b, a) ? operation(DimAtom::Kind::minimum, b, a)
                      : operation(DimAtom::Kind::minimum, a, b);
}

Dim maximum(const Dim& a, const Dim& b) {
  if (provably_at_least(a, b)) {
    return a;
  }
  if (provably_at_least(b, a)) {
    return b;
  }
  return before(b, a) ? operation(DimAtom::Kind::maximum, b, a)
                      : operation(DimAtom::Kind::maximum, a, b);
}

bool provably_at_least(const Dim& a, const Dim& b) {
  if (a == b) return true;
  const Dim difference = a - b;
  if (difference.is_constant()) return difference.constant() >= 0;
  // Compiling asks the same again and again. No two atoms ever have one identity, and none is kept
  // alive here: the order of those made later would depend on what has been compiled before.
  thread_local std::unordered_map<std::string, bool> known;
  const std::string asked = identities_of(difference);
  if (const auto found = known.find(asked); found != known.end()) return found->second;
  constexpr int depth = 6;
  int terms = 1000;
  const bool result = !SizeSamples(difference).is_below_somewhere(SizeSamples(0)) &&
                      non_negative(difference, {depth, terms});
  constexpr std::size_t most_known = 4096;
  if (known.size() >= most_known) known.clear();
  known.emplace(asked, result);
  return result;
}

}  // namespace kroton
