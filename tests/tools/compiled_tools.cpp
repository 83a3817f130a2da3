#include "tests/tools/compiled_tools.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cfenv>
#include <cmath>
#include <unordered_map>

#include "compiler/ir/node.h"
#include "compiler/ir/op.h"
#include "runtime/pool.h"

using kroton::Array;
using kroton::DType;
using kroton::ReferenceValue;
using kroton::Tensor;

namespace compiled_test {

std::vector<Array> compiled(const Problem& problem, const kroton::Target& target) {
  const auto f =
      kroton::function(problem.inputs, problem.outputs,
                       {.target = target, .on_unused_input = kroton::UnusedInput::ignore});
  return f.call(std::vector<kroton::Argument>(problem.values.begin(), problem.values.end()));
}

std::string flags_of(const std::function<void()>& call) {
  std::feclearexcept(FE_ALL_EXCEPT);
  call();
  const int raised = std::fetestexcept(FE_ALL_EXCEPT);
  std::string flags;
  if ((raised & FE_DIVBYZERO) != 0) flags += " division by zero";
  if ((raised & FE_INVALID) != 0) flags += " invalid";
  if ((raised & FE_OVERFLOW) != 0) flags += " overflow";
  return flags;
}

std::vector<ReferenceValue> expected(const Problem& problem) {
  std::map<const kroton::Node*, ReferenceValue> bindings;
  for (std::size_t k = 0; k < problem.inputs.size(); ++k) {
    bindings[&problem.inputs[k].node()] = kroton::from_array(problem.values[k]);
  }
  return kroton::evaluate(problem.outputs, bindings);
}

ReferenceValue expected(const Tensor& output, const std::vector<std::pair<Tensor, Array>>& values) {
  Problem problem{{}, {output}, {}};
  for (const auto& [input, value] : values) {
    problem.inputs.push_back(input);
    problem.values.push_back(value);
  }
  return expected(problem).front();
}

std::string difference(const ReferenceValue& expected, const Array& actual,
                       const Tolerance& tolerance) {
  const std::string type =
      std::string(name_of(actual.dtype())) + " " + kroton::to_string(actual.shape());
  if (actual.dtype() != expected.dtype ||
      !(actual.shape() == kroton::Shape(std::span(expected.shape)))) {
    return "the result is " + type + ", expected " + std::string(name_of(expected.dtype)) + " " +
           kroton::to_string(kroton::Shape(std::span(expected.shape)));
  }
  const std::vector<kroton::Number> values = kroton::from_array(actual).data;
  const std::vector<kroton::Number> rounded = kroton::from_array(kroton::to_array(expected)).data;
  double largest = tolerance.magnitude;
  for (const double x : rounded) {
    if (std::isfinite(x)) largest = std::max(largest, std::abs(x));
  }
  const double relative = expected.dtype == DType::f32   ? tolerance.f32
                          : expected.dtype == DType::f64 ? tolerance.f64
                                                         : 0;
  std::size_t wrong = 0;
  std::size_t worst = 0;
  double worst_error = -1;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const kroton::Number want = rounded[i], have = values[i];
    if (have == want || (std::isnan(have) && std::isnan(want))) continue;
    double error = std::abs(have - want);
    if (error <= relative * (std::abs(want) + largest)) continue;
    if (std::isnan(error)) error = INFINITY;
    ++wrong;
    if (error > worst_error) {
      worst_error = error;
      worst = i;
    }
  }
  if (wrong == 0) return "";
  const auto number = [](double x) {
    std::array<char, 40> text{};
    std::snprintf(text.data(), text.size(), "%.9g", x);
    return std::string(text.data());
  };
  return "element " + std::to_string(worst) + " of " + type + " is " + number(values[worst]) +
         ", expected " + number(rounded[worst]) + " (" + std::to_string(wrong) + " of " +
         std::to_string(values.size()) + " differ, largest " + number(largest) + ")";
}

void check_agrees(const Problem& problem, const Tolerance& tolerance,
                  const kroton::Target& target) {
  const std::vector<ReferenceValue> want = expected(problem);
  const std::vector<Array> have = compiled(problem, target);
  REQUIRE(have.size() == want.size());
  for (std::size_t k = 0; k < want.size(); ++k) {
    const std::string different = difference(want[k], have[k], tolerance);
    CAPTURE(k);
    CHECK(different == "");
    if (!different.empty()) MESSAGE(describe(std::span(&problem.outputs[k], 1)));
  }
}

std::string describe(std::span<const Tensor> outputs) {
  std::string text;
  std::unordered_map<const kroton::Node*, std::size_t> numbers;
  for (const Tensor& t : kroton::topological_order(outputs)) {
    const kroton::Node& node = t.node();
    const std::size_t number = numbers.size();
    numbers.emplace(&node, number);
    text += "%" + std::to_string(number) + " = " + std::string(node.op.name) + "(";
    for (std::size_t k = 0; k < node.inputs.size(); ++k) {
      text += (k == 0 ? "%" : ", %") + std::to_string(numbers.at(&node.inputs[k].node()));
    }
    const std::string attributes = node.attributes.to_string();
    text += ")" + (attributes.empty() ? "" : " {" + attributes + "}") + " : " +
            kroton::to_string(node.type) + "\n";
  }
  return text;
}

Array random_array(const kroton::Shape& shape, DType dtype, std::uint64_t seed) {
  if (kroton::is_float(dtype)) return Array::normal(shape, seed, 0, 1, dtype);
  const Array uniform = Array::uniform(shape, seed, -4, 5, kroton::f64);
  if (dtype != DType::boolean) return uniform.cast(dtype);
  Array result = Array::zeros(shape, dtype);
  for (std::int64_t i = 0; i < result.size(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    result.data<bool>()[at] = uniform.data<double>()[at] > 0.5;
  }
  return result;
}

ThreadCount::ThreadCount(std::int64_t count) : before_(kroton::Pool::global().workers()) {
  kroton::Pool::global().set_threads(count);
}

ThreadCount::~ThreadCount() { kroton::Pool::global().set_threads(before_); }

}  // namespace compiled_test
