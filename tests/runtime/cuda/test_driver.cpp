// Functions for CUDA through the real Device (runtime/cuda), on the driver of the tests.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <atomic>
#include <numeric>
#include <thread>

#include "runtime/device.h"
#include "tests/fake_driver/process.h"

namespace kt = kroton;
using fake_driver::Process;

namespace {

// A classifier of one layer whose update is a product: in place on the device, if it may be.
struct Classifier {
  kt::Tensor x = kt::tensor("x", {kt::dim("batch"), 5});
  kt::Tensor labels = kt::tensor("labels", {kt::dim("batch")}, kt::i64);
  kt::Shared w = kt::shared(kt::Array::normal({5, 3}, 1), "w");
  kt::Tensor loss = kt::mean(kt::softmax_cross_entropy(kt::dot(x, w), labels));

  kt::Function<1> step(const kt::Target& target) const {
    return kt::function(
        {x, labels}, loss,
        {.updates = {{w, w - 0.1 * kt::grad(loss, w)}}, .name = "step", .target = target});
  }
};

kt::Array labels_of(std::int64_t n, std::int64_t bad = -1) {
  kt::Array labels = kt::Array::zeros({n}, kt::i64);
  for (std::int64_t i = 0; i < n; ++i) {
    labels.data<std::int64_t>()[static_cast<std::size_t>(i)] = i == bad ? 3 : i % 3;
  }
  return labels;
}

}  // namespace

TEST_CASE("driver: a function runs on the driver of the tests") {
  const Process process;
  if (!process) return;
  const auto x = kt::vector("x");
  const auto f = kt::function({x}, kt::sum(2 * x), {.target = kt::cuda()});
  CHECK(f(kt::Array::ones({37})).item<float>() == 74);
  CHECK(f(kt::Array::ones({5})).item<float>() == 10);
  CHECK(process->kernels() >= 2);
}

TEST_CASE("driver: a failed check leaves what a product of the library updates as it was") {
  const Process process;
  if (!process) return;
  for (const bool graphs : {true, false}) {
    kt::Target target = kt::cuda();
    target.graphs = graphs;
    const Classifier model;
    const auto step = model.step(target);
    const kt::Array x = kt::Array::normal({8, 5}, 2);
    for (int i = 0; i < 3; ++i) step(x, labels_of(8));
    CHECK(process->products() > 0);
    const kt::Array before = model.w.get_value();
    CHECK_THROWS_AS(step(x, labels_of(8, 6)), kt::ValueError);
    CHECK(kt::array_equal(model.w.get_value(), before));
    // What the device goes on with.
    const auto read = kt::function({}, model.w + 0, {.target = target});
    CHECK(kt::array_equal(read(), before));
  }
}

TEST_CASE("driver: sizes that come in turns get a CUDA graph each") {
  const Process process;
  if (!process) return;
  const auto x = kt::vector("x");
  const auto f = kt::function({x}, kt::sum(kt::softmax(x)) * x, {.target = kt::cuda()});
  const auto call = [&](std::int64_t n) {
    CHECK(f(kt::Array::ones({n})).data<float>()[0] == doctest::Approx(1));
  };
  const auto graphs = [&] { return process->calls("cuGraphInstantiateWithFlags"); };
  const auto launches = [&] { return process->calls("cuGraphLaunch"); };
  for (int i = 0; i < 20; ++i) {
    call(3);
    call(17);
  }
  CHECK(graphs() == 2);
  CHECK(launches() == 38);
  // Ten more in pairs, again and again: those of 3 and 17 are kept meanwhile.
  for (int round = 0; round < 3; ++round) {
    for (std::int64_t n = 4; n < 14; ++n) {
      call(n);
      call(n);
    }
  }
  CHECK(graphs() == 12);
  CHECK(launches() == 38 + 50);
  call(3);
  CHECK(graphs() == 12);
}

TEST_CASE("driver: more sizes than graphs are kept: those that come often stay") {
  const Process process;
  if (!process) return;
  const auto x = kt::vector("x");
  const auto f = kt::function({x}, 2 * x, {.target = kt::cuda()});
  f(kt::Array::ones({200}));
  const int before = process->calls("cuGraphLaunch");
  for (int round = 0; round < 10; ++round) {
    for (std::int64_t n = 1; n <= 100; ++n) f(kt::Array::ones({n}));
  }
  // Graphs are not made anew for ever, and what is kept is used.
  CHECK(process->calls("cuGraphInstantiateWithFlags") < 130);
  CHECK(process->calls("cuGraphLaunch") - before > 500);
  // Other sizes take the place of those that come no more.
  for (int round = 0; round < 20; ++round) {
    for (std::int64_t n = 101; n <= 140; ++n) f(kt::Array::ones({n}));
  }
  const int graphs = process->calls("cuGraphInstantiateWithFlags");
  for (std::int64_t n = 101; n <= 140; ++n) f(kt::Array::ones({n}));
  CHECK(process->calls("cuGraphInstantiateWithFlags") == graphs);
}

