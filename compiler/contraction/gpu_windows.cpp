#include "compiler/contraction/gpu_windows.h"

#include <algorithm>

#include "compiler/loop/index_arithmetic.h"
#include "compiler/loop/sum_blocks.h"
#include "compiler/loop/traverse.h"

namespace kroton {
namespace {

using loop::Op;

std::vector<loop::Variable> variables_of(const AxisList& axes) {
  std::vector<loop::Variable> variables;
  for (const Axis& axis : axes) variables.push_back(axis.variable);
  return variables;
}

// The places along the axes that a position among all of theirs stands for.
Places places_of(const AxisList& axes, const loop::Expr& position) {
  std::vector<loop::Expr> extents;
  for (const Axis& axis : axes) extents.push_back(loop::size(axis.extent));
  return loop::unflatten(variables_of(axes), extents, position);
}

// The number of the position that the axes' variables stand for.
loop::Expr flat(const AxisList& axes) {
  loop::Expr at = loop::integer(0);
  for (const Axis& axis : axes) at = at * loop::size(axis.extent) + loop::variable(axis.variable);
  return at;
}

// Both hold; null stands for true.
loop::Expr both(const loop::Expr& a, const loop::Expr& b) {
  if (a == nullptr || b == nullptr) return a == nullptr ? b : a;
  return loop::binary(Op::logical_and, a, b);
}

// Whether tiles of that many fill the size.
bool fits(const Dim& size, std::int64_t tile_size) {
  return (size - floor_div(size, Dim(tile_size)) * Dim(tile_size)).is_constant(0);
}

class GpuWindowBuilder {
 public:
  GpuWindowBuilder(const Contraction& contraction, const GpuWindowPlan& plan,
                   const loop::NewBuffer& new_buffer)
      : c_(contraction),
        plan_(plan),
        tile_(plan.tile),
        new_buffer_(new_buffer),
        rows_(count(c_.rows)),
        columns_(count(c_.columns)),
        whole_(count(plan.whole).constant()) {}

  loop::Kernel run() {
    loop::For blocks;
    blocks.kind = loop::LoopKind::block;
    blocks.variable = loop::fresh_variable("block");
    AxisList axes;
    if (tile_.is_in_parts()) axes.push_back({part_, parts()});
    axes.insert(axes.end(), c_.batch.begin(), c_.batch.end());
    axes.push_back({loop::fresh_variable("tile_row"), ceil_div(rows_, Dim(tile_.rows))});
    axes.push_back({loop::fresh_variable("tile_column"), ceil_div(columns_, Dim(tile_.columns))});
    first_row_ = loop::variable(axes[axes.size() - 2].variable) * loop::integer(tile_.rows);
    first_column_ = loop::variable(axes.back().variable) * loop::integer(tile_.columns);
    Places at;
    for (auto& [variable, value] : places_of(axes, loop::variable(blocks.variable))) {
      if (value->args.empty()) {
        at.emplace_back(variable, value);
      } else {
        blocks.body.push_back(loop::Declare{variable, value});
      }
    }
    for (loop::Stmt& stmt : loop::substitute(block(), at)) blocks.body.push_back(std::move(stmt));
    blocks.extent = loop::size(count(axes) * tile_.are_wanted);
    blocks.width = tile_.threads();
    loop::Kernel kernel;
    kernel.body = loop::simplify_indices({loop::statement(std::move(blocks))});
    kernel.work = loop::size(c_.work());
    return kernel;
  }

  Dim parts() const { return ceil_div(plan_.slices(), tile_.slices_of_part); }
  // Where a part's sum of a result is kept.
  Dim partial_count() const { return parts() * count(c_.batch) * rows_ * columns_; }
  void keep_partial(const loop::BufferRef& partial) { partial_ = partial; }

