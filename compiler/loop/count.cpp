#include "compiler/loop/count.h"

#include <kroton/error.h>

#include <algorithm>

#include "compiler/loop/elementary.h"
#include "compiler/loop/place_values.h"
#include "compiler/loop/scalar.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

double flops_of(Op op) {
  switch (op) {
    case Op::add:
    case Op::sub:
    case Op::mul:
    case Op::div:
    case Op::mod:
    case Op::floor_div:
    case Op::min:
    case Op::max:
    case Op::sqrt:
    case Op::floor:
    case Op::ceil:
    case Op::round_even:
      return 1;
    case Op::fma:
      return 2;
    default:
      return 0;
  }
}

void add(Work& to, const Work& more, double times) {
  to.flops += times * more.flops;
  for (const auto& [buffer, count] : more.loads) to.loads[buffer] += times * count;
  for (const auto& [buffer, count] : more.stores) to.stores[buffer] += times * count;
}

// Of a kernel whose values are placed.
class Counter {
 public:
  explicit Counter(const std::function<std::int64_t(const DimAtom&)>& value_of_size)
      : value_of_size_(value_of_size) {}

  Work block(const Block& statements) {
    LetValues<Known>::Scope scope(lets_);
    // What the statements themselves do is the same in every iteration.
    const bool is_new = own_.try_emplace(&statements).second;
    Work own, inner;
    for (const Stmt& s : statements) {
      const auto* let = std::get_if<Let>(&s);
      if (let != nullptr && let->life == Let::Life::loop) continue;
      if (is_new) visit_own_expressions(s, [&](const Expr& e) { expression(e, own); });
      if (let != nullptr) {
        scope.let(*let, {});
        continue;
      }
      visit(
          s, [](const Let&) {}, [](const Declare&) {}, [](const Allocate&) {},
          [&](const Store& store) { own.stores[store.buffer->id] += 1; },
          [&](const Accumulate& sum) { own.flops += is_float(sum.variable.dtype) ? 1 : 0; },
          [](const AccumulateArg&) {}, [](const Barrier&) {}, [](const Copy&) {},
          [](const Multiply&) {},  // a device's, not counted
          [&](const For& loop) { add(inner, iterations(loop), 1); },
          [&](const If& branch) { add(inner, sides(branch), 1); });
      scope.end_statement();
    }
    if (is_new) own_[&statements] = own;
    add(inner, own_[&statements], 1);
    return inner;
  }

 private:
  struct Known {};

  Work iterations(const For& loop) {
    const std::int64_t extent = value_of(loop.extent);
    Work work;
    if (extent <= 0) return work;
    LetValues<Known>::Scope scope(lets_);
    for (const Stmt& s : loop.body) {
      const auto* let = std::get_if<Let>(&s);
      if (let == nullptr || let->life != Let::Life::loop) continue;
      expression(let->value, work);
      scope.let(*let, {});
    }
    loop_variables_.insert(loop.variable.id);
    if (!decides(loop.variable, loop.body)) {
      add(work, block(loop.body), static_cast<double>(extent));
      return work;
    }
    for (std::int64_t i = 0; i < extent; ++i) {
      variables_[loop.variable.id] = i;
      add(work, block(loop.body), 1);
    }
    return work;
  }

  Work sides(const If& branch) {
    if (is_decided_by_loops(branch.condition)) {
      return block(value_of(branch.condition) != 0 ? branch.then_body : branch.else_body);
    }
    Work work = block(branch.then_body);
    add(work, block(branch.else_body), 1);
    return work;
  }

  // Whether an extent or a condition in the block depends on the variable.
  bool decides(const Variable& variable, const Block& body) {
    const auto [found, is_new] = decides_.try_emplace(&body, false);
    if (!is_new) return found->second;
    visit_statements(body, [&](const Stmt& s) {
      const For* loop = as_for(s);
      const If* branch = as_if(s);
      const bool here = (loop != nullptr && depends_on(loop->extent, variable)) ||
                        (branch != nullptr && depends_on(branch->condition, variable));
      found->second = found->second || here;
    });
    return found->second;
  }

  bool is_decided_by_loops(const Expr& condition) const {
    const std::vector<Expr> nodes = post_order(std::span(&condition, 1));
    return std::all_of(nodes.begin(), nodes.end(), [&](const Expr& e) {
      if (e->op == Op::variable) return loop_variables_.contains(e->variable.id);
      return !is_float(e->dtype) && e->op != Op::load && !may_fail(e->op);
    });
  }

  void expression(const Expr& e, Work& work) {
    if (lets_.find(e.get()) != nullptr) return;
    if (e->op == Op::load) work.loads[e->buffer->id] += 1;
    if (is_float(e->dtype)) work.flops += flops_of(e->op);
    for (const Expr& arg : e->args) expression(arg, work);
  }

  // Of an extent or a condition: integer arithmetic and comparisons of constants, sizes and the
  // variables of outer loops.
  std::int64_t value_of(const Expr& e) {
    switch (e->op) {
      case Op::integer:
        return e->integer;
      case Op::size:
        return e->dim.evaluate(value_of_size_);
      case Op::variable:
        return variables_.at(e->variable.id);
      default:
        break;
    }
    std::vector<Scalar> args;
    for (const Expr& arg : e->args) args.push_back({0, value_of(arg)});
    if (args.empty() || is_float(e->dtype)) {
      throw InternalError("count_work: not for sizes alone to decide: " + to_string(e));
    }
    return evaluate(e->op, e->args[e->op == Op::select ? 1 : 0]->dtype, e->dtype, args.data())
        .integer;
  }

  const std::function<std::int64_t(const DimAtom&)>& value_of_size_;
  LetValues<Known> lets_;
  std::unordered_map<const Block*, Work> own_;
  std::unordered_set<int> loop_variables_;
  std::unordered_map<const Block*, bool> decides_;
  std::unordered_map<int, std::int64_t> variables_;
};

}  // namespace

Work count_work(const Kernel& kernel,
                const std::function<std::int64_t(const DimAtom&)>& value_of_size) {
  return Counter(value_of_size).block(place_values(with_arithmetic(kernel)).body);
}

double count_bytes(const Kernel& kernel, const Work& work,
                   const std::function<std::int64_t(const DimAtom&)>& value_of_size) {
  double bytes = 0;
  std::unordered_set<int> seen;
  for (const auto* list : {&kernel.inputs, &kernel.outputs}) {
    for (const BufferRef& buffer : *list) {
      if (!seen.insert(buffer->id).second) continue;
      const auto size = static_cast<double>(buffer->size.evaluate(value_of_size));
      for (const auto* counts : {&work.loads, &work.stores}) {
        const auto found = counts->find(buffer->id);
        if (found == counts->end()) continue;
        bytes += std::min(found->second, size) * static_cast<double>(size_of(buffer->dtype));
      }
    }
  }
  return bytes;
}

}  // namespace kroton::loop
