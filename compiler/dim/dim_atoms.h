// The parts that Dims are made of: interned atoms, monomials, and arithmetic that notes overflow.
#pragma once
#include <kroton/dim.h>
#include <kroton/error.h>

namespace kroton {

// The atom of that kind, name and operands; a new one if none is alive. Thread-safe.
DimAtomRef intern_atom(DimAtom::Kind kind, const std::string& name, std::vector<Dim> operands);
// A variable equal to no other.
DimAtomRef fresh_atom(const std::string& name);

inline Dim from_atom(DimAtomRef atom) { return Dim::from_terms({{1, {std::move(atom)}}}); }

// The number of steps that `form` gives: the form itself where it cannot be negative, else a
// variable of its own, so that no other size is taken for it.
Dim count_of(const Dim& form);
// The size that the value of an integer input is, by the identity of the input.
Dim value_of_input(const std::string& name, std::uint64_t identity);

// Negative, zero or positive as the monomial a comes before, equals, or comes after b: by degree,
// highest first, then lexicographically by the identities of the factors. A monomial order, so that
// exact division by a polynomial works term by term; the constant comes last, as it is written.
int compare_factors(const std::vector<DimAtomRef>& a, const std::vector<DimAtomRef>& b);
// The order of the factors in a monomial.
inline bool by_identity(const DimAtomRef& a, const DimAtomRef& b) {
  return a->identity < b->identity;
}

// The error of a size that does not fit in 64 bits.
class SizeOverflow : public ValueError {
 public:
  SizeOverflow() : ValueError("size: a size does not fit in 64 bits") {}
};

// SizeOverflow where the result does not fit in 64 bits, ValueError where b is 0.
std::int64_t checked_add(std::int64_t a, std::int64_t b);
std::int64_t checked_multiply(std::int64_t a, std::int64_t b);
std::int64_t floor_divide(std::int64_t a, std::int64_t b);

}  // namespace kroton
