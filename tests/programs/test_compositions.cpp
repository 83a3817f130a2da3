// Every op's samples under composition: operands that come through a view, a gather or costly work,
// results that go through one, the op in a loop's step and under an ifelse. Against the reference
// interpreter. The last test case counts the pairs of ops that fusion has put into one kernel.
#include <doctest/doctest.h>
#include <kroton/scan.h>

#include <functional>
#include <map>
#include <set>

#include "compiler/fusion/fusion.h"
#include "compiler/passes/passes.h"
#include "tests/tools/quick_code.h"
#include "tests/tools/sample_tools.h"

using namespace compiled_test;  // NOLINT: tests
using namespace op_test;        // NOLINT: tests

namespace {

using Values = std::vector<std::pair<Tensor, ReferenceValue>>;  // inputs and what they are

// An operand's value by other means than a variable: the tensor, with the variables it needs.
using Source = std::function<Tensor(const ReferenceValue& value, Values& variables)>;

Tensor variable(const ReferenceValue& value, Values& variables) {
  const Dims shape(value.shape.begin(), value.shape.end());
  const std::string name = "v" + std::to_string(variables.size());
  const Tensor tensor = make_input(name, {value.dtype, shape}, {__FILE__, __LINE__});
  variables.emplace_back(tensor, value);
  return tensor;
}

// The value of an expression of one variable of that value.
ReferenceValue made_of(const ReferenceValue& value,
                       const std::function<Tensor(const Tensor&)>& make) {
  const Dims shape(value.shape.begin(), value.shape.end());
  const Tensor x = make_input("x", {value.dtype, shape}, {__FILE__, __LINE__});
  return value_of(make(x), {{&x.node(), value}});
}

Tensor reversed(const Tensor& x) {
  if (x.rank() == 0) return x;
  const IndexItem items[] = {slice(end, end, -1)};
  return index(x, items);
}

Array countdown(std::int64_t count) {
  Array result = Array::zeros({count}, i64);
  for (std::int64_t i = 0; i < count; ++i) {
    result.data<std::int64_t>()[static_cast<std::size_t>(i)] = count - 1 - i;
  }
  return result;
}

Tensor through_transpose(const ReferenceValue& value, Values& variables) {
  return transpose(variable(made_of(value, [](auto& x) { return transpose(x); }), variables));
}

Tensor through_slice(const ReferenceValue& value, Values& variables) {
  return reversed(variable(made_of(value, reversed), variables));
}

// Rows by number, the numbers a variable.
Tensor through_gather(const ReferenceValue& value, Values& variables) {
  if (value.shape.empty()) return variable(value, variables);
  const Tensor rows = variable(made_of(value, reversed), variables);
  const Tensor order = variable(from_array(countdown(value.shape[0])), variables);
  return take(rows, order);
}

// One row of a table whose rows are all the same.
Tensor through_broadcast(const ReferenceValue& value, Values& variables) {
  if (value.dtype == DType::boolean) return variable(value, variables);
  const Tensor x = variable(value, variables);
  Dims table = x.shape();
  table.insert(table.begin(), 3);
  const Tensor repeated = broadcast_to(x, table);
  return max(repeated, 0);
}

// Work that fusion computes once, and that changes nothing: x * cos(0).
Tensor through_costly_work(const ReferenceValue& value, Values& variables) {
  const Tensor x = variable(value, variables);
  if (!is_float(value.dtype)) return x;
  ReferenceValue zero = value;
  zero.data.assign(value.data.size(), 0.0);
  return x * cos(variable(zero, variables));
}

// The same, read through a view of the shape it has: what fusion may not keep at another index.
Tensor through_turned_work(const ReferenceValue& value, Values& variables) {
  if (!is_float(value.dtype) || value.shape.empty()) return variable(value, variables);
  return reversed(through_costly_work(made_of(value, reversed), variables));
}

// The epilogue of a product with the identity.
Tensor through_product(const ReferenceValue& value, Values& variables) {
  if (!is_float(value.dtype) || value.shape.size() != 2) return variable(value, variables);
  const std::int64_t n = value.shape[1];
  ReferenceValue identity{
      value.dtype, {n, n}, std::vector<Number>(static_cast<std::size_t>(n * n))};
  for (std::int64_t i = 0; i < n; ++i) identity.data[static_cast<std::size_t>(i * (n + 1))] = 1;
  const Tensor x = variable(value, variables);
  return dot(x, variable(identity, variables));
}

const std::vector<std::pair<const char*, Source>>& sources() {
  static const std::vector<std::pair<const char*, Source>> list = {
      {"a variable", variable},
      {"a transpose", through_transpose},
      {"a slice", through_slice},
      {"a gather", through_gather},
      {"a broadcast", through_broadcast},
      {"costly work", through_costly_work},
      {"costly work read backwards", through_turned_work},
      {"a product", through_product}};
  return list;
}

// What is made of a result.
std::vector<Tensor> uses_of(const Tensor& y, Values& variables) {
  std::vector<Tensor> uses = {y};
  if (y.rank() > 0) {
    uses.push_back(transpose(y));
    uses.push_back(reversed(y));
    if (!y.shape(0).is_constant(0)) {
      uses.push_back(take(y, variable(from_array(countdown(y.shape(0).constant())), variables)));
    }
  }
  if (y.dtype() == DType::boolean) {
    uses.push_back(~y);
    return uses;
  }
  uses.push_back(y + sum(y));  // with the whole of it beside it
  if (y.rank() > 0) uses.push_back(transpose(y) - transpose(y * y));
  if (is_float(y.dtype())) uses.push_back(tanh(y) * 2 + exp(-abs(y)));
  return uses;
}

// The op in a step: the operands are rows, all the same, of sequences of three.
Tensor in_a_loop(const Sample& sample, Values& variables) {
  std::vector<Sequence> rows;
  for (const ReferenceValue& value : sample.inputs) {
    ReferenceValue table{value.dtype, value.shape, {}};
    table.shape.insert(table.shape.begin(), 3);
    for (int k = 0; k < 3; ++k) {
      table.data.insert(table.data.end(), value.data.begin(), value.data.end());
    }
    rows.emplace_back(variable(table, variables));
  }
  ScanOptions options{.sequences = rows};
  if (rows.empty()) options.n_steps = 3;
  const Tensor start = variable({DType::i64, {}, {0}}, variables);
  options.outputs_info = {State(none), State(start)};
  // A state makes it a loop that stays one.
  const auto outputs = scan(
      [&](std::span<const Tensor> a) {
        return std::vector<Tensor>{sample.apply(a.first(a.size() - 1)), a.back() + 1};
      },
      options);
  return outputs[0];
}

// The samples that are composed: the largest of each floating dtype, and of another one.
std::vector<Sample> chosen_samples(const OpRecord& op) {
  std::map<int, Sample> largest;
  const auto size = [](const Sample& sample) {
    std::size_t count = 0;
    for (const ReferenceValue& value : sample.inputs) count += value.data.size();
    return count;
  };
  for (const Sample& sample : op.samples()) {
    const DType dtype = sample.inputs.empty() ? DType::i64 : sample.inputs[0].dtype;
    const int kind = dtype == DType::f32 ? 0 : dtype == DType::f64 ? 1 : 2;
    const auto [place, first] = largest.emplace(kind, sample);
    if (!first && size(sample) > size(place->second)) place->second = sample;
  }
  std::vector<Sample> result;
  for (const auto& [kind, sample] : largest) result.push_back(sample);
  return result;
}

Case as_case(Values variables, Tensor output) {
  Case result;
  for (auto& [tensor, value] : variables) {
    result.inputs.push_back(tensor);
    result.bindings[&tensor.node()] = std::move(value);
  }
  result.output = std::move(output);
  return result;
}

std::vector<Trial> compositions(const OpRecord& op) {
  // Sums and products of f32 in another order, of values up to 100.
  constexpr Tolerance tolerance{1e-5, 1e-12, 1};
  std::vector<Trial> trials;
  const auto add = [&](const std::string& how, Values variables, std::vector<Tensor> outputs) {
    Trial trial{std::string(op.name) + " " + how, as_case(std::move(variables), outputs[0]),
                std::move(outputs), tolerance};
    trials.push_back(std::move(trial));
  };
  for (const Sample& sample : chosen_samples(op)) {
    for (const auto& [name, source] : sources()) {
      if (sample.inputs.empty() && std::string_view(name) != "a variable") continue;
      Values variables;
      std::vector<Tensor> operands;
      for (const ReferenceValue& value : sample.inputs) {
        operands.push_back(source(value, variables));
      }
      const Tensor y = sample.apply(operands);
      std::vector<Tensor> uses = uses_of(y, variables);
      add(std::string("of ") + name, std::move(variables), std::move(uses));
    }
    if (op.kind != OpKind::leaf && op.name != "print") {
      Values variables;
      const Tensor stacked = in_a_loop(sample, variables);
      add("in a loop", std::move(variables), {stacked, reversed(stacked)});
    }
    for (const double taken : {0.0, 1.0}) {
      Values variables;
      std::vector<Tensor> operands;
      for (const ReferenceValue& value : sample.inputs) {
        operands.push_back(variable(value, variables));
      }
      const Tensor y = sample.apply(operands);
      const Tensor condition = variable({DType::boolean, {}, {taken}}, variables);
      add("under an ifelse", std::move(variables),
          {ifelse(condition, y, zeros(y.shape(), y.dtype()))});
    }
  }
  return trials;
}

// Operand and user that one kernel computes, by name.
void note_fused_pairs(const std::vector<Trial>& trials,
                      std::set<std::pair<std::string, std::string>>& pairs) {
  std::vector<Tensor> inputs, outputs;
  for (const Trial& trial : trials) {
    inputs.insert(inputs.end(), trial.sample.inputs.begin(), trial.sample.inputs.end());
    outputs.insert(outputs.end(), trial.outputs.begin(), trial.outputs.end());
  }
  Graph graph(inputs, outputs, {});
  run_passes(graph);
  const Fusion fusion = fuse(graph);
  for (const Cluster& cluster : fusion.clusters) {
    const std::set<Graph::Vertex> members(cluster.members.begin(), cluster.members.end());
    for (const Graph::Vertex v : cluster.members) {
      for (const Graph::Vertex operand : graph.operands(v)) {
        if (!members.contains(operand)) continue;
        pairs.emplace(graph[operand].op->name, graph[v].op->name);
      }
    }
  }
}

}  // namespace

