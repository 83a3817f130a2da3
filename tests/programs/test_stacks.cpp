// Small stacks: whatever the depth of an expression, a thread with 64 KB builds, differentiates,
// compiles and frees it, and a call needs less than 16 KB.
#include <doctest/doctest.h>
#include <kroton/error.h>
#include <kroton/kroton.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cfenv>
#include <cmath>
#include <exception>
#include <functional>
#include <limits>
#include <sstream>

#include "tests/tools/error_text.h"
#include "tests/tools/left_out.h"

namespace kt = kroton;

namespace {

constexpr std::size_t small_stack = std::size_t{64} << 10;

#if defined(__SANITIZE_ADDRESS__)
constexpr bool has_larger_frames = true;
#elif defined(__has_feature)
constexpr bool has_larger_frames = __has_feature(address_sanitizer);
#else
constexpr bool has_larger_frames = false;
#endif

struct Work {
  const std::function<void()>& body;
  std::byte* lowest;  // of the stack
  std::size_t used = 0;
  std::exception_ptr error;
};

void* run(void* argument) {
  Work& work = *static_cast<Work*>(argument);
  std::byte here{};
  try {
    work.body();
  } catch (...) {
    work.error = std::current_exception();
  }
  // What nobody has written to is zero.
  const std::byte* touched = work.lowest;
  while (touched < &here && *touched == std::byte{0}) ++touched;
  work.used = static_cast<std::size_t>(&here - touched);
  return nullptr;
}

// Runs it on a thread with so much stack; what lies below ends the process when it is touched.
// Returns how much of it was used.
std::size_t on_stack(std::size_t bytes, const std::function<void()>& body) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  void* const memory =
      ::mmap(nullptr, bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  REQUIRE(::mprotect(memory, page, PROT_NONE) == 0);
  Work work{body, static_cast<std::byte*>(memory) + page, 0, nullptr};
  pthread_attr_t attributes;
  REQUIRE(::pthread_attr_init(&attributes) == 0);
  REQUIRE(::pthread_attr_setstack(&attributes, work.lowest, bytes) == 0);
  pthread_t thread{};
  REQUIRE(::pthread_create(&thread, &attributes, run, &work) == 0);
  ::pthread_join(thread, nullptr);
  ::pthread_attr_destroy(&attributes);
  ::munmap(memory, bytes + page);
  if (work.error) std::rethrow_exception(work.error);
  return work.used;
}

// The expression of so many operations.
kt::Tensor chain(const kt::Tensor& x, int operations) {
  kt::Tensor y = x;
  for (int k = 0; k < operations; ++k) y = k % 2 == 0 ? kt::sin(y) : y * x;
  return y;
}

}  // namespace

TEST_CASE("stacks: 64 KB are enough for expressions of any depth") {
  for (const int operations : {20, 200, 2000}) {
    CAPTURE(operations);
    float value = 0, slope = 0;
    on_stack(small_stack, [&] {
      const auto x = kt::scalar("x");
      const auto y = chain(x, operations);
      const auto f = kt::function({x}, {y, kt::grad(y, x)});
      const auto [ys, slopes] = f(0.5);
      value = ys.item<float>();
      slope = slopes.item<float>();
    });
    float expected = 0.5F;
    float expected_slope = 1;
    for (int k = 0; k < operations; ++k) {
      expected_slope =
          k % 2 == 0 ? expected_slope * std::cos(expected) : expected_slope * 0.5F + expected;
      expected = k % 2 == 0 ? std::sin(expected) : expected * 0.5F;
    }
    CHECK(value == doctest::Approx(expected));
    CHECK(slope == doctest::Approx(expected_slope));
  }
}

TEST_CASE("stacks: 10,000 operations") {
  on_stack(small_stack, [] {
    const auto x = kt::scalar("x");
    kt::Tensor y = x;
    for (int k = 0; k < 10000; ++k) y = k % 2 == 0 ? y + x : y * 0.5F;
    const auto f = kt::function({x}, {y, kt::grad(y, x)});
    CHECK(f(1.0)[0].item<float>() == doctest::Approx(1.0));
  });
}

TEST_CASE("stacks: what else walks through expressions") {
  on_stack(small_stack, [] {
    const auto x = kt::vector("x");
    const auto w = kt::shared(kt::Array::ones({3}), "w");
    const auto y =
        kt::scan([&](kt::Tensor row, kt::Tensor total) { return chain(total, 60) + row; },
                 {.sequences = {x}, .outputs_info = {kt::zeros({})}});
    const auto loss = kt::sum(chain(x * w, 60)) + kt::sum(y);
    const auto v = kt::vjp({loss}, {x}, {kt::ones({})});
    const auto f =
        kt::function({x}, {loss, v[0]}, {.updates = {{w, w - kt::grad(loss, w)}}, .profile = true});
    const kt::Array three = kt::Array::ones({3});
    f(three);
    std::ostringstream text;
    f.print(text);
    text << f.dot() << f.profile() << f.memory(three).arena;
    CHECK(text.str().size() > 1000);
    kt::verify_grad(kt::sum(chain(x, 10)), {{x, three}});
  });
}

