// Attention by the matrix units of a GPU.
#include "compiler/contraction/gpu_attention_builder.h"
#include "compiler/contraction/gpu_shared_tile.h"

namespace kroton {
namespace {

// Keys and values come while something else is computed: those of the next step
// when the products with this one's are there, the values meanwhile.
class UnitAttention final : public ByUnits<AttentionBuilder> {
 public:
  using ByUnits::ByUnits;

 private:
  loop::Block begin() override {
    const auto stored = [&](const loop::Expr& value) {
      return value->dtype == p_.element ? value : value->args[0];
    };
    const Contraction& products = a_.products;
    const auto tile_of = [&](const Contraction& c, bool is_a, int width, int depth) {
      const AxisList* const all[] = {&c.batch, &c.rows, &c.columns, &c.inner};
      return shared_tile(stored(is_a ? c.a : c.b), is_a, is_a ? c.rows : c.columns, c.inner, width,
                         depth, all);
    };
    query_ = tile_of(products, true, p_.rows, p_.inner);
    key_ = tile_of(products, false, p_.keys, p_.inner);
    key_.may_begin_outside = true;  // those of the step behind the last
    value_ = tile_of(c_, false, p_.columns, p_.keys);
    of_keys_ = {p_.rows, p_.keys, p_.inner, attention_warp_rows, p_.keys};
    of_keys_.a_runs_inner = query_.runs_inner;
    of_keys_.b_runs_inner = key_.runs_inner;
    of_values_ = *plan_.units;
    of_values_.b_runs_inner = value_.runs_inner;
    query_.lines = loop::lines_of_a(of_keys_, p_.element);
    key_.lines = loop::lines_of_b(of_keys_, p_.element);
    value_.lines = loop::lines_of_b(of_values_, p_.element);
    loop::Block block;
    query_.buffer = allocate(block, "queries", p_.element, query_.elements(), loop::Space::shared);
    key_.buffer = allocate(block, "keys", p_.element, key_.elements(), loop::Space::shared);
    value_.buffer = allocate(block, "values", p_.element, value_.elements(), loop::Space::shared);
    weights_ = allocate(block, "weights", p_.element, std::int64_t{p_.rows} * p_.keys,
                        loop::Space::shared);
    const loop::Expr none = loop::integer(0);
    block.push_back(bring(query_, first_row_, none, none, plan_.threads()));
    append(block, begin_again());
    return block;
  }
  loop::Block begin_again() override {
    const loop::Expr none = loop::integer(0);
    return {bring(key_, none, none, none, plan_.threads())};
  }

  loop::Block multiply_keys(const loop::Expr& step, bool with_values) override {
    const loop::Expr none = loop::integer(0);
    loop::Block block{loop::Barrier{}};
    if (with_values) {
      block.push_back(bring(value_, none, step * loop::integer(p_.keys), none, plan_.threads()));
    }
    block.push_back(zeros(scores_, p_.keys));
    block.push_back(loop::Multiply{scores_, query_.buffer, key_.buffer, none, none, of_keys_});
    return block;
  }
  loop::Block wait_for_largest(const loop::Expr& step, bool with_values) override {
    const loop::Expr none = loop::integer(0);
    return {loop::Barrier{with_values && value_.aligned ? 1 : 0},
            bring(key_, (step + loop::integer(1)) * loop::integer(p_.keys), none, none,
                  plan_.threads())};
  }
  loop::Stmt keep_weight(const Row& row, const loop::Expr& key,
                         const loop::Expr& weight) const override {
    const loop::TileLines lines = loop::lines_of_a(of_values_, p_.element);
    return loop::Store{weights_, loop::place_in_tile(lines, row.row, key), weight};
  }
  loop::Block multiply_values(const loop::Expr&) override {
    const loop::Expr none = loop::integer(0);
    return {loop::Barrier{key_.aligned ? 1 : 0},
            loop::Multiply{sums_, weights_, value_.buffer, none, none, of_values_}};
  }

  SharedTile query_, key_, value_;
  loop::MatrixTile of_keys_, of_values_;
  loop::BufferRef weights_;
};

}  // namespace

std::unique_ptr<AttentionBuilder> unit_attention(const Attention& attention,
                                                 const GpuAttentionPlan& plan,
                                                 const GpuTilePlan& tiles,
                                                 const loop::NewBuffer& new_buffer) {
  return std::make_unique<UnitAttention>(attention, plan, tiles, new_buffer);
}

}  // namespace kroton
