// Scatters to few rows of one number each on a GPU, as histograms are: blocks of threads add up
// what their own iterations bring to every row, in tables in shared memory, and the tables are
// added up row by row. No atomic operation: each row of a table is one thread's, which takes what
// comes to it in order.
#pragma once
#include <functional>
#include <vector>

#include "compiler/loop/schedule.h"

namespace kroton::loop {

struct GpuTables {
  // Rows of a table: its shared memory leaves room for several blocks on a processor.
  static constexpr std::int64_t most_rows = 2048;

  Dim count, rows;
  Dim wanted = 1;                  // or 0: nothing is to be done
  std::int64_t most_tables = 512;  // which take memory; further iterations are theirs too
  Op op = Op::add;
  DType dtype = DType::f32;
  BufferRef keys;                            // i32: the row of each iteration
  std::function<Expr(const Expr& i)> added;  // what it brings
  std::function<Stmt(const Expr& row, const Expr& sum)> store;

  // With their schedule.
  std::vector<Kernel> kernels(const NewBuffer& new_buffer) const;
};

}  // namespace kroton::loop
