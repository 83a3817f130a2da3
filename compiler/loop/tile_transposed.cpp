// Loop nests whose operands lie across each other in memory, in tiles.
//
// out[i, j] = f(x[i, j], y[j, i]): along j, where the result is contiguous, y is read with a
// stride, a line of memory for each element. A tile of both loops touches few lines, each as a
// whole, and its squares of W x W elements change places in registers (print_transposed):
//
//   for i_tile, j_tile:
//     stack tile                          y's part, as it lies along j
//     vector<W> for a: unroll for b: tile[a, b] = y[j + b, i + a]
//     for a: vector<W> for b: out[i + a, j + b] = f(x[i + a, j + b], tile[a, b])
//
// Where no operand is contiguous along j, the lanes compute along i and the results change places.
#include <algorithm>
#include <map>

#include "compiler/loop/dependence.h"
#include "compiler/loop/elementary.h"
#include "compiler/loop/schedule.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

// Of a tile's rows: two lines of memory, which processors fetch in pairs.
constexpr std::int64_t tile_bytes = 128;
// Operations of an element up to which a whole tile has code of its own.
constexpr int most_operations_twice = 64;
// Operands that have a tile each; all of them fit the first cache.
constexpr std::size_t most_tiles = 4;

// Elements of a square's side, at least.
constexpr std::int64_t least_square = 4;

struct Nest {
  std::vector<const For*> loops;  // outermost first
  Block stores;
};

// The loops around nothing but stores, if the nest is of that kind.
std::optional<Nest> nest_of(const For& outermost) {
  Nest nest;
  const For* loop = &outermost;
  while (true) {
    if (loop->kind != LoopKind::serial || !as_dim(loop->extent)) return std::nullopt;
    nest.loops.push_back(loop);
    const For* inner = loop->body.size() == 1 ? as_for(loop->body.front()) : nullptr;
    if (inner == nullptr) break;
    loop = inner;
  }
  nest.stores = loop->body;
  const bool only_stores = std::all_of(nest.stores.begin(), nest.stores.end(), [](const Stmt& s) {
    return std::holds_alternative<Store>(s);
  });
  if (nest.loops.size() < 2 || nest.stores.empty() || !only_stores) return std::nullopt;
  return nest;
}

bool is_step(const Expr& index, const Variable& v, std::int64_t step) {
  const Expr stride = stride_of(index, v);
  std::int64_t value = 0;
  return stride != nullptr && is_integer_constant(stride, value) && value == step;
}

class Tiler {
 public:
  Tiler(const Nest& nest, int lanes_bytes, const NewBuffer& new_buffer)
      : nest_(nest), lanes_bytes_(lanes_bytes), new_buffer_(new_buffer) {}

  // Null where the nest is better as it is.
  std::optional<Stmt> run() {
    if (!find_operands() || !may_be_reordered()) return std::nullopt;
    lanes_ = lanes_bytes_ / widest_;
    for (const Axis* axis : {&rows_, &columns_}) {
      // Squares are no larger than the axes.
      std::int64_t known = 0;
      if (!is_integer_constant(axis->extent(), known)) continue;
      while (lanes_ > known && lanes_ > least_square) lanes_ /= 2;
    }
    rows_.size = tile_size(rows_.extent());
    columns_.size = tile_size(columns_.extent());
    if (lanes_ < 2 || rows_.size == 0 || columns_.size == 0) return std::nullopt;
    return around(tile());
  }

 private:
  // One of the two loops that are tiled. Along the columns results are contiguous, along the rows
  // the operands that lie across.
  struct Axis {
    const For* loop = nullptr;
    Variable tile, inner;
    std::int64_t size = 0;  // of a tile

    Expr extent() const { return loop->extent; }
    Expr start() const { return variable(tile) * integer(size); }
    Expr rest() const { return binary(Op::min, loop->extent - start(), integer(size)); }
    // Whether every tile is whole.
    bool is_even() const {
      std::int64_t extent = 0;
      return is_integer_constant(loop->extent, extent) && extent % size == 0;
    }
  };

