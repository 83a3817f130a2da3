#include "compiler/loop/gpu_radix_sort.h"

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

Expr digit_of(const Expr& key, int pass) {
  const Expr low = pass == 0 ? key : binary(Op::lshr, key, integer(pass * digit_bits, DType::i32));
  return cast(binary(Op::bit_and, low, integer(digit_values - 1, DType::i32)), DType::i64);
}

Variable scalar(const std::string& name, DType dtype) {
  return {fresh_variable(name).id, dtype, name};
}

// The keys of one block, and for each of its threads how many of each digit it has.
class ChunkOfKeys {
 public:
  ChunkOfKeys(const BufferRef& from, const Expr& first, const Dim& count, int pass,
              const NewBuffer& new_buffer)
      : from_(from),
        first_(first),
        count_(count),
        pass_(pass),
        keys_(new_buffer("keys", DType::i32, Dim(chunk_of_keys + chunk_of_keys / keys_of_thread),
                         Space::shared)),
        counters_(new_buffer("counters", DType::i32, Dim(digit_values * (threads_of_digits + 1)),
                             Space::shared)) {}

  // Up to the barrier behind which each thread's counters are right.
  Block counted() const {
    const Variable t = fresh_variable("t"), u = fresh_variable("u"), v = fresh_variable("t");
    const Expr position = first_ + variable(t);
    const Expr there = binary(Op::lt, position, size(count_));
    const Expr counter = counter_of(digit_of(key(variable(v), variable(k_)), pass_), variable(v));
    return {Allocate{keys_},
            Allocate{counters_},
            of_threads(t, chunk_of_keys,
                       {Store{keys_, padded(variable(t)), load(from_, position, there)}}),
            of_threads(u, digit_values * (threads_of_digits + 1),
                       {Store{counters_, variable(u), zero_i32()}}),
            Barrier{},
            of_threads(v, threads_of_digits,
                       {over_own(variable(v), {Store{counters_, counter,
                                                     load(counters_, counter) + one_i32()}})}),
            Barrier{}};
  }

  // The body for each of the thread's keys that there are, k_ of them, in their order.
  Stmt over_own(const Expr& thread, Block body) const {
    const Expr there = binary(Op::lt, position(thread, variable(k_)), size(count_));
    return statement(
        serial_loop(k_, integer(keys_of_thread), {statement(If{there, std::move(body), {}})}));
  }
  const Variable& k() const { return k_; }
  Expr position(const Expr& thread, const Expr& k) const {
    return first_ + thread * integer(keys_of_thread) + k;
  }
  Expr key(const Expr& thread, const Expr& k) const {
    return load(keys_, padded(thread * integer(keys_of_thread) + k));
  }
  // A gap behind each digit's: threads that take one digit each reach different banks.
  Expr counter_of(const Expr& digit, const Expr& thread) const {
    return digit * integer(threads_of_digits + 1) + thread;
  }
  const BufferRef& counters() const { return counters_; }

 private:
  // A gap behind each thread's: they reach different banks.
  static Expr padded(const Expr& position) {
    return position + binary(Op::floor_div, position, integer(keys_of_thread));
  }

  BufferRef from_;
  Expr first_;
  Dim count_;
  int pass_;
  Variable k_ = fresh_variable("k");
  BufferRef keys_, counters_;
};

}  // namespace

GpuRadixSort::GpuRadixSort(const Dim& count, const Dim& limit, const Dim& wanted,
                           NewBuffer new_buffer)
    : count_(count),
      limit_(limit),
      wanted_(wanted),
      chunks_(ceil_div(count, chunk_of_keys)),
      new_buffer_(std::move(new_buffer)) {
  for (const int k : {0, 1}) {
    keys_[k] = new_buffer_("keys", DType::i32, count_ * wanted_, Space::global);
    places_[k] = new_buffer_("places", DType::i32, count_ * wanted_, Space::global);
  }
  Dim passes = 1;
  const std::int64_t most = limit_.is_constant() ? limit_.constant() : most_limit;
  for (; (std::int64_t{1} << (digit_bits * passes_)) < most; ++passes_) {
    passes = passes + has_digit(passes_);
  }
  is_odd_ = passes - floor_div(passes, 2) * Dim(2);
}

