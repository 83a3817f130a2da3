// Loops, branches, prints and products of a library in functions for CUDA: what the host does
// between kernels. The emulator runs them; a GPU does in tests/gpu/run.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <array>
#include <functional>
#include <sstream>

#include "tests/gpu_emulator/emulated_device.h"
#include "tests/tools/compiled_tools.h"
#include "tests/tools/like_cpu.h"

namespace kt = kroton;
using namespace compiled_test;  // NOLINT: tests
using gpu_emulator::TestCuda;

namespace {

kt::Array truth(bool value) { return kt::Array::full({}, value ? 1 : 0, kt::boolean); }

}  // namespace

TEST_CASE("cuda: scans of any length, forward, backward and with taps") {
  const TestCuda cuda;
  const auto x = kt::matrix("x");
  const auto w = kt::matrix("w");
  const auto sums = kt::scan([](kt::Tensor row, kt::Tensor total) { return total + row; },
                             {.sequences = {x}, .outputs_info = {kt::zeros({5})}});
  const auto states =
      kt::scan([](kt::Tensor row, kt::Tensor state,
                  kt::Tensor by) { return kt::tanh(row + kt::dot(state, by)); },
               {.sequences = {x}, .outputs_info = {kt::zeros({5})}, .non_sequences = {w}});
  const auto cost = kt::sum(kt::square(states));
  const auto [gx, gw] = kt::grad(cost, x, w);
  std::vector<std::vector<kt::Array>> calls;
  for (const std::int64_t n : {1, 3, 17}) {
    calls.push_back({kt::Array::normal({n, 5}, 1), kt::Array::normal({5, 5}, 2, 0, 0.5)});
  }
  check_like_cpu({x, w}, {sums, states, states[-1], cost, gx, gw}, calls);
}

TEST_CASE("cuda: a recurrent network trains as on the CPU") {
  const TestCuda cuda;
  struct Network {
    kt::Tensor ids = kt::vector("ids", kt::i64);
    kt::Tensor next = kt::tensor("next", {ids.shape(0)}, kt::i64);
    kt::Shared u = kt::shared(kt::Array::normal({11, 7}, 1, 0, 0.3), "u");
    kt::Shared w = kt::shared(kt::Array::normal({7, 7}, 2, 0, 0.3), "w");
    kt::Shared v = kt::shared(kt::Array::normal({7, 11}, 3, 0, 0.3), "v");
    kt::Tensor states = kt::scan([](kt::Tensor word, kt::Tensor state,
                                    kt::Tensor by) { return kt::tanh(word + kt::dot(state, by)); },
                                 {.sequences = {kt::take(u, ids, 0)},
                                  .outputs_info = {kt::zeros({7})},
                                  .non_sequences = {w}});
    kt::Tensor loss = kt::mean(kt::softmax_cross_entropy(kt::dot(states, v), next));
    kt::Function<1> step(const kt::Target& target) const {
      const auto [gu, gw, gv] = kt::grad(loss, u, w, v);
      return kt::function(
          {ids, next}, loss,
          {.updates = {{u, u - 0.5 * gu}, {w, w - 0.5 * gw}, {v, v - 0.5 * gv}}, .target = target});
    }
  };
  const Network on_cpu, on_cuda;
  const auto cpu_step = on_cpu.step(kt::cpu());
  const auto cuda_step = on_cuda.step(kt::cuda());
  float first = 0, last = 0;
  for (int i = 0; i < 8; ++i) {
    const std::int64_t n = i % 2 == 0 ? 17 : 3;
    kt::Array ids = kt::Array::zeros({n}, kt::i64), next = kt::Array::zeros({n}, kt::i64);
    for (std::int64_t t = 0; t < n; ++t) {
      ids.data<std::int64_t>()[static_cast<std::size_t>(t)] = t * 3 % 11;
      next.data<std::int64_t>()[static_cast<std::size_t>(t)] = (t * 3 + 3) % 11;
    }
    last = cuda_step(ids, next).item<float>();
    if (i == 0) first = last;
    CHECK(last == doctest::Approx(cpu_step(ids, next).item<float>()).epsilon(1e-4));
  }
  CHECK(last < first);
  CHECK(kt::all_close(on_cuda.w.get_value(), on_cpu.w.get_value(), 1e-4, 1e-4));
  kt::Array bad = kt::Array::full({3}, 11, kt::i64);
  const kt::Array before = on_cuda.u.get_value();
  CHECK_THROWS_AS(cuda_step(bad, bad), kt::ValueError);
  CHECK(kt::array_equal(on_cuda.u.get_value(), before));
}

