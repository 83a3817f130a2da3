// Tensors rearranged, repeated, taken apart and put together; matrices and sequences of numbers.
// Names and meanings are NumPy's. Any dtype unless said otherwise; free sizes. Gradients go to the
// places that elements come from.
#pragma once
#include <kroton/ops.h>

#include <vector>

namespace kroton {

// ---- Order and repetition

// Backwards along the axes; all by default.
Tensor flip(const Operand& x, const Axes& axes = {});
Tensor fliplr(const Operand& x);  // along axis 1
Tensor flipud(const Operand& x);  // along axis 0
// A quarter turn, k times, from the first towards the second of two axes.
Tensor rot90(const Operand& x, int k = 1, std::pair<int, int> axes = {0, 1});
// Each element `count` times, one after the other, along the axis, or of the flattened x. Or as
// often as its entry says (ValueError unless there is one, not negative, for each element).
Tensor repeat(const Operand& x, const Dim& count, std::optional<int> axis = std::nullopt);
Tensor repeat(const Operand& x, const std::vector<std::int64_t>& counts, int axis);
// The whole x, so often along each axis; axes are aligned at the last.
Tensor tile(const Operand& x, const Dims& repetitions);
// Axes moved to other places; the others stay in their order.
Tensor moveaxis(const Operand& x, int source, int destination);
Tensor moveaxis(const Operand& x, const std::vector<int>& source,
                const std::vector<int>& destination);
// With axes of size 1 added up to that rank: NumPy's places for them.
Tensor atleast_1d(const Operand& x);
Tensor atleast_2d(const Operand& x);
Tensor atleast_3d(const Operand& x);

// ---- Parts and their joins

// `sections` parts of equal size along the axis (ValueError if it is known that there are none,
// ShapeError at the call); or those that end before each of the positions, which negative ones
// count from the end.
std::vector<Tensor> split(const Operand& x, std::int64_t sections, int axis = 0);
std::vector<Tensor> split(const Operand& x, const std::vector<std::int64_t>& positions,
                          int axis = 0);
// The first parts are one element longer where the axis is no multiple.
std::vector<Tensor> array_split(const Operand& x, std::int64_t sections, int axis = 0);
// Joined along axis 1 (vectors: 0), 0, 2, after atleast_1d, atleast_2d, atleast_3d; vectors as the
// columns of a matrix.
Tensor hstack(const std::vector<Tensor>& tensors,
              const Operand::Location& location = Operand::Location::current());
Tensor vstack(const std::vector<Tensor>& tensors,
              const Operand::Location& location = Operand::Location::current());
Tensor dstack(const std::vector<Tensor>& tensors,
              const Operand::Location& location = Operand::Location::current());
Tensor column_stack(const std::vector<Tensor>& tensors,
                    const Operand::Location& location = Operand::Location::current());

// ---- Diagonals and triangles, of the last two axes where not said otherwise; diagonal k begins in
// ---- column k, or for k < 0 in row -k

// Along two axes, which leave the shape; the diagonal is the last axis.
Tensor diagonal(const Operand& x, std::int64_t k = 0, int axis1 = 0, int axis2 = 1);
// Of a matrix its diagonal, of a vector the matrix that has it, zeros elsewhere. ShapeError for
// another rank.
Tensor diag(const Operand& x, std::int64_t k = 0);
// The sum of the diagonal: as `sum`.
Tensor trace(const Operand& x, std::int64_t k = 0, int axis1 = 0, int axis2 = 1);
// The elements on and below (above) the diagonal, zeros elsewhere.
Tensor tril(const Operand& x, std::int64_t k = 0);
Tensor triu(const Operand& x, std::int64_t k = 0);
// Ones on and below the diagonal; on the diagonal. (n, m), m is n by default.
Tensor tri(const Dim& n, std::optional<Dim> m = std::nullopt, std::int64_t k = 0, DType dtype = f32,
           const Operand::Location& location = Operand::Location::current());
Tensor eye(const Dim& n, std::optional<Dim> m = std::nullopt, std::int64_t k = 0, DType dtype = f32,
           const Operand::Location& location = Operand::Location::current());
Tensor identity(const Dim& n, DType dtype = f32,
                const Operand::Location& location = Operand::Location::current());

// ---- Sequences

// `count` numbers from start to stop, evenly spaced, with stop the last one, or without it. Scalars
// (ShapeError), floating point: integers are taken as f32. Gradients by both.
Tensor linspace(const Operand& start, const Operand& stop, const Dim& count = 50,
                bool endpoint = true);
// base to the power of each of these.
Tensor logspace(const Operand& start, const Operand& stop, const Dim& count = 50,
                bool endpoint = true, const Operand& base = 10);
// The same factor from each to the next; start and stop above 0.
Tensor geomspace(const Operand& start, const Operand& stop, const Dim& count = 50,
                 bool endpoint = true);
// For vectors of sizes n, m, ... their elements at each point of the grid: as many tensors of shape
// (m, n, ...), or (n, m, ...) where axis k runs along vector k (NumPy's indexing="ij").
std::vector<Tensor> meshgrid(const std::vector<Tensor>& vectors, bool in_order = false,
                             const Operand::Location& location = Operand::Location::current());

}  // namespace kroton
