#include <kroton/error.h>
#include <kroton/npy.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include "frontend/train/files.h"
#include "frontend/train/npy_stream.h"
#include "frontend/train/stored.h"

namespace kroton::files {

namespace {

constexpr std::string_view magic = "\x93NUMPY";
// Arrays of elements that can be read have headers of a few hundred bytes.
constexpr std::uint64_t longest_npy_header = 1 << 20;
constexpr std::uint64_t alignment = 64;  // of the elements

struct Letter {
  char letter;
  Encoding encoding;
};
constexpr Letter letters[] = {{'b', Encoding::boolean},
                              {'i', Encoding::signed_integer},
                              {'u', Encoding::unsigned_integer},
                              {'f', Encoding::floating},
                              // NumPy does not know bf16. Of the package that adds it there are two
                              // bytes left.
                              {'V', Encoding::bfloat}};

struct Header {
  Stored stored;
  bool is_fortran_order = false;
  Shape shape;
};

// The header is a dictionary as Python writes it.
class HeaderReader {
 public:
  HeaderReader(std::string_view text, const ByteStream& stream, std::uint64_t begin)
      : text_(text), stream_(stream), begin_(begin) {}

  Header read() {
    expect('{');
    while (!next_is('}')) {
      read_field();
      if (!next_is(',')) break;
      ++at_;
    }
    expect('}');
    skip_spaces();
    if (at_ != text_.size()) fail_expected("the end of the header");
    if (!has_descr_ || !has_order_ || !has_shape_) {
      fail(0, "the header lacks descr, fortran_order or shape");
    }
    return header_;
  }

 private:
  [[noreturn]] void fail(std::size_t position, const std::string& message) const {
    stream_.fail(begin_ + position, message);
  }
  [[noreturn]] void fail_expected(const std::string& what) const {
    fail(at_, "expected " + what + ", got " +
                  (at_ == text_.size() ? "the end of the header" : shown(text_.substr(at_, 1))));
  }
  void skip_spaces() { at_ = std::min(text_.find_first_not_of(" \t\n", at_), text_.size()); }
  bool next_is(char token) {
    skip_spaces();
    return at_ < text_.size() && text_[at_] == token;
  }
  void expect(char token) {
    if (!next_is(token)) fail_expected(std::string("'") + token + "'");
    ++at_;
  }

  std::string string(const std::string& what) {
    const char quote = next_is('"') ? '"' : '\'';
    if (!next_is(quote)) fail_expected(what + " in quotes");
    const std::size_t start = ++at_;
    at_ = std::min(text_.find_first_of("'\"\\\n", start), text_.size());
    if (at_ == text_.size() || text_[at_] != quote) fail_expected("the end of " + what);
    return std::string(text_.substr(start, at_++ - start));
  }

  void read_field() {
    skip_spaces();
    const std::size_t start = at_;
    const std::string key = string("a name");
    expect(':');
    skip_spaces();
    const auto once = [&](bool& seen) {
      if (seen) fail(start, "two fields " + key);
      seen = true;
    };
    if (key == "descr") {
      once(has_descr_);
      read_descr();
    } else if (key == "fortran_order") {
      once(has_order_);
      read_order();
    } else if (key == "shape") {
      once(has_shape_);
      read_shape();
    } else {
      fail(start, "the format has no field " + shown(key));
    }
  }

  void read_descr() {
    const std::size_t start = at_;
    if (next_is('[')) fail(start, "the elements are structures");
    const std::string descr = string("a dtype");
    const char order = descr.empty() ? ' ' : descr[0];
    const auto* letter =
        std::ranges::find(letters, descr.size() == 3 ? descr[1] : ' ', &Letter::letter);
    const int bytes = descr.size() == 3 ? descr[2] - '0' : 0;
    const bool has_order = order == '<' || order == '>' || order == '=' || order == '|';
    if (letter != std::end(letters) && has_order &&
        (order != '|' || bytes == 1 || letter->encoding == Encoding::bfloat)) {
      header_.stored = {letter->encoding, bytes, order == '>'};
      if (read_as(header_.stored)) return;
    }
    fail(start, "the dtype " + shown(descr) + " is none that can be read");
  }

  void read_order() {
    for (const auto& [word, value] : {std::pair("False", false), std::pair("True", true)}) {
      if (!text_.substr(at_).starts_with(word)) continue;
      header_.is_fortran_order = value;
      at_ += std::string_view(word).size();
      return;
    }
    fail_expected("True or False");
  }

  void read_shape() {
    const std::size_t shape_start = at_;
    expect('(');
    bool has_comma = false;
    while (!next_is(')')) {
      const std::size_t start = at_;
      const std::int64_t extent = whole_number();
      if (header_.shape.rank() == Shape::max_rank) {
        fail(start, "more than " + std::to_string(Shape::max_rank) + " axes");
      }
      header_.shape.push_back(extent);
      if (!next_is(',')) break;
      ++at_;
      has_comma = true;
    }
    expect(')');
    // In Python (3) is a number.
    if (header_.shape.rank() == 1 && !has_comma) fail(shape_start, "the shape is not a tuple");
  }

