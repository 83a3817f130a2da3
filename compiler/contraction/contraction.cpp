#include "compiler/contraction/contraction.h"

namespace kroton {

Dim count(const AxisList& axes) {
  Dim result = 1;
  for (const Axis& axis : axes) result = result * axis.extent;
  return result;
}

Dim Contraction::work() const {
  const Dim results = count(batch) * count(rows) * count(columns);
  return results * count(inner) * Dim(2) + results * Dim(cost);
}

std::string Contraction::to_string() const {
  std::string text = "contraction " + std::string(name_of(dtype)) + "\n";
  const auto role = [&](const char* name, const AxisList& axes) {
    if (axes.empty()) return;
    text += "  " + std::string(name) + ":";
    for (const Axis& axis : axes) {
      text += " " + axis.variable.name + " < " + axis.extent.to_string();
    }
    text += "\n";
  };
  role("batch", batch);
  role("rows", rows);
  role("columns", columns);
  role("inner", inner);
  text += "  " + loop::to_string(a) + " * " + loop::to_string(b) + "\n";
  for (const loop::Store& store : stores) {
    text += "  " + store.buffer->name + "[" + loop::to_string(store.index) +
            "] = " + loop::to_string(store.value) + "\n";
  }
  return text;
}

std::optional<std::int64_t> stride(const loop::Expr& operand, const Axis& axis) {
  // What is converted while it is copied lies as it is stored.
  if (operand->op == loop::Op::cast && is_only_stored(operand->args[0]->dtype)) {
    return stride(operand->args[0], axis);
  }
  if (operand->op != loop::Op::load || loop::is_conditional(*operand)) return std::nullopt;
  const loop::Expr step = loop::stride_of(operand->args[0], axis.variable);
  std::int64_t elements = 0;
  if (!step || !loop::is_integer_constant(step, elements)) return std::nullopt;
  return elements;
}

bool is_contiguous(const loop::Expr& operand, const Axis& axis) {
  return stride(operand, axis) == 1;
}

loop::Block over_results(const Contraction& contraction, loop::Block body) {
  for (const AxisList* axes : {&contraction.columns, &contraction.rows, &contraction.batch}) {
    for (auto axis = axes->rbegin(); axis != axes->rend(); ++axis) {
      loop::For loop;
      loop.variable = axis->variable;
      loop.extent = loop::size(axis->extent);
      loop.body = std::move(body);
      loop.is_independent = true;
      body = {loop::statement(std::move(loop))};
    }
  }
  return body;
}

}  // namespace kroton
