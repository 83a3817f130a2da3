// Who may include whom. The rules are those of the folders: runtime stands alone, compiler knows
// runtime, frontend knows both, examples know the one public header; LLVM, CUDA and Boost.Graph
// stay where they are used. The compiler's own folders are floors, without cycles. And what depends
// on a dtype is no choice between two of them, which a third would fall through.

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "tests/tools/places.h"

namespace {

namespace fs = std::filesystem;

const fs::path source_dir = places::source_dir();

struct Include {
  int line;
  bool quoted;
  std::string target;
};

std::vector<Include> includes_of(const std::string& text) {
  static const std::regex pattern(R"(^\s*#\s*include\s*([<"])([^>"]+)[>"])");
  std::vector<Include> found;
  std::istringstream lines(text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    std::smatch match;
    if (std::regex_search(line, match, pattern)) {
      found.push_back({number, match[1] == "\"", match[2]});
    }
  }
  return found;
}

bool starts_with_any(std::string_view text, const std::vector<std::string_view>& prefixes) {
  return std::ranges::any_of(prefixes, [&](auto prefix) { return text.starts_with(prefix); });
}

bool is_llvm(std::string_view target) { return starts_with_any(target, {"llvm/", "llvm-c/"}); }

bool is_boost(std::string_view target) { return target.starts_with("boost/"); }

bool is_boost_graph(std::string_view target) { return target.starts_with("boost/graph/"); }

bool is_cuda(std::string_view target) {
  return starts_with_any(
      target, {"cuda", "nvrtc", "nvJitLink", "nvml", "cublas", "cudnn", "cusolver", "curand",
               "cufft", "nccl", "nvtx", "thrust/", "cub/"});
}

// The folder that has the public header <kroton/...>; empty when none has it.
std::string owner_of_public_header(const std::string& target) {
  for (const char* folder : {"runtime", "compiler", "frontend"}) {
    if (fs::exists(source_dir / folder / "include" / target)) return folder;
  }
  return "";
}

// The folders whose headers a file of `folder` may include.
std::vector<std::string_view> allowed_folders(std::string_view folder) {
  if (folder == "runtime") return {"runtime"};
  if (folder == "compiler") return {"runtime", "compiler"};
  return {"runtime", "compiler", "frontend"};
}

// The floors of the compiler, lowest first: a file includes headers of its own folder and of those
// before it. What lies in compiler/ itself is the top.
constexpr std::string_view floors[] = {
    "compiler/base/",   "compiler/dim/",    "compiler/loop/",   "compiler/contraction/",
    "compiler/ir/",     "compiler/ops/",    "compiler/passes/", "compiler/autodiff/",
    "compiler/scan/",   "compiler/fusion/", "compiler/lower/",  "compiler/aot/",
    "compiler/codegen/"};

std::size_t floor_of(std::string_view path) {
  for (std::size_t k = 0; k < std::size(floors); ++k) {
    if (path.starts_with(floors[k])) return k;
  }
  return std::size(floors);
}

