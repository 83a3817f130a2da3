/// Operations of your own, computed by a C function: what no expression says, or what a library has
/// that a program already links. They take part in expressions, gradients and loops like any other
/// operation. docs/external.md has an example.
#pragma once
#include <kroton/tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace kroton {

struct Callee;  // compiler/ir/callee.h

/// `arrays`: the elements of the inputs, then of the results; row-major, dense, aligned to their
/// dtype, a boolean one byte. What a result holds before is not defined. `sizes`: the sizes of all
/// axes, array after array in the same order. Returns 0, or a number that the error names.
/// Must not throw, keep a pointer, or write to an input; calls may run on several threads at once.
using ExternalFunction = std::int32_t (*)(void* const* arrays, const std::int64_t* sizes);

struct ExternalOptions {
  /// A C identifier. A function that is written ahead of time calls `function` by this name, so it
  /// is that of an extern "C" function then.
  std::string name;
  ExternalFunction function = nullptr;
  /// The types of the results for operands of these types; at least one. Sizes are expressions of
  /// the operands' sizes. Throw ShapeError or TypeError for operands that it does not take.
  std::function<std::vector<TensorType>(std::span<const TensorType> inputs)> results;
  /// The cotangents of the inputs for those of the results (zeros where the cost does not depend on
  /// one): an expression of the input's type each, or an empty Tensor where there is none. Without
  /// it a gradient that goes through the operation is an error.
  std::function<std::vector<Tensor>(std::span<const Tensor> inputs, std::span<const Tensor> results,
                                    std::span<const Tensor> cotangents)>
      gradient = {};
};

class ExternalOp {
 public:
  using Location = Tensor::Location;
  /// ValueError, naming the line, for a name that is no identifier or has a meaning in C, and for a
  /// missing `function` or `results`.
  explicit ExternalOp(ExternalOptions options, const Location& at = Location::current());

  /// Its results for these operands. It is evaluated where one of them is needed, once for equal
  /// operands: the function's results must depend on nothing else. A call of a compiled function in
  /// which it returns a number other than 0 is an ExternalError, and has updated nothing.
  [[nodiscard]] std::vector<Tensor> operator()(const std::vector<Operand>& inputs,
                                               const Location& at = Location::current()) const;

  const std::string& name() const;

 private:
  std::shared_ptr<const Callee> callee_;
};

}  // namespace kroton
