// Several GPUs, on the driver of the tests: training, exchanges in a stream of their own, failures.
#include <doctest/doctest.h>

#include "tests/fake_driver/process.h"
#include "tests/frontend/parallel_training.h"
#include "tests/tools/error_text.h"

using fake_driver::Process;
using namespace kroton;         // NOLINT: tests
using namespace parallel_test;  // NOLINT: tests
using namespace error_text;     // NOLINT: tests

TEST_CASE("several gpus: digits are learned as by one function") {
  for (const char* settings : {"devices=3", "devices=3 nccl=off", "devices=3 nccl=off peers=off"}) {
    const Process process(settings);
    if (!process) continue;
    const auto problem = [] { return digits(40, 28, 8); };
    const auto momentum = [] { return optim::Sgd({.rate = 0.2, .momentum = 0.9}); };
    const Trained one = on_one(problem(), momentum, 3, 20);
    for (const int n : {1, 2, 3}) {
      CAPTURE(n);
      // One exchange for each gradient, and all together.
      const std::int64_t bytes = n == 2 ? 0 : 4 << 20;
      const DeviceGroup group = devices(cuda(), n);
      const Trained several = on_group(problem(), momentum, 3, 20, group, bytes);
      CHECK(largest_difference(one, several) < 2e-5);
      if (n == 3) CHECK(same_bits(several, on_group(problem(), momentum, 3, 20, group, bytes)));
    }
  }
}

// An exchange that fails shows how far the devices were when it was queued.
TEST_CASE("several gpus: gradients are exchanged while others are still to be computed") {
  const Process process("devices=2");
  if (!process) return;
  const DeviceGroup group = devices(cuda(), 2);
  const TrainingProblem p = digits(4, 28, 8);
  optim::Sgd sgd({.rate = 0.1});
  const Tensor loss = data_parallel_loss(p.loss, p.x, group);
  const auto step =
      parallel_function(group, {p.x, p.labels}, loss,
                        {.updates = sgd.minimize(loss, p.parameters), .bucket_bytes = 0});
  const auto launches_of = [&](const auto& call) {
    const int before = process->calls("cuLaunchKernel");
    call();
    return process->calls("cuLaunchKernel") - before;
  };
  const auto run = [&] { step(p.pictures, p.classes); };
  const int all = launches_of(run);
  // Of each device: the rows, the cost, four gradients.
  std::vector<int> launched;
  for (int exchange = 0; exchange < 6; ++exchange) {
    process->fail_call("ncclAllReduce", 2 * exchange + 1, 1);
    launched.push_back(launches_of([&] { CHECK_THROWS_AS(run(), DeviceError); }));
    CHECK(launched[static_cast<std::size_t>(exchange)] >=
          (exchange == 0 ? 0 : launched[static_cast<std::size_t>(exchange) - 1]));
  }
  // Between the first gradient and the last, and before the updates, there are kernels to run.
  CHECK(launched[2] + 4 <= launched[5]);
  CHECK(launched[5] < all);
  CHECK(launches_of(run) == all);
}

TEST_CASE("several gpus: photographs are learned as by one function") {
  const Process process("devices=2");
  if (!process) return;
  const auto problem = [] { return photographs(10, 6, 2); };
  const auto sgd = [] { return optim::Sgd({.rate = 0.1}); };
  const Trained one = on_one(problem(), sgd, 2, 5);
  const Trained several = on_group(problem(), sgd, 2, 5, devices(cuda(), 2));
  CHECK(largest_difference(one, several) < 2e-5);
  CHECK(same_bits(several, on_group(problem(), sgd, 2, 5, devices(cuda(), 2))));
}

TEST_CASE("several gpus: what others do with a shared variable is seen by all devices") {
  const Process process("devices=2");
  if (!process) return;
  const DeviceGroup group = devices(cuda(), 2);
  const Tensor x = vector("x");
  Shared w = shared(Array::from({1.0F}), "w");
  const auto f = parallel_function(group, {x}, x * 0 + w, {.updates = {{w, w + 1}}});
  const auto alike = [&](float expected) {
    const Array y = f(Array::ones({2}));
    CHECK(y.data<float>()[0] == expected);
    CHECK(y.data<float>()[1] == expected);
  };
  alike(1);
  alike(2);
  w.set_value(Array::from({7.0F}));
  alike(7);
  function({}, {.updates = {{w, w + 10}}, .target = cuda()})();
  alike(18);
  function({}, {.updates = {{w, w + 10}}, .target = cuda(1)})();
  alike(29);
  function({}, {.updates = {{w, w + 10}}})();
  alike(40);
  CHECK(w.get_value().data<float>()[0] == 41);
  alike(41);
}

