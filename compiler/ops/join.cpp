// Several operands written into one result, or one operand written into zeros.
#include <algorithm>

#include "compiler/ir/at.h"
#include "compiler/ops/draw.h"
#include "compiler/ops/pieces.h"
#include "compiler/ops/records.h"
#include "compiler/ops/reference_loops.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"

namespace kroton {

using Tensors = std::vector<Tensor>;

namespace {

// ---- concatenate

TensorType concatenate_type(TypeContext& context) {
  TensorType type = context.input(0);
  const int axis = context.attributes().axes[0];
  for (int k = 1; k < context.count(); ++k) {
    const TensorType& other = context.input(k);
    if (other.dtype != type.dtype) {
      context.fail_type("dtypes differ");
    }
    if (other.rank() != type.rank()) {
      context.fail_shape("ranks differ");
    }
    for (int i = 0; i < type.rank(); ++i) {
      Dim& size = type.shape[at(i)];
      size = i == axis ? size + other.shape[at(i)]
                       : context.equal(size, other.shape[at(i)], ops::sizes_differ(i, type.rank()));
    }
  }
  return type;
}

Tensors concatenate_vjp(const Tensor& y, const Tensor& g) {
  const int axis = y.node().attributes.axes[0];
  Dims starts(at(y.rank()), Dim(0));
  Tensors result;
  for (const Tensor& x : y.node().inputs) {
    result.push_back(
        ops::strided_slice(g, starts, x.shape(), std::vector<std::int64_t>(at(y.rank()), 1)));
    starts[at(axis)] = starts[at(axis)] + x.shape(axis);
  }
  return result;
}

// One of the operands from `first` to before `last`, as the position along the axis tells; the
// first one begins at `start`.
loop::Expr joined_value(PointContext& context, const Index& index, int first, int last,
                        const Dim& start) {
  const std::size_t axis = at(context.attributes().axes[0]);
  if (last - first == 1) {
    Index inside = index;
    inside[axis] = inside[axis] - loop::size(start);
    return context.input(first, inside);
  }
  const int middle = first + (last - first) / 2;
  Dim border = start;
  for (int k = first; k < middle; ++k) border = border + context.input_type(k).shape[axis];
  return context.choose(
      loop::binary(loop::Op::lt, index[axis], loop::size(border)),
      [&] { return joined_value(context, index, first, middle, start); },
      [&] { return joined_value(context, index, middle, last, border); });
}

loop::Expr concatenate_at(PointContext& context, const Index& index) {
  return joined_value(context, index, 0, context.input_count(), 0);
}

void concatenate_reference(ReferenceContext& c) {
  const std::size_t axis = at(c.attributes.axes[0]);
  std::int64_t offset = 0;
  for (const ReferenceValue* x : c.inputs) {
    std::size_t next = 0;
    ops::for_each_position(x->shape, [&](ops::Position position) {
      position[axis] += offset;
      c.output.data[static_cast<std::size_t>(ops::offset_of(c.output.shape, position))] =
          x->data[next++];
    });
    offset += x->shape[axis];
  }
}

std::vector<Sample> concatenate_samples() {
  std::vector<Sample> samples;
  for (DType dtype : ops::dtypes_of(ops::any_dtype)) {
    const auto join = [&](const std::vector<ops::HostShape>& shapes, int axis) {
      Sample sample;
      for (const ops::HostShape& shape : shapes) {
        sample.inputs.push_back(
            ops::spread(dtype, shape, -2, 2, static_cast<int>(sample.inputs.size())));
      }
      sample.apply = [axis](std::span<const Tensor> in) {
        return concatenate(Tensors(in.begin(), in.end()), axis);
      };
      sample.differentiable = is_float(dtype);
      samples.push_back(std::move(sample));
    };
    join({{3}}, 0);
    join({{3}, {17}}, 0);
    join({{1}, {0}, {3}}, 0);
    join({{3, 17}, {3, 1}}, 1);
    join({{2, 3, 5}, {2, 1, 5}, {2, 3, 5}}, -2);
  }
  return samples;
}

// ---- unslice

// Every position written to lies in [0, size). The slice that this is the gradient of requires the
// same, but need not be part of the function: the gradient of x[6] does not read x[6].
void require_inside(TypeContext& context, int axis, const Dim& size) {
  const Dim& count = context.input(0).shape[at(axis)];
  if (count.is_constant(0)) return;
  const Dim& start = context.attributes().dims[at(axis)];
  const std::int64_t step = context.attributes().integers[at(axis)];
  const Dim end = start + Dim(step) * (count - Dim(1));
  const Dim any = minimum(count, 1);
  const auto require = [&](const Dim& larger, const Dim& smaller, const Dim& position) {
    if (provably_at_least(larger, smaller)) return;
    context.require_equal(any * maximum(smaller - larger, 0), 0,
                          "pad, or the gradient of a slice: position %0 lies outside of axis " +
                              std::to_string(axis) + ", whose size is %1",
                          {position, size});
  };
  require(step > 0 ? start : end, 0, step > 0 ? start : end);
  require(size - Dim(1), step > 0 ? end : start, step > 0 ? end : start);
}

TensorType unslice_type(TypeContext& context) {
  const TensorType& g = context.input(0);
  const Attributes& attributes = context.attributes();
  if (attributes.dims.size() != 2 * at(g.rank()) || attributes.integers.size() != at(g.rank())) {
    context.fail_shape("the number of bounds is not the rank of x");
  }
  TensorType type{g.dtype, Dims(attributes.dims.begin() + g.rank(), attributes.dims.end())};
  for (int axis = 0; axis < g.rank(); ++axis) {
    require_inside(context, axis, type.shape[at(axis)]);
  }
  return type;
}

loop::Expr unslice_at(PointContext& context, const Index& index) {
  using loop::Op;
  const Attributes& attributes = context.attributes();
  Index inside;
  loop::Expr is_inside = loop::boolean_constant(true);
  const auto require = [&](const loop::Expr& condition) {
    is_inside = loop::binary(Op::logical_and, is_inside, condition);
  };
  for (std::size_t axis = 0; axis < index.size(); ++axis) {
    const Dim& start = attributes.dims[axis];
    const Dim& count = context.input_type(0).shape[axis];
    const std::int64_t step = attributes.integers[axis];
    const bool is_all = start.is_constant(0) && step == 1 && count == context.type().shape[axis];
    if (is_all) {
      inside.push_back(index[axis]);
      continue;
    }
    const std::int64_t width = step < 0 ? -step : step;
    const loop::Expr from = loop::size(start);
    const loop::Expr distance = step < 0 ? from - index[axis] : index[axis] - from;
    // Compared with the index alone, so that a loop over it can be split there.
    const Dim reach = count * Dim(width);
    if (step < 0) {
      require(loop::binary(Op::le, index[axis], from));
      require(loop::binary(Op::lt, loop::size(start - reach), index[axis]));
    } else {
      require(loop::binary(Op::le, from, index[axis]));
      require(loop::binary(Op::lt, index[axis], loop::size(start + reach)));
    }
    if (width == 1) {
      inside.push_back(distance);
      continue;
    }
    require(loop::binary(Op::eq, loop::binary(Op::mod, distance, loop::integer(width)),
                         loop::integer(0)));
    inside.push_back(loop::binary(Op::floor_div, distance, loop::integer(width)));
  }
  return context.choose(
      is_inside, [&] { return context.input(0, inside); },
      [&] { return loop::whole_number(0, context.type().dtype); });
}

void unslice_reference(ReferenceContext& c) {
  const ReferenceValue& g = *c.inputs[0];
  std::size_t next = 0;
  ops::for_each_position(g.shape, [&](const ops::Position& position) {
    ops::Position target(position.size());
    for (std::size_t axis = 0; axis < position.size(); ++axis) {
      target[axis] = c.size(c.attributes.dims[axis]) + position[axis] * c.attributes.integers[axis];
    }
    c.output.data[static_cast<std::size_t>(ops::offset_of(c.output.shape, target))] =
        g.data[next++];
  });
}

Tensor unslice_batch(std::span<const Tensor> operands, const std::vector<bool>&,
                     const Attributes& attributes, const Dim& count) {
  return ops::apply(unslice_op, {operands[0]}, ops::bounds_behind_rows(attributes, count));
}

std::vector<Sample> unslice_samples() {
  std::vector<Sample> samples;
  const auto place = [&](const ops::HostShape& shape, const Dims& starts, const Dims& full_shape,
                         const std::vector<std::int64_t>& steps) {
    ops::add_samples(samples, {shape}, [=](std::span<const Tensor> x) {
      return ops::unslice(x[0], starts, full_shape, steps);
    });
  };
  place({5}, {3}, {17}, {1});
  place({17}, {16}, {17}, {-1});
  place({6}, {1}, {17}, {3});
  place({0}, {0}, {3}, {1});
  place({1}, {2}, {3}, {1});
  place({2, 4}, {1, 14}, {3, 17}, {1, -4});
  ops::add_samples(samples, {{3, 5}},
                   [](std::span<const Tensor> x) { return pad(x[0], {{1, 0}, {2, 3}}); });
  return samples;
}

void draw_concatenate(ops::Draw& d) {
  const ops::Slot x = d.operand(ops::any_dtype, 1, 3);
  std::vector<ops::Slot> parts = {x};
  for (int k = d.below(3); k > 0; --k) {
    parts.insert(parts.begin() + d.below(2), d.one_in(4) ? x : d.of_type(d[x].type()));
  }
  if (d.one_in(3)) {
    d.call("stack", stack, std::move(parts), d.below(d[x].rank() + 1));
  } else {
    d.call("concatenate", concatenate, std::move(parts), d.axis(x));
  }
}

void draw_pad(ops::Draw& d) {
  const ops::Slot x = d.operand(ops::any_dtype, 1, 3);
  ops::Widths widths;
  for (int axis = 0; axis < d[x].rank(); ++axis) {
    const Dim before = d.below(3);
    widths.emplace_back(before, d.one_in(6) ? d.size() : Dim(d.below(3)));
  }
  d.call("pad", static_cast<Tensor (*)(const Operand&, const ops::Widths&)>(pad), x,
         std::move(widths));
}

}  // namespace

// y = the operands joined along attributes.axes[0]; any dtype.   vjp: dx_k = the slice of dy
constinit const OpRecord concatenate_op = {.name = "concatenate",
                                           .arity = -1,
                                           .linear = Linear::jointly,
                                           .keeps_stored = true,
                                           .infer = concatenate_type,
                                           .vjp = concatenate_vjp,
                                           .at = concatenate_at,
                                           .reference = concatenate_reference,
                                           .batch = ops::batch_along_axes<concatenate_op>,
                                           .draw = draw_concatenate,
                                           .samples = concatenate_samples};

// y[start + i * step] = x[i] per axis, 0 elsewhere; any dtype. attributes.dims: the starts, then
// the shape of y; attributes.integers: the steps.   vjp: dx = slice(dy)
constinit const OpRecord unslice_op = {
    .name = "unslice",
    .linear = Linear::jointly,
    .keeps_stored = true,
    .infer = unslice_type,
    .vjp = [](const Tensor& y, const Tensor& g) -> Tensors {
      const Attributes& attributes = y.node().attributes;
      return {ops::strided_slice(g,
                                 Dims(attributes.dims.begin(), attributes.dims.begin() + y.rank()),
                                 y.node().inputs[0].shape(), attributes.integers)};
    },
    .at = unslice_at,
    .reference = unslice_reference,
    .batch = unslice_batch,
    .draw = draw_pad,
    .samples = unslice_samples};

Tensor concatenate(const std::vector<Tensor>& tensors, int axis,
                   const Operand::Location& location) {
  const LineScope scope(ops::line_of(location));
  if (tensors.empty()) {
    ops::fail_value("concatenate", "there are no tensors");
  }
  if (tensors[0].rank() == 0) {
    ops::fail_shape(concatenate_op, tensors, "scalars cannot be concatenated");
  }
  Attributes attributes;
  attributes.axes = {ops::resolve_axis(axis, tensors[0].rank(), "concatenate")};
  return ops::apply(concatenate_op, ops::promoted(tensors), std::move(attributes));
}

Tensor stack(const std::vector<Tensor>& tensors, int axis, const Operand::Location& location) {
  const LineScope scope(ops::line_of(location));
  if (tensors.empty()) {
    ops::fail_value("stack", "there are no tensors");
  }
  const int position = ops::resolve_axis(axis, tensors[0].rank() + 1, "stack");
  const OpRecord stack_op{.name = "stack", .arity = -1};
  const Attributes none;
  TypeContext context(stack_op, tensors, none, *LineScope::current());
  ops::equal_shapes(context);
  Tensors inputs;
  for (const Tensor& tensor : tensors) {
    inputs.push_back(expand_dims(tensor, position));
  }
  return concatenate(inputs, position);
}

namespace {

using Widths = std::vector<std::pair<Dim, Dim>>;

void check_widths(const Tensor& tensor, const Widths& widths) {
  if (static_cast<int>(widths.size()) != tensor.rank()) {
    ops::fail_shape(OpRecord{.name = "pad"}, {tensor},
                    "there are " + std::to_string(widths.size()) + " widths");
  }
  for (const auto& [before, after] : widths) {
    for (const Dim& width : {before, after}) {
      if (width.is_constant() && width.constant() < 0) {
        ops::fail_value("pad", "a width is negative: " + width.to_string());
      }
    }
  }
}

}  // namespace

Tensor pad(const Operand& x, const std::vector<std::pair<Dim, Dim>>& widths) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  check_widths(tensor, widths);
  Dims starts, shape;
  for (int axis = 0; axis < tensor.rank(); ++axis) {
    const auto& [before, after] = widths[at(axis)];
    starts.push_back(before);
    shape.push_back(before + tensor.shape(axis) + after);
  }
  return ops::unslice(tensor, starts, shape, std::vector<std::int64_t>(at(tensor.rank()), 1));
}

