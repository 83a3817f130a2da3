#include "compiler/contraction/gpu_step_tiles.h"

#include <algorithm>

#include "compiler/contraction/gpu_tile_builder.h"
#include "compiler/loop/index_arithmetic.h"

namespace kroton {
namespace {

using loop::Op;

constexpr int step_rows = 16;
// Columns of a tile, and elements of a row at least.
constexpr int step_columns = 32;
constexpr int least_elements = 8;
// Of a block; each warp multiplies 4 rows by an eighth of the columns a thread.
constexpr int step_warps = 4;
constexpr int step_threads = step_warps * Machine::warp;
constexpr int rows_of_thread = 4;
constexpr int threads_across = 8;
// Inner elements of a slice of a: what a thread has under way of the next one has to last for a
// latency.
constexpr int most_depth = 64;
constexpr int depth_step = step_warps * 4;
// Of the operand b in shared memory.
constexpr std::int64_t most_kept_bytes = 32 << 10;
// Values that a thread has loaded before it knows the sums.
constexpr int most_early = 32;

loop::Expr quotient_of(const loop::Expr& a, int b) {
  return loop::binary(Op::floor_div, a, loop::integer(b));
}
loop::Expr rest_of(const loop::Expr& a, int b) {
  return loop::binary(Op::mod, a, loop::integer(b));
}
loop::Expr and_also(const loop::Expr& a, const loop::Expr& b) {
  return loop::binary(Op::logical_and, a, b);
}

bool loads_any(const loop::Expr& e) {
  const std::vector<loop::Expr> nodes = loop::post_order(std::span(&e, 1));
  return std::any_of(nodes.begin(), nodes.end(),
                     [](const loop::Expr& node) { return node->op == Op::load; });
}

GpuTilePlan step_plan(const StepProduct& step) {
  int elements = step_columns;
  while (elements * step.together > step_columns && elements > least_elements) elements /= 2;
  GpuTilePlan plan;
  plan.rows = step_rows;
  plan.columns = elements * step.together;
  plan.thread_rows = rows_of_thread;
  plan.thread_columns = plan.columns / threads_across;
  const std::int64_t inner = std::max<std::int64_t>(count(step.product.inner).constant(), 1);
  plan.depth = static_cast<int>(
      std::min<std::int64_t>(most_depth, (inner + depth_step - 1) / depth_step * depth_step));
  return plan;
}

class StepTileBuilder final : public GpuTileBuilder {
 public:
  StepTileBuilder(const StepProduct& step, const GpuTilePlan& plan,
                  const loop::NewBuffer& new_buffer)
      : GpuTileBuilder(step.product, plan, new_buffer),
        step_(step),
        elements_(plan.columns / step.together),
        slices_(static_cast<int>(
            std::max<std::int64_t>(1, (inner_.constant() + plan.depth - 1) / plan.depth))) {
    kept_ = buffer("b_kept", slices_ * plan.depth * plan.columns, loop::Space::shared);
    work_ = buffer("work", std::max(plan.depth * a_stride(), step_warps * step_rows * sum_stride()),
                   loop::Space::shared);
    sums_ = buffer("sums", plan.thread_rows * plan.thread_columns, loop::Space::registers);
    next_ = buffer("a_next", held(), loop::Space::registers);
  }

  std::optional<loop::Kernel> kernel() {
    const std::int64_t bytes =
        kept_->size.constant() * static_cast<std::int64_t>(size_of(kept_->dtype));
    if (bytes > most_kept_bytes || may_stop(c_.a) || may_stop(c_.b)) return std::nullopt;
    loop::Kernel made = run();
    loop::For blocks = *loop::as_for(made.body[0]);
    blocks.width = step_threads;
    made.body = {loop::Allocate{kept_}, loop::statement(std::move(blocks))};
    made.work = step_.work;
    return made;
  }

 private:
  loop::BufferRef buffer(const char* name, int size, loop::Space space) const {
    return new_buffer_(name, c_.dtype, Dim(size), space);
  }
  int a_stride() const { return step_rows + gpu_tile_padding; }
  int sum_stride() const { return plan_.columns + gpu_tile_padding; }
  // Of a row of the tile.
  loop::Expr first_element() const {
    return quotient_of(first_column_, plan_.columns) * loop::integer(elements_);
  }
  // Elements of a slice of a that a thread has under way.
  int held() const { return step_rows * plan_.depth / step_threads; }

