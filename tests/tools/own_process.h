// Test cases that play two roles: the test, and a process of its own that the test starts, which
// may exit or die as it has to. The environment tells the second that it is it.
#pragma once
#include <cstdlib>
#include <filesystem>
#include <string>

#include "tests/tools/cache_tools.h"

namespace own_process {

// The part that this process has to play in a test case; empty in the test itself.
inline std::string role() {
  const char* text = std::getenv("KROTON_TEST_ROLE");
  return text == nullptr ? "" : text;
}

// Runs the test case in a process of its own with that part, and returns what system() does: 0 if
// it succeeded. `before` is shell that comes before the program, such as a limit.
inline int run(const std::string& test_case, const std::string& part,
               const std::string& before = "") {
  const cache_test::Setting setting("KROTON_TEST_ROLE", part);
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  return std::system(
      (before + " timeout 100 '" + self + "' -m -tc='" + test_case + "' >&2").c_str());
}

}  // namespace own_process
