// The operations on tensors. Names and semantics are NumPy's. Every function is elementwise and
// broadcasts unless it says otherwise.
//
// Promotion: operands of different dtypes are converted to a common one (docs/dtypes.md): floating
// rather than integer rather than boolean, of one kind the wider (so i64 with f32 gives f32, i32
// with bf16 gives bf16); a signed integer with room for the unsigned one, i64 at most; f16 and bf16
// meet in f32. What is computed of f16 and bf16 is computed in f32 and rounded, each operation's
// result for itself. A literal takes the dtype of the tensor it meets; an integer literal that
// meets a boolean tensor is an i64; a floating literal that meets an integer or boolean tensor is a
// TypeError. What is computed from literals only, and the floating value that `/` or `mean` makes
// of integers, is weak: an f32 (i64) that is computed anew in the dtype of the tensor it meets.
//
// Broadcasting: shapes are aligned at their last axes. Only a size known to be 1 when the graph is
// built is repeated; other sizes must be equal (ShapeError), or are checked at the call if free.
//
// Errors name the operation, what it expected, every operand's name and type, and the line.
#pragma once
#include <kroton/tensor.h>

#include <concepts>
#include <initializer_list>
#include <utility>

namespace kroton {

// A list of axes: an int, a braced list, or (default) all axes. Negative axes count from the end.
class Axes {
 public:
  Axes() = default;  // all
  template <std::integral T>
    requires(!std::same_as<T, bool>)
  Axes(T axis) : all_(false), axes_{static_cast<int>(axis)} {}  // NOLINT
  template <class T>
    requires(std::floating_point<T> || std::same_as<T, bool>)
  Axes(T) = delete;  // an axis is an int; keepdims follows the axes: sum(x, {}, true)
  Axes(std::initializer_list<int> axes) : all_(false), axes_(axes) {}
  explicit Axes(std::vector<int> axes) : all_(false), axes_(std::move(axes)) {}
  // Sorted, non-negative, each once; ValueError naming `op` if one is out of range or repeated.
  std::vector<int> resolve(int rank, const char* op) const;
  bool is_all() const { return all_; }

 private:
  bool all_ = true;
  std::vector<int> axes_;
};

// Whether a reduction leaves size 1 at the axes it reduces. A bool and nothing else: the 2 of
// sum(x, 0, 2) is meant as an axis.
class KeepDims {
 public:
  template <std::same_as<bool> T>
  KeepDims(T keep) : keep_(keep) {}  // NOLINT
  template <class T>
  KeepDims(T) = delete;                    // several axes are one list: sum(x, {0, 2})
  operator bool() const { return keep_; }  // NOLINT