  loop::Block tile() override {
    loop::Block block{loop::Allocate{work_}, loop::Allocate{sums_}, loop::Allocate{next_}};
    block.push_back(loop::statement(loop::If{loop::variable(brings_), {bring()}, {}}));
    block.push_back(fetch(loop::integer(0)));
    loop::Block stores = load_early(block);
    block.push_back(over_sums([&](const Sum& sum) {
      return loop::Block{loop::Store{sums_, sum.number, loop::real(0, c_.dtype)}};
    }));
    loop::For slices;
    slices.variable = loop::fresh_variable("slice");
    slices.extent = loop::integer(slices_);
    const loop::Expr slice = loop::variable(slices.variable);
    slices.body = {to_shared(), loop::Barrier{}, fetch(slice + loop::integer(1)), multiply(slice),
                   loop::Barrier{}};
    block.push_back(loop::statement(std::move(slices)));
    block.push_back(over_sums([&](const Sum& sum) {
      const loop::Expr at =
          (sum.warp * loop::integer(step_rows) + sum.row) * loop::integer(sum_stride()) +
          sum.column;
      return loop::Block{loop::Store{work_, at, loop::load(sums_, sum.number)}};
    }));
    block.push_back(loop::Barrier{});
    block.push_back(over_elements([&](const Element& element) {
      loop::Block body;
      Places values;
      for (int k = 0; k < step_.together; ++k) {
        const loop::Expr column = element.place * loop::integer(step_.together) + loop::integer(k);
        loop::Expr sum;
        for (int warp = 0; warp < step_warps; ++warp) {
          const loop::Expr at =
              (loop::integer(warp * step_rows) + element.row) * loop::integer(sum_stride()) +
              column;
          const loop::Expr part = loop::load(work_, at);
          sum = warp == 0 ? part : sum + part;
        }
        const loop::Variable value = loop::fresh_variable("sum", c_.dtype);
        body.push_back(loop::Declare{value, sum});
        values.emplace_back(step_.sums[static_cast<std::size_t>(k)], loop::variable(value));
      }
      for (auto& place : element.places) values.push_back(place);
      values.emplace_back(round_, element.round);
      for (loop::Stmt& s : where(element.is_there, loop::substitute(stores, values))) {
        body.push_back(std::move(s));
      }
      return body;
    }));
    return block;
  }

  static loop::Block where(const loop::Expr& condition, loop::Block body) {
    if (condition == nullptr) return body;
    return {loop::statement(loop::If{condition, std::move(body), {}})};
  }

  // The tile's part of b: what lies beside each other is read so.
  loop::Stmt bring() const {
    const loop::Variable t = loop::fresh_variable("t"), r = loop::fresh_variable("r"),
                         n = loop::fresh_variable("n");
    const int depth = slices_ * plan_.depth;
    const int at_once = plan_.columns / threads_across;
    const loop::Expr number = (loop::variable(r) * loop::integer(at_once) + loop::variable(n)) *
                                  loop::integer(step_threads) +
                              loop::variable(t);
    const bool runs_inner = is_contiguous(c_.b, c_.inner.back());
    const loop::Expr k = runs_inner ? rest_of(number, depth) : quotient_of(number, plan_.columns);
    const loop::Expr of_k =
        runs_inner ? quotient_of(number, depth) : rest_of(number, plan_.columns);
    const loop::Expr column =
        rest_of(of_k, elements_) * loop::integer(step_.together) + quotient_of(of_k, elements_);
    const AxisList axes(c_.columns.begin(), c_.columns.end() - 1);
    const loop::Expr place = first_element() + rest_of(of_k, elements_);
    Places places = places_of(axes, place);
    places.emplace_back(c_.columns.back().variable, quotient_of(of_k, elements_));
    for (auto& one : places_of(c_.inner, k)) places.push_back(std::move(one));
    loop::Expr value = loop::substitute(c_.b, places);
    loop::Expr is_there = loop::boolean_constant(true);
    if (!fits(inner_, depth)) is_there = loop::binary(Op::lt, k, loop::size(inner_));
    if (!fits(columns_, plan_.columns)) {
      is_there = and_also(is_there, loop::binary(Op::lt, place, loop::size(count(axes))));
    }
    value = only_inside(value, is_there);
    loop::Block body = unrolled(
        n, at_once, {loop::Store{kept_, k * loop::integer(plan_.columns) + column, value}});
    loop::For rounds;
    rounds.variable = r;
    rounds.extent = loop::integer(depth * threads_across / step_threads);
    rounds.body = std::move(body);
    return GpuTileBuilder::threads(t, step_threads, {loop::statement(std::move(rounds))});
  }

