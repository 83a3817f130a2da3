#include "compiler/loop/gpu_radix_sort.h"

#include <algorithm>
#include <utility>

#include "compiler/loop/index_arithmetic.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

constexpr int digit_bits = 6;
constexpr std::int64_t digit_values = 1 << digit_bits;
// A block's threads, and the keys of each: its counters of all digits are shared memory that leaves
// room for a dozen blocks on a processor.
constexpr int threads_of_digits = 64;
constexpr std::int64_t keys_of_thread = 16;
constexpr std::int64_t chunk_of_keys = threads_of_digits * keys_of_thread;
constexpr int threads_of_starts = 128;
constexpr std::int64_t few_chunks = 16;  // that one thread brings in order
// Operations for each key, for the estimate of a kernel's work.
constexpr std::int64_t work_of_count = 16;
constexpr std::int64_t work_of_move = 24;

Expr one_i32() { return integer(1, DType::i32); }
Expr zero_i32() { return integer(0, DType::i32); }

For serial_loop(const Variable& v, const Expr& extent, Block body) {
  For loop;
  loop.variable = v;
  loop.extent = extent;
  loop.body = std::move(body);
  return loop;
}

Stmt of_threads(const Variable& t, std::int64_t count, Block body) {
  For loop = serial_loop(t, integer(count), std::move(body));
  loop.kind = LoopKind::thread;
  return statement(std::move(loop));
}

Expr digit_of(const Expr& key, const GpuSort& sort, int pass) {
  const int done = pass * digit_bits, width = std::min(digit_bits, sort.bits - done);
  const int shift = sort.low + done;
  const Expr low = shift == 0 ? key : binary(Op::lshr, key, integer(shift, key->dtype));
  Expr digit = binary(Op::bit_and, low, integer((1 << width) - 1, key->dtype));
  // Negative ones come first.
  if (sort.is_signed && pass + 1 == sort.passes()) {
    digit = binary(Op::bit_xor, digit, integer(1 << (width - 1), key->dtype));
  }
  return cast(digit, DType::i64);
}

Variable scalar(const std::string& name, DType dtype) {
  return {fresh_variable(name).id, dtype, name};
}

// The keys of one block, and for each of its threads how many of each digit it has.
class ChunkOfKeys {
 public:
  ChunkOfKeys(const GpuSort& sort, int pass, const NewBuffer& new_buffer)
      : sort_(sort),
        pass_(pass),
        chunks_(ceil_div(sort.count, chunk_of_keys)),
        keys_(new_buffer("keys", sort.keys[0]->dtype,
                         Dim(chunk_of_keys + chunk_of_keys / keys_of_thread), Space::shared)),
        counters_(new_buffer("counters", DType::i32, Dim(digit_values * (threads_of_digits + 1)),
                             Space::shared)) {
    if (is_only_row()) return;
    row_ = fresh_variable("row");
    chunk_ = fresh_variable("chunk");
  }

  // Up to the barrier behind which each thread's counters are right.
  Block counted() const {
    const Variable t = fresh_variable("t"), u = fresh_variable("u"), v = fresh_variable("t");
    const Expr here = first() + variable(t);
    const Expr there = binary(Op::lt, here, size(sort_.count));
    const Expr counter =
        counter_of(digit_of(key(variable(v), variable(k_)), sort_, pass_), variable(v));
    Block block;
    if (!is_only_row()) {
      block.push_back(Declare{row_, binary(Op::floor_div, variable(block_), size(chunks_))});
      block.push_back(Declare{chunk_, variable(block_) - variable(row_) * size(chunks_)});
    }
    for (Stmt& s :
         Block{Allocate{keys_}, Allocate{counters_},
               of_threads(t, chunk_of_keys,
                          {Store{keys_, padded(variable(t)),
                                 load(sort_.keys[pass_ % 2], in_row(here), there)}}),
               of_threads(u, digit_values * (threads_of_digits + 1),
                          {Store{counters_, variable(u), zero_i32()}}),
               Barrier{},
               of_threads(v, threads_of_digits,
                          {over_own(variable(v), {Store{counters_, counter,
                                                        load(counters_, counter) + one_i32()}})}),
               Barrier{}}) {
      block.push_back(std::move(s));
    }
    return block;
  }

