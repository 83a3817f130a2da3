#include "compiler/ops/sort_keys.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace kroton::ops {
namespace {

using loop::Expr;
using loop::Op;

Expr highest(DType dtype) {
  return loop::integer(static_cast<std::int64_t>(highest_of(dtype)), dtype);
}

// Negative floats, as integers, with their other bits turned, as these grow towards minus infinity.
Expr turned_if_negative(const Expr& bits) {
  const Expr turned = loop::binary(Op::bit_xor, bits, highest(bits->dtype));
  return loop::select(loop::binary(Op::lt, bits, loop::integer(0, bits->dtype)), turned, bits);
}

// An unsigned integer as a signed one of its size that begins at the lowest, and back.
Expr moved(const Expr& x) {
  const DType of_size = integer_of_size(x->dtype);
  return loop::binary(Op::bit_xor, loop::cast(x, of_size),
                      loop::integer(lowest_of(of_size), of_size));
}

bool is_moved(DType dtype) { return is_integer(dtype) && !is_signed(dtype); }

Expr in_direction(const Expr& key, bool descending) {
  return descending ? loop::binary(Op::bit_xor, key, loop::integer(-1, key->dtype)) : key;
}

// An integer in whose order the elements are sorted, all zeros being one if `zeros_are_equal`, and
// all NaNs.
Expr key_of(const Expr& x, DType dtype, bool descending, bool zeros_are_equal) {
  Expr key = x;
  if (is_float(x->dtype)) {
    const DType bits_dtype = integer_of_size(x->dtype);
    key = turned_if_negative(loop::bitcast(x, bits_dtype));
    if (zeros_are_equal) {
      const Expr is_zero = loop::binary(Op::eq, x, loop::real(0, x->dtype));
      key = loop::select(is_zero, loop::integer(0, bits_dtype), key);
    }
    const Expr is_number = loop::binary(Op::eq, x, x);
    key = loop::select(is_number, key, highest(bits_dtype));
  }
  if (is_moved(x->dtype)) key = moved(x);
  return in_direction(loop::cast(key, dtype), descending);
}

}  // namespace

SortKeys::SortKeys(DType dtype)
    : bits(dtype == DType::boolean ? 1 : 8 * static_cast<int>(size_of(dtype))),
      packed(bits <= 32),
      low(packed ? 32 : 0) {}

Expr SortKeys::key(const Expr& x, const Expr& position, bool descending) const {
  const Expr ordered = order_key(x, DType::i64, descending);
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

Expr value_key(const Expr& x, DType dtype, bool descending) {
  return key_of(x, dtype, descending, false);
}

Expr order_key(const Expr& x, DType dtype, bool descending) {
  return key_of(x, dtype, descending, true);
}

Expr value_of_key(const Expr& key, DType dtype, bool descending) {
  const Expr ascending = in_direction(key, descending);
  if (is_float(dtype)) {
    return loop::bitcast(turned_if_negative(loop::cast(ascending, integer_of_size(dtype))), dtype);
  }
  if (!is_moved(dtype)) return loop::cast(ascending, dtype);
  return loop::cast(moved(loop::cast(ascending, integer_of_size(dtype))), dtype);
}

BlockContext::Sorted sorted_by_blocks(const WriteContext& context) {
  const TensorType& x = context.input_type(0);
  BlockContext::Sorted how;
  how.shape = x.shape;
  how.bits = 8 * static_cast<int>(size_of(x.dtype));
  how.dtype = how.bits <= 32 ? DType::i32 : DType::i64;
  return how;
}

void order_by_blocks(WriteContext& context, int first) {
  BlockContext::Sorted how = sorted_by_blocks(context);
  how.first = first;
  how.key = [&](const Index& row, const Expr& i) {
    return order_key(context.input(0, in(row, i)), how.dtype, is_descending(context.attributes()));
  };
  how.put = [&](const Index& row, const Expr& place, const Expr& position, const Expr&) {
    context.store(in(row, place), position);
  };
  BlockContext::of(context).sort(how);
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
