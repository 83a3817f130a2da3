// What goes wrong below Kroton: a device without memory, a kernel that fails for good, a forked
// process; and what else of the process Kroton must leave as it was.
#include <doctest/doctest.h>
#include <kroton/kroton.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <optional>
#include <thread>

#include "tests/fake_driver/process.h"
#include "tests/tools/error_text.h"

namespace kt = kroton;
using fake_driver::Process;

using error_text::contains;
using error_text::device_error;

namespace {

constexpr int out_of_memory = 2, launch_out_of_resources = 701, illegal_address = 700;

kt::Target without_graphs() {
  kt::Target target = kt::cuda();
  target.graphs = false;
  return target;
}

// Two shared variables and a function that updates both, by a kernel each.
struct Pair {
  kt::Tensor x = kt::vector("x");
  kt::Shared a = kt::shared(kt::Array::ones({5}), "a");
  kt::Shared b = kt::shared(kt::Array::ones({7}), "b");
  kt::Function<1> step(const kt::Target& target = kt::cuda(), const std::string& name = "step") {
    return kt::function(
        {x}, kt::sum(x) + kt::sum(a) + kt::sum(b),
        {.updates = {{a, a + kt::sum(x)}, {b, 2 * b}}, .name = name, .target = target});
  }
};

}  // namespace

TEST_CASE("driver: no memory at any allocation is an error that leaves all as it was") {
  const Process process;
  if (!process) return;
  // The n-th allocation of making the function and three calls fails, for each n.
  bool failed = true;
  for (int n = 1; failed; ++n) {
    CAPTURE(n);
    REQUIRE(n < 40);
    const int before = process->allocations();
    {
      Pair pair;
      failed = false;
      const auto attempt = [&](const std::function<void()>& f) {
        const std::string message = device_error(f);
        if (message == "no error") return;
        failed = true;
        CHECK(contains(message, "cuda:0 (test GPU): allocating "));
        CHECK(contains(message, "CUDA_ERROR_OUT_OF_MEMORY: out of memory"));
        f();  // there is memory again
      };
      process->fail_call("cuMemAlloc_v2", n, out_of_memory);
      std::optional<kt::Function<1>> step;
      attempt([&] { step.emplace(pair.step()); });
      const std::vector<std::pair<int, float>> calls{{3, 15}, {1000, 1034}, {2000, 7048}};
      for (const auto& [size, want] : calls) {
        float have = 0;
        attempt([&] { have = (*step)(kt::Array::ones({size})).item<float>(); });
        CHECK(have == want);
      }
      CHECK(pair.b.get_value().data<float>()[6] == 8);
      // Not asked for memory as often: the next round starts afresh.
      process->fail_call("cuMemAlloc_v2", 0, 0);
    }
    CHECK(process->allocations() == before);
  }
}

TEST_CASE("driver: no memory for what the library of products works in is an error") {
  const Process process;
  if (!process) return;
  const auto m = kt::matrix("m");
  const auto product = [&] { return kt::function({m}, kt::dot(m, m), {.target = kt::cuda()}); };
  process->fail_call("cuMemAlloc_v2", 1, out_of_memory);
  CHECK(contains(device_error([&] { product(); }), "allocating 33554432 bytes"));
  CHECK(product()(kt::Array::ones({2, 2})).data<float>()[3] == 2);
}

TEST_CASE("driver: no page-locked memory is an error") {
  const Process process;
  if (!process) return;
  Pair pair;
  const auto step = pair.step();
  process->fail_call("cuMemAllocHost_v2", 1, out_of_memory);
  CHECK(contains(device_error([&] { step(kt::Array::ones({3})); }), "CUDA_ERROR_OUT_OF_MEMORY"));
  CHECK(step(kt::Array::ones({3})).item<float>() == 15);
}

