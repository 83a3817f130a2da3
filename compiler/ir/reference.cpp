#include "compiler/ir/reference.h"

#include <algorithm>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "compiler/ir/leaf.h"
#include "runtime/visit.h"

namespace kroton {
namespace {

std::vector<std::int64_t> evaluate_all(const Dims& dims, const SizeBindings& sizes) {
  std::vector<std::int64_t> values;
  for (const Dim& dim : dims) values.push_back(evaluate(dim, sizes));
  return values;
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  return to_string(Dims(shape.begin(), shape.end()));
}

std::size_t count_of(const std::vector<std::int64_t>& shape) {
  std::size_t count = 1;
  for (const std::int64_t size : shape) count *= static_cast<std::size_t>(size);
  return count;
}

void check_constraints(const Node& node, const SizeBindings& sizes) {
  for (const SizeConstraint& constraint : node.constraints) {
    const std::int64_t left = evaluate(constraint.left, sizes);
    const std::int64_t right = evaluate(constraint.right, sizes);
    if (left != right) {
      if (!constraint.values.empty()) {
        throw ShapeError(
            constraint.text([&](const Dim& dim) { return std::to_string(evaluate(dim, sizes)); }));
      }
      throw ShapeError(constraint.message + ": " + std::to_string(left) + " and " +
                       std::to_string(right));
    }
  }
}

// A size may be negative where nothing that is checked says so: a function's call fails for it too.
void check_sizes(const Node& node, const std::vector<std::int64_t>& shape) {
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    if (shape[axis] >= 0) continue;
    throw ShapeError(std::string(node.op.name) + ": axis " + std::to_string(axis) +
                     " has the negative size " + std::to_string(shape[axis]) + "  [" +
                     to_string(node.line) + "]");
  }
}

// The shape is that of the type, and the data fill it.
void check_value(const Node& node, const ReferenceValue& value, const SizeBindings& sizes) {
  const std::vector<std::int64_t> expected = evaluate_all(node.type.shape, sizes);
  if (value.dtype != node.type.dtype || value.shape != expected ||
      value.data.size() != count_of(expected)) {
    throw InternalError(std::string(node.op.name) + ": the value has " +
                        std::to_string(value.data.size()) + " elements of " +
                        std::string(name_of(value.dtype)) + " " + shape_text(value.shape) +
                        ", its type " + to_string(node.type) + " is " + shape_text(expected) +
                        "  [" + to_string(node.line) + "]");
  }
}

thread_local const ReferenceObserver::Function* observer = nullptr;

// Every element as its dtype holds it.
void store(ReferenceValue& value) {
  for (Number& element : value.data) element = stored_as(value.dtype, element);
}

}  // namespace

void bind_sizes(const Node& variable, const std::vector<std::int64_t>& shape, SizeBindings& sizes) {
  const Dims& dims = variable.type.shape;
  bool fits = dims.size() == shape.size();
  for (std::size_t axis = 0; fits && axis < dims.size(); ++axis) {
    if (dims[axis].is_constant()) {
      fits = dims[axis].is_constant(shape[axis]);
    } else if (const DimAtomRef atom = dims[axis].as_variable()) {
      fits = sizes.try_emplace(atom->identity, shape[axis]).first->second == shape[axis];
    }
  }
  if (!fits) {
    throw ShapeError(variable.attributes.name + ": expected " + to_string(variable.type) +
                     ", got " + shape_text(shape) + "  [" + to_string(variable.line) + "]");
  }
}

std::int64_t evaluate(const Dim& dim, const SizeBindings& sizes) {
  return dim.evaluate([&](const DimAtom& atom) {
    const auto found = sizes.find(atom.identity);
    if (found == sizes.end()) {
      throw ValueError("size: no input fixes the size " + atom.name);
    }
    return found->second;
  });
}

