#include "tests/aot/aot_tools.h"

#include <dlfcn.h>
#include <doctest/doctest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <sstream>

namespace aot_tools {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE_MESSAGE(file.good(), path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  REQUIRE_MESSAGE(file.flush().good(), path);
}

Outcome run(const std::string& command) {
  FILE* const pipe = popen((command + " 2>&1").c_str(), "r");
  REQUIRE(pipe != nullptr);
  Outcome outcome;
  std::array<char, 4096> buffer{};
  while (const std::size_t count = fread(buffer.data(), 1, buffer.size(), pipe)) {
    outcome.output.append(buffer.data(), count);
  }
  const int status = pclose(pipe);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

std::string run_well(const std::string& command) {
  const Outcome outcome = run(command);
  REQUIRE_MESSAGE(outcome.status == 0, command, "\n", outcome.output);
  return outcome.output;
}

Linked::Linked(const std::string& object) {
  const std::string library = object + ".so";
  run_well(places::c_compiler() + " -shared -o " + library + " " + object + " -lm");
  library_ = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  REQUIRE_MESSAGE(library_ != nullptr, dlerror());
}

Linked::~Linked() { dlclose(library_); }

bool Linked::has(const std::string& name) const { return dlsym(library_, name.c_str()) != nullptr; }

void* Linked::symbol(const std::string& name) const {
  void* const found = dlsym(library_, name.c_str());
  REQUIRE_MESSAGE(found != nullptr, name);
  return found;
}

Block::Block(std::size_t bytes) : memory_(bytes + 64), size_(bytes) {
  const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
  data_ = memory_.data() + (64 - address % 64) % 64;
}

}  // namespace aot_tools
