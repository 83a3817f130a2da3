// Sums in blocks. A floating sum that adds number after number to one accumulator loses accuracy as
// it grows: in f32 a sum of ones ends at 2^24. So no more than a block of numbers is added one
// after the other, no more than a block of such blocks' sums to each other, and what these give to
// the result. The blocks have fixed sizes: nothing depends on the number of threads.
#pragma once
#include <functional>
#include <vector>

#include "compiler/loop/ir.h"

namespace kroton::loop {

// Numbers that are added one after the other, and blocks that are.
constexpr std::int64_t sum_block = 512;

// Whether the extent is not known to be at most that.
bool exceeds(const Expr& extent, const Expr& most);
// A constant that the extent does not exceed, where it shows one.
std::optional<std::int64_t> constant_bound(const Expr& extent);
bool is_float_sum(const Accumulate& statement);
// The floating scalars from outside that the loop adds to.
std::vector<Variable> sums_of(const For& loop);
// How many iterations of the loop make a block of additions to any of them; null if all of the
// loop's are known to be no more. Each of `threads` of a thread loop counts for itself.
Expr block_of(const For& loop, const std::vector<Variable>& sums, std::int64_t threads = 1);
// How many such blocks the loop has, and how many iterations the one with that number.
Expr blocks_in(const Expr& extent, const Expr& block);
Expr extent_of_block(const Expr& extent, const Expr& block, const Expr& number);

// Arrays of sums: `sums` hold those of one block, the others what earlier blocks have left.
struct CarriedSums {
  BufferRef sums, groups, totals;
};
// The statements for all elements of the arrays, from those for the element at an index.
using OverElements = std::function<Stmt(const std::function<Block(const Expr& at)>&)>;

// What follows block `number` of `count`, if there are several: the sums of the blocks before it
// are added to its own, or kept for later. After the last one `sums` holds everything; before each
// other block it is 0. `over` makes the loop over the elements; it may run them in any order, also
// together.
Stmt carry_sums(const std::vector<CarriedSums>& arrays, const Expr& number, const Expr& count,
                const OverElements& over);

// Does the same for floating scalars that serial and thread loops accumulate: a long loop becomes a
// loop over blocks, and that one over groups of blocks, each with accumulators of its own. Vector
// loops do so by themselves, each lane for itself (loop_ir.md).
Kernel sum_in_blocks(const Kernel& kernel);

}  // namespace kroton::loop
