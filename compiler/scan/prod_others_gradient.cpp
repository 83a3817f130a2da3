// The derivative of prod_others is a loop.
#include "compiler/autodiff/sweep.h"
#include "compiler/ir/at.h"
#include "compiler/ir/leaf.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"
#include "compiler/scan/scan.h"

namespace kroton {

using Tensors = std::vector<Tensor>;

namespace {

// x with the axes merged into the first, (product of their sizes, the others...).
Tensor axes_first(const Tensor& x, const std::vector<int>& axes) {
  const std::vector<int> others = ops::other_axes(x.rank(), axes);
  std::vector<int> order = axes;
  order.insert(order.end(), others.begin(), others.end());
  Dims shape = {1};
  for (int axis : axes) shape[0] = shape[0] * x.shape(axis);
  for (int axis : others) shape.push_back(x.shape(axis));
  return reshape(transpose(x, order), shape);
}

// The inverse, for a tensor of that shape.
Tensor axes_back(const Tensor& merged, const Dims& shape, const std::vector<int>& axes) {
  const std::vector<int> others = ops::other_axes(static_cast<int>(shape.size()), axes);
  std::vector<int> order = axes;
  order.insert(order.end(), others.begin(), others.end());
  Dims moved;
  std::vector<int> inverse(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    moved.push_back(shape[at(order[i])]);
    inverse[at(order[i])] = static_cast<int>(i);
  }
  return transpose(reshape(merged, moved), inverse);
}

// The sum over i of g_i times the product of the other x_k, along the first axis: what the product
// of x + e g changes by with e. A loop that multiplies and adds, so that its derivatives of any
// order are those of the polynomial, zeros among the factors or not.
Tensor weighted_sum(const Tensor& x, const Tensor& g) {
  const TensorType row{x.dtype(), Dims(x.shape().begin() + 1, x.shape().end())};
  const SourceLine line = LineScope::current().value_or(SourceLine{});
  const auto parameter = [&](const char* name) { return make_input(name, row, line); };
  const Tensor product = parameter("product"), change = parameter("change");
  const Tensor x_row = parameter("x"), g_row = parameter("g");
  ScanDefinition loop;
  loop.count = x.shape(0);
  loop.states = {{product, ones(row.shape, row.dtype), product * x_row},
                 {change, zeros(row.shape, row.dtype), change * x_row + product * g_row}};
  loop.rows = {{x_row, x, 0, 1}, {g_row, g, 0, 1}};
  const ScanResult wanted{change, Collect::last};
  return make_scan(loop, {&wanted, 1}).front();
}

}  // namespace

Tensors differentiate_prod_others(const Tensor& y, const Tensor& g) {
  const std::vector<int>& axes = y.node().attributes.axes;
  if (axes.empty()) return {Tensor()};  // always 1
  // The cotangent is no function of x here, even where it is x itself.
  Cut cut, of_weights;
  const Tensor x = cut.add(axes_first(y.node().inputs[0], axes));
  const Tensor weights = of_weights.add(axes_first(g, axes));
  const Tensor change = weighted_sum(x, weights);
  const std::vector<Tensor> gradient =
      cut.undo(of_weights.undo(sweep({{change, ones_like(change)}}, std::span(&x, 1))));
  return {axes_back(gradient.front(), y.shape(), axes)};
}

}  // namespace kroton