  // Where the n-th element of a slice lies that a thread has.
  struct OfSlice {
    loop::Expr k, row;
  };
  OfSlice place_of(const loop::Expr& n, const loop::Expr& t) const {
    const loop::Expr number = n * loop::integer(step_threads) + t;
    if (is_contiguous(c_.a, c_.inner.back()) || !is_contiguous(c_.a, c_.rows.back())) {
      return {rest_of(number, plan_.depth), quotient_of(number, plan_.depth)};
    }
    return {quotient_of(number, step_rows), rest_of(number, step_rows)};
  }

  loop::Stmt fetch(const loop::Expr& slice) const {
    const loop::Variable t = loop::fresh_variable("t"), n = loop::fresh_variable("n");
    const OfSlice at = place_of(loop::variable(n), loop::variable(t));
    const loop::Expr k = slice * loop::integer(plan_.depth) + at.k;
    // Of the slice behind the last nothing is read.
    loop::Expr is_there = loop::binary(Op::lt, k, loop::size(inner_));
    if (!fits(rows_, step_rows)) {
      is_there = and_also(is_there, loop::binary(Op::lt, first_row_ + at.row, loop::size(rows_)));
    }
    Places places = places_of(c_.rows, first_row_ + at.row);
    for (auto& place : places_of(c_.inner, k)) places.push_back(std::move(place));
    const loop::Expr value = only_inside(loop::substitute(c_.a, places), is_there);
    return GpuTileBuilder::threads(
        t, step_threads, unrolled(n, held(), {loop::Store{next_, loop::variable(n), value}}));
  }

  loop::Stmt to_shared() const {
    const loop::Variable t = loop::fresh_variable("t"), n = loop::fresh_variable("n");
    const OfSlice at = place_of(loop::variable(n), loop::variable(t));
    return GpuTileBuilder::threads(
        t, step_threads,
        unrolled(n, held(),
                 {loop::Store{work_, at.k * loop::integer(a_stride()) + at.row,
                              loop::load(next_, loop::variable(n))}}));
  }

  // One of a thread's sums: its warp, its row and column in the tile, its register.
  struct Sum {
    loop::Expr warp, row, column, number;
  };
  template <class Body>
  loop::Stmt over_sums(const Body& body, int depth = 0,
                       const loop::Variable& k = loop::Variable{}) const {
    const loop::Variable t = loop::fresh_variable("t"), i = loop::fresh_variable("i"),
                         j = loop::fresh_variable("j");
    const loop::Expr lane = rest_of(loop::variable(t), Machine::warp);
    const Sum sum{
        quotient_of(loop::variable(t), Machine::warp),
        quotient_of(lane, threads_across) * loop::integer(plan_.thread_rows) + loop::variable(i),
        rest_of(lane, threads_across) * loop::integer(plan_.thread_columns) + loop::variable(j),
        loop::variable(i) * loop::integer(plan_.thread_columns) + loop::variable(j)};
    loop::Block inside = unrolled(j, plan_.thread_columns, body(sum));
    inside = unrolled(i, plan_.thread_rows, std::move(inside));
    if (depth > 0) inside = unrolled(k, depth, std::move(inside));
    return GpuTileBuilder::threads(t, step_threads, std::move(inside));
  }

  // Every warp its part of the slice.
  loop::Stmt multiply(const loop::Expr& slice) const {
    const loop::Variable k = loop::fresh_variable("k");
    const int depth = plan_.depth / step_warps;
    return over_sums(
        [&](const Sum& sum) {
          const loop::Expr at = sum.warp * loop::integer(depth) + loop::variable(k);
          const loop::Expr inner = slice * loop::integer(plan_.depth) + at;
          const loop::Expr a = loop::load(work_, at * loop::integer(a_stride()) + sum.row);
          const loop::Expr b = loop::load(kept_, inner * loop::integer(plan_.columns) + sum.column);
          return loop::Block{
              loop::Store{sums_, sum.number, loop::fma(a, b, loop::load(sums_, sum.number))}};
        },
        depth, k);
  }

