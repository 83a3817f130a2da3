// KROTON_TUNE: several ways to the same results, the fastest of which is found out once. On the
// driver of the tests, which tells the times that a test asks for.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <set>

#include "compiler/codegen/cuda/choices.h"
#include "runtime/cache.h"
#include "tests/fake_driver/process.h"
#include "tests/tools/cache_tools.h"

namespace kt = kroton;
namespace fs = std::filesystem;
using fake_driver::Process;
using kroton::codegen::fastest;
using kroton::codegen::forget_choices;
using kroton::codegen::keep_choice;
using kroton::codegen::known_choice;

namespace {

// A process that tunes, with a cache of its own.
struct Tuning {
  TemporaryDirectory directory;
  cache_test::Setting tune{"KROTON_TUNE", "1"};
  cache_test::Setting cache{"KROTON_CACHE", directory.path()};
  Tuning() { forget_choices(); }
};

// Kernels and products of the library so far.
using Ran = std::pair<int, int>;
Ran ran(const Process& process) { return {process->kernels(), process->products()}; }

int timings(const Process& process) { return process->calls("cuEventElapsedTime"); }

// How often each candidate is timed where all of them are about as fast: once to warm up, once to
// see, and in three rounds.
constexpr int timings_of_each = 5;

// Puts that candidate in the place of what the cache has of a choice.
void choose(const TemporaryDirectory& directory, int candidate) {
  const kroton::Cache cache = kroton::Cache::from_environment();
  int choices = 0;
  for (const fs::path& entry : cache_test::entries(directory)) {
    const std::string name = entry.stem().string();
    kroton::Digest key{};
    for (std::size_t k = 0; k < key.size(); ++k) {
      key[k] = static_cast<std::uint8_t>(std::stoi(name.substr(2 * k, 2), nullptr, 16));
    }
    const std::string text = cache.load(key).value();
    if (!text.starts_with("kroton choice 1: ")) continue;
    ++choices;
    REQUIRE(cache.store(key, "kroton choice 1: " + std::to_string(candidate)));
  }
  REQUIRE(choices == 1);
}

// `use` makes a function with one choice, calls it twice or more and checks what comes out; once
// with each candidate. What the last call ran, for each.
std::vector<Ran> with_each_candidate(const Process& process, const std::function<Ran()>& use) {
  const Tuning tuning;
  process->times(std::vector<float>(200, 1.0F));
  int before = timings(process);
  std::vector<Ran> all{use()};
  process->times({});
  const int count = (timings(process) - before) / timings_of_each;
  REQUIRE(timings(process) - before == count * timings_of_each);
  before = timings(process);
  for (int k = 1; k < count; ++k) {
    CAPTURE(k);
    choose(tuning.directory, k);
    forget_choices();
    all.push_back(use());
  }
  CHECK(timings(process) == before);
  return all;
}

struct Layer {
  kt::Tensor x = kt::matrix("x");
  kt::Array w = kt::Array::normal({130, 17}, 1);
  kt::Tensor y = kt::relu(kt::dot(x, kt::constant(w)));
  kt::Function<1> on(const kt::Target& target) const {
    return kt::function({x}, y, {.name = "layer", .target = target});
  }
};

}  // namespace

TEST_CASE("tuning: candidates are timed at the first call of each size and no more") {
  const Process process;
  if (!process) return;
  const Tuning tuning;
  const Layer layer;
  const auto f = layer.on(kt::cuda()), want = layer.on(kt::cpu());
  int timed = timings(process);
  for (const std::int64_t rows : {5, 3}) {
    for (int call = 0; call < 4; ++call) {
      CAPTURE(call);
      const kt::Array x = kt::Array::normal({rows, 130}, static_cast<std::uint64_t>(rows + call));
      CHECK(kt::all_close(f(x), want(x), 1e-4, 1e-4));
      CHECK((timings(process) > timed) == (call == 0));
      timed = timings(process);
    }
  }
  // What is known is captured.
  CHECK(process->calls("cuGraphLaunch") == 6);
  f(kt::Array::ones({5, 130}));
  f(kt::Array::ones({0, 130}));
  CHECK(timings(process) == timed);
}

