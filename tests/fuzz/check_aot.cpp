// A program as an object file: a wrapper in C, written after the header, calls it.
#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include "tests/fuzz/check.h"
#include "tests/tools/temporary_directory.h"

namespace fuzz {
namespace {

std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Parameter {
  std::string type, name;
};

// The parameters of a function that the header declares.
std::vector<Parameter> parameters_of(const std::string& header, const std::string& function) {
  const std::size_t at = header.find("\n" + function + "(");
  const std::size_t open = header.find('(', at) + 1;
  std::string list = header.substr(open, header.find(");", open) - open);
  std::vector<Parameter> result;
  std::istringstream parts(list);
  for (std::string part; std::getline(parts, part, ',');) {
    const std::size_t last = part.find_last_of(" *\n");
    if (last == std::string::npos) continue;  // void
    const std::size_t first = part.find_first_not_of(" \n");
    result.push_back({part.substr(first, last + 1 - first), part.substr(last + 1)});
  }
  return result;
}

// "x3.shape[0]" as the header calls it.
std::string c_name(std::string name) {
  std::erase(name, ']');
  for (char& c : name) {
    if (c == '.' || c == '[') c = '_';
  }
  return name;
}

struct Sides {
  std::vector<kt::Array> inputs, outputs, states;
};

// What stands in the wrapper for a parameter of the function.
class Wrapper {
 public:
  Wrapper(const Program& program, const Built& built) : program_(program), built_(built) {}

  std::string text(const std::string& header) const {
    std::string result = "#include <stdlib.h>\n#include \"fuzzed.h\"\n";
    result += "int fuzz_call(void** inputs, void** states, void** outputs) {\n";
    result += "  size_t bytes = fuzzed_arena_bytes(" +
              list(parameters_of(header, "size_t fuzzed_arena_bytes")) + ");\n";
    result += "  void* memory = aligned_alloc(64, bytes / 64 * 64 + 128);\n";
    if (header.find("fuzzed_state;") != std::string::npos) {
      result += "  fuzzed_state state;\n";
      for (std::size_t k = 0; k < built_.shared.size(); ++k) {
        if (!std::regex_search(header, std::regex("\\* " + built_.shared[k].name() + ";"))) {
          continue;
        }
        result += "  state." + built_.shared[k].name() + " = states[" + std::to_string(k) + "];\n";
      }
    }
    result += "  int code = fuzzed(" + list(parameters_of(header, "int fuzzed")) + ");\n";
    return result + "  free(memory);\n  return code;\n}\n";
  }

 private:
  std::string list(const std::vector<Parameter>& parameters) const {
    std::string text;
    for (const Parameter& p : parameters) text += (text.empty() ? "" : ", ") + argument(p);
    return text;
  }

  std::string argument(const Parameter& p) const {
    for (std::size_t k = 0; k < built_.inputs.size(); ++k) {
      if (built_.inputs[k].name() != p.name) continue;
      const std::string pointer = "inputs[" + std::to_string(k) + "]";
      const bool number = p.type.find('*') == std::string::npos;
      return number ? "*(" + p.type + "*)" + pointer : pointer;
    }
    if (p.name == "state") return "&state";
    if (p.name == "arena") return "memory";
    if (p.name == "arena_bytes") return "bytes";
    if (p.name.starts_with("output")) {
      const std::string number = p.name.substr(6);
      return "outputs[" + (number.empty() ? "0" : number) + "]";
    }
    // Other sizes of the program, of variables that were dropped, may be called the same.
    for (const kt::Tensor& input : built_.inputs) {
      for (const kt::Dim& dim : input.shape()) {
        const kt::DimAtomRef variable = dim.as_variable();
        if (!variable || c_name(variable->name) != p.name) continue;
        for (const Size& size : program_.sizes) {
          if (size.dim == dim) return std::to_string(size.first);
        }
      }
    }
    throw kt::InternalError("fuzz: the header has a parameter " + p.name);
  }

  const Program& program_;
  const Built& built_;
};

}  // namespace

std::vector<kt::Array> call_ahead_of_time(const Program& program, const Built& built) {
  const TemporaryDirectory folder;
  kt::aot::write(built.inputs, built.outputs,
                 {.updates = built.updates,
                  .name = "fuzzed",
                  .directory = folder.file(""),
                  .on_unused_input = kt::UnusedInput::ignore});
  std::ofstream(folder.file("call.c"))
      << Wrapper(program, built).text(text_of(folder.file("fuzzed.h")));
  const std::string command = "cc -w -shared -fPIC -o " + folder.file("all.so") + " " +
                              folder.file("call.c") + " " + folder.file("fuzzed.o") + " -lm";
  if (std::system(command.c_str()) != 0) throw kt::InternalError("fuzz: failed: " + command);
  void* const library = dlopen(folder.file("all.so").c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) throw kt::InternalError(std::string("fuzz: ") + dlerror());
  auto* const call = reinterpret_cast<int (*)(void**, void**, void**)>(dlsym(library, "fuzz_call"));

  std::vector<kt::Array> inputs = built.arguments(program, false), states, outputs;
  for (const kt::Shared& shared : built.shared) states.push_back(shared.get_value());
  kt::SizeBindings sizes;
  for (const Size& size : program.sizes) sizes[size.dim.as_variable()->identity] = size.first;
  for (const kt::Tensor& output : built.outputs) {
    std::vector<std::int64_t> shape;
    for (const kt::Dim& dim : output.shape()) shape.push_back(kt::evaluate(dim, sizes));
    outputs.push_back(kt::Array::zeros(kt::Shape(std::span(shape)), output.dtype()));
  }
  const auto pointers = [](std::vector<kt::Array>& arrays) {
    std::vector<void*> result;
    for (kt::Array& array : arrays) result.push_back(const_cast<void*>(array.raw()));
    return result;
  };
  const int code = call(pointers(inputs).data(), pointers(states).data(), pointers(outputs).data());
  if (code != 0) {
    auto* const message = reinterpret_cast<const char* (*)(int)>(dlsym(library, "fuzzed_error"));
    const std::string text = message(code);
    dlclose(library);
    throw kt::ValueError(text);
  }
  dlclose(library);
  for (const kt::Update& update : built.updates) {
    for (std::size_t k = 0; k < built.shared.size(); ++k) {
      if (same(built.shared[k], update.target)) outputs.push_back(states[k]);
    }
  }
  return outputs;
}

}  // namespace fuzz
