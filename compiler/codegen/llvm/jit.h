// Object code in this process.
#pragma once
#include <memory>

#include "compiler/codegen/llvm/object.h"
#include "runtime/abi.h"

namespace kroton::codegen {

// Machine code and its memory; the code lives as long as this does.
class CompiledProgram {
 public:
  virtual ~CompiledProgram() = default;
  virtual kroton_entry entry() const = 0;
};

// What generate_objects gives, in this process, with the functions of the user's own that it calls.
std::shared_ptr<CompiledProgram> link_objects(std::string_view objects, const Callees& called = {},
                                              CompileTimes* times = nullptr);

}  // namespace kroton::codegen
