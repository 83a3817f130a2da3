// Arrays on devices, views of others' memory and DLPack, on the driver of the tests.
#include <doctest/doctest.h>
#include <kroton/dlpack.h>
#include <kroton/kroton.h>

#include <atomic>
#include <functional>
#include <numeric>
#include <thread>

#include "runtime/cuda/driver_api.h"
#include "tests/fake_driver/process.h"
#include "tests/tools/error_text.h"

namespace kt = kroton;
using error_text::contains;
using fake_driver::Process;

namespace {

const std::vector<kt::Shape> shapes{{0}, {1}, {3}, {17}, {}, {3, 17}, {3, 0}, {17, 1, 3}};
const std::vector<kt::DType> dtypes{kt::boolean, kt::u8,   kt::i32, kt::i64,
                                    kt::f16,     kt::bf16, kt::f32, kt::f64};

kt::Array numbered(const kt::Shape& shape, kt::DType dtype = kt::f32) {
  return kt::Array::arange(static_cast<double>(shape.element_count())).reshape(shape).cast(dtype);
}

std::string device_error(const std::function<void()>& f) {
  try {
    f();
  } catch (const kt::DeviceError& error) {
    return error.what();
  }
  return "no error";
}

// Another user of the driver in the same process, with a stream of its own.
struct Other {
  kt::nvidia::DriverApi api;
  kt::nvidia::CUcontext context = nullptr;
  kt::nvidia::CUstream stream = nullptr;

  explicit Other(int device = 0) {
    CHECK(api.cuInit(0) == 0);
    CHECK(api.cuDevicePrimaryCtxRetain(&context, device) == 0);
    CHECK(api.cuCtxPushCurrent(context) == 0);
    CHECK(api.cuStreamCreate(&stream, kt::nvidia::stream_non_blocking) == 0);
  }
  ~Other() {
    kt::nvidia::CUcontext popped = nullptr;
    api.cuCtxPopCurrent(&popped);
  }
  Other(const Other&) = delete;
  Other& operator=(const Other&) = delete;

  float* allocate(std::int64_t count) const {
    kt::nvidia::CUdeviceptr address = 0;
    CHECK(api.cuMemAlloc(&address, static_cast<std::size_t>(count) * sizeof(float)) == 0);
    return reinterpret_cast<float*>(address);
  }
  // Queued only, as a kernel of theirs would be.
  void write(float* to, const kt::Array& values) const {
    CHECK(api.cuMemcpyHtoDAsync(reinterpret_cast<kt::nvidia::CUdeviceptr>(to), values.raw(),
                                static_cast<std::size_t>(values.nbytes()), stream) == 0);
  }
  kt::Array read(const float* from, const kt::Shape& shape) const {
    kt::Array result = kt::Array::empty(shape);
    CHECK(api.cuMemcpyDtoHAsync(result.raw(), reinterpret_cast<kt::nvidia::CUdeviceptr>(from),
                                static_cast<std::size_t>(result.nbytes()), stream) == 0);
    CHECK(api.cuStreamSynchronize(stream) == 0);
    return result;
  }
  void free(float* memory) const {
    CHECK(api.cuCtxSynchronize() == 0);
    CHECK(api.cuMemFree(reinterpret_cast<kt::nvidia::CUdeviceptr>(memory)) == 0);
  }
};

}  // namespace

