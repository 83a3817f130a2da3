// Indices that are looked up by indices that are looked up: a check of one index inside that of
// another, in whole vectors and in the rest, under branches and in loops.
#include <doctest/doctest.h>

#include "tests/gpu_emulator/emulated_device.h"
#include "tests/tools/compiled_tools.h"
#include "tests/tools/error_text.h"

using namespace kroton;         // NOLINT: tests
using namespace compiled_test;  // NOLINT: tests
using namespace error_text;     // NOLINT: tests

namespace {

// Positions among n, from both ends.
Array positions(std::int64_t n, std::int64_t seed) {
  Array result = Array::zeros({n}, i64);
  for (std::int64_t k = 0; k < n; ++k) {
    const std::int64_t at = (k * 7 + seed) % n;
    result.data<std::int64_t>()[k] = (k + seed) % 3 == 0 ? at - n : at;
  }
  return result;
}

// What is read at indices behind `depth` others.
struct Nested {
  explicit Nested(const Dim& n, int depth)
      : table(tensor("table", {n, 5})), c(scalar("c", boolean)) {
    inputs = {table, c};
    for (int k = 0; k <= depth; ++k) {
      inputs.push_back(tensor("ids" + std::to_string(k), {n}, i64));
      index = k == 0 ? inputs.back() : take(inputs.back(), index);
    }
  }
  std::vector<Array> values(std::int64_t n) const {
    std::vector<Array> result{random_array({n, 5}, f32, 4), Array::full({}, 1, boolean)};
    while (result.size() < inputs.size()) {
      result.push_back(positions(n, static_cast<std::int64_t>(result.size())));
    }
    return result;
  }
  Tensor table, c, index;
  std::vector<Tensor> inputs;
};

std::vector<Tensor> uses(const Nested& given) {
  const Tensor& table = given.table;
  const Tensor& index = given.index;
  const Tensor column = table(all, 0);
  const Tensor rows = take(table, index);
  const Tensor far = where(column > 0.0, take(column, index), take(sin(column), index));
  const Tensor stepped =
      scan([&](Tensor i, Tensor sum) { return sum + take(table, take(index, i)); },
           {.sequences = {index}, .outputs_info = {zeros({5})}});
  return {rows,
          take(rows, index),               // the table's rows, and theirs
          take(argmax(table, 1), index),   // an index that is computed
          sum(rows * rows, 1),             // inside a reduction
          sum(tanh(take(column, index))),  // and over everything
          pick(take(transpose(table), index, 1), zeros({5}, i64)),
          one_hot(index, given.table.shape(0)),
          scatter_add(rows, index, {given.table.shape(0), 5}),
          far,
          ifelse(given.c, sum(take(column, index)), sum(column)),
          ifelse(given.c, sum(column), sum(take(column, index))),
          stepped,
          dot(rows, transpose(take(table, index)))};
}

}  // namespace

TEST_CASE("nested checks: indices behind indices, with known and with free sizes") {
  const Dim n = dim("n");
  for (int depth = 0; depth <= 3; ++depth) {
    const Nested given(n, depth);
    std::vector<Tensor> outputs = uses(given);
    for (const std::int64_t size : {1, 2, 3, 16, 17, 33}) {
      CAPTURE(depth);
      CAPTURE(size);
      check_agrees({given.inputs, outputs, given.values(size)});
    }
    const Nested known(17, depth);
    check_agrees({known.inputs, uses(known), known.values(17)});
  }
  // Each in a function of its own: other kernels.
  const Nested given(n, 2);
  for (const Tensor& use : uses(given)) {
    CAPTURE(describe(std::span(&use, 1)));
    const Tensor rest = sum(given.table) + cast(given.c, f32);
    check_agrees({given.inputs, {use, rest}, given.values(17)});
  }
}

TEST_CASE("cuda: nested checks") {
  const gpu_emulator::TestCuda cuda;
  const Nested given(dim("n"), 2);
  for (const std::int64_t size : {3, 33}) {
    check_agrees({given.inputs, uses(given), given.values(size)}, {}, kroton::cuda());
  }
}

TEST_CASE("nested checks: the index at fault is named") {
  const Dim n = dim("n"), m = dim("m"), k = dim("k");
  const Tensor table = tensor("table", {n, 5});
  const Tensor ids = tensor("ids", {m}, i64);
  const Tensor chosen = tensor("chosen", {k}, i64);
  const auto f = function({table, ids, chosen}, table(ids(chosen)), {.name = "f"});
  for (const std::int64_t count : {1, 16, 17, 40}) {
    CAPTURE(count);
    const Array t = Array::zeros({7, 5}), good = positions(7, 2);
    Array some = Array::zeros({count}, i64);
    CHECK(f(t, good, some).shape() == Shape{count, 5});
    some.data<std::int64_t>()[count - 1] = 7;
    CHECK(value_error([&] { f(t, good, some); }) ==
          "f: take: index 7 is out of range for axis 0 of ids, whose size is 7  [here]");
    CHECK(value_error([&] { f(t, Array::full({7}, -8, i64), Array::zeros({count}, i64)); }) ==
          "f: take: index -8 is out of range for axis 0 of table, whose size is 7  [here]");
  }
}

TEST_CASE("nested checks: an index fails though nothing depends on what is read there") {
  const Tensor x = tensor("x", {dim("n"), 2});
  const Tensor ids = tensor("ids", {dim("k")}, i32);
  const Tensor whole = tensor("whole", {dim("n")}, i32);
  const Array values = Array::full({3, 2}, 2), numbers = Array::from({4, 5, 6});
  const auto to_one = function({x, ids}, pow(take(x, ids), 0.0));
  const auto to_zero = function({whole, ids}, take(whole, ids) * 0);
  const auto same = function({whole, ids}, ne(take(whole, ids), take(whole, ids)));
  for (const std::int32_t last : {2, 3}) {
    const Array at = Array::from({0, last});
    if (last < 3) {
      CHECK(all_close(to_one(values, at), Array::full({2, 2}, 1), 0, 0));
      CHECK(to_zero(numbers, at).data<std::int32_t>()[1] == 0);
    } else {
      CHECK_THROWS_AS(to_one(values, at), ValueError);
      CHECK_THROWS_AS(to_zero(numbers, at), ValueError);
      CHECK_THROWS_AS(same(numbers, at), ValueError);
    }
  }
}
