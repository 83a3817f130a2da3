#include "compiler/contraction/gpu_step_parts.h"

#include <algorithm>

#include "compiler/contraction/gpu_tile_builder.h"
#include "compiler/loop/index_arithmetic.h"

namespace kroton {
namespace {

using loop::Op;

// Rows of a block, and its elements of each.
constexpr int part_rows = 16;
constexpr int part_elements = 8;
// Of a block; a warp has 16 rows, a thread 4 and some groups of 4 neighbouring columns.
constexpr int part_warps = 4;
constexpr int part_threads = part_warps * Machine::warp;
constexpr int part_rows_of_thread = 4;
constexpr int part_group = 4;
constexpr int part_threads_across = 8;
constexpr int part_columns = part_warps * part_threads_across * part_group;
constexpr std::int64_t most_part_bytes = 32 << 10;  // of b in shared memory
constexpr std::int64_t most_parts = 32;
// Tiles of a large device's blocks that contributions are kept of.
constexpr std::int64_t most_part_tiles = 4 * 132;

loop::Expr part_quotient(const loop::Expr& a, const loop::Expr& b) {
  return loop::binary(Op::floor_div, a, b);
}
loop::Expr part_quotient(const loop::Expr& a, int b) { return part_quotient(a, loop::integer(b)); }
loop::Expr part_rest(const loop::Expr& a, const loop::Expr& b) {
  return loop::binary(Op::mod, a, b);
}
loop::Expr part_rest(const loop::Expr& a, int b) { return part_rest(a, loop::integer(b)); }

// The stores of a nest of loops.
struct Nest {
  std::vector<const loop::For*> loops;
  const loop::Block* core = nullptr;
};
Nest nest_of(const loop::Kernel& kernel) {
  Nest nest;
  nest.core = &kernel.body;
  while (nest.core->size() == 1 && loop::as_for(nest.core->front()) != nullptr) {
    nest.loops.push_back(loop::as_for(nest.core->front()));
    nest.core = &nest.loops.back()->body;
  }
  return nest;
}

// An element of a block: its row and its number there, among all and in the block.
struct PartElement {
  loop::Expr row, element, row_of_block, element_of_block;
};
// A kernel of blocks with 16 rows of 8 elements each.
template <class Body>
loop::Kernel in_part_blocks(const StepElements& axes, const Body& body) {
  const Dim tile_rows = ceil_div(axes.row.extent, Dim(part_rows));
  loop::For blocks;
  blocks.kind = loop::LoopKind::block;
  blocks.variable = loop::fresh_variable("block");
  blocks.extent = loop::size(tile_rows * ceil_div(axes.element.extent, Dim(part_elements)));
  blocks.width = part_threads;
  const loop::Expr number = loop::variable(blocks.variable);
  const loop::Expr first_row = part_rest(number, loop::size(tile_rows)) * loop::integer(part_rows);
  const loop::Variable t = loop::fresh_variable("t");
  const loop::Expr own_row = part_quotient(loop::variable(t), part_elements);
  const loop::Expr own = part_rest(loop::variable(t), part_elements);
  const loop::Expr element =
      part_quotient(number, loop::size(tile_rows)) * loop::integer(part_elements) + own;
  loop::For threads;
  threads.kind = loop::LoopKind::thread;
  threads.variable = t;
  threads.extent = loop::integer(part_threads);
  if (!fits(axes.row.extent, part_rows)) {
    threads.extent =
        loop::binary(Op::min, loop::size(axes.row.extent) - first_row, loop::integer(part_rows)) *
        loop::integer(part_elements);
  }
  threads.body =
      GpuTileBuilder::inside(element, axes.element.extent, part_elements,
                             body(PartElement{first_row + own_row, element, own_row, own}));
  blocks.body = {loop::statement(std::move(threads))};
  loop::Kernel kernel;
  kernel.body = loop::simplify_indices({loop::statement(std::move(blocks))});
  return kernel;
}

constexpr int part_a_stride = part_rows + gpu_tile_padding;
// Where an element of a lies in a block's shared memory.
loop::Expr place_of_a(const loop::Expr& k, const loop::Expr& row) {
  return k * loop::integer(part_a_stride) + row;
}

class Contributions final : public GpuTileBuilder {
 public:
  Contributions(const Contraction& product, const GpuTilePlan& plan,
                const loop::NewBuffer& new_buffer)
      : GpuTileBuilder(product, plan, new_buffer),
        sums_of_row_(plan.columns / (part_warps * part_threads_across)) {
    kept_ = buffer("b_kept", plan.depth * plan.columns, loop::Space::shared);
    a_ = buffer("a_part", plan.depth * part_a_stride, loop::Space::shared);
    sums_ = buffer("sums", part_rows_of_thread * sums_of_row_, loop::Space::registers);
  }

