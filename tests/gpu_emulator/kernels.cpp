#include "tests/gpu_emulator/kernels.h"
#include "tests/tools/places.h"
#include "tests/tools/temporary_directory.h"

#include <dlfcn.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <regex>
#include <stdexcept>

namespace gpu_emulator {
namespace {

namespace fs = std::filesystem;

std::atomic<int> compiler_runs = 0;
Watcher* watcher = nullptr;

std::string run_compiler(const std::string& command) {
  std::string output;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (!pipe) throw std::runtime_error("cannot run " + command);
  std::array<char, 4096> part{};
  while (const std::size_t n = fread(part.data(), 1, part.size(), pipe)) {
    output.append(part.data(), n);
  }
  return pclose(pipe) == 0 ? "" : "failed: " + command + "\n" + output;
}

std::vector<std::string> kernel_names(const std::string& source) {
  static const std::regex pattern(
      R"(__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)\s*\()");
  std::vector<std::string> names;
  for (std::sregex_iterator it(source.begin(), source.end(), pattern), end; it != end; ++it) {
    names.push_back((*it)[1]);
  }
  return names;
}

template <class F>
F* symbol(void* handle, const std::string& name) {
  return reinterpret_cast<F*>(dlsym(handle, name.c_str()));
}

Kernels compile(const std::string& source, const std::string& name) {
  static const TemporaryDirectory directory;
  const std::vector<std::string> names = kernel_names(source);
  const std::string base = directory.file("source" + std::to_string(++compiler_runs));
  const fs::path text = base + ".cpp";
  const fs::path object = base + ".so";
  {
    std::ofstream file(text, std::ios::binary);
    file << "#include \"" << places::source_dir() << "/tests/gpu_emulator/shim/cuda.h\"\n"
         << "static_assert(sizeof(emulator::Log) == " << log_bytes << ");\n#line 1 \"" << name
         << ".cu\"\n"
         << source;
    for (const std::string& kernel : names) {
      file << "extern \"C\" int emulated_" << kernel
           << "(const emulator::Launch* launch) { return emulator::run(&" << kernel
           << ", launch); }\nextern \"C\" int64_t parameters_of_" << kernel
           << "(int64_t* sizes) { return emulator::parameters(&" << kernel << ", sizes); }\n";
    }
    if (!file.flush()) throw std::runtime_error("cannot write " + text.string());
  }
  const std::string failure = run_compiler(
      "c++ -std=gnu++17 -O0 -w -fPIC -shared -ffp-contract=off -fno-strict-aliasing -o " +
      object.string() + " " + text.string() + " -lm");
  if (!failure.empty()) throw std::runtime_error(failure + source);
  void* handle = dlopen(object.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) throw std::runtime_error(dlerror());
  Kernels kernels;
  for (const std::string& kernel : names) {
    auto* const parameters = symbol<std::int64_t(std::int64_t*)>(handle, "parameters_of_" + kernel);
    std::vector<std::int64_t> sizes(static_cast<std::size_t>(parameters(nullptr)));
    parameters(sizes.data());
    kernels[kernel] = {kernel, std::move(sizes),
                       symbol<int(const Launch*)>(handle, "emulated_" + kernel)};
  }
  return kernels;
}

void touch(void*, std::int64_t array, int line, bool writes, unsigned thread, std::uint64_t place,
           int bytes) {
  watcher->touch(array, line, writes, thread, place, bytes);
}

void end_block(void*) { watcher->end_block(); }

}  // namespace

Watcher::Watcher() { watcher = this; }
Watcher::~Watcher() { watcher = nullptr; }

Kernels& compiled(const std::string& source, const std::string& name) {
  static std::mutex mutex;
  static std::map<std::string, Kernels> sources;
  const std::lock_guard lock(mutex);
  const auto known = sources.find(source);
  if (known != sources.end()) return known->second;
  return sources.emplace(source, compile(source, name)).first->second;
}

std::string run(const Kernel& kernel, std::int64_t blocks, std::int64_t threads,
                const std::vector<Argument>& arguments, bool together) {
  static std::atomic<std::int64_t> launches = 0;
  std::vector<std::uint64_t> values;
  std::vector<std::int64_t> bytes;
  std::vector<void*> shadows;
  for (const Argument& argument : arguments) {
    values.push_back(argument.value);
    bytes.push_back(argument.bytes);
    shadows.push_back(argument.shadow);
  }
  std::array<char, 1024> message{};
  if (watcher) watcher->begin_kernel(kernel.name, blocks, threads);
  const Launch launch{++launches,
                      blocks,
                      threads,
                      static_cast<std::int64_t>(values.size()),
                      values.data(),
                      bytes.data(),
                      shadows.data(),
                      message.data(),
                      static_cast<std::int64_t>(message.size()),
                      watcher ? touch : nullptr,
                      nullptr,
                      watcher ? end_block : nullptr,
                      together ? 1 : 0};
  if (kernel.entry(&launch) == 0) return "";
  return "kernel " + kernel.name + ": " + message.data();
}

int compilations() { return compiler_runs; }

}  // namespace gpu_emulator