Tensor pad(const Operand& x, const std::vector<std::pair<Dim, Dim>>& widths, PadMode mode,
           const Operand& value) {
  const LineScope scope(x.line());
  Tensor result = x.tensor();
  check_widths(result, widths);
  Tensor filling;
  const OpRecord op{.name = "pad"};
  if ((mode == PadMode::linear_ramp || mode == PadMode::mean) && !is_float(result.dtype())) {
    ops::fail_type(op, {result}, "linear_ramp and mean take floating point only");
  }
  if (mode == PadMode::constant || mode == PadMode::linear_ramp) {
    const std::vector<Tensor> both = ops::promoted(x, value);
    result = both[0];
    filling = both[1];
    if (filling.rank() != 0) {
      ops::fail_shape(op, both, "the value is no scalar");
    }
  }
  for (int axis = 0; axis < result.rank(); ++axis) {
    const auto& [before, after] = widths[at(axis)];
    const Dim size = result.shape(axis);
    const auto part = [&](const Dim& width, bool is_before) {
      Dims shape = result.shape();
      shape[at(axis)] = width;
      const auto edge = [&] {
        return ops::run_of(result, axis, is_before ? Dim(0) : size - Dim(1), 1, 1);
      };
      switch (mode) {
        case PadMode::constant:
          return broadcast_to(filling, shape);
        case PadMode::edge:
          return broadcast_to(edge(), shape);
        case PadMode::reflect:
          return ops::run_of(result, axis, is_before ? width : size - Dim(2), width, -1);
        case PadMode::symmetric:
          return ops::run_of(result, axis, (is_before ? width : size) - Dim(1), width, -1);
        case PadMode::linear_ramp: {
          const Tensor place = iota(shape, axis, result.dtype());
          const Tensor places = size_of_dim(width, result.dtype());
          return filling + (edge() - filling) * ((is_before ? place : places - 1 - place) / places);
        }
        case PadMode::maximum:
          return broadcast_to(max(result, axis, true), shape);
        case PadMode::minimum:
          return broadcast_to(min(result, axis, true), shape);
        case PadMode::mean:
          return broadcast_to(mean(result, axis, true), shape);
        case PadMode::wrap:
          break;
      }
      return ops::run_of(result, axis, is_before ? size - width : Dim(0), width, 1);
    };
    Tensors parts;
    if (!before.is_constant(0)) parts.push_back(part(before, true));
    parts.push_back(result);
    if (!after.is_constant(0)) parts.push_back(part(after, false));
    if (parts.size() > 1) result = concatenate(parts, axis);
  }
  return result;
}

Tensor roll(const Operand& x, std::int64_t shift, int axis) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  const int along = ops::resolve_axis(axis, tensor.rank(), "roll");
  const Dim size = tensor.shape(along);
  const Dim period = provably_at_least(size, 1) ? size : maximum(size, 1);
  const Dim moved = Dim(shift) - floor_div(Dim(shift), period) * period;  // to the front
  if (moved.is_constant(0)) return tensor;
  return concatenate({ops::run_of(tensor, along, size - moved, moved, 1),
                      ops::run_of(tensor, along, 0, size - moved, 1)},
                     along);
}

}  // namespace kroton
