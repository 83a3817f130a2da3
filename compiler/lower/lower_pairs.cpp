// Products of what is made of products of all pairs of rows and keys: kernels for GPUs that compute
// these again.
#include <kroton/error.h>

#include <algorithm>

#include "compiler/contraction/gpu_pairs.h"
#include "compiler/fusion/pairs.h"
#include "compiler/loop/traverse.h"
#include "compiler/lower/kernel_context.h"

namespace kroton {
namespace {

using Vertex = Graph::Vertex;

std::optional<GpuPairsPlan> plan_pairs_for(const PairOperands& operands, int shared,
                                           const Machine& machine) {
  const bool by_units =
      machine.has_matrix_units() && (is_only_stored(operands.element) || machine.tf32);
  return plan_gpu_pairs({by_units ? operands.element : DType::f32, by_units, operands.inner,
                         operands.columns, shared});
}

class PairsMaker {
 public:
  explicit PairsMaker(KernelContext& context)
      : context_(context),
        graph_(context.graph()),
        cluster_(context.cluster()),
        key_(loop::fresh_variable("key")) {}

  Pairs run() {
    const Vertex hero = cluster_.heroes[0].product;
    const int weights = cluster_.heroes[0].weights;
    const ContractionRoles roles = roles_of(hero);
    const Index full = without_ones(cluster_.full_point(), roles.batch, cluster_.domain);
    const std::size_t row = weights == 0 ? roles.rows[0] : roles.columns[0];
    pair_ = factors_of(hero, full, key_)[static_cast<std::size_t>(weights)];
    common_.dtype = DType::f32;
    for (const std::size_t axis : roles.batch) {
      if (cluster_.domain[axis].is_constant(1)) continue;
      common_.batch.push_back({cluster_.variables[axis], cluster_.domain[axis]});
    }
    common_.rows = {{cluster_.variables[row], cluster_.domain[row]}};
    const Axis keys{key_, roles.inner[0]};
    Pairs pairs;
    for (const Vertex v : cluster_.members) {
      const bool is_hero =
          std::any_of(cluster_.heroes.begin(), cluster_.heroes.end(),
                      [&](const Cluster::OfPairs& one) { return one.product == v; });
      if (graph_[v].op->kind == OpKind::contraction && !is_hero) {
        pairs.products.push_back(product(v, keys));
      }
    }
    for (const Cluster::OfPairs& one : cluster_.heroes) {
      pairs.results.push_back(result(one, one.product == hero ? full : full_point_of(one), keys));
    }
    pairs.results[0].cost = context_.cost();
    return pairs;
  }

 private:
  ContractionRoles roles_of(Vertex v) const {
    return graph_[v].op->roles(graph_[v].attributes, graph_[graph_.operand(v, 0)].type.shape,
                               graph_[graph_.operand(v, 1)].type.shape);
  }
  Factors factors_of(Vertex v, const Index& index, const loop::Variable& inner) const {
    return graph_[v].op->factors(graph_[v].attributes, index, {loop::variable(inner)});
  }
  // The same pairs as those of the first product, and columns of its own.
  Index full_point_of(const Cluster::OfPairs& one) const {
    Index full;
    for (std::size_t axis = 0; axis < graph_[one.product].type.shape.size(); ++axis) {
      full.push_back(loop::variable(loop::fresh_variable("column")));
    }
    const Index pair = factors_of(one.product, full, key_)[static_cast<std::size_t>(one.weights)];
    for (std::size_t axis = 0; axis < pair.size(); ++axis) {
      std::replace(full.begin(), full.end(), pair[axis], pair_[axis]);
    }
    return full;
  }

  // The rows may be those of its second operand.
  Contraction product(Vertex v, const Axis& keys) {
    Contraction c = common_;
    const ContractionRoles roles = roles_of(v);
    const loop::Variable inner = loop::fresh_variable("k");
    const Factors factors = factors_of(v, pair_, inner);
    const bool turned = pair_[roles.rows[0]] == loop::variable(key_);
    const auto operand = [&](std::size_t k) {
      return context_.value(graph_.operand(v, static_cast<int>(k)), factors[k]);
    };
    c.columns = {keys};
    c.inner = {{inner, roles.inner[0]}};
    c.a = operand(turned ? 1 : 0);
    c.b = operand(turned ? 0 : 1);
    c.sum = scalar("product");
    context_.set_value({v, pair_}, loop::variable(c.sum));
    return c;
  }

