#include "compiler/loop/simplify.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "compiler/loop/dependence.h"
#include "compiler/loop/index_arithmetic.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

std::size_t count_statements(const Block& block) {
  std::size_t count = 0;
  visit_statements(block, [&](const Stmt&) { ++count; });
  return count;
}

// The id that a statement declares; buffers and variables are told apart by sign.
std::optional<int> declared(const Stmt& s) {
  if (const auto* declare = std::get_if<Declare>(&s)) return declare->variable.id;
  if (const auto* allocate = std::get_if<Allocate>(&s)) return -1 - allocate->buffer->id;
  return std::nullopt;
}

// Removes loops that run once or never and decided branches.
class Unnester {
 public:
  explicit Unnester(const Block& body) {
    visit_statements(body, [&](const Stmt& s) {
      if (const auto id = declared(s)) ++declarations_[*id];
    });
  }

  Block operator()(const Block& block) const {
    Block result;
    for (const Stmt& s : block) {
      if (const For* loop = as_for(s)) {
        add_loop(*loop, result);
      } else if (const If* branch = as_if(s)) {
        add_branch(*branch, result);
      } else {
        result.push_back(s);
      }
    }
    return result;
  }

 private:
  // A block may join the one around it unless it declares what is declared again elsewhere.
  bool may_join(const Block& block) const {
    return std::all_of(block.begin(), block.end(), [&](const Stmt& s) {
      const auto id = declared(s);
      return !id || declarations_.at(*id) == 1;
    });
  }

  void add_loop(const For& loop, Block& result) const {
    std::int64_t extent = 0;
    const bool constant = is_integer_constant(loop.extent, extent);
    if (constant && extent <= 0) return;
    Block body = (*this)(loop.body);
    if (body.empty()) return;
    if (constant && extent == 1 && may_join(body)) {
      body = (*this)(substitute(body, {{loop.variable, integer(0)}}));
      result.insert(result.end(), body.begin(), body.end());
      return;
    }
    For kept = loop;
    kept.body = std::move(body);
    result.push_back(statement(std::move(kept)));
  }

  void add_branch(const If& branch, Block& result) const {
    Block then_body = (*this)(branch.then_body);
    Block else_body = (*this)(branch.else_body);
    std::int64_t condition = 0;
    if (is_integer_constant(branch.condition, condition)) {
      Block& taken = condition != 0 ? then_body : else_body;
      if (may_join(taken)) {
        result.insert(result.end(), taken.begin(), taken.end());
        return;
      }
    }
    if (then_body.empty() && else_body.empty()) return;
    result.push_back(statement(If{branch.condition, std::move(then_body), std::move(else_body)}));
  }

  std::unordered_map<int, int> declarations_;
};

// The ids of the scalars that some store, loop or branch needs, by way of others or directly.
std::unordered_set<int> live_scalars(const Block& body) {
  std::unordered_set<int> live;
  std::unordered_set<const ExprNode*> seen;
  std::vector<Expr> nodes;
  const auto read = [&](const Expr& e) {
    nodes.clear();
    append_post_order(e, seen, nodes);
    for (const Expr& node : nodes) {
      if (node->op == Op::variable) live.insert(node->variable.id);
    }
  };
  std::size_t before = 0;
  do {
    before = live.size();
    visit_statements(body, [&](const Stmt& s) {
      if (const auto* declare = std::get_if<Declare>(&s)) {
        if (live.contains(declare->variable.id)) read(declare->init);
      } else if (const auto* sum = std::get_if<Accumulate>(&s)) {
        if (live.contains(sum->variable.id)) read(sum->value);
      } else if (const auto* best = std::get_if<AccumulateArg>(&s)) {
        // One is computed from the other, so both live or neither.
        if (live.contains(best->best.id) || live.contains(best->position.id)) {
          live.insert(best->best.id);
          live.insert(best->position.id);
          read(best->value);
          read(best->at);
        }
      } else {
        visit_own_expressions(s, read);
      }
    });
  } while (live.size() != before);
  return live;
}

Block keep_live(const Block& block, const std::unordered_set<int>& live) {
  Block result;
  for (const Stmt& s : block) {
    const auto* declare = std::get_if<Declare>(&s);
    const auto* sum = std::get_if<Accumulate>(&s);
    const auto* best = std::get_if<AccumulateArg>(&s);
    if ((declare != nullptr && !live.contains(declare->variable.id)) ||
        (sum != nullptr && !live.contains(sum->variable.id)) ||
        (best != nullptr && !live.contains(best->best.id))) {
      continue;
    }
    if (const For* found = as_for(s)) {
      For loop = *found;
      loop.body = keep_live(loop.body, live);
      result.push_back(statement(std::move(loop)));
    } else if (const If* branch = as_if(s)) {
      result.push_back(statement(If{branch->condition, keep_live(branch->then_body, live),
                                    keep_live(branch->else_body, live)}));
    } else {
      result.push_back(s);
    }
  }
  return result;
}

