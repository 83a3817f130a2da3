// Logistic regression in Theano's style: symbolic variables, shared parameters, grad, updates.
#include <kroton/kroton.h>

#include <cstdio>
namespace kt = kroton;

int main() {
  // Two classes of 2,500 points each, around (0, 0) and (2, 2).
  const int n = 5000;
  kt::Array points = kt::Array::normal({n, 2}, /*seed=*/3);
  kt::Array classes = kt::Array::zeros({n});
  for (int i = 0; i < n; i += 2) {
    classes.data<float>()[i] = 1;
    points.data<float>()[2 * i] += 2;
    points.data<float>()[2 * i + 1] += 2;
  }

  auto x = kt::matrix("x");
  auto y = kt::vector("y");
  auto w = kt::shared(kt::Array::normal({2, 1}, /*seed=*/1), "w");
  auto b = kt::shared(kt::Array::zeros({1}), "b");

  auto p = 1 / (1 + kt::exp(-kt::dot(x, w) - b));
  auto q = p(kt::all, 0);
  auto xent = -y * kt::log(q) - (1 - y) * kt::log(1 - q);
  auto loss = kt::mean(xent) + 0.01 * kt::sum(kt::square(w));
  auto [gw, gb] = kt::grad(loss, w, b);
  auto train = kt::function({x, y}, loss, {.updates = {{w, w - 0.1 * gw}, {b, b - 0.1 * gb}}});

  kt::data::Batches batches(n, 25, /*seed=*/7);
  kt::Array batch_x = kt::Array::empty({25, 2});
  kt::Array batch_y = kt::Array::empty({25});
  for (int call = 0, epoch = 0; call < 5000; ++epoch) {
    float err = 0;
    for (auto rows : batches.next_epoch()) {
      for (std::size_t i = 0; i < rows.size(); ++i) {
        batch_x.data<float>()[2 * i] = points.data<float>()[2 * rows[i]];
        batch_x.data<float>()[2 * i + 1] = points.data<float>()[2 * rows[i] + 1];
        batch_y.data<float>()[i] = classes.data<float>()[rows[i]];
      }
      err = train(batch_x, batch_y).item<float>();
      ++call;
    }
    if (epoch % 5 == 4) std::printf("after %4d calls: loss %.4f\n", call, err);
  }

  auto wrong = kt::sum(kt::cast(kt::ne(q > 0.5, y > 0.5), kt::i64));
  auto errors = kt::function({x, y}, wrong)(points, classes).item<std::int64_t>();
  std::printf("accuracy %.2f %%\n", 100.0 * static_cast<double>(n - errors) / n);
}