TEST_CASE("driver: arrays go to a device and back") {
  const Process process("devices=2");
  if (!process) return;
  for (const kt::DType dtype : dtypes) {
    for (const kt::Shape& shape : shapes) {
      CAPTURE(shape);
      const kt::Array here = numbered(shape, dtype);
      const kt::Array there = here.to(kt::cuda());
      CHECK(here.device() == kt::cpu());
      CHECK((there.device() == kt::cuda() && there.is_on_device()));
      CHECK((there.dtype() == dtype && there.shape() == shape));
      CHECK(kt::array_equal(there.to(kt::cpu()), here));
      CHECK(kt::array_equal(there.copy().to(kt::cpu()), here));
      CHECK(kt::array_equal(there.to(kt::cuda(1)).to(kt::cuda(0)).to(kt::cpu()), here));
      CHECK(kt::array_equal(there.reshape({-1}).to(kt::cpu()), here.reshape({-1})));
      if (here.size() > 0 && here.rank() > 0) {
        CHECK(kt::array_equal(there.row(-1).to(kt::cpu()), here.row(-1)));
      }
      kt::Array target = kt::Array::zeros(shape, dtype, kt::cuda(1));
      CHECK(kt::array_equal(target.to(kt::cpu()), kt::Array::zeros(shape, dtype)));
      target.assign(there);
      CHECK(kt::array_equal(target.to(kt::cpu()), here));
      target.assign(kt::Array::zeros(shape, dtype));
      kt::Array back = here.copy();
      back.assign(target);
      CHECK(kt::array_equal(back, kt::Array::zeros(shape, dtype)));
    }
  }
  // It is the same array where it is there already, and what has strides arrives in rows.
  const kt::Array a = numbered({3, 17}).to(kt::cuda());
  CHECK(a.to(kt::cuda()).device_pointer() == a.device_pointer());
  std::vector<float> mine(6);
  std::iota(mine.begin(), mine.end(), 0.0F);
  const kt::Array across = kt::Array::view(mine.data(), {3, 2}, {1, 3});
  CHECK(kt::array_equal(across.to(kt::cuda()).to(kt::cpu()), across));
  kt::Array strided = kt::Array::view(mine.data(), {3, 2}, {1, 3});
  strided.assign(kt::Array::ones({3, 2}).to(kt::cuda(1)));
  CHECK(mine == std::vector<float>(6, 1.0F));
  // A row onto its neighbour, and onto itself in part.
  kt::Array rows = numbered({4, 5}).to(kt::cuda());
  rows.row(0).assign(rows.row(1));
  rows.row(2).assign(rows.row(2));
  kt::Array flat = rows.reshape({20});
  CHECK(kt::array_equal(rows.row(0).to(kt::cpu()), numbered({4, 5}).row(1)));
  CHECK(kt::array_equal(rows.row(2).to(kt::cpu()), numbered({4, 5}).row(2)));
  kt::synchronize();
  kt::synchronize(kt::cuda(1));
  kt::synchronize(kt::cpu());
}

TEST_CASE("driver: elements of an array on a device are not looked at") {
  const Process process;
  if (!process) return;
  kt::Array a = numbered({3}).to(kt::cuda());
  const auto fails = [&](const std::string& operation, const std::function<void()>& f) {
    CHECK(device_error(f) == operation +
                                 ": the array is on cuda:0 (test GPU), elements are looked at on "
                                 "the host: to(kt::cpu()) copies them there");
  };
  fails("data", [&] { static_cast<void>(a.data<float>()); });
  fails("data", [&] { static_cast<void>(a.data<double>()); });
  fails("data", [&] { static_cast<void>(kt::Array(a).data<float>()); });
  fails("raw", [&] { static_cast<void>(a.raw()); });
  fails("raw", [&] { static_cast<void>(std::as_const(a).raw()); });
  fails("index", [&] { static_cast<void>(double{a(0)}); });
  fails("index", [&] { a(0) = 1; });
  fails("item", [&] { static_cast<void>(a.row(0).item<float>()); });
  fails("item", [&] { static_cast<void>(a.row(0).item<double>()); });
  fails("cast", [&] { static_cast<void>(a.cast(kt::f64)); });
  fails("array_equal", [&] { static_cast<void>(kt::array_equal(numbered({3}), a)); });
  fails("all_close", [&] { static_cast<void>(kt::all_close(a, a)); });
  fails("shared: w", [&] { static_cast<void>(kt::shared(a, "w")); });
  fails("constant", [&] { static_cast<void>(kt::constant(a)); });
  auto s = kt::shared(numbered({3}), "s");
  fails("set_value: s", [&] { s.set_value(a); });
  CHECK(kt::array_equal(s.get_value(), numbered({3})));
  CHECK(kt::to_string(a) == "f32 (3,) on cuda:0 (test GPU)");
  CHECK(kt::to_string(kt::cuda(1)) == "cuda:1");
  CHECK(contains(device_error([&] { static_cast<void>(numbered({3}).device_pointer()); }),
                 "device_pointer: the array is on the host"));
  CHECK(contains(device_error([&] { static_cast<void>(numbered({3}).to(kt::cuda(1))); }),
                 "there is no CUDA device 1"));
}

