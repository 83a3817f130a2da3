// Exchanges between GPUs in graphs, on the driver of the tests.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "tests/fake_driver/check_exchanges.h"
#include "tests/fake_driver/process.h"
#include "tests/frontend/parallel_training.h"
#include "tests/tools/error_text.h"

using exchange_test::at;
using exchange_test::check_exchanges;
using fake_driver::Process;
using namespace kroton;         // NOLINT: tests
using namespace parallel_test;  // NOLINT: tests
using namespace error_text;     // NOLINT: tests

namespace {

// Exchanges are captured while one lives.
class ExchangeGraphs {
 public:
  ExchangeGraphs() { setenv("KROTON_EXCHANGE_GRAPHS", "1", 1); }
  ~ExchangeGraphs() { unsetenv("KROTON_EXCHANGE_GRAPHS"); }
  ExchangeGraphs(const ExchangeGraphs&) = delete;
  ExchangeGraphs& operator=(const ExchangeGraphs&) = delete;
};

}  // namespace

TEST_CASE("several gpus: exchanges in graphs give what they should") {
  for (const char* settings : {"devices=3", "devices=3 order=eager"}) {
    const Process process(settings);
    if (!process) continue;
    const ExchangeGraphs captured;
    const auto problem = [] { return digits(40, 28, 8); };
    const auto momentum = [] { return optim::Sgd({.rate = 0.2, .momentum = 0.9}); };
    const Trained one = on_one(problem(), momentum, 3, 20);
    for (const int n : {2, 3}) {
      CAPTURE(n);
      const std::int64_t bytes = n == 2 ? 0 : 4 << 20;
      const int before = process->calls("cuGraphLaunch");
      const Trained several = on_group(problem(), momentum, 3, 20, devices(cuda(), n), bytes);
      CHECK(largest_difference(one, several) < 2e-5);
      CHECK(process->calls("cuGraphLaunch") > before + n);
      // The same bits as without graphs.
      unsetenv("KROTON_EXCHANGE_GRAPHS");
      CHECK(same_bits(several, on_group(problem(), momentum, 3, 20, devices(cuda(), n), bytes)));
      setenv("KROTON_EXCHANGE_GRAPHS", "1", 1);
    }
    // Extremes of floating numbers go by the host, all the rest with them.
    check_exchanges(devices(cuda(), 3));
  }
}

TEST_CASE("several gpus: every exchange may be in a graph") {
  const Process process("devices=2");
  if (!process) return;
  const ExchangeGraphs captured;
  const DeviceGroup group = devices(cuda(), 2);
  const Tensor x = matrix("x");
  const Tensor y = all_reduce(x + 1, group);
  const auto f = parallel_function(
      group, {x},
      {y, reduce_scatter(x, group), all_gather(x, group), broadcast(x * 2, group, 1),
       reduce_to_root(x, group, 1), all_reduce(cast(x, i64), group, Combine::min),
       all_reduce(sum(y * y), group, Combine::prod)});
  const auto check = [&](std::int64_t rows, float first) {
    Array given = Array::zeros({2 * rows, 2});
    for (std::size_t i = 0; i < given.data<float>().size(); ++i) {
      given.data<float>()[i] = first + static_cast<float>(i % 5);
    }
    const std::int64_t part = 2 * rows;
    const auto [summed, scattered, gathered, sent, rooted, least, squares] = f(given);
    double total = 0;
    for (std::int64_t i = 0; i < part; ++i) {
      const double a = at(given, i), b = at(given, part + i);
      total += (a + b + 2) * (a + b + 2);
      for (const std::int64_t k : {std::int64_t{0}, part}) {
        CHECK(at(summed, k + i) == a + b + 2);
        CHECK(at(sent, k + i) == 2 * b);
        CHECK(at(rooted, k + i) == (k == 0 ? 0 : a + b));
        CHECK(at(least, k + i) == std::min(a, b));
      }
      CHECK(at(scattered, i) == a + b);
      CHECK(at(gathered, i) == a);
      CHECK(at(gathered, part + i) == b);
    }
    CHECK(at(squares, 0) == doctest::Approx(total * total).epsilon(1e-6));
  };
  for (int call = 0; call < 4; ++call) check(2, static_cast<float>(call));
  const int launched = process->calls("cuGraphLaunch");
  CHECK(launched == 6);  // one each in three calls
  const auto kernels_started = [&] { return process->calls("cuLaunchKernel"); };
  const int started = kernels_started();
  check(2, 9);
  CHECK(kernels_started() == started);
  // Other sizes have graphs of their own, beside these.
  for (int call = 0; call < 3; ++call) check(4, static_cast<float>(call));
  check(2, 3);
  CHECK(process->calls("cuGraphLaunch") == 6 + 2 + 4 + 2);
}

TEST_CASE("several gpus: in a graph an exchange does not keep others waiting") {
  const Process process("devices=2");
  if (!process) return;
  const ExchangeGraphs captured;
  const DeviceGroup group = devices(cuda(), 2);
  const TrainingProblem p = digits(4, 28, 8);
  optim::Sgd sgd({.rate = 0.1});
  const Tensor loss = data_parallel_loss(p.loss, p.x, group);
  const auto step =
      parallel_function(group, {p.x, p.labels}, loss,
                        {.updates = sgd.minimize(loss, p.parameters), .bucket_bytes = 0});
  const auto nodes_of = [&](const auto& call) {
    const int kernels = process->calls("cuLaunchKernel");
    const int exchanges = process->calls("ncclAllReduce");
    call();
    return process->calls("cuLaunchKernel") - kernels + process->calls("ncclAllReduce") - exchanges;
  };
  const int started = nodes_of([&] { step(p.pictures, p.classes); });
  CHECK(nodes_of([&] { step(p.pictures, p.classes); }) == started);  // captured
  CHECK(nodes_of([&] { step(p.pictures, p.classes); }) == 0);        // replayed
  // The gradients' exchanges come one behind the other, the kernels of the backward pass beside.
  CHECK(process->graph_depth() + 4 <= started / 2);
}