TEST_CASE("driver: a call that fails in the middle of its updates") {
  const Process process;
  if (!process) return;
  int launches = 0;
  {
    Pair pair;
    const auto step = pair.step(without_graphs());
    const int before = process->calls("cuLaunchKernel");
    step(kt::Array::ones({3}));
    launches = process->calls("cuLaunchKernel") - before;
  }
  REQUIRE(launches > 2);
  for (int n = 1; n <= launches; ++n) {
    CAPTURE(n);
    Pair pair;
    const auto step = pair.step(without_graphs());
    // The host's value is the newest: it counts.
    process->fail_call("cuLaunchKernel", n, launch_out_of_resources);
    const std::string message = device_error([&] { step(kt::Array::ones({3})); });
    CHECK(contains(message, "starting the kernel k"));
    CHECK(kt::array_equal(pair.a.get_value(), kt::Array::ones({5})));
    CHECK(kt::array_equal(pair.b.get_value(), kt::Array::ones({7})));
    CHECK(step(kt::Array::ones({3})).item<float>() == 15);
    CHECK(pair.a.get_value().data<float>()[4] == 4);
    CHECK(pair.b.get_value().data<float>()[6] == 2);
  }
}

TEST_CASE("driver: values on the device that a failed call has perhaps written to are lost") {
  const Process process;
  if (!process) return;
  const kt::Tensor x = kt::vector("x");
  const kt::Tensor m = kt::matrix("m");
  const kt::Array ones = kt::Array::ones({3}), many = kt::Array::ones({300, 40});
  kt::Array of_a, of_columns;  // after one step
  const auto make = [&](const kt::Shared& a, const kt::Shared& columns) {
    return kt::function({x, m}, kt::sum(x),
                        {.updates = {{a, a + kt::sum(x)}, {columns, columns + kt::sum(m, 0)}},
                         .name = "step",
                         .target = without_graphs()});
  };
  const auto start_of = [](const std::string& name) {
    return name == "a" ? kt::shared(kt::Array::ones({5}), name)
                       : kt::shared(kt::Array::ones({40}), name);
  };
  {
    const kt::Shared a = start_of("a"), columns = start_of("columns");
    make(a, columns)(ones, many);
    of_a = a.get_value();
    of_columns = columns.get_value();
  }
  bool is_any_lost = false, is_none_lost = false;
  int launches = 2;
  for (int n = 1; n <= launches; ++n) {
    CAPTURE(n);
    kt::Shared a = start_of("a"), columns = start_of("columns");
    const auto step = make(a, columns);
    const int before = process->calls("cuLaunchKernel");
    step(ones, many);
    launches = process->calls("cuLaunchKernel") - before;
    process->fail_call("cuLaunchKernel", n, launch_out_of_resources);
    CHECK_THROWS_AS(step(ones, many), kt::DeviceError);
    int lost = 0;
    for (kt::Shared* variable : {&a, &columns}) {
      const kt::Array& old = variable == &a ? of_a : of_columns;
      const std::string message = device_error([&] { static_cast<void>(variable->get_value()); });
      if (message == "no error") {
        CHECK(kt::array_equal(variable->get_value(), old));
        continue;
      }
      ++lost;
      CHECK(message.starts_with("the value of " + std::string(variable == &a ? "a" : "columns") +
                                " is lost: a call of step failed while it was updating"));
      CHECK(device_error([&] { step(ones, many); }).starts_with("the value of "));
      variable->set_value(old);
    }
    is_any_lost = is_any_lost || lost > 0;
    is_none_lost = is_none_lost || lost == 0;
    CHECK(step(ones, many).item<float>() == 3);
    CHECK(a.get_value().data<float>()[4] == of_a.data<float>()[4] + 3);
  }
  CHECK(launches > 1);
  CHECK(is_any_lost);
  CHECK(is_none_lost);
}

TEST_CASE("driver: a graph that cannot be made is an error before anything has run") {
  const Process process;
  if (!process) return;
  for (const char* function :
       {"cuStreamBeginCapture_v2", "cuLaunchKernel", "cuMemsetD8Async", "cuStreamEndCapture",
        "cuGraphInstantiateWithFlags", "cuGraphLaunch"}) {
    CAPTURE(function);
    Pair pair;
    const auto ids = kt::vector("ids", kt::i64);
    const auto step = kt::function({pair.x, ids}, kt::sum(kt::take(pair.x, ids)),
                                   {.updates = {{pair.a, pair.a + 1}}, .target = kt::cuda()});
    const kt::Array x = kt::Array::ones({3}), two = kt::Array::zeros({2}, kt::i64);
    step(x, two);
    process->fail_call(function, 1, out_of_memory);
    CHECK(contains(device_error([&] { step(x, two); }), "CUDA_ERROR_OUT_OF_MEMORY"));
    CHECK(pair.a.get_value().data<float>()[4] == 2);
    CHECK(step(x, two).item<float>() == 2);
    CHECK(step(x, two).item<float>() == 2);
    CHECK(pair.a.get_value().data<float>()[4] == 4);
  }
}

