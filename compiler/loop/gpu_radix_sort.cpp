#include "compiler/loop/gpu_radix_sort.h"

#include <algorithm>
#include <utility>

#include "compiler/loop/gpu_key_tile.h"
#include "compiler/loop/index_arithmetic.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

constexpr int digit_bits = 8;
constexpr std::int64_t digit_values = 1 << digit_bits;
// A block's keys, and its threads where it moves them.
constexpr std::int64_t chunk_of_keys = 2048;
constexpr int threads_of_move = 256;
constexpr int keys_of_mover = chunk_of_keys / threads_of_move;
// Threads that count, each in counters of a byte for every digit, of which four are a word.
constexpr int threads_of_count = 128;
constexpr std::int64_t keys_of_counter = chunk_of_keys / threads_of_count;
constexpr std::int64_t digits_of_word = 4;
constexpr std::int64_t words_of_digits = digit_values / digits_of_word;
// Digits next to each other in the table, whose counts a block of threads goes through, and runs of
// chunks that threads share.
constexpr std::int64_t digits_together = 8;
constexpr std::int64_t most_runs = 64, fewest_runs = 8, chunks_of_run = 4;
// Operations for each key, for the estimate of a kernel's work.
constexpr std::int64_t work_of_count = 36;
constexpr std::int64_t work_of_move = 64;

Expr zero_i32() { return integer(0, DType::i32); }
Expr lesser(const Expr& a, const Expr& b) { return binary(Op::min, a, b); }
Expr is_less(const Expr& a, const Expr& b) { return binary(Op::lt, a, b); }

Stmt of_threads(const Variable& t, std::int64_t count, Block body) {
  return loop_over(LoopKind::thread, t, integer(count), std::move(body));
}
Stmt written_out(const Variable& k, std::int64_t count, Block body) {
  return loop_over(LoopKind::unroll, k, integer(count), std::move(body));
}
Stmt only(const Expr& condition, Block body) {
  return statement(If{condition, std::move(body), {}});
}

// Of a word of four counts in bytes those of the first and third, or of the others, as two sums.
Expr two_counts(const Expr& word, bool others) {
  const Expr moved = others ? binary(Op::lshr, word, integer(8, DType::i32)) : word;
  return binary(Op::bit_and, moved, integer(0x00ff00ff, DType::i32));
}

// Counts of digits: of each chunk of each row, and of each row.
struct DigitTables {
  BufferRef counts, totals;
};

// A kernel's chunk of a row.
class Chunk {
 public:
  explicit Chunk(const GpuDigits& how) : how_(how), chunks_(ceil_div(how.count, chunk_of_keys)) {
    if (how.rows.is_constant(1)) return;
    row_ = fresh_variable("row");
    chunk_ = fresh_variable("chunk");
  }
  Block begin() const {
    if (is_only_row()) return {};
    return {Declare{row_, binary(Op::floor_div, variable(block_), size(chunks_))},
            Declare{chunk_, variable(block_) - variable(row_) * size(chunks_)}};
  }
  const Variable& block() const { return block_; }
  Dim blocks() const { return how_.rows * chunks_; }
  Expr row() const { return is_only_row() ? integer(0) : variable(row_); }
  Expr first() const { return variable(is_only_row() ? block_ : chunk_) * integer(chunk_of_keys); }
  // How many keys it has.
  Expr there() const { return lesser(size(how_.count) - first(), integer(chunk_of_keys)); }
  // Of all rows' elements.
  Expr in_rows(const Expr& position) const { return row() * size(how_.count) + position; }
  // In the table of all chunks.
  Expr in_counts(const Expr& digit) const {
    return variable(block_) * integer(digit_values) + digit;
  }
  Expr in_totals(const Expr& digit) const { return row() * integer(digit_values) + digit; }

 private:
  bool is_only_row() const { return how_.rows.is_constant(1); }
  const GpuDigits& how_;
  Dim chunks_;
  Variable block_ = fresh_variable("block");
  Variable row_, chunk_;  // where there are several rows
};

