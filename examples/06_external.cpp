// Heat in a rod whose conductivity is sought: implicit steps by a solver in C, with its gradient.
//
// A time step solves a tridiagonal system, which no expression says well and a C function does in a
// few lines. As an operation of its own it takes part in a scan, and the gradient through all steps
// tells how to change the conductivity so that the rod cools as measured.
#include <kroton/kroton.h>

#include <cmath>
#include <iostream>

namespace kt = kroton;

// x with lower[i] x[i-1] + diagonal[i] x[i] + upper[i] x[i+1] = right[i], by elimination.
extern "C" int32_t solve_tridiagonal(void* const* arrays, const int64_t* sizes) {
  const auto* lower = static_cast<const double*>(arrays[0]);
  const auto* diagonal = static_cast<const double*>(arrays[1]);
  const auto* upper = static_cast<const double*>(arrays[2]);
  const auto* right = static_cast<const double*>(arrays[3]);
  auto* x = static_cast<double*>(arrays[4]);
  auto* ratio = static_cast<double*>(arrays[5]);  // scratch: a result that nobody uses
  const int64_t n = sizes[0];
  for (int64_t i = 0; i < n; ++i) {
    const double before = i == 0 ? 0 : lower[i];
    const double pivot = diagonal[i] - (i == 0 ? 0 : before * ratio[i - 1]);
    if (pivot == 0) return 1;
    ratio[i] = upper[i] / pivot;
    x[i] = (right[i] - (i == 0 ? 0 : before * x[i - 1])) / pivot;
  }
  for (int64_t i = n - 2; i >= 0; --i) x[i] -= ratio[i] * x[i + 1];
  return 0;
}

using Tensors = std::vector<kt::Tensor>;

// With A x = b: the cotangent of b solves A' y = g, and that of A is -y x'.
const kt::ExternalOp& tridiagonal() {
  static const kt::ExternalOp op(
      {.name = "solve_tridiagonal",
       .function = solve_tridiagonal,
       .results =
           [](std::span<const kt::TensorType> inputs) {
             for (const kt::TensorType& type : inputs) {
               if (type.dtype != kt::f64 || type.rank() != 1) {
                 throw kt::TypeError("solve_tridiagonal takes four vectors of f64");
               }
             }
             return std::vector<kt::TensorType>{inputs[3], inputs[3]};
           },
       .gradient =
           [](std::span<const kt::Tensor> in, std::span<const kt::Tensor> out,
              std::span<const kt::Tensor> g) {
             const kt::Tensor zero = kt::zeros({1}, kt::f64);
             const auto down = [&](const kt::Tensor& v) {  // v[i-1]
               return kt::concatenate({zero, v(kt::slice(0, -1))});
             };
             const auto up = [&](const kt::Tensor& v) {  // v[i+1]
               return kt::concatenate({v(kt::slice(1, kt::end)), zero});
             };
             const kt::Tensor x = out[0];
             const kt::Tensor y = tridiagonal()({down(in[2]), in[1], up(in[0]), g[0]})[0];
             return Tensors{-y * down(x), -y * x, -y * up(x), y};
           }});
  return op;
}

int main() {
  constexpr int points = 50, steps = 40;
  // Temperatures after each step of a rod that starts as `start`, with insulated ends; the
  // conductivity between neighbours is exp(log_k), and stays positive.
  const kt::Tensor start = kt::tensor("start", {points}, kt::f64);
  const kt::Tensor measured = kt::tensor("measured", {steps, points}, kt::f64);
  kt::Shared log_k = kt::shared(kt::Array::full({points - 1}, std::log(0.5), kt::f64), "log_k");

  const kt::Tensor none = kt::zeros({1}, kt::f64);
  const kt::Tensor k = kt::exp(log_k);
  const kt::Tensor left = kt::concatenate({none, k}), right = kt::concatenate({k, none});
  const kt::Tensor course = kt::scan(
      [&](kt::Tensor temperature) {
        return tridiagonal()({-left, 1 + left + right, -right, temperature})[0];
      },
      {.outputs_info = {start}, .n_steps = kt::Dim(steps)});
  const kt::Tensor error = kt::mean(kt::square(course - measured));
  const kt::Tensor gradient = kt::grad(error, log_k);
  const auto simulate = kt::function({start}, course, {.name = "simulate"});
  kt::Shared velocity = kt::shared(kt::Array::zeros({points - 1}, kt::f64), "velocity");
  const kt::Tensor next = 0.97 * velocity - 2.0 * gradient;
  const auto fit =
      kt::function({start, measured}, error,
                   {.updates = {{velocity, next}, {log_k, log_k + next}}, .name = "fit"});

  // Measure a rod of which a part conducts badly, then look for that part.
  kt::Array initial = kt::Array::zeros({points}, kt::f64);
  for (int i = 0; i < points; ++i) initial(i) = 3 * std::sin(0.9 * i) + std::cos(0.31 * i * i);
  kt::Array truth = kt::Array::full({points - 1}, std::log(0.5), kt::f64);
  for (int i = 20; i < 28; ++i) truth(i) = std::log(0.1);
  const kt::Array guess = log_k.get_value();
  log_k.set_value(truth);
  const kt::Array data = simulate(initial);
  log_k.set_value(guess);

  double last = 0;
  for (int iteration = 0; iteration <= 3000; ++iteration) {
    last = fit(initial, data).item<double>();
    if (iteration % 500 == 0) std::cout << "iteration " << iteration << "  error " << last << "\n";
  }
  const kt::Array found = log_k.get_value();
  std::cout << "conductivity found at 10: " << std::exp(found(10).item<double>())
            << " (0.5), at 24: " << std::exp(found(24).item<double>()) << " (0.1)\n";
  return last < 1e-5 ? 0 : 1;
}
