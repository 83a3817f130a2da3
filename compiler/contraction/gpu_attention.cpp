#include "compiler/contraction/gpu_attention.h"

#include <algorithm>

#include "compiler/contraction/gpu_attention_builder.h"

namespace kroton {
namespace {

std::int64_t attention_bytes_of(const GpuAttentionPlan& plan) {
  const auto size = static_cast<std::int64_t>(size_of(plan.element));
  const std::int64_t exchange = std::int64_t{4} * plan.rows * plan.exchange_stride();
  if (plan.units) {
    return size * (std::int64_t{plan.rows + plan.keys} * plan.inner +
                   std::int64_t{plan.keys} * (plan.columns + plan.rows)) +
           exchange;
  }
  const auto line = [](int width) { return std::int64_t{width + gpu_tile_padding}; };
  return 4 * (plan.inner * line(plan.rows) + plan.keys * line(plan.rows) +
              std::max(plan.inner * line(plan.keys), plan.keys * line(plan.columns))) +
         exchange;
}

}  // namespace

std::string GpuAttentionPlan::to_string() const {
  return "attention: " + std::to_string(rows) + " rows, " + std::to_string(keys) +
         " keys at a time, " +
         (units ? std::string(name_of(element)) + " by matrix units"
                : std::to_string(thread_rows) + " x " + std::to_string(columns / across) +
                      " results a thread");
}

std::optional<GpuAttentionPlan> plan_gpu_attention(const AttentionSizes& sizes) {
  if (sizes.inner < 1 || sizes.columns < 1 || sizes.inner > most_head ||
      sizes.columns > most_head) {
    return std::nullopt;
  }
  GpuAttentionPlan plan;
  plan.element = sizes.element;
  plan.units = sizes.units;
  if (sizes.units) {
    plan.inner = width_of_units(sizes.inner);
    plan.columns = width_of_units(sizes.columns);
    plan.thread_rows = 2;
    plan.across = 4;
    for (const auto& [rows, keys] : {std::pair{64, 64}, {64, 32}, {32, 32}, {32, 16}}) {
      plan.rows = rows;
      plan.keys = keys;
      if (attention_bytes_of(plan) <= attention_bytes) return plan;
    }
    return std::nullopt;
  }
  plan.inner = filled_up(sizes.inner, attention_thread_depth);
  plan.thread_rows = scalar_thread_rows;
  plan.keys = 32;
  for (const int rows : {64, 32}) {
    plan.rows = rows;
    plan.across = scalar_threads / (rows / scalar_thread_rows);
    plan.columns = scalar_columns(sizes.columns, plan.across);
    if (attention_bytes_of(plan) <= attention_bytes) return plan;
  }
  return std::nullopt;
}

loop::Kernel build_gpu_attention(const Attention& attention, const GpuAttentionPlan& plan,
                                 const loop::NewBuffer& new_buffer) {
  GpuTilePlan tiles;
  tiles.rows = plan.rows;
  tiles.columns = plan.columns;
  tiles.depth = plan.keys;
  tiles.thread_rows = plan.thread_rows;
  tiles.thread_columns = plan.columns / plan.across;
  if (plan.units) {
    tiles.element = plan.element;
    tiles.units =
        loop::MatrixTile{plan.rows, plan.columns, plan.keys, attention_warp_rows, plan.columns};
  }
  loop::Kernel kernel =
      (plan.units ? unit_attention : thread_attention)(attention, plan, tiles, new_buffer)->run();
  // The products with the keys once more.
  const Dim times = attention.kept ? 2 : 1;
  kernel.work = kernel.work + loop::size(attention.products.work() * times);
  kernel.form = plan.to_string();
  return kernel;
}

}  // namespace kroton
