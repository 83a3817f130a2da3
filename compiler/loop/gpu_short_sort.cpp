// Sorts of rows that one block has room for, and of parts of rows.
#include <algorithm>
#include <utility>

#include "compiler/loop/gpu_key_tile.h"
#include "compiler/loop/gpu_radix_sort.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

// Up to here comparing all with all is quicker than going by digits.
constexpr std::int64_t most_by_rank = 64;
// Threads of a block that sorts by rank; each has an element.
constexpr int threads_of_ranks = 256;
// What a block has room for: its threads, and the keys of each. Known rows have fewer of both.
constexpr int most_threads_of_row = 256, fewest_threads_of_row = 32;
constexpr int most_keys_of_thread = 8, few_keys_of_thread = 4;
static_assert(most_threads_of_row * most_keys_of_thread == most_in_block);
// Operations for each pair by rank, and for each key and digit, for the estimate of work.
constexpr std::int64_t work_of_pair = 5;
constexpr std::int64_t work_of_digit = 24;

// As many rows in a block as its threads have elements for.
Kernel sort_by_rank(const GpuSort& sort, const Dim& wanted, const NewBuffer& new_buffer) {
  const Dim length = maximum(minimum(sort.count, most_by_rank), 1);
  const Dim rows_of_block = floor_div(threads_of_ranks, length);
  const auto shared = [&](const char* name, DType dtype) {
    return new_buffer(name, dtype, Dim(threads_of_ranks), Space::shared);
  };
  const BufferRef keys = shared("keys", sort.dtype), sorted = shared("sorted", sort.dtype);
  const BufferRef places = sort.has_places ? shared("places", DType::i32) : nullptr;
  const Variable block = fresh_variable("block"), first = fresh_variable("first");
  Block body{Allocate{keys}, Allocate{sorted}};
  if (places != nullptr) body.push_back(Allocate{places});
  body.push_back(Declare{first, variable(block) * size(rows_of_block)});
  const Expr rows_there = binary(Op::min, size(sort.rows) - variable(first), size(rows_of_block));
  const Expr there = binary(Op::min, rows_there * size(sort.count), integer(threads_of_ranks));
  const auto of_elements = [&](const auto& make) {
    const Variable e = fresh_variable("e");
    const Expr row = binary(Op::floor_div, variable(e), size(length));
    const Expr start = row * size(length);
    body.push_back(
        loop_over(LoopKind::thread, e, there, make(variable(e), row, start, variable(e) - start)));
  };
  of_elements([&](const Expr& e, const Expr& row, const Expr&, const Expr& i) -> Block {
    return {Store{keys, e, sort.key(variable(first) + row, i)}};
  });
  body.push_back(Barrier{});
  of_elements([&](const Expr& e, const Expr&, const Expr& start, const Expr& i) -> Block {
    const Variable key = fresh_variable("key", sort.dtype),
                   other = fresh_variable("key", sort.dtype);
    const Variable before = fresh_variable("before"), j = fresh_variable("j");
    const Expr is_before =
        binary(Op::logical_or, binary(Op::lt, variable(other), variable(key)),
               binary(Op::logical_and, binary(Op::eq, variable(other), variable(key)),
                      binary(Op::lt, variable(j), i)));
    const Expr to = start + variable(before);
    Block rank{Declare{key, load(keys, e)}, Declare{before, integer(0)},
               loop_over(LoopKind::serial, j, size(length),
                         {Declare{other, load(keys, start + variable(j))},
                          Accumulate{before, Op::add, cast(is_before, DType::i64)}}),
               Store{sorted, to, variable(key)}};
    if (places != nullptr) rank.push_back(Store{places, to, cast(i, DType::i32)});
    return rank;
  });
  body.push_back(Barrier{});
  of_elements([&](const Expr& e, const Expr& row, const Expr&, const Expr& i) {
    Block put =
        sort.put(variable(first) + row, i, places ? load(places, e) : nullptr, load(sorted, e));
    if (sort.first == 0) return put;
    const Expr is_wanted = binary(Op::lt, i, integer(sort.first));
    return Block{statement(If{is_wanted, std::move(put), {}})};
  });
  return kernel_of_sort(block, ceil_div(sort.rows, rows_of_block) * wanted, threads_of_ranks,
                        std::move(body),
                        sort.rows * length * (length * Dim(work_of_pair) + Dim(work_of_pair)));
}

// Parts of rows, of as many keys as a block has room for.
struct Parts {
  Dim count;  // of a row
  // The i-th key of a row, without its sign, and where it was; null: there.
  std::function<Expr(const Expr& row, const Expr& i)> key, place;
  // What is done with the one that comes at that place of its part.
  std::function<Block(const Expr& row, const Expr& part, const Expr& to, const Expr& place,
                      const Expr& key)>
      put;

  Dim parts() const { return maximum(ceil_div(count, most_in_block), 1); }
};

