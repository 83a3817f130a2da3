// Indexing beyond x(items...): tensors with some elements replaced, gathers and scatters along an
// axis. Names and meanings are NumPy's. An index outside [-size, size) is an error of the call that
// names index, axis and size; negative ones count from the end.
#pragma once
#include <kroton/index.h>

#include <vector>

namespace kroton {

// x, of which some elements are replaced: what NumPy does in place. x itself stays as it is.
//
//   auto y = kt::at(x, 0, kt::slice(1, 4)).set(v);   // y = x; y[0, 1:4] = v
//   auto z = kt::at(x, ids, kt::all).add(1);         // z = x; np.add.at(z, ids, 1)
//
// The items are those of x(items...), which gives the same elements. `v` is broadcast to them
// (ShapeError), and has x's dtype (TypeError), which a literal takes. Elements that index tensors
// name several times are updated as often, in the row-major order of the indices: the last value
// stays (set), all are added up (add). Gradients by x and v of any order: of an element that is
// set, to the value that stays; of max and min to the one that is taken, x before v, of equal ones
// the first.
class ElementsOf {
 public:
  ElementsOf(Tensor x, std::vector<IndexItem> items) : x_(std::move(x)), items_(std::move(items)) {}
  Tensor get() const { return index(x_, items_); }
  Tensor set(const Operand& v) const;
  Tensor add(const Operand& v) const;  // numbers only, as the following
  Tensor mul(const Operand& v) const;
  Tensor max(const Operand& v) const;  // the larger of both; a NaN gives NaN
  Tensor min(const Operand& v) const;

 private:
  Tensor x_;
  std::vector<IndexItem> items_;
};

inline ElementsOf at(const Tensor& x, const IndexItem& i) { return {x, {i}}; }
inline ElementsOf at(const Tensor& x, const IndexItem& i, const IndexItem& j) {
  return {x, {i, j}};
}
inline ElementsOf at(const Tensor& x, const IndexItem& i, const IndexItem& j, const IndexItem& k) {
  return {x, {i, j, k}};
}
inline ElementsOf at(const Tensor& x, const IndexItem& i, const IndexItem& j, const IndexItem& k,
                     const IndexItem& l) {
  return {x, {i, j, k, l}};
}
inline ElementsOf at(const Tensor& x, const IndexItem& i, const IndexItem& j, const IndexItem& k,
                     const IndexItem& l, const IndexItem& m) {
  return {x, {i, j, k, l, m}};
}

// ---- As add_at (ops.h): x with `values` brought to `indices` along `axis`, one after the other in
// ---- row-major order. values: x.shape[:axis] + indices.shape + x.shape[axis+1:], of x's dtype.

Tensor set_at(const Operand& x, const Operand& values, const Operand& indices, int axis = 0);
Tensor mul_at(const Operand& x, const Operand& values, const Operand& indices, int axis = 0);
Tensor max_at(const Operand& x, const Operand& values, const Operand& indices, int axis = 0);
Tensor min_at(const Operand& x, const Operand& values, const Operand& indices, int axis = 0);

// ---- Along an axis: each line has indices of its own. `indices` has x's rank; the other axes of
// ---- both broadcast (ShapeError).

// y[i, j] = x[i, indices[i, j]] for axis 1: what argsort, argmax with keepdims, topk give.
Tensor take_along_axis(const Operand& x, const Operand& indices, int axis);
// x with x[i, indices[i, j]] = values[i, j], or with the values added there; values broadcast to
// the indices.
Tensor put_along_axis(const Operand& x, const Operand& indices, const Operand& values, int axis);
Tensor add_along_axis(const Operand& x, const Operand& indices, const Operand& values, int axis);

// ---- Positions

// Positions in the flattened array of that shape as one index for each axis, and back. Outside of
// the shape: an error of the call.
std::vector<Tensor> unravel_index(const Operand& indices, const Dims& shape);
Tensor ravel_multi_index(const std::vector<Tensor>& indices, const Dims& shape,
                         const Operand::Location& location = Operand::Location::current());
// The rows and the columns of the elements of an (n, m) matrix on and below (above) its k-th
// diagonal; constants (i64).
std::pair<Array, Array> tril_indices(std::int64_t n, std::int64_t k = 0,
                                     std::optional<std::int64_t> m = std::nullopt);
std::pair<Array, Array> triu_indices(std::int64_t n, std::int64_t k = 0,
                                     std::optional<std::int64_t> m = std::nullopt);

}  // namespace kroton
