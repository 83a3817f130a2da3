// Contractions: sums of products of two operands' elements. A matrix product is one; a convolution
// and its two gradients are others, whose operands are addressed in another way.
#pragma once
#include <optional>

#include "compiler/loop/ir.h"

namespace kroton {

// One loop of a contraction.
struct Axis {
  loop::Variable variable;  // runs from 0 to extent-1
  Dim extent;
};
using AxisList = std::vector<Axis>;

//   sum[batch, rows, columns] = Σ over inner: a[batch, rows, inner] * b[batch, inner, columns]
//
// Every role is a list of axes; `rows`, `columns` and `inner` have at least one. The last of a list
// runs fastest: a tile of results is part of the last axes of rows and columns.
struct Contraction {
  DType dtype;
  AxisList batch, rows, columns, inner;
  loop::Expr a, b;                  // the operands' elements, of the axes' variables
  loop::Variable sum;               // stands for the sum in what is stored
  std::vector<loop::Store> stores;  // for each result, of the variables of batch, rows and columns
  std::int64_t cost = 0;            // scalar operations of the stores
  std::string form = {};            // loop::Kernel's

  // Where columns are positions of windows: the axes that `b` is made of in place of the last of
  // `columns`, which stands for all of them in row-major order. They are many, and what lies
  // between two windows that overlap is needed by both. None: no windows.
  AxisList positions = {};
  // b is the same one position further along positions[0] as `distance` elements further along this
  // inner axis.
  struct Overlap {
    std::size_t inner = 0;
    std::int64_t distance = 1;
  };
  std::optional<Overlap> overlap = {};

  Dim work() const;  // scalar operations of all
  std::string to_string() const;
};

// The number of positions of the axes.
Dim count(const AxisList& axes);

// How many elements apart neighbours along the axis lie in memory, if that is a known number.
std::optional<std::int64_t> stride(const loop::Expr& operand, const Axis& axis);
// Whether they are neighbours there.
bool is_contiguous(const loop::Expr& operand, const Axis& axis);

// Expressions in place of variables.
using Places = std::vector<std::pair<loop::Variable, loop::Expr>>;

// Loops over all results around `body`, which stores each of them once.
loop::Block over_results(const Contraction& contraction, loop::Block body);

}  // namespace kroton
