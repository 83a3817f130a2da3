// Scatters of numbers to few rows on a GPU by tables in shared memory, run by the interpreter of
// the loop IR and in the emulator; and what fails in values that blocks of threads share.
#include <doctest/doctest.h>
#include <kroton/cumulative.h>
#include <kroton/indexing.h>

#include <cmath>

#include "compiler/loop/gpu_tables.h"
#include "compiler/loop/interpreter.h"
#include "compiler/lower/kernel_context.h"
#include "compiler/lower/lower.h"
#include "tests/gpu_emulator/emulated_device.h"
#include "tests/tools/compiled_tools.h"
#include "tests/tools/gpu_loops.h"
#include "tests/tools/program_call.h"

using namespace compiled_test;  // NOLINT: tests
using namespace kroton;         // NOLINT: tests

namespace {

int kernels_of_tables(const Problem& problem) {
  int count = 0;
  for_each_kernel(lowered_for_gpu(problem).steps, [&](const loop::Kernel&) { ++count; });
  return count;
}

Array table_rows(std::int64_t count, std::int64_t rows) {
  Array places = Array::zeros({count}, i64);
  for (std::int64_t k = 0; k < count; ++k) {
    places.data<std::int64_t>()[k] = (k * k * 31 + k / 7) % rows - (k % 5 == 0 ? rows : 0);
  }
  return places;
}

}  // namespace

TEST_CASE("GPU tables: numbers of every kind added to few rows") {
  for (const std::int64_t rows : {1, 7, 9, 300, 2048}) {
    CAPTURE(rows);
    const std::int64_t count = 2049;
    const Tensor ids = tensor("ids", {count}, i64), x = tensor("x", {count}, f64),
                 k = tensor("k", {count}, i32);
    check_for_gpu(
        {{x, k, ids},
         {scatter_add(x * x, ids, {rows}), scatter_add(k, ids, {rows})},
         {random_array({count}, f64, 1), random_array({count}, i32, 2), table_rows(count, rows)}});
  }
}

TEST_CASE("GPU tables: more iterations than the blocks take at a time") {
  const std::int64_t count = 1300, rows = 3;
  Array keys = Array::zeros({count}, i32), values = random_array({count}, i64, 1),
        sums = Array::zeros({rows}, i64), want = Array::zeros({rows}, i64);
  for (std::int64_t k = 0; k < count; ++k) {
    keys.data<std::int32_t>()[k] = static_cast<std::int32_t>(k * k % rows);
    want.data<std::int64_t>()[k * k % rows] += values.data<std::int64_t>()[k];
  }
  loop::Memory memory;
  std::vector<Array> held;
  const loop::NewBuffer new_buffer = [&, id = 0](const std::string& name, DType dtype,
                                                 const Dim& size, loop::Space space) mutable {
    const loop::Buffer buffer{++id, name, dtype, size, space};
    if (space == loop::Space::global) {
      held.push_back(Array::zeros({size.constant()}, dtype));
      memory.buffers[id] = {held.back().raw(), size.constant()};
    }
    return std::make_shared<const loop::Buffer>(buffer);
  };
  loop::GpuTables tables;
  tables.count = count;
  tables.rows = rows;
  tables.most_tables = 2;  // each of three rounds, the last of which is short or empty
  tables.dtype = i64;
  tables.keys = new_buffer("rows", i32, count, loop::Space::global);
  const auto from = new_buffer("values", i64, count, loop::Space::global);
  const auto to = new_buffer("sums", i64, rows, loop::Space::global);
  memory.buffers[tables.keys->id].data = keys.raw();
  memory.buffers[from->id].data = values.raw();
  memory.buffers[to->id].data = sums.raw();
  tables.added = [&](const loop::Expr& i) { return loop::load(from, i); };
  tables.store = [&](const loop::Expr& row, const loop::Expr& sum) -> loop::Stmt {
    return loop::Store{to, row, sum};
  };
  std::vector<loop::Kernel> kernels = tables.kernels(new_buffer);
  for (loop::Kernel& kernel : kernels) {
    collect_buffers(kernel);
    REQUIRE(!loop::interpret(kernel, memory));
  }
  CHECK(array_equal(sums, want));
}

TEST_CASE("GPU tables: free sizes") {
  const Tensor ids = tensor("ids", {dim("n")}, i64), x = tensor("x", {dim("n")}, f64),
               table = tensor("table", {dim("rows")}, f64);
  const std::vector<std::pair<std::int64_t, std::int64_t>> sizes = {
      {0, 5}, {1, 1}, {2048, 7}, {2049, 2048}, {2049, 2049}};
  for (const auto& size : sizes) {
    const std::int64_t count = size.first, rows = size.second;
    CAPTURE(count);
    CAPTURE(rows);
    check_for_gpu(
        {{x, ids, table},
         {add_at(table, x, ids)},
         {random_array({count}, f64, 1), table_rows(count, rows), random_array({rows}, f64, 2)}});
  }
}

TEST_CASE("GPU tables: products and extremes and what is not touched") {
  const std::int64_t count = 2100;
  const Tensor ids = tensor("ids", {count}, i64), x = tensor("x", {count}, f64),
               table = tensor("table", {500}, f64);
  Array places = table_rows(count, 100), values = random_array({500}, f64, 2);
  values.data<double>()[400] = -0.0;
  check_for_gpu({{x, ids, table},
                 {mul_at(table, 1 + 0.01 * x, ids), max_at(table, x, ids), min_at(table, x, ids)},
                 {random_array({count}, f64, 1), places, values}});
  const Problem adds{
      {x, ids, table}, {add_at(table, x, ids)}, {random_array({count}, f64, 1), places, values}};
  const Program program = lowered_for_gpu(adds);
  ProgramCall call(program, adds.values);
  REQUIRE(!call.interpret());
  CHECK(std::signbit(call.outputs()[0].data<double>()[400]));
}

TEST_CASE("GPU tables: few kernels") {
  const auto count = [](std::int64_t n, std::int64_t rows) {
    const Tensor ids = tensor("ids", {n}, i64), x = tensor("x", {n});
    return kernels_of_tables({{x, ids}, {scatter_add(x, ids, {rows})}, {}});
  };
  CHECK(count(100000, 1000) == 4);
  CHECK(count(100000, 2049) > 4);
}

TEST_CASE("cuda: indices out of range in what blocks of threads share") {
  const gpu_emulator::TestCuda device;
  const Tensor ids = tensor("ids", {2100}, i64), x = tensor("x", {50}),
               to = tensor("to", {2100}, i64);
  const std::vector<Tensor> results = {scatter_add(take(x, ids), to, {20}),
                                       cumsum(take(x, ids), 0)};
  for (const Tensor& result : results) {
    const auto f =
        function({x, ids, to}, result, {.target = cuda(), .on_unused_input = UnusedInput::ignore});
    Array places = table_rows(2100, 50);
    check_agrees(
        {{x, ids, to}, {result}, {random_array({50}, f32, 1), places, table_rows(2100, 20)}},
        {1e-4, 1e-12}, cuda());
    places.data<std::int64_t>()[1234] = 50;
    CHECK_THROWS_AS(f(random_array({50}, f32, 1), places, table_rows(2100, 20)), ValueError);
  }
}
