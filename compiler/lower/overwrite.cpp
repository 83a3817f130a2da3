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

// Calls `action` for each statement's expressions in program order: (expression, statement).
void for_each_expression(const loop::Block& block,
                         const std::function<void(const loop::Expr&, const loop::Stmt&)>& action) {
  loop::visit_statements(block, [&](const loop::Stmt& stmt) {
    loop::visit_own_expressions(stmt, [&](const loop::Expr& e) { action(e, stmt); });
  });
}

// The stores of one kernel's result, and what they need to go over a state.
class Overwriting {
 public:
  Overwriting(const loop::Kernel& kernel, int result, const loop::BufferRef& state,
              bool stores_once)
      : kernel_(kernel), result_(result), state_(state), stores_once_(stores_once) {
    loop::visit_statements(kernel.body, [&](const loop::Stmt& s) {
      if (store_of(s) != nullptr) {
        ++stores_;
      } else if (const auto* sum = std::get_if<loop::Accumulate>(&s)) {
        changed_.insert(sum->variable.id);
      } else if (const auto* arg = std::get_if<loop::AccumulateArg>(&s)) {
        changed_.insert({arg->best.id, arg->position.id});
      } else if (const loop::For* loop = loop::as_for(s)) {
        has_threads_ = has_threads_ || loop->kind == loop::LoopKind::block;
      } else if (const auto* copy = std::get_if<loop::Copy>(&s)) {
        copies_state_ = copies_state_ || copy->from->id == state->id || copy->from->id == result;
      }
    });
  }

  // Every element of the state is read, if at all, in the block that stores its new value: where
  // elements are stored more than once, in the first statement that stores any, which stores each
  // once.
  bool is_safe() {
    if (stores_ == 0 || copies_state_) return false;
    bool is_first = true;
    for (const loop::Stmt& s : kernel_.body) {
      int stores = 0;
      bool reads_result = false, reads_state = false;
      loop::visit_statements(std::span(&s, 1), [&](const loop::Stmt& inner) {
        stores += store_of(inner) != nullptr ? 1 : 0;
        loop::visit_own_expressions(inner, [&](const loop::Expr& e) {
          reads_result = reads_result || loads(e, result_, {});
          reads_state = reads_state || loads(e, state_->id, {});
        });
      });
      if (stores_once_ && reads_result) return false;
      // Something that works on what it has stored itself: a load may be of that.
      if (reads_result && stores > 1) return false;
      if (!stores_once_ && reads_state && (!is_first || reads_result || stores > 1)) return false;
      is_first = is_first && stores == 0;
    }
    return is_safe(kernel_.body, {}, stores_once_ && !has_threads_);
  }

  loop::Block rewritten(const loop::Block& block) {
    loop::Block result;
    std::vector<Held> held;
    const std::vector<loop::Expr> here = stored_indices(block);
    for (const loop::Stmt& s : block) {
      for (const loop::Expr& index : here) {
        const bool is_held =
            std::any_of(held.begin(), held.end(), [&](const Held& h) { return h.index == index; });
        const loop::Store* store = store_of(s);
        const bool is_first = reads_at(s, index) || (store != nullptr && store->index == index);
        if (is_held || !is_first || !needs_holding(block, index)) continue;
        const loop::Variable old = loop::fresh_variable("old", state_->dtype);
        result.push_back(loop::Declare{old, loop::load(state_, index)});
        held.push_back({index, old});
      }
      loop::Stmt stmt = redirected(s, held);
      if (!is_idle(stmt)) result.push_back(std::move(stmt));
    }
    return result;
  }

 private:
  // An element of the state that a block reads into a scalar before it stores the new value.
  struct Held {
    loop::Expr index;
    loop::Variable old;
  };

  // Stores what is there already.
  bool is_idle(const loop::Stmt& s) const {
    if (const auto* store = std::get_if<loop::Store>(&s)) {
      return store->buffer->id == state_->id && is_old(store->value) &&
             !loop::is_conditional(*store->value) && store->value->args[0] == store->index;
    }
    const loop::For* loop = loop::as_for(s);
    return loop != nullptr && loop->body.empty();
  }

  bool is_old(const loop::Expr& e) const {
    return e->op == loop::Op::load && e->buffer->id == state_->id;
  }

  const loop::Store* store_of(const loop::Stmt& s) const {
    const auto* store = std::get_if<loop::Store>(&s);
    return store != nullptr && store->buffer->id == result_ ? store : nullptr;
  }

  // Whether the expression loads from the buffer at another index than these.
  static bool loads(const loop::Expr& e, int buffer, const std::vector<loop::Expr>& except) {
    const std::vector<loop::Expr> nodes = loop::post_order(std::span(&e, 1));
    return std::any_of(nodes.begin(), nodes.end(), [&](const loop::Expr& node) {
      return node->op == loop::Op::load && node->buffer->id == buffer &&
             std::find(except.begin(), except.end(), node->args[0]) == except.end();
    });
  }

