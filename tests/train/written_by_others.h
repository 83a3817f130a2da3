// The files of array_files.txt.
#pragma once
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>

#include "tests/tools/data_files.h"
#include "tests/tools/places.h"

namespace array_files {

inline const std::map<std::string, Bytes>& written_by_others() {
  static const std::map<std::string, Bytes> files = [] {
    std::map<std::string, Bytes> read;
    std::ifstream stream(places::source_dir() + "/tests/train/array_files.txt");
    for (std::string name, text; stream >> name >> text;) {
      Bytes& bytes = read[name];
      for (std::size_t k = 0; k < text.size(); k += 2) {
        bytes.push_back(static_cast<std::uint8_t>(std::stoi(text.substr(k, 2), nullptr, 16)));
      }
    }
    if (read.empty()) throw std::runtime_error("array_files.txt has no files");
    return read;
  }();
  return files;
}

}  // namespace array_files
