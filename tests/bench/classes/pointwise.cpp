// Long elementwise expressions, and cheap values that several readers might have stored for them.
#include "programs.h"

namespace kt = kroton;

namespace bench {
namespace {

using T = kt::Tensor;

T polynomial(const T& x) {
  T y = kt::full_like(x, 1.0 / 21);
  for (int k = 20; k >= 1; --k) y = y * x + 1.0 / k;
  return y;
}

T normal_distribution(const T& x) { return 0.5 * (1 + kt::erf(x * 0.7071067811865476)); }

// The price of an option by its relative strike and the square root of its time.
T black_scholes(const T& x, const T& y) {
  const auto strike = 1 + x, deviation = 0.3 * kt::sqrt(y + 1);
  const auto d1 = (-kt::log(strike) + 0.02) / deviation + 0.5 * deviation;
  return normal_distribution(d1) - strike * 0.98 * normal_distribution(d1 - deviation);
}

T log_add(const T& x, const T& y) {
  return kt::maximum(x, y) + kt::log1p(kt::exp(-kt::abs(x - y)));
}

T gelu(const T& x) { return 0.5 * x * (1 + kt::tanh(0.7978845608 * (x + 0.044715 * x * x * x))); }

T pieces(const T& x) {
  return kt::where(x < -0.25, -x - 0.25, kt::where(x > 0.25, kt::square(x), x * (1 - x)));
}

T polar(const T& x, const T& y) {
  return kt::sqrt(x * x + y * y + 1) * kt::cos(kt::atan2(y, x + 1));
}

T continued_fraction(const T& x) {
  T y = 8 + x;
  for (int k = 7; k >= 1; --k) y = k + x / y;
  return y;
}

// Normalised by columns, which are the features of a batch's rows.
T batch_norm(const T& x, const T& scale, const T& shift) {
  const auto centred = x - kt::mean(x, 0, true);
  return centred / kt::sqrt(kt::mean(kt::square(centred), 0, true) + 1e-5) * scale + shift;
}

T layer_norm(const T& x, const T& scale, const T& shift) {
  const auto centred = x - kt::mean(x, 1, true);
  return centred / kt::sqrt(kt::mean(kt::square(centred), 1, true) + 1e-5) * scale + shift;
}

template <T (*normalise)(const T&, const T&, const T&)>
Program normalised(const Sizes& n) {
  Inputs in;
  const auto x = in.data({n[0], n[1]}), scale = in.known({n[1]}), shift = in.known({n[1]});
  return in.gives({kt::relu(normalise(x, scale, shift))});
}

template <T (*normalise)(const T&, const T&, const T&)>
Program normalised_gradient(const Sizes& n) {
  Inputs in;
  const auto x = in.data({n[0], n[1]}), scale = in.known({n[1]}), shift = in.known({n[1]});
  const auto loss = weighed(kt::relu(normalise(x, scale, shift)), in.data({n[0], n[1]}));
  return in.gives(kt::grad(loss, std::vector<T>{x, scale, shift}));
}

// Of images (image, channel, row, column).
Program image_norm_gradient(const Sizes& n) {
  Inputs in;
  const auto x = in.data({n[0], n[1], n[2], n[3]});
  const auto scale = in.known({n[1], 1, 1}), shift = in.known({n[1], 1, 1});
  const auto centred = x - kt::mean(x, {0, 2, 3}, true);
  const auto y =
      centred / kt::sqrt(kt::mean(kt::square(centred), {0, 2, 3}, true) + 1e-5) * scale + shift;
  const auto loss = weighed(kt::relu(y), in.data({n[0], n[1], n[2], n[3]}));
  return in.gives(kt::grad(loss, std::vector<T>{x, scale, shift}));
}

Program pairwise_distances(const Sizes& n) {
  Inputs in;
  const auto x = in.data({n[0], n[2]}), y = in.data({n[1], n[2]});
  const auto apart = kt::expand_dims(x, 1) - kt::expand_dims(y, 0);
  return in.gives({kt::sqrt(kt::sum(kt::square(apart), 2) + 0.01)});
}

}  // namespace

Family pointwise_programs() {
  const Build plain = of_one(polynomial);
  return {{"polynomial20", plain},
          {"polynomial20_contracted",
           [plain](const Sizes& n) {
             Program program = plain(n);
             program.options.contract = true;
             return program;
           }},
          {"black_scholes", of_two(black_scholes)},
          {"log_add", of_two(log_add)},
          {"gelu_gradient",
           of_two([](const T& x, const T& y) { return kt::grad(weighed(gelu(x), y), x); })},
          {"pieces", of_one(pieces)},
          {"polar", of_two(polar)},
          {"continued_fraction", of_one(continued_fraction)}};
}

Family stored_programs() {
  return {
      {"batch_norm", normalised<batch_norm>},
      {"batch_norm_gradient", normalised_gradient<batch_norm>},
      {"image_norm_gradient", image_norm_gradient},
      {"layer_norm", normalised<layer_norm>},
      {"layer_norm_gradient", normalised_gradient<layer_norm>},
      {"pairwise_distances", pairwise_distances},
      {"divided_by_columns", of_one([](const T& x) { return x / (kt::sum(kt::abs(x), 0) + 1); })},
      {"divided_by_rows",
       of_one([](const T& x) { return x / (kt::sum(kt::abs(x), 1, true) + 1); })},
      {"outer_sum", of_one([](const T& x) {
         return kt::tanh(kt::sum(x, 1, true)) * x + kt::exp(kt::mean(x, 0));
       })}};
}

}  // namespace bench
