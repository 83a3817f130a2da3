// Sorting along the last axis by loops: few elements by rank, many by digits.
//
// It is written as loops, not as a call of a C function: so it runs wherever Kroton's kernels run,
// on a GPU too, takes the element's expression in, and threads share it. An axis with few elements
// is sorted by the rank of each one, the number of elements before it, which vectors count. A
// longer one goes digit by digit, the lowest first: blocks of it count their digits, the counts say
// where each block's elements of each digit go, and the blocks move them. Blocks are independent,
// so threads share them, and the order does not depend on how many threads there are.
//
// Elements are compared by integer keys. Keys of 32 bits stand with their position in one integer
// of 64, whose order is that of a stable sort; those of 64 bits move beside their positions.
#include "compiler/ops/sort_loops.h"

#include <algorithm>
#include <utility>

#include "compiler/ops/sort_keys.h"

namespace kroton::ops {

namespace {

using loop::Expr;
using loop::Op;

// Up to here counting is quicker than going by digits.
constexpr std::int64_t most_by_rank = 96;
// Elements that one thread moves: many, as each block has counts of its own.
constexpr std::int64_t moved_by_thread = 2048;
constexpr int digit_bits = 8;
constexpr std::int64_t digits = 1 << digit_bits;

// How the elements of a dtype go by digits.
struct Keys : SortKeys {
  explicit Keys(DType dtype)
      // A key of fewer bits than a digit is one digit.
      : SortKeys(dtype), passes((bits + digit_bits - 1) / digit_bits) {}
  int passes;

  // The digit of a key that counts in that pass. The sign bit of the last one is turned: negative
  // numbers come first.
  Expr digit(const Expr& key, int pass) const {
    const Expr shifted = loop::binary(Op::lshr, key, whole(low + pass * digit_bits));
    const Expr found = loop::binary(Op::bit_and, shifted, whole(digits - 1));
    return pass + 1 < passes ? found : loop::binary(Op::bit_xor, found, whole(digits / 2));
  }
};

class SortLoops {
 public:
  SortLoops(WriteContext& context, bool descending, const PutPosition& put)
      : context_(context),
        descending_(descending),
        put_(put),
        keys_(context.input_type(0).dtype),
        shape_(context.type().shape),
        rows_(shape_.begin(), shape_.end() - 1),
        size_(shape_.back()) {}

  void run(const Dim& runs) {
    runs_ = runs;
    // One of both is for the size at hand: the loops of the other run no iteration.
    const Dim above = minimum(floor_div(size_, most_by_rank + 1), 1);
    const Dim is_long = runs * above, is_short = runs * (1 - above);
    from_ = planes();
    to_ = planes();
    if (!is_short.is_constant(0)) by_rank(is_short);
    if (!is_long.is_constant(0)) by_digits(is_long);
  }

 private:
  // Where elements stand between two passes.
  struct Planes {
    WriteContext::Scratch keys, positions;  // positions: of keys that are not packed
  };

  // No memory for what does not run.
  Dims if_it_runs(Dims shape) const {
    shape[0] = shape[0] * runs_;
    return shape;
  }

  Planes planes() {
    Planes result{context_.scratch(DType::i64, if_it_runs(shape_)), {}};
    if (!keys_.packed) result.positions = context_.scratch(DType::i64, if_it_runs(shape_));
    return result;
  }

  // The nest over all rows and over what else there is, if `runs` is 1, not 0.
  void rows(const Dim& runs, const Dims& more,
            const std::function<void(const Index& row, const Index& rest)>& body) {
    Dims extents = rows_;
    extents.insert(extents.end(), more.begin(), more.end());
    if (extents.empty()) extents.emplace_back(1);
    extents[0] = extents[0] * runs;
    context_.independent_nest(extents, [&](const Index& index) {
      const auto rest = index.begin() + static_cast<std::ptrdiff_t>(rows_.size());
      body(Index(index.begin(), rest), Index(rest, index.end()));
    });
  }

  void place_key(const Index& row, const Expr& i) {
    context_.store(from_.keys, in(row, i),
                   keys_.key(context_.input(0, in(row, i)), i, descending_));
  }

  void by_rank(const Dim& runs) {
    const auto each = [&](const std::function<void(const Expr& i)>& body) {
      context_.nest({size_}, [&](const Index& i) { body(i[0]); });
    };
    rows(runs, {}, [&](const Index& row, const Index&) {
      const auto key = [&](const Expr& i) { return context_.stored(from_.keys, in(row, i)); };
      each([&](const Expr& i) {
        place_key(row, i);
        context_.store(to_.keys, in(row, i), whole(0));
      });
      each([&](const Expr& j) {
        each([&](const Expr& i) {
          const Expr is_before = keys_.is_before(key(j), j, key(i), i);
          context_.store(to_.keys, in(row, i),
                         context_.stored(to_.keys, in(row, i)) + loop::cast(is_before, DType::i64));
        });
      });
      each([&](const Expr& i) { put_(row, context_.stored(to_.keys, in(row, i)), i); });
    });
  }

