// Values that have too many elements to count, whether or not they are stored, are errors.
#include <doctest/doctest.h>
#include <kroton/error.h>
#include <kroton/kroton.h>

#include <cmath>

#include "tests/aot/aot_tools.h"
#include "tests/tools/error_text.h"

namespace test_size_limits {

namespace kt = kroton;

namespace {

const kt::Tensor x = kt::tensor("x", {kt::dim("n")});
const kt::Dim n = kt::dim("n");

std::string error_of(const kt::Tensor& y, std::int64_t size) {
  const auto f = kt::function({x}, y, {.name = "f", .on_unused_input = kt::UnusedInput::ignore});
  return error_text::value_error([&] { f(kt::Array::ones({size})); });
}

}  // namespace

TEST_CASE("size limits: sums over more elements than can be counted") {
  const kt::Tensor ones = kt::ones({n * n, n, n, n, n, n, n, n});
  const std::string wrong = "f: more elements than 64 bits can count in ";
  // The sum of equal values is their number, a product of sizes.
  CHECK(error_of(kt::sum(ones), 128) == wrong + "(n*n*n*n*n*n*n*n*n,) of size  [here], n is 128");
  // Every axis has a say in every element.
  kt::Tensor all = kt::zeros({n, n, n, n, n, n, n, n});
  for (std::size_t axis = 0; axis < 8; ++axis) {
    kt::Dims shape(8, 1);
    shape[axis] = n;
    all = all + kt::reshape(x, shape);
  }
  CHECK(error_of(kt::sum(kt::exp(all)), 256) ==
        wrong + "(n, n, n, n, n, n, n, n) of broadcast  [here], n is 256");
  CHECK(error_of(kt::sum(kt::exp(all)), 2) == "no error");
  const auto sixth = kt::function({x}, kt::sum(kt::ones({n, n, n, n, n, n})), {.name = "f"});
  CHECK(sixth(kt::Array::ones({6})).item<float>() == 46656);
  // A function recovers from it.
  CHECK_THROWS_AS(sixth(kt::Array::ones({1 << 11})), kt::ValueError);
  CHECK(sixth(kt::Array::ones({5})).item<float>() == 15625);
}

TEST_CASE("size limits: products of sizes that are computed with") {
  const kt::Dim third = n * n * n;
  CHECK(error_of(kt::size_of_dim(third * third * third), 128) ==
        "f: more elements than 64 bits can count in (n*n*n*n*n*n*n*n*n,) of size  [here], "
        "n is 128");
  CHECK(error_of(kt::size_of_dim(third), 128) == "no error");
  const auto loop = kt::scan([](kt::Tensor s) { return s + 1; },
                             {.outputs_info = {kt::zeros({})}, .n_steps = third * third * third});
  CHECK(error_of(loop[-1], 128) ==
        "f: more elements than 64 bits can count in (n*n*n*n*n*n*n*n*n,) of scan  [here], "
        "n is 128");
}

TEST_CASE("size limits: in the body of a loop") {
  const auto loop = kt::scan(
      [](kt::Tensor s) { return kt::sum(kt::exp(kt::ones({n * n, n, n, n, n, n, n, n}) * s)); },
      {.outputs_info = {kt::sum(x)}, .n_steps = 2});
  CHECK(error_of(loop[-1], 128).find("f: more elements than 64 bits can count in ") == 0);
}

TEST_CASE("size limits: known sizes when the function is made") {
  const kt::Dim large = std::int64_t{1} << 40;
  CHECK(error_text::value_error(
            [&] { kt::function({}, kt::sum(kt::exp(kt::ones({large, large}))), {.name = "f"}); }) ==
        "f: more elements than 64 bits can count in (1099511627776, 1099511627776) of broadcast  "
        "[here]");
}

TEST_CASE("size limits: no elements at all are never too many") {
  const auto e = kt::tensor("e", {kt::dim("a"), kt::dim("b"), kt::dim("c")});
  const std::int64_t large = std::int64_t{1} << 40;
  const auto f = kt::function({e}, kt::sum(e + 1));
  CHECK(f(kt::Array::zeros({large, large, 0})).item<float>() == 0);
}

TEST_CASE("size limits: ahead of time") {
  const TemporaryDirectory directory;
  const kt::aot::Files files =
      kt::aot::write({x}, kt::sum(kt::exp(kt::ones({n * n, n, n, n, n, n, n, n}) * kt::sum(x))),
                     {.name = "f", .directory = directory.path()});
  const aot_tools::Linked linked(files.object);
  auto* const bytes = linked.function<std::size_t(std::int64_t)>("f_arena_bytes");
  auto* const f = linked.function<int(std::int64_t, const float*, float*, void*, std::size_t)>("f");
  auto* const message = linked.function<const char*(int)>("f_error");
  const std::vector<float> values(128, 1);
  float out = 0;
  const aot_tools::Block arena(bytes(2) + 4096);
  CHECK(f(2, values.data(), &out, arena.data(), arena.size()) == 0);
  CHECK(out == doctest::Approx(512 * std::exp(2.0)));
  CHECK(std::string(message(f(128, values.data(), &out, arena.data(), arena.size()))) ==
        "f: no array of these sizes fits in memory");
}

}  // namespace test_size_limits
