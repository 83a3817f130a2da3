// Sorting along the last axis: the permutation that does it, and the elements in order.
//
// Many rows that are not long go through a network of compare-exchanges (sort_network.cpp), others
// through loops by rank or by digits (sort_loops.cpp); a call tells which if sizes are free. The
// elements alone are sorted at half the cost of their permutation: as integers of their own size,
// without positions. On a GPU blocks of threads sort them (loop/gpu_radix_sort.h).
#include <kroton/check.h>
#include <kroton/sort.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "compiler/ir/block_context.h"
#include "compiler/ops/draw.h"
#include "compiler/ops/indices.h"
#include "compiler/ops/numbers.h"
#include "compiler/ops/records.h"
#include "compiler/ops/reference_loops.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"
#include "compiler/ops/sort_keys.h"
#include "compiler/ops/sort_loops.h"
#include "compiler/ops/sort_network.h"

namespace kroton {

namespace {

using loop::Expr;
using ops::in;
using ops::inf;
using ops::nan;
using ops::NetworkForm;

// 1 or 0.
Dim by_network(const WriteContext& context, int parts) {
  return context.is_for_gpu() ? Dim(0) : ops::suits_network(context.type().shape, parts);
}

void write_argsort(WriteContext& context) {
  if (BlockContext::of(context).makes_kernels()) {
    ops::order_by_blocks(context, 0);
    return;
  }
  const bool descending = ops::is_descending(context.attributes());
  const NetworkForm form = ops::network_of_positions(context, descending);
  const Dim is_network = by_network(context, form.parts);
  if (!is_network.is_constant(1)) {
    ops::sort_by_loops(context, descending, 1 - is_network,
                       [&](const Index& row, const Expr& place, const Expr& position) {
                         context.store(in(row, place), position);
                       });
  }
  if (is_network.is_constant(0)) return;
  ops::sort_by_network(context, context.type().shape, form, is_network);
}

void write_values_by_blocks(WriteContext& context) {
  const bool descending = ops::is_descending(context.attributes());
  const DType dtype = context.type().dtype;
  BlockContext::Sorted how = ops::sorted_by_blocks(context);
  how.has_positions = false;
  how.key = [&](const Index& row, const Expr& i) {
    return ops::value_key(context.input(0, in(row, i)), how.dtype, descending);
  };
  how.put = [&](const Index& row, const Expr& place, const Expr&, const Expr& key) {
    context.store(in(row, place), ops::value_of_key(key, dtype, descending));
  };
  BlockContext::of(context).sort(how);
}

void write_sort(WriteContext& context) {
  if (BlockContext::of(context).makes_kernels()) {
    write_values_by_blocks(context);
    return;
  }
  const bool descending = ops::is_descending(context.attributes());
  const DType dtype = context.type().dtype;
  const Dim is_network = by_network(context, 1);
  if (!is_network.is_constant(1)) {
    ops::sort_by_loops(context, descending, 1 - is_network,
                       [&](const Index& row, const Expr& place, const Expr& position) {
                         context.store(in(row, place), context.input(0, in(row, position)));
                       });
  }
  if (is_network.is_constant(0)) return;
  NetworkForm form;
  form.dtype = size_of(dtype) <= 4 ? DType::i32 : DType::i64;
  form.load = [&](const Index& row, const Expr& i) {
    return NetworkForm::Element{
        ops::value_key(context.input(0, in(row, i)), form.dtype, descending)};
  };
  form.store = [&](const Index& row, const Expr& i, const NetworkForm::Element& element) {
    context.store(in(row, i), ops::value_of_key(element[0], dtype, descending));
  };
  ops::sort_by_network(context, context.type().shape, form, is_network);
}

TensorType sort_type(TypeContext& context) {
  const TensorType& x = context.input(0);
  if (x.rank() == 0) context.fail_shape("a scalar has no axis to sort along");
  return x;
}

TensorType argsort_type(TypeContext& context) { return {DType::i64, sort_type(context).shape}; }

void argsort_reference(ReferenceContext& c) {
  ops::sort_reference(c, ops::is_descending(c.attributes));
}

// What a sort by argsort gives.
void sort_reference(ReferenceContext& c) {
  ReferenceValue order{DType::i64, c.output.shape, std::vector<Number>(c.output.data.size())};
  ReferenceContext positions{c.attributes, c.inputs, order, c.size};
  argsort_reference(positions);
  const auto n = static_cast<std::size_t>(c.output.shape.back());
  for (std::size_t k = 0; k < order.data.size(); ++k) {
    const auto position = static_cast<std::size_t>(order.data[k]);
    c.output.data[k] = c.inputs[0]->data[k / n * n + position];
  }
}

using SortFunction = Tensor (*)(const Operand&, int, bool);

template <SortFunction function>
std::vector<Sample> sort_samples() {
  std::vector<Sample> samples;
  const auto add = [&](const ReferenceValue& x, int axis, bool descending) {
    const bool is_differentiable = function == static_cast<SortFunction>(sort) && is_float(x.dtype);
    samples.push_back(
        {{x},
         [=](std::span<const Tensor> in) { return function(in[0], axis, descending); },
         is_differentiable});
  };
  for (const DType dtype : ops::dtypes_of(ops::any_dtype)) {
    for (const ops::HostShape& shape : {ops::HostShape{0},
                                        {1},
                                        {3},
                                        {17},
                                        {3, 17},
                                        {17, 1},
                                        {17, 3},
                                        {0, 3},
                                        {3, 0},
                                        {2, 3, 5}}) {
      add(ops::spread(dtype, shape, -5, 5), -1, false);
      add(ops::spread(dtype, shape, -5, 5), 0, true);
    }
  }
  for (const DType dtype : ops::dtypes_of(ops::floating)) {
    for (const bool descending : {false, true}) {
      for (const ops::HostShape& shape : {ops::HostShape{9}, {1, 9}, {9, 1}}) {
        add(ops::values(dtype, shape, {0.0, nan, -0.0, inf, -inf, 1.0, nan, -1.0, 0.0}), 0,
            descending);
        samples.back().differentiable = false;
      }
    }
  }
  return samples;
}

// Where two elements are equal, too, each place's derivative is that of the element put there.
std::vector<Sample> samples_with_ties() {
  std::vector<Sample> samples = sort_samples<sort>();
  samples.push_back(ops::kink_sample(
      {{1, 0, 1, 0}}, [](std::span<const Tensor> in) { return sort(in[0]); },
      [](std::span<const Tensor> in) {
        return take(in[0], constant(Array::from<std::int64_t>({1, 3, 0, 2})), 0);
      }));
  return samples;
}

// Longer ones, which the permutation alone is tested with in all dtypes.
std::vector<Sample> argsort_samples() {
  std::vector<Sample> samples = sort_samples<argsort>();
  for (const DType dtype : ops::dtypes_of(ops::any_dtype)) {
    for (const ops::HostShape& shape : {ops::HostShape{2, 131}, {131, 2}}) {
      const int axis = shape[0] == 2 ? 1 : 0;
      samples.push_back(
          {{ops::spread(dtype, shape, -300, 300)},
           [=](std::span<const Tensor> in) { return argsort(in[0], axis, axis == 0); },
           false});
    }
  }
  return samples;
}

template <SortFunction function>
void draw_sort(ops::Draw& d, const char* name) {
  const ops::Slot x = d.operand(ops::any_dtype, 1, 3);
  d.call(name, function, x, d.axis(x), d.one_in(3));
}

template <const OpRecord& op>
Tensor batch_sort(std::span<const Tensor> operands, const std::vector<bool>&,
                  const Attributes& attributes, const Dim&) {
  return ops::apply(op, {operands[0]}, attributes);
}

// x along its last axis, as the sort that `y` is puts it.
Tensor sorted_as(const Tensor& y, const Tensor& x) {
  const Node& node = y.node();
  const Tensor order = ops::apply(argsort_op, {node.inputs[0]}, node.attributes);
  return ops::take_along(x, order, x.rank() - 1);
}

}  // namespace

// y = where the elements along the last axis come from, i64, in ascending order, or descending if
// attributes.integers[0] is 1; stable; any dtype.   Not differentiable.
constinit const OpRecord argsort_op = {
    .name = "argsort",
    .kind = OpKind::write,
    .cost = 20,
    .keeps_stored = true,
    .infer = argsort_type,
    .write = write_argsort,
    .reference = argsort_reference,
    .batch = batch_sort<argsort_op>,
    .draw = [](ops::Draw& d) { draw_sort<argsort>(d, "argsort"); },
    .samples = argsort_samples};

// y = the elements along the last axis in that order.   dx = dy at the places they come from
constinit const OpRecord sort_op = {
    .name = "sort",
    .kind = OpKind::write,
    .cost = 20,
    .keeps_stored = true,
    .infer = sort_type,
    .vjp = [](const Tensor& y, const Tensor& g) -> std::vector<Tensor> {
      const Tensor sorted = sorted_as(y, y.node().inputs[0]);
      return {take_along_axis_op.vjp(sorted, g)[0]};
    },
    .jvp = [](const Tensor& y,
              std::span<const Tensor> tangents) { return sorted_as(y, tangents[0]); },
    .write = write_sort,
    .reference = sort_reference,
    .batch = batch_sort<sort_op>,
    .draw = [](ops::Draw& d) { draw_sort<sort>(d, "sort"); },
    .samples = samples_with_ties};

namespace {

Tensor along_axis(const OpRecord& op, const Tensor& tensor, int axis, bool descending) {
  if (tensor.rank() == 0) return ops::apply(op, {tensor});  // which tells
  const int along = ops::resolve_axis(axis, tensor.rank(), op.name);
  const int last = tensor.rank() - 1;
  const std::int64_t most = std::int64_t{1} << 32;
  const Tensor limited =
      ops::size_check(tensor, op.name.data(), {tensor}, Dim(most), tensor.shape(along),
                      "an axis of %1 elements is too long to be sorted: the "
                      "most is %0");
  Attributes attributes;
  attributes.integers = {descending ? 1 : 0};
  if (along == last && last > 1) {
    // As one axis of rows, which fill the lanes of vectors.
    const Tensor rows = reshape(limited, {-1, limited.shape(last)});
    return reshape(ops::apply(op, {rows}, std::move(attributes)), limited.shape());
  }
  const Tensor result =
      ops::apply(op, {ops::move_axis(limited, along, last)}, std::move(attributes));
  return ops::move_axis(result, last, along);
}

}  // namespace

Tensor argsort(const Operand& x, int axis, bool descending) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();  // an empty one is an error that names this function
  return along_axis(argsort_op, tensor, axis, descending);
}

Tensor sort(const Operand& x, int axis, bool descending) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();  // an empty one is an error that names this function
  return along_axis(sort_op, tensor, axis, descending);
}

}  // namespace kroton
