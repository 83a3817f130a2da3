#include "tests/gpu_model/times.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "compiler/codegen/cuda/emit_cuda.h"
#include "compiler/loop/traverse.h"

namespace gpu_model {
namespace {

using namespace kroton;  // NOLINT: tests

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
// Bytes that an operation touches: a kernel may look at a few elements of large arrays.
constexpr double most_bytes = 32;

struct Facts {
  double blocks = 0, threads = 0, work = 0, bytes = 0;
  double sums =
      1;  // that a thread has in registers: of a product, which is half as many operations
  double cycles = 0;    // of steps that wait for each other
  double together = 1;  // elements that a thread loads at a time
  bool f64 = false;
  double matrix = 0;  // of the rate of matrix units for 16 bits; 0: not by them
};

double bytes_of(const loop::BufferRef& buffer, const Evaluator& at) {
  return static_cast<double>(at(buffer->size)) * static_cast<double>(size_of(buffer->dtype));
}

double count_of(const loop::Expr& extent, const Evaluator& at) {
  const std::optional<Dim> size = loop::as_dim(extent);
  return size ? static_cast<double>(at(*size)) : 1;
}

bool has_barrier(const loop::Block& block) {
  bool found = false;
  loop::visit_statements(block, [&](const loop::Stmt& s) {
    found = found || std::holds_alternative<loop::Barrier>(s);
  });
  return found;
}

// What lies in shared memory comes by single elements or by copies; neighbours are stored.
bool has_slices(const loop::Block& block) {
  bool found = false;
  loop::visit_statements(block, [&](const loop::Stmt& s) {
    const auto* held = std::get_if<loop::Allocate>(&s);
    found = found || (held && held->buffer->space == loop::Space::shared);
  });
  return found;
}

// Iterations of the loops in a thread's share, one after the other.
double iterations_in(const loop::Block& block, const Evaluator& at) {
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
double cycles_of(const loop::Block& block, double threads, const Evaluator& at) {
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
      const double rounds = std::max(1.0, std::ceil(count / threads));
      cycles += rounds * (phase_cycles + iteration_cycles * iterations_in(loop->body, at));
    } else if (has_barrier(loop->body)) {
      cycles += count * cycles_of(loop->body, threads, at);
    }
  }
  return cycles;
}

double cycles_of(const loop::Kernel& kernel, const codegen::CudaKernel& emitted,
                 const Evaluator& at) {
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
    if (loop->kind != loop::LoopKind::block || !at(emitted.blocks)) return;
    if (kernel.instead == nullptr && kernel.form == "one block runs all steps") {
      cycles += cycles_of(loop->body, emitted.threads, at);
    }
  });
  return cycles;
}

Facts facts_of(const loop::Kernel& kernel, const codegen::CudaKernel& emitted,
               const Evaluator& at) {
  Facts facts;
  facts.blocks = static_cast<double>(at(emitted.blocks));
  facts.threads = emitted.threads;
  facts.work = static_cast<double>(at(kernel.work));
  facts.cycles = cycles_of(kernel, emitted, at);
  for (const auto* list : {&kernel.inputs, &kernel.outputs}) {
    for (const loop::BufferRef& buffer : *list) {
      facts.bytes += bytes_of(buffer, at);
      facts.f64 = facts.f64 || (is_float(buffer->dtype) && size_of(buffer->dtype) > 4);
    }
  }
  facts.bytes = std::min(facts.bytes, facts.work * most_bytes);
  const bool shares = has_slices(kernel.body);
  loop::visit_statements(kernel.body, [&](const loop::Stmt& s) {
    const loop::For* loop = loop::as_for(s);
    if (loop && loop->kind == loop::LoopKind::vector && !shares) {
      facts.together = std::max(facts.together, static_cast<double>(loop->width));
    }
    if (const auto* copy = std::get_if<loop::Copy>(&s)) {
      const double bytes = copy->count * static_cast<double>(size_of(copy->to->dtype));
      facts.together = std::max(facts.together, bytes / 4);
    }
    if (const auto* units = std::get_if<loop::Multiply>(&s)) {
      facts.matrix = static_cast<double>(size_of(DType::bf16)) / size_of(units->a->dtype);
    }
    const auto* held = std::get_if<loop::Allocate>(&s);
    if (held && held->buffer->space == loop::Space::registers) {
      facts.sums = std::max(facts.sums, static_cast<double>(held->buffer->size.constant()));
    }
  });
  return facts;
}

// Operations a second of the whole device, in units of 1e6 (per microsecond).
double full_rate(const Gpu& gpu, const Facts& facts) {
  if (facts.matrix > 0) return gpu.processors * gpu.matrix * facts.matrix * gpu.clock * 1e3 * 2;
  return gpu.processors * gpu.lanes * gpu.clock * 1e3 * (facts.f64 ? gpu.f64_rate : 1) *
         (facts.sums > 1 ? 2 : 1);
}