TEST_CASE("driver: arguments on the device are used there and results stay") {
  const Process process;
  if (!process) return;
  const auto x = kt::tensor("x", {kt::dim("m"), kt::dim("n")});
  const auto y = kt::tensor("y", {kt::dim("n")});
  const std::vector<kt::Tensor> outputs{kt::softmax(x + y), kt::sum(x, 0), 2 * y};
  const auto on_cpu = kt::function({x, y}, outputs);
  const auto f = kt::function({x, y}, outputs, {.target = kt::cuda()});
  const auto stays =
      kt::function({x, y}, outputs, {.target = kt::cuda(), .uploads = false, .downloads = false});
  for (const std::int64_t m : {0, 1, 3, 17}) {
    for (const std::int64_t n : {1, 3, 17}) {
      for (int round = 0; round < 3; ++round) {
        const kt::Array xs = kt::Array::normal({m, n}, 1), ys = kt::Array::normal({n}, 2);
        const auto want = on_cpu(xs, ys);
        const kt::Array x_there = xs.to(kt::cuda()), y_there = ys.to(kt::cuda());
        const auto mixed = f(x_there, ys);
        const int up = process->calls("cuMemcpyHtoDAsync_v2");
        const int down = process->calls("cuMemcpyDtoHAsync_v2");
        const int waits = process->calls("cuStreamSynchronize");
        const auto there = stays(x_there, y_there);
        const auto chained = stays(there[0], there[2]);
        CHECK(process->calls("cuMemcpyHtoDAsync_v2") == up);
        CHECK(process->calls("cuMemcpyDtoHAsync_v2") == down);
        CHECK(process->calls("cuStreamSynchronize") == waits);
        const auto want_chained = on_cpu(want[0], want[2]);
        for (std::size_t k = 0; k < want.size(); ++k) {
          CHECK(there[k].device() == kt::cuda());
          CHECK(kt::all_close(mixed[k], want[k], 1e-5, 1e-6));
          CHECK(kt::all_close(there[k].to(kt::cpu()), want[k], 1e-5, 1e-6));
          CHECK(kt::all_close(chained[k].to(kt::cpu()), want_chained[k], 1e-5, 1e-6));
        }
        CHECK(kt::array_equal(x_there.to(kt::cpu()), xs));
      }
    }
  }
  // The sizes are checked before anything else.
  CHECK_THROWS_AS(f(numbered({3}).to(kt::cuda()), numbered({3})), kt::ShapeError);
  CHECK_THROWS_AS(f(numbered({3, 3}), numbered({3}, kt::f64).to(kt::cuda())), kt::TypeError);
}

TEST_CASE("driver: an array on another device is an error that names both") {
  const Process process("devices=2");
  if (!process) return;
  const auto x = kt::vector("x");
  const auto n = kt::scalar("n", kt::i64);
  const kt::Array here = numbered({3}), zero = here.to(kt::cuda(0)), one = here.to(kt::cuda(1));
  const auto on_cpu = kt::function({x}, 2 * x, {.name = "f"});
  const auto on_zero = kt::function({x}, 2 * x, {.name = "f", .target = kt::cuda(0)});
  const auto stays = kt::function(
      {x}, 2 * x, {.name = "f", .target = kt::cuda(1), .uploads = false, .downloads = false});
  CHECK(
      device_error([&] { on_cpu(zero); }) ==
      "f: x is on cuda:0 (test GPU), the function runs on the CPU: to(kt::cpu()) copies it there");
  CHECK(device_error([&] { on_zero(one); }) ==
        "f: x is on cuda:1 (test GPU), the function runs on cuda:0 (test GPU): to(kt::cuda(0)) "
        "copies it there");
  CHECK(device_error([&] { stays(here); }) ==
        "f: x is on the host, the function runs on cuda:1 (test GPU) and moves nothing: "
        "to(kt::cuda(1)) copies it there");
  kt::Array out_here = kt::Array::zeros({3}), out_zero = out_here.to(kt::cuda(0)),
            out_one = out_here.to(kt::cuda(1));
  CHECK(contains(device_error([&] { on_cpu.into(out_zero)(here); }),
                 "f: the given array of output 0 is on cuda:0"));
  CHECK(contains(device_error([&] { on_zero.into(out_one)(here); }),
                 "f: the given array of output 0 is on cuda:1"));
  CHECK(contains(device_error([&] { stays.into(out_here)(one); }),
                 "f: the given array of output 0 is on the host"));
  on_zero.into(out_here)(zero);
  CHECK(kt::array_equal(out_here, on_cpu(here)));
  stays.into(out_one)(one);
  CHECK(kt::array_equal(out_one.to(kt::cpu()), on_cpu(here)));
  // What the host must know.
  const auto powers =
      kt::scan([](kt::Tensor state) { return 2 * state; },
               {.outputs_info = {kt::constant(kt::Array::ones({2}))}, .n_steps = n});
  const auto steps = kt::function({n}, powers, {.name = "steps", .target = kt::cuda(0)});
  CHECK(contains(device_error([&] { steps(kt::Array(std::int64_t{3}).to(kt::cuda(0))); }),
                 "steps: n sets a number of steps, which the host must know; the argument is on "
                 "cuda:0"));
  CHECK(steps(3).shape() == kt::Shape{3, 2});
}

