// What a GPU takes for functions of every kind, whose data is on the device unless a name ends in
// "_host". One JSON object a line: {"who": "kroton", "case": ..., "us": ...}.
//   kroton_gpu_benchmarks [--small] [--compile] [--after CASE] [PART OF A NAME...]
//   --small: sizes that an emulator can do; --compile: functions are compiled, not run; --after:
//   the cases behind that one
// A line "# CASE" comes before each. Exit status 3: that case took too long or has spoiled the
// device, and there may be others, which --after goes on with.
// tests/gpu/peers.py has the same cases in other frameworks.
#include "tests/gpu/benchmarks.h"

#include <kroton/normalization.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

namespace gpu_benchmarks {
namespace {

using Clock = std::chrono::steady_clock;

bool is_small = false, only_compiles = false;
std::vector<std::string> wanted;
std::string after;                      // the case that was the last; empty: none
std::atomic<std::int64_t> case_number;  // of the case in progress
constexpr int spoilt = 3;
constexpr std::chrono::seconds longest_case{25};

std::string in_one_line(std::string text) {
  for (char& c : text) {
    if (c == '\n' || c == '"' || c == '\\') c = ' ';
  }
  return text.substr(0, 300);
}

bool is_wanted(const std::string& name) {
  return wanted.empty() || std::any_of(wanted.begin(), wanted.end(), [&](const std::string& part) {
           return name.find(part) != std::string::npos;
         });
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Calls on one device run one after the other: this one has waited for those before it.
void wait() {
  static const auto one = kt::shared(kt::Array::ones({1}), "one");
  static const auto f = kt::function({}, one + 0, {.name = "wait", .target = kt::cuda()});
  f();
}

}  // namespace

std::int64_t size(std::int64_t large, std::int64_t small) { return is_small ? small : large; }

void measure(const std::string& name, const Work& work, const std::function<void()>& call) {
  if (only_compiles) {
    wait();
    return;
  }
  for (int i = 0; i < 3; ++i) call();  // plain, captured, replayed
  wait();
  Clock::time_point start = Clock::now();
  call();
  wait();
  const double once = std::max(seconds_since(start), 1e-6);
  const int count = is_small ? 1 : std::clamp(static_cast<int>(0.05 / once), 3, 5000);
  std::vector<double> times;
  for (int round = 0; round < 3; ++round) {
    start = Clock::now();
    for (int i = 0; i < count; ++i) call();
    wait();
    times.push_back(seconds_since(start) / count);
  }
  std::sort(times.begin(), times.end());
  std::printf(
      "{\"who\": \"kroton\", \"case\": \"%s\", \"us\": %.2f, \"spread\": %.2f, \"GB/s\": %.0f, "
      "\"TFLOP/s\": %.2f}\n",
      name.c_str(), times[1] * 1e6, times[2] / times[0], work.bytes / times[1] * 1e-9,
      work.operations / times[1] * 1e-12);
  std::fflush(stdout);
}

void run(const std::string& name, const std::function<void()>& body) {
  if (!after.empty()) {
    if (name == after) after.clear();
    return;
  }
  if (!is_wanted(name)) return;
  const auto fail = [&name](const std::string& why) {
    std::printf("{\"who\": \"kroton\", \"case\": \"%s\", \"error\": \"%s\"}\n", name.c_str(),
                in_one_line(why).c_str());
    std::fflush(stdout);
  };
  std::printf("# %s\n", name.c_str());
  std::fflush(stdout);
  if (!is_small && !only_compiles) {
    const std::int64_t number = ++case_number;
    std::thread([number, fail] {
      std::this_thread::sleep_for(longest_case);
      if (case_number != number) return;
      fail("took longer than 25 s");
      std::_Exit(spoilt);
    }).detach();
  }
  try {
    body();
  } catch (const std::exception& error) {
    fail(error.what());
    const bool lasts = std::strstr(error.what(), "cannot be used in this process") != nullptr;
    if (lasts) std::_Exit(spoilt);
  }
  ++case_number;
}

kt::Shared data(const kt::Shape& shape, std::uint64_t seed, double scale, kt::DType dtype) {
  return kt::shared(kt::Array::normal(shape, seed, 0, scale, dtype), "d" + std::to_string(seed));
}

void resident(const std::string& name, const Work& work, const std::function<kt::Tensor()>& value,
              const kt::Target& target) {
  run(name, [&] {
    const kt::Tensor y = value();
    std::vector<std::int64_t> sizes;
    for (const kt::Dim& dim : y.shape()) sizes.push_back(dim.constant());
    const auto out = kt::shared(kt::Array::zeros(kt::Shape(sizes), y.dtype()), "out");
    const auto f = kt::function({}, {.updates = {{out, y}}, .name = "f", .target = target});
    measure(name, work, [&] { f(); });
  });
}

namespace {

void elementwise() {
  const std::int64_t n = size(10'000'000, 100), q = size(4096, 33);
  const auto x = data({n}, 1), y = data({n}, 2);
  resident("add_1e7", {12 * real(n), 0}, [&] { return x + y; });
  resident("tanh_1e7", {8 * real(n), 0}, [&] { return kt::tanh(x); });
  resident("mixed_1e7", {12 * real(n), 0},
           [&] { return kt::tanh(x * y + 1) * kt::exp(-kt::square(x)) + y / 2 - x * kt::relu(y); });
  resident("sum_all_1e7", {4 * real(n), 0}, [&] { return kt::sum(x); });
  resident("argmax_all_1e7", {4 * real(n), 0}, [&] { return kt::argmax(x, 0); });
  resident("cumsum_1e7", {8 * real(n), 0}, [&] { return kt::cumsum(x, 0); });
  resident("concatenate_1e7", {16 * real(n), 0}, [&] { return kt::concatenate({x, y}, 0); });
  const auto d = data({n / 10}, 3, 1, kt::f64);
  resident("exp_f64_1e6", {16 * real(n / 10), 0}, [&] { return kt::exp(d); });
  const auto m = data({q, q}, 4);
  resident("transpose_4096", {8 * real(q) * real(q), 0}, [&] { return kt::transpose(m) + 1; });
}

void rows() {
  const std::vector<std::pair<std::int64_t, std::int64_t>> large{
      {1000, 1000}, {8, 1'000'000}, {8192, 1024}},
      small{{10, 10}, {2, 100}, {20, 33}};
  for (std::size_t k = 0; k < large.size(); ++k) {
    const auto [r, c] = is_small ? small[k] : large[k];
    const std::string by = std::to_string(large[k].first) + "x" + std::to_string(large[k].second);
    const auto m = data({r, c}, 5);
    const double bytes = 4 * real(r) * real(c);
    resident("softmax_" + by, {2 * bytes, 0}, [&] { return kt::softmax(m); });
    resident("log_softmax_" + by, {2 * bytes, 0}, [&] { return kt::log_softmax(m); });
    const auto scale = data({c}, 6), shift = data({c}, 7);
    resident("layernorm_" + by, {2 * bytes, 0}, [&] { return kt::layer_norm(m, scale, shift); });
    const auto weight = data({r, c}, 8);
    resident("layernorm_grad_" + by, {3 * bytes, 0},
             [&] { return kt::grad(kt::sum(kt::layer_norm(m, scale, shift) * weight), m); });
    resident("sum_rows_" + by, {bytes, 0}, [&] { return kt::sum(m, 1); });
    resident("sum_cols_" + by, {bytes, 0}, [&] { return kt::sum(m, 0); });
    resident("argmax_rows_" + by, {bytes, 0}, [&] { return kt::argmax(m, 1); });
  }
  const std::int64_t n = size(1'000'000, 100);
  const auto narrow = data({n, 8}, 9), ten = data({n, 10}, 10), sixty = data({n / 10, 60}, 11);
  resident("sum_cols_1e6x8", {32 * real(n), 0}, [&] { return kt::sum(narrow, 0); });
  resident("softmax_1e6x10", {80 * real(n), 0}, [&] { return kt::softmax(ten); });
  resident("softmax_1e5x60", {48 * real(n), 0}, [&] { return kt::softmax(sixty); });
  const auto steps = data({size(10000, 20), 256}, 12);
  resident("cumsum_down_10000x256", {0, 0}, [&] { return kt::cumsum(steps, 0); });
}

void indexed() {
  const std::int64_t rows = size(50000, 50), n = size(100000, 60), width = size(256, 5);
  kt::Array numbers = kt::Array::zeros({n}, kt::i64);
  for (std::int64_t i = 0; i < n; ++i) {
    numbers.data<std::int64_t>()[static_cast<std::size_t>(i)] = i * 7919 % rows;
  }
  const auto ids = kt::shared(numbers, "ids");
  const auto table = data({rows, width}, 13), one = data({n}, 14);
  const double bytes = 8 * real(n) * real(width);
  resident("gather_1e5x256", {bytes, 0}, [&] { return kt::take(table, ids, 0); });
  resident("gather_grad_1e5x256", {bytes + 4 * real(rows) * real(width), 0},
           [&] { return kt::grad(kt::sum(kt::square(kt::take(table, ids, 0))), table); });
  resident("scatter_numbers_1e5", {16 * real(n), 0},
           [&] { return kt::scatter_add(one, ids, {rows}); });
}

void classifier(std::int64_t large, bool from_host, bool tf32 = false) {
  const std::string name = std::string("mlp_") + (tf32 ? "tf32_" : "") + std::to_string(large) +
                           (from_host ? "_host" : "");
  run(name, [&] {
    const std::int64_t batch = size(large, 3 + large / 1000), in = size(784, 20),
                       hidden = size(512, 17);
    const auto w1 = data({in, hidden}, 27, 0.05), w2 = data({hidden, 10}, 28, 0.05);
    const auto b1 = kt::shared(kt::Array::zeros({hidden}), "b1");
    const auto b2 = kt::shared(kt::Array::zeros({10}), "b2");
    const kt::Array pictures = kt::Array::normal({batch, in}, 29);
    const kt::Array classes = kt::Array::zeros({batch}, kt::i64);
    const auto x_in = kt::tensor("x", {kt::dim("batch"), in});
    const auto labels_in = kt::tensor("labels", {kt::dim("batch")}, kt::i64);
    const auto x_here = kt::shared(pictures, "x_here"), labels_here = kt::shared(classes, "l_here");
    const kt::Tensor x = from_host ? x_in : kt::Tensor(x_here);
    const kt::Tensor labels = from_host ? labels_in : kt::Tensor(labels_here);
    const auto scores = kt::dot(kt::relu(kt::dot(x, w1) + b1), w2) + b2;
    const auto loss = kt::mean(kt::softmax_cross_entropy(scores, labels));
    const auto [g1, h1, g2, h2] = kt::grad(loss, w1, b1, w2, b2);
    kt::Target target = kt::cuda();
    target.tf32 = tf32;
    const kt::FunctionOptions options{.updates = {{w1, w1 - 0.01 * g1},
                                                  {b1, b1 - 0.01 * h1},
                                                  {w2, w2 - 0.01 * g2},
                                                  {b2, b2 - 0.01 * h2}},
                                      .name = "mlp",
                                      .target = target};
    const Work work{0, 6 * real(batch) * real(in) * real(hidden)};
    if (from_host) {
      const auto f = kt::function({x_in, labels_in}, loss, options);
      measure(name, work, [&] { f(pictures, classes); });
    } else {
      const auto f = kt::function({}, loss, options);
      measure(name, work, [&] { f(); });
    }
  });
}

void recurrent() {
  for (const auto& [large_batch, large_units] : {std::pair{64, 256}, {1, 64}}) {
    const std::int64_t steps = size(100, 3), batch = size(large_batch, 1 + large_batch / 32),
                       units = size(large_units, large_units / 16);
    const std::string by = "100x" + std::to_string(large_batch) + "x" + std::to_string(large_units);
    const auto x = data({steps, batch, 4 * units}, 30), w = data({units, 4 * units}, 31, 0.05);
    const auto states = [&] {
      const kt::Tensor zero = kt::zeros({batch, units});
      return kt::scan(
          [&](kt::Tensor row, kt::Tensor h, kt::Tensor c) {
            const auto gates = row + kt::dot(h, w);
            const auto gate = [&](std::int64_t k) {
              return gates(kt::all, kt::slice(k * units, (k + 1) * units));
            };
            const kt::Tensor cell =
                kt::sigmoid(gate(1)) * c + kt::sigmoid(gate(0)) * kt::tanh(gate(2));
            return std::pair{kt::sigmoid(gate(3)) * kt::tanh(cell), cell};
          },
          {.sequences = {x}, .outputs_info = {zero, zero}})[0];
    };
    resident("lstm_" + by, {}, states);
    resident("lstm_grad_" + by, {}, [&] { return kt::grad(kt::sum(kt::square(states())), w); });
  }
  const std::int64_t n = size(10000, 20), many = size(4096, 40);
  const auto numbers = data({n}, 32);
  const auto running = [&] {
    return kt::scan([](kt::Tensor now, kt::Tensor before) { return before * 0.9 + now; },
                    {.sequences = {numbers}, .outputs_info = {kt::zeros({})}});
  };
  resident("recurrence_10000", {}, running);
  resident("recurrence_grad_10000", {},
           [&] { return kt::grad(kt::sum(kt::square(running())), numbers); });
  const auto at = data({many}, 33), speed = data({many}, 34);
  resident("oscillators_1000x4096", {}, [&] {
    const auto ends = kt::reduce(
        [](kt::Tensor x, kt::Tensor v) {
          return std::pair{x + 0.01 * v, v - 0.01 * (kt::sin(x) + 0.1 * v)};
        },
        {.outputs_info = {at, speed}, .n_steps = size(1000, 5)});
    return ends[0];
  });
}

}  // namespace

// All cases, or what the program's arguments ask for.
int run_all(int argc, char** argv) {
  for (int k = 1; k < argc; ++k) {
    if (std::strcmp(argv[k], "--small") == 0) {
      is_small = true;
    } else if (std::strcmp(argv[k], "--compile") == 0) {
      only_compiles = true;
    } else if (std::strcmp(argv[k], "--after") == 0 && k + 1 < argc) {
      after = argv[++k];
    } else {
      wanted.emplace_back(argv[k]);
    }
  }
  try {
    elementwise();
    rows();
    indexed();
    products();
    convolutions();
    for (const std::int64_t batch : {128, 4096}) {
      classifier(batch, false);
      classifier(batch, true);
    }
    classifier(4096, false, true);
    recurrent();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gpu benchmarks: %s\n", error.what());
    return 1;
  }
  return 0;
}

}  // namespace gpu_benchmarks

int main(int argc, char** argv) { return gpu_benchmarks::run_all(argc, argv); }