 private:
  bool keep_;
};

// The result of a comparison, or of & | ^ ~: a tensor that is no condition of an `if`, because
// its value is not known before a function runs.
class Mask : public Tensor {
 public:
  explicit Mask(Tensor tensor) : Tensor(std::move(tensor)) {}
  explicit operator bool() const = delete;  // not known before a call: where(mask, x, y), ifelse
};

// ---- Arithmetic. Integers wrap. Numbers only: a boolean operand is promoted by the other one;
// ---- two booleans are a TypeError.

Tensor add(const Operand& x, const Operand& y);
Tensor sub(const Operand& x, const Operand& y);
Tensor mul(const Operand& x, const Operand& y);
// True division: integers are converted to f32 first (to f64 when the other operand, or a tensor
// that the quotient meets, is f64). IEEE: x/0 is infinite or NaN.
Tensor div(const Operand& x, const Operand& y);
// The largest integer not above x/y, in the operands' dtype: (x - x mod y) / y. Integer division by
// 0 gives 0, floating x/0; NaN for an infinite x. No gradient.
Tensor floor_div(const Operand& x, const Operand& y);
// The remainder of floor division, with the sign of y; exact, also of floating numbers, for which
// x mod 0 is NaN. Integers: x mod 0 is 0.
Tensor mod(const Operand& x, const Operand& y);
// x to the power y; of two integers integer_power (elementwise.h). The gradient with respect to
// y takes log(x) as 0 where x <= 0: there y is as good as a constant, in higher derivatives too.
Tensor pow(const Operand& x, const Operand& y);
// The larger (smaller) of both; a NaN operand gives NaN. Where both are equal the gradient goes to
// the first operand; where one is NaN, to it.
Tensor maximum(const Operand& x, const Operand& y);
Tensor minimum(const Operand& x, const Operand& y);
// minimum(maximum(x, low), high).
Tensor clip(const Operand& x, const Operand& low, const Operand& high);

// Numbers only: TypeError for booleans.
Tensor neg(const Operand& x);
Tensor abs(const Operand& x);   // gradient 0 at 0
Tensor sign(const Operand& x);  // -1, 0 or 1; NaN stays NaN; no gradient
Tensor square(const Operand& x);
Tensor relu(const Operand& x);  // max(x, 0); gradient 0 at 0

// ---- Elementary functions. Floating point only: an integer or boolean operand is a TypeError.
// ---- f32 results are within 2 ulp.

Tensor exp(const Operand& x);
Tensor expm1(const Operand& x);  // exp(x) - 1, accurate near 0
Tensor log(const Operand& x);    // natural; log(0) = -inf, below 0 NaN
Tensor log1p(const Operand& x);  // log(1 + x), accurate near 0
Tensor tanh(const Operand& x);
Tensor sigmoid(const Operand& x);   // 1 / (1 + exp(-x))
Tensor softplus(const Operand& x);  // log(1 + exp(x)), without overflow
Tensor erf(const Operand& x);
Tensor sqrt(const Operand& x);  // NaN below 0
Tensor sin(const Operand& x);   // radians
Tensor cos(const Operand& x);
Tensor atan(const Operand& x);  // radians
Tensor asin(const Operand& x);  // beyond [-1, 1] NaN
Tensor acos(const Operand& x);
// The angle of the point (x, y), in radians from -pi to pi. The gradient at (0, 0) is NaN.
Tensor atan2(const Operand& y, const Operand& x);
Tensor reciprocal(const Operand& x);  // 1 / x
// Towards minus (plus) infinity. Integers stay as they are. No gradient.
Tensor floor(const Operand& x);
Tensor ceil(const Operand& x);

// ---- Comparison and logic. Results are boolean and have no gradient.

// eq and ne take any dtype, the others numbers. Comparisons with a NaN are false, but ne true.
Mask eq(const Operand& x, const Operand& y);
Mask ne(const Operand& x, const Operand& y);
Mask lt(const Operand& x, const Operand& y);
Mask le(const Operand& x, const Operand& y);
Mask gt(const Operand& x, const Operand& y);
Mask ge(const Operand& x, const Operand& y);
// Boolean operands only (TypeError): compare numbers with 0 first.
Mask logical_and(const Operand& x, const Operand& y);
Mask logical_or(const Operand& x, const Operand& y);
Mask logical_xor(const Operand& x, const Operand& y);
Mask logical_not(const Operand& x);
// Integers bit by bit (two's complement); two booleans as the functions above. TypeError for
// floating numbers; no gradient.
Tensor bitwise_and(const Operand& x, const Operand& y);
Tensor bitwise_or(const Operand& x, const Operand& y);
Tensor bitwise_xor(const Operand& x, const Operand& y);
Tensor bitwise_not(const Operand& x);
// x where `condition` (boolean) holds, else y.
Tensor where(const Operand& condition, const Operand& x, const Operand& y);
// `then_value` if `condition` holds, else `else_value`, and only that one is evaluated: what the
// other needs and nothing else does is not computed, and an index out of range in it is no error.
// The same holds for gradients through it. The condition is a boolean scalar (TypeError,
// ShapeError); the values have one shape, no broadcasting (ShapeError); free sizes that meet must
// be equal, also at a call that takes neither. dtypes are promoted; a literal takes the dtype and
// shape of the value it meets.
Tensor ifelse(const Operand& condition, const Operand& then_value, const Operand& else_value);

// ---- Conversion.

// To another dtype. Floating to integer truncates; what does not fit becomes the nearest end of
// the range, NaN becomes 0. i64 to i32 keeps the low 32 bits. To boolean: x != 0. The gradient
// passes between floating dtypes.
Tensor cast(const Operand& x, DType dtype);
// x, with a gradient of 0.
Tensor stop_gradient(const Operand& x);
// x; a function that depends on it updates `variable` by `new_value` after each call, as if it had
// that update in its options: running statistics come with the value that they are of. Several of
// one variable happen one after the other, in the order in which they were written: where a new
// value reads the variable, it reads what the one before gave. In a step of a scan each step reads
// what the one before gave, and the last one's is the update. ValueError inside vmap, and in a
// function that has an update of the variable among its options; TypeError, ShapeError for another
// dtype or rank.
Tensor with_update(const Operand& x, const Shared& variable, const Operand& new_value);
// x, and shows it each time it is computed: the message (or else x's name), dtype and shape, and
// the values. The gradient passes through. A print whose result nothing uses shows nothing; one in
// a scan whose value no step changes shows it once. Where it is shown: set_print_stream (print.h).
Tensor print(const Operand& x, const std::string& message = "");

// ---- Operators. Equality is eq() and ne(), for `==` on handles would surprise, and logic is & and
// |, which take integers bit by bit, too:
// ---- ==, !=, && and || do not compile. `!x` tells, as for a pointer, whether the handle is empty.

inline Tensor operator+(const Operand& x, const Operand& y) { return add(x, y); }
inline Tensor operator-(const Operand& x, const Operand& y) { return sub(x, y); }
inline Tensor operator*(const Operand& x, const Operand& y) { return mul(x, y); }
inline Tensor operator/(const Operand& x, const Operand& y) { return div(x, y); }
inline Tensor operator%(const Operand& x, const Operand& y) { return mod(x, y); }
inline Tensor operator-(const Operand& x) { return neg(x); }
inline Mask operator<(const Operand& x, const Operand& y) { return lt(x, y); }
inline Mask operator<=(const Operand& x, const Operand& y) { return le(x, y); }
inline Mask operator>(const Operand& x, const Operand& y) { return gt(x, y); }
inline Mask operator>=(const Operand& x, const Operand& y) { return ge(x, y); }
inline Mask operator&(const Operand& x, const Operand& y) { return Mask(bitwise_and(x, y)); }
inline Mask operator|(const Operand& x, const Operand& y) { return Mask(bitwise_or(x, y)); }
inline Mask operator^(const Operand& x, const Operand& y) { return Mask(bitwise_xor(x, y)); }
inline Mask operator~(const Operand& x) { return Mask(bitwise_not(x)); }
bool operator==(const Operand&, const Operand&) = delete;  // eq(x, y); array_equal(x, y) of Arrays
bool operator!=(const Operand&, const Operand&) = delete;  // ne(x, y); !array_equal(x, y) of Arrays
Tensor operator&&(const Tensor& x, const Tensor& y) = delete;  // write x & y
Tensor operator||(const Tensor& x, const Tensor& y) = delete;  // write x | y

// ---- Reductions over `axes`, which leave the shape unless `keepdims`, which leaves size 1.
// ---- ValueError for an axis out of range or named twice. The order of additions is fixed: a
// ---- result does not depend on the number of threads.

// Booleans and integers are added as i64, unsigned ones as u64; f16 and bf16 in f32, and the sum is
// rounded. Over no elements: 0.
Tensor sum(const Operand& x, const Axes& axes = {}, KeepDims keepdims = false);
// The product, as sum; over no elements: 1. Gradients of any order are exact with zeros among the
// factors.
Tensor prod(const Operand& x, const Axes& axes = {}, KeepDims keepdims = false);
// sum / count. Integers and booleans are added exactly (i64 and u64 in f64) and give f32 (f64 where
// that meets an f64). Over no elements: NaN.
Tensor mean(const Operand& x, const Axes& axes = {}, KeepDims keepdims = false);
// The mean squared deviation from the mean (no correction), and its square root.
Tensor var(const Operand& x, const Axes& axes = {}, KeepDims keepdims = false);
Tensor stddev(const Operand& x, const Axes& axes = {}, KeepDims keepdims = false);
// The largest (smallest) element; a NaN gives NaN. Equal extremes share the gradient evenly, NaNs
// where the extreme is NaN.
// Numbers only. An axis of constant size 0 is a ShapeError; over a free size that is 0 at the call
// the result is -inf (inf), for integers the lowest (highest) value.
Tensor max(const Operand& x, const Axes& axes = {}, KeepDims keepdims = false);
Tensor min(const Operand& x, const Axes& axes = {}, KeepDims keepdims = false);
// The position (i64) of the first largest (smallest) element along `axis`, or in the flattened x;
// the first NaN counts as the extreme. Empty axes as for max; at the call: 0. No gradient.
Tensor argmax(const Operand& x, std::optional<int> axis = std::nullopt, KeepDims keepdims = false);
Tensor argmin(const Operand& x, std::optional<int> axis = std::nullopt, KeepDims keepdims = false);
// The running sum along `axis`: y[i] = x[0] + ... + x[i], or x[i] + ... + x[n-1] with `reverse`.
// Terms are added one after the other, booleans and integers as i64, unsigned ones as u64.
Tensor cumsum(const Operand& x, int axis, bool reverse = false);
// log(sum(exp(x))), without overflow. Floating point only.
Tensor logsumexp(const Operand& x, const Axes& axes = {}, KeepDims keepdims = false);
// Whether any element is true. Boolean operands only. Over no elements: false.
Tensor any(const Operand& x, const Axes& axes = {}, KeepDims keepdims = false);

// Whether all elements are true. Boolean operands only. Over no elements: true. As an index,
// x(kt::all, 0), the bare name stands for the whole axis.
Tensor all(const Operand& x, const Axes& axes = {}, KeepDims keepdims = false);

// ---- Shape.

// x repeated to `shape`; its axes are aligned at the last. ShapeError unless each size of x is 1 or
// the target's.
Tensor broadcast_to(const Operand& x, const Dims& shape);
// The elements in row-major order under another shape; one size may be -1 and is then worked out.
// ShapeError when the counts differ.
Tensor reshape(const Operand& x, const Dims& shape);
Tensor flatten(const Operand& x);  // reshape to one axis
// Axes from `start_axis` on merged into one: flatten(x, 1) keeps the batch axis.
Tensor flatten(const Operand& x, int start_axis);
// Axis i of the result is axis axes[i] of x; without axes, their order is reversed.
Tensor transpose(const Operand& x, const std::vector<int>& axes = {});
Tensor swapaxes(const Operand& x, int axis1, int axis2);
// A new axis of size 1 at position `axis` of the result.
Tensor expand_dims(const Operand& x, int axis);
// Without the given axes, whose size must be known to be 1 (ShapeError); by default all such.
Tensor squeeze(const Operand& x, const Axes& axes = {});
// Joined along an existing axis; other sizes must be equal; dtypes are promoted.
Tensor concatenate(const std::vector<Tensor>& tensors, int axis = 0,
                   const Operand::Location& location = Operand::Location::current());
// Joined along a new axis; shapes must be equal.
Tensor stack(const std::vector<Tensor>& tensors, int axis = 0,
             const Operand::Location& location = Operand::Location::current());
// Zeros added: widths[i] = {before, after} along axis i, not negative (ValueError).
Tensor pad(const Operand& x, const std::vector<std::pair<Dim, Dim>>& widths);
// What stands in the added places: `value`; the first or the last element along the axis; the
// elements after the first (before the last), in turn; the same from the first (the last) itself
// on; those of the other end; what lies evenly between the edge and `value`, which the outermost
// place has (linear_ramp; floating point only); the largest, the smallest or the mean element along
// the axis. One axis is extended after the other. ShapeError where the axis has too few elements
// for that: none (edge, linear_ramp, maximum, minimum, mean), no more than the width (reflect),
// less than it (symmetric, wrap); of the call where sizes are free.
enum class PadMode : std::uint8_t {
  constant,
  edge,
  reflect,
  symmetric,
  wrap,
  linear_ramp,
  maximum,
  minimum,
  mean
};
Tensor pad(const Operand& x, const std::vector<std::pair<Dim, Dim>>& widths, PadMode mode,
           const Operand& value = 0);
// Element i along `axis` at place i + shift; what passes an end comes in at the other.
Tensor roll(const Operand& x, std::int64_t shift, int axis);

// ---- New tensors.

Tensor full(const Dims& shape, const Operand& value);  // a scalar, repeated
Tensor zeros(const Dims& shape, DType dtype = f32,
             const Operand::Location& location = Operand::Location::current());
Tensor ones(const Dims& shape, DType dtype = f32,
            const Operand::Location& location = Operand::Location::current());
Tensor full_like(const Operand& x, const Operand& value);  // x's shape and dtype
Tensor zeros_like(const Operand& x);
Tensor ones_like(const Operand& x);
// 0, 1, ... size - 1.
Tensor arange(const Dim& size, DType dtype = i64,
              const Operand::Location& location = Operand::Location::current());
// The index along `axis` at each position of `shape`. Any dtype but boolean.
Tensor iota(const Dims& shape, int axis, DType dtype = i64,
            const Operand::Location& location = Operand::Location::current());
// The value of a size, as a scalar.
Tensor size_of_dim(const Dim& size, DType dtype = i64,
                   const Operand::Location& location = Operand::Location::current());

// ---- Products. ShapeError when the inner sizes differ, TypeError for booleans. Integer products
// ---- wrap.

// Vectors: their inner product; matrices: the product; matrix and vector: the product with the
// vector as a column (right) or a row (left); a scalar: x * y. ShapeError above rank 2.
Tensor dot(const Operand& x, const Operand& y);
// NumPy's @: as dot up to rank 2; above, the product of the last two axes, the others broadcast.
// ShapeError for scalars.
Tensor matmul(const Operand& x, const Operand& y);
// Of two vectors (n,) and (m,): (n, m).
Tensor outer(const Operand& x, const Operand& y);

// ---- Linear algebra, by LAPACK, on the last two axes; those before them number the matrices of a
// ---- batch (in errors row by row, from 0). Floating point only. An error ends the call of the
// ---- function before anything is updated.

// The lower triangular L (..., n, n), zeros above the diagonal, with L L^T = a for each symmetric
// positive definite a (..., n, n), of which the lower triangle alone is read. ShapeError unless the
// matrices are square. At the call ValueError for one that is not positive definite or has a NaN in
// its lower triangle, with its number in the batch and the order of its first leading minor that is
// not above 0.
// The gradient is symmetric: it is that of cholesky((a + a^T) / 2), and right for all changes of a
// that keep it symmetric. That of an element below the diagonal alone, which stands for two, is
// twice that.
Tensor cholesky(const Operand& a);
// The X with L X = b for triangular L (..., n, n) and b (..., n, k), or with L^T X = b; for a
// single L, b may be (n,). L is lower triangular, or upper; its other triangle is not read. dtypes
// are promoted. The axes before the last two are the same, no broadcasting (ShapeError). At the
// call ValueError for a 0 on the diagonal, with the number of the matrix in the batch and the
// position; a NaN is passed on.
Tensor solve_triangular(const Operand& l, const Operand& b, bool transposed = false,
                        bool lower = true);

// ---- Indexing by tensors. An index outside [-size, size) is an error of the call that names
// ---- index, axis and size; negative ones count from the end.

// Slices of x along `axis`: shape x.shape[:axis] + indices.shape + x.shape[axis+1:].
Tensor take(const Operand& x, const Operand& indices, int axis = 0);
// Zeros of `shape`, with `values` added at `indices` along `axis` (repeated indices add up, in
// row-major order): the gradient of take. values, numbers: shape[:axis] + indices.shape +
// shape[axis+1:].
Tensor scatter_add(const Operand& values, const Operand& indices, const Dims& shape, int axis = 0);
// x with `values` added at `indices` along `axis`: repeated indices add up, in row-major order,
// each to what x has there. values: x.shape[:axis] + indices.shape + x.shape[axis+1:], of x's dtype
// (TypeError; a literal takes it). Numbers.
Tensor add_at(const Operand& x, const Operand& values, const Operand& indices, int axis = 0);
// x[i, labels[i]] for x (n, c) and integer labels (n,): shape (n,).
Tensor pick(const Operand& x, const Operand& labels);
// labels.shape + (classes,): 1 where the last index is the label, else 0.
Tensor one_hot(const Operand& labels, const Dim& classes, DType dtype = f32);

// ---- Probability. Floating point only; computed without overflow.

// exp(x) / sum(exp(x)) along `axis`, and its logarithm.
Tensor softmax(const Operand& x, int axis = -1);
Tensor log_softmax(const Operand& x, int axis = -1);
// -log_softmax(logits)[i, labels[i]] for logits (n, c) and integer labels (n,): shape (n,).
Tensor softmax_cross_entropy(const Operand& logits, const Operand& labels);

}  // namespace kroton
