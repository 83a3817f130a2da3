#include "compiler/lower/open_kernel.h"

#include <unordered_set>

#include "compiler/loop/traverse.h"

namespace kroton {
namespace {

using loop::Expr;
using loop::Op;

// Operations of which one operand may be any number.
bool takes_any_number(Op op) {
  switch (op) {
    case Op::add:
    case Op::sub:
    case Op::min:
    case Op::max:
    case Op::eq:
    case Op::ne:
    case Op::lt:
    case Op::le:
      return true;
    default:
      return false;
  }
}

bool is_in_memory(const loop::BufferRef& buffer) {
  return buffer->space == loop::Space::global || buffer->space == loop::Space::worker;
}

class Opener {
 public:
  explicit Opener(const loop::Kernel& kernel) {
    // Where elements of registers are must be known.
    loop::visit_statements(kernel.body, [&](const loop::Stmt& s) {
      const auto* store = std::get_if<loop::Store>(&s);
      if (store && !is_in_memory(store->buffer)) keep(store->index);
      loop::visit_own_expressions(s, [&](const Expr& root) {
        for (const Expr& e : loop::post_order(std::span(&root, 1))) {
          if (e->op == Op::load && !is_in_memory(e->buffer)) keep(e->args[0]);
        }
      });
    });
    loop::Rewriter rewrite([this](const Expr& e) { return opened(e); });
    result_.body = rewrite(kernel.body);
  }

  OpenKernel take() { return std::move(result_); }

 private:
  void keep(const Expr& root) {
    std::vector<Expr> fresh;
    loop::append_post_order(root, kept_, fresh);
  }

  // What is kept consists of what is kept, so that it comes here as it is in the kernel.
  Expr opened(const Expr& e) {
    if (kept_.contains(e.get())) return e;
    if (e->op == Op::size) return number(e);
    if (e->op == Op::load && e->args[0]->op == Op::integer) {
      return loop::load(e->buffer, number(e->args[0]),
                        loop::is_conditional(*e) ? e->args[1] : nullptr);
    }
    if (!takes_any_number(e->op) || e->args[0]->dtype != DType::i64) return e;
    for (const std::size_t k : {0, 1}) {
      if (e->args[k]->op != Op::integer) continue;
      const Expr a = number(e->args[k]);
      return k == 0 ? loop::binary(e->op, a, e->args[1]) : loop::binary(e->op, e->args[0], a);
    }
    return e;
  }

  Expr number(const Expr& value) {
    result_.numbers.push_back(loop::fresh_variable("number"));
    result_.values.push_back(value);
    return loop::variable(result_.numbers.back());
  }

  std::unordered_set<const loop::ExprNode*> kept_;
  OpenKernel result_;
};

}  // namespace

OpenKernel open_numbers(const loop::Kernel& kernel) { return Opener(kernel).take(); }

}  // namespace kroton