TEST_CASE("driver: arguments may change as soon as the call has returned") {
  const Process process;
  if (!process) return;
  const auto x = kt::vector("x");
  const auto a = kt::scalar("a");
  auto s = kt::shared(kt::Array::zeros({1000}), "s");
  const auto add = kt::function({x, a}, {.updates = {{s, s + a * x}}, .target = kt::cuda()});
  std::vector<float> mine(1000);
  const kt::Array view = kt::Array::view(mine.data(), {1000});
  float want = 0;
  for (int i = 1; i <= 5; ++i) {
    std::fill(mine.begin(), mine.end(), static_cast<float>(i));
    add(view, 10 * i);
    want += static_cast<float>(10 * i * i);
    std::fill(mine.begin(), mine.end(), -1000.0F);
  }
  s.set_value(s.get_value());
  add(view, 0);
  CHECK(s.get_value().data<float>()[0] == want);
  CHECK(s.get_value().data<float>()[999] == want);
}

TEST_CASE("driver: arguments larger than the staging memory arrive whole") {
  const Process process;
  if (!process) return;
  const std::int64_t n = 5'000'001;
  const auto x = kt::vector("x", kt::i32);
  auto s = kt::shared(kt::Array::zeros({n}, kt::i32), "s");
  kt::Array values = kt::Array::zeros({n}, kt::i32);
  std::iota(values.data<std::int32_t>().begin(), values.data<std::int32_t>().end(), 0);
  s.set_value(values);
  // Few elements are computed with; all of them travel.
  const auto f = kt::function({x}, kt::sum(x(kt::slice(n - 5, n)) + s(kt::slice(n - 5, n))),
                              {.target = kt::cuda()});
  const std::int64_t last = n - 1;
  for (int i = 0; i < 3; ++i) {
    CHECK(f(values).item<std::int64_t>() == 2 * (5 * last - 10));
  }
}

TEST_CASE("driver: products at any address and of rows in a scan") {
  // Large enough that each step starts kernels of its own where blocks cannot wait for each other.
  const Process process("together=0");
  if (!process) return;
  const auto x = kt::tensor("x", {kt::dim("t"), 63, 65});
  const auto b = kt::tensor("b", {kt::dim("t"), 33});
  const auto w = kt::matrix("w");
  const auto rows = kt::scan(
      [](kt::Tensor row, kt::Tensor bias, kt::Tensor state) {
        return kt::dot(kt::transpose(row), kt::dot(row, state)) + bias;
      },
      {.sequences = {x, b}, .outputs_info = {w}});
  const auto on_cpu = kt::function({x, b, w}, rows);
  const auto on_cuda = kt::function({x, b, w}, rows, {.target = kt::cuda()});
  for (const std::int64_t t : {1, 5, 5, 5}) {
    const kt::Array xs = kt::Array::normal({t, 63, 65}, 1, 0, 0.06),
                    bs = kt::Array::normal({t, 33}, 2), ws = kt::Array::normal({65, 33}, 3);
    CHECK(kt::all_close(on_cuda(xs, bs, ws), on_cpu(xs, bs, ws), 1e-5, 1e-5));
  }
  CHECK(process->products() > 0);
}

namespace {

// A product on a machine whose library does as the settings say; whether the library was used.
bool product_is_right(const Process& process) {
  const auto x = kt::matrix("x"), y = kt::matrix("y");
  const auto w = kt::shared(kt::Array::zeros({4, 6}), "w");
  const auto z = kt::matrix("z");
  const auto f = kt::function({x, y, z}, kt::dot(x, y),
                              {.updates = {{w, w + kt::dot(x, z)}}, .target = kt::cuda()});
  const kt::Array left = kt::Array::ones({4, 5}), right = kt::Array::ones({5, 6});
  for (int i = 0; i < 3; ++i) CHECK(f(left, right, right).data<float>()[23] == 5);
  CHECK(w.get_value().data<float>()[23] == 15);
  return process->products() > 0;
}

}  // namespace

