// From a Program to the bytes of an object file. No LLVM header: the rest of the compiler includes
// this one.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "compiler/codegen/llvm/target.h"
#include "compiler/lower/program.h"

namespace kroton::aot {
struct CInterface;
}

namespace kroton::codegen {

struct CompileTimes {
  double emit = 0;                    // seconds
  double optimize = 0, generate = 0;  // of all threads together
  double all = 0;                     // until all threads are done
  double link = 0;
};

// Object files that define the Program's entry and its kernels, each after its length. Threads of
// the pool's number make them; the bytes do not depend on how many those are. `llvm_ir`, if given,
// receives the text of the modules that code is generated from.
std::string generate_objects(const Program& program, const CpuTarget& target,
                             CompileTimes* times = nullptr, std::string* llvm_ir = nullptr);
// The files, in the bytes given. InternalError for other bytes.
std::vector<std::string_view> object_files(std::string_view objects);

// The bytes of an object file with the C functions of `interface` (compiler/aot/c_interface.h),
// which check their arguments and then run the Program.
std::string generate_c_object(const Program& program, const aot::CInterface& interface,
                              const CpuTarget& target);

// For how many programs this process has generated code so far.
std::int64_t compilation_count();
// Of the LLVM library that this process runs with: "19.1.7".
std::string llvm_version();

}  // namespace kroton::codegen
