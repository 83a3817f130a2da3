#include "compiler/ops/lanes.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace kroton::ops {

using loop::Expr;
using loop::Op;

namespace {

// What the lanes of an element fill: the widest vector, or several narrower ones.
constexpr std::int64_t block_bytes = 64;

}  // namespace

LaneLoops::LaneLoops(WriteContext& context, int axes_behind)
    : context_(context),
      block_(BlockContext::of(context)),
      dtype_(context.type().dtype),
      batch_(context.type().shape.begin(), context.type().shape.end() - axes_behind),
      count_(element_count(batch_)),
      is_for_gpu_(context.is_for_gpu()) {
  if (is_for_gpu_) return;
  lanes_ = block_bytes / size_of(dtype_);
  if (count_.is_constant()) {
    const auto count = static_cast<std::uint64_t>(std::max<std::int64_t>(count_.constant(), 1));
    if (count < static_cast<std::uint64_t>(lanes_)) {
      lanes_ = static_cast<std::int64_t>(std::bit_ceil(count));
    }
  }
  any_ = block_.scratch_of_iteration(dtype_, {1});
}

void LaneLoops::each_block(const std::function<void()>& body) {
  if (is_for_gpu_) {
    context_.independent_nest({count_}, [&](const Index& index) {
      lane_ = index[0];
      body();
    });
    return;
  }
  context_.independent_nest({ceil_div(count_, lanes_)}, [&](const Index& index) {
    first_ = index[0] * loop::integer(lanes_);
    body();
  });
}

void LaneLoops::each_lane(const std::function<void()>& body) {
  if (is_for_gpu_) return body();
  context_.nest({lanes_}, [&](const Index& index) {
    lane_ = index[0];
    body();
  });
}

void LaneLoops::each_matrix(
    const std::function<void(const Index& batch, const Expr& number)>& body) {
  if (is_for_gpu_) return body(batch_index(lane_), lane_);
  const Expr left = loop::size(count_) - first_;
  context_.loop(loop::binary(Op::min, left, loop::integer(lanes_)), lanes_, [&](const Expr& lane) {
    lane_ = lane;
    const Expr number = first_ + lane;
    body(batch_index(number), number);
  });
}

void LaneLoops::times(std::int64_t count, const std::function<void(const Expr& i)>& body) {
  context_.nest({count}, [&](const Index& index) { body(index[0]); });
}

void LaneLoops::between(const Expr& begin, std::int64_t end, std::int64_t most,
                        const std::function<void(const Expr& i)>& body) {
  context_.loop(loop::integer(end - 1) - begin, most,
                [&](const Expr& i) { body(begin + loop::integer(1) + i); });
}

void LaneLoops::if_any(const Array& of_each, const std::function<void()>& body) {
  const Expr zero = loop::real(0, dtype_);
  const auto once_if_above = [&](const Expr& number) {
    context_.loop(loop::cast(loop::binary(Op::lt, zero, number), DType::i64), 1,
                  [&](const Expr&) { body(); });
  };
  if (is_for_gpu_) return once_if_above(get(of_each, 0).v);
  const Index only = {loop::integer(0)};
  context_.store(any_, only, zero);
  context_.nest({lanes_}, [&](const Index& index) {
    lane_ = index[0];
    context_.store(any_, only,
                   loop::binary(Op::max, context_.stored(any_, only), get(of_each, 0).v));
  });
  once_if_above(context_.stored(any_, only));
}

LaneLoops::Array LaneLoops::array(std::initializer_list<std::size_t> shape) {
  Dims all;
  for (const std::size_t size : shape) all.emplace_back(static_cast<std::int64_t>(size));
  all.push_back(is_for_gpu_ ? count_ : Dim(lanes_));
  return {is_for_gpu_ ? context_.scratch(dtype_, all) : block_.scratch_of_iteration(dtype_, all)};
}

