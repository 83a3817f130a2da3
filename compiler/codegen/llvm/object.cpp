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

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <system_error>

#include "compiler/codegen/llvm/emit_c_interface.h"
#include "compiler/codegen/llvm/emit_program.h"
#include "compiler/codegen/llvm/process_end.h"
#include "compiler/codegen/llvm/setup.h"
#include "compiler/ir/deep_stack.h"
#include "runtime/pool.h"

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

// A code generator for the target, of which one compilation after the other makes use: its tables
// for a processor take as long to make as a small function.
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

struct GeneratedCode {
  std::string object;
  std::string llvm_ir;
  double optimize = 0, generate = 0;  // seconds
};

GeneratedCode generate(llvm::Module& module, const CpuTarget& target, llvm::TargetMachine& machine,
                       bool with_llvm_ir) {
  GeneratedCode result;
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
  make_tables(machine, *module.begin());
  optimize(module, machine);
  result.optimize = seconds_since(start);
  if (with_llvm_ir) {
    llvm::raw_string_ostream text(result.llvm_ir);
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
  result.generate = seconds_since(start);
  result.object = std::string(object.data(), object.size());
  return result;
}

// Generates code for modules while more of them are made: as many threads as the process computes
// with, the one that makes the modules among them once it is done with that.
class ParallelGenerator {
 public:
  ParallelGenerator(const CpuTarget& target, bool with_llvm_ir)
      : target_(target),
        with_llvm_ir_(with_llvm_ir),
        most_helpers_(static_cast<std::size_t>(Pool::global().workers() - 1)) {}

  ~ParallelGenerator() {
    const std::lock_guard lock(mutex_);
    waiting_.clear();  // what is left after an error
    is_complete_ = true;
    changed_.notify_all();
  }

  // A module that is ready while others are still being made.
  void add(OwnedModule module) {
    put(std::move(module));
    if (helpers_.size() >= most_helpers_) return;
    try {
      helpers_.emplace_back([this, uses = CompilerUse::count()] {
        const CompilerUse::Helper use(uses);
        work();
      });
    } catch (const std::system_error&) {
      most_helpers_ = 0;  // the system has no thread for this: those that run do the work
    } catch (const std::bad_alloc&) {
      most_helpers_ = 0;
    }
  }

  // Of all modules, in the order in which they came; `last` is the last one.
  std::vector<GeneratedCode> finish(OwnedModule last) {
    put(std::move(last));
    {
      const std::lock_guard lock(mutex_);
      is_complete_ = true;
      changed_.notify_all();
    }
    work();
    for (DeepThread& helper : helpers_) helper.join();
    return std::move(results_);
  }

 private:
  struct Task {
    std::size_t number;
    OwnedModule module;
  };

  void put(OwnedModule module) {
    const std::lock_guard lock(mutex_);
    waiting_.push_back({results_.size(), std::move(module)});
    results_.emplace_back();
    changed_.notify_one();
  }

  std::optional<Task> next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return is_complete_ || !waiting_.empty(); });
    if (waiting_.empty()) return std::nullopt;
    // The largest: what is left for the end, where threads run out of work, is small.
    const auto largest =
        std::max_element(waiting_.begin(), waiting_.end(), [](const Task& a, const Task& b) {
          return a.module.module->getInstructionCount() < b.module.module->getInstructionCount();
        });
    std::swap(*largest, waiting_.back());
    Task task = std::move(waiting_.back());
    waiting_.pop_back();
    return task;
  }

  void work() {
    const BorrowedMachine machine(target_, Purpose::jit);
    while (std::optional<Task> task = next()) {
      GeneratedCode code = generate(*task->module.module, target_, *machine, with_llvm_ir_);
      const std::lock_guard lock(mutex_);
      results_[task->number] = std::move(code);
    }
  }

  const CpuTarget& target_;
  const bool with_llvm_ir_;
  std::size_t most_helpers_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Task> waiting_;
  std::vector<GeneratedCode> results_;
  bool is_complete_ = false;
  std::vector<DeepThread> helpers_;  // the last member: they end before what they use
};

}  // namespace

std::string generate_objects(const Program& program, const CpuTarget& target, CompileTimes* times,
                             std::string* llvm_ir) {
  const CompilerUse use;
  CompileTimes local;
  CompileTimes& t = times ? *times : local;
  const auto start = std::chrono::steady_clock::now();
  ParallelGenerator generator(target, llvm_ir != nullptr);
  const auto emit = [&] {
    const BorrowedMachine machine(target, Purpose::jit);
    return emit_program(program, target.machine, *machine,
                        [&](OwnedModule module) { generator.add(std::move(module)); });
  };
  OwnedModule last = emit();
  t.emit = seconds_since(start);
  std::string objects;
  for (const GeneratedCode& code : generator.finish(std::move(last))) {
    t.optimize += code.optimize;
    t.generate += code.generate;
    if (llvm_ir) *llvm_ir += code.llvm_ir;
    const std::uint64_t length = code.object.size();
    objects.append(reinterpret_cast<const char*>(&length), sizeof length);
    objects += code.object;
  }
  t.all = seconds_since(start);
  ++compilations;
  return objects;
}

std::string generate_c_object(const Program& program, const aot::CInterface& interface,
                              const CpuTarget& target) {
  const CompilerUse use;
  const BorrowedMachine machine(target, Purpose::file);
  const OwnedModule all = emit_program(program, target.machine, *machine);
  emit_c_interface(*all.module, program, interface);
  ++compilations;
  return generate(*all.module, target, *machine, false).object;
}

std::vector<std::string_view> object_files(std::string_view objects) {
  std::vector<std::string_view> files;
  while (!objects.empty()) {
    std::uint64_t length = 0;
    if (objects.size() < sizeof length) throw InternalError("a list of object files is cut off");
    std::memcpy(&length, objects.data(), sizeof length);
    objects.remove_prefix(sizeof length);
    if (objects.size() < length) throw InternalError("a list of object files is cut off");
    files.push_back(objects.substr(0, length));
    objects.remove_prefix(length);
  }
  return files;
}

std::int64_t compilation_count() { return compilations.load(); }

std::string llvm_version() {
  unsigned major = 0, minor = 0, patch = 0;
  LLVMGetVersion(&major, &minor, &patch);
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
}

}  // namespace kroton::codegen
