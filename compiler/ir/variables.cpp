#include <kroton/error.h>
#include <kroton/variables.h>

#include "compiler/ir/leaf.h"

namespace kroton {
namespace {

SourceLine line_of(const std::source_location& location) {
  return {location.file_name(), location.line()};
}

Tensor free_sizes(std::string name, const char* unnamed, int rank, DType dtype,
                  const std::source_location& location) {
  if (name.empty()) name = unnamed;
  Dims shape;
  for (int axis = 0; axis < rank; ++axis) {
    shape.push_back(Dim::fresh(name + ".shape[" + std::to_string(axis) + "]"));
  }
  return make_input(std::move(name), {dtype, std::move(shape)}, line_of(location));
}

}  // namespace

Dim dim(const std::string& name, const std::source_location& location) {
  if (name.empty()) {
    throw ValueError("dim: a size needs a name that is not empty  [" +
                     to_string(line_of(location)) + "]");
  }
  return Dim::named(name);
}

Tensor tensor(std::string name, Dims shape, DType dtype, const std::source_location& location) {
  if (name.empty()) name = "tensor";
  const SourceLine line = line_of(location);
  const auto fail = [&](const std::string& expected) {
    throw ShapeError("tensor: " + expected + ": " + name + " is " +
                     to_string(TensorType{dtype, shape}) + "  [" + to_string(line) + "]");
  };
  if (shape.size() > static_cast<std::size_t>(Shape::max_rank)) fail("expected at most 8 axes");
  for (const Dim& size : shape) {
    if (size.is_constant() && size.constant() < 0) fail("expected no negative size");
  }
  return make_input(std::move(name), {dtype, std::move(shape)}, line);
}

Tensor scalar(std::string name, DType dtype, const std::source_location& location) {
  return free_sizes(std::move(name), "scalar", 0, dtype, location);
}
Tensor vector(std::string name, DType dtype, const std::source_location& location) {
  return free_sizes(std::move(name), "vector", 1, dtype, location);
}
Tensor matrix(std::string name, DType dtype, const std::source_location& location) {
  return free_sizes(std::move(name), "matrix", 2, dtype, location);
}
Tensor tensor3(std::string name, DType dtype, const std::source_location& location) {
  return free_sizes(std::move(name), "tensor3", 3, dtype, location);
}
Tensor tensor4(std::string name, DType dtype, const std::source_location& location) {
  return free_sizes(std::move(name), "tensor4", 4, dtype, location);
}
Tensor tensor5(std::string name, DType dtype, const std::source_location& location) {
  return free_sizes(std::move(name), "tensor5", 5, dtype, location);
}

}  // namespace kroton
