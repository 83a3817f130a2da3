// Sums of products over windows, without padding: what convolutions, their transposes and their
// gradients of any order are made of.
#include "compiler/ops/convolution.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "compiler/ir/at.h"
#include "compiler/ir/user_function.h"
#include "compiler/ops/draw.h"
#include "compiler/ops/records.h"
#include "compiler/ops/reference_loops.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"

namespace kroton {

using ops::Accepts;
using ops::Windows;
using Tensors = std::vector<Tensor>;

namespace {

// Axes before the spatial ones, of all three tensors: two, or three where there are groups.
std::size_t front_axes(std::size_t rank, const Windows& windows) { return rank - windows.axes(); }
std::size_t front_axes(const Tensor& x, const Windows& windows) {
  return front_axes(at(x.rank()), windows);
}

TensorType convolution_type(TypeContext& context) {
  ops::require(context, Accepts::floating);
  const TensorType& x = context.input(0);
  const TensorType& w = context.input(1);
  const Windows windows = ops::windows_of(context.attributes());
  if (x.dtype != w.dtype) context.fail_type("dtypes differ");
  const int spatial = static_cast<int>(windows.axes());
  if (x.rank() != w.rank() || x.rank() < spatial + 2 || x.rank() > spatial + 3) {
    context.fail_shape("ranks differ");
  }
  const std::size_t front = front_axes(at(x.rank()), windows);
  TensorType type{x.dtype, {x.shape[0]}};
  if (front == 3) {
    type.shape.push_back(context.equal(x.shape[1], w.shape[0], "the groups differ"));
  }
  context.equal(x.shape[front - 1], w.shape[front - 1], "the channels differ");
  type.shape.push_back(w.shape[front - 2]);
  for (std::size_t k = 0; k < windows.axes(); ++k) {
    const Dim& size = x.shape[front + k];
    const Dim reach = ops::reach(w.shape[front + k], windows.dilations[k]);
    // Of x that is one position shorter than the window there is no result, as in the gradient by
    // a picture along which a stride passes over all phases but one.
    if (!provably_at_least(size, reach - Dim(1))) {
      context.require_equal(minimum(size - reach + Dim(1), 0), 0,
                            user_function(convolution_op) +
                                ": the window reaches over %0 positions of spatial axis " +
                                std::to_string(k) + ", which has %1 with its padding",
                            {reach, size});
    }
    type.shape.push_back(floor_div(size - reach, windows.strides[k]) + Dim(1));
  }
  return type;
}

ContractionRoles convolution_roles(const Attributes& attributes, const Dims&, const Dims& w) {
  const Windows windows = ops::windows_of(attributes);
  ContractionRoles roles;
  const std::size_t front = front_axes(w.size(), windows);
  if (front == 3) roles.batch = {1};
  roles.rows = {0};
  roles.columns = {front - 1};
  roles.inner = {w[front - 1]};
  for (std::size_t axis = front; axis < w.size(); ++axis) {
    const std::size_t k = axis - front;
    roles.windows.push_back({axis, roles.inner.size(), windows.strides[k], windows.dilations[k]});
    roles.rows.push_back(axis);
    roles.inner.push_back(w[axis]);
  }
  return roles;
}

Factors convolution_factors(const Attributes& attributes, const Index& result, const Index& inner) {
  const Windows windows = ops::windows_of(attributes);
  const std::size_t front = front_axes(result.size(), windows);
  Factors factors;
  factors[0].push_back(result[0]);
  if (front == 3) factors[0].push_back(result[1]);
  factors[1] = Index(result.begin() + 1, result.begin() + static_cast<std::ptrdiff_t>(front));
  for (Index& index : factors) index.push_back(inner[0]);
  for (std::size_t k = 0; k < windows.axes(); ++k) {
    factors[0].push_back(result[front + k] * loop::integer(windows.strides[k]) +
                         inner[k + 1] * loop::integer(windows.dilations[k]));
    factors[1].push_back(inner[k + 1]);
  }
  return factors;
}

void convolution_reference(ReferenceContext& c) {
  const ReferenceValue& x = *c.inputs[0];
  const ReferenceValue& w = *c.inputs[1];
  const Windows windows = ops::windows_of(c.attributes);
  const std::size_t front = front_axes(w.shape.size(), windows);
  const auto channels = static_cast<std::ptrdiff_t>(front) - 1;
  const ops::Position inner(w.shape.begin() + channels, w.shape.end());
  ops::Position of_x(x.shape.size()), of_w(w.shape.size());
  const std::size_t channel = front - 1;
  std::size_t next = 0;
  ops::for_each_position(c.output.shape, [&](const ops::Position& y) {
    std::copy(y.begin(), y.begin() + channels, of_x.begin());
    std::copy(y.begin() + 1, y.begin() + channels + 1, of_w.begin());
    ops::CompensatedSum total;
    ops::for_each_position(inner, [&](const ops::Position& k) {
      of_x[channel] = of_w[channel] = k[0];
      for (std::size_t i = 0; i < windows.axes(); ++i) {
        of_x[front + i] = y[front + i] * windows.strides[i] + k[i + 1] * windows.dilations[i];
        of_w[front + i] = k[i + 1];
      }
      total.add(x.data[static_cast<std::size_t>(ops::offset_of(x.shape, of_x))] *
                w.data[static_cast<std::size_t>(ops::offset_of(w.shape, of_w))]);
    });
    c.output.data[next++] = total.value();
  });
}

Tensor part(const Tensor& x, const Dims& starts, const Dims& sizes,
            const std::vector<std::int64_t>& steps) {
  const bool is_all =
      sizes == x.shape() &&
      std::all_of(starts.begin(), starts.end(), [](const Dim& d) { return d.is_constant(0); }) &&
      std::all_of(steps.begin(), steps.end(), [](auto step) { return step == 1; });
  return is_all ? x : ops::strided_slice(x, starts, sizes, steps);
}

// The gradient by the filters is a convolution too: of x with the gradient of y as filters, which
// are dilated by the stride, in which the batch takes the place of the channels.
Tensor filter_gradient(const Tensor& x, const Tensor& g, const Windows& windows,
                       const Dims& shape) {
  const std::size_t front = front_axes(x, windows);
  const int channels = static_cast<int>(front) - 1;
  Dims used = x.shape();  // some of x may lie past the last window
  for (std::size_t k = 0; k < windows.axes(); ++k) {
    const std::size_t axis = front + k;
    used[axis] = ops::reach(g.shape()[axis], windows.strides[k]) +
                 ops::reach(shape[axis], windows.dilations[k]) - Dim(1);
  }
  const std::vector<std::int64_t> ones(used.size(), 1);
  const Tensor seen = part(x, Dims(used.size(), Dim(0)), used, ones);
  const Tensor y = ops::convolution(swapaxes(seen, 0, channels), ops::move_axis(g, 0, channels),
                                    {windows.dilations, windows.strides});
  return ops::move_axis(y, 0, channels);
}

Tensors convolution_vjp(const Tensor& y, const Tensor& g) {
  const Tensor& x = y.node().inputs[0];
  const Tensor& w = y.node().inputs[1];
  const Windows windows = ops::windows_of(y.node().attributes);
  const Dims sizes(x.shape().end() - static_cast<std::ptrdiff_t>(windows.axes()), x.shape().end());
  return {ops::input_gradient(g, w, windows, Dims(sizes.size(), Dim(0)), sizes),
          filter_gradient(x, g, windows, w.shape())};
}

// Pictures of all rows are one batch; filters of all rows are so many more filters; and where both
// have rows, they are so many more groups.
Tensor convolution_batch(std::span<const Tensor> operands, const std::vector<bool>& mapped,
                         const Attributes& attributes, const Dim& count) {
  const Windows windows = ops::windows_of(attributes);
  // Axis 0 in front of axis `to` and merged with it.
  const auto merged = [](const Tensor& x, int to) {
    const Tensor moved = ops::move_axis(x, 0, to);
    Dims shape = moved.shape();
    shape[at(to)] = shape[at(to)] * shape[at(to) + 1];
    shape.erase(shape.begin() + to + 1);
    return reshape(moved, shape);
  };
  const auto split = [&](const Tensor& y, int axis, const Dim& size) {
    return ops::move_axis(reshape(y, ops::replace_axis(y.shape(), axis, {count, size})), axis, 0);
  };
  const Tensor& x = operands[0];
  const Tensor& w = operands[1];
  if (mapped[0] && mapped[1]) {
    const bool has_groups = front_axes(x, windows) == 4;
    if (!has_groups) {
      return ops::move_axis(ops::convolution(ops::move_axis(x, 0, 1), w, windows), 1, 0);
    }
    return split(ops::convolution(merged(x, 1), merged(w, 0), windows), 1, x.shape(2));
  }
  if (mapped[0]) return split(ops::convolution(merged(x, 0), w, windows), 0, x.shape(1));
  const int filters = static_cast<int>(front_axes(x, windows)) - 2;
  return split(ops::convolution(x, merged(w, filters), windows), filters + 1, w.shape(filters + 1));
}

std::vector<Sample> convolution_samples() {
  std::vector<Sample> samples;
  const auto add = [&](const ops::HostShape& x, const ops::HostShape& w, Windows windows) {
    for (const DType dtype : ops::dtypes_of(ops::floating)) {
      samples.push_back({{ops::spread(dtype, x, -2, 2, 1), ops::spread(dtype, w, -2, 2, 2)},
                         [windows](std::span<const Tensor> in) {
                           return ops::convolution(in[0], in[1], windows);
                         }});
    }
  };
  // batch, in, spatial...; out, in, window...
  add({1, 1, 1}, {1, 1, 1}, {{1}, {1}});
  add({3, 2, 17}, {5, 2, 3}, {{1}, {1}});
  add({2, 3, 7, 5}, {4, 3, 3, 2}, {{2, 1}, {1, 2}});
  // With groups: batch, groups, in, spatial...; groups, out, in, window...
  add({1, 1, 1, 1}, {1, 1, 1, 1}, {{1}, {1}});
  add({0, 1, 3, 5}, {1, 2, 3, 3}, {{1}, {1}});
  add({2, 1, 0, 5}, {1, 2, 0, 3}, {{1}, {1}});
  add({3, 1, 2, 17}, {1, 5, 2, 3}, {{1}, {1}});
  add({2, 3, 1, 17}, {3, 2, 1, 4}, {{3}, {2}});
  add({2, 1, 3, 7, 5}, {1, 4, 3, 3, 2}, {{1, 1}, {1, 1}});
  add({1, 2, 2, 6, 9}, {2, 3, 2, 2, 3}, {{2, 3}, {1, 2}});
  add({1, 1, 2, 4, 3, 5}, {1, 2, 2, 2, 1, 3}, {{1, 2, 1}, {2, 1, 1}});
  return samples;
}

void draw_transpose(ops::Draw& d, ops::Slot x, int axes) {
  const TensorType type = d[x].type();
  Dims filters = {type.shape[1], Dim(1 + d.below(3))};
  for (int axis = 0; axis < axes; ++axis) filters.push_back(Dim(1 + d.below(3)));
  ConvTransposeOptions options;
  options.stride = ops::random_numbers(d, axes, 3);
  options.padding = d.one_in(2) ? Padding::same : Padding::valid;
  options.dilation = ops::random_numbers(d, axes, 2);
  options.flip = d.one_in(4);
  const ops::Slot w = d.of_type({type.dtype, filters});
  if (axes == 1) {
    d.call("conv_transpose1d", conv_transpose1d, x, w, std::move(options));
  } else {
    d.call("conv_transpose2d", conv_transpose2d, x, w, std::move(options));
  }
}

// Pictures among the operands, and filters for them that fit whatever their free sizes are.
void draw_convolution(ops::Draw& d) {
  const ops::Slot x = d.operand(ops::floating, 3, 4);
  const TensorType& type = d[x].type();
  const int axes = type.rank() - 2;
  const bool has_positions = std::all_of(type.shape.begin() + 2, type.shape.end(),
                                         [&](const Dim& size) { return d.value(size) > 0; });
  if (has_positions && d.one_in(4)) return draw_transpose(d, x, axes);
  ConvolutionOptions options;
  Dims filters = {Dim(1 + d.below(3)), type.shape[1]};
  for (int axis = 0; axis < axes; ++axis) filters.push_back(Dim(1 + d.below(3)));
  if (type.shape[1].is_constant() && d.one_in(3)) {
    filters[0] = filters[0] * type.shape[1];
    filters[1] = 1;
    options.groups = type.shape[1].constant();
    if (options.groups == 0) return draw_convolution(d);
  }
  options.stride = ops::random_numbers(d, axes, 3);
  options.dilation = ops::random_numbers(d, axes, 2);
  options.padding = d.one_in(2) ? Padding(Padding::full) : Padding(4 + d.below(2));
  options.flip = d.one_in(4);
  const ops::Slot w = d.of_type({type.dtype, filters});
  if (axes == 1) {
    d.call("conv1d", conv1d, x, w, std::move(options));
  } else {
    d.call("conv2d", conv2d, x, w, std::move(options));
  }
}

}  // namespace

// y[n, g, o, p] = Σ over c, k: x[n, g, c, p * stride + k * dilation] * w[g, o, c, k], floating
// point only: (n, g, c, s...) * (g, o, c, k...) -> (n, g, o, p...) with one to three spatial axes;
// all three may be without the axis of the groups.
// attributes.integers: the strides, then the dilations.
// vjp: dx and dw are convolutions, too
constinit const OpRecord convolution_op = {.name = "convolution",
                                           .kind = OpKind::contraction,
                                           .arity = 2,
                                           .linear = Linear::each,
                                           .infer = convolution_type,
                                           .vjp = convolution_vjp,
                                           .roles = convolution_roles,
                                           .factors = convolution_factors,
                                           .reference = convolution_reference,
                                           .batch = convolution_batch,
                                           .draw = draw_convolution,
                                           .samples = convolution_samples};

namespace ops {

Dim reach(const Dim& window, std::int64_t dilation) {
  return (window - Dim(1)) * Dim(dilation) + Dim(1);
}

Tensor with_room_for_window(const Tensor& x, const char* op, const std::vector<Tensor>& operands,
                            int k, const Dim& reach, const Dim& size, const Dim& padded) {
  return size_check(x, op, operands, padded, reach,
                    "the window reaches over %1 positions of spatial axis " + std::to_string(k) +
                        ", which has %0" + (padded == size ? "" : " with its padding"));
}

Windows windows_of(const Attributes& attributes) {
  const auto& numbers = attributes.integers;
  const auto half = numbers.begin() + static_cast<std::ptrdiff_t>(numbers.size() / 2);
  return {{numbers.begin(), half}, {half, numbers.end()}};
}

Attributes attributes_of(const Windows& windows) {
  Attributes attributes;
  attributes.integers = windows.strides;
  attributes.integers.insert(attributes.integers.end(), windows.dilations.begin(),
                             windows.dilations.end());
  return attributes;
}

Tensor convolution(const Tensor& x, const Tensor& w, const Windows& windows) {
  return apply(convolution_op, {x, w}, attributes_of(windows));
}

Tensor extended(const Tensor& x, int axis, const Dim& start, const Dim& size) {
  const Dim& length = x.shape()[at(axis)];
  const auto positive = [](const Dim& d) {
    return provably_at_least(0, d) ? Dim(0) : maximum(d, 0);
  };
  const Dim before = minimum(positive(Dim(0) - start), size);
  const Dim after = minimum(positive(start + size - length), size - before);
  Dims starts(x.shape().size(), Dim(0)), sizes = x.shape();
  starts[at(axis)] = positive(start);
  sizes[at(axis)] = size - before - after;
  const Tensor inside = part(x, starts, sizes, std::vector<std::int64_t>(sizes.size(), 1));
  if (before.is_constant(0) && after.is_constant(0)) return inside;
  std::vector<std::pair<Dim, Dim>> widths(sizes.size());
  widths[at(axis)] = {before, after};
  return pad(inside, widths);
}

namespace {

// The positions start + r, start + r + stride, ... of one axis of x, and what of a filter meets
// them: every step-th element from `first` on, `count` of them. Position number q gets
// filter[first + m * step] * g[q + offset - m * dilation].
struct Phase {
  std::int64_t first = 0, step = 1;
  Dim count;
  Dim offset;
  std::int64_t dilation = 1;
};

// None where no element of the filter meets the positions.
std::optional<Phase> phase_of(const Dim& window, std::int64_t stride, std::int64_t dilation,
                              const Dim& start, std::int64_t r) {
  Phase phase;
  if (stride == 1) {
    phase.count = window;
    phase.offset = start;
    phase.dilation = dilation;
    return phase;
  }
  const std::int64_t common = std::gcd(stride, dilation);
  const std::int64_t position = start.constant() + r;
  phase.step = stride / common;
  phase.dilation = dilation / common;
  while (phase.first < phase.step && (position - phase.first * dilation) % stride != 0) {
    ++phase.first;
  }
  if (phase.first == phase.step) return std::nullopt;
  phase.count = ceil_div(window - Dim(phase.first), phase.step);
  if (phase.count.is_constant() && phase.count.constant() <= 0) return std::nullopt;
  phase.offset = Dim((position - phase.first * dilation) / stride);
  return phase;
}

}  // namespace

// The positions of x along an axis fall into as many classes as the stride has steps, each of which
// meets a part of the filter only: dx at the positions of a class is a convolution of g, extended
// by zeros, with that part, turned around. No product has a factor that stands for a gap.
Tensor input_gradient(const Tensor& g, const Tensor& w, const Windows& windows, const Dims& starts,
                      const Dims& sizes) {
  const std::size_t front = front_axes(g, windows);
  const int channels = static_cast<int>(front) - 1;
  Dims shape(g.shape().begin(), g.shape().begin() + channels);
  shape.push_back(w.shape()[front - 1]);
  shape.insert(shape.end(), sizes.begin(), sizes.end());
  const Tensor filters = swapaxes(w, channels - 1, channels);
  std::int64_t classes = 1;
  for (const std::int64_t stride : windows.strides) classes *= stride;
  Tensor total;
  for (std::int64_t number = 0; number < classes; ++number) {
    std::vector<std::int64_t> first(shape.size(), 0), steps(shape.size(), 1);
    Windows inside{std::vector<std::int64_t>(windows.axes(), 1), windows.dilations};
    Dims filter_starts(shape.size(), Dim(0)), filter_sizes = filters.shape();
    std::vector<std::int64_t> filter_steps(shape.size(), 1);
    Tensor seen = g;
    bool is_met = true;
    std::int64_t rest = number;
    for (std::size_t k = 0; k < windows.axes() && is_met; ++k) {
      const std::size_t axis = front + k;
      const std::int64_t stride = windows.strides[k];
      first[axis] = rest % stride;
      steps[axis] = stride;
      rest /= stride;
      const Dim positions =
          stride == 1 ? sizes[k] : ceil_div(maximum(sizes[k] - Dim(first[axis]), 0), stride);
      const std::optional<Phase> phase =
          phase_of(w.shape()[axis], stride, windows.dilations[k], starts[k], first[axis]);
      is_met = phase.has_value();
      if (!is_met) break;
      const Dim last = phase->count - Dim(1);
      filter_starts[axis] = Dim(phase->first) + last * Dim(phase->step);
      filter_sizes[axis] = phase->count;
      filter_steps[axis] = -phase->step;
      inside.dilations[k] = phase->dilation;
      const Dim before = last * Dim(phase->dilation);
      seen = extended(seen, static_cast<int>(axis), phase->offset - before, positions + before);
    }
    if (!is_met) continue;
    const Tensor of_class = convolution(
        seen, strided_slice(filters, filter_starts, filter_sizes, filter_steps), inside);
    if (classes == 1) return of_class;
    const Tensor placed = unslice(of_class, Dims(first.begin(), first.end()), shape, steps);
    total = total ? total + placed : placed;
  }
  return total ? total : broadcast_to(zeros({}, g.dtype()), shape);
}

}  // namespace ops

}  // namespace kroton
