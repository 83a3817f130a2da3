#pragma once

#include <concepts>
#include <cstdint>
#include <string_view>

namespace kroton {

/// The type of an element. A boolean is stored as one byte that holds 0 or 1.
enum class DType : std::uint8_t { boolean, i32, i64, f32, f64 };

inline constexpr DType boolean = DType::boolean;
inline constexpr DType i32 = DType::i32;
inline constexpr DType i64 = DType::i64;
inline constexpr DType f32 = DType::f32;
inline constexpr DType f64 = DType::f64;

/// The C++ types that are elements of an Array.
template <class T>
concept Element =
    std::same_as<T, bool> || std::same_as<T, std::int32_t> || std::same_as<T, std::int64_t> ||
    std::same_as<T, float> || std::same_as<T, double>;

namespace detail {

template <Element T>
constexpr DType dtype_for() {
  if constexpr (std::same_as<T, bool>) {
    return DType::boolean;
  } else if constexpr (std::same_as<T, std::int32_t>) {
    return DType::i32;
  } else if constexpr (std::same_as<T, std::int64_t>) {
    return DType::i64;
  } else if constexpr (std::same_as<T, float>) {
    return DType::f32;
  } else {
    return DType::f64;
  }
}

}  // namespace detail

/// The dtype that stores a C++ type; ill-formed for a type that no dtype stores.
template <Element T>
inline constexpr DType dtype_of = detail::dtype_for<T>();

/// Bytes per element.
constexpr std::int64_t size_of(DType dtype) {
  switch (dtype) {
    case DType::boolean:
      return 1;
    case DType::i32:
    case DType::f32:
      return 4;
    case DType::i64:
    case DType::f64:
      return 8;
  }
  return 0;
}

/// "boolean", "i32", "i64", "f32" or "f64".
constexpr std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::boolean:
      return "boolean";
    case DType::i32:
      return "i32";
    case DType::i64:
      return "i64";
    case DType::f32:
      return "f32";
    case DType::f64:
      return "f64";
  }
  return "?";
}

/// Whether the dtype is f32 or f64.
constexpr bool is_float(DType dtype) { return dtype == DType::f32 || dtype == DType::f64; }

/// Whether the dtype is i32 or i64; a boolean is not an integer.
constexpr bool is_integer(DType dtype) { return dtype == DType::i32 || dtype == DType::i64; }

}  // namespace kroton
