// The type of a tensor: dtype and symbolic shape. Rank and dtype are always known.
#pragma once
#include <kroton/dim.h>
#include <kroton/dtype.h>

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace kroton {

// A shape of sizes. An index outside it is a ValueError.
class Dims : public std::vector<Dim> {
 public:
  using std::vector<Dim>::vector;
  Dims() = default;
  Dims(std::vector<Dim> sizes) : std::vector<Dim>(std::move(sizes)) {}  // NOLINT: a list of them
  const Dim& operator[](std::size_t axis) const {
    if (axis >= size()) fail_axis(axis);
    return std::vector<Dim>::operator[](axis);
  }
  Dim& operator[](std::size_t axis) {
    if (axis >= size()) fail_axis(axis);
    return std::vector<Dim>::operator[](axis);
  }

 private:
  [[noreturn]] void fail_axis(std::size_t axis) const;
};

struct TensorType {
  DType dtype = DType::f32;
  Dims shape;

  int rank() const { return static_cast<int>(shape.size()); }
  friend bool operator==(const TensorType&, const TensorType&) = default;
};

Dim element_count(const Dims& shape);           // the product; 1 for rank 0
std::string to_string(const Dims& shape);       // "(batch, 784)", "(3,)", "()"
std::string to_string(const TensorType& type);  // "f32 (batch, 784)"

}  // namespace kroton
