#include "compiler/codegen/llvm/machine_peak.h"

#include <kroton/array.h>
#include <kroton/error.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>

#include "compiler/codegen/llvm/jit.h"
#include "compiler/ir/deep_stack.h"
#include "compiler/loop/traverse.h"
#include "compiler/lower/kernel_context.h"
#include "compiler/lower/plan.h"
#include "runtime/pool.h"

namespace kroton {
namespace {

// Enough accumulators to hide a multiply-add's latency, few enough for 16 registers.
constexpr int accumulators = 12;

// Per worker: `rounds` times acc = acc * 0.5 + 0.25 for all accumulators, which stays in registers
// and near 0.5; then they are stored into the worker's part of y.
loop::Kernel multiply_adds(const loop::BufferRef& y, const Dim& workers, int lanes, int rounds) {
  using namespace loop;
  const auto acc = std::make_shared<const Buffer>(
      Buffer{1, "acc", DType::f32, Dim(accumulators * lanes), Space::registers});
  const Variable worker{0, DType::i64, "worker"}, round{1, DType::i64, "round"};
  const Variable row{2, DType::i64, "row"}, lane{3, DType::i64, "lane"};
  const Expr element = variable(row) * integer(lanes) + variable(lane);
  const auto for_each_element = [&](Stmt body) {
    For vector{lane, integer(lanes), LoopKind::vector, lanes, 1, lanes, {std::move(body)}};
    return statement(
        For{row, integer(accumulators), LoopKind::unroll, 1, 1, 0, {statement(std::move(vector))}});
  };
  const Expr next = fma(load(acc, element), real(0.5, DType::f32), real(0.25, DType::f32));
  Block body{Allocate{acc}, for_each_element(Store{acc, element, real(1, DType::f32)}),
             statement(For{round,
                           integer(rounds),
                           LoopKind::serial,
                           1,
                           1,
                           0,
                           {for_each_element(Store{acc, element, next})}}),
             for_each_element(Store{y, variable(worker) * integer(accumulators * lanes) + element,
                                    load(acc, element)})};
  Kernel kernel;
  kernel.name = "multiply_adds";
  kernel.body = {
      statement(For{worker, size(workers), LoopKind::parallel, 1, 1, 0, std::move(body)})};
  kernel.work = integer(1 << 30);  // threads pay
  collect_buffers(kernel);
  return kernel;
}

// The time of the fastest of some calls, in seconds.
double best_time(Program program, std::vector<void*> args, std::int64_t workers) {
  program.name = "peak";
  worker_count().visit_variables([&](const DimAtomRef& atom) { program.sizes.push_back(atom); });
  for (int k = 0; k < static_cast<int>(args.size()); ++k) {
    program.placements[k == 0 ? 0 : 2] = {Placement::Kind::argument, k, {}, {}, nullptr, nullptr};
  }
  plan_memory(program);
  const auto code =
      codegen::link_objects(codegen::generate_objects(program, codegen::host_target()));
  double best = 0;
  for (int trial = 0; trial < 5; ++trial) {
    kroton_context context = make_context(Pool::global());
    context.workers = workers;
    const auto start = std::chrono::steady_clock::now();
    if (code->entry()(args.data(), &workers, nullptr, &context) != 0) {
      throw InternalError("machine_peak: the kernel failed");
    }
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    best = trial == 0 ? seconds : std::min(best, seconds);
  }
  return best;
}

loop::BufferRef buffer(int id, const char* name, const Dim& size) {
  return std::make_shared<const loop::Buffer>(
      loop::Buffer{id, name, DType::f32, size, loop::Space::global});
}

MachinePeak measure(std::int64_t workers) {
  const Machine machine = codegen::host_target().machine;
  const int lanes = machine.vector_bytes / 4;
  constexpr int rounds = 100000;
  constexpr std::int64_t copied = 16 << 20;  // elements
  MachinePeak peak;
  {
    const std::int64_t per_worker = std::int64_t{accumulators} * lanes;
    Array y = Array::zeros({workers * per_worker});
    Program program;
    program.steps.emplace_back().kind = multiply_adds(
        buffer(0, "y", worker_count() * Dim(per_worker)), worker_count(), lanes, rounds);
    const double seconds = best_time(std::move(program), {y.raw()}, workers);
    peak.flops = 2.0 * rounds * static_cast<double>(per_worker * workers) / seconds;
  }
  {
    Array from = Array::full({copied}, 1);
    Array to = Array::full({copied}, 1);  // its pages are there
    Program program;
    loop::Kernel kernel =
        copy_kernel(buffer(0, "x", Dim(copied)), buffer(2, "y", Dim(copied)), machine);
    kernel.name = "copy";
    collect_buffers(kernel);
    program.steps.emplace_back().kind = std::move(kernel);
    const double seconds = best_time(std::move(program), {from.raw(), to.raw()}, workers);
    peak.bandwidth = 2.0 * 4 * static_cast<double>(copied) / seconds;
  }
  return peak;
}

}  // namespace

MachinePeak machine_peak(std::int64_t workers) {
  static std::mutex mutex;
  static auto& known = *new std::map<std::int64_t, MachinePeak>;  // never destroyed
  const std::lock_guard lock(mutex);
  const auto found = known.find(workers);
  if (found != known.end()) return found->second;
  return known[workers] = on_deep_stack([&] { return measure(workers); });
}

}  // namespace kroton
