// The C++ types of the floating dtypes of 16 bits, docs/dtypes.md.
// No #pragma once: dtype.h includes it, which stands in precompiled headers.
#ifndef KROTON_FLOAT16_H
#define KROTON_FLOAT16_H

#include <bit>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace kroton {

namespace detail {

// The f32 whose rounding to less than 22 bits of mantissa is that of the f64: between two numbers
// the one whose last bit is 1, so that no tie comes about that was none.
constexpr float rounded_to_odd(double value) {
  const auto nearest = static_cast<float>(value);
  const double back = nearest;
  if (back == value || value != value) return nearest;
  auto bits = std::bit_cast<std::uint32_t>(nearest);
  const double size = value < 0 ? -value : value;
  if ((back < 0 ? -back : back) > size) --bits;
  return std::bit_cast<float>(bits | 1U);
}

constexpr std::uint16_t f16_bits(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000U);
  const std::uint32_t size = bits & 0x7fffffffU;
  if (size > 0x7f800000U) {  // a NaN, which stays one
    return static_cast<std::uint16_t>(sign | 0x7e00U | (size >> 13 & 0x1ffU));
  }
  if (size >= 0x477ff000U) return sign | 0x7c00U;  // what rounds to more than 65504
  if (size < 0x38800000U) {                        // below 2^-14: multiples of 2^-24
    const float shifted = std::bit_cast<float>(size) + 0.5F;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3f000000U));
  }
  const std::uint32_t rounded = size - 0x38000000U + 0xfffU + (size >> 13 & 1U);
  return static_cast<std::uint16_t>(sign | rounded >> 13);
}

constexpr float f16_value(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000U) << 16;
  const std::uint32_t size = bits & 0x7fffU;
  if (size < 0x400U) {  // subnormal
    const float value = static_cast<float>(size) * 0x1p-24F;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) | sign);
  }
  const std::uint32_t exponent = size >= 0x7c00U ? 0x70000000U : 0x38000000U;
  return std::bit_cast<float>(sign | ((size << 13) + exponent));
}

constexpr std::uint16_t bf16_bits(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (value != value) return static_cast<std::uint16_t>(bits >> 16 | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
}

constexpr float bf16_value(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

// The f32 that rounds to 16 bits as the value does.
template <class T>
constexpr float narrowed(T value) {
  if constexpr (std::is_floating_point_v<T> && sizeof(T) > sizeof(float)) {
    return rounded_to_odd(static_cast<double>(value));
  } else {
    return static_cast<float>(value);
  }
}

}  // namespace detail

/// IEEE 754's binary16, the element of an f16: 11 bits of precision, up to 65504. A value only:
/// it converts to float, in which its arithmetic is done: `float16(a + b)`.
class float16 {
 public:
  float16() = default;
  /// The nearest one, of two the even one; infinity from 65520 on. An integer becomes a float
  /// first.
  template <class T>
    requires std::is_arithmetic_v<T>
  explicit constexpr float16(T value) : bits_(detail::f16_bits(detail::narrowed(value))) {}
  static constexpr float16 from_bits(std::uint16_t bits) {
    float16 result{};
    result.bits_ = bits;
    return result;
  }
  [[nodiscard]] constexpr std::uint16_t bits() const { return bits_; }
  constexpr operator float() const { return detail::f16_value(bits_); }  // NOLINT: exact

 private:
  std::uint16_t bits_;
};

/// The upper half of a float, the element of a bf16: 8 bits of precision and float's range. A
/// value only: it converts to float, in which its arithmetic is done: `bfloat16(a + b)`.
class bfloat16 {
 public:
  bfloat16() = default;
  /// The nearest one, of two the even one. An integer becomes a float first.
  template <class T>
    requires std::is_arithmetic_v<T>
  explicit constexpr bfloat16(T value) : bits_(detail::bf16_bits(detail::narrowed(value))) {}
  static constexpr bfloat16 from_bits(std::uint16_t bits) {
    bfloat16 result{};
    result.bits_ = bits;
    return result;
  }
  [[nodiscard]] constexpr std::uint16_t bits() const { return bits_; }
  constexpr operator float() const { return detail::bf16_value(bits_); }  // NOLINT: exact

 private:
  std::uint16_t bits_;
};

/// Whether elements of the type are floating numbers.
template <class T>
inline constexpr bool is_floating_element =
    std::is_floating_point_v<T> || std::same_as<T, float16> || std::same_as<T, bfloat16>;

namespace detail {

// What arithmetic on elements of a floating type is done in.
template <class T>
using Computed = std::conditional_t<std::is_floating_point_v<T>, T, float>;

// std::numeric_limits of a floating type of 16 bits.
template <class T, int precision, int highest_exponent, int decimal, int precise_decimal>
struct Limits16 {
  static constexpr bool is_specialized = true, is_signed = true, is_integer = false,
                        is_exact = false, has_infinity = true, has_quiet_NaN = true,
                        has_signaling_NaN = false, is_iec559 = true, is_bounded = true,
                        is_modulo = false, traps = false, tinyness_before = false;
  static constexpr int digits = precision, radix = 2, digits10 = decimal,
                       max_digits10 = precise_decimal, max_exponent = highest_exponent,
                       min_exponent = 3 - highest_exponent;
  static constexpr std::float_round_style round_style = std::round_to_nearest;
  static constexpr std::uint16_t infinite = static_cast<std::uint16_t>(
      (2 * highest_exponent - 1) << (precision - 1));  // the bits of infinity
  static constexpr T infinity() noexcept { return T::from_bits(infinite); }
  static constexpr T max() noexcept { return T::from_bits(infinite - 1); }
  static constexpr T lowest() noexcept { return T::from_bits(0x8000U | (infinite - 1)); }
  static constexpr T min() noexcept { return T::from_bits(1U << (precision - 1)); }
  static constexpr T denorm_min() noexcept { return T::from_bits(1); }
  static constexpr T quiet_NaN() noexcept { return T::from_bits(infinite | 1U << (precision - 2)); }
  static constexpr T epsilon() noexcept {
    return T::from_bits(
        static_cast<std::uint16_t>((highest_exponent - precision) << (precision - 1)));
  }
  static constexpr T round_error() noexcept { return T(0.5F); }
};

}  // namespace detail
}  // namespace kroton

template <>
struct std::numeric_limits<kroton::float16>
    : kroton::detail::Limits16<kroton::float16, 11, 16, 3, 5> {};
template <>
struct std::numeric_limits<kroton::bfloat16>
    : kroton::detail::Limits16<kroton::bfloat16, 8, 128, 2, 4> {};

#endif
