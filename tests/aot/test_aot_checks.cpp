// The checking mode in functions written ahead of time.
#include <doctest/doctest.h>

#include "tests/aot/aot_tools.h"
#include "tests/tools/cache_tools.h"

using namespace aot_tools;  // NOLINT: tests

TEST_CASE("aot: a function written in the checking mode says where a value is not finite") {
  const TemporaryDirectory directory;
  const auto x = kt::tensor("x", {kt::dim("n")});
  {
    const cache_test::Setting setting("KROTON_CHECK", "1");
    kt::aot::write({x}, kt::softmax(kt::log(x), 0),
                   {.name = "shares", .directory = directory.path()});
  }
  const Linked linked(directory.file("shares.o"));
  auto* const shares =
      linked.function<int(std::int64_t, const float*, float*, void*, std::size_t)>("shares");
  auto* const message = linked.function<const char*(int)>("shares_error");
  const std::size_t bytes = linked.function<std::size_t(std::int64_t)>("shares_arena_bytes")(4);
  const Block arena(bytes + 64);
  float values[] = {1, 2, 4, 1}, result[4] = {};
  REQUIRE(shares(4, values, result, arena.data(), arena.size()) == 0);
  CHECK(result[2] == doctest::Approx(0.5));
  values[1] = 0;
  const int code = shares(4, values, result, arena.data(), arena.size());
  REQUIRE(code != 0);
  const std::string text = message(code);
  CHECK(text.find("log: the result, f32 (n,), at an index is not finite though its operands are "
                  "finite  [test_aot_checks.cpp:") != std::string::npos);
}
