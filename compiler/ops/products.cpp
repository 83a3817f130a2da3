// Products made of einsum's.
#include <kroton/linalg.h>
#include <kroton/products.h>

#include <algorithm>
#include <set>

#include "compiler/ops/labeled.h"
#include "compiler/ops/matrices.h"
#include "compiler/ops/rules.h"

namespace kroton {

using Tensors = std::vector<Tensor>;

namespace {

using ops::Labeled;

Tensors of_numbers(const char* name, const Operand& x, const Operand& y) {
  Tensors operands = ops::promoted(x, y);
  if (operands[0].dtype() == DType::boolean) {
    ops::fail_type(OpRecord{.name = name}, operands, "takes numbers only");
  }
  return operands;
}

// The axes, from 0 on; ValueError for one that is out of range or named twice.
std::vector<int> resolved(const std::vector<int>& axes, int rank) {
  std::vector<int> result;
  for (const int axis : axes) {
    result.push_back(ops::resolve_axis(axis, rank, "tensordot"));
    if (std::count(result.begin(), result.end(), result.back()) > 1) {
      ops::fail_value("tensordot", "axis " + std::to_string(axis) + " is named twice");
    }
  }
  return result;
}

Tensor summed_over(const char* name, const Tensors& operands, const std::vector<int>& axes_x,
                   const std::vector<int>& axes_y) {
  const Tensor &x = operands[0], &y = operands[1];
  Labeled left{x, ops::axes_from(0, x.rank())}, right{y, ops::axes_from(x.rank(), y.rank())};
  for (std::size_t k = 0; k < axes_x.size(); ++k) {
    const Dim &a = x.shape(axes_x[k]), &b = y.shape(axes_y[k]);
    if (a.is_constant() && b.is_constant() && a != b) {
      ops::fail_shape(OpRecord{.name = name}, operands,
                      "sizes differ: axis " + std::to_string(axes_x[k]) + " of " + x.name() +
                          " is " + a.to_string() + ", axis " + std::to_string(axes_y[k]) + " of " +
                          y.name() + " is " + b.to_string());
    }
    right.labels[static_cast<std::size_t>(axes_y[k])] = axes_x[k];
  }
  std::vector<int> result;
  for (const int label : left.labels) {
    if (std::count(axes_x.begin(), axes_x.end(), label) == 0) result.push_back(label);
  }
  for (const int label : right.labels) {
    if (label >= x.rank()) result.push_back(label);
  }
  return ops::product_of_all({left, right}, result);
}

}  // namespace

Tensor tensordot(const Operand& x, const Operand& y, int axes) {
  const LineScope scope(x.line());
  const Tensors operands = of_numbers("tensordot", x, y);
  const int rank = operands[0].rank();
  if (axes < 0 || axes > rank || axes > operands[1].rank()) {
    ops::fail_value("tensordot", "cannot sum over " + std::to_string(axes) + " axes of " +
                                     to_string(operands[0].type()) + " and " +
                                     to_string(operands[1].type()));
  }
  return summed_over("tensordot", operands, ops::axes_from(rank - axes, axes),
                     ops::axes_from(0, axes));
}

Tensor tensordot(const Operand& x, const Operand& y, const std::vector<int>& axes_x,
                 const std::vector<int>& axes_y) {
  const LineScope scope(x.line());
  const Tensors operands = of_numbers("tensordot", x, y);
  if (axes_x.size() != axes_y.size()) {
    ops::fail_value("tensordot", "expected as many axes of x as of y, got " +
                                     std::to_string(axes_x.size()) + " and " +
                                     std::to_string(axes_y.size()));
  }
  return summed_over("tensordot", operands, resolved(axes_x, operands[0].rank()),
                     resolved(axes_y, operands[1].rank()));
}

Tensor inner(const Operand& x, const Operand& y) {
  const LineScope scope(x.line());
  const Tensors operands = of_numbers("inner", x, y);
  if (operands[0].rank() == 0 || operands[1].rank() == 0) return operands[0] * operands[1];
  return summed_over("inner", operands, {operands[0].rank() - 1}, {operands[1].rank() - 1});
}

Tensor vdot(const Operand& x, const Operand& y) {
  const LineScope scope(x.line());
  const Tensors operands = of_numbers("vdot", x, y);
  const Dim a = element_count(operands[0].shape()), b = element_count(operands[1].shape());
  if (a.is_constant() && b.is_constant() && a != b) {
    ops::fail_shape(OpRecord{.name = "vdot"}, operands, "the numbers of elements differ");
  }
  return dot(flatten(operands[0]), flatten(operands[1]));
}

Tensor kron(const Operand& x, const Operand& y) {
  const LineScope scope(x.line());
  const Tensors operands = of_numbers("kron", x, y);
  const auto rank = static_cast<std::size_t>(std::max(operands[0].rank(), operands[1].rank()));
  // (x0, 1, x1, 1, ...) times (1, y0, 1, y1, ...).
  std::array<Dims, 2> shapes;
  Dims merged(rank, Dim(1));
  for (std::size_t k = 0; k < 2; ++k) {
    const Dims& own = operands[k].shape();
    Dims sizes(rank - own.size(), Dim(1));
    sizes.insert(sizes.end(), own.begin(), own.end());
    for (std::size_t axis = 0; axis < rank; ++axis) {
      shapes[k].push_back(k == 0 ? sizes[axis] : Dim(1));
      shapes[k].push_back(k == 0 ? Dim(1) : sizes[axis]);
      merged[axis] = merged[axis] * sizes[axis];
    }
  }
  return reshape(reshape(operands[0], shapes[0]) * reshape(operands[1], shapes[1]), merged);
}

Tensor multi_dot(const Tensors& matrices, const Operand::Location& location) {
  const LineScope scope(
      LineScope::current().value_or(SourceLine{location.file_name(), location.line()}));
  if (matrices.size() < 2) {
    ops::fail_value("multi_dot",
                    "expected two matrices at least, got " + std::to_string(matrices.size()));
  }
  for (const Tensor& x : matrices) (void)Operand(x).tensor();  // none is empty
  const Tensors operands = ops::promoted(matrices);
  const OpRecord op{.name = "multi_dot"};
  if (operands[0].dtype() == DType::boolean) ops::fail_type(op, matrices, "takes numbers only");
  std::vector<Labeled> terms;
  for (std::size_t k = 0; k < operands.size(); ++k) {
    const bool is_end = k == 0 || k + 1 == operands.size();
    if (operands[k].rank() != 2 && !(is_end && operands[k].rank() == 1)) {
      ops::fail_shape(op, matrices,
                      "takes matrices, and vectors as the first and the last operand");
    }
    const int label = static_cast<int>(k);
    terms.push_back({operands[k], {label, label + 1}});
    if (operands[k].rank() == 1) terms.back().labels = {k == 0 ? 1 : label};
    if (k == 0) continue;
    const Dim &columns = operands[k - 1].shape(-1), &rows = operands[k].shape(0);
    if (columns.is_constant() && rows.is_constant() && columns != rows) {
      ops::fail_shape(op, matrices,
                      "inner sizes differ: operand " + std::to_string(k - 1) + " has " +
                          columns.to_string() + " columns, operand " + std::to_string(k) + " has " +
                          rows.to_string() + " rows");
    }
  }
  std::vector<int> result;
  if (operands.front().rank() == 2) result.push_back(0);
  if (operands.back().rank() == 2) result.push_back(static_cast<int>(operands.size()));
  return ops::product_of_all(std::move(terms), result);
}

Tensor matrix_power(const Operand& x, int n) {
  const LineScope scope(x.line());
  const Tensor given = x.tensor();
  const OpRecord op{.name = "matrix_power"};
  if (given.dtype() == DType::boolean) ops::fail_type(op, {given}, "takes numbers only");
  if (given.rank() < 2) ops::fail_shape(op, {given}, "takes matrices, of two axes or more");
  const Tensor matrices = ops::with_square_sizes("matrix_power", given);
  if (n == 0) return ops::identity_like(matrices);
  Tensor square = n < 0 ? inv(matrices) : matrices, result;
  for (std::int64_t rest = std::abs(static_cast<std::int64_t>(n));;) {
    if (rest % 2 == 1) result = result ? matmul(result, square) : square;
    rest /= 2;
    if (rest == 0) return result;
    square = matmul(square, square);
  }
}

Tensor bilinear(const Operand& x, const Operand& w, const Operand& z) {
  const LineScope scope(x.line());
  return einsum("...i,kij,...j->...k", {x.tensor(), w.tensor(), z.tensor()});
}

}  // namespace kroton