  StepParts parts() {
    StepParts made;
    loop::Kernel kernel = run_in_parts().partial;
    loop::For blocks = *loop::as_for(kernel.body[0]);
    blocks.width = part_threads;
    kernel.body = {loop::Allocate{kept_}, loop::Allocate{a_}, loop::statement(std::move(blocks))};
    made.made = a_;
    made.contributions = std::move(kernel);
    return made;
  }

 private:
  loop::BufferRef buffer(const char* name, int size, loop::Space space) const {
    return new_buffer_(name, c_.dtype, Dim(size), space);
  }
  loop::Expr first_inner() const { return steps().first * loop::integer(plan_.depth); }

  loop::Block tile() override {
    loop::Block block{loop::Allocate{sums_}};
    const loop::Variable brings = loop::fresh_variable("brings", DType::boolean);
    block.push_back(
        loop::statement(loop::If{loop::variable(brings), {bring(), no_elements()}, {}}));
    block.push_back(over_sums([&](const Sum& sum) {
      return loop::Block{loop::Store{sums_, sum.number, loop::real(0, c_.dtype)}};
    }));
    block.push_back(loop::Barrier{});
    const loop::Variable k = loop::fresh_variable("k");
    block.push_back(over_sums(
        [&](const Sum& sum) {
          const loop::Expr inner = loop::variable(k);
          const loop::Expr a = loop::load(a_, place_of_a(inner, sum.row));
          const loop::Expr b = loop::load(kept_, inner * loop::integer(plan_.columns) + sum.column);
          return loop::Block{
              loop::Store{sums_, sum.number, loop::fma(a, b, loop::load(sums_, sum.number))}};
        },
        plan_.depth, k));
    block.push_back(over_sums(
        [&](const Sum& sum) {
          const loop::Variable next = loop::fresh_variable("next");
          return store_neighbours(sum.row, sum.column, next, part_group,
                                  loop::load(sums_, sum.number + loop::variable(next)));
        },
        0, {}, part_group));
    return block;
  }

  loop::Stmt bring() const {
    const loop::Variable t = loop::fresh_variable("t"), r = loop::fresh_variable("r"),
                         n = loop::fresh_variable("n");
    const int at_once = plan_.columns / part_threads;
    const loop::Expr number = (loop::variable(r) * loop::integer(at_once) + loop::variable(n)) *
                                  loop::integer(part_threads) +
                              loop::variable(t);
    const bool runs_columns = is_contiguous(c_.b, c_.columns.back());
    const loop::Expr k =
        runs_columns ? part_quotient(number, plan_.columns) : part_rest(number, plan_.depth);
    const loop::Expr column =
        runs_columns ? part_rest(number, plan_.columns) : part_quotient(number, plan_.depth);
    const loop::Expr inner = first_inner() + k;
    loop::Expr is_there = loop::boolean_constant(true);
    if (!fits(inner_, plan_.depth)) is_there = loop::binary(Op::lt, inner, loop::size(inner_));
    if (!fits(columns_, plan_.columns)) {
      is_there = loop::binary(Op::logical_and, is_there,
                              loop::binary(Op::lt, column, loop::size(columns_)));
    }
    Places places = places_of(c_.columns, column);
    for (auto& one : places_of(c_.inner, inner)) places.push_back(std::move(one));
    loop::For rounds;
    rounds.variable = r;
    rounds.extent = loop::integer(plan_.depth);
    rounds.body = unrolled(n, at_once,
                           {loop::Store{kept_, k * loop::integer(plan_.columns) + column,
                                        only_inside(loop::substitute(c_.b, places), is_there)}});
    return threads(t, part_threads, {loop::statement(std::move(rounds))});
  }

  // Zeros in place of elements that there are not.
  loop::Stmt no_elements() const {
    const loop::Variable t = loop::fresh_variable("t"), n = loop::fresh_variable("n");
    const loop::Expr number = loop::variable(n) * loop::integer(part_threads) + loop::variable(t);
    const loop::Expr k = part_quotient(number, part_rows), row = part_rest(number, part_rows);
    const loop::Expr is_there =
        loop::binary(Op::logical_and, loop::binary(Op::lt, first_inner() + k, loop::size(inner_)),
                     loop::binary(Op::lt, first_row_ + row, loop::size(rows_)));
    const loop::Store zero{a_, place_of_a(k, row), loop::real(0, c_.dtype)};
    return threads(t, part_threads,
                   unrolled(n, part_rows * plan_.depth / part_threads,
                            {loop::statement(loop::If{is_there, {}, {zero}})}));
  }

