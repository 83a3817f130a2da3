// The emulator of CUDA devices: it computes what CUDA would, and catches what it should.
#include <doctest/doctest.h>

#include <cstring>
#include <numeric>
#include <vector>

#include "tests/gpu_emulator/emulated_device.h"

namespace kt = kroton;

namespace {

const char* const head = R"(
#ifndef KROTON_MEET
#define KROTON_MEET(arrivals)
#endif
#ifndef KROTON_SHARED
#define KROTON_SHARED(type, name, count) __shared__ type name[count]
#endif
#ifndef KROTON_GLOBAL
#define KROTON_GLOBAL(type) type* __restrict__
#endif
#ifndef KROTON_ATOMIC_ADD
#define KROTON_ATOMIC_ADD(x, i, v) atomicAdd(&(x)[i], v)
#endif
)";

const char* const good_kernels = R"(
extern "C" __global__ void axpy(KROTON_GLOBAL(const float) x, KROTON_GLOBAL(float) y, long long n) {
  const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
  if (i < n) y[i] = fmaf(2.0f, x[i], y[i]);
}
extern "C" __global__ void __launch_bounds__(64) block_sum(KROTON_GLOBAL(const float) x,
                                                           KROTON_GLOBAL(float) y, long long n) {
  KROTON_SHARED(float, part, 64);
  const int t = threadIdx.x;
  float sum = 0.0f;
  for (long long i = t; i < n; i += 64) sum += x[i];
  part[t] = sum;
  __syncthreads();
  for (int half = 32; half > 0; half /= 2) {
    if (t < half) part[t] += part[t + half];
    __syncthreads();
  }
  if (t == 0) y[blockIdx.x] = part[0];
}
extern "C" __global__ void warp_sum(KROTON_GLOBAL(const float) x, KROTON_GLOBAL(float) y) {
  float sum = x[threadIdx.x];
  for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_down_sync(0xffffffffu, sum, offset);
  const float all = __shfl_sync(0xffffffffu, sum, 0);
  const float other = __shfl_xor_sync(0xffffffffu, x[threadIdx.x], 1);
  y[threadIdx.x] = all + 1000.0f * other;
}
extern "C" __global__ void warp_rotate(KROTON_GLOBAL(float) y) {
  KROTON_SHARED(float, held, 32);
  const int t = threadIdx.x;
  held[t] = (float)t;
  __syncwarp();
  y[t] = held[(t + 1) % 32];
}
extern "C" __global__ void count(KROTON_GLOBAL(int) n) { KROTON_ATOMIC_ADD(n, 0, 2); }
)";

const char* const bad_kernels = R"(
extern "C" __global__ void shared_race(KROTON_GLOBAL(float) y) {
  KROTON_SHARED(float, held, 64);
  const int t = threadIdx.x;
  held[t] = (float)t;
  y[t] = held[63 - t];
}
extern "C" __global__ void late_writer(KROTON_GLOBAL(float) y) {
  KROTON_SHARED(float, held, 64);
  const int t = threadIdx.x;
  held[t] = (float)t;
  __syncthreads();
  const float value = held[63 - t];
  held[t] = value;
  y[t] = value;
}
extern "C" __global__ void two_warps(KROTON_GLOBAL(float) y) {
  KROTON_SHARED(float, held, 64);
  const int t = threadIdx.x;
  held[t] = (float)t;
  __syncwarp();
  y[t] = held[63 - t];
}
extern "C" __global__ void never_written(KROTON_GLOBAL(float) y) {
  KROTON_SHARED(float, held, 64);
  if (threadIdx.x < 63) held[threadIdx.x] = 1.0f;
  __syncthreads();
  y[threadIdx.x] = held[threadIdx.x];
}
extern "C" __global__ void global_race(KROTON_GLOBAL(float) y) { y[threadIdx.x / 2] = 1.0f; }
extern "C" __global__ void blocks_race(KROTON_GLOBAL(float) y) {
  if (threadIdx.x == 0) y[blockIdx.x] = 1.0f;
  __syncthreads();
  if (threadIdx.x == 1 && blockIdx.x == 1) y[2] = y[0];
}
extern "C" __global__ void atomic_and_plain(KROTON_GLOBAL(float) y) {
  KROTON_ATOMIC_ADD(y, 0, 1.0f);
  if (threadIdx.x == 63) y[1] = y[0];
}
extern "C" __global__ void beyond(KROTON_GLOBAL(float) y) { y[threadIdx.x + 1] = 1.0f; }
extern "C" __global__ void shared_beyond(KROTON_GLOBAL(float) y) {
  KROTON_SHARED(float, held, 63);
  held[threadIdx.x] = 1.0f;
}
extern "C" __global__ void returned(KROTON_GLOBAL(float) y) {
  if (threadIdx.x == 5) return;
  __syncthreads();
}
extern "C" __global__ void two_barriers(KROTON_GLOBAL(float) y) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
extern "C" __global__ void lane_returned(KROTON_GLOBAL(float) y) {
  if (threadIdx.x == 7) return;
  y[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);
}
extern "C" __global__ void outside_mask(KROTON_GLOBAL(float) y) {
  y[threadIdx.x] = __shfl_xor_sync(0x0000ffffu, 1.0f, 1);
}
)";

