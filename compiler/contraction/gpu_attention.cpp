#include "compiler/contraction/gpu_attention.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "compiler/contraction/gpu_shared_tile.h"
#include "compiler/contraction/gpu_tile_builder.h"
#include "compiler/loop/traverse.h"

namespace kroton {
namespace {

using loop::Op;

constexpr std::int64_t most_head = 128;
constexpr std::int64_t attention_bytes = 48 << 10;  // that a block has without asking
constexpr int rows_of_warp = 16;
constexpr int written_out = 8;  // inner elements that are written out
constexpr int loads_at_once = 8;
constexpr int scalar_thread_rows = 4;
constexpr int scalar_threads = 128;
constexpr int columns_of_load = 4;

int filled_up(std::int64_t size, int to) { return static_cast<int>((size + to - 1) / to * to); }

// Numbers that a row's threads leave for each other, with what keeps rows in different banks.
int exchange_stride(const GpuAttentionPlan& plan) {
  return plan.units ? plan.across : plan.across + plan.across / 4;
}

std::int64_t attention_bytes_of(const GpuAttentionPlan& plan) {
  const auto size = static_cast<std::int64_t>(size_of(plan.element));
  const std::int64_t exchange = std::int64_t{4} * plan.rows * exchange_stride(plan);
  if (plan.units) {
    return size * (std::int64_t{plan.rows + plan.keys} * plan.inner +
                   std::int64_t{plan.keys} * (plan.columns + plan.rows)) +
           exchange;
  }
  const auto line = [](int width) { return std::int64_t{width + gpu_tile_padding}; };
  return 4 * (plan.inner * line(plan.rows) + plan.keys * line(plan.rows) +
              std::max(plan.inner * line(plan.keys), plan.keys * line(plan.columns))) +
         exchange;
}

// Columns in groups of which one load brings all, as many for each thread.
int scalar_columns(std::int64_t columns, int across) {
  const int each = filled_up(columns, across) / across;
  return across * (each <= 2 ? each : filled_up(each, columns_of_load));
}

// The algorithm. How rows and columns are shared by the threads, and how they multiply, is what
// derived classes say.
class AttentionBuilder : public GpuTileBuilder {
 public:
  AttentionBuilder(const Attention& attention, const GpuAttentionPlan& plan,
                   const GpuTilePlan& tile_plan, const loop::NewBuffer& new_buffer)
      : GpuTileBuilder(attention.result, tile_plan, new_buffer), a_(attention), p_(plan) {}

 protected:
  // A row of the tile that a thread has a part of: its number among the thread's rows, which of the
  // threads that share it this one is.
  struct Row {
    loop::Variable thread, number;
    loop::Expr row, sharer;
  };
  // A column that the thread has of such a row, and the register.
  struct Element {
    loop::Expr column, number;
  };
  using OfRow = std::function<loop::Block(const Row&)>;
  using OfElement = std::function<loop::Block(const Element&)>;
  using OfRun = std::function<loop::Block(const Element& first, int count)>;

  virtual Row row_of(const loop::Variable& thread, const loop::Variable& number) const = 0;
  // `body` for the thread's elements of the row, among so many columns: the first of some
  // neighbours, and how many they are.
  virtual loop::Block over_runs(const Row& row, int columns, const OfRun& body) const = 0;
  // Shared memory, and what comes to it before the first step.
  virtual loop::Block begin() = 0;
  // The same before the first step of going over the keys again.
  virtual loop::Block begin_again() = 0;
  // From the step's begin on: the products of its keys are in `scores_`. Its values are wanted,
  // too, or not.
  virtual loop::Block multiply_keys(const loop::Expr& step, bool with_values) = 0;
  // The threads have left their largest scores, and wait for each other.
  virtual loop::Block wait_for_largest(const loop::Expr& step, bool with_values) = 0;
  // Where a weight is left, and what adds its products to `sums_`, once all are there.
  virtual loop::Stmt keep_weight(const Row& row, const loop::Expr& key,
                                 const loop::Expr& weight) const = 0;
  virtual loop::Block multiply_values(const loop::Expr& step) = 0;