  // Adds up the parts' sums of each result, and stores it.
  loop::Kernel combine() const {
    loop::For parts_loop;
    parts_loop.variable = loop::fresh_variable("part");
    parts_loop.extent = loop::size(parts());
    parts_loop.body = {
        loop::Accumulate{c_.sum, Op::add,
                         loop::load(partial_, partial_index(loop::variable(parts_loop.variable),
                                                            flat(c_.rows), flat(c_.columns)))}};
    loop::Block body{loop::Declare{c_.sum, loop::real(0, c_.dtype)},
                     loop::statement(std::move(parts_loop))};
    body.insert(body.end(), c_.stores.begin(), c_.stores.end());
    for (const AxisList* axes : {&c_.columns, &c_.rows, &c_.batch}) {
      for (auto axis = axes->rbegin(); axis != axes->rend(); ++axis) {
        loop::For loop;
        loop.variable = axis->variable;
        loop.extent = loop::size(axis->extent);
        loop.body = std::move(body);
        loop.is_independent = true;  // each result is stored once
        body = {loop::statement(std::move(loop))};
      }
    }
    loop::Kernel kernel;
    kernel.body = std::move(body);
    kernel.work = loop::size(partial_count());
    return kernel;
  }

 private:
  loop::Expr partial_index(const loop::Expr& part, const loop::Expr& row,
                           const loop::Expr& column) const {
    loop::Expr at = part;
    for (const Axis& axis : c_.batch) {
      at = at * loop::size(axis.extent) + loop::variable(axis.variable);
    }
    return (at * loop::size(rows_) + row) * loop::size(columns_) + column;
  }

  struct Slice {
    bool is_a;
    bool by_columns;  // neighbouring threads have neighbouring columns; else inner elements
    loop::BufferRef shared, held;
    loop::BufferRef mask;  // bit n: whether the thread's element n is there, whatever the slice is
  };

  loop::BufferRef buffer(const char* name, int size, loop::Space space,
                         std::optional<DType> dtype = {}) const {
    return new_buffer_(name, dtype.value_or(c_.dtype), Dim(size), space);
  }

  loop::Block block() {
    const int results = tile_.thread_rows * tile_.thread_columns;
    const int a_stride = tile_.rows + gpu_tile_padding, b_stride = tile_.columns + gpu_tile_padding;
    std::vector<Slice> slices{
        {true, false, buffer("a_slice", tile_.depth * a_stride, shared),
         buffer("a_next", held_of(true, false), registers), nullptr},
        {false, plan_.columns_are_positions, buffer("b_slice", tile_.depth * b_stride, shared),
         buffer("b_next", held_of(false, plan_.columns_are_positions), registers), nullptr}};
    const loop::BufferRef a_slice = slices[0].shared, b_slice = slices[1].shared;
    const loop::BufferRef sums = buffer("sums", results, registers);
    loop::Block block;
    for (const Slice& slice : slices) {
      block.push_back(loop::Allocate{slice.shared});
      block.push_back(loop::Allocate{slice.held});
    }
    block.push_back(loop::Allocate{sums});
    if (slices[1].by_columns) note_what_is_there(slices[1], block);

    const auto zeros = [&](const loop::BufferRef& to) {
      return over_results([&](const Result& r) {
        return loop::Block{loop::Store{to, r.sum, loop::real(0, c_.dtype)}};
      });
    };
    loop::For steps, blocks;
    steps.variable = loop::fresh_variable("step");
    steps.extent = loop::size(plan_.slices());
    loop::Expr step = loop::variable(steps.variable);
    loop::Expr first = loop::integer(0);
    if (tile_.is_in_parts()) {
      first = loop::variable(part_) * loop::size(tile_.slices_of_part);
      steps.extent = loop::binary(Op::min, loop::size(tile_.slices_of_part), steps.extent - first);
    }
    // More inner elements than make a block: the sums of blocks are added to each other.
    loop::BufferRef totals = sums;
    const Dim longest =
        (tile_.is_in_parts() ? tile_.slices_of_part : plan_.slices()) * Dim(tile_.depth);
    if (!longest.is_constant() || longest.constant() > loop::sum_block) {
      totals = buffer("totals", results, registers);
      block.push_back(loop::Allocate{totals});
      block.push_back(zeros(totals));
      const loop::Expr in_block =
          loop::integer(std::max<std::int64_t>(1, loop::sum_block / tile_.depth));
      blocks.variable = loop::fresh_variable("block");
      blocks.extent = loop::blocks_in(steps.extent, in_block);
      const loop::Expr number = loop::variable(blocks.variable);
      step = number * in_block + step;
      steps.extent = loop::extent_of_block(steps.extent, in_block, number);
    }
    const Counters counters = start(first, block);
    fetch_both(slices, counters, first, block);
    for (const Slice& slice : slices) steps.body.push_back(to_shared(slice));
    steps.body.push_back(loop::Barrier{});
    advance(counters, steps.body);
    fetch_both(slices, counters, first + step + loop::integer(1), steps.body);
    steps.body.push_back(over_results(
        [&](const Result& r) {
          const auto a = loop::load(a_slice, r.k * loop::integer(a_stride) + r.row);
          const auto b = loop::load(b_slice, r.k * loop::integer(b_stride) + r.column);
          return loop::Block{loop::Store{sums, r.sum, loop::fma(a, b, loop::load(sums, r.sum))}};
        },
        tile_.depth));
    steps.body.push_back(loop::Barrier{});
    blocks.body = {zeros(sums), loop::statement(std::move(steps))};
    if (totals == sums) {
      for (loop::Stmt& stmt : blocks.body) block.push_back(std::move(stmt));
    } else {
      blocks.body.push_back(over_results([&](const Result& r) {
        const loop::Expr total = loop::load(totals, r.sum) + loop::load(sums, r.sum);
        return loop::Block{loop::Store{totals, r.sum, total}};
      }));
      block.push_back(loop::statement(std::move(blocks)));
    }
    block.push_back(over_results([&](const Result& r) { return stored(r, totals); }));
    return block;
  }

