// Random numbers as functions of a counter: the ops, in code and for the reference interpreter.
//
// A Philox block of four words makes four f32 or two f64 numbers. Elements are numbered in
// row-major order; among `lanes` * 4 (2) consecutive ones, element i has block i % lanes of these,
// so that `lanes` neighbours have a block each and as many words of the same place: vectors of
// them, and the next vector has the next word of the same blocks.
#include "compiler/ops/random.h"

#include <cmath>
#include <numbers>

#include <kroton/philox.h>
#include "compiler/ir/leaf.h"
#include "compiler/ops/records.h"
#include "compiler/ops/reference_loops.h"
#include "compiler/ops/rules.h"
#include "compiler/ops/samples.h"

namespace kroton {

using loop::Expr;
using loop::Op;
using ops::Ends;
using Tensors = std::vector<Tensor>;

namespace {

// What the attributes of both ops mean: integers are the number of the draw, and Ends (uniform).
struct RandomView {
  std::int64_t draw;
  Ends ends = Ends::half_open;
  explicit RandomView(std::int64_t number) : draw(number) {}
  RandomView(std::int64_t number, Ends its_ends) : draw(number), ends(its_ends) {}
  explicit RandomView(const Attributes& attributes)
      : draw(attributes.integers.at(0)), ends(static_cast<Ends>(attributes.integers.at(1))) {}
  Attributes attributes(Dims shape, DType dtype) const {
    Attributes result;
    result.dims = std::move(shape);
    result.integers = {draw, static_cast<std::int64_t>(ends)};
    result.dtype = dtype;
    return result;
  }
};

constexpr int lane_bits = 4;

constexpr std::int64_t bytes_of_word = 4;

// The words that a number is made of: as many bytes as it has.
int words_of_number(DType dtype) { return static_cast<int>(size_of(dtype) / bytes_of_word); }
bool has_one_word(DType dtype) { return words_of_number(dtype) == 1; }
// How many numbers a block makes, as a power of two.
int number_bits(DType dtype) { return has_one_word(dtype) ? 2 : 1; }

TensorType random_type(TypeContext& context) {
  const TensorType& state = context.input(0);
  const TensorType& step = context.input(1);
  if (state.dtype != DType::i64 || step.dtype != DType::i64) {
    context.fail_type("the state and the step are i64");
  }
  if (!is_float(context.attributes().dtype)) context.fail_type("gives floating point only");
  if (state.rank() != 1) context.fail_shape("the state is (2,)");
  context.equal(state.shape[0], 2, "the state is (2,)");
  TensorType type{context.attributes().dtype, step.shape};
  const Dims& shape = context.attributes().dims;
  type.shape.insert(type.shape.end(), shape.begin(), shape.end());
  return type;
}

// ---- In code: words are i64 below 2^32

Expr word(const Expr& x) { return loop::binary(Op::bit_and, x, loop::integer(0xffffffff)); }
Expr high_word(const Expr& x) { return loop::binary(Op::lshr, x, loop::integer(32)); }
Expr exclusive_or(const Expr& a, const Expr& b) { return loop::binary(Op::bit_xor, a, b); }

using Words = std::array<Expr, 4>;

Words philox(Words counter, std::array<Expr, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const Expr a = counter[0] * loop::integer(Philox::multipliers[0]);
    const Expr b = counter[2] * loop::integer(Philox::multipliers[1]);
    counter = {exclusive_or(exclusive_or(high_word(b), counter[1]), key[0]), word(b),
               exclusive_or(exclusive_or(high_word(a), counter[3]), key[1]), word(a)};
    for (std::size_t k = 0; k < 2; ++k) {
      key[k] = word(key[k] + loop::integer(Philox::weyl[k]));
    }
  }
  return counter;
}

// The element's block, and which of its numbers it has.
struct Place {
  Words words;
  Expr number;
};

Place place_of(PointContext& context, const Index& index) {
  const Attributes& attributes = context.attributes();
  const std::size_t front = index.size() - attributes.dims.size();
  const Expr seed = context.input(0, {loop::integer(0)});
  const Expr calls = context.input(0, {loop::integer(1)});
  const Expr step =
      context.input(1, Index(index.begin(), index.begin() + static_cast<std::ptrdiff_t>(front)));
  Expr position = loop::integer(0);
  for (std::size_t axis = 0; axis < attributes.dims.size(); ++axis) {
    position = position * loop::size(attributes.dims[axis]) + index[front + axis];
  }
  const Words key =
      philox({word(calls), high_word(calls), loop::integer(RandomView(attributes).draw),
              loop::integer(Philox::call_stream)},
             {word(seed), high_word(seed)});
  const int bits = number_bits(context.type().dtype);
  // Divisions by what is known, which schedules see through.
  const auto quotient = [&](int power) {
    return loop::binary(Op::floor_div, position, loop::integer(std::int64_t{1} << power));
  };
  const auto rest = [](const Expr& x, int power) {
    return loop::binary(Op::mod, x, loop::integer(std::int64_t{1} << power));
  };
  const Expr block =
      quotient(lane_bits + bits) * loop::integer(1 << lane_bits) + rest(position, lane_bits);
  return {philox({word(block), high_word(block), word(step), high_word(step)}, {key[0], key[1]}),
          rest(quotient(lane_bits), bits)};
}

// The word at place `first` + step * (the number's place) of the block.
Expr word_of(const Place& place, int first, int step, int count) {
  Expr result = place.words[static_cast<std::size_t>(first)];
  for (int k = 1; k < count; ++k) {
    result = loop::select(loop::binary(Op::eq, place.number, loop::integer(k)),
                          place.words[static_cast<std::size_t>(first + k * step)], result);
  }
  return result;
}

// A word above, in f32; two words, in f64, of which the lower one gives 20 bits.
Expr unit_number(const Expr& low, const Expr& high, DType dtype, Ends ends) {
  if (has_one_word(dtype)) {
    const int bits = ends == Ends::open ? 23 : 24;
    const Expr whole = loop::cast(
        loop::cast(loop::binary(Op::lshr, low, loop::integer(32 - bits)), DType::i32), dtype);
    const Expr scaled = whole * loop::real(std::ldexp(1, -bits), dtype);
    return ends == Ends::open ? scaled + loop::real(std::ldexp(1, -bits - 1), dtype) : scaled;
  }
  // The bits of a number of [1, 2).
  const Expr fraction = loop::binary(Op::bit_or, loop::binary(Op::shl, high, loop::integer(20)),
                                     loop::binary(Op::lshr, low, loop::integer(12)));
  const Expr one = loop::bitcast(
      loop::binary(Op::bit_or, fraction, loop::integer(std::int64_t{1023} << 52)), DType::f64);
  return one - loop::real(ends == Ends::open ? 1 - 0x1p-53 : 1, dtype);
}

Expr uniform_at(PointContext& context, const Index& index) {
  const Place place = place_of(context, index);
  const auto ends = RandomView(context.attributes()).ends;
  if (has_one_word(context.type().dtype)) {
    const Expr bits = word_of(place, 0, 1, 4);
    return unit_number(bits, bits, DType::f32, ends);
  }
  return unit_number(word_of(place, 0, 2, 2), word_of(place, 1, 2, 2), DType::f64, ends);
}

// sin(2 pi t) for |t| <= 1/4, by its series.
Expr sine_of_turns(const Expr& t, DType dtype) {
  const Expr x = t * loop::real(2 * std::numbers::pi, dtype);
  const Expr square = x * x;
  const int terms = has_one_word(dtype) ? 6 : 11;
  double factor = 1;
  for (int k = 1; k < terms; ++k) factor /= -(2.0 * k) * (2.0 * k + 1);
  Expr sum = loop::real(factor, dtype);
  for (int k = terms - 1; k > 0; --k) {
    factor *= -(2.0 * k) * (2.0 * k + 1);
    sum = loop::fma(sum, square, loop::real(factor, dtype));
  }
  return sum * x;
}

// Box-Muller: of a pair of words (of words) a radius, and an angle whose cosine and sine are taken
// by the pair's two elements.
Expr normal_at(PointContext& context, const Index& index) {
  const DType dtype = context.type().dtype;
  Place place = place_of(context, index);
  const Expr is_sine = loop::binary(Op::mod, place.number, loop::integer(2));
  Expr u, turn;
  if (has_one_word(dtype)) {
    place.number = loop::binary(Op::floor_div, place.number, loop::integer(2));
    // All 32 bits, of which a small number keeps those that count.
    const Expr bits = word_of(place, 0, 2, 2);
    const auto part = [&](const Expr& x) { return loop::cast(loop::cast(x, DType::i32), dtype); };
    const Expr low = loop::fma(part(loop::binary(Op::bit_and, bits, loop::integer(0xffff))),
                               loop::real(0x1p-32, dtype), loop::real(0x1p-33, dtype));
    u = loop::fma(part(loop::binary(Op::lshr, bits, loop::integer(16))), loop::real(0x1p-16, dtype),
                  low);
    const Expr angle = word_of(place, 1, 2, 2);
    turn = unit_number(angle, angle, dtype, Ends::half_open);
  } else {
    u = unit_number(place.words[0], place.words[1], dtype, Ends::open);
    turn = unit_number(place.words[2], place.words[3], dtype, Ends::half_open);
  }
  const Expr radius = loop::unary(Op::sqrt, loop::unary(Op::log, u) * loop::real(-2, dtype));
  // cos(2 pi t) is the sine of a quarter of a turn less |t|, which is at most half a turn.
  const Expr shifted = loop::select(loop::binary(Op::eq, is_sine, loop::integer(1)),
                                    turn - loop::real(0.25, dtype), turn);
  const Expr nearest = shifted - loop::unary(Op::round_even, shifted);
  return radius * sine_of_turns(loop::real(0.25, dtype) - loop::unary(Op::abs, nearest), dtype);
}

// ---- For the reference interpreter

// Calls make(words, the number's place) for each element.
template <class Make>
void for_each_number(ReferenceContext& c, const Make& make) {
  const auto bits_of = [](const Number& n) {
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(n));
  };
  const ReferenceValue& state = *c.inputs[0];
  const ReferenceValue& steps = *c.inputs[1];
  const std::uint64_t draw = static_cast<std::uint64_t>(RandomView(c.attributes).draw);
  const Philox::Words key = Philox::block(bits_of(state.data[0]), draw | Philox::call_stream << 32,
                                          bits_of(state.data[1]));
  const int bits = number_bits(c.output.dtype);
  const std::size_t rows = steps.data.size();
  const std::size_t size = rows == 0 ? 0 : c.output.data.size() / rows;
  for (std::size_t row = 0; row < rows; ++row) {
    const std::uint64_t step = bits_of(steps.data[row]);
    for (std::size_t i = 0; i < size; ++i) {
      const std::uint64_t block = (i >> (lane_bits + bits) << lane_bits) | (i & 15U);
      const Philox::Words words =
          Philox::words({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                         static_cast<std::uint32_t>(step), static_cast<std::uint32_t>(step >> 32)},
                        {key[0], key[1]});
      c.output.data[row * size + i] = make(words, (i >> lane_bits) & ((1U << bits) - 1));
    }
  }
}