  std::int64_t whole_number() {
    const std::size_t start = at_;
    std::int64_t value = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      if (__builtin_mul_overflow(value, 10, &value) ||
          __builtin_add_overflow(value, text_[at_] - '0', &value)) {
        fail(start, "an extent that 63 bits do not hold");
      }
    }
    if (at_ == start) fail_expected("an extent, a whole number");
    if (at_ < text_.size() && text_[at_] == 'L') ++at_;  // as Python 2 writes it
    return value;
  }

  std::string_view text_;
  const ByteStream& stream_;
  std::uint64_t begin_;
  std::size_t at_ = 0;
  Header header_;
  bool has_descr_ = false, has_order_ = false, has_shape_ = false;
};

class FileStream : public ByteStream {
 public:
  explicit FileStream(const std::filesystem::path& path) : file_(path) {}
  std::uint64_t size() const override { return file_.size(); }
  void read(std::span<std::byte> bytes, const std::string& what) override {
    file_.read(at_, bytes, what);
    at_ += bytes.size();
  }
  std::string place(std::uint64_t offset) const override {
    return file_.path().string() + ": at byte " + std::to_string(offset);
  }

 private:
  InputFile file_;
  std::uint64_t at_ = 0;
};

}  // namespace

Array read_npy(ByteStream& stream) {
  std::array<char, 8> first{};
  stream.read(std::as_writable_bytes(std::span(first)), "magic string and version");
  if (std::string_view(first.data(), magic.size()) != magic) {
    stream.fail(0, "not the magic string of a .npy file");
  }
  const int major = first[6], minor = first[7];
  if (major < 1 || major > 3 || minor != 0) {
    stream.fail(6, "version " + std::to_string(major) + "." + std::to_string(minor) +
                       " of the format; 1.0, 2.0 and 3.0 can be read");
  }
  std::array<std::byte, 4> length_bytes{};
  const std::span<std::byte> length_part = std::span(length_bytes).first(major == 1 ? 2 : 4);
  stream.read(length_part, "length of the header");
  std::uint64_t length = 0;
  for (std::size_t k = 0; k < length_part.size(); ++k) {
    length |= std::to_integer<std::uint64_t>(length_part[k]) << 8 * k;
  }
  const std::uint64_t begin = first.size() + length_part.size();
  const std::uint64_t room = stream.size() - std::min(begin, stream.size());
  if (length > std::min(room, longest_npy_header)) {
    stream.fail(first.size(), "a header of " + std::to_string(length) +
                                  " bytes is announced; there are " + std::to_string(room) +
                                  " more, and at most " + std::to_string(longest_npy_header) +
                                  " are read");
  }
  std::string text(length, ' ');
  stream.read(std::as_writable_bytes(std::span(text)), "header");
  const Header header = HeaderReader(text, stream, begin).read();
  const std::uint64_t data = begin + length;
  const auto bytes = byte_count(header.shape, header.stored.bytes);
  if (!bytes) {
    stream.fail(begin, "more elements than 63 bits count: " + to_string(header.shape));
  }
  if (stream.size() - data != *bytes) {
    stream.fail(data, "the shape " + to_string(header.shape) + " takes " + std::to_string(*bytes) +
                          " bytes, there are " + std::to_string(stream.size() - data));
  }
  Shape as_stored = header.shape;
  if (header.is_fortran_order) {
    std::vector<std::int64_t> extents(header.shape.begin(), header.shape.end());
    std::ranges::reverse(extents);
    as_stored = Shape(extents);
  }
  const Array elements = read_elements(
      header.stored, as_stored, [&](std::span<std::byte> next) { stream.read(next, "elements"); },
      [&](std::int64_t element, const std::string& message) {
        stream.fail(data + static_cast<std::uint64_t>(element) *
                               static_cast<std::uint64_t>(header.stored.bytes),
                    message);
      });
  return header.is_fortran_order ? from_fortran_order(elements) : elements;
}

std::string npy_header(const Array& array) {
  const Stored stored = stored_as(array.dtype());
  const auto* letter = std::ranges::find(letters, stored.encoding, &Letter::encoding);
  std::string header = "{'descr': '";
  header += stored.bytes == 1 ? '|' : '<';
  header += letter->letter + std::to_string(stored.bytes);
  header += "', 'fortran_order': False, 'shape': " + to_string(array.shape()) + ", }";
  const std::uint64_t before = magic.size() + 4;
  const std::uint64_t whole = (before + header.size() + 1 + alignment - 1) / alignment * alignment;
  header.resize(whole - before - 1, ' ');
  header += '\n';
  std::string result(magic);
  result += {1, 0, static_cast<char>(header.size() & 0xff), static_cast<char>(header.size() >> 8)};
  return result + header;
}

}  // namespace kroton::files

namespace kroton {

Array load_npy(const std::filesystem::path& path) {
  files::FileStream stream(path);
  return files::read_npy(stream);
}

void save_npy(const std::filesystem::path& path, const Array& array) {
  files::require_on_host(array, "save_npy");
  const Array value = array.contiguous();
  files::OutputFile file(path);
  file.write(files::npy_header(value));
  file.write(files::bytes_of(value));
  file.commit();
}

}  // namespace kroton