TEST_CASE("tuning: every candidate of a product gives its results") {
  const Process process;
  if (!process) return;
  const Layer layer;
  const auto want = layer.on(kt::cpu());
  for (const bool products : {true, false}) {
    kt::Target target = kt::cuda();
    target.products = products;
    const std::vector<Ran> all = with_each_candidate(process, [&] {
      const auto f = layer.on(target);
      Ran last;
      for (int call = 0; call < 2; ++call) {
        const kt::Array x = kt::Array::normal({5, 130}, 7);
        const Ran before = ran(process);
        CHECK(kt::all_close(f(x), want(x), 1e-4, 1e-4));
        last = {process->kernels() - before.first, process->products() - before.second};
      }
      return last;
    });
    const std::set<Ran> kinds(all.begin(), all.end());
    // One kernel, two that share out the inner elements, the library and a kernel behind it.
    CHECK(kinds.count({1, 0}) == 1);
    CHECK(kinds.count({2, 0}) == 1);
    CHECK(kinds.count({1, 1}) == (products ? 1 : 0));
    CHECK(all.size() >= 4);
  }
}

TEST_CASE("tuning: the algorithms of the library are candidates too and the choice stands") {
  const Process process;
  if (!process) return;
  const Tuning tuning;
  const auto x = kt::matrix("x"), y = kt::matrix("y");
  const kt::Array xs = kt::Array::normal({5, 130}, 1), ys = kt::Array::normal({130, 17}, 2);
  const kt::Array want = kt::function({x, y}, kt::dot(x, y))(xs, ys);
  const auto run = [&](int first) {
    const auto f = kt::function({x, y}, kt::dot(x, y), {.target = kt::cuda()});
    for (int call = 0; call < 3; ++call) {
      const int products = process->products();
      CHECK(kt::all_close(f(xs, ys), want, 1e-4, 1e-4));
      if (call > 0) CHECK(process->products() == products + 1);
      CHECK(process->algorithm() == first);
    }
  };
  // The last one that there is is the fastest: all are timed once and once more, then in rounds.
  const int before = timings(process);
  {
    const cache_test::Setting off("KROTON_CACHE", "off");
    process->times(std::vector<float>(200, 1.0F));
    run(0);
    process->times({});
  }
  const int count = (timings(process) - before) / timings_of_each;
  REQUIRE(timings(process) - before == count * timings_of_each);
  std::vector<float> times;
  for (int k = 0; k < 2 * count; ++k) times.push_back(k / 2 == count - 1 ? 0.5F : 1.0F);
  for (int k = 0; k < 3 * count; ++k) times.push_back(k % count == count - 1 ? 0.5F : 1.0F);
  process->times(times);
  forget_choices();
  run(2);
  process->times({});
  forget_choices();  // from the cache
  const int timed = timings(process);
  run(2);
  CHECK(timings(process) == timed);
  // One that the library does not have any more is the first.
  for (const int candidate : {count, count + 4}) {
    choose(tuning.directory, candidate);
    forget_choices();
    const auto f = kt::function({x, y}, kt::dot(x, y), {.target = kt::cuda()});
    CHECK(kt::all_close(f(xs, ys), want, 1e-4, 1e-4));
  }
  CHECK(timings(process) == timed);
}

TEST_CASE("tuning: what a candidate updates in place is updated once") {
  const Process process;
  if (!process) return;
  const auto x = kt::matrix("x"), g = kt::matrix("g");
  const kt::Array start = kt::Array::normal({5, 17}, 1);
  const kt::Array xs = kt::Array::normal({130, 5}, 2), gs = kt::Array::normal({130, 17}, 3);
  const auto steps = [&](const kt::Target& target) {
    auto w = kt::shared(start, "w");
    const auto step = kt::function(
        {x, g}, {.updates = {{w, w - 0.1 * kt::dot(kt::transpose(x), g)}}, .target = target});
    Ran last;
    for (int call = 0; call < 3; ++call) {
      const Ran before = ran(process);
      step(xs, gs);
      kt::synchronize(kt::cuda());
      last = {process->kernels() - before.first, process->products() - before.second};
    }
    return std::pair(w.get_value(), last);
  };
  const kt::Array want = steps(kt::cpu()).first;
  const std::vector<Ran> all = with_each_candidate(process, [&] {
    const auto [have, last] = steps(kt::cuda());
    CHECK(kt::all_close(have, want, 1e-4, 1e-4));
    return last;
  });
  CHECK(all.front() == Ran{0, 1});
  CHECK(all.size() >= 3);
}

