// Products that are added to something, rounded once together with the sum: a * b + c becomes
// fma(a, b, c). That is half the operations of a polynomial and closer to the exact value, but not
// the same bits: x * x - y * y need not be 0 where x is y. Who wants it asks for it by name.
#include "compiler/loop/schedule.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

bool is_product(const Expr& e) { return e->op == Op::mul; }

Expr contracted(const Expr& e) {
  if (!is_float(e->dtype) || (e->op != Op::add && e->op != Op::sub)) return e;
  const Expr& a = e->args[0];
  const Expr& b = e->args[1];
  if (is_product(a)) {
    return fma(a->args[0], a->args[1], e->op == Op::add ? b : unary(Op::neg, b));
  }
  if (!is_product(b)) return e;
  const Expr& factor = b->args[0];
  return fma(e->op == Op::add ? factor : unary(Op::neg, factor), b->args[1], a);
}

}  // namespace

Kernel contract_products(const Kernel& kernel) {
  Kernel result = kernel;
  Rewriter rewrite(contracted);
  result.body = rewrite(kernel.body);
  return result;
}

}  // namespace kroton::loop
