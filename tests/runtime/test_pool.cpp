#include <doctest/doctest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <limits>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <kroton/error.h>

#include "runtime/pool.h"

using namespace kroton;

namespace {

// Gives the pool a size for one test and the old one back after it.
class ThreadsGuard {
 public:
  explicit ThreadsGuard(std::int64_t count) : before_(Pool::global().workers()) {
    Pool::global().set_threads(count);
  }
  ~ThreadsGuard() { Pool::global().set_threads(before_); }
  ThreadsGuard(const ThreadsGuard&) = delete;
  ThreadsGuard& operator=(const ThreadsGuard&) = delete;

 private:
  std::int64_t before_;
};

// What a loop did: who visited each index, and how often.
struct Record {
  explicit Record(std::int64_t extent)
      : worker(static_cast<std::size_t>(extent), -1), visits(static_cast<std::size_t>(extent), 0) {}
  std::vector<std::int64_t> worker;
  std::vector<int> visits;
};

std::int32_t record_body(void* env, std::int64_t worker, std::int64_t begin, std::int64_t end) {
  auto* record = static_cast<Record*>(env);
  for (std::int64_t i = begin; i < end; ++i) {
    record->worker[static_cast<std::size_t>(i)] = worker;
    ++record->visits[static_cast<std::size_t>(i)];
  }
  return 0;
}

// Whether each index was visited once, by the worker whose range it is in.
bool is_complete(const Record& record, std::int64_t workers) {
  const auto extent = static_cast<std::int64_t>(record.worker.size());
  for (std::int64_t worker = 0; worker < workers; ++worker) {
    for (std::int64_t i = extent * worker / workers; i < extent * (worker + 1) / workers; ++i) {
      if (record.worker[static_cast<std::size_t>(i)] != worker ||
          record.visits[static_cast<std::size_t>(i)] != 1) {
        return false;
      }
    }
  }
  return true;
}

bool run_and_check(std::int64_t extent) {
  Pool& pool = Pool::global();
  Record record(extent);
  return pool.parallel_for(record_body, &record, extent) == 0 &&
         is_complete(record, pool.workers());
}

}  // namespace

TEST_CASE("pool: every index once, by its worker") {
  for (const std::int64_t threads : {1, 2, 3, 7}) {
    const ThreadsGuard guard(threads);
    for (const std::int64_t extent : {0, 1, 2, 3, 6, 7, 8, 17, 1000}) {
      CAPTURE(threads);
      CAPTURE(extent);
      CHECK(run_and_check(extent));
    }
  }
}

TEST_CASE("pool: ranges of an extent near the largest") {
  struct Ends {
    std::atomic<std::int64_t> sum{0};
    std::atomic<std::int64_t> last{0};
  } ends;
  const ThreadsGuard guard(3);
  const std::int64_t extent = std::numeric_limits<std::int64_t>::max();
  Pool::global().parallel_for(
      [](void* env, std::int64_t worker, std::int64_t begin, std::int64_t stop) -> std::int32_t {
        auto* to = static_cast<Ends*>(env);
        to->sum += stop - begin;
        if (worker == 2) {
          to->last = stop;
        }
        return 0;
      },
      &ends, extent);
  CHECK(ends.sum == extent);
  CHECK(ends.last == extent);
}

TEST_CASE("pool: a loop really runs on several threads") {
  struct Threads {
    std::mutex mutex;
    std::set<std::thread::id> ids;
    std::atomic<int> arrived{0};
  } threads;
  const ThreadsGuard guard(3);
  Pool::global().parallel_for(
      [](void* env, std::int64_t, std::int64_t, std::int64_t) -> std::int32_t {
        auto* to = static_cast<Threads*>(env);
        {
          const std::lock_guard lock(to->mutex);
          to->ids.insert(std::this_thread::get_id());
        }
        // Nobody leaves before all are there, so nobody can run two ranges.
        ++to->arrived;
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
        while (to->arrived < 3 && std::chrono::steady_clock::now() < deadline) {
          std::this_thread::yield();
        }
        return 0;
      },
      &threads, 3);
  CHECK(threads.ids.size() == 3);
  CHECK(threads.ids.contains(std::this_thread::get_id()));
}

TEST_CASE("pool: the lowest worker's error comes back, and the next loop is clean") {
  const ThreadsGuard guard(4);
  const auto body = [](void* env, std::int64_t worker, std::int64_t, std::int64_t) -> std::int32_t {
    return worker >= *static_cast<std::int64_t*>(env) ? static_cast<std::int32_t>(10 + worker) : 0;
  };
  for (std::int64_t first = 0; first < 4; ++first) {
    CHECK(Pool::global().parallel_for(body, &first, 17) == 10 + first);
  }
  CHECK(run_and_check(17));
}

TEST_CASE("pool: a loop inside a loop") {
  struct Outer {
    std::vector<Record> inner;
    std::atomic<int> failures{0};
  } outer;
  const ThreadsGuard guard(3);
  for (int i = 0; i < 17; ++i) {
    outer.inner.emplace_back(5);
  }
  Pool::global().parallel_for(
      [](void* env, std::int64_t, std::int64_t begin, std::int64_t stop) -> std::int32_t {
        auto* to = static_cast<Outer*>(env);
        for (std::int64_t i = begin; i < stop; ++i) {
          Record& record = to->inner[static_cast<std::size_t>(i)];
          to->failures += Pool::global().parallel_for(record_body, &record, 5);
        }
        return 0;
      },
      &outer, 17);
  CHECK(outer.failures == 0);
  for (const Record& record : outer.inner) {
    CHECK(is_complete(record, 3));
  }
}

