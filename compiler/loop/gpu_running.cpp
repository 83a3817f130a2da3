#include "compiler/loop/gpu_running.h"

#include <algorithm>
#include <utility>

#include "compiler/loop/index_arithmetic.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

constexpr std::int64_t threads_of_lines = 256;
// Positions of a thread, where a line's are neighbours in memory, and where those of other lines
// are.
constexpr std::int64_t run_of_one_line = 8, run_of_columns = 16;
// Lines that a block has side by side: in results of chunks no more than a sector of memory has.
constexpr std::int64_t most_columns = 32, most_columns_of_chunks = 8;
// Chunks that one block runs along one after the other: others take further kernels.
constexpr std::int64_t few_chunks_of_line = 4;
// Operations for each element, for the estimate of a kernel's work.
constexpr std::int64_t work_of_totals = 4, work_of_runs = 8, work_of_factor = 3;

Expr lower_of(const Expr& a, const Expr& b) { return binary(Op::min, a, b); }
Expr is_below(const Expr& a, const Expr& b) { return binary(Op::lt, a, b); }
Expr quotient_of(const Expr& a, const Expr& b) { return binary(Op::floor_div, a, b); }
Expr both(const Expr& a, const Expr& b) { return binary(Op::logical_and, a, b); }

// A value, and the product of the factors up to it; the second is null where there are none.
struct Pair {
  Expr value, factor;
};

// What the kernels of a GpuRunning are made of.
class RunningBlock {
 public:
  RunningBlock(const GpuRunning& how, const NewBuffer& new_buffer)
      : how_(how), new_buffer_(new_buffer) {
    is_one_line_ = how.inner.is_constant(1);
    run_ = is_one_line_ ? run_of_one_line : run_of_columns;
    set_columns(most_columns);
  }

  std::vector<Kernel> kernels() {
    const Dim chunks = ceil_div(how_.count, runs_ * run_);
    chunks_ = chunks;
    const Dim are_few = is_of_few();
    chunks_of_block_ = 1 + (maximum(chunks, 1) - Dim(1)) * are_few;
    const Dim is_shared = how_.wanted * (1 - are_few);
    const Dim table = how_.outer * how_.inner * chunks * is_shared;
    totals_ = new_buffer_("totals", how_.dtype, table, Space::global);
    starts_ = new_buffer_("starts", how_.dtype, table, Space::global);
    if (how_.factor) {
      factors_ = new_buffer_("factors", how_.factor_dtype, table, Space::global);
    }
    std::vector<Kernel> list;
    if (!is_shared.is_constant(0)) {
      list.push_back(find_totals(is_shared));
      list.push_back(find_starts(is_shared));
    }
    list.push_back(run_along());
    return list;
  }

 private:
  void set_columns(std::int64_t most) {
    columns_ = 1;
    while (columns_ < most && !(how_.inner.is_constant() && how_.inner.constant() <= columns_)) {
      columns_ *= 2;
    }
    runs_ = threads_of_lines / columns_;
    column_blocks_ = ceil_div(how_.inner, columns_);
  }

  // ---- A kernel's parts

  // New names for what a kernel has.
  void begin() {
    block_ = fresh_variable("block");
    outer_ = fresh_variable("outer");
    chunk_ = fresh_variable("chunk");
    first_column_ = fresh_variable("column");
    for (const int k : {0, 1}) {
      values_[k] = new_buffer_("values", how_.dtype, Dim(threads_of_lines), Space::shared);
      if (how_.factor) {
        products_[k] =
            new_buffer_("products", how_.factor_dtype, Dim(threads_of_lines), Space::shared);
      }
    }
    if (!is_one_line_) return;
    const Dim staged(threads_of_lines * (run_ + 1));
    staged_ = new_buffer_("staged", how_.dtype, staged, Space::shared);
    if (how_.reads_factor) {
      staged_factor_ = new_buffer_("staged_factor", how_.dtype, staged, Space::shared);
    }
  }

