// The small runtime of ahead-of-time functions, and functions that use it.
#include <doctest/doctest.h>
#include <kroton/aot_runtime.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>

#include "runtime/abi.h"
#include "runtime/float_environment.h"
#include "tests/aot/aot_tools.h"

using namespace aot_tools;

namespace {

using Context = std::unique_ptr<kroton_context, decltype(&kroton_context_destroy)>;

Context make_context(std::int64_t threads) {
  Context context(kroton_context_create(threads), kroton_context_destroy);
  REQUIRE(context != nullptr);
  return context;
}

}  // namespace

TEST_CASE("threads: contexts of ahead-of-time functions split a loop as the abi says") {
  struct Seen {
    std::vector<std::int64_t> worker;  // by element
    std::atomic<int> calls{0};
  };
  for (const std::int64_t threads : {1, 2, 3, 7}) {
    const Context context = make_context(threads);
    CHECK(kroton_context_threads(context.get()) == threads);
    for (const std::int64_t extent : {0, 1, 3, 17, 1000}) {
      for (int repeat = 0; repeat < 20; ++repeat) {
        Seen seen;
        seen.worker.assign(static_cast<std::size_t>(extent), -1);
        const auto body = [](void* env, std::int64_t worker, std::int64_t begin, std::int64_t end) {
          auto& s = *static_cast<Seen*>(env);
          ++s.calls;
          for (std::int64_t k = begin; k < end; ++k) s.worker[static_cast<std::size_t>(k)] = worker;
          return std::int32_t{0};
        };
        CHECK(context->parallel_for(context.get(), body, &seen, extent) == 0);
        CHECK(seen.calls == std::min(threads, extent));
        for (std::int64_t w = 0; w < threads; ++w) {
          for (std::int64_t k = extent * w / threads; k < extent * (w + 1) / threads; ++k) {
            if (seen.worker[static_cast<std::size_t>(k)] != w) FAIL("element ", k);
          }
        }
      }
    }
  }
}

TEST_CASE("threads: a loop of an ahead-of-time context gives the lowest worker's error") {
  const Context context = make_context(4);
  const auto body = [](void*, std::int64_t worker, std::int64_t, std::int64_t) {
    return static_cast<std::int32_t>(worker == 0 ? 0 : 10 + worker);
  };
  CHECK(context->parallel_for(context.get(), body, nullptr, 100) == 11);
}

TEST_CASE("threads: a loop inside a loop of an ahead-of-time context") {
  const Context context = make_context(3);
  struct Both {
    kroton_context* context;
    std::atomic<std::int64_t> sum{0};
  } both{context.get(), {}};
  const auto outer = [](void* env, std::int64_t, std::int64_t begin, std::int64_t end) {
    auto& b = *static_cast<Both*>(env);
    const auto inner = [](void* inner_env, std::int64_t, std::int64_t first, std::int64_t last) {
      static_cast<Both*>(inner_env)->sum += last - first;
      return std::int32_t{0};
    };
    for (std::int64_t k = begin; k < end; ++k) b.context->parallel_for(b.context, inner, env, 10);
    return std::int32_t{0};
  };
  CHECK(context->parallel_for(context.get(), outer, &both, 17) == 0);
  CHECK(both.sum == 170);
}

#if defined(__x86_64__)
TEST_CASE("threads: helpers of an ahead-of-time context compute in their caller's environment") {
  struct Seen {
    std::uint64_t wanted;
    std::atomic<int> same{0};
  };
  const kroton_float_environment before = kroton_get_float_environment();
  const Context context = make_context(3);  // its helpers begin with the environment of now
  for (const std::uint64_t mode : {0x8000, 0x2000, 0x4000, 0}) {
    kroton_set_float_environment({before.control | mode, 0});
    Seen seen{before.control | mode, {}};
    const auto body = [](void* env, std::int64_t worker, std::int64_t, std::int64_t) {
      auto& s = *static_cast<Seen*>(env);
      const kroton_float_environment now = kroton_get_float_environment();
      if (now.control == s.wanted && now.flags == 0) ++s.same;
      if (worker == 2) kroton_add_float_flags(0x08);  // overflow
      return std::int32_t{0};
    };
    context->parallel_for(context.get(), body, &seen, 3);
    const kroton_float_environment after = kroton_get_float_environment();
    kroton_set_float_environment(before);
    CHECK(seen.same == 3);
    CHECK(after.control == seen.wanted);
    CHECK(after.flags == 0x08);
  }
}
#endif

