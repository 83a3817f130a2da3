#include "compiler/ir/op.h"

#include "compiler/ir/leaf.h"
#include "compiler/ir/user_function.h"

namespace kroton {

std::string TypeContext::describe_inputs() const {
  std::string text;
  for (const Tensor& input : inputs_) {
    text += (text.empty() ? "" : ", ") + input.name() + " is " + to_string(input.type());
  }
  return text;
}

void TypeContext::fail_shape(const std::string& what) const {
  const std::string inputs = describe_inputs();
  throw ShapeError(std::string(op_.name) + ": " + what + (inputs.empty() ? "" : ": ") + inputs +
                   "  [" + to_string(line_) + "]");
}

void TypeContext::fail_type(const std::string& what) const {
  const std::string inputs = describe_inputs();
  throw TypeError(std::string(op_.name) + ": " + what + (inputs.empty() ? "" : ": ") + inputs +
                  "  [" + to_string(line_) + "]");
}

const StepScope*& StepScope::current() {
  thread_local const StepScope* scope = nullptr;
  return scope;
}

StepScope::StepScope(std::string scan, SourceLine line, std::vector<State> states, const Dim& count)
    : scan_(std::move(scan) + "  [" + to_string(line) + "]"),
      states_(std::move(states)),
      line_(line),
      count_(count),
      outer_(current()) {
  current() = this;
}

StepScope::~StepScope() { current() = outer_; }

const Tensor& StepScope::number() const {
  if (!number_) number_ = make_input("step", {DType::i64, {}}, line_, InputRole::row);
  return number_;
}

std::string StepScope::where(const Dim& a, const Dim& b) {
  for (const StepScope* scope = current(); scope != nullptr; scope = scope->outer_) {
    for (const State& state : scope->states_) {
      for (const Dim& size : state.type.shape) {
        if (!(size == a) && !(size == b)) continue;
        return ", in " + scope->scan_ + ", where " + state.name + " is " + to_string(state.type);
      }
    }
  }
  return "";
}

namespace {
thread_local bool sizes_are_unified = false;
}

UnifiedSizes::UnifiedSizes() : outer_(std::exchange(sizes_are_unified, true)) {}
UnifiedSizes::~UnifiedSizes() { sizes_are_unified = outer_; }
bool UnifiedSizes::any() { return sizes_are_unified; }

void TypeContext::refuse_empty(const Dim& size, const std::string& what) const {
  if (size.is_constant(0) && !UnifiedSizes::any()) fail_shape(what);
}

Dim TypeContext::equal(const Dim& a, const Dim& b, const std::string& what) {
  const Dim difference = a - b;
  if (difference.is_constant(0)) return a;
  if (difference.is_constant()) fail_shape(what);  // n and n + 1 are never equal either
  const std::string where = StepScope::where(a, b);
  constraints_.push_back({a, b,
                          user_function(op_) + ": " + what + ": " + a.to_string() + " and " +
                              b.to_string() + (where.empty() ? "" : ": " + describe_inputs()) +
                              "  [" + to_string(line_) + "]" + where});
  return b.is_constant() ? b : a;
}

void TypeContext::require_equal(const Dim& a, const Dim& b, const std::string& message,
                                Dims values) {
  if (a == b) return;
  SizeConstraint constraint{a, b, message + "  [" + to_string(line_) + "]", std::move(values)};
  if ((a - b).is_constant()) {
    throw ShapeError(constraint.text([](const Dim& dim) { return dim.to_string(); }));
  }
  constraints_.push_back(std::move(constraint));
}

bool overlaps_little(const ContractionRoles& roles, const Dims& result) {
  Dim places = 1, positions = 1;
  for (const ContractionRoles::Window& window : roles.windows) {
    places = places * roles.inner[window.inner];
    positions = positions * result[window.axis];
  }
  if (roles.windows.empty() || !places.is_constant()) return false;
  return !positions.is_constant() || places.constant() <= positions.constant();
}

bool may_fail(const OpRecord& op, const Attributes& attributes) {
  if (op.observable || !attributes.body) return op.observable;
  const std::vector<Tensor> inside = topological_order(attributes.body->results);
  return std::any_of(inside.begin(), inside.end(),
                     [](const Tensor& t) { return may_fail(t.node().op, t.node().attributes); });
}

}  // namespace kroton