TEST_CASE("cuda: one side of an ifelse is evaluated") {
  const TestCuda cuda;
  const auto c = kt::scalar("c", kt::boolean);
  const auto x = kt::vector("x");
  const auto ids = kt::vector("ids", kt::i64);
  const auto chosen = kt::ifelse(c, kt::sum(kt::tanh(kt::take(x, ids, 0))), kt::sum(x * x));
  const auto gradient = kt::grad(chosen, x);
  const kt::Array values = kt::Array::normal({17}, 1);
  const kt::Array good = kt::Array::from({std::int64_t{16}, std::int64_t{0}});
  const kt::Array bad = kt::Array::from({std::int64_t{17}, std::int64_t{0}});
  check_like_cpu({c, x, ids}, {chosen, gradient},
                 {{truth(true), values, good}, {truth(false), values, bad}});
  const auto f = kt::function({c, x, ids}, {chosen, gradient}, {.target = kt::cuda()});
  CHECK_THROWS_AS(f(truth(true), values, bad), kt::ValueError);
}

TEST_CASE("cuda: printed values come back from the device") {
  const TestCuda cuda;
  std::ostringstream shown;
  std::ostream& before = kt::set_print_stream(shown);
  const auto x = kt::vector("x");
  const auto f = kt::function({x}, kt::print(x * 2, "twice") + 1, {.target = kt::cuda()});
  const kt::Array y = f(kt::Array::from({1.F, 2.F, 4.F}));
  f(kt::Array::zeros({1}));
  kt::set_print_stream(before);
  CHECK(shown.str() == "twice f32 (3,)\n[2. 4. 8.]\ntwice f32 (1,)\n[0.]\n");
  CHECK(kt::array_equal(y, kt::Array::from({3.F, 5.F, 9.F})));
}

TEST_CASE("cuda: a function that the stream of its own print calls is an error") {
  const TestCuda cuda;
  const auto x = kt::vector("x");
  const auto f = kt::function({x}, kt::print(x * 2, "twice") + 1, {.target = kt::cuda()});
  const auto g = kt::function({x}, x * 3, {.target = kt::cuda()});
  // A buffer that calls functions for every text.
  struct Buffer : std::stringbuf {
    std::function<void()> shown;
    std::string failure;
    int sync() override {
      try {
        shown();
      } catch (const kt::DeviceError& error) {
        failure = error.what();
      }
      return 0;
    }
  } buffer;
  float of_another = 0;
  buffer.shown = [&] {
    of_another = g(kt::Array::ones({7})).data<float>()[6];
    f(kt::Array::ones({17}));
  };
  std::ostream stream(&buffer);
  std::ostream& before = kt::set_print_stream(stream);
  const kt::Array y = f(kt::Array::ones({3}));
  kt::set_print_stream(before);
  CHECK(kt::array_equal(y, kt::Array::full({3}, 3.0F)));
  CHECK(of_another == 3);
  CHECK(buffer.failure.find("is called by what its own kt::print is written to") !=
        std::string::npos);
  CHECK(kt::array_equal(f(kt::Array::ones({1})), kt::Array::full({1}, 3.0F)));
}

