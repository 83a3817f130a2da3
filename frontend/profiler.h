// Measures the kernels of a function's calls.
#pragma once
#include <kroton/profile.h>

#include <mutex>

#include "frontend/function_parts.h"
#include "runtime/print.h"

namespace kroton::detail {

class Profiler {
 public:
  explicit Profiler(const Program& program);

  // Runs the function and adds up what its kernels took.
  kroton_error run(const FunctionCore::Parts& parts, const Executable::Call& call,
                   const CallContext& context);
  // What the calls so far took, under the function's name.
  Profile profile(const std::string& name) const;

 private:
  struct Kernel {
    const loop::Kernel* kernel;  // of the function's Program
    int depth;
  };
  void collect(const std::vector<Step>& steps, int depth);

  std::vector<Kernel> kernels_;  // in program order, which numbers them
  mutable std::mutex mutex_;     // guards what follows
  Profile sums_;
  // Operations and bytes of one call of each kernel, for these sizes.
  std::vector<std::int64_t> sizes_;
  std::vector<std::pair<double, double>> costs_;
};

}  // namespace kroton::detail
