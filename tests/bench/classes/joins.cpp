// Pads, concatenations, slices, and the gradients of slices.
#include "programs.h"

namespace kt = kroton;

namespace bench {
namespace {

using T = kt::Tensor;

T padded(const T& x) { return kt::pad(x, {{1, 1}, {1, 1}}); }

// Row and column of the part of x that a stencil of 3 x 3 sees at (i, j).
T shifted(const T& x, int i, int j) {
  const auto part = [](int k) { return k == 2 ? kt::slice(2, kt::end) : kt::slice(k, k - 2); };
  return x(part(i), part(j));
}

T blur(const T& x) {
  T sum;
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) {
      const auto term = shifted(x, i, j) * ((i == 1 ? 2 : 1) * (j == 1 ? 2 : 1) / 16.0);
      sum = sum ? sum + term : term;
    }
  }
  return sum;
}

T heat_step(const T& u) {
  const auto middle = shifted(u, 1, 1);
  const auto around = shifted(u, 0, 1) + shifted(u, 2, 1) + shifted(u, 1, 0) + shifted(u, 1, 2);
  return padded(middle + 0.1 * (around - 4 * middle));
}

T heat(T u) {
  for (int k = 0; k < 4; ++k) u = heat_step(u);
  return u;
}

T differences(const T& x) {
  const auto corner = x(kt::slice(0, -1), kt::slice(0, -1));
  return kt::stack({x(kt::slice(1, kt::end), kt::slice(0, -1)) - corner,
                    x(kt::slice(0, -1), kt::slice(1, kt::end)) - corner});
}

T total_variation(const T& x) {
  return kt::sum(kt::sqrt(kt::sum(kt::square(differences(x)), 0) + 0.01));
}

T by_columns(const T& x, const T& y) { return kt::concatenate({x, y}, 1); }

// Predators and prey: the columns of x.
T growth(const T& x) {
  const auto prey = x(kt::all, kt::slice(0, 1)), hunters = x(kt::all, kt::slice(1, 2));
  return by_columns(prey * (1 - hunters), hunters * (prey - 1));
}

T runge_kutta(const T& x) {
  const double h = 0.05;
  const auto k1 = growth(x), k2 = growth(x + h / 2 * k1), k3 = growth(x + h / 2 * k2);
  const auto k4 = growth(x + h * k3);
  return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4);
}

T squares_gradient(const T& y, const T& x) { return kt::grad(kt::sum(kt::square(y)), x); }

}  // namespace

Family join_programs() {
  return {
      {"pad", of_one([](const T& x) { return padded(x); })},
      {"pad_of_pad", of_one([](const T& x) { return padded(2 * padded(x)); })},
      {"pad_product", of_two([](const T& x, const T& y) { return padded(x) * padded(y); })},
      {"concatenate_rows",
       of_two([](const T& x, const T& y) { return kt::concatenate({x, kt::tanh(y)}, 0); })},
      {"concatenate_columns",
       of_two([](const T& x, const T& y) { return by_columns(x, kt::relu(y)); })},
      {"interleave", of_two([](const T& x, const T& y) { return kt::stack({x, y}, 1); })},
      {"concatenated_twice", of_two([](const T& x, const T& y) {
         return by_columns(by_columns(x, y), by_columns(y, x * y));
       })},
      {"rotated", of_one([](const T& x) {
         return x - kt::concatenate({x(kt::slice(1, kt::end)), x(kt::slice(0, 1))}, 0);
       })},
      {"slice_gradient", of_one([](const T& x) { return squares_gradient(shifted(x, 1, 1), x); })},
      {"differences", of_one(differences)},
      {"total_variation_gradient",
       of_one([](const T& x) { return kt::grad(total_variation(x), x); })},
      {"blur", of_one(blur)},
      {"blur_gradient", of_one([](const T& x) { return squares_gradient(blur(x), x); })},
      {"heat", of_one([](const T& x) { return heat(x); })},
      {"heat_gradient", of_one([](const T& x) { return squares_gradient(heat(x), x); })},
      {"runge_kutta", of_one(runge_kutta)},
      {"runge_kutta_gradient",
       of_one([](const T& x) { return squares_gradient(runge_kutta(x), x); })}};
}

}  // namespace bench