TEST_CASE("driver: an error that lasts names the call and the device is refused") {
  const Process process("devices=2");
  if (!process) return;
  Pair pair;
  const auto train = kt::function(
      {pair.x},
      {.updates = {{pair.a, pair.a + kt::sum(pair.x)}}, .name = "train", .target = kt::cuda()});
  const auto other = kt::function({pair.x}, 2 * pair.x, {.name = "other", .target = kt::cuda()});
  const auto on_cpu = kt::function({}, pair.a + 0);
  const kt::Array x = kt::Array::ones({3});
  train(x);
  other(x);
  process->fail_kernel(1, illegal_address);
  train(x);  // returns at once
  // Whoever waits next is not to blame alone.
  const std::string message = device_error([&] { other(x); });
  CAPTURE(message);
  CHECK(contains(message, "cuda:0 (test GPU) cannot be used in this process any more"));
  CHECK(contains(message,
                 "failed in a call of train or other: CUDA_ERROR_ILLEGAL_ADDRESS: an "
                 "illegal memory access was encountered"));
  const int calls = process->calls("cuStreamSynchronize");
  CHECK(device_error([&] { train(x); }) == message);
  CHECK(device_error([&] { other(x); }) == message);
  CHECK(contains(device_error([&] { static_cast<void>(pair.a.get_value()); }), message));
  CHECK(contains(device_error([&] { on_cpu(); }), message));
  CHECK(contains(device_error([&] { pair.step(); }), message));
  CHECK(process->calls("cuStreamSynchronize") == calls);
  // The value is gone; the variable, the CPU and another device are not.
  pair.a.set_value(kt::Array::ones({5}));
  CHECK(on_cpu().data<float>()[4] == 1);
  CHECK(pair.step(kt::cuda(1))(x).item<float>() == 15);
  CHECK(pair.a.get_value().data<float>()[4] == 4);
}

TEST_CASE("driver: what has waited is not blamed for a later error") {
  const Process process;
  if (!process) return;
  Pair pair;
  const auto first = pair.step(kt::cuda(), "first"), second = pair.step(kt::cuda(), "second");
  const kt::Array x = kt::Array::ones({3});
  first(x);
  process->fail_kernel(1, 719);
  const std::string message = device_error([&] { second(x); });
  CHECK(contains(message, "failed in a call of second: CUDA_ERROR_LAUNCH_FAILED"));
}

TEST_CASE("driver: KROTON_CUDA_SYNC names the kernel") {
  const Process process;
  if (!process) return;
  REQUIRE(setenv("KROTON_CUDA_SYNC", "1", 1) == 0);
  Pair pair;
  const auto step = pair.step();
  for (int i = 0; i < 4; ++i) step(kt::Array::ones({3}));
  CHECK(process->calls("cuGraphLaunch") == 0);
  process->fail_kernel(2, illegal_address);
  const std::string message = device_error([&] { step(kt::Array::ones({3})); });
  CAPTURE(message);
  CHECK(contains(message, "failed in a call of step: CUDA_ERROR_ILLEGAL_ADDRESS"));
  CHECK(contains(message, "(noticed at: the kernel k3_sum"));  // the second that is started
}

namespace {

using Context = struct OpaqueContext*;

}  // namespace

TEST_CASE("driver: the current context is the caller's own after every call") {
  const Process process("devices=2");
  if (!process) return;
  auto* const retain = process.function<int(Context*, int)>("cuDevicePrimaryCtxRetain");
  auto* const set = process.function<int(Context)>("cuCtxSetCurrent");
  auto* const get = process.function<int(Context*)>("cuCtxGetCurrent");
  REQUIRE(process.function<int(unsigned)>("cuInit")(0) == 0);
  Context mine = nullptr;
  REQUIRE(retain(&mine, 1) == 0);
  const auto is = [&](Context wanted) {
    Context now = nullptr;
    return get(&now) == 0 && now == wanted;
  };
  for (Context before : {static_cast<Context>(nullptr), mine}) {
    CHECK(set(before) == 0);
    Pair pair;
    {
      const auto step = pair.step();
      CHECK(is(before));
      for (int i = 0; i < 3; ++i) step(kt::Array::ones({3}));
      CHECK(is(before));
      static_cast<void>(pair.a.get_value());
      CHECK(is(before));
      process->fail_call("cuMemAlloc_v2", 1, out_of_memory);
      CHECK_THROWS_AS(step(kt::Array::ones({1000})), kt::DeviceError);
      CHECK(is(before));
    }
    CHECK(is(before));
  }
}