  struct Sum {
    loop::Expr row, column, number;
  };
  // `body` for every sum of every thread, and for each of `depth` inner elements if given; or for
  // the first of every `together` neighbours.
  template <class Body>
  loop::Stmt over_sums(const Body& body, int depth = 0, const loop::Variable& k = {},
                       int together = 1) const {
    const loop::Variable t = loop::fresh_variable("t"), i = loop::fresh_variable("i"),
                         j = loop::fresh_variable("j");
    const loop::Expr lane = part_rest(loop::variable(t), Machine::warp);
    const loop::Expr warp = part_quotient(loop::variable(t), Machine::warp);
    const loop::Expr number = loop::variable(j) * loop::integer(together);
    const loop::Expr across =
        warp * loop::integer(part_threads_across) + part_rest(lane, part_threads_across);
    const Sum sum{part_quotient(lane, part_threads_across) * loop::integer(part_rows_of_thread) +
                      loop::variable(i),
                  part_quotient(number, part_group) * loop::integer(part_columns) +
                      across * loop::integer(part_group) + part_rest(number, part_group),
                  loop::variable(i) * loop::integer(sums_of_row_) + number};
    loop::Block inside = unrolled(j, sums_of_row_ / together, body(sum));
    inside = unrolled(i, part_rows_of_thread, std::move(inside));
    if (depth > 0) inside = unrolled(k, depth, std::move(inside));
    return threads(t, part_threads, std::move(inside));
  }

