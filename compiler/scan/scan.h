// Loops as expressions: what kt::scan and the gradients of loops are built with.
//
// A loop keeps only the work that feeds back. Whatever does not depend on a state is done before
// it for all steps at once (a product with every row of a sequence is one product), what no state
// depends on is done after it, from the states of all steps, and sums over the steps of products,
// which gradients of weights are, become one product. docs/decisions/0015-scan.md gives the
// reasons.
#pragma once
#include "compiler/ops/scan_op.h"

namespace kroton {

// One value that each step computes from the one before.
struct ScanState {
  Tensor parameter;  // stands for the value before the step
  Tensor initial;
  Tensor next;  // its value after the step
};

// One row of `all` for each step: row offset + stride * step.
struct ScanRows {
  Tensor parameter;  // stands for the row
  Tensor all;
  Dim offset = 0;
  std::int64_t stride = 1;
};

// Expressions are written on the parameters; every other tensor in them is the same in all steps.
struct ScanDefinition {
  Dim count;  // of steps
  std::vector<ScanState> states;
  std::vector<ScanRows> rows;
  std::int64_t truncate = -1;  // the gradient flows through this many last steps; -1: through all
  bool recomputes = false;     // the gradient keeps the states only, and computes the rest again
  std::string name = "scan";   // for messages
  SourceLine line = {};
};

enum class Collect : std::uint8_t {
  last,             // of a state's parameter: its value after the last step
  stack,            // the values in all steps along a new first axis, (count, ...)
  stack_backwards,  // the same, the last step's value first
  sum               // of the values in all steps
};

struct ScanResult {
  Tensor expression;
  Collect collect = Collect::stack;
};

// The tensors wanted of the loop's run, in order.
std::vector<Tensor> make_scan(const ScanDefinition& loop, std::span<const ScanResult> wanted);

// `count` rows of `all`, in the order of the steps.
Tensor rows_of(const Tensor& all, const Dim& offset, std::int64_t stride, const Dim& count);
// A node on a loop: its state k after the last step; an expression of its body in all steps.
Tensor scan_last(const Tensor& loop, int state);
Tensor scan_stack(const Tensor& loop, const Tensor& expression, bool backwards);

// By state of a loop: whether it is floating and changes with a wanted operand, directly or through
// other states.
std::vector<bool> active_states(const Tensor& loop, const std::vector<bool>& wanted);

}  // namespace kroton