  // Which lines a block has, and which of so many parts of them.
  Block place(const Dim& parts, const Variable& part) const {
    const Expr columns = size(column_blocks_), all = size(column_blocks_ * parts);
    const Expr rest = variable(block_) - variable(outer_) * all;
    return {Declare{outer_, quotient_of(variable(block_), all)},
            Declare{part, quotient_of(rest, columns)},
            Declare{first_column_, (rest - variable(part) * columns) * integer(columns_)}};
  }
  Block shared_buffers() const {
    Block block;
    for (const BufferRef& buffer :
         {values_[0], values_[1], products_[0], products_[1], staged_, staged_factor_}) {
      if (buffer != nullptr) block.push_back(Allocate{buffer});
    }
    return block;
  }

  Stmt threads(const std::function<Block(const Expr& t)>& body) const {
    For loop;
    loop.kind = LoopKind::thread;
    loop.variable = fresh_variable("t");
    loop.extent = integer(threads_of_lines);
    loop.body = body(variable(loop.variable));
    return statement(std::move(loop));
  }
  static Stmt repeated(const Expr& extent, const std::function<Block(const Expr& k)>& body) {
    For loop;
    loop.variable = fresh_variable("k");
    loop.extent = extent;
    loop.body = body(variable(loop.variable));
    return statement(std::move(loop));
  }
  static void append(Block& block, Block more) {
    for (Stmt& s : more) block.push_back(std::move(s));
  }

  Expr run_of(const Expr& t) const { return quotient_of(t, integer(columns_)); }
  Expr column_of(const Expr& t) const {
    return columns_ == 1 ? integer(0)
                         : variable(first_column_) + binary(Op::mod, t, integer(columns_));
  }
  // Whether there is such a column.
  Expr has_column(const Expr& t) const { return is_below(column_of(t), size(how_.inner)); }
  bool has_all_columns() const {
    return how_.inner.is_constant() && how_.inner.constant() % columns_ == 0;
  }
  Expr there(const Expr& t, const Expr& position, const Dim& count) const {
    const Expr inside = is_below(position, size(count));
    return has_all_columns() ? inside : both(inside, has_column(t));
  }

  // ---- Pairs

  Expr of_factor(const Expr& e) const { return cast(e, how_.factor_dtype); }

  // What comes of the pair behind `before`.
  Expr behind(const Expr& before, const Pair& pair) const {
    if (!pair.factor) return binary(how_.op, before, pair.value);
    const Expr scaled = pair.factor * of_factor(before);
    const Expr sum = cast(binary(how_.op, scaled, of_factor(pair.value)), how_.dtype);
    if (!is_float(how_.dtype)) return sum;
    // A product that is too large is none of what is 0.
    return select(binary(Op::eq, before, whole_number(0, how_.dtype)), pair.value, sum);
  }

  // The value at one position behind another one's.
  Expr next(const Expr& before, const Expr& value, const Expr& factor) const {
    return binary(how_.op, factor ? factor * before : before, value);
  }

  Pair shared(int side, const Expr& at, const Expr& condition = nullptr) const {
    return {load(values_[side], at, condition),
            how_.factor ? load(products_[side], at, condition) : nullptr};
  }
  Block store_shared(int side, const Expr& at, const Pair& pair) const {
    Block block{Store{values_[side], at, pair.value}};
    if (pair.factor) block.push_back(Store{products_[side], at, pair.factor});
    return block;
  }

  // All threads' pairs, of side 0, become what all of their column up to them come to; on which
  // side these are then.
  int bring_together(Block& block) const {
    int side = 0;
    for (std::int64_t distance = 1; distance < runs_; distance *= 2) {
      block.push_back(threads([&](const Expr& t) {
        const Expr is_behind = binary(Op::le, integer(distance * columns_), t);
        const Pair own = shared(side, t);
        const Pair left = shared(side, t - integer(distance * columns_), is_behind);
        Pair made{select(is_behind, behind(left.value, own), own.value), nullptr};
        if (own.factor) made.factor = select(is_behind, left.factor * own.factor, own.factor);
        return store_shared(1 - side, t, made);
      }));
      block.push_back(Barrier{});
      side = 1 - side;
    }
    return side;
  }

  // ---- Elements