TEST_CASE("several gpus: exchanges in graphs that fail end for all and are captured anew") {
  const Process process("devices=2");
  if (!process) return;
  const ExchangeGraphs captured;
  const DeviceGroup group = devices(cuda(), 2);
  const Tensor x = vector("x");
  const Array ones = Array::ones({2});
  // The n-th call of the driver, in the call that captures or in one that replays.
  struct Failing {
    const char* function;
    int n;
    bool replays;
  };
  for (const Failing& failing : {Failing{"cuStreamBeginCapture_v2", 2, false},
                                 {"cuLaunchKernel", 1, false},
                                 {"ncclAllReduce", 2, false},
                                 {"cuStreamEndCapture", 1, false},
                                 {"cuGraphInstantiateWithFlags", 2, false},
                                 {"cuGraphLaunch", 1, false},
                                 {"cuGraphLaunch", 1, true},
                                 {"cuGraphLaunch", 2, true}}) {
    CAPTURE(std::string(failing.function));
    const Shared w = shared(2.0F, "w");
    const auto f = parallel_function(group, {x}, all_reduce(sum(x) * w, group),
                                     {.updates = {{w, w + 1}}, .name = "f"});
    float value = 2;
    const auto works = [&] { return f(ones).item<float>() == 2 * value++; };
    for (int call = 0; call < (failing.replays ? 3 : 1); ++call) CHECK(works());
    process->fail_call(failing.function, failing.n, 1);
    const std::string said = device_error([&] { f(ones); });
    CAPTURE(said);
    CHECK(contains(said, failing.function[0] == 'n' ? "NCCL" : "the test driver says so"));
    CHECK(w.get_value().item<float>() == value);
    const int before = process->calls("cuGraphLaunch");
    for (int call = 0; call < 3; ++call) CHECK(works());
    CHECK(process->calls("cuGraphLaunch") == before + 6);
  }
}

TEST_CASE("several gpus: a failed check in a graph with exchanges is the error of the call") {
  const Process process("devices=2");
  if (!process) return;
  const ExchangeGraphs captured;
  const DeviceGroup group = devices(cuda(), 2);
  const Tensor x = vector("x", i64);
  Shared table = shared(Array::from({1.0F, 2.0F, 3.0F}), "table");
  const Tensor total = all_reduce(sum(take(table, x, 0)), group);
  const auto f = parallel_function(group, {x}, total, {.updates = {{table, table + 1}}});
  const Array good = Array::from({std::int64_t{0}, std::int64_t{1}});
  float expected = 3;
  for (std::size_t where = 0; where < 2; ++where) {
    for (int call = 0; call < 3; ++call) {
      CHECK(f(good).item<float>() == expected);
      expected += 2;
    }
    Array bad = good.copy();
    bad.data<std::int64_t>()[where] = 9;
    const int before = process->calls("cuGraphLaunch");
    CHECK(contains(value_error([&] { f(bad); }), "index 9 is out of range for axis 0 of table"));
    CHECK(process->calls("cuGraphLaunch") == before + 2);
    CHECK(table.get_value().data<float>()[0] + table.get_value().data<float>()[1] == expected);
  }
  CHECK(f(good).item<float>() == expected);
}

TEST_CASE("several gpus: devices capture when all want to") {
  const Process process("devices=2");
  if (!process) return;
  const ExchangeGraphs captured;
  const DeviceGroup group = devices(cuda(), 2);
  const Tensor x = vector("x");
  const auto f = parallel_function(group, {x}, all_reduce(sum(x), group), {.name = "f"});
  const auto g = parallel_function(group, {x}, all_reduce(max(x), group, Combine::max));
  const auto graphs = [&](std::int64_t rows) {
    const int before = process->calls("cuGraphLaunch");
    CHECK(f(Array::ones({rows})).item<float>() == static_cast<float>(rows));
    return process->calls("cuGraphLaunch") - before;
  };
  const auto captured_in = [&](std::int64_t rows) {
    const int before = process->calls("cuGraphInstantiateWithFlags");
    CHECK(graphs(rows) == 2);
    return process->calls("cuGraphInstantiateWithFlags") - before;
  };
  // 2 + 2, 3 + 2, 3 + 3: one device knows its sizes already, the other does not.
  CHECK(graphs(4) == 0);
  CHECK(graphs(5) == 0);
  CHECK(graphs(6) == 0);
  CHECK(captured_in(5) == 2);
  CHECK(captured_in(6) == 2);
  CHECK(captured_in(4) == 2);
  // Each has two graphs for one of its sizes, one with each of the other's.
  for (const std::int64_t rows : {5, 6, 4, 6, 5, 4}) CHECK(captured_in(rows) == 0);
  // What goes by the host is started as ever.
  const int before = process->calls("cuGraphLaunch");
  for (int call = 0; call < 3; ++call) CHECK(g(Array::ones({4})).item<float>() == 1);
  CHECK(process->calls("cuGraphLaunch") == before);
}
