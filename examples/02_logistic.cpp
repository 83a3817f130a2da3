// Logistic regression in Theano's style: symbolic variables, shared parameters, grad, updates.
#include <kroton/kroton.h>

#include <cstdio>
namespace kt = kroton;

int main() {
  // 5000 points in two classes, around (2, 0) and (0, 2).
  kt::RandomStream random(/*seed=*/1);
  auto drawn = kt::one_hot(random.integers({5000}, 0, 2), 2);
  auto [points, classes] =
      kt::function({}, {random.normal({5000, 2}, 2 * drawn), drawn(kt::all, 1)})();

  auto x = kt::matrix("x"), y = kt::vector("y");
  auto w = kt::shared(kt::Array::normal({2, 1}, /*seed=*/1), "w");
  auto b = kt::shared(kt::Array::zeros({1}), "b");
  auto p = (1 / (1 + kt::exp(-kt::dot(x, w) - b)))(kt::all, 0);
  auto xent = -y * kt::log(p) - (1 - y) * kt::log(1 - p);
  auto loss = kt::mean(xent) + 0.01 * kt::sum(kt::square(w));
  auto [gw, gb] = kt::grad(loss, w, b);
  auto train = kt::function({x, y}, loss, {.updates = {{w, w - 0.1 * gw}, {b, b - 0.1 * gb}}});

  // Minibatches of 25 points drawn at random: 200 in an epoch, 5000 in all.
  kt::data::Loader batches(kt::data::from_arrays(points, classes), {.batch = 25});
  for (int epoch = 0; epoch < 25; ++epoch) {
    for (batches.start(epoch); auto batch = batches.next();) train(batch->x, batch->labels);
  }

  auto accuracy = kt::function({x, y}, kt::mean(kt::eq(p > 0.5, y > 0.5)));
  std::printf("accuracy %.2f %%\n", 100 * accuracy(points, classes).item<float>());
}
