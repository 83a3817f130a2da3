#include "compiler/loop/scalar.h"

#include <kroton/error.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace kroton::loop {
namespace {

std::uint64_t bits(std::int64_t value) { return static_cast<std::uint64_t>(value); }
std::int64_t wrap(std::uint64_t value) { return static_cast<std::int64_t>(value); }

[[noreturn]] void fail(Op op, DType dtype) {
  throw InternalError("loop IR: " + std::string(name_of(op)) + " cannot be evaluated on " +
                      std::string(name_of(dtype)));
}

std::int64_t truncated_div(std::int64_t a, std::int64_t b) {
  if (b == 0) return 0;
  if (b == -1) return wrap(0 - bits(a));
  return a / b;
}

std::int64_t floored_div(std::int64_t a, std::int64_t b) {
  const std::int64_t quotient = truncated_div(a, b);
  if (b == 0 || b == -1) return quotient;
  return a % b != 0 && ((a < 0) != (b < 0)) ? quotient - 1 : quotient;
}

std::int64_t floored_mod(std::int64_t a, std::int64_t b) {
  if (b == 0 || b == -1) return 0;
  const std::int64_t rest = a % b;
  return rest != 0 && ((rest < 0) != (b < 0)) ? rest + b : rest;
}

// `dtype` is that of the operands; the caller wraps the result to the result's dtype.
std::int64_t evaluate_integer(Op op, DType dtype, const Scalar* args) {
  const std::int64_t a = args[0].integer;
  const std::int64_t b =
      op == Op::neg || op == Op::abs || op == Op::logical_not ? 0 : args[1].integer;
  switch (op) {
    case Op::add:
      return wrap(bits(a) + bits(b));
    case Op::sub:
      return wrap(bits(a) - bits(b));
    case Op::mul:
      return wrap(bits(a) * bits(b));
    case Op::div:
      return truncated_div(a, b);
    case Op::mod:
      return floored_mod(a, b);
    case Op::floor_div:
      return floored_div(a, b);
    case Op::neg:
      return wrap(0 - bits(a));
    case Op::abs:
      return a < 0 ? wrap(0 - bits(a)) : a;
    case Op::min:
      return a < b ? a : b;
    case Op::max:
      return a > b ? a : b;
    case Op::eq:
      return a == b;
    case Op::ne:
      return a != b;
    case Op::lt:
      return a < b;
    case Op::le:
      return a <= b;
    case Op::logical_and:
    case Op::bit_and:
      return a & b;
    case Op::logical_or:
    case Op::bit_or:
      return a | b;
    case Op::bit_xor:
      return a ^ b;
    case Op::logical_not:
      return a == 0;
    case Op::shl:
      return wrap(bits(a) << b);
    case Op::ashr:
      return a >> b;
    case Op::lshr:
      return dtype == DType::i32 ? static_cast<std::int64_t>(static_cast<std::uint32_t>(a) >> b)
                                 : wrap(bits(a) >> b);
    default:
      fail(op, dtype);
  }
}

// T is the operands' own type, so that every step rounds as the generated code does.
template <class T>
T evaluate_real(Op op, DType dtype, const Scalar* args) {
  const T a = static_cast<T>(args[0].real);
  switch (op) {
    case Op::neg:
      return -a;
    case Op::abs:
      return std::abs(a);
    case Op::sqrt:
      return std::sqrt(a);
    case Op::floor:
      return std::floor(a);
    case Op::ceil:
      return std::ceil(a);
    case Op::round_even:
      return std::nearbyint(a);
    default:
      break;
  }
  const T b = static_cast<T>(args[1].real);
  switch (op) {
    case Op::add:
      return a + b;
    case Op::sub:
      return a - b;
    case Op::mul:
      return a * b;
    case Op::div:
      return a / b;
    case Op::mod: {
      const T rest = std::fmod(a, b);
      if (rest == 0) return std::copysign(T{0}, b);
      return (rest < 0) != (b < 0) ? rest + b : rest;
    }
    case Op::min:
      return std::isnan(a) || a < b ? a : b;
    case Op::max:
      return std::isnan(a) || a > b ? a : b;
    case Op::fma:
      return std::fma(a, b, static_cast<T>(args[2].real));
    default:
      fail(op, dtype);
  }
}

bool compare_reals(Op op, double a, double b) {
  switch (op) {
    case Op::eq:
      return a == b;
    case Op::ne:
      return a != b;
    case Op::lt:
      return a < b;
    default:
      return a <= b;
  }
}

// Truncation that saturates; NaN gives 0. The bounds of T are exact in double or one above it.
template <class T>
std::int64_t saturate(double value) {
  constexpr double above = -static_cast<double>(std::numeric_limits<T>::min());
  if (std::isnan(value)) return 0;
  if (value >= above) return std::numeric_limits<T>::max();
  if (value < -above) return std::numeric_limits<T>::min();
  return static_cast<T>(value);
}

Scalar convert(const Scalar& value, DType from, DType to) {
  if (is_float(from)) {
    if (is_float(to)) return scalar_from_real(value.real, to);
    if (to == DType::boolean) return {0, value.real != 0};
    return {0, to == DType::i32 ? saturate<std::int32_t>(value.real)
                                : saturate<std::int64_t>(value.real)};
  }
  // Straight to float: by way of double it would round twice.
  if (to == DType::f32) return {static_cast<float>(value.integer), 0};
  if (to == DType::f64) return {static_cast<double>(value.integer), 0};
  return scalar_from_integer(value.integer, to);
}

Scalar reinterpret_bits(const Scalar& value, DType to) {
  switch (to) {
    case DType::f32:
      return {std::bit_cast<float>(static_cast<std::int32_t>(value.integer)), 0};
    case DType::f64:
      return {std::bit_cast<double>(value.integer), 0};
    case DType::i32:
      return {0, std::bit_cast<std::int32_t>(static_cast<float>(value.real))};
    default:
      return {0, std::bit_cast<std::int64_t>(value.real)};
  }
}

template <class T>
T read_as(const void* address) {
  T value;
  std::memcpy(&value, address, sizeof value);
  return value;
}

template <class T>
void write_as(void* address, T value) {
  std::memcpy(address, &value, sizeof value);
}

}  // namespace

