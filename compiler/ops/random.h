// Random numbers as nodes.
#pragma once
#include "compiler/ir/op.h"

namespace kroton::ops {

// How a word becomes a number of the unit interval.
enum class Ends : std::uint8_t {
  half_open,  // [0, 1)
  open        // (0, 1)
};

// The number of the step of the scans that are being built, i64 (): 0 in none, and of nested ones
// another one in each step of each.
Tensor step_number();

// Numbers number `draw` of a stream with that state, i64 (2,), in step `step` of the scans around:
// of shape (step's..., shape...).
Tensor random_uniform(const Tensor& state, const Tensor& step, std::int64_t draw, Dims shape,
                      DType dtype, Ends ends);
Tensor random_normal(const Tensor& state, const Tensor& step, std::int64_t draw, Dims shape,
                     DType dtype);

}  // namespace kroton::ops
