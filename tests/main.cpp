// The test program: doctest's options, and --update-golden (see golden.h).

#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <kroton/print.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <vector>

#include "tests/golden.h"
#include "tests/left_out.h"

static bool update_golden = false;

bool kroton_tests_update_golden() { return update_golden; }

void leave_out(const std::string& test, const std::string& why) {
  std::cout << "left out: " << test << ": " << why << std::endl;
}

int main(int argc, char** argv) {
  // Tests that compile mean to compile; those of the cache name a directory of their own.
  ::setenv("KROTON_CACHE", "off", 1);
  // What the samples of kt::print show, nobody reads.
  static std::ostream nowhere(nullptr);
  kroton::set_print_stream(nowhere);
  std::vector<char*> args(argv, argv + argc);
  auto is_switch = [](const char* arg) { return std::strcmp(arg, "--update-golden") == 0; };
  update_golden = std::erase_if(args, is_switch) > 0;

  doctest::Context context;
  context.applyCommandLine(static_cast<int>(args.size()), args.data());
  return context.run();
}
