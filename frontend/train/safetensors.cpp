#include "frontend/train/safetensors.h"

#include <kroton/checkpoint.h>
#include <kroton/error.h>

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

#include "frontend/train/json_header.h"

namespace kroton::files {

namespace {

constexpr std::uint64_t length_bytes = 8;
// That of the format's own implementation.
constexpr std::uint64_t longest_header = 100'000'000;
constexpr const char* metadata_name = "__metadata__";

struct DTypeName {
  std::string_view name;
  Stored stored;
};
constexpr DTypeName dtype_names[] = {
    {"BOOL", {Encoding::boolean, 1}},         {"I8", {Encoding::signed_integer, 1}},
    {"I16", {Encoding::signed_integer, 2}},   {"I32", {Encoding::signed_integer, 4}},
    {"I64", {Encoding::signed_integer, 8}},   {"U8", {Encoding::unsigned_integer, 1}},
    {"U16", {Encoding::unsigned_integer, 2}}, {"U32", {Encoding::unsigned_integer, 4}},
    {"U64", {Encoding::unsigned_integer, 8}}, {"F16", {Encoding::floating, 2}},
    {"F32", {Encoding::floating, 4}},         {"F64", {Encoding::floating, 8}},
    {"BF16", {Encoding::bfloat, 2}}};

std::string_view name_in_file(DType dtype) {
  const Stored stored = stored_as(dtype);
  const auto* found = std::ranges::find_if(dtype_names, [&](const DTypeName& known) {
    return known.stored.encoding == stored.encoding && known.stored.bytes == stored.bytes;
  });
  return found->name;
}

// Reads {"dtype": ..., "shape": [...], "data_offsets": [begin, end]}.
StoredTensor read_tensor(JsonReader& json, const std::string& name) {
  StoredTensor tensor{};
  json.set_context("tensor " + shown(name) + ": ");
  bool has_dtype = false, has_shape = false, has_offsets = false;
  const std::size_t start = json.position();
  const auto once = [&](bool& seen, const std::string& key, std::size_t at) {
    if (seen) json.fail(at, "two fields " + key);
    seen = true;
  };
  json.object("'{'", [&](const std::string& key, std::size_t at) {
    if (key == "dtype") {
      once(has_dtype, key, at);
      const std::size_t place = json.position();
      const std::string dtype = json.string("a dtype in quotes");
      const auto* found = std::ranges::find(dtype_names, dtype, &DTypeName::name);
      if (found == std::end(dtype_names)) {
        json.fail(place, "the dtype " + shown(dtype) + " is none that can be read");
      }
      tensor.stored = found->stored;
      tensor.dtype = *read_as(tensor.stored);
    } else if (key == "shape") {
      once(has_shape, key, at);
      json.list("a shape, '['", [&] {
        const std::size_t place = json.position();
        const std::uint64_t extent = json.whole_number("an extent, a whole number");
        if (tensor.shape.rank() == Shape::max_rank) {
          json.fail(place, "more than " + std::to_string(Shape::max_rank) + " axes");
        }
        tensor.shape.push_back(static_cast<std::int64_t>(extent));
      });
    } else if (key == "data_offsets") {
      once(has_offsets, key, at);
      json.expect('[', "two offsets, '['");
      tensor.begin = json.whole_number("an offset, a whole number");
      json.expect(',', "',' and a second offset");
      tensor.end = json.whole_number("an offset, a whole number");
      json.expect(']', "']' after two offsets");
    } else {
      json.fail(at, "the format has no field " + shown(key));
    }
  });
  for (const auto& [has, key] : {std::pair(has_dtype, "dtype"), std::pair(has_shape, "shape"),
                                 std::pair(has_offsets, "data_offsets")}) {
    if (!has) json.fail(start, std::string("the field ") + key + " is missing");
  }
  const auto bytes = byte_count(tensor.shape, tensor.stored.bytes);
  if (!bytes) {
    json.fail(start, "more elements than 63 bits count: " + to_string(tensor.shape));
  }
  if (tensor.end < tensor.begin || tensor.end - tensor.begin != *bytes) {
    json.fail(start, "its shape " + to_string(tensor.shape) + " takes " + std::to_string(*bytes) +
                         " bytes, its offsets are " + std::to_string(tensor.begin) + " and " +
                         std::to_string(tensor.end));
  }
  json.set_context("");
  return tensor;
}

}  // namespace

Safetensors::Safetensors(const std::filesystem::path& path) : file_(path) {
  std::array<std::byte, length_bytes> first{};
  file_.read(0, first, "length of the header");
  std::uint64_t length = 0;
  for (std::size_t k = 0; k < first.size(); ++k) {
    length |= std::to_integer<std::uint64_t>(first[k]) << 8 * k;
  }
  const std::uint64_t room = file_.size() - length_bytes;
  if (length > std::min(room, longest_header)) {
    file_.fail(0,
               "a header of " + std::to_string(length) + " bytes is announced; " +
                   (length > longest_header ? "the format allows " + std::to_string(longest_header)
                                            : "the file has " + std::to_string(room) + " more"));
  }
  std::string header(length, ' ');
  file_.read(length_bytes, std::as_writable_bytes(std::span(header)), "header");
  read_header(header);
  const std::uint64_t data_begin = length_bytes + length;
  for (auto& [name, tensor] : tensors_) {
    // Within 2^63: both are.
    tensor.begin += data_begin;
    tensor.end += data_begin;
  }
  check_places(data_begin);
}

void Safetensors::read_header(std::string_view header) {
  const auto fail = [&](std::size_t position, const std::string& message) {
    file_.fail(length_bytes + position, message);
  };
  if (const std::size_t valid = valid_utf8_prefix(header); valid != header.size()) {
    fail(valid, "the header is not UTF-8");
  }
  JsonReader json(header, fail);
  bool has_metadata = false;
  json.object("'{', which begins the header", [&](const std::string& name, std::size_t at) {
    if (name == metadata_name) {
      if (has_metadata) fail(at, std::string("two fields ") + metadata_name);
      has_metadata = true;
      json.set_context(std::string(metadata_name) + ": ");
      json.object("'{'", [&](const std::string& key, std::size_t place) {
        if (!metadata_.emplace(key, json.string("a text in quotes")).second) {
          json.fail(place, "two texts " + shown(key));
        }
      });
      json.set_context("");
      return;
    }
    StoredTensor tensor = read_tensor(json, name);
    tensor.header_position = length_bytes + at;
    if (!tensors_.emplace(name, tensor).second) fail(at, "two tensors " + shown(name));
  });
  json.expect_end();
}

// Every byte of the data belongs to one tensor.
void Safetensors::check_places(std::uint64_t data_begin) const {
  std::vector<std::pair<const std::string*, const StoredTensor*>> order;
  order.reserve(tensors_.size());
  for (const auto& [name, tensor] : tensors_) order.emplace_back(&name, &tensor);
  std::ranges::sort(order, {}, [](const auto& entry) {
    return std::tuple(entry.second->begin, entry.second->end);
  });
  std::uint64_t end = data_begin;
  for (const auto& [name, tensor] : order) {
    const std::string owner = "tensor " + shown(*name) + ": ";
    const std::string place = "its data begins at byte " + std::to_string(tensor->begin);
    if (tensor->end > file_.size()) {
      file_.fail(tensor->header_position, owner + "its data ends at byte " +
                                              std::to_string(tensor->end) + ", the file at " +
                                              std::to_string(file_.size()));
    }
    if (tensor->begin < end) {
      file_.fail(
          tensor->header_position,
          owner + place + ", inside that of another tensor, which ends at " + std::to_string(end));
    }
    if (tensor->begin > end) {
      file_.fail(end, "no tensor has the bytes up to " + std::to_string(tensor->begin) +
                          ", where the data of " + shown(*name) + " begins");
    }
    end = tensor->end;
  }
  if (end != file_.size()) {
    file_.fail(end,
               "no tensor has the bytes from here to the end, " + std::to_string(file_.size()));
  }
}

Array Safetensors::read(const std::string& name) const {
  const StoredTensor& tensor = tensors_.at(name);
  const std::string owner = "tensor " + shown(name);
  std::uint64_t at = tensor.begin;
  const auto next = [&](std::span<std::byte> bytes) {
    file_.read(at, bytes, owner);
    at += bytes.size();
  };
  return read_elements(
      tensor.stored, tensor.shape, next, [&](std::int64_t element, const std::string& message) {
        file_.fail(tensor.begin + static_cast<std::uint64_t>(element) *
                                      static_cast<std::uint64_t>(tensor.stored.bytes),
                   owner + ": " + message);
      });
}

void write_safetensors(const std::string& owner, const std::filesystem::path& path,
                       std::vector<TensorToWrite> tensors,
                       const std::map<std::string, std::string>& metadata) {
  const auto check_text = [&](const std::string& text, const std::string& what) {
    if (valid_utf8_prefix(text) != text.size()) {
      throw ValueError(owner + ": " + what + " " + shown(text) + " is not UTF-8");
    }
  };
  // Wide elements first, so that all lie at multiples of their size.
  std::ranges::sort(tensors, [](const TensorToWrite& a, const TensorToWrite& b) {
    const std::int64_t x = size_of(a.dtype), y = size_of(b.dtype);
    return x != y ? x > y : a.name < b.name;
  });
  std::string header = "{";
  const auto begin_field = [&](const std::string& name) {
    header += (header.size() == 1 ? "" : ",") + json_string(name) + ":";
  };
  if (!metadata.empty()) {
    begin_field(metadata_name);
    const char* separator = "{";
    for (const auto& [key, text] : metadata) {
      check_text(key, "the metadata's key");
      check_text(text, "the metadata's text");
      header += separator + json_string(key) + ":" + json_string(text);
      separator = ",";
    }
    header += "}";
  }
  std::uint64_t place = 0;
  for (const TensorToWrite& tensor : tensors) {
    check_text(tensor.name, "the name");
    if (tensor.name == metadata_name) {
      throw ValueError(owner + ": a tensor cannot be named " + metadata_name);
    }
    begin_field(tensor.name);
    header += "{\"dtype\":\"" + std::string(name_in_file(tensor.dtype)) + "\",\"shape\":[";
    for (int axis = 0; axis < tensor.shape.rank(); ++axis) {
      header += (axis == 0 ? "" : ",") + std::to_string(tensor.shape[axis]);
    }
    const auto bytes =
        static_cast<std::uint64_t>(tensor.shape.element_count() * size_of(tensor.dtype));
    header +=
        "],\"data_offsets\":[" + std::to_string(place) + "," + std::to_string(place + bytes) + "]}";
    place += bytes;
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  if (header.size() > longest_header) {
    throw ValueError(owner + ": the header would have " + std::to_string(header.size()) +
                     " bytes, the format allows " + std::to_string(longest_header));
  }
  OutputFile file(path);
  std::string length;
  for (std::size_t k = 0; k < length_bytes; ++k) {
    length += static_cast<char>(header.size() >> 8 * k & 0xff);
  }
  file.write(length + header);
  for (const TensorToWrite& tensor : tensors) {
    const Array value = tensor.value().contiguous();
    file.write(bytes_of(value));
  }
  file.commit();
}

}  // namespace kroton::files

namespace kroton {

std::map<std::string, Array> load_safetensors(const std::filesystem::path& path) {
  const files::Safetensors file(path);
  std::map<std::string, Array> arrays;
  for (const auto& [name, tensor] : file.tensors()) arrays.emplace(name, file.read(name));
  return arrays;
}

void save_safetensors(const std::filesystem::path& path, const std::map<std::string, Array>& arrays,
                      const std::map<std::string, std::string>& metadata) {
  std::vector<files::TensorToWrite> tensors;
  for (const auto& [name, array] : arrays) {
    files::require_on_host(array, "save_safetensors: " + name);
    tensors.push_back({name, array.dtype(), array.shape(), [&array] { return array; }});
  }
  files::write_safetensors("save_safetensors", path, std::move(tensors), metadata);
}

std::map<std::string, std::string> read_safetensors_metadata(const std::filesystem::path& path) {
  return files::Safetensors(path).metadata();
}

}  // namespace kroton
