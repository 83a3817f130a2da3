// libnccl of the tests: exchanges by plain loops, in the order of the ranks, between the memories
// of the driver's devices. What would wait for ever on a device is complained of.
#include "runtime/cuda/nccl_api.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "tests/fake_driver/libraries/driver.h"

namespace kroton::nvidia {

struct ncclCommOpaque {
  struct Clique {
    std::vector<std::unique_ptr<ncclCommOpaque>> members;
    bool ended = false;
    std::vector<std::weak_ptr<void>> captured;  // exchanges in graphs, as long as one holds them
  };
  Clique* clique = nullptr;
  int rank = 0, device = 0;
};

}  // namespace kroton::nvidia

using namespace fake_driver;  // NOLINT: this is its interface

namespace {

constexpr ncclResult invalid_argument = 4, invalid_usage = 5;
constexpr CUresult launch_failed = 719;

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
thread_local bool has_failed = false;  // something in the group, of which nothing is started then
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

  // Brings the streams of all here.
  CUresult gather() {
    for (std::size_t rank = 0; rank < requests.size(); ++rank) {
      const CUstream stream = requests[rank].stream;
      if (stream->done >= positions[rank]) continue;
      if (stream->is_exchanging) {
        complain("NCCL: ranks come to their exchanges in different orders and wait for ever");
        return launch_failed;
      }
      if (const CUresult ended = finish(stream, positions[rank]); ended != 0) {
        return ended == is_blocked ? is_blocked : launch_failed;
      }
    }
    return 0;
  }

  bool work_out() {
    std::vector<std::vector<char>> given;
    for (std::size_t rank = 0; rank < requests.size(); ++rank) {
      const Request& r = requests[rank];
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
    if (results.empty()) {
      r.stream->is_exchanging = true;
      const CUresult gathered = gather();
      r.stream->is_exchanging = false;
      if (gathered != 0) return gathered;
      if (!work_out()) return launch_failed;
    }
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

// One exchange in the graphs of all ranks: the n-th time that one's comes to it is the n-th time of
// all. A rank whose others have not launched theirs waits for that.
struct CapturedExchange {
  std::vector<Request> requests;
  std::vector<std::deque<std::uint64_t>> launches;  // by rank: positions in its stream
  std::vector<std::uint64_t> runs;                  // by rank, so far
  std::deque<std::pair<std::uint64_t, std::shared_ptr<Exchange>>> under_way;  // by number

  CUresult run(std::size_t rank) {
    const std::uint64_t number = runs[rank];
    // Kernels end when their communicator is aborted.
    if (requests[rank].communicator->clique->ended) return 0;
    std::shared_ptr<Exchange> exchange;
    for (const auto& [of, found] : under_way) {
      if (of == number) exchange = found;
    }
    if (!exchange) {
      for (const auto& positions : launches) {
        if (positions.size() <= number) return is_blocked;
      }
      exchange = std::make_shared<Exchange>();
      exchange->requests = requests;
      for (const auto& positions : launches) exchange->positions.push_back(positions[number]);
      under_way.emplace_back(number, exchange);
      if (under_way.size() > 16) under_way.pop_front();
    }
    const CUresult ended = exchange->run(rank);
    if (ended == 0) ++runs[rank];
    return ended;
  }
};

// Puts it into the graphs, as the last node of each so far.
void capture(const std::vector<Request>& requests) {
  auto captured = std::make_shared<CapturedExchange>();
  captured->requests = requests;
  captured->launches.resize(requests.size());
  captured->runs.resize(requests.size());
  requests[0].communicator->clique->captured.emplace_back(captured);
  for (std::size_t rank = 0; rank < requests.size(); ++rank) {
    CUstream_st& stream = *requests[rank].stream;
    stream.captured.push_back(
        {[captured, rank] { return captured->run(rank); }, stream.behind,
         [captured, rank](std::uint64_t at) { captured->launches[rank].push_back(at); }});
    stream.behind = {stream.captured.size() - 1};
  }
}

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
    const auto is_captured = [](const Request& r) { return r.stream->capturing; };
    const auto& requests = exchange->requests;
    if (std::any_of(requests.begin(), requests.end(), is_captured)) {
      if (!std::all_of(requests.begin(), requests.end(), is_captured)) {
        complain("NCCL: some ranks are captured in a graph, others are not");
        return invalid_usage;
      }
      capture(requests);
      continue;
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
  if (call.result != 0) {
    has_failed = groups > 0;
    return invalid_usage;
  }
  const ncclCommOpaque& of = *request.communicator;
  if (of.clique->ended) {
    complain(std::string(function) + " of a communicator that is destroyed");
    return invalid_argument;
  }
  if (!request.stream || request.stream->context->device != of.device) {
    complain(std::string(function) + ": the stream is not one of the rank's device");
    return invalid_argument;
  }
  asked.push_back(request);
  return groups == 0 ? start_all(std::exchange(asked, {})) : 0;
}

}  // namespace

#define NCCL_FUNCTION(name) FAKE_DRIVER_EXPORT ncclResult name

NCCL_FUNCTION(ncclGetVersion)(int* version) {
  *version = setting("nccl_version", 22203);
  return 0;
}

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

static bool is_in_graphs(const ncclCommOpaque::Clique& clique) {
  return std::any_of(clique.captured.begin(), clique.captured.end(),
                     [](const auto& exchange) { return !exchange.expired(); });
}

NCCL_FUNCTION(ncclCommDestroy)(ncclComm communicator) {
  const Call call("ncclCommDestroy", Needs::nothing);
  communicator->clique->ended = true;
  if (is_in_graphs(*communicator->clique)) {
    complain("ncclCommDestroy while graphs hold exchanges: it would wait for ever");
  }
  return call.result;
}

// Lets the exchanges end, and waits for the end of the graphs that hold some.
NCCL_FUNCTION(ncclCommAbort)(ncclComm communicator) {
  const Call call("ncclCommAbort", Needs::nothing);
  communicator->clique->ended = true;
  static const int longest = setting("patience", 20000);
  int waited = 0;
  while (is_in_graphs(*communicator->clique)) {
    if (++waited == longest) {
      complain("ncclCommAbort while graphs hold exchanges: it would wait for ever");
      break;
    }
    machine().mutex.unlock();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    machine().mutex.lock();
  }
  return call.result;
}

NCCL_FUNCTION(ncclGroupStart)() {
  ++groups;
  return 0;
}
NCCL_FUNCTION(ncclGroupEnd)() {
  const Call call("ncclGroupEnd", Needs::nothing);
  if (--groups > 0) return 0;
  std::vector<Request> all = std::exchange(asked, {});
  if (std::exchange(has_failed, false) || call.result != 0) return invalid_usage;
  return start_all(std::move(all));
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
