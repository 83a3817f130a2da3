#include "compiler/ops/rules.h"

#include <algorithm>

#include "compiler/ops/records.h"
#include "compiler/ops/weak.h"

namespace kroton {

std::vector<int> Axes::resolve(int rank, const char* op) const {
  if (all_) {
    return ops::axes_from(0, rank);
  }
  std::vector<int> result;
  for (int axis : axes_) {
    result.push_back(ops::resolve_axis(axis, rank, op));
  }
  std::sort(result.begin(), result.end());
  const auto repeated = std::adjacent_find(result.begin(), result.end());
  if (repeated != result.end()) {
    ops::fail_value(op, "axis " + std::to_string(*repeated) + " is named twice");
  }
  return result;
}

namespace ops {

namespace {

SourceLine line_in_scope() { return LineScope::current().value_or(SourceLine{}); }

bool accepted(DType dtype, Accepts accepts) {
  switch (accepts) {
    case Accepts::floating:
      return is_float(dtype);
    case Accepts::numbers:
      return dtype != DType::boolean;
    case Accepts::booleans:
      return dtype == DType::boolean;
    case Accepts::anything:
      return true;
  }
  return true;
}

const char* describe(Accepts accepts) {
  switch (accepts) {
    case Accepts::floating:
      return "takes floating point only";
    case Accepts::numbers:
      return "takes numbers only";
    case Accepts::booleans:
      return "takes booleans only";
    case Accepts::anything:
      break;
  }
  return "takes any dtype";
}

}  // namespace

Tensor apply(const OpRecord& op, std::vector<Tensor> inputs, Attributes attributes) {
  return make_node(op, std::move(inputs), std::move(attributes), line_in_scope());
}

void require(const TypeContext& context, Accepts accepts) {
  for (int k = 0; k < context.count(); ++k) {
    if (!accepted(context.input(k).dtype, accepts)) {
      context.fail_type(describe(accepts));
    }
  }
}

std::string sizes_differ(int axis, int rank) {
  return rank <= 1 ? "sizes differ" : "sizes differ on axis " + std::to_string(axis);
}

Dims equal_shapes(TypeContext& context) {
  Dims shape = context.input(0).shape;
  for (int k = 1; k < context.count(); ++k) {
    const Dims& other = context.input(k).shape;
    if (other.size() != shape.size()) {
      context.fail_shape("ranks differ");
    }
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
      shape[axis] = context.equal(shape[axis], other[axis],
                                  sizes_differ(static_cast<int>(axis), context.input(0).rank()));
    }
  }
  return shape;
}

TensorType equal_types(TypeContext& context) {
  for (int k = 1; k < context.count(); ++k) {
    if (context.input(k).dtype != context.input(0).dtype) {
      context.fail_type("dtypes differ");
    }
  }
  return {context.input(0).dtype, equal_shapes(context)};
}

const ScanScope*& ScanScope::current() {
  thread_local const ScanScope* scope = nullptr;
  return scope;
}

namespace {

// The stack of a scan's steps that x is: of all of them, or, as a loop in stretches makes them on
// the loop's own line, put together of its parts. Null for other tensors.
const Node* stack_of(const Tensor& x) {
  const Node* node = &x.node();
  const SourceLine line = x.line();
  const auto at_line = [&](const Node& at) {
    return at.line.line == line.line && std::string_view(at.line.file) == line.file;
  };
  while ((&node->op == &concatenate_op || &node->op == &reshape_op) && at_line(*node)) {
    node = &node->inputs.front().node();
  }
  return &node->op == &scan_stack_op && at_line(*node) ? node : nullptr;
}

}  // namespace

std::string axis_in_words(const Tensor& x, int axis) {
  const Node* stack = axis == 0 ? stack_of(x) : nullptr;
  const bool is_stack = stack != nullptr;
  const std::string& given = is_stack ? stack->attributes.name : x.node().attributes.name;
  const std::string name = is_stack && given.empty() ? "scan" : is_stack ? given : x.name();
  return "axis " + std::to_string(axis) + " of " + name +
         (is_stack ? ", which made %0 steps" : ", whose size is %0");
}

namespace {

// A size that the count equals wherever it is not 0: max(n - 2, 0) is n - 2 there.
Dim where_positive(const Dim& count) {
  const DimAtomRef atom = count.as_atom();
  if (!atom) return count;
  if (atom->kind == DimAtom::Kind::count) return where_positive(atom->operands[0]);
  if (atom->kind == DimAtom::Kind::minimum) {
    return minimum(where_positive(atom->operands[0]), where_positive(atom->operands[1]));
  }
  if (atom->kind != DimAtom::Kind::maximum) return count;
  if (atom->operands[0].is_constant(0)) return where_positive(atom->operands[1]);
  if (atom->operands[1].is_constant(0)) return where_positive(atom->operands[0]);
  return count;
}

}  // namespace

void check_range(TypeContext& context, int k, int axis, const Dim& first, std::int64_t step,
                 const Dim& count) {
  if (count.is_constant(0)) return;
  const Dim& size = context.input(k).shape[static_cast<std::size_t>(axis)];
  const auto last = [&](const Dim& steps) { return first + Dim(step) * (steps - Dim(1)); };
  const Dim positive = where_positive(count);
  const Dim lowest = step > 0 ? first : last(positive);
  const Dim highest = step > 0 ? last(positive) : first;
  // Nothing is asked of no positions.
  const Dim any = minimum(count, 1);
  const ScanScope* loop = ScanScope::current();
  const auto require = [&](const Dim& beyond, const Dim& position) {
    if (loop != nullptr) {
      const bool plain = position == loop->steps - Dim(1);
      context.require_equal(any * maximum(beyond, 0), 0,
                            loop->name + ": sequence " + context.tensor(k).name() +
                                " has %0 rows, n_steps is %1" + (plain ? "" : ": row %2 is read"),
                            {size, loop->steps, position});
      return;
    }
    context.require_equal(any * maximum(beyond, 0), 0,
                          "slice: position %1 is not on " + axis_in_words(context.tensor(k), axis),
                          {size, position});
  };
  if (!provably_at_least(size, highest + Dim(1))) require(highest + Dim(1) - size, highest);
  if (!provably_at_least(lowest, 0)) require(Dim(0) - lowest, lowest);
}

void fail_value(std::string_view op, const std::string& what) {
  std::string message = std::string(op) + ": " + what;
  if (const auto line = LineScope::current()) {
    message += "  [" + to_string(*line) + "]";
  }
  throw ValueError(message);
}

void fail_shape(const OpRecord& op, const std::vector<Tensor>& operands, const std::string& what) {
  const Attributes attributes;
  TypeContext(op, operands, attributes, line_in_scope()).fail_shape(what);
}

void fail_type(const OpRecord& op, const std::vector<Tensor>& operands, const std::string& what) {
  const Attributes attributes;
  TypeContext(op, operands, attributes, line_in_scope()).fail_type(what);
}

int resolve_axis(int axis, int rank, std::string_view op) {
  if (axis < -rank || axis >= rank) {
    fail_value(
        op, "axis " + std::to_string(axis) + " is out of range for rank " + std::to_string(rank));
  }
  return axis < 0 ? axis + rank : axis;
}

std::vector<Tensor> promoted(const Operand& x, const Operand& y) {
  // A literal beside a tensor with a dtype of its own takes that; it must fit. An integer literal
  // has no place among booleans: it keeps its own dtype, and promotes.
  const auto taken = [](const Operand& operand, const Operand& other) {
    if (!operand.is_literal() || other.is_literal()) return operand.tensor();
    const Tensor tensor = other.tensor();
    if (tensor.node().weak) return operand.tensor();
    const bool widens = tensor.dtype() == DType::boolean && is_integer(operand.tensor().dtype());
    return widens ? operand.tensor() : operand.tensor(tensor.dtype());
  };
  return promoted(std::vector<Tensor>{taken(x, y), taken(y, x)});
}

std::vector<Tensor> promoted(std::vector<Tensor> tensors) {
  const CommonType type = common_type(tensors);
  for (Tensor& tensor : tensors) tensor = converted(tensor, type);
  return tensors;
}

Dims common_shape(const OpRecord& op, const std::vector<Tensor>& operands,
                  const std::vector<Dims>& shapes) {
  std::size_t rank = 0;
  for (const Dims& shape : shapes) {
    rank = std::max(rank, shape.size());
  }
  Dims result(rank, Dim(1));
  for (const Dims& shape : shapes) {
    const std::size_t offset = rank - shape.size();
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
      Dim& size = result[axis + offset];
      if (size.is_constant(1)) {
        size = shape[axis];
      } else if (size != shape[axis] && size.is_constant() && shape[axis].is_constant() &&
                 !shape[axis].is_constant(1)) {
        fail_shape(op, operands,
                   sizes_differ(static_cast<int>(axis + offset), static_cast<int>(rank)));
      }
    }
  }
  return result;
}

