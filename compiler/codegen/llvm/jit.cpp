#include "compiler/codegen/llvm/jit.h"

#include <kroton/error.h>
#include <llvm-c/Core.h>
#include <llvm/Analysis/CGSCCPassManager.h>
#include <llvm/Analysis/LoopAnalysisManager.h>
#include <llvm/Analysis/TargetLibraryInfo.h>
#include <llvm/CodeGen/SelectionDAGNodes.h>
#include <llvm/CodeGen/TargetInstrInfo.h>
#include <llvm/CodeGen/TargetSubtargetInfo.h>
#include <llvm/ExecutionEngine/Orc/LLJIT.h>
#include <llvm/IR/LegacyPassManager.h>
#include <llvm/IR/PrintPasses.h>
#include <llvm/IR/Verifier.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Passes/PassBuilder.h>
#include <llvm/Support/DynamicLibrary.h>
#include <llvm/Support/MemoryBuffer.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/Support/raw_ostream.h>
#include <llvm/TargetParser/Host.h>
#include <llvm/Transforms/InstCombine/InstCombine.h>
#include <llvm/Transforms/Scalar/EarlyCSE.h>
#include <llvm/Transforms/Scalar/SROA.h>
#include <llvm/Transforms/Scalar/SimplifyCFG.h>

#include <atomic>
#include <bit>
#include <chrono>
#include <mutex>

#include "compiler/codegen/llvm/emit_c_interface.h"
#include "compiler/codegen/llvm/emit_program.h"
#include "compiler/codegen/llvm/process_end.h"

namespace kroton::codegen {
namespace {

std::atomic<std::int64_t> compilations{0};
std::atomic<bool> quick_preferred{false};

void initialize_llvm() {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
    llvm::sys::DynamicLibrary::LoadLibraryPermanently(nullptr);  // what linking makes a table of
    CompilerUse::guard_tables();
  });
}

// LLVM makes some tables when it first needs them. Those that code generation always needs are made
// here, each with a guard right after it, so that exit finds the guard first. The rest are guarded
// once they are there.
void make_tables(const llvm::TargetMachine& machine, const llvm::Function& function) {
  static std::once_flag once;
  const auto make = [](const auto& action) {
    action();
    CompilerUse::guard_tables();
  };
  std::call_once(once, [&] {
    make([&] {
      llvm::LibFunc ignored{};
      llvm::TargetLibraryInfoImpl(machine.getTargetTriple()).getLibFunc("fma", ignored);
    });
    make([] { llvm::isPassInPrintList("none"); });
    make([] { llvm::isFunctionInPrintList("none"); });
    make([] {
      struct Typed : llvm::SDNode {
        Typed()
            : SDNode(llvm::ISD::HANDLENODE, 0, llvm::DebugLoc(), getSDVTList(llvm::MVT::Other)) {}
      } const node;
    });
    make([&] {
      const llvm::TargetInstrInfo& instructions =
          *machine.getSubtargetImpl(function)->getInstrInfo();
      instructions.getOpcodeAfterMemoryUnfold(0, true, false);
    });
  });
}

// To be called when code has been generated: the first, second, fourth, ... time.
void guard_new_tables() {
  static std::atomic<std::uint64_t> count{0};
  if (std::has_single_bit(++count)) CompilerUse::guard_tables();
}

// Code generators for processors other than the host's.
void initialize_foreign_targets() {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeAllTargetInfos();
    llvm::InitializeAllTargets();
    llvm::InitializeAllTargetMCs();
    llvm::InitializeAllAsmPrinters();
  });
}

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
    const std::string width = std::to_string(target.vector_bytes * 8);
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

template <class T>
T checked(llvm::Expected<T> value, const char* what) {
  if (value) return std::move(*value);
  throw InternalError(std::string(what) + ": " + llvm::toString(value.takeError()));
}

void checked(llvm::Error error, const char* what) {
  if (error) throw InternalError(std::string(what) + ": " + llvm::toString(std::move(error)));
}

