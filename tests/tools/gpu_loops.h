// What is lowered for a GPU, run by the interpreter of the loop IR.
#pragma once
#include "compiler/lower/program.h"
#include "tests/tools/compiled_tools.h"

namespace compiled_test {

// The problem's outputs after all passes, lowered for a GPU.
kroton::Program lowered_for_gpu(const Problem& problem);
// Its outputs by the interpreter; no access may be out of range.
std::vector<kroton::Array> interpreted_for_gpu(const Problem& problem);
// Checks that these agree with the reference interpreter.
void check_for_gpu(const Problem& problem, const Tolerance& tolerance = {1e-4, 1e-12});

}  // namespace compiled_test
