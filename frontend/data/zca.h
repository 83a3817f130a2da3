// Pictures without correlation.
#pragma once
#include <kroton/array.h>

#include <span>
#include <vector>

namespace kroton::data {

// A picture as a row times the matrix, contiguous f32 of its size. `scratch` is written over.
void whiten(std::span<float> picture, const Array& matrix, std::vector<float>& scratch);

}  // namespace kroton::data