class JitProgram final : public CompiledProgram {
 public:
  JitProgram(std::unique_ptr<llvm::orc::LLJIT> jit, kroton_entry function)
      : jit_(std::move(jit)), entry_(function) {}
  kroton_entry entry() const override { return entry_; }

 private:
  std::unique_ptr<llvm::orc::LLJIT> jit_;
  kroton_entry entry_;
};

}  // namespace

CpuTarget host_target() {
  CpuTarget target;
  target.cpu = llvm::sys::getHostCPUName().str();
  const auto features = llvm::sys::getHostCPUFeatures();
  const auto has = [&](const char* name) {
    const auto it = features.find(name);
    return it != features.end() && it->second;
  };
  for (const auto& feature : features) {
    if (!target.features.empty()) target.features += ',';
    target.features += (feature.second ? "+" : "-") + feature.first().str();
  }
  target.vector_bytes = has("avx512f") && has("avx512vl") && has("avx512bw") ? 64
                        : has("avx2")                                        ? 32
                                                                             : 16;
  target.quick = quick_preferred;
  return target;
}

void prefer_quick_code(bool preferred) { quick_preferred = preferred; }

CpuTarget named_target(const std::string& name) {
  const std::string x86 = "x86_64-unknown-linux-gnu";
  if (name == "native") return host_target();
  if (name == "x86-64-v2") return {name, "", 16, x86};
  if (name == "x86-64-v3") return {name, "", 32, x86};
  if (name == "x86-64-v4") return {name, "", 64, x86};
  if (name == "aarch64") return {"generic", "+neon", 16, "aarch64-unknown-linux-gnu"};
  throw DeviceError("there is no target \"" + name +
                    "\"; the targets are native, x86-64-v2, x86-64-v3, x86-64-v4 and aarch64");
}

std::string generate_object(const Program& program, const CpuTarget& target, CompileTimes* times,
                            std::string* llvm_ir) {
  const CompilerUse use;
  CompileTimes local;
  CompileTimes& t = times ? *times : local;
  auto machine = make_machine(target, Purpose::jit);
  const auto start = std::chrono::steady_clock::now();
  llvm::LLVMContext context;
  auto module = emit_program(context, program, *machine);
  t.emit = seconds_since(start);
  return generate(*module, target, *machine, t, llvm_ir);
}

std::string generate_c_object(const Program& program, const aot::CInterface& interface,
                              const CpuTarget& target) {
  const CompilerUse use;
  auto machine = make_machine(target, Purpose::file);
  llvm::LLVMContext context;
  auto module = emit_program(context, program, *machine);
  emit_c_interface(*module, program, interface);
  CompileTimes times;
  return generate(*module, target, *machine, times, nullptr);
}

std::shared_ptr<CompiledProgram> link_object(
    const std::string& object, const Callees& called, CompileTimes* times) {
  const CompilerUse use;
  initialize_llvm();
  const auto start = std::chrono::steady_clock::now();
  auto jit = checked(llvm::orc::LLJITBuilder().create(), "creating the JIT");
  llvm::orc::SymbolMap symbols;
  for (const auto& callee : called) {
    symbols[jit->mangleAndIntern(callee->options.name)] = {
        llvm::orc::ExecutorAddr::fromPtr(callee->options.function),
        llvm::JITSymbolFlags::Exported | llvm::JITSymbolFlags::Callable};
  }
  checked(jit->getMainJITDylib().define(llvm::orc::absoluteSymbols(std::move(symbols))),
          "naming the functions that are called");
  checked(jit->addObjectFile(llvm::MemoryBuffer::getMemBufferCopy(object, "kroton")),
          "linking the compiled program");
  const auto symbol = checked(jit->lookup(entry_symbol), "looking up the compiled program");
  if (times) times->link = seconds_since(start);
  return std::make_shared<JitProgram>(std::move(jit), symbol.toPtr<kroton_entry>());
}

std::int64_t compilation_count() { return compilations.load(); }

std::string llvm_version() {
  unsigned major = 0, minor = 0, patch = 0;
  LLVMGetVersion(&major, &minor, &patch);
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
}

}  // namespace kroton::codegen
