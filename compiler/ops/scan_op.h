// The nodes of scans, and what compiler/scan knows of them.
#pragma once
#include "compiler/ir/op.h"

namespace kroton {

// The attributes of a scan node by name.
struct ScanView {
  explicit ScanView(const Attributes& attributes);
  int states, rows;  // operands: states, then rows, then values that stay
  Dim count;
  const Dim& offset(int row) const { return attributes.dims[static_cast<std::size_t>(row) + 1]; }
  std::int64_t stride(int row) const {
    return attributes.integers[static_cast<std::size_t>(row) + 3];
  }
  std::int64_t truncate() const { return attributes.integers[2]; }
  // Whether the gradient keeps the states of the steps only, and computes the rest again.
  bool recomputes() const { return !attributes.axes.empty(); }
  const Attributes& attributes;

  // Sets what a scan of that many steps and states is, without rows; and adds a row.
  static void set(Attributes& attributes, const Dim& count, std::size_t states,
                  std::int64_t truncate);
  static void set_recomputes(Attributes& attributes) { attributes.axes = {0}; }
  static void add_row(Attributes& attributes, const Dim& offset, std::int64_t stride);
};

// scan_last: the state with a number (result_number in attribute_views.h), of so many.
void set_last(Attributes& attributes, int state, int states);
// scan_stack: whether the last step's row is the first.
bool is_backwards(const Attributes& stack);
void set_backwards(Attributes& stack, bool backwards);

// Defined in compiler/scan, which builds scans.

// The cotangents of a scan node's operands given those of some of its results; empty where they
// are not wanted or zero. The gradient of a scan is a scan from the last step to the first.
std::vector<Tensor> differentiate_scan(const Tensor& loop,
                                       std::span<const std::pair<Tensor, Tensor>> results,
                                       const std::vector<bool>& wanted);
// The tangents of these results of a scan node given those of its operands, empty where there are
// none. They are results of a scan of the same steps, which has the tangents as further states.
std::vector<Tensor> tangents_of_scan(const Tensor& loop, std::span<const Tensor> results,
                                     std::span<const Tensor> tangents);
// Scans to test with: running products and sums of rows.
std::vector<Sample> scan_samples();

}  // namespace kroton
