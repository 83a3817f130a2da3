// The nodes of functions with derivatives of the user's own, and what compiler/autodiff and
// compiler/scan know of them.
#pragma once
#include "compiler/ir/op.h"

namespace kroton {

// A `custom` node: operand 0 is the function's value, the next ones its inputs, the rest what its
// rules read besides. The parameters of attributes.body stand for the inputs, the value, its
// cotangent, the inputs' tangents and the rest; its results are the inputs' cotangents (of no
// meaning for an input that is not floating) and, if there is a forward rule, the value's tangent.
struct CustomView {
  explicit CustomView(const Attributes& attributes);
  std::size_t inputs = 0;
  bool has_forward = false;

  static Attributes attributes(const std::string& name, std::size_t inputs, bool has_forward,
                               Body body);
  // Where the parameters begin that stand for ...
  std::size_t value() const { return inputs; }
  std::size_t cotangent() const { return inputs + 1; }
  std::size_t tangents() const { return inputs + 2; }
  std::size_t rest() const { return 2 * inputs + 2; }
};

// Defined in compiler/scan, which vectorises the rules.
Tensor batch_custom(std::span<const Tensor> operands, const std::vector<bool>& mapped,
                    const Attributes& attributes, const Dim& count);
// Defined in compiler/autodiff, which makes them.
std::vector<Sample> custom_samples();

}  // namespace kroton