  loop::Stmt over_rows(const OfRow& body) const {
    const loop::Variable t = loop::fresh_variable("t"), r = loop::fresh_variable("r");
    return threads(t, plan_.threads(), unrolled(r, p_.thread_rows, body(row_of(t, r))));
  }

  loop::Block over_elements(const Row& row, int columns, const OfElement& body) const {
    return over_runs(row, columns, [&](const Element& first, int count) {
      const loop::Variable next = loop::fresh_variable("next");
      return unrolled(
          next, count,
          body({first.column + loop::variable(next), first.number + loop::variable(next)}));
    });
  }

  loop::Stmt zeros(const loop::BufferRef& to, int columns) const {
    return over_rows([&](const Row& row) {
      return over_elements(row, columns, [&](const Element& e) {
        return loop::Block{loop::Store{to, e.number, loop::real(0, DType::f32)}};
      });
    });
  }

  loop::BufferRef allocate(loop::Block& block, const char* name, DType dtype, std::int64_t size,
                           loop::Space space) const {
    block.push_back(loop::Allocate{new_buffer_(name, dtype, Dim(size), space)});
    return std::get<loop::Allocate>(block.back()).buffer;
  }

  const Attention& a_;
  const GpuAttentionPlan& p_;
  loop::BufferRef scores_, sums_;

 private:
  loop::Block tile() override {
    const loop::Space registers = loop::Space::registers;
    const int threads_of_block = plan_.threads();
    loop::Block block;
    scores_ =
        allocate(block, "scores", DType::f32, p_.rows * p_.keys / threads_of_block, registers);
    sums_ = allocate(block, "sums", DType::f32, p_.rows * p_.columns / threads_of_block, registers);
    top_ = allocate(block, "top", DType::f32, p_.thread_rows, registers);
    total_ = allocate(block, "total", DType::f32, p_.thread_rows, registers);
    exchange_ = allocate(block, "exchange", DType::f32, std::int64_t{p_.rows} * exchange_stride(p_),
                         loop::Space::shared);
    append(block, begin());
    block.push_back(over_rows([&](const Row& row) {
      loop::Block body = over_elements(row, p_.columns, [&](const Element& e) {
        return loop::Block{loop::Store{sums_, e.number, zero()}};
      });
      body.push_back(loop::Store{top_, loop::variable(row.number), lowest()});
      body.push_back(loop::Store{total_, loop::variable(row.number), zero()});
      return body;
    }));
    // Weights that are kept are divided by their sum, which takes all keys: once for the sums, once
    // for the weights.
    const bool keeps = a_.kept.has_value();
    block.push_back(over_steps([&](const loop::Expr& step) {
      loop::Block body = multiply_keys(step, !keeps);
      body.push_back(scores(step, true));
      append(body, wait_for_largest(step, !keeps));
      body.push_back(exponentials(step, !keeps));
      if (!keeps) append(body, multiply_values(step));
      return body;
    }));
    if (keeps) block.push_back(loop::Barrier{});  // the last largest scores have been read
    // What a row's threads have of its sum.
    block.push_back(over_rows([&](const Row& row) {
      return loop::Block{loop::Store{exchange_, place_of_own(row),
                                     loop::load(total_, loop::variable(row.number))}};
    }));
    block.push_back(loop::Barrier{});
    block.push_back(over_rows([&](const Row& row) {
      const loop::Variable sum = scalar("sum"), factor = scalar("factor");
      loop::Block body{loop::Declare{sum, zero()}};
      append(body, over_exchanged(row, [&](const loop::Expr& value) {
               return loop::Accumulate{sum, Op::add, value};
             }));
      loop::Expr reciprocal = loop::binary(Op::div, loop::real(1, DType::f32), loop::variable(sum));
      if (!inner_.is_constant()) {  // a sum of nothing
        reciprocal = loop::select(loop::binary(Op::lt, loop::integer(0), loop::size(inner_)),
                                  reciprocal, zero());
      }
      if (keeps) {
        body.push_back(loop::Store{total_, loop::variable(row.number), reciprocal});
        return body;
      }
      body.push_back(loop::Declare{factor, reciprocal});
      append(body, store_results(row, loop::variable(factor)));
      return body;
    }));
    if (!keeps) return block;
    append(block, begin_again());
    block.push_back(over_steps([&](const loop::Expr& step) {
      loop::Block body = multiply_keys(step, true);
      body.push_back(scores(step, false));
      append(body, wait_for_largest(step, true));
      body.push_back(kept_weights(step));
      append(body, multiply_values(step));
      return body;
    }));
    // A block does not end while copies to its memory are on their way.
    block.push_back(loop::Barrier{});
    block.push_back(
        over_rows([&](const Row& row) { return store_results(row, loop::real(1, DType::f32)); }));
    return block;
  }

