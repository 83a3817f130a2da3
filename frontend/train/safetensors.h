// Parts of a safetensors file: its header, single tensors.
#pragma once
#include <kroton/array.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "frontend/train/files.h"
#include "frontend/train/stored.h"

namespace kroton::files {

struct StoredTensor {
  Stored stored;
  DType dtype;  // of the Array
  Shape shape;
  std::uint64_t begin, end;       // in the file
  std::uint64_t header_position;  // of the name, in the file
};

class Safetensors {
 public:
  explicit Safetensors(const std::filesystem::path& path);
  const std::map<std::string, StoredTensor>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  Array read(const std::string& name) const;

 private:
  void read_header(std::string_view header);
  void check_places(std::uint64_t data_begin) const;

  InputFile file_;
  std::map<std::string, StoredTensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

// What is to be written: its value is asked for when its turn has come.
struct TensorToWrite {
  std::string name;
  DType dtype;
  Shape shape;
  std::function<Array()> value;
};

// `owner` is the user's function, for messages.
void write_safetensors(const std::string& owner, const std::filesystem::path& path,
                       std::vector<TensorToWrite> tensors,
                       const std::map<std::string, std::string>& metadata);

}  // namespace kroton::files
