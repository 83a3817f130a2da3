// Files that are read at any place, and files that are written so that whoever reads them sees the
// old or the new one.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace kroton::files {

// A name out of a file as messages show it: short, in quotes, without control characters.
std::string shown(std::string_view name);

// The number of bytes of the well-formed UTF-8 character at the front of a text that is not empty,
// 0 if there is none.
std::size_t utf8_character(std::string_view text);

// The position of the first byte that is not part of well-formed UTF-8, else the size.
std::size_t valid_utf8_prefix(std::string_view text);

class InputFile {
 public:
  // IoError unless it is a regular file that can be read.
  explicit InputFile(const std::filesystem::path& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  std::uint64_t size() const { return size_; }
  const std::filesystem::path& path() const { return path_; }
  // Fills `bytes` from there. `what` names them in the message if the file ends before.
  void read(std::uint64_t offset, std::span<std::byte> bytes, const std::string& what) const;
  [[noreturn]] void fail(std::uint64_t offset, const std::string& message) const;

 private:
  std::filesystem::path path_;
  std::uint64_t size_ = 0;
  int descriptor_ = -1;
};

// Written under another name; commit() puts it in place. All throw IoError.
class OutputFile {
 public:
  explicit OutputFile(const std::filesystem::path& path);
  // Without commit() nothing is left of it.
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  std::uint64_t written() const { return written_; }
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }
  // Replaces bytes that have been written.
  void overwrite(std::uint64_t offset, std::string_view text);
  void commit();

 private:
  [[noreturn]] void fail(const std::string& what, int error) const;
  // False where another process or thread is writing under that name.
  bool open(const std::filesystem::path& temporary);

  std::filesystem::path path_, temporary_;
  std::uint64_t written_ = 0;
  int descriptor_ = -1;
};

}  // namespace kroton::files