  // One of a thread's results: its row and column in the tile, the inner element, its register.
  struct Result {
    loop::Expr row, column, k, sum;
  };

  loop::Block stored(const Result& r, const loop::BufferRef& totals) const {
    const loop::Expr row = first_row_ + r.row;
    const loop::Expr column = first_column_ + r.column;
    loop::Block stores;
    if (partial_ != nullptr) {
      stores = {loop::Store{partial_, partial_index(loop::variable(part_), row, column),
                            loop::load(totals, r.sum)}};
    } else {
      Places places = places_of(c_.rows, row);
      const Places across = places_of(c_.columns, column);
      places.insert(places.end(), across.begin(), across.end());
      places.push_back({c_.sum, loop::load(totals, r.sum)});
      stores = loop::substitute(loop::Block(c_.stores.begin(), c_.stores.end()), places);
    }
    for (const auto& [index, size, width] :
         {std::tuple{column, columns_, tile_.columns}, std::tuple{row, rows_, tile_.rows}}) {
      if (fits(size, width)) continue;
      stores = {loop::statement(
          loop::If{loop::binary(Op::lt, index, loop::size(size)), std::move(stores), {}})};
    }
    return stores;
  }

  // `body` for every result of every thread, and for each of `depth` inner elements if given.
  template <class Body>
  loop::Stmt over_results(const Body& body, int depth = 0) const {
    const loop::Variable t = loop::fresh_variable("t"), k = loop::fresh_variable("k"),
                         i = loop::fresh_variable("i"), j = loop::fresh_variable("j");
    const loop::Expr across = loop::integer(tile_.columns / tile_.thread_columns);
    const loop::Expr down = loop::binary(Op::floor_div, loop::variable(t), across);
    const loop::Expr right = loop::binary(Op::mod, loop::variable(t), across);
    const Result result{
        down * loop::integer(tile_.thread_rows) + loop::variable(i),
        right * loop::integer(tile_.thread_columns) + loop::variable(j), loop::variable(k),
        loop::variable(i) * loop::integer(tile_.thread_columns) + loop::variable(j)};
    loop::Block results = unrolled(j, tile_.thread_columns, body(result));
    results = unrolled(i, tile_.thread_rows, std::move(results));
    if (depth > 0) results = unrolled(k, depth, std::move(results));
    return threads(t, std::move(results));
  }

  // An element that a thread brings to shared memory.
  struct Element {
    loop::Expr at;      // row or column of the tile
    loop::Expr k;       // inner element of the slice
    loop::Expr taken;   // position of the axis that is cut, beside the slice's first
    Places whole;       // of the axes that are whole
    loop::Expr held;    // its register
    loop::Expr inside;  // where it is one of the slice; null: always
  };

