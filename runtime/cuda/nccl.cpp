#include "runtime/cuda/nccl.h"

#include <kroton/error.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <future>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "runtime/cuda/nccl_api.h"

namespace kroton::nvidia {
namespace {

// Loaded at the first use, and never unloaded.
const NcclApi& nccl() {
  static const auto* const api = new NcclApi;
  return *api;
}

std::optional<int> nccl_type_of(DType dtype) {
  switch (dtype) {
    case DType::i8:
      return nccl_i8;
    case DType::u8:
      return nccl_u8;
    case DType::i32:
      return nccl_i32;
    case DType::u32:
      return nccl_u32;
    case DType::i64:
      return nccl_i64;
    case DType::u64:
      return nccl_u64;
    case DType::f16:
      return nccl_f16;
    case DType::bf16:
      return nccl_bf16;
    case DType::f32:
      return nccl_f32;
    case DType::f64:
      return nccl_f64;
    case DType::boolean:
    case DType::i16:
    case DType::u16:
      break;
  }
  return std::nullopt;
}

int nccl_operation_of(Collective::Combine combine) {
  switch (combine) {
    case Collective::Combine::sum:
      return nccl_sum;
    case Collective::Combine::prod:
      return nccl_prod;
    case Collective::Combine::max:
      return nccl_max;
    case Collective::Combine::min:
      return nccl_min;
  }
  return nccl_sum;
}

// Whether exchanges may be in graphs. NVIDIA warns of graphs with exchanges where one process has
// several devices: a launch that blocks may keep others back. Ours come from a thread for each
// device, but no device has shown yet that this is enough: they have to be asked for.
bool asks_for_graphs() {
  const char* asked = std::getenv("KROTON_EXCHANGE_GRAPHS");
  return asked && *asked && std::string(asked) != "0";
}

class Nccl final : public GroupExchange {
 public:
  explicit Nccl(const std::vector<int>& devices) : communicators_(devices.size()) {
    constexpr int first_with_graphs = 20900;
    int version = 0;
    check(nccl().ncclGetVersion(&version), "ncclGetVersion");
    is_capturable_ = version >= first_with_graphs && asks_for_graphs();
    check(nccl().ncclCommInitAll(communicators_.data(), static_cast<int>(devices.size()),
                                 devices.data()),
          "ncclCommInitAll");
  }
  ~Nccl() override {
    if (aborting_.joinable()) {
      constexpr std::chrono::seconds patience{5};
      if (aborted_.wait_for(patience) == std::future_status::ready) {
        aborting_.join();
      } else {
        aborting_.detach();
      }
    }
    if (ended_.exchange(true)) return;
    for (const ncclComm communicator : communicators_) nccl().ncclCommDestroy(communicator);
  }
  Nccl(const Nccl&) = delete;
  Nccl& operator=(const Nccl&) = delete;

  bool takes(const Collective& what) const override {
    if (ended_ || !nccl_type_of(what.dtype)) return false;
    // It does not say what becomes of NaN.
    const bool is_extreme =
        what.combine == Collective::Combine::max || what.combine == Collective::Combine::min;
    const bool combines =
        what.kind != Collective::Kind::all_gather && what.kind != Collective::Kind::broadcast;
    return !(combines && is_extreme && is_float(what.dtype));
  }

  void start(const Collective& what, const std::vector<ExchangePart>& parts) override {
    check(nccl().ncclGroupStart(), "ncclGroupStart");
    ncclResult result = 0;
    for (std::size_t rank = 0; rank < parts.size() && result == 0; ++rank) {
      result = start(what, parts[rank], communicators_[rank]);
    }
    const ncclResult ended = nccl().ncclGroupEnd();
    check(result, name_of(what.kind));
    check(ended, name_of(what.kind));
  }

  bool is_capturable() const override { return is_capturable_; }

  // It lets kernels end at once, and then waits until all graphs with exchanges are gone, which is
  // later: by a thread of its own.
  void abort() noexcept override {
    if (ended_.exchange(true)) return;
    std::packaged_task<void()> task([communicators = communicators_] {
      for (const ncclComm communicator : communicators) nccl().ncclCommAbort(communicator);
    });
    aborted_ = task.get_future();
    aborting_ = std::thread(std::move(task));
  }

 private:
  static void check(ncclResult result, const char* what) {
    if (result == 0) return;
    throw DeviceError("NCCL (" + nccl().loaded.path() + "): " + what + ": " +
                      nccl().ncclGetErrorString(result));
  }

  static ncclResult start(const Collective& what, const ExchangePart& part, ncclComm communicator) {
    const auto* const in = reinterpret_cast<const void*>(static_cast<std::uintptr_t>(part.in));
    auto* const out = reinterpret_cast<void*>(static_cast<std::uintptr_t>(part.out));
    auto* const stream = static_cast<CUstream>(part.stream);
    const auto in_count = static_cast<std::size_t>(part.in_count);
    const auto out_count = static_cast<std::size_t>(part.out_count);
    const int type = *nccl_type_of(what.dtype), operation = nccl_operation_of(what.combine);
    switch (what.kind) {
      case Collective::Kind::all_reduce:
        return nccl().ncclAllReduce(in, out, in_count, type, operation, communicator, stream);
      case Collective::Kind::reduce_scatter:
        return nccl().ncclReduceScatter(in, out, out_count, type, operation, communicator, stream);
      case Collective::Kind::all_gather:
        return nccl().ncclAllGather(in, out, in_count, type, communicator, stream);
      case Collective::Kind::broadcast:
        return nccl().ncclBroadcast(in, out, in_count, type, what.root, communicator, stream);
      case Collective::Kind::reduce:
        return nccl().ncclReduce(in, out, in_count, type, operation, what.root, communicator,
                                 stream);
    }
    return 0;
  }

  std::vector<ncclComm> communicators_;
  bool is_capturable_ = false;
  std::atomic<bool> ended_{false};
  std::thread aborting_;
  std::future<void> aborted_;
};

}  // namespace

std::shared_ptr<GroupExchange> make_nccl(const std::vector<int>& devices) {
  return std::make_shared<Nccl>(devices);
}

}  // namespace kroton::nvidia
