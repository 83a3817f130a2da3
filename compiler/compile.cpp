#include "compiler/compile.h"

#include <kroton/error.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <utility>

#include "compiler/base/default_float_environment.h"
#include "compiler/base/dump.h"
#include "compiler/codegen/cuda/choices.h"
#include "compiler/codegen/cuda/run_program.h"
#include "compiler/codegen/llvm/run_on_cpu.h"
#include "compiler/fusion/fusion.h"
#include "compiler/lower/cache_key.h"
#include "compiler/lower/kernel_context.h"
#include "compiler/passes/passes.h"
#include "compiler/scan/parallel.h"
#include "runtime/cache.h"

namespace kroton {
namespace {

// Shows the times of the steps where KROTON_TIME asks for them.
class Timer {
 public:
  void restart() { start_ = std::chrono::steady_clock::now(); }
  // The time since the last one shown, or the last restart.
  void show(const char* step) {
    show(step, std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count());
    restart();
  }
  void show(const char* step, double seconds) const {
    if (shown_) std::fprintf(stderr, "%-24s %9.3f ms\n", step, seconds * 1e3);
  }

 private:
  bool shown_ = std::getenv("KROTON_TIME") != nullptr;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// Null for bytes that are no object of that entry, as a checksum cannot tell.
std::shared_ptr<codegen::CompiledProgram> link_cached(const std::string& objects,
                                                      const Callees& called,
                                                      codegen::CompileTimes& times) {
  try {
    return codegen::link_objects(objects, called, &times);
  } catch (const InternalError&) {
    return nullptr;
  }
}

}  // namespace

Program make_program(Graph& graph, const std::string& name, const codegen::CpuTarget& target,
                     const LoweringOptions& options) {
  const DefaultFloatEnvironment rounding;
  run_passes(graph);
  if (dumps("fusion"))
    std::fprintf(stderr, "== fusion\n%s",
                 fuse_for(graph, target.machine, options).to_string(graph).c_str());
  Timer timer;
  Program program = lower(graph, name, target.machine, options);
  timer.show("fuse and lower");
  if (dumps("loop")) std::fprintf(stderr, "== loop\n%s", to_string(program).c_str());
  return program;
}

Compilation compile(Graph& graph, const std::string& name, bool profile,
                    const LoweringOptions& options) {
  codegen::CpuTarget target = codegen::host_target();
  target.quick |= options.checks.memory;  // there is much of such code, and it is slow anyway
  Compilation result;
  result.program = make_program(graph, name, target, options);
  result.program.profile = profile;
  const Callees called = callees(result.program);
  Timer timer;
  const bool dump_llvm = dumps("llvm");
  codegen::CompileTimes times;
  Digest key{};
  const Cache cache = Cache::from_environment();
  if (cache.enabled()) {
    key = cache_key(result.program, {"cpu", target.cpu, target.features,
                                     std::to_string(target.machine.vector_bytes),
                                     target.quick ? "quick" : "", codegen::llvm_version()});
    timer.show("cache: key");
    // There is no LLVM IR to show for an object that is there already.
    std::optional<std::string> objects;
    if (!dump_llvm) objects = cache.load(key);
    timer.show(objects ? "cache: hit" : "cache: miss");
    if (objects) {
      result.code = link_cached(*objects, called, times);
      timer.show(result.code ? "link" : "cache: does not link", times.link);
      if (result.code) return result;
    }
  }
  std::string llvm_ir;
  const std::string objects =
      codegen::generate_objects(result.program, target, &times, dump_llvm ? &llvm_ir : nullptr);
  if (dump_llvm) std::fprintf(stderr, "== llvm\n%s", llvm_ir.c_str());
  timer.show("emit LLVM IR", times.emit);
  timer.show("optimize LLVM IR", times.optimize);
  timer.show("generate code", times.generate);
  timer.show("all of these", times.all);
  if (cache.enabled()) {
    timer.restart();
    const bool kept = cache.store(key, objects);
    timer.show(kept ? "cache: store" : "cache: not stored");
  }
  result.code = codegen::link_objects(objects, called, &times);
  timer.show("link", times.link);
  return result;
}

CudaCompilation compile_for_cuda(Graph& graph, const std::string& name,
                                 const LoweringOptions& options, const Machine& machine) {
  const DefaultFloatEnvironment rounding;
  run_passes(graph);
  run_gpu_passes(graph);
  if (dumps("fusion")) {
    std::fprintf(stderr, "== fusion\n%s",
                 fuse_for(graph, machine, options).to_string(graph).c_str());
  }
  CudaCompilation result;
  result.program = lower(graph, name, machine, options);
  if (dumps("loop")) std::fprintf(stderr, "== loop\n%s", to_string(result.program).c_str());
  result.kernels = codegen::emit_cuda(result.program);
  if (dumps("cuda")) {
    std::fprintf(stderr, "== cuda\n%s", result.kernels.source.c_str());
    for (const std::string& candidate : result.kernels.candidates) {
      std::fprintf(stderr, "== cuda: a candidate\n%s", candidate.c_str());
    }
  }
  return result;
}

std::unique_ptr<Executable> make_executable(Graph& graph, const std::string& name,
                                            const ExecutionOptions& options, Program& program) {
  if (options.device) {
    const std::shared_ptr<Device> own =
        options.own_stream || options.follows ? options.device->own_stream() : nullptr;
    Device& device = own ? *own : *options.device;
    LoweringOptions lowering = options.lowering;
    lowering.candidates = codegen::tunes_from_environment();
    if (options.products) {
      lowering.products = [&] { return options.device->has_products(); };
      lowering.convolutions = [&, shown = false]() mutable {
        if (device.has_convolutions()) return true;
        if (!std::exchange(shown, true) && dumps("cuda")) {
          std::fprintf(stderr, "== convolutions by kernels\n%s\n",
                       device.why_no_convolutions().c_str());
        }
        return false;
      };
    }
    CudaCompilation compiled =
        compile_for_cuda(graph, name, lowering, gpu_machine(device.capability(), options.tf32));
    program = std::move(compiled.program);
    return std::make_unique<codegen::DeviceProgram>(
        program, compiled.kernels, options.device,
        codegen::DeviceProgram::How{.graphs = options.graphs,
                                    .products = options.products,
                                    .tf32 = options.tf32,
                                    .stream = own,
                                    .follows = options.follows});
  }
  Compilation compiled = compile(graph, name, options.profile, options.lowering);
  program = std::move(compiled.program);
  return std::make_unique<codegen::CpuExecutable>(program, std::move(compiled.code));
}

}  // namespace kroton
