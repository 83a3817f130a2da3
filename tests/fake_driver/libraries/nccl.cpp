// libnccl of the tests: exchanges by plain loops, in the order of the ranks, between the memories
// of the driver's devices. What would wait for ever on a device is complained of.
#include "runtime/cuda/nccl_api.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "tests/fake_driver/libraries/driver.h"

namespace kroton::nvidia {

struct ncclCommOpaque {
  struct Clique {
    std::vector<std::unique_ptr<ncclCommOpaque>> members;
    bool ended = false;
  };
  Clique* clique = nullptr;
  int rank = 0, device = 0;
};

}  // namespace kroton::nvidia

using namespace fake_driver;  // NOLINT: this is its interface

namespace {

constexpr ncclResult invalid_argument = 4, invalid_usage = 5;

enum class Kind : std::uint8_t { all_reduce, reduce_scatter, all_gather, broadcast, reduce };

struct Request {
  Kind kind = Kind::all_reduce;
  const void* in = nullptr;
  void* out = nullptr;
  std::size_t count = 0;
  int type = 0, operation = 0, root = 0;
  ncclComm communicator = nullptr;
  CUstream stream = nullptr;
};

thread_local int groups = 0;
thread_local std::vector<Request> asked;

std::size_t bytes_of(int type) {
  constexpr std::size_t bytes[] = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2};
  return bytes[type];
}

template <class T>
void combine(int operation, T* to, const T* from, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    switch (operation) {
      case nccl_sum:
        to[i] = static_cast<T>(to[i] + from[i]);
        break;
      case nccl_prod:
        to[i] = static_cast<T>(to[i] * from[i]);
        break;
      case nccl_max:
        to[i] = to[i] < from[i] ? from[i] : to[i];
        break;
      default:
        to[i] = from[i] < to[i] ? from[i] : to[i];
    }
  }
}

// False for a type that the tests do not combine.
bool combine(int type, int operation, void* to, const void* from, std::size_t count) {
  const auto as = [&]<class T>(T) {
    combine(operation, static_cast<T*>(to), static_cast<const T*>(from), count);
    return true;
  };
  switch (type) {
    case nccl_i8:
      return as(std::int8_t{});
    case nccl_u8:
      return as(std::uint8_t{});
    case nccl_i32:
      return as(std::int32_t{});
    case nccl_u32:
      return as(std::uint32_t{});
    case nccl_i64:
      return as(std::int64_t{});
    case nccl_u64:
      return as(std::uint64_t{});
    case nccl_f32:
      return as(float{});
    case nccl_f64:
      return as(double{});
    default:
      return false;
  }
}

// One exchange of all ranks. The first whose stream comes to it brings the others' streams there.
struct Exchange {
  std::vector<Request> requests;           // by rank
  std::vector<std::uint64_t> positions;    // in the ranks' streams, before it
  std::vector<std::vector<char>> results;  // by rank, once they are known

  std::size_t in_bytes(const Request& r) const {
    return r.count * bytes_of(r.type) * (r.kind == Kind::reduce_scatter ? requests.size() : 1);
  }
  std::size_t out_bytes(const Request& r) const {
    return r.count * bytes_of(r.type) * (r.kind == Kind::all_gather ? requests.size() : 1);
  }

  static void* memory_of(const Request& r, const void* address, std::size_t bytes) {
    const CUcontext before = std::exchange(machine().working, r.stream->context);
    void* const found =
        memory(reinterpret_cast<std::uint64_t>(address), static_cast<std::int64_t>(bytes));
    machine().working = before;
    return found;
  }

