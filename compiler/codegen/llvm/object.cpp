#include "compiler/codegen/llvm/object.h"

#include <kroton/error.h>
#include <llvm-c/Core.h>
#include <llvm/Analysis/CGSCCPassManager.h>
#include <llvm/Analysis/LoopAnalysisManager.h>
#include <llvm/IR/LegacyPassManager.h>
#include <llvm/IR/Verifier.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Passes/PassBuilder.h>
#include <llvm/Support/raw_ostream.h>
#include <llvm/TargetParser/Host.h>
#include <llvm/Transforms/InstCombine/InstCombine.h>
#include <llvm/Transforms/Scalar/EarlyCSE.h>
#include <llvm/Transforms/Scalar/SROA.h>
#include <llvm/Transforms/Scalar/SimplifyCFG.h>

#include <atomic>
#include <chrono>
#include <map>
#include <mutex>

#include "compiler/codegen/llvm/emit_c_interface.h"
#include "compiler/codegen/llvm/emit_program.h"
#include "compiler/codegen/llvm/process_end.h"
#include "compiler/codegen/llvm/setup.h"

namespace kroton::codegen {
namespace {

std::atomic<std::int64_t> compilations{0};

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// What an object file is for: to be linked into this process, or by the user's linker.
enum class Purpose : std::uint8_t { jit, file };

std::unique_ptr<llvm::TargetMachine> make_machine(const CpuTarget& target, Purpose purpose) {
  initialize_llvm();
  std::string triple = target.triple;
  if (triple.empty()) {
    triple = llvm::sys::getProcessTriple();
  } else {
    initialize_foreign_targets();
  }
  std::string message;
  const llvm::Target* found = llvm::TargetRegistry::lookupTarget(triple, message);
  if (!found) throw DeviceError("LLVM has no code generator for " + triple + ": " + message);
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Strict;  // only the fma that the kernel asks for
  // A linker can then drop what a program does not use, such as initial values.
  options.FunctionSections = purpose == Purpose::file;
  options.DataSections = purpose == Purpose::file;
  return std::unique_ptr<llvm::TargetMachine>(found->createTargetMachine(
      triple, target.cpu, target.features, options, llvm::Reloc::PIC_, std::nullopt,
      target.quick ? llvm::CodeGenOptLevel::None : llvm::CodeGenOptLevel::Less,
      /*JIT=*/purpose == Purpose::jit));
}

// A code generator for the target, of which one compilation after the other makes use: its tables for
// a processor take as long to make as a small function.
class BorrowedMachine {
 public:
  BorrowedMachine(const CpuTarget& target, Purpose purpose)
      : key_(target.triple + '/' + target.cpu + '/' + target.features +
             (target.quick ? "/quick/" : "/") + (purpose == Purpose::jit ? "jit" : "file")) {
    {
      const std::lock_guard lock(idle_mutex());
      std::vector<std::unique_ptr<llvm::TargetMachine>>& idle = idle_machines()[key_];
      if (!idle.empty()) {
        machine_ = std::move(idle.back());
        idle.pop_back();
      }
    }
    if (!machine_) machine_ = make_machine(target, purpose);
  }
  ~BorrowedMachine() {
    const std::lock_guard lock(idle_mutex());
    idle_machines()[key_].push_back(std::move(machine_));
  }
  BorrowedMachine(const BorrowedMachine&) = delete;
  BorrowedMachine& operator=(const BorrowedMachine&) = delete;
  llvm::TargetMachine& operator*() const { return *machine_; }

 private:
  // Never destroyed: a function may still be compiled while the process ends.
  static std::mutex& idle_mutex() {
    static auto& mutex = *new std::mutex;
    return mutex;
  }
  static std::map<std::string, std::vector<std::unique_ptr<llvm::TargetMachine>>>& idle_machines() {
    static auto& machines =
        *new std::map<std::string, std::vector<std::unique_ptr<llvm::TargetMachine>>>;
    return machines;
  }

  const std::string key_;
  std::unique_ptr<llvm::TargetMachine> machine_;
};

// The emitters already place, hoist and vectorise; what is left is turning slots into registers
// and folding addresses.
void optimize(llvm::Module& module, llvm::TargetMachine& machine) {
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager sccs;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(&machine);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(sccs);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, sccs, modules);
  llvm::FunctionPassManager passes;
  passes.addPass(llvm::SROAPass(llvm::SROAOptions::PreserveCFG));
  passes.addPass(llvm::EarlyCSEPass(true));
  passes.addPass(llvm::InstCombinePass());
  passes.addPass(llvm::SimplifyCFGPass());
  llvm::ModulePassManager manager;
  manager.addPass(llvm::createModuleToFunctionPassAdaptor(std::move(passes)));
  manager.run(module, modules);
}

std::string generate(llvm::Module& module, const CpuTarget& target, llvm::TargetMachine& machine,
                     CompileTimes& times, std::string* llvm_ir) {
  auto start = std::chrono::steady_clock::now();
  for (llvm::Function& f : module) {
    const std::string width = std::to_string(target.machine.vector_bytes * 8);
    f.addFnAttr("min-legal-vector-width", width);
    f.addFnAttr("prefer-vector-width", width);
    f.addFnAttr("target-cpu", target.cpu);
    f.addFnAttr("target-features", target.features);
  }
  std::string problems;
  llvm::raw_string_ostream problem_stream(problems);
  if (llvm::verifyModule(module, &problem_stream)) {
    throw InternalError("the emitted LLVM module is not valid: " + problem_stream.str());
  }
  times.emit += seconds_since(start);
  start = std::chrono::steady_clock::now();
  make_tables(machine, *module.begin());
  optimize(module, machine);
  times.optimize = seconds_since(start);
  if (llvm_ir) {
    llvm::raw_string_ostream text(*llvm_ir);
    module.print(text, nullptr);
  }
  start = std::chrono::steady_clock::now();
  llvm::SmallVector<char, 0> object;
  llvm::raw_svector_ostream stream(object);
  llvm::legacy::PassManager passes;
  if (machine.addPassesToEmitFile(passes, stream, nullptr, llvm::CodeGenFileType::ObjectFile)) {
    throw InternalError("LLVM cannot write object files for this target");
  }
  passes.run(module);
  guard_new_tables();
  times.generate = seconds_since(start);
  ++compilations;
  return std::string(object.data(), object.size());
}

}  // namespace

std::string generate_object(const Program& program, const CpuTarget& target, CompileTimes* times,
                            std::string* llvm_ir) {
  const CompilerUse use;
  CompileTimes local;
  CompileTimes& t = times ? *times : local;
  const BorrowedMachine machine(target, Purpose::jit);
  const auto start = std::chrono::steady_clock::now();
  llvm::LLVMContext context;
  auto module = emit_program(context, program, target.machine, *machine);
  t.emit = seconds_since(start);
  return generate(*module, target, *machine, t, llvm_ir);
}

std::string generate_c_object(const Program& program, const aot::CInterface& interface,
                              const CpuTarget& target) {
  const CompilerUse use;
  const BorrowedMachine machine(target, Purpose::file);
  llvm::LLVMContext context;
  auto module = emit_program(context, program, target.machine, *machine);
  emit_c_interface(*module, program, interface);
  CompileTimes times;
  return generate(*module, target, *machine, times, nullptr);
}

std::int64_t compilation_count() { return compilations.load(); }

std::string llvm_version() {
  unsigned major = 0, minor = 0, patch = 0;
  LLVMGetVersion(&major, &minor, &patch);
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
}

}  // namespace kroton::codegen
