// Logistic regression in CNTK's style: a learner with a learning-rate schedule, and a trainer.
#include <kroton/kroton.h>

#include <cstdio>
namespace kt = kroton;

int main() {
  // 5000 points in two classes, around (2, 0) and (0, 2).
  kt::RandomStream random(/*seed=*/1);
  auto drawn = random.integers({5000}, 0, 2);
  auto around = random.normal({5000, 2}, 2 * kt::one_hot(drawn, 2));
  auto [points, classes] = kt::function({}, {around, drawn})();

  auto features = kt::tensor("features", {kt::dim("batch"), 2});
  auto labels = kt::vector("labels", kt::i64);
  kt::nn::Sequential z{kt::nn::Dense(2)};
  kt::optim::Sgd learner({.rate = kt::optim::per_minibatch({0.1})});
  auto eval_error = [](const auto& p, const auto& y) { return 1 - kt::nn::accuracy(p, y); };
  kt::nn::Trainer trainer(z, features, labels, kt::nn::cross_entropy_of, learner,
                          {.metrics = {{"error", eval_error}}});

  // Minibatches of 25 points drawn at random: 200 in an epoch, 400 in all.
  kt::data::Loader batches(kt::data::from_arrays(points, classes), {.batch = 25});
  for (int epoch = 0; epoch < 2; ++epoch) {
    for (batches.start(epoch); auto batch = batches.next();) {
      trainer.train_minibatch(batch->x, batch->labels);
    }
  }

  const auto result = trainer.evaluate(points, classes);
  std::printf("loss %.4f, error %.2f %%\n", result.loss, 100 * result["error"]);
}
