// The variables of a program: tensors whose values are given when a function is called.
#pragma once
#include <kroton/tensor.h>

#include <source_location>
#include <string>

namespace kroton {

// The size variable of that name. Equal names denote the same size everywhere: two inputs with the
// size kt::dim("batch") must have equal sizes at a call.
// ValueError for an empty name.
Dim dim(const std::string& name,
        const std::source_location& location = std::source_location::current());

// An input of that shape, of fixed, named or otherwise symbolic sizes:
// kt::tensor("x", {kt::dim("batch"), 784}). ShapeError for a negative size and above 8 axes. An
// empty name becomes "tensor".
Tensor tensor(std::string name, Dims shape, DType dtype = f32,
              const std::source_location& location = std::source_location::current());

// Inputs of rank 0 to 5. Every size is free: its own variable, equal to no other, that messages
// call "x.shape[0]". An empty name becomes that of the function.
Tensor scalar(std::string name = "", DType dtype = f32,
              const std::source_location& location = std::source_location::current());
Tensor vector(std::string name = "", DType dtype = f32,
              const std::source_location& location = std::source_location::current());
Tensor matrix(std::string name = "", DType dtype = f32,
              const std::source_location& location = std::source_location::current());
Tensor tensor3(std::string name = "", DType dtype = f32,
               const std::source_location& location = std::source_location::current());
Tensor tensor4(std::string name = "", DType dtype = f32,
               const std::source_location& location = std::source_location::current());
Tensor tensor5(std::string name = "", DType dtype = f32,
               const std::source_location& location = std::source_location::current());

}  // namespace kroton
