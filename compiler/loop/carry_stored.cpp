// Running sums: out[i + 1] = out[i] + x[i + 1] waits in every iteration for what the last one has
// stored. The value is held in a scalar instead, so that iterations wait for an addition only:
//
//   if 0 < n { var sum = out[0]; for i in 0..n { sum += x[i + 1]; out[i + 1] = sum } }
#include "compiler/loop/schedule.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

bool accumulates(Op op) {
  return op == Op::add || op == Op::mul || op == Op::min || op == Op::max ||
         op == Op::logical_and || op == Op::logical_or;
}

class Carrier {
 public:
  explicit Carrier(int next_id) : next_id_(next_id) {}

  Block operator()(const Block& block) {
    return replace_loops(block, [&](const For& found, Block& result) {
      For loop = found;
      loop.body = (*this)(found.body);
      const auto* store = loop.kind == LoopKind::serial && loop.body.size() == 1
                              ? std::get_if<Store>(&loop.body.front())
                              : nullptr;
      if (store == nullptr || !carry(loop, *store, result)) {
        result.push_back(statement(std::move(loop)));
      }
    });
  }

 private:
  // Whether the loop is of that kind; then it is made.
  bool carry(const For& loop, const Store& store, Block& result) {
    const Expr& value = store.value;
    if (!accumulates(value->op)) return false;
    const Expr stride = stride_of(store.index, loop.variable);
    if (stride == nullptr || depends_on(stride, loop.variable)) return false;
    const auto at = [&](const Expr& index, std::int64_t position) {
      return substitute(index, {{loop.variable, integer(position)}});
    };
    const auto is_before = [&](const Expr& e) {
      return e->op == Op::load && !is_conditional(*e) && e->buffer->id == store.buffer->id &&
             stride_of(e->args[0], loop.variable) == stride &&
             at(e->args[0], 1) == at(store.index, 0);
    };
    const std::size_t before = is_before(value->args[0]) ? 0 : 1;
    const Expr& last = value->args[before];
    const Expr& added = value->args[1 - before];
    if (!is_before(last)) return false;
    const std::vector<Expr> roots{added, store.index};
    for (const Expr& e : post_order(roots)) {
      if (e->op == Op::load && e->buffer->id == store.buffer->id) return false;
    }
    const Variable held{next_id_++, store.buffer->dtype, "held"};
    For running = loop;
    running.body = {Accumulate{held, value->op, added},
                    Store{store.buffer, store.index, variable(held)}};
    result.push_back(statement(If{binary(Op::lt, integer(0), loop.extent),
                                  {Declare{held, at(last, 0)}, statement(std::move(running))},
                                  {}}));
    return true;
  }

  int next_id_;
};

}  // namespace

Kernel carry_stored(const Kernel& kernel) {
  Kernel result = kernel;
  result.body = Carrier(next_variable_id(kernel))(kernel.body);
  return result;
}

}  // namespace kroton::loop
