#include "compiler/lower/rehome.h"

namespace kroton {

Rehoming::Rehoming(const Homes& homes, Adjust adjust)
    : homes_(homes),
      adjust_(std::move(adjust)),
      rewrite_(
          std::make_unique<loop::Rewriter>([this](const loop::Expr& e) { return replaced(e); })) {}

loop::Block Rehoming::block(const loop::Block& block) const { return moved((*rewrite_)(block)); }

loop::Expr Rehoming::replaced(const loop::Expr& e) const {
  if (e->op == loop::Op::variable) return loop::variable(renamed(e->variable));
  if (e->op != loop::Op::load) return e;
  const auto home = homes_.find(e->buffer->id);
  if (home == homes_.end()) return e;
  const loop::Expr when = loop::is_conditional(*e) ? e->args[1] : nullptr;
  if (const loop::Expr& value = home->second.value) {
    return when ? loop::select(when, value, loop::whole_number(0, value->dtype)) : value;
  }
  const loop::Expr& start = home->second.start;
  return loop::load(home->second.buffer, home->second.is_alone ? start : start + e->args[0], when);
}

loop::Variable Rehoming::renamed(const loop::Variable& v) const {
  const auto [found, first] = variables_.try_emplace(v.id);
  if (first) found->second = {loop::fresh_variable(v.name).id, v.dtype, v.name};
  return found->second;
}

// The statements, whose expressions are rewritten already.
loop::Block Rehoming::moved(const loop::Block& block) const {
  loop::Block result;
  for (const loop::Stmt& s : block) result.push_back(moved(s));
  return result;
}

loop::Stmt Rehoming::moved(const loop::Stmt& s) const {
  return loop::visit(
      s, [](const loop::Let& one) -> loop::Stmt { return one; },
      [&](const loop::Declare& one) -> loop::Stmt {
        return loop::Declare{renamed(one.variable), one.init};
      },
      [](const loop::Allocate& one) -> loop::Stmt { return one; },
      [&](const loop::Store& store) -> loop::Stmt {
        const auto home = homes_.find(store.buffer->id);
        if (home == homes_.end()) return store;
        const loop::Expr& start = home->second.start;
        return loop::Store{home->second.buffer, home->second.is_alone ? start : start + store.index,
                           store.value};
      },
      [&](const loop::Accumulate& sum) -> loop::Stmt {
        return loop::Accumulate{renamed(sum.variable), sum.op, sum.value};
      },
      [&](const loop::AccumulateArg& best) -> loop::Stmt {
        return loop::AccumulateArg{renamed(best.best), renamed(best.position), best.maximum,
                                   best.value, best.at};
      },
      [](const loop::Barrier& one) -> loop::Stmt { return one; },
      [](const loop::Copy& one) -> loop::Stmt { return one; },
      [](const loop::Multiply& one) -> loop::Stmt { return one; },
      [&](const loop::For& found) -> loop::Stmt {
        loop::For inner = found;
        inner.variable = renamed(inner.variable);
        if (adjust_) adjust_(found, inner);
        inner.body = moved(inner.body);
        return loop::statement(std::move(inner));
      },
      [&](const loop::If& branch) -> loop::Stmt {
        return loop::statement(
            loop::If{branch.condition, moved(branch.then_body), moved(branch.else_body)});
      });
}

}  // namespace kroton
