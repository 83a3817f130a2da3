// Rows of few elements, of a width that is known only when the function runs.
//
// A loop over rows around reductions of each,
//
//   for i in 0..n { var sum = 0   for j in 0..w { sum += x[i, j] }   y[i] = sum }
//
// is best as a vector along each row where rows are long, and where one vector holds a row, as many
// rows at once as it has lanes, written out and combined together (block_reductions.cpp). So it
// becomes two kernels, of which one has rows: both know on which side of that width they are.
#include <algorithm>

#include "compiler/loop/dependence.h"
#include "compiler/loop/elementary.h"
#include "compiler/loop/schedule.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

constexpr std::int64_t few_short_rows = 16;
constexpr int most_in_short_rows = 48;  // written out for each row at once
constexpr std::size_t most_loops = 3;

bool is_constant_one(const Expr& stride) {
  std::int64_t step = 0;
  return stride != nullptr && is_integer_constant(stride, step) && step == 1;
}

// The loops over a row's elements, if that is what the body's loops are.
class ShortRows {
 public:
  explicit ShortRows(const For& loop) : loop_(loop), facts_(loop) {}

  // The rows' width where nothing but rows of one unknown width is reduced.
  std::optional<Dim> width() {
    std::int64_t rows = 0;
    if (is_integer_constant(loop_.extent, rows) && rows < few_short_rows) return std::nullopt;
    if (facts_.reduces() || facts_.has_varying_control()) return std::nullopt;
    for (const Stmt& s : loop_.body) {
      if (std::holds_alternative<Declare>(s) || std::holds_alternative<Store>(s)) continue;
      const For* inner = as_for(s);
      if (inner == nullptr || !is_along_rows(*inner)) return std::nullopt;
    }
    const bool are_few = loops_ > 0 && loops_ <= most_loops && operations_ <= most_in_short_rows;
    return are_few && has_row_ ? width_ : std::nullopt;
  }

  std::int64_t widest() const {
    std::int64_t widest = 4;
    for (const DType dtype : facts_.accumulated_dtypes()) {
      widest = std::max(widest, size_of(dtype));
    }
    return widest;
  }

 private:
  bool is_along_rows(const For& inner) {
    const std::optional<Dim> extent = as_dim(inner.extent);
    if (!extent || extent->is_constant() || (width_ && !(*width_ == *extent))) return false;
    width_ = extent;
    ++loops_;
    const LoopFacts facts(inner);
    if (facts.has_inner_loop()) return false;
    // What is the same for all elements is computed once for the row, with those of other rows.
    for (const Expr& e : facts.nodes()) {
      if (facts.varies(e)) operations_ += operations_of(*e);
    }
    return std::all_of(facts.accesses().begin(), facts.accesses().end(), [&](const Access& access) {
      const bool is_row = is_constant_one(facts.stride(access.index));
      has_row_ = has_row_ || (is_row && !access.is_store);
      const bool is_common = facts.varies(access.index) && !facts_.varies(access.index);
      return !is_common && (is_row || !facts.varies(access.index));
    });
  }

  const For& loop_;
  const LoopFacts facts_;
  std::optional<Dim> width_;
  std::size_t loops_ = 0;
  int operations_ = 0;
  bool has_row_ = false;
};

}  // namespace

std::vector<Kernel> split_short_rows(const Kernel& kernel, int lanes_bytes) {
  const For* loop = kernel.body.size() == 1 ? as_for(kernel.body[0]) : nullptr;
  const std::optional<Dim> count = loop == nullptr ? std::nullopt : as_dim(loop->extent);
  if (!count) return {kernel};
  ShortRows rows(*loop);
  const std::optional<Dim> width = rows.width();
  if (!width) return {kernel};
  const std::int64_t lanes = lanes_bytes / rows.widest();
  // 1 where a vector holds a row, else 0.
  const Dim is_short = minimum(1, maximum(0, Dim(lanes + 1) - *width));
  if (is_short.is_constant()) return {kernel};
  For few = *loop;
  few.extent = size(*count * is_short);
  for (Stmt& s : few.body) {
    const For* inner = as_for(s);
    if (inner == nullptr) continue;
    For bounded = *inner;
    bounded.extent = size(minimum(*width, lanes));
    s = statement(std::move(bounded));
  }
  For many = *loop;
  many.extent = size(*count * (Dim(1) - is_short));
  std::vector<Kernel> kernels{kernel, kernel};
  kernels[0].body = {statement(std::move(few))};
  kernels[1].body = {statement(std::move(many))};
  return kernels;
}

}  // namespace kroton::loop