TEST_CASE("driver: results are written into arrays on the device") {
  const Process process;
  if (!process) return;
  const auto x = kt::vector("x");
  const auto i = kt::scalar("i", kt::i64);
  const auto f = kt::function({x}, {2 * x, kt::sum(x)}, {.target = kt::cuda()});
  kt::Array table = kt::Array::zeros({4, 17}, kt::f32, kt::cuda());
  kt::Array sum = kt::Array::zeros({});
  const kt::Array xs = numbered({17});
  for (int k = 0; k < 4; ++k) {
    kt::Array row = table.row(k);
    f.into(row, sum)(xs);
    CHECK(sum.item<float>() == 136);
    CHECK(kt::array_equal(table.row(k).to(kt::cpu()), (kt::function({x}, 2 * x))(xs)));
  }
  kt::Array row = table.row(1);
  CHECK_THROWS_AS(f.into(row, sum)(table.row(1)), kt::ValueError);  // it overlaps the argument
  kt::Array wrong = kt::Array::zeros({16}, kt::f32, kt::cuda());
  CHECK_THROWS_AS(f.into(wrong, sum)(xs), kt::ShapeError);
  // After a failed check what is on the host is as before, and the function goes on.
  const auto pick = kt::function({x, i}, {x[i], 2 * x}, {.target = kt::cuda()});
  kt::Array picked = kt::Array::zeros({}), twice = table.row(2);
  CHECK_THROWS_AS(pick.into(picked, twice)(xs, 17), kt::ValueError);
  CHECK(picked.item<float>() == 0);
  pick.into(picked, twice)(xs, 16);
  CHECK(picked.item<float>() == 16);
}