  loop::Stmt over_steps(const std::function<loop::Block(const loop::Expr& step)>& body) const {
    loop::For steps;
    steps.variable = loop::fresh_variable("step");
    steps.extent = loop::size(ceil_div(inner_, Dim(p_.keys)));
    steps.body = body(loop::variable(steps.variable));
    return loop::statement(std::move(steps));
  }

  loop::Block store_results(const Row& row, const loop::Expr& factor) const {
    return over_runs(row, p_.columns, [&](const Element& first, int count) {
      const loop::Variable next = loop::fresh_variable("next");
      return store_neighbours(row.row, first.column, next, count,
                              loop::load(sums_, first.number + loop::variable(next)) * factor);
    });
  }

  // Scores take the place of their products; each thread leaves its largest of each row, if that is
  // wanted.
  loop::Stmt scores(const loop::Expr& step, bool leaves_largest) const {
    return over_rows([&](const Row& row) {
      const loop::Variable most = scalar("most");
      loop::Block body{loop::Declare{most, lowest()}};
      append(body, over_elements(row, p_.keys, [&](const Element& e) {
               const loop::Expr key = step * loop::integer(p_.keys) + e.column;
               loop::Block one{loop::Store{scores_, e.number, score(row, key, e.number)}};
               if (leaves_largest) {
                 one.push_back(loop::Accumulate{most, Op::max, loop::load(scores_, e.number)});
               }
               return one;
             }));
      if (leaves_largest) {
        body.push_back(loop::Store{exchange_, place_of_own(row), loop::variable(most)});
      }
      return body;
    });
  }

  // Minus infinity behind the last key: it is no part of the row.
  loop::Expr score(const Row& row, const loop::Expr& key, const loop::Expr& number) const {
    const loop::Expr value = at(a_.score, row, key, {a_.products.sum, loop::load(scores_, number)});
    return fits(inner_, p_.keys)
               ? value
               : loop::select(loop::binary(Op::lt, key, loop::size(inner_)), value, lowest());
  }

  // Of rows, keys and that variable, at a place; what is there is loaded from global memory only
  // where the place is one.
  loop::Expr at(const loop::Expr& value, const Row& row, const loop::Expr& key,
                const std::pair<loop::Variable, loop::Expr>& given) const {
    const loop::Expr place = first_row_ + row.row;
    Places places = places_of(c_.rows, place);
    for (auto& one : places_of(c_.inner, key)) places.push_back(std::move(one));
    places.push_back(given);
    const loop::Expr placed = loop::substitute(value, places);
    loop::Expr inside = loop::boolean_constant(true);
    if (!fits(rows_, p_.rows)) inside = loop::binary(Op::lt, place, loop::size(rows_));
    if (!fits(inner_, p_.keys)) {
      inside = loop::binary(Op::logical_and, inside, loop::binary(Op::lt, key, loop::size(inner_)));
    }
    return inside->op == Op::integer ? placed : loaded_inside(placed, inside);
  }

  // Nothing is loaded from global memory elsewhere.
  static loop::Expr loaded_inside(const loop::Expr& value, const loop::Expr& inside) {
    loop::Rewriter rewrite([&](const loop::Expr& e) {
      if (e->op != Op::load || e->buffer->space != loop::Space::global) return e;
      const loop::Expr when =
          loop::is_conditional(*e) ? loop::binary(Op::logical_and, inside, e->args[1]) : inside;
      return loop::load(e->buffer, e->args[0], when);
    });
    return rewrite(value);
  }

