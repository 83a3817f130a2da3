#include <kroton/checkpoint.h>
#include <kroton/error.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "frontend/train/options.h"
#include "frontend/train/safetensors.h"

namespace kroton {

namespace {

using optim::checks::place_of;

std::string described(DType dtype, const Shape& shape) {
  return std::string(name_of(dtype)) + ' ' + to_string(shape);
}

Shape shape_of(const Shared& variable) {
  Shape shape;
  for (const Dim& size : variable.shape()) shape.push_back(size.constant());
  return shape;
}

// The variables by their names.
std::map<std::string, Shared> by_name(const std::string& owner, const std::vector<Shared>& state,
                                      const SourceLine& at) {
  std::map<std::string, Shared> variables;
  for (const Shared& variable : state) {
    const auto [entry, is_new] = variables.emplace(variable.name(), variable);
    if (!is_new && entry->second.state() != variable.state()) {
      throw ValueError(owner + ": two variables are named " + files::shown(variable.name()) + ":" +
                       place_of(entry->second.line()) + " and" + place_of(variable.line()) +
                       ", in the list" + place_of(at));
    }
  }
  return variables;
}

Array transposed(const Array& matrix) {
  const Array from = matrix.contiguous();
  const std::int64_t rows = from.shape()[0], cols = from.shape()[1];
  Array to = Array::empty({cols, rows}, from.dtype());
  const auto size = static_cast<std::size_t>(size_of(from.dtype()));
  const auto* source = static_cast<const std::byte*>(from.raw());
  auto* target = static_cast<std::byte*>(to.raw());
  // In squares, whose lines of memory stay in a cache.
  constexpr std::int64_t side = 32;
  for (std::int64_t first_row = 0; first_row < rows; first_row += side) {
    for (std::int64_t first_col = 0; first_col < cols; first_col += side) {
      for (std::int64_t i = first_row; i < std::min(rows, first_row + side); ++i) {
        for (std::int64_t k = first_col; k < std::min(cols, first_col + side); ++k) {
          std::memcpy(target + static_cast<std::size_t>(k * rows + i) * size,
                      source + static_cast<std::size_t>(i * cols + k) * size, size);
        }
      }
    }
  }
  return to;
}

// Of what a message lists.
constexpr std::size_t most_listed = 20;

// "\n  a: not in the file", ...
std::string listed(const std::vector<std::string>& faults) {
  std::string text;
  for (std::size_t k = 0; k < std::min(faults.size(), most_listed); ++k) {
    text += "\n  " + faults[k];
  }
  if (faults.size() > most_listed) {
    text += "\n  and " + std::to_string(faults.size() - most_listed) + " more";
  }
  return text;
}

}  // namespace

void save_checkpoint(const std::filesystem::path& path, const std::vector<Shared>& state,
                     const std::map<std::string, std::string>& metadata,
                     const std::source_location& at) {
  std::vector<files::TensorToWrite> tensors;
  for (const auto& [name, variable] :
       by_name("save_checkpoint", state, {at.file_name(), at.line()})) {
    tensors.push_back({name, variable.dtype(), shape_of(variable),
                       [shared = variable] { return shared.get_value(); }});
  }
  files::write_safetensors("save_checkpoint", path, std::move(tensors), metadata);
}

std::map<std::string, std::string> load_checkpoint(const std::filesystem::path& path,
                                                   const std::vector<Shared>& state,
                                                   const LoadOptions& options,
                                                   const std::source_location& at) {
  const SourceLine line{at.file_name(), at.line()};
  const std::map<std::string, Shared> variables = by_name("load_checkpoint", state, line);
  for (const auto& [name, in_file] : options.names) {
    if (!variables.contains(name)) {
      throw ValueError("load_checkpoint: names: no variable is named " + files::shown(name) +
                       place_of(line));
    }
  }
  for (const std::string& name : options.transposed) {
    const auto variable = variables.find(name);
    if (variable == variables.end() || variable->second.rank() != 2) {
      throw ValueError("load_checkpoint: transposed: no matrix is named " + files::shown(name) +
                       place_of(line));
    }
  }
  const files::Safetensors file(path);
  std::vector<std::string> faults;
  struct Found {
    Shared variable;
    std::string name;
    bool is_transposed;
  };
  std::vector<Found> found;
  std::set<std::string> taken;
  for (const auto& [name, variable] : variables) {
    const auto renamed = options.names.find(name);
    const std::string in_file = renamed == options.names.end() ? name : renamed->second;
    const std::string both =
        files::shown(name) + (in_file == name ? "" : " (" + files::shown(in_file) + ")");
    const auto tensor = file.tensors().find(in_file);
    if (tensor == file.tensors().end()) {
      if (!options.allow_missing) faults.push_back(both + ": not in the file");
      continue;
    }
    taken.insert(in_file);
    Shape shape = shape_of(variable);
    const bool is_transposed = options.transposed.contains(name);
    if (is_transposed) shape = {shape[1], shape[0]};
    const files::StoredTensor& stored = tensor->second;
    if (stored.dtype != variable.dtype() || stored.shape != shape) {
      faults.push_back(both + ": the variable" + (is_transposed ? ", transposed," : "") + " is " +
                       described(variable.dtype(), shape) + ", in the file it is " +
                       described(stored.dtype, stored.shape));
      continue;
    }
    found.push_back({variable, in_file, is_transposed});
  }
  if (!options.allow_extra) {
    for (const auto& [name, tensor] : file.tensors()) {
      if (!taken.contains(name)) {
        faults.push_back(files::shown(name) + ": no variable takes it");
      }
    }
  }
  if (!faults.empty()) {
    throw IoError(path.string() + ": does not fit the variables" + place_of(line) + ":" +
                  listed(faults));
  }
  // All are read before the first one is set.
  std::vector<Array> values;
  values.reserve(found.size());
  for (const Found& each : found) {
    const Array value = file.read(each.name);
    values.push_back(each.is_transposed ? transposed(value) : value);
  }
  for (std::size_t k = 0; k < found.size(); ++k) found[k].variable.set_value(values[k]);
  return file.metadata();
}

}  // namespace kroton
