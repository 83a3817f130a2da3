// From a Program to the bytes of an object file. No LLVM header: the rest of the compiler includes
// this one.
#pragma once
#include "compiler/codegen/llvm/target.h"
#include "compiler/lower/program.h"

namespace kroton::aot {
struct CInterface;
}

namespace kroton::codegen {

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

// For how many programs this process has generated code so far.
std::int64_t compilation_count();
// Of the LLVM library that this process runs with: "19.1.7".
std::string llvm_version();

}  // namespace kroton::codegen