// Of blocks that wait for each other: each leaves its number, and adds up what all have left.
const char* const meeting_kernels = R"(
extern "C" __global__ void meet(KROTON_GLOBAL(float) y, unsigned* arrivals) {
  KROTON_SHARED(float, held, 64);
  for (int round = 0; round < 3; ++round) {
    held[threadIdx.x] = (float)(blockIdx.x + threadIdx.x);
    __syncthreads();
    if (threadIdx.x == 0) y[blockIdx.x] = held[63] + y[3 + blockIdx.x];
    KROTON_MEET(arrivals);
    if (threadIdx.x == 1) y[3 + blockIdx.x] = y[0] + y[1] + y[2] + held[0] - blockIdx.x;
    KROTON_MEET(arrivals);
  }
}
extern "C" __global__ void no_meeting(KROTON_GLOBAL(float) y, unsigned* arrivals) {
  if (threadIdx.x == 0) y[blockIdx.x] = 1.0f;
  if (threadIdx.x == 0 && blockIdx.x == 2) y[5] = y[0];
  KROTON_MEET(arrivals);
}
extern "C" __global__ void read_before(KROTON_GLOBAL(float) y, unsigned* arrivals) {
  float read = 0;
  if (threadIdx.x == 0) read = y[0];
  if (threadIdx.x == 0 && blockIdx.x == 2) y[0] = read;
  KROTON_MEET(arrivals);
}
extern "C" __global__ void read_behind(KROTON_GLOBAL(float) y, unsigned* arrivals) {
  float read = 0;
  if (threadIdx.x == 0) read = y[0];
  KROTON_MEET(arrivals);
  if (threadIdx.x == 0 && blockIdx.x == 2) y[0] = read;
}
extern "C" __global__ void one_leaves(KROTON_GLOBAL(float) y, unsigned* arrivals) {
  if (blockIdx.x == 1) return;
  KROTON_MEET(arrivals);
}
extern "C" __global__ void two_meetings(KROTON_GLOBAL(float) y, unsigned* arrivals) {
  if (blockIdx.x == 1) {
    KROTON_MEET(arrivals);
  } else {
    KROTON_MEET(arrivals);
  }
}
extern "C" __global__ void half_meets(KROTON_GLOBAL(float) y, unsigned* arrivals) {
  if (threadIdx.x < 32) {
    KROTON_MEET(arrivals);
  } else {
    __syncthreads();
  }
}
)";

// Of blocks that wait for those before them: each adds up what these have told.
const char* const telling_kernels = R"(
extern "C" __global__ void chain(KROTON_GLOBAL(double) y, KROTON_WORDS words) {
  const KtTurn turn = KROTON_TURN(words);
  if (threadIdx.x != 0) return;
  bool missing;
  double before = 0;
  do {
    missing = false;
    if (turn.block > 0) before = KROTON_TOLD(double, words, 0, turn.block - 1, turn, missing);
  } while (missing);
  KROTON_TELL(double, words, 0, turn.block, turn, before + turn.block + 0.25);
  y[turn.block] = before;
}
extern "C" __global__ void of_the_next(KROTON_GLOBAL(double) y, KROTON_WORDS words) {
  const KtTurn turn = KROTON_TURN(words);
  bool missing;
  KROTON_TELL(double, words, 8, turn.block * 32 + threadIdx.x, turn, 1.0);
  y[0] = KROTON_TOLD(double, words, 8, turn.block * 32 + 32 + threadIdx.x, turn, missing);
}
extern "C" __global__ void told_twice(KROTON_GLOBAL(double) y, KROTON_WORDS words) {
  const KtTurn turn = KROTON_TURN(words);
  KROTON_TELL(float, words, 0, 3, turn, 1.0f);
}
)";

