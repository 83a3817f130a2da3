// Scans as nodes. A `scan` node stands for the run of its steps and has no value of its own; what
// is wanted of the run are nodes on it: `scan_last`, a state after the last step, and `scan_stack`,
// an expression of the body in every step. Asking for more therefore never changes the scan, and
// what nobody asks for is not stored. compiler/scan builds and differentiates them.
#include "compiler/ops/scan_op.h"

#include "compiler/ir/leaf.h"
#include "compiler/ir/reference.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"

namespace kroton {
namespace {

void equal_types(TypeContext& context, const TensorType& a, const TensorType& b,
                 const std::string& what) {
  if (a.dtype != b.dtype) context.fail_type(what + ": " + to_string(a) + " and " + to_string(b));
  if (a.rank() != b.rank()) context.fail_shape(what + ": " + to_string(a) + " and " + to_string(b));
  for (std::size_t axis = 0; axis < a.shape.size(); ++axis) {
    context.equal(a.shape[axis], b.shape[axis], what);
  }
}

TensorType scan_type(TypeContext& context) {
  const ScanView loop(context.attributes());
  const Body& body = *context.attributes().body;
  for (int k = 0; k < context.count(); ++k) {
    const Tensor& parameter = body.parameters[static_cast<std::size_t>(k)];
    TensorType given = context.input(k);
    if (k >= loop.states && k < loop.states + loop.rows) {
      if (given.rank() == 0) context.fail_shape("a sequence has no axis");
      const int row = k - loop.states;
      ops::check_range(context, k, 0, loop.offset(row), loop.stride(row), loop.count);
      given.shape.erase(given.shape.begin());
    }
    equal_types(context, given, parameter.type(), "the type of " + parameter.name() + " differs");
  }
  for (int k = 0; k < loop.states; ++k) {
    const auto at = static_cast<std::size_t>(k);
    equal_types(context, body.parameters[at].type(), body.results[at].type(),
                "the state " + body.parameters[at].name() + " changes its type");
  }
  return {DType::boolean, {0}};
}

ReferenceValue row_of(const ReferenceValue& all, std::int64_t row) {
  ReferenceValue result{all.dtype, {all.shape.begin() + 1, all.shape.end()}, {}, {}};
  std::int64_t count = 1;
  for (const std::int64_t size : result.shape) count *= size;
  const auto first = all.data.begin() + row * count;
  result.data.assign(first, first + count);
  return result;
}

// The values of all sizes that the body mentions.
SizeBindings sizes_in(const Body& body, const std::function<std::int64_t(const Dim&)>& size) {
  SizeBindings bindings;
  visit_sizes(body.results, [&](const DimAtomRef& atom) {
    bindings.emplace(atom->identity, size(Dim::from_terms({{1, {atom}}})));
  });
  return bindings;
}

void scan_reference(ReferenceContext& context) {
  const ScanView loop(context.attributes);
  const Body& body = *context.attributes.body;
  const SizeBindings sizes = sizes_in(body, context.size);
  std::vector<ReferenceValue> states;
  for (int k = 0; k < loop.states; ++k) {
    states.push_back(*context.inputs[static_cast<std::size_t>(k)]);
  }
  std::vector<ReferenceValue>& trace = context.output.trace;
  const std::int64_t count = context.size(loop.count);
  for (std::int64_t step = 0; step < count; ++step) {
    std::map<const Node*, ReferenceValue> values;
    for (int k = 0; k < static_cast<int>(context.inputs.size()); ++k) {
      const auto at = static_cast<std::size_t>(k);
      const int row = k - loop.states;
      trace.push_back(k < loop.states ? states[at]
                      : row < loop.rows
                          ? row_of(*context.inputs[at],
                                   context.size(loop.offset(row)) + loop.stride(row) * step)
                          : *context.inputs[at]);
      values.emplace(&body.parameters[at].node(), trace.back());
    }
    states = evaluate(std::span(body.results).first(states.size()), values, sizes);
  }
  trace.insert(trace.end(), states.begin(), states.end());
}

void last_reference(ReferenceContext& context) {
  const auto& trace = context.inputs[0]->trace;
  const auto from_end = static_cast<std::size_t>(context.attributes.integers[1]);
  context.output.data = trace[trace.size() - from_end].data;
}

void stack_reference(ReferenceContext& context) {
  const Body& body = *context.attributes.body;
  const SizeBindings sizes = sizes_in(body, context.size);
  const auto& trace = context.inputs[0]->trace;
  const std::int64_t count = context.output.shape[0];
  const bool backwards = context.attributes.integers[0] != 0;
  std::vector<Number> data;
  for (std::int64_t row = 0; row < count; ++row) {
    const std::int64_t step = backwards ? count - 1 - row : row;
    std::map<const Node*, ReferenceValue> values;
    for (std::size_t k = 0; k < body.parameters.size(); ++k) {
      values.emplace(&body.parameters[k].node(),
                     trace[static_cast<std::size_t>(step) * body.parameters.size() + k]);
    }
    const auto value = evaluate(body.results, values, sizes);
    data.insert(data.end(), value[0].data.begin(), value[0].data.end());
  }
  context.output.data = std::move(data);
}

}  // namespace

// Runs attributes.body, attributes.dims[0] times. Operands: the states' initial values, then whole
// sequences, then values that stay. body: one parameter for each operand (a state, a row, the value
// itself); results: the states' next values. dims[1 + k], integers[3 + k]: the row of sequence k
// that the first step gets, and how far the next step's is from it. integers[0], [1]: the number of
// states and of sequences; [2]: through how many last steps the gradient flows, -1: all. axes: not
// empty if the gradient keeps the states only and computes the rest again.   vjp: a scan backwards
// (compiler/scan/gradient.cpp); jvp: one beside it (compiler/scan/forward.cpp)
constinit const OpRecord scan_op = {.name = "scan",
                                    .kind = OpKind::scan,
                                    .arity = -1,
                                    .infer = scan_type,
                                    .vjp_results = differentiate_scan,
                                    .jvp_results = tangents_of_scan,
                                    .reference = scan_reference,
                                    .samples = scan_samples};

// The state integers[0] of a scan after its last step: its initial value when there is no step.
// integers[1]: the states from this one to the last. dims, dtype: the type.
constinit const OpRecord scan_last_op = {.name = "scan_last",
                                         .kind = OpKind::result,
                                         .infer = ops::stated_type,
                                         .reference = last_reference,
                                         .samples = scan_samples};

// body.results[0] in every step of the scan, in the body's parameters: (steps, ...), the first
// step's in the last row if integers[0] is 1. dims, dtype: the type.
constinit const OpRecord scan_stack_op = {.name = "scan_stack",
                                          .kind = OpKind::result,
                                          .infer = ops::stated_type,
                                          .reference = stack_reference,
                                          .samples = scan_samples};

ScanView::ScanView(const Attributes& of)
    : states(static_cast<int>(of.integers[0])),
      rows(static_cast<int>(of.integers[1])),
      count(of.dims[0]),
      attributes(of) {}

void ScanView::set(Attributes& attributes, const Dim& count, std::size_t states,
                   std::int64_t truncate) {
  attributes.dims = {count};
  attributes.integers = {static_cast<std::int64_t>(states), 0, truncate};
}

void ScanView::add_row(Attributes& attributes, const Dim& offset, std::int64_t stride) {
  attributes.dims.push_back(offset);
  attributes.integers.push_back(stride);
  ++attributes.integers[1];
}

void set_last(Attributes& attributes, int state, int states) {
  attributes.integers = {state, states - state};
}

bool is_backwards(const Attributes& stack) { return stack.integers.at(0) != 0; }

void set_backwards(Attributes& stack, bool backwards) { stack.integers = {backwards ? 1 : 0}; }

}  // namespace kroton
