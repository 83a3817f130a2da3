// Stores of a vector loop that fill memory together, though each leaves gaps: y[2*i] and y[2*i +
// 1].
#pragma once
#include <functional>
#include <vector>

#include "compiler/loop/ir.h"

namespace kroton::loop {

// As many statements of a block as elements are between two lanes of each: the position in the
// block of the one that stores the first element, the next, ...
struct Interleaved {
  std::vector<std::size_t> stores;
  std::size_t last = 0;  // of them in the block's order: until then, none needs to be stored
};

// The most elements between two lanes.
constexpr std::int64_t most_interleaved = 8;

// Those of the block; `stride` gives what the index of the next lane is more, or null. In between,
// nothing reads what they store.
std::vector<Interleaved> interleaved_stores(const Block& block,
                                            const std::function<Expr(const Expr&)>& stride);

}  // namespace kroton::loop
