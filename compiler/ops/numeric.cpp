// Differences, integrals, interpolation, products of vectors: compositions.
#include <kroton/convolution.h>
#include <kroton/numeric.h>
#include <kroton/rearrange.h>
#include <kroton/sort.h>

#include <limits>

#include "compiler/ir/at.h"
#include "compiler/ops/pieces.h"

namespace kroton {

using Tensors = std::vector<Tensor>;

namespace {

// The elements along the axis from `first` on, but for the last `left_out` ones.
Tensor part(const Tensor& x, int axis, std::int64_t first, std::int64_t left_out) {
  return ops::run_of(x, axis, first, ops::not_negative(x.shape(axis) - Dim(first) - Dim(left_out)));
}

// Values and the distances between neighbours, which broadcast: a scalar, or one less than values.
struct Points {
  Tensor y, steps;
  int axis = 0;
};

Points points_of(const char* op, const Operand& y, const Operand& spacing, int axis) {
  Tensors both = ops::promoted(y, spacing);
  for (Tensor& tensor : both) tensor = ops::floating(tensor);
  Points result{both[0], both[1], ops::axis_of(op, both[0], axis)};
  if (both[1].rank() == 0) return result;
  if (both[1].rank() != 1) {
    ops::fail_shape(OpRecord{.name = op}, both, "the spacing must be a scalar or a vector");
  }
  const Dim &points = both[0].shape(result.axis), &given = both[1].shape(0);
  if (points.is_constant() && given.is_constant() && points != given) {
    ops::fail_shape(OpRecord{.name = op}, both, "there are not as many coordinates as points");
  }
  Dims shape(at(both[0].rank()), Dim(1));
  shape[at(result.axis)] = given;
  const Tensor coordinates = reshape(both[1], shape);
  result.steps = part(coordinates, result.axis, 1, 0) - part(coordinates, result.axis, 0, 1);
  return result;
}

// The areas between neighbours.
Tensor trapezoids(const Points& p) {
  return (part(p.y, p.axis, 1, 0) + part(p.y, p.axis, 0, 1)) * p.steps * 0.5;
}

}  // namespace

Tensor diff(const Operand& x, int n, int axis) {
  const LineScope scope(x.line());
  if (n < 0) ops::fail_value("diff", "n is " + std::to_string(n));
  Tensor result = x.tensor();
  const int along = ops::axis_of("diff", result, axis);
  for (int k = 0; k < n; ++k) {
    const Tensor next = part(result, along, 1, 0), here = part(result, along, 0, 1);
    result = result.dtype() == DType::boolean ? Tensor(ne(next, here)) : next - here;
  }
  return result;
}

Tensor gradient(const Operand& x, const Operand& spacing, int axis) {
  const LineScope scope(x.line());
  Points p = points_of("gradient", x, spacing, axis);
  p.y = ops::size_check(p.y, "gradient", {p.y}, p.y.shape(p.axis), 2,
                        "axis " + std::to_string(p.axis) + " has %0 elements, fewer than %1");
  const Tensor slopes = (part(p.y, p.axis, 1, 0) - part(p.y, p.axis, 0, 1)) / p.steps;
  const Dim count = p.y.shape(p.axis) - 1;
  const auto slope_at = [&](const Dim& place) { return ops::run_of(slopes, p.axis, place, 1); };
  const Tensor before = part(slopes, p.axis, 0, 1), behind = part(slopes, p.axis, 1, 0);
  Tensor inside;
  if (p.steps.rank() == 0) {
    inside = (before + behind) * 0.5;
  } else {
    // The slope of the parabola through three points.
    const Tensor left = part(p.steps, p.axis, 0, 1), right = part(p.steps, p.axis, 1, 0);
    inside = (before * right + behind * left) / (left + right);
  }
  return concatenate({slope_at(0), inside, slope_at(count - 1)}, p.axis);
}

Tensor trapezoid(const Operand& y, const Operand& spacing, int axis) {
  const LineScope scope(y.line());
  const Points p = points_of("trapezoid", y, spacing, axis);
  return sum(trapezoids(p), p.axis);
}

Tensor cumulative_trapezoid(const Operand& y, const Operand& spacing, int axis) {
  const LineScope scope(y.line());
  const Points p = points_of("cumulative_trapezoid", y, spacing, axis);
  return cumsum(trapezoids(p), p.axis);
}

Tensor interp(const Operand& x, const Operand& xp, const Operand& fp,
              const std::optional<double>& left, const std::optional<double>& right) {
  const LineScope scope(x.line());
  const Tensors all = ops::promoted(Tensors{x.tensor(), xp.tensor(), fp.tensor()});
  const OpRecord op{.name = "interp"};
  if (!is_float(all[0].dtype())) ops::fail_type(op, all, "takes floating point only");
  if (all[1].rank() != 1 || all[2].rank() != 1) {
    ops::fail_shape(op, all, "the points must be two vectors");
  }
  const Tensor &at_x = all[0], &ys = all[2];
  const Dim &size = all[1].shape(0), &values = ys.shape(0);
  const char* const differ = "there are %0 and %1 points";
  Tensor xs = ops::size_check(all[1], "interp", all, size, 1, "there are no points");
  xs = ops::size_check(xs, "interp", all, size, values, differ);
  xs = ops::size_check(xs, "interp", all, values, size, differ);
  const Tensor last = size_of_dim(size) - 1;
  const Tensor found = searchsorted(xs, stop_gradient(at_x), true);
  const Tensor low = minimum(maximum(found - 1, 0), maximum(last - 1, 0));
  const Tensor high = minimum(low + 1, last);
  const Tensor x0 = take(xs, low), x1 = take(xs, high), y0 = take(ys, low), y1 = take(ys, high);
  const Tensor width = x1 - x0;
  const Tensor is_point = eq(width, 0);
  const Tensor slope = where(is_point, 0, (y1 - y0) / where(is_point, 1, width));
  const Tensor inside = slope * (at_x - x0) + y0;
  const auto or_given = [&](const std::optional<double>& given, const Tensor& place) {
    return given ? Operand(*given).tensor(ys.dtype()) : take(ys, place);
  };
  const Tensor first = zeros({}, DType::i64);
  const Tensor value = where(lt(at_x, take(xs, first)), or_given(left, first),
                             where(gt(at_x, take(xs, last)), or_given(right, last),
                                   where(eq(at_x, take(xs, last)), take(ys, last), inside)));
  return where(ne(at_x, at_x), at_x, value);
}

Tensor cross(const Operand& a, const Operand& b, int axis) {
  const LineScope scope(a.line());
  const OpRecord op{.name = "cross"};
  Tensors both = ops::promoted(a, b);
  if (both[0].rank() == 0 || both[1].rank() == 0) ops::fail_shape(op, both, "takes vectors");
  std::vector<std::array<Tensor, 3>> parts;
  int along = 0;
  for (Tensor& tensor : both) {
    along = ops::resolve_axis(axis, tensor.rank(), "cross");
    const Dim& size = tensor.shape(along);
    if (size.is_constant() && !size.is_constant(3)) {
      ops::fail_shape(op, both, "vectors of 3 elements are taken");
    }
    // A free size is held to 3 by that.
    Dims shape = tensor.shape();
    shape[at(along)] = 3;
    tensor = ops::move_axis(reshape(tensor, shape), along, tensor.rank() - 1);
    std::array<Tensor, 3> elements;
    for (std::int64_t k = 0; k < 3; ++k) {
      elements[static_cast<std::size_t>(k)] =
          squeeze(part(tensor, tensor.rank() - 1, k, 2 - k), tensor.rank() - 1);
    }
    parts.push_back(elements);
  }
  const auto& [x, y] = std::tie(parts[0], parts[1]);
  const Tensor result =
      stack({x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]}, -1);
  return ops::move_axis(result, result.rank() - 1, ops::resolve_axis(axis, result.rank(), "cross"));
}

