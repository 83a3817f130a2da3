// The locks of shared variables: turns, several locks at once, forks.
#include "runtime/fair_lock.h"

#include <doctest/doctest.h>
#include <kroton/error.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

using kroton::FairLock;
using kroton::HeldLocks;
using kroton::LockRequest;

namespace {

const std::string name_a = "a", name_b = "b";

// Until that many requests wait; the time limit of the suite ends a test where they never do.
void await_waiting(std::int64_t count) {
  while (HeldLocks::waiting() != count) std::this_thread::yield();
}

// Runs body while it holds the locks.
template <class Body>
void holding(const std::vector<LockRequest>& requests, const Body& body) {
  const HeldLocks held(requests, "test");
  body();
}

// Threads that ask for locks one after the other, and the order in which they get them.
class Line {
 public:
  ~Line() { finish(); }
  void finish() {
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
  }
  // Returns when the request waits.
  void add(const std::string& label, const std::vector<LockRequest>& requests) {
    const std::int64_t before = HeldLocks::waiting();
    threads_.emplace_back([this, label, requests] {
      holding(requests, [&] {
        const std::lock_guard lock(mutex_);
        order_ += label;
      });
    });
    await_waiting(before + 1);
  }
  const std::string& order() const { return order_; }

 private:
  std::mutex mutex_;
  std::string order_;
  std::vector<std::thread> threads_;
};

std::string message_of(const std::vector<LockRequest>& requests) {
  try {
    const HeldLocks held(requests, "f");
  } catch (const kroton::ValueError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("fair lock: a writer that waits comes before readers that ask later") {
  FairLock a(name_a);
  Line line;
  holding({{&a, false}}, [&] {
    line.add("w", {{&a, true}});
    line.add("r", {{&a, false}});
  });
  line.finish();
  CHECK(line.order() == "wr");
}

TEST_CASE("fair lock: everybody in turn") {
  FairLock a(name_a);
  Line line;
  holding({{&a, true}}, [&] {
    line.add("1", {{&a, true}});
    line.add("2", {{&a, false}});
    line.add("3", {{&a, true}});
    line.add("4", {{&a, true}});
    line.add("5", {{&a, false}});
  });
  line.finish();
  CHECK(line.order() == "12345");
}

TEST_CASE("fair lock: readers run at the same time, and together after a writer") {
  FairLock a(name_a);
  std::atomic<int> inside{0};
  std::vector<std::thread> readers;
  holding({{&a, true}}, [&] {
    for (int k = 0; k < 3; ++k) {
      readers.emplace_back([&] {
        holding({{&a, false}}, [&] {
          ++inside;
          while (inside < 3) std::this_thread::yield();  // nobody leaves before all are in
        });
      });
    }
    await_waiting(3);
  });
  for (std::thread& reader : readers) reader.join();
  CHECK(inside == 3);
}

TEST_CASE("fair lock: who waits for several holds none meanwhile") {
  FairLock a(name_a), b(name_b);
  Line line;
  holding({{&b, false}}, [&] {
    line.add("w", {{&a, true}, {&b, true}});
    // The writer waits for b only, but it asked before whoever wants a now.
    line.add("r", {{&a, false}});
    // What is asked for by a thread that holds b goes ahead: the writer waits for that thread.
    bool read = false;
    holding({{&a, false}, {&b, false}}, [&] { read = true; });
    CHECK(read);
  });
  line.finish();
  CHECK(line.order() == "wr");
}

TEST_CASE("fair lock: what a thread holds it cannot ask for again, unless to read both times") {
  FairLock a(name_a), b(name_b);
  const std::string refused =
      "f: a is in use by the call that prints: from inside of a print stream, what that call "
      "updates cannot be used, and what it reads can only be read";
  holding({{&a, true}}, [&] {
    CHECK(message_of({{&a, true}}) == refused);
    CHECK(message_of({{&b, true}, {&a, false}}) == refused);
    CHECK(message_of({{&b, true}}) == "");
  });
  holding({{&a, false}}, [&] {
    CHECK(message_of({{&a, true}}) == refused);
    CHECK(message_of({{&a, false}}) == "");
    holding({{&b, true}}, [&] { CHECK(message_of({{&a, true}}) == refused); });
  });
  CHECK(message_of({{&a, true}, {&b, true}}) == "");  // all are free again
}

TEST_CASE("fair lock: nobody overtakes, however many ask at once") {
  FairLock a(name_a), b(name_b);
  // With one writer: when it waits, whoever asks after that finds its work done.
  constexpr int updates = 300;
  std::atomic<int> written{0}, overtakings{0}, wrong{0};
  std::int64_t values[2] = {0, 0};
  std::vector<std::thread> readers;
  for (int k = 0; k < 4; ++k) {
    readers.emplace_back([&, k] {
      while (written < updates) {
        const int before = written;
        const bool waits = HeldLocks::waiting_exclusively() > 0;
        const std::vector<LockRequest> both{{&a, false}, {&b, false}};
        const std::vector<LockRequest> one{{k == 0 ? &a : &b, false}};
        holding(k < 2 ? one : both, [&] {
          if (waits && written == before) ++overtakings;
          if (k >= 2 && values[0] != values[1]) ++wrong;
        });
      }
    });
  }
  for (int k = 0; k < updates; ++k) {
    holding({{&a, true}, {&b, true}}, [&] {
      ++values[0];
      std::this_thread::yield();
      ++values[1];
      ++written;
    });
  }
  for (std::thread& reader : readers) reader.join();
  CHECK(overtakings == 0);
  CHECK(wrong == 0);
}

TEST_CASE("fair lock: writers of overlapping sets exclude each other and all get in") {
  FairLock locks[3] = {FairLock(name_a), FairLock(name_b), FairLock(name_a)};
  std::int64_t counts[3] = {0, 0, 0};
  std::vector<std::thread> writers;
  for (int k = 0; k < 3; ++k) {
    writers.emplace_back([&, k] {
      const int next = (k + 1) % 3;
      for (int round = 0; round < 500; ++round) {
        holding({{&locks[k], true}, {&locks[next], true}}, [&] {
          ++counts[k];
          ++counts[next];
        });
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  for (const std::int64_t count : counts) CHECK(count == 1000);
}

TEST_CASE("fair lock: the child of a fork has the locks of its own thread only") {
  FairLock mine(name_a), read(name_a), written(name_b);
  std::atomic<bool> ready{false}, done{false};
  std::thread other([&] {
    holding({{&read, false}, {&written, true}}, [&] {
      ready = true;
      while (!done) std::this_thread::yield();
    });
  });
  while (!ready) std::this_thread::yield();
  Line line;
  pid_t child = -1;
  holding({{&mine, false}}, [&] {
    line.add("w", {{&mine, true}});
    line.add("v", {{&written, true}});
    child = ::fork();
    if (child != 0) return;
    ::alarm(20);
    // Who waits stayed behind; what this thread holds it holds.
    if (message_of({{&mine, true}}).empty() || !message_of({{&mine, false}}).empty()) ::_exit(1);
  });
  if (child == 0) {
    const std::string unknown =
        "f: b was being updated by another thread when this process was forked: its value here is "
        "not known";
    for (int k = 0; k < 2; ++k) {
      if (!message_of({{&mine, true}}).empty()) ::_exit(2);
      if (!message_of({{&read, true}}).empty()) ::_exit(3);
      if (message_of({{&written, false}}) != unknown) ::_exit(4);
      if (message_of({{&written, true}, {&mine, true}}) != unknown) ::_exit(5);
    }
    ::_exit(0);
  }
  done = true;
  other.join();
  line.finish();
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}
