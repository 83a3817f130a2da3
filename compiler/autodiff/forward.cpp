// jvp: forward sweeps over simplified expressions.
#include <kroton/derivatives.h>
#include <kroton/error.h>
#include <kroton/ops.h>

#include "compiler/autodiff/checks.h"
#include "compiler/autodiff/forward_sweep.h"
#include "compiler/autodiff/sweep.h"
#include "compiler/ir/deep_stack.h"
#include "compiler/ir/leaf.h"

namespace kroton {
namespace {

// As with gradients, an intermediate result is cut out: what is changed there is the outputs as
// functions of it. So each has the stable form that it has when it is asked for alone.
class Products {
 public:
  explicit Products(const std::vector<Tensor>& outputs)
      : outputs_(outputs), totals_(outputs.size()) {}

  void add_variables(const Tangents& seeds) {
    if (!seeds.empty()) add(Cut(), seeds);
  }

  void add_intermediate(const Tensor& at, const Tensor& tangent) {
    Cut cut;
    const Tensor leaf = cut.add(at);
    add(cut, {{leaf, tangent}});
  }

  // Zeros where no tangent has arrived.
  std::vector<Tensor> run() const {
    std::vector<Tensor> result = totals_;
    for (std::size_t k = 0; k < result.size(); ++k) {
      const LineScope scope(outputs_[k].line(), "");
      if (!result[k]) result[k] = zeros_like(outputs_[k]);
    }
    return result;
  }

 private:
  void add(const Cut& cut, const Tangents& seeds) {
    const std::vector<Tensor> roots = simplified(cut.apply(outputs_));
    const std::vector<Tensor> found = cut.undo(forward_sweep(seeds, roots));
    for (std::size_t k = 0; k < found.size(); ++k) {
      if (!found[k]) continue;
      const LineScope scope(outputs_[k].line(), "");
      totals_[k] = totals_[k] ? kroton::add(totals_[k], found[k]) : found[k];
    }
  }

  const std::vector<Tensor>& outputs_;
  std::vector<Tensor> totals_;
};

std::vector<Tensor> jacobian_vector_products(const std::vector<Tensor>& outputs,
                                             const std::vector<Tensor>& wrt,
                                             const std::vector<Tensor>& tangents, SourceLine line) {
  check_wrt("jvp", wrt, line);
  for (const Tensor& output : outputs) {
    check_given("jvp", "an output", output, line);
    if (is_float(output.dtype())) continue;
    throw TypeError("jvp: expected a floating output: " + described(output) + place(line));
  }
  if (wrt.size() != tangents.size()) {
    throw ValueError("jvp: expected one tangent for each of " + std::to_string(wrt.size()) +
                     " wrt, got " + std::to_string(tangents.size()) + place(line));
  }
  Products products(outputs);
  Tangents variables;
  for (std::size_t k = 0; k < wrt.size(); ++k) {
    const Tensor tangent = met_by_type("jvp", "tangent", wrt[k], tangents[k], line);
    if (is_variable(wrt[k])) {
      variables.emplace_back(wrt[k], tangent);
    } else {
      products.add_intermediate(wrt[k], tangent);
    }
  }
  products.add_variables(variables);
  return products.run();
}

}  // namespace

std::vector<Tensor> jvp(const std::vector<Tensor>& outputs, const std::vector<Tensor>& wrt,
                        const std::vector<Tensor>& tangents, const std::source_location& at) {
  const SourceLine line = LineScope::current().value_or(SourceLine{at.file_name(), at.line()});
  return on_deep_stack([&] { return jacobian_vector_products(outputs, wrt, tangents, line); });
}

Tensor detail::jvp_of_one(const Operand& output, const Tensor& wrt, const Operand& tangent) {
  const SourceLine line = output.line();
  check_wrt("jvp", {wrt}, line);
  if (output.is_empty()) check_given("jvp", "an output", Tensor(), line);
  if (tangent.is_empty()) check_given("jvp", "a tangent", Tensor(), line);
  const Tensor y = output.tensor();
  const Tensor given = tangent.tensor(wrt.dtype());
  // A number stands for a tangent of the shape of wrt.
  const Tensor direction = tangent.is_literal() ? broadcast_to(given, wrt.shape()) : given;
  return on_deep_stack(
      [&] { return jacobian_vector_products({y}, {wrt}, {direction}, line).front(); });
}

}  // namespace kroton