std::vector<ReferenceValue> evaluate(std::span<const Tensor> outputs,
                                     const std::map<const Node*, ReferenceValue>& bindings,
                                     SizeBindings sizes) {
  const std::vector<Tensor> order = topological_order(outputs);
  std::unordered_map<const Node*, ReferenceValue> values;
  for (const auto& [node, value] : bindings) {
    bind_sizes(*node, value.shape, sizes);
    store(values.emplace(node, value).first->second);
  }
  for (const Tensor& tensor : order) {
    if (values.contains(&tensor.node())) continue;
    if (&tensor.node().op == &shared_op) {
      values.emplace(&tensor.node(),
                     from_array(tensor.node().attributes.state->snapshot("evaluate")));
    }
  }
  // Operands first; of an ifelse the condition, then the value taken, and the other one not at all.
  std::unordered_set<const Node*> done;
  std::vector<const Node*> pending;
  for (const Tensor& output : outputs) pending.push_back(&output.node());
  while (!pending.empty()) {
    const Node& node = *pending.back();
    if (done.contains(&node)) {
      pending.pop_back();
      continue;
    }
    if (const auto known = values.find(&node); known != values.end()) {
      check_value(node, known->second, sizes);
      done.insert(&node);
      continue;
    }
    const std::size_t before = pending.size();
    std::vector<const ReferenceValue*> inputs(node.inputs.size(), nullptr);
    for (std::size_t k = 0; k < node.inputs.size(); ++k) {
      if (node.op.kind == OpKind::branch && k > 0) {
        if (inputs[0] == nullptr || k != (inputs[0]->data[0] != 0 ? 1U : 2U)) continue;
      }
      const Node* input = &node.inputs[k].node();
      if (done.contains(input)) {
        inputs[k] = &values.at(input);
      } else {
        pending.push_back(input);
      }
    }
    if (pending.size() != before) continue;
    check_constraints(node, sizes);
    if (node.op.reference == nullptr) {
      throw InternalError(std::string(node.op.name) + ": the record has no reference");
    }
    ReferenceValue result{node.type.dtype, evaluate_all(node.type.shape, sizes), {}, {}};
    check_sizes(node, result.shape);
    result.data.assign(count_of(result.shape), 0.0);
    ReferenceContext context{node.attributes, std::move(inputs), result,
                             [&](const Dim& dim) { return evaluate(dim, sizes); }};
    node.op.reference(context);
    store(result);
    if (observer != nullptr && node.op.kind != OpKind::leaf) {
      (*observer)(node, context.inputs, result);
    }
    values.emplace(&node, std::move(result));
  }
  std::vector<ReferenceValue> results;
  for (const Tensor& output : outputs) results.push_back(values.at(&output.node()));
  return results;
}

ReferenceObserver::ReferenceObserver(Function function)
    : function_(std::move(function)), previous_(std::exchange(observer, &function_)) {}

ReferenceObserver::~ReferenceObserver() { observer = previous_; }

Number stored_as(DType dtype, const Number& value) {
  return visit_dtype(dtype, [&]<class T>(std::type_identity<T>) -> Number {
    if constexpr (std::is_floating_point_v<T>) {
      return static_cast<double>(value);
    } else if constexpr (is_floating_element<T>) {
      const auto of_whole = [&] { return static_cast<float>(value.whole()); };
      return static_cast<double>(value.is_whole() ? T(of_whole()) : T(static_cast<double>(value)));
    } else {
      return static_cast<T>(value);
    }
  });
}

ReferenceValue from_array(const Array& array) {
  ReferenceValue result{array.dtype(), {array.shape().begin(), array.shape().end()}, {}};
  visit_dtype(array.dtype(), [&]<class T>(std::type_identity<T>) {
    const Array elements = array.contiguous();
    for (const T x : elements.data<T>()) {
      if constexpr (is_floating_element<T>) {
        result.data.emplace_back(static_cast<double>(x));
      } else {
        result.data.emplace_back(x);
      }
    }
  });
  return result;
}

namespace {

template <class T>
T element(const Number& x) {
  if constexpr (is_floating_element<T>) {
    return T(static_cast<double>(x));
  } else {
    return static_cast<T>(x);
  }
}

}  // namespace

Array to_array(const ReferenceValue& value) {
  Array result = Array::empty(Shape(value.shape), value.dtype);
  visit_dtype(value.dtype, [&]<class T>(std::type_identity<T>) {
    std::transform(value.data.begin(), value.data.end(), result.data<T>().begin(),
                   [](const Number& x) { return element<T>(x); });
  });
  return result;
}

}  // namespace kroton
