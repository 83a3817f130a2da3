// One array in the .npy format, in a file of its own or in an archive.
#pragma once
#include <kroton/array.h>
#include <kroton/error.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace kroton::files {

// Bytes that are read one after the other.
class ByteStream {
 public:
  virtual ~ByteStream() = default;
  virtual std::uint64_t size() const = 0;
  // Fills `bytes` with those that come next; `what` names them in messages.
  virtual void read(std::span<std::byte> bytes, const std::string& what) = 0;
  // How messages call it: "weights.npy: at byte 128".
  virtual std::string place(std::uint64_t offset) const = 0;

  [[noreturn]] void fail(std::uint64_t offset, const std::string& message) const {
    throw IoError(place(offset) + ": " + message);
  }
};

Array read_npy(ByteStream& stream);

// What comes before the elements of a row-major array.
std::string npy_header(const Array& array);

}  // namespace kroton::files
