#include "compiler/ops/sort_keys.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace kroton::ops {
namespace {

using loop::Expr;
using loop::Op;

// An integer, i64, in whose order the elements are sorted. Negative floats have their other bits
// turned, as these grow towards minus infinity. Unsigned integers are moved to begin at the lowest.
Expr order_key(const Expr& x, bool descending) {
  Expr key = x;
  if (is_float(x->dtype)) {
    const DType bits_dtype = integer_of_size(x->dtype);
    const std::int64_t most =
        std::numeric_limits<std::int64_t>::max() >> (64 - 8 * size_of(bits_dtype));
    const auto constant = [&](std::int64_t value) { return loop::integer(value, bits_dtype); };
    const Expr bits = loop::bitcast(x, bits_dtype);
    const Expr turned = loop::binary(Op::bit_xor, bits, constant(most));
    const Expr ordered = loop::select(loop::binary(Op::lt, bits, constant(0)), turned, bits);
    const Expr is_zero = loop::binary(Op::eq, x, loop::real(0, x->dtype));
    const Expr is_number = loop::binary(Op::eq, x, x);
    key = loop::select(is_number, loop::select(is_zero, constant(0), ordered), constant(most));
  }
  if (is_integer(x->dtype) && !is_signed(x->dtype)) {
    const DType of_size = integer_of_size(x->dtype);
    key = loop::binary(Op::bit_xor, loop::cast(x, of_size),
                       loop::integer(lowest_of(of_size), of_size));
  }
  key = loop::cast(key, DType::i64);
  return descending ? loop::binary(Op::bit_xor, key, whole(-1)) : key;
}

}  // namespace

SortKeys::SortKeys(DType dtype)
    : bits(dtype == DType::boolean ? 1 : 8 * static_cast<int>(size_of(dtype))),
      packed(bits <= 32),
      low(packed ? 32 : 0) {}

Expr SortKeys::key(const Expr& x, const Expr& position, bool descending) const {
  const Expr ordered = order_key(x, descending);
  if (!packed) return ordered;
  return loop::binary(Op::bit_or, loop::binary(Op::shl, ordered, whole(low)), position);
}

Expr SortKeys::is_before(const Expr& a, const Expr& position_of_a, const Expr& b,
                         const Expr& position_of_b) const {
  const Expr is_less = loop::binary(Op::lt, a, b);
  if (packed) return is_less;
  const Expr is_equal = loop::binary(Op::logical_and, loop::binary(Op::eq, a, b),
                                     loop::binary(Op::lt, position_of_a, position_of_b));
  return loop::binary(Op::logical_or, is_less, is_equal);
}

Expr SortKeys::position(const Expr& packed_key) const {
  return loop::binary(Op::bit_and, packed_key, whole(0xffffffff));
}

void sort_reference(ReferenceContext& c, bool descending) {
  const ReferenceValue& x = *c.inputs[0];
  const auto n = static_cast<std::size_t>(x.shape.back());
  const auto first_ones = static_cast<std::size_t>(c.output.shape.back());
  const auto is_before = [](const Number& a, const Number& b) {
    if (std::isnan(a) || std::isnan(b)) return !std::isnan(a) && std::isnan(b);
    return a < b;
  };
  std::vector<std::int64_t> order(n);
  for (std::size_t row = 0; first_ones > 0 && row < c.output.data.size() / first_ones; ++row) {
    for (std::size_t i = 0; i < n; ++i) order[i] = static_cast<std::int64_t>(i);
    std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
      const Number& of_a = x.data[row * n + static_cast<std::size_t>(a)];
      const Number& of_b = x.data[row * n + static_cast<std::size_t>(b)];
      return descending ? is_before(of_b, of_a) : is_before(of_a, of_b);
    });
    for (std::size_t i = 0; i < first_ones; ++i) c.output.data[row * first_ones + i] = order[i];
  }
}

}  // namespace kroton::ops
