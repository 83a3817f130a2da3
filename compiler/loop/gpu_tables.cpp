#include "compiler/loop/gpu_tables.h"

#include <utility>

#include "compiler/loop/index_arithmetic.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

// Threads of a block with a table, and the iterations that they look through at a time.
constexpr std::int64_t threads_of_table = 128;
constexpr std::int64_t iterations_of_table = 256;
// Rows of a block that adds tables up, and the threads of each.
constexpr std::int64_t rows_together = 8;
constexpr std::int64_t threads_of_row = 32;
// Operations for each iteration and thread of a block, for the estimate of a kernel's work.
constexpr std::int64_t work_of_look = 4;

For table_loop(LoopKind kind, const Variable& v, const Expr& extent, Block body) {
  For loop;
  loop.kind = kind;
  loop.variable = v;
  loop.extent = extent;
  loop.body = std::move(body);
  return loop;
}
Stmt threads_over(const Variable& t, const Expr& extent, Block body) {
  return statement(table_loop(LoopKind::thread, t, extent, std::move(body)));
}
Stmt one_by_one(const Variable& k, const Expr& extent, Block body) {
  return statement(table_loop(LoopKind::serial, k, extent, std::move(body)));
}

Kernel kernel_of_blocks(const Variable& block, const Dim& blocks, std::int64_t threads, Block body,
                        const Dim& work) {
  For loop = table_loop(LoopKind::block, block, size(blocks), std::move(body));
  loop.width = static_cast<int>(threads);
  Kernel kernel;
  kernel.body = simplify_indices({statement(std::move(loop))});
  kernel.work = size(work);
  return kernel;
}

// A table for each block, of what its iterations bring.
Kernel fill_tables(const GpuTables& how, const BufferRef& tables, const Dim& blocks,
                   const NewBuffer& new_buffer) {
  const BufferRef table = new_buffer("table", how.dtype, Dim(GpuTables::most_rows), Space::shared);
  const BufferRef keys = new_buffer("keys", DType::i32, Dim(iterations_of_table), Space::shared);
  const BufferRef values = new_buffer("values", how.dtype, Dim(iterations_of_table), Space::shared);
  const Variable block = fresh_variable("block"), round = fresh_variable("round");
  const Variable row = fresh_variable("row"), i = fresh_variable("i"), t = fresh_variable("t"),
                 k = fresh_variable("k"), last = fresh_variable("row");
  const Variable key = fresh_variable("key", DType::i32);
  const Dim rounds = ceil_div(how.count, iterations_of_table * how.most_tables);
  const Expr first =
      (variable(block) * size(rounds) + variable(round)) * integer(iterations_of_table);
  const Expr here = first + variable(i);
  const Expr place = cast(variable(key), DType::i64);
  const Expr is_own =
      binary(Op::eq, binary(Op::bit_and, variable(key), integer(threads_of_table - 1, DType::i32)),
             cast(variable(t), DType::i32));
  const Expr left = binary(Op::max, size(how.count) - first, integer(0));
  Block each{threads_over(i, integer(iterations_of_table),
                          {statement(If{binary(Op::lt, here, size(how.count)),
                                        {Store{keys, variable(i), load(how.keys, here)},
                                         Store{values, variable(i), how.added(here)}},
                                        {}})}),
             Barrier{},
             threads_over(t, integer(threads_of_table),
                          {one_by_one(k, binary(Op::min, left, integer(iterations_of_table)),
                                      {Declare{key, load(keys, variable(k))},
                                       statement(If{is_own,
                                                    {Store{table, place,
                                                           binary(how.op, load(table, place),
                                                                  load(values, variable(k)))}},
                                                    {}})})}),
             Barrier{}};
  Block body{
      Allocate{table},
      Allocate{keys},
      Allocate{values},
      threads_over(row, size(how.rows), {Store{table, variable(row), identity(how.op, how.dtype)}}),
      one_by_one(round, size(rounds), std::move(each)),
      threads_over(last, size(how.rows),
                   {Store{tables, variable(block) * size(how.rows) + variable(last),
                          load(table, variable(last))}})};
  return kernel_of_blocks(block, blocks, threads_of_table, std::move(body),
                          how.count * how.wanted * Dim(work_of_look * threads_of_table));
}

// Rows of all tables, in the order of the blocks.
Kernel add_tables_up(const GpuTables& how, const BufferRef& tables, const Dim& blocks,
                     const NewBuffer& new_buffer) {
  constexpr std::int64_t threads = rows_together * threads_of_row;
  const BufferRef sums = new_buffer("sums", how.dtype, Dim(threads), Space::shared);
  const Variable block = fresh_variable("block"), t = fresh_variable("t"), k = fresh_variable("k"),
                 u = fresh_variable("t"), j = fresh_variable("k");
  const Variable sum = fresh_variable("sum", how.dtype), all = fresh_variable("sum", how.dtype);
  const Dim run = ceil_div(blocks, threads_of_row);
  const auto row_of = [&](const Variable& thread) {
    return variable(block) * integer(rows_together) +
           binary(Op::mod, variable(thread), integer(rows_together));
  };
  const auto is_row = [&](const Variable& thread) {
    return binary(Op::lt, row_of(thread), size(how.rows));
  };
  const Expr from =
      binary(Op::floor_div, variable(t), integer(rows_together)) * size(run) + variable(k);
  const Expr is_there = binary(Op::logical_and, is_row(t), binary(Op::lt, from, size(blocks)));
  Block body{
      Allocate{sums},
      threads_over(
          t, integer(threads),
          {Declare{sum, identity(how.op, how.dtype)},
           one_by_one(k, size(run),
                      {Accumulate{sum, how.op,
                                  select(is_there,
                                         load(tables, from * size(how.rows) + row_of(t), is_there),
                                         identity(how.op, how.dtype))}}),
           Store{sums, variable(t), variable(sum)}}),
      Barrier{},
      threads_over(
          u, integer(rows_together),
          {Declare{all, identity(how.op, how.dtype)},
           one_by_one(j, integer(threads_of_row),
                      {Accumulate{all, how.op,
                                  load(sums, variable(j) * integer(rows_together) + variable(u))}}),
           statement(If{is_row(u), {how.store(row_of(u), variable(all))}, {}})})};
  return kernel_of_blocks(block, ceil_div(how.rows, rows_together) * how.wanted, threads,
                          std::move(body), blocks * how.rows * Dim(2));
}

}  // namespace

std::vector<Kernel> GpuTables::kernels(const NewBuffer& new_buffer) const {
  const Dim blocks = minimum(most_tables, ceil_div(count, iterations_of_table)) * wanted;
  const BufferRef tables = new_buffer("tables", dtype, blocks * rows, Space::global);
  return {fill_tables(*this, tables, blocks, new_buffer),
          add_tables_up(*this, tables, blocks, new_buffer)};
}

}  // namespace kroton::loop
