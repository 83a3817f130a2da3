// Attention: a product, the softmax of its rows and a product of that, as one kernel for GPUs.
#include "compiler/contraction/gpu_attention.h"

#include <kroton/error.h>

#include <algorithm>

#include "compiler/loop/traverse.h"
#include "compiler/lower/kernel_context.h"
#include "compiler/ops/records.h"

namespace kroton {
namespace {

using Vertex = Graph::Vertex;

std::optional<GpuAttentionPlan> plan_for(const AttentionOperands& operands,
                                         const Machine& machine) {
  const bool is_stored_only = is_only_stored(operands.element);
  const bool by_units = machine.has_matrix_units() && (is_stored_only || machine.tf32);
  // Without them, the products with the keys once more take longer than writing and reading them.
  if (operands.keeps_weights && !by_units) return std::nullopt;
  const DType element = by_units ? operands.element : DType::f32;
  return plan_gpu_attention({element, by_units, operands.inner, operands.columns});
}

class AttentionMaker {
 public:
  explicit AttentionMaker(KernelContext& context)
      : context_(context),
        graph_(context.graph()),
        cluster_(context.cluster()),
        key_(loop::fresh_variable("key")),
        inner_(loop::fresh_variable("k")) {}

  Attention run() {
    const Vertex hero = cluster_.hero, products = cluster_.products;
    const ContractionRoles roles = roles_of(hero);
    const Index full = without_ones(cluster_.full_point(), roles.batch, cluster_.domain);
    const Factors of_result = factors_of(hero, full, key_);
    const Factors of_products = factors_of(products, of_result[0], inner_);
    Attention result;
    Contraction& first = result.products;
    Contraction& last = result.result;
    for (const std::size_t axis : roles.batch) {
      if (!cluster_.domain[axis].is_constant(1)) first.batch.push_back(axis_of(axis));
    }
    last.batch = first.batch;
    first.dtype = last.dtype = DType::f32;
    first.rows = last.rows = {axis_of(roles.rows[0])};
    first.columns = last.inner = {{key_, roles.inner[0]}};
    first.inner = {{inner_, roles_of(products).inner[0]}};
    last.columns = {axis_of(roles.columns[0])};
    first.sum = scalar("product");
    last.sum = scalar("sum");
    result.weight = scalar("weight");
    // The rows may be those of the product's second operand.
    const bool turned = of_result[0][roles_of(products).rows[0]] == loop::variable(key_);
    first.a = operand(products, turned ? 1 : 0, of_products);
    first.b = operand(products, turned ? 0 : 1, of_products);
    last.b = operand(hero, 1, of_result);
    context_.set_value({products, of_result[0]}, loop::variable(first.sum));
    result.score = context_.value(cluster_.scores, of_result[0]);
    if (!cluster_.of_rows.empty()) store_of_rows(of_result[0], result);
    context_.set_value({cluster_.weights, of_result[0]}, loop::variable(result.weight));
    last.a = operand(hero, 0, of_result);
    if (cluster_.kept) {
      result.kept = std::get<loop::Store>(context_.store_root(*cluster_.kept, of_result[0]));
    }
    context_.set_value({hero, full}, loop::variable(last.sum));
    for (const Vertex root : cluster_.roots) {
      if (root == cluster_.kept || is_of_row(root)) continue;
      last.stores.push_back(std::get<loop::Store>(context_.store_root(root, full)));
    }
    last.cost = context_.cost();
    return result;
  }

 private:
  bool is_of_row(Vertex v) const {
    return std::find(cluster_.of_rows.begin(), cluster_.of_rows.end(), v) != cluster_.of_rows.end();
  }
  void store_of_rows(const Index& pair, Attention& attention) {
    Index row = pair;
    std::erase(row, loop::variable(key_));
    attention.largest = scalar("largest");
    attention.total = scalar("total");
    context_.set_value({cluster_.largest, row}, loop::variable(attention.largest));
    context_.set_value({cluster_.sum, row}, loop::variable(attention.total));
    for (const Vertex v : cluster_.of_rows) {
      attention.of_rows.push_back(std::get<loop::Store>(context_.store_root(v, row)));
    }
  }
  ContractionRoles roles_of(Vertex v) const {
    return graph_[v].op->roles(graph_[v].attributes, graph_[graph_.operand(v, 0)].type.shape,
                               graph_[graph_.operand(v, 1)].type.shape);
  }
  Factors factors_of(Vertex v, const Index& index, const loop::Variable& inner) const {
    return graph_[v].op->factors(graph_[v].attributes, index, {loop::variable(inner)});
  }
  Axis axis_of(std::size_t axis) const { return {cluster_.variables[axis], cluster_.domain[axis]}; }
  loop::Expr operand(Vertex v, std::size_t number, const Factors& factors) {
    return context_.value(graph_.operand(v, static_cast<int>(number)), factors[number]);
  }
  static loop::Variable scalar(const char* name) {
    loop::Variable variable = loop::fresh_variable(name);
    variable.dtype = DType::f32;
    return variable;
  }

  KernelContext& context_;
  const Graph& graph_;
  const Cluster& cluster_;
  const loop::Variable key_, inner_;
};

}  // namespace

bool computes_attention(const AttentionOperands& operands, const Machine& machine) {
  return plan_for(operands, machine).has_value();
}

std::vector<loop::Kernel> lower_attention(KernelContext& context, const Machine& machine) {
  const Attention attention = AttentionMaker(context).run();
  const auto dtype_of = [](const loop::Expr& operand) {
    const bool is_converted =
        operand->op == loop::Op::cast && is_only_stored(operand->args[0]->dtype);
    return is_converted ? operand->args[0]->dtype : operand->dtype;
  };
  const auto size = [](const AxisList& axes) { return count(axes).constant(); };
  const std::optional<GpuAttentionPlan> plan =
      plan_for({dtype_of(attention.products.a), size(attention.products.inner),
                size(attention.result.columns), attention.kept.has_value()},
               machine);
  if (!plan) throw InternalError("attention: there is no plan for it");
  return {build_gpu_attention(attention, *plan, context.buffers().maker())};
}

}  // namespace kroton
