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

  // A stable sort of rows of integer keys, in the order of the signed numbers that their lowest bits
  // are.
  struct Sorted {
    Dims shape;                // rows, and the keys of one
    Dim wanted = 1;            // or 0: nothing is to be done
    DType dtype = DType::i32;  // of keys: i32 or i64
    int bits = 32;             // of them that count, a multiple of 8
    bool has_positions = true;
    int first = 0;  // if it is not 0: only so many of a row are put, up to 64
    std::function<loop::Expr(const Index& row, const loop::Expr& i)> key;
    // Stores what becomes of the key that comes at a place of its row; `position`: where it was,
    // i64, null without positions.
    std::function<void(const Index& row, const loop::Expr& place, const loop::Expr& position,
                       const loop::Expr& key)>
        put;
  };
  // A running operation along an axis, on the way that the index takes from 0 on or from the end:
  // op(what stands before, value), where what stands before is multiplied with the factor if there
  // is one.
  struct Running {
    int axis = 0;
    bool backwards = false;
    Dim wanted = 1;  // or 0: nothing is to be done
    loop::Op op = loop::Op::add;
    std::function<loop::Expr(const Index& here)> value, factor = nullptr;
    DType factor_dtype = DType::f64;  // that products of factors are kept in
  };
  // Whether `sort` and `run` may be called: on a GPU, outside of all nests, unless a block does
  // all.
  virtual bool makes_kernels() const = 0;
  virtual void sort(const Sorted& how) = 0;
  // Stores all of the output where that is wanted. False, and nothing is done, where a value may
  // fail: the threads of a block wait for each other.
  virtual bool run(const Running& how) = 0;
};

}  // namespace kroton
