// What this machine's GPU reaches: whole training steps with CUDA graphs and without, products.
//   kroton_gpu_rates            prints the rates
//   kroton_gpu_rates --check    only whether there is a GPU to use: exits with 1 and says what is
//                               missing if not
#include <kroton/kroton.h>

#include <chrono>
#include <cstdio>
#include <cstring>

namespace kt = kroton;

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Seconds of one call, from as many as take half a second together. `finish` waits for the device.
template <class Call, class Finish>
double seconds_of(const Call& call, const Finish& finish) {
  for (int i = 0; i < 3; ++i) call();
  finish();
  for (int count = 10;; count *= 2) {
    const Clock::time_point start = Clock::now();
    for (int i = 0; i < count; ++i) call();
    finish();
    const double total = seconds_since(start);
    if (total > 0.5) return total / count;
  }
}

// A classifier of two layers with its training step. The batch comes from the host and the loss
// goes there, or both stay on the device.
double step_seconds(std::int64_t batch, std::int64_t hidden, const kt::Target& target, bool stays) {
  const auto x = kt::tensor("x", {kt::dim("batch"), 784});
  const auto labels = kt::tensor("labels", {kt::dim("batch")}, kt::i64);
  const auto w1 = kt::shared(kt::Array::normal({784, hidden}, 1, 0, 0.05), "w1");
  const auto b1 = kt::shared(kt::Array::zeros({hidden}), "b1");
  const auto w2 = kt::shared(kt::Array::normal({hidden, 10}, 2, 0, 0.05), "w2");
  const auto b2 = kt::shared(kt::Array::zeros({10}), "b2");
  const auto logits = kt::dot(kt::relu(kt::dot(x, w1) + b1), w2) + b2;
  const auto loss = kt::mean(kt::softmax_cross_entropy(logits, labels));
  const auto [gw1, gb1, gw2, gb2] = kt::grad(loss, w1, b1, w2, b2);
  const auto step = kt::function({x, labels}, loss,
                                 {.updates = {{w1, w1 - 0.01 * gw1},
                                              {b1, b1 - 0.01 * gb1},
                                              {w2, w2 - 0.01 * gw2},
                                              {b2, b2 - 0.01 * gb2}},
                                  .name = "step",
                                  .target = target,
                                  .uploads = !stays,
                                  .downloads = !stays});
  const kt::Target place = stays ? target : kt::cpu();
  const kt::Array xs = kt::Array::normal({batch, 784}, 3).to(place);
  const kt::Array ls = kt::Array::zeros({batch}, kt::i64).to(place);
  return seconds_of([&] { step(xs, ls); }, [&] { kt::synchronize(target); });
}

// A square product of shared variables: nothing moves between host and device.
double product_seconds(std::int64_t n, const kt::Target& target) {
  const auto a = kt::shared(kt::Array::normal({n, n}, 1), "a");
  const auto b = kt::shared(kt::Array::normal({n, n}, 2), "b");
  const auto c = kt::shared(kt::Array::zeros({n, n}), "c");
  const auto f = kt::function({}, {.updates = {{c, kt::dot(a, b)}}, .target = target});
  return seconds_of([&] { f(); }, [&] { static_cast<void>(c.get_value()); });
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const auto x = kt::vector("x");
    const auto twice = kt::function({x}, 2 * x, {.name = "check", .target = kt::cuda()});
    if (twice(kt::Array::ones({3})).data<float>()[2] != 2) {
      std::fprintf(stderr, "the GPU computes 2 * 1 wrongly\n");
      return 1;
    }
  } catch (const kt::DeviceError& error) {
    std::fprintf(stderr, "no GPU to use: %s\n", error.what());
    return 1;
  }
  if (argc > 1 && std::strcmp(argv[1], "--check") == 0) {
    std::puts("this machine has a GPU to use");
    return 0;
  }

  const kt::Target all = kt::cuda();
  kt::Target no_graphs = all, no_products = all;
  no_graphs.graphs = false;
  no_products.products = false;
  std::printf("training step of 784-hidden-10, arguments from the host, microseconds:\n");
  std::printf("%8s %8s %14s %14s %14s %14s\n", "batch", "hidden", "graph", "no graph",
              "no cuBLASLt", "on the device");
  for (const auto& [batch, hidden] : {std::pair{128, 512}, {1024, 512}, {1024, 4096}}) {
    std::printf("%8d %8d", batch, hidden);
    for (const kt::Target& target : {all, no_graphs, no_products}) {
      std::printf(" %14.1f", step_seconds(batch, hidden, target, false) * 1e6);
    }
    std::printf(" %14.1f\n", step_seconds(batch, hidden, all, true) * 1e6);
  }
  std::printf("\nproduct of two n x n matrices, f32, GFLOP/s (cuBLASLt's where it is there):\n");
  std::printf("%8s %14s %14s\n", "n", "library", "our kernel");
  for (const std::int64_t n : {256, 1024, 4096}) {
    const auto size = static_cast<double>(n);
    std::printf("%8lld", static_cast<long long>(n));
    for (const kt::Target& target : {all, no_products}) {
      std::printf(" %14.0f", 2 * size * size * size / product_seconds(n, target) * 1e-9);
    }
    std::printf("\n");
  }
  return 0;
}
