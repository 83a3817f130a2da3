#include "compiler/loop/index_arithmetic.h"

#include <kroton/error.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

struct Term {
  Expr atom;
  Dim factor;
};

// The sum of atom*factor and `constant`; every atom once, in the order of appearance.
struct Form {
  std::vector<Term> terms;
  Dim constant;

  void add(const Expr& atom, const Dim& factor) {
    const auto found = std::find_if(terms.begin(), terms.end(),
                                    [&](const Term& term) { return term.atom == atom; });
    if (found == terms.end()) {
      terms.push_back({atom, factor});
    } else {
      found->factor = found->factor + factor;
      if (found->factor.is_constant(0)) terms.erase(found);
    }
  }
  void add(const Form& other, const Dim& factor) {
    if (factor.is_constant(0)) return;
    for (const Term& term : other.terms) add(term.atom, term.factor * factor);
    constant = constant + other.constant * factor;
  }
};

using Range = IndexRange;

bool at_least(const Dim& a, const Dim& b) { return provably_at_least(a, b); }

// The quotient when `divisor` divides `dim` without rest.
std::optional<Dim> divide(const Dim& dim, const Dim& divisor) {
  Dim quotient = floor_div(dim, divisor);
  if (quotient * divisor == dim) return quotient;
  return std::nullopt;
}

// The greatest number that divides all coefficients.
std::int64_t common_factor(const Dim& dim) {
  std::int64_t common = 0;
  for (const Dim::Term& term : dim.terms()) common = std::gcd(common, term.coefficient);
  return common;
}

Form form_of(const Expr& e) {
  Form form;
  if (const std::optional<Dim> dim = as_dim(e)) {
    form.constant = *dim;
    return form;
  }
  switch (e->op) {
    case Op::add:
    case Op::sub:
      form.add(form_of(e->args[0]), 1);
      form.add(form_of(e->args[1]), e->op == Op::add ? 1 : -1);
      return form;
    case Op::neg:
      form.add(form_of(e->args[0]), -1);
      return form;
    case Op::mul:
      // The constructor puts sizes on the right.
      if (const std::optional<Dim> factor = as_dim(e->args[1])) {
        form.add(form_of(e->args[0]), *factor);
        return form;
      }
      break;
    default:
      break;
  }
  form.add(e, 1);
  return form;
}

Expr expression_of(const Form& form) {
  const auto is_negative = [](const Dim& dim) { return dim.is_constant() && dim.constant() < 0; };
  Expr result = integer(0);
  for (const Term& term : form.terms) {
    if (!is_negative(term.factor)) result = result + term.atom * size(term.factor);
  }
  result = result + size(form.constant);
  for (const Term& term : form.terms) {
    if (is_negative(term.factor)) result = result - term.atom * size(0 - term.factor);
  }
  return result;
}

// At least the extent: of the smaller of two, either.
std::optional<Dim> bound_of(const Expr& extent) {
  if (extent->op == Op::floor_div) {
    const std::optional<Dim> bound = bound_of(extent->args[0]), divisor = as_dim(extent->args[1]);
    if (bound && divisor && divisor->is_constant() && divisor->constant() > 0) {
      return floor_div(*bound, *divisor);
    }
  }
  if (extent->op != Op::min) return as_dim(extent);
  const std::optional<Dim> bound = as_dim(extent->args[1]);
  return bound ? bound : as_dim(extent->args[0]);
}

class Simplifier {
 public:
  explicit Simplifier(std::vector<std::pair<Variable, Dim>> bounds = {})
      : bounds_(std::move(bounds)) {}
  Block operator()(const Block& block);
  std::optional<Range> range_of(const Form& form) const;

 private:
  Expr simplify(const Expr& e) const;
  Expr simplify_index(const Expr& e) const;
  Expr simplify_sum(const Expr& e) const;
  Expr simplify_quotient(const Expr& numerator, const Expr& divisor) const;
  Expr simplify_rest(const Expr& numerator, const Expr& divisor) const;
  Expr simplify_comparison(const Expr& e) const;
  bool split(const Form& form, const Dim& divisor, Form& whole, Form& rest) const;
  std::int64_t split_common(const Form& form, const Dim& divisor, Form& whole, Form& rest) const;
  bool fits(const Form& form, const Dim& divisor) const;
  bool is_index(const Form& form) const;
  std::optional<Range> range_of(const Expr& atom) const;

  std::vector<std::pair<Variable, Dim>> bounds_;  // of the loops in progress
};

