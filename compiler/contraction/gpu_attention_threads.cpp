// Attention by threads that multiply what their own few results need.
#include <algorithm>

#include "compiler/contraction/gpu_attention_builder.h"

namespace kroton {
namespace {

constexpr int loads_at_once = 8;

// A thread has a few rows and columns. Keys and values lie in the same place in turns.
class ScalarAttention final : public AttentionBuilder {
 public:
  using AttentionBuilder::AttentionBuilder;

 private:
  Row row_of(const loop::Variable& thread, const loop::Variable& number) const override {
    const loop::Expr across = loop::integer(p_.across);
    return {thread, number,
            loop::binary(loop::Op::floor_div, loop::variable(thread), across) *
                    loop::integer(p_.thread_rows) +
                loop::variable(number),
            loop::binary(loop::Op::mod, loop::variable(thread), across)};
  }

  // Groups of columns as far apart as the tile allows, so that neighbouring threads' loads are
  // neighbours in shared memory.
  loop::Block over_runs(const Row& row, int columns, const OfRun& body) const override {
    const loop::Variable g = loop::fresh_variable("g");
    const int each = columns / p_.across, group = std::min(each, attention_load);
    const loop::Expr number = loop::variable(g);
    return unrolled(
        g, each / group,
        body({number * loop::integer(group * p_.across) + row.sharer * loop::integer(group),
              loop::variable(row.number) * loop::integer(each) + number * loop::integer(group)},
             group));
  }

  loop::Block begin() override {
    loop::Block block;
    queries_ = allocate(block, "queries", DType::f32, std::int64_t{p_.inner} * line(p_.rows),
                        loop::Space::shared);
    keys_ = allocate(
        block, "keys", DType::f32,
        std::max(std::int64_t{p_.inner} * line(p_.keys), std::int64_t{p_.keys} * line(p_.columns)),
        loop::Space::shared);
    weights_ = allocate(block, "weights", DType::f32, std::int64_t{p_.keys} * line(p_.rows),
                        loop::Space::shared);
    block.push_back(
        fill(a_.products, true, queries_, first_row_, loop::integer(0), p_.rows, p_.inner));
    return block;
  }

  loop::Block begin_again() override { return {}; }

  loop::Block multiply_keys(const loop::Expr& step, bool) override {
    return {loop::Barrier{},
            fill(a_.products, false, keys_, step * loop::integer(p_.keys), loop::integer(0),
                 p_.keys, p_.inner),
            zeros(scores_, p_.keys), loop::Barrier{},
            multiplied(scores_, queries_, p_.keys, p_.inner)};
  }
  loop::Block wait_for_largest(const loop::Expr& step, bool with_values) override {
    loop::Block block{loop::Barrier{}};
    if (with_values) {
      block.push_back(fill(c_, false, keys_, loop::integer(0), step * loop::integer(p_.keys),
                           p_.columns, p_.keys));
    }
    return block;
  }
  loop::Stmt keep_weight(const Row& row, const loop::Expr& key,
                         const loop::Expr& weight) const override {
    return loop::Store{weights_, key * loop::integer(line(p_.rows)) + row.row, weight};
  }
  loop::Block multiply_values(const loop::Expr&) override {
    return {loop::Barrier{}, multiplied(sums_, weights_, p_.columns, p_.keys)};
  }

  static int line(int width) { return width + gpu_tile_padding; }

  // An operand's elements, a line for each inner one; zeros past its ends.
  loop::Stmt fill(const Contraction& c, bool is_a, const loop::BufferRef& to,
                  const loop::Expr& first, const loop::Expr& first_inner, int width,
                  int depth) const {
    const AxisList& axes = is_a ? c.rows : c.columns;
    const loop::Expr& operand = is_a ? c.a : c.b;
    const Dim size = count(axes), inner_size = count(c.inner);
    const bool inner_runs_fastest =
        is_contiguous(operand, c.inner.back()) || (is_a && !is_contiguous(operand, axes.back()));
    const int elements = width * depth, all = plan_.threads();
    const int rounds = (elements + all - 1) / all;
    const int at_once = rounds % loads_at_once == 0 ? loads_at_once : 1;
    const loop::Variable t = loop::fresh_variable("t"), n = loop::fresh_variable("n");
    loop::For groups;
    groups.variable = loop::fresh_variable("group");
    groups.extent = loop::integer(rounds / at_once);
    const loop::Expr round =
        loop::variable(groups.variable) * loop::integer(at_once) + loop::variable(n);
    const loop::Expr number = round * loop::integer(all) + loop::variable(t);
    // A sector of each of several rows: what a warp stores lies in different banks.
    const int sector = inner_runs_fastest ? attention_thread_depth : 1;
    const loop::Expr low = loop::binary(loop::Op::mod, number, loop::integer(sector));
    const loop::Expr high = loop::binary(loop::Op::floor_div, number, loop::integer(sector));
    const loop::Expr at = loop::binary(loop::Op::mod, high, loop::integer(width));
    const loop::Expr k =
        loop::binary(loop::Op::floor_div, high, loop::integer(width)) * loop::integer(sector) + low;
    const loop::Expr inside = loop::binary(
        loop::Op::logical_and, loop::binary(loop::Op::lt, first_inner + k, loop::size(inner_size)),
        loop::binary(loop::Op::lt, first + at, loop::size(size)));
    Places places = places_of(axes, first + at);
    for (auto& one : places_of(c.inner, first_inner + k)) places.push_back(std::move(one));
    loop::Block body{loop::Store{to, k * loop::integer(line(width)) + at,
                                 only_inside(loop::substitute(operand, places), inside)}};
    if (elements % all != 0) {
      body = {loop::statement(loop::If{
          loop::binary(loop::Op::lt, number, loop::integer(elements)), std::move(body), {}})};
    }
    groups.body = unrolled(n, at_once, std::move(body));
    return threads(t, all, {loop::statement(std::move(groups))});
  }

  // sums += a * keys_.
  loop::Stmt multiplied(const loop::BufferRef& sums, const loop::BufferRef& a, int columns,
                        int depth) const {
    const loop::Variable t = loop::fresh_variable("t"), r = loop::fresh_variable("r"),
                         k = loop::fresh_variable("k");
    loop::For slices;
    slices.variable = loop::fresh_variable("slice");
    slices.extent = loop::integer(depth / attention_thread_depth);
    const loop::Expr inner =
        loop::variable(slices.variable) * loop::integer(attention_thread_depth) + loop::variable(k);
    const Row row = row_of(t, r);
    slices.body =
        unrolled(k, attention_thread_depth,
                 unrolled(r, p_.thread_rows, over_elements(row, columns, [&](const Element& e) {
                            const loop::Expr x =
                                loop::load(a, inner * loop::integer(line(p_.rows)) + row.row);
                            const loop::Expr y =
                                loop::load(keys_, inner * loop::integer(line(columns)) + e.column);
                            return loop::Block{loop::Store{
                                sums, e.number, loop::fma(x, y, loop::load(sums, e.number))}};
                          })));
    return threads(t, plan_.threads(), {loop::statement(std::move(slices))});
  }

  loop::BufferRef queries_, keys_, weights_;
};

}  // namespace

std::unique_ptr<AttentionBuilder> thread_attention(const Attention& attention,
                                                   const GpuAttentionPlan& plan,
                                                   const GpuTilePlan& tiles,
                                                   const loop::NewBuffer& new_buffer) {
  return std::make_unique<ScalarAttention>(attention, plan, tiles, new_buffer);
}

}  // namespace kroton
