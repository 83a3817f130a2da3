// Random numbers come in blocks: of 64 consecutive ones, 16 neighbours are the first words of a
// block each, the next 16 the second words of the same blocks, and so on (32 where a block makes
// two numbers). A vector loop
//
//   vector for i in 0..n { y[i] = f(word floor_div(mod(i, 64), 16) of block(floor_div(i, 64),
//   mod(i, 16))) }
//
// becomes one over groups of 64 iterations, written out,
//
//   for g in 0..floor_div(n, 64) { vector<unrolled 64> for l in 0..64 { ... } }
//
// and one for what is left over. In the first, what a block is made of is a constant of each
// vector, or the same in all of them: they share the blocks.
#include <algorithm>

#include "compiler/loop/index_arithmetic.h"
#include "compiler/loop/schedule.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

// What is worth sharing: the operations of a block are more by far.
constexpr int fewest_operations = 40;
constexpr std::int64_t shortest_period = 32, longest_period = 64;

// Whether e is a quotient by a period of something that advances by one with v.
bool is_group(const Expr& e, const Variable& v, std::int64_t period) {
  std::int64_t divisor = 0, step = 0;
  if (e->op != Op::floor_div || !is_integer_constant(e->args[1], divisor) || divisor != period) {
    return false;
  }
  const Expr stride = stride_of(e->args[0], v);
  return stride && is_integer_constant(stride, step) && step == 1;
}

std::vector<Expr> nodes_of(const Block& block) {
  std::unordered_set<const ExprNode*> seen;
  std::vector<Expr> nodes;
  visit_expressions(block, [&](const Expr& e) { append_post_order(e, seen, nodes); });
  return nodes;
}

// The iterations after which blocks are others; 0 for a loop that draws nothing.
std::int64_t period_of(const For& loop) {
  const bool only_stores = std::all_of(loop.body.begin(), loop.body.end(), [](const Stmt& s) {
    return std::holds_alternative<Store>(s);
  });
  if (loop.kind != LoopKind::vector || loop.unrolled > 0 || !only_stores) return 0;
  const std::vector<Expr> nodes = nodes_of(loop.body);
  const auto mixing =
      std::count_if(nodes.begin(), nodes.end(), [](const Expr& e) { return e->op == Op::bit_xor; });
  if (mixing < fewest_operations) return 0;
  for (std::int64_t period = longest_period; period >= shortest_period; period /= 2) {
    if (std::any_of(nodes.begin(), nodes.end(),
                    [&](const Expr& e) { return is_group(e, loop.variable, period); })) {
      return period;
    }
  }
  return 0;
}

class DrawSharer {
 public:
  Block operator()(const Block& block) {
    return replace_loops(block, [this](const For& loop, Block& result) { share(loop, result); });
  }

 private:
  void share(const For& loop, Block& result) {
    const std::int64_t period = period_of(loop);
    std::int64_t extent = 0;
    const bool is_short = is_integer_constant(loop.extent, extent) && extent < period;
    if (period == 0 || is_short) {
      For kept = loop;
      kept.body = (*this)(loop.body);
      result.push_back(statement(std::move(kept)));
      return;
    }
    const auto part = [&](const Expr& count, const Expr& start, int unrolled) {
      For lanes = loop;
      lanes.variable = fresh_variable(lanes.variable.name);
      lanes.extent = count;
      lanes.unrolled = unrolled;
      if (unrolled > 0) lanes.interleave = 1;
      lanes.body = substitute(loop.body, {{loop.variable, start + variable(lanes.variable)}});
      return statement(std::move(lanes));
    };
    For groups;
    groups.variable = fresh_variable(loop.variable.name + "_group");
    groups.extent = binary(Op::floor_div, loop.extent, integer(period));
    groups.is_independent = true;
    groups.body = {part(integer(period), variable(groups.variable) * integer(period),
                        static_cast<int>(period))};
    const Expr done = groups.extent * integer(period);
    const Expr left = loop.extent - done;
    result.push_back(statement(std::move(groups)));
    if (is_integer_constant(left, extent) && extent == 0) return;
    result.push_back(part(left, done, 0));
  }
};

}  // namespace

Kernel share_draws(const Kernel& kernel) {
  bool draws = false;
  visit_statements(kernel.body, [&](const Stmt& s) {
    const For* loop = as_for(s);
    draws = draws || (loop != nullptr && period_of(*loop) > 0);
  });
  if (!draws) return kernel;
  Kernel result = kernel;
  result.body = simplify_indices(DrawSharer()(kernel.body));
  return result;
}

}  // namespace kroton::loop