std::optional<Range> Simplifier::range_of(const Expr& atom) const {
  switch (atom->op) {
    case Op::variable:
      for (const auto& [v, bound] : bounds_) {
        if (v == atom->variable) return Range{0, bound - 1};
      }
      return std::nullopt;
    case Op::mod:
    case Op::check_index: {
      const std::optional<Dim> dim = as_dim(atom->args[1]);
      if (!dim || !at_least(*dim, 0)) return std::nullopt;
      return Range{0, *dim - 1};
    }
    case Op::floor_div: {
      const std::optional<Dim> divisor = as_dim(atom->args[1]);
      const std::optional<Range> range = range_of(form_of(atom->args[0]));
      if (!divisor || !at_least(*divisor, 0) || !range || !at_least(range->low, 0)) {
        return std::nullopt;
      }
      return Range{0, floor_div(range->high, *divisor)};
    }
    default:
      return std::nullopt;
  }
}

std::optional<Range> Simplifier::range_of(const Form& form) const {
  Range sum{form.constant, form.constant};
  for (const Term& term : form.terms) {
    const std::optional<Range> range = range_of(term.atom);
    if (!range) return std::nullopt;
    const bool rises = at_least(term.factor, 0);
    if (!rises && !at_least(0, term.factor)) return std::nullopt;
    sum.low = sum.low + term.factor * (rises ? range->low : range->high);
    sum.high = sum.high + term.factor * (rises ? range->high : range->low);
  }
  return sum;
}

// Whether the form is made of what has a range: loop variables and what is computed from them.
bool Simplifier::is_index(const Form& form) const {
  return std::all_of(form.terms.begin(), form.terms.end(),
                     [&](const Term& term) { return range_of(term.atom).has_value(); });
}

// form == whole*divisor + rest; false when nothing can be split off.
bool Simplifier::split(const Form& form, const Dim& divisor, Form& whole, Form& rest) const {
  for (const Term& term : form.terms) {
    if (const auto quotient = divide(term.factor, divisor)) {
      whole.add(term.atom, *quotient);
    } else {
      rest.add(term.atom, term.factor);
    }
  }
  if (const auto quotient = divide(form.constant, divisor)) {
    whole.constant = *quotient;
  } else if (form.constant.is_constant() && divisor.is_constant()) {
    whole.constant = floor_div(form.constant, divisor);
    rest.constant = form.constant - whole.constant * divisor;
  } else {
    rest.constant = form.constant;
  }
  return !whole.terms.empty() || !whole.constant.is_constant(0);
}

// c > 1 where form == whole*c + rest with rest in [0, c), and c divides the divisor, so that only
// `whole` is left to divide; else 1.
std::int64_t Simplifier::split_common(const Form& form, const Dim& divisor, Form& whole,
                                      Form& rest) const {
  const std::int64_t of_divisor = common_factor(divisor);
  std::set<std::int64_t> factors;
  for (const Term& term : form.terms) {
    factors.insert(std::gcd(of_divisor, common_factor(term.factor)));
  }
  for (auto c = factors.rbegin(); c != factors.rend() && *c > 1; ++c) {
    whole = rest = {};
    if (split(form, *c, whole, rest) && fits(rest, *c)) return *c;
  }
  return 1;
}

bool Simplifier::fits(const Form& form, const Dim& divisor) const {
  const std::optional<Range> range = range_of(form);
  return range && at_least(range->low, 0) && at_least(divisor - 1, range->high);
}

Expr Simplifier::simplify_quotient(const Expr& numerator, const Expr& divisor) const {
  const std::optional<Dim> dim = as_dim(divisor);
  const Form form = form_of(numerator);
  Expr plain = binary(Op::floor_div, numerator, divisor);
  if (!dim || !at_least(*dim, 0) || dim->is_constant(0) || !is_index(form)) return plain;
  if (fits(form, *dim)) return integer(0);
  Form whole;
  Form rest;
  if (split(form, *dim, whole, rest)) {
    const Expr remaining = simplify_quotient(expression_of(rest), divisor);
    whole.add(form_of(remaining), 1);
    return expression_of(whole);
  }
  if (numerator->op == Op::floor_div) {
    const std::optional<Dim> inner = as_dim(numerator->args[1]);
    if (inner && at_least(*inner, 0)) {
      return simplify_quotient(numerator->args[0], size(*inner * *dim));
    }
  }
  if (const std::int64_t c = split_common(form, *dim, whole, rest); c > 1) {
    return simplify_quotient(expression_of(whole), size(floor_div(*dim, c)));
  }
  return plain;
}

