#include "compiler/codegen/llvm/jit.h"

#include <kroton/error.h>
#include <llvm/ExecutionEngine/Orc/LLJIT.h>
#include <llvm/Support/MemoryBuffer.h>

#include <chrono>

#include "compiler/codegen/llvm/emit_program.h"
#include "compiler/codegen/llvm/process_end.h"
#include "compiler/codegen/llvm/setup.h"

namespace kroton::codegen {
namespace {

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

std::shared_ptr<CompiledProgram> link_objects(std::string_view objects, const Callees& called,
                                              CompileTimes* times) {
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
  for (const std::string_view file : object_files(objects)) {
    checked(jit->addObjectFile(llvm::MemoryBuffer::getMemBufferCopy(file, "kroton")),
            "linking the compiled program");
  }
  const auto symbol = checked(jit->lookup(entry_symbol), "looking up the compiled program");
  if (times)
    times->link = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return std::make_shared<JitProgram>(std::move(jit), symbol.toPtr<kroton_entry>());
}

}  // namespace kroton::codegen
