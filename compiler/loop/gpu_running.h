// Running operations along lines on a GPU, by blocks of threads: a fixed order of operations, which
// depends on sizes alone.
#pragma once
#include <functional>

#include "compiler/loop/schedule.h"

namespace kroton::loop {

// y[i] = op(y[i-1], x[i]), or op(factor[i] * y[i-1], x[i]), or x[i] where a segment begins. A block
// has a chunk of a line, or of neighbouring lines that run side by side in memory; each thread a
// run of positions. Threads bring together what their runs come to, by doubling distances, and
// blocks what their chunks come to (gpu_earlier_blocks.h); then each thread goes over its run once
// more from what stands before it.
struct GpuRunning {
  // Where an element is: its line by two numbers, those behind the axis being neighbours.
  using At = std::function<Expr(const Expr& outer, const Expr& position, const Expr& inner)>;

  Dim outer = 1, count, inner = 1;  // lines before and behind the axis, positions
  Dim wanted = 1;                   // or 0: nothing is to be done
  DType dtype = DType::f32;
  DType factor_dtype = DType::f64;  // that products of factors are kept in
  Op op = Op::add;
  At value;
  At factor = nullptr;        // of `dtype`; null: none
  bool reads_factor = false;  // it is in memory
  At begins = nullptr;        // 1 where a segment does, else 0, i32; null: there are none
  std::function<Stmt(const Expr& outer, const Expr& position, const Expr& inner, const Expr& y)>
      store;  // of every position, perhaps with a condition

  // With its schedule.
  Kernel kernel(const NewBuffer& new_buffer) const;
};

}  // namespace kroton::loop
