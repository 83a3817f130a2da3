// Walks over kernels: over expressions (iterative, each shared node once) and over statements.
#pragma once
#include <functional>
#include <span>
#include <unordered_map>
#include <unordered_set>

#include "compiler/base/visit_kind.h"
#include "compiler/loop/ir.h"

namespace kroton::loop {

// The nodes that `roots` reach, each once, arguments before their users.
std::vector<Expr> post_order(std::span<const Expr> roots);
// The same, leaving out what `seen` holds already and adding to it.
void append_post_order(const Expr& root, std::unordered_set<const ExprNode*>& seen,
                       std::vector<Expr>& order);

// The operation of `e` on other arguments, through its constructor (so it may fold).
Expr with_args(const Expr& e, const std::vector<Expr>& args);

// Replaces expressions bottom-up. `replace` sees a node whose arguments are replaced already and
// returns what stands for it. One Rewriter remembers its results: sharing is kept across calls.
class Rewriter {
 public:
  explicit Rewriter(std::function<Expr(const Expr&)> replace) : replace_(std::move(replace)) {}
  Expr operator()(const Expr& e);
  Block operator()(const Block& block);

 private:
  std::function<Expr(const Expr&)> replace_;
  std::unordered_map<const ExprNode*, Expr> results_;
  std::unordered_set<const ExprNode*> visited_;  // those that results_ has, between calls
  std::vector<Expr> kept_;  // keeps the addresses in results_ from being used again
};

// `block` with variables replaced in every expression. Variables that `block` declares stay.
Block substitute(const Block& block, const std::vector<std::pair<Variable, Expr>>& replacements);

// Calls the handler for what the statement is. There is one for each kind, or it does not compile:
// const Let&, const Declare&, ..., const Barrier&, const For&, const If&.
template <class... Handlers>
decltype(auto) visit(const Stmt& statement, Handlers... handlers) {
  return visit_kind(statement, std::move(handlers)...);
}

// For every block in the statement, in order; and the statement with other blocks in it.
void for_each_inner(const Stmt& statement, const std::function<void(const Block&)>& action);
Stmt with_inner(const Stmt& statement, const std::function<Block(const Block&)>& replace);

// Calls `action` for the expressions of the statement itself, not those of nested blocks.
void visit_own_expressions(const Stmt& statement, const std::function<void(const Expr&)>& action);
// Calls `action` for every statement of the block and of those nested in it, outer before inner.
void visit_statements(std::span<const Stmt> block, const std::function<void(const Stmt&)>& action);
// The same for every root expression.
void visit_expressions(const Block& block, const std::function<void(const Expr&)>& action);

// The block with what `replace` appends in place of each of its loops, those in branches included;
// loops in loops are left to `replace`.
Block replace_loops(const Block& block,
                    const std::function<void(const For& loop, Block& result)>& replace);

// The loop or branch behind a statement, else null.
const For* as_for(const Stmt& statement);
const If* as_if(const Stmt& statement);
Stmt statement(For loop);
Stmt statement(If branch);
// Serial loops over the axes around `body`, first axis outermost.
Block nest(const std::vector<Variable>& variables, const std::vector<Dim>& extents, Block body);

// A variable that nothing else is: one that a pass adds, too, so that what later ones add differs.
Variable fresh_variable(const std::string& name, DType dtype = DType::i64);

// The iteration of each of the nested loops, first outermost, that position `at` of their product
// stands for: the last runs fastest.
std::vector<std::pair<Variable, Expr>> unflatten(const std::vector<Variable>& variables,
                                                 const std::vector<Expr>& extents, const Expr& at);

}  // namespace kroton::loop
