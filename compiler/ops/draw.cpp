#include "compiler/ops/draw.h"

#include <algorithm>

namespace kroton::ops {

namespace {

std::vector<DType> dtypes_of(Accept accept, bool all) {
  std::vector<DType> dtypes;
  for (const DTypeInfo& info : dtype_table) {
    const bool is_sampled = info.kind == DTypeKind::boolean ||
                            (info.kind != DTypeKind::unsigned_integer && info.bytes >= 4);
    if (accept(info.dtype) && (all || is_sampled)) dtypes.push_back(info.dtype);
  }
  return dtypes;
}

}  // namespace

std::vector<DType> dtypes_of(Accept accept) { return dtypes_of(accept, false); }
std::vector<DType> all_dtypes_of(Accept accept) { return dtypes_of(accept, true); }

Argument Draw::literal(Slot x) {
  constexpr double reals[] = {0, 1, -1, 0.5, 2, -3, 0.1, -0.5, 1e-3};
  constexpr std::int64_t whole[] = {0, 1, -1, 2, 3, -5};
  if (is_float((*this)[x].dtype())) return reals[below(std::size(reals))];
  return whole[below(std::size(whole))];
}

int Draw::axis(Slot x) {
  const int rank = (*this)[x].rank();
  const int axis = below(rank);
  return one_in(3) ? axis - rank : axis;
}

Operand Draw::pass(const Argument& a, Operands operands, For<const Operand&>) {
  if (const auto* slot = std::get_if<Slot>(&a)) {
    return operands[static_cast<std::size_t>(slot->number)];
  }
  if (const auto* real = std::get_if<double>(&a)) return *real;
  return std::get<std::int64_t>(a);
}

Axes Draw::pass(const Argument& a, Operands, For<const Axes&>) {
  if (std::holds_alternative<std::monostate>(a)) return {};
  return Axes(std::get<std::vector<int>>(a));
}

std::optional<int> Draw::pass(const Argument& a, Operands, For<std::optional<int>>) {
  if (std::holds_alternative<std::monostate>(a)) return std::nullopt;
  return std::get<int>(a);
}

std::vector<Tensor> Draw::pass(const Argument& a, Operands operands,
                               For<const std::vector<Tensor>&>) {
  std::vector<Tensor> result;
  for (const Slot slot : std::get<std::vector<Slot>>(a)) {
    result.push_back(operands[static_cast<std::size_t>(slot.number)]);
  }
  return result;
}

Call index_call(Slot x, std::vector<Cut> cuts) {
  const auto bound = [](const std::optional<Dim>& position) -> SliceBound {
    if (position) return *position;
    return end;
  };
  const auto apply = [bound](std::span<const Argument> arguments,
                             std::span<const Tensor> operands) {
    const auto tensor = [&](Slot slot) { return operands[static_cast<std::size_t>(slot.number)]; };
    std::vector<IndexItem> items;
    for (const Cut& cut : std::get<std::vector<Cut>>(arguments[1])) {
      switch (cut.kind) {
        case Cut::Kind::whole:
          items.emplace_back(all);
          break;
        case Cut::Kind::part:
          items.emplace_back(slice(bound(cut.start), bound(cut.stop), cut.step));
          break;
        case Cut::Kind::position:
          items.emplace_back(cut.position);
          break;
        case Cut::Kind::tensor:
          items.emplace_back(tensor(cut.slot));
          break;
      }
    }
    return index(tensor(std::get<Slot>(arguments[0])), items);
  };
  return {"index", {x, std::move(cuts)}, apply};
}

PerAxis random_numbers(Draw& d, int axes, int most) {
  std::vector<std::int64_t> numbers;
  for (int axis = 0; axis < axes; ++axis) numbers.push_back(1 + d.below(most));
  return PerAxis(numbers);
}

void draw_unary(Draw& d, std::string name, UnaryFunction function, Accept accept) {
  d.call(std::move(name), function, d.operand(accept));
}

void draw_binary(Draw& d, const std::string& name, BinaryFunction function, Accept accept) {
  const Slot x = d.operand(accept);
  const bool literals = d[x].dtype() != DType::boolean;
  switch (d.below(literals ? 8 : 6)) {
    case 0:
      d.call(name, function, x, x);
      break;
    case 6:
      d.call(name, function, x, d.literal(x));
      break;
    case 7:
      d.call(name, function, d.literal(x), x);
      break;
    case 1:
    case 2: {
      const Slot y = d.partner(x, accept);
      d.call(name, function, y, x);
      break;
    }
    default:
      d.call(name, function, x, d.partner(x, accept));
  }
}

void draw_reduction(Draw& d, const char* name, ReduceFunction function, Accept accept) {
  const Slot x = d.operand(accept, d.one_in(8) ? 0 : 1);
  const bool keepdims = d.one_in(3);
  const int rank = d[x].rank();
  if (rank == 0 || d.one_in(3)) {
    d.call(name, function, x, std::monostate(), keepdims);
    return;
  }
  std::vector<int> axes = {d.axis(x)};
  if (rank > 1 && d.one_in(4)) {
    const int other = d.below(rank);
    if (other != axes[0] && other != axes[0] + rank) axes.push_back(other);
  }
  d.call(name, function, x, std::move(axes), keepdims);
}

void draw_position(Draw& d, const char* name, PositionFunction function) {
  const Slot x = d.operand(number, 1);
  const bool keepdims = d.one_in(4);
  if (d.one_in(4)) {
    d.call(name, function, x, std::monostate(), keepdims);
  } else {
    d.call(name, function, x, d.axis(x), keepdims);
  }
}

void draw_along_axis(Draw& d, const char* name, Tensor (*function)(const Operand&, int),
                     Accept accept) {
  const Slot x = d.operand(accept, 1);
  d.call(name, function, x, d.axis(x));
}

}  // namespace kroton::ops
