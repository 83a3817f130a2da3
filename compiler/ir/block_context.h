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
  // Gives which of both they are in after that: 0 or 1.
  virtual int sort(const Sorted& how) = 0;
  // Stores all of the output where that is wanted. False, and nothing is done, where a value may
  // fail: the threads of a block wait for each other.
  virtual bool run(const Running& how) = 0;
};

}  // namespace kroton