  static Expr padded(const Expr& place) {
    return place + quotient_of(place, integer(run_of_one_line));
  }
  // Neighbours in memory by neighbouring threads.
  Block stage() const {
    if (!is_one_line_) return {};
    return {threads([&](const Expr& t) -> Block {
              return {repeated(integer(run_), [&](const Expr& k) -> Block {
                const Expr place = k * integer(threads_of_lines) + t;
                const Expr position = first_position() + place;
                Block stores{Store{staged_, padded(place),
                                   how_.value(variable(outer_), position, integer(0))}};
                if (staged_factor_) {
                  stores.push_back(Store{staged_factor_, padded(place),
                                         how_.factor(variable(outer_), position, integer(0))});
                }
                return {statement(If{there(t, position, how_.count), std::move(stores), {}})};
              })};
            }),
            Barrier{}};
  }
  Expr first_position() const { return variable(chunk_) * integer(runs_ * run_); }
  Expr place_in_chunk(const Expr& t, const Expr& k) const { return run_of(t) * integer(run_) + k; }
  Pair element(const Expr& t, const Expr& k) const {
    const Expr place = place_in_chunk(t, k), position = first_position() + place;
    Pair pair;
    pair.value = is_one_line_ ? load(staged_, padded(place))
                              : how_.value(variable(outer_), position, column_of(t));
    if (!how_.factor) return pair;
    pair.factor = staged_factor_ ? load(staged_factor_, padded(place))
                                 : how_.factor(variable(outer_), position, column_of(t));
    return pair;
  }

  // Each thread's run comes to a pair.
  Block totals_of_runs() const {
    const BufferRef v = held("v", how_.dtype), f = held("f", how_.factor_dtype);
    return {threads([&](const Expr& t) {
              Block block{Allocate{v}, Store{v, integer(0), whole_number(0, how_.dtype)}};
              if (how_.factor) {
                append(block, {Allocate{f}, Store{f, integer(0), one_factor()}});
              }
              block.push_back(repeated(integer(run_), [&](const Expr& k) -> Block {
                const Expr position = first_position() + place_in_chunk(t, k);
                return {statement(If{
                    there(t, position, how_.count), add_to(v, f, element(t, k), is_first(k)), {}})};
              }));
              append(block, store_shared(0, t, {value_of(v), how_.factor ? value_of(f) : nullptr}));
              return block;
            }),
            Barrier{}};
  }
  // A position's pair comes behind what is held; it alone where it is the first one.
  Block add_to(const BufferRef& v, const BufferRef& f, const Pair& pair,
               const Expr& is_first) const {
    const Expr after = next(value_of(v), pair.value, pair.factor);
    Block block{Store{v, integer(0), select(is_first, pair.value, after)}};
    if (pair.factor) {
      block.push_back(Store{f, integer(0), value_of(f) * of_factor(pair.factor)});
    }
    return block;
  }

  BufferRef held(const char* name, DType dtype) const {
    return new_buffer_(name, dtype, Dim(1), Space::registers);
  }
  static Expr value_of(const BufferRef& held) { return load(held, integer(0)); }
  Expr one_factor() const { return whole_number(1, how_.factor_dtype); }
  static Expr is_first(const Expr& k) { return binary(Op::eq, k, integer(0)); }

  Expr place_in_table(const Expr& chunk, const Expr& column) const {
    return (variable(outer_) * size(chunks_) + chunk) * size(how_.inner) + column;
  }

  Kernel finished(const Dim& blocks, Block body, std::int64_t work, const Dim& elements) const {
    For loop;
    loop.kind = LoopKind::block;
    loop.variable = block_;
    loop.extent = size(blocks);
    loop.width = static_cast<int>(threads_of_lines);
    loop.body = std::move(body);
    Kernel kernel;
    kernel.body = simplify_indices({statement(std::move(loop))});
    kernel.work = size(elements * Dim(work + (how_.factor ? work_of_factor : 0)));
    return kernel;
  }

  // ---- Kernels