  // One of a thread's elements: its row and its place in the row in the tile, what the axes'
  // variables are there, whether there is such an element (null: always).
  struct Element {
    loop::Expr round, row, place;
    Places places;
    loop::Expr is_there;
  };
  int rounds() const { return step_rows * elements_ / step_threads; }
  template <class Body>
  loop::Stmt over_elements(const Body& body) const {
    const loop::Variable t = loop::fresh_variable("t"), n = loop::fresh_variable("n");
    const loop::Expr number = loop::variable(n) * loop::integer(step_threads) + loop::variable(t);
    Element element{
        loop::variable(n), quotient_of(number, elements_), rest_of(number, elements_), {}, nullptr};
    const loop::Expr row = first_row_ + element.row;
    const loop::Expr place = first_element() + element.place;
    const AxisList axes(c_.columns.begin(), c_.columns.end() - 1);
    element.places = places_of(c_.rows, row);
    for (auto& one : places_of(axes, place)) element.places.push_back(std::move(one));
    if (!fits(rows_, step_rows)) element.is_there = loop::binary(Op::lt, row, loop::size(rows_));
    if (!fits(columns_, plan_.columns)) {
      const loop::Expr is_column = loop::binary(Op::lt, place, loop::size(count(axes)));
      element.is_there = element.is_there ? and_also(element.is_there, is_column) : is_column;
    }
    return GpuTileBuilder::threads(t, step_threads, unrolled(n, rounds(), body(element)));
  }

  // The stores with registers in place of what they load and do not store: it is on its way while
  // the block multiplies.
  loop::Block load_early(loop::Block& to) const {
    std::unordered_set<int> stored;
    loop::visit_statements(step_.stores, [&](const loop::Stmt& s) {
      if (const auto* store = std::get_if<loop::Store>(&s)) stored.insert(store->buffer->id);
    });
    std::vector<loop::Expr> loads;
    loop::Block early;
    const loop::Variable round = round_;
    int left = most_early;
    loop::Rewriter rewrite([&](const loop::Expr& e) {
      const bool is_wide = e->op == Op::load && !is_only_stored(e->dtype);
      const bool is_narrow =
          e->op == Op::cast && e->args[0]->op == Op::load && is_only_stored(e->args[0]->dtype);
      if (!is_wide && !is_narrow) return e;
      const loop::Expr& from = is_wide ? e : e->args[0];
      if (from->buffer->space != loop::Space::global || stored.contains(from->buffer->id) ||
          loop::is_conditional(*from) || loads_any(from->args[0]) || left < rounds()) {
        return e;
      }
      left -= rounds();
      const loop::BufferRef held =
          new_buffer_("early", e->dtype, Dim(rounds()), loop::Space::registers);
      to.push_back(loop::Allocate{held});
      early.push_back(loop::Store{held, loop::variable(round), e});
      return loop::load(held, loop::variable(round));
    });
    loop::Block stores = rewrite(step_.stores);
    if (early.empty()) return stores;
    to.push_back(over_elements([&](const Element& element) {
      Places values = element.places;
      values.emplace_back(round, element.round);
      return where(element.is_there, loop::substitute(early, values));
    }));
    return stores;
  }

