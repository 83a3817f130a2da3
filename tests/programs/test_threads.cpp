// Compiled functions in programs of several threads. The names of these tests begin with
// "threads": they also run under ThreadSanitizer.
#include <doctest/doctest.h>

#include <atomic>
#include <functional>
#include <thread>

#include "runtime/fair_lock.h"
#include "tests/tools/compiled_tools.h"

using namespace kroton;         // NOLINT: tests
using namespace compiled_test;  // NOLINT: tests

namespace {

// Runs body(0), body(1), ... on threads of their own, all at once.
void on_threads(int count, const std::function<void(int)>& body) {
  std::atomic<int> waiting{count};
  std::vector<std::thread> threads;
  std::vector<std::string> errors(static_cast<std::size_t>(count));
  for (int k = 0; k < count; ++k) {
    threads.emplace_back([&, k] {
      --waiting;
      while (waiting > 0) std::this_thread::yield();
      try {
        body(k);
      } catch (const std::exception& error) {
        errors[static_cast<std::size_t>(k)] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& error : errors) CHECK(error == "");
}

}  // namespace

TEST_CASE("threads: a function without updates is called from several at once") {
  const Tensor x = matrix("x");
  const Shared w = shared(Array::normal({17, 5}, 1), "w");
  const auto f = function({x}, {softmax(dot(x, w)), sum(x)});
  std::atomic<int> wrong{0};
  on_threads(4, [&](int k) {
    // Every thread has sizes of its own, small ones and such that are split among workers.
    const std::int64_t rows = k % 2 == 0 ? 3 + k : 3000 + k;
    const Array value = Array::normal({rows, 17}, static_cast<std::uint64_t>(k));
    const auto [first, first_sum] = f(value);
    for (int call = 0; call < 20; ++call) {
      const auto [again, again_sum] = f(value);
      if (!array_equal(first, again) || !array_equal(first_sum, again_sum)) ++wrong;
    }
  });
  CHECK(wrong == 0);
  const Array value = Array::normal({3, 17}, 0);
  CHECK(difference(expected(softmax(dot(x, w)), {{x, value}}), f(value)[0]) == "");
}

TEST_CASE("threads: calls that update are serialised") {
  const Shared count = shared(Array(std::int64_t{0}), "count");
  const Shared sums = shared(Array::zeros({1000}, i64), "sums");
  const Tensor n = scalar("n", i64);
  const auto add = function({n}, count, {.updates = {{count, count + n}, {sums, sums + n}}});
  std::atomic<std::int64_t> total{0};
  on_threads(4, [&](int k) {
    for (int call = 0; call < 200; ++call) {
      add(k + 1);
      total += k + 1;
    }
  });
  CHECK(count.get_value().item<std::int64_t>() == total);
  CHECK(array_equal(sums.get_value(), Array::full({1000}, total.load(), i64)));
}

TEST_CASE("threads: functions that share variables in different order do not deadlock") {
  const Shared a = shared(Array::zeros({17}, i64), "a");
  const Shared b = shared(Array::zeros({17}, i64), "b");
  const auto first = function({}, {.updates = {{a, a + 1}, {b, b + 1}}});
  const auto second = function({}, {.updates = {{b, b + 1}, {a, a + 1}}});
  const auto reads_a = function({}, sum(a), {.updates = {{b, b + 1}}});
  const auto reads_b = function({}, sum(b), {.updates = {{a, a + 1}}});
  on_threads(4, [&](int k) {
    for (int call = 0; call < 200; ++call) {
      switch (k) {
        case 0:
          first();
          break;
        case 1:
          second();
          break;
        case 2:
          reads_a();
          break;
        default:
          reads_b();
          break;
      }
    }
  });
  CHECK(array_equal(a.get_value(), Array::full({17}, 600, i64)));
  CHECK(array_equal(b.get_value(), Array::full({17}, 600, i64)));
}

TEST_CASE("threads: values are read and replaced during calls") {
  Shared a = shared(Array::zeros({1000}, i64), "a");
  const Shared b = shared(Array::zeros({1000}, i64), "b");
  const auto step = function({}, {.updates = {{a, a + 1}, {b, a + 1}}});
  const auto look = function({}, {a, b, sum(a - b)});
  std::atomic<int> torn{0};
  on_threads(4, [&](int k) {
    for (int call = 0; call < 200; ++call) {
      if (k == 0) {
        step();
      } else if (k == 1) {
        // One variable, at one moment.
        const Array value = a.get_value();
        const std::span<const std::int64_t> data = value.data<std::int64_t>();
        if (data.front() != data.back()) ++torn;
      } else if (k == 2) {
        a.set_value(Array::full({1000}, 7 * call, i64));
      } else {
        const auto [x, y, gap] = look();
        const std::span<const std::int64_t> data = x.data<std::int64_t>();
        if (data.front() != data.back()) ++torn;
        if (gap.item<std::int64_t>() != 1000 * (data.front() - y.data<std::int64_t>().front())) {
          ++torn;
        }
      }
    }
  });
  CHECK(torn == 0);
}

TEST_CASE("threads: functions are built and compiled on several at once") {
  const Shared w = shared(Array::normal({5, 3}, 1), "w");
  const Tensor x = matrix("x");
  std::atomic<int> wrong{0};
  const std::int64_t before = compilation_count();
  on_threads(4, [&](int k) {
    for (int round = 0; round < 3; ++round) {
      const Tensor y = tanh(dot(x, w) * (k + 1)) + round;
      const Tensor cost = sum(y * y);
      const auto f = function({x}, {y, grad(cost, x)});
      const Array value = Array::normal({17, 5}, static_cast<std::uint64_t>(k));
      const auto [have, gradient] = f(value);
      if (!difference(expected(y, {{x, value}}), have).empty()) ++wrong;
      if (!difference(expected(grad(cost, x), {{x, value}}), gradient, {1e-5, 1e-12}).empty()) {
        ++wrong;
      }
    }
  });
  CHECK(wrong == 0);
  CHECK(compilation_count() == before + 12);
}

TEST_CASE("threads: errors of calls on several at once") {
  const Shared table = shared(Array::zeros({17}), "table");
  const Tensor ids = vector("ids", i64);
  const auto f =
      function({ids}, {.updates = {{table, table + scatter_add(ones({ids.shape(0)}), ids, {17})}}});
  std::atomic<int> errors{0};
  on_threads(4, [&](int k) {
    for (int call = 0; call < 50; ++call) {
      try {
        f(Array::full({3}, k % 2 == 0 ? 17 : 16, i64));
      } catch (const ValueError&) {
        ++errors;
      }
    }
  });
  CHECK(errors == 100);
  CHECK(table.get_value().data<float>()[16] == 300);
}

TEST_CASE("threads: who updates gets in while others read without a pause") {
  const Shared w = shared(Array::zeros({100}, i64), "w");
  const Shared v = shared(Array::zeros({3}, i64), "v");
  const auto read = function({}, {sum(w), sum(v)});
  const auto update = function({}, {.updates = {{w, w + 1}}});
  std::atomic<int> overtakings{0}, updated{0};
  constexpr int updates = 200;
  on_threads(5, [&](int k) {
    if (k == 0) {
      for (int call = 0; call < updates; ++call) {
        update();
        ++updated;
      }
      return;
    }
    // What waits when a call begins has been done when it reads: at least as many updates as were
    // done before it, and one more if one was waiting.
    while (updated < updates) {
      const int done = updated;
      const bool waits = HeldLocks::waiting_exclusively() > 0;
      const auto [sum_w, sum_v] = read();
      if (sum_w.item<std::int64_t>() < 100 * (done + (waits ? 1 : 0))) ++overtakings;
    }
  });
  CHECK(overtakings == 0);
  CHECK(w.get_value().data<std::int64_t>()[0] == updates);
}
