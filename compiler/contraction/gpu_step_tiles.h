// Products in the steps of a scan whose blocks are all there at once: each has the same tile in
// every step.
#pragma once
#include <optional>

#include "compiler/contraction/contraction.h"
#include "compiler/loop/schedule.h"

namespace kroton {

// A product, and what is made of its results element by element: of one, or of several columns that
// are as far apart as those of the gates of a recurrent cell.
struct StepProduct {
  // The last axis of its columns stands for those of an element; its stores are not used.
  Contraction product;
  int together = 1;                  // columns of an element
  std::vector<loop::Variable> sums;  // stand for its products
  loop::Block stores;                // of an element, of the variables of the other axes
  loop::Expr work;
};

// The product with its own stores.
StepProduct step_product(const Contraction& product);
// With those of `elements`, serial loops over what is made of its results, and its own if these are
// wanted too. Nothing if an element needs others than those of its row and of some columns.
std::optional<StepProduct> step_product(const Contraction& product, const loop::Kernel& elements,
                                        bool stores_results);

// What a kernel of a step was before it was scheduled for blocks that wait for each other.
struct StepPart {
  std::optional<Contraction> product = {};
  bool in_parts = false;                      // of a product: the next kernel adds up its parts
  std::optional<loop::Kernel> elements = {};  // serial loops
};

// Blocks with tiles of all columns of their elements, whose warps have a part of the inner elements
// each. The part of b that a tile needs is in shared memory, since no step changes it: the kernel
// allocates it before the loop over blocks, and a branch brings it where a boolean holds that
// whoever runs the steps has to say. Nothing if that is more than there is room for, or a value may
// end the run with an error.
std::optional<loop::Kernel> build_step_tiles(const StepProduct& step,
                                             const loop::NewBuffer& new_buffer);

}  // namespace kroton
