// The floating-point flags of the caller: a call with finite arguments and results raises neither
// division by zero nor invalid nor overflow, so that programs that trap them can call. The samples
// of all ops are tested for that too, where they are compiled (sample_tools.cpp).
#include <doctest/doctest.h>

#include <cfenv>
#include <cmath>

#include "tests/tools/sample_tools.h"

using namespace compiled_test;  // NOLINT: tests
using namespace op_test;        // NOLINT: tests

namespace {

// The trials whose operands are all vectors of one free size, on `size` values between 0.5 and 2.
// Those that are made for certain sizes show it by their result's.
std::vector<Trial> of_size(std::vector<Trial> trials, std::int64_t size) {
  std::erase_if(trials, [](const Trial& trial) {
    const auto& bound = trial.sample.bindings;
    const Dims& shape = trial.sample.output.shape();
    const std::vector<Tensor>& inputs = trial.sample.inputs;
    if (inputs.empty() || (!shape.empty() && shape != inputs[0].shape())) return true;
    return bound.empty() || !std::all_of(bound.begin(), bound.end(), [](const auto& entry) {
             return entry.second.shape == ops::HostShape{17} && is_float(entry.second.dtype);
           });
  });
  for (Trial& trial : trials) {
    int seed = 0;
    for (auto& [input, value] : trial.sample.bindings) {
      value = ops::spread(value.dtype, {size}, 0.5, 2, ++seed);
    }
  }
  std::erase_if(trials, [](const Trial& trial) {
    try {
      return !is_finite(trial);
    } catch (const Error&) {
      return true;  // its sizes are bound to each other
    }
  });
  return trials;
}

// Leaves NaN, in f64 and in f32 of the kind that any operation reports, in the part of the stack
// that the next call uses.
[[gnu::noinline]] void fill_stack() {
  volatile std::uint64_t below[4096];
  for (volatile std::uint64_t& x : below) x = 0x7ff400007fa00000;
}

}  // namespace

TEST_CASE("flags: vectors of all lengths between 0.5 and 2, by every op and its gradient") {
  for (const OpRecord* op : all_ops()) {
    SUBCASE(std::string(op->name).c_str()) {
      for (const std::int64_t size : {1, 3, 37}) {
        CAPTURE(size);
        check_trials(of_size(value_trials(*op, true), size));
        check_trials(of_size(gradient_trials(*op, true), size));
      }
    }
  }
}

// The stack holds what somebody has left there.
TEST_CASE("flags: reductions of rows with NaN on the stack before the call") {
  using Reduce = Tensor (*)(const Operand&, const Axes&, KeepDims);
  const std::initializer_list<Reduce> reductions = {kroton::max, kroton::min, kroton::sum,
                                                    kroton::prod};
  for (const DType dtype : {f32, f64}) {
    for (const std::int64_t rows : {1, 2, 3, 5, 6, 7}) {
      for (const std::int64_t columns : {1, 3, 5, 7, 17}) {
        CAPTURE(dtype);
        CAPTURE(rows);
        CAPTURE(columns);
        const Tensor x = tensor("x", {rows, columns}, dtype);
        const Array fine = Array::uniform({rows, columns}, 1, 0.5, 2, dtype);
        for (const Reduce reduce : reductions) {
          const auto f = function({x}, reduce(x, 1, false));
          f(fine);
          std::feclearexcept(FE_ALL_EXCEPT);
          fill_stack();
          f(fine);
          CHECK(std::fetestexcept(FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW) == 0);
        }
      }
    }
  }
}

TEST_CASE("flags: programs that trap them") {
  const Tensor x = matrix("x");
  const Tensor ten = tensor("ten", {dim("n"), 10});
  const Tensor w = tensor("w", {10, 7});
  const Tensor v = vector("v");
  const Tensor d = vector("d", f64);
  const Tensor logits = dot(ten, w);
  const Tensor loss = mean(log(1 + exp(-logits))) + sum(1 / logits);
  const Tensor states = scan([](Tensor row, Tensor state) { return row / (1 + state) - log(row); },
                             {.sequences = {x}, .outputs_info = {ones({x.shape(1)})}});
  const std::vector<Tensor> inputs{x, ten, w, v, d};
  std::vector<Tensor> outputs{softmax(x),
                              softmax(x, 0),
                              log_softmax(x),
                              1 / sum(x, 0),
                              1 / sum(x, 1),
                              log(mean(x)),
                              sqrt(var(x, 0)),
                              sqrt(var(x, 1)),
                              x / sum(x),
                              (x - mean(x, 1, true)) / (0.1 + stddev(x, 1, true)),
                              1 / logits,
                              log(logits),
                              sigmoid(logits) / logits,
                              pow(x, 2.5),
                              pow(v, v),
                              prod(x, 1),
                              cast(1e12 * v, i32),
                              cast(-1e30 * v, i64),
                              cast(1 / v, i64),
                              cast(1 / d, f32),
                              1 / cast(d, f32),
                              max(1 / x, 1),
                              argmax(1 / x, 1),
                              argmin(log(v)),
                              cast(1 / v < log(v), i32),
                              1 / ((arange(37) + 1) * v),
                              log(1e35 * v),
                              where(v > 1, log(v), 0),
                              states,
                              concatenate({1 / v, v}),
                              take(1 / v, cast(floor(v), i64)),
                              v % 0.3,
                              floor_div(v, 0.3)};
  for (const Tensor& gradient : grad(loss, {ten, w})) outputs.push_back(gradient);
  outputs.push_back(grad(sum(states), x));
  outputs.push_back(grad(sum(prod(x, 0)) + sum(sqrt(x)) + sum(pow(x, 2.5)), x));
  const auto f = function(inputs, outputs);
  for (const std::int64_t rows : {1, 3, 17, 37}) {
    for (const std::int64_t columns : {1, 5, 16, 37}) {
      const Array xs = Array::uniform({rows, columns}, 1, 0.5, 2);
      const Array tens = Array::uniform({rows, 10}, 2, 0.5, 2);
      const Array ws = Array::uniform({10, 7}, 3, 0.5, 2);
      const Array vs = Array::uniform({37}, 4, 0.5, 2);
      const Array ds = Array::uniform({rows}, 5, 0.5, 2).cast(f64);
      std::feclearexcept(FE_ALL_EXCEPT);
      // A trap that springs ends the process, and says which test it was in.
      feenableexcept(FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW);
      const std::vector<Array> results = f(xs, tens, ws, vs, ds);
      fedisableexcept(FE_ALL_EXCEPT);
      CHECK(results.size() == outputs.size());
      CHECK(std::fetestexcept(FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW) == 0);
    }
  }
}
