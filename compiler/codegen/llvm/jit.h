// From a Program to machine code in this process. No LLVM header: the rest of the compiler
// includes this one.
#pragma once
#include <memory>
#include <string>

#include "compiler/lower/program.h"
#include "runtime/abi.h"

namespace kroton::aot {
struct CInterface;
}

namespace kroton::codegen {

// What a kernel may assume about the processor it runs on.
struct CpuTarget {
  std::string cpu;          // LLVM's name: "znver4", "x86-64-v3"
  std::string features;     // LLVM's feature string
  int vector_bytes;         // of the widest vector register to use: 64, 32 or 16
  std::string triple = {};  // LLVM's name of processor family and system; empty: this process's
  bool quick = false;       // machine code that is made in half the time, and is slower
};
CpuTarget host_target();
// Whether host_target() is quick from now on, for this process: tests that compile much and run
// little.
void prefer_quick_code(bool preferred);
// "native" (the host), "x86-64-v2", "x86-64-v3", "x86-64-v4" or "aarch64": Linux on that processor.
// DeviceError, naming the ones there are, for another name.
CpuTarget named_target(const std::string& name);

// Machine code and its memory; the code lives as long as this does.
class CompiledProgram {
 public:
  virtual ~CompiledProgram() = default;
  virtual kroton_entry entry() const = 0;
};

struct CompileTimes {
  double emit = 0, optimize = 0, generate = 0, link = 0;  // seconds
};

// The bytes of an object file that defines the Program's entry. `llvm_ir`, if given, receives the
// text of the module that code is generated from.
std::string generate_object(const Program& program, const CpuTarget& target,
                            CompileTimes* times = nullptr, std::string* llvm_ir = nullptr);
// The bytes of an object file with the C functions of `interface` (compiler/aot/c_interface.h),
// which check their arguments and then run the Program.
std::string generate_c_object(const Program& program, const aot::CInterface& interface,
                              const CpuTarget& target);
// That object in this process, with the functions of the user's own that it calls.
std::shared_ptr<CompiledProgram> link_object(const std::string& object,
                                             const Callees& called = {},
                                             CompileTimes* times = nullptr);

// For how many programs this process has generated code so far.
std::int64_t compilation_count();
// Of the LLVM library that this process runs with: "19.1.7".
std::string llvm_version();

}  // namespace kroton::codegen