Kernel count_digits(const GpuDigits& how, int pass, const DigitTables& tables,
                    const NewBuffer& new_buffer) {
  const Chunk chunk(how);
  const BufferRef& from = how.keys[pass % 2];
  const BufferRef words =
      new_buffer("words", DType::i32, Dim(words_of_digits * (threads_of_count + 1)), Space::shared);
  const BufferRef parts = new_buffer("parts", DType::i32, Dim(2 * threads_of_count), Space::shared);
  const BufferRef own = new_buffer("own", from->dtype, Dim(keys_of_counter), Space::registers);
  const auto word_of = [](const Expr& word, const Expr& thread) {
    return word * integer(threads_of_count + 1) + thread;
  };

  const Variable t = fresh_variable("t"), w = fresh_variable("word"), k = fresh_variable("k"),
                 l = fresh_variable("k");
  const auto in_chunk = [&](const Variable& at) {
    return variable(at) * integer(threads_of_count) + variable(t);
  };
  // Those of four digits are bytes of one word.
  const auto position = [&](const Variable& at) { return chunk.first() + in_chunk(at); };
  const Expr is_there = is_less(in_chunk(k), chunk.there());
  Block fetch;
  if (pass == 0 && how.ends != nullptr) {
    const Expr last = size(how.count) - integer(1);
    fetch = {Store{own, variable(k),
                   without_sign(*how.ends, how.ends->key(chunk.row(), lesser(position(k), last)))},
             only(is_there, {Store{from, chunk.in_rows(position(k)), load(own, variable(k))}})};
  } else {
    fetch = {Store{own, variable(k), load(from, chunk.in_rows(position(k)), is_there)}};
  }
  const Expr key = load(own, variable(l));
  const Expr digit =
      cast(binary(Op::bit_and, key, integer(digit_values - 1, key->dtype)), DType::i32);
  const Expr byte = binary(Op::bit_and, digit, integer(digits_of_word - 1, DType::i32));
  const auto is_byte = [&](std::int64_t n) { return binary(Op::eq, byte, integer(n, DType::i32)); };
  Expr one = integer(1 << 24, DType::i32);
  for (int n = 2; n >= 0; --n) one = select(is_byte(n), integer(1 << (8 * n), DType::i32), one);
  one = select(is_less(in_chunk(l), chunk.there()), one, zero_i32());
  const Expr place =
      word_of(cast(binary(Op::lshr, digit, integer(2, DType::i32)), DType::i64), variable(t));
  Block body = chunk.begin();
  body.insert(body.end(), {Allocate{words}, Allocate{parts}, Allocate{own}});
  body.push_back(of_threads(
      t, threads_of_count,
      {loop_over(LoopKind::serial, w, integer(words_of_digits),
                 {Store{words, word_of(variable(w), variable(t)), zero_i32()}}),
       written_out(k, keys_of_counter, std::move(fetch)),
       written_out(l, keys_of_counter, {Store{words, place, load(words, place) + one}})}));
  body.push_back(Barrier{});

  // A thread has one word of half the threads: sums of 16 bits are large enough.
  const Variable u = fresh_variable("t"), j = fresh_variable("j");
  const Variable sums[2] = {fresh_variable("sum", DType::i32), fresh_variable("sum", DType::i32)};
  const Expr word = binary(Op::mod, variable(u), integer(words_of_digits));
  const Expr half = binary(Op::floor_div, variable(u), integer(words_of_digits));
  constexpr std::int64_t threads_of_half = threads_of_count / 2;
  const Expr counted = load(words, word_of(word, half * integer(threads_of_half) + variable(j)));
  const Expr part = half * integer(threads_of_count) + word * integer(2);
  body.push_back(of_threads(
      u, threads_of_count,
      {Declare{sums[0], zero_i32()}, Declare{sums[1], zero_i32()},
       loop_over(LoopKind::serial, j, integer(threads_of_half),
                 {Accumulate{sums[0], Op::add, two_counts(counted, false)},
                  Accumulate{sums[1], Op::add, two_counts(counted, true)}}),
       Store{parts, part, variable(sums[0])}, Store{parts, part + integer(1), variable(sums[1])}}));
  body.push_back(Barrier{});

  const Variable d = fresh_variable("digit");
  const auto bits_of_digit = [&](int bit) {
    return binary(Op::mod, binary(Op::floor_div, variable(d), integer(bit)), integer(2));
  };
  const Expr pair =
      binary(Op::floor_div, variable(d), integer(digits_of_word)) * integer(2) + bits_of_digit(1);
  const Expr both = load(parts, pair) + load(parts, pair + integer(threads_of_count));
  const Expr count = select(binary(Op::eq, bits_of_digit(2), integer(0)),
                            binary(Op::bit_and, both, integer(0xffff, DType::i32)),
                            binary(Op::lshr, both, integer(16, DType::i32)));
  body.push_back(
      of_threads(d, digit_values, {Store{tables.counts, chunk.in_counts(variable(d)), count}}));
  return kernel_of_sort(chunk.block(), chunk.blocks() * how.has_pass(pass) * how.wanted,
                        threads_of_count, std::move(body),
                        how.rows * how.count * Dim(work_of_count));
}

