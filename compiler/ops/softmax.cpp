// Softmax and its relatives: composites, expanded into compositions that do not overflow.
#include <cmath>
#include <limits>

#include "compiler/ir/at.h"
#include "compiler/ops/draw.h"
#include "compiler/ops/records.h"
#include "compiler/ops/reference_loops.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"

namespace kroton {

using ops::Accepts;
using Tensors = std::vector<Tensor>;

namespace {

int softmax_axis(const Tensor& y) { return y.node().attributes.axes[0]; }

TensorType softmax_type(TypeContext& context) {
  ops::require(context, Accepts::floating);
  const int axis = context.attributes().axes[0];
  context.refuse_empty(context.input(0).shape[at(axis)],
                       "axis " + std::to_string(axis) + " is empty");
  return context.input(0);
}

// x minus its maximum along `axis`: the largest exponential is 1.
Tensor shifted(const Tensor& x, int axis) { return x - stop_gradient(max(x, axis, true)); }

// log(sum(exp(x))) of one line.
double log_of_sum(const std::vector<double>& line) {
  double largest = -std::numeric_limits<double>::infinity();
  for (double x : line) {
    largest = std::fmax(largest, x);
  }
  double total = 0;
  for (double x : line) {
    total += std::exp(x - largest);
  }
  return largest + std::log(total);
}

// f(log_softmax) for every element, line by line along the axis.
template <class F>
void for_each_line(ReferenceContext& c, F f) {
  const ReferenceValue& x = *c.inputs[0];
  const std::size_t axis = at(c.attributes.axes[0]);
  std::vector<std::int64_t> starts = x.shape;
  starts[axis] = 1;
  ops::for_each_position(starts, [&](ops::Position position) {
    std::vector<double> line;
    for (position[axis] = 0; position[axis] < x.shape[axis]; ++position[axis]) {
      line.push_back(x.data[static_cast<std::size_t>(ops::offset_of(x.shape, position))]);
    }
    const double norm = log_of_sum(line);
    for (position[axis] = 0; position[axis] < x.shape[axis]; ++position[axis]) {
      c.output.data[static_cast<std::size_t>(ops::offset_of(x.shape, position))] =
          f(line[static_cast<std::size_t>(position[axis])] - norm);
    }
  });
}

std::vector<Sample> softmax_samples(Tensor (*function)(const Operand&, int)) {
  std::vector<Sample> samples;
  const auto along = [&](const std::vector<ops::HostShape>& shapes, int axis) {
    ops::add_samples(samples, shapes,
                     [=](std::span<const Tensor> x) { return function(x[0], axis); });
  };
  along({{1}, {17}, {0, 3}, {1, 1}, {3, 17}, {17, 1}, {2, 3, 5}}, -1);
  along({{17}, {3, 17}, {1, 3}}, 0);
  along({{2, 3, 5}}, 1);
  // Without the maximum subtracted, these overflow.
  samples.push_back({{ops::values(DType::f32, {2, 3}, {1000, 999, -1000, -500, -501, -502})},
                     [=](std::span<const Tensor> x) { return function(x[0], -1); },
                     false});
  return samples;
}

// ---- softmax_cross_entropy

TensorType cross_entropy_type(TypeContext& context) {
  const TensorType& logits = context.input(0);
  const TensorType& labels = context.input(1);
  if (!is_float(logits.dtype)) {
    context.fail_type("logits must be floating point");
  }
  if (!is_integer(labels.dtype)) {
    context.fail_type("labels must be integers");
  }
  if (logits.rank() != 2 || labels.rank() != 1) {
    context.fail_shape("takes a matrix of logits and a vector of labels");
  }
  context.refuse_empty(logits.shape[1], "there are no classes");
  return {logits.dtype,
          {context.equal(logits.shape[0], labels.shape[0], "sizes differ on axis 0")}};
}

Tensors cross_entropy_vjp(const Tensor& y, const Tensor& g) {
  const Tensor& logits = y.node().inputs[0];
  const Tensor& labels = y.node().inputs[1];
  const Tensor target = one_hot(labels, logits.shape(1), logits.dtype());
  return {(softmax(logits) - target) * expand_dims(g, 1), Tensor()};
}

Tensor cross_entropy_expand(std::span<const Tensor> inputs, const Attributes&) {
  const Tensor x = shifted(inputs[0], 1);
  return log(sum(exp(x), 1)) - pick(x, inputs[1]);
}

// The same logits for all rows: expanded, their normalisation is computed once.
Tensor cross_entropy_batch(std::span<const Tensor> operands, const std::vector<bool>& mapped,
                           const Attributes& attributes, const Dim& count) {
  return mapped[0] ? ops::batch_rows<softmax_cross_entropy_op>(operands, mapped, attributes, count)
                   : Tensor();
}

void cross_entropy_reference(ReferenceContext& c) {
  const ReferenceValue& logits = *c.inputs[0];
  const auto classes = static_cast<std::size_t>(logits.shape[1]);
  for (std::size_t i = 0; i < c.output.data.size(); ++i) {
    const auto first = logits.data.begin() + static_cast<std::ptrdiff_t>(i * classes);
    const std::vector<double> line(first, first + static_cast<std::ptrdiff_t>(classes));
    const std::int64_t label =
        ops::checked_index(c.inputs[1]->data[i], logits.shape[1], 1, "softmax_cross_entropy");
    c.output.data[i] = log_of_sum(line) - line[static_cast<std::size_t>(label)];
  }
}

std::vector<Sample> cross_entropy_samples() {
  const ops::Apply apply = [](std::span<const Tensor> in) {
    return softmax_cross_entropy(in[0], in[1]);
  };
  std::vector<Sample> samples;
  for (DType dtype : ops::dtypes_of(ops::floating)) {
    for (const auto& [rows, classes] :
         std::vector<std::pair<std::int64_t, std::int64_t>>{{0, 3}, {1, 1}, {3, 17}, {17, 10}}) {
      for (DType label : ops::dtypes_of(ops::integer)) {
        samples.push_back({{ops::spread(dtype, {rows, classes}, -3, 3),
                            ops::spread(label, {rows}, 0, static_cast<double>(classes - 1))},
                           apply});
      }
    }
  }
  samples.push_back({{ops::values(DType::f32, {2, 3}, {1000, 999, -1000, -500, -501, -502}),
                      ops::values(DType::i64, {2}, {1, 0})},
                     apply,
                     false});
  return samples;
}

void draw_cross_entropy(ops::Draw& d) {
  const ops::Slot logits = d.operand(ops::floating, 2, 2);
  const Dims shape = d[logits].shape();
  d.call("softmax_cross_entropy", softmax_cross_entropy, logits, d.indices({shape[0]}, shape[1]));
}

}  // namespace

// y = exp(x) / sum(exp(x)) along attributes.axes[0], floating point only.
// vjp: dx = y * (dy - sum(dy * y))
constinit const OpRecord softmax_op = {
    .name = "softmax",
    .kind = OpKind::composite,
    .cost = 20,
    .infer = softmax_type,
    .vjp = [](const Tensor& y, const Tensor& g) -> Tensors {
      return {y * (g - sum(g * y, softmax_axis(y), true))};
    },
    .expand = [](std::span<const Tensor> inputs, const Attributes& attributes) -> Tensor {
      // The sum lies between 1 and the number of terms, so its reciprocal is harmless.
      const Tensor e = exp(shifted(inputs[0], attributes.axes[0]));
      return e * (1 / sum(e, attributes.axes[0], true));
    },
    .reference =
        [](ReferenceContext& c) { for_each_line(c, [](double x) { return std::exp(x); }); },
    .batch = ops::batch_along_axes<softmax_op>,
    .draw = [](ops::Draw& d) { ops::draw_along_axis(d, "softmax", softmax, ops::floating); },
    .samples = [] { return softmax_samples(softmax); }};

// y = x - log(sum(exp(x))) along attributes.axes[0], floating point only.
// vjp: dx = dy - exp(y) * sum(dy)
constinit const OpRecord log_softmax_op = {
    .name = "log_softmax",
    .kind = OpKind::composite,
    .cost = 16,
    .infer = softmax_type,
    .vjp = [](const Tensor& y, const Tensor& g) -> Tensors {
      return {g - exp(y) * sum(g, softmax_axis(y), true)};
    },
    .expand = [](std::span<const Tensor> inputs, const Attributes& attributes) -> Tensor {
      const Tensor x = shifted(inputs[0], attributes.axes[0]);
      return x - log(sum(exp(x), attributes.axes[0], true));
    },
    .reference = [](ReferenceContext& c) { for_each_line(c, [](double x) { return x; }); },
    .batch = ops::batch_along_axes<log_softmax_op>,
    .draw =
        [](ops::Draw& d) { ops::draw_along_axis(d, "log_softmax", log_softmax, ops::floating); },
    .samples = [] { return softmax_samples(log_softmax); }};

// y[i] = -log_softmax(logits)[i, labels[i]], floating point logits (n, c), integer labels (n,).
// vjp: dlogits = (softmax(logits) - one_hot(labels)) * dy[:, None]
constinit const OpRecord softmax_cross_entropy_op = {.name = "softmax_cross_entropy",
                                                     .kind = OpKind::composite,
                                                     .arity = 2,
                                                     .cost = 16,
                                                     .infer = cross_entropy_type,
                                                     .vjp = cross_entropy_vjp,
                                                     .expand = cross_entropy_expand,
                                                     .reference = cross_entropy_reference,
                                                     .batch = cross_entropy_batch,
                                                     .draw = draw_cross_entropy,
                                                     .samples = cross_entropy_samples};

namespace {

Tensor along(const OpRecord& op, const Operand& x, int axis) {
  const LineScope scope(x.line(), op.name);
  const Tensor tensor = x.tensor();
  Attributes attributes;
  attributes.axes = {ops::resolve_axis(axis, tensor.rank(), op.name)};
  return ops::apply(op, {tensor}, std::move(attributes));
}

}  // namespace

Tensor softmax(const Operand& x, int axis) { return along(softmax_op, x, axis); }
Tensor log_softmax(const Operand& x, int axis) { return along(log_softmax_op, x, axis); }

Tensor softmax_cross_entropy(const Operand& logits, const Operand& labels) {
  const LineScope scope(logits.line());
  return ops::apply(softmax_cross_entropy_op, {logits.tensor(), labels.tensor()});
}

}  // namespace kroton
