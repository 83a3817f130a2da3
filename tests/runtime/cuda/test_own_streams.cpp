// Functions in streams of their own, and in order with those of the caller's: what runs beside
// what, and what waits for what.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

#include "runtime/cuda/driver_api.h"
#include "tests/fake_driver/process.h"
#include "tests/runtime/cuda/device_arrays.h"
#include "tests/tools/error_text.h"

namespace own_streams {

using namespace device_arrays;  // NOLINT: tests
using error_text::contains;
using fake_driver::Process;

// What all streams but the one that is waited for have is done as late as may be, or before it.
constexpr const char* orders[] = {"order=lazy", "order=eager"};

kt::FunctionOptions own(const std::string& name = "f") {
  kt::FunctionOptions options;
  options.name = name;
  options.target = kt::cuda();
  options.own_stream = true;
  return options;
}

kt::FunctionOptions staying(const std::string& name = "f") {
  kt::FunctionOptions options = own(name);
  options.downloads = false;
  return options;
}

kt::Array fives() { return kt::Array::full({17}, 5); }

TEST_CASE("own streams: a call does not wait for what runs in others") {
  const Process process("order=lazy");
  if (!process) return;
  const auto x = kt::vector("x");
  const auto first = kt::function({x}, 2 * x, staying()), second = kt::function({x}, 3 * x, own());
  kt::FunctionOptions shared = own();
  shared.own_stream = false;
  const auto third = kt::function({x}, 4 * x, shared);
  first(fives());
  second(fives());  // memory that grows is waited for
  third(fives());
  for (int call = 0; call < 4; ++call) {  // captured and replayed
    const int done = process->kernels();
    const kt::Array kept = first(fives());
    CHECK(process->kernels() == done);
    CHECK(second(fives()).data<float>()[16] == 15);
    CHECK(third(fives()).data<float>()[16] == 20);
    CHECK(process->kernels() == done + 2);  // the first one's is still under way
    CHECK(kept.to(kt::cpu()).data<float>()[16] == 10);
    CHECK(process->kernels() == done + 3);
  }
  // Without a stream of its own one runs behind the other.
  shared.downloads = false;
  const auto fourth = kt::function({x}, 5 * x, shared);
  const int done = process->kernels();
  const kt::Array kept = fourth(fives());
  third(fives());
  CHECK(process->kernels() == done + 2);
}

TEST_CASE("own streams: shared variables are read and written in the order of the calls") {
  for (const char* order : orders) {
    const Process process(order);
    if (!process) continue;
    const auto x = kt::vector("x");
    auto w = kt::shared(kt::Array::ones({17}), "w");
    kt::FunctionOptions updates = own("train");
    updates.updates = {{w, w + x}};
    const auto train = kt::function({x}, updates);
    const auto eval = kt::function({x}, w * x, own("eval")),
               later = kt::function({x}, w + x, staying("later"));
    kt::FunctionOptions plain;
    plain.target = kt::cuda();
    const auto there = kt::function({}, w + 0, plain), here = kt::function({}, w + 0);
    float want = 1;
    for (int round = 0; round < 4; ++round) {
      CAPTURE(round);
      train(fives());
      train(fives());
      want += 10;
      CHECK(eval(fives()).data<float>()[16] == 5 * want);
      // What has been read is not what a later call writes.
      const kt::Array before = later(fives());
      train(fives());
      CHECK(there().data<float>()[16] == want + 5);
      CHECK(before.to(kt::cpu()).data<float>()[16] == want + 5);
      want += 5;
      CHECK(here().data<float>()[0] == want);
      train(fives());
      want += 5;
      CHECK(w.get_value().data<float>()[7] == want);
      w.set_value(kt::Array::full({17}, round));
      want = static_cast<float>(round);
      CHECK(later(fives()).to(kt::cpu()).data<float>()[0] == want + 5);
    }
  }
}

TEST_CASE("own streams: readers of one variable do not wait for each other") {
  const Process process("order=lazy");
  if (!process) return;
  const auto x = kt::vector("x");
  const auto w = kt::shared(kt::Array::full({17}, 2), "w");
  const auto first = kt::function({x}, w * x, staying()), second = kt::function({x}, w + x, own());
  for (int call = 0; call < 3; ++call) {
    second(fives());
    const int done = process->kernels();
    const kt::Array kept = first(fives());
    CHECK(second(fives()).data<float>()[16] == 7);
    CHECK(process->kernels() == done + 1);
    CHECK(kept.to(kt::cpu()).data<float>()[16] == 10);
  }
}

TEST_CASE("own streams: arrays go from stream to stream and their memory too") {
  for (const char* order : orders) {
    const Process process(order);
    if (!process) continue;
    const auto x = kt::vector("x");
    const auto twice = kt::function({x}, 2 * x, staying()),
               more = kt::function({x}, x + 1, staying());
    kt::FunctionOptions plain = staying();
    plain.own_stream = false;
    const auto less = kt::function({x}, x - 1, plain);
    kt::Array a = fives().to(kt::cuda());
    for (int round = 0; round < 6; ++round) {
      CAPTURE(round);
      const kt::Array b = twice(a), c = more(b), d = less(c);  // 2a, 2a + 1, 2a
      kt::Array e = kt::Array::zeros({17}, kt::f32, kt::cuda());
      more.into(e)(d);
      const float have = a.to(kt::cpu()).data<float>()[0];
      a.assign(c);
      CHECK(e.to(kt::cpu()).data<float>()[16] == 2 * have + 1);
      CHECK(d.copy().to(kt::cpu()).data<float>()[16] == 2 * have);
      a = round % 2 == 0 ? less(a) : fives().to(kt::cuda());
    }
    // Rows of one array that several streams write.
    kt::Array rows = kt::Array::zeros({4, 17}, kt::f32, kt::cuda());
    for (int row = 0; row < 4; ++row) {
      auto place = rows.row(row);
      (row % 2 == 0 ? twice : more).into(place)(fives());
    }
    const kt::Array all = rows.to(kt::cpu());
    for (int row = 0; row < 4; ++row) {
      CHECK(all.row(row).data<float>()[16] == (row % 2 == 0 ? 10 : 6));
    }
    // Nothing new is allocated once every stream has its memory.
    for (int k = 0; k < 3; ++k) more(twice(fives()));
    const int allocations = process->calls("cuMemAlloc_v2");
    for (int k = 0; k < 10; ++k) more(twice(fives()));
    CHECK(process->calls("cuMemAlloc_v2") == allocations);
    // Where there is no more memory, one stream takes what another has left.
    kt::Array left = twice(kt::Array::ones({1000}));
    left = kt::Array();
    process->fail_call("cuMemAlloc_v2", 1, 2);
    const kt::Array taken = kt::Array::zeros({1000}, kt::f32, kt::cuda());
    CHECK(taken.to(kt::cpu()).data<float>()[999] == 0);
  }
}

TEST_CASE("own streams: a stream is given back with its function") {
  const Process process;
  if (!process) return;
  const auto x = kt::vector("x");
  int streams = 0;
  for (int round = 0; round < 3; ++round) {
    std::optional<kt::Function<1>> f(kt::function({x}, 2 * x, staying()));
    const auto g = kt::function({x}, 3 * x, staying());
    const kt::Array y = (*f)(fives()), z = g(fives());
    f.reset();  // while it runs
    CHECK(y.to(kt::cpu()).data<float>()[3] == 10);
    CHECK(z.to(kt::cpu()).data<float>()[3] == 15);
    if (round == 0) streams = process->calls("cuStreamCreate");
    CHECK(process->calls("cuStreamCreate") == streams);
  }
  // All streams are waited for.
  const auto h = kt::function({x}, x + 1, staying());
  const int done = process->kernels();
  const kt::Array w = h(fives());
  CHECK(process->kernels() == done);
  kt::synchronize();
  CHECK(process->kernels() == done + 1);
}

TEST_CASE("own streams: calls are in order with the stream that the caller gives") {
  for (const char* order : orders) {
    const Process process(order);
    if (!process) continue;
    const kt::nvidia::DriverApi api;
    kt::nvidia::CUcontext context = nullptr;
    kt::nvidia::CUstream stream = nullptr;
    CHECK(api.cuInit(0) == 0);
    CHECK(api.cuDevicePrimaryCtxRetain(&context, 0) == 0);
    CHECK(api.cuCtxPushCurrent(context) == 0);
    CHECK(api.cuStreamCreate(&stream, kt::nvidia::stream_non_blocking) == 0);
    const auto x = kt::vector("x");
    for (const kt::nvidia::CUstream given : {stream, kt::nvidia::CUstream{}}) {
      kt::FunctionOptions options = staying();
      options.own_stream = false;
      options.stream = given;
      const auto f = kt::function({x}, 2 * x, options);
      kt::Array in = kt::Array::zeros({17}, kt::f32, kt::cuda());
      kt::Array out = kt::Array::zeros({17}, kt::f32, kt::cuda());
      kt::synchronize();
      const auto address = [](kt::Array& array) {
        return reinterpret_cast<kt::nvidia::CUdeviceptr>(array.device_pointer());
      };
      for (int round = 1; round <= 4; ++round) {
        CAPTURE(round);
        const kt::Array values = kt::Array::full({17}, round);
        kt::Array have = kt::Array::zeros({17});
        const int done = process->kernels();
        CHECK(api.cuMemcpyHtoDAsync(address(in), values.raw(), 68, given) == 0);
        f.into(out)(in);
        CHECK(process->kernels() == done);
        CHECK(api.cuMemcpyDtoHAsync(have.raw(), address(out), 68, given) == 0);
        CHECK(api.cuMemsetD8Async(address(in), 0, 68, given) == 0);
        CHECK(api.cuStreamSynchronize(given) == 0);
        CHECK(have.data<float>()[16] == static_cast<float>(2 * round));
      }
    }
    kt::nvidia::CUcontext popped = nullptr;
    CHECK(api.cuCtxPopCurrent(&popped) == 0);
  }
}

TEST_CASE("own streams: what fails in one is an error of its call alone") {
  const Process process;
  if (!process) return;
  const auto x = kt::vector("x");
  const auto i = kt::vector("i", kt::i64);
  auto w = kt::shared(kt::Array::ones({3}), "w");
  kt::FunctionOptions updates = own("train");
  updates.updates = {{w, w + kt::sum(kt::take(x, i, 0))}};
  const auto train = kt::function({x, i}, updates);
  const auto other = kt::function({x}, 2 * x, staying("other"));
  const kt::Array good = kt::Array::from({std::int64_t{0}, std::int64_t{16}}),
                  bad = kt::Array::from({std::int64_t{0}, std::int64_t{17}});
  train(fives(), good);
  const kt::Array y = other(fives());
  CHECK_THROWS_AS(train(fives(), bad), kt::ValueError);
  CHECK(y.to(kt::cpu()).data<float>()[3] == 10);
  CHECK(w.get_value().data<float>()[2] == 11);
  process->fail_call("cuMemAlloc_v2", 1, 2);
  CHECK(contains(device_error([&] { other(kt::Array::ones({1000})); }), "OUT_OF_MEMORY"));
  train(fives(), good);
  CHECK(other(kt::Array::ones({1000})).to(kt::cpu()).data<float>()[999] == 2);
  CHECK(w.get_value().data<float>()[2] == 21);
  // What spoils the device is the end of all of them, and all that were under way are named.
  const auto third = kt::function({x}, 3 * x, staying("third"));
  process->fail_kernel(1, 700);
  const kt::Array a = other(fives()), b = third(fives());
  const std::string message = device_error([&] { kt::synchronize(); });
  CHECK(contains(message, "cannot be used in this process any more"));
  CHECK(contains(message, "other"));
  CHECK(contains(message, "third"));
  CHECK(device_error([&] { train(fives(), good); }) == message);
}

TEST_CASE("own streams: a trainer and evaluators in several threads") {
  for (const char* order : orders) {
    const Process process(order);
    if (!process) continue;
    const auto x = kt::vector("x");
    auto w = kt::shared(kt::Array::zeros({17}), "w");
    kt::FunctionOptions updates = own("train");
    updates.updates = {{w, w + x}};
    const auto train = kt::function({x}, updates);
    const auto mean = kt::function({x}, kt::max(w * x) - kt::min(w * x), own());
    const auto sum = kt::function({x}, kt::max(w + x), staying());
    std::atomic<int> wrong = 0;
    std::vector<std::thread> threads;
    threads.emplace_back([&] {
      for (int k = 0; k < 30; ++k) train(kt::Array::ones({17}));
    });
    threads.emplace_back([&] {
      // An update is seen as a whole.
      for (int k = 0; k < 20; ++k) wrong += mean(fives()).item<float>() != 0;
    });
    threads.emplace_back([&] {
      float last = 0;
      for (int k = 0; k < 20; ++k) {
        const float now = sum(fives()).to(kt::cpu()).item<float>();
        wrong += now < last;
        last = now;
      }
    });
    threads.emplace_back([&] {  // graphs of new sizes, and memory that comes and goes
      for (int k = 0; k < 10; ++k) {
        const auto mine = kt::function({x}, 2 * x, staying());
        for (int n : {3, 3, 50 + k, 50 + k}) {
          wrong += mine(kt::Array::ones({n})).to(kt::cpu()).data<float>()[2] != 2;
        }
      }
    });
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == 0);
    CHECK(w.get_value().data<float>()[16] == 30);
  }
}

}  // namespace own_streams
