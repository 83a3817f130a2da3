#include "runtime/cuda/peer_exchange.h"

#include <kroton/error.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <utility>

namespace kroton::nvidia {
namespace {

constexpr int threads_of_block = 256;
constexpr std::int64_t most_blocks = 1024;

const char* const combining_text = R"cuda(#ifndef KROTON_GLOBAL
#define KROTON_GLOBAL(type) type* __restrict__
#endif
)cuda"
#include "runtime/cuda/narrow_floats_text.h"
                                   R"cuda(
// As in communicator.h: sum, prod, max, min; a NaN is the largest and the smallest.
template <class T> __device__ T kt_combined(int how, T a, T b) {
  if (how == 0) return a + b;
  if (how == 1) return a * b;
  if (a != a) return a;
  if (b != b) return b;
  if (how == 2) return a < b ? b : a;
  return b < a ? b : a;
}
__device__ long long kt_combined(int how, long long a, long long b) {
  if (how == 0) return (long long)((unsigned long long)a + (unsigned long long)b);
  if (how == 1) return (long long)((unsigned long long)a * (unsigned long long)b);
  return (how == 2) == (a < b) ? b : a;
}
)cuda";

std::string name_of_combine(DType dtype) { return "combine_" + std::string(name_of(dtype)); }

// Elements are combined as floating numbers of the dtype that they are computed in, or as integers
// of 64 bits: the low ones of a sum or a product are those that narrower ones would have.
std::string combining_kernels() {
  std::string text = combining_text;
  for (const DTypeInfo& of : dtype_table) {
    const std::string held(of.cuda_type);
    const std::string computed = of.kind == DTypeKind::floating
                                     ? std::string(info_of(of.computed_in).cuda_type)
                                 : of.kind == DTypeKind::signed_integer ? "long long"
                                                                        : "unsigned long long";
    const std::string narrow = is_only_stored(of.dtype) ? std::string(of.name) : "";
    const std::string from = narrow.empty() ? "(" + computed + ")" : "kt_f32_of_" + narrow;
    const std::string to = narrow.empty() ? "(" + held + ")" : "kt_" + narrow;
    const auto element = [&](const std::string& at) {
      return from + "((" + held + ")from[" + at + "])";
    };
    text +=
        "extern \"C\" __global__ void " + name_of_combine(of.dtype) + "(KROTON_GLOBAL(" + held +
        ") to, KROTON_GLOBAL(const " + held +
        ") from, long long count, int ranks, int how) {\n"
        "  const long long step = (long long)gridDim.x * blockDim.x;\n"
        "  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += "
        "step) {\n    " +
        computed + " value = " + element("i") +
        ";\n    for (int rank = 1; rank < ranks; ++rank) {\n"
        "      value = kt_combined(how, value, " +
        element("rank * count + i") + ");\n    }\n    to[i] = " + to + "(value);\n  }\n}\n";
  }
  return text;
}

class PeerExchange final : public GroupExchange {
 public:
  explicit PeerExchange(const std::vector<std::shared_ptr<CudaDevice>>& devices) {
    static const std::string text = combining_kernels();
    for (const std::shared_ptr<CudaDevice>& device : devices) {
      Rank& rank = ranks_.emplace_back();
      rank.device = device;
      rank.module = device->compile(text, "exchanges");
      for (const DTypeInfo& of : dtype_table) {
        rank.kernels.push_back(rank.module->kernel(name_of_combine(of.dtype)));
      }
      device->in_context([&] {
        for (CUevent* event : {&rank.ready, &rank.combined, &rank.done}) {
          check(driver().cuEventCreate(event, event_disable_timing), "cuEventCreate");
        }
      });
    }
  }
  ~PeerExchange() override {
    for (Rank& rank : ranks_) {
      try {
        rank.device->in_context([&] {
          rank.device->wait_for_device();
          if (rank.scratch != 0) driver().cuMemFree(rank.scratch);
          for (const CUevent event : {rank.ready, rank.combined, rank.done}) {
            driver().cuEventDestroy(event);
          }
        });
      } catch (const DeviceError&) {  // NOLINT(bugprone-empty-catch): it has failed, with all in it
      }
    }
  }
  PeerExchange(const PeerExchange&) = delete;
  PeerExchange& operator=(const PeerExchange&) = delete;

