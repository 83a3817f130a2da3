// Canonical polynomials over interned atoms. Terms are ordered by degree (highest first), then
// lexicographically by the identities of their factors: a monomial order, so that exact division
// by a polynomial works term by term, and the constant comes last, as it is written.
#include <kroton/dim.h>
#include <kroton/error.h>

#include <algorithm>
#include <mutex>
#include <unordered_map>

namespace kroton {

struct Dim::Polynomial {
  std::vector<Term> terms;
  std::size_t hash = 0;
};

namespace {

using Term = Dim::Term;

std::size_t mix(std::size_t seed, std::size_t value) {
  return (seed ^ (value + 0x9e3779b97f4a7c15ULL + (seed << 6) + (seed >> 2))) *
         0xff51afd7ed558ccdULL;
}

[[noreturn]] void fail_overflow() {
  throw ValueError("size: a size does not fit in 64 bits");
}
std::int64_t checked_add(std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  if (__builtin_add_overflow(a, b, &result)) {
    fail_overflow();
  }
  return result;
}
std::int64_t checked_multiply(std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  if (__builtin_mul_overflow(a, b, &result)) {
    fail_overflow();
  }
  return result;
}
std::int64_t floor_divide(std::int64_t a, std::int64_t b) {
  if (b == 0) {
    throw ValueError("size: division of " + std::to_string(a) + " by zero");
  }
  if (b == -1) {
    return checked_multiply(a, -1);
  }
  const std::int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

// ---- Atoms.

bool same_atom(const DimAtom& atom, DimAtom::Kind kind, const std::string& name,
               const std::vector<Dim>& operands) {
  return atom.kind == kind && atom.name == name && atom.operands == operands;
}

// The atoms alive, by hash. An atom leaves the table before its memory is freed, so the pointers
// in the table are always readable under the lock.
class AtomTable {
 public:
  DimAtomRef intern(DimAtom::Kind kind, const std::string& name, std::vector<Dim> operands) {
    std::size_t hash = mix(std::hash<std::string>()(name), static_cast<std::size_t>(kind));
    for (const Dim& operand : operands) {
      hash = mix(hash, operand.hash());
    }
    const std::lock_guard lock(mutex_);
    const auto [begin, end] = entries_.equal_range(hash);
    for (auto entry = begin; entry != end; ++entry) {
      if (same_atom(*entry->second.atom, kind, name, operands)) {
        if (DimAtomRef alive = entry->second.reference.lock()) {
          return alive;
        }
      }
    }
    auto* atom = new DimAtom{kind, ++last_identity_, name, std::move(operands)};
    DimAtomRef created(atom, [this, hash](const DimAtom* dead) { remove(hash, dead); });
    entries_.emplace(hash, Entry{atom, created});
    return created;
  }

  DimAtomRef fresh(const std::string& name) {
    const std::lock_guard lock(mutex_);
    return std::make_shared<const DimAtom>(
        DimAtom{DimAtom::Kind::variable, ++last_identity_, name, {}});
  }

 private:
  struct Entry {
    const DimAtom* atom;
    std::weak_ptr<const DimAtom> reference;
  };

  void remove(std::size_t hash, const DimAtom* dead) {
    {
      const std::lock_guard lock(mutex_);
      auto [entry, end] = entries_.equal_range(hash);
      while (entry != end && entry->second.atom != dead) {
        ++entry;
      }
      if (entry != end) {
        entries_.erase(entry);
      }
    }
    delete dead;  // outside the lock: its operands may hold the last reference to other atoms
  }

  std::mutex mutex_;
  std::uint64_t last_identity_ = 0;
  std::unordered_multimap<std::size_t, Entry> entries_;
};

// Never destroyed: sizes in static storage may outlive any order of destruction.
AtomTable& atoms() {
  static AtomTable* table = new AtomTable;
  return *table;
}

// ---- Terms.

// Negative, zero or positive as the monomial a comes before, equals, or comes after b.
int compare_factors(const std::vector<DimAtomRef>& a, const std::vector<DimAtomRef>& b) {
  if (a.size() != b.size()) {
    return a.size() > b.size() ? -1 : 1;
  }
  for (std::size_t k = 0; k < a.size(); ++k) {
    if (a[k] != b[k]) {
      return a[k]->identity < b[k]->identity ? -1 : 1;
    }
  }
  return 0;
}

bool by_identity(const DimAtomRef& a, const DimAtomRef& b) { return a->identity < b->identity; }

void sort_and_merge(std::vector<Term>& terms) {
  std::sort(terms.begin(), terms.end(), [](const Term& a, const Term& b) {
    return compare_factors(a.factors, b.factors) < 0;
  });
  std::vector<Term> merged;
  merged.reserve(terms.size());
  for (Term& term : terms) {
    if (!merged.empty() && compare_factors(merged.back().factors, term.factors) == 0) {
      merged.back().coefficient = checked_add(merged.back().coefficient, term.coefficient);
    } else {
      merged.push_back(std::move(term));
    }
  }
  std::erase_if(merged, [](const Term& term) { return term.coefficient == 0; });
  terms = std::move(merged);
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

Dim from_atom(DimAtomRef atom) { return Dim::from_terms({Term{1, {std::move(atom)}}}); }

Dim operation(DimAtom::Kind kind, const Dim& a, const Dim& b) {
  return from_atom(atoms().intern(kind, "", {a, b}));
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
      const std::int64_t whole = term.factors.empty()
                                     ? floor_divide(term.coefficient, b.constant())
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

// ---- Bounds.

bool non_negative(const Dim& dim, int depth);

bool non_negative(const DimAtom& atom, int depth) {
  switch (atom.kind) {
    case DimAtom::Kind::variable:
      return true;
    case DimAtom::Kind::floor_div:
      return non_negative(atom.operands[0], depth);
    case DimAtom::Kind::minimum:
      return non_negative(atom.operands[0], depth) && non_negative(atom.operands[1], depth);
    case DimAtom::Kind::maximum:
      return non_negative(atom.operands[0], depth) || non_negative(atom.operands[1], depth);
  }
  return false;
}

bool non_negative(const Dim& dim, int depth) {
  if (dim.is_constant()) {
    return dim.constant() >= 0;
  }
  if (depth == 0) {
    return false;
  }
  const std::vector<Term> terms = dim.terms();
  bool all = true;
  for (const Term& term : terms) {
    all = all && term.coefficient > 0;
    for (const DimAtomRef& factor : term.factors) {
      all = all && non_negative(*factor, depth - 1);
    }
  }
  if (all) {
    return true;
  }
  // A lone minimum that is subtracted is at most either operand; a lone maximum that is added is
  // at least either operand.
  for (const Term& term : terms) {
    if (term.factors.size() != 1) {
      continue;
    }
    const DimAtom& atom = *term.factors.front();
    if ((atom.kind == DimAtom::Kind::minimum && term.coefficient < 0) ||
        (atom.kind == DimAtom::Kind::maximum && term.coefficient > 0)) {
      for (const Dim& operand : atom.operands) {
        if (non_negative(dim - Dim::from_terms({term}) + Dim(term.coefficient) * operand,
                         depth - 1)) {
          return true;
        }
      }
    }
  }
  return false;
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

std::string to_string(const DimAtom& atom) {
  switch (atom.kind) {
    case DimAtom::Kind::variable:
      return atom.name;
    case DimAtom::Kind::floor_div:
      return "floor_div(" + atom.operands[0].to_string() + ", " + atom.operands[1].to_string() +
             ")";
    case DimAtom::Kind::minimum:
      return "min(" + atom.operands[0].to_string() + ", " + atom.operands[1].to_string() + ")";
    case DimAtom::Kind::maximum:
      return "max(" + atom.operands[0].to_string() + ", " + atom.operands[1].to_string() + ")";
  }
  return "?";
}

}  // namespace

// ---- Dim.

Dim Dim::named(const std::string& name) {
  return from_atom(atoms().intern(DimAtom::Kind::variable, name, {}));
}

Dim Dim::fresh(const std::string& name) { return from_atom(atoms().fresh(name)); }

Dim Dim::from_terms(std::vector<Term> terms) {
  for (Term& term : terms) {
    std::sort(term.factors.begin(), term.factors.end(), by_identity);
  }
  sort_and_merge(terms);
  if (terms.empty()) {
    return {};
  }
  if (terms.front().factors.empty()) {
    return terms.front().coefficient;
  }
  auto polynomial = std::make_shared<Polynomial>();
  for (const Term& term : terms) {
    polynomial->hash = mix(polynomial->hash, static_cast<std::size_t>(term.coefficient));
    for (const DimAtomRef& factor : term.factors) {
      polynomial->hash = mix(polynomial->hash, factor->identity);
    }
  }
  polynomial->terms = std::move(terms);
  Dim result;
  result.polynomial_ = std::move(polynomial);
  return result;
}

std::vector<Dim::Term> Dim::terms() const {
  if (polynomial_ != nullptr) {
    return polynomial_->terms;
  }
  if (constant_ == 0) {
    return {};
  }
  return {Term{constant_, {}}};
}

DimAtomRef Dim::as_variable() const {
  if (polynomial_ == nullptr || polynomial_->terms.size() != 1) {
    return nullptr;
  }
  const Term& term = polynomial_->terms.front();
  if (term.coefficient != 1 || term.factors.size() != 1 ||
      term.factors.front()->kind != DimAtom::Kind::variable) {
    return nullptr;
  }
  return term.factors.front();
}

Dim operator+(const Dim& a, const Dim& b) {
  if (a.is_constant() && b.is_constant()) {
    return checked_add(a.constant_, b.constant_);
  }
  if (b.is_constant(0)) {
    return a;
  }
  if (a.is_constant(0)) {
    return b;
  }
  std::vector<Dim::Term> terms = a.terms();
  std::vector<Dim::Term> more = b.terms();
  terms.insert(terms.end(), std::make_move_iterator(more.begin()),
               std::make_move_iterator(more.end()));
  return Dim::from_terms(std::move(terms));
}

Dim operator-(const Dim& a, const Dim& b) { return a + b * Dim(-1); }

Dim operator*(const Dim& a, const Dim& b) {
  if (a.is_constant() && b.is_constant()) {
    return checked_multiply(a.constant_, b.constant_);
  }
  if (b.is_constant(1)) {
    return a;
  }
  if (a.is_constant(1)) {
    return b;
  }
  const std::vector<Dim::Term> right = b.terms();
  std::vector<Dim::Term> terms;
  for (const Dim::Term& x : a.terms()) {
    for (const Dim::Term& y : right) {
      Dim::Term product{checked_multiply(x.coefficient, y.coefficient), x.factors};
      product.factors.insert(product.factors.end(), y.factors.begin(), y.factors.end());
      terms.push_back(std::move(product));
    }
  }
  return Dim::from_terms(std::move(terms));
}

bool operator==(const Dim& a, const Dim& b) {
  if (a.polynomial_ == b.polynomial_) {
    return a.constant_ == b.constant_;
  }
  if (a.is_constant() || b.is_constant() || a.polynomial_->hash != b.polynomial_->hash) {
    return false;
  }
  const std::vector<Dim::Term>& x = a.polynomial_->terms;
  const std::vector<Dim::Term>& y = b.polynomial_->terms;
  return std::equal(x.begin(), x.end(), y.begin(), y.end(),
                    [](const Dim::Term& s, const Dim::Term& t) {
                      return s.coefficient == t.coefficient && s.factors == t.factors;
                    });
}

std::size_t Dim::hash() const {
  return polynomial_ != nullptr ? polynomial_->hash
                                : mix(0x51ed270b, static_cast<std::size_t>(constant_));
}

std::string Dim::to_string() const {
  if (polynomial_ == nullptr) {
    return std::to_string(constant_);
  }
  std::string text;
  for (const Term& term : polynomial_->terms) {
    const bool negative = term.coefficient < 0;
    const std::string magnitude =
        std::to_string(term.coefficient).substr(negative ? 1 : 0);
    if (text.empty()) {
      text = negative ? "-" : "";
    } else {
      text += negative ? " - " : " + ";
    }
    if (term.factors.empty() || magnitude != "1") {
      text += magnitude;
      text += term.factors.empty() ? "" : "*";
    }
    for (std::size_t k = 0; k < term.factors.size(); ++k) {
      text += (k == 0 ? "" : "*") + kroton::to_string(*term.factors[k]);
    }
  }
  return text;
}

std::int64_t Dim::evaluate(const std::function<std::int64_t(const DimAtom&)>& value_of) const {
  if (polynomial_ == nullptr) {
    return constant_;
  }
  std::int64_t sum = 0;
  for (const Term& term : polynomial_->terms) {
    std::int64_t product = term.coefficient;
    for (const DimAtomRef& factor : term.factors) {
      std::int64_t value = 0;
      if (factor->kind == DimAtom::Kind::variable) {
        value = value_of(*factor);
      } else {
        const std::int64_t a = factor->operands[0].evaluate(value_of);
        const std::int64_t b = factor->operands[1].evaluate(value_of);
        value = factor->kind == DimAtom::Kind::floor_div ? floor_divide(a, b)
                : factor->kind == DimAtom::Kind::minimum ? std::min(a, b)
                                                         : std::max(a, b);
      }
      product = checked_multiply(product, value);
    }
    sum = checked_add(sum, product);
  }
  return sum;
}

Dim Dim::substitute(const std::function<std::optional<Dim>(const DimAtomRef&)>& replace) const {
  if (polynomial_ == nullptr) {
    return *this;
  }
  Dim sum;
  for (const Term& term : polynomial_->terms) {
    Dim product = term.coefficient;
    for (const DimAtomRef& factor : term.factors) {
      if (factor->kind == DimAtom::Kind::variable) {
        const std::optional<Dim> replacement = replace(factor);
        product = product * (replacement ? *replacement : from_atom(factor));
        continue;
      }
      const Dim a = factor->operands[0].substitute(replace);
      const Dim b = factor->operands[1].substitute(replace);
      product = product * (factor->kind == DimAtom::Kind::floor_div ? floor_div(a, b)
                           : factor->kind == DimAtom::Kind::minimum ? minimum(a, b)
                                                                    : maximum(a, b));
    }
    sum = sum + product;
  }
  return sum;
}

void Dim::visit_variables(const std::function<void(const DimAtomRef&)>& visit) const {
  if (polynomial_ == nullptr) {
    return;
  }
  for (const Term& term : polynomial_->terms) {
    for (const DimAtomRef& factor : term.factors) {
      if (factor->kind == DimAtom::Kind::variable) {
        visit(factor);
      }
      for (const Dim& operand : factor->operands) {
        operand.visit_variables(visit);
      }
    }
  }
}

// ---- Operations on sizes.

Dim floor_div(const Dim& a, const Dim& b) {
  if (b.is_constant() && b.constant() <= 0) {
    throw ValueError("floor_div: expected a positive divisor of the size " + a.to_string() +
                     ", got " + b.to_string());
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
  return quotient + operation(DimAtom::Kind::floor_div, rest, b);
}

Dim ceil_div(const Dim& a, const Dim& b) {
  if (!b.is_constant()) {
    if (const std::optional<Dim> exact = divide_exactly(a, b)) {
      return *exact;
    }
  }
  return floor_div(a + b - 1, b);
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
  constexpr int depth = 6;  // of atoms within atoms and of bounds tried; deeper is "not known"
  return non_negative(a - b, depth);
}

}  // namespace kroton
