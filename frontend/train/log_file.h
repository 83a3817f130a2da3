// A file that grows while a training runs.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace kroton::files {

class LogFile {
 public:
  // IoError where it cannot be opened. Without `append` it is empty.
  LogFile(const std::filesystem::path& path, bool append);
  ~LogFile();
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  // Adds to its end; with the system when it returns. IoError where that fails.
  void write(std::string_view text);
  const std::filesystem::path& path() const { return path_; }
  // The first line of what was there, without its end; empty if there was none.
  const std::string& first_line() const { return first_line_; }

 private:
  std::filesystem::path path_;
  std::string first_line_;
  int descriptor_ = -1;
};

// The shortest digits that give the number back: "0.1", "1e-30", "nan", "inf".
std::string digits_of(double value);

}  // namespace kroton::files
