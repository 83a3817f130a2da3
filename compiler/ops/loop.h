// The nodes of loops, and what compiler/scan knows of them.
#pragma once
#include "compiler/ir/op.h"

namespace kroton {

// The attributes of a loop node by name.
struct LoopView {
  explicit LoopView(const Attributes& attributes);
  int states, rows;  // operands: states, then rows, then values that stay
  Dim count;
  const Dim& offset(int row) const { return attributes.dims[static_cast<std::size_t>(1 + row)]; }
  std::int64_t stride(int row) const {
    return attributes.integers[static_cast<std::size_t>(3 + row)];
  }
  std::int64_t truncate() const { return attributes.integers[2]; }
  const Attributes& attributes;
};

// Defined in compiler/scan, which builds loops.

// The cotangents of a loop node's operands given those of some of its results; empty where they
// are not wanted or zero. The gradient of a loop is a loop from the last step to the first.
std::vector<Tensor> differentiate_loop(const Tensor& loop,
                                       std::span<const std::pair<Tensor, Tensor>> results,
                                       const std::vector<bool>& wanted);
// Loops to test with: running products and sums of rows.
std::vector<Sample> loop_samples();

}  // namespace kroton
