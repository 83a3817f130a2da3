#include "tests/scan/scan_tools.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

using namespace kroton;  // NOLINT: tests

namespace scan_test {

std::vector<double> numbers(const Array& array) {
  const std::vector<Number> data = from_array(array).data;
  return {data.begin(), data.end()};
}

Array array_of(const std::vector<double>& values, DType dtype) {
  return Array::from(values).cast(dtype);
}

std::vector<double> some_numbers(std::int64_t count, std::uint64_t seed) {
  return numbers(Array::uniform({count}, seed, -1, 1, f64));
}

void check_values(const Array& have, const std::vector<double>& want, double tolerance) {
  const std::vector<double> values = numbers(have);
  REQUIRE(values.size() == want.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    CAPTURE(i);
    CAPTURE(values[i]);
    CAPTURE(want[i]);
    CHECK(std::abs(values[i] - want[i]) <= tolerance * std::max(1.0, std::abs(want[i])));
  }
}

std::vector<Tensor> unrolled(const StepFunction& step, const ScanOptions& options, std::int64_t n) {
  std::vector<std::vector<Tensor>> history;  // per output: its values from the earliest tap on
  std::vector<std::size_t> before;           // per output: how many of them are initial values
  for (const State& state : options.outputs_info) {
    history.emplace_back();
    std::size_t depth = 0;
    for (const int tap : state.taps) depth = std::max(depth, static_cast<std::size_t>(-tap));
    if (!state.initial) depth = 0;
    const bool has_rows = state.taps != std::vector<int>{-1};
    for (std::size_t k = 0; k < depth; ++k) {
      history.back().push_back(has_rows ? state.initial[static_cast<int>(k)] : state.initial);
    }
    before.push_back(depth);
  }
  for (std::int64_t t = 0; t < n; ++t) {
    std::vector<Tensor> arguments;
    for (const Sequence& sequence : options.sequences) {
      const int first = *std::min_element(sequence.taps.begin(), sequence.taps.end());
      for (const int tap : sequence.taps) {
        const std::int64_t at = options.go_backwards ? -1 - t : t - std::min(first, 0) + tap;
        arguments.push_back(sequence.rows[at]);
      }
    }
    for (std::size_t k = 0; k < history.size(); ++k) {
      if (!options.outputs_info[k].initial) continue;
      for (const int tap : options.outputs_info[k].taps) {
        arguments.push_back(history[k][history[k].size() - static_cast<std::size_t>(-tap)]);
      }
    }
    arguments.insert(arguments.end(), options.non_sequences.begin(), options.non_sequences.end());
    std::vector<Tensor> results = step(arguments);
    history.resize(results.size());
    before.resize(results.size(), 0);
    const bool is_cut = options.truncate_gradient >= 0 && t < n - options.truncate_gradient;
    for (std::size_t k = 0; k < results.size(); ++k) {
      history[k].push_back(is_cut ? stop_gradient(results[k]) : results[k]);
    }
  }
  std::vector<Tensor> outputs;
  for (std::size_t k = 0; k < history.size(); ++k) {
    history[k].erase(history[k].begin(),
                     history[k].begin() + static_cast<std::ptrdiff_t>(before[k]));
    outputs.push_back(stack(history[k]));
  }
  return outputs;
}

namespace {

// The cost, its gradients, and the gradients of these.
std::vector<Tensor> derivatives(const Tensor& cost, const std::vector<Tensor>& wrt, int order) {
  std::vector<Tensor> results = {cost};
  Tensor current = cost;
  for (int k = 0; k < order; ++k) {
    const std::vector<Tensor> gradients = grad(current, wrt, {.allow_unused = k > 0});
    results.insert(results.end(), gradients.begin(), gradients.end());
    current = sum(square(gradients[0]));
    for (std::size_t i = 1; i < gradients.size(); ++i) {
      current = current + sum(square(gradients[i]));
    }
  }
  return results;
}

}  // namespace

void check_against_unrolled(const Recurrence& recurrence, int order,
                            const std::vector<std::int64_t>& lengths) {
  const std::vector<Tensor> looped = derivatives(
      recurrence.cost(scan(recurrence.step, recurrence.options)), recurrence.wrt, order);
  const auto f = function(recurrence.inputs, looped, {.on_unused_input = UnusedInput::ignore});
  for (const std::int64_t n : lengths) {
    CAPTURE(n);
    const std::vector<Array> values = recurrence.values(n);
    const std::vector<Argument> arguments(values.begin(), values.end());
    const std::vector<Array> have = f.call(arguments);
    const std::vector<ReferenceValue> want = compiled_test::expected(
        {recurrence.inputs,
         derivatives(recurrence.cost(unrolled(recurrence.step, recurrence.options, n)),
                     recurrence.wrt, order),
         values});
    REQUIRE(have.size() == want.size());
    for (std::size_t k = 0; k < want.size(); ++k) {
      CAPTURE(k);
      CHECK(compiled_test::difference(want[k], have[k], {.f32 = 1e-5, .f64 = 1e-12}) == "");
    }
  }
}

void check_finite_differences(const Tensor& cost, const std::vector<Tensor>& inputs,
                              const std::vector<Array>& values) {
  std::vector<std::size_t> checked;
  std::vector<Tensor> wrt;
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    if (inputs[k].dtype() != f64) continue;
    checked.push_back(k);
    wrt.push_back(inputs[k]);
  }
  std::vector<Tensor> outputs = grad(cost, wrt);
  outputs.push_back(cost);
  const auto f = function(inputs, outputs);
  const std::vector<Argument> arguments(values.begin(), values.end());
  const std::vector<Array> at_point = f.call(arguments);
  constexpr double step = 1e-5;
  for (std::size_t k = 0; k < checked.size(); ++k) {
    const std::vector<double> gradient = numbers(at_point[k]);
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      const auto cost_at = [&](double moved) {
        std::vector<Array> point = values;
        point[checked[k]] = values[checked[k]].copy();
        point[checked[k]].data<double>()[i] += moved;
        const std::vector<Argument> here(point.begin(), point.end());
        return f.call(here).back().item<double>();
      };
      const double numeric = (cost_at(step) - cost_at(-step)) / (2 * step);
      CAPTURE(wrt[k].name());
      CAPTURE(i);
      CAPTURE(gradient[i]);
      CAPTURE(numeric);
      CHECK(std::abs(gradient[i] - numeric) <= 1e-6 * std::max(1.0, std::abs(numeric)));
    }
  }
}

}  // namespace scan_test
