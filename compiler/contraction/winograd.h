// Convolutions by fewer multiplications: docs/convolution.md explains them.
//
// Windows of three places, moved by one, that give m results next to each other see m + 2 elements,
// and m + 2 products are enough for them (S. Winograd, "Arithmetic Complexity of Computations",
// 1980; for convolutions A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks",
// 2015): of sums of the elements with sums of the filter's, of which the results are sums. Along
// two axes m = 2 needs 16 products where 36 are added, m = 4 needs 36 where there are 144.
#pragma once
#include "compiler/base/machine.h"
#include "compiler/contraction/contraction.h"
#include "compiler/loop/schedule.h"

namespace kroton {

// A convolution whose windows' places are as far apart as its positions.
struct WindowSums {
  // Rows are the filters; columns pictures, then positions; inner axes channels, then places; or,
  // where filters are columns, as of the gradient by the filters: rows are pictures, then
  // positions; inner axes channels, then places, which are more than positions.
  Contraction contraction;
  std::size_t spatial = 0;  // axes of positions, and of places
  bool filters_are_columns = false;
};

// The results that a tile has along each spatial axis, at most `most`, if it pays to compute the
// convolution in tiles; nothing if it does not, or there are none: for windows of other than three
// places, and one result a tile is the direct form.
std::vector<int> winograd_tiles(const WindowSums& sums, const Machine& machine, int most);

// Its kernels, in the order they run in.
std::vector<loop::Kernel> build_winograd(const WindowSums& sums, const std::vector<int>& tiles,
                                         const Machine& machine, const loop::NewBuffer& new_buffer);

}  // namespace kroton