  bool find_operands() {
    columns_.loop = nest_.loops.back();
    std::map<const For*, std::vector<Expr>> across;
    std::vector<Expr> roots;
    for (const Stmt& s : nest_.stores) {
      const auto& store = std::get<Store>(s);
      if (!is_step(store.index, columns_.loop->variable, 1)) return false;
      written_.push_back(store.buffer->id);
      widest_ = std::max(widest_, size_of(store.buffer->dtype));
      roots.push_back(store.index);
      roots.push_back(store.value);
    }
    for (const Expr& e : post_order(roots)) {
      operations_ += operations_of(*e);
      if (may_fail(e->op)) return false;
      if (is_float(e->dtype)) widest_ = std::max(widest_, size_of(e->dtype));
      if (e->op != Op::load) continue;
      if (is_conditional(*e)) return false;
      widest_ = std::max(widest_, size_of(e->dtype));
      const Expr along = stride_of(e->args[0], columns_.loop->variable);
      std::int64_t step = 0;
      const bool constant = along != nullptr && is_integer_constant(along, step);
      if (constant && step == 0) continue;
      if (constant && step == 1) {
        has_contiguous_ = true;
        continue;
      }
      bool is_across = false;
      const bool is_written =
          std::find(written_.begin(), written_.end(), e->buffer->id) != written_.end();
      for (auto loop = nest_.loops.rbegin() + 1; loop != nest_.loops.rend(); ++loop) {
        if (along == nullptr || is_written || e->dtype == DType::boolean) break;
        if (!is_step(e->args[0], (*loop)->variable, 1)) continue;
        across[*loop].push_back(e);
        is_across = true;
        break;
      }
      if (!is_across) has_contiguous_ = true;  // along neither: lanes gather it as well as may be
    }
    std::size_t all = 0;
    for (const auto& [loop, loads] : across) {
      all += loads.size();
      if (loads.size() <= across_.size()) continue;
      across_ = loads;
      rows_.loop = loop;
    }
    is_direct_ = !has_contiguous_ && all == across_.size() && nest_.stores.size() == 1;
    if (across_.size() > most_tiles) across_.resize(most_tiles);
    return rows_.loop != nullptr;
  }

  bool may_be_reordered() const {
    const auto first = std::find(nest_.loops.begin(), nest_.loops.end(), rows_.loop);
    return std::all_of(first, nest_.loops.end(), [](const For* loop) {
      return LoopFacts(*loop).iterations_are_independent(false);
    });
  }

  // A multiple of the lanes; 0 where the axis is too short.
  std::int64_t tile_size(const Expr& extent) const {
    std::int64_t size = std::max(lanes_, tile_bytes / widest_);
    std::int64_t known = 0;
    if (is_integer_constant(extent, known)) size = std::min(size, known / lanes_ * lanes_);
    return size;
  }

  // Of the kernel's own numbers: passes before this one may have used the next fresh one.
  Variable fresh(const std::string& name) const { return fresh_variable(name); }

  static For loop_over(const Variable& v, const Expr& extent, Block body) {
    For loop;
    loop.variable = v;
    loop.extent = extent;
    loop.body = std::move(body);
    return loop;
  }
  static Block one(For loop) { return {statement(std::move(loop))}; }

  // The expression at position (a, b) of the tile.
  Expr at(const Expr& e, const Expr& a, const Expr& b) const {
    return loop::substitute(e, {{rows_.loop->variable, rows_.start() + a},
                                {columns_.loop->variable, columns_.start() + b}});
  }

  // Squares whose rows are computed by lanes along the rows and stored along the columns.
  Block squares(const std::function<Store(const Expr& a, const Expr& b)>& store,
                std::int64_t lanes) const {
    const Variable i = fresh("i"), j = fresh("j");
    const Variable a = fresh("a"), b = fresh("b");
    For across = loop_over(b, integer(lanes),
                           {store(variable(i) * integer(lanes) + variable(a),
                                  variable(j) * integer(lanes) + variable(b))});
    across.kind = LoopKind::unroll;
    For along = loop_over(a, integer(lanes), one(std::move(across)));
    along.kind = LoopKind::vector;
    along.width = static_cast<int>(lanes);
    return one(loop_over(i, integer(rows_.size / lanes),
                         one(loop_over(j, integer(columns_.size / lanes), one(std::move(along))))));
  }

  Block plain(const std::function<Block(const Expr& a, const Expr& b)>& body, bool whole) const {
    const Expr rows = whole ? integer(rows_.size) : rows_.rest();
    const Expr columns = whole ? integer(columns_.size) : columns_.rest();
    return one(loop_over(rows_.inner, rows,
                         one(loop_over(columns_.inner, columns,
                                       body(variable(rows_.inner), variable(columns_.inner))))));
  }

  Block tile() {
    for (Axis* axis : {&rows_, &columns_}) {
      axis->tile = fresh(axis->loop->variable.name + "_tile");
      axis->inner = fresh(axis->loop->variable.name);
    }
    return is_direct_ ? direct_tile() : staged_tile();
  }

  Block direct_tile() const {
    const auto& store = std::get<Store>(nest_.stores.front());
    const auto stored = [&](const Expr& a, const Expr& b) {
      return Store{store.buffer, at(store.index, a, b), at(store.value, a, b)};
    };
    const auto one_by_one = [&](const Expr& a, const Expr& b) { return Block{stored(a, b)}; };
    return if_whole(squares(stored, lanes_), plain(one_by_one, false));
  }

