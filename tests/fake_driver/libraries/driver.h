// The driver of the tests: what it keeps, and what its functions share.
#pragma once
#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "tests/fake_driver/libraries/machine.h"
#include "tests/gpu_emulator/kernels.h"

namespace fake_driver {

// Work in a graph, and the positions of the work that it waits for.
struct Node {
  Work work;
  std::vector<std::size_t> behind;
  // Told at every launch: how much is in the stream before this work.
  std::function<void(std::uint64_t)> launched = {};
};

// What work returns that waits for what another thread has not started yet: it is tried again.
constexpr CUresult is_blocked = -1;

}  // namespace fake_driver

namespace kroton::nvidia {

struct CUctx_st {
  int device = 0;
  CUresult failed = 0;  // what it never recovers from
};
struct CUstream_st {
  CUcontext context = nullptr;
  std::deque<fake_driver::Work> queue;
  std::uint64_t queued = 0, done = 0;
  bool capturing = false, invalidated = false;
  bool is_exchanging = false;  // work that waits for other streams runs
  std::vector<fake_driver::Node> captured;
  std::vector<std::size_t> behind;   // what comes next in the graph
  std::vector<CUgraphNode> handles;  // of these, for who asks
};
struct CUevent_st {
  CUstream stream = nullptr;  // null: not recorded
  std::uint64_t position = 0;
  bool destroyed = false;
  bool has_time = false;
  std::chrono::steady_clock::time_point passed;
};
struct CUfunc_st {
  CUmodule module = nullptr;
  const gpu_emulator::Kernel* kernel = nullptr;
};
struct CUmod_st {
  CUcontext context = nullptr;
  gpu_emulator::Kernels* kernels = nullptr;
  std::map<std::string, CUfunc_st> functions;
  bool unloaded = false;
};
struct CUgraph_st {
  std::vector<fake_driver::Node> nodes;
  bool destroyed = false;
};
struct CUgraphExec_st {
  CUcontext context = nullptr;
  std::vector<fake_driver::Node> nodes;
  bool destroyed = false;
};

}  // namespace kroton::nvidia

namespace fake_driver {

using namespace kroton::nvidia;  // NOLINT: the names of the driver

struct Allocation {
  std::size_t bytes = 0;
  void* shadow = nullptr;
  CUcontext context = nullptr;
  bool freed = false;
};
struct Injection {
  int left = 0;
  CUresult code = 0;
};

// Handles and memory are kept when they are given back, so that their use is found out.
struct Machine {
  std::recursive_mutex mutex;
  pid_t process = 0;  // that called cuInit
  std::map<int, std::unique_ptr<CUctx_st>> contexts;
  std::vector<std::unique_ptr<CUstream_st>> streams;
  std::vector<std::unique_ptr<CUevent_st>> events;
  std::vector<std::unique_ptr<CUmod_st>> modules;
  std::vector<std::unique_ptr<CUgraph_st>> graphs;
  std::vector<std::unique_ptr<CUgraphExec_st>> executables;
  std::map<CUdeviceptr, Allocation> allocations;
  std::map<CUdeviceptr, std::size_t> host_memory;  // page-locked
  std::map<CUcontext, CUstream> default_streams;
  std::set<std::pair<CUcontext, CUcontext>> peers;  // the first may reach the second's memory
  std::map<std::string, int> calls;
  std::deque<float> times;  // that events are to be apart, in milliseconds
  std::map<std::string, std::vector<Injection>> injections;
  std::string violations;
  CUcontext working = nullptr;  // whose work runs
  bool is_running_others = false;
  Injection next_kernel;
  std::uint64_t graph_order = 1;  // of the next launch
  int graph_depth = 0;            // of the last graph
  int kernels = 0, products = 0, convolutions = 0, allocated = 0;
  int algorithm = 0;  // of the last product or convolution
};

Machine& machine();

// The contexts that are current in this thread, the last of them on top.
std::vector<CUcontext>& current_contexts();
CUcontext current_context();  // null: none
// The stream, or for null the default one of the current context.
CUstream resolved(CUstream stream);

template <class T>
T* keep(std::vector<std::unique_ptr<T>>& list) {
  return list.emplace_back(std::make_unique<T>()).get();
}

enum class Needs : std::uint8_t { nothing, driver, context };

// One call of the driver: counted, and refused where a driver would refuse it.
class Call {
 public:
  explicit Call(const char* function, Needs needs = Needs::context)
      : lock_(machine().mutex), result(judge(function, needs)) {}

 private:
  static CUresult judge(const std::string& function, Needs needs);

  std::lock_guard<std::recursive_mutex> lock_;

 public:
  const CUresult result;
};

// Whether that context is the current one; complains of the function if not.
bool belongs(const char* function, CUcontext context);
// Runs what waits in the stream up to a position. The first failure is its context's for good.
// Ends before work that is blocked.
CUresult finish(CUstream stream, std::uint64_t position);
void finish_all(CUcontext context);
// The same until it is done, for a caller that holds the machine once: others may go on meanwhile.
// What nobody ends the waiting of is complained of.
CUresult wait_for(CUstream stream, std::uint64_t position);
void wait_for_all(CUcontext context);
// Whether nothing waits that may use what this thread gives back: nothing at all, or what others
// have asked for since this thread waited for everything.
bool is_idle(CUcontext context);
void note_wait_for_all();
// The live allocation of the working context that an address is in, or behind by no byte.
const std::pair<const CUdeviceptr, Allocation>* holder(CUdeviceptr address);

}  // namespace fake_driver

// Each function is declared as in the header that Kroton calls it by.
#define DRIVER_FUNCTION(name) FAKE_DRIVER_EXPORT CUresult name
// What Kroton calls as `member` is the function defined here.
#define SAME(member, name) \
  static_assert(std::is_same_v<decltype(kroton::nvidia::DriverApi::member), decltype(&(name))>)