class Buffer {
 public:
  Buffer(const std::shared_ptr<kt::Device>& device, const std::vector<float>& values)
      : device_(device),
        memory_(device, static_cast<std::int64_t>(values.size() * sizeof(float))),
        values_(values) {
    device->upload(memory_.address(), values.data(), memory_.bytes());
  }
  operator kt::KernelArgument() const { return {memory_.address(), memory_.bytes()}; }
  std::vector<float> get() const {
    std::vector<float> values(values_.size());
    device_->download(values.data(), memory_.address(), memory_.bytes());
    return values;
  }

 private:
  std::shared_ptr<kt::Device> device_;
  kt::DeviceMemory memory_;
  std::vector<float> values_;
};

std::vector<float> counting(int n) {
  std::vector<float> values(static_cast<std::size_t>(n));
  std::iota(values.begin(), values.end(), 1.0f);
  return values;
}

kt::KernelArgument number(std::int64_t value) { return {static_cast<std::uint64_t>(value)}; }

}  // namespace

TEST_CASE("gpu emulator: kernels compute what they should") {
  const auto device = gpu_emulator::make_device();
  const auto module = device->compile(std::string(head) + good_kernels, "good");

  for (const int n : {1, 3, 17, 65}) {
    CAPTURE(n);
    const Buffer x(device, counting(n)), y(device, counting(n));
    const std::vector<kt::KernelArgument> arguments{x, y, number(n)};
    device->launch(module->kernel("axpy"), (n + 31) / 32, 32, arguments);
    const std::vector<float> result = y.get();
    for (int i = 0; i < n; ++i) {
      CHECK(result[static_cast<std::size_t>(i)] == static_cast<float>(3 * (i + 1)));
    }
    const Buffer sum(device, {0, 0, 0});
    const std::vector<kt::KernelArgument> more{x, sum, number(n)};
    device->launch(module->kernel("block_sum"), 3, 64, more);
    CHECK(sum.get() == std::vector<float>(3, static_cast<float>(n * (n + 1) / 2)));
  }

  const Buffer lanes(device, counting(32)), out(device, std::vector<float>(32));
  const std::vector<kt::KernelArgument> both{lanes, out};
  device->launch(module->kernel("warp_sum"), 1, 32, both);
  CHECK(out.get()[0] == 528.0f + 2000.0f);
  CHECK(out.get()[31] == 528.0f + 31000.0f);
  const std::vector<kt::KernelArgument> one{out};
  device->launch(module->kernel("warp_rotate"), 1, 32, one);
  CHECK(out.get()[0] == 1.0f);
  CHECK(out.get()[31] == 0.0f);

  const Buffer total(device, {0});
  const std::vector<kt::KernelArgument> counted{total};
  device->launch(module->kernel("count"), 3, 50, counted);
  int n = 0;
  const float bits = total.get()[0];
  std::memcpy(&n, &bits, sizeof n);
  CHECK(n == 300);
}

