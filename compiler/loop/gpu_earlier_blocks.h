// What stands before a block, from what the blocks before it tell while the kernel runs.
#pragma once
#include <functional>
#include <vector>

#include "compiler/loop/schedule.h"

namespace kroton::loop {

// Chunks of a line, a block each, by numbers from 0 on. A chunk tells one result: its own, or,
// where it is the last one of 16, 256, 4096 ... chunks, what the largest such group comes to; for
// that it waits for the others of the group. What stands before a chunk are at most 15 results of
// groups of each size, and of the largest ones all, which are combined in an order that its number
// alone decides: the same bits on every call. Groups of one size are told at about the same time,
// so that a chunk waits as often as there are sizes. Several results side by side are told in
// tables of their own.
class EarlierBlocks {
 public:
  using Values = std::vector<Expr>;
  // Of what comes first and what comes behind it. The k-th result does not depend on the ones
  // before the k-th of either.
  using Combine = std::function<Values(const Values& first, const Values& behind)>;
  // Where a chunk's result is in a table.
  using Place = std::function<Expr(const Expr& chunk)>;

  EarlierBlocks(const Dim& chunks, const Dim& table_size, const std::vector<DType>& dtypes,
                const NewBuffer& new_buffer);

  // To be allocated where the block begins.
  Block buffers() const;

  // In loops of threads: first a chunk's own results are told, unless others wait for more; then
  // what stands before it is found, and told of a group. Where `wanted` is given and does not hold,
  // nothing is found but what others wait for.
  Block tell(const Expr& chunk, const Place& place, const Values& own) const;
  Block find(const Expr& chunk, const Place& place, const Values& own, const Combine& combine,
             const Expr& wanted = nullptr) const;
  // What has been found, in registers; nothing before chunk 0.
  Values before() const { return of_first(before_); }

 private:
  static Values of_first(const std::vector<BufferRef>& buffers);
  static Block stores(const std::vector<BufferRef>& buffers, const Expr& index,
                      const Values& values);
  // Whether the chunk tells what a group of that level comes to.
  Expr tells_at(const Expr& chunk, int level) const;
  // Chunks before it that no larger group has.
  Expr rest_at(const Expr& chunk, int level) const;
  Block find_groups(int level, const Expr& chunk, const Place& place, const Combine& combine) const;

  int levels_ = 0;  // sizes of groups that may stand before a chunk
  std::vector<BufferRef> tables_;
  std::vector<BufferRef> told_, part_, before_;  // registers
};

}  // namespace kroton::loop
