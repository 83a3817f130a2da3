// What the attributes of ops mean, by name. Outside of compiler/ops nothing reads them by position
// (tests/test_includes.cpp holds that). Those of a scan are in scan_op.h, those of a call in
// call.h.
#pragma once
#include <optional>

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

// slice, unslice: how far one element is from the next, for each axis of the larger tensor.
inline const std::vector<std::int64_t>& slice_steps(const Attributes& attributes) {
  return attributes.integers;
}
inline void set_slice_steps(Attributes& attributes, std::vector<std::int64_t> steps) {
  attributes.integers = std::move(steps);
}

// scan_last, call_result: which one of the results it is.
inline int result_number(const Attributes& attributes) {
  return static_cast<int>(attributes.integers.at(0));
}

// ifelse: how many of the conditions around it its sides may wait for; nothing: all of them.
inline std::optional<std::size_t> most_conditions(const Attributes& attributes) {
  if (attributes.integers.empty()) return std::nullopt;
  return static_cast<std::size_t>(attributes.integers[0]);
}
inline void set_most_conditions(Attributes& attributes, std::size_t count) {
  attributes.integers = {static_cast<std::int64_t>(count)};
}

}  // namespace kroton
