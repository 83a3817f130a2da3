#include <kroton/shape.h>

namespace kroton {

void Shape::fail_rank(std::size_t count) {
  throw ValueError("shape: at most " + std::to_string(max_rank) + " dimensions, got " +
                   std::to_string(count));
}

void Shape::fail_count() const {
  for (const std::int64_t extent : *this) {
    if (extent < 0) {
      throw ValueError("shape: negative extent " + std::to_string(extent) + " in " +
                       to_string(*this));
    }
  }
  throw ValueError("shape: the element count of " + to_string(*this) + " does not fit in 64 bits");
}

std::string to_string(const Shape& shape) {
  std::string text = "(";
  for (int axis = 0; axis < shape.rank(); ++axis) {
    text += (axis == 0 ? "" : ", ") + std::to_string(shape[axis]);
  }
  return text + (shape.rank() == 1 ? ",)" : ")");
}

}  // namespace kroton
