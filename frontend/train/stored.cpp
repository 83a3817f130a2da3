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

// The lowest `bytes` bytes of a number in the file.
std::uint64_t raw_bits(const std::byte* at, int bytes, bool is_big_endian) {
  std::uint64_t bits = 0;
  for (int k = 0; k < bytes; ++k) {
    const int position = is_big_endian ? bytes - 1 - k : k;
    bits |= std::to_integer<std::uint64_t>(at[position]) << 8 * k;
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
  const Encoding encoding = dtype == bf16 ? Encoding::bfloat : encoding_of(info_of(dtype).kind);
  return {.encoding = encoding, .bytes = info_of(dtype).bytes};
}

std::optional<DType> read_as(const Stored& stored) {
  for (const DTypeInfo& info : dtype_table) {
    const Stored as = stored_as(info.dtype);
    if (as.encoding == stored.encoding && as.bytes == stored.bytes) return info.dtype;
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
  if (stored.bytes == 1 || !stored.is_big_endian) {
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
      const std::uint64_t element =
          raw_bits(chunk.data() + k * static_cast<std::size_t>(stored.bytes), stored.bytes,
                   stored.is_big_endian);
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

void require_on_host(const Array& array, const std::string& what) {
  if (!array.is_on_device()) return;
  throw DeviceError(what + ": the array is on " + to_string(array.device()) +
                    ", files are written from the host: to(kt::cpu()) copies it there");
}

std::span<const std::byte> bytes_of(const Array& row_major) {
  return {static_cast<const std::byte*>(row_major.raw()),
          static_cast<std::size_t>(row_major.nbytes())};
}

}  // namespace kroton::files
