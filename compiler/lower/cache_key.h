// What a compiled object depends on, as a digest: its name in the on-disk cache.
#pragma once
#include <string>
#include <vector>

#include "compiler/lower/open_kernel.h"
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
  std::vector<loop::Expr> constants;     // each value once, of an open kernel each number
};
KernelForm form_of(const Program& program, const loop::Kernel& kernel);

// The same apart from its whole numbers, too, from how much there is in its buffers, and from how
// much it has to do. The constants are the floating ones, and then the values of its numbers, one
// for each of them.
KernelForm open_form_of(const Program& program, const OpenKernel& open);

// Changes with every change of the compiler's sources, so that an object made by another compiler
// is never found.
const char* compiler_id();

}  // namespace kroton