  // The body for each of the thread's keys that there are, k() of them, in their order.
  Stmt over_own(const Expr& thread, Block body) const {
    const Expr there = binary(Op::lt, position(thread), size(sort_.count));
    return statement(
        serial_loop(k_, integer(keys_of_thread), {statement(If{there, std::move(body), {}})}));
  }
  // Of the k-th of the thread's keys, in its row.
  Expr position(const Expr& thread) const {
    return first() + thread * integer(keys_of_thread) + variable(k_);
  }
  Expr key(const Expr& thread) const { return key(thread, variable(k_)); }
  // Of all rows' elements.
  Expr in_row(const Expr& position) const {
    return is_only_row() ? position : variable(row_) * size(sort_.count) + position;
  }
  // A gap behind each digit's: threads that take one digit each reach different banks.
  static Expr counter_of(const Expr& digit, const Expr& thread) {
    return digit * integer(threads_of_digits + 1) + thread;
  }
  const BufferRef& counters() const { return counters_; }
  const Variable& block() const { return block_; }
  const Dim& chunks() const { return chunks_; }
  // The row's digit in a table of all rows.
  Expr digit_in_table(const Expr& digit) const {
    return is_only_row() ? digit : variable(row_) * integer(digit_values) + digit;
  }
  // The block's own count of that digit, in the table.
  Expr count_in_table(const Expr& digit) const {
    return digit_in_table(digit) * size(chunks_) + variable(is_only_row() ? block_ : chunk_);
  }

 private:
  bool is_only_row() const { return sort_.rows.is_constant(1); }
  Expr first() const { return variable(is_only_row() ? block_ : chunk_) * integer(chunk_of_keys); }
  Expr key(const Expr& thread, const Expr& k) const {
    return load(keys_, padded(thread * integer(keys_of_thread) + k));
  }
  // A gap behind each thread's: they reach different banks.
  static Expr padded(const Expr& position) {
    return position + binary(Op::floor_div, position, integer(keys_of_thread));
  }

  const GpuSort& sort_;
  int pass_;
  Dim chunks_;
  Variable block_ = fresh_variable("block"), k_ = fresh_variable("k");
  Variable row_, chunk_;  // where there are several rows
  BufferRef keys_, counters_;
};

// Counts of digits: of each chunk of each row, and of each row.
struct DigitTables {
  BufferRef counts, totals;
};

Kernel finished_sort(const Variable& block, const Dim& blocks, int threads, Block body,
                     const Dim& work) {
  For loop = serial_loop(block, size(blocks), std::move(body));
  loop.kind = LoopKind::block;
  loop.width = threads;
  Kernel kernel;
  kernel.body = simplify_indices({statement(std::move(loop))});
  kernel.work = size(work);
  return kernel;
}

Kernel count_digits(const GpuSort& sort, int pass, const DigitTables& tables,
                    const NewBuffer& new_buffer) {
  const Variable d = fresh_variable("digit");
  const ChunkOfKeys chunk(sort, pass, new_buffer);
  Block body = chunk.counted();
  const Variable sum = scalar("sum", DType::i32), k = fresh_variable("k");
  For add = serial_loop(
      k, integer(threads_of_digits),
      {Accumulate{sum, Op::add,
                  load(chunk.counters(), ChunkOfKeys::counter_of(variable(d), variable(k)))}});
  add.kind = LoopKind::unroll;
  body.push_back(
      of_threads(d, digit_values,
                 {Declare{sum, zero_i32()}, statement(std::move(add)),
                  Store{tables.counts, chunk.count_in_table(variable(d)), variable(sum)}}));
  return finished_sort(
      chunk.block(), sort.rows * chunk.chunks() * sort.has_pass(pass) * sort.wanted,
      threads_of_digits, std::move(body), sort.rows * sort.count * Dim(work_of_count));
}

// Many rows of few chunks: a block for each row, a thread for each digit.
Kernel find_starts_of_rows(const GpuSort& sort, int pass, const DigitTables& tables) {
  const Dim chunks = ceil_div(sort.count, chunk_of_keys);
  const Variable row = fresh_variable("row"), d = fresh_variable("digit"), k = fresh_variable("k");
  const Variable start = scalar("start", DType::i32), held = scalar("held", DType::i32);
  const Expr digit = variable(row) * integer(digit_values) + variable(d);
  const Expr place = digit * size(chunks) + variable(k);
  Block body{of_threads(d, digit_values,
                        {Declare{start, zero_i32()},
                         statement(serial_loop(k, size(chunks),
                                               {Declare{held, load(tables.counts, place)},
                                                Store{tables.counts, place, variable(start)},
                                                Accumulate{start, Op::add, variable(held)}})),
                         Store{tables.totals, digit, variable(start)}})};
  return finished_sort(row, sort.rows * sort.has_pass(pass) * sort.wanted, threads_of_digits,
                       std::move(body), sort.rows * Dim(digit_values) * (chunks + Dim(1)));
}