  bool takes(const Collective& what) const override {
    return !ended_ && what.size == static_cast<int>(ranks_.size());
  }

  // All ranks' threads are here, each holding its device: the driver is called for all of them.
  void start(const Collective& what, const std::vector<ExchangePart>& parts) override {
    for_each([&](Rank& rank, const ExchangePart& part) { record(rank.ready, part); }, parts);
    for_each(
        [&](Rank& rank, const ExchangePart& part) {
          wait_for_others(&Rank::ready, rank, part);
          move(what, parts, rank, part);
          record(rank.combined, part);
        },
        parts);
    if (what.kind == Collective::Kind::all_reduce) {
      for_each(
          [&](Rank& rank, const ExchangePart& part) {
            wait_for_others(&Rank::combined, rank, part);
            for (std::size_t other = 0; other < ranks_.size(); ++other) {
              const Run run = run_of(what, other, part.in_count);
              if (&ranks_[other] != &rank) {
                copy(rank, part, part.out + run.first, other, parts[other].out + run.first,
                     run.bytes);
              }
            }
          },
          parts);
    }
    // What others read may be changed when they have.
    for_each([&](Rank& rank, const ExchangePart& part) { record(rank.done, part); }, parts);
    for_each(
        [&](Rank& rank, const ExchangePart& part) { wait_for_others(&Rank::done, rank, part); },
        parts);
  }

  void abort() noexcept override { ended_ = true; }

 private:
  struct Rank {
    std::shared_ptr<CudaDevice> device;
    std::unique_ptr<DeviceModule> module;
    std::vector<DeviceModule::Kernel> kernels;  // by dtype
    CUevent ready = nullptr, combined = nullptr, done = nullptr;
    DeviceAddress scratch = 0;
    std::int64_t scratch_bytes = 0;
  };
  // Bytes of an array, from its beginning.
  struct Run {
    DeviceAddress first = 0;
    std::int64_t bytes = 0;
  };

  static void check(CUresult result, const std::string& what) {
    if (result != 0)
      throw DeviceError("exchanges between devices: " + what + ": " + error_text(result));
  }