TEST_CASE("tuning: every candidate of a convolution gives its results") {
  const Process process;
  if (!process) return;
  const auto x = kt::tensor("x", {3, 2, 7, 8}), w = kt::tensor("w", {17, 2, 3, 3});
  const auto y = kt::relu(kt::conv2d(x, w, {.stride = {1}, .padding = {1}}));
  const kt::Array xs = kt::Array::normal({3, 2, 7, 8}, 1), ws = kt::Array::normal({17, 2, 3, 3}, 2);
  const kt::Array gs = kt::Array::normal({3, 17, 7, 8}, 3);
  const auto by_filters =
      kt::grad(kt::sum(kt::conv2d(x, w, {.padding = {1}}) * kt::constant(gs)), w);
  for (const kt::Tensor& result : {y, by_filters}) {
    const auto make = [&](const kt::Target& target) {
      return kt::function({x, w}, result,
                          {.target = target, .on_unused_input = kt::UnusedInput::ignore});
    };
    const kt::Array want = make(kt::cpu())(xs, ws);
    const std::vector<Ran> all = with_each_candidate(process, [&] {
      const auto f = make(kt::cuda());
      for (int call = 0; call < 2; ++call) CHECK(kt::all_close(f(xs, ws), want, 1e-4, 1e-4));
      return Ran{};
    });
    CHECK(all.size() >= 3);
  }
}

TEST_CASE("tuning: a product inside a scan is timed in its first step") {
  const Process process;
  if (!process) return;
  const Tuning tuning;
  const auto x = kt::tensor("x", {3, 32, 160});
  const auto w = kt::constant(kt::Array::normal({160, 160}, 1));
  const auto make = [&](const kt::Target& target) {
    const auto h = kt::scan(
        [&](const kt::Tensor& row, const kt::Tensor& before) {
          return kt::tanh(kt::dot(before, w) * 0.05 + row);
        },
        {.sequences = {x}, .outputs_info = {kt::zeros({32, 160})}});
    return kt::function({x}, kt::sum(h, {0}), {.target = target});
  };
  const kt::Array xs = kt::Array::normal({3, 32, 160}, 2);
  const auto f = make(kt::cuda()), want = make(kt::cpu());
  const kt::Array first = f(xs);
  CHECK(timings(process) > 0);
  const int timed = timings(process);
  CHECK(kt::all_close(first, want(xs), 1e-3, 1e-3));
  for (int call = 0; call < 3; ++call) CHECK(kt::array_equal(f(xs), first));
  CHECK(timings(process) == timed);
  CHECK(process->calls("cuGraphLaunch") > 0);
}

TEST_CASE("tuning: the choice is kept in the cache by device and driver and survives damage") {
  const Process process;
  if (!process) return;
  const Tuning tuning;
  const Layer layer;
  const kt::Array x = kt::Array::normal({5, 130}, 1);
  // What another process gives.
  const auto again = [&] {
    forget_choices();
    const int before = timings(process);
    const auto f = layer.on(kt::cuda());
    const kt::Array y = f(x);
    const int timed = timings(process) - before;
    CHECK(kt::array_equal(f(x), y));
    return std::pair(y, timed);
  };
  CHECK(again().second > 0);
  choose(tuning.directory, 3);
  const auto [first, timed] = again();
  CHECK(timed == 0);
  for (int k = 0; k < 2; ++k) {
    const auto [y, none] = again();
    CHECK(none == 0);
    CHECK(kt::array_equal(y, first));
  }
  // Every entry damaged: all is found out anew.
  for (const fs::path& entry : cache_test::entries(tuning.directory)) {
    std::ofstream(entry, std::ios::in | std::ios::out | std::ios::binary).seekp(90) << "x";
  }
  const auto [y, more] = again();
  CHECK(more > 0);
  CHECK(kt::all_close(y, first, 1e-4, 1e-4));
  CHECK(again().second == 0);
  const cache_test::Setting off("KROTON_TUNE", std::nullopt);
  CHECK(again().second == 0);
}

