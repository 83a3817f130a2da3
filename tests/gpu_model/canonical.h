// The functions that what is known of GPUs without one is measured on: code of kernels, launch
// shapes, traffic, predicted times. Every form of kernel that there is, at the sizes that are asked
// for.
#pragma once
#include <kroton/kroton.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "compiler/lower/program.h"

namespace gpu_model {

// Values of the free sizes, by name.
using Sizes = std::map<std::string, std::int64_t>;

struct Case {
  std::string name;
  std::vector<kroton::Tensor> inputs, outputs;
  std::vector<std::pair<kroton::Shared, kroton::Tensor>> updates;
  std::vector<Sizes> sizes = {{}};
  bool is_step = false;    // a training step: many kernels, whose code others have too
  bool tf32 = false;       // Target::tf32
  bool libraries = false;  // for products and convolutions are there
  double moved = 0;        // bytes that must be, if more than those of arguments and results
};

std::vector<Case> cases();

// Lowered for a GPU of that compute capability.
kroton::Program lowered(const Case& one, int capability = 80);

// Expressions and sizes of the Program at these sizes; free sizes that have no value are 1. Blocks
// that wait for each other are as many as the device has processors.
class Evaluator {
 public:
  explicit Evaluator(const Sizes& sizes, std::int64_t processors = 132)
      : sizes_(sizes), processors_(processors) {}
  std::int64_t operator()(const kroton::DimAtom& size) const;
  std::int64_t operator()(const kroton::Dim& dim) const;
  // i64 arithmetic of sizes, as the number of blocks is.
  std::int64_t operator()(const kroton::loop::Expr& e) const;

 private:
  const Sizes& sizes_;
  std::int64_t processors_;
};

// "n=8 m=1000000", or "known" where none is free.
std::string to_string(const Sizes& sizes);

}  // namespace gpu_model