namespace {

void check_memory_of_others(const Process& process) {
  const Other other;
  const auto x = kt::vector("x");
  const auto f = kt::function({x}, 2 * x, {.name = "f", .target = kt::cuda(), .downloads = false});
  float* const in = other.allocate(17);
  float* const out = other.allocate(17);
  for (int round = 1; round <= 4; ++round) {
    const kt::Array values = kt::Array::full({17}, round), want = kt::Array::full({17}, 2 * round);
    const kt::Array source =
        kt::Array::view(kt::cuda(), static_cast<const float*>(in), {17}, other.stream);
    kt::Array target = kt::Array::view(kt::cuda(), out, {17}, other.stream);
    CHECK(source.is_read_only());
    // Nothing of this has been done when the function is called, nor when it returns.
    other.write(in, values);
    const int waits = process->calls("cuStreamSynchronize");
    f.into(target)(source);
    CHECK(process->calls("cuStreamSynchronize") == waits);
    const kt::Array zeros = kt::Array::zeros({17});
    other.write(in, zeros);  // comes after the function has read it
    CHECK(kt::array_equal(other.read(out, {17}), want));
    CHECK(kt::array_equal(target.to(kt::cpu()), want));
    CHECK(kt::array_equal(source.to(kt::cpu()), zeros));
    other.write(in, values);
    target.assign(source);
    CHECK(kt::array_equal(other.read(out, {17}), values));
  }
  kt::Array read_only =
      kt::Array::view(kt::cuda(), static_cast<const float*>(out), {17}, other.stream);
  CHECK_THROWS_AS(f.into(read_only)(numbered({17})), kt::ValueError);
  CHECK_THROWS_AS(read_only.assign(numbered({17})), kt::ValueError);
  CHECK_THROWS_AS(static_cast<void>(read_only.device_pointer()), kt::ValueError);
  // What is no memory of the device.
  std::vector<float> mine(17);
  CHECK(contains(
      device_error([&] { static_cast<void>(kt::Array::view(kt::cuda(), mine.data(), {17})); }),
      "view: the memory of f32 (17,) to be viewed on cuda:0 (test GPU) is in no memory "
      "that the driver knows"));
  CHECK(contains(device_error([&] { static_cast<void>(kt::Array::view(kt::cuda(1), in, {17})); }),
                 "to be viewed on cuda:1 (test GPU) is on cuda:0"));
  void* locked = nullptr;
  CHECK(other.api.cuMemAllocHost(&locked, 64) == 0);
  CHECK(contains(device_error([&] {
                   static_cast<void>(
                       kt::Array::view(kt::cuda(), static_cast<float*>(locked), {16}));
                 }),
                 "is memory of the host"));
  auto* const odd = reinterpret_cast<float*>(reinterpret_cast<char*>(in) + 2);
  CHECK_THROWS_AS(kt::Array::view(kt::cuda(), odd, {3}), kt::ValueError);
  CHECK_THROWS_AS(kt::Array::view(kt::cuda(), static_cast<float*>(nullptr), {3}), kt::ValueError);
  CHECK(kt::Array::view(kt::cuda(), static_cast<float*>(nullptr), {3, 0}).size() == 0);
  CHECK(kt::Array::view(kt::cpu(), mine.data(), {17}).device() == kt::cpu());
  // Memory that has been freed.
  const kt::Array source =
      kt::Array::view(kt::cuda(), static_cast<const float*>(in), {17}, other.stream);
  other.free(in);
  CHECK(device_error([&] { f(source); }) ==
        "f: x, a view of memory on cuda:0 (test GPU), is in no memory that the driver knows");
  CHECK(kt::array_equal(f(numbered({3})).to(kt::cpu()), kt::Array::from({0.0F, 2.0F, 4.0F})));
  other.free(out);
}

}  // namespace

TEST_CASE("driver: memory of others is used in order with their stream") {
  const Process process("devices=2");
  if (process) check_memory_of_others(process);
}
TEST_CASE("driver: memory of others is used in order with their stream whatever runs first") {
  const Process process("devices=2 order=eager");
  if (process) check_memory_of_others(process);
}

TEST_CASE("driver: training on batches that stay on the device") {
  const Process process;
  if (!process) return;
  const auto x = kt::tensor("x", {kt::dim("batch"), 5});
  const auto labels = kt::tensor("labels", {kt::dim("batch")}, kt::i64);
  const kt::Array data = kt::Array::normal({40, 8, 5}, 1);
  kt::Array classes = kt::Array::zeros({40, 8}, kt::i64);
  for (std::size_t k = 0; k < 320; ++k) classes.data<std::int64_t>()[k] = (5 * k) % 3;
  const auto train = [&](const kt::Target& target, bool stays, bool graphs) {
    auto w = kt::shared(kt::Array::normal({5, 3}, 2), "w");
    const auto loss = kt::mean(kt::softmax_cross_entropy(kt::dot(x, w), labels));
    kt::Target where = target;
    where.graphs = graphs;
    const auto step = kt::function({x, labels}, loss,
                                   {.updates = {{w, w - 0.1 * kt::grad(loss, w)}},
                                    .name = "step",
                                    .target = where,
                                    .uploads = !stays,
                                    .downloads = !stays});
    const kt::Array batches = stays ? data.to(target) : data;
    const kt::Array targets = stays ? classes.to(target) : classes;
    std::vector<float> losses;
    for (int epoch = 0; epoch < 2; ++epoch) {
      for (int k = 0; k < 40; ++k) {
        losses.push_back(step(batches.row(k), targets.row(k)).to(kt::cpu()).item<float>());
      }
    }
    return std::pair(kt::Array::from(losses), w.get_value());
  };
  const auto want = train(kt::cpu(), false, true);
  const auto moved = train(kt::cuda(), false, true);
  const int made = process->calls("cuGraphInstantiateWithFlags");
  const int launched = process->calls("cuGraphLaunch");
  const auto stayed = train(kt::cuda(), true, true);
  // Graphs of a few addresses are made, then updated.
  CHECK(process->calls("cuGraphInstantiateWithFlags") - made == 4);
  CHECK(process->calls("cuGraphExecUpdate") > 70);
  CHECK(process->calls("cuGraphLaunch") - launched == 79);
  const auto plain = train(kt::cuda(), true, false);
  CHECK(kt::all_close(moved.first, want.first, 1e-5, 1e-6));
  CHECK(kt::all_close(moved.second, want.second, 1e-4, 1e-5));
  CHECK(kt::array_equal(stayed.first, moved.first));
  CHECK(kt::array_equal(stayed.second, moved.second));
  CHECK(kt::array_equal(plain.first, moved.first));
  CHECK(kt::array_equal(plain.second, moved.second));
}

