// A Program and the memory of one call of it, for tests that run its kernels one by one.
#pragma once
#include <kroton/array.h>

#include <map>
#include <optional>
#include <vector>

#include "compiler/loop/interpreter.h"
#include "compiler/lower/program.h"

namespace compiled_test {

class ProgramCall {
 public:
  ProgramCall(const kroton::Program& program, const std::vector<kroton::Array>& inputs);

  // Runs the steps by the interpreter of the loop IR, until one fails. Prints show nothing.
  std::optional<kroton::loop::IndexFault> interpret();

  // Inputs, shared variables, outputs.
  const std::vector<kroton::Array>& arrays() const { return arrays_; }
  std::vector<kroton::Array> outputs() const;
  std::vector<void*> args();
  std::vector<std::int64_t> sizes() const;  // the values of Program::sizes
  void* arena() { return arena_.raw(); }
  void* address(const kroton::loop::BufferRef& buffer);
  std::int64_t value(const kroton::Dim& dim) const;

 private:
  std::optional<kroton::loop::IndexFault> interpret(const std::vector<kroton::Step>& steps);
  void invoke(const kroton::Call& call);
  std::int64_t number(const kroton::loop::Expr& e) const;
  const kroton::Program& program_;
  std::map<std::uint64_t, std::int64_t> values_;
  std::map<int, std::int64_t> steps_;  // of the loops in progress, by variable
  std::vector<kroton::Array> arrays_;
  kroton::Array arena_;
};

}  // namespace compiled_test
