// Files of data sets, good and bad.
#pragma once
#include <zlib.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <kroton/error.h>

#include "tests/tools/temporary_directory.h"

using Bytes = std::vector<std::uint8_t>;

// A directory of files to read.
class Files {
 public:
  [[nodiscard]] std::filesystem::path path() const { return directory_.path(); }

  std::filesystem::path write(const std::string& name, const Bytes& bytes) const {
    std::ofstream file(path() / name, std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    return path() / name;
  }

  std::filesystem::path write_gzipped(const std::string& name, const Bytes& bytes) const {
    gzFile file = gzopen((path() / name).c_str(), "wb");
    gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
    gzclose(file);
    return path() / name;
  }

 private:
  TemporaryDirectory directory_;
};

inline Bytes contents(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The message of the IoError that `function` throws.
template <class Function>
std::string error_of(Function function) {
  try {
    (void)function();
  } catch (const kroton::IoError& error) {
    return error.what();
  }
  return "no error";
}
