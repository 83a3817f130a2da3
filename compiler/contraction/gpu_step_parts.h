// Products in the steps of a scan whose operand a the same blocks have made: each adds up what its
// own elements of a contribute to the results, and the contributions meet once.
#pragma once
#include <optional>

#include "compiler/contraction/contraction.h"
#include "compiler/loop/schedule.h"

namespace kroton {

// How the elements of rows are dealt out to blocks: some rows and some elements of each.
struct StepElements {
  Axis row, element;
};
// The loops of a kernel over independent elements, each of which stores; one loop is a row. Nothing
// if it is something else.
std::optional<StepElements> step_elements(const loop::Kernel& elements);
// The kernel in these blocks, an element a thread.
loop::Kernel deal_out(const loop::Kernel& elements, const StepElements& axes);

// Nothing where `elements` do not store the product's operand a, each what lies in its row, as far
// apart as the gates of a recurrent cell, or where what a block keeps is more than there is room
// for.
struct StepParts {
  loop::BufferRef made;     // a part of a, which a block has in shared memory
  loop::BufferRef partial;  // what a part contributes to each result
  // Of blocks as `deal_out` has them: the elements, which leave what they make of a there too; what
  // that contributes, with what the block keeps of b as build_step_tiles has it; the stores of the
  // sums.
  loop::Kernel elements, contributions, sums;
  Dim are_few;  // 1 where the contributions are not too many to be kept, else 0
};
std::optional<StepParts> build_step_parts(const Contraction& product, const loop::Kernel& elements,
                                          const loop::NewBuffer& new_buffer);

}  // namespace kroton
