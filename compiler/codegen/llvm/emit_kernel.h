// Prints one loop-IR kernel as an LLVM function. All choices (vector width, unrolling, threads)
// are in the kernel already.
#pragma once
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include <map>

#include "compiler/base/machine.h"
#include "compiler/lower/program.h"

namespace kroton::codegen {

// i32 kernel(ptr sizes, ptr context, i64 worker, i64 begin, i64 end, ptr noalias buffer...,
//            float or double number...).
// [begin, end) is the part of the parallel loop to run (ignored by kernels without one). Returns 0,
// or the error code after filling context->error.
struct EmittedKernel {
  llvm::Function* function = nullptr;
  loop::Expr parallel_extent;  // null when there is no parallel loop
  bool has_checks = false;
};

// Values of Dims from the `sizes` argument, shared by kernels and the program's entry.
class SizeEmitter {
 public:
  SizeEmitter(const std::vector<DimAtomRef>& variables, llvm::Value* sizes)
      : variables_(variables), sizes_(sizes) {}
  llvm::Value* emit(llvm::IRBuilder<>& builder, const Dim& dim) const;

 private:
  // What has been printed of one size: sizes of nested joins repeat the same operations.
  using Emitted = std::unordered_map<const DimAtom*, llvm::Value*>;
  llvm::Value* emit(llvm::IRBuilder<>& builder, const Dim& dim, Emitted& emitted) const;
  const std::vector<DimAtomRef>& variables_;
  llvm::Value* sizes_;
};

// `buffers`: those of inputs, outputs and scratch, in the order of the parameters; `numbers`:
// variables of the kernel that its caller gives a value. `machine`: the one that the code is for.
EmittedKernel emit_kernel(llvm::Module& module, const Program& program, const loop::Kernel& kernel,
                          const std::vector<loop::BufferRef>& buffers,
                          const std::vector<loop::Variable>& numbers, const Machine& machine);

// The type of such a function: with how many buffers, and numbers of which dtypes.
llvm::FunctionType* kernel_type(llvm::LLVMContext& context, std::size_t buffers,
                                const std::vector<DType>& numbers);

// void kroton_report(context, index, size, site): notes the call's first error.
llvm::Function* report_function(llvm::Module& module);

llvm::Type* llvm_type(llvm::LLVMContext& context, DType dtype);  // of a value: boolean is i1
// A floating number, held as its bits where it is only stored.
llvm::Constant* real_constant(llvm::LLVMContext& context, double value, DType dtype);
llvm::Type* memory_type(llvm::LLVMContext& context, DType dtype);  // in memory: boolean is i8

}  // namespace kroton::codegen
