// What the tests of scan share: numbers in and out of Arrays, and a scan as a C++ loop.
#pragma once
#include <kroton/kroton.h>

#include "tests/tools/compiled_tools.h"

namespace scan_test {

// The elements of an Array of any dtype, in row-major order.
std::vector<double> numbers(const kroton::Array& array);
// numbers(0), numbers(1), ... as an Array of that dtype.
kroton::Array array_of(const std::vector<double>& values, kroton::DType dtype = kroton::f32);
// 0.5, -0.25 ...: count values between -1 and 1 that differ from each other.
std::vector<double> some_numbers(std::int64_t count, std::uint64_t seed = 1);
// Checks the shape's first extents and every element: |have - want| <= tolerance * max(1, |want|).
void check_values(const kroton::Array& have, const std::vector<double>& want,
                  double tolerance = 1e-6);

using StepFunction = std::function<std::vector<kroton::Tensor>(std::span<const kroton::Tensor>)>;

// The outputs of scan(step, options) with n steps (n >= 1), as a graph without a loop: the same
// operations n times. `truncate_gradient` stops the gradient at the steps before the last ones.
std::vector<kroton::Tensor> unrolled(const StepFunction& step, const kroton::ScanOptions& options,
                                     std::int64_t n);

// A scan, a cost of its outputs, and values to run them with.
struct Recurrence {
  StepFunction step;
  kroton::ScanOptions options;
  std::function<kroton::Tensor(std::span<const kroton::Tensor> outputs)> cost;
  std::vector<kroton::Tensor> inputs;  // variables, in the order of `values`
  std::vector<kroton::Tensor> wrt;     // variables or shared variables
  std::function<std::vector<kroton::Array>(std::int64_t n)> values;  // that make n steps
};

// Compiles the cost and its gradients (of order 2 also the gradients of the sum of the squared
// ones), calls them for each length, and checks the results against the unrolled graph by the
// reference interpreter: within 1e-5 for f32, 1e-12 for f64, relative.
void check_against_unrolled(const Recurrence& recurrence, int order = 1,
                            const std::vector<std::int64_t>& lengths = {1, 3, 17});

// The gradients of `cost` with respect to the variables among `inputs` that are f64, compiled,
// against central differences of the compiled cost, within 1e-6 * max(1, |numeric|).
void check_finite_differences(const kroton::Tensor& cost, const std::vector<kroton::Tensor>& inputs,
                              const std::vector<kroton::Array>& values);

}  // namespace scan_test
