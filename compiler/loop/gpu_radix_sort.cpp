#include "compiler/loop/gpu_radix_sort.h"

#include <algorithm>
#include <utility>

#include "compiler/loop/gpu_earlier_blocks.h"
#include "compiler/loop/gpu_key_tile.h"
#include "compiler/loop/index_arithmetic.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

constexpr int digit_bits = 8;
constexpr std::int64_t digit_values = 1 << digit_bits;
constexpr int threads_of_sort = 256;
// Keys of a thread of a block that counts or moves them.
constexpr int keys_of_counter = 16, keys_of_mover = 8;
// Operations for each key, for the estimate of a kernel's work: to fetch it, for each digit that is
// counted, and to move it.
constexpr std::int64_t work_of_key = 8, work_of_count = 6;
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
void add_statements(Block& block, Block more) {
  for (Stmt& s : more) block.push_back(std::move(s));
}
// Counts of digits.
EarlierBlocks::Values sum_of(const EarlierBlocks::Values& a, const EarlierBlocks::Values& b) {
  return {a[0] + b[0]};
}

// A kernel's chunk of a row, of so many keys.
class Chunk {
 public:
  Chunk(const GpuDigits& how, std::int64_t keys)
      : how_(how), keys_(keys), chunks_(ceil_div(how.count, keys)) {
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
  const Dim& of_row() const { return chunks_; }
  Dim blocks() const { return how_.rows * chunks_; }
  Expr row() const { return is_only_row() ? integer(0) : variable(row_); }
  Expr number() const { return variable(is_only_row() ? block_ : chunk_); }
  Expr is_last() const { return binary(Op::eq, number(), size(chunks_ - Dim(1))); }
  Expr first() const { return number() * integer(keys_); }
  // How many keys it has.
  Expr there() const { return lesser(size(how_.count) - first(), integer(keys_)); }
  // Of all rows' elements.
  Expr in_rows(const Expr& position) const { return row() * size(how_.count) + position; }
  // In a table with so many entries for each chunk.
  EarlierBlocks::Place in_table(std::int64_t entries, const Expr& entry) const {
    return [=, this](const Expr& chunk) {
      return (row() * size(chunks_) + chunk) * integer(entries) + entry;
    };
  }

 private:
  bool is_only_row() const { return how_.rows.is_constant(1); }
  const GpuDigits& how_;
  std::int64_t keys_;
  Dim chunks_;
  Variable block_ = fresh_variable("block");
  Variable row_, chunk_;  // where there are several rows
};

Expr in_totals(const Expr& row, const Expr& digit) { return row * integer(digit_values) + digit; }

Expr digit_in(const Expr& key, int first_bit) {
  const Expr moved = first_bit == 0 ? key : binary(Op::lshr, key, integer(first_bit, key->dtype));
  return cast(binary(Op::bit_and, moved, integer(digit_values - 1, key->dtype)), DType::i64);
}
Stmt count_one(const BufferRef& counts, const Expr& at) {
  return Store{counts, at, integer(1, DType::i32)};
}

// How many keys of a row have each value of each digit.
Kernel count_digits(const GpuDigits& how, const std::vector<BufferRef>& totals,
                    const NewBuffer& new_buffer) {
  const Chunk chunk(how, std::int64_t{threads_of_sort} * keys_of_counter);
  const std::int64_t entries = how.passes() * digit_values;
  const BufferRef& from = how.keys[0];
  const BufferRef counts = new_buffer("counts", DType::i32, Dim(entries), Space::counters);
  const BufferRef own = new_buffer("own", from->dtype, Dim(keys_of_counter), Space::registers);
  const EarlierBlocks earlier(chunk.of_row(), chunk.blocks() * Dim(entries), {DType::i32},
                              new_buffer);
  const Variable t = fresh_variable("t"), u = fresh_variable("t"), k = fresh_variable("k"),
                 l = fresh_variable("k"), e = fresh_variable("digit");
  const auto in_chunk = [&](const Variable& thread, const Variable& at) {
    return variable(at) * integer(threads_of_sort) + variable(thread);
  };
  const Expr position = chunk.first() + in_chunk(t, k);
  const Expr is_there = is_less(in_chunk(t, k), chunk.there());
  Block fetch;
  if (how.ends != nullptr) {
    const Expr last = size(how.count) - integer(1);
    fetch = {Store{own, variable(k),
                   without_sign(*how.ends, how.ends->key(chunk.row(), lesser(position, last)))},
             only(is_there, {Store{from, chunk.in_rows(position), load(own, variable(k))}})};
  } else {
    fetch = {Store{own, variable(k), load(from, chunk.in_rows(position), is_there)}};
  }
  Block count;
  for (int pass = 0; pass < how.passes(); ++pass) {
    const Expr digit = digit_in(load(own, variable(l)), pass * digit_bits);
    const Stmt one = count_one(counts, integer(pass * digit_values) + digit);
    const Dim has_pass = how.has_pass(pass);
    count.push_back(
        has_pass.is_constant() ? one : only(binary(Op::ne, size(has_pass), integer(0)), {one}));
  }
  Block body = chunk.begin();
  add_statements(body, {Allocate{counts}, Allocate{own}});
  add_statements(body, earlier.buffers());
  body.push_back(
      of_threads(t, threads_of_sort, {written_out(k, keys_of_counter, std::move(fetch))}));
  body.push_back(Barrier{});
  body.push_back(
      of_threads(u, threads_of_sort,
                 {written_out(l, keys_of_counter,
                              {only(is_less(in_chunk(u, l), chunk.there()), std::move(count))})}));
  body.push_back(Barrier{});
  const EarlierBlocks::Values counted{load(counts, variable(e))};
  const EarlierBlocks::Place place = chunk.in_table(entries, variable(e));
  Block bring = earlier.tell(chunk.number(), place, counted);
  add_statements(bring, earlier.find(chunk.number(), place, counted, sum_of, chunk.is_last()));
  const EarlierBlocks::Values before = earlier.before();
  Expr all = counted[0];
  if (!before.empty()) {
    all = all + select(is_less(integer(0), chunk.number()), before[0], zero_i32());
  }
  for (int pass = 0; pass < how.passes(); ++pass) {
    const Expr first = integer(pass * digit_values), behind = integer((pass + 1) * digit_values);
    const Expr is_of_pass =
        binary(Op::logical_and, binary(Op::le, first, variable(e)), is_less(variable(e), behind));
    bring.push_back(only(binary(Op::logical_and, chunk.is_last(), is_of_pass),
                         {Store{totals[static_cast<std::size_t>(pass)],
                                in_totals(chunk.row(), variable(e) - first), all}}));
  }
  body.push_back(of_threads(e, entries, std::move(bring)));
  return kernel_of_sort(chunk.block(), chunk.blocks() * how.wanted, threads_of_sort,
                        std::move(body),
                        how.rows * how.count * Dim(work_of_key + work_of_count * how.passes()));
}

// Blocks bring their keys in the order of a digit, and to where the counts of all say.
Kernel move_keys(const GpuDigits& how, int pass, const BufferRef& totals,
                 const NewBuffer& new_buffer) {
  constexpr std::int64_t chunk_of_keys = std::int64_t{threads_of_sort} * keys_of_mover;
  const Chunk chunk(how, chunk_of_keys);
  const BufferRef& from = how.keys[pass % 2];
  const bool has_places = how.ends == nullptr || how.ends->has_places;
  const bool is_last = how.ends != nullptr && pass + 1 == how.passes();
  const KeyTile tile(threads_of_sort, keys_of_mover, from->dtype, has_places, new_buffer);
  static_assert(threads_of_sort == digit_values);
  const BufferRef counts = new_buffer("counts", DType::i32, Dim(digit_values), Space::counters);
  const BufferRef starts = new_buffer("starts", DType::i32, Dim(digit_values), Space::shared);
  const EarlierBlocks earlier(chunk.of_row(), chunk.blocks() * Dim(digit_values), {DType::i32},
                              new_buffer);
  Block body = chunk.begin();
  add_statements(body, tile.buffers());
  add_statements(body, {Allocate{counts}, Allocate{starts}});
  add_statements(body, earlier.buffers());

  const Variable i = fresh_variable("i"), d = fresh_variable("digit"), e = fresh_variable("digit"),
                 f = fresh_variable("digit");
  const Expr position = chunk.first() + variable(i);
  const Expr is_there = is_less(variable(i), chunk.there());
  const Expr here = chunk.in_rows(position);
  const Expr place = !has_places ? nullptr
                     : pass == 0 ? cast(position, DType::i32)
                                 : load(how.places[pass % 2], here, is_there);
  const Expr fetched = load(from, here, is_there);
  Block put = tile.put(variable(i), fetched, place);
  put.push_back(only(is_there, {count_one(counts, digit_in(fetched, 0))}));
  body.push_back(of_threads(i, chunk_of_keys, std::move(put)));
  body.push_back(Barrier{});
  // The others are to know early. Keys of the row of lower digits, then of this one in chunks
  // before this one.
  const EarlierBlocks::Place place_of_digit = chunk.in_table(digit_values, variable(d)),
                             place_of_found = chunk.in_table(digit_values, variable(f));
  Block count = earlier.tell(chunk.number(), place_of_digit, {load(counts, variable(d))});
  count.push_back(
      Store{tile.sums(), variable(d), load(totals, in_totals(chunk.row(), variable(d)))});
  body.push_back(of_threads(d, digit_values, std::move(count)));
  body.push_back(Barrier{});
  tile.bring_sums_together(body);
  const Variable start = fresh_variable("start", DType::i32);
  Block find = tile.sum_before(start, variable(e));
  find.push_back(Store{starts, variable(e), variable(start)});
  body.push_back(of_threads(e, digit_values, std::move(find)));
  tile.sort(body, digit_bits / KeyTile::digit_bits, chunk.there());
  if (const EarlierBlocks::Values others = earlier.before(); !others.empty()) {
    Block add = earlier.find(chunk.number(), place_of_found, {load(counts, variable(f))}, sum_of);
    add.push_back(only(is_less(integer(0), chunk.number()),
                       {Store{starts, variable(f), load(starts, variable(f)) + others[0]}}));
    body.push_back(of_threads(f, digit_values, std::move(add)));
    body.push_back(Barrier{});
  }

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
                        threads_of_sort, std::move(body), how.rows * how.count * Dim(work_of_move));
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
  // Of each pass, so that the kernels of passes are alike.
  std::vector<BufferRef> totals;
  for (int pass = 0; pass < passes(); ++pass) {
    totals.push_back(
        new_buffer("totals", DType::i32, rows * Dim(digit_values) * wanted, Space::global));
  }
  std::vector<Kernel> list{count_digits(*this, totals, new_buffer)};
  for (int pass = 0; pass < passes(); ++pass) {
    list.push_back(move_keys(*this, pass, totals[static_cast<std::size_t>(pass)], new_buffer));
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