TEST_CASE("several gpus: a failed check on one device is the error of the call") {
  for (const char* settings : {"devices=2", "devices=2 nccl=off", "devices=2 nccl=off peers=off"}) {
    const Process process(settings);
    if (!process) continue;
    const DeviceGroup group = devices(cuda(), 2);
    const Tensor x = vector("x", i64);
    Shared table = shared(Array::from({1.0F, 2.0F, 3.0F}), "table");
    const Tensor total = all_reduce(sum(take(table, x, 0)), group);
    const auto f = parallel_function(group, {x}, total, {.updates = {{table, table + total}}});
    const Array good = Array::from({std::int64_t{0}, std::int64_t{1}});
    for (std::size_t where = 0; where < 2; ++where) {
      Array bad = good.copy();
      bad.data<std::int64_t>()[where] = 9;
      CHECK(contains(value_error([&] { f(bad); }), "index 9 is out of range for axis 0 of table"));
      CHECK(table.get_value().data<float>()[0] == 1);
      CHECK(f(good).item<float>() == 3);
      CHECK(table.get_value().data<float>()[1] == 5);
      table.set_value(Array::from({1.0F, 2.0F, 3.0F}));
    }
  }
}

TEST_CASE("several gpus: a device or an exchange that fails ends the call of all") {
  const Process process("devices=2");
  if (!process) return;
  const DeviceGroup group = devices(cuda(), 2);
  const Tensor x = vector("x");
  const Shared w = shared(2.0F, "w");
  const auto f = parallel_function(group, {x}, all_reduce(sum(x) * w, group),
                                   {.updates = {{w, w + 1}}, .name = "f"});
  const Array ones = Array::ones({2});
  CHECK(f(ones).item<float>() == 4);
  process->fail_call("ncclAllReduce", 1, 1);
  CHECK(contains(device_error([&] { f(ones); }), "all_reduce: the NCCL of the tests says so"));
  CHECK(w.get_value().item<float>() == 3);
  CHECK(f(ones).item<float>() == 6);
  // A launch that one of the two makes.
  process->fail_call("cuLaunchKernel", 1, 1);
  const std::string said = device_error([&] { f(ones); });
  CAPTURE(said);
  CHECK(contains(said, "starting the kernel"));
  CHECK(w.get_value().item<float>() == 4);
  CHECK(f(ones).item<float>() == 8);
}

TEST_CASE("several gpus: arguments lie on any of the devices and outputs stay on the first") {
  for (const char* settings :
       {"devices=3", "devices=3 peers=off nccl=off", "devices=3 order=eager"}) {
    const Process process(settings);
    if (!process) continue;
    const DeviceGroup group = devices(cuda(), 3);
    const Tensor x = matrix("x"), w = vector("w");
    const Tensor total = all_reduce(sum(x), group);
    const Tensor moved = w + total;
    const auto f = parallel_function(group, {x, w}, {x * w, moved, total},
                                     {.same = {w, moved}, .downloads = false});
    const Array xs = Array::arange(30).reshape({10, 3}).cast(f32),
                ws = Array::from({1.F, 2.F, 3.F});
    const Array want = function({x, w}, x * w)(xs, ws);
    for (int call = 0; call < 3; ++call) {
      for (int place = -1; place < 3; ++place) {
        CAPTURE(place);
        const auto there = [&](const Array& a) { return place < 0 ? a : a.to(cuda(place)); };
        const auto results = f(there(xs), there(ws));
        for (const Array& result : results) CHECK(result.device() == cuda());
        CHECK(array_equal(results[0].to(cpu()), want));
        CHECK(results[1].to(cpu()).data<float>()[2] == 438);
        CHECK(results[2].to(cpu()).item<float>() == 435);
      }
    }
    const auto on_cpu = parallel_function(devices(cpu(), 2), {w}, w + 1, {.downloads = false});
    CHECK(on_cpu(ws).data<float>()[2] == 4);
    CHECK(contains(device_error([&] { on_cpu(ws.to(cuda())); }), "the array is on cuda:0"));
  }
}