TEST_CASE("gpu emulator: races, divergent barriers and accesses outside are errors") {
  const auto device = gpu_emulator::make_device();
  const auto module = device->compile(std::string(head) + bad_kernels, "bad");
  const auto message_of = [&](const std::string& kernel, std::int64_t blocks) {
    const Buffer y(device, std::vector<float>(64));
    const std::vector<kt::KernelArgument> arguments{y};
    try {
      device->launch(module->kernel(kernel), blocks, 64, arguments);
    } catch (const kt::DeviceError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const auto expect = [&](const std::string& kernel, std::int64_t blocks, const std::string& part) {
    const std::string message = message_of(kernel, blocks);
    CAPTURE(message);
    CHECK(message.starts_with("cuda:0 (emulated): kernel " + kernel + ": "));
    CHECK(message.find(part) != std::string::npos);
  };
  // A thread that runs before the writer finds nothing there: the order of this run shows it.
  expect("shared_race", 1, "thread 0 of block 0 reads element 63 of the shared array");
  expect("late_writer", 1, "race: thread ");
  expect("two_warps", 1, "of the shared array of line");
  expect("never_written", 1, "which no thread of the block has written");
  expect("global_race", 1,
         "race: thread 1 of block 0 writes element 0 of argument 0, which thread 0 of block 0 "
         "writes with no barrier between");
  expect("blocks_race", 2, "reads element 0 of argument 0, which thread 0 of block 0 writes");
  CHECK(message_of("blocks_race", 1) == "");
  expect("atomic_and_plain", 1, "race: thread ");
  expect("beyond", 1, "element 64 of argument 0, which has 64 elements");
  expect("shared_beyond", 1, "which has 63 elements");
  expect("returned", 1, "divergent barrier in block 0: thread 0 waits at __syncthreads (line ");
  expect("returned", 1, "thread 5 has returned");
  expect("two_barriers", 1, "thread 32 waits at __syncthreads (line ");
  expect("lane_returned", 1, "lane 6 takes the value of lane 7");
  expect("outside_mask", 1, "leaves the thread out");
}

TEST_CASE("gpu emulator: launches are captured and run again") {
  const auto device = gpu_emulator::make_device();
  const auto module = device->compile(std::string(head) + good_kernels, "good");
  const Buffer x(device, counting(17)), y(device, counting(17));
  const std::vector<kt::KernelArgument> arguments{x, y, number(17)};
  device->begin_capture();
  device->launch(module->kernel("axpy"), 1, 32, arguments);
  device->launch(module->kernel("axpy"), 1, 32, arguments);
  CHECK_THROWS_AS(y.get(), kt::DeviceError);
  const auto graph = device->end_capture();
  CHECK(y.get()[16] == 17.0f);
  device->launch(*graph);
  CHECK(y.get()[16] == 17.0f * 5);
  device->launch(*graph);
  CHECK(y.get()[16] == 17.0f * 9);
  CHECK_THROWS_AS(module->kernel("no_such_kernel"), kt::DeviceError);
  CHECK_THROWS_AS(device->compile("this is no C++;", "nonsense"), kt::InternalError);
}

TEST_CASE("gpu emulator: blocks wait for each other, and races between them are errors") {
  const auto device = gpu_emulator::make_device();
  const auto module = device->compile(std::string(head) + meeting_kernels, "meeting");
  CHECK(device->blocks_together(module->kernel("meet"), 64) == 12);
  const auto message_of = [&](const std::string& kernel, std::int64_t blocks, bool together) {
    const Buffer y(device, std::vector<float>(8)), arrivals(device, {0});
    const std::vector<kt::KernelArgument> arguments{y, arrivals};
    try {
      if (together) {
        device->launch_together(module->kernel(kernel), blocks, 64, arguments);
      } else {
        device->launch(module->kernel(kernel), blocks, 64, arguments);
      }
    } catch (const kt::DeviceError& error) {
      return std::string(error.what());
    }
    // 63 + 64 + 65, and three times the sum before.
    if (kernel == "meet") CHECK(y.get()[3] == 192.0F * (1 + 3 + 9));
    return std::string();
  };
  const auto expect = [&](const std::string& kernel, const std::string& part) {
    const std::string message = message_of(kernel, 3, true);
    CAPTURE(message);
    CHECK(message.find(part) != std::string::npos);
  };
  CHECK(message_of("meet", 3, true) == "");
  CHECK(message_of("meet", 3, true) == "");
  CHECK(message_of("read_behind", 3, true) == "");
  CHECK(message_of("no_meeting", 13, true)
            .find("13 blocks wait for each other, 12 are there at once") != std::string::npos);
  CHECK(message_of("meet", 3, false).find("that are not all there at once") != std::string::npos);
  expect("no_meeting",
         "thread 0 of block 2 reads element 0 of argument 0, which thread 0 of block 0");
  expect("read_before", "thread 0 of block 2 writes element 0 of argument 0, which thread 0 of");
  expect("one_leaves", "divergent barrier of the grid: block 0 waits for the grid");
  expect("two_meetings", "divergent barrier of the grid");
  expect("half_meets", "divergent barrier in block 0: thread 0 waits for the grid");
}

TEST_CASE("gpu emulator: blocks wait for what those before them store") {
  const auto device = gpu_emulator::make_device();
  const auto module = device->compile(std::string(head) + telling_kernels, "telling");
  const Buffer y(device, std::vector<float>(8));
  const Buffer words(device, std::vector<float>(2 * (16 + 16 + 8 * 32)));
  const std::vector<kt::KernelArgument> arguments{y, words};
  // Of what earlier runs have left nothing is taken.
  for (const int blocks : {4, 1, 3}) {
    device->launch(module->kernel("chain"), blocks, 32, arguments);
    std::vector<double> sums(4);
    device->download(sums.data(), kt::KernelArgument(y).value, 32);
    for (int k = 0; k < blocks; ++k) {
      CHECK(sums[static_cast<std::size_t>(k)] == k * (k - 1) / 2 + 0.25 * k);
    }
  }
  const auto message_of = [&](const std::string& kernel) {
    const Buffer fresh(device, std::vector<float>(2 * (16 + 16 + 8 * 32)));
    const std::vector<kt::KernelArgument> given{y, fresh};
    try {
      device->launch(module->kernel(kernel), 2, 32, given);
    } catch (const kt::DeviceError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(message_of("of_the_next").find("block 0 waits for element 32, which no block before it") !=
        std::string::npos);
  CHECK(message_of("told_twice").find("stores element 3 of what blocks wait for a second time") !=
        std::string::npos);
}