TEST_CASE("driver: functions end in a thread that has no context") {
  const Process process;
  if (!process) return;
  auto pair = std::make_unique<Pair>();
  auto step = std::make_unique<kt::Function<1>>(pair->step());
  for (int i = 0; i < 3; ++i) (*step)(kt::Array::ones({3}));
  const auto idle = kt::function(
      {pair->x}, {.updates = {{pair->a, pair->a + kt::sum(pair->x)}}, .target = kt::cuda()});
  idle(kt::Array::ones({3}));  // still at work
  std::thread([&] { step.reset(); }).join();
  CHECK(pair->a.get_value().data<float>()[0] == 13);
}

namespace {

// Whether `f` returns true in a child that this process forks.
bool in_child(const std::function<bool()>& f) {
  const pid_t child = fork();
  if (child == 0) _exit(f() ? 0 : 1);
  int status = 0;
  return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
         WEXITSTATUS(status) == 0;
}

}  // namespace

TEST_CASE("driver: a forked process gets an error and does not call the driver") {
  const Process process;
  if (!process) return;
  auto pair = std::make_unique<Pair>();
  auto step = std::make_unique<kt::Function<1>>(pair->step());
  const kt::Array x = kt::Array::ones({3});
  (*step)(x);
  const auto refuses = [](const std::function<void()>& f) {
    return contains(device_error(f), "CUDA does not work in a process that was forked");
  };
  CHECK(in_child([&] {
    const bool refused = refuses([&] { (*step)(x); }) && refuses([&] { pair->step(); }) &&
                         refuses([&] { static_cast<void>(pair->a.get_value()); });
    // What needs no device works, and what is given back calls no driver.
    pair->a.set_value(kt::Array::ones({5}));
    const auto on_cpu = kt::function({}, kt::sum(pair->a));
    const bool works = on_cpu().item<float>() == 5;
    step.reset();
    pair.reset();
    return refused && works && process->violations().empty();
  }));
  // The parent goes on.
  CHECK((*step)(x).item<float>() == 3 + 20 + 14);
}

TEST_CASE("driver: a process that is forked before CUDA is used may use it") {
  const Process process;
  if (!process) return;
  CHECK(in_child([&] {
    Pair pair;
    return pair.step()(kt::Array::ones({3})).item<float>() == 15;
  }));
}

TEST_CASE("driver: no device is an error that says so") {
  const Process process("devices=0");
  if (!process) return;
  Pair pair;
  const std::string message = device_error([&] { pair.step(); });
  CHECK(contains(message, "finds no device it can use: CUDA_ERROR_NO_DEVICE"));
}

TEST_CASE("driver: a driver that takes no code that can be made here says what was tried") {
  const Process process("version=10020");
  if (!process) return;
  Pair pair;
  const std::string message = device_error([&] { pair.step(); });
  CHECK(contains(message, "the driver takes no code that can be made here"));
  CHECK(contains(message, "libnvrtc.so.12: CUDA_ERROR_INVALID_IMAGE"));
  CHECK(contains(message, "libnvrtc.so.13: CUDA_ERROR_INVALID_IMAGE"));
}

TEST_CASE("driver: what the driver says of PTX is shown") {
  const Process process("version=10020 capability=95");
  if (!process) return;
  Pair pair;
  CHECK(contains(device_error([&] { pair.step(); }),
                 "libnvrtc.so.13: CUDA_ERROR_UNSUPPORTED_PTX_VERSION: the test driver says so\n"
                 "test driver: PTX of version 13"));
}

TEST_CASE("driver: code of the next NVRTC is taken where that of the first is not") {
  const Process process("version=12040 capability=95");
  if (!process) return;
  Pair pair;
  // A newer device than NVRTC knows: PTX.
  process->fail_call("cuModuleLoadDataEx", 1, 222);
  CHECK(pair.step()(kt::Array::ones({3})).item<float>() == 15);
  CHECK(process->calls("cuModuleLoadDataEx") == 2);
}
