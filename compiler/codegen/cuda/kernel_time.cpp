#include "compiler/codegen/cuda/kernel_time.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "compiler/base/machine.h"
#include "compiler/loop/chain.h"
#include "compiler/loop/count.h"
#include "compiler/loop/traverse.h"

namespace kroton::codegen {
namespace {

// Loads that a thread has under way, where it goes over several elements; cycles that an operation
// takes before the next one that needs it; the part of its full rate that code of ours reaches, and
// the library's.
constexpr double loads_in_flight = 4;
constexpr double operation_cycles = 5;
// Operations behind the value that a unit for functions gives, which make a quotient of it; lanes
// of a processor that begins an operation of each of its four warps in each cycle.
constexpr double operations_of_division = 5;
constexpr double lanes_of_issue = 128;
constexpr double our_rate = 0.5;
constexpr double library_rate = 0.75;
// How much faster than memory the second cache is, where the blocks of steps read what others have
// written.
constexpr double second_cache_rate = 2, second_cache_latency = 0.6;
// Of the logarithm of the chunks that a block tells or asks of at a time (gpu_earlier_blocks.h).
const double log_of_chunks = std::log(16.0);
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

// Whether the kernel is all steps of a scan.
bool runs_steps(const loop::Kernel& kernel, const CudaKernel& emitted, const SizeValues& at) {
  return kernel.instead == nullptr && at.of(emitted.blocks) > 0 &&
         kernel.form.find("all steps") != std::string::npos;
}

double microseconds_of(const loop::Kernel& kernel, const loop::ChainCosts& costs,
                       const SizeValues& at, const GpuRates& gpu) {
  const auto value = [&](const DimAtom& size) { return at.of(size); };
  return loop::chain_of(kernel, costs, value) / (gpu.clock * 1e3);
}

// Threads of whole blocks, as registers and shared memory leave room for.
double threads_of_processor(const GpuRates& gpu, const KernelFacts& facts) {
  double blocks =
      std::min(usual_threads, all_registers / (other_registers + facts.held)) / facts.threads;
  if (facts.shared > 0) blocks = std::min(blocks, gpu.shared / facts.shared);
  return facts.threads * std::max(1.0, std::floor(blocks));
}

}  // namespace

double full_rate(const GpuRates& gpu, const KernelFacts& facts) {
  if (facts.matrix > 0) return gpu.processors * gpu.matrix * facts.matrix * gpu.clock * 1e3 * 2;
  return gpu.processors * gpu.lanes * gpu.clock * 1e3 * (facts.f64 ? gpu.f64_rate : 1) *
         (facts.sums > 1 ? 2 : 1);
}

namespace {

// Microseconds of steps whose kernels are dealt out to blocks that wait for each other: of each
// kernel a latency and what its blocks compute, or move out of the second cache.
class Waiting {
 public:
  Waiting(const loop::Kernel& kernel, const SizeValues& at, const GpuRates& gpu)
      : at_(at), gpu_(gpu) {
    for (const auto* list : {&kernel.inputs, &kernel.outputs}) {
      for (const loop::BufferRef& buffer : *list) {
        bytes_[buffer->id] = static_cast<double>(size_of(buffer->dtype));
        f64_ = f64_ || (is_float(buffer->dtype) && size_of(buffer->dtype) > 4);
      }
    }
  }

  // `steps`: how often it runs, as the body of a loop.
  double of(const loop::Block& block, int threads, double steps = 1) const {
    double us = 0;
    for (const loop::Stmt& s : block) {
      const auto* barrier = std::get_if<loop::Barrier>(&s);
      if (barrier != nullptr && barrier->of_grid) us += gpu_.meeting;
      if (const loop::If* branch = loop::as_if(s)) {
        us +=
            std::max(of(branch->then_body, threads, steps), of(branch->else_body, threads, steps));
      }
      const loop::For* loop = loop::as_for(s);
      if (loop == nullptr) continue;
      const auto* number = std::get_if<loop::Declare>(&loop->body.front());
      const loop::If* inside = loop->body.size() == 2 ? loop::as_if(loop->body[1]) : nullptr;
      if (number != nullptr && inside != nullptr) {
        us += of_kernel(number->variable, *inside, threads, steps);
        continue;
      }
      const double count = count_of(loop->extent, at_);
      us += count * of(loop->body, threads, count);
    }
    return us;
  }

 private:
  // An extent, or a constant that it is at most.
  double most_of(const loop::Expr& extent) const {
    if (extent->op == loop::Op::min)
      return std::min(most_of(extent->args[0]), most_of(extent->args[1]));
    std::int64_t known = 0;
    if (loop::is_integer_constant(extent, known)) return static_cast<double>(known);
    return loop::as_dim(extent) ? count_of(extent, at_) : 1e9;
  }

