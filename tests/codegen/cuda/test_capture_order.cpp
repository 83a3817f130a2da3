// What in a graph waits for what.
#include "compiler/codegen/cuda/capture_order.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <set>

using kroton::codegen::CaptureOrder;
using Place = CaptureOrder::Place;
using Range = CaptureOrder::Range;

namespace {

Place place(std::size_t number) { return reinterpret_cast<Place>(number + 1); }
std::size_t number_of(Place of) { return reinterpret_cast<std::size_t>(of) - 1; }

// Work that has been captured.
struct Work {
  std::vector<Range> ranges;
  std::set<std::size_t> behind;  // directly or by others
};

bool conflict(const Work& a, const Work& b) {
  for (const Range& x : a.ranges) {
    for (const Range& y : b.ranges) {
      const bool meet = std::max(x.begin, y.begin) < std::min(x.end, y.end);
      if (meet && (x.writes || y.writes)) return true;
    }
  }
  return false;
}

// Captures the work; its places are told by numbers.
std::size_t capture(CaptureOrder& order, std::vector<Work>& all, std::vector<Range> ranges) {
  Work work{std::move(ranges), {}};
  for (const Place before : order.before(work.ranges)) {
    const std::size_t number = number_of(before);
    work.behind.insert(number);
    work.behind.insert(all[number].behind.begin(), all[number].behind.end());
  }
  const Place own = place(all.size());
  order.add(work.ranges, std::span(&own, 1));
  all.push_back(std::move(work));
  return all.size() - 1;
}

}  // namespace

TEST_CASE("capture order: readers wait for the writer and the next writer for all readers") {
  CaptureOrder order;
  std::vector<Work> all;
  capture(order, all, {{100, 200, true}});
  capture(order, all, {{100, 150, false}, {300, 400, true}});
  capture(order, all, {{150, 200, false}, {500, 600, true}});
  CHECK(all[1].behind == std::set<std::size_t>{0});
  CHECK(all[2].behind == std::set<std::size_t>{0});
  // Of another part of the memory nobody knows anything.
  capture(order, all, {{200, 300, true}});
  CHECK(all[3].behind.empty());
  capture(order, all, {{140, 160, true}});
  CHECK(all[4].behind == std::set<std::size_t>{0, 1, 2});
  capture(order, all, {{100, 140, false}});
  CHECK(all[5].behind == std::set<std::size_t>{0});
  capture(order, all, {{100, 141, false}});
  CHECK(all[6].behind == std::set<std::size_t>{0, 1, 2, 4});
  capture(order, all, {{0, 0, true}, {7, 7, false}});
  CHECK(all[7].behind.empty());
  capture(order, all, {{0, 1000, true}});
  CHECK(all[8].behind == std::set<std::size_t>{0, 1, 2, 3, 4, 5, 6});
}

TEST_CASE("capture order: whatever conflicts comes one behind the other in random programs") {
  std::mt19937 random(1);
  const auto below = [&](std::uint64_t n) { return random() % n; };
  for (int program = 0; program < 60; ++program) {
    CAPTURE(program);
    CaptureOrder order;
    std::vector<Work> all;
    std::size_t waits = 0, conflicts = 0;
    for (int k = 0; k < 60; ++k) {
      std::vector<Range> ranges;
      for (std::uint64_t n = 1 + below(3); n > 0; --n) {
        const std::uint64_t begin = below(64);
        ranges.push_back({begin, begin + below(program % 2 == 0 ? 4 : 20), below(3) == 0});
      }
      const std::size_t now = capture(order, all, ranges);
      for (std::size_t before = 0; before < now; ++before) {
        if (!conflict(all[before], all[now])) continue;
        ++conflicts;
        CHECK(all[now].behind.count(before) == 1);
      }
      waits += all[now].behind.size();
    }
    CHECK(conflicts > 0);
    CHECK(waits < all.size() * (all.size() - 1) / 2);  // not all one behind the other
  }
}

TEST_CASE("capture order: of many readers a writer waits for some behind which all are") {
  CaptureOrder order;
  std::vector<Work> all;
  capture(order, all, {{0, 8, true}});
  for (int k = 0; k < 100; ++k) capture(order, all, {{0, 8, false}});
  const Range written{0, 8, true};
  CHECK(order.before(std::span(&written, 1)).size() <= 17);
  capture(order, all, {written});
  CHECK(all.back().behind.size() == 101);
}
