// Functions of integers, elementwise.
#include <kroton/elementwise.h>

#include <limits>
#include <optional>

#include "compiler/ir/leaf.h"
#include "compiler/ops/elementwise.h"
#include "compiler/ops/few_samples.h"

namespace kroton {

using loop::Expr;
using loop::Op;
using ops::binary;
using ops::elementwise;
using Whole = Number::Whole;

namespace {

Expr whole(std::int64_t value, const Expr& like) { return loop::integer(value, like->dtype); }
Expr is_below(const Expr& x, std::int64_t limit) {
  return loop::binary(Op::lt, x, whole(limit, x));
}
Expr equals(const Expr& x, std::int64_t value) { return loop::binary(Op::eq, x, whole(value, x)); }
Expr has_bit(const Expr& x, int bit) {
  const Expr only = loop::binary(Op::bit_and, x, whole(std::int64_t{1} << bit, x));
  return loop::binary(Op::ne, only, whole(0, x));
}

// The counts of the loop IR's shifts are constants: one shift for each bit of the count.
Expr shifted(Op shift, const Expr& x, const Expr& n, const Expr& beyond) {
  const int width = bits_of(x->dtype);
  const Expr inside =
      loop::binary(Op::logical_and, loop::binary(Op::le, whole(0, n), n), is_below(n, width));
  Expr y = x;
  for (int bit = 0; 1 << bit < width; ++bit) {
    y = loop::select(has_bit(n, bit), loop::binary(shift, y, whole(1 << bit, y)), y);
  }
  return loop::select(inside, y, beyond);
}

Expr left_shift_of(const Expr& x, const Expr& n) { return shifted(Op::shl, x, n, whole(0, x)); }
Expr right_shift_of(const Expr& x, const Expr& n) {
  return shifted(Op::ashr, x, n, loop::select(is_below(x, 0), whole(-1, x), whole(0, x)));
}

Number left_shift_reference(const Number& x, const Number& n) {
  if (n < 0 || n.whole() >= 64) return 0;
  return static_cast<Whole>(x.bits() << static_cast<int>(n.whole()));
}
Number right_shift_reference(const Number& x, const Number& n) {
  if (n < 0 || n.whole() >= 64) return x < 0 ? -1 : 0;
  return x.whole() >> static_cast<int>(n.whole());
}

// Counts of pairs, of fours and of bytes, which a product adds up in the highest byte.
Expr count_of_bits(const Expr& x) {
  const auto mask = [&](std::int64_t byte) {
    return whole(static_cast<std::int64_t>(0x0101010101010101u * static_cast<std::uint64_t>(byte)),
                 x);
  };
  const auto masked = [&](const Expr& v, std::int64_t byte) {
    return loop::binary(Op::bit_and, v, mask(byte));
  };
  const auto moved = [&](const Expr& v, int count) {
    return loop::binary(Op::lshr, v, whole(count, v));
  };
  const Expr size = loop::unary(Op::abs, x);
  const Expr pairs = size - masked(moved(size, 1), 0x55);
  const Expr fours = masked(pairs, 0x33) + masked(moved(pairs, 2), 0x33);
  const Expr bytes = masked(fours + moved(fours, 4), 0x0f);
  return moved(bytes * mask(1), bits_of(x->dtype) - 8);
}

Number count_reference(const Number& x) {
  int count = 0;
  for (Whole rest = x < 0 ? -x.whole() : x.whole(); rest != 0; rest >>= 1) count += rest & 1;
  return count;
}

Number gcd_reference(Number x, Number y) {
  Whole a = x < 0 ? -x.whole() : x.whole(), b = y < 0 ? -y.whole() : y.whole();
  while (b != 0) {
    const Whole rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

// Euclid's algorithm with the remainder nearest to 0, which a step makes at most half of the
// divisor, two steps at most 1 / 5.8. Floating numbers hold those of 32 bits; those of 64 after ten
// divisions of integers.
Expr gcd_of(const Expr& x, const Expr& y) {
  Expr a = loop::unary(Op::abs, x), b = loop::unary(Op::abs, y);
  const Expr zero = whole(0, x);
  const bool is_wide = bits_of(x->dtype) > 32;
  for (int step = 0; is_wide && step < 10; ++step) {
    const Expr rest = loop::unary(Op::abs, loop::binary(Op::mod, a, b));
    const Expr other = loop::unary(Op::abs, b - rest);
    const Expr ends = loop::binary(Op::eq, b, zero);
    const Expr next = loop::select(ends, a, b);
    b = loop::select(ends, zero, loop::binary(Op::min, rest, other));
    a = next;
  }
  Expr real_a = loop::cast(a, DType::f64), real_b = loop::cast(b, DType::f64);
  const Expr real_zero = loop::real(0, DType::f64), one = loop::real(1, DType::f64);
  const int steps = is_wide ? 48 : 28;
  for (int step = 0; step < steps; ++step) {
    const Expr ends = loop::binary(Op::eq, real_b, real_zero);
    const Expr divisor = loop::select(ends, one, real_b);
    const Expr quotient = loop::unary(Op::round_even, loop::binary(Op::div, real_a, divisor));
    const Expr rest = loop::fma(loop::unary(Op::neg, quotient), divisor, real_a);
    const Expr next = loop::select(ends, real_a, real_b);
    real_b = loop::select(ends, real_zero, loop::unary(Op::abs, rest));
    real_a = next;
  }
  const Expr result = loop::cast(real_a, x->dtype);
  return is_wide ? loop::select(loop::binary(Op::eq, b, zero), a, result) : result;
}

// By squares, for each bit of the exponent.
Expr power_of(const Expr& x, const Expr& n) {
  Expr power = x, result = whole(1, x);
  const int bits = info_of(x->dtype).digits;
  for (int bit = 0; bit < bits; ++bit) {
    result = loop::select(has_bit(n, bit), result * power, result);
    power = power * power;
  }
  const Expr sign = loop::select(has_bit(n, 0), whole(-1, x), whole(1, x));
  const Expr inverse =
      loop::select(equals(x, 1), whole(1, x), loop::select(equals(x, -1), sign, whole(0, x)));
  return loop::select(is_below(n, 0), inverse, result);
}

// NOLINTNEXTLINE(misc-no-recursion)
Number power_reference(const Number& x, const Number& n) {
  if (n < 0) return x == 1 ? 1 : x != -1 ? 0 : n.whole() % 2 == 0 ? 1 : -1;
  if (n == 0) return 1;
  const Number half = power_reference(x, n.whole() / 2);
  return n.whole() % 2 == 0 ? half * half : half * half * x;
}

// ---- What the records share

TensorType integer_type(TypeContext& context) {
  for (int k = 0; k < context.count(); ++k) {
    if (!is_integer(context.input(k).dtype)) context.fail_type("takes integers only");
  }
  return ops::equal_types(context);
}

using OfTwo = Tensor (*)(const Operand&, const Operand&);

std::vector<Sample> samples_of_two(OfTwo function, double low_y, double high_y,
                                   std::vector<std::int64_t> x, std::vector<std::int64_t> y) {
  std::vector<Sample> samples = ops::few_binary_samples({.function = function,
                                                         .low_x = -99,
                                                         .high_x = 99,
                                                         .low_y = low_y,
                                                         .high_y = high_y,
                                                         .dtypes = ops::dtypes_of(ops::integer),
                                                         .differentiable = false});
  const auto count = static_cast<std::int64_t>(x.size());
  samples.push_back({{ops::values(DType::i64, {count}, {x.begin(), x.end()}),
                      ops::values(DType::i64, {count}, {y.begin(), y.end()})},
                     [function](std::span<const Tensor> in) { return function(in[0], in[1]); },
                     false});
  return samples;
}

std::vector<Sample> samples_of_one(Tensor (*function)(const Operand&)) {
  return ops::unary_samples({.function = function,
                             .low = -1000,
                             .high = 1000,
                             .dtypes = ops::dtypes_of(ops::integer),
                             .differentiable = false});
}

constexpr std::int64_t lowest = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t highest = std::numeric_limits<std::int64_t>::max();

std::vector<Sample> bitwise_samples(OfTwo function) {
  return samples_of_two(function, -99, 99, {lowest, highest, -1, 0x5555555555},
                        {-1, 12, 0, lowest});
}
std::vector<Sample> shift_samples(OfTwo function) {
  return samples_of_two(function, 0, 9, {-5, 7, lowest, 1, -1}, {62, 63, 1, -1, 100});
}

void draw_integers_of_two(ops::Draw& d, const char* name, OfTwo function) {
  ops::draw_binary(d, name, function, ops::integer);
}

// Booleans are combined as truth values.
template <Mask (*logical)(const Operand&, const Operand&)>
Tensor bitwise(const OpRecord& op, const Operand& x, const Operand& y) {
  const LineScope scope(x.line(), op.name);
  const std::vector<Tensor> both = ops::promoted(x, y);
  if (both[0].dtype() == DType::boolean) return logical(both[0], both[1]);
  if (is_float(both[0].dtype())) {
    const bool is_xor = &op == &bitwise_xor_op;
    ops::fail_type(op, both,
                   std::string("takes integers and booleans only") +
                       (is_xor ? " (x to the power of y is pow(x, y))" : ""));
  }
  return ops::apply(op, ops::broadcast(op, both));
}

// The literal that a tensor of integers is, if it is one.
std::optional<std::int64_t> literal_of(const Operand& n) {
  const Tensor tensor = n.tensor();
  if (!n.is_literal() || !is_integer(tensor.dtype())) return std::nullopt;
  return tensor.node().attributes.integers.at(0);
}

}  // namespace

// z = x and y, bit by bit
constinit const OpRecord bitwise_and_op = elementwise<bitwise_and_op>(
    {.name = "bitwise_and",
     .commutative = true,
     .value = binary<Op::bit_and>,
     .reference = [](Number x, Number y) { return Number(x.whole() & y.whole()); },
     .infer = integer_type,
     .draw = [](ops::Draw& d) { draw_integers_of_two(d, "bitwise_and", bitwise_and); },
     .samples = [] { return bitwise_samples(bitwise_and); }});

// z = x or y, bit by bit
constinit const OpRecord bitwise_or_op = elementwise<bitwise_or_op>(
    {.name = "bitwise_or",
     .commutative = true,
     .value = binary<Op::bit_or>,
     .reference = [](Number x, Number y) { return Number(x.whole() | y.whole()); },
     .infer = integer_type,
     .draw = [](ops::Draw& d) { draw_integers_of_two(d, "bitwise_or", bitwise_or); },
     .samples = [] { return bitwise_samples(bitwise_or); }});

// z = x or y but not both, bit by bit
constinit const OpRecord bitwise_xor_op = elementwise<bitwise_xor_op>(
    {.name = "bitwise_xor",
     .commutative = true,
     .value = binary<Op::bit_xor>,
     .reference = [](Number x, Number y) { return Number(x.whole() ^ y.whole()); },
     .infer = integer_type,
     .draw = [](ops::Draw& d) { draw_integers_of_two(d, "bitwise_xor", bitwise_xor); },
     .samples = [] { return bitwise_samples(bitwise_xor); }});

// y = not x, bit by bit
constinit const OpRecord bitwise_not_op = elementwise<bitwise_not_op>(
    {.name = "bitwise_not",
     .value = [](const Expr& x) { return loop::binary(Op::bit_xor, x, whole(-1, x)); },
     .reference = [](Number x) { return Number(~x.whole()); },
     .infer = integer_type,
     .draw = [](ops::Draw& d) { ops::draw_unary(d, "bitwise_not", bitwise_not, ops::integer); },
     .samples = [] { return samples_of_one(bitwise_not); }});

// z = x 2^n
constinit const OpRecord left_shift_op = elementwise<left_shift_op>(
    {.name = "left_shift",
     .cost = 20,
     .value = [](const Expr& x, const Expr& n) { return left_shift_of(x, n); },
     .reference = [](Number x, Number n) { return left_shift_reference(x, n); },
     .infer = integer_type,
     .draw = [](ops::Draw& d) { draw_integers_of_two(d, "left_shift", left_shift); },
     .samples = [] { return shift_samples(left_shift); }});

// z = floor(x / 2^n)
constinit const OpRecord right_shift_op = elementwise<right_shift_op>(
    {.name = "right_shift",
     .cost = 20,
     .value = [](const Expr& x, const Expr& n) { return right_shift_of(x, n); },
     .reference = [](Number x, Number n) { return right_shift_reference(x, n); },
     .infer = integer_type,
     .draw = [](ops::Draw& d) { draw_integers_of_two(d, "right_shift", right_shift); },
     .samples = [] { return shift_samples(right_shift); }});

// y = the number of 1 bits of |x|
constinit const OpRecord bitwise_count_op = elementwise<bitwise_count_op>(
    {.name = "bitwise_count",
     .cost = 12,
     .value = [](const Expr& x) { return count_of_bits(x); },
     .reference = [](Number x) { return count_reference(x); },
     .infer = integer_type,
     .draw = [](ops::Draw& d) { ops::draw_unary(d, "bitwise_count", bitwise_count, ops::integer); },
     .samples = [] { return samples_of_one(bitwise_count); }});

// z = the largest number that divides both
constinit const OpRecord gcd_op = elementwise<gcd_op>(
    {.name = "gcd",
     .cost = 200,
     .commutative = true,
     .value = [](const Expr& x, const Expr& y) { return gcd_of(x, y); },
     .reference = [](Number x, Number y) { return gcd_reference(x, y); },
     .infer = integer_type,
     .draw = [](ops::Draw& d) { draw_integers_of_two(d, "gcd", gcd); },
     .samples =
         [] {
           return samples_of_two(
               gcd, -99, 99, {7540113804746346429, 6 * 1000000007ll, highest, 0, 0, 1 - highest},
               {4660046610375530309, 15 * 1000000007ll, highest - 1, 0, -9, 6});
         }});

// z = x^n
constinit const OpRecord integer_power_op = elementwise<integer_power_op>(
    {.name = "integer_power",
     .cost = 150,
     .value = [](const Expr& x, const Expr& n) { return power_of(x, n); },
     .reference = [](Number x, Number n) { return power_reference(x, n); },
     .infer = integer_type,
     .draw =
         [](ops::Draw& d) {
           const ops::Slot x = d.operand(ops::integer);
           if (d.one_in(2)) {
             d.call("integer_power", integer_power, x, std::int64_t{d.below(5)});
           } else {
             d.call("integer_power", integer_power, x, d.partner(x, ops::integer));
           }
         },
     .samples =
         [] {
           return samples_of_two(integer_power, 0, 9, {3, -1, 1, 0, -1, 2, 5},
                                 {100, -3, -7, -1, -2, 63, 0});
         }});

Tensor bitwise_and(const Operand& x, const Operand& y) {
  return bitwise<logical_and>(bitwise_and_op, x, y);
}
Tensor bitwise_or(const Operand& x, const Operand& y) {
  return bitwise<logical_or>(bitwise_or_op, x, y);
}
Tensor bitwise_xor(const Operand& x, const Operand& y) {
  return bitwise<logical_xor>(bitwise_xor_op, x, y);
}

Tensor bitwise_not(const Operand& x) {
  const LineScope scope(x.line());
  const Tensor tensor = x.tensor();
  if (tensor.dtype() == DType::boolean) return logical_not(tensor);
  return ops::apply(bitwise_not_op, {tensor});
}

Tensor left_shift(const Operand& x, const Operand& n) {
  return ops::apply_binary(left_shift_op, x, n);
}
Tensor right_shift(const Operand& x, const Operand& n) {
  return ops::apply_binary(right_shift_op, x, n);
}
Tensor bitwise_count(const Operand& x) { return ops::apply_unary(bitwise_count_op, x); }
Tensor gcd(const Operand& x, const Operand& y) { return ops::apply_binary(gcd_op, x, y); }

Tensor lcm(const Operand& x, const Operand& y) {
  const LineScope scope(x.line());
  const std::vector<Tensor> both = ops::promoted(x, y);
  if (!is_integer(both[0].dtype())) {
    ops::fail_type(OpRecord{.name = "lcm"}, both, "takes integers only");
  }
  return abs(floor_div(both[0], gcd(both[0], both[1])) * both[1]);
}

Tensor integer_power(const Operand& x, const Operand& n) {
  const LineScope scope(x.line());
  const std::optional<std::int64_t> exponent = literal_of(n);
  if (exponent && *exponent < 0) {
    ops::fail_value("integer_power", "an integer to the power of " + std::to_string(*exponent) +
                                         " is no integer: make x floating, cast(x, f32)");
  }
  const std::vector<Tensor> both = ops::promoted(x, n);
  if (!exponent || !is_integer(both[0].dtype())) {
    return ops::apply(integer_power_op, ops::broadcast(integer_power_op, both));
  }
  // A known exponent: a product for each of its bits.
  Tensor power = both[0], result;
  for (std::uint64_t rest = static_cast<std::uint64_t>(*exponent); rest != 0; rest >>= 1) {
    if (rest & 1) result = result ? result * power : power;
    if (rest > 1) power = power * power;
  }
  return result ? result : ones_like(both[0]);
}

}  // namespace kroton
