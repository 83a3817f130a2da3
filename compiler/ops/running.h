// What the ops that run along an axis share: y[i] is made of the element before it on the way, and
// of operands at i. attributes.axes[0] is the axis; attributes.integers[0] is 1 where the way
// begins at the other end.
#pragma once
#include "compiler/ops/draw.h"
#include "compiler/ops/reference_loops.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"

namespace kroton::ops {

inline bool runs_backwards(const Attributes& attributes) { return attributes.integers.at(0) != 0; }
Attributes running_attributes(std::string_view op, int axis, int rank, bool reverse);

// For each position on the way, from the first one on: the value there, given its index and what
// stands before it, null for the first.
using RunningValue =
    std::function<loop::Expr(WriteContext&, const Index& here, const loop::Expr& before)>;
// How a GPU may share a way among threads, by parts: what stands before a part comes to the part's
// own result by `op`, multiplied with all factors of the part's positions if there are such.
struct RunningParts {
  loop::Op op = loop::Op::add;
  std::function<loop::Expr(WriteContext&, const Index& here)> factor = nullptr;
};
void running_write(WriteContext& context, const RunningValue& value, const RunningParts& parts);

// The same for the reference: step(offset, whether it is the first one) in the order of the way.
void run_along(const ReferenceContext& c,
               const std::function<void(std::size_t offset, bool is_first)>& step);

// x moved by one position along the axis, that before each on the way at its place; what comes in
// at the first place is open.
Tensor element_before(const Tensor& x, const Attributes& attributes);
// Whether the position is the first on the way.
Tensor is_first_on_way(const Tensor& x, const Attributes& attributes);
// What a cotangent gives the operands of y[i] = a[i] * y[i-1] + b[i]: that of b.
Tensor running_cotangent(const Tensor& a, const Tensor& g, const Attributes& attributes);

using RunningFunction = Tensor (*)(const Operand&, int, bool);
std::vector<Sample> running_samples(RunningFunction function);
void draw_running(Draw& d, std::string_view name, RunningFunction function, Accept accept);

}  // namespace kroton::ops
