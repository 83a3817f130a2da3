#include "compiler/lower/reduction_parts.h"

#include "compiler/base/machine.h"
#include "compiler/loop/traverse.h"

namespace kroton {
namespace {

// Blocks of a reduction that leave a large device half empty, and those that fill it.
constexpr std::int64_t few_blocks = 264;
constexpr std::int64_t enough_blocks = 2 * few_blocks;
// As quick_row: 64 elements for each thread of a row's block, or of those that share a column.
constexpr std::int64_t quick_column = 1024;
// Where one thread does all of a column: what goes over it several times.
constexpr std::int64_t quick_column_in_stages = 128;
// The least that a run has of them.
constexpr std::int64_t least_of_row = 4096;
constexpr std::int64_t least_of_column = 128;

}  // namespace

std::optional<ReductionParts> reduction_parts(const Dims& domain, const std::vector<bool>& reduced,
                                              bool by_columns, int stages) {
  ReductionParts parts;
  Dim results = 1, elements = 1;
  for (std::size_t axis = 0; axis < domain.size(); ++axis) {
    Dim& size = reduced[axis] ? elements : results;
    size = size * domain[axis];
    if (reduced[axis]) parts.axes.push_back(axis);
  }
  if (parts.axes.empty()) return std::nullopt;
  const auto at_least_one = [](const Dim& size) { return maximum(1, size); };
  const Dim blocks = at_least_one(by_columns ? ceil_div(results, Machine::warp) : results);
  const std::int64_t quick = !by_columns  ? quick_row
                             : stages > 1 ? quick_column_in_stages
                                          : quick_column;
  parts.are_wanted =
      minimum(1, floor_div(few_blocks, blocks)) * minimum(1, floor_div(elements, quick + 1));
  if (parts.are_wanted.is_constant(0)) return std::nullopt;
  const Dim runs = at_least_one(floor_div(enough_blocks, blocks));
  parts.step = maximum(by_columns ? least_of_column : least_of_row, ceil_div(elements, runs));
  return parts;
}

std::optional<ReductionParts> register_parts(const Dims& domain, const std::vector<bool>& reduced,
                                             std::int64_t held, std::int64_t longest) {
  ReductionParts parts;
  Dim elements = 1;
  for (std::size_t axis = 0; axis < domain.size(); ++axis) {
    if (!reduced[axis] || domain[axis].is_constant(1)) continue;
    elements = elements * domain[axis];
    parts.axes.push_back(axis);
  }
  if (parts.axes.empty()) return std::nullopt;
  parts.step = held;
  parts.are_wanted = minimum(1, floor_div(elements, longest + 1));
  if (parts.are_wanted.is_constant(0)) return std::nullopt;
  return parts;
}

loop::Block only_if(const Dim& flag, loop::Block body) {
  if (flag.is_constant(1)) return body;
  loop::For loop;
  loop.variable = loop::fresh_variable("wanted");
  loop.extent = loop::size(flag);
  loop.body = std::move(body);
  loop.is_independent = true;
  return {loop::statement(std::move(loop))};
}

}  // namespace kroton
