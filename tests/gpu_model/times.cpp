#include "tests/gpu_model/times.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <span>

#include "compiler/base/machine.h"
#include "compiler/codegen/cuda/kernel_time.h"
#include "compiler/loop/traverse.h"

namespace gpu_model {
namespace {

using namespace kroton;  // NOLINT: tests

class Prediction {
 public:
  Prediction(const Program& program, const Sizes& sizes, const Gpu& gpu)
      : program_(program), emitted_(codegen::emit_cuda(program)), at_(program), gpu_(gpu) {
    std::vector<std::int64_t> values;
    for (const DimAtomRef& size : program.sizes) {
      const auto found = sizes.find(size->name);
      const bool is_workers = size->identity == worker_count().as_variable()->identity;
      values.push_back(is_workers             ? static_cast<std::int64_t>(gpu.processors)
                       : found == sizes.end() ? 1
                                              : found->second);
    }
    at_.set(values);
    for_each_kernel(program.steps, [&](const loop::Kernel& kernel) {
      const std::size_t number = numbers_.size();
      numbers_[&kernel] = number;
    });
  }

  Times run(double moved) {
    add(program_.steps, 1);
    double bytes = 0;
    const auto count = [&](const TensorType& type) {
      bytes += static_cast<double>(at_.of(element_count(type.shape))) *
               static_cast<double>(size_of(type.dtype));
    };
    const std::size_t first_state = program_.inputs.size();
    for (std::size_t k = 0; k < first_state; ++k) {
      if (read_.contains(k)) count(program_.inputs[k]);
    }
    for (const TensorType& type : program_.outputs) count(type);
    for (std::size_t k = 0; k < program_.states.size(); ++k) {
      const auto size = static_cast<double>(program_.states[k]->value.nbytes());
      bytes += size * (read_.contains(first_state + k) ? 1 : 0);
      bytes += size * (program_.state_is_updated[k] ? 1 : 0);
    }
    times_.bound = codegen::launch_time(gpu_) +
                   std::max({std::max(bytes, moved) / (gpu_.bandwidth * 1e3), fewest_, chains_});
    return times_;
  }

 private:
  void add(const std::vector<Step>& steps, double times) {
    for (const Step& step : steps) {
      visit(
          step, [&](const loop::Kernel& kernel) { add(kernel, times); },
          [&](const Scan& scan) {
            add(scan.steps, times * static_cast<double>(at_.of(scan.extent)));
          },
          [&](const Branch& branch) { add(branch.then_steps, times); }, [](const Call&) {});
    }
  }

  void add(const loop::Kernel& kernel, double times) {
    const codegen::CudaKernel& emitted = emitted_.kernels[numbers_.at(&kernel)];
    codegen::KernelFacts facts = facts_of(kernel, emitted, kernel.instead != nullptr, at_);
    if (facts.blocks == 0 || times == 0) return;
    facts.waiting = waiting_time(kernel, emitted, at_, gpu_);
    facts.steps = steps_time(kernel, emitted, at_, gpu_);
    find_reads(kernel);
    add_chain(kernel, emitted);
    const double us = times * kernel_time(gpu_, facts);
    ++times_.kernels;
    times_.launches += static_cast<std::int64_t>(times);
    if (facts.by_library) times_.products += static_cast<std::int64_t>(times);
    times_.microseconds += us;
    fewest_ += times * facts.work / full_rate(gpu_, facts);
    if (us <= longest_) return;
    longest_ = us;
    times_.slowest = kernel.name;
  }