Kernel sort_parts(const GpuSort& sort, const Parts& how, const Dim& wanted,
                  const NewBuffer& new_buffer) {
  int threads = most_threads_of_row, keys_of_thread = most_keys_of_thread;
  if (how.count.is_constant() &&
      how.count.constant() <= std::int64_t{threads} * few_keys_of_thread) {
    keys_of_thread = few_keys_of_thread;
    threads = fewest_threads_of_row;
    while (std::int64_t{threads} * keys_of_thread < how.count.constant()) threads *= 2;
  }
  const KeyTile tile(threads, keys_of_thread, sort.dtype, sort.has_places, new_buffer);
  const int digits = sort.bits / KeyTile::digit_bits;
  const Dim parts = how.parts();
  const bool is_one = parts.is_constant(1);
  const Variable block = fresh_variable("block"), row = fresh_variable("row"),
                 part = fresh_variable("part"), there = fresh_variable("there");
  const Variable i = fresh_variable("i"), j = fresh_variable("i");
  Block body;
  if (!is_one) {
    body = {Declare{row, binary(Op::floor_div, variable(block), size(parts))},
            Declare{part, variable(block) - variable(row) * size(parts)}};
  }
  const Expr of_row = variable(is_one ? block : row);
  const Expr of_part = is_one ? integer(0) : variable(part);
  const Expr first = of_part * integer(most_in_block);
  const Expr left = size(how.count) - first;
  body.push_back(Declare{there, is_one ? left : binary(Op::min, left, integer(most_in_block))});
  for (Stmt& s : tile.buffers()) body.push_back(std::move(s));
  const Expr position = binary(Op::min, first + variable(i), size(how.count) - integer(1));
  const Expr place = how.place ? how.place(of_row, position) : cast(position, DType::i32);
  body.push_back(loop_over(LoopKind::thread, i, integer(tile.size()),
                           tile.put(variable(i), how.key(of_row, position), place)));
  body.push_back(Barrier{});
  tile.sort(body, digits, variable(there));
  const int width = 8 * static_cast<int>(size_of(sort.dtype));
  const Expr key = turned_right(tile.key(variable(j)), width - sort.bits % width);
  const Expr put =
      sort.first == 0 ? variable(there) : binary(Op::min, variable(there), integer(sort.first));
  body.push_back(loop_over(LoopKind::thread, j, put,
                           how.put(of_row, of_part, variable(j),
                                   sort.has_places ? tile.place(variable(j)) : nullptr, key)));
  return kernel_of_sort(block, sort.rows * parts * wanted, threads, std::move(body),
                        sort.rows * parts * Dim(tile.size() * work_of_digit * digits));
}

// Of rows as they come, the whole of them.
Parts whole_rows(const GpuSort& sort) {
  Parts how;
  how.count = sort.count;
  how.key = [&](const Expr& row, const Expr& i) { return without_sign(sort, sort.key(row, i)); };
  how.put = [&](const Expr& row, const Expr&, const Expr& to, const Expr& place, const Expr& key) {
    return sort.put(row, to, place, without_sign(sort, key));
  };
  return how;
}

}  // namespace

Dim is_above(const Dim& size, std::int64_t bound) { return minimum(1, floor_div(size, bound + 1)); }

Expr without_sign(const GpuSort& sort, const Expr& key) {
  if (!sort.is_signed) return key;
  return binary(Op::bit_xor, key,
                binary(Op::shl, integer(1, key->dtype), integer(sort.bits - 1, key->dtype)));
}

std::vector<Kernel> sort_short_rows(const GpuSort& sort, const NewBuffer& new_buffer) {
  const Dim by_digits =
      is_above(sort.count, most_by_rank) * (1 - is_above(sort.count, most_in_block));
  const Dim by_rank = 1 - is_above(sort.count, most_by_rank);
  std::vector<Kernel> list;
  if (!by_rank.is_constant(0)) {
    list.push_back(sort_by_rank(sort, sort.wanted * by_rank, new_buffer));
  }
  if (!by_digits.is_constant(0)) {
    Parts rows = whole_rows(sort);
    rows.count = minimum(sort.count, most_in_block);  // of one part
    list.push_back(sort_parts(sort, rows, sort.wanted * by_digits, new_buffer));
  }
  return list;
}

std::vector<Kernel> first_of_long_rows(const GpuSort& sort, const Dim& wanted,
                                       const NewBuffer& new_buffer) {
  std::vector<Kernel> list;
  const Dim first = sort.first;
  Parts how = whole_rows(sort);
  Dim round = wanted;  // whether there is that one: a block has no room for the row
  for (std::int64_t most = GpuRadixSort::most_keys; most > most_in_block;
       most = (most + most_in_block - 1) / most_in_block * GpuSort::most_first) {
    const Dim whole_parts = how.parts() - Dim(1);
    const Dim left =
        whole_parts * first + minimum(first, how.count - whole_parts * Dim(most_in_block));
    const BufferRef keys = new_buffer("keys", sort.dtype, sort.rows * left * round, Space::global);
    const BufferRef places =
        new_buffer("places", DType::i32, sort.rows * left * round, Space::global);
    how.put = [&](const Expr& row, const Expr& part, const Expr& to, const Expr& place,
                  const Expr& key) {
      const Expr at = row * size(left) + part * size(first) + to;
      return Block{Store{keys, at, key}, Store{places, at, place}};
    };
    list.push_back(sort_parts(sort, how, round, new_buffer));
    how = whole_rows(sort);
    how.count = left;
    how.key = [=](const Expr& row, const Expr& i) { return load(keys, row * size(left) + i); };
    how.place = [=](const Expr& row, const Expr& i) { return load(places, row * size(left) + i); };
    Parts last = how;
    last.count = minimum(left, most_in_block);
    const Dim goes_on = round * is_above(left, most_in_block);
    list.push_back(sort_parts(sort, last, round - goes_on, new_buffer));
    round = goes_on;
    if (round.is_constant(0)) break;
  }
  return list;
}

}  // namespace kroton::loop
