// Contractions: which sums of products there are, and the kernels that compute them.
#include <algorithm>

#include "compiler/contraction/gpu_tiles.h"
#include "compiler/contraction/library_product.h"
#include "compiler/contraction/tiles.h"
#include "compiler/loop/traverse.h"
#include "compiler/lower/kernel_context.h"

namespace kroton {
namespace {

// The sums of the cluster's contraction, with what the cluster does with them. Columns are what the
// last axis of the result is among: its elements are neighbours in memory.
Contraction contraction_of(KernelContext& context) {
  const Graph& graph = context.graph();
  const Cluster& cluster = context.cluster();
  const Graph::Vertex hero = cluster.hero;
  const OpRecord& op = *graph[hero].op;
  const Attributes& attributes = graph[hero].attributes;
  const Graph::Vertex operands[] = {graph.operand(hero, 0), graph.operand(hero, 1)};
  const ContractionRoles roles =
      op.roles(attributes, graph[operands[0]].type.shape, graph[operands[1]].type.shape);
  Contraction c;
  c.dtype = graph[hero].type.dtype;
  const auto axes = [&](const std::vector<std::size_t>& of_result) {
    AxisList list;
    for (const std::size_t axis : of_result) {
      list.push_back({cluster.variables[axis], cluster.domain[axis]});
    }
    return list;
  };
  c.batch = axes(roles.batch);
  c.rows = axes(roles.rows);
  c.columns = axes(roles.columns);
  Index inner;
  for (const Dim& size : roles.inner) {
    c.inner.push_back({loop::fresh_variable("k"), size});
    inner.push_back(loop::variable(c.inner.back().variable));
  }
  const Factors factors = op.factors(attributes, cluster.full_point(), inner);
  c.a = context.value(operands[0], factors[0]);
  c.b = context.value(operands[1], factors[1]);
  const bool ends_with_a_row = std::find(roles.rows.begin(), roles.rows.end(),
                                         cluster.domain.size() - 1) != roles.rows.end();
  if (ends_with_a_row) {
    std::swap(c.a, c.b);
    std::swap(c.rows, c.columns);
  }
  c.sum = loop::fresh_variable("sum");
  c.sum.dtype = c.dtype;
  context.set_value({hero, cluster.full_point()}, loop::variable(c.sum));
  for (const Graph::Vertex root : cluster.roots) {
    c.stores.push_back(std::get<loop::Store>(context.store_root(root, cluster.full_point())));
  }
  c.cost = context.cost();
  return c;
}

// A kernel that copies A to a buffer of its own, (batch, rows, inner), where the contraction then
// reads it.
loop::Kernel copy_a(Contraction& c, const Machine& machine, BufferTable& buffers) {
  std::vector<loop::Variable> variables;
  Dims extents;
  Index index;
  for (const AxisList& axes : {c.batch, c.rows, c.inner}) {
    for (const Axis& axis : axes) {
      variables.push_back(axis.variable);
      extents.push_back(axis.extent);
      index.push_back(loop::variable(axis.variable));
    }
  }
  const loop::Expr place = linear_index(extents, index);
  const loop::BufferRef copy = buffers.create("a", c.dtype, element_count(extents));
  loop::Kernel kernel;
  kernel.body = loop::nest(variables, extents, {loop::Store{copy, place, c.a}});
  kernel.work = loop::size(element_count(extents));
  c.a = loop::load(copy, place);
  return schedule(kernel, machine, &buffers);
}

}  // namespace

std::vector<loop::Kernel> lower_contraction(KernelContext& context, const Machine& machine) {
  Contraction c = contraction_of(context);
  const loop::NewBuffer new_buffer = context.buffers().maker();
  if (machine.gpu) {
    loop::Kernel kernel = build_gpu_tiles(c, plan_gpu_tiles(c), new_buffer);
    kernel.instead = library_product(c);
    return {kernel};
  }
  std::vector<loop::Kernel> kernels;
  if (copies_a(c)) kernels.push_back(copy_a(c, machine, context.buffers()));
  kernels.push_back(build_tiles(c, plan_tiles(c, machine), new_buffer));
  return kernels;
}

}  // namespace kroton
