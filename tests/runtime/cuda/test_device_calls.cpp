// What calls with arrays on a device ask of the driver: memory, graphs, copies, and streams of
// others.
#include <doctest/doctest.h>
#include <kroton/dlpack.h>
#include <kroton/kroton.h>

#include "runtime/cuda/driver_api.h"
#include "tests/fake_driver/process.h"
#include "tests/runtime/cuda/device_arrays.h"
#include "tests/tools/error_text.h"

using namespace device_arrays;  // NOLINT: tests
using error_text::contains;
using fake_driver::Process;

namespace {

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
