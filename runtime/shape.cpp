#include <kroton/shape.h>

#include <ostream>
#include <string_view>

namespace kroton {

void Shape::fail_rank(std::size_t count, const std::source_location& at) {
  const std::string_view file = at.file_name();
  throw ValueError("shape: expected at most " + std::to_string(max_rank) + " axes, got " +
                   std::to_string(count) + "  [" + std::string(file.substr(file.rfind('/') + 1)) +
                   ":" + std::to_string(at.line()) + "]");
}

void Shape::fail_axis(int axis) const {
  throw ValueError("shape: axis " + std::to_string(axis) + " is out of range for " +
                   to_string(*this) + ", which has rank " + std::to_string(rank_));
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

std::ostream& operator<<(std::ostream& stream, const Shape& shape) {
  return stream << to_string(shape);
}

}  // namespace kroton
