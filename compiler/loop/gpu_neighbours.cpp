// Elementwise work whose operands come by accesses of several elements.
#include <algorithm>

#include "compiler/loop/gpu_scheduler.h"
#include "compiler/loop/index_arithmetic.h"

namespace kroton::loop {
namespace {

// More neighbours of narrow elements are fewer threads.
constexpr std::int64_t least_elements_of_many = 1 << 20;
constexpr std::int64_t few_together = 4;
// Fewer elements are better spread over more threads.
constexpr std::int64_t least_elements = 1 << 18;

// Of an element, where the number of elements is not known: what computes more is better spread
// too.
constexpr int most_for_neighbours = 24;
constexpr int operations_of_function = 10;  // an elementary one

// The block with its indices simplified as those of a loop over these variables.
Block simplified(Block block, const std::vector<std::pair<Variable, Expr>>& variables) {
  for (auto v = variables.rbegin(); v != variables.rend(); ++v) {
    For loop;
    loop.variable = v->first;
    loop.extent = v->second;
    loop.body = std::move(block);
    block = {statement(std::move(loop))};
  }
  block = simplify_indices(block);
  for (std::size_t k = 0; k < variables.size(); ++k) block = Block(as_for(block.front())->body);
  return block;
}

}  // namespace

Block GpuScheduler::neighbours(const std::vector<const For*>& loops, const Block& core) {
  if (loops.empty()) return {};
  const std::vector<Expr> extents = extents_of(loops);
  const Expr count = product(extents);
  std::int64_t known = 0;
  const bool constant = is_integer_constant(count, known);
  if (constant && known < least_elements) return {};
  std::int64_t widest = 1, narrowest = bytes_together;
  std::unordered_set<const ExprNode*> seen;
  std::vector<Expr> nodes;
  for (const Stmt& s : core) {
    const auto* store = std::get_if<Store>(&s);
    if (store == nullptr || store->buffer->space != Space::global) return {};
    widest = std::max<std::int64_t>(widest, size_of(store->buffer->dtype));
    narrowest = std::min<std::int64_t>(narrowest, size_of(store->buffer->dtype));
    visit_own_expressions(s, [&](const Expr& e) { append_post_order(e, seen, nodes); });
  }
  int operations = 0;
  for (const Expr& e : nodes) {
    if (may_fail(e->op)) return {};
    const bool is_function = Op::exp <= e->op && e->op <= Op::atan2;
    operations += is_function ? operations_of_function : e->args.empty() ? 0 : 1;
    if (e->op != Op::load) continue;
    widest = std::max<std::int64_t>(widest, size_of(e->dtype));
    narrowest = std::min<std::int64_t>(narrowest, size_of(e->dtype));
  }
  if (!constant && operations > most_for_neighbours) return {};
  std::int64_t together = neighbours_of(narrowest, widest);
  if (constant && known < least_elements_of_many) together = std::min(together, few_together);
  if (together < 2) return {};

  For few;
  few.kind = LoopKind::vector;
  few.variable = fresh("k");
  few.width = static_cast<int>(together);
  const Variable t = fresh("t");
  const Expr of_block = integer(threads_of_neighbours * together);
  const Expr first = variable(block_) * of_block + variable(t) * integer(together);
  const bool is_even = constant && known % (threads_of_neighbours * together) == 0;
  few.extent = is_even ? integer(together) : binary(Op::min, count - first, integer(together));
  const Expr blocks = blocks_for(count, static_cast<int>(threads_of_neighbours * together));
  few.body = simplified(
      substitute(core, unflatten(variables_of(loops), extents, first + variable(few.variable))),
      {{block_, blocks}, {t, integer(threads_of_neighbours)}, {few.variable, integer(together)}});
  // Most accesses must be to neighbours, all stores among them.
  int near = 0, far = 0;
  std::unordered_set<int> written;
  nodes.clear();
  seen.clear();
  for (const Stmt& s : few.body) {
    const auto* store = std::get_if<Store>(&s);
    if (store == nullptr || !steps_by_one(store->index, few.variable)) return {};
    if (!written.insert(store->buffer->id).second) return {};
    visit_own_expressions(s, [&](const Expr& e) { append_post_order(e, seen, nodes); });
  }
  for (const Expr& e : nodes) {
    if (e->op != Op::load || !depends_on(e, few.variable)) continue;
    ++(!is_conditional(*e) && steps_by_one(e->args[0], few.variable) ? near : far);
    // What is overwritten is read where it is written.
    const bool elsewhere = std::none_of(few.body.begin(), few.body.end(), [&](const Stmt& s) {
      const auto& store = std::get<Store>(s);
      return store.buffer->id == e->buffer->id && store.index == e->args[0];
    });
    if (written.contains(e->buffer->id) && (elsewhere || is_conditional(*e))) return {};
  }
  if (far > near + static_cast<int>(written.size())) return {};
  block_count_ = blocks;
  // Threads past the end have no elements.
  return {threads(t, integer(threads_of_neighbours), {statement(std::move(few))})};
}

}  // namespace kroton::loop
