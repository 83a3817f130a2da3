// Elementwise work that reads around each element, as a window of its own for each channel does.
#include <algorithm>
#include <array>

#include "compiler/loop/gpu_scheduler.h"
#include "compiler/loop/index_arithmetic.h"

namespace kroton::loop {
namespace {

// Elements below each other that a thread may have, the best first.
constexpr std::array<std::int64_t, 3> steps_of_thread = {4, 7, 2};
// Fewer loads of an element are as good by one thread each.
constexpr std::size_t least_loads = 6;
// The part of the loads that is left at most, or nothing is gained.
constexpr double most_left = 0.7;
// Threads that must be left, for each iteration of the loops whose extent is not known.
constexpr std::int64_t least_threads = 1 << 14;

std::size_t loads_of(const Block& block) {
  std::unordered_set<const ExprNode*> seen;
  std::vector<Expr> nodes;
  visit_expressions(block, [&](const Expr& e) { append_post_order(e, seen, nodes); });
  return static_cast<std::size_t>(
      std::count_if(nodes.begin(), nodes.end(), [](const Expr& e) { return e->op == Op::load; }));
}

// Stores to buffers that are not read, and nothing that may fail.
bool only_stores(const Block& core) {
  const Use use = use_of(core);
  bool fails = false;
  std::unordered_set<const ExprNode*> seen;
  std::vector<Expr> nodes;
  visit_expressions(core, [&](const Expr& e) { append_post_order(e, seen, nodes); });
  for (const Expr& e : nodes) fails = fails || may_fail(e->op);
  return !fails && std::all_of(core.begin(), core.end(), [&](const Stmt& s) {
    const auto* store = std::get_if<Store>(&s);
    return store != nullptr && store->buffer->space == Space::global &&
           !use.read.contains(store->buffer->id);
  });
}

}  // namespace

Block GpuScheduler::below_each_other(const std::vector<const For*>& loops, const Block& core) {
  if (loops.size() < 2 || !only_stores(core)) return {};
  const std::size_t loads = loads_of(core);
  if (loads < least_loads) return {};
  const std::size_t place = loops.size() - 2;
  const For& down = *loops[place];
  std::int64_t rows = 0;
  if (!is_integer_constant(down.extent, rows) || rows == 0) return {};
  std::int64_t threads = 1;
  for (const For* loop : loops) {
    std::int64_t extent = 1;
    if (is_integer_constant(loop->extent, extent)) threads *= extent;
  }
  for (const std::int64_t steps : steps_of_thread) {
    if (rows % steps != 0 || threads / steps < least_threads) continue;
    std::vector<For> own;
    for (const For* loop : loops) {
      own.push_back(*loop);
      own.back().body.clear();
    }
    own[place].variable = fresh(down.variable.name);
    own[place].extent = integer(rows / steps);
    Block together;
    for (std::int64_t k = 0; k < steps; ++k) {
      const Expr row = variable(own[place].variable) * integer(steps) + integer(k);
      for (Stmt& s : substitute(core, {{down.variable, row}})) together.push_back(std::move(s));
    }
    // What is read twice shows when indices and conditions are as simple as they get.
    for (auto loop = own.rbegin(); loop != own.rend(); ++loop) {
      For around = *loop;
      around.body = std::move(together);
      together = {statement(std::move(around))};
    }
    together = simplify_indices(together);
    while (const For* loop = together.size() == 1 ? as_for(together.front()) : nullptr) {
      together = Block(loop->body);
    }
    if (static_cast<double>(loads_of(together)) >
        most_left * static_cast<double>(loads * static_cast<std::size_t>(steps))) {
      continue;
    }
    std::vector<const For*> list;
    list.reserve(own.size());
    for (const For& loop : own) list.push_back(&loop);
    return elements(list, together, threads_of_elements);
  }
  return {};
}

}  // namespace kroton::loop
