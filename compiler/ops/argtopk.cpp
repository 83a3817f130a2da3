// The positions of the elements that come first in a sort along the last axis, without sorting it.
//
// The first ones so far are kept in order. The axis goes in blocks: the lowest key of each, which
// vectors find, tells whether the block has an element that comes before the last of them; few
// blocks have. They do not go in the order of the axis, in which sorted elements would all be
// better than those before: what is kept does not depend on it, as positions are part of the order.
//
// Many short rows go through a network of compare-exchanges instead (sort_network.h).
//
// On a GPU blocks of threads sort parts of the axis, of which the first ones are sorted again.
#include <kroton/sort.h>

#include <limits>

#include "compiler/ops/draw.h"
#include "compiler/ops/numbers.h"
#include "compiler/ops/pieces.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"
#include "compiler/ops/sort_keys.h"
#include "compiler/ops/sort_network.h"

namespace kroton {

namespace {

using loop::Expr;
using loop::Op;
using ops::in;
using ops::inf;
using ops::nan;
using ops::whole;

// Elements of a block, and of the vectors that its lowest key is found in.
constexpr std::int64_t block_size = 64, lanes = 8;
// A prime that is more than the blocks of any axis: its multiples go through all of them.
constexpr std::int64_t prime_step = 100000007;
constexpr std::int64_t highest_key = std::numeric_limits<std::int64_t>::max();

std::int64_t count_of(const Attributes& attributes) { return attributes.integers.at(1); }

class TopLoops {
 public:
  // `runs`: 1, or 0 for nothing.
  TopLoops(WriteContext& context, const Dim& runs)
      : context_(context),
        runs_(runs),
        keys_(context.input_type(0).dtype),
        size_(context.input_type(0).shape.back()),
        count_(count_of(context.attributes())) {
    const Dims& shape = context.type().shape;
    rows_ = Dims(shape.begin(), shape.end() - 1);
    const auto of_row = [&](std::int64_t length) {
      Dims extents = rows_;
      extents.emplace_back(length);
      extents[0] = extents[0] * runs_;
      return context_.scratch(DType::i64, extents);
    };
    keys_of_block_ = of_row(block_size);
    lowest_ = of_row(lanes);
    kept_ = of_row(count_);
    place_ = of_row(1);
    if (!keys_.packed) positions_ = of_row(count_);
  }

  void run() {
    Dims extents = rows_.empty() ? Dims{1} : rows_;
    extents[0] = extents[0] * runs_;
    context_.independent_nest(extents, [&](const Index& index) {
      row_ = rows_.empty() ? Index{} : index;
      context_.nest({count_}, [&](const Index& j) {
        context_.store(kept_, at(j[0]), whole(highest_key));
        if (!keys_.packed) context_.store(positions_, at(j[0]), whole(highest_key));
      });
      const Dim blocks = ceil_div(size_, block_size);
      context_.nest({blocks}, [&](const Index& b) {
        one_block(loop::binary(Op::mod, b[0] * whole(prime_step), loop::size(blocks)) *
                  whole(block_size));
      });
      context_.nest({count_}, [&](const Index& j) {
        context_.store(at(j[0]), keys_.packed ? keys_.position(context_.stored(kept_, at(j[0])))
                                              : context_.stored(positions_, at(j[0])));
      });
    });
  }

 private:
  Index at(const Expr& place) const { return in(row_, place); }
  void if_so(const Expr& condition, const std::function<void()>& body) {
    context_.loop(loop::cast(condition, DType::i64), 1, [&](const Expr&) { body(); });
  }

  void one_block(const Expr& first) {
    const Expr there = loop::binary(Op::min, whole(block_size), loop::size(size_) - first);
    context_.loop(there, block_size, [&](const Expr& i) {
      context_.store(keys_of_block_, at(i),
                     keys_.key(context_.input(0, at(first + i)), first + i,
                               ops::is_descending(context_.attributes())));
    });
    context_.loop(whole(block_size) - there, block_size, [&](const Expr& i) {
      context_.store(keys_of_block_, at(there + i), whole(highest_key));
    });
    context_.nest({lanes}, [&](const Index& l) {
      context_.store(lowest_, at(l[0]), context_.stored(keys_of_block_, at(l[0])));
    });
    context_.nest({block_size / lanes - 1}, [&](const Index& j) {
      context_.nest({lanes}, [&](const Index& l) {
        const Expr next =
            context_.stored(keys_of_block_, at((j[0] + whole(1)) * whole(lanes) + l[0]));
        context_.store(lowest_, at(l[0]),
                       loop::binary(Op::min, context_.stored(lowest_, at(l[0])), next));
      });
    });
    Expr lowest = context_.stored(lowest_, at(whole(0)));
    for (std::int64_t l = 1; l < lanes; ++l) {
      lowest = loop::binary(Op::min, lowest, context_.stored(lowest_, at(whole(l))));
    }
    // One that equals it may come before it by its position.
    const Op may_be = keys_.packed ? Op::lt : Op::le;
    const Expr last = context_.stored(kept_, at(whole(count_ - 1)));
    if_so(loop::binary(may_be, lowest, last),
          [&] { context_.loop(there, block_size, [&](const Expr& i) { insert(i, first + i); }); });
  }