Dim GpuRadixSort::has_digit(int pass) const {
  if (pass == 0) return 1;
  const Dim highest = maximum(limit_, 1) - Dim(1);
  return minimum(1, floor_div(highest, std::int64_t{1} << (digit_bits * pass)));
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

std::vector<Kernel> GpuRadixSort::kernels() const {
  std::vector<Kernel> list;
  for (int pass = 0; pass < passes_; ++pass) {
    const Tables tables{
        new_buffer_("counts", DType::i32, Dim(digit_values) * chunks_ * wanted_, Space::global),
        new_buffer_("totals", DType::i32, Dim(digit_values) * wanted_, Space::global)};
    list.push_back(count_digits(pass, tables));
    list.push_back(find_starts(pass, tables));
    list.push_back(move(pass, tables));
  }
  return list;
}

Kernel GpuRadixSort::finished(const Variable& block, const Dim& blocks, int threads, Block body,
                              const Dim& work) const {
  For loop = serial_loop(block, size(blocks), std::move(body));
  loop.kind = LoopKind::block;
  loop.width = threads;
  Kernel kernel;
  kernel.body = simplify_indices({statement(std::move(loop))});
  kernel.work = size(work);
  return kernel;
}

Kernel GpuRadixSort::count_digits(int pass, const Tables& tables) const {
  const Variable block = fresh_variable("chunk"), d = fresh_variable("digit");
  const ChunkOfKeys chunk(keys_[pass % 2], variable(block) * integer(chunk_of_keys), count_, pass,
                          new_buffer_);
  Block body = chunk.counted();
  const Variable sum = scalar("sum", DType::i32), k = fresh_variable("k");
  For add =
      serial_loop(k, integer(threads_of_digits),
                  {Accumulate{sum, Op::add,
                              load(chunk.counters(), chunk.counter_of(variable(d), variable(k)))}});
  add.kind = LoopKind::unroll;
  body.push_back(of_threads(
      d, digit_values,
      {Declare{sum, zero_i32()}, statement(std::move(add)),
       Store{tables.counts, variable(d) * size(chunks_) + variable(block), variable(sum)}}));
  return finished(block, chunks_ * has_digit(pass) * wanted_, threads_of_digits, std::move(body),
                  count_ * Dim(work_of_count));
}

// A block for each digit: threads take neighbouring chunks each.
Kernel GpuRadixSort::find_starts(int pass, const Tables& tables) const {
  const Variable block = fresh_variable("digit"), t = fresh_variable("t"), u = fresh_variable("t");
  const Variable k = fresh_variable("k"), before = fresh_variable("k"), i = fresh_variable("k");
  const BufferRef sums = new_buffer_("sums", DType::i32, Dim(threads_of_starts), Space::shared);
  const Dim run = ceil_div(chunks_, threads_of_starts);
  const auto of_run = [&](const Expr& thread, const Variable& at, const auto& make) {
    const Expr first = thread * size(run);
    const Expr place = variable(block) * size(chunks_) + first + variable(at);
    const Expr left = binary(Op::max, size(chunks_) - first, integer(0));
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
  return finished(block, Dim(digit_values) * has_digit(pass) * wanted_, threads_of_starts, body,
                  Dim(digit_values) * (chunks_ + Dim(threads_of_starts * threads_of_starts)));
}

Kernel GpuRadixSort::move(int pass, const Tables& tables) const {
  const Variable block = fresh_variable("chunk"), t = fresh_variable("t"),
                 d = fresh_variable("digit"), e = fresh_variable("digit"), u = fresh_variable("t");
  const ChunkOfKeys chunk(keys_[pass % 2], variable(block) * integer(chunk_of_keys), count_, pass,
                          new_buffer_);
  const BufferRef totals = new_buffer_("totals", DType::i32, Dim(digit_values), Space::shared);
  Block body = chunk.counted();
  body.insert(body.begin(), Allocate{totals});
  // Before the last barrier.
  body.insert(
      body.end() - 1,
      of_threads(e, digit_values, {Store{totals, variable(e), load(tables.totals, variable(e))}}));
  const Variable start = scalar("start", DType::i32), held = scalar("held", DType::i32);
  const Variable before = fresh_variable("k"), k = fresh_variable("k");
  For add = serial_loop(before, integer(digit_values),
                        {Accumulate{start, Op::add,
                                    select(binary(Op::lt, variable(before), variable(d)),
                                           load(totals, variable(before)), zero_i32())}});
  add.kind = LoopKind::unroll;
  const Expr counter = chunk.counter_of(variable(d), variable(k));
  body.push_back(of_threads(
      d, digit_values,
      {Declare{start, load(tables.counts, variable(d) * size(chunks_) + variable(block))},
       statement(std::move(add)),
       statement(serial_loop(k, integer(threads_of_digits),
                             {Declare{held, load(chunk.counters(), counter)},
                              Store{chunk.counters(), counter, variable(start)},
                              Accumulate{start, Op::add, variable(held)}}))}));
  body.push_back(Barrier{});
  const Variable key = scalar("key", DType::i32), at = scalar("at", DType::i32);
  const Expr mine = chunk.counter_of(digit_of(variable(key), pass), variable(u));
  const Expr position = chunk.position(variable(u), variable(chunk.k()));
  const Expr to = cast(variable(at), DType::i64);
  const Expr place = pass == 0 ? cast(position, DType::i32) : load(places_[pass % 2], position);
  body.push_back(of_threads(
      u, threads_of_digits,
      {chunk.over_own(variable(u), {Declare{key, chunk.key(variable(u), variable(chunk.k()))},
                                    Declare{at, load(chunk.counters(), mine)},
                                    Store{chunk.counters(), mine, variable(at) + one_i32()},
                                    Store{keys_[(pass + 1) % 2], to, variable(key)},
                                    Store{places_[(pass + 1) % 2], to, place}})}));
  return finished(block, chunks_ * has_digit(pass) * wanted_, threads_of_digits, std::move(body),
                  count_ * Dim(work_of_move));
}

}  // namespace kroton::loop