  int held_of(bool is_a, bool by_columns) const {
    const int width = is_a ? tile_.rows : tile_.columns;
    if (by_columns) return tile_.depth / (tile_.threads() / width);
    return passes(width, tile_.threads() / gpu_window_lanes) *
           passes(tile_.depth, gpu_window_lanes);
  }
  static int passes(int size, int at_a_time) { return (size + at_a_time - 1) / at_a_time; }

  template <class Body>
  loop::Stmt over_elements(const Slice& slice, const Body& body) const {
    const int width = slice.is_a ? tile_.rows : tile_.columns;
    const loop::Variable t = loop::fresh_variable("t");
    const auto quotient = [&](const loop::Expr& e, std::int64_t by) {
      return loop::binary(Op::floor_div, e, loop::integer(by));
    };
    const auto remainder = [&](const loop::Expr& e, std::int64_t by) {
      return loop::binary(Op::mod, e, loop::integer(by));
    };
    const loop::Expr thread = loop::variable(t);
    Element e;
    if (slice.by_columns) {
      // A thread has all of the slice's elements for some positions of the axis that is cut, with
      // a bit each in its mask.
      const std::int64_t windows = plan_.taken / (tile_.threads() / width);
      const loop::Expr group = quotient(thread, width);
      e.at = remainder(thread, width);
      loop::Block elements;
      for (std::int64_t n = 0; n < windows * whole_; ++n) {
        e.taken = group * loop::integer(windows) + loop::integer(n / whole_);
        e.whole = places_of(plan_.whole, loop::integer(n % whole_));
        e.held = loop::integer(n);
        e.k = group * loop::integer(windows * whole_) + e.held;
        for (loop::Stmt& s : body(e)) elements.push_back(std::move(s));
      }
      return threads(t, std::move(elements));
    }
    const int at_a_time = tile_.threads() / gpu_window_lanes;
    const loop::Variable i = loop::fresh_variable("i"), j = loop::fresh_variable("j");
    const int deep = passes(tile_.depth, gpu_window_lanes), down = passes(width, at_a_time);
    e.at = loop::variable(i) * loop::integer(at_a_time) + quotient(thread, gpu_window_lanes);
    e.k = loop::variable(j) * loop::integer(gpu_window_lanes) + remainder(thread, gpu_window_lanes);
    e.taken = quotient(e.k, whole_);
    e.whole = places_of(plan_.whole, remainder(e.k, whole_));
    e.held = loop::variable(i) * loop::integer(deep) + loop::variable(j);
    if (tile_.depth % gpu_window_lanes != 0) {
      e.inside = loop::binary(Op::lt, e.k, loop::integer(tile_.depth));
    }
    if (width % at_a_time != 0) {
      e.inside = both(e.inside, loop::binary(Op::lt, e.at, loop::integer(width)));
    }
    return threads(t, unrolled(i, down, unrolled(j, deep, body(e))));
  }

  // The operand at an element, but for where the slice is.
  loop::Expr value_of(const Slice& slice, const Element& e) const {
    Places places = e.whole;
    const Places along = places_of(slice.is_a ? c_.rows : c_.columns,
                                   (slice.is_a ? first_row_ : first_column_) + e.at);
    places.insert(places.end(), along.begin(), along.end());
    for (const Axis& axis : c_.inner) {
      if (axis.extent.is_constant(1)) places.push_back({axis.variable, loop::integer(0)});
    }
    return loop::substitute(slice.is_a ? c_.a : c_.b, places);
  }

  // Whether the element's row or column is one of the operand's; null: always.
  loop::Expr is_of_operand(const Slice& slice, const Element& e) const {
    const Dim& size = slice.is_a ? rows_ : columns_;
    if (fits(size, slice.is_a ? tile_.rows : tile_.columns)) return nullptr;
    return loop::binary(Op::lt, (slice.is_a ? first_row_ : first_column_) + e.at, loop::size(size));
  }

  bool depends_on_slice(const loop::Expr& e) const {
    return loop::depends_on(e, plan_.cut.variable) ||
           std::any_of(plan_.outer.begin(), plan_.outer.end(),
                       [&](const Axis& axis) { return loop::depends_on(e, axis.variable); });
  }