TEST_CASE("driver: a graph that cannot be updated is made anew") {
  const Process process;
  if (!process) return;
  const auto x = kt::vector("x");
  const auto f = kt::function({x}, kt::sum(kt::softmax(x) * x), {.target = kt::cuda()});
  const kt::Array rows = kt::Array::normal({10, 17}, 1), there = rows.to(kt::cuda());
  const auto want = kt::function({x}, kt::sum(kt::softmax(x) * x));
  const auto graphs = [&] { return process->calls("cuGraphInstantiateWithFlags"); };
  const auto updates = [&] { return process->calls("cuGraphExecUpdate"); };
  for (int k = 0; k < 30; ++k) {
    // The topology has changed, the driver does not know how, there is no memory for it.
    const int made = graphs(), tried = updates();
    const bool fails = k >= 10 && k % 2 == 0;
    const int codes[] = {910, 801, 2};
    if (fails) process->fail_call("cuGraphExecUpdate", 1, codes[k / 2 % 3]);
    CHECK(kt::all_close(f(there.row(k % 10)), want(rows.row(k % 10)), 1e-5, 1e-6));
    CHECK(updates() == tried + (k > 4 ? 1 : 0));
    CHECK(graphs() == made + ((k >= 1 && k <= 4) || fails ? 1 : 0));
  }
  // With no graph at all the call is an error, and the next one is right.
  process->fail_call("cuGraphExecUpdate", 1, 910);
  process->fail_call("cuGraphInstantiateWithFlags", 1, 2);
  CHECK(contains(device_error([&] { f(there.row(0)); }), "cuGraphInstantiate"));
  for (int k = 0; k < 6; ++k) {
    CHECK(kt::all_close(f(there.row(k)), want(rows.row(k)), 1e-5, 1e-6));
  }
}

TEST_CASE("driver: arrays on a device that has failed") {
  const Process process("devices=2");
  if (!process) return;
  const auto x = kt::vector("x");
  const auto f = kt::function({x}, 2 * x, {.name = "f", .target = kt::cuda(), .downloads = false});
  const kt::Array there = numbered({17}).to(kt::cuda());
  process->fail_kernel(1, 700);
  kt::Array y = f(there);  // returns at once
  const std::string message = device_error([&] { static_cast<void>(y.to(kt::cpu())); });
  CHECK(contains(message, "failed in a call of f: CUDA_ERROR_ILLEGAL_ADDRESS"));
  CHECK(device_error([&] { f(there); }) == message);
  CHECK(device_error([&] { static_cast<void>(there.copy()); }) == message);
  CHECK(device_error([&] { y.assign(numbered({17})); }) == message);
  CHECK(device_error([&] { kt::synchronize(); }) == message);
  CHECK(kt::to_string(y) == "f32 (17,) on cuda:0 (test GPU)");
  CHECK(numbered({17}).to(kt::cuda(1)).to(kt::cpu()).data<float>()[16] == 16);
}

