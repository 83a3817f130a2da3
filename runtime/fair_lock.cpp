#include "runtime/fair_lock.h"

#include <kroton/error.h>
#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "runtime/print.h"

namespace kroton {
namespace {

// The word of a lock: the number of readers; whether a writer has it; whether a request waits for
// it, so that whoever comes later waits too and whoever leaves looks after the queue; and the
// generation of the process, which a fork ends: other holders are those of the parent's threads.
constexpr std::uint64_t reader = 1;
constexpr std::uint64_t readers = (std::uint64_t{1} << 32) - 1;
constexpr std::uint64_t writer = std::uint64_t{1} << 32;
constexpr std::uint64_t waited_for = std::uint64_t{1} << 33;
constexpr int generation_shift = 40;

std::atomic<std::uint64_t> generation{0};  // shifted to its place

std::uint64_t generation_of(std::uint64_t word) { return word >> generation_shift; }
bool is_current(std::uint64_t word) {
  return generation_of(word) == generation_of(generation.load(std::memory_order_relaxed));
}
constexpr std::uint64_t unit(bool exclusive) { return exclusive ? writer : reader; }
bool allows(std::uint64_t word, bool exclusive) {
  return (word & (exclusive ? writer | readers : writer)) == 0;
}

thread_local HeldLocks* innermost = nullptr;

}  // namespace

// The requests that wait, those of threads that hold locks before the others.
class LockQueue {
 public:
  // Never destroyed: calls may run until the process's very end.
  static LockQueue& get() {
    static LockQueue* const queue = [] {
      auto* made = new LockQueue;
      pthread_atfork([] { get().mutex_.lock(); }, [] { get().mutex_.unlock(); },
                     [] {
                       get().start_over();
                       get().mutex_.unlock();
                     });
      return made;
    }();
    return *queue;
  }

  void wait(std::span<const LockRequest> requests, bool nested, const std::string& who) {
    std::unique_lock held(mutex_);
    for (const LockRequest& request : requests) leave_parent(*request.lock, who);
    Waiting self{requests, nested};
    add(self);
    advance();
    while (!self.granted) self.turn.wait(held);
  }

  // To be called after a lock was released that is waited for.
  void advance_later() {
    const std::lock_guard held(mutex_);
    advance();
  }

  std::int64_t count(bool exclusive_only) {
    const std::lock_guard held(mutex_);
    std::int64_t result = 0;
    for (const Waiting* w = first_; w != nullptr; w = w->next) {
      result += !exclusive_only || std::any_of(w->requests.begin(), w->requests.end(),
                                               [](const auto& r) { return r.exclusive; });
    }
    return result;
  }

 private:
  struct Waiting {
    std::span<const LockRequest> requests;
    bool nested;  // the thread holds other locks meanwhile
    bool granted = false;
    std::condition_variable turn = {};
    Waiting* next = nullptr;
  };

  void add(Waiting& request) {
    Waiting** place = &first_;
    while (*place != nullptr && (!request.nested || (*place)->nested)) {
      place = &(*place)->next;
    }
    request.next = std::exchange(*place, &request);
    for (const auto& [lock, exclusive] : request.requests) {
      ++lock->waiting_;
      lock->word_.fetch_or(waited_for, std::memory_order_acquire);
    }
  }

  void remove(Waiting& request) {
    Waiting** place = &first_;
    while (*place != &request) place = &(*place)->next;
    *place = request.next;
    for (const auto& [lock, exclusive] : request.requests) {
      if (--lock->waiting_ == 0) lock->word_.fetch_and(~waited_for, std::memory_order_release);
    }
  }

  // Grants what can be granted now. While a lock is waited for, nobody but this takes it.
  void advance() {
    ++walk_;
    for (Waiting *w = first_, *next = nullptr; w != nullptr; w = next) {
      next = w->next;
      if (is_free(*w) && (w->nested || !is_behind(*w))) {
        for (const auto& [lock, exclusive] : w->requests) {
          lock->word_.fetch_add(unit(exclusive), std::memory_order_acquire);
        }
        remove(*w);
        w->granted = true;
        w->turn.notify_one();  // with the mutex held: it is gone as soon as its thread runs
        continue;
      }
      for (const auto& [lock, exclusive] : w->requests) {
        (exclusive ? lock->write_ahead_ : lock->read_ahead_) = walk_;
      }
    }
  }

  static bool is_free(const Waiting& request) {
    return std::all_of(request.requests.begin(), request.requests.end(), [](const auto& r) {
      return allows(r.lock->word_.load(std::memory_order_acquire), r.exclusive);
    });
  }

