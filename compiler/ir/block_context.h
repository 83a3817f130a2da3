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
};

}  // namespace kroton
