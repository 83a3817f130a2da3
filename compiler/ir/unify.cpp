#include "compiler/ir/unify.h"

namespace kroton {
namespace {

class Unifier {
 public:
  // The Dim in unbound variables only.
  Dim resolve(const Dim& dim) {
    if (dim.is_constant() || bound_.empty()) return dim;
    if (const DimAtomRef variable = dim.as_variable()) return resolve_variable(variable, dim);
    return dim.substitute([this](const DimAtomRef& atom) -> std::optional<Dim> {
      const auto found = bound_.find(atom->identity);
      if (found == bound_.end()) return std::nullopt;
      return found->second = resolve(found->second);
    });
  }

  enum class Outcome { settled, bound, open };

  Outcome equate(const SizeConstraint& constraint) {
    const Dim left = resolve(constraint.left);
    const Dim right = resolve(constraint.right);
    if (left == right) return Outcome::settled;
    if ((left - right).is_constant()) {  // n and n + 1 are never equal either
      if (!constraint.values.empty()) {
        throw ShapeError(constraint.text([&](const Dim& dim) { return resolve(dim).to_string(); }));
      }
      throw ShapeError(constraint.message + " (" + left.to_string() + " and " + right.to_string() +
                       ")");
    }
    const DimAtomRef a = left.as_variable();
    const DimAtomRef b = right.as_variable();
    // Of two variables the older one stays, so that the result does not depend on their order here;
    // never a number of steps, which is made of others.
    if (a && b) return stays(*a, *b) ? bind(b, left) : bind(a, right);
    if (a && !contains(right, *a)) return bind(a, right);
    if (b && !contains(left, *b)) return bind(b, left);
    return Outcome::open;
  }

  std::map<std::uint64_t, Dim> take() {
    for (auto& [identity, dim] : bound_) dim = resolve(dim);
    return std::move(bound_);
  }

 private:
  static bool stays(const DimAtom& a, const DimAtom& b) {
    const bool a_counts = a.kind == DimAtom::Kind::count;
    const bool b_counts = b.kind == DimAtom::Kind::count;
    return a_counts == b_counts ? a.identity < b.identity : b_counts;
  }

  // Follows variables bound to variables by a loop, since such chains can be long, and makes every
  // one on the way point to the end.
  Dim resolve_variable(DimAtomRef variable, Dim dim) {
    std::vector<std::uint64_t> path;
    for (auto found = bound_.find(variable->identity); found != bound_.end();
         found = bound_.find(variable->identity)) {
      path.push_back(variable->identity);
      dim = found->second;
      variable = dim.as_variable();
      if (!variable) {
        dim = resolve(dim);
        break;
      }
    }
    for (const std::uint64_t identity : path) bound_[identity] = dim;
    return dim;
  }

  Outcome bind(const DimAtomRef& variable, const Dim& dim) {
    bound_.emplace(variable->identity, dim);
    return Outcome::bound;
  }

  static bool contains(const Dim& dim, const DimAtom& variable) {
    bool found = false;
    dim.visit_variables(
        [&](const DimAtomRef& atom) { found = found || atom->identity == variable.identity; });
    return found;
  }

  std::map<std::uint64_t, Dim> bound_;
};

}  // namespace

std::map<std::uint64_t, Dim> unify_sizes(std::span<const SizeConstraint> constraints) {
  Unifier unifier;
  std::vector<const SizeConstraint*> open;
  open.reserve(constraints.size());
  for (const SizeConstraint& constraint : constraints) open.push_back(&constraint);
  // What one constraint binds may decide another that was open: until nothing more is bound.
  for (bool progress = true; progress;) {
    progress = false;
    std::vector<const SizeConstraint*> still_open;
    for (const SizeConstraint* constraint : open) {
      switch (unifier.equate(*constraint)) {
        case Unifier::Outcome::settled:
          break;
        case Unifier::Outcome::bound:
          progress = true;
          break;
        case Unifier::Outcome::open:
          still_open.push_back(constraint);
          break;
      }
    }
    open = std::move(still_open);
  }
  return unifier.take();
}

}  // namespace kroton
