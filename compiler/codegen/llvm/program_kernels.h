// The kernels of a Program as LLVM functions, in one module or in several.
#pragma once
#include <llvm/IR/Module.h>
#include <llvm/Target/TargetMachine.h>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>
#include <vector>

#include "compiler/base/machine.h"
#include "compiler/codegen/llvm/emit_kernel.h"
#include "compiler/lower/cache_key.h"

namespace kroton::codegen {

// A module with a context of its own, so that code can be generated for several at the same time.
struct OwnedModule {
  std::unique_ptr<llvm::LLVMContext> context;
  std::unique_ptr<llvm::Module> module;
};

// Takes a module that nothing more comes to.
using ModuleSink = std::function<void(OwnedModule)>;

// Emits one function for all kernels of a form (KernelForm). Constants that differ between them are
// the last parameters of the function. Where many forms differ in whole numbers only, they are one:
// what is unrolled, step by step or element by element, is as much code as one step.
class ProgramKernels {
 public:
  // Emits all kernels in the order of the steps. A module that is large enough goes to `full`;
  // without `full` there is one module only.
  ProgramKernels(const Program& program, const Machine& machine, const llvm::TargetMachine& target,
                 ModuleSink full);

  // The module that is left, with the last kernels: the entry's. Once.
  OwnedModule take_last() { return std::move(last_); }

  struct Callable {
    llvm::Function* function;
    loop::Expr parallel_extent;  // null when there is no parallel loop
    bool has_checks;
    const std::vector<loop::BufferRef>& buffers;  // the arguments after the first five
    std::vector<loop::Expr> numbers;              // the last arguments: reals, integers and sizes
  };
  // What runs the kernel, in the entry's module.
  Callable callable(const loop::Kernel& kernel, llvm::Module& entry) const;

 private:
  // One function for all kernels of a form.
  struct Shared {
    EmittedKernel emitted;              // its function is null when its module is gone
    std::string symbol;                 // of a function in a module of its own
    std::vector<loop::Expr> constants;  // of the first kernel
    std::set<std::size_t> differing;    // the constants that are not the same in all of them
  };

  void find_forms(const std::vector<Step>& steps);
  void join_forms();
  void find_differences();
  void emit(const std::vector<Step>& steps);
  void emit(const loop::Kernel& kernel, const KernelForm& form, Shared& shared);
  void start_module();
  void hand_over();

  const Program& program_;
  const Machine machine_;
  const llvm::TargetMachine& target_;
  const ModuleSink full_;
  OwnedModule last_;
  int symbols_ = 0;
  std::size_t instructions_ = 0;              // in the module
  std::vector<Shared*> in_module_;            // whose functions are in it
  std::vector<const loop::Kernel*> kernels_;  // in the order of the steps
  std::unordered_map<const loop::Kernel*, KernelForm> forms_;
  std::unordered_map<const loop::Kernel*, OpenKernel> open_;  // of those that have such a form
  std::map<Digest, Shared> shared_;                           // by the forms of the kernels
};

}  // namespace kroton::codegen
