// Ops' samples as problems for a backend: compiled, and compared with the reference interpreter.
#pragma once
#include "tests/tools/compiled_tools.h"
#include "tests/tools/op_tools.h"

namespace compiled_test {

// One sample of an op, and what is computed of it.
struct Trial {
  std::string name;  // "exp, sample 3"
  op_test::Case sample;
  std::vector<kroton::Tensor> outputs;
  Tolerance tolerance;
};

// The values of all samples of the op; their sizes known, or free.
std::vector<Trial> value_trials(const kroton::OpRecord& op, bool free_sizes);
// The gradients of all its samples that have one.
std::vector<Trial> gradient_trials(const kroton::OpRecord& op, bool free_sizes);
// The first, the fourth and so on, for tests that take long for each: their number grows with ops
// times dtypes.
std::vector<Trial> every_third(const std::vector<Trial>& trials);

// At most so many of them, spread evenly, for compilers of kernels: an op of one kernel on a CPU
// may be twenty of a GPU, and some ops have a hundred samples.
std::vector<Trial> at_most(const std::vector<Trial>& trials, std::size_t most);

// Whether its inputs and outputs are, and far from the largest numbers.
bool is_finite(const Trial& trial);

// Checks that every output of every trial agrees with the reference interpreter, and on a CPU that
// finite trials raise no floating-point flag but inexact and underflow. Compiles several as one
// function, which is quicker than one for each, and those that differ in values and free sizes only
// once; where that throws, one for each, to tell which.
void check_trials(const std::vector<Trial>& trials, const kroton::Target& target = kroton::cpu());

}  // namespace compiled_test
