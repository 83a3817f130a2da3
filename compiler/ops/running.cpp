#include "compiler/ops/running.h"
#include "compiler/ir/at.h"

#include <kroton/cumulative.h>

#include <algorithm>

namespace kroton::ops {

namespace {}  // namespace

Attributes running_attributes(std::string_view op, int axis, int rank, bool reverse) {
  Attributes attributes;
  attributes.axes = {resolve_axis(axis, rank, op)};
  attributes.integers = {reverse ? 1 : 0};
  return attributes;
}

void running_write(WriteContext& context, const RunningValue& value) {
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
    const Index here = index_of(row);
    context.store(here, value(context, here, nullptr));
  });
  rows(maximum(size - Dim(1), 0), [&](const loop::Expr& row, const auto& index_of) {
    const Index here = index_of(row + loop::integer(1));
    context.store(here, value(context, here, context.stored(index_of(row))));
  });
}

void run_along(const ReferenceContext& c,
               const std::function<void(std::size_t offset, bool is_first)>& step) {
  const auto axis = at(c.attributes.axes[0]);
  const std::vector<std::int64_t>& shape = c.output.shape;
  std::vector<std::int64_t> lines = shape;
  lines[axis] = std::min<std::int64_t>(1, shape[axis]);
  for_each_position(lines, [&](Position position) {
    for (std::int64_t k = 0; k < shape[axis]; ++k) {
      position[axis] = runs_backwards(c.attributes) ? shape[axis] - 1 - k : k;
      step(static_cast<std::size_t>(offset_of(shape, position)), k == 0);
    }
  });
}

Tensor element_before(const Tensor& x, const Attributes& attributes) {
  return roll(x, runs_backwards(attributes) ? -1 : 1, attributes.axes[0]);
}

Tensor is_first_on_way(const Tensor& x, const Attributes& attributes) {
  const int axis = attributes.axes[0];
  const Tensor position = iota(x.shape(), axis);
  if (!runs_backwards(attributes)) return eq(position, 0);
  return eq(position, size_of_dim(x.shape(axis)) - 1);
}

// Of b[i] in y[i] = a[i] * y[i-1] + b[i]: its own, and a[i+1] times that of b[i+1].
Tensor running_cotangent(const Tensor& a, const Tensor& g, const Attributes& attributes) {
  const bool backwards = runs_backwards(attributes);
  const int axis = attributes.axes[0];
  return linear_recurrence(roll(a, backwards ? 1 : -1, axis), g, axis, !backwards);
}

std::vector<Sample> running_samples(RunningFunction function) {
  std::vector<Sample> samples;
  for (const DType dtype : dtypes_of(number)) {
    for (const HostShape& shape : {HostShape{0}, {1}, {17}, {3, 17}, {17, 1}, {2, 3, 5}, {0, 3}}) {
      for (const int axis : {0, -1}) {
        for (const bool reverse : {false, true}) {
          samples.push_back(
              {{spread(dtype, shape, -2, 2)},
               [=](std::span<const Tensor> x) { return function(x[0], axis, reverse); },
               is_float(dtype)});
        }
      }
    }
  }
  return samples;
}

void draw_running(Draw& d, std::string_view name, RunningFunction function, Accept accept) {
  const Slot x = d.operand(accept, 1, 3);
  d.call(std::string(name), function, x, d.axis(x), d.one_in(3));
}

}  // namespace kroton::ops
