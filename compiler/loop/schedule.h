// Schedules: loop-to-loop passes that decide how a kernel's loops run. They keep what it computes,
// up to the order of floating accumulations, which they fix.
#pragma once
#include <functional>

#include "compiler/loop/ir.h"

namespace kroton::loop {

// Whether lanes that are so many elements apart are read as whole vectors, of which they are
// picked, for less than one load a lane.
inline bool is_short_stride(std::int64_t step) { return 2 <= step && step <= 16; }

// Splits loops with loads under conditions on the loop's variable (joins, what lies inside zeros)
// where these change, before all other schedules: loops in place, the kernel's outermost one into
// kernels that run one after the other, if there are to be such. See split_loops.cpp.
std::vector<Kernel> split_loops(const Kernel& kernel, bool into_kernels);

// Runs loops with loads under conditions on a remainder of the loop's variable (what lies with gaps
// inside zeros) in steps of all remainders, before split_loops. See split_phases.cpp.
Kernel split_phases(const Kernel& kernel);

// Splits a loop around reductions of rows whose width is unknown into a kernel for rows that one
// vector holds and one for longer ones, before `vectorize`. See split_short_rows.cpp.
std::vector<Kernel> split_short_rows(const Kernel& kernel, int lanes_bytes);

// Turns serial loops into vector loops for registers of `lanes_bytes` bytes: in every loop nest the
// innermost loop that can be one, else the loop around it (column sums). A loop can when its
// iterations do not depend on each other but through accumulators, its stores are contiguous, at
// least half of its varying loads are, and neither inner extents nor branches differ between lanes.
// Lanes: `lanes_bytes` over the widest element computed with. Loops of constant extent below 4
// stay.
Kernel vectorize(const Kernel& kernel, int lanes_bytes);

// The same for one loop; false if it stays as it is.
bool vectorize_loop(For& loop, int lanes_bytes);

// Writes out the vectors of loops over random numbers among which the same blocks of words occur,
// after everything else. See share_draws.cpp.
Kernel share_draws(const Kernel& kernel);

// Creates a buffer whose id is new in the Program.
using NewBuffer = std::function<BufferRef(const std::string& name, DType, const Dim& size, Space)>;

// Holds in a scalar what an iteration reads of the one before it (running sums), before
// `vectorize`. See carry_stored.cpp.
Kernel carry_stored(const Kernel& kernel);

// Runs nests whose operands lie across each other in memory (x + transpose(y), any permutation of
// axes) in tiles, before `vectorize`. See tile_transposed.cpp.
Kernel tile_transposed(const Kernel& kernel, int lanes_bytes, const NewBuffer& new_buffer);

// Runs loops around reductions (products of a matrix and a vector, sums along columns or rows) in
// blocks, after `vectorize`: a reduction along columns reads memory row by row into an array of
// sums, one along rows takes several rows at once. See block_reductions.cpp.
Kernel block_reductions(const Kernel& kernel, int lanes_bytes, const NewBuffer& new_buffer);

// The loop that may become parallel: the last statement, with only scalars before it. Else null.
const For* outermost_loop(const Kernel& kernel);

// Rounds products and the sums they are added to once, see contract_products.cpp.
Kernel contract_products(const Kernel& kernel);

// Notes in the outermost loop whether its iterations are independent of each other, while that can
// be seen: before other schedules take its body apart.
Kernel note_independence(const Kernel& kernel);

// Cuts independent columns inside loops that are bound to their order (a scatter of rows, a running
// sum down them) into ranges, which threads share. See share_columns.cpp.
Kernel share_columns(const Kernel& kernel);

// Makes the kernel's outermost loop parallel if its iterations are independent of each other. A
// one-dimensional loop is cut into chunks of a fixed size first, so that nothing depends on the
// number of workers.
Kernel parallelize(const Kernel& kernel);

}  // namespace kroton::loop
