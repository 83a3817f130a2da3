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

// Calls `visit` for each statement's expressions in program order: (expression, statement).
void for_each_expression(const loop::Block& block,
                         const std::function<void(const loop::Expr&, const loop::Stmt&)>& visit) {
  for (const loop::Stmt& stmt : block) {
    if (const auto* d = std::get_if<loop::Declare>(&stmt)) {
      visit(d->init, stmt);
    } else if (const auto* s = std::get_if<loop::Store>(&stmt)) {
      visit(s->index, stmt);
      visit(s->value, stmt);
    } else if (const auto* a = std::get_if<loop::Accumulate>(&stmt)) {
      visit(a->value, stmt);
    } else if (const auto* g = std::get_if<loop::AccumulateArg>(&stmt)) {
      visit(g->value, stmt);
      visit(g->at, stmt);
    } else if (const auto* f = std::get_if<std::shared_ptr<const loop::For>>(&stmt)) {
      visit((*f)->extent, stmt);
      for_each_expression((*f)->body, visit);
    } else if (const auto* i = std::get_if<std::shared_ptr<const loop::If>>(&stmt)) {
      visit((*i)->condition, stmt);
      for_each_expression((*i)->then_body, visit);
      for_each_expression((*i)->else_body, visit);
    }
  }
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
    } else if (const auto* f = std::get_if<std::shared_ptr<const loop::For>>(&stmt)) {
      loop::For copy = **f;
      copy.body = with_stores_to(copy.body, from, to);
      result.push_back(loop::statement(std::move(copy)));
    } else if (const auto* i = std::get_if<std::shared_ptr<const loop::If>>(&stmt)) {
      loop::If copy = **i;
      copy.then_body = with_stores_to(copy.then_body, from, to);
      copy.else_body = with_stores_to(copy.else_body, from, to);
      result.push_back(std::make_shared<const loop::If>(std::move(copy)));
    } else {
      result.push_back(stmt);
    }
  }
  return result;
}

}  // namespace kroton
