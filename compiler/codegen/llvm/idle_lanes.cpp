// What the idle lanes of a vector loop may compute on zeros.
#include <algorithm>
#include <cmath>

#include "compiler/codegen/llvm/kernel_emitter.h"
#include "compiler/loop/traverse.h"

namespace kroton::codegen {
namespace {

using loop::Expr;
using loop::Op;

// Judges expressions by what an idle lane computes, in which every load that depends on the lane
// gives 0. What is the same for all lanes is computed for the active ones anyway.
class IdleLane {
 public:
  explicit IdleLane(const loop::Variable& lane) : lane_(lane) {}

  // It raises no flag.
  bool is_harmless(const Expr& e) {
    if (e->args.empty() || is_common(e)) return true;
    const auto [found, is_new] = harmless_.try_emplace(e.get(), false);
    if (is_new) {
      const bool judged = judge_harmless(e);
      harmless_[e.get()] = judged;
      return judged;
    }
    return found->second;
  }

 private:
  bool is_common(const Expr& e) const { return !loop::depends_on(e, lane_); }

  bool judge_harmless(const Expr& e) {
    switch (e->op) {
      case Op::div:
      case Op::floor_div:
      case Op::mod:
      case Op::add:
      case Op::sub:
      case Op::mul:
      case Op::fma:
      case Op::sqrt:
        if (is_float(e->dtype) && !is_zero(e)) return false;
        break;
      default:
        break;
    }
    return std::all_of(e->args.begin(), e->args.end(),
                       [this](const Expr& arg) { return is_harmless(arg); });
  }

  bool is_finite(const Expr& e) const {
    return is_common(e) && !(e->op == Op::real && !std::isfinite(e->real));
  }
  bool is_zero_product(const Expr& a, const Expr& b) {
    return (is_zero(a) && (is_zero(b) || is_finite(b))) || (is_finite(a) && is_zero(b));
  }

  // It is 0, and so is all that it is made of and depends on the lane.
  bool is_zero(const Expr& e) {
    if (e->op == Op::real) return e->real == 0;
    const auto [found, is_new] = zero_.try_emplace(e.get(), false);
    if (!is_new) return found->second;
    const bool judged = judge_zero(e);
    zero_[e.get()] = judged;
    return judged;
  }

  bool judge_zero(const Expr& e) {
    if (e->op == Op::load) return !is_common(e);
    if (is_common(e)) return false;
    switch (e->op) {
      case Op::add:
      case Op::sub:
        return is_zero(e->args[0]) && is_zero(e->args[1]);
      case Op::mul:
        return is_zero_product(e->args[0], e->args[1]);
      case Op::fma:
        return is_zero_product(e->args[0], e->args[1]) && is_zero(e->args[2]);
      case Op::neg:
      case Op::abs:
      case Op::sqrt:
        return is_zero(e->args[0]);
      case Op::cast:
        return is_zero(e->args[0]);
      case Op::select:
        return is_harmless(e->args[0]) && is_zero(e->args[1]) && is_zero(e->args[2]);
      default:
        return false;
    }
  }

  const loop::Variable& lane_;
  // By node: an expression may read one many times.
  std::unordered_map<const loop::ExprNode*, bool> harmless_, zero_;
};

}  // namespace

bool is_harmless_on_zeros(const loop::For& loop) {
  IdleLane lane(loop.variable);
  bool harmless = true;
  // A lane's own scalars may be anything.
  loop::visit_statements(loop.body, [&](const loop::Stmt& s) {
    harmless = harmless && !std::holds_alternative<loop::Declare>(s);
  });
  if (!harmless) return false;
  // A value under a Let counts where it is used.
  loop::visit_statements(loop.body, [&](const loop::Stmt& s) {
    if (std::holds_alternative<loop::Let>(s)) return;
    loop::visit_own_expressions(s,
                                [&](const Expr& e) { harmless = harmless && lane.is_harmless(e); });
  });
  return harmless;
}

}  // namespace kroton::codegen
