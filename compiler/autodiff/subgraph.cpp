// Gradients of one part of a graph.
#include <kroton/derivatives.h>
#include <kroton/error.h>
#include <kroton/ops.h>

#include "compiler/autodiff/checks.h"

namespace kroton {

SubgraphGradients subgraph_grad(const std::vector<Tensor>& wrt, const std::vector<Tensor>& ends,
                                const std::vector<std::pair<Tensor, Tensor>>& start_grads,
                                const Tensor& cost, const std::source_location& at) {
  const SourceLine line = LineScope::current().value_or(SourceLine{at.file_name(), at.line()});
  const LineScope scope(line);
  const char* op = "subgraph_grad";
  if (!cost && start_grads.empty()) {
    throw ValueError(std::string(op) +
                     ": expected a cost or the gradients of expressions to start from" +
                     place(line));
  }
  if (cost) check_cost(op, cost, line);
  std::vector<Tensor> all = wrt;
  all.insert(all.end(), ends.begin(), ends.end());
  check_wrt(op, all, line);
  std::vector<std::pair<Tensor, Tensor>> known;
  for (const auto& [tensor, cotangent] : start_grads) {
    known.emplace_back(tensor, met_by_type(op, "gradient", tensor, cotangent, line));
  }
  std::vector<Tensor> gradients;
  if (cost) gradients = grad(cost, all, {.consider_constant = ends, .allow_unused = true});
  if (!known.empty()) {
    const std::vector<Tensor> from_start = grad(
        Tensor(), all, {.consider_constant = ends, .known_grads = known, .allow_unused = true});
    for (std::size_t k = 0; k < from_start.size(); ++k) {
      if (cost) {
        gradients[k] = gradients[k] + from_start[k];
      } else {
        gradients.push_back(from_start[k]);
      }
    }
  }
  const auto split = gradients.begin() + static_cast<std::ptrdiff_t>(wrt.size());
  return {{gradients.begin(), split}, {split, gradients.end()}};
}

}  // namespace kroton
