// What the attributes of an op mean, by name: outside of the op's own file nothing reads them by
// position (tests/test_includes.cpp holds that).
#pragma once
#include "compiler/ir/node.h"

namespace kroton {

// dot: whether the last two axes of an operand count as exchanged.
struct DotView {
  bool transposes_a = false;
  bool transposes_b = false;
  DotView(bool of_a, bool of_b) : transposes_a(of_a), transposes_b(of_b) {}
  explicit DotView(const Attributes& attributes)
      : transposes_a(attributes.integers.at(0) != 0),
        transposes_b(attributes.integers.at(1) != 0) {}
  Attributes attributes() const {
    Attributes result;
    result.integers = {transposes_a ? 1 : 0, transposes_b ? 1 : 0};
    return result;
  }
};

}  // namespace kroton
