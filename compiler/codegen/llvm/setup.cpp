#include "compiler/codegen/llvm/setup.h"

#include <llvm/Analysis/TargetLibraryInfo.h>
#include <llvm/CodeGen/SelectionDAGNodes.h>
#include <llvm/CodeGen/TargetInstrInfo.h>
#include <llvm/CodeGen/TargetSubtargetInfo.h>
#include <llvm/IR/PrintPasses.h>
#include <llvm/Support/DynamicLibrary.h>
#include <llvm/Support/TargetSelect.h>

#include <atomic>
#include <bit>
#include <mutex>

#include "compiler/codegen/llvm/process_end.h"

namespace kroton::codegen {

void initialize_llvm() {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
    llvm::sys::DynamicLibrary::LoadLibraryPermanently(nullptr);  // what linking makes a table of
    CompilerUse::guard_tables();
  });
}

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

void guard_new_tables() {
  static std::atomic<std::uint64_t> count{0};
  if (std::has_single_bit(++count)) CompilerUse::guard_tables();
}

void initialize_foreign_targets() {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeAllTargetInfos();
    llvm::InitializeAllTargets();
    llvm::InitializeAllTargetMCs();
    llvm::InitializeAllAsmPrinters();
  });
}

}  // namespace kroton::codegen
