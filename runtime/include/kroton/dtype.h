// No #pragma once: in a precompiled header GCC does not know a file with continued lines again.
#ifndef KROTON_DTYPE_H
#define KROTON_DTYPE_H

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>

#include <kroton/float16.h>

namespace kroton {

/// What kind of values a dtype has.
enum class DTypeKind : std::uint8_t { boolean, signed_integer, unsigned_integer, floating };

// The one list (docs/add_a_dtype.md), in the order of the numbers in runtime/abi.h: name, C++ type
// of an element, kind, the dtype in which arithmetic is done, type in C, type in CUDA C++.
// clang-format off
#define KROTON_DTYPES(dtype)                                                         \
  dtype(boolean, bool, boolean, boolean, "uint8_t", "bool")                          \
  dtype(i32, std::int32_t, signed_integer, i32, "int32_t", "int")                    \
  dtype(i64, std::int64_t, signed_integer, i64, "int64_t", "long long")              \
  dtype(f32, float, floating, f32, "float", "float")                                 \
  dtype(f64, double, floating, f64, "double", "double")                              \
  dtype(i8, std::int8_t, signed_integer, i8, "int8_t", "signed char")                \
  dtype(i16, std::int16_t, signed_integer, i16, "int16_t", "short")                  \
  dtype(u8, std::uint8_t, unsigned_integer, u8, "uint8_t", "unsigned char")          \
  dtype(u16, std::uint16_t, unsigned_integer, u16, "uint16_t", "unsigned short")     \
  dtype(u32, std::uint32_t, unsigned_integer, u32, "uint32_t", "unsigned")           \
  dtype(u64, std::uint64_t, unsigned_integer, u64, "uint64_t", "unsigned long long") \
  dtype(f16, float16, floating, f32, "uint16_t", "unsigned short")                   \
  dtype(bf16, bfloat16, floating, f32, "uint16_t", "unsigned short")
// clang-format on
/// The type of an element. A boolean is stored as one byte that holds 0 or 1.
enum class DType : std::uint8_t {
#define KROTON_DTYPE(name, ...) name,
  KROTON_DTYPES(KROTON_DTYPE)
#undef KROTON_DTYPE
};

#define KROTON_DTYPE(name, ...) inline constexpr DType name = DType::name;
KROTON_DTYPES(KROTON_DTYPE)
#undef KROTON_DTYPE

/// The C++ types that are elements of an Array.
#define KROTON_DTYPE(name, type, ...) || std::same_as<T, type>
template <class T>
concept Element = false KROTON_DTYPES(KROTON_DTYPE);
#undef KROTON_DTYPE

/// What is known of a dtype.
struct DTypeInfo {
  DType dtype;
  std::string_view name;  ///< "f32"
  DTypeKind kind;
  int bytes;          ///< of an element
  int digits;         ///< bits of a value without its sign; of a floating one, of its mantissa
  DType computed_in;  ///< what arithmetic is done in, before the result is rounded to this one
  std::string_view c_type;     ///< of an element in C: "float"
  std::string_view cuda_type;  ///< of a value in CUDA C++: "float"
};

/// All dtypes, in the order of DType.
inline constexpr DTypeInfo dtype_table[] = {
#define KROTON_DTYPE(name, type, kind, computed_in, c_type, cuda_type)                           \
  {DType::name,        #name,  DTypeKind::kind, sizeof(type), std::numeric_limits<type>::digits, \
   DType::computed_in, c_type, cuda_type},
    KROTON_DTYPES(KROTON_DTYPE)
#undef KROTON_DTYPE
};

constexpr const DTypeInfo& info_of(DType dtype) {
  return dtype_table[static_cast<std::size_t>(dtype)];
}

namespace detail {

template <Element T>
constexpr DType dtype_for() {
#define KROTON_DTYPE(name, type, ...) \
  if (std::same_as<T, type>) return DType::name;
  KROTON_DTYPES(KROTON_DTYPE)
#undef KROTON_DTYPE
}

}  // namespace detail

/// The dtype that stores a C++ type; ill-formed for a type that no dtype stores.
template <Element T>
inline constexpr DType dtype_of = detail::dtype_for<T>();

/// "boolean", "i32", "bf16", ...
constexpr std::string_view name_of(DType dtype) { return info_of(dtype).name; }

/// Bytes per element.
constexpr std::int64_t size_of(DType dtype) { return info_of(dtype).bytes; }

/// Bits per element; a boolean takes a whole byte.
constexpr int bits_of(DType dtype) { return info_of(dtype).bytes * 8; }

constexpr bool is_float(DType dtype) { return info_of(dtype).kind == DTypeKind::floating; }

/// Whether values of the dtype are computed in another one, to which they are converted, and whose
/// results are rounded: f16 and bf16.
constexpr bool is_only_stored(DType dtype) { return info_of(dtype).computed_in != dtype; }

/// Whether it is an integer that may be negative.
constexpr bool is_signed(DType dtype) { return info_of(dtype).kind == DTypeKind::signed_integer; }

/// Whether it is an integer, signed or not; a boolean is none.
constexpr bool is_integer(DType dtype) {
  return is_signed(dtype) || info_of(dtype).kind == DTypeKind::unsigned_integer;
}

/// The highest value of an integer or boolean dtype.
constexpr std::uint64_t highest_of(DType dtype) {
  return std::numeric_limits<std::uint64_t>::max() >> (64 - info_of(dtype).digits);
}

/// The lowest value of an integer or boolean dtype.
constexpr std::int64_t lowest_of(DType dtype) {
  return is_signed(dtype) ? -static_cast<std::int64_t>(highest_of(dtype)) - 1 : 0;
}

/// Whether an integer or boolean dtype has the value.
constexpr bool holds(DType dtype, std::int64_t value) {
  return value < 0 ? lowest_of(dtype) <= value
                   : static_cast<std::uint64_t>(value) <= highest_of(dtype);
}

/// Whether a conversion keeps every value.
constexpr bool keeps_every_value(DType from, DType to) {
  if (from == to) return true;
  if (is_float(from)) return is_float(to) && size_of(from) < size_of(to);
  const bool keeps_sign = !is_signed(from) || is_signed(to) || is_float(to);
  return keeps_sign && info_of(from).digits <= info_of(to).digits;
}

/// The signed integer that has the bits of an element of the dtype.
constexpr DType integer_of_size(DType dtype) {
  return std::find_if(std::begin(dtype_table), std::end(dtype_table),
                      [&](const DTypeInfo& info) {
                        return is_signed(info.dtype) && info.bytes == info_of(dtype).bytes;
                      })
      ->dtype;
}

namespace detail {

struct KindAndBits {
  DTypeKind kind;
  int bits;
  bool operator==(const KindAndBits&) const = default;
};

// What values of both are converted to: of one kind the wider; floating rather than integers, these
// rather than booleans; a signed integer with room for the unsigned one, but of 64 bits at most.
constexpr KindAndBits joined(KindAndBits a, KindAndBits b) {
  if (a.kind > b.kind) std::swap(a, b);
  if (a.kind == b.kind) return {a.kind, std::max(a.bits, b.bits)};
  if (a.kind == DTypeKind::signed_integer && b.kind == DTypeKind::unsigned_integer) {
    return {a.kind, std::max(a.bits, std::min(2 * b.bits, 64))};
  }
  return b;
}

constexpr KindAndBits kind_and_bits(DType dtype) { return {info_of(dtype).kind, bits_of(dtype)}; }

}  // namespace detail

/// The dtype that values of the two are converted to where they meet.
constexpr DType promote(DType a, DType b) {
  if (a == b) return a;
  const detail::KindAndBits first = detail::kind_and_bits(a), second = detail::kind_and_bits(b);
  if (first == second) return promote(info_of(a).computed_in, info_of(b).computed_in);
  const detail::KindAndBits least = detail::joined(first, second);
  // One of the two rather than another one of its kind and bits: f16 and bf16 are that.
  if (least == first || least == second) return least == first ? a : b;
  const DTypeInfo* result = nullptr;
  for (const DTypeInfo& info : dtype_table) {
    const bool fits = info.kind == least.kind && bits_of(info.dtype) >= least.bits;
    if (fits && (result == nullptr || info.bytes < result->bytes)) result = &info;
  }
  return result->dtype;
}

}  // namespace kroton

#endif
