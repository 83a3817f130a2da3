// A file of a data set, gzipped or not, whose errors name the byte.
#pragma once
#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace kroton::data {

// Read front to back through zlib, which passes a file that is not gzipped through unchanged.
class DataFile {
 public:
  // IoError unless it can be read.
  explicit DataFile(const std::filesystem::path& path);

  // The byte of the (decompressed) data that is read next.
  std::int64_t offset() const { return offset_; }
  // Of the file, not of the data.
  std::int64_t file_size() const { return file_size_; }
  bool is_gzipped() const { return gzipped_; }

  // Reports `message` for the byte `offset`.
  [[noreturn]] void fail(std::int64_t offset, const std::string& message) const;

  // Fills `bytes`, or reports where the data ends; `what` names what is being read.
  void read(std::span<std::uint8_t> bytes, const std::string& what);
  // Fills the front of `bytes` and returns how much of it: less than all at the end of the data.
  std::size_t read_up_to(std::span<std::uint8_t> bytes);
  // What is left, to the end of the file.
  std::string read_rest();
  // Reports data, or a gzip stream without its checksum, after `what`, which was read last.
  void expect_end(const std::string& what);

 private:
  std::size_t read_some(std::span<std::uint8_t> bytes);

  struct Close {
    void operator()(gzFile file) const { gzclose(file); }
  };

  std::filesystem::path path_;
  std::unique_ptr<gzFile_s, Close> file_;
  std::int64_t file_size_ = 0;
  std::int64_t offset_ = 0;
  bool gzipped_ = false;
  bool broken_off_ = false;  // the gzip stream ends before its checksum
};

// The one of `names`, each also with .gz, that is in the directory.
std::optional<std::filesystem::path> find_if_there(const std::filesystem::path& directory,
                                                   const std::vector<std::string>& names);
// The same; IoError listing them, and then saying `why`, if none is.
std::filesystem::path find_file(const std::filesystem::path& directory,
                                const std::vector<std::string>& names, const std::string& why = "");

// Where labels stand in a file, a byte each, and what they may be.
struct LabelPlaces {
  std::int64_t start = 0;   // the byte of the first one
  std::int64_t stride = 1;  // from one to the next
  int largest = 9;
  const char* name = "label";
};
// IoError for a label above the largest.
void check_labels(const DataFile& file, std::span<const std::uint8_t> labels,
                  const LabelPlaces& places);

}  // namespace kroton::data
