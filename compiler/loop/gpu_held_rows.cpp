// Rows that stay in registers: their elements come from memory once, by accesses of up to 16 bytes.
#include "compiler/loop/gpu_held_loops.h"
#include "compiler/loop/gpu_scheduler.h"
#include "compiler/loop/sum_blocks.h"

namespace kroton::loop {
namespace {

constexpr int most_row_threads = 1024;

}  // namespace

Block GpuScheduler::held_rows(const std::vector<const For*>& outer, const Block& core) {
  const std::vector<Expr> extents = extents_of(outer);
  const Block own = substitute(core, unflatten(variables_of(outer), extents, variable(block_)));
  const Variable position = fresh("p");
  std::vector<HeldStage> stages;
  Expr length;
  for (std::size_t k = 0; k < own.size(); ++k) {
    if (as_for(own[k]) == nullptr) {
      const auto* store = std::get_if<Store>(&own[k]);
      if (store != nullptr && store->buffer->space != Space::global) return {};
      continue;
    }
    const Block* body = nullptr;
    const Block whole{own[k]};
    const std::vector<const For*> loops = perfect_nest(whole, may_share, body);
    const Expr count = product(extents_of(loops));
    if (has_loop_or_branch(*body) || (length != nullptr && length != count)) return {};
    length = count;
    stages.push_back({k, substitute(*body, unflatten(variables_of(loops), extents_of(loops),
                                                     variable(position)))});
  }
  std::int64_t known = 0;
  if (stages.empty()) return {};
  const bool is_known = is_integer_constant(length, known);
  const std::int64_t most = is_known ? known : constant_bound(length).value_or(longest_row_);
  if (most < warp) return {};

  StageHolder holder(position, std::move(stages), own);
  if (!holder.is_possible()) return {};
  PositionShare share;
  share.together = known > 0 ? holder.neighbours(known) : 1;
  const std::int64_t groups = (most + share.together - 1) / share.together;
  const std::int64_t of_thread = most_of_thread / share.together;
  std::int64_t threads = row_threads_;
  while (threads * of_thread < groups && threads < most_row_threads) threads *= 2;
  share.rounds = (groups + threads - 1) / threads;
  if (share.rounds > of_thread) return {};
  // As few threads without elements as can be.
  share.threads = ((groups + share.rounds - 1) / share.rounds + warp - 1) / warp * warp;
  if (known == 0) share.threads = threads;
  share.count = known / share.together;
  const StageHolder::NewRegisters registers = new_registers();
  holder.choose(share.rounds * share.together, registers);
  const std::vector<HeldArray>& held = holder.held();
  if (held.empty() && share.together == 1) return {};
  block_count_ = product(extents);
  Block result;
  for (const HeldArray& row : held) result.push_back(Allocate{row.registers});
  DealtStages deal(share, length, position, held, registers);
  std::size_t number = 0;
  for (std::size_t k = 0; k < own.size(); ++k) {
    if (number == holder.stages().size() || holder.stages()[number].place != k) {
      result.push_back(own[k]);
      continue;
    }
    const Variable t = fresh("t");
    result.push_back(GpuScheduler::threads(t, integer(share.threads),
                                           deal(holder.stages()[number], number, variable(t))));
    ++number;
  }
  row_threads_ = static_cast<int>(share.threads);
  return with_barriers(result);
}

}  // namespace kroton::loop
