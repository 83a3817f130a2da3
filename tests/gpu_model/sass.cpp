#include "tests/gpu_model/sass.h"

#include <kroton/error.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <regex>
#include <set>
#include <sstream>
#include <stdexcept>

#include "compiler/codegen/cuda/prelude.h"
#include "runtime/cuda/nvrtc.h"
#include "tests/tools/temporary_directory.h"

namespace gpu_model {
namespace {

using namespace kroton;  // NOLINT: tests
namespace fs = std::filesystem;

// The tables hold for this version: another one allocates registers in another way.
constexpr const char* nvrtc_version = "13.0";

std::string cuobjdump() {
  std::vector<std::string> folders;
  const auto add = [&](const char* variable, const std::string& part) {
    const char* value = std::getenv(variable);
    std::istringstream list(value ? value : "");
    for (std::string folder; std::getline(list, folder, ':');) folders.push_back(folder + part);
  };
  add("KROTON_CUDA_TOOLS", "");
  add("PATH", "");
  add("CUDA_HOME", "/bin");
  folders.emplace_back("/usr/local/cuda/bin");
  for (const std::string& folder : folders) {
    if (fs::exists(folder + "/cuobjdump")) return folder + "/cuobjdump";
  }
  return "";
}

std::string output_of(const std::string& command) {
  std::string output;
  FILE* pipe = popen(command.c_str(), "r");
  if (!pipe) throw std::runtime_error("cannot run " + command);
  std::array<char, 4096> part{};
  while (const std::size_t n = fread(part.data(), 1, part.size(), pipe)) {
    output.append(part.data(), n);
  }
  if (pclose(pipe) != 0) throw std::runtime_error("failed: " + command + "\n" + output);
  return output;
}

struct Instruction {
  std::int64_t address = 0;
  bool conditional = false;
  std::string name;  // "LDG.E.64"
  std::string operands;
};

std::vector<Instruction> instructions_of(const std::string& text) {
  static const std::regex pattern(
      R"(/\*([0-9a-f]{4,})\*/\s+(@!?U?P\w+\s+)?([A-Z][\w.]*)\s*([^;]*);)");
  std::vector<Instruction> list;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    if (!std::regex_search(line, match, pattern)) continue;
    list.push_back({std::stoll(match[1], nullptr, 16), match[2].matched, match[3], match[4]});
  }
  return list;
}

bool is_named(const Instruction& i, const std::string& name) {
  return i.name == name || i.name.starts_with(name + ".");
}

int bytes_of(const Instruction& i) {
  for (const auto& [part, bytes] :
       {std::pair{".128", 16}, {".64", 8}, {".U16", 2}, {".S16", 2}, {".U8", 1}, {".S8", 1}}) {
    if (i.name.find(part) != std::string::npos) return bytes;
  }
  return 4;
}

// Where a branch or a call goes.
std::optional<std::int64_t> target_of(const Instruction& i, const char* name = "BRA") {
  static const std::regex pattern(R"((?:^|[\s,])(0x[0-9a-f]+)\s*$)");
  std::smatch match;
  if (!is_named(i, name) || !std::regex_search(i.operands, match, pattern)) return std::nullopt;
  return std::stoll(match[1], nullptr, 16);
}

// The vector registers an operand list names; a load of 128 bits writes four.
std::set<int> registers_in(const std::string& operands) {
  static const std::regex pattern(R"(\bR(\d+)(\.64)?)");
  std::set<int> found;
  for (std::sregex_iterator it(operands.begin(), operands.end(), pattern), end; it != end; ++it) {
    found.insert(std::stoi((*it)[1]));
    if ((*it)[2].matched) found.insert(std::stoi((*it)[1]) + 1);
  }
  return found;
}

// The most global loads under way before an instruction waits for one of them.
int most_in_flight(const std::vector<Instruction>& list) {
  std::vector<std::set<int>> waiting;
  std::size_t most = 0;
  for (const Instruction& i : list) {
    const std::string::size_type comma = i.operands.find(',');
    const bool loads = is_named(i, "LDG");
    const std::set<int> used =
        registers_in(loads && comma != std::string::npos ? i.operands.substr(comma) : i.operands);
    const bool needs = std::any_of(waiting.begin(), waiting.end(), [&](const std::set<int>& one) {
      return std::any_of(one.begin(), one.end(), [&](int r) { return used.contains(r); });
    });
    // Behind a branch back, a barrier or a return all is waited for, as good as.
    if (needs || is_named(i, "BAR") || (is_named(i, "EXIT") && !i.conditional)) waiting.clear();
    if (const auto target = target_of(i); target && *target <= i.address) waiting.clear();
    if (!loads) continue;
    std::set<int> written = registers_in(i.operands.substr(0, comma));
    if (!written.empty()) {
      for (int k = 1; k < bytes_of(i) / 4; ++k) written.insert(*written.begin() + k);
    }
    waiting.push_back(written);
    most = std::max(most, waiting.size());
  }
  return static_cast<int>(most);
}

constexpr std::int64_t next_but_one = 0x20;

// What a processor of a generation has.
struct Processor {
  int warps, blocks, shared_kib;
};

Processor processor_of(int capability) {
  if (capability < 80) return {32, 16, 64};
  if (capability == 80) return {64, 32, 164};
  if (capability < 90) return {48, 24, 100};
  return {64, 32, 228};
}

}  // namespace