// What each chunk has of a digit becomes what the chunks of its row before it have.
Kernel find_starts(const GpuDigits& how, int pass, const DigitTables& tables,
                   const NewBuffer& new_buffer) {
  const Dim chunks = ceil_div(how.count, chunk_of_keys);
  std::int64_t runs = most_runs;
  while (chunks.is_constant() && runs > fewest_runs &&
         chunks_of_run * runs > chunks.constant() * 2) {
    runs /= 2;
  }
  const std::int64_t threads = runs * digits_together;
  const std::int64_t groups = digit_values / digits_together;
  const Variable block = fresh_variable("block"), t = fresh_variable("t"), u = fresh_variable("t");
  const Variable k = fresh_variable("k"), before = fresh_variable("run"), i = fresh_variable("k");
  const BufferRef sums = new_buffer("sums", DType::i32, Dim(threads), Space::shared);
  const Dim of_run = ceil_div(chunks, runs);
  const Expr row = binary(Op::floor_div, variable(block), integer(groups));
  const auto digit_of = [&](const Variable& thread) {
    return binary(Op::mod, variable(block), integer(groups)) * integer(digits_together) +
           binary(Op::mod, variable(thread), integer(digits_together));
  };
  const auto run_of = [](const Variable& thread) {
    return binary(Op::floor_div, variable(thread), integer(digits_together));
  };
  const auto over_run = [&](const Variable& thread, const Variable& at, const auto& make) {
    const Expr first = run_of(thread) * size(of_run);
    const Expr place =
        (row * size(chunks) + first + variable(at)) * integer(digit_values) + digit_of(thread);
    return loop_over(LoopKind::serial, at, lesser(size(of_run), size(chunks) - first), make(place));
  };
  const Variable sum = fresh_variable("sum", DType::i32),
                 start = fresh_variable("start", DType::i32),
                 held = fresh_variable("held", DType::i32);
  const Block body = {
      Allocate{sums},
      of_threads(t, threads,
                 {Declare{sum, zero_i32()},
                  over_run(t, k,
                           [&](const Expr& place) {
                             return Block{Accumulate{sum, Op::add, load(tables.counts, place)}};
                           }),
                  Store{sums, variable(t), variable(sum)}}),
      Barrier{},
      of_threads(u, threads,
                 {Declare{start, zero_i32()},
                  loop_over(LoopKind::serial, before, run_of(u),
                            {Accumulate{start, Op::add,
                                        load(sums, variable(before) * integer(digits_together) +
                                                       binary(Op::mod, variable(u),
                                                              integer(digits_together)))}}),
                  over_run(u, i,
                           [&](const Expr& place) {
                             return Block{Declare{held, load(tables.counts, place)},
                                          Store{tables.counts, place, variable(start)},
                                          Accumulate{start, Op::add, variable(held)}};
                           }),
                  only(binary(Op::eq, run_of(u), integer(runs - 1)),
                       {Store{tables.totals, row * integer(digit_values) + digit_of(u),
                              variable(start)}})})};
  return kernel_of_sort(block, how.rows * Dim(groups) * how.has_pass(pass) * how.wanted,
                        static_cast<int>(threads), body,
                        how.rows * Dim(digit_values) * (chunks * Dim(2) + Dim(runs * runs / 2)));
}