  Kernel find_totals(const Dim& wanted) {
    begin();
    Block body = place(chunks_, chunk_);
    append(body, shared_buffers());
    append(body, stage());
    append(body, totals_of_runs());
    const int side = bring_together(body);
    body.push_back(threads([&](const Expr& t) -> Block {
      const Expr left = size(how_.count) - first_position() - integer(1);
      const Expr last = lower_of(integer(runs_ - 1), quotient_of(left, integer(run_)));
      const Expr is_last = binary(Op::eq, run_of(t), last);
      const Expr to = place_in_table(variable(chunk_), column_of(t));
      const Pair all = shared(side, t);
      Block stores{Store{totals_, to, all.value}};
      if (all.factor) stores.push_back(Store{factors_, to, all.factor});
      return {statement(
          If{has_all_columns() ? is_last : both(is_last, has_column(t)), std::move(stores), {}})};
    }));
    return finished(how_.outer * chunks_ * column_blocks_ * wanted, std::move(body), work_of_totals,
                    how_.outer * how_.count * how_.inner * wanted);
  }

  // Of each chunk but the first: what stands before it.
  Kernel find_starts(const Dim& wanted) {
    set_columns(most_columns_of_chunks);
    begin();
    staged_ = staged_factor_ = nullptr;
    const Dim run = ceil_div(chunks_, runs_);
    const BufferRef v = held("v", how_.dtype), f = held("f", how_.factor_dtype);
    Block body = place(Dim(1), chunk_);
    append(body, shared_buffers());
    const auto over_own = [&](const Expr& t,
                              const std::function<Block(const Expr& k, const Expr& chunk)>& make) {
      return repeated(size(run), [&](const Expr& k) -> Block {
        const Expr chunk = run_of(t) * size(run) + k;
        return {statement(If{there(t, chunk, chunks_), make(k, chunk), {}})};
      });
    };
    const auto total = [&](const Expr& t, const Expr& chunk) {
      const Expr from = place_in_table(chunk, column_of(t));
      return Pair{load(totals_, from), how_.factor ? load(factors_, from) : nullptr};
    };
    body.push_back(threads([&](const Expr& t) {
      Block block{Allocate{v}, Store{v, integer(0), whole_number(0, how_.dtype)}};
      if (how_.factor) append(block, {Allocate{f}, Store{f, integer(0), one_factor()}});
      block.push_back(over_own(t, [&](const Expr& k, const Expr& chunk) {
        const Pair own = total(t, chunk);
        Block stores{
            Store{v, integer(0), select(is_first(k), own.value, behind(value_of(v), own))}};
        if (own.factor) stores.push_back(Store{f, integer(0), value_of(f) * own.factor});
        return stores;
      }));
      append(block, store_shared(0, t, {value_of(v), how_.factor ? value_of(f) : nullptr}));
      return block;
    }));
    body.push_back(Barrier{});
    const int side = bring_together(body);
    const BufferRef w = held("v", how_.dtype);
    body.push_back(threads([&](const Expr& t) -> Block {
      const Expr is_behind = binary(Op::le, integer(columns_), t);
      return {
          Allocate{w}, Store{w, integer(0), load(values_[side], t - integer(columns_), is_behind)},
          over_own(t, [&](const Expr&, const Expr& chunk) -> Block {
            const Expr is_line = is_first(chunk);
            const Pair own = total(t, chunk);
            const Expr to = place_in_table(chunk, column_of(t));
            return {
                statement(If{is_below(integer(0), chunk), {Store{starts_, to, value_of(w)}}, {}}),
                Store{w, integer(0), select(is_line, own.value, behind(value_of(w), own))}};
          })};
    }));
    const Dim blocks = how_.outer * column_blocks_ * wanted;
    set_columns(most_columns);
    return finished(blocks, std::move(body), work_of_runs,
                    how_.outer * chunks_ * how_.inner * wanted);
  }