TEST_CASE("driver: cuBLASLt computes products") {
  const Process process;
  if (process) CHECK(product_is_right(process));
}
TEST_CASE("driver: what is done to a product goes behind the library's where that pays") {
  const Process process;
  if (!process) return;
  const auto x = kt::matrix("x");
  const kt::Tensor y =
      kt::relu(kt::dot(x, kt::constant(kt::Array::normal({1024, 512}, 1, 0, 0.03))));
  const auto on_cuda = kt::function({x}, y, {.target = kt::cuda()}), on_cpu = kt::function({x}, y);
  for (const std::int64_t rows : {1, 0, 224}) {
    CAPTURE(rows);
    const int before = process->products();
    const kt::Array values = kt::Array::normal({rows, 1024}, 2);
    CHECK(kt::all_close(on_cuda(values), on_cpu(values), 1e-4, 1e-4));
    CHECK(process->products() - before == (rows == 224 ? 1 : 0));
  }
}
TEST_CASE("driver: without cuBLASLt kernels compute products and the reason is known") {
  const Process process("cublaslt=off");
  if (!process) return;
  CHECK(!product_is_right(process));
  const std::string reason = kt::machine_cuda_device(0)->why_no_products();
  CAPTURE(reason);
  CHECK(reason.find("libcublasLt.so.13): cublasLtCreate: CUBLAS_STATUS_NOT_INITIALIZED") !=
        std::string::npos);
}
TEST_CASE("driver: a product that cuBLASLt does not support is computed by a kernel") {
  const Process process("cublaslt=refuses");
  if (process) CHECK(!product_is_right(process));
}
TEST_CASE("driver: a product that cuBLASLt has no algorithm for is computed by a kernel") {
  const Process process("cublaslt=none");
  if (process) CHECK(!product_is_right(process));
}
TEST_CASE("driver: a product that cuBLASLt refuses late is computed by a kernel") {
  const Process process("cublaslt=late");
  if (process) CHECK(!product_is_right(process));
}
TEST_CASE("driver: libraries of the same version as the driver are taken before newer ones") {
  const Process process("version=12040");
  if (process) CHECK(product_is_right(process));
}

TEST_CASE("driver: two devices are used by two threads") {
  const Process process("devices=2");
  if (!process) return;
  const auto x = kt::vector("x");
  const std::vector<kt::Function<1>> functions{kt::function({x}, 2 * x, {.target = kt::cuda(0)}),
                                               kt::function({x}, 3 * x, {.target = kt::cuda(1)})};
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 1; i <= 20; ++i) {
        const kt::Array y = functions[static_cast<std::size_t>(t % 2)](
            kt::Array::full({1 + i % 3}, static_cast<float>(i)));
        wrong += y.data<float>()[0] != static_cast<float>(i * (2 + t % 2));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE("driver: a variable that functions on two devices update in turn") {
  const Process process("devices=2");
  if (!process) return;
  const auto s = kt::shared(kt::Array::ones({5}), "s");
  const auto first = kt::function({}, {.updates = {{s, s + 1}}, .target = kt::cuda(0)});
  const auto second = kt::function({}, {.updates = {{s, 2 * s}}, .target = kt::cuda(1)});
  float want = 1;
  for (int i = 0; i < 4; ++i) {
    first();
    second();
    want = 2 * (want + 1);
  }
  CHECK(s.get_value().data<float>()[4] == want);
}

// What the emulator runs as a Device goes through the driver as well. What is about kernels only,
// which are the same, is left out; with the library, what has no products.
TEST_CASE("driver: the tests of CUDA with kernels for products") {
  const std::string failures = fake_driver::failures_of(
      {"-tc=cuda:*",
       "-tce=*of every*,*attention*,*convolution*,*tiles*,*sort*,*below each other*,*held *,"
       "*small decompositions*,*kept values*,*blocks wait*,*blocks that wait*,*scans in parallel*"},
      "KROTON_FAKE_DRIVER= KROTON_TEST_GPU=1");
  CHECK_MESSAGE(failures.empty(), failures);
}
TEST_CASE("driver: the tests of CUDA with the library for products") {
  const std::string failures = fake_driver::failures_of(
      {"-tc=cuda:*product*,cuda:*train*,cuda:*network*,cuda:*TF32*", "-tce=*of every*,*tiles*"},
      "KROTON_FAKE_DRIVER= KROTON_TEST_GPU=1 KROTON_TEST_GPU_PRODUCTS=1");
  CHECK_MESSAGE(failures.empty(), failures);
}
