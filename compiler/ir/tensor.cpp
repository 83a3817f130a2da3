#include <kroton/tensor.h>

#include <cstring>

#include "compiler/ir/leaf.h"
#include "runtime/device_copy.h"
#include "runtime/storage.h"

namespace kroton {

std::string to_string(const SourceLine& line) {
  if (*line.file == '\0') return "unknown line";
  const char* slash = std::strrchr(line.file, '/');
  return std::string(slash == nullptr ? line.file : slash + 1) + ":" + std::to_string(line.line);
}

// ---- Tensor.

const TensorType& Tensor::type_of(std::string_view asked, const Location& at) const {
  if (node_ == nullptr) fail_empty(asked, at);
  return node_->type;
}

const TensorType& Tensor::type(const Location& at) const& { return type_of("type", at); }

const Dim& Tensor::shape(int axis, const Location& at) const& {
  const Dims& sizes = type_of("shape", at).shape;
  const int rank = static_cast<int>(sizes.size());
  const int counted = axis < 0 ? axis + rank : axis;
  if (counted < 0 || counted >= rank) {
    const SourceLine line = LineScope::current().value_or(SourceLine{at.file_name(), at.line()});
    throw ValueError("shape: axis " + std::to_string(axis) + " is out of range for rank " +
                     std::to_string(rank) + ": " + name() + " is " + to_string(type()) + "  [" +
                     to_string(line) + "]");
  }
  return sizes[static_cast<std::size_t>(counted)];
}

SourceLine Tensor::line(const Location& at) const {
  if (node_ == nullptr) fail_empty("line", at);
  return node_->line;
}

std::string Tensor::name(const Location& at) const {
  if (node_ == nullptr) fail_empty("name", at);
  const std::string& given = node_->attributes.name;
  // Of a value that is checked it is the text of the error.
  const bool is_text = node_->op.has_points();
  return given.empty() || is_text ? std::string(node_->op.name) : given;
}

void Tensor::fail_empty(std::string_view asked, const Location& at) {
  fail_empty(asked, SourceLine{at.file_name(), at.line()});
}

void Tensor::fail_empty(std::string_view asked, const SourceLine& line) {
  const std::string_view function = LineScope::function();
  throw ValueError(std::string(function.empty() ? asked : function) +
                   ": a Tensor is empty: no expression has been assigned to it  [" +
                   to_string(LineScope::current().value_or(line)) + "]");
}

// ---- Operand.

Operand::Operand(const Array& constant, const Location& location)
    : line_{location.file_name(), location.line()} {
  tensor_ = make_constant(constant, line());
}

SourceLine Operand::line() const { return LineScope::current().value_or(line_); }

Tensor Operand::tensor(DType literal_dtype) const {
  if (!is_literal_) {
    if (!tensor_) Tensor::fail_empty("operand", line_);
    return tensor_;
  }
  if (is_above_i64_ && literal_dtype == DType::u64) {
    const auto value = static_cast<std::uint64_t>(integer_);
    return make_literal(Number(value), literal_dtype, line());
  }
  if (is_above_i64_ && !is_float(literal_dtype)) {
    throw TypeError("literal: the integer literal " + to_string(Array(real_)) + " does not fit " +
                    std::string(name_of(literal_dtype)) + "  [" + to_string(line()) + "]");
  }
  if (!is_floating_literal_ && !is_above_i64_) {
    return make_literal(integer_, literal_dtype, line());
  }
  if (!is_float(literal_dtype)) {
    throw TypeError("literal: expected a value of " + std::string(name_of(literal_dtype)) +
                    ", got the floating literal " + to_string(Array(real_)) + "  [" +
                    to_string(line()) + "]");
  }
  return make_literal(real_, literal_dtype, line());
}

Tensor Operand::tensor() const {
  if (!is_literal_) return tensor(DType::f32);
  if (is_boolean_literal_) return tensor(DType::boolean);
  if (is_floating_literal_) return make_weak_literal(real_, line());
  return is_above_i64_ ? tensor(DType::i64) : make_weak_literal(integer_, line());
}

// ---- LineScope.

namespace {
thread_local std::optional<SourceLine> current_line;
thread_local std::string_view current_function;
}  // namespace

LineScope::LineScope(SourceLine line, std::string_view function) : previous_(current_line) {
  if (!previous_) current_function = function;
  current_line = line;
}
LineScope::~LineScope() {
  current_line = previous_;
  if (!previous_) current_function = {};
}
std::optional<SourceLine> LineScope::current() { return current_line; }
std::string_view LineScope::function() { return current_function; }

// ---- Shared.

namespace {

Tensor make_shared_variable(const Array& value, std::string name, SourceLine line) {
  detail::require_host(value, "shared: " + name);
  Attributes attributes;
  attributes.dims.assign(value.shape().begin(), value.shape().end());
  attributes.dtype = value.dtype();
  attributes.name = std::move(name);
  attributes.state = std::make_shared<SharedState>(attributes.name, value.copy());
  return make_node(shared_op, {}, std::move(attributes), line);
}

}  // namespace

Shared::Shared(const Array& value, std::string name, SourceLine line)
    : Tensor(make_shared_variable(value, name.empty() ? "shared" : std::move(name), line)) {}

Shared::Shared(const Tensor& variable, const Location& at) : Tensor(variable) {
  if (variable.node(at).attributes.state) return;
  throw ValueError("Shared: " + variable.name() + " is no shared variable  [" +
                   to_string(SourceLine{at.file_name(), at.line()}) + "]");
}

const std::shared_ptr<SharedState>& Shared::state() const { return node().attributes.state; }

void SharedState::bring_to_host() {
  if (copy) copy->bring_to_host(value);
}

DeviceCopy& SharedState::on_device(const std::shared_ptr<Device>& device) {
  if (!copy || copy->device() != device) {
    bring_to_host();
    copy = std::make_shared<DeviceCopy>(device, value);
  }
  return *copy;
}

Array SharedState::snapshot(const std::string& who) {
  const LockRequest request{&lock, false};
  const HeldLocks held({&request, 1}, who);
  bring_to_host();
  return value.copy();
}

Array Shared::get_value() const { return state()->snapshot("get_value"); }

void Shared::set_value(const Array& value) {
  SharedState& current = *state();
  const TensorType given{value.dtype(), Dims(value.shape().begin(), value.shape().end())};
  const std::string mismatch =
      "set_value: " + current.name + " is " + to_string(type()) + ", got " + to_string(given);
  if (given.dtype != dtype()) throw TypeError(mismatch);
  if (given.shape != shape()) throw ShapeError(mismatch);
  detail::require_host(value, "set_value: " + current.name);
  Array copy = value.copy();
  const LockRequest request{&current.lock, true};
  const HeldLocks held({&request, 1}, "set_value");
  current.value = std::move(copy);
  if (current.copy) current.copy->written_on_host();
}

Shared shared(const Array& value, std::string name, const std::source_location& location) {
  return Shared(value, std::move(name), {location.file_name(), location.line()});
}

}  // namespace kroton