double microseconds(const Facts& facts, bool library, const Gpu& gpu) {
  const double bandwidth = gpu.bandwidth * 1e3;  // bytes a microsecond
  if (library) {
    return gpu.launch +
           std::max(facts.bytes / bandwidth, facts.work / (full_rate(gpu, facts) * library_rate));
  }
  const double used = std::min(facts.blocks, gpu.processors);
  const double resident = std::min(facts.blocks * facts.threads, gpu.processors * gpu.threads);
  const double in_flight = resident * loads_in_flight * facts.together * (facts.f64 ? 8 : 4);
  const double moving = facts.bytes / std::min(bandwidth, in_flight / (gpu.latency * 1e-3));
  // A processor with few threads waits for each operation.
  const double busy = std::min(1.0, resident / used * facts.sums / (operation_cycles * gpu.lanes));
  const double computing =
      facts.work / (full_rate(gpu, facts) * our_rate * used / gpu.processors * busy);
  const double waiting = facts.cycles / (gpu.clock * 1e3);
  return gpu.launch + 2 * gpu.latency * 1e-3 + std::max({moving, computing, waiting});
}

class Prediction {
 public:
  Prediction(const Program& program, const Sizes& sizes, const Gpu& gpu)
      : program_(program), emitted_(codegen::emit_cuda(program)), at_(sizes), gpu_(gpu) {
    for_each_kernel(program.steps, [&](const loop::Kernel& kernel) {
      const std::size_t number = numbers_.size();
      numbers_[&kernel] = number;
    });
  }

  Times run() {
    add(program_.steps, 1);
    double bytes = 0;
    const auto count = [&](const TensorType& type) {
      double size = static_cast<double>(size_of(type.dtype));
      for (const Dim& dim : type.shape) size *= static_cast<double>(at_(dim));
      bytes += size;
    };
    for (const TensorType& type : program_.inputs) count(type);
    for (const TensorType& type : program_.outputs) count(type);
    for (std::size_t k = 0; k < program_.states.size(); ++k) {
      const Array& value = program_.states[k]->value;
      bytes += static_cast<double>(value.size()) * static_cast<double>(size_of(value.dtype())) *
               (program_.state_is_updated[k] ? 2 : 1);
    }
    times_.bound =
        gpu_.launch + 2 * gpu_.latency * 1e-3 + std::max(bytes / (gpu_.bandwidth * 1e3), fewest_);
    return times_;
  }

 private:
  void add(const std::vector<Step>& steps, double times) {
    for (const Step& step : steps) {
      visit(
          step, [&](const loop::Kernel& kernel) { add(kernel, times); },
          [&](const Scan& scan) { add(scan.steps, times * static_cast<double>(at_(scan.extent))); },
          [&](const Branch& branch) { add(branch.then_steps, times); }, [](const Call&) {});
    }
  }

  void add(const loop::Kernel& kernel, double times) {
    const codegen::CudaKernel& emitted = emitted_.kernels[numbers_.at(&kernel)];
    const Facts facts = facts_of(kernel, emitted, at_);
    if (facts.blocks == 0 || times == 0) return;
    const bool library = kernel.instead != nullptr;
    const double us = times * microseconds(facts, library, gpu_);
    ++times_.kernels;
    times_.launches += static_cast<std::int64_t>(times);
    if (library) times_.products += static_cast<std::int64_t>(times);
    times_.microseconds += us;
    fewest_ += times * facts.work / full_rate(gpu_, facts);
    if (us <= longest_) return;
    longest_ = us;
    times_.slowest = kernel.name;
  }

  const Program& program_;
  const codegen::CudaProgram emitted_;
  const Evaluator at_;
  const Gpu& gpu_;
  std::map<const loop::Kernel*, std::size_t> numbers_;
  Times times_;
  double fewest_ = 0, longest_ = 0;
};

}  // namespace

const std::vector<Gpu>& gpus() {
  static const std::vector<Gpu> list = {
      {"T4", 40, 1.4, 64, 1.0 / 32, 270, 430, 2.5, 1024, 75, 0},
      {"A100", 108, 1.41, 64, 0.5, 1400, 400, 1.8, 1024, 80, 1024},
      {"H100", 132, 1.7, 128, 0.5, 3000, 450, 1.5, 1024, 90, 2048},
      {"4090", 128, 2.4, 128, 1.0 / 64, 920, 350, 1.5, 1024, 89, 256}};
  return list;
}

Times predicted(const Program& program, const Sizes& sizes, const Gpu& gpu) {
  return Prediction(program, sizes, gpu).run();
}

}  // namespace gpu_model
