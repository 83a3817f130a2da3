#include "compiler/loop/sum_blocks.h"

#include <algorithm>

#include "compiler/loop/dependence.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

Expr least(const Expr& a, const Expr& b) {
  const std::optional<Dim> x = as_dim(a);
  const std::optional<Dim> y = as_dim(b);
  return x && y ? size(minimum(*x, *y)) : binary(Op::min, a, b);
}

// How often one run of the block adds to a scalar, at most, where it is known: the iterations of a
// vector or thread loop are added up apart, and together once. Null: more than any size tells.
Expr additions(const Block& block, const Variable& sum) {
  Expr most = integer(0);
  const auto note = [&](const Expr& count) {
    if (most == nullptr || count == nullptr) {
      most = nullptr;
      return;
    }
    const std::optional<Dim> a = as_dim(most);
    const std::optional<Dim> b = as_dim(count);
    most = a && b ? size(maximum(*a, *b)) : binary(Op::max, most, count);
  };
  for (const Stmt& s : block) {
    if (const auto* one = std::get_if<Accumulate>(&s)) {
      if (one->variable == sum) note(integer(1));
    } else if (const For* loop = as_for(s)) {
      const Expr inner = additions(loop->body, sum);
      std::int64_t none = 0;
      if (inner != nullptr && is_integer_constant(inner, none) && none == 0) continue;
      if (loop->kind == LoopKind::vector || loop->kind == LoopKind::thread) {
        note(integer(1));
      } else {
        note(inner != nullptr && as_dim(loop->extent) ? loop->extent * inner : nullptr);
      }
    } else if (const If* branch = as_if(s)) {
      note(additions(branch->then_body, sum));
      note(additions(branch->else_body, sum));
    }
  }
  return most;
}

// Iterations that make a block, where each of them adds `inner` numbers.
Expr iterations_of_block(const Expr& inner) {
  if (inner == nullptr) return integer(1);
  if (const std::optional<Dim> dim = as_dim(inner)) {
    return size(maximum(1, floor_div(sum_block, maximum(*dim, 1))));
  }
  return binary(Op::max, integer(1),
                binary(Op::floor_div, integer(sum_block), binary(Op::max, inner, integer(1))));
}

class SumBlocker {
 public:
  explicit SumBlocker(std::int64_t threads) : threads_(threads) {}

  Block operator()(const Block& block) {
    return replace_loops(block, [this](const For& found, Block& result) {
      For loop = found;
      loop.body = (*this)(loop.body);
      result.push_back(statement(in_blocks(std::move(loop))));
    });
  }

 private:
  For in_blocks(For loop) {
    const bool may_be = loop.kind == LoopKind::serial || loop.kind == LoopKind::thread;
    const std::vector<Variable> sums = may_be ? sums_of(loop) : std::vector<Variable>();
    if (sums.empty() || LoopFacts(loop).reads_reduced()) return loop;
    const Expr block = block_of(loop, sums, threads_);
    if (block == nullptr) return loop;
    const Expr count = blocks_in(loop.extent, block);
    For blocks = split(loop, sums, block, count);
    const Expr group = integer(sum_block);
    if (!exceeds(count, group)) return blocks;
    return split(blocks, sums, group, blocks_in(count, group));
  }

  // for b { part = 0   the loop over the block, to part   sum += part }
  For split(const For& loop, const std::vector<Variable>& sums, const Expr& block,
            const Expr& count) {
    For blocks;
    blocks.variable = fresh_variable("block");
    blocks.extent = count;
    const Expr first = variable(blocks.variable) * block;
    For part = loop;
    part.variable = fresh_variable(loop.variable.name);
    part.extent = extent_of_block(loop.extent, block, variable(blocks.variable));
    std::vector<std::pair<Variable, Variable>> own;
    for (const Variable& sum : sums) {
      own.emplace_back(sum, fresh_variable(sum.name, sum.dtype));
      blocks.body.push_back(Declare{own.back().second, real(-0.0, sum.dtype)});
    }
    part.body =
        redirected(substitute(loop.body, {{loop.variable, first + variable(part.variable)}}), own);
    blocks.body.push_back(statement(std::move(part)));
    for (const auto& [sum, mine] : own) {
      blocks.body.push_back(Accumulate{sum, Op::add, variable(mine)});
    }
    return blocks;
  }

  static Block redirected(const Block& block,
                          const std::vector<std::pair<Variable, Variable>>& own) {
    Block result;
    for (const Stmt& s : block) {
      if (const auto* one = std::get_if<Accumulate>(&s)) {
        const auto found = std::find_if(own.begin(), own.end(), [&](const auto& entry) {
          return entry.first == one->variable;
        });
        result.push_back(found == own.end() ? *one
                                            : Accumulate{found->second, one->op, one->value});
      } else {
        result.push_back(with_inner(s, [&](const Block& inner) { return redirected(inner, own); }));
      }
    }
    return result;
  }