// Merges loop pairs, innermost first. `next_id` numbers the merged variables.
class Collapser {
 public:
  Block operator()(const Block& block) {
    return replace_loops(block, [this](const For& found, Block& result) {
      For loop = found;
      loop.body = (*this)(loop.body);
      while (merge(loop)) {
      }
      result.push_back(statement(std::move(loop)));
    });
  }

 private:
  bool merge(For& outer) {
    const For* inner = outer.body.size() == 1 ? as_for(outer.body[0]) : nullptr;
    if (inner == nullptr || outer.kind != LoopKind::serial || inner->kind != LoopKind::serial ||
        depends_on(inner->extent, outer.variable)) {
      return false;
    }
    bool joins = true;
    visit_expressions(inner->body, [&](const Expr& e) {
      joins = joins && depends_jointly(e, outer.variable, inner->variable, inner->extent);
    });
    if (!joins || !keeps_independence(outer, *inner)) return false;
    const Variable merged = fresh_variable(outer.variable.name + inner->variable.name);
    For loop;
    loop.variable = merged;
    loop.extent = outer.extent * inner->extent;
    loop.is_independent = outer.is_independent && inner->is_independent;
    // With steps in the ratio of the extent, the value at (i, j) is that at (0, i*extent + j).
    loop.body = substitute(inner->body,
                           {{outer.variable, integer(0)}, {inner->variable, variable(merged)}});
    outer = std::move(loop);
    return true;
  }

  // Whether the inner loop is as bound to its order as both are: a sum that runs along the outer
  // one leaves the elements of a row to vectors and threads.
  static bool keeps_independence(const For& outer, const For& inner) {
    std::unordered_set<int> stored, loaded;
    visit_statements(inner.body, [&](const Stmt& s) {
      if (const auto* store = std::get_if<Store>(&s)) stored.insert(store->buffer->id);
      visit_own_expressions(s, [&](const Expr& root) {
        for (const Expr& e : post_order(std::span(&root, 1))) {
          if (e->op == Op::load) loaded.insert(e->buffer->id);
        }
      });
    });
    const bool reads_stored =
        std::any_of(stored.begin(), stored.end(), [&](int id) { return loaded.contains(id); });
    // So does what only the inner loop is known to be free to do.
    const bool may_lose = reads_stored || (inner.is_independent && !outer.is_independent);
    return !may_lose || !LoopFacts(inner).iterations_are_independent(false) ||
           LoopFacts(outer).iterations_are_independent(false);
  }

  // Whether e is a function of i*extent + j.
  static bool depends_jointly(const Expr& root, const Variable& i, const Variable& j,
                              const Expr& extent) {
    std::unordered_set<const ExprNode*> seen{root.get()};
    std::vector<Expr> stack{root};
    while (!stack.empty()) {
      const Expr e = stack.back();
      stack.pop_back();
      if (is_joint_step(e, i, j, extent)) continue;
      if (e->op == Op::variable) return false;
      for (const Expr& arg : e->args) {
        if (seen.insert(arg.get()).second) stack.push_back(arg);
      }
    }
    return true;
  }

  static bool is_joint_step(const Expr& e, const Variable& i, const Variable& j,
                            const Expr& extent) {
    const bool on_i = depends_on(e, i);
    const bool on_j = depends_on(e, j);
    if (!on_i && !on_j) return true;
    if (e->dtype != DType::i64) return false;
    // What is checked may depend on both in another way than the value.
    const std::vector<Expr> nodes = post_order(std::span(&e, 1));
    if (std::any_of(nodes.begin(), nodes.end(), [](const Expr& n) { return may_fail(n->op); })) {
      return false;
    }
    const Expr stride_i = stride_of(e, i);
    const Expr stride_j = stride_of(e, j);
    return stride_i != nullptr && stride_j != nullptr && !depends_on(stride_j, i) &&
           stride_i == stride_j * extent;
  }
};

}  // namespace

Kernel simplify(const Kernel& kernel) {
  Kernel result = kernel;
  std::size_t before = 0;
  do {
    before = count_statements(result.body);
    result.body = simplify_indices(Unnester(result.body)(result.body));
    result.body = keep_live(result.body, live_scalars(result.body));
    result.body = Unnester(result.body)(result.body);
  } while (count_statements(result.body) != before);
  return result;
}

Kernel collapse_loops(const Kernel& kernel) {
  Kernel result = kernel;
  result.body = Collapser()(kernel.body);
  return result;
}

}  // namespace kroton::loop