namespace {

// All sums of products, of which the mode gives a part. Where v is the longer vector, NumPy
// exchanges both; of correlations the result is then read backwards.
Tensor slid(const char* name, const Operand& a, const Operand& v, ConvolveMode mode,
            bool correlates) {
  const OpRecord op{.name = name};
  const Tensors both = ops::promoted(a, v);
  if (both[0].rank() != 1 || both[1].rank() != 1) ops::fail_shape(op, both, "takes two vectors");
  if (!is_float(both[0].dtype())) ops::fail_type(op, both, "takes floating point only");
  Tensors checked;
  for (const Tensor& tensor : both) {
    checked.push_back(ops::size_check(tensor, name, both, tensor.shape(0), 1, "a vector is empty"));
  }
  const Dim n = checked[0].shape(0), m = checked[1].shape(0);
  const auto as_signal = [](const Tensor& t) { return reshape(t, {1, 1, t.shape(0)}); };
  const Tensor y = flatten(conv1d(as_signal(checked[0]), as_signal(checked[1]),
                                  {.padding = Padding::full, .flip = !correlates}));
  const Dim shorter = minimum(n, m), longer = maximum(n, m);
  if (mode == ConvolveMode::full) return y;
  Dim first = shorter - 1, count = longer - shorter + 1;
  if (mode == ConvolveMode::same) {
    const Dim half = floor_div(shorter - 1, 2);
    const Dim is_exchanged = minimum(maximum(m - n, 0), 1);
    first = correlates ? half + is_exchanged * (shorter - 1 - half * Dim(2)) : half;
    count = longer;
  }
  return ops::strided_slice(y, {first}, {count}, {1});
}

}  // namespace

Tensor convolve(const Operand& a, const Operand& v, ConvolveMode mode) {
  const LineScope scope(a.line());
  return slid("convolve", a, v, mode, false);
}

Tensor correlate(const Operand& a, const Operand& v, ConvolveMode mode) {
  const LineScope scope(a.line());
  return slid("correlate", a, v, mode, true);
}

}  // namespace kroton
