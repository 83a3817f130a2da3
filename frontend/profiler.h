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
  kroton_error run(Executable& executable, Executable::Call call, CallContext& context);
  // What the calls so far took, under the function's name.
  Profile profile(const std::string& name, const Executable& executable) const;

 private:
  void collect(const std::vector<Step>& steps, int depth);

  mutable std::mutex mutex_;  // guards what follows
  Profile sums_;              // kernels in program order, which numbers them
  // What one run of each kernel is, for these sizes.
  std::vector<std::int64_t> sizes_;
  std::vector<KernelCost> costs_;
};

}  // namespace kroton::detail
