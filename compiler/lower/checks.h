// The checking mode: what is added to a Program so that faults in it, or in what it computes, are
// errors instead of wrong numbers. docs/checking.md is its description.
#pragma once
#include "compiler/lower/kernel_context.h"
#include "compiler/lower/plan.h"

namespace kroton {

// For a context that checks values, else none: the kernels that must run before that of a product
// to tell whether its operands are finite. The context is told where they say so.
std::vector<loop::Kernel> operand_checks(KernelContext& context, const Machine& machine);
// The same for an op that has loops of its own: the kernels that look at its result.
std::vector<loop::Kernel> result_checks(KernelContext& context, const Machine& machine);

// Added to the numbered kernels of a Program whose buffers in the arena have no places yet: every
// load and store is held to its buffer; memory is filled before it is given out, with NaN where it
// is for floats, and a float that nothing has written is not read.
void check_memory(Program& program, BufferTable& buffers, const Machine& machine);

// Added to a Program whose arena has gaps: they are filled before all else, and must be as they
// were at the end.
void check_gaps(Program& program, BufferTable& buffers, const std::vector<ArenaGap>& gaps,
                const Machine& machine);

}  // namespace kroton
