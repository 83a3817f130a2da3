// The four problems of by_hand.h as expressions, whose derivatives are asked for.
#pragma once

#include <kroton/kroton.h>

#include "by_hand.h"

namespace bench {

struct Problem {
  std::vector<kroton::Tensor> inputs;
  std::vector<kroton::Array> arguments;
  kroton::Tensor value;                     // as Mixture::value and Bundle::values give it
  std::vector<kroton::Tensor> derivatives;  // the parts of what gradient and jacobian give
};

Problem problem(const by_hand::Mixture& of);
Problem problem(const by_hand::Bundle& of);
Problem problem(const by_hand::Hand& of);
Problem problem(const by_hand::Lstm& of);

}  // namespace bench
