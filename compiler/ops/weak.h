// Weak tensors: what consists of literals only, or is a floating value made of integers by `/` or
// `mean`, has no dtype of its own. It is an f32 (an i64) until it meets a tensor that has one, and
// then what it would be if its literals had been written for that.
#pragma once
#include <kroton/tensor.h>

namespace kroton::ops {

// The dtype that operands are converted to where they meet.
struct CommonType {
  DType dtype = DType::f32;
  bool weak = false;  // none of them has a dtype of its own that decides it
};
CommonType common_type(std::span<const Tensor> tensors);

// x in that dtype. A weak x is made anew in it, from its literals and integers.
Tensor converted(const Tensor& x, const CommonType& type);
// A weak x in that dtype if it is of its kind, floating or integer; any other x as it is.
Tensor met_by(const Tensor& x, DType dtype);
// x, an integer or a boolean or a double, as a weak f32.
Tensor weakly_floating(const Tensor& x);
// x with its dtype for good.
Tensor strong(const Tensor& x);

}  // namespace kroton::ops
