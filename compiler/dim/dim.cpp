// Canonical polynomials over interned atoms.
#include <kroton/dim.h>
#include <kroton/error.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "compiler/base/hash.h"
#include "compiler/dim/dim_atoms.h"

namespace kroton {

struct Dim::Polynomial {
  std::vector<Term> terms;
  std::size_t hash = 0;
};

namespace {

using Term = Dim::Term;

void sort_and_merge(std::vector<Term>& terms) {
  std::sort(terms.begin(), terms.end(),
            [](const Term& a, const Term& b) { return compare_factors(a.factors, b.factors) < 0; });
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

using NameOf = std::function<std::string(const DimAtom&)>;

// The text of a form. Sizes that are joined and cut again and again are short as forms, as the
// atoms in atoms are shared, but not as texts: these leave out what is beyond a length.
class Text {
 public:
  explicit Text(const NameOf& name_of) : name_of_(name_of) {}

  std::string of(const Dim& dim) {
    write(dim);
    return std::move(text_);
  }

 private:
  static constexpr std::size_t longest = 2000;

  void write(const Dim& dim) {
    if (dim.is_constant()) {
      text_ += std::to_string(dim.constant());
      return;
    }
    if (const DimAtomRef atom = dim.as_atom(); atom && atom->kind == DimAtom::Kind::count) {
      write(atom->operands[0]);
      return;
    }
    bool is_first = true;
    for (const Term& term : dim.terms()) {
      if (text_.size() > longest) {
        text_ += is_first ? "..." : " + ...";
        return;
      }
      const bool negative = term.coefficient < 0;
      const std::string magnitude = std::to_string(term.coefficient).substr(negative ? 1 : 0);
      if (is_first) {
        text_ += negative ? "-" : "";
      } else {
        text_ += negative ? " - " : " + ";
      }
      is_first = false;
      if (term.factors.empty() || magnitude != "1") {
        text_ += magnitude;
        text_ += term.factors.empty() ? "" : "*";
      }
      for (std::size_t k = 0; k < term.factors.size(); ++k) {
        text_ += k == 0 ? "" : "*";
        write(*term.factors[k]);
      }
    }
  }

  void write(const DimAtom& atom) {
    if (atom.is_variable() && atom.kind != DimAtom::Kind::count) {
      text_ += name_of_(atom);
      return;
    }
    text_ += atom.kind == DimAtom::Kind::count       ? "("
             : atom.kind == DimAtom::Kind::floor_div ? "floor_div("
             : atom.kind == DimAtom::Kind::minimum   ? "min("
                                                     : "max(";
    write(atom.operands[0]);
    if (atom.kind != DimAtom::Kind::count) {
      text_ += ", ";
      write(atom.operands[1]);
    }
    text_ += ")";
  }

  const NameOf& name_of_;
  std::string text_;
};

}  // namespace

Dim Dim::named(const std::string& name) {
  return from_atom(intern_atom(DimAtom::Kind::variable, name, {}));
}

Dim Dim::fresh(const std::string& name) { return from_atom(fresh_atom(name)); }

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
    polynomial->hash = hash_combine(polynomial->hash, static_cast<std::size_t>(term.coefficient));
    for (const DimAtomRef& factor : term.factors) {
      polynomial->hash = hash_combine(polynomial->hash, factor->identity);
    }
  }
  polynomial->terms = std::move(terms);
  Dim result;
  result.polynomial_ = std::move(polynomial);
  return result;
}

