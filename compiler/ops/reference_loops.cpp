#include "compiler/ops/reference_loops.h"

namespace kroton::ops {

std::int64_t offset_of(const std::vector<std::int64_t>& shape, const Position& position) {
  std::int64_t offset = 0;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    offset = offset * shape[axis] + position[axis];
  }
  return offset;
}

void for_each_position(const std::vector<std::int64_t>& shape,
                       const std::function<void(const Position&)>& body) {
  std::int64_t count = 1;
  for (std::int64_t size : shape) {
    count *= size;
  }
  Position position(shape.size(), 0);
  for (std::int64_t linear = 0; linear < count; ++linear) {
    std::int64_t rest = linear;
    for (std::size_t axis = shape.size(); axis-- > 0;) {
      position[axis] = rest % shape[axis];
      rest /= shape[axis];
    }
    body(position);
  }
}

std::int64_t checked_index(const Number& index, std::int64_t size, int axis, std::string_view op) {
  const auto whole = static_cast<std::int64_t>(index);
  if (whole < -size || whole >= size) {
    throw ValueError(std::string(op) + ": index " + std::to_string(whole) +
                     " is out of range on axis " + std::to_string(axis) + " of size " +
                     std::to_string(size));
  }
  return whole < 0 ? whole + size : whole;
}

}  // namespace kroton::ops
