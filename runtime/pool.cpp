#include "runtime/pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include <kroton/error.h>

#include "runtime/float_environment.h"

namespace kroton {

namespace {

// Long enough to bridge the gap between two loops of a training step, short enough that a pool that
// is not needed disappears from the processor at once.
constexpr std::chrono::microseconds spin_time{50};

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

// Polls for a while; returns whether the condition came true.
template <class Condition>
bool spin_until(Condition condition, bool spin) {
  if (condition()) {
    return true;
  }
  if (!spin) {
    return false;
  }
  const auto deadline = std::chrono::steady_clock::now() + spin_time;
  do {
    for (int i = 0; i < 64; ++i) {
      relax();
      if (condition()) {
        return true;
      }
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return false;
}

// Orders a store before a load of another variable. GCC has no fences under ThreadSanitizer; there
// the read-modify-write has the same effect on the machines that it runs on.
void store_before_load() {
#if defined(__SANITIZE_THREAD__)
  static std::atomic<int> barrier{0};
  barrier.fetch_add(1, std::memory_order_seq_cst);
#else
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

// Waits until `open` holds for a word that another thread changes. Waiting polls first and then
// sleeps; the other side pays for a system call only while `asleep` is set, which lies on a cache
// line that it has at hand.
template <class Open>
void await(const std::atomic<std::uint32_t>& word, Open open, std::atomic<bool>& asleep,
           bool spin) {
  if (spin_until([&] { return open(word.load(std::memory_order_acquire)); }, spin)) {
    return;
  }
  asleep.store(true, std::memory_order_relaxed);
  store_before_load();
  std::uint32_t value = word.load(std::memory_order_acquire);
  while (!open(value)) {
    word.wait(value, std::memory_order_acquire);
    value = word.load(std::memory_order_acquire);
  }
  asleep.store(false, std::memory_order_relaxed);
}

}  // namespace

struct PoolRange {
  std::int64_t begin;
  std::int64_t end;
  [[nodiscard]] bool empty() const { return begin == end; }
};

namespace {

// The ranges of the workers in order: [extent * w / ranges, extent * (w + 1) / ranges). Keeps the
// remainder of the division instead of the product, which may overflow.
class Split {
 public:
  Split(std::int64_t extent, std::int64_t ranges)
      : ranges_(ranges), quotient_(extent / ranges), rest_(extent % ranges) {}

  PoolRange next() {
    const std::int64_t begin = end_;
    end_ += quotient_;
    remainder_ += rest_;
    if (remainder_ >= ranges_) {
      remainder_ -= ranges_;
      ++end_;
    }
    return {begin, end_};
  }

 private:
  std::int64_t ranges_;
  std::int64_t quotient_;
  std::int64_t rest_;
  std::int64_t remainder_ = 0;
  std::int64_t end_ = 0;
};

std::int32_t run_serially(kroton_body body, void* env, std::int64_t extent, std::int64_t ranges) {
  std::int32_t first = 0;
  Split split(extent, ranges);
  for (std::int64_t worker = 0; worker < ranges; ++worker) {
    const PoolRange range = split.next();
    if (!range.empty()) {
      const std::int32_t result = body(env, worker, range.begin, range.end);
      first = first != 0 ? first : result;
    }
  }
  return first;
}

std::int64_t available_processors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    return CPU_COUNT(&set);
  }
  return std::max<std::int64_t>(std::thread::hardware_concurrency(), 1);
}

}  // namespace

// The helpers and what passes between them and the caller.
//
// A range is posted to one helper, but it belongs to whoever takes it: the helper, or the caller
// when it is done with its own and the helper still sleeps or has no processor. So a loop after a
// pause costs no more than running it alone.
struct Pool::Crew {
  // Written by the caller, read by one helper: a cache line that crosses once per loop.
  struct alignas(64) Mailbox {
    std::atomic<std::uint32_t> ticket{taken(0)};
    kroton_body body = nullptr;  // null: leave
    void* env = nullptr;
    std::int64_t worker = 0;
    PoolRange range{0, 0};
    std::uint64_t float_control = 0;  // the caller's, see float_environment.h
  };
  // The way back.
  struct alignas(64) Reply {
    std::atomic<std::uint32_t> ticket{taken(0)};  // the last one whose range is done
    std::atomic<bool> asleep{false};              // the helper sleeps on its mailbox
    std::int32_t result = 0;
    std::uint64_t float_flags = 0;
  };
  struct alignas(128) Seat {  // whole pairs of lines, which some processors fetch together
    Mailbox mailbox;
    Reply reply;
    Crew* crew = nullptr;
    pthread_t thread{};  // not std::thread, whose heap memory a forked child could not free
  };

  // A ticket is the number of the loop and whether somebody has taken the range.
  static constexpr std::uint32_t posted(std::uint32_t loop) { return 2 * loop; }
  static constexpr std::uint32_t taken(std::uint32_t loop) { return 2 * loop + 1; }
  static bool is_posted(std::uint32_t ticket) { return ticket % 2 == 0; }
  static bool take(Seat& seat, std::uint32_t ticket) {
    return seat.mailbox.ticket.compare_exchange_strong(
        ticket, ticket + 1, std::memory_order_acquire, std::memory_order_relaxed);
  }

