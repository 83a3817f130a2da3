// Exchanges between GPUs, on the driver of the tests: by NCCL, by copies between devices where it
// is not there, else by the host.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <string>
#include <utility>

#include "runtime/cuda/driver_api.h"
#include "runtime/cuda/nccl_api.h"
#include "tests/fake_driver/check_exchanges.h"
#include "tests/fake_driver/process.h"
#include "tests/tools/error_text.h"

using exchange_test::check_exchanges;
using fake_driver::Process;
using namespace kroton;      // NOLINT: tests
using namespace error_text;  // NOLINT: tests

TEST_CASE("several gpus: exchanges by NCCL give what they should") {
  for (const char* settings : {"devices=3", "devices=3 order=eager"}) {
    const Process process(settings);
    if (!process) continue;
    check_exchanges(devices(cuda(), 3));
    check_exchanges(DeviceGroup({cuda(2), cuda(0)}));
    CHECK(process->calls("ncclAllReduce") > 0);
    CHECK(process->calls("ncclReduce") > 0);
  }
}

TEST_CASE("several gpus: exchanges by the host give the same") {
  const Process process("devices=2 nccl=off peers=off");
  if (!process) return;
  check_exchanges(devices(cuda(), 2));
  CHECK(process->calls("ncclAllReduce") == 0);
  CHECK(process->calls("cuMemcpyPeerAsync") == 0);
}

TEST_CASE("several gpus: exchanges by copies between devices give the same") {
  for (const char* settings : {"devices=3 nccl=off", "devices=3 nccl=off order=eager"}) {
    const Process process(settings);
    if (!process) continue;
    check_exchanges(devices(cuda(), 3));
    check_exchanges(DeviceGroup({cuda(2), cuda(0)}));
    CHECK(process->calls("cuMemcpyPeerAsync") > 0);
    // Nothing of it but arguments and results goes by the host.
    const DeviceGroup group = devices(cuda(), 3);
    const Tensor x = matrix("x");
    const auto f = parallel_function(group, {x}, all_reduce(x + 1, group));
    const Array ones = Array::ones({3, 5000});
    f(ones);
    const int uploads = process->calls("cuMemcpyHtoDAsync_v2");
    f(ones);
    CHECK(process->calls("cuMemcpyHtoDAsync_v2") == uploads + 3);
  }
}

TEST_CASE("several gpus: copies between devices give the bits of the host in every dtype") {
  const Process process("devices=3 nccl=off");
  if (!process) return;
  Array given = Array::zeros({3, 17});
  for (std::size_t i = 0; i < given.data<float>().size(); ++i) {
    given.data<float>()[i] = 0.7F * static_cast<float>(i * i * 7 % 150) - 40;
  }
  // Integers wrap, floating numbers are rounded after each device.
  given.data<float>()[3] = NAN;
  given.data<float>()[17 + 4] = NAN;
  given.data<float>()[34 + 5] = -INFINITY;
  for (const Combine how : {Combine::sum, Combine::prod, Combine::max, Combine::min}) {
    CAPTURE(static_cast<int>(how));
    std::vector<std::vector<Array>> results;
    for (const DeviceGroup& group : {devices(cuda(), 3), devices(cpu(), 3)}) {
      const Tensor x = matrix("x");
      std::vector<Tensor> outputs;
      for (const DType dtype : {i8, u8, i16, u16, i32, u32, i64, u64, f16, bf16, f32, f64}) {
        const Tensor number = where(eq(x, x), maximum(x, -40), 1);
        const bool is_positive = info_of(dtype).kind == DTypeKind::unsigned_integer;
        const Tensor y = is_float(dtype) ? x : is_positive ? abs(number) : number;
        outputs.push_back(all_reduce(cast(y, dtype), group, how));
      }
      results.push_back(parallel_function(group, {x}, outputs).call(std::vector<Argument>{given}));
    }
    REQUIRE(results[0].size() == results[1].size());
    for (std::size_t k = 0; k < results[0].size(); ++k) {
      CAPTURE(results[0][k].dtype());
      CHECK(array_equal(results[0][k], results[1][k], true));
    }
  }
}

TEST_CASE("several gpus: copies between devices that fail end the call of all") {
  const Process process("devices=2 nccl=off");
  if (!process) return;
  const DeviceGroup group = devices(cuda(), 2);
  const Tensor x = vector("x");
  const Shared w = shared(2.0F, "w");
  const auto f = parallel_function(group, {x}, all_reduce(sum(x) * w, group),
                                   {.updates = {{w, w + 1}}, .name = "f"});
  const Array ones = Array::ones({2});
  float expected = 4;
  for (int n = 1; n <= 2; ++n) {
    CHECK(f(ones).item<float>() == expected);
    expected += 2;
    process->fail_call("cuMemcpyPeerAsync", n, 1);
    CHECK(contains(device_error([&] { f(ones); }), "exchanges between devices: copying 4 bytes"));
    CHECK(w.get_value().item<float>() == expected / 2);
  }
  CHECK(f(ones).item<float>() == expected);
}

