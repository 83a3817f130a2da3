// What the tests of the on-disk cache share.
#pragma once
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tests/tools/temporary_directory.h"

namespace cache_test {

// The entries of a cache in that directory.
inline std::vector<std::filesystem::path> entries(const TemporaryDirectory& directory) {
  std::vector<std::filesystem::path> found;
  for (const std::string& name : directory.names("", ".kroton")) {
    found.emplace_back(directory.file(name));
  }
  return found;
}

// An environment variable that is set (or, without a value, not set) until the end of its life.
class Setting {
 public:
  Setting(std::string name, const std::optional<std::string>& value) : name_(std::move(name)) {
    if (const char* old = std::getenv(name_.c_str())) before_ = old;
    set(value);
  }
  ~Setting() { set(before_); }
  Setting(const Setting&) = delete;
  Setting& operator=(const Setting&) = delete;

 private:
  void set(const std::optional<std::string>& value) const {
    value ? ::setenv(name_.c_str(), value->c_str(), 1) : ::unsetenv(name_.c_str());
  }

  std::string name_;
  std::optional<std::string> before_;
};

}  // namespace cache_test
