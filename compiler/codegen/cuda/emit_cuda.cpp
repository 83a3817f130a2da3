#include "compiler/codegen/cuda/emit_cuda.h"

#include <map>
#include <unordered_map>
#include <utility>

#include "compiler/codegen/cuda/kernel_printer.h"
#include "compiler/codegen/cuda/prelude.h"
#include "compiler/loop/elementary.h"
#include "compiler/loop/traverse.h"

namespace kroton::codegen {

namespace {

bool has_matrices(const loop::Kernel& kernel) {
  bool has = false;
  loop::visit_statements(kernel.body, [&](const loop::Stmt& s) {
    has = has || std::holds_alternative<loop::Copy>(s) || std::holds_alternative<loop::Multiply>(s);
  });
  return has;
}

// One text of kernels, with what they need before it.
class CudaText {
 public:
  explicit CudaText(const Program& program) : program_(program) {}

  CudaKernel add(const loop::Kernel& kernel) {
    has_matrices_ = has_matrices_ || has_matrices(kernel);
    std::string text;
    CudaKernel result =
        KernelPrinter(program_, loop::place_values(loop::with_arithmetic(kernel))).run(text);
    // Kernels that differ in nothing but their buffers are one function: passes of a sort, say.
    std::string nameless = text;
    nameless.erase(text.find(" " + kernel.name + "("), kernel.name.size() + 1);
    const auto [known, is_new] = names_.try_emplace(std::move(nameless), kernel.name);
    result.name = known->second;
    if (is_new) kernels_ += text;
    return result;
  }
  std::string whole() const {
    return "// " + program_.name + "\n" + std::string(cuda_prelude) +
           (has_matrices_ ? std::string(matrix_prelude) : "") + kernels_;
  }

 private:
  const Program& program_;
  bool has_matrices_ = false;
  std::string kernels_;
  std::unordered_map<std::string, std::string> names_;  // by the kernel's text without it
};

void emit(const std::vector<Step>& steps, const Program& program, CudaProgram& result,
          CudaText& always, std::map<std::pair<int, int>, int>& numbers,
          std::vector<CudaText>& candidates) {
  for (const Step& step : steps) {
    if (const auto* kernel = as<loop::Kernel>(step)) {
      if (step.choice < 0) {
        result.kernels.push_back(always.add(*kernel));
        continue;
      }
      const auto [found, fresh] =
          numbers.try_emplace({step.choice, step.candidate}, static_cast<int>(candidates.size()));
      if (fresh) candidates.emplace_back(program);
      result.kernels.push_back(candidates[static_cast<std::size_t>(found->second)].add(*kernel));
      result.kernels.back().text = found->second;
    }
    for_each_inner(step, [&](const auto& inner) {
      emit(inner, program, result, always, numbers, candidates);
    });
  }
}

}  // namespace

CudaProgram emit_cuda(const Program& program) {
  CudaProgram result;
  CudaText always(program);
  std::map<std::pair<int, int>, int> numbers;  // of candidates, by choice and candidate
  std::vector<CudaText> candidates;
  emit(program.steps, program, result, always, numbers, candidates);
  result.source = always.whole();
  for (const CudaText& text : candidates) result.candidates.push_back(text.whole());
  return result;
}

}  // namespace kroton::codegen
