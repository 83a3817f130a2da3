// Functions compiled for CUDA: every op's samples against the reference interpreter, products,
// training, shared variables, errors. The emulator runs them; a GPU does in tests/gpu/run.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <atomic>
#include <functional>
#include <thread>

#include "tests/gpu_emulator/emulated_device.h"
#include "tests/tools/error_text.h"
#include "tests/tools/sample_tools.h"

namespace kt = kroton;
using namespace compiled_test;  // NOLINT: tests

using error_text::contains;

namespace {

using gpu_emulator::TestCuda;

// Many samples to a function: the compiler takes long to begin and little for a kernel. Not all,
// since every kernel gets every size of its function.
void check_all_ops(std::vector<Trial> (*trials_of)(const kt::OpRecord&, bool), bool free_sizes) {
  const TestCuda cuda;
  constexpr std::size_t trials_per_function = 40;
  std::vector<Trial> trials;
  std::size_t checked = 0;
  const auto check = [&] {
    checked += trials.size();
    check_trials(trials, kt::cuda());
    trials.clear();
  };
  for (const kt::OpRecord* op : kt::all_ops()) {
    // With free sizes an op has several kernels, of which the host chooses.
    for (Trial& trial : at_most(every_third(trials_of(*op, free_sizes)), free_sizes ? 4 : 8)) {
      trials.push_back(std::move(trial));
    }
    if (trials.size() >= trials_per_function) check();
  }
  check();
  CHECK(checked > 100);
}

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const kt::Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("cuda: samples of every op, sizes known") { check_all_ops(value_trials, false); }

TEST_CASE("cuda: samples of every op, sizes free") { check_all_ops(value_trials, true); }

TEST_CASE("cuda: gradients of every op, sizes free") { check_all_ops(gradient_trials, true); }

TEST_CASE("cuda: products of odd sizes, one function for all") {
  const TestCuda cuda;
  const auto x = kt::matrix("x"), y = kt::matrix("y");
  const auto b = kt::vector("b");
  const std::vector<kt::Tensor> outputs{kt::dot(x, y), kt::relu(kt::dot(x, y) + b),
                                        kt::dot(x, y) * kt::sum(x)};
  const auto f = kt::function({x, y, b}, outputs, {.target = kt::cuda()});
  for (const int m : {0, 1, 3, 17, 65}) {
    for (const int k : {0, 1, 17, 65}) {
      for (const int n : {1, 3, 65}) {
        const kt::Array xs = kt::Array::normal({m, k}, 1), ys = kt::Array::normal({k, n}, 2),
                        bs = kt::Array::normal({n}, 3);
        const std::vector<kt::Argument> arguments{xs, ys, bs};
        const std::vector<kt::Array> have = f.call(arguments);
        const auto want = expected(Problem{{x, y, b}, outputs, {xs, ys, bs}});
        CAPTURE(m);
        CAPTURE(k);
        CAPTURE(n);
        for (std::size_t i = 0; i < want.size(); ++i) CHECK(difference(want[i], have[i]) == "");
      }
    }
  }
}

TEST_CASE("cuda: neighbours of one thread that are computed from their places") {
  const TestCuda cuda;
  const auto x = kt::tensor("x", {kt::dim("n"), 2, 2}), y = kt::tensor("y", {kt::dim("n"), 4, 4});
  const auto f = kt::function(
      {x, y}, std::vector<kt::Tensor>{x + 3.0F * kt::eye(2), kt::tril(y) - kt::triu(y, 1)},
      {.target = kt::cuda()});
  for (const int n : {0, 1, 3, 65}) {
    const kt::Array xs = kt::Array::normal({n, 2, 2}, 1), ys = kt::Array::normal({n, 4, 4}, 2);
    CAPTURE(n);
    const std::vector<kt::Array> have = f(xs, ys);
    const auto want =
        expected(Problem{{x, y}, {x + 3.0F * kt::eye(2), kt::tril(y) - kt::triu(y, 1)}, {xs, ys}});
    for (std::size_t k = 0; k < want.size(); ++k) CHECK(difference(want[k], have[k]) == "");
  }
}

TEST_CASE("cuda: products transposed, batched and by vectors") {
  const TestCuda cuda;
  const auto a = kt::matrix("a"), b = kt::matrix("b");
  const auto v = kt::vector("v"), u = kt::vector("u");
  const auto s = kt::tensor3("s"), t = kt::tensor3("t");
  check_agrees({{a, b, v, u, s, t},
                {kt::dot(kt::transpose(a), b), kt::dot(a, kt::transpose(a)),
                 kt::dot(kt::transpose(a), v), kt::dot(v, b), kt::dot(v, v), kt::matmul(s, t)},
                {random_array({17, 3}, kt::f32, 1), random_array({17, 65}, kt::f32, 2),
                 random_array({17}, kt::f32, 3), random_array({5}, kt::f32, 4),
                 random_array({3, 17, 5}, kt::f32, 5), random_array({3, 5, 65}, kt::f32, 6)}},
               {}, kt::cuda());
}

namespace {

// A classifier of two layers, and a step of its training.
struct Classifier {
  kt::Tensor x = kt::tensor("x", {kt::dim("batch"), 19});
  kt::Tensor labels = kt::tensor("labels", {kt::dim("batch")}, kt::i64);
  kt::Shared w1 = kt::shared(kt::Array::normal({19, 33}, 1, 0, 0.2), "w1");
  kt::Shared b1 = kt::shared(kt::Array::zeros({33}), "b1");
  kt::Shared w2 = kt::shared(kt::Array::normal({33, 7}, 2, 0, 0.2), "w2");
  kt::Shared b2 = kt::shared(kt::Array::zeros({7}), "b2");
  kt::Tensor scores = kt::dot(kt::relu(kt::dot(x, w1) + b1), w2) + b2;
  kt::Tensor loss = kt::mean(kt::softmax_cross_entropy(scores, labels));

