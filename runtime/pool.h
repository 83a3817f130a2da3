#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "runtime/abi.h"

namespace kroton {

/// The threads that run parallel loops: started at the first parallel loop, kept until the process
/// exits. A loop is split statically, so a result does not depend on which thread is quick. The
/// calling thread runs the first range that is not empty, a helper each of the others; the caller
/// takes over the ranges of helpers that have not begun when it is done with its own.
///
/// An idle helper polls its mailbox for some tens of microseconds, so that loops that follow one
/// another cost about the way of a cache line, and then sleeps in the kernel.
///
/// A loop is computed in the floating-point environment of its caller, by helpers too: rounding,
/// flush-to-zero, traps; and the flags that they raise are the caller's.
///
/// The pool runs one loop at a time. A loop that starts meanwhile (from another thread, or from
/// inside a body) is run by its caller alone, worker after worker, over the same ranges.
///
/// After fork() the child has no helpers; its first parallel loop starts new ones. A body must not
/// fork. Where the system refuses a thread, loops run on their callers alone.
class Pool {
 public:
  /// The pool of the process. Its size is the number of processors that the process may use, or
  /// KROTON_THREADS where that is smaller. Throws ValueError when KROTON_THREADS is set and is not
  /// a whole number above zero.
  static Pool& global();

  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  /// Into how many ranges a loop is split: one for the caller and one per helper. At least 1.
  [[nodiscard]] std::int64_t workers() const noexcept {
    return workers_.load(std::memory_order_relaxed);
  }

  /// Runs body over [0, extent), split over workers(); see kroton_context::parallel_for.
  std::int32_t parallel_for(kroton_body body, void* env, std::int64_t extent) {
    return parallel_for(body, env, extent, workers());
  }

  /// The same, split over `ranges` >= 1 workers, whatever the size of the pool.
  std::int32_t parallel_for(kroton_body body, void* env, std::int64_t extent, std::int64_t ranges);

  /// Changes the size of the pool, also above the number of processors. Waits for a loop that runs
  /// on another thread; must not be called from inside a body. Throws ValueError for count < 1.
  void set_threads(std::int64_t count);

 private:
  struct Crew;

  explicit Pool(std::int64_t workers);
  ~Pool() = delete;  // the pool is never destroyed: other static objects may outlive it

  Crew* ready_crew();
  static void at_exit();
  static void after_fork();

  std::atomic<std::int64_t> workers_;
  std::atomic<bool> busy_{false};  // owned by the thread that runs a loop or changes the crew
  bool closed_ = false;            // no helpers from here on: the process exits or the system
                                   // refused a thread; guarded by busy_
  Crew* crew_ = nullptr;           // guarded by busy_
  Crew* abandoned_ = nullptr;      // crews whose threads stayed behind in a fork's parent
};

/// The size of a pool: `processors`, or `setting` (the value of KROTON_THREADS, null when it is not
/// set) where that is smaller. Throws ValueError when setting is not a whole number above zero.
[[nodiscard]] std::int64_t thread_count(const char* setting, std::int64_t processors);

/// A context whose loops run on the pool.
[[nodiscard]] kroton_context make_context(Pool& pool) noexcept;

/// A context whose loops run on the calling thread alone, in one range.
[[nodiscard]] kroton_context make_serial_context() noexcept;

/// kroton_context::parallel_for on the pool that context->pool points to.
extern "C" std::int32_t kroton_pool_parallel_for(kroton_context* context, kroton_body body,
                                                 void* env, std::int64_t extent);

/// kroton_context::parallel_for on the calling thread alone: all workers' ranges in order.
extern "C" std::int32_t kroton_serial_parallel_for(kroton_context* context, kroton_body body,
                                                   void* env, std::int64_t extent);

}  // namespace kroton