double reference_unit(const Philox::Words& words, std::size_t first, DType dtype, Ends ends) {
  const bool open = ends == Ends::open;
  if (has_one_word(dtype)) {
    const int bits = open ? 23 : 24;
    const double unit = std::ldexp(words[first] >> (32 - bits), -bits);
    return open ? unit + std::ldexp(1, -bits - 1) : unit;
  }
  const std::uint64_t fraction = (std::uint64_t{words[first + 1]} << 20) | (words[first] >> 12);
  return std::ldexp(static_cast<double>(fraction), -52) + (open ? 0x1p-53 : 0);
}

void uniform_reference(ReferenceContext& c) {
  const auto ends = RandomView(c.attributes).ends;
  const DType dtype = c.output.dtype;
  for_each_number(c, [&](const Philox::Words& words, std::size_t number) {
    return reference_unit(words, number * static_cast<std::size_t>(words_of_number(dtype)), dtype,
                          ends);
  });
}

void normal_reference(ReferenceContext& c) {
  const DType dtype = c.output.dtype;
  for_each_number(c, [&](const Philox::Words& words, std::size_t number) {
    const std::size_t first = has_one_word(dtype) ? number / 2 * 2 : 0;
    const double u = has_one_word(dtype) ? words[first] * 0x1p-32 + 0x1p-33
                                         : reference_unit(words, 0, dtype, Ends::open);
    const double turn = has_one_word(dtype)
                            ? reference_unit(words, first + 1, dtype, Ends::half_open)
                            : reference_unit(words, 2, dtype, Ends::half_open);
    const double angle = 2 * std::numbers::pi * turn;
    return std::sqrt(-2 * std::log(u)) * (number % 2 == 0 ? std::cos(angle) : std::sin(angle));
  });
}