  bool work_out() {
    std::vector<std::vector<char>> given;
    for (std::size_t rank = 0; rank < requests.size(); ++rank) {
      const Request& r = requests[rank];
      if (finish(r.stream, positions[rank]) != 0) return false;
      const void* const in = memory_of(r, r.in, in_bytes(r));
      if (!in) {
        complain("NCCL: what rank " + std::to_string(rank) + " gives is not inside an allocation");
        return false;
      }
      const auto* const first = static_cast<const char*>(in);
      given.emplace_back(first, first + in_bytes(r));
    }
    const Request& r = requests[0];
    std::vector<char> all = given[0];
    if (r.kind == Kind::all_gather) {
      for (std::size_t rank = 1; rank < given.size(); ++rank) {
        all.insert(all.end(), given[rank].begin(), given[rank].end());
      }
    } else if (r.kind == Kind::broadcast) {
      all = given[static_cast<std::size_t>(r.root)];
    } else {
      const std::size_t count = all.size() / bytes_of(r.type);
      for (std::size_t rank = 1; rank < given.size(); ++rank) {
        if (combine(r.type, r.operation, all.data(), given[rank].data(), count)) continue;
        complain("NCCL: the tests do not combine type " + std::to_string(r.type));
        return false;
      }
    }
    for (std::size_t rank = 0; rank < requests.size(); ++rank) {
      if (r.kind == Kind::reduce_scatter) {
        const auto part = static_cast<std::ptrdiff_t>(out_bytes(r));
        const auto first = all.begin() + static_cast<std::ptrdiff_t>(rank) * part;
        results.emplace_back(first, first + part);
      } else {
        results.push_back(all);
      }
    }
    return true;
  }

  CUresult run(std::size_t rank) {
    const Request& r = requests[rank];
    if (results.empty() && !work_out()) return 719;
    if (r.kind == Kind::reduce && static_cast<int>(rank) != r.root) return 0;
    void* const out = memory_of(r, r.out, out_bytes(r));
    if (!out) {
      complain("NCCL: what rank " + std::to_string(rank) + " gets is not inside an allocation");
      return illegal_address;
    }
    std::memcpy(out, results[rank].data(), out_bytes(r));
    return 0;
  }
};

// What the ranks of a clique have asked for in a group, one exchange after the other.
ncclResult start_all(std::vector<Request> all) {
  while (!all.empty()) {
    const ncclCommOpaque::Clique* const clique = all[0].communicator->clique;
    auto exchange = std::make_shared<Exchange>();
    for (const auto& member : clique->members) {
      const auto found = std::find_if(
          all.begin(), all.end(), [&](const Request& r) { return r.communicator == member.get(); });
      if (found == all.end()) {
        complain("NCCL: rank " + std::to_string(member->rank) +
                 " does not take part: the others would wait for ever");
        return invalid_usage;
      }
      exchange->requests.push_back(*found);
      all.erase(found);
    }
    const Request& first = exchange->requests[0];
    for (const Request& r : exchange->requests) {
      if (r.kind == first.kind && r.count == first.count && r.type == first.type &&
          r.operation == first.operation && r.root == first.root) {
        continue;
      }
      complain("NCCL: ranks 0 and " + std::to_string(r.communicator->rank) +
               " do not ask for the same exchange");
      return invalid_usage;
    }
    for (const Request& r : exchange->requests) exchange->positions.push_back(r.stream->queued);
    for (std::size_t rank = 0; rank < exchange->requests.size(); ++rank) {
      enqueue(exchange->requests[rank].stream, [exchange, rank] { return exchange->run(rank); });
    }
  }
  return 0;
}

ncclResult ask(const char* function, const Request& request) {
  const Call call(function, Needs::context);
  if (call.result != 0) return invalid_usage;
  const ncclCommOpaque& of = *request.communicator;
  if (of.clique->ended) {
    complain(std::string(function) + " of a communicator that is destroyed");
    return invalid_argument;
  }
  if (!request.stream || request.stream->context->device != of.device) {
    complain(std::string(function) + ": the stream is not one of the rank's device");
    return invalid_argument;
  }
  if (request.stream->capturing) complain(std::string(function) + " in a graph");
  asked.push_back(request);
  return groups == 0 ? start_all(std::exchange(asked, {})) : 0;
}

}  // namespace