  void insert(const Expr& i, const Expr& position) {
    const auto key = [&] { return context_.stored(keys_of_block_, at(i)); };
    const auto is_before = [&](const Expr& j) {
      return keys_.is_before(key(), position, context_.stored(kept_, at(j)),
                             keys_.packed ? position : context_.stored(positions_, at(j)));
    };
    if_so(is_before(whole(count_ - 1)), [&] {
      const auto place = [&] { return context_.stored(place_, at(whole(0))); };
      context_.store(place_, at(whole(0)), whole(count_));
      context_.nest({count_}, [&](const Index& j) {
        context_.store(place_, at(whole(0)), place() - loop::cast(is_before(j[0]), DType::i64));
      });
      context_.loop(whole(count_ - 1) - place(), count_, [&](const Expr& j) {
        const Expr to = whole(count_ - 1) - j, from = to - whole(1);
        context_.store(kept_, at(to), context_.stored(kept_, at(from)));
        if (!keys_.packed)
          context_.store(positions_, at(to), context_.stored(positions_, at(from)));
      });
      context_.store(kept_, at(place()), key());
      if (!keys_.packed) context_.store(positions_, at(place()), position);
    });
  }

  WriteContext& context_;
  const Dim runs_;
  const ops::SortKeys keys_;
  const Dim size_;
  const std::int64_t count_;
  Dims rows_;
  Index row_;
  WriteContext::Scratch keys_of_block_, lowest_, kept_, positions_, place_;
};

void write_argtopk(WriteContext& context) {
  if (BlockContext::of(context).makes_kernels()) {
    ops::order_by_blocks(context, static_cast<int>(count_of(context.attributes())));
    return;
  }
  const Dims& shape = context.input_type(0).shape;
  const std::int64_t count = count_of(context.attributes());
  const Dim is_network = context.is_for_gpu() ? Dim(0) : ops::suits_network_of_first(shape, count);
  if (!is_network.is_constant(1)) TopLoops(context, 1 - is_network).run();
  if (is_network.is_constant(0)) return;
  ops::NetworkForm form =
      ops::network_of_positions(context, ops::is_descending(context.attributes()));
  form.count = count;
  ops::sort_by_network(context, shape, form, is_network);
}

TensorType argtopk_type(TypeContext& context) {
  Dims shape = context.input(0).shape;
  shape.back() = Dim(count_of(context.attributes()));
  return {DType::i64, shape};
}

std::vector<Sample> argtopk_samples() {
  std::vector<Sample> samples;
  const auto add = [&](const ReferenceValue& x, std::int64_t k, bool largest) {
    // The op itself: of few elements the function makes a sort.
    const auto first = [=](std::span<const Tensor> in) {
      Attributes attributes;
      attributes.integers = {largest ? 1 : 0, k};
      return ops::apply(argtopk_op, {in[0]}, std::move(attributes));
    };
    samples.push_back({{x}, first, false});
  };
  for (const DType dtype : ops::dtypes_of(ops::any_dtype)) {
    add(ops::spread(dtype, {1}, -5, 5), 1, true);
    add(ops::spread(dtype, {3, 17}, -5, 5), 3, true);
    add(ops::spread(dtype, {17, 3}, -5, 5), 2, false);
    add(ops::spread(dtype, {131}, -300, 300), 5, false);
    add(ops::spread(dtype, {0, 9}, -5, 5), 2, true);
  }
  for (const DType dtype : ops::dtypes_of(ops::floating)) {
    for (const bool largest : {true, false}) {
      add(ops::values(dtype, {16},
                      {0.0, nan, -0.0, inf, -inf, 1.0, nan, -1.0, 0.0, 2, 3, 1, inf, -3, 2, nan}),
          4, largest);
    }
  }
  return samples;
}

void draw_argtopk(ops::Draw& d) {
  const ops::Slot x = d.operand(ops::any_dtype, 1, 3);
  const int axis = d.axis(x);
  const bool has_one = d.value(d[x].shape(axis < 0 ? axis + d[x].rank() : axis)) > 0;
  d.call("argtopk", argtopk, x, Dim(has_one ? 1 : 0), axis, d.one_in(3));
}

}  // namespace

// y[..., j] = where the j-th element of a sort along the last axis comes from, i64, for j below
// attributes.integers[1]; in ascending order, or descending if attributes.integers[0] is 1; stable;
// any dtype. The axis has so many elements.   Not differentiable.
constinit const OpRecord argtopk_op = {
    .name = "argtopk",
    .kind = OpKind::write,
    .cost = 4,
    .keeps_stored = true,
    .infer = argtopk_type,
    .write = write_argtopk,
    .reference =
        [](ReferenceContext& c) { ops::sort_reference(c, ops::is_descending(c.attributes)); },
    .batch = [](std::span<const Tensor> operands, const std::vector<bool>&,
                const Attributes& attributes,
                const Dim&) { return ops::apply(argtopk_op, {operands[0]}, attributes); },
    .draw = draw_argtopk,
    .samples = argtopk_samples};

}  // namespace kroton
