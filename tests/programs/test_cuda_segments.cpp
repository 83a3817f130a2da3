// Sorts, scatters by sorting and running operations by tiles on an emulated device, which watches
// every access of every thread.
#include <doctest/doctest.h>
#include <kroton/cumulative.h>
#include <kroton/indexing.h>
#include <kroton/kroton.h>
#include <kroton/sort.h>

#include <limits>
#include <map>

#include "tests/gpu_emulator/emulated_device.h"
#include "tests/tools/compiled_tools.h"

using namespace compiled_test;  // NOLINT: tests
namespace kt = kroton;

namespace {

kt::Array repeated_ids(std::int64_t count, std::int64_t rows) {
  kt::Array ids = kt::Array::zeros({count}, kt::i64);
  for (std::int64_t k = 0; k < count; ++k) {
    ids.data<std::int64_t>()[k] = k % 3 == 0 ? k * k * 7 % rows : k < count / 2 ? 5 : rows - 1;
  }
  return ids;
}

}  // namespace

TEST_CASE("cuda: scatters by sorting and the gradient of a gather") {
  const gpu_emulator::TestCuda cuda;
  const kt::Tensor table = kt::tensor("table", {kt::dim("rows"), 5});
  const kt::Tensor ids = kt::tensor("ids", {kt::dim("n")}, kt::i64);
  const kt::Tensor cost = kt::sum(kt::square(kt::take(table, ids)));
  for (const std::int64_t rows : {50, 5000}) {
    CAPTURE(rows);
    check_agrees({{table, ids},
                  {kt::grad(cost, table)},
                  {random_array({rows, 5}, kt::f32, 1), repeated_ids(4200, rows)}},
                 {1e-4, 1e-12}, kt::cuda());
  }
  const kt::Tensor numbers = kt::tensor("numbers", {kt::dim("n")});
  check_agrees({{numbers, ids},
                {kt::scatter_add(numbers, ids, {300})},
                {random_array({3000}, kt::f32, 1), repeated_ids(3000, 300)}},
               {1e-4, 1e-12}, kt::cuda());
}

TEST_CASE("cuda: scatters by sorting give the same bits on every call") {
  const gpu_emulator::TestCuda cuda;
  const kt::Tensor numbers = kt::tensor("numbers", {4000}),
                   ids = kt::tensor("ids", {4000}, kt::i64);
  auto f =
      kt::function({numbers, ids}, kt::scatter_add(numbers, ids, {70}), {.target = kt::cuda()});
  const kt::Array x = random_array({4000}, kt::f32, 1), places = repeated_ids(4000, 70);
  const kt::Array first = f(x, places);
  CHECK(array_equal(first, f(x, places)));
  CHECK(array_equal(first, f(x, places)));
}

TEST_CASE("cuda: an index out of range leaves a variable that is added to as it was") {
  const gpu_emulator::TestCuda cuda;
  const kt::Shared table = kt::shared(kt::Array::normal({40, 3}, 1), "table");
  const kt::Array before = table.get_value();
  const kt::Tensor v = kt::tensor("v", {2500, 3}), ids = kt::tensor("ids", {2500}, kt::i64);
  auto f = kt::function({v, ids}, std::vector<kt::Tensor>{},
                        {.updates = {{table, kt::add_at(table, v, ids)}}, .target = kt::cuda()});
  kt::Array places = repeated_ids(2500, 40);
  places.data<std::int64_t>()[2000] = 40;
  CHECK_THROWS_AS(f(random_array({2500, 3}, kt::f32, 1), places), kt::ValueError);
  CHECK(array_equal(table.get_value(), before));
}

TEST_CASE("cuda: running operations by tiles") {
  const gpu_emulator::TestCuda cuda;
  const kt::Tensor x = kt::tensor("x", {kt::dim("n"), kt::dim("m")});
  check_agrees({{x},
                {kt::cumsum(x, 0), kt::cummax(x, 1), kt::linear_recurrence(0.5 * x, x, 0, true)},
                {random_array({2200, 3}, kt::f32, 1)}},
               {1e-4, 1e-12}, kt::cuda());
  check_agrees({{x}, {kt::cumsum(x, 1)}, {random_array({2, 4500}, kt::f32, 1)}}, {1e-4, 1e-12},
               kt::cuda());
}

TEST_CASE("cuda: sorts by digits, in blocks and by ranks") {
  const gpu_emulator::TestCuda cuda;
  const kt::Tensor x = kt::tensor("x", {kt::dim("n"), kt::dim("m")});
  for (const std::int64_t columns : {40, 70, 2100}) {
    CAPTURE(columns);
    check_agrees({{x}, {kt::argsort(x), kt::sort(x)}, {random_array({2, columns}, kt::f32, 1)}}, {},
                 kt::cuda());
  }
  const kt::Tensor y = kt::tensor("y", {2100}, kt::f64);
  check_agrees({{y}, {kt::argsort(y, 0, true)}, {random_array({2100}, kt::f64, 1)}}, {},
               kt::cuda());
}

TEST_CASE("cuda: blocks wait for those before them in calls of all sizes by turns") {
  const gpu_emulator::TestCuda cuda;
  const kt::Tensor x = kt::tensor("x", {kt::dim("n")}),
                   y = kt::tensor("y", {kt::dim("n")}, kt::i64);
  const std::vector<kt::Tensor> results = {kt::cumsum(x, 0), kt::argsort(x), kt::cumsum(y, 0),
                                           kt::sort(y)};
  auto on_device = kt::function({x, y}, results, {.target = kt::cuda()});
  auto on_host = kt::function({x, y}, results);
  std::map<std::int64_t, std::vector<kt::Array>> first;
  for (int round = 0; round < 3; ++round) {
    for (const std::int64_t n : {5000, 0, 1, 36000, 3, 17}) {
      if (n == 36000 && round == 2) continue;
      CAPTURE(n);
      const kt::Array reals = random_array({n}, kt::f32, 1), wholes = random_array({n}, kt::i64, 2);
      const std::vector<kt::Array> have = on_device(reals, wholes);
      const auto [known, is_new] = first.emplace(n, have);
      if (is_new) {
        const std::vector<kt::Array> want = on_host(reals, wholes);
        for (const std::size_t k : {1U, 2U, 3U}) CHECK(array_equal(have[k], want[k]));
      }
      for (std::size_t k = 0; k < have.size(); ++k) CHECK(array_equal(have[k], known->second[k]));
    }
  }
}

TEST_CASE("cuda: sorts of several chunks with equal elements and NaNs") {
  const gpu_emulator::TestCuda cuda;
  for (const kt::DType dtype : {kt::f16, kt::f64, kt::i32}) {
    CAPTURE(std::string(name_of(dtype)));
    const kt::Tensor x = kt::tensor("x", {5000}, dtype);
    kt::Array values = kt::Array::zeros({5000}, kt::f32);
    for (int k = 0; k < 5000; ++k) {
      values.data<float>()[k] = dtype != kt::i32 && k % 7 == 0
                                    ? std::numeric_limits<float>::quiet_NaN()
                                    : static_cast<float>(k * 13 % 11);
    }
    check_agrees({{x}, {kt::argsort(x)}, {values.cast(dtype)}}, {}, kt::cuda());
  }
}