// ---- Both ops

// Rows of steps stand in front of the step's own; of rows of states there is no rule.
template <const OpRecord& op>
Tensor random_batch(std::span<const Tensor> operands, const std::vector<bool>& mapped,
                    const Attributes& attributes, const Dim&) {
  return mapped[0] ? Tensor() : ops::apply(op, {operands[0], operands[1]}, attributes);
}

std::vector<Sample> random_samples(Tensor (*draw)(std::span<const Tensor>, Dims, DType)) {
  std::vector<Sample> samples;
  for (const DType dtype : ops::dtypes_of(ops::floating)) {
    const auto add = [&](const ReferenceValue& step, const Dims& shape) {
      samples.push_back({{ops::values(DType::i64, {2}, {3, 17}), step},
                         [=](std::span<const Tensor> in) { return draw(in, shape, dtype); },
                         false});
    };
    const ReferenceValue once = ops::values(DType::i64, {}, {0});
    add(once, {});
    add(once, {0});
    add(once, {1});
    add(once, {3});
    add(once, {17});
    add(once, {3, 67});
    add(ops::values(DType::i64, {3}, {0, 5, 1}), {131});
  }
  return samples;
}

}  // namespace

// Numbers between 0 and 1 of shape (step's..., attributes.dims...), of the stream whose state is
// operand 0, i64 (2,), in step operand 1, i64. Attributes: RandomView.
constinit const OpRecord random_uniform_op = {
    .name = "random_uniform",
    .arity = 2,
    .cost = 20,
    .is_redrawn = true,
    .infer = random_type,
    .at = uniform_at,
    .reference = uniform_reference,
    .batch = random_batch<random_uniform_op>,
    .samples = [] {
      auto samples = random_samples([](std::span<const Tensor> in, Dims shape, DType dtype) {
        return ops::random_uniform(in[0], in[1], 1, std::move(shape), dtype, Ends::half_open);
      });
      for (Sample& sample : random_samples([](std::span<const Tensor> in, Dims shape, DType dtype) {
             return ops::random_uniform(in[0], in[1], 2, std::move(shape), dtype, Ends::open);
           })) {
        samples.push_back(std::move(sample));
      }
      return samples;
    }};