// A block for each digit of each row: threads take neighbouring chunks each.
Kernel find_starts(const GpuSort& sort, int pass, const DigitTables& tables,
                   const NewBuffer& new_buffer) {
  const Dim chunks = ceil_div(sort.count, chunk_of_keys);
  if (!sort.rows.is_constant(1) && chunks.is_constant() && chunks.constant() <= few_chunks) {
    return find_starts_of_rows(sort, pass, tables);
  }
  const Variable block = fresh_variable("digit"), t = fresh_variable("t"), u = fresh_variable("t");
  const Variable k = fresh_variable("k"), before = fresh_variable("k"), i = fresh_variable("k");
  const BufferRef sums = new_buffer("sums", DType::i32, Dim(threads_of_starts), Space::shared);
  const Dim run = ceil_div(chunks, threads_of_starts);
  const auto of_run = [&](const Expr& thread, const Variable& at, const auto& make) {
    const Expr first = thread * size(run);
    const Expr place = variable(block) * size(chunks) + first + variable(at);
    const Expr left = binary(Op::max, size(chunks) - first, integer(0));
    return statement(serial_loop(at, binary(Op::min, size(run), left), make(place)));
  };
  const Variable sum = scalar("sum", DType::i32), start = scalar("start", DType::i32),
                 held = scalar("held", DType::i32);
  For add = serial_loop(before, integer(threads_of_starts),
                        {Accumulate{start, Op::add,
                                    select(binary(Op::lt, variable(before), variable(u)),
                                           load(sums, variable(before)), zero_i32())}});
  add.kind = LoopKind::unroll;
  const Block body = {
      Allocate{sums},
      of_threads(t, threads_of_starts,
                 {Declare{sum, zero_i32()},
                  of_run(variable(t), k,
                         [&](const Expr& place) {
                           return Block{Accumulate{sum, Op::add, load(tables.counts, place)}};
                         }),
                  Store{sums, variable(t), variable(sum)}}),
      Barrier{},
      of_threads(u, threads_of_starts,
                 {Declare{start, zero_i32()}, statement(std::move(add)),
                  of_run(variable(u), i,
                         [&](const Expr& place) {
                           return Block{Declare{held, load(tables.counts, place)},
                                        Store{tables.counts, place, variable(start)},
                                        Accumulate{start, Op::add, variable(held)}};
                         }),
                  statement(If{binary(Op::eq, variable(u), integer(threads_of_starts - 1)),
                               {Store{tables.totals, variable(block), variable(start)}},
                               {}})})};
  return finished_sort(
      block, sort.rows * Dim(digit_values) * sort.has_pass(pass) * sort.wanted, threads_of_starts,
      body, sort.rows * Dim(digit_values) * (chunks + Dim(threads_of_starts * threads_of_starts)));
}

