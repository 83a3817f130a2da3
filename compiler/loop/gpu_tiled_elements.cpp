// Tiles of operands that lie across the results.
#include <algorithm>
#include <span>
#include <unordered_map>

#include "compiler/loop/gpu_scheduler.h"
#include "compiler/loop/index_arithmetic.h"

namespace kroton::loop {
namespace {

// Of all of a kernel's tiles, in shared memory.
constexpr std::int64_t most_tile_bytes = 16 << 10;

// Arithmetic of loop variables and sizes: nothing is loaded for it, and nothing may stop.
bool is_simple(const Expr& index) {
  const std::vector<Expr> nodes = post_order(std::span(&index, 1));
  return std::none_of(nodes.begin(), nodes.end(),
                      [](const Expr& e) { return e->op == Op::load || may_fail(e->op); });
}

}  // namespace

Block GpuScheduler::tiled_elements(const std::vector<const For*>& loops, const Block& core) {
  if (loops.size() < 2) return {};
  const Use use = use_of(core);
  const For& last = *loops.back();
  const For* across = nullptr;
  std::vector<Expr> turned;  // the loads that lie across
  std::unordered_set<const ExprNode*> seen;
  std::vector<Expr> nodes;
  for (const Stmt& s : core) {
    if (!std::holds_alternative<Store>(s)) return {};
    visit_own_expressions(s, [&](const Expr& e) { append_post_order(e, seen, nodes); });
  }
  for (const Expr& e : nodes) {
    if (is_conditional(*e)) return {};
    if (e->op != Op::load || e->buffer->space != Space::global) continue;
    const auto steps_by_one = [&](const For& loop) {
      const Expr stride = stride_of(e->args[0], loop.variable);
      std::int64_t step = 0;
      return stride != nullptr && is_integer_constant(stride, step) && step == 1;
    };
    if (!depends_on(e->args[0], last.variable) || steps_by_one(last)) continue;
    const auto found = std::find_if(loops.begin(), loops.end() - 1,
                                    [&](const For* loop) { return steps_by_one(*loop); });
    if (found == loops.end() - 1 || use.written.contains(e->buffer->id)) continue;
    if (across != nullptr && across != *found) return {};
    if (!is_simple(e->args[0])) continue;
    across = *found;
    turned.push_back(e);
  }
  std::int64_t bytes = 0;
  for (const Expr& e : turned) bytes += tile_side * (tile_side + 1) * size_of(e->dtype);
  if (across == nullptr || !is_long(last.extent) || !is_long(across->extent) ||
      bytes > most_tile_bytes) {
    return {};
  }

  // The block's place: the other loops, then the tile's.
  std::vector<Variable> places;
  std::vector<Expr> counts;
  for (const For* loop : loops) {
    const bool is_tiled = loop == across || loop == &last;
    places.push_back(is_tiled ? fresh(loop->variable.name + "_tile") : loop->variable);
    counts.push_back(is_tiled ? blocks_for(loop->extent, tile_side) : loop->extent);
  }
  block_count_ = product(counts);
  Block result;
  std::vector<std::pair<Variable, Expr>> at;
  for (const auto& [place, value] : unflatten(places, counts, variable(block_))) {
    if (value->args.empty()) {
      at.emplace_back(place, value);
    } else {
      result.push_back(Declare{place, value});
    }
  }
  const auto first = [&](const For& loop) {
    const auto k = std::find(loops.begin(), loops.end(), &loop) - loops.begin();
    return variable(places[static_cast<std::size_t>(k)]) * integer(tile_side);
  };
  const Expr first_across = first(*across), first_last = first(last);
  // `body` for the element of the tile at (a, b), of those that there are: b runs fastest.
  const auto over_tile = [&](const For& slow, const For& fast, const Expr& first_slow,
                             const Expr& first_fast, const auto& body) {
    const Variable t = fresh("t");
    const Expr a = binary(Op::floor_div, variable(t), integer(tile_side));
    const Expr b = binary(Op::mod, variable(t), integer(tile_side));
    const Expr inside = binary(Op::logical_and, binary(Op::lt, first_slow + a, slow.extent),
                               binary(Op::lt, first_fast + b, fast.extent));
    const Block own =
        substitute(body(a, b), {{slow.variable, first_slow + a}, {fast.variable, first_fast + b}});
    return threads(t, integer(tile_side * tile_side), {statement(If{inside, own, {}})});
  };
  std::unordered_map<const ExprNode*, BufferRef> tiles;
  for (const Expr& e : turned) {
    tiles[e.get()] = shared_buffer(e->dtype, tile_side * (tile_side + 1), "tile");
  }
  Block stmts{over_tile(last, *across, first_last, first_across, [&](const Expr& a, const Expr& b) {
    Block brought;
    for (const Expr& e : turned) {
      brought.push_back(Store{tiles.at(e.get()), a * integer(tile_side + 1) + b, e});
    }
    return brought;
  })};
  stmts.push_back(Barrier{});
  stmts.push_back(
      over_tile(*across, last, first_across, first_last, [&](const Expr& a, const Expr& b) {
        Rewriter rewrite([&](const Expr& e) {
          const auto found = tiles.find(e.get());
          if (found == tiles.end()) return e;
          return load(found->second, b * integer(tile_side + 1) + a);
        });
        return rewrite(core);
      }));
  for (Stmt& s : substitute(stmts, at)) result.push_back(std::move(s));
  return result;
}

bool GpuScheduler::is_long(const Expr& extent) {
  std::int64_t known = 0;
  return !is_integer_constant(extent, known) || known >= tile_side / 2;
}

}  // namespace kroton::loop