// Normal deviates, likewise.
constinit const OpRecord random_normal_op = {
    .name = "random_normal",
    .arity = 2,
    .cost = 40,
    .is_redrawn = true,
    .infer = random_type,
    .at = normal_at,
    .reference = normal_reference,
    .batch = random_batch<random_normal_op>,
    .samples = [] {
      return random_samples([](std::span<const Tensor> in, Dims shape, DType dtype) {
        return ops::random_normal(in[0], in[1], 3, std::move(shape), dtype);
      });
    }};

namespace ops {

Tensor step_number() {
  Tensor number = make_literal(0, DType::i64, LineScope::current().value_or(SourceLine{}));
  std::vector<const StepScope*> scopes;
  for (const StepScope* scope = StepScope::current(); scope != nullptr; scope = scope->outer()) {
    scopes.insert(scopes.begin(), scope);
  }
  for (const StepScope* scope : scopes) {
    number = scope == scopes.front() ? scope->number()
                                     : number * size_of_dim(scope->count()) + scope->number();
  }
  return number;
}

Tensor random_uniform(const Tensor& state, const Tensor& step, std::int64_t draw, Dims shape,
                      DType dtype, Ends ends) {
  return apply(random_uniform_op, {state, step},
               RandomView(draw, ends).attributes(std::move(shape), dtype));
}

Tensor random_normal(const Tensor& state, const Tensor& step, std::int64_t draw, Dims shape,
                     DType dtype) {
  return apply(random_normal_op, {state, step},
               RandomView(draw).attributes(std::move(shape), dtype));
}

}  // namespace ops

}  // namespace kroton
