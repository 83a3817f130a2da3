// Tensors whose axes have labels: what einsum and its like are made of.
#pragma once
#include <kroton/tensor.h>

namespace kroton::ops {

struct Labeled {
  Tensor tensor;
  std::vector<int> labels;  // one for each axis, all different
};

// The product of both, summed over the labels that are not `kept`.
Labeled contract(const Labeled& x, const Labeled& y, const std::vector<int>& kept);

// The product of all, in an order that takes few operations, summed over all labels but those of
// the result, whose axes have that order.
Tensor product_of_all(std::vector<Labeled> operands, const std::vector<int>& result);

}  // namespace kroton::ops