TEST_CASE("pool: used from several threads at once") {
  const ThreadsGuard guard(2);
  std::atomic<int> failures{0};
  std::vector<std::thread> users;
  for (int user = 0; user < 4; ++user) {
    users.emplace_back([&] {
      for (int i = 0; i < 300; ++i) {
        failures += run_and_check(17) ? 0 : 1;
      }
    });
  }
  for (std::thread& user : users) {
    user.join();
  }
  CHECK(failures == 0);
}

TEST_CASE("pool: helpers that sleep wake up") {
  const ThreadsGuard guard(2);
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    REQUIRE(run_and_check(17));
  }
}

TEST_CASE("pool: loops that start as helpers fall asleep") {
  const ThreadsGuard guard(2);
  for (int i = 0; i < 2000; ++i) {
    // Around the time that a helper polls before it sleeps.
    const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(30 + i % 60);
    while (std::chrono::steady_clock::now() < until) {
    }
    REQUIRE(run_and_check(i % 18));
  }
}

TEST_CASE("pool: an idle pool takes no processor time") {
  const ThreadsGuard guard(2);
  REQUIRE(run_and_check(17));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const std::clock_t before = std::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  // The process's time, so one spinning helper would take all of 100 ms.
  CHECK((std::clock() - before) * 1000 / CLOCKS_PER_SEC < 20);
}

TEST_CASE("pool: the size changes between loops") {
  const ThreadsGuard guard(1);
  for (const std::int64_t threads : {5, 1, 2, 17, 3}) {
    Pool::global().set_threads(threads);
    CHECK(Pool::global().workers() == threads);
    CHECK(run_and_check(100));
  }
  CHECK_THROWS_WITH_AS(Pool::global().set_threads(0),
                       "set_threads: expected at least 1 thread, got 0", ValueError);
}

TEST_CASE("pool: contexts split by their own number of workers") {
  const ThreadsGuard guard(3);
  kroton_context context = make_context(Pool::global());
  CHECK(context.workers == 3);
  CHECK(context.error.code == 0);
  Record record(17);
  CHECK(context.parallel_for(&context, record_body, &record, 17) == 0);
  CHECK(is_complete(record, 3));

  // The pool shrinks and grows during the life of a context: the ranges stay.
  for (const std::int64_t threads : {2, 5}) {
    Pool::global().set_threads(threads);
    Record other(17);
    CHECK(context.parallel_for(&context, record_body, &other, 17) == 0);
    CHECK(is_complete(other, 3));
  }

  kroton_context serial = make_serial_context();
  CHECK(serial.workers == 1);
  Record alone(17);
  CHECK(serial.parallel_for(&serial, record_body, &alone, 17) == 0);
  CHECK(is_complete(alone, 1));
  serial.workers = 3;
  Record three(17);
  CHECK(serial.parallel_for(&serial, record_body, &three, 17) == 0);
  CHECK(is_complete(three, 3));
}

TEST_CASE("pool: KROTON_THREADS") {
  CHECK(thread_count(nullptr, 8) == 8);
  CHECK(thread_count("3", 8) == 3);
  CHECK(thread_count("17", 8) == 8);
  for (const char* bad : {"", "0", "-1", "2x", " 2", "two", "99999999999999999999"}) {
    const std::string text =
        "KROTON_THREADS: expected a whole number above zero, got \"" + std::string(bad) + "\"";
    CHECK_THROWS_WITH_AS((void)thread_count(bad, 8), text.c_str(), ValueError);
  }
}

// ThreadSanitizer ends a child that starts threads.
#if defined(__SANITIZE_THREAD__)
#define KROTON_TEST_FORK 0
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define KROTON_TEST_FORK 0
#endif
#endif
#ifndef KROTON_TEST_FORK
#define KROTON_TEST_FORK 1
#endif

#if KROTON_TEST_FORK
TEST_CASE("pool: a child process starts helpers of its own") {
  const ThreadsGuard guard(3);
  REQUIRE(run_and_check(17));
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    bool good = run_and_check(17) && run_and_check(1000);
    Pool::global().set_threads(2);
    good = good && run_and_check(17);
    _exit(good ? 0 : 1);
  }
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(run_and_check(17));
}

TEST_CASE("pool: exit ends cleanly, also from a forked child and from inside a loop") {
  const ThreadsGuard guard(3);
  REQUIRE(run_and_check(17));
  for (const bool inside : {false, true}) {
    CAPTURE(inside);
    std::cout.flush();  // or the child's exit prints it again
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      alarm(20);
      run_and_check(17);
      if (inside) {
        Pool::global().parallel_for(
            [](void*, std::int64_t worker, std::int64_t, std::int64_t) -> std::int32_t {
              if (worker == 1) {
                std::exit(7);
              }
              return 0;
            },
            nullptr, 3);
      }
      std::exit(7);
    }
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 7);
  }
}
#endif
