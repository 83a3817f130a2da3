// Positions of extremes, short rows and few columns, and reductions that threads have to share.
#include "programs.h"

namespace kt = kroton;

namespace bench {
namespace {

using T = kt::Tensor;

kt::Tensor logistic_loss(const T& w, const T& x, const T& y) {
  const auto z = kt::dot(x, w);
  return kt::mean(kt::softplus(z) - y * z);
}

Program logistic_gradient(const Sizes& n) {
  Inputs in;
  const auto w = in.known({n[1]}), x = in.data({n[0], n[1]}), y = in.data({n[0]});
  return in.gives({kt::grad(logistic_loss(w, x, y), w)});
}

Program logistic_hessian_product(const Sizes& n) {
  Inputs in;
  const auto w = in.known({n[1]}), x = in.data({n[0], n[1]}), y = in.data({n[0]});
  const auto v = in.known({n[1]});
  const auto gradient = kt::grad(logistic_loss(w, x, y), w);
  return in.gives({kt::grad(kt::sum(gradient * v), w)});
}

// One step of k-means: (points, coordinates, centres).
Program nearest_centres(const Sizes& n) {
  Inputs in;
  const auto x = in.data({n[0], n[1]}), centres = in.known({n[2], n[1]});
  const auto apart = kt::expand_dims(x, 1) - kt::expand_dims(centres, 0);
  const auto nearest = kt::argmin(kt::sum(kt::square(apart), 2), 1);
  const auto sums = kt::scatter_add(x, nearest, {n[2], n[1]});
  const auto counts = kt::scatter_add(kt::ones({x.shape(0)}), nearest, {n[2]});
  return in.gives({sums / kt::expand_dims(kt::maximum(counts, 1), 1)});
}

Program batch_of_one(const Sizes& n) {
  Inputs in;
  const auto x = in.known({1, n[0], n[0]}), y = in.known({1, n[0], n[0]});
  return in.gives({kt::matmul(x, y)});
}

}  // namespace

Family position_programs() {
  return {{"argmax_rows", of_one([](const T& x) { return kt::argmax(x, 1); })},
          {"argmax_rows_free", of_one_free([](const T& x) { return kt::argmax(x, 1); })},
          {"argmin_rows", of_one([](const T& x) { return kt::argmin(x, 1); })},
          {"argmax_columns", of_one([](const T& x) { return kt::argmax(x, 0); })},
          {"argmax_middle", of_one([](const T& x) { return kt::argmax(x, 1); })},
          {"argmax_all", of_one([](const T& x) { return kt::argmax(x); })}};
}

Family short_programs() {
  return {{"max_rows", of_one([](const T& x) { return kt::max(x, 1); })},
          {"max_rows_free", of_one_free([](const T& x) { return kt::max(x, 1); })},
          {"sum_rows", of_one([](const T& x) { return kt::sum(x, 1); })},
          {"sum_rows_free", of_one_free([](const T& x) { return kt::sum(x, 1); })},
          {"softmax_rows", of_one([](const T& x) { return kt::softmax(x, 1); })},
          {"softmax_rows_free", of_one_free([](const T& x) { return kt::softmax(x, 1); })},
          {"log_sum_exp_rows", of_one([](const T& x) { return kt::logsumexp(x, 1); })},
          {"unit_rows",
           of_one([](const T& x) { return x / kt::sqrt(kt::sum(kt::square(x), 1, true) + 0.01); })},
          {"sum_columns", of_one([](const T& x) { return kt::sum(x, 0); })},
          {"sum_columns_free", of_one_free([](const T& x) { return kt::sum(x, 0); })},
          {"max_columns", of_one([](const T& x) { return kt::max(x, 0); })},
          {"running_sum_rows", of_one([](const T& x) { return kt::cumsum(x, 1); })},
          {"running_sum_columns", of_one([](const T& x) { return kt::cumsum(x, 0); })}};
}

Family thread_programs() {
  return {{"logistic_gradient", logistic_gradient},
          {"logistic_hessian_product", logistic_hessian_product},
          {"nearest_centres", nearest_centres},
          {"batch_of_one", batch_of_one},
          {"sum_middle", of_one([](const T& x) { return kt::sum(x, 1); })},
          {"sum_outer_and_inner", of_one([](const T& x) { return kt::sum(x, {0, 2}); })},
          {"mean_and_variance_of_channels", of_one([](const T& x) {
             return kt::stack({kt::mean(x, {0, 2, 3}), kt::var(x, {0, 2, 3})});
           })},
          {"softmax_columns", of_one([](const T& x) { return kt::softmax(x, 0); })},
          {"sum_all", of_one([](const T& x) { return kt::sum(kt::square(x)); })}};
}

}  // namespace bench