  // The largest score so far; as long as nothing but minus infinity has been seen 0, since the
  // difference of two is no number.
  static loop::Expr base_of(const loop::Expr& largest) {
    return loop::select(loop::binary(Op::eq, largest, lowest()), zero(), largest);
  }

  // The exponentials of the step's scores, and what the largest so far does to all sums.
  loop::Stmt exponentials(const loop::Expr& step, bool are_multiplied) const {
    return over_rows([&](const Row& row) {
      const loop::Expr number = loop::variable(row.number);
      const loop::Variable most = scalar("most"), base = scalar("base"), factor = scalar("factor"),
                           sum = scalar("sum");
      loop::Block body{loop::Declare{most, loop::load(top_, number)}};
      append(body, over_exchanged(row, [&](const loop::Expr& value) {
               return loop::Accumulate{most, Op::max, value};
             }));
      body.push_back(loop::Declare{base, base_of(loop::variable(most))});
      body.push_back(loop::Declare{
          factor, loop::unary(Op::exp, loop::load(top_, number) - loop::variable(base))});
      body.push_back(loop::Store{top_, number, loop::variable(most)});
      body.push_back(loop::Declare{sum, zero()});
      append(body, over_elements(row, p_.keys, [&](const Element& e) {
               const loop::Variable weight = scalar("weight");
               loop::Block one{
                   loop::Declare{weight, loop::unary(Op::exp, loop::load(scores_, e.number) -
                                                                  loop::variable(base))},
                   loop::Accumulate{sum, Op::add, loop::variable(weight)}};
               if (are_multiplied) one.push_back(multiply_by(row, step, e, loop::variable(weight)));
               return one;
             }));
      body.push_back(loop::Store{
          total_, number,
          loop::fma(loop::load(total_, number), loop::variable(factor), loop::variable(sum))});
      if (!are_multiplied) return body;
      append(body, over_elements(row, p_.columns, [&](const Element& e) {
               return loop::Block{loop::Store{
                   sums_, e.number, loop::load(sums_, e.number) * loop::variable(factor)}};
             }));
      return body;
    });
  }

  // The step's weights, where all sums are known; they are stored, too.
  loop::Stmt kept_weights(const loop::Expr& step) const {
    return over_rows([&](const Row& row) {
      const loop::Expr number = loop::variable(row.number);
      const loop::Variable base = scalar("base");
      loop::Block body{loop::Declare{base, base_of(loop::load(top_, number))}};
      append(body, over_elements(row, p_.keys, [&](const Element& e) {
               const loop::Expr weight =
                   loop::unary(Op::exp, loop::load(scores_, e.number) - loop::variable(base)) *
                   loop::load(total_, number);
               return loop::Block{loop::Store{scores_, e.number, weight},
                                  multiply_by(row, step, e, loop::load(scores_, e.number))};
             }));
      append(body, over_runs(row, p_.keys, [&](const Element& first, int count) {
               const loop::Variable next = loop::fresh_variable("next");
               const loop::Expr key = step * loop::integer(p_.keys) + first.column;
               const loop::Expr place = key + loop::variable(next);
               const std::pair<loop::Variable, loop::Expr> weight{
                   a_.weight, loop::load(scores_, first.number + loop::variable(next))};
               loop::For run;
               run.variable = next;
               run.kind = loop::LoopKind::vector;
               run.width = run.unrolled = count;
               run.extent = loop::integer(count);
               if (!fits(inner_, p_.keys)) {
                 run.extent = loop::binary(Op::min, loop::size(inner_) - key, run.extent);
               }
               Places places = places_of(c_.rows, first_row_ + row.row);
               for (auto& one : places_of(c_.inner, place)) places.push_back(std::move(one));
               run.body = {loop::Store{a_.kept->buffer, loop::substitute(a_.kept->index, places),
                                       at(a_.kept->value, row, place, weight)}};
               return inside(first_row_ + row.row, rows_, p_.rows,
                             {loop::statement(std::move(run))});
             }));
      return body;
    });
  }

