// The parts of schedule_for_gpu (gpu_schedule.h): what a kernel becomes, form by form.
#pragma once
#include <functional>
#include <string>
#include <unordered_set>
#include <vector>

#include "compiler/base/machine.h"
#include "compiler/loop/gpu_schedule.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {

inline std::vector<Variable> variables_of(const std::vector<const For*>& loops) {
  std::vector<Variable> result;
  for (const For* loop : loops) result.push_back(loop->variable);
  return result;
}

inline std::vector<Expr> extents_of(const std::vector<const For*>& loops) {
  std::vector<Expr> result;
  for (const For* loop : loops) result.push_back(loop->extent);
  return result;
}

inline Expr product(const std::vector<Expr>& extents) {
  Expr result = integer(1);
  for (const Expr& extent : extents) result = result * extent;
  return result;
}

// What statements read and write of memory that threads share.
struct Use {
  std::unordered_set<int> read, written;
};

Use use_of(const Block& block);

// Bytes that a thread loads or stores at a time.
constexpr std::int64_t bytes_together = 16;
// How many neighbours a thread may have at a time: as many as that holds of the narrowest elements,
// and at most two times of the widest; 1 if no two of them.
inline std::int64_t neighbours_of(std::int64_t narrowest, std::int64_t widest) {
  std::int64_t count = 8;
  while (count > 1 && (count * narrowest > bytes_together || count * widest > 2 * bytes_together)) {
    count /= 2;
  }
  return count;
}

inline bool steps_by_one(const Expr& index, const Variable& v) {
  const Expr stride = stride_of(index, v);
  std::int64_t step = 0;
  return stride != nullptr && is_integer_constant(stride, step) && step == 1;
}

// The loops that hold nothing but each other, outermost first, as far as `accept` goes. Their
// extents do not depend on each other. `rest` becomes the body of the last.
std::vector<const For*> perfect_nest(const Block& block,
                                     const std::function<bool(const For&)>& accept,
                                     const Block*& rest);
bool has_loop(const Block& block);
bool is_independent(const For& loop);

class GpuScheduler {
 public:
  explicit GpuScheduler(const Kernel& kernel, std::int64_t longest_row = 0);

  // `waits`: for blocks that wait for each other.
  Kernel run(bool waits = false);
  Kernel run_in_one_block();

 private:
  Variable fresh(const std::string& name) { return fresh_variable(name); }

  // The loop that runs all of the kernel once or not at all, whatever the iteration.
  static const For* only_if_wanted(const Block& body);

  Kernel finish(Block body, int threads);
  // What a block stores in the end, which one thread does: it alone reads what it replaces.
  void store_by_one_thread(Block& body);

  static Expr blocks_for(const Expr& count, int per_block);

  // One iteration of the loops a thread.
  Block elements(const std::vector<const For*>& loops, const Block& core, int threads);

  // Neighbouring elements a thread, as many as 16 bytes hold, where nearly all lies so. Empty if
  // little does, or the elements are known to be few.
  Block neighbours(const std::vector<const For*>& loops, const Block& core);

  // Elements below each other a thread, a few along the loop before the last, where they read much
  // of the same. Empty if they do not, or too few threads would be left.
  Block below_each_other(const std::vector<const For*>& loops, const Block& core);

  // Where operands lie across the results, along another loop than the last: by tiles, which come
  // through shared memory, so that neighbouring threads read and write neighbours. Empty if nothing
  // lies so, or the core is more than stores.
  Block tiled_elements(const std::vector<const For*>& loops, const Block& core);

  // One iteration of the loops a thread, whose rows of a few elements lie one after the other: they
  // come and go through shared memory, so that neighbouring threads read and write neighbours.
  // Empty if nothing lies so.
  Block staged_rows(const std::vector<const For*>& loops, const Block& core);

  // Not known to be so short that most of a tile would be empty.
  static bool is_long(const Expr& extent);

  // One iteration of the loops a block, whose threads share the loops of the core.
  Block rows(const std::vector<const For*>& loops, const Block& core);

  // The same, for rows of so few elements that each thread has its own of them in registers, from
  // one loop to the next: memory is read once, and by accesses of several elements where the row's
  // length allows it. Sets row_threads_. Empty if that brings nothing.
  Block held_rows(const std::vector<const For*>& outer, const Block& core);
  // The same by warps or more threads, or by parts of warps; nothing where it does not suit.
  struct HeldRows;
  Block held_by(const HeldRows& rows, bool parts);

