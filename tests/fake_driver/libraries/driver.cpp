// libcuda.so.1 of the tests: see control.h. What its functions share, and what tests ask for.
#include "tests/fake_driver/libraries/driver.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <thread>

#include "tests/fake_driver/control.h"

namespace fake_driver {
namespace {

// A process that ends with something to complain about has failed.
struct LastWord {
  ~LastWord() {
    const std::string& violations = machine().violations;
    if (violations.empty()) return;
    std::fprintf(stderr, "the driver of the tests: %s", violations.c_str());
    _exit(3);
  }
} last_word;

// Whether this thread has asked for nothing since it waited for everything.
thread_local bool has_waited = false;

// ---- What tests ask for.

std::string take_violations() {
  const std::lock_guard lock(machine().mutex);
  return std::exchange(machine().violations, {});
}
void fail_call(const std::string& function, int n, int code) {
  const std::lock_guard lock(machine().mutex);
  machine().injections[function].push_back({n, code});
}
void fail_kernel(int n, int code) {
  const std::lock_guard lock(machine().mutex);
  machine().next_kernel = {n, code};
}
int calls(const std::string& function) {
  const std::lock_guard lock(machine().mutex);
  return machine().calls[function];
}
int kernels() { return machine().kernels; }
int products() { return machine().products; }
int convolutions() { return machine().convolutions; }
int graph_depth() { return machine().graph_depth; }
int algorithm() { return machine().algorithm; }
int allocations() { return machine().allocated; }
void times(const std::vector<float>& milliseconds) {
  const std::lock_guard lock(machine().mutex);
  machine().times.assign(milliseconds.begin(), milliseconds.end());
}

}  // namespace

Machine& machine() {
  static auto* all = new Machine;
  return *all;
}

std::vector<CUcontext>& current_contexts() {
  // Never destroyed: static variables of the program, which end later, give memory back.
  static thread_local auto* const contexts = new std::vector<CUcontext>;
  return *contexts;
}

CUcontext current_context() {
  return current_contexts().empty() ? nullptr : current_contexts().back();
}

CUstream resolved(CUstream stream) {
  if (stream) return stream;
  CUstream& made = machine().default_streams[current_context()];
  if (!made) {
    made = keep(machine().streams);
    made->context = current_context();
  }
  return made;
}

CUresult Call::judge(const std::string& function, Needs needs) {
  Machine& m = machine();
  ++m.calls[function];
  for (Injection& injection : m.injections[function]) {
    if (injection.left > 0 && --injection.left == 0) return injection.code;
  }
  if (needs == Needs::nothing) return 0;
  if (m.process == 0) {
    complain(function + " before cuInit");
    return not_initialized;
  }
  if (m.process != getpid()) {
    complain(function + " in a process forked after cuInit");
    return not_initialized;
  }
  if (needs == Needs::driver) return 0;
  if (!current_context()) {
    complain(function + " without a current context");
    return invalid_context;
  }
  return current_context()->failed;
}

bool belongs(const char* function, CUcontext context) {
  if (context == current_context()) return true;
  complain(std::string(function) + " of another context than the current one");
  return false;
}

CUresult finish(CUstream stream, std::uint64_t position) {
  Machine& m = machine();
  static const bool eager = setting("order", "lazy") == "eager";
  if (eager && !m.is_running_others) {
    m.is_running_others = true;
    for (auto other = m.streams.rbegin(); other != m.streams.rend(); ++other) {
      if ((*other)->context == stream->context && other->get() != stream) {
        finish(other->get(), (*other)->queued);
      }
    }
    m.is_running_others = false;
  }
  while (stream->done < position) {
    Work work = std::move(stream->queue.front());
    stream->queue.pop_front();
    ++stream->done;
    if (stream->context->failed != 0) continue;
    const CUcontext before = std::exchange(m.working, stream->context);
    const CUresult ended = work();
    m.working = before;
    if (ended == is_blocked) {
      stream->queue.push_front(std::move(work));
      --stream->done;
      return is_blocked;
    }
    stream->context->failed = ended;
  }
  return stream->context->failed;
}

void finish_all(CUcontext context) {
  for (const auto& stream : machine().streams) {
    if (stream->context == context) finish(stream.get(), stream->queued);
  }
}

CUresult wait_for(CUstream stream, std::uint64_t position) {
  static const int longest = setting("patience", 20000);
  for (int k = 0;; ++k) {
    const CUresult ended = finish(stream, position);
    if (ended != is_blocked) return ended;
    if (k == longest) {
      complain("a wait for what is in a stream that would last for ever");
      return stream->context->failed = 719;
    }
    machine().mutex.unlock();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    machine().mutex.lock();
  }
}

void wait_for_all(CUcontext context) {
  for (std::size_t k = 0; k < machine().streams.size(); ++k) {
    CUstream_st* const stream = machine().streams[k].get();
    if (stream->context == context) wait_for(stream, stream->queued);
  }
}

void note_wait_for_all() { has_waited = true; }

bool is_idle(CUcontext context) {
  if (has_waited) return true;
  for (const auto& stream : machine().streams) {
    if (stream->context == context && !stream->queue.empty()) return false;
  }
  return true;
}

const std::pair<const CUdeviceptr, Allocation>* holder(CUdeviceptr address) {
  Machine& m = machine();
  auto after = m.allocations.upper_bound(address);
  if (after == m.allocations.begin()) return nullptr;
  const auto& found = *--after;
  const Allocation& allocation = found.second;
  const bool inside = address <= found.first + allocation.bytes;
  return inside && !allocation.freed && allocation.context == m.working ? &found : nullptr;
}

std::string setting(const std::string& key, const std::string& otherwise) {
  const char* all = std::getenv("KROTON_FAKE_DRIVER");
  std::istringstream in(all ? all : "");
  std::string entry;
  while (in >> entry) {
    if (entry.starts_with(key + "=")) return entry.substr(key.size() + 1);
  }
  return otherwise;
}

int setting(const std::string& key, int otherwise) {
  return std::stoi(setting(key, std::to_string(otherwise)));
}

void complain(const std::string& text) { machine().violations += text + "\n"; }

bool is_current(CUstream stream) { return current_context() == stream->context; }

void enqueue(CUstream stream, Work work) {
  const std::lock_guard lock(machine().mutex);
  has_waited = false;
  if (stream->capturing) {
    stream->captured.push_back({std::move(work), stream->behind, {}});
    stream->behind = {stream->captured.size() - 1};
    return;
  }
  stream->queue.push_back(std::move(work));
  ++stream->queued;
}

void* memory(std::uint64_t address, std::int64_t bytes) {
  const auto* found = holder(address);
  if (!found || address + static_cast<std::uint64_t>(bytes) > found->first + found->second.bytes) {
    return nullptr;
  }
  return reinterpret_cast<void*>(address);
}

void count_product(int algorithm) {
  ++machine().products;
  machine().algorithm = algorithm;
}
void count_convolution(int algorithm) {
  ++machine().convolutions;
  machine().algorithm = algorithm;
}

}  // namespace fake_driver

FAKE_DRIVER_EXPORT const fake_driver::Control* fake_driver_control() {
  using namespace fake_driver;  // NOLINT
  static const Control control{take_violations, fail_call, fail_kernel, calls, kernels,    products,
                               convolutions,    algorithm, allocations, times, graph_depth};
  return &control;
}