// One line for each include of `text`, the contents of `path` (relative to the project), that
// breaks a rule.
std::vector<std::string> violations(const std::string& path, const std::string& text) {
  std::vector<std::string> found;
  const std::string folder = path.substr(0, path.find('/'));
  const bool is_public = path.find("/include/kroton/") != std::string::npos;
  const auto allowed = allowed_folders(folder);
  for (const Include& include : includes_of(text)) {
    const std::string& target = include.target;
    auto check = [&](bool good, const char* rule) {
      if (!good)
        found.push_back(path + ':' + std::to_string(include.line) + ": " + target + ": " + rule);
    };

    check(!is_llvm(target) || path.starts_with("compiler/codegen/llvm/"),
          "LLVM headers only under compiler/codegen/llvm");
    check(!is_cuda(target) || starts_with_any(path, {"compiler/codegen/cuda/", "runtime/cuda"}),
          "CUDA headers only under compiler/codegen/cuda and in runtime's CUDA device");
    check(!is_boost(target) || folder == "compiler", "Boost headers only under compiler");
    check(!is_boost_graph(target) || starts_with_any(path, {"compiler/ir/", "compiler/passes/"}),
          "Boost.Graph headers only under compiler/ir and compiler/passes");
    check(!is_public || !is_boost(target), "public headers include no Boost header");
    check(!is_public || !include.quoted, "public headers include no private header");

    if (folder == "examples") {
      // A C program calls what an example's generator writes, which lies beside it or is generated.
      const bool beside = path.ends_with(".c") && target.find('/') == std::string::npos;
      check(!include.quoted || beside || target == "common/flags.h",
            "examples include of ours only <kroton/kroton.h> and \"common/flags.h\"");
      check(!target.starts_with("kroton/") || target == "kroton/kroton.h",
            "examples include of ours only <kroton/kroton.h> and \"common/flags.h\"");
    } else if (target.starts_with("kroton/")) {
      check(!include.quoted, "public headers are included as <kroton/...>");
      const std::string owner = owner_of_public_header(target);
      check(!owner.empty(), "there is no such public header");
      check(owner.empty() || starts_with_any(owner, allowed), "a folder above this one");
    } else if (include.quoted && starts_with_any(path, {"frontend/train/", "frontend/data/"})) {
      check(starts_with_any(target, {"frontend/train/", "frontend/data/"}),
            "what trains is written on the public headers alone");
    } else if (include.quoted) {
      const std::string owner = target.substr(0, target.find('/'));
      check(std::ranges::find(allowed, owner) != allowed.end(),
            "private headers are included by their path from the project's root, of this folder or"
            " one below it");
      check(owner != "compiler" || floor_of(target) <= floor_of(path), "a floor above this one");
    }
  }
  return found;
}

struct Source {
  std::string path;
  std::string text;
};

std::vector<Source> sources() {
  std::vector<Source> found;
  for (const char* folder : {"runtime", "compiler", "frontend", "examples"}) {
    for (const auto& entry : fs::recursive_directory_iterator(source_dir / folder)) {
      const std::string extension = entry.path().extension().string();
      if (extension != ".h" && extension != ".cpp" && extension != ".c") continue;
      std::ostringstream text;
      text << std::ifstream(entry.path(), std::ios::binary).rdbuf();
      found.push_back({fs::relative(entry.path(), source_dir).generic_string(), text.str()});
    }
  }
  return found;
}

// The choices between two dtypes, and the switches over dtypes that end in a default.
std::vector<std::string> choices_of_two(const std::string& text) {
  static const std::regex pattern(
      R"([=!]=\s*(DType::)?(i32|i64|f32|f64)\s*\?|case DType::\w+:[^{}]*?default:)");
  return {std::sregex_token_iterator(text.begin(), text.end(), pattern), {}};
}

// Reads and writes of an op's numbers by position.
bool reads_by_position(const std::string& text) {
  static const std::regex pattern(R"((\.|->)integers\b(?!\())");  // not random.integers(...)
  return std::regex_search(text, pattern);
}

bool breaks(const std::string& path, const std::string& text) {
  return !violations(path, text).empty();
}

}  // namespace

TEST_CASE("includes: every source keeps the rules") {
  const auto all = sources();
  size_t includes = 0;
  for (const Source& source : all) {
    includes += includes_of(source.text).size();
    for (const std::string& violation : violations(source.path, source.text)) {
      FAIL_CHECK(violation);
    }
  }
  CHECK(all.size() > 20);
  CHECK(includes > 100);
}

TEST_CASE("includes: the one public header exists") {
  CHECK(owner_of_public_header("kroton/kroton.h") == "frontend");
}

