// Runs on a device choose test cases by their name: one that uses a device and is not named so
// would never run on one.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "tests/tools/places.h"

namespace {

namespace fs = std::filesystem;

// The text of each function and test case of a file, up to the next one.
std::vector<std::string> definitions_of(const fs::path& file) {
  static const std::regex begin(R"(^(TEST_CASE|[A-Za-z].*\) \{$|struct |class ).*)");
  std::ifstream in(file);
  std::vector<std::string> found(1);
  for (std::string line; std::getline(in, line);) {
    if (std::regex_match(line, begin)) found.emplace_back();
    if (found.back() == "TEST_CASE(\n") {  // A long name is in a line of its own.
      found.back().pop_back();
      line.erase(0, line.find_first_not_of(' '));
    }
    found.back() += line + '\n';
  }
  return found;
}

bool makes_a_device(const std::string& definition) {
  static const std::regex made(R"(\bTestCuda \w+[;({])");
  return std::regex_search(definition, made);
}

// The name of a function, without what is before and behind it.
std::string name_of(const std::string& definition) {
  static const std::regex pattern(R"((\w+)\()");
  std::smatch match;
  return std::regex_search(definition, match, pattern) ? match[1].str() : "";
}

// Those that use a device, by themselves or by a function of their file, and are named otherwise.
std::vector<std::string> misnamed(const fs::path& file) {
  const std::vector<std::string> definitions = definitions_of(file);
  std::string helpers = "TestCuda";
  for (const std::string& definition : definitions) {
    if (!definition.starts_with("TEST_CASE") && makes_a_device(definition)) {
      helpers += "|" + name_of(definition);
    }
  }
  const std::regex uses("\\b(" + helpers + ")\\(");
  std::vector<std::string> found;
  for (const std::string& definition : definitions) {
    if (!definition.starts_with("TEST_CASE") || definition.starts_with("TEST_CASE(\"cuda: ")) {
      continue;
    }
    if (makes_a_device(definition) || std::regex_search(definition, uses)) {
      found.push_back(definition.substr(0, definition.find('\n')));
    }
  }
  return found;
}

}  // namespace

TEST_CASE("names: test cases that use a device are named so") {
  // It counts what the emulator sees.
  const std::string in_the_emulator =
      R"(TEST_CASE("golden: traffic of kernels in the emulator") {)";
  int with_devices = 0;
  for (const auto& entry : fs::recursive_directory_iterator(places::source_dir() + "/tests")) {
    if (entry.path().extension() != ".cpp") continue;
    for (const std::string& definition : definitions_of(entry.path())) {
      with_devices += definition.starts_with("TEST_CASE(\"cuda: ") && makes_a_device(definition);
    }
    for (const std::string& name : misnamed(entry.path())) {
      if (name == in_the_emulator) continue;
      FAIL_CHECK(entry.path().string() << ": " << name << " uses a device: \"cuda: ...\"");
    }
  }
  CHECK(with_devices > 50);
}
