#include "compiler/contraction/gpu_pairs.h"

#include <algorithm>

#include "compiler/contraction/gpu_pairs_builder.h"

namespace kroton {
namespace {

std::int64_t bytes_by_units(const GpuPairsPlan& plan, std::size_t shared) {
  std::int64_t elements = 0;
  for (const int inner : plan.inner) elements += std::int64_t{plan.rows + plan.keys} * inner;
  // Whichever they are that share a tile.
  std::vector<int> columns = plan.columns;
  std::sort(columns.begin(), columns.end());
  for (std::size_t j = 0; j < columns.size(); ++j) {
    elements += std::int64_t{plan.rows} * plan.keys;
    if (j >= shared) elements += std::int64_t{plan.keys} * columns[j];
  }
  return elements * static_cast<std::int64_t>(size_of(plan.element));
}

// The keys' elements, then what the weights are multiplied by, lie in the same place in turns.
std::int64_t bytes_by_threads(const GpuPairsPlan& plan) {
  const auto line = [](int width) { return std::int64_t{width + gpu_tile_padding}; };
  std::int64_t rows = plan.keys * line(plan.rows), in_turns = 0;
  for (const int inner : plan.inner) {
    rows += inner * line(plan.rows);
    in_turns = std::max(in_turns, inner * line(plan.keys));
  }
  for (const int columns : plan.columns) {
    in_turns = std::max(in_turns, plan.keys * line(columns));
  }
  return 4 * (rows + in_turns);
}

// Three products and more leave registers for few pairs.
constexpr std::pair<int, int> unit_tiles[] = {{64, 64}, {64, 32}, {32, 32}, {32, 16}};

}  // namespace

std::string GpuPairsPlan::to_string() const {
  return "pairs: " + std::to_string(rows) + " rows, " + std::to_string(keys) + " keys at a time, " +
         std::to_string(inner.size() + columns.size()) + " products " +
         (units ? "of " + std::string(name_of(element)) + " by matrix units" : "by threads");
}

std::optional<GpuPairsPlan> plan_gpu_pairs(const PairsSizes& sizes) {
  const auto has_room = [](std::int64_t size) { return size >= 1 && size <= most_head; };
  if (!std::all_of(sizes.inner.begin(), sizes.inner.end(), has_room) ||
      !std::all_of(sizes.columns.begin(), sizes.columns.end(), has_room)) {
    return std::nullopt;
  }
  GpuPairsPlan plan;
  plan.element = sizes.element;
  plan.units = sizes.units;
  if (sizes.units) {
    for (const std::int64_t inner : sizes.inner) plan.inner.push_back(width_of_units(inner));
    for (const std::int64_t columns : sizes.columns) {
      plan.columns.push_back(width_of_units(columns));
    }
    plan.thread_rows = 2;
    plan.across = 4;
    for (const auto& [rows, keys] : unit_tiles) {
      plan.rows = rows;
      plan.keys = keys;
      if (sizes.inner.size() + sizes.columns.size() > 2 && keys == 64) continue;
      if (bytes_by_units(plan, static_cast<std::size_t>(sizes.shared)) <= attention_bytes) {
        return plan;
      }
    }
    return std::nullopt;
  }
  for (const std::int64_t inner : sizes.inner) {
    plan.inner.push_back(filled_up(inner, attention_thread_depth));
  }
  plan.thread_rows = scalar_thread_rows;
  for (const auto& [rows, keys] : {std::pair{64, 32}, {64, 16}, {32, 32}, {32, 16}}) {
    plan.rows = rows;
    plan.keys = keys;
    plan.across = scalar_threads / (rows / scalar_thread_rows);
    plan.columns.clear();
    for (const std::int64_t columns : sizes.columns) {
      plan.columns.push_back(scalar_columns(columns, plan.across));
    }
    if (bytes_by_threads(plan) <= attention_bytes) return plan;
  }
  return std::nullopt;
}

bool shares_tile(const Contraction& product, const Contraction& result, DType element) {
  // Of 4 bytes a tile's lines depend on how it is read.
  if (size_of(element) != 2) return false;
  const loop::Expr columns = loop::variable(result.columns[0].variable);
  return product.inner[0].extent == result.columns[0].extent &&
         product.columns[0].variable == result.inner[0].variable &&
         is_contiguous(result.b, result.columns[0]) && !is_contiguous(result.b, result.inner[0]) &&
         loop::substitute(product.b, {{product.inner[0].variable, columns}}) == result.b;
}

loop::Kernel build_gpu_pairs(const Pairs& pairs, const GpuPairsPlan& plan,
                             const loop::NewBuffer& new_buffer) {
  GpuTilePlan tiles;
  tiles.rows = plan.rows;
  tiles.columns = plan.columns[0];
  tiles.depth = plan.keys;
  tiles.thread_rows = plan.thread_rows;
  tiles.thread_columns = plan.columns[0] / plan.across;
  if (plan.units) {
    tiles.element = plan.element;
    tiles.units = loop::MatrixTile{plan.rows, plan.columns[0], plan.keys, attention_warp_rows,
                                   plan.columns[0]};
  }
  loop::Kernel kernel =
      (plan.units ? unit_pairs : thread_pairs)(pairs, plan, tiles, new_buffer)->run();
  for (const Contraction& product : pairs.products) {
    kernel.work = kernel.work + loop::size(product.work());
  }
  for (std::size_t j = 1; j < pairs.results.size(); ++j) {
    kernel.work = kernel.work + loop::size(pairs.results[j].work());
  }
  kernel.form = plan.to_string();
  return kernel;
}

}  // namespace kroton
