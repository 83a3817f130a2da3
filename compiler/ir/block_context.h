// What a WriteContext has besides for ops that work on a block of elements in each iteration.
#pragma once
#include "compiler/ir/op.h"

namespace kroton {

class BlockContext {
 public:
  virtual ~BlockContext() = default;
  // That of a `write` (every WriteContext of the compiler is one).
  static BlockContext& of(WriteContext& context) { return dynamic_cast<BlockContext&>(context); }

  // Memory of a constant size for one iteration of the outermost nest, which nothing is left in for
  // the next: each worker has its own. Not for a GPU.
  virtual WriteContext::Scratch scratch_of_iteration(DType dtype, const Dims& shape) = 0;
  // The value as it is at this place of the nest in progress: what is stored later on does not
  // change it. It lives until the end of the innermost loop's body.
  virtual loop::Expr hold(const loop::Expr& value) = 0;

  // Rows of keys, all of a scratch each, that are sorted by as many of their bits as are given from
  // `low` on, the highest of which is their sign, where `wanted` is 1. Keys, and the positions that
  // they come from beside them if there are such, go from the first scratch to the second and back.
  struct Sorted {
    Dims shape;  // rows, and the keys of one
    Dim wanted = 1;
    int low = 0, bits = 0;
    WriteContext::Scratch keys[2], positions[2];
    bool has_positions = false;
  };
  // Whether `sort` may be called: on a GPU, outside of all nests, unless a block does all.
  virtual bool can_sort() const = 0;
  // Gives which of both they are in after that: 0 or 1.
  virtual int sort(const Sorted& how) = 0;
};

}  // namespace kroton