TEST_CASE("threads: contexts of ahead-of-time functions refuse impossible numbers") {
  CHECK(kroton_context_create(-1) == nullptr);
  CHECK(errno == EINVAL);
  CHECK(kroton_context_create(5000) == nullptr);
  CHECK(errno == EINVAL);
  const Context all = make_context(0);
  CHECK(kroton_context_threads(all.get()) >= 1);
  kroton_context_destroy(nullptr);
}

TEST_CASE("threads: an ahead-of-time function gives the same bits on any number of them") {
  const TemporaryDirectory directory;
  const auto x = kt::tensor("x", {kt::dim("batch"), 300});
  const auto w = kt::shared(kt::Array::normal({300, 200}, 1), "w");
  const auto loss = kt::mean(kt::square(kt::tanh(kt::dot(x, w))));
  const std::vector<kt::Update> updates{{w, w - 0.1 * kt::grad(loss, w)}};
  const kt::aot::Files threaded = kt::aot::write(
      {x}, loss,
      {.updates = updates, .name = "threaded", .directory = directory.path(), .threads = true});
  const kt::aot::Files serial = kt::aot::write(
      {x}, loss, {.updates = updates, .name = "serial", .directory = directory.path()});
  const Linked with(threaded.object);
  const Linked without(serial.object);
  const kt::Array xs = kt::Array::normal({37, 300}, 2);
  const auto* const data = static_cast<const float*>(xs.raw());

  const Block expected(300 * 200 * sizeof(float));
  float expected_losses[3];
  {
    float* state[1];
    REQUIRE(without.function<int(float**, void*)>("serial_state_init")(state, expected.data()) ==
            0);
    const Block arena(without.function<std::size_t(std::int64_t)>("serial_arena_bytes")(37));
    for (float& l : expected_losses) {
      REQUIRE(
          without.function<int(std::int64_t, const float*, float**, float*, void*, std::size_t)>(
              "serial")(37, data, state, &l, arena.data(), arena.size()) == 0);
    }
  }
  CHECK(expected_losses[2] < expected_losses[0]);
  for (const std::int64_t threads : {1, 2, 3, 5}) {
    CAPTURE(threads);
    const Context context = make_context(threads);
    const Block values(300 * 200 * sizeof(float));
    float* state[1];
    REQUIRE(with.function<int(float**, void*)>("threaded_state_init")(state, values.data()) == 0);
    const Block arena(with.function<std::size_t(const kroton_context*, std::int64_t)>(
        "threaded_arena_bytes")(context.get(), 37));
    for (const float l : expected_losses) {
      float loss_here = 0;
      REQUIRE(with.function<int(kroton_context*, std::int64_t, const float*, float**, float*, void*,
                                std::size_t)>("threaded")(
                  context.get(), 37, data, state, &loss_here, arena.data(), arena.size()) == 0);
      CHECK(loss_here == l);
    }
    CHECK(std::memcmp(values.data(), expected.data(), values.size()) == 0);
  }
  const int code =
      with.function<int(kroton_context*, std::int64_t, const float*, float**, float*, void*,
                        std::size_t)>("threaded")(nullptr, 37, data, nullptr, nullptr, nullptr, 0);
  CHECK(std::string(with.function<const char*(int)>("threaded_error")(code)) ==
        "threaded: context is a null pointer");
  CHECK(with.function<std::size_t(const kroton_context*, std::int64_t)>("threaded_arena_bytes")(
            nullptr, 37) == 0);
}