Kernel move_keys(const GpuSort& sort, int pass, const DigitTables& tables,
                 const NewBuffer& new_buffer) {
  const Variable d = fresh_variable("digit"), e = fresh_variable("digit"), u = fresh_variable("t");
  const ChunkOfKeys chunk(sort, pass, new_buffer);
  const BufferRef totals = new_buffer("totals", DType::i32, Dim(digit_values), Space::shared);
  Block body = chunk.counted();
  body.insert(body.begin(), Allocate{totals});
  // Before the last barrier.
  body.insert(body.end() - 1,
              of_threads(e, digit_values,
                         {Store{totals, variable(e),
                                load(tables.totals, chunk.digit_in_table(variable(e)))}}));
  const Variable start = scalar("start", DType::i32), held = scalar("held", DType::i32);
  const Variable before = fresh_variable("k"), k = fresh_variable("k");
  For add = serial_loop(before, integer(digit_values),
                        {Accumulate{start, Op::add,
                                    select(binary(Op::lt, variable(before), variable(d)),
                                           load(totals, variable(before)), zero_i32())}});
  add.kind = LoopKind::unroll;
  const Expr counter = ChunkOfKeys::counter_of(variable(d), variable(k));
  body.push_back(
      of_threads(d, digit_values,
                 {Declare{start, load(tables.counts, chunk.count_in_table(variable(d)))},
                  statement(std::move(add)),
                  statement(serial_loop(k, integer(threads_of_digits),
                                        {Declare{held, load(chunk.counters(), counter)},
                                         Store{chunk.counters(), counter, variable(start)},
                                         Accumulate{start, Op::add, variable(held)}}))}));
  body.push_back(Barrier{});
  const Variable key = scalar("key", sort.keys[0]->dtype), at = scalar("at", DType::i32);
  const Expr mine = ChunkOfKeys::counter_of(digit_of(variable(key), sort, pass), variable(u));
  const Expr to = chunk.in_row(cast(variable(at), DType::i64));
  Block move{Declare{key, chunk.key(variable(u))}, Declare{at, load(chunk.counters(), mine)},
             Store{chunk.counters(), mine, variable(at) + one_i32()},
             Store{sort.keys[(pass + 1) % 2], to, variable(key)}};
  if (sort.places[0] != nullptr) {
    const Expr position = chunk.position(variable(u));
    const Expr place = pass == 0 ? cast(position, sort.places[0]->dtype)
                                 : load(sort.places[pass % 2], chunk.in_row(position));
    move.push_back(Store{sort.places[(pass + 1) % 2], to, place});
  }
  body.push_back(of_threads(u, digit_values, {chunk.over_own(variable(u), std::move(move))}));
  return finished_sort(
      chunk.block(), sort.rows * chunk.chunks() * sort.has_pass(pass) * sort.wanted,
      threads_of_digits, std::move(body), sort.rows * sort.count * Dim(work_of_move));
}

}  // namespace

int GpuSort::passes() const {
  int needed = bits;
  if (limit && limit->is_constant()) {
    for (needed = 1; needed < bits && (std::int64_t{1} << needed) < limit->constant();) ++needed;
  }
  return (needed + digit_bits - 1) / digit_bits;
}

Dim GpuSort::has_pass(int pass) const {
  if (pass == 0 || !limit) return 1;
  const Dim highest = maximum(*limit, 1) - Dim(1);
  return minimum(1, floor_div(highest, std::int64_t{1} << (digit_bits * pass)));
}

std::vector<Kernel> GpuSort::kernels(const NewBuffer& new_buffer) const {
  std::vector<Kernel> list;
  const Dim digits = rows * Dim(digit_values) * wanted;
  for (int pass = 0; pass < passes(); ++pass) {
    const DigitTables tables{
        new_buffer("counts", DType::i32, digits * ceil_div(count, chunk_of_keys), Space::global),
        new_buffer("totals", DType::i32, digits, Space::global)};
    list.push_back(count_digits(*this, pass, tables, new_buffer));
    list.push_back(find_starts(*this, pass, tables, new_buffer));
    list.push_back(move_keys(*this, pass, tables, new_buffer));
  }
  return list;
}

GpuRadixSort::GpuRadixSort(const Dim& count, const Dim& limit, const Dim& wanted,
                           const NewBuffer& new_buffer) {
  sort_.count = count;
  sort_.wanted = wanted;
  sort_.limit = limit;
  sort_.bits = 30;  // of most_limit
  for (const int k : {0, 1}) {
    sort_.keys[k] = new_buffer("keys", DType::i32, count * wanted, Space::global);
    sort_.places[k] = new_buffer("places", DType::i32, count * wanted, Space::global);
  }
  Dim passes = 0;
  for (int pass = 0; pass < sort_.passes(); ++pass) passes = passes + sort_.has_pass(pass);
  is_odd_ = passes - floor_div(passes, 2) * Dim(2);
}

Expr GpuRadixSort::sorted(const BufferRef (&buffers)[2], const Expr& position,
                          const Expr& condition) const {
  if (is_odd_.is_constant()) {
    return load(buffers[is_odd_.is_constant(1) ? 1 : 0], position, condition);
  }
  const Expr odd = binary(Op::eq, size(is_odd_), integer(1));
  const auto there = [&](const Expr& also) {
    return condition ? binary(Op::logical_and, also, condition) : also;
  };
  return select(odd, load(buffers[1], position, there(odd)),
                load(buffers[0], position, there(unary(Op::logical_not, odd))));
}

}  // namespace kroton::loop