void Dim::fail_constant() const {
  throw ValueError("constant: the size " + to_string() + " is not known before the call");
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

DimAtomRef Dim::as_atom() const {
  if (polynomial_ == nullptr || polynomial_->terms.size() != 1) {
    return nullptr;
  }
  const Term& term = polynomial_->terms.front();
  return term.coefficient == 1 && term.factors.size() == 1 ? term.factors.front() : nullptr;
}

DimAtomRef Dim::as_variable() const {
  DimAtomRef atom = as_atom();
  return atom && atom->is_variable() ? atom : nullptr;
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
                                : hash_combine(0x51ed270b, static_cast<std::size_t>(constant_));
}

std::string Dim::to_string() const {
  return to_string([](const DimAtom& variable) { return variable.name; });
}

std::string Dim::to_string(const NameOf& name_of) const { return Text(name_of).of(*this); }

// An atom may be reached on many ways, as those of sizes that are halved again and again: each is
// looked at once.
struct Dim::Evaluation {
  const std::function<std::int64_t(const DimAtom&)>& value_of;
  std::unordered_map<const DimAtom*, std::int64_t> known = {};

  std::int64_t operator()(const Dim& dim) {
    if (dim.polynomial_ == nullptr) {
      return dim.constant_;
    }
    std::int64_t sum = 0;
    for (const Term& term : dim.polynomial_->terms) {
      sum = checked_add(sum, value_of_term(term));
    }
    return sum;
  }

  // 0 if any factor is, however large the others are.
  std::int64_t value_of_term(const Term& term) {
    const auto is_none = [&](const DimAtomRef& factor) { return (*this)(*factor) == 0; };
    if (std::any_of(term.factors.begin(), term.factors.end(), is_none)) return 0;
    std::int64_t product = term.coefficient;
    for (const DimAtomRef& factor : term.factors) {
      product = checked_multiply(product, (*this)(*factor));
    }
    return product;
  }

  std::int64_t operator()(const DimAtom& atom) {
    if (atom.kind == DimAtom::Kind::variable || atom.kind == DimAtom::Kind::value) {
      return value_of(atom);
    }
    if (const auto found = known.find(&atom); found != known.end()) {
      return found->second;
    }
    const std::int64_t value = operation(atom);
    known.emplace(&atom, value);
    return value;
  }

  std::int64_t operation(const DimAtom& atom) {
    const std::int64_t a = (*this)(atom.operands[0]);
    if (atom.kind == DimAtom::Kind::count) {
      return std::max<std::int64_t>(a, 0);
    }
    const std::int64_t b = (*this)(atom.operands[1]);
    return atom.kind == DimAtom::Kind::floor_div ? floor_divide(a, b)
           : atom.kind == DimAtom::Kind::minimum ? std::min(a, b)
                                                 : std::max(a, b);
  }
};

std::int64_t Dim::evaluate(const std::function<std::int64_t(const DimAtom&)>& value_of) const {
  return Evaluation{value_of}(*this);
}

struct Dim::Substitution {
  const std::function<std::optional<Dim>(const DimAtomRef&)>& replace;
  std::unordered_map<const DimAtom*, Dim> known = {};

  Dim operator()(const Dim& dim) {
    if (dim.polynomial_ == nullptr) {
      return dim;
    }
    Dim sum;
    for (const Term& term : dim.polynomial_->terms) {
      Dim product = term.coefficient;
      for (const DimAtomRef& factor : term.factors) {
        product = product * (*this)(factor);
      }
      sum = sum + product;
    }
    return sum;
  }

  Dim operator()(const DimAtomRef& atom) {
    if (const auto found = known.find(atom.get()); found != known.end()) {
      return found->second;
    }
    Dim result = replacement(atom);
    known.emplace(atom.get(), result);
    return result;
  }

  Dim replacement(const DimAtomRef& atom) {
    if (atom->is_variable()) {
      if (std::optional<Dim> replaced = replace(atom)) {
        return *replaced;
      }
      return atom->kind == DimAtom::Kind::count ? count_of((*this)(atom->operands[0]))
                                                : from_atom(atom);
    }
    const Dim a = (*this)(atom->operands[0]);
    const Dim b = (*this)(atom->operands[1]);
    return atom->kind == DimAtom::Kind::floor_div ? floor_div(a, b)
           : atom->kind == DimAtom::Kind::minimum ? minimum(a, b)
                                                  : maximum(a, b);
  }
};

Dim Dim::substitute(const std::function<std::optional<Dim>(const DimAtomRef&)>& replace) const {
  return Substitution{replace}(*this);
}

void Dim::visit_variables(const std::function<void(const DimAtomRef&)>& visit) const {
  std::unordered_set<const DimAtom*> seen;
  std::vector<const Dim*> pending{this};
  while (!pending.empty()) {
    const Dim& dim = *pending.back();
    pending.pop_back();
    if (dim.polynomial_ == nullptr) {
      continue;
    }
    for (const Term& term : dim.polynomial_->terms) {
      for (const DimAtomRef& factor : term.factors) {
        if (!seen.insert(factor.get()).second) {
          continue;
        }
        if (factor->is_variable()) {
          visit(factor);
        }
        for (const Dim& operand : factor->operands) {
          pending.push_back(&operand);
        }
      }
    }
  }
}

}  // namespace kroton