TEST_CASE("cuda: products by the device's library, with what is done to them") {
  const TestCuda cuda(true);
  const auto x = kt::matrix("x"), y = kt::matrix("y");
  const auto z = kt::matrix("z");
  const auto b = kt::vector("b");
  const auto s = kt::tensor3("s"), t = kt::tensor3("t");
  const std::vector<kt::Tensor> by_library{kt::dot(x, y),
                                           kt::dot(x, y) + b,
                                           0.5 * kt::dot(x, y) + b,
                                           z - 0.1 * kt::dot(x, y),
                                           kt::dot(kt::transpose(y), kt::transpose(x)),
                                           kt::dot(kt::transpose(x), z),
                                           kt::matmul(s, t)};
  const auto arguments = [](std::int64_t m, std::int64_t k, std::int64_t n) {
    return std::vector<kt::Array>{kt::Array::normal({m, k}, 1),    kt::Array::normal({k, n}, 2),
                                  kt::Array::normal({m, n}, 3),    kt::Array::normal({n}, 4),
                                  kt::Array::normal({3, m, k}, 5), kt::Array::normal({3, k, n}, 6)};
  };
  std::vector<std::vector<kt::Array>> calls;
  for (const std::int64_t m : {1, 3, 17}) {
    for (const std::int64_t k : {1, 5, 17}) calls.push_back(arguments(m, k, 7));
  }
  const auto products_of = [&](const kt::Tensor& output,
                               const std::vector<std::vector<kt::Array>>& with) {
    const int before = gpu_emulator::counts().products;
    check_like_cpu({x, y, z, b, s, t}, {output}, with);
    return gpu_emulator::counts().products - before;
  };
  for (std::size_t k = 0; k < by_library.size(); ++k) {
    CAPTURE(k);
    const int done = products_of(by_library[k], calls);
    if (cuda.is_emulated()) CHECK(done == static_cast<int>(calls.size()));
  }
  // Nothing to add up, and what no library does, is left to the kernels.
  const std::vector<std::vector<kt::Array>> empty{arguments(3, 0, 7), arguments(0, 3, 7)};
  CHECK(products_of(by_library[1], empty) == 0);
  CHECK(products_of(kt::relu(kt::dot(x, y) + b), {arguments(3, 5, 7)}) == 0);
  CHECK(products_of(kt::dot(x, y) * b, {arguments(3, 5, 7)}) == 0);
}

TEST_CASE("cuda: products by the device's library in every form that it is given") {
  const TestCuda cuda(true);
  const auto check = [&](const std::vector<kt::Tensor>& inputs, const kt::Tensor& output,
                         const std::vector<kt::Array>& values) {
    const int before = gpu_emulator::counts().products;
    check_like_cpu(inputs, {output}, {values});
    if (cuda.is_emulated()) CHECK(gpu_emulator::counts().products > before);
  };
  for (const kt::DType dtype : {kt::f32, kt::f64}) {
    const auto x = kt::matrix("x", dtype), y = kt::matrix("y", dtype);
    const auto b = kt::vector("b", dtype);
    const auto s = kt::tensor3("s", dtype), t = kt::tensor3("t", dtype);
    const auto of = [&](const kt::Shape& shape, std::uint64_t seed) {
      return random_array(shape, dtype, seed);
    };
    // One row, one column, one inner element; vectors that are added.
    for (const auto& [m, k, n] :
         {std::array{1, 5, 7}, {3, 1, 7}, {3, 5, 1}, {1, 1, 1}, {17, 3, 5}}) {
      CAPTURE(m);
      CAPTURE(k);
      CAPTURE(n);
      check({x, y, b}, kt::dot(x, y) + b, {of({m, k}, 1), of({k, n}, 2), of({n}, 3)});
      check({x, y}, kt::dot(kt::transpose(x), kt::transpose(y)), {of({k, m}, 1), of({n, k}, 2)});
    }
    // Batches; one matrix for all of them.
    check({s, t, b}, kt::matmul(s, t) + b, {of({4, 3, 5}, 1), of({4, 5, 7}, 2), of({7}, 3)});
    check({s, y}, kt::matmul(s, kt::relu(y) + 0), {of({4, 3, 5}, 1), of({5, 7}, 2)});
    // Rows that are longer in memory than in the product.
    const auto part = kt::slice(0, 3);
    check({x, y}, kt::dot(x(kt::all, part), y), {of({5, 8}, 1), of({3, 6}, 2)});
    check({x, y}, kt::dot(x, y(kt::all, part)), {of({5, 4}, 1), of({4, 9}, 2)});
  }
}