  Contraction result(const Cluster::OfPairs& one, const Index& full, const Axis& keys) {
    Contraction c = common_;
    const Vertex v = one.product;
    const ContractionRoles roles = roles_of(v);
    const std::size_t column = one.weights == 0 ? roles.columns[0] : roles.rows[0];
    const Factors factors = factors_of(v, full, key_);
    const auto operand = [&](int k) {
      return context_.value(graph_.operand(v, k), factors[static_cast<std::size_t>(k)]);
    };
    if (factors[static_cast<std::size_t>(one.weights)] != pair_)
      throw InternalError("pairs: results of other pairs in one kernel");
    c.columns = {{full[column]->variable, graph_[v].type.shape[column]}};
    c.inner = {keys};
    c.a = operand(one.weights);
    c.b = operand(1 - one.weights);
    c.sum = scalar("sum");
    context_.set_value({v, full}, loop::variable(c.sum));
    for (const Vertex root : cluster_.roots) {
      if (!depends_on(graph_, root, v)) continue;
      c.stores.push_back(std::get<loop::Store>(context_.store_root(root, full)));
    }
    return c;
  }

  static loop::Variable scalar(const char* name) { return loop::fresh_variable(name, DType::f32); }

  KernelContext& context_;
  const Graph& graph_;
  const Cluster& cluster_;
  const loop::Variable key_;
  Index pair_;          // where what has a number for each pair is asked for
  Contraction common_;  // batch and rows
};

// A sum of products of the rows of two arrays.
loop::Kernel row_dots(KernelContext& context) {
  const Graph& graph = context.graph();
  const Cluster& cluster = context.cluster();
  const Vertex result = cluster.scores, product = cluster.products;
  const auto factors = [&](Vertex v, const Index& index, const loop::Expr& inner) {
    return graph[v].op->factors(graph[v].attributes, index, {inner});
  };
  const std::size_t columns =
      graph[result]
          .op
          ->roles(graph[result].attributes, graph[graph.operand(result, 0)].type.shape,
                  graph[graph.operand(result, 1)].type.shape)
          .columns[0];
  const Dims& shape = graph[result].type.shape;
  std::vector<loop::Variable> variables;
  std::vector<Dim> extents;
  Index full;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    const loop::Variable variable = loop::fresh_variable("i");
    full.push_back(loop::variable(variable));
    if (axis == columns) continue;
    variables.push_back(variable);
    extents.push_back(shape[axis]);
  }
  const loop::Expr key = loop::variable(loop::fresh_variable("key"));
  const Index pair = factors(result, full, key)[0];
  const int number = *given_operand(graph, product, result);
  const Index given = factors(product, pair, full[columns])[static_cast<std::size_t>(number)];
  Index row = pair;
  std::erase(row, key);
  const loop::Variable sum = loop::fresh_variable("sum", DType::f32);
  loop::For over_columns;
  over_columns.variable = full[columns]->variable;
  over_columns.extent = loop::size(shape[columns]);
  over_columns.body = {
      loop::Accumulate{sum, loop::Op::add,
                       context.value(graph.operand(product, number), given) *
                           loop::cast(context.value(cluster.weights, full), DType::f32)}};
  context.set_value({cluster.hero, row}, loop::variable(sum));
  loop::Kernel kernel;
  kernel.body =
      loop::nest(variables, extents,
                 {loop::Declare{sum, loop::real(0, DType::f32)},
                  loop::statement(std::move(over_columns)), context.store_root(cluster.hero, row)});
  kernel.work = loop::size(element_count(shape) * 2);
  return kernel;
}

}  // namespace

bool computes_pairs(const PairOperands& operands, const Machine& machine) {
  return plan_pairs_for(operands, 0, machine).has_value();
}

std::vector<loop::Kernel> lower_pairs(KernelContext& context, const Machine& machine) {
  if (context.cluster().heroes.empty()) {
    return {schedule(row_dots(context), machine, &context.buffers())};
  }
  const Pairs pairs = PairsMaker(context).run();
  const loop::Expr& operand = pairs.products[0].a;
  const bool is_converted =
      operand->op == loop::Op::cast && is_only_stored(operand->args[0]->dtype);
  PairOperands operands{is_converted ? operand->args[0]->dtype : operand->dtype, {}, {}};
  int shared = 0;
  for (const Contraction& product : pairs.products) {
    operands.inner.push_back(count(product.inner).constant());
  }
  for (const Contraction& result : pairs.results) {
    operands.columns.push_back(count(result.columns).constant());
    shared += std::any_of(
        pairs.products.begin(), pairs.products.end(),
        [&](const Contraction& product) { return shares_tile(product, result, operands.element); });
  }
  const std::optional<GpuPairsPlan> plan = plan_pairs_for(operands, shared, machine);
  if (!plan) throw InternalError("pairs: there is no plan for them");
  return {build_gpu_pairs(pairs, *plan, context.buffers().maker())};
}

}  // namespace kroton
