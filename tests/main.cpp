// The test program: doctest's options.

#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <kroton/print.h>

#include <cstdlib>
#include <iostream>

#include "compiler/lower/program.h"
#include "tests/tools/left_out.h"

void leave_out(const std::string& test, const std::string& why) {
  std::cout << "left out: " << test << ": " << why << std::endl;
}

int main(int argc, char** argv) {
  // Tests that compile mean to compile; those of the cache name a directory of their own. Where
  // there is no NVRTC, code for a GPU comes from a cache that tests/gpu/kit has filled.
  const char* cache = std::getenv("KROTON_TEST_CACHE");
  ::setenv("KROTON_CACHE", cache ? cache : "off", 1);
  // What the samples of kt::print show, nobody reads.
  static std::ostream nowhere(nullptr);
  kroton::set_print_stream(nowhere);
  // Sizes are written in the order of their creation: this one comes first, whatever test is run.
  kroton::worker_count();

  doctest::Context context;
  context.applyCommandLine(argc, argv);
  return context.run();
}