  // Whether a branch is what blocks do in the first step alone.
  static bool is_of_first_step(const loop::Stmt& s) {
    const loop::If* branch = loop::as_if(s);
    std::int64_t zero = 1;
    return branch != nullptr && branch->condition->op == loop::Op::eq &&
           loop::is_integer_constant(branch->condition->args[1], zero) && zero == 0;
  }

  double bytes_of(const std::map<int, double>& counts) const {
    double bytes = 0;
    for (const auto& [id, count] : counts) {
      if (const auto found = bytes_.find(id); found != bytes_.end()) bytes += count * found->second;
    }
    return bytes;
  }

  double of_kernel(const loop::Variable& number, const loop::If& inside, int threads,
                   double steps) const {
    loop::For all;
    all.kind = loop::LoopKind::block;
    all.variable = number;
    all.extent = inside.condition->args[1];
    all.width = threads;
    // What depends on a place of the block does so on its number.
    all.body = inside.then_body;
    while (!all.body.empty() && std::holds_alternative<loop::Declare>(all.body.front())) {
      const auto [place, value] = std::get<loop::Declare>(all.body.front());
      if (is_float(place.dtype)) break;
      all.body.erase(all.body.begin());
      all.body = loop::substitute(all.body, {{place, value}});
    }
    KernelFacts facts;
    facts.blocks = count_of(all.extent, at_);
    if (facts.blocks == 0) return 0;
    facts.f64 = f64_;
    const auto work_of = [&](loop::Block body) {
      loop::For one = all;
      one.body = std::move(body);
      loop::Kernel kernel;
      kernel.body = {loop::statement(std::move(one))};
      return loop::count_work(kernel, [&](const DimAtom& size) { return at_.of(size); });
    };
    double brought = 0;  // what stays in shared memory
    std::erase_if(all.body, [&](const loop::Stmt& s) {
      if (!is_of_first_step(s)) return false;
      brought += bytes_of(work_of(loop::as_if(s)->then_body).loads);
      return true;
    });
    std::map<int, double> fetched;  // by Buffer::id
    double held = 0;                // elements on their way to registers
    bool has_loops = false;
    loop::visit_statements(all.body, [&](const loop::Stmt& s) {
      if (const loop::For* loop = loop::as_for(s)) {
        has_loops = has_loops || loop->kind == loop::LoopKind::serial;
        if (loop->kind == loop::LoopKind::thread) {
          facts.threads = std::clamp(most_of(loop->extent), facts.threads, threads * 1.0);
        }
      }
      const auto* store = std::get_if<loop::Store>(&s);
      if (store == nullptr || store->buffer->space != loop::Space::registers) return;
      const auto size = static_cast<double>(store->buffer->size.constant());
      if (store->value->op == loop::Op::fma) facts.sums = std::max(facts.sums, size);
      if (store->value->op == loop::Op::load &&
          store->value->buffer->space == loop::Space::global) {
        fetched[store->buffer->id] = size;
      }
    });
    for (const auto& [id, size] : fetched) held += size;
    facts.threads = std::max(facts.threads, double{Machine::warp});
    const loop::Work work = work_of(all.body);
    const double loaded = bytes_of(work.loads), stored = bytes_of(work.stores);
    const double rounds = std::ceil(facts.blocks / gpu_.processors);
    const double busy = std::min(1.0, facts.threads * facts.sums / (operation_cycles * gpu_.lanes));
    const double computing = rounds * work.flops / facts.blocks /
                             (full_rate(gpu_, facts) / gpu_.processors * our_rate * busy);
    // Where nothing repeats, a thread's loads are all under way at once.
    const double width = f64_ ? 8 : 4;
    const double each = loaded / width / (facts.blocks * facts.threads);
    const double under_way = held > 0 ? held : has_loops ? loads_in_flight : std::max(1.0, each);
    const double latency = gpu_.latency * 1e-3 * second_cache_latency;
    // Nobody waits for what is stored.
    const auto moving = [&](double loads, double stores, double at_once) {
      const double in_flight =
          std::min(facts.blocks, gpu_.processors) * facts.threads * at_once * width;
      return std::max((loads + stores) / (gpu_.bandwidth * 1e3 * second_cache_rate),
                      loads / (in_flight / latency));
    };
    const double bringing = brought > 0 ? latency + moving(brought, 0, loads_in_flight) : 0;
    return (loaded > 0 ? latency : 0) + std::max(computing, moving(loaded, stored, under_way)) +
           bringing / std::max(1.0, steps);
  }

