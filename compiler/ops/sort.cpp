// Sorting along the last axis: the permutation that does it.
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
#include <kroton/sort.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "compiler/ops/draw.h"
#include "compiler/ops/records.h"
#include "compiler/ops/reference_loops.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"
#include "compiler/ops/sort_keys.h"

namespace kroton {

namespace {

using loop::Expr;
using loop::Op;
using ops::in;
using ops::whole;

// Up to here counting is quicker than going by digits.
constexpr std::int64_t most_by_rank = 96;
// Elements that one thread moves: many, as each block has counts of its own.
constexpr std::int64_t block = 2048;
constexpr int digit_bits = 8;
constexpr std::int64_t digits = 1 << digit_bits;

bool is_descending(const Attributes& attributes) { return attributes.integers.at(0) != 0; }

// How the elements of a dtype go by digits.
struct Keys : ops::SortKeys {
  explicit Keys(DType dtype)
      // A key of fewer bits than a digit is one digit.
      : ops::SortKeys(dtype), passes((bits + digit_bits - 1) / digit_bits) {}
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
  explicit SortLoops(WriteContext& context)
      : context_(context),
        keys_(context.input_type(0).dtype),
        shape_(context.type().shape),
        rows_(shape_.begin(), shape_.end() - 1),
        size_(shape_.back()) {}

  void run() {
    // One of both is for the size at hand: the loops of the other run no iteration.
    const Dim is_long = minimum(floor_div(size_, most_by_rank + 1), 1);
    const Dim is_short = 1 - is_long;
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

  Planes planes() {
    Planes result{context_.scratch(DType::i64, shape_), {}};
    if (!keys_.packed) result.positions = context_.scratch(DType::i64, shape_);
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
    context_.store(
        from_.keys, in(row, i),
        keys_.key(context_.input(0, in(row, i)), i, is_descending(context_.attributes())));
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
      each([&](const Expr& i) {
        context_.store(in(row, context_.stored(to_.keys, in(row, i))), i);
      });
    });
  }

  void by_digits(const Dim& runs) {
    rows(runs, {size_}, [&](const Index& row, const Index& i) { place_key(row, i[0]); });
    const Dim blocks = ceil_div(size_, block);
    Dims counts = rows_;
    counts.push_back(blocks);
    counts.push_back(digits);
    counts_ = context_.scratch(DType::i64, counts);
    Dims totals = rows_;
    totals.push_back(digits);
    totals_ = context_.scratch(DType::i64, totals);
    starts_ = context_.scratch(DType::i64, totals);
    for (int pass = 0; pass < keys_.passes; ++pass) {
      count(runs, blocks, pass);
      find_starts(runs, blocks);
      move(runs, blocks, pass);
      std::swap(from_, to_);
    }
  }

  // Of each block, i: a position in it.
  void elements(const Expr& b, const std::function<void(const Expr& i)>& body) {
    const Expr first = b * whole(block);
    context_.loop(loop::binary(Op::min, loop::size(size_) - first, whole(block)), block,
                  [&](const Expr& i) { body(first + i); });
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
          context_.store(in(row, place), position);
        } else if (!keys_.packed) {
          context_.store(to_.positions, in(row, place), position);
        }
        context_.store(counts_, at, context_.stored(counts_, at) + whole(1));
      });
    });
  }

  WriteContext& context_;
  const Keys keys_;
  const Dims shape_, rows_;
  const Dim size_;
  Planes from_, to_;
  WriteContext::Scratch counts_, totals_, starts_;
};

TensorType argsort_type(TypeContext& context) {
  const TensorType& x = context.input(0);
  if (x.rank() == 0) context.fail_shape("a scalar has no axis to sort along");
  return {DType::i64, x.shape};
}

void argsort_reference(ReferenceContext& c) { ops::sort_reference(c, is_descending(c.attributes)); }

std::vector<Sample> argsort_samples() {
  std::vector<Sample> samples;
  const auto add = [&](const ReferenceValue& x, int axis, bool descending) {
    samples.push_back(
        {{x}, [=](std::span<const Tensor> in) { return argsort(in[0], axis, descending); }, false});
  };
  for (const DType dtype : ops::dtypes_of(ops::any_dtype)) {
    for (const ops::HostShape& shape :
         {ops::HostShape{0}, {1}, {3}, {17}, {3, 17}, {17, 1}, {0, 3}, {3, 0}, {2, 3, 5}}) {
      add(ops::spread(dtype, shape, -5, 5), -1, false);
      add(ops::spread(dtype, shape, -5, 5), 0, true);
    }
    add(ops::spread(dtype, {2, 131}, -300, 300), 1, false);
    add(ops::spread(dtype, {131}, -300, 300), 0, true);
  }
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  constexpr double inf = std::numeric_limits<double>::infinity();
  for (const DType dtype : ops::dtypes_of(ops::floating)) {
    add(ops::values(dtype, {9}, {0.0, nan, -0.0, inf, -inf, 1.0, nan, -1.0, 0.0}), 0, false);
    add(ops::values(dtype, {9}, {0.0, nan, -0.0, inf, -inf, 1.0, nan, -1.0, 0.0}), 0, true);
  }
  return samples;
}

void draw_argsort(ops::Draw& d) {
  const ops::Slot x = d.operand(ops::any_dtype, 1, 3);
  d.call("argsort", argsort, x, d.axis(x), d.one_in(3));
}

}  // namespace

// y = where the elements along the last axis come from, i64, in ascending order, or descending if
// attributes.integers[0] is 1; stable; any dtype.   Not differentiable.
constinit const OpRecord argsort_op = {
    .name = "argsort",
    .kind = OpKind::write,
    .cost = 20,
    .keeps_stored = true,
    .infer = argsort_type,
    .write = [](WriteContext& context) { SortLoops(context).run(); },
    .reference = argsort_reference,
    .batch = [](std::span<const Tensor> operands, const std::vector<bool>&,
                const Attributes& attributes,
                const Dim&) { return ops::apply(argsort_op, {operands[0]}, attributes); },
    .draw = draw_argsort,
    .samples = argsort_samples};

Tensor argsort(const Operand& x, int axis, bool descending) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  if (tensor.rank() == 0) return ops::apply(argsort_op, {tensor});  // which tells
  const int along = ops::resolve_axis(axis, tensor.rank(), "argsort");
  const int last = tensor.rank() - 1;
  const std::int64_t most = std::int64_t{1} << 32;
  const Tensor limited =
      ops::size_check(tensor, "argsort", {tensor}, Dim(most), tensor.shape(along),
                      "an axis of %1 elements is too long to be sorted: the "
                      "most is %0");
  Attributes attributes;
  attributes.integers = {descending ? 1 : 0};
  const Tensor order =
      ops::apply(argsort_op, {ops::move_axis(limited, along, last)}, std::move(attributes));
  return ops::move_axis(order, last, along);
}

}  // namespace kroton
