// Windows that see little but padding: docs/convolution.md explains them.
#pragma once
#include "compiler/base/machine.h"
#include "compiler/contraction/winograd.h"

namespace kroton {

// The picture inside the zeros that windows see, along each spatial axis.
struct PictureInside {
  std::vector<Dim> first, size;
};

// A convolution of a small picture far inside zeros, as a gradient by the picture: each element is
// multiplied by each place of each filter once, and what these products are for is added up.
//
// Whether that pays. Sums have their filters as rows.
bool scatters_windows(const WindowSums& sums, const PictureInside& picture, const Machine& machine);
// The kernels, in the order they run in.
std::vector<loop::Kernel> build_scattered_windows(const WindowSums& sums,
                                                  const PictureInside& picture,
                                                  const Machine& machine,
                                                  const loop::NewBuffer& new_buffer);

}  // namespace kroton