  const StepProduct& step_;
  const int elements_;  // of a row of the tile
  const int slices_;
  const loop::Variable brings_ = loop::fresh_variable("brings", DType::boolean);
  const loop::Variable round_ = loop::fresh_variable("round");
  loop::BufferRef kept_, work_, sums_, next_;
};

}  // namespace

StepProduct step_product(const Contraction& product) {
  StepProduct step{product, 1, {product.sum}, {}, loop::size(product.work())};
  step.stores.assign(product.stores.begin(), product.stores.end());
  step.product.columns.push_back({loop::fresh_variable("gate"), 1});
  return step;
}

std::optional<StepProduct> step_product(const Contraction& product, const loop::Kernel& elements,
                                        bool stores_results) {
  if (product.stores.size() != 1 || product.columns.size() != 1 || product.rows.size() != 1 ||
      !product.batch.empty()) {
    return std::nullopt;
  }
  const loop::Store& result = product.stores[0];
  const Axis &row = product.rows[0], &column = product.columns[0];
  // The loops over elements.
  std::vector<const loop::For*> loops;
  const loop::Block* core = &elements.body;
  while (core->size() == 1 && loop::as_for(core->front()) != nullptr) {
    loops.push_back(loop::as_for(core->front()));
    core = &loops.back()->body;
  }
  if (loops.empty() || loops.size() > 2) return std::nullopt;
  for (const loop::Stmt& s : *core) {
    if (!std::holds_alternative<loop::Store>(s)) return std::nullopt;
  }
  const std::optional<Dim> rows =
      loops.size() == 2 ? loop::as_dim(loops[0]->extent) : std::optional<Dim>(1);
  const std::optional<Dim> width = loop::as_dim(loops.back()->extent);
  if (!rows || !width || *rows != row.extent) return std::nullopt;

  StepProduct step{product, 0, {}, {}, loop::size(product.work()) + elements.work};
  const Axis element{loop::fresh_variable("element"), *width},
      gate{loop::fresh_variable("gate"), 1};
  Places places{{loops.back()->variable, loop::variable(element.variable)}};
  if (loops.size() == 2) places.emplace_back(loops[0]->variable, loop::variable(row.variable));
  const loop::Block own = loop::substitute(*core, places);
  // Columns that an element uses.
  Places of_first{{column.variable, loop::variable(element.variable)}};
  if (loops.size() == 1) of_first.emplace_back(row.variable, loop::integer(0));
  const loop::Expr first = loop::substitute(result.index, of_first);
  std::vector<std::pair<std::int64_t, loop::Expr>> used;  // how far from the element's number
  bool suits = true;
  std::unordered_set<const loop::ExprNode*> seen;
  std::vector<loop::Expr> nodes;
  loop::visit_expressions(own,
                          [&](const loop::Expr& e) { loop::append_post_order(e, seen, nodes); });
  for (const loop::Expr& e : nodes) {
    suits = suits && !loop::may_fail(e->op);
    if (e->op != Op::load || e->buffer->id != result.buffer->id) continue;
    const std::optional<Dim> apart = loop::difference(e->args[0], first);
    suits = suits && !loop::is_conditional(*e) && apart && apart->is_constant();
    if (suits) used.emplace_back(apart->constant(), e);
  }
  if (!suits || used.empty()) return std::nullopt;
  std::vector<std::int64_t> apart;
  for (const auto& [distance, e] : used) apart.push_back(distance);
  std::sort(apart.begin(), apart.end());
  apart.erase(std::unique(apart.begin(), apart.end()), apart.end());
  const std::int64_t step_size = apart.size() > 1 ? apart[1] - apart[0] : 0;
  for (std::size_t k = 0; k < apart.size(); ++k) {
    if (apart[k] != apart[0] + static_cast<std::int64_t>(k) * step_size) return std::nullopt;
  }
  // Columns that several elements use would be computed for each.
  if (apart.size() > 1 && (!width->is_constant() || step_size < width->constant())) {
    return std::nullopt;
  }
  step.together = static_cast<int>(apart.size());
  const bool are_all = apart[0] == 0 && (apart.size() == 1 || *width == Dim(step_size)) &&
                       *width * Dim(step.together) == column.extent;
  if (stores_results && !are_all) return std::nullopt;
  const loop::Expr of_gate = loop::variable(element.variable) + loop::integer(apart[0]) +
                             loop::variable(gate.variable) * loop::integer(step_size);
  step.product.b = loop::substitute(product.b, {{column.variable, of_gate}});
  step.product.columns = {element, {gate.variable, step.together}};
  for (int k = 0; k < step.together; ++k) {
    step.sums.push_back(loop::fresh_variable("sum", product.dtype));
  }
  loop::Rewriter rewrite([&](const loop::Expr& e) {
    if (e->op != Op::load || e->buffer->id != result.buffer->id) return e;
    const std::int64_t distance = loop::difference(e->args[0], first)->constant();
    const auto number = std::lower_bound(apart.begin(), apart.end(), distance) - apart.begin();
    const loop::Expr at = loop::variable(element.variable) + loop::integer(distance);
    return loop::substitute(
        result.value, {{product.sum, loop::variable(step.sums[static_cast<std::size_t>(number)])},
                       {column.variable, at}});
  });
  step.stores = rewrite(own);
  for (int k = 0; stores_results && k < step.together; ++k) {
    const Places of_gate_k{{column.variable, loop::variable(element.variable) +
                                                 loop::integer(std::int64_t{k} * step_size)},
                           {product.sum, loop::variable(step.sums[static_cast<std::size_t>(k)])}};
    step.stores.push_back(loop::Store{result.buffer, loop::substitute(result.index, of_gate_k),
                                      loop::substitute(result.value, of_gate_k)});
  }
  return step;
}

std::optional<loop::Kernel> build_step_tiles(const StepProduct& step,
                                             const loop::NewBuffer& new_buffer) {
  if (!count(step.product.inner).is_constant() || step.together > step_columns / least_elements ||
      step.product.dtype != DType::f32) {
    return std::nullopt;
  }
  const GpuTilePlan plan = step_plan(step);
  return StepTileBuilder(step, plan, new_buffer).kernel();
}

}  // namespace kroton
