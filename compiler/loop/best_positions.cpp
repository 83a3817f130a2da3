#include "compiler/loop/best_positions.h"

#include <algorithm>
#include <limits>

#include "compiler/loop/sum_blocks.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {

Expr is_better(bool maximum, const Expr& value, const Expr& best, const Expr& at,
               const Expr& position) {
  const Expr earlier = binary(Op::lt, at, position);
  const Expr beats = maximum ? binary(Op::lt, best, value) : binary(Op::lt, value, best);
  const Expr tie = binary(Op::logical_and, binary(Op::eq, value, best), earlier);
  Expr better = binary(Op::logical_or, beats, tie);
  if (!is_float(value->dtype)) return better;
  const Expr known = binary(Op::eq, best, best);
  const Expr first_nan =
      binary(Op::logical_and, binary(Op::ne, value, value), binary(Op::logical_or, known, earlier));
  return binary(Op::logical_or, better, first_nan);
}

Expr as_position(const Expr& e, DType to) {
  if (e->dtype == to || !is_integer(e->dtype)) return e;
  const auto none = [](DType dtype) {
    const int unused = info_of(DType::i64).digits - info_of(dtype).digits;
    return integer(std::numeric_limits<std::int64_t>::max() >> unused, dtype);
  };
  return select(binary(Op::eq, e, none(e->dtype)), none(to), cast(e, to));
}

bool is_narrow_position(const std::vector<const For*>& reductions, const Variable& position) {
  std::vector<const For*> loops = reductions;
  bool is_noted = false, narrow = true;
  for (const For* nest : reductions) {
    visit_statements(nest->body, [&](const Stmt& s) {
      if (const For* inner = as_for(s)) loops.push_back(inner);
    });
  }
  const auto fits = [&](const Expr& at) {
    return at->op == Op::variable && std::any_of(loops.begin(), loops.end(), [&](const For* f) {
             return f->variable == at->variable &&
                    !exceeds(f->extent, integer(std::numeric_limits<std::int32_t>::max()));
           });
  };
  for (const For* nest : reductions) {
    visit_statements(nest->body, [&](const Stmt& s) {
      const auto* arg = std::get_if<AccumulateArg>(&s);
      if (arg == nullptr || !(arg->position == position)) return;
      is_noted = true;
      narrow = narrow && fits(arg->at);
    });
  }
  return is_noted && narrow;
}

}  // namespace kroton::loop
