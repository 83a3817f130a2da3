#include "compiler/codegen/cuda/index_width.h"

#include <kroton/error.h>

#include <algorithm>
#include <bit>
#include <initializer_list>
#include <unordered_map>

namespace kroton::codegen {
namespace {

using loop::Expr;
using loop::Op;

// Loops of threads go beyond their extents by a step.
constexpr std::int64_t largest = (std::int64_t{1} << 31) - (std::int64_t{1} << 16);

// What is further from 0 is no size.
constexpr std::int64_t farthest = std::int64_t{1} << 61;

using Range = ValueRange;

std::int64_t times(std::int64_t a, std::int64_t b) {
  std::int64_t product = 0;
  if (!__builtin_mul_overflow(a, b, &product)) return product;
  return (a < 0) == (b < 0) ? 2 * farthest : -2 * farthest;
}

std::int64_t floor_quotient(std::int64_t a, std::int64_t b) {
  return a / b - (a % b != 0 && a < 0 ? 1 : 0);
}

// The ranges of what a kernel computes of indices, until one is too large.
class IndexRanges {
 public:
  explicit IndexRanges(const RangeOfSize& size) : size_(size) {}

  bool fit(const KernelIndices& indices) {
    for (const Dim& size : indices.sizes) note(of_size(size));
    for (const KernelIndices::Name& name : indices.names) {
      const Range range = of(name.value);
      names_[name.variable.id] =
          name.counts ? Range{0, std::max<std::int64_t>(0, range.high - 1)} : range;
    }
    for (const Expr& e : indices.arithmetic) {
      if (!fits_) return false;
      of(e);
    }
    return fits_;
  }

 private:
  // What is too large already has any range.
  Range of(const Expr& e) {
    if (!fits_) return {};
    if (const auto found = known_.find(e.get()); found != known_.end()) return found->second;
    return known_[e.get()] = note(computed(e));
  }

  Range note(const Range& range) {
    fits_ = fits_ && -largest <= range.low && range.high <= largest;
    return range;
  }

  Range computed(const Expr& e) {
    const auto argument = [&](std::size_t k) { return of(e->args[k]); };
    switch (e->op) {
      case Op::integer:
        return {e->integer, e->integer};
      case Op::size:
        return of_size(e->dim);
      case Op::variable:
        return names_.at(e->variable.id);
      case Op::check_index:
        return {0, std::max<std::int64_t>(0, argument(1).high - 1)};
      case Op::select: {
        const Range a = argument(1), b = argument(2);
        return {std::min(a.low, b.low), std::max(a.high, b.high)};
      }
      case Op::floor_div:
        return quotient(argument(0), argument(1));
      case Op::mod:
        return rest(argument(0), argument(1));
      default:
        return combined(e->op, argument(0), argument(1));
    }
  }

  static Range combined(Op op, const Range& a, const Range& b) {
    switch (op) {
      case Op::add:
        return {a.low + b.low, a.high + b.high};
      case Op::sub:
        return {a.low - b.high, a.high - b.low};
      case Op::mul: {
        const auto [low, high] = std::minmax({times(a.low, b.low), times(a.low, b.high),
                                              times(a.high, b.low), times(a.high, b.high)});
        return {low, high};
      }
      case Op::min:
        return {std::min(a.low, b.low), std::min(a.high, b.high)};
      case Op::max:
        return {std::max(a.low, b.low), std::max(a.high, b.high)};
      case Op::bit_xor: {
        const std::int64_t lowest = std::min(a.low, b.low);
        const auto highest = static_cast<std::uint64_t>(std::max(a.high, b.high));
        return lowest < 0 ? Range{-2 * largest, 2 * largest}
                          : Range{0, static_cast<std::int64_t>(std::bit_ceil(highest + 1)) - 1};
      }
      default:
        throw InternalError("cuda: no range of " + std::string(loop::name_of(op)));
    }
  }

  // Nothing runs over an axis of size 0.
  Range quotient(const Range& a, const Range& b) {
    if (b.high < 1) return {std::min<std::int64_t>(a.low, 0), std::max<std::int64_t>(a.high, 0)};
    const std::int64_t least = std::max<std::int64_t>(b.low, 1);
    return {floor_quotient(a.low, a.low < 0 ? least : b.high),
            floor_quotient(a.high, a.high < 0 ? b.high : least)};
  }

  Range rest(const Range& a, const Range& b) {
    if (0 <= a.low && a.high < b.low) return a;
    return {0, std::max<std::int64_t>(b.high - 1, 0)};
  }

  // A size that the kernel computes, with what it adds up on the way.
  Range of_size(const Dim& dim) {
    Range sum;
    for (const Dim::Term& term : dim.terms()) sum = note(combined(Op::add, sum, note(of(term))));
    return sum;
  }

  // The host computes with 64 bits, and what does not fit in a few less is too large.
  Range of(const Dim::Term& term) {
    Range product{term.coefficient, term.coefficient};
    for (const DimAtomRef& factor : term.factors) {
      product = bounded(combined(Op::mul, product, of(*factor)));
    }
    return product;
  }

  Range bounded(const Range& range) {
    fits_ = fits_ && -farthest <= range.low && range.high <= farthest;
    return fits_ ? range : Range{};
  }

  Range of_host(const Dim& dim) {
    Range sum;
    for (const Dim::Term& term : dim.terms()) sum = bounded(combined(Op::add, sum, of(term)));
    return sum;
  }

  Range of(const DimAtom& atom) {
    if (const auto found = atoms_.find(atom.identity); found != atoms_.end()) return found->second;
    return atoms_[atom.identity] = computed(atom);
  }

  Range computed(const DimAtom& atom) {
    const auto operand = [&](std::size_t k) { return of_host(atom.operands[k]); };
    switch (atom.kind) {
      case DimAtom::Kind::floor_div:
        return quotient(operand(0), operand(1));
      case DimAtom::Kind::minimum:
        return combined(Op::min, operand(0), operand(1));
      case DimAtom::Kind::maximum:
        return combined(Op::max, operand(0), operand(1));
      case DimAtom::Kind::count:
        return combined(Op::max, operand(0), {});
      case DimAtom::Kind::variable:
      case DimAtom::Kind::value:
        break;
    }
    return bounded(size_(atom));
  }

  const RangeOfSize& size_;
  std::unordered_map<const loop::ExprNode*, Range> known_;
  std::unordered_map<std::uint64_t, Range> atoms_;  // by DimAtom::identity
  std::unordered_map<int, Range> names_;            // by Variable::id
  bool fits_ = true;
};

}  // namespace

ValueRange range_of_bits(int bits) {
  const std::int64_t end = std::int64_t{1} << std::min(bits, 62);
  return {end / 2, end - 1};
}

bool fits_in_32_bits(const KernelIndices& indices, const RangeOfSize& size) {
  return IndexRanges(size).fit(indices);
}

std::string with_wide_indices(const std::string& source) {
  return "#define KROTON_INDEX long long\n" + source;
}

std::uint64_t division_by(std::int64_t d) {
  if (d < 1 || d >= std::int64_t{1} << 31) return 0;
  const auto divisor = static_cast<std::uint64_t>(d);
  const auto shift = static_cast<std::uint64_t>(std::bit_width(divisor - 1));
  const std::uint64_t multiplier = ((std::uint64_t{1} << (31 + shift)) + divisor - 1) / divisor;
  return shift << 32 | multiplier;
}

}  // namespace kroton::codegen