  Crew(std::int64_t helper_count, bool spin_first)
      : helpers(static_cast<std::size_t>(helper_count)),
        seats(std::make_unique<Seat[]>(helpers)),
        spin(spin_first) {}

  bool start();
  void next_loop();
  void stop();
  void work(Seat& seat);
  void post(Seat& seat, kroton_body body, void* env, std::int64_t worker, PoolRange range) const;
  std::int32_t finish(Seat& seat);
  std::int32_t run(kroton_body body, void* env, std::int64_t extent, std::int64_t ranges);

  std::size_t helpers;
  std::size_t started = 0;  // threads that run, on the first seats
  std::unique_ptr<Seat[]> seats;
  std::uint32_t loop = 0;           // the number of the last loop
  std::uint64_t float_control = 0;  // of its caller
  bool spin;
  Crew* next = nullptr;                                // in the list of abandoned crews
  alignas(64) std::atomic<bool> caller_asleep{false};  // the caller sleeps on a reply
};

// Returns false when the system refuses a thread; those before it run.
bool Pool::Crew::start() {
  const auto enter = [](void* place) -> void* {
    auto* seat = static_cast<Seat*>(place);
    seat->crew->work(*seat);
    return nullptr;
  };
  // The user's signals are for the user's threads, but those that a thread's own code causes: with
  // them blocked, no handler would hear of a trap.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  for (const int own : {SIGFPE, SIGSEGV, SIGBUS, SIGILL, SIGTRAP}) sigdelset(&all, own);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  while (started < helpers) {
    Seat& seat = seats[started];
    seat.crew = this;
    if (pthread_create(&seat.thread, nullptr, enter, &seat) != 0) {
      break;
    }
    pthread_setname_np(seat.thread, "kroton");
    ++started;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return started == helpers;
}

void Pool::Crew::next_loop() {
  if (posted(++loop) == 0) {
    // Tickets start over: forget the replies of 2^31 loops ago, which would look new.
    for (std::size_t i = 0; i < started; ++i) {
      seats[i].reply.ticket.store(posted(0), std::memory_order_relaxed);
    }
  }
}

void Pool::Crew::stop() {
  next_loop();
  for (std::size_t i = 0; i < started; ++i) {
    post(seats[i], nullptr, nullptr, 0, {0, 0});
  }
  store_before_load();
  for (std::size_t i = 0; i < started; ++i) {
    seats[i].mailbox.ticket.notify_one();
  }
  for (std::size_t i = 0; i < started; ++i) {
    pthread_join(seats[i].thread, nullptr);
  }
  started = 0;
}

void Pool::Crew::work(Seat& seat) {
  for (;;) {
    await(seat.mailbox.ticket, is_posted, seat.reply.asleep, spin);
    const std::uint32_t ticket = seat.mailbox.ticket.load(std::memory_order_relaxed);
    if (!is_posted(ticket) || !take(seat, ticket)) {
      continue;  // the caller was quicker
    }
    const Mailbox& job = seat.mailbox;
    if (job.body == nullptr) {
      return;
    }
    kroton_enter_float_environment(job.float_control);
    seat.reply.result = job.body(job.env, job.worker, job.range.begin, job.range.end);
    seat.reply.float_flags = kroton_get_float_environment().flags;
    seat.reply.ticket.store(ticket + 1, std::memory_order_release);
    store_before_load();
    if (caller_asleep.load(std::memory_order_relaxed)) {
      seat.reply.ticket.notify_one();
    }
  }
}

void Pool::Crew::post(Seat& seat, kroton_body body, void* env, std::int64_t worker,
                      PoolRange range) const {
  seat.mailbox.body = body;
  seat.mailbox.env = env;
  seat.mailbox.worker = worker;
  seat.mailbox.range = range;
  seat.mailbox.float_control = float_control;
  seat.mailbox.ticket.store(posted(loop), std::memory_order_release);
}

// Sees to it that the range posted to a seat is done, and returns its result.
std::int32_t Pool::Crew::finish(Seat& seat) {
  const auto is_done = [this](std::uint32_t ticket) { return ticket == taken(loop); };
  // A helper that is awake takes its range in a fraction of a microsecond.
  const auto result = [&seat] {
    kroton_add_float_flags(seat.reply.float_flags);
    return seat.reply.result;
  };
  for (int i = 0; i < 50 && !seat.reply.asleep.load(std::memory_order_relaxed); ++i) {
    if (is_done(seat.reply.ticket.load(std::memory_order_acquire))) {
      return result();
    }
    relax();
  }
  if (take(seat, posted(loop))) {
    const Mailbox& job = seat.mailbox;
    return job.body(job.env, job.worker, job.range.begin, job.range.end);
  }
  await(seat.reply.ticket, is_done, caller_asleep, spin);
  return result();
}

std::int32_t Pool::Crew::run(kroton_body body, void* env, std::int64_t extent,
                             std::int64_t ranges) {
  next_loop();
  float_control = kroton_get_float_environment().control;
  Split split(extent, ranges);
  std::int64_t own = 0;  // the first range that is not empty
  PoolRange own_range = split.next();
  while (own_range.empty()) {
    ++own;
    own_range = split.next();
  }
  const auto each_helper = [&](auto&& visit) {
    Split others = split;
    for (std::int64_t worker = own + 1; worker < ranges; ++worker) {
      const PoolRange range = others.next();
      if (!range.empty()) {
        visit(seats[static_cast<std::size_t>(worker - 1)], worker, range);
      }
    }
  };
  each_helper([&](Seat& seat, std::int64_t worker, PoolRange range) {
    post(seat, body, env, worker, range);
  });
  store_before_load();
  each_helper([&](Seat& seat, std::int64_t, PoolRange) {
    if (seat.reply.asleep.load(std::memory_order_relaxed)) {
      seat.mailbox.ticket.notify_one();
    }
  });
  std::int32_t first = body(env, own, own_range.begin, own_range.end);
  each_helper([&](Seat& seat, std::int64_t, PoolRange) {
    const std::int32_t result = finish(seat);
    first = first != 0 ? first : result;
  });
  return first;
}

std::int64_t thread_count(const char* setting, std::int64_t processors) {
  if (setting == nullptr) {
    return processors;
  }
  std::int64_t count = 0;
  const char* end = setting + std::strlen(setting);
  const auto [stop, error] = std::from_chars(setting, end, count);
  if (error != std::errc() || stop != end || count < 1) {
    throw ValueError("KROTON_THREADS: expected a whole number above zero, got \"" +
                     std::string(setting) + "\"");
  }
  return std::min(count, processors);
}

Pool::Pool(std::int64_t workers) : workers_(workers) {}

Pool& Pool::global() {
  static Pool* const pool = [] {
    auto* made = new Pool(thread_count(std::getenv("KROTON_THREADS"), available_processors()));
    std::atexit(at_exit);
    pthread_atfork(nullptr, nullptr, after_fork);
    return made;
  }();
  return *pool;
}

void Pool::at_exit() {
  Pool& pool = global();
  if (pool.busy_.exchange(true, std::memory_order_acquire)) {
    return;  // a loop is running: its threads end with the process
  }
  pool.closed_ = true;
  if (pool.crew_ != nullptr) {
    pool.crew_->stop();
    delete std::exchange(pool.crew_, nullptr);
  }
  pool.busy_.store(false, std::memory_order_release);
}

void Pool::after_fork() {
  Pool& pool = global();
  if (Crew* crew = std::exchange(pool.crew_, nullptr)) {
    // Its threads stayed in the parent: they can be neither joined nor destroyed here.
    crew->next = std::exchange(pool.abandoned_, crew);
  }
  pool.busy_.store(false, std::memory_order_release);
}

// The helpers, started if need be; null when there cannot be any. The caller owns busy_.
Pool::Crew* Pool::ready_crew() {
  if (crew_ == nullptr && !closed_) {
    auto crew = std::make_unique<Crew>(workers() - 1, workers() <= available_processors());
    if (!crew->start()) {
      crew->stop();
      closed_ = true;
      return nullptr;
    }
    crew_ = crew.release();
  }
  return crew_;
}

std::int32_t Pool::parallel_for(kroton_body body, void* env, std::int64_t extent,
                                std::int64_t ranges) {
  if (extent <= 0) {
    return 0;
  }
  if (ranges == 1 || extent == 1 || busy_.exchange(true, std::memory_order_acquire)) {
    return run_serially(body, env, extent, ranges);
  }
  Crew* crew = ranges <= workers() ? ready_crew() : nullptr;
  const std::int32_t result = crew != nullptr ? crew->run(body, env, extent, ranges)
                                              : run_serially(body, env, extent, ranges);
  busy_.store(false, std::memory_order_release);
  return result;
}

void Pool::set_threads(std::int64_t count) {
  if (count < 1) {
    throw ValueError("set_threads: expected at least 1 thread, got " + std::to_string(count));
  }
  while (busy_.exchange(true, std::memory_order_acquire)) {
    std::this_thread::yield();
  }
  if (crew_ != nullptr) {
    Crew* crew = std::exchange(crew_, nullptr);
    crew->stop();
    delete crew;
  }
  workers_.store(count, std::memory_order_relaxed);
  busy_.store(false, std::memory_order_release);
}

kroton_context make_context(Pool& pool) noexcept {
  return {kroton_pool_parallel_for, pool.workers(), {0, 0, 0, 0}, &pool, nullptr, nullptr};
}

kroton_context make_serial_context() noexcept {
  return {kroton_serial_parallel_for, 1, {0, 0, 0, 0}, nullptr, nullptr, nullptr};
}

std::int32_t kroton_pool_parallel_for(kroton_context* context, kroton_body body, void* env,
                                      std::int64_t extent) {
  return static_cast<Pool*>(context->pool)->parallel_for(body, env, extent, context->workers);
}

std::int32_t kroton_serial_parallel_for(kroton_context* context, kroton_body body, void* env,
                                        std::int64_t extent) {
  return run_serially(body, env, extent, context->workers);
}

}  // namespace kroton