Tensor broadcast_towards(const Tensor& x, const Dims& shape) {
  const std::size_t offset = shape.size() - x.shape().size();
  Dims target = shape;
  for (std::size_t axis = 0; axis < x.shape().size(); ++axis) {
    if (!x.shape()[axis].is_constant(1)) {
      target[axis + offset] = x.shape()[axis];
    }
  }
  return broadcast_axes(x, target, axes_from(static_cast<int>(offset), x.rank()));
}

std::vector<Tensor> broadcast(const OpRecord& op, std::vector<Tensor> tensors) {
  std::vector<Dims> shapes;
  for (const Tensor& tensor : tensors) {
    shapes.push_back(tensor.shape());
  }
  const Dims shape = common_shape(op, tensors, shapes);
  for (Tensor& tensor : tensors) {
    tensor = broadcast_towards(tensor, shape);
  }
  return tensors;
}

Tensor apply_unary(const OpRecord& op, const Operand& x) {
  const LineScope scope(x.line(), op.name);
  return apply(op, {x.tensor()});
}

Tensor apply_binary(const OpRecord& op, const Operand& x, const Operand& y) {
  const LineScope scope(x.line(), op.name);
  return apply(op, broadcast(op, promoted(x, y)));
}

Tensor broadcast_axes(const Tensor& x, const Dims& shape, std::vector<int> axes) {
  if (x.shape() == shape) {
    return x;
  }
  Attributes attributes;
  attributes.dims = shape;
  attributes.axes = std::move(axes);
  return apply(broadcast_op, {x}, std::move(attributes));
}

