#include "compiler/codegen/llvm/program_kernels.h"

#include "compiler/loop/traverse.h"

namespace kroton::codegen {
namespace {

// Of a module that code is generated for on one thread: what a module costs of its own is little
// beside it, and the last one to be ready is not long alone.
constexpr std::size_t instructions_of_module = 500;

// Forms that differ in whole numbers only, from which on they share a function. A number that is
// known makes a little better code, and a few functions are compiled soon.
constexpr std::size_t least_alike = 8;

// The extent of the kernel's parallel loop.
loop::Expr parallel_extent_of(const loop::Kernel& kernel) {
  loop::Expr extent;
  loop::visit_statements(kernel.body, [&](const loop::Stmt& s) {
    const loop::For* loop = loop::as_for(s);
    if (loop && loop->kind == loop::LoopKind::parallel) extent = loop->extent;
  });
  return extent;
}

}  // namespace

ProgramKernels::ProgramKernels(const Program& program, const Machine& machine,
                               const llvm::TargetMachine& target, ModuleSink full)
    : program_(program), machine_(machine), target_(target), full_(std::move(full)) {
  start_module();
  find_forms(program.steps);
  join_forms();
  find_differences();
  emit(program.steps);
}

void ProgramKernels::start_module() {
  last_.context = std::make_unique<llvm::LLVMContext>();
  last_.module = std::make_unique<llvm::Module>(program_.name, *last_.context);
  last_.module->setDataLayout(target_.createDataLayout());
  last_.module->setTargetTriple(target_.getTargetTriple().str());
  instructions_ = 0;
  in_module_.clear();
}

void ProgramKernels::find_forms(const std::vector<Step>& steps) {
  for (const Step& step : steps) {
    if (const auto* kernel = as<loop::Kernel>(step)) {
      kernels_.push_back(kernel);
      forms_[kernel] = form_of(program_, *kernel);
    }
    for_each_inner(step, [this](const auto& inner) { find_forms(inner); });
  }
}

// Forms that are alike but for whole numbers become one where there are many of them.
void ProgramKernels::join_forms() {
  std::map<Digest, std::vector<const loop::Kernel*>> of_form;
  for (const loop::Kernel* kernel : kernels_) of_form[forms_.at(kernel).digest].push_back(kernel);
  if (of_form.size() < least_alike) return;
  std::map<Digest, std::vector<Digest>> alike;
  for (const auto& [form, kernels] : of_form) {
    const OpenKernel open = open_numbers(*kernels.front());
    if (!open.numbers.empty()) alike[open_form_of(program_, open).digest].push_back(form);
  }
  for (const auto& [open_form, forms] : alike) {
    if (forms.size() < least_alike) continue;
    for (const Digest& form : forms) {
      for (const loop::Kernel* kernel : of_form.at(form)) {
        const OpenKernel& open = open_[kernel] = open_numbers(*kernel);
        forms_[kernel] = open_form_of(program_, open);
      }
    }
  }
}

void ProgramKernels::find_differences() {
  for (const loop::Kernel* kernel : kernels_) {
    const KernelForm& form = forms_.at(kernel);
    const auto [known, is_new] =
        shared_.try_emplace(form.digest, Shared{{}, {}, form.constants, {}});
    Shared& shared = known->second;
    for (std::size_t k = 0; k < form.constants.size(); ++k) {
      if (shared.constants[k] != form.constants[k]) shared.differing.insert(k);
    }
  }
}

void ProgramKernels::emit(const std::vector<Step>& steps) {
  for (const Step& step : steps) {
    if (const auto* kernel = as<loop::Kernel>(step)) {
      const KernelForm& form = forms_.at(kernel);
      Shared& shared = shared_.at(form.digest);
      if (!shared.emitted.function && shared.symbol.empty()) emit(*kernel, form, shared);
    }
    for_each_inner(step, [this](const auto& inner) { emit(inner); });
  }
}

void ProgramKernels::emit(const loop::Kernel& kernel, const KernelForm& form, Shared& shared) {
  if (full_ && instructions_ >= instructions_of_module) hand_over();
  const auto open = open_.find(&kernel);
  if (shared.differing.empty() && open == open_.end()) {
    shared.emitted = emit_kernel(*last_.module, program_, kernel, form.buffers, {}, machine_);
  } else {
    loop::Kernel general = kernel;
    std::unordered_map<const loop::ExprNode*, loop::Expr> stand_ins;
    std::vector<loop::Variable> numbers;
    std::size_t reals = form.constants.size();
    if (open != open_.end()) {
      const auto& [body, variables, values] = open->second;
      general.body = body;
      reals -= variables.size();
      for (std::size_t k = 0; k < variables.size(); ++k) {
        if (shared.differing.contains(reals + k)) continue;
        stand_ins.emplace(loop::variable(variables[k]).get(), values[k]);
      }
    }
    for (const std::size_t k : shared.differing) {
      const loop::Expr& constant = form.constants[k];
      if (k >= reals) {
        numbers.push_back(open->second.numbers[k - reals]);
        continue;
      }
      numbers.push_back(loop::fresh_variable("number", constant->dtype));
      stand_ins.emplace(constant.get(), loop::variable(numbers.back()));
    }
    general.body = loop::Rewriter([&](const loop::Expr& e) {
      const auto found = stand_ins.find(e.get());
      return found == stand_ins.end() ? e : found->second;
    })(general.body);
    shared.emitted = emit_kernel(*last_.module, program_, general, form.buffers, numbers, machine_);
  }
  instructions_ += shared.emitted.function->getInstructionCount();
  in_module_.push_back(&shared);
}

// The functions become symbols that the entry's module declares.
void ProgramKernels::hand_over() {
  for (Shared* shared : in_module_) {
    llvm::Function* function = shared->emitted.function;
    shared->symbol = "kroton_kernel_" + std::to_string(symbols_++);
    function->setName(shared->symbol);
    function->setLinkage(llvm::Function::ExternalLinkage);
    function->setVisibility(llvm::Function::HiddenVisibility);
    shared->emitted.function = nullptr;
  }
  full_(std::move(last_));
  start_module();
}

ProgramKernels::Callable ProgramKernels::callable(const loop::Kernel& kernel,
                                                  llvm::Module& entry) const {
  const KernelForm& form = forms_.at(&kernel);
  const Shared& shared = shared_.at(form.digest);
  Callable result{shared.emitted.function,
                  shared.emitted.parallel_extent,
                  shared.emitted.has_checks,
                  form.buffers,
                  {}};
  for (const std::size_t k : shared.differing) result.numbers.push_back(form.constants[k]);
  if (open_.contains(&kernel)) result.parallel_extent = parallel_extent_of(kernel);
  if (result.function) return result;
  result.function = entry.getFunction(shared.symbol);
  if (result.function) return result;
  std::vector<DType> dtypes;
  for (const loop::Expr& number : result.numbers) dtypes.push_back(number->dtype);
  result.function =
      llvm::Function::Create(kernel_type(entry.getContext(), form.buffers.size(), dtypes),
                             llvm::Function::ExternalLinkage, shared.symbol, entry);
  result.function->addFnAttr(llvm::Attribute::NoUnwind);
  return result;
}

}  // namespace kroton::codegen
