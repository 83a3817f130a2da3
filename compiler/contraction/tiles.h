// A contraction as a scheduled loop nest for a CPU. docs/matmul.md explains the structure.
#pragma once
#include "compiler/contraction/tile_plan.h"
#include "compiler/loop/schedule.h"

namespace kroton {

// A tile of results lives in registers while the inner axes run. Columns of B that do not lie in
// memory as a tile reads them are packed once into a panel that the tiles of many rows share. What
// is stored is computed from the tile's elements. The body and the work of the kernel are filled
// in.
loop::Kernel build_tiles(const Contraction& contraction, const TilePlan& plan,
                         const loop::NewBuffer& new_buffer);

}  // namespace kroton
