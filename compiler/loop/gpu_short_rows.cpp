// Rows that a thread has each, through shared memory.
#include <algorithm>
#include <map>
#include <span>
#include <unordered_map>

#include "compiler/loop/gpu_scheduler.h"
#include "compiler/loop/index_arithmetic.h"

namespace kroton::loop {
namespace {

// Elements of such a row, and bytes of all that a block keeps.
constexpr std::int64_t longest_row = 16;
constexpr std::int64_t most_staged_bytes = 16 << 10;

// How an array lies in rows: each iteration of the loops around has `length` elements of its own.
struct StagedRows {
  BufferRef buffer;
  std::int64_t length = 0;
  bool read = false, written = false, is_filled = false;
  bool fits = true;  // all accesses are in the iteration's own row
};

// The iteration's elements that an index steps over; 0 if it is none of them.
std::int64_t length_of(const Expr& index, const std::vector<const For*>& loops) {
  std::int64_t length = 0;
  const Expr stride = stride_of(index, loops.back()->variable);
  if (stride == nullptr || !is_integer_constant(stride, length)) return 0;
  if (length < 2 || length > longest_row) return 0;
  Expr expected = integer(length);
  for (auto loop = loops.rbegin(); loop != loops.rend(); ++loop) {
    if (stride_of(index, (*loop)->variable) != expected) return 0;
    expected = expected * (*loop)->extent;
  }
  return length;
}

std::vector<std::pair<Variable, Expr>> zeros(const std::vector<const For*>& loops) {
  std::vector<std::pair<Variable, Expr>> result;
  for (const For* loop : loops) result.emplace_back(loop->variable, integer(0));
  return result;
}

std::vector<std::pair<Variable, Dim>> bounds_in(const Block& core) {
  std::vector<std::pair<Variable, Dim>> bounds;
  visit_statements(core, [&](const Stmt& s) {
    const For* loop = as_for(s);
    std::int64_t count = 0;
    if (loop != nullptr && is_integer_constant(loop->extent, count)) {
      bounds.emplace_back(loop->variable, Dim(count));
    }
  });
  return bounds;
}

class RowFinder {
 public:
  RowFinder(const std::vector<const For*>& loops, const Block& core)
      : loops_(loops), at_first_(zeros(loops)), bounds_(bounds_in(core)) {
    std::unordered_set<const ExprNode*> seen;
    std::vector<Expr> nodes;
    visit_expressions(core, [&](const Expr& e) { append_post_order(e, seen, nodes); });
    for (const Expr& e : nodes) {
      may_stop_ = may_stop_ || may_fail(e->op);
      if (e->op != Op::load || e->buffer->space != Space::global) continue;
      StagedRows& rows = note(e->buffer, e->args[0]);
      rows.read = true;
      if (is_conditional(*e)) rows.fits = false;
    }
    visit_statements(core, [&](const Stmt& s) {
      const auto* store = std::get_if<Store>(&s);
      if (store == nullptr || store->buffer->space != Space::global) return;
      note(store->buffer, store->index).written = true;
    });
    for (const Stmt& s : core) note_filled(s);
  }

  // Those that may go through shared memory, as many as there is room for.
  std::vector<StagedRows> found(int rows_of_block) const {
    std::vector<StagedRows> result;
    std::int64_t bytes = 0;
    for (const auto& [id, rows] : rows_) {
      if (!rows.fits || (rows.written && !rows.read && !rows.is_filled)) continue;
      if (rows.written && may_stop_) continue;  // a thread that stops leaves its row empty
      bytes += rows_of_block * (rows.length | 1) *
               static_cast<std::int64_t>(size_of(rows.buffer->dtype));
      if (bytes > most_staged_bytes) break;
      result.push_back(rows);
    }
    return result;
  }

  // Its place in the row.
  Expr in_row(const Expr& index) const { return substitute(index, at_first_); }

 private:
  StagedRows& note(const BufferRef& buffer, const Expr& index) {
    StagedRows& rows = rows_[buffer->id];
    rows.buffer = buffer;
    const std::vector<Expr> nodes = post_order(std::span(&index, 1));
    const bool is_simple = std::none_of(nodes.begin(), nodes.end(), [](const Expr& e) {
      return e->op == Op::load || may_fail(e->op);
    });
    const std::int64_t length = is_simple ? length_of(index, loops_) : 0;
    if (rows.length == 0) rows.length = length;
    rows.fits = rows.fits && length > 0 && length == rows.length;
    if (!rows.fits) return rows;
    const std::optional<IndexRange> range = range_of(in_row(index), bounds_);
    const std::optional<Dim> all = as_dim(product(extents_of(loops_)) * integer(length));
    rows.fits = range && all && provably_at_least(range->low, 0) &&
                provably_at_least(Dim(length - 1), range->high) &&
                provably_at_least(buffer->size, *all);
    return rows;
  }