#define NCCL_FUNCTION(name) FAKE_DRIVER_EXPORT ncclResult name

FAKE_DRIVER_EXPORT const char* ncclGetErrorString(ncclResult /*result*/) {
  return "the NCCL of the tests says so";
}

NCCL_FUNCTION(ncclCommInitAll)(ncclComm* communicators, int count, const int* devices) {
  const Call call("ncclCommInitAll", Needs::context);
  if (call.result != 0 || setting("nccl", "on") == "off") return invalid_usage;
  auto* const clique = new ncclCommOpaque::Clique;  // kept, so that its use is found out
  for (int rank = 0; rank < count; ++rank) {
    auto& made = clique->members.emplace_back(std::make_unique<ncclCommOpaque>());
    *made = {clique, rank, devices[rank]};
    communicators[rank] = made.get();
  }
  return 0;
}

static ncclResult end(const char* function, ncclComm communicator) {
  const Call call(function, Needs::nothing);
  communicator->clique->ended = true;
  return call.result;
}
NCCL_FUNCTION(ncclCommDestroy)(ncclComm communicator) {
  return end("ncclCommDestroy", communicator);
}
NCCL_FUNCTION(ncclCommAbort)(ncclComm communicator) { return end("ncclCommAbort", communicator); }

NCCL_FUNCTION(ncclGroupStart)() {
  ++groups;
  return 0;
}
NCCL_FUNCTION(ncclGroupEnd)() {
  const Call call("ncclGroupEnd", Needs::nothing);
  if (--groups > 0) return 0;
  std::vector<Request> all = std::exchange(asked, {});
  return call.result != 0 ? invalid_usage : start_all(std::move(all));
}

NCCL_FUNCTION(ncclAllReduce)
(const void* in, void* out, std::size_t count, int type, int operation, ncclComm communicator,
 CUstream stream) {
  return ask("ncclAllReduce",
             {Kind::all_reduce, in, out, count, type, operation, 0, communicator, stream});
}
NCCL_FUNCTION(ncclReduceScatter)
(const void* in, void* out, std::size_t count, int type, int operation, ncclComm communicator,
 CUstream stream) {
  return ask("ncclReduceScatter",
             {Kind::reduce_scatter, in, out, count, type, operation, 0, communicator, stream});
}
NCCL_FUNCTION(ncclAllGather)
(const void* in, void* out, std::size_t count, int type, ncclComm communicator, CUstream stream) {
  return ask("ncclAllGather", {Kind::all_gather, in, out, count, type, 0, 0, communicator, stream});
}
NCCL_FUNCTION(ncclBroadcast)
(const void* in, void* out, std::size_t count, int type, int root, ncclComm communicator,
 CUstream stream) {
  return ask("ncclBroadcast",
             {Kind::broadcast, in, out, count, type, 0, root, communicator, stream});
}
NCCL_FUNCTION(ncclReduce)
(const void* in, void* out, std::size_t count, int type, int operation, int root,
 ncclComm communicator, CUstream stream) {
  return ask("ncclReduce",
             {Kind::reduce, in, out, count, type, operation, root, communicator, stream});
}

static_assert(std::is_same_v<decltype(NcclApi::ncclAllReduce), decltype(&ncclAllReduce)>);
static_assert(std::is_same_v<decltype(NcclApi::ncclReduceScatter), decltype(&ncclReduceScatter)>);
static_assert(std::is_same_v<decltype(NcclApi::ncclAllGather), decltype(&ncclAllGather)>);
static_assert(std::is_same_v<decltype(NcclApi::ncclBroadcast), decltype(&ncclBroadcast)>);
static_assert(std::is_same_v<decltype(NcclApi::ncclReduce), decltype(&ncclReduce)>);
static_assert(std::is_same_v<decltype(NcclApi::ncclCommInitAll), decltype(&ncclCommInitAll)>);
