#include "compiler/loop/gpu_running.h"

#include <algorithm>
#include <utility>

#include "compiler/loop/gpu_earlier_blocks.h"
#include "compiler/loop/index_arithmetic.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

constexpr std::int64_t threads_of_lines = 256;
// Positions of a thread, where a line's are neighbours in memory, and where those of other lines
// are; fewer where each has a factor or a segment beside it, all of which registers hold.
constexpr std::int64_t run_of_one_line = 8, run_of_columns = 16, run_of_pairs = 8;
// Lines that a block has side by side.
constexpr std::int64_t most_columns = 32;
// Operations for each element, for the estimate of a kernel's work.
constexpr std::int64_t work_of_runs = 12, work_of_factor = 6;

Expr lower_of(const Expr& a, const Expr& b) { return binary(Op::min, a, b); }
Expr is_below(const Expr& a, const Expr& b) { return binary(Op::lt, a, b); }
Expr quotient_of(const Expr& a, const Expr& b) { return binary(Op::floor_div, a, b); }
Expr both(const Expr& a, const Expr& b) { return binary(Op::logical_and, a, b); }

// A value, and the product of the factors up to it, or whether a segment begins in what it comes
// of; the second is null where there are neither.
struct Pair {
  Expr value, factor;
};

// What the kernel of a GpuRunning is made of.
class RunningBlock {
 public:
  RunningBlock(const GpuRunning& how, const NewBuffer& new_buffer)
      : how_(how), new_buffer_(new_buffer), second_(how.begins ? how.begins : how.factor) {
    second_dtype_ = how.begins ? DType::i32 : how.factor_dtype;
    is_one_line_ = how.inner.is_constant(1);
    run_ = is_one_line_ ? run_of_one_line : second_ ? run_of_pairs : run_of_columns;
    while (columns_ < most_columns &&
           !(how_.inner.is_constant() && how_.inner.constant() <= columns_)) {
      columns_ *= 2;
    }
    runs_ = threads_of_lines / columns_;
    column_blocks_ = ceil_div(how_.inner, columns_);
    chunks_ = ceil_div(how_.count, runs_ * run_);
    name_buffers();
  }

  Kernel kernel() const {
    std::vector<DType> told{how_.dtype};
    if (second_) told.push_back(second_dtype_);
    const EarlierBlocks earlier(chunks_, how_.outer * how_.inner * chunks_, told, new_buffer_);
    Block body = place();
    append(body, buffers());
    append(body, earlier.buffers());
    append(body, fetch());
    append(body, totals_of_runs());
    const int side = bring_together(body);
    append(body, find_before(earlier, side));
    append(body, run_along(side));
    if (is_one_line_) append(body, store_staged());
    For loop;
    loop.kind = LoopKind::block;
    loop.variable = block_;
    loop.extent = size(how_.outer * chunks_ * column_blocks_ * how_.wanted);
    loop.width = static_cast<int>(threads_of_lines);
    loop.body = std::move(body);
    Kernel kernel;
    kernel.body = simplify_indices({statement(std::move(loop))});
    kernel.work = size(how_.outer * how_.count * how_.inner * how_.wanted *
                       Dim(work_of_runs + (second_ ? work_of_factor : 0)));
    return kernel;
  }

 private:
  // ---- Its parts

  void name_buffers() {
    const auto shared = [&](const char* name, DType dtype, std::int64_t count) {
      return new_buffer_(name, dtype, Dim(count), Space::shared);
    };
    for (const int k : {0, 1}) {
      values_[k] = shared("values", how_.dtype, threads_of_lines);
      if (second_) products_[k] = shared("products", second_dtype_, threads_of_lines);
    }
    before_ = shared("before", how_.dtype, columns_);
    const DType of_second = how_.begins ? second_dtype_ : how_.dtype;
    const bool keeps_second = how_.begins || (how_.factor && how_.reads_factor);
    const auto keep = [&](const char* name, DType dtype) {
      return is_one_line_ ? shared(name, dtype, threads_of_lines * (run_ + 1))
                          : new_buffer_(name, dtype, Dim(run_), Space::registers);
    };
    kept_ = keep("kept", how_.dtype);
    if (keeps_second) kept_factor_ = keep("kept_factor", of_second);
  }