  std::vector<loop::Expr> stored_indices(const loop::Block& block) const {
    std::vector<loop::Expr> indices;
    for (const loop::Stmt& s : block) {
      if (const loop::Store* store = store_of(s)) indices.push_back(store->index);
    }
    return indices;
  }

  // `around`: the elements that the blocks around this one hold. Outside their loops all threads of
  // a block would read what one of them stores.
  bool is_safe(const loop::Block& block, std::vector<loop::Expr> around, bool may_hold) const {
    const auto reads_elsewhere = [&](const loop::Stmt& s, const std::vector<loop::Expr>& allowed) {
      bool found = false;
      loop::visit_own_expressions(
          s, [&](const loop::Expr& e) { found = found || loads(e, state_->id, allowed); });
      return found;
    };
    if (may_hold) {
      for (const loop::Expr& index : stored_indices(block)) {
        if (is_fixed(index)) around.push_back(index);
      }
    }
    return std::all_of(block.begin(), block.end(), [&](const loop::Stmt& s) {
      std::vector<loop::Expr> allowed = around;
      if (const loop::Store* store = store_of(s)) allowed.push_back(store->index);
      bool safe = !reads_elsewhere(s, allowed);
      const loop::For* loop = loop::as_for(s);
      const bool is_thread = loop != nullptr && loop->kind == loop::LoopKind::thread;
      loop::for_each_inner(s, [&](const loop::Block& inner) {
        safe = safe && is_safe(inner, around, may_hold || (is_thread && stores_once_));
      });
      return safe;
    });
  }

  // Whether the index is the same in every statement of the block that has its loops' variables.
  bool is_fixed(const loop::Expr& index) const {
    const std::vector<loop::Expr> nodes = loop::post_order(std::span(&index, 1));
    return std::none_of(nodes.begin(), nodes.end(), [&](const loop::Expr& e) {
      return e->op == loop::Op::load || loop::may_fail(e->op) ||
             (e->op == loop::Op::variable && changed_.contains(e->variable.id));
    });
  }

  // Whether the statement, or one in it, reads the state at that index.
  bool reads_at(const loop::Stmt& s, const loop::Expr& index) const {
    bool found = false;
    loop::visit_expressions({s}, [&](const loop::Expr& e) {
      const std::vector<loop::Expr> nodes = loop::post_order(std::span(&e, 1));
      found = found || std::any_of(nodes.begin(), nodes.end(), [&](const loop::Expr& node) {
                return is_old(node) && node->args[0] == index;
              });
    });
    return found;
  }

  // Whether another statement of the block than the one that stores there reads that element.
  bool needs_holding(const loop::Block& block, const loop::Expr& index) const {
    return is_fixed(index) && std::any_of(block.begin(), block.end(), [&](const loop::Stmt& s) {
             const loop::Store* store = store_of(s);
             return !(store != nullptr && store->index == index) && reads_at(s, index);
           });
  }

  // The statement with stores going to the state and held elements in place of loads.
  loop::Stmt redirected(const loop::Stmt& s, const std::vector<Held>& held) {
    loop::Stmt result = s;
    if (!held.empty() || !stores_once_) {
      loop::Rewriter rewriter([&](const loop::Expr& e) {
        if (e->op == loop::Op::load && e->buffer->id == result_) {
          return loop::is_conditional(*e) ? loop::load(state_, e->args[0], e->args[1])
                                          : loop::load(state_, e->args[0]);
        }
        if (!is_old(e)) return e;
        for (const Held& h : held) {
          if (e->args[0] != h.index) continue;
          const loop::Expr old = loop::variable(h.old);
          if (!loop::is_conditional(*e)) return old;
          return loop::select(e->args[1], old, loop::whole_number(0, old->dtype));
        }
        return e;
      });
      result = rewriter(loop::Block{s}).front();
    }
    if (const loop::Store* store = store_of(result)) {
      return loop::Store{state_, store->index, store->value};
    }
    return loop::with_inner(result, [&](const loop::Block& inner) { return rewritten(inner); });
  }

  const loop::Kernel& kernel_;
  int result_;
  const loop::BufferRef& state_;
  bool stores_once_;
  int stores_ = 0;
  std::unordered_set<int> changed_;  // scalars that are so after they were declared
  bool has_threads_ = false;
  bool copies_state_ = false;  // to shared memory, other elements than a thread stores
};

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

std::optional<loop::Block> stored_over(const loop::Kernel& kernel, int result,
                                       const loop::BufferRef& state, bool stores_once) {
  Overwriting overwriting(kernel, result, state, stores_once);
  if (!overwriting.is_safe()) return std::nullopt;
  return overwriting.rewritten(kernel.body);
}

}  // namespace kroton
