// Accesses across memory, small inner axes and strides, reshapes between operations.
#include <cmath>

#include "programs.h"

namespace kt = kroton;

namespace bench {
namespace {

using T = kt::Tensor;

// Accelerations of bodies that attract each other.
Program bodies(const Sizes& n) {
  Inputs in;
  const auto places = in.data({n[0], n[1]}), masses = in.data({n[0]});
  const auto apart = kt::expand_dims(places, 0) - kt::expand_dims(places, 1);
  const auto squares = kt::sum(kt::square(apart), 2) + 0.01;
  const auto pull = kt::expand_dims(masses, 0) / (squares * kt::sqrt(squares));
  return in.gives({kt::sum(apart * kt::expand_dims(pull, 2), 1)});
}

T pooled(const T& x, const Sizes& n) {
  const auto blocks = kt::reshape(x, {x.shape(0), n[1], n[2] / 2, 2, n[3] / 2, 2});
  return kt::max(blocks, {3, 5});
}

Program pooling(const Sizes& n) {
  Inputs in;
  return in.gives({pooled(in.data({n[0], n[1], n[2], n[3]}), n)});
}

Program pooling_gradient(const Sizes& n) {
  Inputs in;
  const auto x = in.data({n[0], n[1], n[2], n[3]});
  return in.gives({kt::grad(kt::sum(kt::square(pooled(x, n))), x)});
}

Program rotated_points(const Sizes& n) {
  Inputs in;
  const auto points = in.data({n[0], 3}), rotation = in.known({3, 3});
  return in.gives({kt::dot(points, kt::transpose(rotation))});
}

T complex_product(const T& x, const T& y) {
  const auto a = x(kt::all, 0), b = x(kt::all, 1), c = y(kt::all, 0), d = y(kt::all, 1);
  return kt::stack({a * c - b * d, a * d + b * c}, 1);
}

// (batch, time, width, width of the result)
Program dense(const Sizes& n) {
  Inputs in;
  const auto x = in.data({n[0], n[1], n[2]});
  const auto w = in.known({n[2], n[3]}, 0.1), b = in.known({n[3]});
  return in.gives({kt::relu(kt::matmul(x, w) + b)});
}

T split_heads(const T& x, std::int64_t heads) {
  const auto parts =
      kt::reshape(x, {x.shape(0), x.shape(1), heads, kt::floor_div(x.shape(2), heads)});
  return kt::transpose(parts, {0, 2, 1, 3});
}

T merge_heads(const T& x) {
  const auto turned = kt::transpose(x, {0, 2, 1, 3});
  return kt::reshape(turned, {x.shape(0), x.shape(2), x.shape(1) * x.shape(3)});
}

struct Attention {
  Inputs in;
  std::vector<T> weights;
  T result;
};

// (batch, time, width, heads)
Attention attention(const Sizes& n) {
  Attention made;
  const auto x = made.in.data({n[0], n[1], n[2]});
  for (int k = 0; k < 4; ++k) made.weights.push_back(made.in.known({n[2], n[2]}, 0.2));
  const auto part = [&](std::size_t k) {
    return split_heads(kt::matmul(x, made.weights[k]), n[3]);
  };
  const std::int64_t width = n[2] / n[3];
  const double scale = 1 / std::sqrt(static_cast<double>(width));
  const auto scores = kt::matmul(part(0), kt::swapaxes(part(1), 2, 3)) * scale;
  made.result = kt::matmul(merge_heads(kt::matmul(kt::softmax(scores), part(2))), made.weights[3]);
  return made;
}

Program attention_forward(const Sizes& n) {
  const Attention made = attention(n);
  return made.in.gives({made.result});
}

Program attention_gradient(const Sizes& n) {
  const Attention made = attention(n);
  return made.in.gives(kt::grad(kt::sum(kt::square(made.result)), made.weights));
}

Program heads_split(const Sizes& n) {
  Inputs in;
  return in.gives({split_heads(in.data({n[0], n[1], n[2]}), n[3]) * 2});
}

Program heads_merged(const Sizes& n) {
  Inputs in;
  return in.gives({merge_heads(in.data({n[0], n[3], n[1], n[2] / n[3]})) * 2});
}

// (inputs, hidden, outputs)
Program jacobian(const Sizes& n) {
  Inputs in;
  const auto x = in.known({n[0]}), first = in.known({n[1], n[0]}), second = in.known({n[2], n[1]});
  const auto y = kt::dot(second, kt::tanh(kt::dot(first, x)));
  return in.gives(
      {kt::map([&](const T& k) { return kt::grad(y[k], x); }, {kt::arange(y.shape(0))})});
}

// Images cut into squares of 8 and embedded: (images, size, channels, width of the result)
Program patches(const Sizes& n) {
  Inputs in;
  const auto x = in.data({n[0], n[1], n[1], n[2]});
  const auto w = in.known({64 * n[2], n[3]}, 0.1);
  const std::int64_t count = n[1] / 8;
  const auto cut = kt::reshape(x, {x.shape(0), count, 8, count, 8, n[2]});
  const auto rows =
      kt::reshape(kt::transpose(cut, {0, 1, 3, 2, 4, 5}), {x.shape(0) * count * count, 64 * n[2]});
  return in.gives({kt::dot(rows, w)});
}

}  // namespace

Family access_programs() {
  return {
      {"transpose", of_one([](const T& x) { return kt::transpose(x); })},
      {"add_transposed", of_two([](const T& x, const T& y) { return x + kt::transpose(y); })},
      {"sum_columns_of_product",
       of_two([](const T& x, const T& y) { return kt::sum(x * kt::transpose(y), 0); })},
      {"sum_rows_of_product",
       of_two([](const T& x, const T& y) { return kt::sum(x * kt::transpose(y), 1); })},
      {"softmax_of_transposed", of_one([](const T& x) { return kt::softmax(kt::transpose(x)); })},
      {"permute_0213", of_one([](const T& x) { return kt::transpose(x, {0, 2, 1, 3}); })},
      {"permute_0231", of_one([](const T& x) { return kt::transpose(x, {0, 2, 3, 1}); })},
      {"permute_0312", of_one([](const T& x) { return kt::transpose(x, {0, 3, 1, 2}); })},
      {"permute_1032", of_one([](const T& x) { return kt::transpose(x, {1, 0, 3, 2}); })},
      {"permute_3210", of_one([](const T& x) { return kt::transpose(x); })},
      {"add_permuted",
       of_two([](const T& x, const T& y) { return x + kt::transpose(y, {0, 3, 2, 1}); })},
      {"transpose_small", of_one([](const T& x) { return kt::swapaxes(x, 1, 2); })},
      {"reversed", of_one([](const T& x) { return x(kt::slice(kt::end, kt::end, -1)) + x; })}};
}

Family stride_programs() {
  return {{"bodies", bodies},
          {"pooling", pooling},
          {"pooling_gradient", pooling_gradient},
          {"every_second", of_one([](const T& x) {
             return 2 * x(kt::slice(0, kt::end, 2)) + x(kt::slice(1, kt::end, 2));
           })},
          {"every_second_column",
           of_one([](const T& x) { return kt::exp(x(kt::all, kt::slice(0, kt::end, 2))); })},
          {"small_products", of_two([](const T& x, const T& y) { return kt::matmul(x, y); })},
          {"rotated_points", rotated_points},
          {"complex_product", of_two(complex_product)}};
}

Family reshape_programs() {
  return {{"dense", dense},
          {"attention", attention_forward},
          {"attention_gradient", attention_gradient},
          {"split_heads", heads_split},
          {"merge_heads", heads_merged},
          {"jacobian", jacobian},
          {"patches", patches}};
}

}  // namespace bench
