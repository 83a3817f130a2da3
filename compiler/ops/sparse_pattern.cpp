#include "compiler/ops/sparse_pattern.h"

#include <algorithm>
#include <limits>

#include "compiler/ir/leaf.h"

namespace kroton::ops {

namespace {

// For sorting by counts: where the elements of each key in [0, count) begin.
std::vector<std::int64_t> starts_of(const std::vector<std::int64_t>& keys, std::int64_t count) {
  std::vector<std::int64_t> starts(static_cast<std::size_t>(count) + 1, 0);
  for (const std::int64_t key : keys) ++starts[static_cast<std::size_t>(key) + 1];
  for (std::size_t k = 1; k < starts.size(); ++k) starts[k] += starts[k - 1];
  return starts;
}

}  // namespace

std::vector<std::int64_t> sorted_by(const std::vector<std::int64_t>& keys, std::int64_t count,
                                    const std::vector<std::int64_t>& order) {
  std::vector<std::int64_t> next = starts_of(keys, count), result(keys.size());
  for (const std::int64_t k : order) {
    std::int64_t& place = next[static_cast<std::size_t>(keys[static_cast<std::size_t>(k)])];
    result[static_cast<std::size_t>(place++)] = k;
  }
  return result;
}

std::vector<std::int64_t> integers_of(const Array& array) {
  const Array whole = array.contiguous().cast(DType::i64);
  const std::span<const std::int64_t> data = whole.data<std::int64_t>();
  return {data.begin(), data.end()};
}

std::vector<std::int64_t> integers_of(const Tensor& constant) {
  return integers_of(*constant.node().attributes.array);
}

std::shared_ptr<const SparsePattern> SparsePattern::of_rows(
    SparseMatrix::Sizes shape, const std::vector<std::int64_t>& pointers,
    const std::vector<std::int64_t>& columns) {
  const std::size_t count = columns.size();
  std::vector<std::int64_t> row_of_each(count), in_order(count);
  for (std::size_t i = 0; i + 1 < pointers.size(); ++i) {
    std::fill(row_of_each.begin() + pointers[i], row_of_each.begin() + pointers[i + 1],
              static_cast<std::int64_t>(i));
  }
  for (std::size_t k = 0; k < count; ++k) in_order[k] = static_cast<std::int64_t>(k);
  const std::vector<std::int64_t> order = sorted_by(columns, shape[1], in_order);
  std::vector<std::int64_t> rows(count);
  for (std::size_t k = 0; k < count; ++k) {
    rows[k] = row_of_each[static_cast<std::size_t>(order[k])];
  }
  const std::int64_t largest = std::max({shape[0], shape[1], static_cast<std::int64_t>(count)});
  const DType dtype = largest <= std::numeric_limits<std::int32_t>::max() ? DType::i32 : DType::i64;
  const auto constant = [&](const std::vector<std::int64_t>& values) {
    return make_constant(Array::from(values).cast(dtype),
                         LineScope::current().value_or(SourceLine{}));
  };
  auto pattern = std::make_shared<SparsePattern>();
  pattern->shape = shape;
  pattern->row_pointers = constant(pointers);
  pattern->columns = constant(columns);
  pattern->column_pointers = constant(starts_of(columns, shape[1]));
  pattern->rows = constant(rows);
  pattern->order = constant(order);
  pattern->row_of_each = constant(row_of_each);
  return pattern;
}

}  // namespace kroton::ops
