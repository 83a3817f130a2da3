#include "frontend/train/stored.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <vector>

namespace kroton::files {

namespace {

static_assert(std::endian::native == std::endian::little,
              "elements are read and written as they lie in memory");

Encoding encoding_of(DTypeKind kind) {
  switch (kind) {
    case DTypeKind::boolean:
      return Encoding::boolean;
    case DTypeKind::signed_integer:
      return Encoding::signed_integer;
    case DTypeKind::unsigned_integer:
      return Encoding::unsigned_integer;
    case DTypeKind::floating:
      return Encoding::floating;
  }
  return Encoding::floating;
}

// The dtype whose elements lie in memory just so.
std::optional<DType> same_in_memory(const Stored& stored) {
  for (const DTypeInfo& info : dtype_table) {
    if (encoding_of(info.kind) == stored.encoding && info.bytes == stored.bytes) return info.dtype;
  }
  return {};
}

float from_half(std::uint32_t bits) {
  const std::uint32_t exponent = bits >> 10 & 0x1f, fraction = bits & 0x3ff;
  const std::uint32_t sign = (bits & 0x8000) << 16;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(fraction) * 0x1p-24F;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  const std::uint32_t wide = exponent == 0x1f ? 0xffU : exponent + 112;
  return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

// The lowest `bytes` bytes of a number in the file.
std::uint64_t raw_bits(const std::byte* at, int bytes, bool is_big_endian) {
  std::uint64_t bits = 0;
  for (int k = 0; k < bytes; ++k) {
    const int position = is_big_endian ? bytes - 1 - k : k;
    bits |= std::to_integer<std::uint64_t>(at[position]) << 8 * k;
  }
  return bits;
}

std::uint64_t extended_sign(std::uint64_t bits, int bytes) {
  const int unused = 64 - 8 * bytes;
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(bits << unused) >> unused);
}

// The bits of the element of the Array, low bytes first. `bits` are those of the file.
std::uint64_t converted(const Stored& stored, std::uint64_t bits) {
  if (same_in_memory(stored)) return bits;
  switch (stored.encoding) {
    case Encoding::signed_integer:
      return extended_sign(bits, stored.bytes);
    case Encoding::floating:
      return std::bit_cast<std::uint32_t>(from_half(static_cast<std::uint32_t>(bits)));
    case Encoding::bfloat:
      return bits << 16;
    case Encoding::boolean:
    case Encoding::unsigned_integer:
      return bits;
  }
  return bits;
}

void check_booleans(std::span<const std::byte> bytes, const FailElement& fail) {
  const auto bad = std::ranges::find_if(bytes, [](std::byte b) { return b > std::byte{1}; });
  if (bad == bytes.end()) return;
  fail(bad - bytes.begin(),
       "a boolean is 0 or 1, not " + std::to_string(std::to_integer<int>(*bad)));
}

}  // namespace

Stored stored_as(DType dtype) {
  return {.encoding = encoding_of(info_of(dtype).kind), .bytes = info_of(dtype).bytes};
}

std::optional<DType> read_as(const Stored& stored) {
  if (const auto same = same_in_memory(stored)) return same;
  const int bytes = stored.bytes;
  switch (stored.encoding) {
    case Encoding::signed_integer:
      if (bytes == 1 || bytes == 2) return i32;
      break;
    case Encoding::unsigned_integer:
      if (bytes == 1 || bytes == 2) return i32;
      if (bytes == 4 || bytes == 8) return i64;
      break;
    case Encoding::floating:
    case Encoding::bfloat:
      if (bytes == 2) return f32;
      break;
    case Encoding::boolean:
      break;
  }
  return {};
}

std::optional<std::uint64_t> byte_count(const Shape& shape, int bytes_per_element) {
  std::int64_t count = bytes_per_element;
  bool is_empty = false;
  for (const std::int64_t extent : shape) {
    is_empty = is_empty || extent == 0;
    if (extent != 0 && __builtin_mul_overflow(count, extent, &count)) return {};
  }
  return is_empty ? 0 : static_cast<std::uint64_t>(count);
}

Array read_elements(const Stored& stored, const Shape& shape, const NextBytes& next,
                    const FailElement& fail) {
  const DType dtype = *read_as(stored);
  Array result = Array::empty(shape, dtype);
  const std::span<std::byte> all{static_cast<std::byte*>(result.raw()),
                                 static_cast<std::size_t>(result.nbytes())};
  if (same_in_memory(stored) && (stored.bytes == 1 || !stored.is_big_endian)) {
    next(all);
    if (stored.encoding == Encoding::boolean) check_booleans(all, fail);
    return result;
  }
  constexpr std::int64_t most = 1 << 14;
  std::vector<std::byte> chunk(static_cast<std::size_t>(std::min(most, result.size())) *
                               static_cast<std::size_t>(stored.bytes));
  const auto width = static_cast<std::size_t>(size_of(dtype));
  for (std::int64_t start = 0; start < result.size(); start += most) {
    const auto count = static_cast<std::size_t>(std::min(most, result.size() - start));
    next(std::span(chunk).first(count * static_cast<std::size_t>(stored.bytes)));
    std::byte* to = all.data() + static_cast<std::size_t>(start) * width;
    for (std::size_t k = 0; k < count; ++k) {
      const std::uint64_t bits = raw_bits(chunk.data() + k * static_cast<std::size_t>(stored.bytes),
                                          stored.bytes, stored.is_big_endian);
      if (stored.encoding == Encoding::unsigned_integer && bits > highest_of(dtype)) {
        fail(start + static_cast<std::int64_t>(k),
             std::to_string(bits) + " is above the highest " + std::string(name_of(dtype)));
      }
      const std::uint64_t element = converted(stored, bits);
      std::memcpy(to + k * width, &element, width);
    }
  }
  return result;
}

Array from_fortran_order(const Array& reversed) {
  Shape shape, strides;
  std::int64_t stride = 1;
  for (int axis = reversed.rank() - 1; axis >= 0; --axis) {
    shape.push_back(reversed.shape()[axis]);
    strides.push_back(stride);
    stride *= std::max<std::int64_t>(reversed.shape()[axis], 1);
  }
  switch (reversed.dtype()) {
#define KROTON_DTYPE(name, type, ...) \
  case DType::name:                   \
    return Array::view(reversed.data<type>().data(), shape, strides).copy();
    KROTON_DTYPES(KROTON_DTYPE)
#undef KROTON_DTYPE
  }
  return reversed;
}

std::span<const std::byte> bytes_of(const Array& row_major) {
  return {static_cast<const std::byte*>(row_major.raw()),
          static_cast<std::size_t>(row_major.nbytes())};
}

}  // namespace kroton::files
