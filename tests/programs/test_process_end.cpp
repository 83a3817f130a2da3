// Functions at the end of the process, in static destructors and after fork.
#include <doctest/doctest.h>
#include <kroton/kroton.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <optional>
#include <ostream>
#include <streambuf>
#include <thread>

#include "tests/tools/cache_tools.h"
#include "tests/tools/own_process.h"

namespace kt = kroton;
using cache_test::Setting;

namespace {

// A training step; another function for each number.
kt::Function<1> make_step(int number) {
  auto x = kt::matrix("x");
  auto w = kt::shared(kt::Array::full({5, 3}, 0.5F), "w");
  auto loss = kt::mean(kt::square(kt::softmax(kt::dot(x, w) * (number + 1.5))));
  return kt::function({x}, loss, {.updates = {{w, w - 0.1 * kt::grad(loss, w)}}});
}

bool works(const kt::Function<1>& step) {
  const auto loss = step(kt::Array::ones({17, 5})).item<float>();
  return loss > 0.1F && loss < 0.2F;  // 1/9 for equal columns
}

// A function that is destroyed with the static objects, and before it one that does then what the
// process has asked for.
std::optional<kt::Function<1>> static_step;
struct AtEnd {
  std::function<void()> action;
  ~AtEnd() {
    if (action) action();
  }
} at_end;

void must(bool holds, int code) {
  if (!holds) std::_Exit(code);
}

}  // namespace

TEST_CASE("process end: exit while other threads compile") {
  if (const std::string role = own_process::role(); !role.empty()) {
    std::atomic<int> compiled{0};
    for (int k = 0; k < 2; ++k) {
      std::thread([&compiled, k] {
        for (int number = k;; number += 2) {
          must(works(make_step(number)), 3);
          ++compiled;
        }
      }).detach();
    }
    // In the middle of the first compilations, or of later ones.
    const int wait = std::stoi(role);
    while (compiled < wait / 100) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(wait % 100));
    std::exit(0);
  }
  for (const std::string wait : {"0", "7", "15", "25", "40", "60", "105", "235"}) {
    CAPTURE(wait);
    CHECK(own_process::run("process end: exit while other threads compile", wait) == 0);
  }
}

TEST_CASE("process end: in a static destructor functions are called, and none is made") {
  if (!own_process::role().empty()) {
    static_step = make_step(1);
    must(works(*static_step), 3);
    at_end.action = [] {
      must(works(*static_step), 4);
      // Expressions, gradients, arrays and values of shared variables are there as ever.
      auto x = kt::matrix("x");
      auto w = kt::shared(kt::Array::ones({5}), "w");
      auto loss = kt::sum(kt::square(kt::dot(x, w))) + kt::sum(kt::log(kt::softmax(x)));
      must(kt::grad(loss, w).shape() == w.shape(), 5);
      w.set_value(kt::Array::zeros({5}));
      must(w.get_value().data<float>()[4] == 0, 6);
      try {
        kt::function({x}, loss);
      } catch (const kt::ValueError& error) {
        must(std::string(error.what()) ==
                 "function: the process is ending: functions are made before main returns or exit "
                 "is called",
             7);
        return;
      }
      std::_Exit(8);
    };
    std::exit(0);
  }
  CHECK(own_process::run("process end: in a static destructor functions are called*", "ends") == 0);
}

TEST_CASE("process end: the first function of a process is made in a static destructor") {
  if (!own_process::role().empty()) {
    at_end.action = [] { must(works(make_step(1)), 3); };
    std::exit(0);
  }
  CHECK(own_process::run("process end: the first function of a process*", "ends") == 0);
}

TEST_CASE("process end: exit after functions from the cache") {
  if (!own_process::role().empty()) {
    ::setenv("KROTON_CACHE", std::getenv("KROTON_TEST_CACHE"), 1);
    static_step = make_step(1);
    std::thread([] {
      for (;;) must(works(make_step(1)), 3);
    }).detach();
    must(works(*static_step), 3);
    std::exit(0);
  }
  const TemporaryDirectory directory;
  const Setting here("KROTON_TEST_CACHE", directory.path());
  for (int k = 0; k < 3; ++k) {
    CHECK(own_process::run("process end: exit after functions from the cache", "ends") == 0);
  }
}

TEST_CASE("process end: the child of a fork while another thread updates") {
  // A stream that holds the call that prints to it until the test lets it go on.
  struct Gate : std::streambuf {
    std::atomic<bool> entered{false}, open{false};
    int_type overflow(int_type c) override { return pass() ? c : traits_type::eof(); }
    std::streamsize xsputn(const char*, std::streamsize n) override { return pass() ? n : 0; }
    bool pass() {
      entered = true;
      while (!open) std::this_thread::yield();
      return true;
    }
  } gate;
  std::ostream stream(&gate);
  auto w = kt::shared(kt::Array::ones({3}), "w");
  auto read = kt::shared(kt::Array::ones({3}), "read");
  auto other = kt::shared(kt::Array::ones({3}), "other");
  const auto update =
      kt::function({}, {.updates = {{w, kt::print(w + read, "w")}}, .name = "update"});
  const auto sum_w = kt::function({}, kt::sum(w), {.name = "sum_w"});
  const auto change = kt::function({}, {.updates = {{other, other + read}, {read, read + 1}}});
  std::ostream& before = kt::set_print_stream(stream);
  std::thread updating([&] { update(); });
  while (!gate.entered) std::this_thread::yield();
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);
    const auto refused = [](const auto& action, const std::string& who) {
      try {
        action();
      } catch (const kt::ValueError& error) {
        return error.what() ==
               who +
                   ": w was being updated by another thread when this process was forked: its "
                   "value here is not known";
      }
      return false;
    };
    if (!refused([&] { sum_w(); }, "sum_w")) ::_exit(1);
    if (!refused([&] { w.get_value(); }, "get_value")) ::_exit(2);
    if (!refused([&] { w.set_value(kt::Array::zeros({3})); }, "set_value")) ::_exit(3);
    change();  // what the other thread only read
    if (other.get_value().data<float>()[2] != 2) ::_exit(4);
    kt::set_print_stream(before);  // which the other thread writes to in the parent only
    ::_exit(0);
  }
  gate.open = true;
  updating.join();
  kt::set_print_stream(before);
  REQUIRE(child > 0);
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(sum_w().item<float>() == 6);
}