  // A loop over all of a row that stores each of its elements.
  void note_filled(const Stmt& s) {
    const For* loop = as_for(s);
    std::int64_t count = 0;
    if (loop == nullptr || !is_integer_constant(loop->extent, count)) return;
    for (const Stmt& inner : loop->body) {
      const auto* store = std::get_if<Store>(&inner);
      if (store == nullptr) continue;
      const auto rows = rows_.find(store->buffer->id);
      if (rows == rows_.end() || rows->second.length != count) continue;
      if (in_row(store->index) == variable(loop->variable)) rows->second.is_filled = true;
    }
  }

  const std::vector<const For*>& loops_;
  const std::vector<std::pair<Variable, Expr>> at_first_;
  const std::vector<std::pair<Variable, Dim>> bounds_;
  std::map<int, StagedRows> rows_;  // by Buffer::id
  bool may_stop_ = false;
};

Block moved(const Block& block, const std::map<int, std::function<Stmt(const Store&)>>& stores) {
  Block result;
  for (const Stmt& s : block) {
    const auto* store = std::get_if<Store>(&s);
    const auto found = store != nullptr ? stores.find(store->buffer->id) : stores.end();
    result.push_back(found != stores.end()
                         ? found->second(*store)
                         : with_inner(s, [&](const Block& inner) { return moved(inner, stores); }));
  }
  return result;
}

}  // namespace

Block GpuScheduler::staged_rows(const std::vector<const For*>& loops, const Block& core) {
  if (loops.empty() || !has_loop(core)) return {};
  constexpr int rows_of_block = threads_of_loops;
  const RowFinder finder(loops, core);
  const std::vector<StagedRows> staged = finder.found(rows_of_block);
  if (staged.empty()) return {};
  const std::vector<Expr> extents = extents_of(loops);
  const Expr count = product(extents);
  const Expr width = integer(rows_of_block);
  const Expr first = variable(block_) * width;
  std::int64_t known = 0;
  const bool is_even = is_integer_constant(count, known) && known % rows_of_block == 0;
  block_count_ = blocks_for(count, rows_of_block);
  const Variable t = fresh("t");

  Block in, out;
  std::map<int, BufferRef> tiles;
  std::map<int, std::function<Stmt(const Store&)>> stores;
  for (const StagedRows& rows : staged) {
    const Expr length = integer(rows.length), stride = integer(rows.length | 1);
    const BufferRef tile =
        shared_buffer(rows.buffer->dtype, rows_of_block * (rows.length | 1), "rows");
    tiles[rows.buffer->id] = tile;
    const Expr all = integer(rows_of_block * rows.length);
    const Expr extent = is_even ? all : binary(Op::min, (count - first) * length, all);
    const auto over_elements = [&](const auto& body) {
      const Variable e = fresh("e");
      const Expr at = variable(e);
      const Expr place = binary(Op::floor_div, at, length) * stride + binary(Op::mod, at, length);
      return threads(e, extent, {body(place, first * length + at)});
    };
    if (rows.read) {
      in.push_back(over_elements([&](const Expr& place, const Expr& at) {
        return Store{tile, place, load(rows.buffer, at)};
      }));
    }
    if (!rows.written) continue;
    out.push_back(over_elements([&](const Expr& place, const Expr& at) {
      return Store{rows.buffer, at, load(tile, place)};
    }));
    stores[rows.buffer->id] = [&finder, tile, stride, t](const Store& store) {
      return Store{tile, variable(t) * stride + finder.in_row(store.index), store.value};
    };
  }
  std::map<int, Expr> strides;
  for (const StagedRows& rows : staged) strides[rows.buffer->id] = integer(rows.length | 1);
  Rewriter rewrite([&](const Expr& e) {
    if (e->op != Op::load) return e;
    const auto tile = tiles.find(e->buffer->id);
    if (tile == tiles.end()) return e;
    return load(tile->second, variable(t) * strides.at(e->buffer->id) + finder.in_row(e->args[0]));
  });
  const Block own = substitute(moved(rewrite(core), stores),
                               unflatten(variables_of(loops), extents, first + variable(t)));
  Block result = std::move(in);
  if (!result.empty()) result.push_back(Barrier{});
  result.push_back(threads(t, is_even ? width : binary(Op::min, count - first, width), own));
  if (!out.empty()) result.push_back(Barrier{});
  for (Stmt& s : out) result.push_back(std::move(s));
  return result;
}

}  // namespace kroton::loop