int resident_warps(int capability, int threads, int registers, int shared_bytes) {
  constexpr int file = 65536, unit = 256, reserved = 1024;
  const Processor has = processor_of(capability);
  const int warps = (threads + 31) / 32;
  const int per_warp = (std::max(registers, 1) * 32 + unit - 1) / unit * unit;
  int blocks = std::min(has.blocks, has.warps / warps);
  blocks = std::min(blocks, file / per_warp / warps);
  const int shared = shared_bytes + (capability < 80 ? 0 : reserved);
  blocks = std::min(blocks, has.shared_kib * 1024 / std::max(shared, 1));
  return blocks * warps;
}

Code facts_of(const std::string& text) {
  const std::vector<Instruction> list = instructions_of(text);
  Code code;
  code.loads_in_flight = most_in_flight(list);
  std::vector<std::pair<std::int64_t, std::int64_t>> loops;
  for (const Instruction& i : list) {
    const auto target = target_of(i);
    // A branch to itself is the end of the text.
    if (target && *target < i.address) loops.emplace_back(*target, i.address);
    if (is_named(i, "LDL") || is_named(i, "STL")) ++code.spills;
    code.unit_products += is_named(i, "HMMA");
    code.unit_loads += is_named(i, "LDSM");
    code.copies += is_named(i, "LDGSTS");
    if (is_named(i, "LDG")) code.load_bytes = std::max(code.load_bytes, bytes_of(i));
    if (is_named(i, "STG")) code.store_bytes = std::max(code.store_bytes, bytes_of(i));
    if (is_named(i, "LDS")) code.shared_load_bytes = std::max(code.shared_load_bytes, bytes_of(i));
  }
  for (const Instruction& i : list) {
    const bool is_inside = std::any_of(loops.begin(), loops.end(), [&](const auto& loop) {
      return loop.first <= i.address && i.address <= loop.second;
    });
    if (!is_inside) continue;
    code.spills_in_loops += is_named(i, "LDL") || is_named(i, "STL");
    // One to the next instruction but one is how some generations leave a loop.
    const auto target = target_of(i, "CALL");
    code.calls_in_loops += target && (*target < i.address || *target > i.address + next_but_one);
  }
  for (const auto& loop : loops) {
    const bool innermost = std::none_of(loops.begin(), loops.end(), [&](const auto& other) {
      return other != loop && loop.first <= other.first && other.second <= loop.second;
    });
    const auto inside = [&](const Instruction& i) {
      return loop.first <= i.address && i.address <= loop.second;
    };
    if (!innermost) continue;
    code.loop_instructions = std::max(
        code.loop_instructions, static_cast<int>(std::count_if(list.begin(), list.end(), inside)));
    code.spills_in_inner_loops +=
        static_cast<int>(std::count_if(list.begin(), list.end(), [&](const Instruction& i) {
          return inside(i) && (is_named(i, "LDL") || is_named(i, "STL"));
        }));
  }
  return code;
}

