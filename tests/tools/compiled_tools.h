// What the tests of compiled functions share: an expression run compiled and by the reference
// interpreter, and the comparison of both.
#pragma once
#include <kroton/kroton.h>

#include <functional>

#include "compiler/ir/reference.h"

namespace compiled_test {

// A function to be, and one call of it.
struct Problem {
  std::vector<kroton::Tensor> inputs;  // variables
  std::vector<kroton::Tensor> outputs;
  std::vector<kroton::Array> values;  // of the inputs
};

// How far a compiled value may be from the reference, relative to the magnitude of the element plus
// the largest one of its array, or `magnitude` if that is larger. Integers and booleans must be
// equal.
struct Tolerance {
  double f32 = 2e-6;
  double f64 = 1e-13;
  double magnitude = 0;  // of the intermediate results
};

std::vector<kroton::Array> compiled(const Problem& problem,
                                    const kroton::Target& target = kroton::cpu());
// Calls it; which floating-point flags that raises, of division by zero, invalid, overflow.
std::string flags_of(const std::function<void()>& call);
std::vector<kroton::ReferenceValue> expected(const Problem& problem);
// The value of one expression by the reference interpreter.
kroton::ReferenceValue expected(
    const kroton::Tensor& output,
    const std::vector<std::pair<kroton::Tensor, kroton::Array>>& values);

// What differs, or nothing: "element 3 of f32 (17,) is 1.5, expected 2.5 (2 of 17 differ)".
std::string difference(const kroton::ReferenceValue& expected, const kroton::Array& actual,
                       const Tolerance& tolerance = {});

// Compiles and runs the problem; checks that every output agrees with the reference interpreter.
void check_agrees(const Problem& problem, const Tolerance& tolerance = {},
                  const kroton::Target& target = kroton::cpu());

// The expression as text, one line per node, operands first: "%2 = add(%0, %1) : f32 (3,)".
std::string describe(std::span<const kroton::Tensor> outputs);

// Values around 0, or small integers, or mixed booleans.
kroton::Array random_array(const kroton::Shape& shape, kroton::DType dtype, std::uint64_t seed);

// Sets the number of threads of the process's pool, until the end of its life.
class ThreadCount {
 public:
  explicit ThreadCount(std::int64_t count);
  ~ThreadCount();
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  std::int64_t before_;
};

}  // namespace compiled_test