  // Leaves what the values are multiplied by, which is made of the weight.
  loop::Stmt multiply_by(const Row& row, const loop::Expr& step, const Element& e,
                         const loop::Expr& weight) const {
    const loop::Expr multiplied = c_.a->dtype == p_.element ? c_.a : c_.a->args[0];
    const loop::Expr key = step * loop::integer(p_.keys) + e.column;
    return keep_weight(row, e.column, at(multiplied, row, key, {a_.weight, weight}));
  }

  loop::Expr place_of_own(const Row& row) const {
    return row.row * loop::integer(exchange_stride(p_)) + row.sharer;
  }
  // What all threads of the row have left, in their order.
  template <class Body>
  loop::Block over_exchanged(const Row& row, const Body& body) const {
    const loop::Variable s = loop::fresh_variable("s");
    return unrolled(s, p_.across,
                    {body(loop::load(exchange_, row.row * loop::integer(exchange_stride(p_)) +
                                                    loop::variable(s)))});
  }

  static loop::Variable scalar(const char* name) {
    loop::Variable variable = loop::fresh_variable(name);
    variable.dtype = DType::f32;
    return variable;
  }
  static loop::Expr zero() { return loop::real(0, DType::f32); }
  static loop::Expr lowest() {
    return loop::real(-std::numeric_limits<double>::infinity(), DType::f32);
  }

 protected:
  static void append(loop::Block& to, loop::Block more) {
    for (loop::Stmt& stmt : more) to.push_back(std::move(stmt));
  }

 private:
  loop::BufferRef top_, total_, exchange_;
};

// A warp has 16 rows. Keys and values come while something else is computed: those of the next step
// when the products with this one's are there, the values meanwhile.
class UnitAttention final : public AttentionBuilder {
 public:
  using AttentionBuilder::AttentionBuilder;

 private:
  Row row_of(const loop::Variable& thread, const loop::Variable& number) const override {
    const loop::Expr lane = loop::binary(Op::mod, loop::variable(thread), loop::integer(32));
    const loop::Expr warp = loop::binary(Op::floor_div, loop::variable(thread), loop::integer(32));
    return {thread, number,
            warp * loop::integer(rows_of_warp) + loop::variable(number) * loop::integer(8) +
                loop::binary(Op::floor_div, lane, loop::integer(4)),
            loop::binary(Op::mod, lane, loop::integer(4))};
  }

  // In the places that loop::place_of_sum says: two neighbours of every eight columns.
  loop::Block over_runs(const Row& row, int columns, const OfRun& body) const override {
    const loop::Variable j = loop::fresh_variable("j");
    const loop::Expr two = loop::integer(2);
    return unrolled(j, columns / 8,
                    body({loop::variable(j) * loop::integer(8) + row.sharer * two,
                          (loop::variable(j) * two + loop::variable(row.number)) * two},
                         2));
  }

  loop::Block begin() override {
    const auto stored = [&](const loop::Expr& value) {
      return value->dtype == p_.element ? value : value->args[0];
    };
    const Contraction& products = a_.products;
    const auto tile_of = [&](const Contraction& c, bool is_a, int width, int depth) {
      const AxisList* const all[] = {&c.batch, &c.rows, &c.columns, &c.inner};
      return shared_tile(stored(is_a ? c.a : c.b), is_a, is_a ? c.rows : c.columns, c.inner, width,
                         depth, all);
    };
    query_ = tile_of(products, true, p_.rows, p_.inner);
    key_ = tile_of(products, false, p_.keys, p_.inner);
    key_.may_begin_outside = true;  // those of the step behind the last
    value_ = tile_of(c_, false, p_.columns, p_.keys);
    of_keys_ = {p_.rows, p_.keys, p_.inner, rows_of_warp, p_.keys};
    of_keys_.a_runs_inner = query_.runs_inner;
    of_keys_.b_runs_inner = key_.runs_inner;
    of_values_ = *plan_.units;
    of_values_.b_runs_inner = value_.runs_inner;
    query_.lines = loop::lines_of_a(of_keys_, p_.element);
    key_.lines = loop::lines_of_b(of_keys_, p_.element);
    value_.lines = loop::lines_of_b(of_values_, p_.element);
    loop::Block block;
    query_.buffer = allocate(block, "queries", p_.element, query_.elements(), loop::Space::shared);
    key_.buffer = allocate(block, "keys", p_.element, key_.elements(), loop::Space::shared);
    value_.buffer = allocate(block, "values", p_.element, value_.elements(), loop::Space::shared);
    weights_ = allocate(block, "weights", p_.element, std::int64_t{p_.rows} * p_.keys,
                        loop::Space::shared);
    const loop::Expr none = loop::integer(0);
    block.push_back(bring(query_, first_row_, none, none, plan_.threads()));
    append(block, begin_again());
    return block;
  }
  loop::Block begin_again() override {
    const loop::Expr none = loop::integer(0);
    return {bring(key_, none, none, none, plan_.threads())};
  }

