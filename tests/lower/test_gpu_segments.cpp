// Scatters on a GPU by sorting, run by the interpreter of the loop IR.
#include <doctest/doctest.h>
#include <kroton/indexing.h>

#include <functional>
#include <string>

#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "tests/tools/compiled_tools.h"
#include "tests/tools/gpu_loops.h"
#include "tests/tools/program_call.h"

using namespace compiled_test;  // NOLINT: tests
using namespace kroton;         // NOLINT: tests

namespace {

// Which row the k-th value goes to.
using RowOf = std::function<std::int64_t(std::int64_t k, std::int64_t rows)>;

std::int64_t spread_row(std::int64_t k, std::int64_t rows) { return k * k * 31 % rows; }
std::int64_t mostly_one(std::int64_t k, std::int64_t rows) { return k % 100 == 0 ? k % rows : 3; }
std::int64_t only_last(std::int64_t, std::int64_t rows) { return rows - 1; }
std::int64_t falling(std::int64_t k, std::int64_t rows) { return rows - 1 - k % rows; }
std::int64_t from_the_end(std::int64_t k, std::int64_t rows) { return -1 - k * 7 % rows; }

Array places_of(std::int64_t count, std::int64_t rows, const RowOf& row_of) {
  Array places = Array::zeros({count}, i64);
  for (std::int64_t k = 0; k < count; ++k) places.data<std::int64_t>()[k] = row_of(k, rows);
  return places;
}

}  // namespace

TEST_CASE("GPU segments: numbers and rows added at indices of every kind") {
  const std::int64_t count = 2100;
  struct Kind {
    const char* name;
    RowOf row_of;
    std::int64_t rows;
  };
  const std::vector<Kind> kinds = {{"two digits", spread_row, 700},
                                   {"three digits", falling, 5000},
                                   {"mostly one", mostly_one, 60},
                                   {"one row", only_last, 1},
                                   {"from the end", from_the_end, 60}};
  for (const Kind& kind : kinds) {
    CAPTURE(kind.name);
    const Array places = places_of(count, kind.rows, kind.row_of);
    const Tensor ids = tensor("ids", {count}, i64);
    const Tensor numbers = tensor("numbers", {count}, f64), rows = tensor("rows", {count, 2}, f64);
    check_for_gpu(
        {{numbers, rows, ids},
         {scatter_add(numbers, ids, {kind.rows}), scatter_add(square(rows), ids, {kind.rows, 2})},
         {random_array({count}, f64, 1), random_array({count, 2}, f64, 2), places}});
  }
}

TEST_CASE("GPU segments: a segment of more tiles than are added up together") {
  const std::int64_t count = 6 * 64 * 8 + 77;
  const Tensor ids = tensor("ids", {count}, i64), x = tensor("x", {count}, f64);
  check_for_gpu({{x, ids},
                 {scatter_add(x, ids, {3000})},
                 {random_array({count}, f64, 1), places_of(count, 3000, [](auto k, auto) {
                    return k < 100 ? k % 2 : k > 3100 ? 4 : 3;
                  })}});
}

TEST_CASE("GPU segments: free sizes") {
  const Tensor ids = tensor("ids", {dim("n")}, i64), table = tensor("table", {dim("rows"), 3});
  const Tensor rows = tensor("values", {dim("n"), 3});
  const Tensor y = scatter_add(rows, ids, table.shape()) + table;
  struct Sizes {
    std::int64_t count, rows;
  };
  for (const Sizes& sizes : std::vector<Sizes>{
           {0, 5}, {1, 1}, {100, 65}, {2048, 65}, {2049, 65}, {2049, 1}, {2100, 4097}}) {
    CAPTURE(sizes.count);
    CAPTURE(sizes.rows);
    check_for_gpu(
        {{rows, ids, table},
         {y},
         {random_array({sizes.count, 3}, f32, 1), places_of(sizes.count, sizes.rows, spread_row),
          random_array({sizes.rows, 3}, f32, 2)}});
  }
}

