// Calls of public functions with an empty Tensor at one place.
#pragma once
#include <kroton/tensor.h>

#include <functional>
#include <string>
#include <vector>

namespace empty_test {

struct Use {
  std::string name;  // what the message begins with
  std::function<void(const kroton::Tensor&)> use;
};

// Of the operations by NumPy's and SciPy's names: elementwise.h, special.h, cumulative.h,
// indexing.h, numeric.h, rearrange.h, sort.h, statistics.h.
std::vector<Use> uses_by_numpys_names();

}  // namespace empty_test