Scalar scalar_from_real(double value, DType dtype) {
  return {dtype == DType::f32 ? static_cast<double>(static_cast<float>(value)) : value, 0};
}

Scalar scalar_from_integer(std::int64_t value, DType dtype) {
  switch (dtype) {
    case DType::boolean:
      return {0, value != 0};
    case DType::i32:
      return {0, static_cast<std::int32_t>(static_cast<std::uint32_t>(bits(value)))};
    default:
      return {0, value};
  }
}

Scalar evaluate(Op op, DType operand, DType result, const Scalar* args) {
  switch (op) {
    case Op::real:
    case Op::integer:
    case Op::variable:
    case Op::size:
    case Op::load:
    case Op::check_index:
    case Op::check:
      fail(op, operand);
    case Op::select:
      return args[0].integer != 0 ? args[1] : args[2];
    case Op::shortcut:
      return args[2];
    case Op::cast:
      return convert(args[0], operand, result);
    case Op::bitcast:
      return reinterpret_bits(args[0], result);
    default:
      break;
  }
  if (!is_float(operand)) return scalar_from_integer(evaluate_integer(op, operand, args), result);
  if (result == DType::boolean) return {0, compare_reals(op, args[0].real, args[1].real)};
  if (operand == DType::f32) return {evaluate_real<float>(op, operand, args), 0};
  return {evaluate_real<double>(op, operand, args), 0};
}

Scalar read_element(const void* address, DType dtype) {
  switch (dtype) {
    case DType::boolean:
      return {0, read_as<std::uint8_t>(address) != 0};
    case DType::i32:
      return {0, read_as<std::int32_t>(address)};
    case DType::i64:
      return {0, read_as<std::int64_t>(address)};
    case DType::f32:
      return {read_as<float>(address), 0};
    case DType::f64:
      return {read_as<double>(address), 0};
  }
  return {};
}

void write_element(void* address, DType dtype, const Scalar& value) {
  switch (dtype) {
    case DType::boolean:
      return write_as(address, static_cast<std::uint8_t>(value.integer != 0));
    case DType::i32:
      return write_as(address, static_cast<std::int32_t>(value.integer));
    case DType::i64:
      return write_as(address, value.integer);
    case DType::f32:
      return write_as(address, static_cast<float>(value.real));
    case DType::f64:
      return write_as(address, value.real);
  }
}

}  // namespace kroton::loop