  Kernel run_along() {
    begin();
    // What stands before the chunk, and before the next one.
    const BufferRef carried[2] = {new_buffer_("carried", how_.dtype, Dim(columns_), Space::shared),
                                  new_buffer_("carried", how_.dtype, Dim(columns_), Space::shared)};
    const Dim groups = minimum(chunks_, 1 + (chunks_ - Dim(1)) * (1 - is_of_few()));
    const Variable group = fresh_variable("group"), round = fresh_variable("round");
    Block body = place(groups, group);
    append(body, shared_buffers());
    append(body, {Allocate{carried[0]}, Allocate{carried[1]}});
    body.push_back(threads([&](const Expr& t) -> Block {
      const Expr is_lane = is_below(t, integer(columns_));
      const Expr is_behind = both(is_below(integer(0), variable(group)),
                                  has_all_columns() ? is_lane : both(is_lane, has_column(t)));
      const Expr start = load(starts_, place_in_table(variable(group), column_of(t)), is_behind);
      return {statement(
          If{is_lane,
             {Store{carried[0], t, start}, Store{carried[1], t, whole_number(0, how_.dtype)}},
             {}})};
    }));
    body.push_back(Barrier{});

    Block each{Declare{chunk_, variable(group) + variable(round)}};
    append(each, stage());
    append(each, totals_of_runs());
    const int side = bring_together(each);
    const BufferRef v = held("v", how_.dtype);
    each.push_back(threads([&](const Expr& t) {
      const Expr lane = columns_ == 1 ? integer(0) : binary(Op::mod, t, integer(columns_));
      const Expr odd = binary(Op::eq, binary(Op::mod, variable(round), integer(2)), integer(1));
      const Expr before_chunk = select(odd, load(carried[1], lane), load(carried[0], lane));
      const Expr has_run = binary(Op::le, integer(columns_), t);
      const Pair runs = shared(side, t - integer(columns_), has_run);
      const Expr before = select(
          has_run, select(is_first(variable(chunk_)), runs.value, behind(before_chunk, runs)),
          before_chunk);
      Block block{Allocate{v}, Store{v, integer(0), before}};
      block.push_back(repeated(integer(run_), [&](const Expr& k) -> Block {
        const Expr place = place_in_chunk(t, k), position = first_position() + place;
        const Pair own = element(t, k);
        const Expr after = next(value_of(v), own.value, own.factor);
        Block stores{Store{v, integer(0), select(is_first(position), own.value, after)},
                     is_one_line_
                         ? Stmt(Store{staged_, padded(place), value_of(v)})
                         : how_.store(variable(outer_), position, column_of(t), value_of(v))};
        return {statement(If{there(t, position, how_.count), std::move(stores), {}})};
      }));
      const Expr is_last = binary(Op::le, integer((runs_ - 1) * columns_), t);
      block.push_back(statement(If{is_last,
                                   {statement(If{odd,
                                                 {Store{carried[0], lane, value_of(v)}},
                                                 {Store{carried[1], lane, value_of(v)}}})},
                                   {}}));
      return block;
    }));
    each.push_back(Barrier{});
    if (is_one_line_) {
      each.push_back(threads([&](const Expr& t) -> Block {
        return {repeated(integer(run_), [&](const Expr& k) -> Block {
          const Expr place = k * integer(threads_of_lines) + t;
          const Expr position = first_position() + place;
          return {statement(
              If{there(t, position, how_.count),
                 {how_.store(variable(outer_), position, integer(0), load(staged_, padded(place)))},
                 {}})};
        })};
      }));
      each.push_back(Barrier{});
    }
    For rounds;
    rounds.variable = round;
    rounds.extent = size(chunks_of_block_);
    rounds.body = std::move(each);
    body.push_back(statement(std::move(rounds)));
    return finished(how_.outer * groups * column_blocks_ * how_.wanted, std::move(body),
                    work_of_runs, how_.outer * how_.count * how_.inner * how_.wanted);
  }
  Dim is_of_few() const { return 1 - minimum(1, floor_div(chunks_, few_chunks_of_line + 1)); }

  const GpuRunning& how_;
  const NewBuffer& new_buffer_;
  bool is_one_line_ = false;
  std::int64_t columns_ = 1, runs_ = 1, run_ = 1;
  Dim column_blocks_ = 1, chunks_ = 1, chunks_of_block_ = 1;
  BufferRef totals_, starts_, factors_;  // of chunks
  // Of the kernel in progress.
  Variable block_, outer_, chunk_, first_column_;
  BufferRef values_[2], products_[2], staged_, staged_factor_;
};

}  // namespace

std::vector<Kernel> GpuRunning::kernels(const NewBuffer& new_buffer) const {
  return RunningBlock(*this, new_buffer).kernels();
}

}  // namespace kroton::loop
