// Order, running products, special functions, transforms; linear algebra; Jacobians and Hessians.
#include "programs.h"

namespace kt = kroton;

namespace bench {
namespace {

using T = kt::Tensor;

// Of numbers in no order.
T mixed(Inputs& in, const Sizes& n) {
  return kt::cast(in.numbers(kt::Shape(std::span<const std::int64_t>(n)), 1 << 24), kt::f32) /
         (1 << 24);
}

template <T (*f)(const T&)>
Program of_mixed(const Sizes& n) {
  Inputs in;
  return in.gives({f(mixed(in, n))});
}

T sorted(const T& x) { return kt::sort(x); }
T order(const T& x) { return kt::argsort(x); }
T largest(const T& x) { return kt::topk(x, 5).first; }
T median(const T& x) { return kt::median(x, -1); }
T running_product(const T& x) { return kt::cumprod(x + 0.5, -1); }
T running_maximum(const T& x) { return kt::cummax(x, 0); }
T error_function(const T& x) { return kt::erfc(3 * x); }
T log_gamma(const T& x) { return kt::gammaln(5 * x + 0.5); }
T bessel(const T& x) { return kt::j0(20 * x); }
T incomplete_gamma(const T& x) { return kt::gammainc(x * 0 + 2.5, 5 * x); }

// (rows, elements)
Program spectrum(const Sizes& n) {
  Inputs in;
  const kt::Complex y = kt::rfft(in.data({n[0], n[1]}));
  return in.gives({kt::square(y.re) + kt::square(y.im)});
}

// Symmetric positive definite matrices: (matrices, rows).
T definite(const T& x) { return kt::matmul(x, kt::swapaxes(x, -1, -2)) + kt::eye(x.shape(2)); }
T matrices(Inputs& in, const Sizes& n) { return definite(in.data({n[0], n[1], n[1]})); }

Program factor(const Sizes& n) {
  Inputs in;
  return in.gives({kt::cholesky(matrices(in, n))});
}
Program system(const Sizes& n) {
  Inputs in;
  const T a = matrices(in, n);
  return in.gives({kt::solve(a, in.data({n[0], n[1], 1}))});
}
Program inverse(const Sizes& n) {
  Inputs in;
  return in.gives({kt::inv(matrices(in, n))});
}
Program determinant_gradient(const Sizes& n) {
  Inputs in;
  const T x = in.data({n[0], n[1], n[1]});
  const T cost = kt::sum(kt::slogdet(definite(x)).logabsdet);
  return in.gives({kt::grad(cost, x)});
}
Program eigenvalues(const Sizes& n) {
  Inputs in;
  return in.gives({kt::eigvalsh(matrices(in, n))});
}
// (matrices, rows): of three in a row.
Program products(const Sizes& n) {
  Inputs in;
  const kt::Shape shape = {n[0], n[1], n[1]};
  const T a = in.data(shape), b = in.data(shape), c = in.data(shape);
  return in.gives({kt::einsum("bij,bjk,bkl->bil", {a, b, c})});
}

// Of two layers by their input: (outputs, hidden, inputs).
Program layers_jacobian(const Sizes& n) {
  Inputs in;
  const T x = in.known({n[2]}), v = in.known({n[1], n[2]}), w = in.known({n[0], n[1]});
  return in.gives({kt::jacobian(kt::tanh(kt::dot(w, kt::tanh(kt::dot(v, x)))), x)});
}
// Of the residuals of a sum of peaks by their heights, places, widths: (points, peaks).
Program peaks_jacobian(const Sizes& n) {
  Inputs in;
  const T p = in.known({n[1], 3}), at = in.known({n[0]});
  const auto of = [&](int k) { return p(kt::all, kt::slice(k, k + 1)); };
  const T apart = (at - of(1)) / (of(2) + 1);
  return in.gives({kt::jacobian(kt::sum(of(0) * kt::exp(-kt::square(apart)), 0), p)});
}
// Of a logistic regression's loss by its weights: (examples, features).
Program logistic_hessian(const Sizes& n) {
  Inputs in;
  const T w = in.known({n[1]}), x = in.data({n[0], n[1]});
  return in.gives({kt::hessian(kt::sum(kt::softplus(kt::dot(x, w))), w)});
}
Program rosenbrock_hessian(const Sizes& n) {
  Inputs in;
  const T x = in.known({n[0]});
  const T ahead = x(kt::slice(1, kt::end)), behind = x(kt::slice(0, n[0] - 1));
  const T cost = kt::sum(100 * kt::square(ahead - kt::square(behind)) + kt::square(1 - behind));
  return in.gives({kt::hessian(cost, x)});
}

}  // namespace

Family operation_programs() {
  return {{"sort", of_mixed<sorted>},
          {"argsort", of_mixed<order>},
          {"topk", of_mixed<largest>},
          {"median", of_mixed<median>},
          {"cumprod", of_mixed<running_product>},
          {"cummax", of_mixed<running_maximum>},
          {"erfc", of_mixed<error_function>},
          {"gammaln", of_mixed<log_gamma>},
          {"bessel_j0", of_mixed<bessel>},
          {"gammainc", of_mixed<incomplete_gamma>},
          {"rfft_power", spectrum}};
}

Family linalg_programs() {
  return {{"cholesky", factor},      {"solve", system},
          {"inv", inverse},          {"logdet_gradient", determinant_gradient},
          {"eigvalsh", eigenvalues}, {"products", products}};
}

Family jacobian_programs() {
  return {{"layers", layers_jacobian},
          {"peaks", peaks_jacobian},
          {"logistic_hessian", logistic_hessian},
          {"rosenbrock_hessian", rosenbrock_hessian}};
}

}  // namespace bench
