// Sorting, selection and search. Names and meanings are NumPy's; `topk` is PyTorch's. Any dtype:
// false before true, NaNs last. Every order is stable: equal elements (and -0 and 0, and NaNs) stay
// in the order in which they are. Free sizes, also 0.
//
// Rows whose length is known when the expression is made (2 to 4,096 elements; their number may be
// free) are sorted many at a time in the lanes of vectors. Another axis of up to 96 elements is
// sorted by counting, for each element, the smaller ones; a longer one by digits (radix sort):
// linear time, threads share one long axis as well as many short ones.
#pragma once
#include <kroton/ops.h>

#include <utility>

namespace kroton {

// The elements along `axis` in ascending order, or descending ones; -0 may come before 0 that stood
// before it, and a NaN be another one. The gradient goes to the places that the elements come from.
Tensor sort(const Operand& x, int axis = -1, bool descending = false);
// Where they come from (i64): sort(x) is take_along_axis(x, argsort(x), axis). In descending order,
// too, equal elements keep their order, and NaNs come first. No gradient. ShapeError at the call
// for an axis of 2^32 elements or more.
Tensor argsort(const Operand& x, int axis = -1, bool descending = false);
// The k largest elements along `axis`, largest first, or the k smallest, smallest first; and their
// positions (i64). A NaN counts as larger than all numbers; of equal elements the first ones are
// taken. ShapeError if the axis is known to have fewer than k elements, else at the call.
std::pair<Tensor, Tensor> topk(const Operand& x, const Dim& k, int axis = -1, bool largest = true);
// The positions alone. For a known k of at most 48 nothing is sorted, but for many short rows: one
// reading of x.
Tensor argtopk(const Operand& x, const Dim& k, int axis = -1, bool largest = true);
// What NumPy promises of partition and argpartition (the element `kth` in its place, none before it
// larger, none behind it smaller), by a whole sort. ValueError for a kth that is known to be
// outside of the axis; ShapeError at the call.
Tensor partition(const Operand& x, std::int64_t kth, int axis = -1);
Tensor argpartition(const Operand& x, std::int64_t kth, int axis = -1);

// How a quantile between two elements, of which the first has the share `t` of the way behind it,
// is made of both: NumPy's `method`.
enum class QuantileMethod : std::uint8_t { linear, lower, higher, midpoint, nearest };

// The element, or what lies between two, below which a share q of the elements along `axis` is, or
// of all elements: at position q * (n - 1) of the sorted ones. NaN where there is one among them.
// x and q are floating point, of one dtype (integers of x: f32, as for mean); q is a scalar or a
// tensor whose axes stand before those of the result, within [0, 1] (outside: NaN). Gradients by x
// and, for `linear` and `midpoint`, none by q. ShapeError for an axis without elements.
Tensor quantile(const Operand& x, const Operand& q, std::optional<int> axis = std::nullopt,
                KeepDims keepdims = false, QuantileMethod method = QuantileMethod::linear);
// The same of q in [0, 100].
Tensor percentile(const Operand& x, const Operand& q, std::optional<int> axis = std::nullopt,
                  KeepDims keepdims = false, QuantileMethod method = QuantileMethod::linear);
// The middle element, or the mean of the middle two.
Tensor median(const Operand& x, std::optional<int> axis = std::nullopt, KeepDims keepdims = false);
// As quantile and median, of the elements that are not NaN; NaN where there are none.
Tensor nanquantile(const Operand& x, const Operand& q, std::optional<int> axis = std::nullopt,
                   KeepDims keepdims = false);
Tensor nanmedian(const Operand& x, std::optional<int> axis = std::nullopt,
                 KeepDims keepdims = false);

// For each element of v the position (i64) in the ascending vector `sorted` at which it would be
// inserted: before equal elements, or behind them with `right`. Or, as in PyTorch, in a vector for
// each row: `sorted` is (rows..., n), and v has these axes first. dtypes are promoted; NaNs as in
// `sort`. By bisection. No gradient.
Tensor searchsorted(const Operand& sorted, const Operand& v, bool right = false);
// The number of the bin for each element of x, of `bins` ascending: searchsorted(bins, x, !right).
// bins[i-1] <= x < bins[i] is bin i; with `right`, bins[i-1] < x <= bins[i].
Tensor digitize(const Operand& x, const Operand& bins, bool right = false);
// How often each of the integers 0, ..., size - 1 is among those of x (i64), or the sum of their
// weights (of the weights' dtype). `size` stands for NumPy's minlength: a size cannot depend on
// elements. An integer outside [0, size) is an error of the call.
Tensor bincount(const Operand& x, const Dim& size);
Tensor bincount(const Operand& x, const Dim& size, const Operand& weights);
// How many elements of x are in each bin (i64): [edges[i], edges[i+1]), the last one with its end;
// others are not counted. `edges`: ascending vector. Or `bins` bins of equal width from `low` to
// `high`; without these from the smallest to the largest element.
Tensor histogram(const Operand& x, const Tensor& edges);
Tensor histogram(const Operand& x, std::int64_t bins, const Operand& low, const Operand& high);
Tensor histogram(const Operand& x, std::int64_t bins);
// Those bins' edges, bins + 1 of them.
Tensor histogram_bin_edges(const Operand& x, std::int64_t bins);

// How many elements NumPy's `unique`, `nonzero` and `compress` give is known only after they are
// counted, and no size depends on elements: they are not here. Instead: bincount, where(mask, x,
// y), sum(mask), or sort with ne(s(slice(1, end)), s(slice(0, -1))).

}  // namespace kroton
