// Kernels as parts of one block's work.
#include <algorithm>

#include "compiler/loop/gpu_scheduler.h"
#include "compiler/loop/index_arithmetic.h"
#include "compiler/loop/schedule.h"
#include "compiler/loop/simplify.h"

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

std::vector<Kernel> parts_apart(const Kernel& kernel) {
  const Kernel simple = simplify(kernel);
  const Block* core = nullptr;
  if (perfect_nest(simple.body, is_independent, core).empty() || has_loop(*core)) return {kernel};
  const Kernel split = split_loops(simple, false).front();
  const std::vector<const For*> outer =
      perfect_nest(split.body, [](const For&) { return true; }, core);
  const bool is_loops =
      std::all_of(core->begin(), core->end(), [](const Stmt& s) { return as_for(s) != nullptr; });
  if (core->size() < 2 || !is_loops) return {kernel};
  // Parts of the same extents become one loop.
  struct Part {
    std::vector<const For*> loops;
    Block core;
  };
  std::vector<Part> found;
  for (const Stmt& s : *core) {
    const Block whole{s};
    const Block* own = nullptr;
    Part part{outer, {}};
    for (const For* loop : perfect_nest(whole, [](const For&) { return true; }, own)) {
      part.loops.push_back(loop);
    }
    part.core = *own;
    const bool only_stores = std::all_of(own->begin(), own->end(), [](const Stmt& one) {
      return std::holds_alternative<Store>(one);
    });
    if (!only_stores) return {kernel};
    if (found.empty() || extents_of(found.back().loops) != extents_of(part.loops)) {
      found.push_back(std::move(part));
      continue;
    }
    std::vector<std::pair<Variable, Expr>> places;
    for (std::size_t k = 0; k < part.loops.size(); ++k) {
      places.emplace_back(part.loops[k]->variable, variable(found.back().loops[k]->variable));
    }
    for (Stmt& one : substitute(part.core, places)) found.back().core.push_back(std::move(one));
  }
  std::vector<Kernel> parts;
  for (Part& one : found) {
    Kernel& part = parts.emplace_back(kernel);
    part.body = std::move(one.core);
    for (auto loop = one.loops.rbegin(); loop != one.loops.rend(); ++loop) {
      For around = **loop;
      around.body = std::move(part.body);
      part.body = {statement(std::move(around))};
    }
    if (parts.size() > 1) part.work = integer(0);
  }
  return parts;
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
