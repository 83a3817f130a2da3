// The type of a tensor: dtype and symbolic shape. Rank and dtype are always known.
#pragma once
#include <kroton/dim.h>
#include <kroton/dtype.h>

#include <string>
#include <vector>

namespace kroton {

using Dims = std::vector<Dim>;

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
