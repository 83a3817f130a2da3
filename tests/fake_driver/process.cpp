#include "tests/fake_driver/process.h"

#include <dlfcn.h>
#include <doctest/doctest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace fake_driver {
namespace {

namespace fs = std::filesystem;

// What the environment tells the test's own process.
constexpr const char* variable = "KROTON_FAKE_DRIVER";

// A word of the shell's.
std::string quoted(const std::string& word) {
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

// Doctest separates filters by commas.
std::string filter_of(const std::string& test) {
  std::string text;
  for (const char c : test) text += c == ',' ? std::string("\\,") : std::string(1, c);
  return text;
}

}  // namespace

std::string failures_of(const std::vector<std::string>& options, const std::string& environment) {
  const fs::path program = fs::read_symlink("/proc/self/exe");
  const std::string libraries = (program.parent_path() / "fake_driver").string();
  std::string command =
      "env LD_LIBRARY_PATH=" + quoted(libraries) + " " + environment + " " + quoted(program);
  for (const std::string& option : options) command += " " + quoted(option);
  command += " 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe);
  std::string output;
  std::array<char, 4096> part{};
  while (const std::size_t n = fread(part.data(), 1, part.size(), pipe)) {
    output.append(part.data(), n);
  }
  const bool failed = pclose(pipe) != 0 || output.find(" 0 passed") != std::string::npos;
  return failed ? command + "\n" + output : "";
}

Process::Process(const std::string& settings) {
  if (!std::getenv(variable)) {
    const std::string environment = variable + ("=" + quoted(settings));
    const std::string output = failures_of(
        {"-tc=" + filter_of(doctest::getContextOptions()->currentTest->m_name)}, environment);
    CHECK_MESSAGE(output.empty(), output);
    return;
  }
  control_ = function<decltype(fake_driver_control)>("fake_driver_control")();
}

void* Process::symbol(const char* name) {
  void* const library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  REQUIRE_MESSAGE(library != nullptr, dlerror());
  void* const found = dlsym(library, name);
  REQUIRE_MESSAGE(found != nullptr, name);
  return found;
}

Process::~Process() {
  if (control_) CHECK(control_->violations() == "");
}

}  // namespace fake_driver
