// What must be written out for buffers to be held in registers.
#pragma once
#include <set>

#include "compiler/lower/program.h"

namespace kroton {

// As many elements are held in registers, and as many iterations written out.
constexpr std::int64_t most_held = 16;

// Whether the loop may be written out with every sum in the same order.
bool is_short(const loop::For& loop);

// By kernel: loops, by their variables' ids.
using KernelLoops = std::map<const loop::Kernel*, std::set<int>>;

// The loops of the kernels among the steps, branches included, whose variables are in the indices
// of the buffers, by Buffer::id. False if some index would not be constant with these loops written
// out.
bool find_index_loops(const std::vector<Step>& steps, const std::set<int>& buffers,
                      KernelLoops& found);

}  // namespace kroton
