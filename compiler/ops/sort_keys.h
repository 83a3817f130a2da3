// Integer keys in whose order elements are sorted, and the order itself for the interpreter.
#pragma once
#include <cstdint>

#include "compiler/ir/block_context.h"
#include "compiler/ir/op.h"
#include "compiler/loop/ir.h"

namespace kroton::ops {

inline loop::Expr whole(std::int64_t value) { return loop::integer(value); }

// Further places behind those of a row.
inline Index in(Index row, const loop::Expr& place) {
  row.push_back(place);
  return row;
}
inline Index in(Index row, const loop::Expr& first, const loop::Expr& second) {
  row.push_back(first);
  row.push_back(second);
  return row;
}

// Keys of 32 bits stand with their position in one integer of 64, whose order is that of a stable
// sort; those of 64 bits are compared with their positions beside them.
struct SortKeys {
  explicit SortKeys(DType dtype);
  int bits;
  bool packed;
  int low;  // the bit at which a key begins

  // The key of the element at a position.
  loop::Expr key(const loop::Expr& x, const loop::Expr& position, bool descending) const;
  // Whether a comes before b; positions are of keys that are not packed.
  loop::Expr is_before(const loop::Expr& a, const loop::Expr& position_of_a, const loop::Expr& b,
                       const loop::Expr& position_of_b) const;
  loop::Expr position(const loop::Expr& packed_key) const;
};

// An integer of 4 or 8 bytes in whose order elements of at most that size are sorted, and the
// element that has it; -0 comes before 0, and a NaN is the highest key, which is that of no other.
loop::Expr value_key(const loop::Expr& x, DType dtype, bool descending);
loop::Expr value_of_key(const loop::Expr& key, DType dtype, bool descending);

// The same for the order of positions: equal elements have one key.
loop::Expr order_key(const loop::Expr& x, DType dtype, bool descending);

// Of input 0 along its last axis, with neither keys nor what is put.
BlockContext::Sorted sorted_by_blocks(const WriteContext& context);
// Stores the positions of a stable sort, if `first` is not 0 so many of a row.
void order_by_blocks(WriteContext& context, int first);

// Whether the op is one of the highest first.
inline bool is_descending(const Attributes& attributes) { return attributes.integers.at(0) != 0; }

// The output's last axis: the positions that come first in a stable sort of the input's.
void sort_reference(ReferenceContext& context, bool descending);

}  // namespace kroton::ops