  const int sums_of_row_;  // that a thread has
  loop::BufferRef kept_, a_, sums_;
};

}  // namespace

std::optional<StepElements> step_elements(const loop::Kernel& elements) {
  const Nest nest = nest_of(elements);
  if (nest.loops.empty() || nest.loops.size() > 2) return std::nullopt;
  for (const loop::Stmt& s : *nest.core) {
    if (!std::holds_alternative<loop::Store>(s)) return std::nullopt;
  }
  const std::optional<Dim> rows =
      nest.loops.size() == 2 ? loop::as_dim(nest.loops[0]->extent) : std::optional<Dim>(1);
  const std::optional<Dim> width = loop::as_dim(nest.loops.back()->extent);
  if (!rows || !width || !width->is_constant()) return std::nullopt;
  const loop::Variable row =
      nest.loops.size() == 2 ? nest.loops[0]->variable : loop::fresh_variable("row");
  return StepElements{{row, *rows}, {nest.loops.back()->variable, *width}};
}

loop::Kernel deal_out(const loop::Kernel& elements, const StepElements& axes) {
  const Nest nest = nest_of(elements);
  loop::Kernel kernel = in_part_blocks(axes, [&](const PartElement& at) {
    return loop::substitute(*nest.core,
                            {{axes.row.variable, at.row}, {axes.element.variable, at.element}});
  });
  kernel.work = elements.work;
  return kernel;
}

std::optional<StepParts> build_step_parts(const Contraction& product, const loop::Kernel& elements,
                                          const loop::NewBuffer& new_buffer) {
  const std::optional<StepElements> axes = step_elements(elements);
  if (!axes || product.dtype != DType::f32 || !product.batch.empty() || product.rows.size() != 1 ||
      product.inner.size() != 1 || product.a->op != Op::load || product.a->dtype != DType::f32 ||
      loop::is_conditional(*product.a) || product.rows[0].extent != axes->row.extent ||
      may_stop(product.b)) {
    return std::nullopt;
  }
  const Dim width = axes->element.extent, columns = count(product.columns);
  if (!columns.is_constant() || columns.constant() == 0 || width.constant() == 0) {
    return std::nullopt;
  }
  // Where an element stores what the product reads.
  const Axis& inner = product.inner[0];
  Places of_element{{product.rows[0].variable, loop::variable(axes->row.variable)},
                    {inner.variable, loop::variable(axes->element.variable)}};
  const loop::Expr first = loop::substitute(product.a->args[0], of_element);
  std::vector<std::int64_t> apart;
  for (const loop::Stmt& s : *nest_of(elements).core) {
    const auto& stored = std::get<loop::Store>(s);
    if (stored.buffer->id != product.a->buffer->id) continue;
    const std::optional<Dim> distance = loop::difference(stored.index, first);
    if (!distance || !distance->is_constant()) return std::nullopt;
    apart.push_back(distance->constant());
  }
  std::sort(apart.begin(), apart.end());
  for (std::size_t k = 0; k < apart.size(); ++k) {
    if (apart[k] != static_cast<std::int64_t>(k) * width.constant()) return std::nullopt;
  }
  const auto gates = static_cast<std::int64_t>(apart.size());
  if (gates == 0 || inner.extent != Dim(gates) * width || !is_contiguous(product.a, inner)) {
    return std::nullopt;
  }
  GpuTilePlan plan;
  plan.rows = part_rows;
  plan.columns =
      static_cast<int>((columns.constant() + part_columns - 1) / part_columns) * part_columns;
  plan.depth = static_cast<int>(gates) * part_elements;
  plan.slices_of_part = 1;
  const std::int64_t parts = (width.constant() + part_elements - 1) / part_elements;
  if (std::int64_t{plan.columns} * plan.depth * 4 > most_part_bytes || parts > most_parts ||
      part_rows * plan.depth % part_threads != 0) {
    return std::nullopt;
  }
  const Dim tiles = ceil_div(product.rows[0].extent, Dim(part_rows)) * Dim(parts);
  const Dim are_few = 1 - minimum(1, floor_div(tiles, most_part_tiles + 1));

  Contraction split = product;
  const Axis element{loop::fresh_variable("element"), width},
      gate{loop::fresh_variable("gate"), gates};
  const loop::Expr k = loop::variable(element.variable) +
                       loop::variable(gate.variable) * loop::integer(width.constant());
  split.inner = {element, gate};
  split.a = loop::substitute(product.a, {{inner.variable, k}});
  split.b = loop::substitute(product.b, {{inner.variable, k}});
  loop::BufferRef partial;
  const loop::NewBuffer noting = [&](const std::string& name, DType dtype, const Dim& size,
                                     loop::Space space) {
    const bool is_partial = space == loop::Space::global;
    loop::BufferRef made = new_buffer(name, dtype, is_partial ? size * are_few : size, space);
    if (is_partial) partial = made;
    return made;
  };
  StepParts made = Contributions(split, plan, noting).parts();
  // What is stored of a goes to the block's part of it too.
  loop::Block stores;
  const loop::Variable own_row = loop::fresh_variable("row"), own = loop::fresh_variable("own");
  for (const loop::Stmt& s : *nest_of(elements).core) {
    const auto& stored = std::get<loop::Store>(s);
    stores.push_back(s);
    if (stored.buffer->id != product.a->buffer->id) continue;
    const std::int64_t number =
        loop::difference(stored.index, first)->constant() / width.constant();
    const loop::Expr at = loop::variable(own) * loop::integer(gates) + loop::integer(number);
    stores.push_back(loop::Store{made.made, place_of_a(at, loop::variable(own_row)), stored.value});
  }
  made.elements = in_part_blocks(*axes, [&](const PartElement& at) {
    return loop::substitute(stores, {{axes->row.variable, at.row},
                                     {axes->element.variable, at.element},
                                     {own_row, at.row_of_block},
                                     {own, at.element_of_block}});
  });
  made.elements.work = elements.work;
  made.partial = partial;
  made.are_few = are_few;

  // The sums of the contributions, in the order of the parts, all of which are on their way at
  // once.
  const Axis& row = product.rows[0];
  const StepElements results{row, {loop::fresh_variable("column"), columns}};
  const loop::BufferRef held =
      new_buffer("contributed", product.dtype, Dim(parts), loop::Space::registers);
  made.sums = in_part_blocks(results, [&](const PartElement& result) {
    const loop::Expr &of_row = result.row, &column = result.element;
    const loop::Variable part = loop::fresh_variable("part");
    const loop::Expr at =
        (loop::variable(part) * loop::size(row.extent) + of_row) * loop::size(columns) + column;
    loop::Block body{loop::Allocate{held}};
    for (loop::Stmt& s : GpuTileBuilder::unrolled(
             part, static_cast<int>(parts),
             {loop::Store{held, loop::variable(part), loop::load(partial, at)}})) {
      body.push_back(std::move(s));
    }
    loop::Expr sum = loop::load(held, loop::integer(0));
    for (std::int64_t p = 1; p < parts; ++p) sum = sum + loop::load(held, loop::integer(p));
    Places places = GpuTileBuilder::places_of(product.columns, column);
    places.emplace_back(row.variable, of_row);
    const loop::Variable total = loop::fresh_variable("sum", product.dtype);
    body.push_back(loop::Declare{total, sum});
    places.emplace_back(product.sum, loop::variable(total));
    for (const loop::Store& s : product.stores) {
      for (loop::Stmt& one : loop::substitute(loop::Block{s}, places))
        body.push_back(std::move(one));
    }
    return body;
  });
  made.sums.work = loop::size(tiles * Dim(part_rows) * columns);
  return made;
}

}  // namespace kroton