Tensor unreduce(const Tensor& reduced, const Dims& shape, const std::vector<int>& axes) {
  return broadcast_axes(reduced, shape, other_axes(static_cast<int>(shape.size()), axes));
}

Tensor keep_axes(const Tensor& reduced, const Dims& shape, const std::vector<int>& axes) {
  return reshape(reduced, with_ones(shape, axes));
}

std::vector<int> other_axes(int rank, const std::vector<int>& axes) {
  std::vector<int> result;
  for (int axis = 0; axis < rank; ++axis) {
    if (std::find(axes.begin(), axes.end(), axis) == axes.end()) {
      result.push_back(axis);
    }
  }
  return result;
}

Dims with_ones(Dims shape, const std::vector<int>& axes) {
  for (int axis : axes) {
    shape[static_cast<std::size_t>(axis)] = 1;
  }
  return shape;
}

Dims replace_axis(const Dims& shape, int axis, const Dims& sizes) {
  Dims result(shape.begin(), shape.begin() + axis);
  result.insert(result.end(), sizes.begin(), sizes.end());
  result.insert(result.end(), shape.begin() + axis + 1, shape.end());
  return result;
}

std::vector<int> axes_from(int first, int count) {
  std::vector<int> result;
  for (int k = 0; k < count; ++k) {
    result.push_back(first + k);
  }
  return result;
}

Tensor strided_slice(const Tensor& x, const Dims& starts, const Dims& sizes,
                     std::vector<std::int64_t> steps) {
  Attributes attributes;
  attributes.dims = starts;
  attributes.dims.insert(attributes.dims.end(), sizes.begin(), sizes.end());
  attributes.integers = std::move(steps);
  return apply(slice_op, {x}, std::move(attributes));
}

Tensor unslice(const Tensor& x, const Dims& starts, const Dims& shape,
               std::vector<std::int64_t> steps) {
  Attributes attributes;
  attributes.dims = starts;
  attributes.dims.insert(attributes.dims.end(), shape.begin(), shape.end());
  attributes.integers = std::move(steps);
  return apply(unslice_op, {x}, std::move(attributes));
}

Dims with_rows(const Dim& count, const Dims& shape) {
  Dims result = {count};
  result.insert(result.end(), shape.begin(), shape.end());
  return result;
}

std::vector<Tensor> with_rows(std::span<const Tensor> operands, const std::vector<bool>& mapped,
                              const Dim& count) {
  std::vector<Tensor> result;
  for (std::size_t k = 0; k < operands.size(); ++k) {
    const Tensor& x = operands[k];
    result.push_back(
        mapped[k] ? x : broadcast_axes(x, with_rows(count, x.shape()), axes_from(1, x.rank())));
  }
  return result;
}

std::vector<int> axes_behind_rows(std::vector<int> axes) {
  for (int& axis : axes) {
    ++axis;
  }
  return axes;
}

Attributes bounds_behind_rows(Attributes attributes, const Dim& count) {
  const auto rank = static_cast<std::ptrdiff_t>(attributes.integers.size());
  attributes.dims.insert(attributes.dims.begin() + rank, count);
  attributes.dims.insert(attributes.dims.begin(), Dim(0));
  attributes.integers.insert(attributes.integers.begin(), 1);
  return attributes;
}

Tensor move_axis(const Tensor& x, int from, int to) {
  std::vector<int> axes = other_axes(x.rank(), {from});
  axes.insert(axes.begin() + to, from);
  return axes.empty() ? x : transpose(x, axes);
}

}  // namespace ops
}  // namespace kroton