  template <class Action>
  void for_each(const Action& action, const std::vector<ExchangePart>& parts) {
    for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
      const CudaDevice::Context current(*ranks_[rank].device);
      action(ranks_[rank], parts[rank]);
    }
  }

  static CUstream stream_of(const ExchangePart& part) { return static_cast<CUstream>(part.stream); }

  static void record(CUevent event, const ExchangePart& part) {
    check(driver().cuEventRecord(event, stream_of(part)), "cuEventRecord");
  }
  void wait_for_others(CUevent Rank::* event, const Rank& rank, const ExchangePart& part) const {
    for (const Rank& other : ranks_) {
      if (&other == &rank) continue;
      check(driver().cuStreamWaitEvent(stream_of(part), other.*event, 0), "cuStreamWaitEvent");
    }
  }

  void copy(const Rank& rank, const ExchangePart& part, DeviceAddress to, std::size_t source,
            DeviceAddress from, std::int64_t bytes) const {
    if (bytes == 0) return;
    const auto size = static_cast<std::size_t>(bytes);
    const Rank& other = ranks_[source];
    const CUresult result =
        &other == &rank
            ? driver().cuMemcpyDtoDAsync(to, from, size, stream_of(part))
            : driver().cuMemcpyPeerAsync(to, rank.device->context(), from, other.device->context(),
                                         size, stream_of(part));
    check(result, "copying " + std::to_string(bytes) + " bytes");
  }

  // What that rank combines for all.
  Run run_of(const Collective& what, std::size_t rank, std::int64_t count) const {
    const auto size = static_cast<std::int64_t>(ranks_.size());
    const auto number = static_cast<std::int64_t>(rank);
    const auto bytes = static_cast<std::int64_t>(size_of(what.dtype));
    const std::int64_t first = count * number / size;
    return {static_cast<DeviceAddress>(first * bytes),
            (count * (number + 1) / size - first) * bytes};
  }

  void move(const Collective& what, const std::vector<ExchangePart>& parts, Rank& rank,
            const ExchangePart& part) {
    const auto number = static_cast<std::size_t>(&rank - ranks_.data());
    const auto bytes = static_cast<std::int64_t>(size_of(what.dtype));
    const std::int64_t all = part.in_count * bytes;
    switch (what.kind) {
      case Collective::Kind::all_reduce: {
        const Run run = run_of(what, number, part.in_count);
        combine(what, parts, rank, part, run, part.out + run.first);
        break;
      }
      case Collective::Kind::reduce_scatter: {
        const std::int64_t mine = part.out_count * bytes;
        const auto first = static_cast<DeviceAddress>(mine) * number;
        combine(what, parts, rank, part, {first, mine}, part.out);
        break;
      }
      case Collective::Kind::all_gather:
        for (std::size_t other = 0; other < ranks_.size(); ++other) {
          copy(rank, part, part.out + static_cast<DeviceAddress>(all) * other, other,
               parts[other].in, all);
        }
        break;
      case Collective::Kind::broadcast: {
        const auto root = static_cast<std::size_t>(what.root);
        copy(rank, part, part.out, root, parts[root].in, all);
        break;
      }
      case Collective::Kind::reduce:
        if (static_cast<int>(number) == what.root) {
          combine(what, parts, rank, part, {0, all}, part.out);
        }
        break;
    }
  }

  // That run of all ranks' arrays, brought here and combined.
  void combine(const Collective& what, const std::vector<ExchangePart>& parts, Rank& rank,
               const ExchangePart& part, const Run& run, DeviceAddress to) {
    if (run.bytes == 0) return;
    const auto size = static_cast<std::int64_t>(ranks_.size());
    need_scratch(rank, run.bytes * size);
    for (std::size_t other = 0; other < ranks_.size(); ++other) {
      copy(rank, part, rank.scratch + static_cast<DeviceAddress>(run.bytes) * other, other,
           parts[other].in + run.first, run.bytes);
    }
    std::int64_t count = run.bytes / static_cast<std::int64_t>(size_of(what.dtype));
    const std::int64_t blocks =
        std::min((count + threads_of_block - 1) / threads_of_block, most_blocks);
    DeviceAddress from = rank.scratch;
    int ranks = static_cast<int>(size), how = static_cast<int>(what.combine);
    std::array<void*, 5> parameters{&to, &from, &count, &ranks, &how};
    const DeviceModule::Kernel kernel = rank.kernels[static_cast<std::size_t>(what.dtype)];
    check(CudaDevice::start(kernel, static_cast<unsigned>(blocks), threads_of_block,
                            parameters.data(), stream_of(part)),
          "starting " + name_of_combine(what.dtype));
  }

  static void need_scratch(Rank& rank, std::int64_t bytes) {
    if (rank.scratch_bytes >= bytes) return;
    if (rank.scratch != 0) {
      check(rank.device->wait_for_device(), "cuCtxSynchronize");
      check(driver().cuMemFree(std::exchange(rank.scratch, 0)), "cuMemFree");
      rank.scratch_bytes = 0;
    }
    check(driver().cuMemAlloc(&rank.scratch, static_cast<std::size_t>(bytes)),
          "allocating " + std::to_string(bytes) + " bytes");
    rank.scratch_bytes = bytes;
  }

  std::vector<Rank> ranks_;
  std::atomic<bool> ended_{false};
};

}  // namespace

std::shared_ptr<GroupExchange> make_peer_exchange(
    const std::vector<std::shared_ptr<CudaDevice>>& devices, std::string& why) {
  for (const auto& device : devices) {
    for (const auto& other : devices) {
      if (device == other || device->reach(*other)) continue;
      why = device->name() + " does not reach the memory of " + other->name();
      return nullptr;
    }
  }
  return std::make_shared<PeerExchange>(devices);
}

}  // namespace kroton::nvidia