  loop::Block multiply_keys(const loop::Expr& step, bool with_values) override {
    const loop::Expr none = loop::integer(0);
    loop::Block block{loop::Barrier{}};
    if (with_values) {
      block.push_back(bring(value_, none, step * loop::integer(p_.keys), none, plan_.threads()));
    }
    block.push_back(zeros(scores_, p_.keys));
    block.push_back(loop::Multiply{scores_, query_.buffer, key_.buffer, none, none, of_keys_});
    return block;
  }
  loop::Block wait_for_largest(const loop::Expr& step, bool with_values) override {
    const loop::Expr none = loop::integer(0);
    return {loop::Barrier{with_values && value_.aligned ? 1 : 0},
            bring(key_, (step + loop::integer(1)) * loop::integer(p_.keys), none, none,
                  plan_.threads())};
  }
  loop::Stmt keep_weight(const Row& row, const loop::Expr& key,
                         const loop::Expr& weight) const override {
    const loop::TileLines lines = loop::lines_of_a(of_values_, p_.element);
    return loop::Store{weights_, loop::place_in_tile(lines, row.row, key), weight};
  }
  loop::Block multiply_values(const loop::Expr&) override {
    const loop::Expr none = loop::integer(0);
    return {loop::Barrier{key_.aligned ? 1 : 0},
            loop::Multiply{sums_, weights_, value_.buffer, none, none, of_values_}};
  }

  SharedTile query_, key_, value_;
  loop::MatrixTile of_keys_, of_values_;
  loop::BufferRef weights_;
};

// A thread has a few rows and columns. Keys and values lie in the same place in turns.
class ScalarAttention final : public AttentionBuilder {
 public:
  using AttentionBuilder::AttentionBuilder;

 private:
  Row row_of(const loop::Variable& thread, const loop::Variable& number) const override {
    const loop::Expr across = loop::integer(p_.across);
    return {thread, number,
            loop::binary(Op::floor_div, loop::variable(thread), across) *
                    loop::integer(p_.thread_rows) +
                loop::variable(number),
            loop::binary(Op::mod, loop::variable(thread), across)};
  }

  // Groups of columns as far apart as the tile allows, so that neighbouring threads' loads are
  // neighbours in shared memory.
  loop::Block over_runs(const Row& row, int columns, const OfRun& body) const override {
    const loop::Variable g = loop::fresh_variable("g");
    const int each = columns / p_.across, group = std::min(each, columns_of_load);
    const loop::Expr number = loop::variable(g);
    return unrolled(
        g, each / group,
        body({number * loop::integer(group * p_.across) + row.sharer * loop::integer(group),
              loop::variable(row.number) * loop::integer(each) + number * loop::integer(group)},
             group));
  }

  loop::Block begin() override {
    loop::Block block;
    queries_ = allocate(block, "queries", DType::f32, std::int64_t{p_.inner} * line(p_.rows),
                        loop::Space::shared);
    keys_ = allocate(
        block, "keys", DType::f32,
        std::max(std::int64_t{p_.inner} * line(p_.keys), std::int64_t{p_.keys} * line(p_.columns)),
        loop::Space::shared);
    weights_ = allocate(block, "weights", DType::f32, std::int64_t{p_.keys} * line(p_.rows),
                        loop::Space::shared);
    block.push_back(
        fill(a_.products, true, queries_, first_row_, loop::integer(0), p_.rows, p_.inner));
    return block;
  }