TEST_CASE("driver: arrays on a device from several threads") {
  const Process process;
  if (!process) return;
  const auto x = kt::vector("x");
  const auto f = kt::function({x}, 2 * x, {.target = kt::cuda(), .downloads = false});
  const kt::Array shared = numbered({17}).to(kt::cuda());
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      kt::Array mine = kt::Array::full({17}, t + 1).to(kt::cuda());
      for (int i = 0; i < 10; ++i) {
        mine = f(mine);
        const kt::Array theirs = f(shared).to(kt::cpu());
        wrong += theirs.data<float>()[16] != 32;
      }
      wrong += mine.to(kt::cpu()).data<float>()[0] != static_cast<float>(1024 * (t + 1));
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE("driver: results that come and go take no new memory") {
  const Process process;
  if (!process) return;
  const auto x = kt::vector("x");
  const auto f = kt::function({x}, 2 * x + 1, {.target = kt::cuda(), .downloads = false});
  kt::Array y = numbered({1000}).to(kt::cuda());
  for (int i = 0; i < 3; ++i) y = f(y);
  const int allocations = process->calls("cuMemAlloc_v2"),
            waits = process->calls("cuCtxSynchronize");
  const int graphs = process->calls("cuGraphInstantiateWithFlags");
  for (int i = 0; i < 20; ++i) y = f(y);
  CHECK(process->calls("cuMemAlloc_v2") == allocations);
  CHECK(process->calls("cuCtxSynchronize") == waits);
  // Memory takes turns, and each turn has its graph.
  CHECK(process->calls("cuGraphInstantiateWithFlags") == graphs);
  CHECK(process->calls("cuGraphExecUpdate") == 0);
  // Where there is no room, what is kept is freed first.
  kt::Array small = kt::Array::zeros({100}, kt::f32, kt::cuda());
  small = kt::Array();
  process->fail_call("cuMemAlloc_v2", 1, 2);
  CHECK(kt::Array::zeros({5000}, kt::f32, kt::cuda()).size() == 5000);
  process->fail_call("cuMemAlloc_v2", 1, 2);
  process->fail_call("cuMemAlloc_v2", 1, 2);
  CHECK(contains(
      device_error([] { static_cast<void>(kt::Array::zeros({1 << 20}, kt::f32, kt::cuda())); }),
      "cuda:0 (test GPU): allocating 4194304 bytes: CUDA_ERROR_OUT_OF_MEMORY"));
}

namespace {

void check_early_uploads(const Process& process) {
  const auto x = kt::vector("x");
  auto s = kt::shared(kt::Array::zeros({2000}), "s");
  const auto add = kt::function({x}, {.updates = {{s, 2 * s + x}}, .target = kt::cuda()});
  float want = 0;
  for (int i = 1; i <= 12; ++i) {
    add(kt::Array::full({2000}, i));
    want = 2 * want + static_cast<float>(i);
    if (i % 5 == 0) CHECK(s.get_value().data<float>()[1999] == want);
  }
  CHECK(process->kernels() < 12);  // the last are still to be done
  CHECK(s.get_value().data<float>()[0] == want);
  CHECK(process->calls("cuStreamWaitEvent") > 0);
}

}  // namespace

TEST_CASE("driver: uploads of calls that do not wait come early and in order") {
  const Process process;
  if (process) check_early_uploads(process);
}
TEST_CASE("driver: uploads of calls that do not wait come early and in order whatever runs first") {
  const Process process("order=eager");
  if (process) check_early_uploads(process);
}

TEST_CASE("driver: what a training step asks of the driver") {
  const Process process;
  if (!process) return;
  const auto x = kt::tensor("x", {kt::dim("batch"), 5});
  const auto labels = kt::tensor("labels", {kt::dim("batch")}, kt::i64);
  const auto rate = kt::scalar("rate");
  const std::vector<std::string> asked{
      "cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2", "cuStreamSynchronize", "cuLaunchKernel",
      "cuGraphLaunch",        "cuGraphExecUpdate",    "cuMemAlloc_v2"};
  // Calls of each by one step, once the graphs are there.
  const auto calls = [&](bool stays, bool checks) {
    auto w = kt::shared(kt::Array::normal({5, 3}, 2), "w");
    const auto scores = kt::dot(x, w);
    const auto loss = checks ? kt::mean(kt::softmax_cross_entropy(scores, labels))
                             : kt::mean(kt::square(scores)) + kt::sum(labels);
    const auto step = kt::function({x, labels, rate}, {loss, kt::max(scores)},
                                   {.updates = {{w, w - rate * kt::grad(loss, w)}},
                                    .target = kt::cuda(),
                                    .downloads = !stays});
    kt::Array batch = kt::Array::normal({8, 5}, 1), classes = kt::Array::zeros({8}, kt::i64);
    if (stays) {
      batch = batch.to(kt::cuda());
      classes = classes.to(kt::cuda());
    }
    for (int i = 0; i < 6; ++i) step(batch, classes, 0.1);
    std::vector<int> before, result;
    for (const std::string& name : asked) before.push_back(process->calls(name));
    step(batch, classes, 0.1);
    for (std::size_t k = 0; k < asked.size(); ++k) {
      result.push_back(process->calls(asked[k]) - before[k]);
    }
    return result;
  };
  // One copy up of all arguments, one graph, one copy down of the error and both results.
  CHECK(calls(false, true) == std::vector{1, 1, 1, 0, 1, 0, 0});
  CHECK(calls(false, false) == std::vector{1, 1, 1, 0, 1, 0, 0});
  // The error of the checks is waited for, nothing without them.
  CHECK(calls(true, true) == std::vector{1, 1, 1, 0, 1, 0, 0});
  CHECK(calls(true, false) == std::vector{1, 0, 0, 0, 1, 0, 0});
}

TEST_CASE("driver: DLPack to and from a device") {
  const Process process("devices=2");
  if (!process) return;
  const kt::Array here = numbered({3, 17});
  {
    const kt::Array there = here.to(kt::cuda(1));
    auto* const tensor = kt::to_dlpack(there);
    CHECK(tensor->dl_tensor.device.type == kt::dlpack::DeviceType::cuda);
    CHECK(tensor->dl_tensor.device.number == 1);
    CHECK(tensor->dl_tensor.data == std::as_const(there).device_pointer());
    const kt::Array again = kt::from_dlpack(tensor);
    CHECK(again.device() == kt::cuda(1));
    CHECK(kt::array_equal(again.to(kt::cpu()), here));
    const auto x = kt::matrix("x");
    const auto f = kt::function({x}, kt::sum(x, 1), {.target = kt::cuda(1)});
    CHECK(kt::array_equal(f(again), (kt::function({x}, kt::sum(x, 1)))(here)));
  }
  // Others have had the address: the driver frees it, and waits for them.
  CHECK(process->calls("cuMemFree_v2") > 0);
  // Theirs, with a stream; deleted with the last handle.
  const Other other;
  float* const memory = other.allocate(51);
  int deleted = 0;
  std::int64_t shape[] = {3, 16}, strides[] = {16, 1}, across[] = {1, 3};
  kt::dlpack::ManagedTensor tensor{};
  tensor.dl_tensor = {memory, {kt::dlpack::DeviceType::cuda, 0},
                      2,      {kt::dlpack::Code::floating, 32, 1},
                      shape,  strides,
                      12};
  tensor.manager_ctx = &deleted;
  tensor.deleter = [](kt::dlpack::ManagedTensor* self) { ++*static_cast<int*>(self->manager_ctx); };
  {
    other.write(memory, here);
    const kt::Array theirs = kt::from_dlpack(&tensor, other.stream);
    const kt::Array row = theirs.row(1);
    CHECK(kt::array_equal(theirs.to(kt::cpu()).reshape({48}), kt::Array::arange(3, 51)));
    CHECK(row.to(kt::cpu()).data<float>()[0] == 19);
    CHECK(deleted == 0);
  }
  CHECK(deleted == 1);
  tensor.dl_tensor.strides = across;
  try {
    static_cast<void>(kt::from_dlpack(&tensor));
    FAIL("strides on a device");
  } catch (const kt::ValueError& error) {
    CHECK(contains(error.what(), "has the strides (1, 3): arrays on a device are row-major"));
  }
  tensor.dl_tensor.strides = strides;
  tensor.dl_tensor.device.number = 1;
  CHECK(contains(device_error([&] { static_cast<void>(kt::from_dlpack(&tensor)); }),
                 "said to be on cuda:1 (test GPU), is on cuda:0"));
  CHECK(deleted == 1);
  other.free(memory);
}
