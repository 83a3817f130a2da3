#include "compiler/loop/gpu_key_tile.h"

#include <utility>

#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

constexpr std::int64_t values_of_digit = 1 << KeyTile::digit_bits;
// Threads whose sums one thread adds up.
constexpr std::int64_t threads_of_group = 16;

Stmt loop_over(LoopKind kind, const Variable& v, std::int64_t extent, Block body) {
  return loop_over(kind, v, integer(extent), std::move(body));
}
Expr sum_of_nothing() { return integer(0, DType::i32); }
// A gap behind every so many: threads that have as many neighbours reach different banks.
Expr with_gaps(const Expr& i, std::int64_t every) {
  return i + binary(Op::floor_div, i, integer(every));
}

// Of a power of two.
int bits_of(int count) { return count == 1 ? 0 : 1 + bits_of(count / 2); }

}  // namespace

Stmt loop_over(LoopKind kind, const Variable& v, const Expr& extent, Block body) {
  For loop;
  loop.kind = kind;
  loop.variable = v;
  loop.extent = extent;
  loop.body = std::move(body);
  return statement(std::move(loop));
}

Expr turned_right(const Expr& key, int bits) {
  const int width = 8 * static_cast<int>(size_of(key->dtype));
  const int turned = bits % width;
  if (turned == 0) return key;
  return binary(Op::bit_or, binary(Op::lshr, key, integer(turned, key->dtype)),
                binary(Op::shl, key, integer(width - turned, key->dtype)));
}

KeyTile::KeyTile(int threads, int keys_of_thread, DType dtype, bool has_places,
                 const NewBuffer& new_buffer)
    : threads_(threads), keys_of_thread_(keys_of_thread) {
  const auto shared = [&](const char* name, DType of, std::int64_t count) {
    return new_buffer(name, of, Dim(count), Space::shared);
  };
  const auto own = [&](const char* name, DType of) {
    return new_buffer(name, of, Dim(keys_of_thread), Space::registers);
  };
  const std::int64_t room = size() + threads;
  keys_ = shared("keys", dtype, room);
  own_keys_ = own("own_keys", dtype);
  if (has_places) {
    places_ = shared("places", DType::i32, room);
    own_places_ = own("own_places", DType::i32);
  }
  counters_ = shared("counters", DType::i32, threads * (values_of_digit + 1));
  sums_ = shared("sums", DType::i32, threads);
  sums_of_groups_ = shared("sums_of_groups", DType::i32, threads / threads_of_group);
  own_before_ = own("own_before", DType::i32);
}

Block KeyTile::buffers() const {
  Block block;
  for (const BufferRef& buffer :
       {keys_, places_, counters_, sums_, sums_of_groups_, own_keys_, own_places_, own_before_}) {
    if (buffer != nullptr) block.push_back(Allocate{buffer});
  }
  return block;
}

Expr KeyTile::place_in_tile(const Expr& i) const { return with_gaps(i, keys_of_thread_); }
Expr KeyTile::key(const Expr& i) const { return load(keys_, place_in_tile(i)); }
Expr KeyTile::place(const Expr& i) const { return load(places_, place_in_tile(i)); }

Block KeyTile::put(const Expr& i, const Expr& key, const Expr& place) const {
  Block block{Store{keys_, place_in_tile(i), key}};
  if (places_ != nullptr) block.push_back(Store{places_, place_in_tile(i), place});
  return block;
}

void KeyTile::sort(Block& block, int digits, const Expr& there) const {
  const Variable digit = fresh_variable("digit");
  block.push_back(loop_over(LoopKind::serial, digit, digits, sort_by_digit(there)));
}

// Of the thread and its k-th key's digit. What is no key has the highest one: it stays at the end.
Expr KeyTile::counter_of(const Expr& t, const Expr& k, const Expr& there) const {
  const Expr held = load(own_keys_, k);
  const Expr digit =
      cast(binary(Op::bit_and, held, integer(values_of_digit - 1, held->dtype)), DType::i64);
  const Expr is_key = binary(Op::lt, t * integer(keys_of_thread_) + k, there);
  return counter_at(select(is_key, digit, integer(values_of_digit - 1)), t);
}

// They lie by digits, then by threads.
Expr KeyTile::counter_at(const Expr& digit, const Expr& t) const {
  return digit * integer(threads_ + threads_ / values_of_digit) + with_gaps(t, values_of_digit);
}

