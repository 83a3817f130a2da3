// What a compiled object depends on, as a digest: its name in the on-disk cache.
#pragma once
#include <string>
#include <vector>

#include "compiler/lower/program.h"
#include "runtime/sha256.h"

namespace kroton {

// The digest of the Program, of Kroton's own version and of `target`: what kind of object is made
// ("cpu", "cuda"), for which processor, by which version of which code generator.
//
// Equal Programs have equal keys in every process, whatever it has made before: buffers, variables
// and sizes count by the order in which they appear, not by their ids. What does not change the
// object is left out: the names of buffers and variables, the user's source lines, the messages of
// the checks.
Digest cache_key(const Program& program, const std::vector<std::string>& target);

// A kernel apart from the buffers it works on and from the values of its floating constants.
// Kernels of one Program with equal digests do the same with their buffers and constants, which are
// listed as they appear in the kernel: one function serves them all.
struct KernelForm {
  Digest digest;
  std::vector<loop::BufferRef> buffers;  // inputs, outputs and scratch
  std::vector<loop::Expr> constants;     // each value once
};
KernelForm form_of(const Program& program, const loop::Kernel& kernel);

// Changes with every change of the compiler's sources, so that an object made by another compiler
// is never found.
const char* compiler_id();

}  // namespace kroton
