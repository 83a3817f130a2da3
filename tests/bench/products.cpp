// Products, a classifier of digits, and calls that do little.
#include <stdexcept>

#include "ours.h"

namespace kt = kroton;

namespace bench {

Case gemm_case(const Parts& parts) {
  const kt::DType dtype = parts.at(1) == "f64" ? kt::f64 : kt::f32;
  const bool turned_a = parts.at(2)[0] == 'T', turned_b = parts.at(2)[1] == 'T';
  const Parts sizes = split(parts.at(3), 'x');
  const std::int64_t m = std::stol(sizes.at(0)), n = std::stol(sizes.at(1)),
                     k = std::stol(sizes.at(2));
  const kt::Shape shape_a = turned_a ? kt::Shape{k, m} : kt::Shape{m, k};
  const kt::Shape shape_b = turned_b ? kt::Shape{n, k} : kt::Shape{k, n};
  const auto a = kt::tensor("a", {shape_a[0], shape_a[1]}, dtype);
  const auto b = kt::tensor("b", {shape_b[0], shape_b[1]}, dtype);
  const auto f = kt::function(
      {a, b}, kt::dot(turned_a ? kt::transpose(a) : a, turned_b ? kt::transpose(b) : b));
  const kt::Array array_a = filled(shape_a, 0, 1, dtype), array_b = filled(shape_b, 1, 1, dtype);
  kt::Array result = kt::Array::empty({m, n}, dtype);
  auto into = f.into(result);
  return {[into, array_a, array_b]() mutable { into(array_a, array_b); },
          [into, array_a, array_b, result, dtype]() mutable {
            into(array_a, array_b);
            return dtype == kt::f64 ? sample(result.data<double>()) : sample(result.data<float>());
          }};
}

Step mlp_step(std::int64_t batch) {
  const auto x = kt::tensor("x", {kt::dim("batch"), 784});
  const auto labels = kt::tensor("labels", {kt::dim("batch")}, kt::i64);
  const auto w1 = kt::shared(filled({784, 512}, 1, 0.1), "w1");
  const auto b1 = kt::shared(kt::Array::zeros({512}), "b1");
  const auto w2 = kt::shared(filled({512, 10}, 2, 0.1), "w2");
  const auto b2 = kt::shared(kt::Array::zeros({10}), "b2");
  const auto logits = kt::dot(kt::relu(kt::dot(x, w1) + b1), w2) + b2;
  const auto loss = kt::mean(kt::softmax_cross_entropy(logits, labels));
  const auto [gw1, gb1, gw2, gb2] = kt::grad(loss, w1, b1, w2, b2);
  return {{x, labels},
          loss,
          {.updates = {{w1, w1 - 0.01 * gw1},
                       {b1, b1 - 0.01 * gb1},
                       {w2, w2 - 0.01 * gw2},
                       {b2, b2 - 0.01 * gb2}},
           .name = "mlp"},
          {filled({batch, 784}, 3), class_numbers({batch}, 10)}};
}

Case mlp_case(const Parts& parts) { return training_case(mlp_step(std::stol(parts.at(1)))); }

// Not timed: the bytes that a call takes, and those of all its intermediates.
Case memory_case(const Parts& parts) {
  if (parts.at(1) != "mlp") throw std::runtime_error("no such memory: " + parts.at(1));
  Step step = mlp_step(128);
  const auto f = kt::function(step.inputs, step.loss, std::move(step.options));
  const kt::MemoryUse use = f.memory(step.arguments[0], step.arguments[1]);
  return {[] {},
          [use] {
            return std::vector<double>{static_cast<double>(use.arena),
                                       static_cast<double>(use.without_fusion)};
          }};
}

Step logistic_step() {
  const auto x = kt::tensor("x", {kt::dim("batch"), 2});
  const auto y = kt::tensor("y", {kt::dim("batch")});
  const auto w = kt::shared(filled({2}, 1), "w");
  const auto b = kt::shared(kt::Array::zeros({}), "b");
  const auto p = 1 / (1 + kt::exp(-kt::dot(x, w) - b));
  const auto loss =
      kt::mean(-y * kt::log(p) - (1 - y) * kt::log(1 - p)) + 0.01 * kt::sum(kt::square(w));
  const auto [gw, gb] = kt::grad(loss, w, b);
  return {{x, y},
          loss,
          {.updates = {{w, w - 0.1 * gw}, {b, b - 0.1 * gb}}, .name = "logistic"},
          {filled({25, 2}, 3), class_numbers({25}, 2).cast(kt::f32)}};
}

Case call_case(const Parts& parts) {
  if (parts.at(1) == "logistic25") return training_case(logistic_step());
  if (parts.at(1) != "add") throw std::runtime_error("no such call: " + parts.at(1));
  const auto a = kt::scalar("a"), b = kt::scalar("b");
  const auto f = kt::function({a, b}, a + b);
  const kt::Array one(1.5F), two(2.25F);
  return {[=] { f(one, two); }, [=] { return std::vector<double>{f(one, two).item<double>()}; }};
}

}  // namespace bench