  std::int64_t threads_;  // of a block, on a GPU
};

}  // namespace

bool exceeds(const Expr& extent, const Expr& most) {
  if (extent->op == Op::min) {
    return std::all_of(extent->args.begin(), extent->args.end(),
                       [&](const Expr& bound) { return exceeds(bound, most); });
  }
  const std::optional<Dim> dim = as_dim(extent);
  const std::optional<Dim> bound = as_dim(most);
  return !dim || !bound || !provably_at_least(*bound, *dim);
}

std::optional<std::int64_t> constant_bound(const Expr& extent) {
  std::int64_t known = 0;
  if (is_integer_constant(extent, known)) return known;
  const std::optional<Dim> dim = as_dim(extent);
  const DimAtomRef atom = dim ? dim->as_atom() : nullptr;
  std::vector<Expr> bounds;
  if (extent->op == Op::min) bounds = extent->args;
  if (atom && atom->kind == DimAtom::Kind::minimum) {
    for (const Dim& bound : atom->operands) bounds.push_back(size(bound));
  }
  std::optional<std::int64_t> least;
  for (const Expr& bound : bounds) {
    const std::optional<std::int64_t> most = constant_bound(bound);
    if (most && (!least || *most < *least)) least = most;
  }
  return least;
}

bool is_float_sum(const Accumulate& a) { return a.op == Op::add && is_float(a.variable.dtype); }

std::vector<Variable> sums_of(const For& loop) {
  std::vector<Variable> sums;
  std::unordered_set<int> own;
  visit_statements(loop.body, [&](const Stmt& s) {
    const auto* declare = std::get_if<Declare>(&s);
    if (declare != nullptr) own.insert(declare->variable.id);
  });
  visit_statements(loop.body, [&](const Stmt& s) {
    const auto* one = std::get_if<Accumulate>(&s);
    if (one == nullptr || !is_float_sum(*one) || own.contains(one->variable.id)) return;
    if (std::find(sums.begin(), sums.end(), one->variable) == sums.end()) {
      sums.push_back(one->variable);
    }
  });
  return sums;
}

Expr block_of(const For& loop, const std::vector<Variable>& sums, std::int64_t threads) {
  Expr block;
  for (const Variable& sum : sums) {
    const Expr own = iterations_of_block(additions(loop.body, sum));
    block = block == nullptr ? own : least(block, own);
  }
  if (block == nullptr) return nullptr;
  if (loop.kind == LoopKind::thread) block = block * integer(threads);
  return exceeds(loop.extent, block) ? block : nullptr;
}

Expr blocks_in(const Expr& extent, const Expr& block) {
  const std::optional<Dim> dim = as_dim(extent);
  const std::optional<Dim> by = as_dim(block);
  if (dim && by) return size(ceil_div(*dim, *by));
  return binary(Op::floor_div, extent + block - integer(1), block);
}

Expr extent_of_block(const Expr& extent, const Expr& block, const Expr& number) {
  return binary(Op::min, extent - number * block, block);
}

Stmt carry_sums(const std::vector<CarriedSums>& arrays, const Expr& number, const Expr& count,
                const OverElements& over) {
  const Expr group = integer(sum_block);
  const Expr next = number + integer(1);
  const auto is_whole = [&](const Expr& e) {
    return binary(Op::eq, binary(Op::mod, e, group), integer(0));
  };
  const Expr last = binary(Op::le, count, next);
  const Expr ends = binary(Op::logical_or, is_whole(next), last);
  const Expr in_first_group = binary(Op::lt, number, group);
  const auto carry = [&](const Expr& at) {
    Block block;
    for (const CarriedSums& a : arrays) {
      // What was not kept yet is not added: it may be anything.
      const Expr none = real(-0.0, a.sums->dtype);
      const Expr of_group = load(a.groups, at);
      const Expr total = load(a.totals, at);
      block.push_back(
          Store{a.groups, at,
                binary(Op::add, select(is_whole(number), none, of_group), load(a.sums, at))});
      If end{ends, {}, {Store{a.sums, at, none}}};
      end.then_body = {
          Store{a.totals, at, binary(Op::add, select(in_first_group, none, total), of_group)},
          Store{a.sums, at, select(last, total, none)}};
      block.push_back(statement(std::move(end)));
    }
    return block;
  };
  return over(carry);
}

Kernel sum_in_blocks(const Kernel& kernel) {
  Kernel result = kernel;
  std::int64_t threads = 1;
  for (const Stmt& s : kernel.body) {
    const For* loop = as_for(s);
    if (loop != nullptr && loop->kind == LoopKind::block) threads = loop->width;
  }
  result.body = SumBlocker(threads)(kernel.body);
  return result;
}

}  // namespace kroton::loop
