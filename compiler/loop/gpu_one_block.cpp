// Kernels as parts of one block's work.
#include <algorithm>

#include "compiler/loop/gpu_scheduler.h"
#include "compiler/loop/index_arithmetic.h"

namespace kroton::loop {
namespace {

// Loops around longer ones: up to so many iterations, and so many times as long the inner ones, it
// is better that all threads share each iteration.
constexpr std::int64_t few_iterations = 8;
constexpr std::int64_t times_as_long = 16;

// The most iterations that a loop of the core has with those nested in it; 0 if not known.
std::int64_t longest_of(const Block& core) {
  std::int64_t longest = 0;
  for (const Stmt& s : core) {
    const For* loop = as_for(s);
    if (loop == nullptr) continue;
    const Block* rest = nullptr;
    const Block whole{s};
    const std::vector<const For*> loops =
        perfect_nest(whole, [](const For&) { return true; }, rest);
    std::int64_t count = 0;
    if (!is_integer_constant(product(extents_of(loops)), count)) return 0;
    longest = std::max(longest, count);
  }
  return longest;
}

}  // namespace

Kernel GpuScheduler::run_in_one_block() {
  Kernel result = kernel_;
  result.body = simplify_indices(with_barriers(dealt_out(kernel_.body)));
  return result;
}

Block GpuScheduler::dealt_out(const Block& block) {
  const bool branches =
      std::any_of(block.begin(), block.end(), [](const Stmt& s) { return as_if(s) != nullptr; });
  // A scalar from outside a thread loop is not what it accumulates into.
  const bool has_scalars = std::any_of(
      block.begin(), block.end(), [](const Stmt& s) { return std::holds_alternative<Declare>(s); });
  const bool is_ordered = has_scalars && std::any_of(block.begin(), block.end(), [](const Stmt& s) {
                            const For* loop = as_for(s);
                            return loop != nullptr && !is_independent(*loop) && !may_share(*loop);
                          });
  if (branches || is_ordered || !has_loop(block)) return {threads(fresh("t"), integer(1), block)};
  Block result;
  for (const Stmt& s : block) {
    const For* loop = as_for(s);
    if (loop == nullptr) {
      result.push_back(s);
      continue;
    }
    const Block* core = nullptr;
    const Block whole{s};
    const std::vector<const For*> outer = perfect_nest(whole, is_independent, core);
    if (!outer.empty()) {
      result.push_back(iterations(outer, *core));
    } else if (may_share(*loop)) {
      result.push_back(shared_loop(*loop));
    } else {
      result.push_back(threads(fresh("t"), integer(1), whole));
    }
  }
  return result;
}

Stmt GpuScheduler::iterations(const std::vector<const For*>& loops, const Block& core) {
  const std::vector<Expr> extents = extents_of(loops);
  std::int64_t count = 0;
  const bool is_few = is_integer_constant(product(extents), count) && count <= few_iterations &&
                      count * times_as_long <= longest_of(core);
  if (!is_few || !can_share(core)) {
    const Variable t = fresh(loops.size() == 1 ? loops[0]->variable.name : "t");
    return threads(t, product(extents),
                   substitute(core, unflatten(variables_of(loops), extents, variable(t))));
  }
  For each;
  each.variable = fresh("row");
  each.extent = product(extents);
  const Block own =
      substitute(core, unflatten(variables_of(loops), extents, variable(each.variable)));
  each.body = with_barriers(dealt_out(own));
  return statement(std::move(each));
}

}  // namespace kroton::loop
