// Logistic regression in TensorFlow 1's style: placeholders of fixed shapes, optimizer.minimize.
#include <kroton/kroton.h>

#include <cstdio>
namespace kt = kroton;

int main() {
  // 5000 points in two classes, around (2, 0) and (0, 2).
  kt::RandomStream random(/*seed=*/1);
  auto drawn = kt::one_hot(random.integers({5000}, 0, 2), 2);
  auto [points, classes] = kt::function({}, {random.normal({5000, 2}, 2 * drawn), drawn})();

  auto x = kt::tensor("x", {25, 2}), y = kt::tensor("y", {25, 2});
  auto w = kt::shared(kt::Array::normal({2, 2}, /*seed=*/1), "w");
  auto b = kt::shared(kt::Array::zeros({2}), "b");
  auto z = kt::dot(x, w) + b;
  auto loss = kt::nn::soft_cross_entropy(z, y);
  kt::optim::Adam adam;
  auto train = kt::function({x, y}, loss, {.updates = adam.minimize(loss, {w, b})});

  // Minibatches of 25 points drawn at random: 200 in an epoch, 5000 in all.
  kt::data::Loader batches(kt::data::from_arrays(points, classes), {.batch = 25});
  kt::Array last;
  for (int epoch = 0; epoch < 25; ++epoch) {
    for (batches.start(epoch); auto batch = batches.next();) last = train(batch->x, batch->labels);
  }
  std::printf("loss %.4f\n", last.item<float>());
}