std::string what_sass_lacks() {
  try {
    const std::string& version = nvidia::Nvrtc::get().version();
    if (version != nvrtc_version) {
      return "the tables are those of NVRTC " + std::string(nvrtc_version) + ", here is " + version;
    }
  } catch (const DeviceError& error) {
    return error.what();
  }
  if (!cuobjdump().empty()) return "";
  return "there is no cuobjdump (in CUDA's bin folder, or pip install nvidia-cuda-cuobjdump "
         "nvidia-cuda-nvdisasm; KROTON_CUDA_TOOLS says where)";
}

std::vector<Code> compiled(const std::vector<codegen::CudaProgram>& programs, int capability) {
  // One text for all, since the compiler takes long to begin; the names of kernels are made
  // distinct.
  std::string source(codegen::cuda_prelude);
  std::map<std::string, Code> codes;
  std::vector<std::string> order;
  for (std::size_t k = 0; k < programs.size(); ++k) {
    const std::string& text = programs[k].source;
    std::string names;
    for (const codegen::CudaKernel& kernel : programs[k].kernels) {
      const std::string name = "p" + std::to_string(k) + "_" + kernel.name;
      source += "#define " + kernel.name + " " + name + "\n";
      names += "#undef " + kernel.name + "\n";
      codes[name].name = kernel.name;
      codes[name].threads = kernel.threads;
      order.push_back(name);
    }
    source += text.substr(text.find(codegen::cuda_prelude) + codegen::cuda_prelude.size()) + names;
  }
  const std::string image = nvidia::Nvrtc::get().compile(source, "model", capability);
  const TemporaryDirectory directory;
  const std::string file = directory.file("model.cubin");
  std::ofstream(file, std::ios::binary) << image;

  static const std::regex usage(R"(Function (\w+):\s*\n\s*REG:(\d+) STACK:(\d+) SHARED:(\d+))");
  const std::string resources = output_of(cuobjdump() + " --dump-resource-usage " + file);
  for (std::sregex_iterator it(resources.begin(), resources.end(), usage), end; it != end; ++it) {
    Code& code = codes.at((*it)[1]);
    code.registers = std::stoi((*it)[2]);
    code.stack_bytes = std::stoi((*it)[3]);
    // From the ninth generation on a kilobyte is the system's, and counted with others.
    code.shared_bytes = std::stoi((*it)[4]);
    if (capability >= 90 && code.shared_bytes > 0) code.shared_bytes -= 1024;
  }
  const std::string sass = output_of(cuobjdump() + " -sass " + file);
  const std::string mark = "Function : ";
  for (std::size_t at = sass.find(mark); at != std::string::npos;) {
    const std::size_t name_at = at + mark.size();
    const std::size_t name_end = sass.find_first_of(" \n", name_at);
    const std::size_t next = sass.find(mark, name_at);
    Code& code = codes.at(sass.substr(name_at, name_end - name_at));
    Code facts = facts_of(sass.substr(name_end, next - name_end));
    facts.name = code.name;
    facts.threads = code.threads;
    facts.registers = code.registers;
    facts.stack_bytes = code.stack_bytes;
    facts.shared_bytes = code.shared_bytes;
    facts.warps = resident_warps(capability, code.threads, code.registers, code.shared_bytes);
    code = std::move(facts);
    at = next;
  }
  std::vector<Code> result;
  for (const std::string& name : order) {
    if (codes.at(name).registers == 0) throw std::runtime_error("no code of " + name);
    result.push_back(codes.at(name));
  }
  return result;
}

}  // namespace gpu_model