TEST_CASE("tuning: a candidate that the device refuses is out") {
  const Process process;
  if (!process) return;
  const Tuning tuning;
  const Layer layer;
  const kt::Array x = kt::Array::normal({5, 130}, 1);
  const kt::Array want = layer.on(kt::cpu())(x);
  constexpr int out_of_resources = 701, out_of_memory = 2;
  for (const int n : {2, 3}) {
    CAPTURE(n);
    const cache_test::Setting off("KROTON_CACHE", "off");
    forget_choices();
    const auto f = layer.on(kt::cuda());
    process->fail_call("cuLaunchKernel", n, out_of_resources);
    CHECK(kt::all_close(f(x), want, 1e-4, 1e-4));
    CHECK(kt::all_close(f(x), want, 1e-4, 1e-4));
  }
  // No room to time anything in: as the model chooses, until there is.
  forget_choices();
  const auto f = layer.on(kt::cuda());
  f(x);
  const int before = timings(process);
  const kt::Array fewer = kt::Array::normal({2, 130}, 1), want_fewer = layer.on(kt::cpu())(fewer);
  process->fail_call("cuMemAlloc_v2", 1, out_of_memory);
  CHECK(kt::all_close(f(fewer), want_fewer, 1e-4, 1e-4));
  CHECK(timings(process) == before);
  CHECK(kt::all_close(f(fewer), want_fewer, 1e-4, 1e-4));
  CHECK(timings(process) > before);
}

TEST_CASE("tuning: where a check has failed nothing is kept") {
  const Process process;
  if (!process) return;
  const Tuning tuning;
  const auto table = kt::constant(kt::Array::normal({7, 130}, 1));
  const auto rows = kt::tensor("rows", {kt::dim("n")}, kt::i64);
  const auto w = kt::constant(kt::Array::normal({130, 17}, 2));
  const auto make = [&](const kt::Target& target) {
    return kt::function({rows}, kt::relu(kt::dot(kt::tanh(kt::take(table, rows, 0)), w)),
                        {.target = target});
  };
  const auto f = make(kt::cuda()), want = make(kt::cpu());
  kt::Array good = kt::Array::zeros({5}, kt::i64), bad = kt::Array::zeros({5}, kt::i64);
  bad.data<std::int64_t>()[3] = 7;
  CHECK_THROWS_AS(f(bad), kt::ValueError);
  CHECK_THROWS_AS(f(bad), kt::ValueError);
  const int before = timings(process);
  CHECK(kt::all_close(f(good), want(good), 1e-4, 1e-4));
  CHECK(timings(process) > before);
  CHECK_THROWS_AS(f(bad), kt::ValueError);
  CHECK(kt::all_close(f(good), want(good), 1e-4, 1e-4));
}

TEST_CASE("tuning: KROTON_TUNE is 0 or 1") {
  const Process process;
  if (!process) return;
  const Layer layer;
  const cache_test::Setting wrong("KROTON_TUNE", "yes");
  CHECK_THROWS_WITH_AS(layer.on(kt::cuda()), doctest::Contains("KROTON_TUNE is \"yes\""),
                       kt::ValueError);
  CHECK_NOTHROW(layer.on(kt::cpu()));
}

TEST_CASE("tuning: entries of the cache that are no choice count as nothing") {
  const TemporaryDirectory directory;
  const cache_test::Setting cache("KROTON_CACHE", directory.path());
  const kroton::Cache entries = kroton::Cache::from_environment();
  for (const char* text : {"", "kroton choice 1: ", "kroton choice 1: 3", "kroton choice 1: -1",
                           "kroton choice 1: 1 ", "kroton choice 2: 1", "kroton choice 1: 1\n",
                           "kroton choice 1: 99999999999999999999", "1"}) {
    CAPTURE(text);
    const kroton::Digest key = kroton::sha256(std::string("key of ") + text);
    REQUIRE(entries.store(key, text));
    CHECK_FALSE(known_choice(key, 3));
    CHECK(keep_choice(key, 2, 3) == 2);
    forget_choices();
    CHECK(known_choice(key, 3) == 2);
    forget_choices();
    CHECK_FALSE(known_choice(key, 2));
  }
  // What another process has kept meanwhile stands.
  const kroton::Digest key = kroton::sha256("key");
  CHECK_FALSE(known_choice(key, 3));
  REQUIRE(entries.store(key, "kroton choice 1: 1"));
  CHECK(keep_choice(key, 2, 3) == 1);
  CHECK(known_choice(key, 3) == 1);
  forget_choices();
}

TEST_CASE("tuning: the first candidate stands unless another one is clearly faster") {
  using Times = std::vector<std::optional<double>>;
  CHECK(fastest(Times{1.0, 0.99, 0.985}) == 0);
  CHECK(fastest(Times{1.0, 0.99, 0.97}) == 2);
  CHECK(fastest(Times{std::nullopt, 3.0, 2.99}) == 2);
  CHECK(fastest(Times{2.0, std::nullopt}) == 0);
  CHECK_FALSE(fastest(Times{std::nullopt, std::nullopt}));
  CHECK_FALSE(fastest(Times{}));
}