Block KeyTile::sort_by_digit(const Expr& there) const {
  Block block;
  const Variable t = fresh_variable("t"), value = fresh_variable("value"), k = fresh_variable("k");
  const Expr of_digit = counter_at(variable(value), variable(t));
  const Expr place = place_in_tile(variable(t) * integer(keys_of_thread_) + variable(k));
  const Expr counter = counter_of(variable(t), variable(k), there);
  Block count{Store{own_keys_, variable(k), load(keys_, place)}};
  if (places_ != nullptr) count.push_back(Store{own_places_, variable(k), load(places_, place)});
  count.push_back(Store{own_before_, variable(k), load(counters_, counter)});
  count.push_back(
      Store{counters_, counter, load(own_before_, variable(k)) + integer(1, DType::i32)});
  block.push_back(loop_over(LoopKind::thread, t, threads_,
                            {loop_over(LoopKind::serial, value, values_of_digit,
                                       {Store{counters_, of_digit, sum_of_nothing()}}),
                             loop_over(LoopKind::unroll, k, keys_of_thread_, std::move(count))}));
  block.push_back(Barrier{});

  // Each thread has some neighbouring counters.
  const Variable u = fresh_variable("t"), j = fresh_variable("j");
  const Variable sum = fresh_variable("sum", DType::i32);
  const auto of_run = [&](const Variable& thread, const Variable& at) {
    return variable(thread) * integer(values_of_digit + 1) + variable(at);
  };
  block.push_back(loop_over(LoopKind::thread, u, threads_,
                            {Declare{sum, sum_of_nothing()},
                             loop_over(LoopKind::serial, j, values_of_digit,
                                       {Accumulate{sum, Op::add, load(counters_, of_run(u, j))}}),
                             Store{sums_, variable(u), variable(sum)}}));
  block.push_back(Barrier{});
  bring_sums_together(block);

  const Variable v = fresh_variable("t"), i = fresh_variable("j");
  const Variable start = fresh_variable("start", DType::i32),
                 held = fresh_variable("held", DType::i32);
  Block starts = sum_before(start, variable(v));
  starts.push_back(loop_over(LoopKind::serial, i, values_of_digit,
                             {Declare{held, load(counters_, of_run(v, i))},
                              Store{counters_, of_run(v, i), variable(start)},
                              Accumulate{start, Op::add, variable(held)}}));
  block.push_back(loop_over(LoopKind::thread, v, threads_, std::move(starts)));
  block.push_back(Barrier{});

  const Variable w = fresh_variable("t"), l = fresh_variable("k");
  const Variable to = fresh_variable("to", DType::i32);
  Block move{Declare{to, load(own_before_, variable(l)) +
                             load(counters_, counter_of(variable(w), variable(l), there))}};
  // As place_in_tile(to), which is not negative.
  const Expr place_to = cast(
      variable(to) + binary(Op::lshr, variable(to), integer(bits_of(keys_of_thread_), DType::i32)),
      DType::i64);
  move.push_back(Store{keys_, place_to, turned_right(load(own_keys_, variable(l)), digit_bits)});
  if (places_ != nullptr) {
    move.push_back(Store{places_, place_to, load(own_places_, variable(l))});
  }
  block.push_back(loop_over(LoopKind::thread, w, threads_,
                            {loop_over(LoopKind::unroll, l, keys_of_thread_, std::move(move))}));
  block.push_back(Barrier{});
  return block;
}

void KeyTile::bring_sums_together(Block& block) const {
  const Variable g = fresh_variable("group"), j = fresh_variable("j");
  const Variable sum = fresh_variable("sum", DType::i32), held = fresh_variable("held", DType::i32);
  const Expr place = variable(g) * integer(threads_of_group) + variable(j);
  block.push_back(
      loop_over(LoopKind::thread, g, threads_ / threads_of_group,
                {Declare{sum, sum_of_nothing()},
                 loop_over(LoopKind::serial, j, threads_of_group,
                           {Declare{held, load(sums_, place)}, Store{sums_, place, variable(sum)},
                            Accumulate{sum, Op::add, variable(held)}}),
                 Store{sums_of_groups_, variable(g), variable(sum)}}));
  block.push_back(Barrier{});
}

Block KeyTile::sum_before(const Variable& sum, const Expr& t) const {
  const Variable g = fresh_variable("group");
  const Expr behind = (variable(g) + integer(1)) * integer(threads_of_group);
  return {Declare{sum, load(sums_, t)},
          loop_over(LoopKind::unroll, g, threads_ / threads_of_group,
                    {Accumulate{sum, Op::add,
                                select(binary(Op::le, behind, t),
                                       load(sums_of_groups_, variable(g)), sum_of_nothing())}})};
}

}  // namespace kroton::loop
