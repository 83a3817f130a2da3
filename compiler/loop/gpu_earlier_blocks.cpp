#include "compiler/loop/gpu_earlier_blocks.h"

#include <utility>

#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

constexpr std::int64_t chunks_of_group = 16;
// Of lines whose length is not known; of the largest groups there are as many as the line has.
constexpr int most_levels = 4;

// Results that a thread waits for at a time: what it has of all buffers is in registers.
std::int64_t loads_together(std::size_t buffers) { return buffers == 1 ? chunks_of_group - 1 : 8; }

std::int64_t chunks_of_level(int level) {
  return level == 0 ? 1 : chunks_of_group * chunks_of_level(level - 1);
}

Expr rest_of(const Expr& chunk, std::int64_t by) { return binary(Op::mod, chunk, integer(by)); }

// Whether the chunk is the last one of a group of that level.
Expr ends_group(const Expr& chunk, int level) {
  const std::int64_t size = chunks_of_level(level);
  return binary(Op::eq, rest_of(chunk, size), integer(size - 1));
}
Stmt only_if(const Expr& condition, Block body) {
  return statement(If{condition, std::move(body), {}});
}

// For k = 0, 1, ... written out.
Stmt for_each(std::int64_t count, const std::function<Block(const Expr& k)>& body) {
  For loop;
  loop.kind = LoopKind::unroll;
  loop.variable = fresh_variable("k");
  loop.extent = integer(count);
  loop.body = body(variable(loop.variable));
  return statement(std::move(loop));
}

void add_behind(Block& block, Block more) {
  for (Stmt& s : more) block.push_back(std::move(s));
}

}  // namespace

EarlierBlocks::EarlierBlocks(const Dim& chunks, const Dim& table_size,
                             const std::vector<DType>& dtypes, const NewBuffer& new_buffer) {
  while (levels_ < most_levels &&
         !(chunks.is_constant() && chunks.constant() <= chunks_of_level(levels_))) {
    ++levels_;
  }
  if (levels_ == 0) return;
  for (const DType dtype : dtypes) {
    tables_.push_back(new_buffer("told", dtype, table_size, Space::awaited));
    told_.push_back(
        new_buffer("group", dtype, Dim(loads_together(dtypes.size())), Space::registers));
    part_.push_back(new_buffer("part", dtype, Dim(1), Space::registers));
    before_.push_back(new_buffer("before", dtype, Dim(1), Space::registers));
  }
}

Block EarlierBlocks::buffers() const {
  Block block;
  for (const auto* list : {&tables_, &told_, &part_, &before_}) {
    for (const BufferRef& buffer : *list) block.push_back(Allocate{buffer});
  }
  return block;
}

EarlierBlocks::Values EarlierBlocks::of_first(const std::vector<BufferRef>& buffers) {
  Values values;
  for (const BufferRef& buffer : buffers) values.push_back(load(buffer, integer(0)));
  return values;
}

Block EarlierBlocks::stores(const std::vector<BufferRef>& buffers, const Expr& index,
                            const Values& values) {
  Block block;
  for (std::size_t k = 0; k < buffers.size(); ++k) {
    block.push_back(Store{buffers[k], index, values[k]});
  }
  return block;
}

Expr EarlierBlocks::tells_at(const Expr& chunk, int level) const {
  Expr tells = level == 0 ? integer(1, DType::boolean) : ends_group(chunk, level);
  if (level + 1 == levels_) return tells;
  return binary(Op::logical_and, tells, unary(Op::logical_not, ends_group(chunk, level + 1)));
}

Block EarlierBlocks::tell(const Expr& chunk, const Place& place, const Values& own) const {
  if (levels_ == 0) return {};
  return {only_if(tells_at(chunk, 0), stores(tables_, place(chunk), own))};
}

Block EarlierBlocks::find(const Expr& chunk, const Place& place, const Values& own,
                          const Combine& combine, const Expr& wanted) const {
  Block block;
  for (int level = 0; level < levels_; ++level) {
    const bool is_last = level + 1 == levels_;
    Expr has_groups = binary(Op::le, integer(chunks_of_level(level)), rest_at(chunk, level));
    if (wanted != nullptr) {
      const Expr is_asked =
          is_last ? wanted : binary(Op::logical_or, wanted, ends_group(chunk, level + 1));
      has_groups = binary(Op::logical_and, has_groups, is_asked);
    }
    block.push_back(only_if(has_groups, find_groups(level, chunk, place, combine)));
    if (is_last) break;
    block.push_back(
        only_if(tells_at(chunk, level + 1), stores(tables_, place(chunk), combine(before(), own))));
  }
  return block;
}

Expr EarlierBlocks::rest_at(const Expr& chunk, int level) const {
  return level + 1 == levels_ ? chunk : rest_of(chunk, chunks_of_level(level + 1));
}

// Those of one size, in front of what has been found of smaller ones.
Block EarlierBlocks::find_groups(int level, const Expr& chunk, const Place& place,
                                 const Combine& combine) const {
  const std::int64_t size = chunks_of_level(level);
  const Expr rest = rest_at(chunk, level);
  const Expr count = level == 0 ? rest : binary(Op::floor_div, rest, integer(size));
  const auto all = [](const std::vector<BufferRef>& buffers, const Expr& k) {
    Values values;
    for (const BufferRef& buffer : buffers) values.push_back(load(buffer, k));
    return values;
  };
  const auto choose = [](const Expr& condition, const Values& a, const Values& b) {
    Values values;
    for (std::size_t k = 0; k < a.size(); ++k) values.push_back(select(condition, a[k], b[k]));
    return values;
  };
  const std::int64_t most = loads_together(tables_.size());
  For batches;
  batches.variable = fresh_variable("batch");
  batches.extent = binary(Op::floor_div, count + integer(most - 1), integer(most));
  const Expr first = variable(batches.variable) * integer(most);
  batches.body.push_back(for_each(most, [&](const Expr& k) {
    const Expr last = chunk - rest + (first + k) * integer(size) + integer(size - 1);
    const Expr is_there = binary(Op::lt, first + k, count);
    Values told;
    for (const BufferRef& table : tables_) told.push_back(load(table, place(last), is_there));
    return stores(told_, k, told);
  }));
  const Values begin = all(told_, integer(0));
  const Expr is_first = binary(Op::eq, first, integer(0));
  add_behind(batches.body,
             stores(part_, integer(0), choose(is_first, begin, combine(of_first(part_), begin))));
  batches.body.push_back(for_each(most - 1, [&](const Expr& k) {
    const Expr next = k + integer(1);
    const Values part = of_first(part_);
    return stores(
        part_, integer(0),
        choose(binary(Op::lt, first + next, count), combine(part, all(told_, next)), part));
  }));
  Block block;
  for (const BufferRef& part : part_) {
    const Expr zero = is_float(part->dtype) ? real(0, part->dtype) : integer(0, part->dtype);
    block.push_back(Store{part, integer(0), zero});
  }
  block.push_back(statement(std::move(batches)));
  Values found = of_first(part_);
  if (level > 0) {
    const Expr has_smaller = binary(Op::ne, rest_of(chunk, size), integer(0));
    found = choose(has_smaller, combine(found, before()), found);
  }
  add_behind(block, stores(before_, integer(0), found));
  return block;
}

}  // namespace kroton::loop
