// Loops that are bound to their order, around columns that are independent of each other.
//
// A scatter adds to rows that any iteration may name, a running sum along rows reads the row
// before: threads cannot share the rows, but the columns:
//
//   for i: for j in 0..n: out[index(i)*n + j] += v[i, j]
//
// becomes
//
//   for i: parallel for range: for j of the range: out[index(i)*n + j] += v[i, j]
//
// Each thread runs all i, and for each of them its own ranges of columns. The order of additions in
// each element stays.
#include <algorithm>

#include "compiler/loop/dependence.h"
#include "compiler/loop/schedule.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

// Columns of a range: some lines of memory.
constexpr std::int64_t range_bytes = 256;

class Sharing {
 public:
  explicit Sharing(const For& outermost) : outermost_(outermost) {
    const For* loop = &outermost;
    while (loop != nullptr) {
      loops_.push_back(loop);
      loop = loop->body.size() == 1 ? as_for(loop->body.front()) : nullptr;
    }
  }

  std::optional<Stmt> run() const {
    if (!applies()) return std::nullopt;
    const For& columns = *loops_.back();
    const std::int64_t range = range_bytes / widest();
    std::int64_t known = 0;
    if (is_integer_constant(columns.extent, known) && known < 2 * range) return std::nullopt;
    For ranges;
    ranges.variable = fresh_variable("range");
    ranges.extent = size(ceil_div(*as_dim(columns.extent), Dim(range)));
    ranges.kind = LoopKind::parallel;
    const Expr first = variable(ranges.variable) * integer(range);
    For part = columns;
    part.variable = fresh_variable(columns.variable.name);
    part.is_independent = true;
    part.extent = known % range == 0 && known > 0
                      ? integer(range)
                      : binary(Op::min, integer(range), columns.extent - first);
    part.body = substitute(columns.body, {{columns.variable, first + variable(part.variable)}});
    ranges.body = {statement(std::move(part))};
    Block block{statement(std::move(ranges))};
    for (auto loop = loops_.rbegin() + 1; loop != loops_.rend(); ++loop) {
      For around = **loop;
      around.body = std::move(block);
      block = {statement(std::move(around))};
    }
    return block.front();
  }

 private:
  bool applies() const {
    if (loops_.size() < 2 || outermost_.is_independent) return false;
    const For& columns = *loops_.back();
    const bool are_plain = std::all_of(loops_.begin(), loops_.end(), [](const For* loop) {
      return loop->kind == LoopKind::serial && as_dim(loop->extent).has_value();
    });
    const bool are_stores =
        std::all_of(columns.body.begin(), columns.body.end(),
                    [](const Stmt& s) { return std::holds_alternative<Store>(s); });
    if (!are_plain || !are_stores) return false;
    if (LoopFacts(outermost_).iterations_are_independent(false)) return false;
    return LoopFacts(columns).has_own_columns();
  }

  std::int64_t widest() const {
    std::int64_t bytes = 1;
    for (const Stmt& s : loops_.back()->body) {
      bytes = std::max<std::int64_t>(bytes, size_of(std::get<Store>(s).buffer->dtype));
    }
    return bytes;
  }

  const For& outermost_;
  std::vector<const For*> loops_;  // each the whole body of the one before; the last: the columns
};

}  // namespace

Kernel share_columns(const Kernel& kernel) {
  const For* outermost = outermost_loop(kernel);
  if (outermost == nullptr || kernel.body.size() != 1) return kernel;
  const std::optional<Stmt> shared = Sharing(*outermost).run();
  if (!shared) return kernel;
  Kernel result = kernel;
  result.body.back() = *shared;
  return result;
}

}  // namespace kroton::loop