namespace {

// Two ranks as another user of the driver and of NCCL has them.
struct TwoRanks {
  explicit TwoRanks(const Process& its_process) : process(its_process) {
    CHECK(api->cuInit(0) == 0);
    for (int k = 0; k < 2; ++k) {
      CHECK(api->cuDevicePrimaryCtxRetain(&contexts[k], k) == 0);
      CHECK(api->cuCtxPushCurrent(contexts[k]) == 0);
      CHECK(api->cuStreamCreate(&streams[k], nvidia::stream_non_blocking) == 0);
      CHECK(api->cuMemAlloc(&memory[k], 16) == 0);
    }
    CHECK(nccl.ncclCommInitAll(communicators, 2, numbers) == 0);
  }
  nvidia::ncclResult reduce(int rank, std::size_t count, int stream) const {
    auto* const at = reinterpret_cast<void*>(memory[rank]);
    return nccl.ncclAllReduce(at, at, count, nvidia::nccl_f32, nvidia::nccl_sum,
                              communicators[rank], streams[stream]);
  }
  nvidia::ncclResult reduce_both() const {
    nccl.ncclGroupStart();
    for (int k = 0; k < 2; ++k) CHECK(reduce(k, 4, k) == 0);
    return nccl.ncclGroupEnd();
  }
  // With the rank's context as the current one.
  nvidia::CUresult on(int rank, const std::function<nvidia::CUresult()>& call) const {
    CHECK(api->cuCtxPushCurrent(contexts[rank]) == 0);
    const nvidia::CUresult result = call();
    nvidia::CUcontext popped = nullptr;
    CHECK(api->cuCtxPopCurrent(&popped) == 0);
    return result;
  }
  void complains(const std::string& part) const {
    const std::string said = process->violations();
    CAPTURE(said);
    CHECK(said.find(part) != std::string::npos);
  }

  const Process& process;
  const nvidia::DriverApi* const api = new nvidia::DriverApi;
  const nvidia::NcclApi nccl;
  const int numbers[2] = {0, 1};
  nvidia::CUcontext contexts[2] = {};
  nvidia::CUstream streams[2] = {};
  nvidia::CUdeviceptr memory[2] = {};
  nvidia::ncclComm communicators[2] = {};
};

}  // namespace

TEST_CASE("fake driver: NCCL complains of what would wait for ever") {
  const Process process("devices=2");
  if (!process) return;
  TwoRanks ranks(process);
  const nvidia::NcclApi& nccl = ranks.nccl;
  CHECK(ranks.reduce(0, 4, 0) != 0);
  ranks.complains("rank 1 does not take part");
  nccl.ncclGroupStart();
  CHECK(ranks.reduce(0, 4, 0) == 0);
  CHECK(nccl.ncclGroupEnd() != 0);
  ranks.complains("rank 1 does not take part");
  nccl.ncclGroupStart();
  CHECK(ranks.reduce(0, 4, 0) == 0);
  CHECK(ranks.reduce(1, 3, 1) == 0);
  CHECK(nccl.ncclGroupEnd() != 0);
  ranks.complains("ranks 0 and 1 do not ask for the same exchange");
  CHECK(ranks.reduce(0, 4, 1) != 0);
  ranks.complains("the stream is not one of the rank's device");
  nvidia::ncclComm others[2] = {};
  CHECK(nccl.ncclCommInitAll(others, 2, ranks.numbers) == 0);
  std::swap(ranks.communicators, others);
  CHECK(nccl.ncclCommDestroy(ranks.communicators[0]) == 0);
  CHECK(ranks.reduce(0, 4, 0) != 0);
  ranks.complains("a communicator that is destroyed");
  std::swap(ranks.communicators, others);
  nccl.ncclGroupStart();
  CHECK(ranks.reduce(0, 5, 0) == 0);
  CHECK(ranks.reduce(1, 5, 1) == 0);
  CHECK(nccl.ncclGroupEnd() == 0);
  CHECK(ranks.api->cuStreamSynchronize(ranks.streams[1]) != 0);
  ranks.complains("is not inside an allocation");
}

TEST_CASE("fake driver: NCCL complains of graphs that would wait for ever") {
  const Process process("devices=2 patience=20");
  if (!process) return;
  const TwoRanks ranks(process);
  const nvidia::DriverApi& api = *ranks.api;
  nvidia::CUgraph graphs[2] = {};
  nvidia::CUgraphExec executables[2] = {};
  const auto begin = [&](int rank) {
    return api.cuStreamBeginCapture(ranks.streams[rank], nvidia::capture_mode_relaxed);
  };
  const auto end = [&](int rank) {
    return api.cuStreamEndCapture(ranks.streams[rank], &graphs[rank]);
  };
  const auto launch = [&](int rank) {
    return api.cuGraphLaunch(executables[rank], ranks.streams[rank]);
  };
  const auto wait = [&](int rank) { return api.cuStreamSynchronize(ranks.streams[rank]); };
  const auto on_each = [&](const auto& call) {
    for (int k = 0; k < 2; ++k) CHECK(ranks.on(k, [&] { return call(k); }) == 0);
  };
  CHECK(ranks.on(0, [&] { return begin(0); }) == 0);
  CHECK(ranks.reduce_both() != 0);
  ranks.complains("some ranks are captured in a graph");
  CHECK(ranks.on(0, [&] { return end(0); }) == 0);
  on_each(begin);
  CHECK(ranks.reduce_both() == 0);
  on_each(end);
  on_each([&](int rank) { return api.cuGraphInstantiate(&executables[rank], graphs[rank], 0); });
  on_each(launch);
  on_each(wait);
  CHECK(process->violations().empty());
  CHECK(ranks.on(0, [&] { return launch(0); }) == 0);
  CHECK(ranks.on(0, [&] { return wait(0); }) != 0);
  ranks.complains("would last for ever");
  ranks.nccl.ncclCommDestroy(ranks.communicators[0]);
  ranks.complains("while graphs hold exchanges");
}
