// Schedules for GPUs: which iterations become blocks, which threads.
#pragma once
#include <optional>

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

// Barriers between statements of which one touches what another has written, or overwrites what
// another has read.
Block with_barriers(const Block& block);

}  // namespace kroton::loop