  static bool may_share(const For& loop);

  static bool can_share(const Block& core);

  // The loop and those nested in it as one thread loop.
  Stmt shared_loop(const For& loop);

  // Whether the core is better run by one thread for each iteration of the loops around it: its
  // loops are short, or neighbouring iterations read neighbouring elements. Sets row_threads_ and
  // reads_columns_.
  bool suits_threads(const std::vector<const For*>& outer, const Block& core);

  // Column sums: neighbouring columns a block, as many as a warp has threads if there are so many,
  // whose rows groups of threads share out; then one thread a column adds up what the groups have.
  // Empty if the core is more than that.
  Block grouped_columns(const std::vector<const For*>& outer, const Block& core);

  // Columns in several stages: the same, with the elements that are looked at several times in the
  // registers of their threads where there is room. Empty if the core is more than sums and stores
  // of one element after the other.
  friend class ColumnHolder;
  Block held_columns(const std::vector<const For*>& outer, const Block& core);

  // How the positions of the loops, columns all of them, are dealt out to blocks. A last axis that
  // is known to be shorter than a warp is in one block, where a row's columns lie beside the next
  // row's; else all loops count as one.
  struct ColumnsOfBlock {
    Expr first;  // the first one's number
    Expr count;  // how many there are from there on
  };
  struct DealtColumns {
    int width;  // columns of a block
    ColumnsOfBlock columns;
    Expr blocks;
  };
  DealtColumns columns_of(const std::vector<const For*>& outer);

  BufferRef new_buffer(Space space, DType dtype, std::int64_t size, const char* name);
  BufferRef shared_buffer(DType dtype, std::int64_t size, const char* name = "partial") {
    return new_buffer(Space::shared, dtype, size, name);
  }

  // What makes registers of a thread.
  std::function<BufferRef(DType, std::int64_t, const char*)> new_registers() {
    return [this](DType dtype, std::int64_t size, const char* name) {
      return new_buffer(Space::registers, dtype, size, name);
    };
  }

  static Stmt threads(const Variable& t, const Expr& extent, Block body);

  // Loops whose iterations may meet. Columns that cannot meet get a thread each. And where all that
  // is stored is one element, the elements are dealt out: each thread goes over all iterations and
  // runs those that store to its share, in order. Empty if neither is possible.
  Block ordered(const Block& body);

  // Rows are dealt out to blocks. A block looks through the iterations by the chunk: its threads
  // note which of them store to its rows, count these in each word of a few, and then, in order,
  // run those that are, each thread some of the columns. Words without any cost one look.
  Block in_shares(const std::vector<const For*>& loops, const For& column, const Expr& row,
                  const Block& core);

  // Statements as the work of one block's threads, without barriers between them.
  Block dealt_out(const Block& block);

  // Independent iterations as the block's: few of long loops one after the other, whose loops its
  // threads share; else one a thread.
  Stmt iterations(const std::vector<const For*>& loops, const Block& core);

  // All of it in its order.
  Block one_thread(const Block& body) { return {threads(fresh("t"), integer(1), body)}; }

  static constexpr int warp = Machine::warp;
  static constexpr int threads_of_neighbours = 64;  // as many blocks as with an element a thread
  static constexpr int threads_of_elements = 256;   // where every thread has elements of its own
  static constexpr int tile_side = 32;  // of tiles, in elements: a thread of a warp each
  // Of a block where every thread has a loop of its own: more blocks share the work of few.
  static constexpr int threads_of_loops = 64;

  const Kernel& kernel_;
  std::int64_t longest_row_;  // of rows whose length is not known; 0: it may be any
  int next_buffer_id_ = 0;    // above those of the kernel
  Variable block_ = fresh("b");
  Expr block_count_ = integer(1);
  Expr wanted_ = nullptr;        // 1 or 0: whether the kernel is to run
  Expr further_work_ = nullptr;  // that the schedule makes
  int row_threads_ = 0;
  int ordered_threads_ = threads_of_loops;
  int column_threads_ = 0;
  bool reads_columns_ = false;  // neighbouring iterations of the outer loops read neighbours
};

}  // namespace kroton::loop