  // The one condition of a value's loads that is the same for all slices; null: there is none, or
  // several.
  loop::Expr lasting_condition(const loop::Expr& value) const {
    loop::Expr found;
    for (const loop::Expr& e : loop::post_order(std::span(&value, 1))) {
      if (e->op != Op::load) continue;
      if (!is_conditional(*e) || depends_on_slice(e->args[1])) return nullptr;
      if (found != nullptr && found != e->args[1]) return nullptr;
      found = e->args[1];
    }
    return found;
  }

  // Padding is the same for every slice: whether an element is in the picture is worked out once.
  void note_what_is_there(Slice& slice, loop::Block& block) const {
    constexpr int most_bits = 31;
    if (int_of(slice.held->size.constant()) > most_bits) return;
    bool has_padding = false;
    const loop::BufferRef mask = buffer("is_there", 1, registers, DType::i64);
    const loop::Stmt noted = over_elements(slice, [&](const Element& e) {
      const loop::Expr condition = lasting_condition(value_of(slice, e));
      has_padding = condition != nullptr;
      const loop::Expr is_there = both(condition, is_of_operand(slice, e));
      if (is_there == nullptr) return loop::Block{};
      return loop::Block{
          loop::Store{mask, loop::integer(0),
                      loop::binary(Op::bit_or, loop::load(mask, loop::integer(0)),
                                   loop::select(is_there, bit(e), loop::integer(0)))}};
    });
    if (!has_padding) return;
    slice.mask = mask;
    block.push_back(loop::Allocate{mask});
    block.push_back(threads(loop::fresh_variable("t"),
                            {loop::Store{mask, loop::integer(0), loop::integer(0)}}));
    block.push_back(noted);
  }
  static loop::Expr bit(const Element& e) {
    std::int64_t n = 0;
    loop::is_integer_constant(e.held, n);
    return loop::integer(std::int64_t{1} << n);
  }

  // Where the next slice to be read begins: places on the outer axes, and a run of the axis that is
  // cut, which moves fastest. They are counted: a division for each slice would take as long as
  // many products.
  struct Counters {
    AxisList axes;  // with the counters' variables
    Places outer;
    loop::Expr first;
  };

  Counters start(const loop::Expr& step, loop::Block& to) const {
    Counters counters;
    AxisList axes = plan_.outer;
    axes.push_back({loop::fresh_variable("run"), ceil_div(plan_.cut.extent, Dim(plan_.taken))});
    Places at = places_of(axes, step);
    for (const Axis& axis : axes) {
      const auto found = std::find_if(
          at.begin(), at.end(), [&](const auto& place) { return place.first == axis.variable; });
      const loop::Variable counter = loop::fresh_variable(axis.variable.name);
      to.push_back(loop::Declare{counter, found->second});
      counters.axes.push_back({counter, axis.extent});
      counters.outer.emplace_back(axis.variable, loop::variable(counter));
    }
    counters.first = counters.outer.back().second * loop::integer(plan_.taken);
    counters.outer.pop_back();
    return counters;
  }

  static void advance(const Counters& counters, loop::Block& to) {
    loop::Expr steps = loop::integer(1);  // or 0, where the faster ones have not come to their ends
    for (std::size_t k = counters.axes.size(); k-- > 0;) {
      const auto& [counter, extent] = counters.axes[k];
      if (k == 0) {
        to.push_back(loop::Accumulate{counter, Op::add, steps});
        return;
      }
      const loop::Variable ends = loop::fresh_variable("ends");
      const loop::Expr is_last =
          loop::binary(Op::eq, loop::variable(counter) + loop::integer(1), loop::size(extent));
      to.push_back(loop::Declare{ends, loop::select(is_last, steps, loop::integer(0))});
      to.push_back(
          loop::Accumulate{counter, Op::add, steps - loop::variable(ends) * loop::size(extent)});
      steps = loop::variable(ends);
    }
  }