TEST_CASE("compositions of every op agree with the reference") {
  const QuickCode quick;
  for (const OpRecord* op : all_ops()) {
    SUBCASE(std::string(op->name).c_str()) { check_trials(every_third(compositions(*op))); }
  }
}

TEST_CASE("compositions: the pairs of ops that are fused") {
  std::set<std::pair<std::string, std::string>> pairs;
  for (const OpRecord* op : all_ops()) note_fused_pairs(compositions(*op), pairs);
  std::map<std::string, std::pair<std::set<std::string>, std::set<std::string>>> table;
  for (const auto& [producer, consumer] : pairs) {
    table[producer].second.insert(consumer);
    table[consumer].first.insert(producer);
  }
  std::string text = "op: fused with how many others as their user, as their operand\n";
  for (const auto& [op, others] : table) {
    text += "  " + op + ": " + std::to_string(others.first.size()) + ", " +
            std::to_string(others.second.size()) + "\n";
  }
  MESSAGE(text << pairs.size() << " pairs of ops have been seen fused");
  CHECK(pairs.size() > 250);
  // Whatever is computed element by element is fused with something, on either side.
  for (const OpRecord* op : all_ops()) {
    if (!op->has_points() || op->arity == 0) continue;
    if (op->name == "stop_gradient") continue;  // is its operand, once gradients are taken
    CAPTURE(op->name);
    CHECK(table.contains(std::string(op->name)));
  }
}