  // Steps of a scan come behind those of an earlier one, if their first one reads what the last one
  // of that stored: where they go over its rows from the other end. Else both might go on together.
  void add_chain(const loop::Kernel& kernel, const codegen::CudaKernel& emitted) {
    const double own = least_steps_time(kernel, emitted, at_, gpu_);
    if (own == 0) return;
    const std::optional<loop::Variable> step = step_of(kernel.body);
    if (!step) return;
    double begin = 0;
    std::vector<std::pair<int, bool>> stored;
    const auto whole = [&](const loop::BufferRef& buffer) {
      const auto found = program_.placements.find(buffer->id);
      const bool is_part =
          found != program_.placements.end() && found->second.kind == Placement::Kind::part;
      return is_part ? found->second.of->id : buffer->id;
    };
    // Whether the next step's element is behind this one's; nothing where it is the same one.
    const auto goes_on = [&](const loop::Expr& index) -> std::optional<bool> {
      const loop::Expr stride = loop::stride_of(index, *step);
      const std::optional<Dim> size = stride ? loop::as_dim(stride) : std::nullopt;
      const std::int64_t apart = size ? at_.of(*size) : 0;
      return apart == 0 ? std::nullopt : std::optional(apart > 0);
    };
    loop::visit_expressions(kernel.body, [&](const loop::Expr& root) {
      for (const loop::Expr& e : loop::post_order(std::span(&root, 1))) {
        if (e->op != loop::Op::load) continue;
        const auto found = chains_behind_.find(whole(e->buffer));
        const std::optional<bool> on = goes_on(e->args[0]);
        if (found != chains_behind_.end() && on && *on != found->second.second) {
          begin = std::max(begin, found->second.first);
        }
      }
    });
    loop::visit_statements(kernel.body, [&](const loop::Stmt& s) {
      const auto* store = std::get_if<loop::Store>(&s);
      const std::optional<bool> on = store ? goes_on(store->index) : std::nullopt;
      if (on) stored.emplace_back(whole(store->buffer), *on);
    });
    for (const auto& [buffer, on] : stored) chains_behind_[buffer] = {begin + own, on};
    chains_ = std::max(chains_, begin + own);
  }

  // The variable of the loop over all steps: the outermost one that is no loop of blocks or
  // threads.
  static std::optional<loop::Variable> step_of(const loop::Block& block) {
    for (const loop::Stmt& s : block) {
      const loop::For* loop = loop::as_for(s);
      if (loop == nullptr) continue;
      if (loop->kind == loop::LoopKind::serial) return loop->variable;
      if (const auto inner = step_of(loop->body)) return inner;
    }
    return std::nullopt;
  }

  // An input may be there for its sizes only.
  void find_reads(const loop::Kernel& kernel) {
    const auto reads = [&](const loop::BufferRef& buffer) {
      const auto found = program_.placements.find(buffer->id);
      if (found == program_.placements.end()) return;  // not global
      const Placement& place = found->second.kind == Placement::Kind::part
                                   ? program_.placements.at(found->second.of->id)
                                   : found->second;
      if (place.kind == Placement::Kind::argument) {
        read_.insert(static_cast<std::size_t>(place.argument));
      }
    };
    for (const loop::BufferRef& buffer : kernel.inputs) reads(buffer);
    // What is updated in place.
    loop::visit_expressions(kernel.body, [&](const loop::Expr& root) {
      for (const loop::Expr& e : loop::post_order(std::span(&root, 1))) {
        if (e->op == loop::Op::load) reads(e->buffer);
      }
    });
  }

  const Program& program_;
  const codegen::CudaProgram emitted_;
  codegen::SizeValues at_;
  const Gpu& gpu_;
  std::set<std::size_t> read_;  // inputs and shared variables that some kernel reads, by argument
  std::map<const loop::Kernel*, std::size_t> numbers_;
  Times times_;
  double fewest_ = 0, longest_ = 0;
  double chains_ = 0;  // of scans that wait for each other
  // By the whole buffer: when the last of these steps is done, and whether they go on in it.
  std::map<int, std::pair<double, bool>> chains_behind_;
};

}  // namespace

Times predicted(const Program& program, const Sizes& sizes, const Gpu& gpu, double moved) {
  return Prediction(program, sizes, gpu).run(moved);
}

}  // namespace gpu_model