TEST_CASE("GPU segments: what blocks would do if it were not for many") {
  const Tensor ids = tensor("ids", {dim("n")}, i64),
               rows = tensor("rows", {dim("n"), dim("m")}, f64);
  const Tensor y = scatter_add(rows, ids, {300, rows.shape(1)});
  for (const std::int64_t count : {500, 24600}) {
    CAPTURE(count);
    check_for_gpu(
        {{rows, ids}, {y}, {random_array({count, 1}, f64, 1), places_of(count, 300, mostly_one)}});
  }
  check_for_gpu(
      {{rows, ids}, {y}, {random_array({24600, 0}, f64, 1), places_of(24600, 300, mostly_one)}});
}

TEST_CASE("GPU segments: other axes and indices of several axes") {
  const Tensor x = tensor("x", {3, 900}, f64), ids = tensor("ids", {900}, i64);
  const Tensor y = tensor("y", {40, 70, 5}, f64), grid = tensor("grid", {40, 70}, i32);
  Array places = places_of(2800, 33, spread_row).cast(i32);
  check_for_gpu({{x, ids, y, grid},
                 {scatter_add(x, ids, {3, 50}, 1), scatter_add(y, grid, {33, 5})},
                 {random_array({3, 900}, f64, 1), places_of(900, 50, spread_row),
                  random_array({40, 70, 5}, f64, 2), places.reshape({40, 70})}});
}

TEST_CASE("GPU segments: what is not a sum") {
  const std::int64_t count = 2100, rows = 150;
  const Tensor ids = tensor("ids", {count}, i64);
  for (const DType dtype : {f32, i64, bf16}) {
    CAPTURE(std::string(name_of(dtype)));
    const Tensor x = tensor("x", {rows, 2}, dtype), v = tensor("v", {count, 2}, dtype);
    std::vector<Tensor> results = {set_at(x, v, ids)};
    if (dtype != f32) results.push_back(max_at(x, v, ids));
    if (dtype != i64) results.push_back(min_at(x, v, ids));
    if (dtype != bf16) {  // whose sums are rounded in another order
      results.push_back(add_at(x, v, ids));
      results.push_back(mul_at(x, cast(1 + 0.01 * cast(v, f64), dtype), ids));
    }
    check_for_gpu({{x, v, ids},
                   results,
                   {random_array({rows, 2}, dtype, 1), random_array({count, 2}, dtype, 2),
                    places_of(count, rows, mostly_one)}});
  }
}

TEST_CASE("GPU segments: an index out of range is reported and nothing else is") {
  const Tensor ids = tensor("ids", {3000}, i64), v = tensor("v", {3000});
  const Problem problem{{v, ids},
                        {scatter_add(v, ids, {10})},
                        {random_array({3000}, f32, 1), places_of(3000, 10, [](auto k, auto rows) {
                           return k == 2999 ? rows : k % rows;
                         })}};
  const Program program = lowered_for_gpu(problem);
  ProgramCall call(program, problem.values);
  const auto fault = call.interpret();
  REQUIRE(fault);
  CHECK(fault->index == 10);
  CHECK(fault->size == 10);
}

TEST_CASE("GPU segments: an updated variable is added to where it is") {
  const Shared table = shared(Array::normal({50, 4}, 1), "table");
  const Tensor ids = tensor("ids", {4000}, i64), v = tensor("v", {4000, 4});
  const std::vector<std::pair<Shared, Tensor>> updates = {{table, add_at(table, v, ids)}};
  Graph graph(std::vector<Tensor>{v, ids}, std::vector<Tensor>{}, updates);
  run_passes(graph);
  const Program program = lower(graph, "update", gpu_machine());
  std::string text;
  for_each_kernel(program.steps, [&](const loop::Kernel& kernel) { text += to_string(kernel); });
  CAPTURE(text);
  CHECK(text.find("_copy") == std::string::npos);
  CHECK(text.find("out table") != std::string::npos);
}