Index LaneLoops::batch_index(const Expr& number) const {
  Index index(batch_.size());
  Expr rest = number;
  for (std::size_t axis = batch_.size(); axis-- > 0;) {
    index[axis] = axis == 0 ? rest : loop::binary(Op::mod, rest, loop::size(batch_[axis]));
    if (axis > 0) rest = loop::binary(Op::floor_div, rest, loop::size(batch_[axis]));
  }
  return index;
}

double scale_of(const Format& format) { return format.pick(0x1p59, 0x1p507); }

Term power_of_two(const Term& size) {
  const Format format = format_of(size);
  const double largest = format.pick(0x1p125, 0x1p1021);
  const std::int64_t exponent = format.bits_of(std::numeric_limits<double>::infinity());
  const Term power = from_bits(iand(bits(size), exponent));
  return at_least(at_most(power, largest), 1 / largest);
}

namespace {

// Column c of `of` by reflection j, of which x(j, i) below the diagonal and `factors` are made.
void reflect(LaneLoops& loops, const LaneLoops::Array& x, const LaneLoops::Array& factors,
             std::size_t j, const LaneLoops::Array& of, const Expr& c, std::size_t rows) {
  Term sum = loops.get(of, c, j);
  for (std::size_t i = j + 1; i < rows; ++i) {
    sum = fma(loops.get(x, j, i), loops.get(of, c, i), sum);
  }
  const Term f = loops.hold(-sum * loops.get(factors, j));
  loops.set(of, loops.get(of, c, j) + f, c, j);
  for (std::size_t i = j + 1; i < rows; ++i) {
    loops.set(of, fma(f, loops.get(x, j, i), loops.get(of, c, i)), c, i);
  }
}

}  // namespace

void reflect_columns(LaneLoops& loops, const LaneLoops::Array& x, const LaneLoops::Array& factors,
                     std::size_t columns, std::size_t rows, std::size_t reflections) {
  for (std::size_t j = 0; j < reflections; ++j) {
    // That of LAPACK: none where there are zeros below the diagonal already.
    loops.each_lane([&] {
      const Term first = loops.hold(loops.get(x, j, j));
      Term below = loops.constant(0);
      for (std::size_t i = j + 1; i < rows; ++i) {
        const Term element = loops.get(x, j, i);
        below = fma(element, element, below);
      }
      const Term nothing = loops.hold(equal(below, 0.0));
      const Term norm = sqrt(fma(first, first, below));
      const Term other = loops.hold(select(first < 0.0, norm, -norm));  // first, reflected
      const Term one = loops.constant(1);
      const Term factor = select(nothing, 0.0, (other - first) / select(nothing, one, other));
      const Term inverse =
          loops.hold(select(nothing, 0.0, one / select(nothing, one, first - other)));
      loops.set(factors, factor, j);
      for (std::size_t i = j + 1; i < rows; ++i) loops.set(x, loops.get(x, j, i) * inverse, j, i);
      loops.set(x, select(nothing, first, other), j, j);
    });
    loops.times(static_cast<std::int64_t>(columns - j - 1), [&](const Expr& after) {
      const Expr c = after + loop::integer(static_cast<std::int64_t>(j) + 1);
      loops.each_lane([&] { reflect(loops, x, factors, j, x, c, rows); });
    });
  }
}

void orthonormal_columns(LaneLoops& loops, const LaneLoops::Array& x,
                         const LaneLoops::Array& factors, const LaneLoops::Array& q,
                         std::size_t columns, std::size_t rows) {
  loops.times(static_cast<std::int64_t>(columns), [&](const Expr& c) {
    loops.each_lane([&] {
      for (std::size_t i = 0; i < rows; ++i) {
        const Expr is_one = loop::binary(Op::eq, c, loop::integer(static_cast<std::int64_t>(i)));
        loops.set(q, term(loop::cast(is_one, loops.dtype())), c, i);
      }
    });
  });
  for (std::size_t j = columns; j-- > 0;) {
    loops.times(static_cast<std::int64_t>(columns - j), [&](const Expr& after) {
      const Expr c = after + loop::integer(static_cast<std::int64_t>(j));
      loops.each_lane([&] { reflect(loops, x, factors, j, q, c, rows); });
    });
  }
}

}  // namespace kroton::ops
