#include "compiler/loop/traverse.h"

#include <kroton/error.h>

#include <algorithm>
#include <atomic>

#include "compiler/loop/elementary.h"

namespace kroton::loop {
namespace {

std::function<Expr(const Expr&)> replacing(
    const std::vector<std::pair<Variable, Expr>>& replacements) {
  for (const auto& [v, e] : replacements) {
    if (e == nullptr || e->dtype != v.dtype) {
      throw InternalError("loop IR: substitute: '" + v.name + "' is " +
                          std::string(name_of(v.dtype)) + ", its replacement is " +
                          (e == nullptr ? "null" : std::string(name_of(e->dtype))));
    }
  }
  return [&replacements](const Expr& e) {
    if (e->op != Op::variable) return e;
    for (const auto& [v, replacement] : replacements) {
      if (v == e->variable) return replacement;
    }
    return e;
  };
}

bool is_integer_zero(const Expr& e) {
  return e != nullptr && e->op == Op::integer && e->integer == 0;
}

// The quotient when every step of `stride` moves `divisor` by a whole number of times; else null.
// Equal sizes divide even where their value may be 0: nothing runs over an axis of size 0.
Expr divide_stride(const Expr& stride, const Expr& divisor) {
  if (stride == divisor) return integer(1, stride->dtype);
  std::int64_t a = 0;
  std::int64_t b = 0;
  if (!is_integer_constant(stride, a) || !is_integer_constant(divisor, b)) return nullptr;
  return b > 0 && a % b == 0 ? integer(a / b, stride->dtype) : nullptr;
}

struct Slope {
  bool depends = false;
  Expr stride;  // null: not affine
};

// The rules of stride_of for one node whose arguments are known.
Expr stride_of_node(const Expr& e, const std::vector<Slope>& args) {
  Expr zero = integer(0, is_integer(e->dtype) ? e->dtype : DType::i64);
  // A value that is the same at every step stays the same under any operation.
  if (std::all_of(args.begin(), args.end(),
                  [](const Slope& s) { return is_integer_zero(s.stride); })) {
    return zero;
  }
  if (!is_integer(e->dtype)) return nullptr;
  const auto both = [&] { return args[0].stride != nullptr && args[1].stride != nullptr; };
  switch (e->op) {
    case Op::add:
      return both() ? args[0].stride + args[1].stride : nullptr;
    case Op::sub:
      return both() ? args[0].stride - args[1].stride : nullptr;
    case Op::neg:
      return args[0].stride == nullptr ? nullptr : unary(Op::neg, args[0].stride);
    case Op::mul:
      if (!both()) return nullptr;
      if (!args[0].depends) return args[1].stride * e->args[0];
      return args[1].depends ? nullptr : args[0].stride * e->args[1];
    case Op::floor_div:
      if (args[1].depends || args[0].stride == nullptr) return nullptr;
      return divide_stride(args[0].stride, e->args[1]);
    case Op::mod: {
      if (args[1].depends || args[0].stride == nullptr) return nullptr;
      return divide_stride(args[0].stride, e->args[1]) == nullptr ? nullptr : zero;
    }
    case Op::select:
      if (args[0].depends || args[1].stride != args[2].stride) return nullptr;
      return args[1].stride;
    case Op::check:
      return args[0].stride;
    default:
      return nullptr;
  }
}

}  // namespace

void append_post_order(const Expr& root, std::unordered_set<const ExprNode*>& seen,
                       std::vector<Expr>& order) {
  if (!seen.insert(root.get()).second) return;
  struct Frame {
    const Expr* e;
    std::size_t next;
  };
  std::vector<Frame> stack{{&root, 0}};
  while (!stack.empty()) {
    Frame& top = stack.back();
    const std::vector<Expr>& args = (*top.e)->args;
    if (top.next == args.size()) {
      order.push_back(*top.e);
      stack.pop_back();
      continue;
    }
    const Expr& arg = args[top.next++];
    if (seen.insert(arg.get()).second) stack.push_back({&arg, 0});
  }
}

std::vector<Expr> post_order(std::span<const Expr> roots) {
  std::unordered_set<const ExprNode*> seen;
  std::vector<Expr> order;
  for (const Expr& root : roots) append_post_order(root, seen, order);
  return order;
}

Expr with_args(const Expr& e, const std::vector<Expr>& args) {
  if (is_elementary(e->op) && args.size() == 1) return unary(e->op, args[0]);
  switch (e->op) {
    case Op::real:
    case Op::integer:
    case Op::variable:
    case Op::size:
      return e;
    case Op::load:
      return load(e->buffer, args[0], args.size() > 1 ? args[1] : nullptr);
    case Op::neg:
    case Op::abs:
    case Op::sqrt:
    case Op::floor:
    case Op::ceil:
    case Op::round_even:
    case Op::logical_not:
      return unary(e->op, args[0]);
    case Op::fma:
      return fma(args[0], args[1], args[2]);
    case Op::select:
      return select(args[0], args[1], args[2]);
    case Op::shortcut:
      return shortcut(args[0], args[1], args[2]);
    case Op::cast:
      return cast(args[0], e->dtype);
    case Op::bitcast:
      return bitcast(args[0], e->dtype);
    case Op::check_index:
      return check_index(args[0], args[1], static_cast<int>(e->integer));
    case Op::check:
      return check(args[0], args[1], args[2], args[3], static_cast<int>(e->integer));
    default:
      return binary(e->op, args[0], args[1]);
  }
}

Expr Rewriter::operator()(const Expr& root) {
  if (const auto found = results_.find(root.get()); found != results_.end()) return found->second;
  kept_.push_back(root);
  std::vector<Expr> order;
  append_post_order(root, visited_, order);
  for (const Expr& e : order) {
    bool changed = false;
    std::vector<Expr> args;
    args.reserve(e->args.size());
    for (const Expr& arg : e->args) {
      args.push_back(results_.at(arg.get()));
      changed = changed || args.back() != arg;
    }
    results_.emplace(e.get(), replace_(changed ? with_args(e, args) : e));
  }
  return results_.at(root.get());
}

Block Rewriter::operator()(const Block& block) {
  Rewriter& self = *this;
  const auto rewritten = [&](const Stmt& s) {
    return visit(
        s, [&](const Let& let) -> Stmt { return Let{self(let.value), let.life}; },
        [&](const Declare& one) -> Stmt { return Declare{one.variable, self(one.init)}; },
        [](const Allocate& one) -> Stmt { return one; },
        [&](const Store& store) -> Stmt {
          return Store{store.buffer, self(store.index), self(store.value)};
        },
        [&](const Accumulate& sum) -> Stmt {
          return Accumulate{sum.variable, sum.op, self(sum.value)};
        },
        [&](const AccumulateArg& best) -> Stmt {
          return AccumulateArg{best.best, best.position, best.maximum, self(best.value),
                               self(best.at)};
        },
        [](const Barrier& one) -> Stmt { return one; },
        [&](const Copy& copy) -> Stmt {
          return Copy{copy.to,
                      self(copy.to_index),
                      copy.from,
                      self(copy.from_index),
                      self(copy.available),
                      copy.count,
                      self(copy.aligned)};
        },
        [&](const Multiply& one) -> Stmt {
          return Multiply{one.sums, one.a, one.b, self(one.a_start), self(one.b_start), one.tile};
        },
        [&](const For& original) -> Stmt {
          For loop = original;
          loop.extent = self(original.extent);
          loop.body = self(original.body);
          return statement(std::move(loop));
        },
        [&](const If& branch) -> Stmt {
          return statement(
              If{self(branch.condition), self(branch.then_body), self(branch.else_body)});
        });
  };
  Block result;
  result.reserve(block.size());
  for (const Stmt& s : block) result.push_back(rewritten(s));
  return result;
}

Expr substitute(const Expr& e, const std::vector<std::pair<Variable, Expr>>& replacements) {
  return Rewriter(replacing(replacements))(e);
}

Block substitute(const Block& block, const std::vector<std::pair<Variable, Expr>>& replacements) {
  return Rewriter(replacing(replacements))(block);
}

bool depends_on(const Expr& e, const Variable& v) {
  std::unordered_set<const ExprNode*> seen{e.get()};
  std::vector<const ExprNode*> stack{e.get()};
  while (!stack.empty()) {
    const ExprNode* node = stack.back();
    stack.pop_back();
    if (node->op == Op::variable && node->variable == v) return true;
    for (const Expr& arg : node->args) {
      if (seen.insert(arg.get()).second) stack.push_back(arg.get());
    }
  }
  return false;
}

Expr stride_of(const Expr& root, const Variable& v) {
  std::unordered_map<const ExprNode*, Slope> slopes;
  std::vector<Slope> args;
  for (const Expr& e : post_order(std::span(&root, 1))) {
    Slope slope;
    if (e->op == Op::variable && e->variable == v) {
      slope = {true, is_integer(e->dtype) ? integer(1, e->dtype) : nullptr};
    } else {
      args.clear();
      for (const Expr& arg : e->args) {
        args.push_back(slopes.at(arg.get()));
        slope.depends = slope.depends || args.back().depends;
      }
      slope.stride = stride_of_node(e, args);
    }
    slopes[e.get()] = slope;
  }
  return slopes.at(root.get()).stride;
}

void for_each_inner(const Stmt& statement, const std::function<void(const Block&)>& action) {
  visit(
      statement, [](const Let&) {}, [](const Declare&) {}, [](const Allocate&) {},
      [](const Store&) {}, [](const Accumulate&) {}, [](const AccumulateArg&) {},
      [](const Barrier&) {}, [](const Copy&) {}, [](const Multiply&) {},
      [&](const For& loop) { action(loop.body); },
      [&](const If& branch) {
        action(branch.then_body);
        action(branch.else_body);
      });
}

Stmt with_inner(const Stmt& original, const std::function<Block(const Block&)>& replace) {
  if (const For* found = as_for(original)) {
    For loop = *found;
    loop.body = replace(found->body);
    return statement(std::move(loop));
  }
  if (const If* branch = as_if(original)) {
    return statement(If{branch->condition, replace(branch->then_body), replace(branch->else_body)});
  }
  return original;
}

void visit_own_expressions(const Stmt& statement, const std::function<void(const Expr&)>& action) {
  visit(
      statement, [&](const Let& let) { action(let.value); },
      [&](const Declare& one) { action(one.init); }, [](const Allocate&) {},
      [&](const Store& store) {
        action(store.index);
        action(store.value);
      },
      [&](const Accumulate& sum) { action(sum.value); },
      [&](const AccumulateArg& best) {
        action(best.value);
        action(best.at);
      },
      [](const Barrier&) {},
      [&](const Copy& copy) {
        action(copy.to_index);
        action(copy.from_index);
        action(copy.available);
        action(copy.aligned);
      },
      [&](const Multiply& one) {
        action(one.a_start);
        action(one.b_start);
      },
      [&](const For& loop) { action(loop.extent); },
      [&](const If& branch) { action(branch.condition); });
}

void visit_statements(std::span<const Stmt> block, const std::function<void(const Stmt&)>& action) {
  for (const Stmt& s : block) {
    action(s);
    for_each_inner(s, [&](const Block& inner) { visit_statements(inner, action); });
  }
}

void visit_expressions(const Block& block, const std::function<void(const Expr&)>& action) {
  visit_statements(block, [&](const Stmt& s) { visit_own_expressions(s, action); });
}

Block replace_loops(const Block& block,
                    const std::function<void(const For& loop, Block& result)>& replace) {
  Block result;
  for (const Stmt& s : block) {
    if (const For* loop = as_for(s)) {
      replace(*loop, result);
    } else {
      result.push_back(
          with_inner(s, [&](const Block& inner) { return replace_loops(inner, replace); }));
    }
  }
  return result;
}

const For* as_for(const Stmt& statement) {
  const auto* loop = std::get_if<std::shared_ptr<const For>>(&statement);
  return loop == nullptr ? nullptr : loop->get();
}

const If* as_if(const Stmt& statement) {
  const auto* branch = std::get_if<std::shared_ptr<const If>>(&statement);
  return branch == nullptr ? nullptr : branch->get();
}

Stmt statement(For loop) { return std::make_shared<const For>(std::move(loop)); }
Stmt statement(If branch) { return std::make_shared<const If>(std::move(branch)); }

Variable fresh_variable(const std::string& name, DType dtype) {
  static std::atomic<int> next{0};
  return {next++, dtype, name};
}

std::vector<std::pair<Variable, Expr>> unflatten(const std::vector<Variable>& variables,
                                                 const std::vector<Expr>& extents, const Expr& at) {
  std::vector<std::pair<Variable, Expr>> result;
  Expr rest = at;
  for (std::size_t k = variables.size(); k-- > 0;) {
    const bool last = k == 0;
    result.emplace_back(variables[k], last ? rest : binary(Op::mod, rest, extents[k]));
    if (!last) rest = binary(Op::floor_div, rest, extents[k]);
  }
  return result;
}

Block nest(const std::vector<Variable>& variables, const std::vector<Dim>& extents, Block body) {
  for (std::size_t axis = extents.size(); axis-- > 0;) {
    For loop;
    loop.variable = variables[axis];
    loop.extent = size(extents[axis]);
    loop.body = std::move(body);
    body = {statement(std::move(loop))};
  }
  return body;
}

}  // namespace kroton::loop