Kernel move_keys(const GpuDigits& how, int pass, const DigitTables& tables,
                 const NewBuffer& new_buffer) {
  const Chunk chunk(how);
  const BufferRef& from = how.keys[pass % 2];
  const bool has_places = how.ends == nullptr || how.ends->has_places;
  const bool is_last = how.ends != nullptr && pass + 1 == how.passes();
  const KeyTile tile(threads_of_move, keys_of_mover, from->dtype, has_places, new_buffer);
  static_assert(threads_of_move == digit_values);
  const BufferRef starts = new_buffer("starts", DType::i32, Dim(digit_values), Space::shared);
  Block body = chunk.begin();
  for (Stmt& s : tile.buffers()) body.push_back(std::move(s));
  body.push_back(Allocate{starts});

  const Variable i = fresh_variable("i"), d = fresh_variable("digit"), e = fresh_variable("digit");
  const Expr position = chunk.first() + variable(i);
  const Expr is_there = is_less(variable(i), chunk.there());
  const Expr here = chunk.in_rows(position);
  const Expr place = !has_places ? nullptr
                     : pass == 0 ? cast(position, DType::i32)
                                 : load(how.places[pass % 2], here, is_there);
  body.push_back(
      of_threads(i, chunk_of_keys, tile.put(variable(i), load(from, here, is_there), place)));
  // Digits of the row before each one, and of the chunks before this one.
  body.push_back(of_threads(
      d, digit_values,
      {Store{tile.sums(), variable(d), load(tables.totals, chunk.in_totals(variable(d)))}}));
  body.push_back(Barrier{});
  tile.bring_sums_together(body);
  const Variable start = fresh_variable("start", DType::i32);
  Block find = tile.sum_before(start, variable(e));
  find.push_back(Store{starts, variable(e),
                       variable(start) + load(tables.counts, chunk.in_counts(variable(e)))});
  body.push_back(of_threads(e, digit_values, std::move(find)));
  tile.sort(body, digit_bits / KeyTile::digit_bits, chunk.there());

  // The keys are turned by the digit: it is in front.
  const auto digit_of = [&](const Expr& key) {
    const int width = 8 * static_cast<int>(size_of(key->dtype));
    return cast(binary(Op::lshr, key, integer(width - digit_bits, key->dtype)), DType::i64);
  };
  const Variable j = fresh_variable("i"), l = fresh_variable("i");
  const Variable digit = fresh_variable("digit");
  const Expr is_behind = is_less(integer(0), variable(j));
  const Expr before = digit_of(tile.key(binary(Op::max, variable(j) - integer(1), integer(0))));
  const Expr begins = binary(Op::logical_or, unary(Op::logical_not, is_behind),
                             binary(Op::ne, before, variable(digit)));
  body.push_back(of_threads(j, chunk_of_keys,
                            {only(is_less(variable(j), chunk.there()),
                                  {Declare{digit, digit_of(tile.key(variable(j)))},
                                   only(begins, {Store{starts, variable(digit),
                                                       load(starts, variable(digit)) -
                                                           cast(variable(j), DType::i32)}})})}));
  body.push_back(Barrier{});
  const Variable key = fresh_variable("key", from->dtype), to = fresh_variable("to");
  Block move{Declare{key, tile.key(variable(l))},
             Declare{to, cast(load(starts, digit_of(variable(key))) + cast(variable(l), DType::i32),
                              DType::i64)}};
  const Expr came_from = has_places ? tile.place(variable(l)) : nullptr;
  if (is_last) {
    const int width = 8 * static_cast<int>(size_of(from->dtype));
    const Expr whole =
        without_sign(*how.ends, turned_right(variable(key), width - how.ends->bits % width));
    for (Stmt& s : how.ends->put(chunk.row(), variable(to), came_from, whole)) {
      move.push_back(std::move(s));
    }
  } else {
    const Expr there = chunk.in_rows(variable(to));
    move.push_back(Store{how.keys[(pass + 1) % 2], there, variable(key)});
    if (has_places) move.push_back(Store{how.places[(pass + 1) % 2], there, came_from});
  }
  body.push_back(
      of_threads(l, chunk_of_keys, {only(is_less(variable(l), chunk.there()), std::move(move))}));
  return kernel_of_sort(chunk.block(), chunk.blocks() * how.has_pass(pass) * how.wanted,
                        threads_of_move, std::move(body), how.rows * how.count * Dim(work_of_move));
}

}  // namespace

