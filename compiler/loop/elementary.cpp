#include "compiler/loop/elementary.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <unordered_set>

#include "compiler/loop/expr_builder.h"
#include "compiler/loop/math.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

// In the order of Op.
constexpr std::array<Expr (*)(ExprBuilder&, Expr), 13> unary_functions = {
    math::exp, math::expm1, math::log, math::log1p, math::sigmoid, math::tanh, math::softplus,
    math::erf, math::sin,   math::cos, math::atan,  math::asin,    math::acos};
constexpr std::array<Expr (*)(ExprBuilder&, Expr, Expr), 2> binary_functions = {math::pow,
                                                                                math::atan2};

std::size_t function_number(Op op) {
  return static_cast<std::size_t>(op) - static_cast<std::size_t>(Op::exp);
}

int count_operations(const Expr& root) {
  int count = 0;
  for (const Expr& e : post_order(std::span(&root, 1))) {
    count += is_elementary(e->op) ? 0 : operations_of(*e);
  }
  return count;
}

}  // namespace

Expr arithmetic_of(Op op, const std::vector<Expr>& args) {
  ExprBuilder b(args[0]->dtype);
  const std::size_t number = function_number(op);
  if (number < unary_functions.size()) return unary_functions[number](b, args[0]);
  return binary_functions.at(number - unary_functions.size())(b, args[0], args[1]);
}

namespace {

// The value, which stops the kernel where computing an argument would, though it may not depend on
// it: anything to the power of 0 is 1.
Expr with_checks_of(Expr value, const std::vector<Expr>& args) {
  std::unordered_set<const ExprNode*> kept;
  for (const Expr& e : post_order(std::span(&value, 1))) kept.insert(e.get());
  for (const Expr& e : post_order(args)) {
    if (!may_fail(e->op) || kept.contains(e.get())) continue;
    if (e->op == Op::check) {
      value = check(value, e->args[1], e->args[2], e->args[3], static_cast<int>(e->integer));
      continue;
    }
    const Expr& index = e->args[0];
    const Expr& size = e->args[1];
    const Expr fits = binary(Op::logical_and, binary(Op::le, unary(Op::neg, size), index),
                             binary(Op::lt, index, size));
    value = check(value, fits, index, size, static_cast<int>(e->integer));
  }
  return value;
}

bool has_constant(const std::vector<Expr>& args) {
  return std::any_of(args.begin(), args.end(), [](const Expr& e) { return e->op == Op::real; });
}

}  // namespace

Kernel with_arithmetic(const Kernel& kernel) {
  Kernel result = kernel;
  result.body = Rewriter([](const Expr& e) {
    if (!is_elementary(e->op)) return e;
    const Expr value = arithmetic_of(e->op, e->args);
    return has_constant(e->args) ? with_checks_of(value, e->args) : value;
  })(kernel.body);
  return result;
}

int operations_of(const ExprNode& e) {
  if (e.args.empty() || (e.dtype == DType::i64 && e.op != Op::load)) return 0;
  if (!is_elementary(e.op)) return 1;
  using Counts = std::array<std::atomic<int>, unary_functions.size() + binary_functions.size()>;
  static std::array<Counts, std::size(dtype_table)> counts{};
  std::atomic<int>& known = counts[static_cast<std::size_t>(e.dtype)][function_number(e.op)];
  int count = known.load(std::memory_order_relaxed);
  if (count == 0) {
    std::vector<Expr> args;
    for (std::size_t k = 0; k < e.args.size(); ++k) {
      args.push_back(variable({static_cast<int>(k), e.dtype, "x"}));
    }
    count = count_operations(arithmetic_of(e.op, args));
    known.store(count, std::memory_order_relaxed);
  }
  return count;
}

}  // namespace kroton::loop