Expr Simplifier::simplify_rest(const Expr& numerator, const Expr& divisor) const {
  const std::optional<Dim> dim = as_dim(divisor);
  const Form form = form_of(numerator);
  Expr plain = binary(Op::mod, numerator, divisor);
  if (!dim || !at_least(*dim, 0) || dim->is_constant(0) || !is_index(form)) return plain;
  if (fits(form, *dim)) return numerator;
  Form whole;
  Form rest;
  if (split(form, *dim, whole, rest)) return simplify_rest(expression_of(rest), divisor);
  if (const std::int64_t c = split_common(form, *dim, whole, rest); c > 1) {
    return simplify_rest(expression_of(whole), size(floor_div(*dim, c))) * integer(c) +
           expression_of(rest);
  }
  return plain;
}

// Joins floor_div(x, n)*(n*f) + mod(x, n)*f into x*f.
Expr Simplifier::simplify_sum(const Expr& e) const {
  Form form = form_of(e);
  if (!is_index(form)) return e;
  for (std::size_t k = 0; k < form.terms.size();) {
    const Term rest = form.terms[k++];
    if (rest.atom->op != Op::mod) continue;
    const Expr& divisor = rest.atom->args[1];
    const Expr quotient = simplify_quotient(rest.atom->args[0], divisor);
    const auto whole = std::find_if(form.terms.begin(), form.terms.end(), [&](const Term& term) {
      return term.atom == quotient && term.factor == rest.factor * *as_dim(divisor);
    });
    if (whole == form.terms.end()) continue;
    form.terms.erase(whole);
    std::erase_if(form.terms, [&](const Term& term) { return term.atom == rest.atom; });
    form.add(form_of(rest.atom->args[0]), rest.factor);
    k = 0;
  }
  return expression_of(form);
}

Expr Simplifier::simplify_comparison(const Expr& e) const {
  if (e->args[0]->dtype != DType::i64) return e;
  Form difference = form_of(e->args[0]);
  difference.add(form_of(e->args[1]), -1);
  const std::optional<Range> range = range_of(difference);
  if (!range) return e;
  const int bound = e->op == Op::lt ? -1 : 0;  // a < b as a - b <= -1
  if (at_least(bound, range->high)) return boolean_constant(true);
  if (at_least(range->low, bound + 1)) return boolean_constant(false);
  return e;
}

Expr Simplifier::simplify(const Expr& e) const {
  try {
    return simplify_index(e);
  } catch (const ValueError&) {
    return e;  // factors too large for a size: no index, and the kernel's own arithmetic wraps
  }
}

Expr Simplifier::simplify_index(const Expr& e) const {
  if (e->op == Op::lt || e->op == Op::le) return simplify_comparison(e);
  if (e->dtype != DType::i64) return e;
  switch (e->op) {
    case Op::add:
    case Op::sub:
    case Op::mul:
    case Op::neg:
      return simplify_sum(e);
    case Op::floor_div:
      return simplify_quotient(e->args[0], e->args[1]);
    case Op::mod:
      return simplify_rest(e->args[0], e->args[1]);
    case Op::check_index: {
      const std::optional<Dim> dim = as_dim(e->args[1]);
      return dim && fits(form_of(e->args[0]), *dim) ? e->args[0] : e;
    }
    default:
      return e;
  }
}

Block Simplifier::operator()(const Block& block) {
  Rewriter rewrite([this](const Expr& e) { return simplify(e); });
  Block result;
  for (const Stmt& s : block) {
    if (const For* found = as_for(s)) {
      For loop = *found;
      loop.extent = rewrite(loop.extent);
      const std::optional<Dim> bound = bound_of(loop.extent);
      if (bound) bounds_.emplace_back(loop.variable, *bound);
      loop.body = (*this)(loop.body);
      if (bound) bounds_.pop_back();
      result.push_back(statement(std::move(loop)));
    } else if (const If* branch = as_if(s)) {
      result.push_back(statement(
          If{rewrite(branch->condition), (*this)(branch->then_body), (*this)(branch->else_body)}));
    } else {
      const Block own = rewrite(Block{s});
      result.push_back(own.front());
    }
  }
  return result;
}

}  // namespace

Block simplify_indices(const Block& block) { return Simplifier()(block); }

std::optional<IndexRange> range_of(const Expr& index,
                                   const std::vector<std::pair<Variable, Dim>>& bounds) {
  return Simplifier(bounds).range_of(form_of(index));
}

std::optional<Dim> difference(const Expr& a, const Expr& b) {
  try {
    Form form = form_of(a);
    form.add(form_of(b), -1);
    if (form.terms.empty()) return form.constant;
  } catch (const ValueError&) {  // too large for a size
  }
  return std::nullopt;
}

}  // namespace kroton::loop
