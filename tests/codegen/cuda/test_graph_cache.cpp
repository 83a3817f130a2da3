// Which calls get a CUDA graph, and which graphs are kept.
#include <doctest/doctest.h>

#include <random>

#include "compiler/codegen/cuda/graph_cache.h"

using kroton::codegen::GraphCache;

namespace {

struct NoGraph : kroton::DeviceGraph {};

// One call: 'r' is replayed, 'c' captured, 'p' run plainly.
char call(GraphCache& cache, std::int64_t key, std::int64_t launches = 1) {
  if (cache.look_up({key})) return 'r';
  if (!cache.wants(launches)) return 'p';
  std::unique_ptr<kroton::DeviceGraph> graph = cache.take_outdated();
  CHECK(graph == nullptr);  // the addresses are the same
  cache.keep(std::make_unique<NoGraph>(), launches);
  return 'c';
}

std::string calls(GraphCache& cache, const std::vector<std::int64_t>& keys) {
  std::string result;
  for (const std::int64_t key : keys) result += call(cache, key);
  return result;
}

}  // namespace

TEST_CASE("graph cache: captured at the second call, wherever it comes") {
  GraphCache cache;
  CHECK(calls(cache, {1, 1, 1}) == "pcr");
  CHECK(calls(cache, {2, 3, 4, 1, 3, 2, 4, 2, 3, 4}) == "ppprcccrrr");
}

TEST_CASE("graph cache: other addresses get a few graphs and then the oldest updated") {
  GraphCache cache;
  // 'u': updated.
  const auto call_at = [&](kroton::DeviceAddress address, std::int64_t launches = 1) {
    if (cache.look_up({5}, {address})) return 'r';
    if (!cache.wants(launches)) return 'p';
    std::unique_ptr<kroton::DeviceGraph> graph = cache.take_outdated();
    const char how = graph ? 'u' : 'c';
    if (!graph) graph = std::make_unique<NoGraph>();
    cache.keep(std::move(graph), launches);
    return how;
  };
  const auto calls_at = [&](const std::vector<kroton::DeviceAddress>& addresses) {
    std::string result;
    for (const auto address : addresses) result += call_at(address);
    return result;
  };
  CHECK(calls_at({1, 2, 1, 2, 1}) == "pccrr");
  CHECK(calls_at({3, 4, 1, 2, 3, 4}) == "ccrrrr");
  CHECK(calls_at({5, 2, 3, 4, 1, 5}) == "urrruu");
  // A circle of more of them: updated at each call, and no graph is made.
  std::string how;
  for (int round = 0; round < 3; ++round) {
    for (kroton::DeviceAddress address = 100; address < 150; ++address) how += call_at(address);
  }
  CHECK(how == std::string(150, 'u'));
  // Graphs that take much memory are one.
  GraphCache large;
  std::swap(cache, large);
  const std::int64_t most = GraphCache::most_launches;
  how.clear();
  for (const auto address : std::vector<kroton::DeviceAddress>{1, 1, 2, 3, 1})
    how += call_at(address, most);
  CHECK(how == "pccuu");
}

TEST_CASE("graph cache: graphs of many launches are few") {
  GraphCache cache;
  const std::int64_t most = GraphCache::most_launches;
  call(cache, 1, most + 1);
  CHECK(call(cache, 1, most + 1) == 'p');
  for (const std::int64_t key : {2, 3, 4}) call(cache, key, most);
  CHECK(call(cache, 2, most) == 'c');
  CHECK(call(cache, 3, most) == 'c');
  // No room for a third before it comes twice as often as one of them.
  CHECK(call(cache, 4, most) == 'p');
  CHECK(call(cache, 4, most) == 'p');
  CHECK(call(cache, 4, most) == 'c');
  CHECK(call(cache, 2, most) == 'p');
  CHECK(call(cache, 3, most) == 'r');
}

TEST_CASE("graph cache: a large circle of sizes keeps the graphs there are") {
  GraphCache cache;
  const auto most = static_cast<std::int64_t>(GraphCache::most_graphs);
  int captured = 0, replayed = 0;
  for (int round = 0; round < 20; ++round) {
    for (std::int64_t key = 0; key < most + 40; ++key) {
      const char how = call(cache, key);
      captured += how == 'c';
      replayed += how == 'r';
    }
  }
  CHECK(captured < most + 40);
  CHECK(replayed > 10 * most);
}

TEST_CASE("graph cache: sizes that come no more give way") {
  GraphCache cache;
  const auto most = static_cast<std::int64_t>(GraphCache::most_graphs);
  for (int round = 0; round < 100; ++round) {
    for (std::int64_t key = 0; key < most; ++key) call(cache, key);
  }
  int calls_before = 0;
  while (call(cache, -1) == 'p') {
    REQUIRE(++calls_before < 20'000);
  }
  CHECK(call(cache, -1) == 'r');
  // Nor do equals that come in any order take each other's place.
  std::mt19937 random(1);
  GraphCache shuffled;
  int captured = 0;
  for (int i = 0; i < 20'000; ++i) {
    captured +=
        call(shuffled, static_cast<std::int64_t>(random() % (3 * GraphCache::most_graphs / 2))) ==
        'c';
  }
  CHECK(captured < 200);
  // Keys that come once each do not pile up, and cost no graph.
  for (std::int64_t key = 1000; key < 20'000; ++key) CHECK(call(cache, key) == 'p');
}
