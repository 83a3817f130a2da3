// Reductions that a few blocks of a GPU would do alone: cut into runs that many blocks share.
#pragma once
#include <kroton/type.h>

#include <cstddef>
#include <optional>
#include <vector>

#include "compiler/loop/ir.h"

namespace kroton {

struct ReductionParts {
  std::vector<std::size_t> axes;  // the reduced ones, which are cut as if they were one
  Dim step;                       // their positions of a run
  // 1 where the sizes make runs pay, else 0; perhaps not known before the sizes are.
  Dim are_wanted;
};

// How to cut a reduction over the axes of `domain` that are `reduced`; nothing where it is known
// that blocks are enough without. `by_columns`: neighbouring results are read together, so a block
// has some of them. `stages`: how often it goes over the elements. What comes out depends on the
// sizes alone.
std::optional<ReductionParts> reduction_parts(const Dims& domain, const std::vector<bool>& reduced,
                                              bool by_columns, int stages);

// The elements of a row up to which a block is done with them before further kernels are started.
constexpr std::int64_t quick_row = 16384;

// The same for results of more than `longest` elements whose runs, of up to `held` of them, a block
// keeps in registers, where that saves a look at memory: for any number of results.
std::optional<ReductionParts> register_parts(const Dims& domain, const std::vector<bool>& reduced,
                                             std::int64_t held, std::int64_t longest);

// The body of a kernel for where `flag` is 1; nothing runs where it is 0. A loop whose iteration
// nothing uses: the schedule for GPUs makes it a factor of the number of blocks, so that the host
// does not start the kernel.
loop::Block only_if(const Dim& flag, loop::Block body);

}  // namespace kroton