  Block staged_tile() const {
    Block block, whole, part;
    std::vector<std::pair<Expr, Expr>> staged;  // a load, and its element of the tile
    for (const Expr& e : across_) {
      const BufferRef tile =
          new_buffer_("tile", e->dtype, Dim(rows_.size * columns_.size), Space::stack);
      block.push_back(Allocate{tile});
      const auto element = [&](const Expr& a, const Expr& b) {
        return a * integer(columns_.size) + b;
      };
      const auto copied = [&](const Expr& a, const Expr& b) {
        return Store{tile, element(a, b), at(e, a, b)};
      };
      const auto one_by_one = [&](const Expr& a, const Expr& b) { return Block{copied(a, b)}; };
      append(whole, squares(copied, std::min(lanes_bytes_ / size_of(e->dtype), smaller_side())));
      append(part, plain(one_by_one, false));
      staged.emplace_back(e, load(tile, element(variable(rows_.inner), variable(columns_.inner))));
    }
    Rewriter with_tiles([&](const Expr& e) {
      const auto found = std::find_if(staged.begin(), staged.end(),
                                      [&](const auto& entry) { return entry.first == e; });
      return found == staged.end() ? e : found->second;
    });
    const Block stores = with_tiles(nest_.stores);
    const auto computed = [&](const Expr& a, const Expr& b) {
      return loop::substitute(stores, {{rows_.loop->variable, rows_.start() + a},
                                       {columns_.loop->variable, columns_.start() + b}});
    };
    const bool twice = operations_ <= most_operations_twice;
    if (twice) {
      append(whole, plain(computed, true));
      append(part, plain(computed, false));
    }
    append(block, if_whole(std::move(whole), std::move(part)));
    if (!twice) append(block, plain(computed, false));
    return block;
  }

  // Squares divide a tile's sides.
  std::int64_t smaller_side() const {
    std::int64_t side = lanes_;
    while (rows_.size % (side * 2) == 0 && columns_.size % (side * 2) == 0) side *= 2;
    return side;
  }

  Block if_whole(Block whole, Block part) const {
    Expr condition = boolean_constant(true);
    for (const Axis* axis : {&rows_, &columns_}) {
      if (axis->is_even()) continue;
      const Expr end = axis->start() + integer(axis->size);
      condition = binary(Op::logical_and, condition, binary(Op::le, end, axis->extent()));
    }
    if (condition->op == Op::integer) return whole;
    return {statement(If{condition, std::move(whole), std::move(part)})};
  }

  static void append(Block& block, Block more) {
    block.insert(block.end(), std::make_move_iterator(more.begin()),
                 std::make_move_iterator(more.end()));
  }

  Stmt around(Block block) const {
    bool may_be_shared = true;  // may_be_reordered has seen it up to the rows
    for (auto loop = nest_.loops.rbegin(); loop != nest_.loops.rend(); ++loop) {
      For outer = **loop;
      outer.is_independent = outer.is_independent || may_be_shared;
      may_be_shared = may_be_shared && *loop != rows_.loop;
      for (const Axis* axis : {&rows_, &columns_}) {
        if (axis->loop != *loop) continue;
        outer.variable = axis->tile;
        outer.extent = size(ceil_div(*as_dim(axis->extent()), axis->size));
      }
      outer.body = std::move(block);
      block = {statement(std::move(outer))};
    }
    return block.front();
  }

  const Nest& nest_;
  std::int64_t lanes_bytes_;
  const NewBuffer& new_buffer_;
  Axis rows_, columns_;
  std::vector<Expr> across_;  // loads along the rows
  std::vector<int> written_;
  bool has_contiguous_ = false;  // a load along the columns, or along neither
  bool is_direct_ = false;       // every load that varies along the columns is across
  std::int64_t widest_ = 4;      // bytes of what lanes hold
  std::int64_t lanes_ = 1;
  int operations_ = 0;
};

}  // namespace

Kernel tile_transposed(const Kernel& kernel, int lanes_bytes, const NewBuffer& new_buffer) {
  Kernel result = kernel;
  const std::function<void(const For&, Block&)> replace = [&](const For& found, Block& block) {
    const std::optional<Nest> nest = nest_of(found);
    std::optional<Stmt> tiled;
    if (nest) tiled = Tiler(*nest, lanes_bytes, new_buffer).run();
    For loop = found;
    // There may be nests inside a loop that is none itself.
    if (!nest) loop.body = replace_loops(found.body, replace);
    block.push_back(tiled ? *tiled : statement(std::move(loop)));
  };
  result.body = replace_loops(kernel.body, replace);
  return result;
}

}  // namespace kroton::loop
