// What a call should give, by the reference interpreter, and how far rounding may take each element
// from it.
//
// The interpreter computes in double precision. How much the rounding of each operation matters is
// measured: the graph is evaluated again and again with every value rounded to its dtype and moved
// at random by as much as its operation may be wrong. An element that moves far is allowed to be
// far off, one that does not move must be right: so an ill-conditioned graph raises no alarm, and a
// value from a wrong index is seen wherever it differs from the right one by more than rounding.
// Where a comparison or a position flips between runs, what hangs on it is not compared.
#pragma once
#include <kroton/kroton.h>

#include "compiler/ir/reference.h"

namespace fuzz {

namespace kt = kroton;

using Bindings = std::map<const kt::Node*, kt::ReferenceValue>;

struct Expected {
  std::vector<kt::ReferenceValue> values;
  std::vector<std::vector<double>> bounds;  // by element; infinite: not compared
  std::string error;                        // of the interpreter: there are no values
};

// `runs` evaluations, the first one with values rounded to their dtype, the others with rounding
// `scale` times as large as operations are known to be off.
Expected expect(const std::vector<kt::Tensor>& outputs, const Bindings& bindings, int runs,
                double scale);

// "" or what differs: "output 0: element 3 of f32 (17,) is 1.5, expected 2.5 (2 of 17 differ)".
// Adds to `compared` the elements that were, to `left_out` those whose bound is infinite.
struct Tally {
  long compared = 0;
  long left_out = 0;
};
std::string difference(const kt::ReferenceValue& expected, const std::vector<double>& bounds,
                       const kt::Array& actual, Tally& tally);

}  // namespace fuzz
