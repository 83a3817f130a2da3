// A product of free sizes that has one column or one row at a call uses nothing twice: a tile has a
// vector for the one column, and a panel is packed for the one row. So such a product has kernels
// of its own, reductions as those of a product of known sizes (small_dots), in which that size is
// 1: what lies that many elements apart lies next to each other. Which of the kernels has results
// to compute is seen at run time. Few inner elements are left to the tiles, whose rows share a
// vector.
#include "compiler/lower/vector_products.h"

#include <algorithm>

#include "compiler/loop/traverse.h"

namespace kroton {
namespace {

// 1 where the size is 1, else 0.
Dim is_one(const Dim& size) { return minimum(size, maximum(0, Dim(2) - size)); }

// The contraction where `axis`, whose size is a variable, has one element.
Contraction with_one(Contraction c, AxisList Contraction::* role) {
  const Axis axis = (c.*role)[0];
  const DimAtomRef size = axis.extent.as_variable();
  const auto known = [&](const Dim& dim) {
    return dim.substitute([&](const DimAtomRef& atom) {
      return atom == size ? std::optional(Dim(1)) : std::nullopt;
    });
  };
  loop::Rewriter rewrite([&](const loop::Expr& e) {
    if (e->op == loop::Op::size) return loop::size(known(e->dim));
    const bool is_index = e->op == loop::Op::variable && e->variable == axis.variable;
    return is_index ? loop::integer(0) : e;
  });
  (c.*role).clear();
  for (AxisList* axes : {&c.batch, &c.rows, &c.columns, &c.inner}) {
    for (Axis& other : *axes) other.extent = known(other.extent);
  }
  c.a = rewrite(c.a);
  c.b = rewrite(c.b);
  for (loop::Store& store : c.stores) {
    store.index = rewrite(store.index);
    store.value = rewrite(store.value);
  }
  return c;
}

// The kernel, with no iteration where `condition`, which is 0 or 1, is 0.
void run_if(loop::Kernel& kernel, const Dim& condition) {
  loop::For outermost = *loop::as_for(kernel.body.at(0));
  outermost.extent = outermost.extent * loop::size(condition);
  kernel.body = {loop::statement(std::move(outermost))};
  kernel.work = kernel.work * loop::size(condition);
}

}  // namespace

loop::Kernel loops_of_sums(const Contraction& c, const loop::Expr& added, const AxisList& parts) {
  loop::Block body{loop::Accumulate{c.sum, loop::Op::add, added}};
  const auto around = [&](const AxisList& axes, bool is_independent) {
    for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) {
      loop::For loop;
      loop.variable = axis->variable;
      loop.extent = loop::size(axis->extent);
      loop.body = std::move(body);
      loop.is_independent = is_independent;
      body = {loop::statement(std::move(loop))};
    }
  };
  around(c.inner, false);
  body.insert(body.begin(), loop::Declare{c.sum, loop::real(0, c.dtype)});
  body.insert(body.end(), c.stores.begin(), c.stores.end());
  for (const AxisList* axes : {&c.columns, &c.rows, &c.batch, &parts}) around(*axes, true);
  loop::Kernel kernel;
  kernel.body = std::move(body);
  kernel.work = loop::size(c.work());
  return kernel;
}

std::vector<loop::Kernel> with_vector_products(const Contraction& c, loop::Kernel tiles,
                                               const Machine& machine, BufferTable& buffers) {
  std::vector<loop::Kernel> kernels;
  Dim is_tiled = 1;
  if (c.positions.empty() && c.rows.size() == 1 && c.columns.size() == 1 && c.inner.size() == 1) {
    const std::int64_t lanes = machine.vector_bytes / static_cast<std::int64_t>(size_of(c.dtype));
    const Dim has_many = minimum(1, floor_div(c.inner[0].extent, Dim(lanes + 1)));
    const auto add = [&](AxisList Contraction::* role, const Dim& condition) {
      const Contraction one = with_one(c, role);
      loop::Kernel kernel = loops_of_sums(one, one.a * one.b);
      run_if(kernel, condition);
      kernels.push_back(schedule(kernel, machine, &buffers));
      is_tiled = is_tiled - condition;
    };
    const Dim &rows = c.rows[0].extent, &columns = c.columns[0].extent;
    if (!columns.is_constant() && !has_many.is_constant(0)) {
      // By minima and maxima: a product would be multiplied out.
      const Dim one_column = minimum(is_one(columns), has_many);
      if (columns.as_variable()) add(&Contraction::columns, one_column);
      if (rows.as_variable()) {
        add(&Contraction::rows, minimum(minimum(is_one(rows), has_many), Dim(1) - one_column));
      }
    }
  }
  if (!kernels.empty()) run_if(tiles, maximum(0, is_tiled));
  kernels.push_back(std::move(tiles));
  return kernels;
}

}  // namespace kroton
