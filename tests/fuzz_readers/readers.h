// Readers of files, and files that they read: what random damage starts from.
#pragma once
#include <filesystem>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "tests/tools/damaged_bytes.h"
#include "tests/tools/data_files.h"

namespace fuzz_readers {

using Random = std::mt19937_64;

struct Reader {
  std::string name;
  std::string file;           // its name in the directory of that run
  std::vector<Bytes> inputs;  // sound ones
  // What its format is made of: put into inputs here and there.
  std::vector<std::string> words;
  // Reads the file, in a way that `random` decides where there are several, and throws a
  // std::logic_error where what it has read contradicts itself.
  std::function<void(const std::filesystem::path& path, Random& random)> read;
  bool takes_options = false;  // which the file may contradict: a ValueError is an answer
};

// All of them. `directory` is empty and for the files of all runs: what a reader needs beside its
// own file is there from now on.
std::vector<Reader> readers(const Files& directory);

}  // namespace fuzz_readers