  void by_digits(const Dim& runs) {
    rows(runs, {size_}, [&](const Index& row, const Index& i) { place_key(row, i[0]); });
    const Dim blocks = ceil_div(size_, moved_by_thread);
    Dims counts = rows_;
    counts.push_back(blocks);
    counts.push_back(digits);
    counts_ = context_.scratch(DType::i64, if_it_runs(counts));
    Dims totals = rows_;
    totals.push_back(digits);
    totals_ = context_.scratch(DType::i64, if_it_runs(totals));
    starts_ = context_.scratch(DType::i64, if_it_runs(totals));
    for (int pass = 0; pass < keys_.passes; ++pass) {
      count(runs, blocks, pass);
      find_starts(runs, blocks);
      move(runs, blocks, pass);
      std::swap(from_, to_);
    }
  }

  // Of each block, i: a position in it.
  void elements(const Expr& b, const std::function<void(const Expr& i)>& body) {
    const Expr first = b * whole(moved_by_thread);
    context_.loop(loop::binary(Op::min, loop::size(size_) - first, whole(moved_by_thread)),
                  moved_by_thread, [&](const Expr& i) { body(first + i); });
  }

  void count(const Dim& runs, const Dim& blocks, int pass) {
    rows(runs, {blocks}, [&](const Index& row, const Index& b) {
      context_.nest({digits}, [&](const Index& d) {
        context_.store(counts_, in(row, b[0], d[0]), whole(0));
      });
      elements(b[0], [&](const Expr& i) {
        const Index at = in(row, b[0], keys_.digit(context_.stored(from_.keys, in(row, i)), pass));
        context_.store(counts_, at, context_.stored(counts_, at) + whole(1));
      });
    });
  }

  // starts: where each digit's elements begin. counts: where, after that, those of each block do.
  void find_starts(const Dim& runs, const Dim& blocks) {
    rows(runs, {digits}, [&](const Index& row, const Index& d) {
      const Index total = in(row, d[0]);
      context_.store(totals_, total, whole(0));
      context_.nest({blocks}, [&](const Index& b) {
        const Index here = in(row, b[0], d[0]);
        context_.store(totals_, total,
                       context_.stored(totals_, total) + context_.stored(counts_, here));
        context_.store(counts_, here,
                       context_.stored(totals_, total) - context_.stored(counts_, here));
      });
    });
    rows(runs, {}, [&](const Index& row, const Index&) {
      context_.store(starts_, in(row, whole(0)), whole(0));
      context_.nest({digits - 1}, [&](const Index& d) {
        const Expr next = d[0] + whole(1);
        context_.store(
            starts_, in(row, next),
            context_.stored(starts_, in(row, d[0])) + context_.stored(totals_, in(row, d[0])));
      });
    });
  }

  void move(const Dim& runs, const Dim& blocks, int pass) {
    const bool is_last = pass + 1 == keys_.passes;
    rows(runs, {blocks}, [&](const Index& row, const Index& b) {
      elements(b[0], [&](const Expr& i) {
        const Expr key = context_.stored(from_.keys, in(row, i));
        const Expr digit = keys_.digit(key, pass);
        const Index at = in(row, b[0], digit);
        const Expr place = context_.stored(starts_, in(row, digit)) + context_.stored(counts_, at);
        if (!is_last) context_.store(to_.keys, in(row, place), key);
        const Expr position = pass == 0      ? i
                              : keys_.packed ? keys_.position(key)
                                             : context_.stored(from_.positions, in(row, i));
        if (is_last) {
          put_(row, place, position);
        } else if (!keys_.packed) {
          context_.store(to_.positions, in(row, place), position);
        }
        context_.store(counts_, at, context_.stored(counts_, at) + whole(1));
      });
    });
  }

  WriteContext& context_;
  const bool descending_;
  const PutPosition& put_;
  const Keys keys_;
  const Dims shape_, rows_;
  const Dim size_;
  Dim runs_ = 1;
  Planes from_, to_;
  WriteContext::Scratch counts_, totals_, starts_;
};

}  // namespace

void sort_by_loops(WriteContext& context, bool descending, const Dim& runs,
                   const PutPosition& put) {
  SortLoops(context, descending, put).run(runs);
}

}  // namespace kroton::ops
