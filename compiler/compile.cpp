#include "compiler/compile.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "compiler/lower/lower.h"
#include "compiler/passes/fusion.h"
#include "compiler/passes/passes.h"

namespace kroton {
namespace {

bool dumps(const char* stage) {
  const char* asked = std::getenv("KROTON_DUMP");
  if (!asked) return false;
  const std::string list = "," + std::string(asked) + ",";
  return list == ",all," || list.find("," + std::string(stage) + ",") != std::string::npos;
}

}  // namespace

Compilation compile(Graph& graph, const std::string& name) {
  run_passes(graph);
  if (dumps("fusion")) std::fprintf(stderr, "== fusion\n%s", fuse(graph).to_string(graph).c_str());
  const codegen::CpuTarget target = codegen::host_target();
  const auto start = std::chrono::steady_clock::now();
  Compilation result;
  result.program = lower(graph, name, {false, target.vector_bytes});
  const double lower_seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (dumps("loop")) std::fprintf(stderr, "== loop\n%s", to_string(result.program).c_str());
  codegen::CompileTimes times;
  std::string llvm_ir;
  const bool dump_llvm = dumps("llvm");
  const std::string object =
      codegen::generate_object(result.program, target, &times, dump_llvm ? &llvm_ir : nullptr);
  result.code = codegen::link_object(object, result.program.name, &times);
  if (dump_llvm) std::fprintf(stderr, "== llvm\n%s", llvm_ir.c_str());
  if (std::getenv("KROTON_TIME")) {
    std::fprintf(
        stderr, "%-24s %9.3f ms\n%-24s %9.3f ms\n%-24s %9.3f ms\n%-24s %9.3f ms\n%-24s %9.3f ms\n",
        "fuse and lower", lower_seconds * 1e3, "emit LLVM IR", times.emit * 1e3, "optimize LLVM IR",
        times.optimize * 1e3, "generate code", times.generate * 1e3, "link", times.link * 1e3);
  }
  return result;
}

CudaCompilation compile_for_cuda(Graph& graph, const std::string& name) {
  run_passes(graph);
  if (dumps("fusion")) std::fprintf(stderr, "== fusion\n%s", fuse(graph).to_string(graph).c_str());
  CudaCompilation result;
  result.program = lower(graph, name, {.gpu = true});
  if (dumps("loop")) std::fprintf(stderr, "== loop\n%s", to_string(result.program).c_str());
  result.kernels = codegen::emit_cuda(result.program);
  if (dumps("cuda")) std::fprintf(stderr, "== cuda\n%s", result.kernels.source.c_str());
  return result;
}

}  // namespace kroton
