// Locks of shared variables, for calls that read or update several of them.
//
// A request gets all of its locks at once or none, and requests that exclude each other come in the
// order in which they were made: a request waits for those that hold its locks or asked before it,
// never for one that asked later. So no update waits for ever while others read, no reader while
// others update, and requests of several locks cannot wait for each other in a circle.
//
// A thread that holds locks may ask for more: a call from inside of a print stream. Such a request
// goes ahead of those that wait, which may wait for this very thread. One thread at a time is
// inside of a print stream, so that two of them cannot wait for each other.
#pragma once
#include <atomic>
#include <cstdint>
#include <span>
#include <string>

namespace kroton {

// What one lock guards has a name, for messages.
class FairLock {
 public:
  // The name must live as long as the lock.
  explicit FairLock(const std::string& name);
  FairLock(const FairLock&) = delete;
  FairLock& operator=(const FairLock&) = delete;

 private:
  friend class HeldLocks;
  friend class LockQueue;

  const std::string& name_;
  std::atomic<std::uint64_t> word_;  // who holds it, see fair_lock.cpp
  // Guarded by the queue's mutex: how many requests wait for it, and the last walk through the
  // queue in which an earlier request wants to read it, or to write.
  int waiting_ = 0;
  std::uint64_t read_ahead_ = 0, write_ahead_ = 0;
};

struct LockRequest {
  FairLock* lock;
  bool exclusive;
};

// Holds locks during its life, which is nested in those of the thread's other ones.
class HeldLocks {
 public:
  // Waits for its turn. Each lock is named once; `requests` must live as long. `who` begins the
  // messages of ValueErrors: for a lock that this thread holds already, unless both only read, and
  // for one that another thread held exclusively when this process was forked.
  HeldLocks(std::span<const LockRequest> requests, const std::string& who);
  ~HeldLocks();
  HeldLocks(const HeldLocks&) = delete;
  HeldLocks& operator=(const HeldLocks&) = delete;

  // How many requests of the process wait, and how many of them for an exclusive lock.
  static std::int64_t waiting();
  static std::int64_t waiting_exclusively();

 private:
  friend class LockQueue;

  void refuse_own(const std::string& who) const;
  bool take_at_once() const;

  std::span<const LockRequest> requests_;
  HeldLocks* outer_;  // of this thread, held meanwhile
};

}  // namespace kroton
