// Rows that stay in registers: their elements come from memory once, by accesses of up to 16 bytes.
#include "compiler/loop/gpu_held_loops.h"
#include "compiler/loop/gpu_scheduler.h"
#include "compiler/loop/sum_blocks.h"

namespace kroton::loop {
namespace {

constexpr int most_row_threads = 1024;
// Rows that parts of a warp have: known ones from `shortest_held_row` up to `longest_of_part`,
// where there are many, others up to `longest_part_row`.
constexpr std::int64_t shortest_held_row = 17, longest_of_part = 128;
constexpr std::int64_t lanes_of_free_row = 8;
constexpr std::int64_t many_rows_of_parts = 1024;
constexpr std::int64_t bytes_of_sector = 32;

// How many lanes have a row of so many groups of neighbours, up to `most_groups` each, and at least
// `fewest` lanes, that they touch whole sectors: those that leave the fewest without.
std::int64_t lanes_of_row(std::int64_t groups, std::int64_t most_groups, std::int64_t fewest) {
  std::int64_t best = Machine::warp, least_idle = 0;
  for (std::int64_t lanes = Machine::warp; lanes >= std::max<std::int64_t>(fewest, 2); lanes /= 2) {
    const std::int64_t rounds = (groups + lanes - 1) / lanes, idle = rounds * lanes - groups;
    if (rounds > most_groups || (lanes < Machine::warp && idle >= least_idle)) continue;
    best = lanes;
    least_idle = idle;
  }
  return best;
}

}  // namespace

struct GpuScheduler::HeldRows {
  Block own;  // what is done for a row
  Variable position;
  std::vector<HeldStage> stages;
  Expr length, count;
  std::int64_t known = 0;  // the length, if it is
  std::int64_t most = 0;
};

Block GpuScheduler::held_rows(const std::vector<const For*>& outer, const Block& core) {
  const std::vector<Expr> extents = extents_of(outer);
  HeldRows rows{.own = substitute(core, unflatten(variables_of(outer), extents, variable(block_))),
                .position = fresh("p"),
                .stages = {},
                .length = nullptr,
                .count = product(extents)};
  const Block& own = rows.own;
  Expr& length = rows.length;
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
    rows.stages.push_back({k, substitute(*body, unflatten(variables_of(loops), extents_of(loops),
                                                          variable(rows.position)))});
  }
  if (rows.stages.empty()) return {};
  const bool is_known = is_integer_constant(length, rows.known);
  rows.most = is_known ? rows.known : constant_bound(length).value_or(longest_row_);
  if (rows.most < shortest_held_row) return {};
  std::int64_t count = 0;
  const bool are_many = !is_integer_constant(rows.count, count) || count >= many_rows_of_parts;
  if (row_threads_ == warp && are_many &&
      rows.most <= (is_known ? longest_of_part : longest_part_row)) {
    Block parts = held_by(rows, true);
    if (!parts.empty()) return parts;
  }
  return rows.most < warp ? Block{} : held_by(rows, false);
}

Block GpuScheduler::held_by(const HeldRows& rows, bool parts) {
  const std::int64_t known = rows.known;
  StageHolder holder(rows.position, rows.stages, rows.own);
  if (!holder.is_possible()) return {};
  PositionShare share;
  if (known > 0) {
    share.together = holder.neighbours(known, parts ? 2 : warp);
  } else if (const std::optional<Dim> length = as_dim(rows.length)) {
    share.together = holder.neighbours_of_free();
    share.length = *length;
  }
  const std::int64_t groups = (rows.most + share.together - 1) / share.together;
  const std::int64_t of_thread = most_of_thread / share.together;
  std::int64_t threads = row_threads_;
  if (parts) {
    const std::int64_t of_sector = bytes_of_sector / (share.together * holder.narrowest());
    threads = known > 0 ? lanes_of_row(groups, of_thread, of_sector) : lanes_of_free_row;
    if (threads == warp) return {};
  }
  while (threads * of_thread < groups && threads < most_row_threads) threads *= 2;
  share.rounds = (groups + threads - 1) / threads;
  if (share.rounds > of_thread) return {};
  // As few threads without elements as can be.
  share.threads = ((groups + share.rounds - 1) / share.rounds + warp - 1) / warp * warp;
  if (known == 0 || parts) share.threads = threads;
  share.count = known / share.together;
  const StageHolder::NewRegisters registers = new_registers();
  const bool all_shared = holder.choose(share.rounds * share.together, registers);
  const std::vector<HeldArray>& held = holder.held();
  if (held.empty() && (known == 0 || (share.together == 1 && !parts))) return {};
  if (parts && !all_shared) return {};
  block_count_ = rows.count;
  Block result;
  for (const HeldArray& row : held) result.push_back(Allocate{row.registers});
  DealtStages deal(share, rows.length, rows.position, held, registers);
  std::size_t number = 0;
  for (std::size_t k = 0; k < rows.own.size(); ++k) {
    if (number == holder.stages().size() || holder.stages()[number].place != k) {
      result.push_back(rows.own[k]);
      continue;
    }
    const Variable t = fresh("t");
    result.push_back(GpuScheduler::threads(t, integer(share.threads),
                                           deal(holder.stages()[number], number, variable(t))));
    ++number;
  }
  Block in_order = with_barriers(result);
  // The lanes of a part wait for nobody.
  if (parts && in_order.size() != result.size()) return {};
  row_threads_ = static_cast<int>(share.threads);
  return in_order;
}

}  // namespace kroton::loop