  std::vector<kt::Shared> parameters() const { return {w1, b1, w2, b2}; }
  kt::Function<1> step(const kt::Target& target) const {
    kt::FunctionOptions options{.name = "step", .target = target};
    for (const kt::Shared& p : parameters()) {
      options.updates.push_back({p, p - 0.1 * kt::grad(loss, p)});
    }
    return kt::function({x, labels}, loss, options);
  }
};

kt::Array labels_of(std::int64_t n) {
  kt::Array labels = kt::Array::zeros({n}, kt::i64);
  for (std::int64_t i = 0; i < n; ++i) {
    labels.data<std::int64_t>()[static_cast<std::size_t>(i)] = i * 5 % 7;
  }
  return labels;
}

}  // namespace

TEST_CASE("cuda: training steps agree with the CPU's, with and without graphs") {
  const TestCuda cuda;
  const Classifier on_cpu, on_cuda, plain;
  const auto cpu_step = on_cpu.step(kt::cpu());
  const auto cuda_step = on_cuda.step(kt::cuda());
  kt::Target without_graphs = kt::cuda();
  without_graphs.graphs = false;
  const auto plain_step = plain.step(without_graphs);
  const int graphs = gpu_emulator::counts().graphs;
  for (int i = 0; i < 6; ++i) {
    const std::int64_t n = i == 4 ? 3 : 17;
    const kt::Array x = kt::Array::normal({n, 19}, static_cast<std::uint64_t>(i));
    const kt::Array labels = labels_of(n);
    const kt::Array want = cpu_step(x, labels);
    CHECK(kt::all_close(cuda_step(x, labels), want, 1e-5, 1e-5));
    CHECK(kt::all_close(plain_step(x, labels), want, 1e-5, 1e-5));
  }
  for (std::size_t k = 0; k < 4; ++k) {
    const kt::Array want = on_cpu.parameters()[k].get_value();
    const kt::Array have = on_cuda.parameters()[k].get_value();
    CHECK(kt::all_close(have, want, 1e-4, 1e-5));
    CHECK(kt::array_equal(have, plain.parameters()[k].get_value()));
  }
  if (!cuda.is_emulated()) return;
  // Of the 17 rows: captured at the second call, replayed then and at three more.
  CHECK(gpu_emulator::counts().graphs == graphs + 1);
  CHECK(gpu_emulator::counts().graph_launches >= 4);
}

TEST_CASE("cuda: a shared variable moves to where it is used, and back") {
  const TestCuda cuda;
  const auto x = kt::vector("x");
  auto s = kt::shared(kt::Array::from({1.0F, 2.0F, 3.0F}), "s");
  const auto add_there = kt::function({x}, {.updates = {{s, s + x}}, .target = kt::cuda()});
  const auto read_there = kt::function({}, 2 * s, {.target = kt::cuda()});
  const auto double_here = kt::function({}, {.updates = {{s, 2 * s}}});
  const auto read_here = kt::function({}, s + 0);
  const kt::Array ones = kt::Array::ones({3});
  const auto is = [](const kt::Array& have, float first) {
    return have.data<float>()[0] == first && have.data<float>()[2] - first >= 2;
  };

  add_there(ones);
  const gpu_emulator::Counts before = gpu_emulator::counts();
  const auto moved = [&](int up, int down) {
    const gpu_emulator::Counts& now = gpu_emulator::counts();
    return !cuda.is_emulated() ||
           (now.uploads == before.uploads + up && now.downloads == before.downloads + down);
  };
  add_there(ones);
  CHECK(moved(1, 0));  // the argument moves, the variable stays
  CHECK(is(s.get_value(), 3));
  CHECK(moved(1, 1));
  CHECK(is(s.get_value(), 3));
  CHECK(moved(1, 1));
  CHECK(is(read_there(), 6));
  CHECK(is(read_here(), 3));
  double_here();
  CHECK(is(read_there(), 12));
  CHECK(is(s.get_value(), 6));
  add_there(ones);
  CHECK(is(read_here(), 7));
  double_here();
  CHECK(is(s.get_value(), 14));
  s.set_value(kt::Array::from({10.0F, 20.0F, 30.0F}));
  CHECK(is(read_there(), 20));
  add_there(ones);
  add_there(ones);
  s.set_value(kt::Array::from({5.0F, 6.0F, 7.0F}));
  CHECK(is(read_here(), 5));
  add_there(ones);
  CHECK(is(s.get_value(), 6));
}

TEST_CASE("cuda: a failed check leaves the shared variables as they were") {
  const TestCuda cuda;
  const auto table = kt::shared(kt::Array::from({1.0F, 2.0F, 3.0F, 4.0F, 5.0F}), "table");
  const auto ids = kt::vector("ids", kt::i64);
  const kt::Tensor taken = kt::take(table, ids, 0);
  const auto f =
      kt::function({ids}, kt::sum(taken),
                   {.updates = {{table, table * 2}}, .name = "look_up", .target = kt::cuda()});
  const auto on_cpu = kt::function({ids}, kt::sum(taken), {.name = "look_up"});
  CHECK(f(kt::Array::from<std::int64_t>({0, -1})).item<float>() == 6);
  const kt::Array bad = kt::Array::from<std::int64_t>({0, 7, 1});
  const std::string message = message_of([&] { f(bad); });
  CHECK(message == message_of([&] { on_cpu(bad); }));
  CHECK(contains(message, "7"));
  CHECK(table.get_value().data<float>()[4] == 10);
  CHECK(f(kt::Array::from<std::int64_t>({0, -1})).item<float>() == 12);
}

TEST_CASE("cuda: numbers, views, empty arrays and several outputs") {
  const TestCuda cuda;
  const auto x = kt::matrix("x");
  const auto a = kt::scalar("a");
  const auto n = kt::scalar("n", kt::i64);
  const std::vector<kt::Tensor> outputs{a * x, kt::sum(x, 0), n + 1, x};
  const auto f = kt::function({x, a, n}, outputs, {.target = kt::cuda()});
  for (const std::int64_t rows : {0, 1, 3, 17}) {
    // A view whose rows are the columns of what it shows.
    const kt::Array across = kt::Array::normal({5, rows}, 1);
    const kt::Array values = kt::Array::view(across.data<float>().data(), {rows, 5}, {1, rows});
    const std::vector<kt::Argument> arguments{values, 2.5, 41};
    const std::vector<kt::Array> have = f.call(arguments);
    CHECK(have[0].shape() == kt::Shape{rows, 5});
    CHECK(kt::array_equal(have[3], values.contiguous()));
    CHECK(have[2].item<std::int64_t>() == 42);
    for (std::size_t i = 0; i < have[0].data<float>().size(); ++i) {
      CHECK(have[0].data<float>()[i] == 2.5F * have[3].data<float>()[i]);
    }
  }
}

TEST_CASE("cuda: memory on the device goes with what used it") {
  const TestCuda cuda;
  const int before = gpu_emulator::counts().allocations;
  {
    const auto s = kt::shared(kt::Array::ones({17}), "s");
    const auto f = kt::function({}, kt::sum(s), {.updates = {{s, s + 1}}, .target = kt::cuda()});
    CHECK(f().item<float>() == 17);
    CHECK(f().item<float>() == 34);
    CHECK((!cuda.is_emulated() || gpu_emulator::counts().allocations > before));
  }
  CHECK(gpu_emulator::counts().allocations == before);
}

TEST_CASE("cuda: calls from several threads") {
  const TestCuda cuda;
  const auto x = kt::vector("x");
  const auto s = kt::shared(kt::Array::zeros({3}), "s");
  const auto add = kt::function({x}, {.updates = {{s, s + x}}, .target = kt::cuda()});
  const auto twice = kt::function({x}, 2 * x, {.target = kt::cuda()});
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 5; ++i) {
        add(kt::Array::ones({3}));
        const kt::Array result = twice(kt::Array::full({7 + t}, static_cast<float>(i)));
        wrong += result.size() != 7 + t || result.data<float>()[6] != static_cast<float>(2 * i);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(s.get_value().data<float>()[1] == 20);
}

TEST_CASE("cuda: a function for a device that is not there says what is missing, at its line") {
  const auto x = kt::vector("x");
  const std::string message =
      message_of([&] { kt::function({x}, 2 * x, {.name = "twice", .target = kt::cuda(1000)}); });
  CHECK(message.starts_with("twice: cuda(1000): "));
  CHECK(contains(message, "test_cuda.cpp:"));
}
