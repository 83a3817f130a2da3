// Loops over blocks of small matrices: as many at a time as a vector has lanes, each in a lane of
// its own. What is computed for a block lies in memory element by element, the lanes of an element
// side by side, so that the innermost loops, those over the lanes, are whole vectors whatever loops
// there are around them. On a GPU a block is one matrix, that of a thread.
#pragma once
#include "compiler/ir/block_context.h"
#include "compiler/ops/terms.h"

namespace kroton::ops {

class LaneLoops {
 public:
  // Numbers of each matrix of a block, at one index or more.
  struct Array {
    WriteContext::Scratch memory;
  };

  // The last `axes_behind` axes of the result are those of a matrix.
  LaneLoops(WriteContext& context, int axes_behind);

  // ---- Loops, from the outermost one in; the bodies say what is done for a matrix

  void each_block(const std::function<void()>& body);
  // For all lanes, those without a matrix too: a vector.
  void each_lane(const std::function<void()>& body);
  // For lanes with a matrix: `batch` is its index in the result's first axes, `number` its number.
  void each_matrix(const std::function<void(const Index& batch, const loop::Expr& number)>& body);
  void times(std::int64_t count, const std::function<void(const loop::Expr& i)>& body);
  // For i below `end` and above `begin`; at most so many.
  void between(const loop::Expr& begin, std::int64_t end, std::int64_t most,
               const std::function<void(const loop::Expr& i)>& body);
  // Once, if the number is above 0 for any matrix of the block.
  void if_any(const Array& of_each, const std::function<void()>& body);

  // ---- Values, inside each_lane and each_matrix

  Array array(std::initializer_list<std::size_t> shape);
  template <class... Positions>
  Term get(const Array& from, const Positions&... at) {
    return term(context_.stored(from.memory, index({position(at)...})));
  }
  template <class... Positions>
  void set(const Array& to, const Term& value, const Positions&... at) {
    context_.store(to.memory, index({position(at)...}), value.v);
  }
  // As it is now, whatever is stored later on.
  Term hold(const Term& value) { return {value.b, block_.hold(value.v)}; }
  Term constant(double value) const { return term(loop::real(value, dtype_)); }

  WriteContext& context() { return context_; }
  DType dtype() const { return dtype_; }

 private:
  static loop::Expr position(const loop::Expr& at) { return at; }
  static loop::Expr position(std::integral auto at) {
    return loop::integer(static_cast<std::int64_t>(at));
  }
  Index index(Index at) const {
    at.push_back(lane_);
    return at;
  }
  Index batch_index(const loop::Expr& number) const;

  WriteContext& context_;
  BlockContext& block_;
  const DType dtype_;
  const Dims batch_;
  const Dim count_;
  std::int64_t lanes_ = 1;
  bool is_for_gpu_;
  WriteContext::Scratch any_;
  loop::Expr first_;  // the number of the block's first matrix
  loop::Expr lane_;   // the current one; on a GPU the number of the matrix
};

// Numbers of a matrix come near to this power of two before they are squared: what is much smaller
// than the largest of them does not vanish then, and sums of squares do not overflow.
double scale_of(const Format& format);
// The power of two that is not above `size`, which is not negative and may be infinite or NaN; its
// inverse is a normal number too.
Term power_of_two(const Term& size);

// Householder's reflections for the first `reflections` of `columns` columns of that length, column
// c in x(c, i): x becomes R above and on the diagonal, and below it what the reflections are made
// of, with `factors`.
void reflect_columns(LaneLoops& loops, const LaneLoops::Array& x, const LaneLoops::Array& factors,
                     std::size_t columns, std::size_t rows, std::size_t reflections);
// The first `columns` columns of their product.
void orthonormal_columns(LaneLoops& loops, const LaneLoops::Array& x,
                         const LaneLoops::Array& factors, const LaneLoops::Array& q,
                         std::size_t columns, std::size_t rows);

}  // namespace kroton::ops
