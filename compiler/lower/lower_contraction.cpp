// Matrix products, as contractions.
#include "compiler/contraction/gpu_tiles.h"
#include "compiler/contraction/library_product.h"
#include "compiler/contraction/tiles.h"
#include "compiler/loop/traverse.h"
#include "compiler/lower/kernel_context.h"
#include "compiler/ops/attribute_views.h"

namespace kroton {
namespace {

// The product of the cluster's `dot`, with what the cluster does with it.
Contraction contraction_of(KernelContext& context) {
  const Graph& graph = context.graph();
  const Cluster& cluster = context.cluster();
  const Graph::Vertex dot = cluster.hero;
  const auto axis_of = [&](std::size_t axis) {
    return Axis{cluster.variables[axis], cluster.domain[axis]};
  };
  const std::size_t rank = cluster.domain.size();
  const DotView view(graph[dot].attributes);
  const Dims& a_shape = graph[graph.operand(dot, 0)].type.shape;
  Contraction c;
  c.dtype = graph[dot].type.dtype;
  for (std::size_t axis = 0; axis + 2 < rank; ++axis) c.batch.push_back(axis_of(axis));
  c.rows = {axis_of(rank - 2)};
  c.columns = {axis_of(rank - 1)};
  c.inner = {{loop::fresh_variable("k"), a_shape[rank - (view.transposes_a ? 2 : 1)]}};
  const auto operand = [&](int number, const Axis& row, const Axis& column, bool transposed) {
    Index index;
    for (const Axis& axis : c.batch) index.push_back(loop::variable(axis.variable));
    index.push_back(loop::variable((transposed ? column : row).variable));
    index.push_back(loop::variable((transposed ? row : column).variable));
    return context.value(graph.operand(dot, number), index);
  };
  c.a = operand(0, c.rows[0], c.inner[0], view.transposes_a);
  c.b = operand(1, c.inner[0], c.columns[0], view.transposes_b);
  c.sum = loop::fresh_variable("sum");
  c.sum.dtype = c.dtype;
  context.set_value({dot, cluster.full_point()}, loop::variable(c.sum));
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
