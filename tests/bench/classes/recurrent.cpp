// Loops over time whose steps do more than one thing.
#include "programs.h"

namespace kt = kroton;

namespace bench {
namespace {

using T = kt::Tensor;

// (steps, batch, inputs, hidden): gates in the order reset, update, new.
Program gru(const Sizes& n) {
  Inputs in;
  const std::int64_t h = n[3];
  const auto wx = in.parameter({n[2], 3 * h}, 0.2), wh = in.parameter({h, 3 * h}, 0.2);
  const auto x = in.data({n[0], n[1], n[2]});
  const auto states = kt::scan(
      [h](const T& row, const T& before, const T& weights) {
        const auto own = kt::dot(before, weights);
        const auto gate = [h](const T& of, int k) {
          return of(kt::all, kt::slice(k * h, (k + 1) * h));
        };
        const auto reset = kt::sigmoid(gate(row, 0) + gate(own, 0));
        const auto update = kt::sigmoid(gate(row, 1) + gate(own, 1));
        const auto fresh = kt::tanh(gate(row, 2) + reset * gate(own, 2));
        return (1 - update) * fresh + update * before;
      },
      {.sequences = {kt::matmul(x, wx)},
       .outputs_info = {kt::zeros({n[1], h})},
       .non_sequences = {wh}});
  const auto loss = kt::mean(kt::square(states));
  return in.gives({loss}, {.updates = descent("sgd", loss, {wx, wh})});
}

Program rnn(const Sizes& n) {
  Inputs in;
  const auto wx = in.parameter({n[2], n[3]}, 0.2), wh = in.parameter({n[3], n[3]}, 0.2);
  const auto x = in.data({n[0], n[1], n[2]});
  const auto states =
      kt::scan([](const T& row, const T& before,
                  const T& weights) { return kt::tanh(row + kt::dot(before, weights)); },
               {.sequences = {kt::matmul(x, wx)},
                .outputs_info = {kt::zeros({n[1], n[3]})},
                .non_sequences = {wh}});
  const auto loss = kt::mean(kt::square(states));
  return in.gives({loss}, {.updates = descent("sgd", loss, {wx, wh})});
}

// Place and speed of something whose place is seen with noise; their covariance is a 2 x 2 matrix.
Program kalman(const Sizes& n) {
  Inputs in;
  const auto seen = in.data({n[0]});
  const auto moves = kt::constant(kt::Array::from({{1.0F, 0.1F}, {0.0F, 1.0F}}));
  const auto noise = kt::constant(kt::Array::from({{0.01F, 0.0F}, {0.0F, 0.01F}}));
  const auto [states, covariances] = kt::scan(
      [&](const T& z, const T& x, const T& p) {
        const auto expected = kt::dot(moves, x);
        const auto spread = kt::dot(kt::dot(moves, p), kt::transpose(moves)) + noise;
        const auto gain = spread(kt::all, 0) / (spread(0, 0) + 0.5);
        return std::pair{expected + gain * (z - expected[0]), spread - kt::outer(gain, spread[0])};
      },
      {.sequences = {seen},
       .outputs_info = {kt::zeros({2}),
                        kt::constant(kt::Array::from({{1.0F, 0.0F}, {0.0F, 1.0F}}))}});
  return in.gives({states});
}

T orbit_speed(const T& s, const T& push) {
  const auto place = s(kt::slice(0, 2)), speed = s(kt::slice(2, 4));
  const auto square = kt::sum(kt::square(place)) + 0.1;
  return kt::concatenate({speed, push - place / (square * kt::sqrt(square))});
}

// Runge and Kutta's step of a planet that is pushed; its place and speed are one vector.
Program orbit(const Sizes& n) {
  Inputs in;
  const auto pushes = in.data({n[0]}, 0.1);
  const auto states = kt::scan(
      [](const T& push, const T& s) {
        const double h = 0.01;
        const auto k1 = orbit_speed(s, push), k2 = orbit_speed(s + h / 2 * k1, push);
        const auto k3 = orbit_speed(s + h / 2 * k2, push), k4 = orbit_speed(s + h * k3, push);
        return s + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4);
      },
      {.sequences = {pushes},
       .outputs_info = {kt::constant(kt::Array::from({1.0F, 0.0F, 0.0F, 1.0F}))}});
  return in.gives({states});
}

// (steps, points): heat along a rod whose left end is driven.
Program rod(const Sizes& n) {
  Inputs in;
  const auto drive = in.data({n[0]});
  const auto states = kt::scan(
      [](const T& u, const T& x) {
        const auto middle = x(kt::slice(1, -1));
        const auto next =
            middle + 0.2 * (x(kt::slice(0, -2)) + x(kt::slice(2, kt::end)) - 2 * middle);
        return kt::concatenate({kt::reshape(u, {1}), next, kt::zeros({1})});
      },
      {.sequences = {drive}, .outputs_info = {kt::zeros({n[1]})}});
  return in.gives({states});
}

}  // namespace

Family recurrent_programs() {
  return {{"gru", gru}, {"rnn", rnn}, {"kalman", kalman}, {"orbit", orbit}, {"rod", rod}};
}

}  // namespace bench
