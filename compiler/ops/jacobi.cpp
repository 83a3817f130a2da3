#include "compiler/ops/jacobi.h"

#include <functional>
#include <limits>

#include "compiler/ops/small_matrices.h"

namespace kroton::ops {

using loop::Expr;

namespace {

// Far more sweeps than matrices of 12 rows take (about 8).
constexpr std::int64_t most_sweeps = 40;

// Signs of vectors: the first element that is not below this part of the largest is above 0. Such
// an element stays the first whatever the last digits are, unlike the largest of several equal
// ones.
constexpr double leading_part = 0.6;

}  // namespace

Rotation rotation_of(LaneLoops& loops, const Term& a, const Term& b, const Term& c,
                     const Term& needed, const Term& is_exchanged) {
  const Term one = loops.constant(1), zero = loops.constant(0);
  const Term distance = loops.hold(b - a);
  const Term twice = loops.hold(c + c);
  const Term size = larger(larger(abs(a), abs(b)), abs(twice));
  const Term inverse = loops.hold(one / at_least(size, format_of(a).pick(0x1p-124, 0x1p-1020)));
  const Term u = abs(distance) * inverse;
  const Term v = select(needed, abs(twice) * inverse, zero);
  const Term squares = fma(u, u, v * v);
  const Term sum = u + sqrt(squares);
  const Term tangent = loops.hold(v / select(needed, sum, one));
  const Term is_falling = distance < zero, is_below = c < zero;
  const Term opposite{is_falling.b, is_falling.b->ne(is_falling.v, is_below.v)};
  const Term t = loops.hold(select(opposite, -tangent, tangent));
  const Term cosine = loops.hold(one / sqrt(fma(t, t, one)));
  const Term sine = loops.hold(t * cosine);
  const Term change = loops.hold(t * c);
  const Term low = a - change, high = b + change;
  return {loops.hold(select(is_exchanged, sine, cosine)),
          loops.hold(select(is_exchanged, cosine, -sine)),
          loops.hold(select(is_exchanged, cosine, sine)),
          loops.hold(select(is_exchanged, -sine, cosine)),
          loops.hold(select(is_exchanged, high, low)),
          loops.hold(select(is_exchanged, low, high))};
}

std::vector<Term> held_row(LaneLoops& loops, const LaneLoops::Array& x, const Expr& row,
                           std::size_t size) {
  std::vector<Term> result;
  for (std::size_t k = 0; k < size; ++k) result.push_back(loops.hold(loops.get(x, row, k)));
  return result;
}

void rotate(LaneLoops& loops, const LaneLoops::Array& x, const Expr& p, const Expr& q,
            const std::vector<Term>& of_p, const std::vector<Term>& of_q, const Rotation& r) {
  for (std::size_t k = 0; k < of_p.size(); ++k) {
    loops.set(x, fma(of_p[k], r.cp, of_q[k] * r.sp), p, k);
    loops.set(x, fma(of_p[k], r.cq, of_q[k] * r.sq), q, k);
  }
}

void set_identity(LaneLoops& loops, const LaneLoops::Array& x, std::size_t size) {
  loops.each_lane([&] {
    for (std::size_t i = 0; i < size; ++i) {
      for (std::size_t j = 0; j < size; ++j) loops.set(x, loops.constant(i == j ? 1 : 0), i, j);
    }
  });
}

void read_scaled(
    LaneLoops& loops, const LaneLoops::Array& x, std::size_t rows, std::size_t columns,
    const JacobiBlock& block,
    const std::function<Expr(const Index& batch, const Expr& i, const Expr& j)>& element) {
  loops.each_lane([&] {
    for (std::size_t i = 0; i < rows; ++i) {
      for (std::size_t j = 0; j < columns; ++j) loops.set(x, loops.constant(0), i, j);
    }
  });
  loops.each_matrix([&](const Index& batch, const Expr&) {
    loops.times(static_cast<std::int64_t>(rows), [&](const Expr& i) {
      loops.times(static_cast<std::int64_t>(columns),
                  [&](const Expr& j) { loops.set(x, term(element(batch, i, j)), i, j); });
    });
  });
  loops.each_lane([&] {
    Term largest = loops.constant(0);
    for (std::size_t i = 0; i < rows; ++i) {
      for (std::size_t j = 0; j < columns; ++j) {
        largest = call(loop::Op::max, largest, abs(loops.get(x, i, j)));
      }
    }
    const Term held = loops.hold(largest);
    const Term finite = loops.hold(held < std::numeric_limits<double>::infinity());
    const Term power = loops.hold(power_of_two(held));
    const Term inverse = loops.hold(loops.constant(1) / power);
    const double scale = scale_of(format_of(held));
    loops.set(block.is_finite, select(finite, loops.constant(1), 0.0), 0);
    loops.set(block.unit, power, 0);
    loops.set(block.moved, loops.constant(1), 0);
    for (std::size_t i = 0; i < rows; ++i) {
      for (std::size_t j = 0; j < columns; ++j) {
        const Term scaled = loops.get(x, i, j) * inverse * scale;
        loops.set(x, select(finite, scaled, 0.0), i, j);
      }
    }
  });
}

void sweep(LaneLoops& loops, std::size_t size, const JacobiBlock& block,
           const std::function<void(const Expr& p, const Expr& q)>& rotate_pair) {
  const auto n = static_cast<std::int64_t>(size);
  loops.times(most_sweeps, [&](const Expr&) {
    loops.if_any(block.moved, [&] {
      loops.each_lane([&] { loops.set(block.moved, loops.constant(0), 0); });
      loops.times(n - 1, [&](const Expr& p) {
        loops.between(p, n, n - 1,
                      [&](const Expr& q) { loops.each_lane([&] { rotate_pair(p, q); }); });
      });
    });
  });
}

void note_moved(LaneLoops& loops, const JacobiBlock& block, const Term& moves) {
  loops.set(block.moved, select(moves, loops.constant(1), loops.get(block.moved, 0)), 0);
}

void turn(LaneLoops& loops, const Expr& i, const LaneLoops::Array& x, std::size_t size,
          const LaneLoops::Array* also, std::size_t size_also) {
  std::vector<Term> row;
  Term largest = loops.constant(0);
  for (std::size_t k = 0; k < size; ++k) {
    row.push_back(loops.get(x, i, k));
    largest = larger(largest, abs(row.back()));
  }
  const Term least = loops.hold(largest * leading_part);
  Term leading = row.back();
  for (std::size_t k = size - 1; k-- > 0;) leading = select(abs(row[k]) < least, leading, row[k]);
  const Term sign = loops.hold(select(leading < 0.0, loops.constant(-1), 1.0));
  for (std::size_t k = 0; k < size; ++k) loops.set(x, loops.get(x, i, k) * sign, i, k);
  if (also == nullptr) return;
  for (std::size_t k = 0; k < size_also; ++k) loops.set(*also, loops.get(*also, i, k) * sign, i, k);
}

void store_value(LaneLoops& loops, const JacobiBlock& block, const Index& index, const Term& value,
                 const Expr& number, const std::string& text) {
  WriteContext& context = loops.context();
  const double scale = scale_of(format_of(value));
  const Term unscaled = value * (1 / scale) * loops.get(block.unit, 0) + 0.0;  // no -0
  const Term finite = loops.get(block.is_finite, 0) > 0.0;
  context.store(index, context.check(unscaled.v, finite.v, number, loop::integer(0),
                                     matrix_error(text, context.input_type(0).rank())));
}

}  // namespace kroton::ops
