#include "compiler/loop/scalar.h"

#include <kroton/error.h>

#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

#include "runtime/visit.h"

namespace kroton::loop {
namespace {

template <class T>
std::uint64_t bits(T value) {
  return static_cast<std::uint64_t>(value);
}
std::int64_t wrap(std::uint64_t value) { return static_cast<std::int64_t>(value); }

[[noreturn]] void fail(Op op, DType dtype) {
  throw InternalError("loop IR: " + std::string(name_of(op)) + " cannot be evaluated on " +
                      std::string(name_of(dtype)));
}

// T is an integer of 64 bits, signed or not. Division is defined for all operands.
template <class T>
T truncated_div(T a, T b) {
  if (b == 0) return 0;
  if (std::is_signed_v<T> && b == T(-1)) return T{0} - bits(a);
  return a / b;
}

template <class T>
T floored_div(T a, T b) {
  const T quotient = truncated_div(a, b);
  const T rest = bits(a) - bits(quotient) * bits(b);
  return b != 0 && rest != 0 && ((rest < 0) != (b < 0)) ? quotient - 1 : quotient;
}

// `dtype` is that of the operands; the caller wraps the result to the result's dtype.
template <class T>
std::int64_t evaluate_integer(Op op, DType dtype, const Scalar* args) {
  const T a = static_cast<T>(args[0].integer);
  const T b = op == Op::neg || op == Op::abs || op == Op::logical_not
                  ? T{0}
                  : static_cast<T>(args[1].integer);
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
      return b == 0 ? 0 : wrap(bits(a) - bits(floored_div(a, b)) * bits(b));
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
      return wrap((bits(a) & ~std::uint64_t{0} >> (64 - bits_of(dtype))) >> b);
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

// The C++ type whose arithmetic on values of integers that wide is that of T.
template <class T>
using Wide = std::conditional_t<std::is_signed_v<T> || sizeof(T) < 8, std::int64_t, std::uint64_t>;

// Truncation that saturates; NaN gives 0. The lower end is exact in double, the upper one is one
// below a power of two.
template <class T>
T saturated(double value) {
  constexpr T half = std::numeric_limits<T>::max() / 2 + 1;
  constexpr double above = 2 * static_cast<double>(half);
  if (std::isnan(value)) return 0;
  if (value >= above) return std::numeric_limits<T>::max();
  if (value < static_cast<double>(std::numeric_limits<T>::min())) {
    return std::numeric_limits<T>::min();
  }
  return static_cast<T>(value);
}

Scalar convert(const Scalar& value, DType from, DType to) {
  if (is_float(from) && is_float(to)) return scalar_from_real(value.real, to);
  return visit_dtype(from, [&]<class From>(std::type_identity<From>) {
    return visit_dtype(to, [&]<class To>(std::type_identity<To>) -> Scalar {
      if constexpr (is_floating_element<To> && !is_floating_element<From>) {
        // Straight to float: by way of double it would round twice.
        return {static_cast<To>(static_cast<Wide<From>>(value.integer)), 0};
      } else if constexpr (is_floating_element<From> && std::same_as<To, bool>) {
        return {0, value.real != 0};
      } else if constexpr (is_floating_element<From> && std::is_integral_v<To>) {
        return {0, static_cast<std::int64_t>(saturated<To>(value.real))};
      } else {
        return scalar_from_integer(value.integer, to);
      }
    });
  });
}

// As memory holds it.
template <class T>
using Stored = std::conditional_t<std::same_as<T, bool>, std::uint8_t, T>;

}  // namespace

Scalar scalar_from_real(double value, DType dtype) {
  return visit_dtype(dtype, [&]<class T>(std::type_identity<T>) -> Scalar {
    if constexpr (is_floating_element<T>) return {static_cast<T>(value), 0};
    fail(Op::real, dtype);
  });
}

Scalar scalar_from_integer(std::int64_t value, DType dtype) {
  return visit_dtype(dtype, [&]<class T>(std::type_identity<T>) -> Scalar {
    if constexpr (std::is_integral_v<T>) {
      return {0, static_cast<std::int64_t>(static_cast<T>(value))};
    }
    fail(Op::integer, dtype);
  });
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
    case Op::bitcast: {
      std::uint64_t memory = 0;
      write_element(&memory, operand, args[0]);
      return read_element(&memory, result);
    }
    default:
      break;
  }
  return visit_dtype(operand, [&]<class T>(std::type_identity<T>) -> Scalar {
    if constexpr (std::is_integral_v<T>) {
      return scalar_from_integer(evaluate_integer<Wide<T>>(op, operand, args), result);
    } else if constexpr (!std::is_floating_point_v<T>) {
      fail(op, operand);  // computed in another dtype
    } else {
      if (result == DType::boolean) return {0, compare_reals(op, args[0].real, args[1].real)};
      return {evaluate_real<T>(op, operand, args), 0};
    }
  });
}

Scalar read_element(const void* address, DType dtype) {
  return visit_dtype(dtype, [&]<class T>(std::type_identity<T>) -> Scalar {
    Stored<T> value;
    std::memcpy(&value, address, sizeof value);
    if constexpr (is_floating_element<T>) {
      return {value, 0};
    } else {
      return {0, static_cast<std::int64_t>(static_cast<T>(value))};
    }
  });
}

void write_element(void* address, DType dtype, const Scalar& value) {
  visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
    T element{};
    if constexpr (is_floating_element<T>) {
      element = static_cast<T>(value.real);
    } else {
      element = static_cast<T>(value.integer);
    }
    std::memcpy(address, &element, sizeof element);
  });
}

std::string digits_of(const Scalar& value, DType dtype) {
  return visit_dtype(dtype, [&]<class T>(std::type_identity<T>) -> std::string {
    if constexpr (is_floating_element<T>) {
      std::array<char, 40> text{};
      const auto real = static_cast<detail::Computed<T>>(static_cast<T>(value.real));
      const auto end = std::to_chars(text.begin(), text.end(), real);
      return {text.begin(), end.ptr};
    } else {
      return std::to_string(static_cast<T>(value.integer));
    }
  });
}

}  // namespace kroton::loop
