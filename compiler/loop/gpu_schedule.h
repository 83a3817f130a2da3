// Schedules for GPUs: which iterations become blocks, which threads.
#pragma once
#include <optional>
#include <unordered_set>

#include "compiler/loop/ir.h"

namespace kroton::loop {

// Rows of unknown length that a part of a warp has, where Machine::longest_row is no more than
// that.
constexpr std::int64_t longest_part_row = 64;

// Turns a kernel of serial loops into one block loop with thread loops in it. The outermost
// independent loops are either spread over all threads of the grid (elementwise work, short rows,
// column sums) or one iteration a block, whose threads then share the loops inside (rows, chunks).
// What depends on its order runs in one thread, or in one thread per column where columns do not
// meet. The order of accumulations depends on the kernel alone, not on the device.
// `longest_row`: the most elements of rows whose length is not known; 0: there may be any number.
Kernel schedule_for_gpu(const Kernel& kernel, std::int64_t longest_row = 0);

// Turns a kernel of serial loops into thread loops and barriers: a part of a block's work. The
// block's threads share independent iterations, else what a loop adds up; the rest is one thread's.
Kernel schedule_in_one_block(const Kernel& kernel);

// The same as schedule_for_gpu, for blocks that wait for each other between kernels, which are
// short: elements are dealt out alike, one a thread, so that what a kernel leaves for the next one
// is mostly the same thread's.
Kernel schedule_for_waiting_blocks(const Kernel& kernel, std::int64_t longest_row = 0);
constexpr int threads_that_wait = 128;  // of a block, if nothing asks for more

// Loops whose iterations may store to the same element, by one store: of a row of columns that do
// not meet, or, where `column` is null, of a single element.
struct OrderedStores {
  std::vector<const For*> loops;  // outermost first, without the columns'
  const For* column = nullptr;
  Expr row;
  const Store* store = nullptr;
};
// The kernel's body, if it is that.
std::optional<OrderedStores> ordered_stores(const Block& body);

// Neighbouring loops in which each thread has the same iterations, and touches nothing of another
// thread's, become one: a value that it leaves for itself stays in a register.
Block with_joined_loops(const Block& block);

// The parts of a kernel of independent elements, between whose elements the conditions of loads
// change, as kernels of their own; `kernel` where there is nothing of that kind.
std::vector<Kernel> parts_apart(const Kernel& kernel);

// Barriers between statements of which one touches what the other has written, or overwrites what
// it has read.
Block with_barriers(const Block& block);
// Memory that the steps of a scan use as no index tells, by Buffer::id: of which each block touches
// what is its own alone, and waits for its threads where it has to, and of which one step and the
// next touch different halves.
struct ApartMemory {
  std::unordered_set<int> of_blocks, by_turns;
};
// The same between the loops of steps, where a thread needs none for what is its own alone. `step`:
// they are the body of a loop with that variable, whose iterations are told apart likewise.
Block with_barriers_of_steps(const Block& block, const Barrier& barrier,
                             const Variable* step = nullptr, const ApartMemory& apart = {});

}  // namespace kroton::loop
