#include "compiler/ops/tasks.h"

#include "compiler/ops/sort_keys.h"

namespace kroton::ops {

using loop::Expr;
using loop::Op;

namespace {
// Enough for all threads.
constexpr std::int64_t most_tasks = 16;
}  // namespace

Tasks::Tasks(WriteContext& context, const Dims& outer, const Dim& count)
    : context_(context), count_(count), share_(ceil_div(count, most_tasks)), tasks_(outer) {
  tasks_.push_back(minimum(count, most_tasks));
}

WriteContext::Scratch Tasks::scratch(DType dtype, const Dims& part) const {
  Dims shape = tasks_;
  shape.insert(shape.end(), part.begin(), part.end());
  return context_.scratch(dtype, shape);
}

void Tasks::run(const std::function<void(const Index& task)>& begin,
                const std::function<void(const Index& task, const Index& outer,
                                         const Expr& number)>& piece) const {
  context_.independent_nest(tasks_, [&](const Index& task) {
    const Index outer(task.begin(), task.end() - 1);
    const Expr first = task.back() * loop::size(share_);
    const Expr left = loop::binary(Op::max, loop::size(count_) - first, whole(0));
    if (begin) {
      context_.loop(loop::binary(Op::min, left, whole(1)), 1, [&](const Expr&) { begin(task); });
    }
    context_.loop(loop::binary(Op::min, left, loop::size(share_)), share_,
                  [&](const Expr& k) { piece(task, outer, first + k); });
  });
}

}  // namespace kroton::ops