  // Reads a slice of both operands, of one behind the last nothing.
  void fetch_both(const std::vector<Slice>& slices, const Counters& counters,
                  const loop::Expr& step, loop::Block& to) const {
    const loop::Expr is_one = loop::binary(Op::lt, step, loop::size(plan_.slices()));
    for (const Slice& slice : slices) {
      to.push_back(fetch(slice, counters.outer, counters.first, is_one));
    }
  }

  loop::Stmt fetch(const Slice& slice, const Places& outer, const loop::Expr& first,
                   const loop::Expr& is_one) const {
    return over_elements(slice, [&](const Element& e) {
      const loop::Expr zero = loop::real(0, c_.dtype);
      const loop::Expr at = first + e.taken;
      loop::Expr counts = both(is_one, e.inside);  // among what is added up
      if (!fits(plan_.cut.extent, plan_.taken)) {
        counts = both(counts, loop::binary(Op::lt, at, loop::size(plan_.cut.extent)));
      }
      loop::Expr is_there = both(counts, slice.mask ? nullptr : is_of_operand(slice, e));
      if (slice.mask) {
        const loop::Expr noted =
            loop::binary(Op::bit_and, loop::load(slice.mask, loop::integer(0)), bit(e));
        is_there = both(is_there, loop::binary(Op::ne, noted, loop::integer(0)));
      }
      loop::Rewriter guard([&](const loop::Expr& node) {
        if (node->op != Op::load) return node;
        const bool asks = is_conditional(*node) && !slice.mask;
        return loop::load(node->buffer, node->args[0],
                          both(is_there, asks ? node->args[1] : nullptr));
      });
      const loop::Expr value = value_of(slice, e);
      loop::Expr guarded = guard(value);
      if (value->op != Op::load) guarded = loop::select(counts, guarded, zero);
      Places places = outer;
      places.push_back({plan_.cut.variable, at});
      return loop::Block{loop::Store{slice.held, e.held, loop::substitute(guarded, places)}};
    });
  }

  loop::Stmt to_shared(const Slice& slice) const {
    const int stride = (slice.is_a ? tile_.rows : tile_.columns) + gpu_tile_padding;
    return over_elements(slice, [&](const Element& e) {
      loop::Block store{loop::Store{slice.shared, e.k * loop::integer(stride) + e.at,
                                    loop::load(slice.held, e.held)}};
      if (e.inside == nullptr) return store;
      return loop::Block{loop::statement(loop::If{e.inside, std::move(store), {}})};
    });
  }

  static loop::Block unrolled(const loop::Variable& variable, int extent, loop::Block body) {
    loop::For loop;
    loop.kind = loop::LoopKind::unroll;
    loop.variable = variable;
    loop.extent = loop::integer(extent);
    loop.body = std::move(body);
    return {loop::statement(std::move(loop))};
  }

  loop::Stmt threads(const loop::Variable& variable, loop::Block body) const {
    loop::For loop;
    loop.kind = loop::LoopKind::thread;
    loop.variable = variable;
    loop.extent = loop::integer(tile_.threads());
    loop.body = std::move(body);
    return loop::statement(std::move(loop));
  }

  static constexpr loop::Space shared = loop::Space::shared, registers = loop::Space::registers;

  const Contraction& c_;
  const GpuWindowPlan& plan_;
  const GpuTilePlan& tile_;
  const loop::NewBuffer& new_buffer_;
  const Dim rows_, columns_;
  const std::int64_t whole_;
  loop::Expr first_row_, first_column_;
  const loop::Variable part_ = loop::fresh_variable("part");
  loop::BufferRef partial_ = nullptr;  // where parts leave their sums
};

}  // namespace

loop::Kernel build_gpu_windows(const Contraction& contraction, const GpuWindowPlan& plan,
                               const loop::NewBuffer& new_buffer) {
  return GpuWindowBuilder(contraction, plan, new_buffer).run();
}

GpuPartsKernels build_gpu_window_parts(const Contraction& contraction, const GpuWindowPlan& parts,
                                       const loop::NewBuffer& new_buffer) {
  GpuWindowBuilder builder(contraction, parts, new_buffer);
  builder.keep_partial(new_buffer("partial", contraction.dtype,
                                  builder.partial_count() * parts.tile.are_wanted,
                                  loop::Space::global));
  return {builder.run(), builder.combine()};
}

}  // namespace kroton
