// Loops that run in phases: over what lies with gaps inside of something else.
//
// The gradient of every second element is a value at an index with a condition on its remainder. So
// is that of a pool of windows apart from each other, and of a convolution by its picture. Here a
// step of the loop becomes one for all remainders, in each of which the conditions are known and
// gone, as are the divisions:
//
//   for i in 0..2*n { y[i] = x[floor_div(i, 2) if mod(i, 2) == 0] }
//
//   for i in 0..n { y[i*2] = x[i]   y[i*2 + 1] = 0 }
#include <algorithm>

#include "compiler/loop/schedule.h"
#include "compiler/loop/simplify.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

constexpr std::int64_t most_phases = 8;
// Nodes of all copies of a body, before conditions are gone from them: where a loop's end is known,
// and where what is left over at the end needs a loop of its own, in each of the loops around.
constexpr std::size_t most_nodes = 3000, most_nodes_of_unknown = 400;

// The divisor of the loop's variable in conditions of loads: the largest, 1 if there is none.
std::int64_t phases_of(const For& loop) {
  std::unordered_set<const ExprNode*> seen, in_conditions;
  std::vector<Expr> nodes, conditions;
  visit_expressions(loop.body, [&](const Expr& e) { append_post_order(e, seen, nodes); });
  for (const Expr& e : nodes) {
    if (is_conditional(*e)) append_post_order(e->args[1], in_conditions, conditions);
  }
  std::int64_t phases = 1;
  for (const Expr& e : conditions) {
    std::int64_t divisor = 0, step = 0;
    if (e->op != Op::mod || !is_integer_constant(e->args[1], divisor)) continue;
    const Expr along = stride_of(e->args[0], loop.variable);
    if (!along || !is_integer_constant(along, step) || (step != 1 && step != -1)) continue;
    if (divisor > 1 && divisor <= most_phases) phases = std::max(phases, divisor);
  }
  std::int64_t extent = 0;
  const std::size_t most =
      is_integer_constant(loop.extent, extent) ? most_nodes : most_nodes_of_unknown;
  const bool fits = nodes.size() * static_cast<std::size_t>(phases) <= most;
  const bool declares = std::any_of(loop.body.begin(), loop.body.end(), [](const Stmt& s) {
    return std::holds_alternative<Declare>(s) || std::holds_alternative<Allocate>(s);
  });
  return fits && !declares ? phases : 1;
}

class PhaseSplitter {
 public:
  explicit PhaseSplitter(const Kernel& kernel) : outermost_(outermost_loop(kernel)) {}

  Block operator()(const Block& block) {
    return replace_loops(block, [this](const For& loop, Block& result) { split(loop, result); });
  }

 private:
  void split(const For& loop, Block& result) {
    const std::int64_t phases = loop.kind == LoopKind::serial ? phases_of(loop) : 1;
    const Expr steps = binary(Op::floor_div, loop.extent, integer(phases));
    const Expr done = steps * integer(phases);
    const Expr left = loop.extent - done;
    std::int64_t known = 0;
    const bool is_whole = is_integer_constant(left, known) && known == 0;
    // What is left over would be a loop beside the one that threads share.
    if (phases == 1 || (&loop == outermost_ && !is_whole)) {
      For whole = loop;
      whole.body = (*this)(loop.body);
      result.push_back(statement(std::move(whole)));
      return;
    }
    const auto at = [&](const Expr& place) {
      return substitute(loop.body, {{loop.variable, place}});
    };
    For all = loop;
    all.variable = fresh_variable(all.variable.name);
    all.extent = steps;
    all.body.clear();
    for (std::int64_t phase = 0; phase < phases; ++phase) {
      for (Stmt& s : at(variable(all.variable) * integer(phases) + integer(phase))) {
        all.body.push_back(std::move(s));
      }
    }
    all.body = (*this)(all.body);
    result.push_back(statement(std::move(all)));
    if (is_whole) return;
    For rest = loop;
    rest.variable = fresh_variable(rest.variable.name);
    rest.extent = left;
    rest.body = (*this)(at(done + variable(rest.variable)));
    result.push_back(statement(std::move(rest)));
  }

  const For* outermost_;
};

}  // namespace

Kernel split_phases(const Kernel& kernel) {
  bool has_phases = false;
  visit_statements(kernel.body, [&](const Stmt& s) {
    const For* loop = as_for(s);
    has_phases = has_phases || (loop != nullptr && phases_of(*loop) > 1);
  });
  if (!has_phases) return kernel;
  Kernel result = note_independence(kernel);
  result.body = PhaseSplitter(kernel)(result.body);
  return simplify(result);
}

}  // namespace kroton::loop
