// How elements lie in files, and what they are as elements of an Array.
#pragma once
#include <kroton/array.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

namespace kroton::files {

enum class Encoding : std::uint8_t {
  boolean,
  signed_integer,
  unsigned_integer,
  floating,  // IEEE 754
  bfloat     // the upper half of an f32
};

struct Stored {
  Encoding encoding = Encoding::floating;
  int bytes = 4;  // of an element
  bool is_big_endian = false;
};

Stored stored_as(DType dtype);
// The dtype whose elements lie in memory just so; nothing where there is none.
std::optional<DType> read_as(const Stored& stored);

// The number of bytes of so many elements; nothing where 63 bits do not count the elements, leaving
// out axes of size 0, or their bytes.
std::optional<std::uint64_t> byte_count(const Shape& shape, int bytes_per_element);

// Fills a span with the bytes that come next.
using NextBytes = std::function<void(std::span<std::byte>)>;
// Throws for an element, counted in the order of the file.
using FailElement = std::function<void(std::int64_t, const std::string&)>;

// An array of that shape, of the elements that come next; `stored` can be read.
Array read_elements(const Stored& stored, const Shape& shape, const NextBytes& next,
                    const FailElement& fail);

// What was read as row-major with its axes in reverse, as the row-major array that it is in
// Fortran's order.
Array from_fortran_order(const Array& reversed);

// DeviceError that begins with `what` if the array is on a device: files are written from the host.
void require_on_host(const Array& array, const std::string& what);

std::span<const std::byte> bytes_of(const Array& row_major);

}  // namespace kroton::files