Kernel kernel_of_sort(const Variable& block, const Dim& blocks, int threads, Block body,
                      const Dim& work) {
  For loop;
  loop.kind = LoopKind::block;
  loop.variable = block;
  loop.extent = size(blocks);
  loop.body = std::move(body);
  loop.width = threads;
  Kernel kernel;
  kernel.body = simplify_indices({statement(std::move(loop))});
  kernel.work = size(work);
  return kernel;
}

int GpuDigits::passes() const {
  int needed = bits;
  if (limit && limit->is_constant()) {
    for (needed = 1; needed < bits && (std::int64_t{1} << needed) < limit->constant();) ++needed;
  }
  return (needed + digit_bits - 1) / digit_bits;
}

Dim GpuDigits::has_pass(int pass) const {
  if (pass == 0 || !limit) return 1;
  const Dim highest = maximum(*limit, 1) - Dim(1);
  return minimum(1, floor_div(highest, std::int64_t{1} << (digit_bits * pass)));
}

std::vector<Kernel> GpuDigits::kernels(const NewBuffer& new_buffer) const {
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

std::vector<Kernel> GpuSort::kernels(const NewBuffer& new_buffer) const {
  std::vector<Kernel> list = sort_short_rows(*this, new_buffer);
  const Dim are_long = wanted * is_above(count, most_in_block);
  if (are_long.is_constant(0)) return list;
  const auto add = [&](std::vector<Kernel> kernels) {
    for (Kernel& one : kernels) list.push_back(std::move(one));
  };
  if (first != 0) {
    add(first_of_long_rows(*this, are_long, new_buffer));
    return list;
  }
  GpuDigits digits;
  digits.rows = rows;
  digits.count = count;
  digits.wanted = are_long;
  digits.bits = bits;
  digits.ends = this;
  // What the passes between the first and the last one leave.
  const Dim all = rows * count * are_long;
  for (const int k : {0, 1}) {
    if (k < digits.passes()) digits.keys[k] = new_buffer("keys", dtype, all, Space::global);
    const bool are_left = has_places && (k == 1 ? 1 : 2) < digits.passes();
    if (are_left) digits.places[k] = new_buffer("places", DType::i32, all, Space::global);
  }
  add(digits.kernels(new_buffer));
  return list;
}

GpuRadixSort::GpuRadixSort(const Dim& count, const Dim& limit, const Dim& wanted,
                           const NewBuffer& new_buffer) {
  digits_.count = count;
  digits_.wanted = wanted;
  digits_.limit = limit;
  digits_.bits = 30;  // of most_limit
  for (const int k : {0, 1}) {
    digits_.keys[k] = new_buffer("keys", DType::i32, count * wanted, Space::global);
    digits_.places[k] = new_buffer("places", DType::i32, count * wanted, Space::global);
  }
  for (int pass = 0; pass < digits_.passes(); ++pass) passes_ = passes_ + digits_.has_pass(pass);
  is_odd_ = passes_ - floor_div(passes_, 2) * Dim(2);
}

Expr GpuRadixSort::key(const Expr& position, const Expr& condition) const {
  const Expr turned = sorted(digits_.keys, position, condition);
  const auto turned_back = [&](int passes) {
    return turned_right(turned, 32 - digit_bits * passes);
  };
  if (passes_.is_constant()) return turned_back(static_cast<int>(passes_.constant()));
  Expr key = turned_back(1);
  for (int n = 2; n <= digits_.passes(); ++n) {
    key = select(binary(Op::eq, size(passes_), integer(n)), turned_back(n), key);
  }
  return key;
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
