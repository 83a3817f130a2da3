// The reverse sweep over expressions as they are written, and the simplification that comes before
// it. grad and vjp (reverse.cpp) are built of both; gradients of loops, whose steps are simplified
// when they are made, of the sweep alone.
#pragma once
#include <kroton/tensor.h>

#include <unordered_map>
#include <utility>

namespace kroton {

using Cotangents = std::vector<std::pair<Tensor, Tensor>>;  // expression, cotangent

// The cotangents of `wrt` given those of `seeds`, an empty Tensor where none arrives. What arrives
// at one of `wrt` flows on to what it is computed from.
std::vector<Tensor> sweep(const Cotangents& seeds, std::span<const Tensor> wrt);

// The roots in the forms that are differentiated: the derivative of log(softmax(x)) as it is
// written would divide by the softmax. All roots at once; the leaves stay the user's own.
std::vector<Tensor> simplified(std::span<const Tensor> roots);

// Expressions in which some nodes are leaves: simplifying does not look behind them.
class Cut {
 public:
  // From now on `at` is a leaf. The leaf that stands for it.
  Tensor add(const Tensor& at);
  bool contains(const Tensor& tensor) const { return stand_ins_.contains(&tensor.node()); }
  // The roots with the leaves in place; a root that is cut itself becomes a leaf.
  std::vector<Tensor> apply(std::span<const Tensor> roots) const;
  // The root with leaves in place of what it is computed from, but not of itself.
  Tensor apply_below(const Tensor& root) const;
  // The expressions on the nodes that the leaves stand for; empty ones stay empty.
  std::vector<Tensor> undo(std::vector<Tensor> results) const;

 private:
  std::unordered_map<const Node*, Tensor> stand_ins_, originals_;
};

}  // namespace kroton
