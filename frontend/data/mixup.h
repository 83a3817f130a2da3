// Examples made of two.
#pragma once
#include <kroton/augment.h>

#include "frontend/data/random.h"

namespace kroton::data {

// A number from Beta(alpha, alpha), for alpha from 1e-6 to 1e6.
double symmetric_beta(Random& random, double alpha);

// Labels as f32 (batch, classes). TypeError, ShapeError, ValueError for what is none.
Array class_probabilities(const Array& labels, std::int64_t examples, std::int64_t classes);

// Rows of an array, each with a part of another one: row k becomes parts[k] of itself and the rest
// of row others[k].
Array blended(const Array& rows, const std::vector<float>& parts,
              const std::vector<std::size_t>& others);

}  // namespace kroton::data
