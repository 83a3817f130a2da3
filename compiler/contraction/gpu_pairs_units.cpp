// Products of pairs by the matrix units of a GPU.
#include "compiler/contraction/gpu_pairs_builder.h"
#include "compiler/contraction/gpu_shared_tile.h"

namespace kroton {
namespace {

// All that a step needs is asked for at once; each product waits for its own.
class UnitPairs final : public ByUnits<PairsBuilder> {
 public:
  using ByUnits::ByUnits;

 private:
  loop::Block begin() override {
    loop::Block block;
    const loop::Expr none = loop::integer(0);
    for (std::size_t i = 0; i < a_.products.size(); ++i) {
      const Contraction& c = a_.products[i];
      SharedTile of_rows = tile_of(c, true, p_.rows, p_.inner[i]);
      SharedTile of_keys = tile_of(c, false, p_.keys, p_.inner[i]);
      loop::MatrixTile& tile = tiles_of_products_.emplace_back(
          loop::MatrixTile{p_.rows, p_.keys, p_.inner[i], attention_warp_rows, p_.keys});
      tile.a_runs_inner = of_rows.runs_inner;
      tile.b_runs_inner = of_keys.runs_inner;
      of_rows.lines = loop::lines_of_a(tile, p_.element);
      of_keys.lines = loop::lines_of_b(tile, p_.element);
      of_rows.buffer = shared_of(block, "rows", of_rows.elements());
      of_keys.buffer = shared_of(block, "keys", of_keys.elements());
      block.push_back(bring(of_rows, first_row_, none, none, plan_.threads()));
      rows_of_.push_back(of_rows);
      keys_of_.push_back(of_keys);
    }
    for (std::size_t j = 0; j < a_.results.size(); ++j) {
      const Contraction& c = a_.results[j];
      loop::MatrixTile& tile = tiles_of_results_.emplace_back(
          loop::MatrixTile{p_.rows, p_.columns[j], p_.keys, attention_warp_rows, p_.columns[j]});
      weights_.push_back(shared_of(block, "weights", std::int64_t{p_.rows} * p_.keys));
      SharedTile values = tile_of(c, false, p_.columns[j], p_.keys);
      const std::size_t i = sharing(c, p_.columns[j]);
      brings_.push_back(i == keys_of_.size());
      if (!brings_.back()) {
        values.buffer = keys_of_[i].buffer;
      } else {
        tile.b_runs_inner = values.runs_inner;
        values.lines = loop::lines_of_b(tile, p_.element);
        values.buffer = shared_of(block, "values", values.elements());
      }
      values_of_.push_back(values);
    }
    return block;
  }

  loop::Block multiply_keys(const loop::Expr& step) override {
    const loop::Expr none = loop::integer(0), first = step * loop::integer(p_.keys);
    loop::Block block{loop::Barrier{}};
    std::vector<bool> are_copied;
    for (const SharedTile& tile : keys_of_) {
      block.push_back(bring(tile, first, none, none, plan_.threads()));
      are_copied.push_back(tile.aligned != nullptr);
    }
    for (std::size_t j = 0; j < values_of_.size(); ++j) {
      if (!brings_[j]) continue;
      block.push_back(bring(values_of_[j], none, first, none, plan_.threads()));
      are_copied.push_back(values_of_[j].aligned != nullptr);
    }
    for (std::size_t i = 0; i < keys_of_.size(); ++i) {
      block.push_back(zeros(products_[i], p_.keys));
      const auto later = std::count(are_copied.begin() + static_cast<std::ptrdiff_t>(i) + 1,
                                    are_copied.end(), true);
      block.push_back(loop::Barrier{static_cast<int>(later)});
      block.push_back(loop::Multiply{products_[i], rows_of_[i].buffer, keys_of_[i].buffer, none,
                                     none, tiles_of_products_[i]});
    }
    return block;
  }

  loop::Stmt keep_weight(std::size_t result, const Row& row, const loop::Expr& key,
                         const loop::Expr& weight) const override {
    const loop::TileLines lines = loop::lines_of_a(tiles_of_results_[result], p_.element);
    return loop::Store{weights_[result], loop::place_in_tile(lines, row.row, key), weight};
  }

  loop::Block multiply_weights(const loop::Expr& step) override {
    const loop::Expr none = loop::integer(0);
    loop::Block block{leave_weights(step, 0, a_.results.size()), loop::Barrier{}};
    for (std::size_t j = 0; j < a_.results.size(); ++j) {
      block.push_back(loop::Multiply{sums_[j], weights_[j], values_of_[j].buffer, none, none,
                                     tiles_of_results_[j]});
    }
    return block;
  }

  SharedTile tile_of(const Contraction& c, bool is_a, int width, int depth) const {
    const loop::Expr& operand = is_a ? c.a : c.b;
    const AxisList* const all[] = {&c.batch, &c.rows, &c.columns, &c.inner};
    return shared_tile(operand->dtype == p_.element ? operand : operand->args[0], is_a,
                       is_a ? c.rows : c.columns, c.inner, width, depth, all);
  }
  loop::BufferRef shared_of(loop::Block& block, const char* name, std::int64_t elements) const {
    return allocate(block, name, p_.element, elements, loop::Space::shared);
  }
  // The product whose keys' tile the result multiplies, too; else none.
  std::size_t sharing(const Contraction& result, int columns) const {
    for (std::size_t i = 0; i < a_.products.size(); ++i) {
      if (p_.inner[i] == columns && keys_of_[i].runs_inner &&
          shares_tile(a_.products[i], result, p_.element)) {
        return i;
      }
    }
    return keys_of_.size();
  }

  std::vector<SharedTile> rows_of_, keys_of_;  // by product
  std::vector<SharedTile> values_of_;          // by result
  std::vector<bool> brings_;                   // by result: not a product's tile
  std::vector<loop::MatrixTile> tiles_of_products_, tiles_of_results_;
  std::vector<loop::BufferRef> weights_;
};

}  // namespace

std::unique_ptr<PairsBuilder> unit_pairs(const Pairs& pairs, const GpuPairsPlan& plan,
                                         const GpuTilePlan& tiles,
                                         const loop::NewBuffer& new_buffer) {
  return std::make_unique<UnitPairs>(pairs, plan, tiles, new_buffer);
}

}  // namespace kroton
