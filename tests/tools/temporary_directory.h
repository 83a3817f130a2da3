// A directory of a test's own.
#pragma once
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

// Empty at first, and removed with all that is in it at the end of its life.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    path_ = (std::filesystem::temp_directory_path() / "kroton-test-XXXXXX").string();
    if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("no directory " + path_);
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }
  // The path of what has that name in it, or will have.
  std::string file(const std::string& name) const { return path_ + "/" + name; }

  // The names of what is in it, sorted: all, or those that begin and end so.
  std::vector<std::string> names(const std::string& prefix = "",
                                 const std::string& suffix = "") const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with(prefix) && name.ends_with(suffix)) found.push_back(name);
    }
    std::ranges::sort(found);
    return found;
  }

 private:
  std::string path_;
};