  const SizeValues& at_;
  const GpuRates& gpu_;
  std::map<int, double> bytes_;  // of an element, by Buffer::id
  bool f64_ = false;
};

}  // namespace

KernelFacts facts_of(const loop::Kernel& kernel, const CudaKernel& emitted, bool by_library,
                     const SizeValues& at) {
  KernelFacts facts;
  facts.by_library = by_library;
  facts.blocks = static_cast<double>(at.of(emitted.blocks));
  facts.threads = emitted.threads;
  facts.work = static_cast<double>(at.of(kernel.work));
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
    const auto* store = std::get_if<loop::Store>(&s);
    if (store && store->value->op == loop::Op::load &&
        store->value->buffer->space == loop::Space::awaited) {
      ++facts.asked;
    }
    if (held == nullptr) return;
    // Words of which a half is the value; told, and found in the second cache.
    if (held->buffer->space == loop::Space::awaited) facts.bytes += 2 * bytes_of(held->buffer, at);
    if (held->buffer->space == loop::Space::registers) {
      facts.sums = std::max(facts.sums, static_cast<double>(held->buffer->size.constant()));
      facts.held += bytes_of(held->buffer, at) / 4;
    } else if (held->buffer->space == loop::Space::shared ||
               held->buffer->space == loop::Space::counters) {
      facts.shared += bytes_of(held->buffer, at);
    }
  });
  facts.asked =
      std::min(facts.asked, std::ceil(std::log(std::max(facts.blocks, 1.0)) / log_of_chunks));
  // What lies in shared memory comes by single elements or by copies; neighbours are stored.
  if (facts.shared == 0) facts.together = std::max(facts.together, neighbours);
  return facts;
}

double waiting_time(const loop::Kernel& kernel, const CudaKernel& emitted, const SizeValues& at,
                    const GpuRates& gpu) {
  if (!emitted.together || at.of(emitted.blocks) == 0) return 0;
  return Waiting(kernel, at, gpu).of(loop::as_for(kernel.body[0])->body, emitted.threads);
}

double steps_time(const loop::Kernel& kernel, const CudaKernel& emitted, const SizeValues& at,
                  const GpuRates& gpu) {
  if (emitted.together || !runs_steps(kernel, emitted, at)) return 0;
  loop::ChainCosts costs;
  costs.is_bound = false;
  costs.operation = gpu.operation;
  costs.operation_f64 = gpu.operation_f64;
  // The unit's value, and a few operations that make it exact.
  costs.function = gpu.function + operations_of_division * gpu.operation;
  costs.load_shared = gpu.shared_latency;
  costs.load_global = gpu.first_cache;
  costs.shuffle = gpu.shuffle;
  costs.barrier = gpu.block_barrier;
  costs.issue = lanes_of_issue / gpu.lanes;
  return microseconds_of(kernel, costs, at, gpu);
}

double least_steps_time(const loop::Kernel& kernel, const CudaKernel& emitted, const SizeValues& at,
                        const GpuRates& gpu) {
  if (!runs_steps(kernel, emitted, at)) return 0;
  loop::ChainCosts costs;
  costs.operation = gpu.operation;
  costs.operation_f64 = gpu.operation_f64;
  costs.function = gpu.function;
  return microseconds_of(kernel, costs, at, gpu);
}

double launch_time(const GpuRates& gpu) { return gpu.launch + 2 * gpu.latency * 1e-3; }

double kernel_time(const GpuRates& gpu, const KernelFacts& facts) {
  const double bandwidth = gpu.bandwidth * 1e3;  // bytes a microsecond
  if (facts.by_library) {
    return gpu.launch +
           std::max(facts.bytes / bandwidth, facts.work / (full_rate(gpu, facts) * library_rate));
  }
  if (facts.waiting > 0) return launch_time(gpu) + facts.waiting;
  const double used = std::min(facts.blocks, gpu.processors);
  const double resident =
      std::min(facts.blocks * facts.threads, gpu.processors * threads_of_processor(gpu, facts));
  const double in_flight = resident * loads_in_flight * facts.together * (facts.f64 ? 8 : 4);
  const double moving = facts.bytes / std::min(bandwidth, in_flight / (gpu.latency * 1e-3));
  // A processor with few threads waits for each operation; how long steps do so is known.
  const double cycles = facts.steps > 0 ? 1 : operation_cycles;
  const double busy = std::min(1.0, resident / used * facts.sums / (cycles * gpu.lanes));
  const double computing =
      facts.work / (full_rate(gpu, facts) * our_rate * used / gpu.processors * busy);
  // What is told goes to the second cache and comes from it.
  const double told = facts.asked * 2 * gpu.latency * 1e-3 * second_cache_latency;
  return launch_time(gpu) + told + std::max({moving, computing, facts.steps});
}

}  // namespace kroton::codegen
