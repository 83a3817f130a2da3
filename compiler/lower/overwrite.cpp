#include "compiler/lower/overwrite.h"

#include <algorithm>
#include <unordered_set>

#include "compiler/lower/kernel_context.h"

namespace kroton {
namespace {

bool contains_check(const loop::Expr& e, std::unordered_set<const loop::ExprNode*>& seen) {
  if (!e || !seen.insert(e.get()).second) return false;
  if (loop::may_fail(e->op)) return true;
  return std::any_of(e->args.begin(), e->args.end(),
                     [&](const loop::Expr& arg) { return contains_check(arg, seen); });
}

bool loads_from(const loop::Expr& e, int buffer, const loop::Expr* except,
                std::unordered_set<const loop::ExprNode*>& seen) {
  if (!e || !seen.insert(e.get()).second) return false;
  if (e->op == loop::Op::load && e->buffer->id == buffer && !(except && e->args[0] == *except)) {
    return true;
  }
  return std::any_of(e->args.begin(), e->args.end(),
                     [&](const loop::Expr& arg) { return loads_from(arg, buffer, except, seen); });
}

// Calls `action` for each statement's expressions in program order: (expression, statement).
void for_each_expression(const loop::Block& block,
                         const std::function<void(const loop::Expr&, const loop::Stmt&)>& action) {
  loop::visit_statements(block, [&](const loop::Stmt& stmt) {
    loop::visit_own_expressions(stmt, [&](const loop::Expr& e) { action(e, stmt); });
  });
}

}  // namespace

bool has_checks(const loop::Kernel& kernel) {
  bool found = false;
  std::unordered_set<const loop::ExprNode*> seen;
  for_each_expression(kernel.body, [&](const loop::Expr& e, const loop::Stmt&) {
    found = found || contains_check(e, seen);
  });
  return found;
}

bool has_calls(const std::vector<Step>& steps) {
  bool found = false;
  for_each_call(steps, [&](const Call&) { found = true; });
  return found;
}

// Nothing reads the result, either; where elements are stored more than once, nothing may read the
// old value, which may be gone by then.
bool may_overwrite(const loop::Kernel& kernel, int result, int state, bool stores_once) {
  bool safe = true;
  bool reads = false;
  int stores = 0;
  for_each_expression(kernel.body, [&](const loop::Expr& e, const loop::Stmt& stmt) {
    const auto* store = std::get_if<loop::Store>(&stmt);
    std::unordered_set<const loop::ExprNode*> seen;
    safe = safe && !loads_from(e, result, nullptr, seen);
    seen.clear();
    const bool at_once = store && store->buffer->id == result;
    safe = safe && !loads_from(e, state, at_once ? &store->index : nullptr, seen);
    seen.clear();
    reads = reads || loads_from(e, state, nullptr, seen);
    if (at_once && e == store->value) ++stores;
  });
  return safe && stores > 0 && (stores_once || stores == 1 || !reads);
}

loop::Block with_stores_to(const loop::Block& block, int from, const loop::BufferRef& to) {
  loop::Block result;
  for (const loop::Stmt& stmt : block) {
    if (const auto* s = std::get_if<loop::Store>(&stmt)) {
      result.push_back(loop::Store{s->buffer->id == from ? to : s->buffer, s->index, s->value});
    } else {
      result.push_back(loop::with_inner(
          stmt, [&](const loop::Block& inner) { return with_stores_to(inner, from, to); }));
    }
  }
  return result;
}

}  // namespace kroton
