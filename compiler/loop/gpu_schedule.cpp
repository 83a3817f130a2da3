#include "compiler/loop/gpu_schedule.h"

#include <kroton/error.h>

#include <algorithm>

#include "compiler/loop/dependence.h"
#include "compiler/loop/gpu_scheduler.h"
#include "compiler/loop/index_arithmetic.h"

namespace kroton::loop {
namespace {

// Threads that share a row longer than a warp's, which needs no shared memory to combine its sums.
constexpr std::int64_t short_row = 16;  // up to here a row is one thread's
constexpr int threads_of_rows = 256;
// The same, where rows are long and so few that all their blocks fit on a large device at once.
constexpr int threads_of_few_rows = 512;
constexpr std::int64_t long_row = 2048;
constexpr std::int64_t few_rows = 528;

bool depends_on_any(const Expr& e, const std::vector<const For*>& loops) {
  return std::any_of(loops.begin(), loops.end(),
                     [&](const For* loop) { return depends_on(e, loop->variable); });
}

bool uses_shared(const Block& block) {
  bool found = false;
  visit_statements(block, [&](const Stmt& s) {
    const auto* store = std::get_if<Store>(&s);
    found = found || (store != nullptr && store->buffer->space == Space::shared);
  });
  return found;
}

}  // namespace

bool is_independent(const For& loop) {
  const LoopFacts facts(loop);
  return !facts.reduces() && facts.iterations_are_independent(true);
}

Use use_of(const Block& block) {
  Use use;
  std::unordered_set<const ExprNode*> seen;
  std::vector<Expr> nodes;
  visit_expressions(block, [&](const Expr& e) { append_post_order(e, seen, nodes); });
  for (const Expr& e : nodes) {
    if (e->op == Op::load && e->buffer->space != Space::registers) use.read.insert(e->buffer->id);
  }
  visit_statements(block, [&](const Stmt& s) {
    const auto* store = std::get_if<Store>(&s);
    if (store == nullptr || store->buffer->space == Space::registers) return;
    use.written.insert(store->buffer->id);
  });
  return use;
}

std::vector<const For*> perfect_nest(const Block& block,
                                     const std::function<bool(const For&)>& accept,
                                     const Block*& rest) {
  std::vector<const For*> loops;
  rest = &block;
  while (rest->size() == 1) {
    const For* loop = as_for(rest->front());
    if (loop == nullptr || loop->kind != LoopKind::serial || depends_on_any(loop->extent, loops) ||
        !accept(*loop)) {
      break;
    }
    loops.push_back(loop);
    rest = &loop->body;
  }
  return loops;
}

bool has_loop(const Block& block) {
  bool found = false;
  visit_statements(block, [&](const Stmt& s) { found = found || as_for(s) != nullptr; });
  return found;
}

GpuScheduler::GpuScheduler(const Kernel& kernel, std::int64_t longest_row)
    : kernel_(kernel), longest_row_(longest_row) {
  const Use use = use_of(kernel.body);
  for (const auto* ids : {&use.read, &use.written}) {
    for (const int id : *ids) next_buffer_id_ = std::max(next_buffer_id_, id + 1);
  }
}

Kernel GpuScheduler::run(bool waits) {
  if (kernel_.body.empty()) {
    block_count_ = integer(0);
    return finish({}, warp);
  }
  const Block* core = nullptr;
  const For* wanted = only_if_wanted(kernel_.body);
  if (wanted != nullptr) wanted_ = wanted->extent;
  const Block& body = wanted != nullptr ? wanted->body : kernel_.body;
  std::vector<const For*> outer = perfect_nest(body, is_independent, core);
  if (has_loop(*core) && can_share(*core) && !suits_threads(outer, *core)) {
    Block held = held_rows(outer, *core);
    if (held.empty()) held = rows(outer, *core);
    return finish(std::move(held), row_threads_);
  }
  if (uses_shared(*core)) {
    throw InternalError("kernel " + kernel_.name +
                        " keeps rows in shared memory, but blocks cannot share its rows\n" +
                        to_string(kernel_));
  }
  if (waits && !outer.empty()) {
    return finish(elements(outer, *core, threads_that_wait), threads_that_wait);
  }
  if (Block columns = grouped_columns(outer, *core); !columns.empty()) {
    return finish(std::move(columns), column_threads_);
  }
  if (reads_columns_) {
    if (Block columns = held_columns(outer, *core); !columns.empty()) {
      return finish(std::move(columns), column_threads_);
    }
  }
  if (Block tiles = tiled_elements(outer, *core); !tiles.empty()) {
    return finish(std::move(tiles), threads_of_elements);
  }
  if (Block staged = staged_rows(outer, *core); !staged.empty()) {
    return finish(std::move(staged), threads_of_loops);
  }
  if (Block below = below_each_other(outer, *core); !below.empty()) {
    return finish(std::move(below), threads_of_elements);
  }
  if (Block together = neighbours(outer, *core); !together.empty()) {
    return finish(std::move(together), threads_of_neighbours);
  }
  if (!outer.empty()) {
    const int threads = has_loop(*core) ? threads_of_loops : threads_of_elements;
    return finish(elements(outer, *core, threads), threads);
  }
  Block in_order = ordered(body);
  if (!in_order.empty()) return finish(std::move(in_order), ordered_threads_);
  return finish(one_thread(body), warp);
}

const For* GpuScheduler::only_if_wanted(const Block& body) {
  const For* loop = body.size() == 1 ? as_for(body.front()) : nullptr;
  if (loop == nullptr || !loop->is_independent || loop->kind != LoopKind::serial) return nullptr;
  bool is_used = false;
  visit_expressions(loop->body,
                    [&](const Expr& e) { is_used = is_used || depends_on(e, loop->variable); });
  return is_used ? nullptr : loop;
}

Kernel GpuScheduler::finish(Block body, int threads) {
  Kernel result = kernel_;
  if (further_work_ != nullptr && result.work != nullptr) result.work = result.work + further_work_;
  Block shared;
  std::unordered_set<int> allocated;
  visit_statements(body, [&](const Stmt& s) {
    const auto* store = std::get_if<Store>(&s);
    if (store != nullptr && store->buffer->space == Space::shared &&
        allocated.insert(store->buffer->id).second) {
      shared.push_back(Allocate{store->buffer});
    }
  });
  body.insert(body.begin(), shared.begin(), shared.end());
  store_by_one_thread(body);
  For blocks;
  blocks.kind = LoopKind::block;
  blocks.variable = block_;
  blocks.extent = wanted_ != nullptr ? wanted_ * block_count_ : block_count_;
  blocks.width = threads;
  blocks.body = std::move(body);
  result.body = simplify_indices({statement(std::move(blocks))});
  return result;
}

void GpuScheduler::store_by_one_thread(Block& body) {
  const auto stores = std::find_if_not(body.rbegin(), body.rend(), [](const Stmt& s) {
                        const auto* store = std::get_if<Store>(&s);
                        return store != nullptr && store->buffer->space == Space::global;
                      }).base();
  if (stores == body.end()) return;
  const Block results(stores, body.end());
  body.erase(stores, body.end());
  body.push_back(one_thread(results).front());
}

Expr GpuScheduler::blocks_for(const Expr& count, int per_block) {
  if (const std::optional<Dim> dim = as_dim(count)) return size(ceil_div(*dim, per_block));
  return binary(Op::floor_div, count + integer(per_block - 1), integer(per_block));
}

Block GpuScheduler::elements(const std::vector<const For*>& loops, const Block& core, int threads) {
  const std::vector<Expr> extents = extents_of(loops);
  const Expr count = product(extents);
  const Expr width = integer(threads);
  const Variable t = fresh("t");
  std::int64_t known = 0;
  const bool constant = is_integer_constant(count, known);
  const bool one_block = constant && known <= threads;
  const Expr first = one_block ? integer(0) : variable(block_) * width;
  block_count_ = blocks_for(count, threads);
  Expr extent = binary(Op::min, count - first, width);
  if (constant && known % threads == 0) extent = width;
  if (one_block) extent = count;
  return {GpuScheduler::threads(
      t, extent, substitute(core, unflatten(variables_of(loops), extents, first + variable(t))))};
}

Block GpuScheduler::rows(const std::vector<const For*>& loops, const Block& core) {
  const std::vector<Expr> extents = extents_of(loops);
  block_count_ = product(extents);
  const Block own = substitute(core, unflatten(variables_of(loops), extents, variable(block_)));
  Block result;
  for (const Stmt& s : own) {
    const For* loop = as_for(s);
    result.push_back(loop == nullptr ? s : shared_loop(*loop));
  }
  return with_barriers(result);
}

bool GpuScheduler::may_share(const For& loop) {
  const LoopFacts facts(loop);
  return !facts.reads_reduced() && facts.iterations_are_independent(false);
}

bool GpuScheduler::can_share(const Block& core) {
  return std::all_of(core.begin(), core.end(), [](const Stmt& s) {
    const For* loop = as_for(s);
    if (loop != nullptr) return loop->kind == LoopKind::serial && may_share(*loop);
    return as_if(s) == nullptr;
  });
}

Stmt GpuScheduler::shared_loop(const For& loop) {
  const Block* core = nullptr;
  const Block whole{statement(loop)};
  const std::vector<const For*> loops = perfect_nest(whole, may_share, core);
  const Variable t = fresh(loops.size() == 1 ? loop.variable.name : "t");
  const std::vector<Expr> extents = extents_of(loops);
  return threads(t, product(extents),
                 substitute(*core, unflatten(variables_of(loops), extents, variable(t))));
}

bool GpuScheduler::suits_threads(const std::vector<const For*>& outer, const Block& core) {
  std::int64_t longest = 0;  // -1: not known
  int along_rows = 0;
  int along_columns = 0;
  for (const Stmt& s : core) {
    const For* loop = as_for(s);
    if (loop == nullptr) continue;
    const Block* rest = nullptr;
    const Block whole{s};
    const std::vector<const For*> loops = perfect_nest(whole, may_share, rest);
    std::int64_t count = 0;
    const bool known = is_integer_constant(product(extents_of(loops)), count);
    longest = !known || longest < 0 ? -1 : std::max(longest, count);
    const LoopFacts facts(*loop);
    for (const Access& access : facts.accesses()) {
      // What is the same for neighbouring rows, or all along them, is read once for many.
      const bool varies_along = std::any_of(loops.begin(), loops.end(), [&](const For* one) {
        return depends_on(access.index, one->variable);
      });
      if (access.buffer->space != Space::global || !varies_along ||
          (!outer.empty() && !depends_on(access.index, outer.back()->variable))) {
        continue;
      }
      if (steps_by_one(access.index, loops.back()->variable)) ++along_rows;
      if (!outer.empty() && steps_by_one(access.index, outer.back()->variable)) ++along_columns;
    }
  }
  const bool is_short = longest >= 0 ? longest <= Machine::warp_row
                                     : longest_row_ > 0 && longest_row_ <= Machine::warp_row;
  row_threads_ = is_short ? warp : threads_of_rows;
  std::int64_t blocks = 0;
  if (longest > long_row && is_integer_constant(product(extents_of(outer)), blocks) &&
      blocks <= few_rows) {
    row_threads_ = threads_of_few_rows;
  }
  if (outer.empty() || uses_shared(core)) return false;
  reads_columns_ = along_columns > along_rows;
  return (longest >= 0 && longest <= short_row) || reads_columns_;
}

BufferRef GpuScheduler::new_buffer(Space space, DType dtype, std::int64_t size, const char* name) {
  Buffer buffer;
  buffer.id = next_buffer_id_++;
  buffer.name = name;
  buffer.dtype = dtype;
  buffer.size = Dim(size);
  buffer.space = space;
  return std::make_shared<const Buffer>(std::move(buffer));
}

Stmt GpuScheduler::threads(const Variable& t, const Expr& extent, Block body) {
  For loop;
  loop.kind = LoopKind::thread;
  loop.variable = t;
  loop.extent = extent;
  loop.body = std::move(body);
  return statement(std::move(loop));
}

Kernel schedule_for_gpu(const Kernel& kernel, std::int64_t longest_row) {
  return GpuScheduler(kernel, longest_row).run();
}

Kernel schedule_for_waiting_blocks(const Kernel& kernel, std::int64_t longest_row) {
  return GpuScheduler(kernel, longest_row).run(true);
}

Kernel schedule_in_one_block(const Kernel& kernel) {
  return GpuScheduler(kernel).run_in_one_block();
}

}  // namespace kroton::loop
