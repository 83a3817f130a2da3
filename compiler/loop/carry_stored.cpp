// Running sums: out[i + 1] = out[i] + x[i + 1] waits in every iteration for what the last one has
// stored. The value is held in a scalar instead, so that iterations wait for an addition only:
//
//   if 0 < n { var sum = out[0]; for i in 0..n { sum += x[i + 1]; out[i + 1] = sum } }
//
// Where a loop over independent rows has nothing else in it, several rows run in step: an addition
// of one row need not wait for that of another.
#include "compiler/loop/dependence.h"
#include "compiler/loop/schedule.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

// Rows that run in step: as many as fill the time that an addition takes.
constexpr std::int64_t rows_in_step = 4;

bool accumulates(Op op) {
  return op == Op::add || op == Op::mul || op == Op::min || op == Op::max ||
         op == Op::logical_and || op == Op::logical_or;
}

class Carrier {
 public:
  Block operator()(const Block& block) {
    return replace_loops(block, [&](const For& found, Block& result) {
      For loop = found;
      loop.body = (*this)(found.body);
      const auto* store = loop.kind == LoopKind::serial && loop.body.size() == 1
                              ? std::get_if<Store>(&loop.body.front())
                              : nullptr;
      if (store != nullptr && carry(loop, *store, result)) return;
      if (!put_in_step(loop, result)) result.push_back(statement(std::move(loop)));
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
    const Variable held = fresh_variable("held", store.buffer->dtype);
    For running = loop;
    running.body = {Accumulate{held, value->op, added},
                    Store{store.buffer, store.index, variable(held)}};
    result.push_back(statement(If{binary(Op::lt, integer(0), loop.extent),
                                  {Declare{held, at(last, 0)}, statement(std::move(running))},
                                  {}}));
    return true;
  }

  // Whether the loop is one over rows of which each is carried; then several are put in step.
  bool put_in_step(const For& rows, Block& result) {
    const If* row = rows.body.size() == 1 ? as_if(rows.body.front()) : nullptr;
    if (row == nullptr || row->then_body.size() != 2 || !row->else_body.empty()) return false;
    const auto* declare = std::get_if<Declare>(&row->then_body[0]);
    const For* running = as_for(row->then_body[1]);
    const std::optional<Dim> count = as_dim(rows.extent);
    if (declare == nullptr || running == nullptr || !count || rows.kind != LoopKind::serial ||
        depends_on(row->condition, rows.variable) || depends_on(running->extent, rows.variable) ||
        running->body.size() != 2 || std::get_if<Accumulate>(&running->body[0]) == nullptr ||
        !LoopFacts(rows).iterations_are_independent(false)) {
      return false;
    }
    const auto& sum = std::get<Accumulate>(running->body[0]);
    const auto& store = std::get<Store>(running->body[1]);
    const Variable step = fresh_variable("step");
    const Expr first = variable(step) * integer(rows_in_step);
    Block together, body;
    for (std::int64_t k = 0; k < rows_in_step; ++k) {
      const auto of_row = [&](const Expr& e) {
        return substitute(e, {{rows.variable, first + integer(k)}});
      };
      const Variable held = fresh_variable(sum.variable.name, sum.variable.dtype);
      together.emplace_back(Declare{held, of_row(declare->init)});
      body.emplace_back(Accumulate{held, sum.op, of_row(sum.value)});
      body.emplace_back(Store{store.buffer, of_row(store.index), variable(held)});
    }
    For all = *running;
    all.body = std::move(body);
    together.push_back(statement(std::move(all)));
    For rest = rows;
    rest.variable = fresh_variable(rows.variable.name);
    rest.extent = rows.extent - first;
    rest.body = substitute(rows.body, {{rows.variable, first + variable(rest.variable)}});
    For steps = rows;
    steps.variable = step;
    steps.extent = size(ceil_div(*count, rows_in_step));
    steps.body = {statement(If{binary(Op::le, first + integer(rows_in_step), rows.extent),
                               {statement(If{row->condition, std::move(together), {}})},
                               {statement(std::move(rest))}})};
    result.push_back(statement(std::move(steps)));
    return true;
  }
};

}  // namespace

Kernel carry_stored(const Kernel& kernel) {
  Kernel result = kernel;
  result.body = Carrier()(kernel.body);
  return result;
}

}  // namespace kroton::loop