TEST_CASE("includes: the rules catch what they forbid") {
  CHECK(breaks("runtime/pool.cpp", "#include \"compiler/ir/graph.h\"\n"));
  CHECK(breaks("runtime/pool.cpp", "#include <kroton/kroton.h>\n"));
  CHECK(breaks("runtime/pool.cpp", "#include \"pool.h\"\n"));
  CHECK(breaks("frontend/train/layers.cpp", "#include \"frontend/function_parts.h\"\n"));
  CHECK_FALSE(breaks("frontend/train/layers.cpp", "#include \"frontend/train/options.h\"\n"));
  CHECK(breaks("runtime/pool.cpp", "int a;\n  #  include <boost/graph/graph_traits.hpp>\n"));
  CHECK(breaks("compiler/ir/graph.cpp", "#include \"frontend/tensor.h\"\n"));
  CHECK(breaks("compiler/ir/graph.cpp", "#include <kroton/kroton.h>\n"));
  CHECK(breaks("compiler/ir/graph.cpp", "#include <kroton/no_such_header.h>\n"));
  CHECK(breaks("compiler/ir/graph.cpp", "#include <llvm/IR/IRBuilder.h>\n"));
  CHECK(breaks("compiler/ir/graph.cpp", "#include \"compiler/ops/records.h\"\n"));
  CHECK(breaks("compiler/ops/scan_op.cpp", "#include \"compiler/scan/scan.h\"\n"));
  CHECK(breaks("compiler/base/c_names.cpp", "#include \"compiler/compile.h\"\n"));
  CHECK(breaks("compiler/lower/plan.cpp", "#include <boost/graph/adjacency_list.hpp>\n"));
  CHECK(breaks("compiler/codegen/llvm/jit.cpp", "#include <cuda.h>\n"));
  CHECK(breaks("frontend/function.cpp", "#include \"llvm/IR/Module.h\"\n"));
  CHECK(breaks("frontend/include/kroton/kroton.h", "#include \"compiler/ir/graph.h\"\n"));
  CHECK(breaks("compiler/include/kroton/type.h", "#include <boost/container/small_vector.hpp>\n"));
  CHECK(breaks("examples/01_gradient.cpp", "#include \"compiler/ir/graph.h\"\n"));
  CHECK(breaks("examples/01_gradient.cpp", "#include <kroton/array.h>\n"));
  CHECK(breaks("examples/05_aot/digits.c", "#include \"runtime/abi.h\"\n"));
}

TEST_CASE("includes: the rules allow what they should") {
  CHECK_FALSE(breaks("runtime/pool.cpp", "#include \"runtime/pool.h\"\n#include <vector>\n"));
  CHECK_FALSE(breaks("compiler/ir/graph.cpp",
                     "#include \"runtime/pool.h\"\n#include <boost/graph/adjacency_list.hpp>\n"));
  CHECK_FALSE(breaks("compiler/scan/scan.cpp", "#include \"compiler/ops/scan_op.h\"\n"));
  CHECK_FALSE(breaks("compiler/compile.cpp", "#include \"compiler/lower/lower.h\"\n"));
  CHECK_FALSE(breaks("frontend/function.cpp", "#include \"compiler/ir/graph.h\"\n"));
  CHECK_FALSE(breaks("compiler/passes/fuse.cpp", "#include <boost/graph/dominator_tree.hpp>\n"));
  CHECK_FALSE(breaks("compiler/codegen/llvm/jit.cpp", "#include <llvm/IR/IRBuilder.h>\n"));
  CHECK_FALSE(breaks("compiler/codegen/cuda/nvrtc.cpp", "#include <nvrtc.h>\n"));
  CHECK_FALSE(breaks("frontend/function.cpp", "#include \"compiler/ir/graph.h\"\n"));
  CHECK_FALSE(
      breaks("examples/01_gradient.cpp", "#include <kroton/kroton.h>\n#include <cstdio>\n"));
}

TEST_CASE("attributes: only an op's own file reads them by position") {
  for (const Source& source : sources()) {
    if (starts_with_any(source.path, {"compiler/ops/", "compiler/ir/"})) continue;
    if (reads_by_position(source.text)) {
      FAIL_CHECK(source.path, ": attributes have names in compiler/ops/attribute_views.h");
    }
  }
  CHECK(reads_by_position("data.attributes.integers[0]"));
  CHECK(reads_by_position("join.integers = {1, 0};"));
  CHECK_FALSE(reads_by_position("of integers."));
  CHECK_FALSE(reads_by_position("random.integers({25}, 0, 2)"));
}

TEST_CASE("dtypes: no source chooses between two of them") {
  for (const Source& source : sources()) {
    for (const std::string& choice : choices_of_two(source.text)) {
      FAIL_CHECK(source.path, ": ", choice, ": ask the table of dtypes, or list all in a switch");
    }
  }
  CHECK(choices_of_two("x.dtype() == DType::f32 ? a : b").size() == 1);
  CHECK(choices_of_two("dtype != i64\n    ? a : b").size() == 1);
  CHECK(choices_of_two("case DType::f32:\n  return 1;\ndefault:\n  return 2;").size() == 1);
  CHECK(choices_of_two("dtype == DType::boolean ? a : b").empty());
  CHECK(choices_of_two("case DType::f32:\n  return 1;\n}\nswitch (op) {\ndefault:").empty());
}