  loop::Block begin_again() override { return {}; }

  loop::Block multiply_keys(const loop::Expr& step, bool) override {
    return {loop::Barrier{},
            fill(a_.products, false, keys_, step * loop::integer(p_.keys), loop::integer(0),
                 p_.keys, p_.inner),
            zeros(scores_, p_.keys), loop::Barrier{},
            multiplied(scores_, queries_, p_.keys, p_.inner)};
  }
  loop::Block wait_for_largest(const loop::Expr& step, bool with_values) override {
    loop::Block block{loop::Barrier{}};
    if (with_values) {
      block.push_back(fill(c_, false, keys_, loop::integer(0), step * loop::integer(p_.keys),
                           p_.columns, p_.keys));
    }
    return block;
  }
  loop::Stmt keep_weight(const Row& row, const loop::Expr& key,
                         const loop::Expr& weight) const override {
    return loop::Store{weights_, key * loop::integer(line(p_.rows)) + row.row, weight};
  }
  loop::Block multiply_values(const loop::Expr&) override {
    return {loop::Barrier{}, multiplied(sums_, weights_, p_.columns, p_.keys)};
  }

  static int line(int width) { return width + gpu_tile_padding; }

  // An operand's elements, a line for each inner one; zeros past its ends.
  loop::Stmt fill(const Contraction& c, bool is_a, const loop::BufferRef& to,
                  const loop::Expr& first, const loop::Expr& first_inner, int width,
                  int depth) const {
    const AxisList& axes = is_a ? c.rows : c.columns;
    const loop::Expr& operand = is_a ? c.a : c.b;
    const Dim size = count(axes), inner_size = count(c.inner);
    const bool inner_runs_fastest =
        is_contiguous(operand, c.inner.back()) || (is_a && !is_contiguous(operand, axes.back()));
    const int elements = width * depth, all = plan_.threads();
    const int rounds = (elements + all - 1) / all;
    const int at_once = rounds % loads_at_once == 0 ? loads_at_once : 1;
    const loop::Variable t = loop::fresh_variable("t"), n = loop::fresh_variable("n");
    loop::For groups;
    groups.variable = loop::fresh_variable("group");
    groups.extent = loop::integer(rounds / at_once);
    const loop::Expr round =
        loop::variable(groups.variable) * loop::integer(at_once) + loop::variable(n);
    const loop::Expr number = round * loop::integer(all) + loop::variable(t);
    // A sector of each of several rows: what a warp stores lies in different banks.
    const int sector = inner_runs_fastest ? written_out : 1;
    const loop::Expr low = loop::binary(Op::mod, number, loop::integer(sector));
    const loop::Expr high = loop::binary(Op::floor_div, number, loop::integer(sector));
    const loop::Expr at = loop::binary(Op::mod, high, loop::integer(width));
    const loop::Expr k =
        loop::binary(Op::floor_div, high, loop::integer(width)) * loop::integer(sector) + low;
    const loop::Expr inside =
        loop::binary(Op::logical_and, loop::binary(Op::lt, first_inner + k, loop::size(inner_size)),
                     loop::binary(Op::lt, first + at, loop::size(size)));
    Places places = places_of(axes, first + at);
    for (auto& one : places_of(c.inner, first_inner + k)) places.push_back(std::move(one));
    loop::Block body{loop::Store{to, k * loop::integer(line(width)) + at,
                                 only_inside(loop::substitute(operand, places), inside)}};
    if (elements % all != 0) {
      body = {loop::statement(
          loop::If{loop::binary(Op::lt, number, loop::integer(elements)), std::move(body), {}})};
    }
    groups.body = unrolled(n, at_once, std::move(body));
    return threads(t, all, {loop::statement(std::move(groups))});
  }

