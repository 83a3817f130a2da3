#include <kroton/error.h>
#include <kroton/type.h>

namespace kroton {

void Dims::fail_axis(std::size_t axis) const {
  throw ValueError("shape: axis " + std::to_string(static_cast<std::int64_t>(axis)) +
                   " is out of range for " + to_string(*this) + ", which has rank " +
                   std::to_string(size()));
}

Dim element_count(const Dims& shape) {
  Dim count = 1;
  for (const Dim& size : shape) {
    count = count * size;
  }
  return count;
}

std::string to_string(const Dims& shape) {
  std::string text = "(";
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    text += (axis == 0 ? "" : ", ") + shape[axis].to_string();
  }
  return text + (shape.size() == 1 ? ",)" : ")");
}

std::string to_string(const TensorType& type) {
  return std::string(name_of(type.dtype)) + " " + to_string(type.shape);
}

}  // namespace kroton