TEST_CASE("cuda: products by the device's library in the steps of a scan") {
  const TestCuda cuda(true);
  const auto x = kt::tensor("x", {kt::dim("t"), 3, 7});
  const auto b = kt::tensor("b", {kt::dim("t"), 5});
  const auto w = kt::matrix("w");
  const auto states = kt::scan(
      [](kt::Tensor row, kt::Tensor bias, kt::Tensor state) {
        return kt::dot(kt::transpose(row), kt::dot(row, state)) + bias;
      },
      {.sequences = {x, b}, .outputs_info = {w}});
  std::vector<std::vector<kt::Array>> calls;
  for (const std::int64_t t : {1, 5, 2}) {
    calls.push_back({kt::Array::normal({t, 3, 7}, 1, 0, 0.3), kt::Array::normal({t, 5}, 2),
                     kt::Array::normal({7, 5}, 3)});
  }
  const int before = gpu_emulator::counts().products;
  check_like_cpu({x, b, w}, {states, kt::grad(kt::sum(states), x)}, calls);
  if (cuda.is_emulated()) CHECK(gpu_emulator::counts().products > before);
}

TEST_CASE("cuda: after a failed check nothing of an update by the library is left") {
  const TestCuda cuda(true);
  const auto x = kt::tensor("x", {kt::dim("batch"), 5});
  const auto labels = kt::tensor("labels", {kt::dim("batch")}, kt::i64);
  const auto w = kt::shared(kt::Array::normal({5, 3}, 1), "w");
  const auto square = kt::shared(kt::Array::zeros({5, 5}), "square");
  const auto loss = kt::mean(kt::softmax_cross_entropy(kt::dot(x, w), labels));
  const auto step = kt::function({x, labels}, loss,
                                 {.updates = {{w, w - 0.1 * kt::grad(loss, w)},
                                              {square, square + kt::dot(kt::transpose(x), x)}},
                                  .target = kt::cuda()});
  const auto read = kt::function({}, {w + 0, square + 0}, {.target = kt::cuda()});
  const kt::Array values = kt::Array::normal({4, 5}, 2);
  const kt::Array good = kt::Array::from<std::int64_t>({0, 1, 2, 0});
  const kt::Array bad = kt::Array::from<std::int64_t>({0, 1, 3, 0});
  for (int i = 0; i < 4; ++i) {
    const auto [w_before, square_before] = read();
    CHECK_THROWS_AS(step(values, bad), kt::ValueError);
    const auto [w_after, square_after] = read();
    CHECK(kt::array_equal(w_after, w_before));
    CHECK(kt::array_equal(square_after, square_before));
    CHECK(kt::array_equal(w.get_value(), w_before));
    step(values, good);
    CHECK(!kt::array_equal(w.get_value(), w_before));
  }
}

TEST_CASE("cuda: an update by a product of the device's library is made in place") {
  const TestCuda cuda(true);
  const auto x = kt::matrix("x"), y = kt::matrix("y");
  struct Variables {
    kt::Shared w = kt::shared(kt::Array::normal({5, 7}, 1), "w");
    kt::Shared square = kt::shared(kt::Array::zeros({7, 7}), "square");
  };
  const Variables on_cpu, on_cuda;
  const auto step = [&](const Variables& v, const kt::Target& target) {
    return kt::function({x, y}, {.updates = {{v.w, v.w - 0.1 * kt::dot(kt::transpose(x), y)},
                                             {v.square, kt::dot(kt::transpose(y), y)}},
                                 .target = target});
  };
  const auto cpu_step = step(on_cpu, kt::cpu()), cuda_step = step(on_cuda, kt::cuda());
  const int before = gpu_emulator::counts().products;
  for (const std::int64_t n : {3, 17, 17, 17}) {
    const kt::Array xs = kt::Array::normal({n, 5}, 2), ys = kt::Array::normal({n, 7}, 3);
    cpu_step(xs, ys);
    cuda_step(xs, ys);
  }
  CHECK(kt::all_close(on_cuda.w.get_value(), on_cpu.w.get_value(), 1e-5, 1e-5));
  CHECK(kt::all_close(on_cuda.square.get_value(), on_cpu.square.get_value(), 1e-5, 1e-5));
  // Captured at the third call: noted there, run there and at the fourth.
  if (cuda.is_emulated()) CHECK(gpu_emulator::counts().products == before + 8);
}
