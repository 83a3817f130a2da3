// Loops over time, and how long compiling takes.
#include <stdexcept>

#include "classes/programs.h"

namespace kt = kroton;

namespace bench {
namespace {

// What runs, and the numbers to compare.
template <class Call>
Case loop_case(const Call& call) {
  return {[call] { call(); },
          [call] {
            const kt::Array values = call();
            return sample(values.data<float>());
          }};
}

Case sum_case(bool gradient) {
  const auto x = kt::vector("x");
  const auto total = kt::scan([](kt::Tensor row, kt::Tensor before) { return before + row; },
                              {.sequences = {x}, .outputs_info = {kt::zeros({})}});
  const auto f = kt::function({x}, gradient ? kt::grad(kt::sum(kt::square(total)), x) : total);
  const kt::Array xs = filled({100'000}, 0);
  return loop_case([=] { return f(xs); });
}

Case pendulum_case(bool gradient) {
  const auto u = kt::vector("u");
  const auto [angles, speeds] = kt::scan(
      [](kt::Tensor push, kt::Tensor angle, kt::Tensor speed) {
        const auto force = push - 9.81 * kt::sin(angle) - 0.1 * speed;
        const auto next = speed + 0.01 * force;
        return std::pair{angle + 0.01 * next, next};
      },
      {.sequences = {u}, .outputs_info = {kt::ones({}), kt::zeros({})}});
  const auto f =
      kt::function({u}, gradient ? kt::grad(kt::sum(kt::square(angles)), u) : kt::square(angles));
  const kt::Array us = filled({100'000}, 0);
  return loop_case([=] { return f(us); });
}

Case vector_case(bool gradient) {
  const auto w = kt::tensor("w", {64, 64}), x = kt::tensor("x", {kt::dim("steps"), 64});
  const auto states =
      kt::scan([](kt::Tensor row, kt::Tensor state,
                  kt::Tensor weights) { return kt::tanh(kt::dot(weights, state) + row); },
               {.sequences = {x}, .outputs_info = {kt::zeros({64})}, .non_sequences = {w}});
  const kt::Array ws = filled({64, 64}, 0, 0.3), xs = filled({1000, 64}, 1);
  if (!gradient) {
    const auto f = kt::function({w, x}, states);
    return loop_case([=] { return f(ws, xs); });
  }
  const auto cost = kt::sum(kt::square(states));
  const auto [gw, gx] = kt::grad(cost, w, x);
  const auto f = kt::function({w, x}, {gw, gx});
  return loop_case([=] { return f(ws, xs)[0]; });
}

// The state of all steps: gates in the order input, forget, cell, output.
kt::Tensor lstm(const kt::Tensor& inputs, const kt::Tensor& wh, const kt::Dims& state, int hidden) {
  const auto [all, cells] = kt::scan(
      [hidden](kt::Tensor row, kt::Tensor h, kt::Tensor c, kt::Tensor weights) {
        const auto gates = row + kt::dot(h, weights);
        const auto gate = [&](int k) {
          const auto columns = kt::slice(k * hidden, (k + 1) * hidden);
          return gates.rank() == 1 ? gates(columns) : gates(kt::all, columns);
        };
        const auto next = kt::sigmoid(gate(1)) * c + kt::sigmoid(gate(0)) * kt::tanh(gate(2));
        return std::pair{kt::sigmoid(gate(3)) * kt::tanh(next), next};
      },
      {.sequences = {inputs},
       .outputs_info = {kt::zeros(state), kt::zeros(state)},
       .non_sequences = {wh}});
  return all;
}

// Predicts the next of `vocabulary` characters, for a batch of texts.
Step character_step(std::int64_t vocabulary, std::int64_t hidden, std::int64_t batch,
                    std::int64_t steps) {
  const kt::Dim t = kt::dim("steps"), b = kt::dim("batch");
  const auto ids = kt::tensor("ids", {t, b}, kt::i64), next = kt::tensor("next", {t, b}, kt::i64);
  const auto wx = kt::shared(filled({vocabulary, 4 * hidden}, 1, 0.2), "wx");
  const auto wh = kt::shared(filled({hidden, 4 * hidden}, 2, 0.2), "wh");
  const auto bias = kt::shared(kt::Array::zeros({4 * hidden}), "bias");
  const auto wy = kt::shared(filled({hidden, vocabulary}, 3, 0.2), "wy");
  const auto by = kt::shared(kt::Array::zeros({vocabulary}), "by");
  const auto states = lstm(kt::take(wx, ids) + bias, wh, {b, hidden}, static_cast<int>(hidden));
  const auto logits = kt::dot(kt::reshape(states, {t * b, hidden}), wy) + by;
  const auto loss = kt::mean(kt::softmax_cross_entropy(logits, kt::flatten(next)));
  const auto [g1, g2, g3, g4, g5] = kt::grad(loss, wx, wh, bias, wy, by);
  return {
      {ids, next},
      loss,
      {.updates = {{wx, wx - 0.01 * g1},
                   {wh, wh - 0.01 * g2},
                   {bias, bias - 0.01 * g3},
                   {wy, wy - 0.01 * g4},
                   {by, by - 0.01 * g5}},
       .name = "characters"},
      {class_numbers({steps, batch}, vocabulary), class_numbers({steps, batch}, vocabulary - 1)}};
}

}  // namespace

Step lstm_step() {
  const auto x = kt::tensor("x", {kt::dim("steps"), 64});
  const auto wx = kt::shared(filled({64, 256}, 1, 0.2), "wx");
  const auto wh = kt::shared(filled({64, 256}, 2, 0.2), "wh");
  const auto bias = kt::shared(kt::Array::zeros({256}), "bias");
  const auto states = lstm(kt::dot(x, wx) + bias, wh, {64}, 64);
  const auto loss = kt::mean(kt::square(states));
  const auto [g1, g2, g3] = kt::grad(loss, wx, wh, bias);
  return {{x},
          loss,
          {.updates = {{wx, wx - 0.01 * g1}, {wh, wh - 0.01 * g2}, {bias, bias - 0.01 * g3}},
           .name = "lstm"},
          {filled({100, 64}, 3)}};
}

Case scan_case(const Parts& parts) {
  const bool gradient = parts.at(2) == "gradient";
  if (parts.at(1) == "sum") return sum_case(gradient);
  if (parts.at(1) == "pendulum") return pendulum_case(gradient);
  if (parts.at(1) == "vector64") return vector_case(gradient);
  throw std::runtime_error("no such loop: " + parts.at(1));
}

Case lstm_case(const Parts& parts) {
  if (parts.at(1) == "h64") return training_case(lstm_step());
  const Parts sizes = split(parts.at(1), 'x');
  return training_case(character_step(std::stol(sizes.at(0)), std::stol(sizes.at(1)),
                                      std::stol(sizes.at(2)), std::stol(sizes.at(3))));
}

// Builds the graph and compiles it, each time anew. The cache must be off.
Case compile_case(const Parts& parts) {
  const std::string& what = parts.at(1);
  if (what == "cifar") return compilation_case([] { return network({"cnn", "cifar", "50"}); });
  if (what == "resnet50") return compilation_case([] { return network({"resnet", "50", "1"}); });
  const auto compile = [what]() -> std::vector<double> {
    if (what.starts_with("chain")) {
      const auto x = kt::vector("x");
      kt::Tensor y = x;
      for (int k = 0, count = std::stoi(what.substr(5)); k < count; ++k) {
        y = k % 4 == 0 ? y + x : k % 4 == 1 ? kt::sin(y) : k % 4 == 2 ? y * 0.5 : kt::maximum(y, x);
      }
      const auto f = kt::function({x}, y);
      const kt::Array result = f(filled({16}, 0));
      return sample(result.data<float>());
    }
    Step step = what == "logistic" ? logistic_step() : what == "mlp" ? mlp_step(128) : lstm_step();
    const auto f = kt::function(step.inputs, step.loss, std::move(step.options));
    const std::vector<kt::Argument> list(step.arguments.begin(), step.arguments.end());
    return {f.call(list).item<double>()};
  };
  return {[compile] { compile(); }, compile};
}

}  // namespace bench
