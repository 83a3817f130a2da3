// Running sums along an axis.
#include "compiler/ops/draw.h"
#include "compiler/ops/records.h"
#include "compiler/ops/reference_loops.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"

namespace kroton {

namespace {

std::size_t at(int axis) { return static_cast<std::size_t>(axis); }

bool runs_backwards(const Attributes& attributes) { return attributes.integers.at(0) != 0; }

// The row at position 0 of the axis is copied, each other one added to the one before.
void cumsum_write(WriteContext& context) {
  const int axis = context.attributes().axes[0];
  const bool backwards = runs_backwards(context.attributes());
  const Dims& shape = context.type().shape;
  const Dim& size = shape[at(axis)];
  const auto rows = [&](const Dim& count, const auto& body) {
    context.nest(Dims(shape.begin(), shape.begin() + axis), [&](const Index& before) {
      context.nest({count}, [&](const Index& row) {
        context.nest(Dims(shape.begin() + axis + 1, shape.end()), [&](const Index& behind) {
          const auto index_of = [&](const loop::Expr& position) {
            Index index = before;
            index.push_back(backwards ? loop::size(size - Dim(1)) - position : position);
            index.insert(index.end(), behind.begin(), behind.end());
            return index;
          };
          body(row[0], index_of);
        });
      });
    });
  };
  rows(minimum(size, 1), [&](const loop::Expr& row, const auto& index_of) {
    context.store(index_of(row), context.input(0, index_of(row)));
  });
  rows(maximum(size - Dim(1), 0), [&](const loop::Expr& row, const auto& index_of) {
    const Index here = index_of(row + loop::integer(1));
    context.store(here, context.stored(index_of(row)) + context.input(0, here));
  });
}

void cumsum_reference(ReferenceContext& c) {
  const auto axis = at(c.attributes.axes[0]);
  const std::vector<std::int64_t>& shape = c.output.shape;
  std::vector<std::int64_t> lines = shape;
  lines[axis] = std::min<std::int64_t>(1, shape[axis]);
  ops::for_each_position(lines, [&](ops::Position position) {
    ops::CompensatedSum sum;
    for (std::int64_t k = 0; k < shape[axis]; ++k) {
      position[axis] = runs_backwards(c.attributes) ? shape[axis] - 1 - k : k;
      const auto offset = static_cast<std::size_t>(ops::offset_of(shape, position));
      sum.add(c.inputs[0]->data[offset]);
      c.output.data[offset] = sum.value();
    }
  });
}

std::vector<Sample> cumsum_samples() {
  std::vector<Sample> samples;
  for (const DType dtype : ops::dtypes_of(ops::number)) {
    for (const ops::HostShape& shape :
         {ops::HostShape{0}, {1}, {17}, {3, 17}, {17, 1}, {2, 3, 5}, {0, 3}}) {
      for (const int axis : {0, -1}) {
        for (const bool reverse : {false, true}) {
          samples.push_back({{ops::spread(dtype, shape, -2, 2)},
                             [=](std::span<const Tensor> x) { return cumsum(x[0], axis, reverse); },
                             is_float(dtype)});
        }
      }
    }
  }
  return samples;
}

void draw_cumsum(ops::Draw& d) {
  const ops::Slot x = d.operand(ops::any_dtype, 1, 3);
  d.call("cumsum", cumsum, x, d.axis(x), d.one_in(3));
}

}  // namespace

// y[i] = x[0] + ... + x[i] along attributes.axes[0], from the other end if attributes.integers[0]
// is 1; numbers.   vjp: dx = the running sum of dy from the other end
constinit const OpRecord cumsum_op = {
    .name = "cumsum",
    .kind = OpKind::write,
    .adds = true,
    .linear = Linear::jointly,
    .infer = ops::same_type<ops::Accepts::numbers>,
    .vjp = [](const Tensor& y, const Tensor& g) -> std::vector<Tensor> {
      return {cumsum(g, y.node().attributes.axes[0], !runs_backwards(y.node().attributes))};
    },
    .write = cumsum_write,
    .reference = cumsum_reference,
    .batch = ops::batch_along_axes<cumsum_op>,
    .draw = draw_cumsum,
    .samples = cumsum_samples};

Tensor cumsum(const Operand& x, int axis, bool reverse) {
  const LineScope scope(x.line());
  const Tensor terms = ops::widened(x);
  Attributes attributes;
  attributes.axes = {ops::resolve_axis(axis, terms.rank(), "cumsum")};
  attributes.integers = {reverse ? 1 : 0};
  return ops::apply(cumsum_op, {terms}, std::move(attributes));
}

}  // namespace kroton
