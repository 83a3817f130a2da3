// Symbolic sizes. A Dim is an integer-valued polynomial over size variables and over opaque atoms
// (floor division, minimum, maximum of Dims), kept in a canonical form, so that equality of two
// Dims is equality of their forms: (a + b) - b == a.
#pragma once
#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace kroton {

class Dim;

// A variable or an opaque operation inside a Dim. Interned: equal atoms share one address as long
// as one of them lives. Every variable is non-negative.
struct DimAtom {
  enum class Kind : std::uint8_t {
    variable,  // a free size
    value,     // the value of an integer input that sets a number of steps; operands: its identity
    count,     // a number of steps; operands: the form that gives it, which a call refuses below 0
    floor_div,
    minimum,
    maximum
  };
  bool is_variable() const { return kind <= Kind::count; }

  Kind kind = Kind::variable;
  std::uint64_t identity = 0;  // orders atoms deterministically: the order of creation
  std::string name;            // of variables only: "batch" or "x.shape[0]"
  std::vector<Dim> operands;   // two, for the operations
};
using DimAtomRef = std::shared_ptr<const DimAtom>;

class Dim {
 public:
  Dim() = default;                                     // 0
  Dim(std::int64_t constant) : constant_(constant) {}  // NOLINT: literals are sizes
  Dim(int constant) : constant_(constant) {}           // NOLINT

  // The size variable of that name. Equal names denote the same size everywhere.
  static Dim named(const std::string& name);
  // A new size variable, equal to no other; `name` is for messages only.
  static Dim fresh(const std::string& name);

  bool is_constant() const { return polynomial_ == nullptr; }
  std::int64_t constant() const { return constant_; }  // requires is_constant()
  bool is_constant(std::int64_t value) const { return is_constant() && constant_ == value; }
  // The atom, when the Dim is one bare variable (coefficient 1, nothing added); else null.
  DimAtomRef as_variable() const;
  // The atom, when the Dim is one bare atom of any kind; else null.
  DimAtomRef as_atom() const;

  friend Dim operator+(const Dim& a, const Dim& b);
  friend Dim operator-(const Dim& a, const Dim& b);
  friend Dim operator*(const Dim& a, const Dim& b);
  friend bool operator==(const Dim& a, const Dim& b);

  std::string to_string() const;
  // The same with the variables called as `name_of` says.
  std::string to_string(const std::function<std::string(const DimAtom&)>& name_of) const;
  std::size_t hash() const;

  // The value under an assignment of the variables. `value_of` is asked for each variable.
  std::int64_t evaluate(const std::function<std::int64_t(const DimAtom&)>& value_of) const;
  // Every variable replaced by what `replace` returns (nullopt keeps it), inside atoms too: a count
  // that is kept becomes the count of its form replaced.
  Dim substitute(const std::function<std::optional<Dim>(const DimAtomRef&)>& replace) const;
  // Calls `visit` for every variable, those inside atoms and inside counts included, each once.
  void visit_variables(const std::function<void(const DimAtomRef&)>& visit) const;

  struct Term {
    std::int64_t coefficient;
    std::vector<DimAtomRef> factors;  // sorted by identity; empty for the constant term
  };
  // The canonical form: terms sorted by their factors, no zero coefficients, at most one constant
  // term. For a constant Dim: one term without factors, or none for 0.
  std::vector<Term> terms() const;
  // The sum of those terms, given in any order, with their factors in any order.
  static Dim from_terms(std::vector<Term> terms);

 private:
  struct Polynomial;
  struct Evaluation;
  struct Substitution;
  std::int64_t constant_ = 0;
  std::shared_ptr<const Polynomial> polynomial_;  // null for constants
};

Dim floor_div(const Dim& a, const Dim& b);  // exact where the polynomial divides; b > 0
Dim ceil_div(const Dim& a, const Dim& b);
Dim minimum(const Dim& a, const Dim& b);
Dim maximum(const Dim& a, const Dim& b);
// True when a >= b for every assignment of non-negative variables, as far as the form shows:
// all coefficients of a - b are non-negative and its atoms are too. False means "not known".
bool provably_at_least(const Dim& a, const Dim& b);

}  // namespace kroton
