#include <kroton/tensor.h>

#include <cstring>
#include <mutex>
#include <shared_mutex>

#include "compiler/ops/leaf.h"
#include "runtime/device_copy.h"

namespace kroton {

std::string to_string(const SourceLine& line) {
  if (*line.file == '\0') return "unknown line";
  const char* slash = std::strrchr(line.file, '/');
  return std::string(slash == nullptr ? line.file : slash + 1) + ":" + std::to_string(line.line);
}

// ---- Tensor.

const TensorType& Tensor::type() const { return node_->type; }

SourceLine Tensor::line() const { return node_->line; }

std::string Tensor::name() const {
  const std::string& given = node_->attributes.name;
  return given.empty() ? std::string(node_->op.name) : given;
}

// ---- Operand.

Operand::Operand(const Array& constant, const Location& location)
    : line_{location.file_name(), location.line()} {
  tensor_ = make_constant(constant, line());
}

SourceLine Operand::line() const { return LineScope::current().value_or(line_); }

Tensor Operand::tensor(DType literal_dtype) const {
  if (tensor_) return tensor_;
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
  if (tensor_) return tensor_;
  if (is_boolean_literal_) return tensor(DType::boolean);
  if (is_floating_literal_) return make_weak_literal(real_, line());
  return is_above_i64_ ? tensor(DType::i64) : make_weak_literal(integer_, line());
}

// ---- LineScope.

namespace {
thread_local std::optional<SourceLine> current_line;
}  // namespace

LineScope::LineScope(SourceLine line) : previous_(current_line) { current_line = line; }
LineScope::~LineScope() { current_line = previous_; }
std::optional<SourceLine> LineScope::current() { return current_line; }

// ---- Shared.

namespace {

Tensor make_shared_variable(const Array& value, std::string name, SourceLine line) {
  Attributes attributes;
  attributes.dims.assign(value.shape().begin(), value.shape().end());
  attributes.dtype = value.dtype();
  attributes.name = std::move(name);
  attributes.state = std::make_shared<SharedState>();
  attributes.state->name = attributes.name;
  attributes.state->value = value.copy();
  return make_node(shared_op, {}, std::move(attributes), line);
}

}  // namespace

Shared::Shared(const Array& value, std::string name, SourceLine line)
    : Tensor(make_shared_variable(value, name.empty() ? "shared" : std::move(name), line)) {}

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

Array Shared::get_value() const {
  SharedState& current = *state();
  const std::shared_lock lock(current.mutex);
  current.bring_to_host();
  return current.value.copy();
}

void Shared::set_value(const Array& value) {
  SharedState& current = *state();
  const TensorType given{value.dtype(), Dims(value.shape().begin(), value.shape().end())};
  const std::string mismatch =
      "set_value: " + current.name + " is " + to_string(type()) + ", got " + to_string(given);
  if (given.dtype != dtype()) throw TypeError(mismatch);
  if (given.shape != shape()) throw ShapeError(mismatch);
  Array copy = value.copy();
  const std::unique_lock lock(current.mutex);
  current.value = std::move(copy);
  if (current.copy) current.copy->written_on_host();
}

Shared shared(const Array& value, std::string name, const std::source_location& location) {
  return Shared(value, std::move(name), {location.file_name(), location.line()});
}

}  // namespace kroton
