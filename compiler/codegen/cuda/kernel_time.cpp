#include "compiler/codegen/cuda/kernel_time.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "compiler/loop/traverse.h"

namespace kroton::codegen {
namespace {

// Loads that a thread has under way, where it goes over several elements; cycles that an operation
// takes before the next one that needs it; the part of its full rate that code of ours reaches, and
// the library's.
constexpr double loads_in_flight = 4;
constexpr double operation_cycles = 5;
constexpr double our_rate = 0.5;
constexpr double library_rate = 0.75;
// Cycles that a block's threads take for a loop that they share and the barrier behind it, when all
// lies in the first cache; those of an iteration of a loop in it; those of a step that a thread
// takes by itself, with its state in registers.
constexpr double phase_cycles = 150;
constexpr double iteration_cycles = 12;
constexpr double step_cycles = 60;
// Registers of a processor, those that a thread has beside its arrays, and the threads that kernels
// without arrays usually have on it.
constexpr double all_registers = 64 << 10;
constexpr double other_registers = 32;
constexpr double usual_threads = 1024;
// Bytes that an operation touches: a kernel may look at a few elements of large arrays.
constexpr double most_bytes = 32;

double bytes_of(const loop::BufferRef& buffer, const SizeValues& at) {
  return static_cast<double>(at.of(buffer->size)) * static_cast<double>(size_of(buffer->dtype));
}

double count_of(const loop::Expr& extent, const SizeValues& at) {
  const std::optional<Dim> size = loop::as_dim(extent);
  return size ? static_cast<double>(at.of(*size)) : 1;
}

bool has_barrier(const loop::Block& block) {
  bool found = false;
  loop::visit_statements(block, [&](const loop::Stmt& s) {
    found = found || std::holds_alternative<loop::Barrier>(s);
  });
  return found;
}

// Iterations of the loops in a thread's share, one after the other.
double iterations_in(const loop::Block& block, const SizeValues& at) {
  double sum = 0;
  for (const loop::Stmt& s : block) {
    const loop::For* loop = loop::as_for(s);
    if (loop == nullptr) continue;
    sum += count_of(loop->extent, at) * std::max(1.0, iterations_in(loop->body, at));
  }
  return sum;
}

// Of the steps that a kernel runs, if it does: loops with barriers that are in no other ones, and
// loops of threads that carry a state in registers.
double cycles_of(const loop::Block& block, double threads, const SizeValues& at) {
  double cycles = 0;
  for (const loop::Stmt& s : block) {
    if (const loop::If* branch = loop::as_if(s)) {
      cycles += std::max(cycles_of(branch->then_body, threads, at),
                         cycles_of(branch->else_body, threads, at));
    }
    const loop::For* loop = loop::as_for(s);
    if (loop == nullptr) continue;
    const double count = count_of(loop->extent, at);
    if (loop->kind == loop::LoopKind::thread) {
      const double turns = std::max(1.0, std::ceil(count / threads));
      cycles += turns * (phase_cycles + iteration_cycles * iterations_in(loop->body, at));
    } else if (has_barrier(loop->body)) {
      cycles += count * cycles_of(loop->body, threads, at);
    }
  }
  return cycles;
}

double cycles_of(const loop::Kernel& kernel, const CudaKernel& emitted, const SizeValues& at) {
  double cycles = 0;
  loop::visit_statements(kernel.body, [&](const loop::Stmt& s) {
    const loop::For* loop = loop::as_for(s);
    if (loop == nullptr) return;
    if (loop->kind == loop::LoopKind::thread) {
      const bool holds = std::any_of(loop->body.begin(), loop->body.end(), [](const loop::Stmt& t) {
        return std::holds_alternative<loop::Allocate>(t);
      });
      for (const loop::Stmt& t : loop->body) {
        const loop::For* steps = loop::as_for(t);
        if (steps == nullptr || !holds) continue;
        cycles += count_of(steps->extent, at) *
                  (step_cycles + iteration_cycles * iterations_in(steps->body, at));
      }
    }
    if (loop->kind != loop::LoopKind::block || at.of(emitted.blocks) == 0) return;
    if (kernel.instead == nullptr && kernel.form == "one block runs all steps") {
      cycles += cycles_of(loop->body, emitted.threads, at);
    }
  });
  return cycles;
}

// Threads of whole blocks, as registers and shared memory leave room for.
double threads_of_processor(const GpuRates& gpu, const KernelFacts& facts) {
  double blocks =
      std::min(usual_threads, all_registers / (other_registers + facts.held)) / facts.threads;
  if (facts.shared > 0) blocks = std::min(blocks, gpu.shared / facts.shared);
  return facts.threads * std::max(1.0, std::floor(blocks));
}

}  // namespace

KernelFacts facts_of(const loop::Kernel& kernel, const CudaKernel& emitted, bool library,
                     const SizeValues& at) {
  KernelFacts facts;
  facts.library = library;
  facts.blocks = static_cast<double>(at.of(emitted.blocks));
  facts.threads = emitted.threads;
  facts.work = static_cast<double>(at.of(kernel.work));
  facts.cycles = cycles_of(kernel, emitted, at);
  for (const auto* list : {&kernel.inputs, &kernel.outputs}) {
    for (const loop::BufferRef& buffer : *list) {
      facts.bytes += bytes_of(buffer, at);
      facts.f64 = facts.f64 || (is_float(buffer->dtype) && size_of(buffer->dtype) > 4);
    }
  }
  facts.bytes = std::min(facts.bytes, facts.work * most_bytes);
  double neighbours = 1;
  loop::visit_statements(kernel.body, [&](const loop::Stmt& s) {
    const loop::For* loop = loop::as_for(s);
    if (loop && loop->kind == loop::LoopKind::vector) {
      neighbours = std::max(neighbours, static_cast<double>(loop->width));
    }
    if (const auto* copy = std::get_if<loop::Copy>(&s)) {
      const double bytes = copy->count * static_cast<double>(size_of(copy->to->dtype));
      facts.together = std::max(facts.together, bytes / 4);
    }
    if (const auto* units = std::get_if<loop::Multiply>(&s)) {
      facts.matrix = static_cast<double>(size_of(DType::bf16)) / size_of(units->a->dtype);
      facts.held += (units->tile.warp_rows + units->tile.warp_columns) / 4.0;  // two halves a word
    }
    const auto* held = std::get_if<loop::Allocate>(&s);
    if (held == nullptr) return;
    if (held->buffer->space == loop::Space::registers) {
      facts.sums = std::max(facts.sums, static_cast<double>(held->buffer->size.constant()));
      facts.held += bytes_of(held->buffer, at) / 4;
    } else if (held->buffer->space == loop::Space::shared) {
      facts.shared += bytes_of(held->buffer, at);
    }
  });
  // What lies in shared memory comes by single elements or by copies; neighbours are stored.
  if (facts.shared == 0) facts.together = std::max(facts.together, neighbours);
  return facts;
}

double full_rate(const GpuRates& gpu, const KernelFacts& facts) {
  if (facts.matrix > 0) return gpu.processors * gpu.matrix * facts.matrix * gpu.clock * 1e3 * 2;
  return gpu.processors * gpu.lanes * gpu.clock * 1e3 * (facts.f64 ? gpu.f64_rate : 1) *
         (facts.sums > 1 ? 2 : 1);
}

double launch_time(const GpuRates& gpu) { return gpu.launch + 2 * gpu.latency * 1e-3; }

double kernel_time(const GpuRates& gpu, const KernelFacts& facts) {
  const double bandwidth = gpu.bandwidth * 1e3;  // bytes a microsecond
  if (facts.library) {
    return gpu.launch +
           std::max(facts.bytes / bandwidth, facts.work / (full_rate(gpu, facts) * library_rate));
  }
  const double used = std::min(facts.blocks, gpu.processors);
  const double resident =
      std::min(facts.blocks * facts.threads, gpu.processors * threads_of_processor(gpu, facts));
  const double in_flight = resident * loads_in_flight * facts.together * (facts.f64 ? 8 : 4);
  const double moving = facts.bytes / std::min(bandwidth, in_flight / (gpu.latency * 1e-3));
  // A processor with few threads waits for each operation.
  const double busy = std::min(1.0, resident / used * facts.sums / (operation_cycles * gpu.lanes));
  const double computing =
      facts.work / (full_rate(gpu, facts) * our_rate * used / gpu.processors * busy);
  const double waiting = facts.cycles / (gpu.clock * 1e3);
  return launch_time(gpu) + std::max({moving, computing, waiting});
}

}  // namespace kroton::codegen
