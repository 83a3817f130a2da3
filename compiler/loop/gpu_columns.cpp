// Column sums: threads of a block share the rows of some columns.
#include <algorithm>
#include <limits>

#include "compiler/loop/gpu_scheduler.h"

namespace kroton::loop {
namespace {

// Threads that share the rows of some columns, the fewer blocks there are the more,
// and how many rows it takes to pay.
constexpr int threads_of_many_columns = 256;
constexpr int threads_of_columns = 512;  // of a number not known, too
constexpr int threads_of_few_columns = 1024;
constexpr std::int64_t many_columns = 528;  // blocks
constexpr std::int64_t few_columns = 132;
constexpr std::int64_t least_grouped_rows = 64;
// Shared memory that the sums of a block's threads take.
constexpr std::int64_t most_shared_sums = 32 << 10;
// A combination of so many groups is written out.
constexpr int unrolled_groups = 32;

// Whether the block does no more than store and accumulate into scalars of `sums`, each once,
// which all begin with what is so of nothing.
bool only_accumulates(const Block& block, const std::vector<Declare>& sums) {
  std::size_t used = 0;
  for (const Stmt& s : block) {
    const auto begins = [&](const Variable& v, const Expr& with) {
      return std::any_of(sums.begin(), sums.end(),
                         [&](const Declare& d) { return d.variable == v && d.init == with; });
    };
    if (const auto* sum = std::get_if<Accumulate>(&s)) {
      if (!begins(sum->variable, initial(sum->op, sum->variable.dtype))) return false;
      used += 1;
    } else if (const auto* arg = std::get_if<AccumulateArg>(&s)) {
      const Op op = arg->maximum ? Op::max : Op::min;
      if (!begins(arg->best, initial(op, arg->best.dtype)) ||
          !begins(arg->position, integer(std::numeric_limits<std::int64_t>::max()))) {
        return false;
      }
      used += 2;
    } else if (!std::holds_alternative<Store>(s)) {
      return false;
    }
  }
  return used > 0 && used == sums.size();
}

}  // namespace

Block GpuScheduler::grouped_columns(const std::vector<const For*>& outer, const Block& core) {
  std::vector<Declare> sums;
  Block after;
  const For* loop = nullptr;
  for (const Stmt& s : core) {
    const auto* declare = std::get_if<Declare>(&s);
    if (as_if(s) != nullptr || (loop != nullptr && as_for(s) != nullptr)) return {};
    if (as_for(s) != nullptr) {
      loop = as_for(s);
    } else if (declare != nullptr && loop == nullptr) {
      sums.push_back(*declare);
    } else {
      after.push_back(s);
    }
  }
  if (outer.empty() || loop == nullptr) return {};
  const Block* body = nullptr;
  const Block whole{statement(*loop)};
  const std::vector<const For*> loops = perfect_nest(whole, may_share, body);
  const std::vector<Expr> extents = extents_of(loops);
  const Expr rows = product(extents);
  std::int64_t known = 0;
  if (is_integer_constant(rows, known) && known < least_grouped_rows) return {};
  if (!only_accumulates(*body, sums)) return {};

  const auto [width, columns, blocks] = columns_of(outer);
  std::int64_t bytes = 0;  // of a thread, in shared memory
  for (const Declare& sum : sums) bytes += size_of(sum.variable.dtype);
  while (bytes * column_threads_ > most_shared_sums && column_threads_ > warp) {
    column_threads_ /= 2;
  }
  const int groups = column_threads_ / width;
  const Expr lanes = integer(width);
  const Variable t = fresh("t");
  const Variable k = fresh("k");
  const Variable c = fresh("c");
  const Variable g = fresh("g");
  const Expr group = binary(Op::floor_div, variable(t), lanes);
  const Expr lane = binary(Op::mod, variable(t), lanes);
  For share;
  share.variable = k;
  share.extent = binary(Op::floor_div, rows + integer(groups - 1) - group, integer(groups));
  share.body = substitute(
      *body, unflatten(variables_of(loops), extents, variable(k) * integer(groups) + group));
  Block own(sums.begin(), sums.end());
  own.push_back(statement(std::move(share)));
  Block total(sums.begin(), sums.end());
  Block combine;
  const auto shared = [&](const Variable& held) {
    const BufferRef partial = shared_buffer(held.dtype, column_threads_);
    own.push_back(Store{partial, variable(t), variable(held)});
    return load(partial, variable(g) * lanes + variable(c));
  };
  for (const Stmt& s : *body) {
    if (const auto* sum = std::get_if<Accumulate>(&s)) {
      combine.push_back(Accumulate{sum->variable, sum->op, shared(sum->variable)});
    } else if (const auto* arg = std::get_if<AccumulateArg>(&s)) {
      const Expr best = shared(arg->best);
      combine.push_back(
          AccumulateArg{arg->best, arg->position, arg->maximum, best, shared(arg->position)});
    }
  }
  For add;
  add.kind = groups <= unrolled_groups ? LoopKind::unroll : LoopKind::serial;
  add.variable = g;
  add.extent = integer(groups);
  add.body = std::move(combine);
  total.push_back(statement(std::move(add)));
  total.insert(total.end(), after.begin(), after.end());
  block_count_ = blocks;
  const Expr first = columns.first;
  const auto at = [&](const Block& block, const Expr& column) {
    return substitute(block, unflatten(variables_of(outer), extents_of(outer), column));
  };
  const Stmt inside = statement(If{binary(Op::lt, lane, columns.count), at(own, first + lane), {}});
  return {threads(t, integer(column_threads_), {inside}), Barrier{},
          threads(c, binary(Op::min, columns.count, lanes), at(total, first + variable(c)))};
}

GpuScheduler::DealtColumns GpuScheduler::columns_of(const std::vector<const For*>& outer) {
  DealtColumns dealt;
  const Expr count = product(extents_of(outer));
  std::int64_t last = 0;
  if (is_integer_constant(outer.back()->extent, last) && last > 0 && last < warp) {
    dealt.width = 1;
    while (dealt.width < last) dealt.width *= 2;
    const Expr extent = outer.back()->extent;
    dealt.columns = {variable(block_) * extent, extent};
    std::vector<Expr> others = extents_of(outer);
    others.pop_back();
    dealt.blocks = product(others);
  } else {
    dealt.width = warp;
    const Expr first = variable(block_) * integer(warp);
    dealt.columns = {first, count - first};
    dealt.blocks = blocks_for(count, warp);
  }
  std::int64_t blocks = 0;
  column_threads_ = threads_of_columns;
  if (is_integer_constant(dealt.blocks, blocks)) {
    if (blocks >= many_columns) column_threads_ = threads_of_many_columns;
    if (blocks < few_columns) column_threads_ = threads_of_few_columns;
  }
  return dealt;
}

}  // namespace kroton::loop