TEST_CASE("stacks: errors come to the caller, with the caller's line") {
  on_stack(small_stack, [] {
    const auto x = kt::vector("x");
    const auto y = kt::vector("y");
    CHECK(error_text::value_error([&] { kt::function({x}, x + y); }).find("variable y") !=
          std::string::npos);
    CHECK(error_text::shape_error([&] { kt::grad(x, x); }) ==
          "grad: expected a scalar cost: x is f32 (x.shape[0],)  [here]");
    CHECK(error_text::value_error([&] {
            kt::aot::write({x}, x, {.name = "for"});
          }).find("keyword") != std::string::npos);
  });
}

TEST_CASE("stacks: a call needs less than 16 KB") {
  if (has_larger_frames) {
    leave_out("stacks of calls", "a sanitizer's frames are larger");
    return;
  }
  const auto x = kt::matrix("x");
  const auto ids = kt::vector("ids", kt::i64);
  const auto n = kt::scalar("n", kt::i64);
  const auto w = kt::shared(kt::Array::normal({64, 64}, 1), "w");
  const kt::Tensor deep = chain(x, 300);
  const auto hidden = kt::tanh(kt::dot(x, w));
  const auto loss = kt::sum(kt::log(kt::softmax(hidden)));
  const auto walk = kt::scan([&](kt::Tensor h) { return kt::tanh(kt::dot(h, w)); },
                             {.outputs_info = {x}, .n_steps = 5});
  const std::vector<std::vector<kt::Tensor>> outputs{
      {kt::exp(x)},
      {kt::sum(x), kt::sum(x, 0), kt::argmax(x, 1), kt::var(x)},
      {kt::softmax(x), kt::log_softmax(x, 0)},
      {hidden, kt::dot(kt::transpose(x), x)},
      {loss, kt::grad(loss, x)},
      {walk, kt::grad(kt::sum(walk), x)},
      {kt::ifelse(kt::sum(x) > 0, kt::exp(x), kt::sin(x))},
      {kt::concatenate({x, kt::transpose(kt::transpose(x))}), kt::pad(x, {{1, 1}, {2, 2}})},
      {deep, kt::grad(kt::sum(deep), x)},
  };
  const kt::Array values = kt::Array::normal({64, 64}, 2);
  const kt::Array one = kt::Array::normal({1, 64}, 2);
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    CAPTURE(k);
    const auto f = kt::function({x}, outputs[k]);
    // The first call makes what later ones find: a frame, the threads.
    CHECK(on_stack(small_stack, [&] { f(values); }) < (16 << 10));
    CHECK(on_stack(small_stack, [&] { f(one); }) < (16 << 10));
    CHECK(on_stack(small_stack, [&] { f(values); }) < (16 << 10));
  }
  const auto update = kt::function({x}, {.updates = {{w, w - kt::grad(loss, w)}}});
  CHECK(on_stack(small_stack, [&] { update(values); }) < (16 << 10));
  const auto rows = kt::function({x, ids}, kt::take(x, ids));
  CHECK(on_stack(small_stack, [&] { rows(values, kt::Array::zeros({5}, kt::i64)); }) < (16 << 10));
  CHECK(on_stack(small_stack, [&] {
          CHECK_THROWS_AS(rows(values, kt::Array::full({5}, 64, kt::i64)), kt::ValueError);
        }) < (16 << 10));
}

TEST_CASE("compiling is the same in every floating-point environment, and raises nothing") {
  const auto x = kt::scalar("x", kt::f64);
  // Folded when the function is made: 1/3 rounded to nearest, and divisions by zero.
  const auto third = kt::cast(kt::full({}, 1), kt::f64) / kt::cast(kt::full({}, 3), kt::f64);
  const auto infinite = kt::cast(kt::full({}, 1), kt::f64) / kt::cast(kt::full({}, 0), kt::f64);
  std::fenv_t before;
  REQUIRE(std::fegetenv(&before) == 0);
  REQUIRE(::feenableexcept(FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW) != -1);
  std::fesetround(FE_UPWARD);
  const auto f = kt::function({x}, {third * x, kt::maximum(infinite, x)});
  CHECK(std::fegetround() == FE_UPWARD);
  std::fesetenv(&before);
  const auto [a, b] = f(1.0);
  CHECK(a.item<double>() == 1.0 / 3.0);
  CHECK(b.item<double>() == std::numeric_limits<double>::infinity());
}