  // Which lines a block has, and which chunk of them.
  Block place() const {
    const Expr columns = size(column_blocks_), all = size(column_blocks_ * chunks_);
    const Expr rest = variable(block_) - variable(outer_) * all;
    return {Declare{outer_, quotient_of(variable(block_), all)},
            Declare{chunk_, quotient_of(rest, columns)},
            Declare{first_column_, (rest - variable(chunk_) * columns) * integer(columns_)}};
  }
  Block buffers() const {
    Block block;
    for (const BufferRef& buffer :
         {values_[0], values_[1], products_[0], products_[1], before_, kept_, kept_factor_}) {
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
  // For the positions of a thread: in registers, these are written out.
  Stmt over_run(const std::function<Block(const Expr& k)>& body, bool written_out = false) const {
    For loop;
    loop.kind = written_out || !is_one_line_ ? LoopKind::unroll : LoopKind::serial;
    loop.variable = fresh_variable("k");
    loop.extent = integer(run_);
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

  Expr of_factor(const Expr& e) const { return cast(e, second_dtype_); }
  // What is left alone by a segment that begins.
  Expr in_segment(const Expr& before, const Pair& pair) const {
    return select(binary(Op::eq, pair.factor, integer(0, DType::i32)),
                  binary(how_.op, before, pair.value), pair.value);
  }
  Expr joined(const Expr& first, const Expr& then) const {
    return how_.begins ? binary(Op::bit_or, first, then) : first * then;
  }

  // What comes of the pair behind `before`.
  Expr behind(const Expr& before, const Pair& pair) const {
    if (!pair.factor) return binary(how_.op, before, pair.value);
    if (how_.begins) return in_segment(before, pair);
    const Expr scaled = pair.factor * of_factor(before);
    const Expr sum = cast(binary(how_.op, scaled, of_factor(pair.value)), how_.dtype);
    if (!is_float(how_.dtype)) return sum;
    // A product that is too large is none of what is 0.
    return select(binary(Op::eq, before, whole_number(0, how_.dtype)), pair.value, sum);
  }

  Pair behind(const Pair& before, const Pair& pair) const {
    return {behind(before.value, pair), pair.factor ? joined(before.factor, pair.factor) : nullptr};
  }

  // The value at one position behind another one's.
  Expr next(const Expr& before, const Expr& value, const Expr& factor) const {
    if (how_.begins) return in_segment(before, {value, factor});
    return binary(how_.op, factor ? factor * before : before, value);
  }

  Pair shared(int side, const Expr& at, const Expr& condition = nullptr) const {
    return {load(values_[side], at, condition),
            second_ ? load(products_[side], at, condition) : nullptr};
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
        Pair made = behind(left, own);
        made.value = select(is_behind, made.value, own.value);
        if (own.factor) made.factor = select(is_behind, made.factor, own.factor);
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
  // All of a thread's positions are under way at a time: beyond the end the last one is read again.
  // On one line neighbours in memory go to neighbouring threads, and through shared memory.
  Block fetch() const {
    Block block{threads([&](const Expr& t) -> Block {
      return {over_run(
          [&](const Expr& k) -> Block {
            const Expr place =
                is_one_line_ ? k * integer(threads_of_lines) + t : place_in_chunk(t, k);
            const Expr position = lower_of(first_position() + place, size(how_.count) - integer(1));
            const Expr column = has_all_columns()
                                    ? column_of(t)
                                    : lower_of(column_of(t), size(how_.inner) - integer(1));
            const Expr to = is_one_line_ ? padded(place) : k;
            Block stores{Store{kept_, to, how_.value(variable(outer_), position, column)}};
            if (kept_factor_) {
              stores.push_back(
                  Store{kept_factor_, to, second_(variable(outer_), position, column)});
            }
            return stores;
          },
          true)};
    })};
    if (is_one_line_) block.push_back(Barrier{});
    return block;
  }
  Expr first_position() const { return variable(chunk_) * integer(runs_ * run_); }
  Expr place_in_chunk(const Expr& t, const Expr& k) const { return run_of(t) * integer(run_) + k; }
  Pair element(const Expr& t, const Expr& k) const {
    const Expr place = place_in_chunk(t, k);
    const Expr at = is_one_line_ ? padded(place) : k;
    Pair pair;
    pair.value = load(kept_, at);
    if (!second_) return pair;
    pair.factor = kept_factor_
                      ? load(kept_factor_, at)
                      : how_.factor(variable(outer_), first_position() + place, column_of(t));
    return pair;
  }

  // Each thread's run comes to a pair.
  Block totals_of_runs() const {
    const BufferRef v = held("v", how_.dtype), f = held("f", second_dtype_);
    return {threads([&](const Expr& t) {
              Block block{Allocate{v}, Store{v, integer(0), whole_number(0, how_.dtype)}};
              if (second_) append(block, {Allocate{f}, Store{f, integer(0), no_factor()}});
              block.push_back(over_run([&](const Expr& k) -> Block {
                const Expr position = first_position() + place_in_chunk(t, k);
                return {statement(If{
                    there(t, position, how_.count), add_to(v, f, element(t, k), is_first(k)), {}})};
              }));
              append(block, store_shared(0, t, {value_of(v), second_ ? value_of(f) : nullptr}));
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
      block.push_back(Store{f, integer(0), joined(value_of(f), of_factor(pair.factor))});
    }
    return block;
  }

  BufferRef held(const char* name, DType dtype) const {
    return new_buffer_(name, dtype, Dim(1), Space::registers);
  }
  static Expr value_of(const BufferRef& held) { return load(held, integer(0)); }
  Expr no_factor() const { return whole_number(how_.begins ? 0 : 1, second_dtype_); }
  static Expr is_first(const Expr& k) { return binary(Op::eq, k, integer(0)); }

  Expr place_in_table(const Expr& chunk, const Expr& column) const {
    return (variable(outer_) * size(chunks_) + chunk) * size(how_.inner) + column;
  }

  // ---- From what stands before

  // Each thread's run from what stands before the chunk.
  Block run_along(int side) const {
    const BufferRef v = held("v", how_.dtype);
    return {threads([&](const Expr& t) {
              const Expr lane = columns_ == 1 ? integer(0) : binary(Op::mod, t, integer(columns_));
              const Expr before_chunk = load(before_, lane);
              const Expr has_run = binary(Op::le, integer(columns_), t);
              const Pair runs = shared(side, t - integer(columns_), has_run);
              const Expr before =
                  select(has_run,
                         select(is_first(variable(chunk_)), runs.value, behind(before_chunk, runs)),
                         before_chunk);
              Block block{Allocate{v}, Store{v, integer(0), before}};
              block.push_back(over_run([&](const Expr& k) -> Block {
                const Expr place = place_in_chunk(t, k), position = first_position() + place;
                const Pair own = element(t, k);
                const Expr after = next(value_of(v), own.value, own.factor);
                Block stores{Store{v, integer(0), select(is_first(position), own.value, after)},
                             is_one_line_ ? Stmt(Store{kept_, padded(place), value_of(v)})
                                          : how_.store(variable(outer_), position, column_of(t),
                                                       value_of(v))};
                return {statement(If{there(t, position, how_.count), std::move(stores), {}})};
              }));
              return block;
            }),
            Barrier{}};
  }

  // What stands before the chunk, of each column in shared memory.
  Block find_before(const EarlierBlocks& earlier, int side) const {
    return {
        threads([&](const Expr& t) -> Block {
          const Expr is_lane = is_below(t, integer(columns_));
          const auto values = [](const Pair& pair) {
            return pair.factor ? EarlierBlocks::Values{pair.value, pair.factor}
                               : EarlierBlocks::Values{pair.value};
          };
          const auto combine = [&](const EarlierBlocks::Values& first,
                                   const EarlierBlocks::Values& then) {
            const auto pair = [](const EarlierBlocks::Values& of) {
              return Pair{of[0], of.size() > 1 ? of[1] : nullptr};
            };
            return values(behind(pair(first), pair(then)));
          };
          const auto place = [&](const Expr& chunk) { return place_in_table(chunk, column_of(t)); };
          const EarlierBlocks::Values own =
              values(shared(side, integer((runs_ - 1) * columns_) + t));
          Block block = earlier.tell(variable(chunk_), place, own);
          append(block, earlier.find(variable(chunk_), place, own, combine));
          const EarlierBlocks::Values before = earlier.before();
          const Expr is_behind = is_below(integer(0), variable(chunk_));
          if (!before.empty()) {
            block.push_back(statement(If{is_behind, {Store{before_, t, before[0]}}, {}}));
          }
          return {
              statement(If{is_lane,
                           {Store{before_, t, whole_number(0, how_.dtype)},
                            statement(If{has_all_columns() ? boolean_constant(true) : has_column(t),
                                         std::move(block),
                                         {}})},
                           {}})};
        }),
        Barrier{}};
  }

  Block store_staged() const {
    return {threads([&](const Expr& t) -> Block {
      return {over_run([&](const Expr& k) -> Block {
        const Expr place = k * integer(threads_of_lines) + t;
        const Expr position = first_position() + place;
        return {statement(
            If{there(t, position, how_.count),
               {how_.store(variable(outer_), position, integer(0), load(kept_, padded(place)))},
               {}})};
      })};
    })};
  }

  const GpuRunning& how_;
  const NewBuffer& new_buffer_;
  const GpuRunning::At& second_;
  DType second_dtype_ = DType::f64;
  bool is_one_line_ = false;
  std::int64_t columns_ = 1, runs_ = 1, run_ = 1;
  Dim column_blocks_ = 1, chunks_ = 1;
  Variable block_ = fresh_variable("block"), outer_ = fresh_variable("outer"),
           chunk_ = fresh_variable("chunk"), first_column_ = fresh_variable("column");
  BufferRef values_[2], products_[2], before_;  // of runs, of what stands before the chunk; shared
  BufferRef kept_, kept_factor_;  // the chunk: in shared memory, or each thread's run in registers
};

}  // namespace

Kernel GpuRunning::kernel(const NewBuffer& new_buffer) const {
  return RunningBlock(*this, new_buffer).kernel();
}

}  // namespace kroton::loop
