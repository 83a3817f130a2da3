// Functions written ahead of time: what they compute, check and depend on.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "tests/aot/aot_tools.h"

using namespace aot_tools;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("aot: the thinnest function") {
  const Directory directory;
  const auto x = kt::tensor("x", {kt::dim("n")});
  const auto w = kt::shared(kt::Array::from({2.0F, 3.0F, 4.0F}), "w");
  const kt::aot::Files files =
      kt::aot::write({x}, kt::sum(x) * kt::sum(w),
                     {.updates = {{w, w + 1}}, .name = "weigh", .directory = directory.path()});
  CHECK(files.object == directory.file("weigh.o"));
  CHECK(files.header == directory.file("weigh.h"));
  CHECK(directory.names() == std::vector<std::string>{"weigh.h", "weigh.o"});
  write_file(directory.file("main.c"), R"(
#include <stdio.h>
#include <stdlib.h>
#include "weigh.h"
int main(void) {
  weigh_state state;
  void* memory = aligned_alloc(64, WEIGH_STATE_BYTES);
  if (weigh_state_init(&state, memory) != 0) return 1;
  size_t bytes = weigh_arena_bytes(5);
  void* arena = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
  const float x[5] = {1, 2, 3, 4, 5};
  float y = 0;
  int code = weigh(5, x, &state, &y, arena, bytes);
  printf("%d %g %g %s\n", code, y, state.w[2], weigh_error(code));
  code = weigh(2, x, &state, &y, arena, bytes);
  printf("%d %g %g\n", code, y, state.w[2]);
  code = weigh(-1, x, &state, &y, arena, bytes);
  printf("%s\n", weigh_error(code));
  return 0;
}
)");
  CHECK(contains(read_file(files.header), "int weigh("));
  run_well(std::string(KROTON_C_COMPILER) +
           " -std=c99 -D_ISOC11_SOURCE -Wall -Wextra -Wpedantic -Werror -o " +
           directory.file("main") + " " + directory.file("main.c") + " " + files.object);
  CHECK(run_well(directory.file("main")) == "0 135 5 no error\n0 36 6\nweigh: n is below zero\n");
}