  // Whether one that asked earlier, and still waits, excludes it.
  bool is_behind(const Waiting& request) const {
    return std::any_of(request.requests.begin(), request.requests.end(), [&](const auto& r) {
      return r.lock->write_ahead_ == walk_ || (r.exclusive && r.lock->read_ahead_ == walk_);
    });
  }

  // Forgets holders of before the process was forked, unless one may have left half a value.
  static void leave_parent(FairLock& lock, const std::string& who) {
    const std::uint64_t word = lock.word_.load(std::memory_order_relaxed);
    if (is_current(word)) return;
    if ((word & writer) != 0) {
      throw ValueError(who + ": " + lock.name_ +
                       " was being updated by another thread when this process was forked: its "
                       "value here is not known");
    }
    lock.waiting_ = 0;
    lock.word_.store(generation.load(std::memory_order_relaxed), std::memory_order_relaxed);
  }

  // In the child of a fork: nobody waits, and only what this thread holds is held.
  void start_over() {
    first_ = nullptr;
    generation.fetch_add(std::uint64_t{1} << generation_shift, std::memory_order_relaxed);
    for (const HeldLocks* h = innermost; h != nullptr; h = h->outer_) {
      for (const auto& [lock, exclusive] : h->requests_) {
        if (!is_current(lock->word_.load(std::memory_order_relaxed))) {
          lock->waiting_ = 0;
          lock->word_.store(generation.load(std::memory_order_relaxed), std::memory_order_relaxed);
        }
        lock->word_.fetch_add(unit(exclusive), std::memory_order_relaxed);
      }
    }
  }

  std::mutex mutex_;
  Waiting* first_ = nullptr;
  std::uint64_t walk_ = 0;
};

FairLock::FairLock(const std::string& name)
    : name_(name), word_(generation.load(std::memory_order_relaxed)) {
  LockQueue::get();  // which has to hear of every fork
}

HeldLocks::HeldLocks(std::span<const LockRequest> requests, const std::string& who)
    : requests_(requests), outer_(innermost) {
  if (outer_ != nullptr) {
    refuse_own(who);
    const PrintersPass pass;  // those that this waits for may wait to print
    LockQueue::get().wait(requests_, true, who);
  } else if (!take_at_once()) {
    LockQueue::get().wait(requests_, false, who);
  }
  innermost = this;
}

HeldLocks::~HeldLocks() {
  innermost = outer_;
  bool waited = false;
  for (const auto& [lock, exclusive] : requests_) {
    const std::uint64_t before = lock->word_.fetch_sub(unit(exclusive), std::memory_order_acq_rel);
    waited = waited || (before & waited_for) != 0;
  }
  if (waited) LockQueue::get().advance_later();
}

std::int64_t HeldLocks::waiting() { return LockQueue::get().count(false); }
std::int64_t HeldLocks::waiting_exclusively() { return LockQueue::get().count(true); }

void HeldLocks::refuse_own(const std::string& who) const {
  for (const HeldLocks* h = outer_; h != nullptr; h = h->outer_) {
    for (const LockRequest& have : h->requests_) {
      for (const LockRequest& want : requests_) {
        if (have.lock != want.lock || (!have.exclusive && !want.exclusive)) continue;
        throw ValueError(who + ": " + want.lock->name_ +
                         " is in use by the call that prints: from inside of a print stream, what "
                         "that call updates cannot be used, and what it reads can only be read");
      }
    }
  }
}

// Takes all, or none; without a look at the queue, which only those join that find a lock taken.
bool HeldLocks::take_at_once() const {
  for (std::size_t k = 0; k < requests_.size(); ++k) {
    const auto [lock, exclusive] = requests_[k];
    std::uint64_t word = lock->word_.load(std::memory_order_relaxed);
    bool taken = false;
    while (!taken && is_current(word) && (word & waited_for) == 0 && allows(word, exclusive)) {
      taken = lock->word_.compare_exchange_weak(
          word, word + unit(exclusive), std::memory_order_acquire, std::memory_order_relaxed);
    }
    if (taken) continue;
    bool waited = false;
    for (const LockRequest& held : requests_.first(k)) {
      const std::uint64_t before =
          held.lock->word_.fetch_sub(unit(held.exclusive), std::memory_order_acq_rel);
      waited = waited || (before & waited_for) != 0;
    }
    if (waited) LockQueue::get().advance_later();
    return false;
  }
  return true;
}

}  // namespace kroton