  // sums += a * keys_.
  loop::Stmt multiplied(const loop::BufferRef& sums, const loop::BufferRef& a, int columns,
                        int depth) const {
    const loop::Variable t = loop::fresh_variable("t"), r = loop::fresh_variable("r"),
                         k = loop::fresh_variable("k");
    loop::For slices;
    slices.variable = loop::fresh_variable("slice");
    slices.extent = loop::integer(depth / written_out);
    const loop::Expr inner =
        loop::variable(slices.variable) * loop::integer(written_out) + loop::variable(k);
    const Row row = row_of(t, r);
    slices.body =
        unrolled(k, written_out,
                 unrolled(r, p_.thread_rows, over_elements(row, columns, [&](const Element& e) {
                            const loop::Expr x =
                                loop::load(a, inner * loop::integer(line(p_.rows)) + row.row);
                            const loop::Expr y =
                                loop::load(keys_, inner * loop::integer(line(columns)) + e.column);
                            return loop::Block{loop::Store{
                                sums, e.number, loop::fma(x, y, loop::load(sums, e.number))}};
                          })));
    return threads(t, plan_.threads(), {loop::statement(std::move(slices))});
  }

  loop::BufferRef queries_, keys_, weights_;
};

}  // namespace

std::string GpuAttentionPlan::to_string() const {
  return "attention: " + std::to_string(rows) + " rows, " + std::to_string(keys) +
         " keys at a time, " +
         (units ? std::string(name_of(element)) + " by matrix units"
                : std::to_string(thread_rows) + " x " + std::to_string(columns / across) +
                      " results a thread");
}

std::optional<GpuAttentionPlan> plan_gpu_attention(const AttentionSizes& sizes) {
  if (sizes.inner < 1 || sizes.columns < 1 || sizes.inner > most_head ||
      sizes.columns > most_head) {
    return std::nullopt;
  }
  GpuAttentionPlan plan;
  plan.element = sizes.element;
  plan.units = sizes.units;
  if (sizes.units) {
    const auto width = [](std::int64_t size) {
      return static_cast<int>(
          std::bit_ceil(static_cast<std::uint64_t>(std::max<std::int64_t>(size, rows_of_warp))));
    };
    plan.inner = width(sizes.inner);
    plan.columns = width(sizes.columns);
    plan.thread_rows = 2;
    plan.across = 4;
    for (const auto& [rows, keys] : {std::pair{64, 64}, {64, 32}, {32, 32}, {32, 16}}) {
      plan.rows = rows;
      plan.keys = keys;
      if (attention_bytes_of(plan) <= attention_bytes) return plan;
    }
    return std::nullopt;
  }
  plan.inner = filled_up(sizes.inner, written_out);
  plan.thread_rows = scalar_thread_rows;
  plan.keys = 32;
  for (const int rows : {64, 32}) {
    plan.rows = rows;
    plan.across = scalar_threads / (rows / scalar_thread_rows);
    plan.columns = scalar_columns(sizes.columns, plan.across);
    if (attention_bytes_of(plan) <= attention_bytes) return plan;
  }
  return std::nullopt;
}

loop::Kernel build_gpu_attention(const Attention& attention, const GpuAttentionPlan& plan,
                                 const loop::NewBuffer& new_buffer) {
  GpuTilePlan tiles;
  tiles.rows = plan.rows;
  tiles.columns = plan.columns;
  tiles.depth = plan.keys;
  tiles.thread_rows = plan.thread_rows;
  tiles.thread_columns = plan.columns / plan.across;
  if (plan.units) {
    tiles.element = plan.element;
    tiles.units = loop::MatrixTile{plan.rows, plan.columns, plan.keys, rows_of_warp, plan.columns};
  }
  loop::Kernel kernel = plan.units ? UnitAttention(attention, plan, tiles, new_buffer).run()
                                   : ScalarAttention(attention, plan, tiles, new_buffer).run();
  // The products with the keys once more.
  const Dim times = attention.kept ? 2 : 1;
  kernel.work = kernel.work + loop::size(attention.products.work() * times);
  kernel.form = plan.to_string();
  return kernel;
}

}  // namespace kroton
