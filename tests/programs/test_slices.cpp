// Slices of every start, stop, step and size against the rule that NumPy's follow.
#include <doctest/doctest.h>

#include <numeric>
#include <optional>

#include "tests/tools/compiled_tools.h"

using namespace kroton;  // NOLINT: tests

namespace {

using Bound = std::optional<std::int64_t>;

// The positions that start:stop:step takes of an axis: as CPython's slice.indices defines them.
std::vector<std::int64_t> positions(Bound start, Bound stop, std::int64_t step, std::int64_t size) {
  const std::int64_t lowest = step > 0 ? 0 : -1;
  const std::int64_t highest = step > 0 ? size : size - 1;
  const auto clamped = [&](std::int64_t position) {
    if (position < 0) position += size;
    return std::clamp(position, lowest, highest);
  };
  const std::int64_t first = start ? clamped(*start) : step > 0 ? lowest : highest;
  const std::int64_t end = stop ? clamped(*stop) : step > 0 ? highest : lowest;
  std::vector<std::int64_t> result;
  for (std::int64_t at = first; step > 0 ? at < end : at > end; at += step) result.push_back(at);
  return result;
}

SliceBound bound(const Bound& position) {
  return position ? SliceBound(*position) : SliceBound(end);
}

struct Case {
  Bound start, stop;
  std::int64_t step;
};

std::vector<Case> cases() {
  std::vector<Bound> bounds{std::nullopt};
  for (const std::int64_t position : {-7, -3, -2, -1, 0, 1, 2, 3, 7}) bounds.emplace_back(position);
  std::vector<Case> result;
  for (const Bound& start : bounds) {
    for (const Bound& stop : bounds) {
      for (const std::int64_t step : {1, 2, 3, 7, -1, -2, -3, -7}) {
        result.push_back({start, stop, step});
      }
    }
  }
  return result;
}

void check(const Case& c, std::int64_t size, const Array& have) {
  const std::vector<std::int64_t> want = positions(c.start, c.stop, c.step, size);
  INFO("start " << c.start.value_or(99) << " stop " << c.stop.value_or(99) << " step " << c.step
                << " of " << size);
  REQUIRE(have.size() == static_cast<std::int64_t>(want.size()));
  for (std::size_t k = 0; k < want.size(); ++k) CHECK(have.data<std::int64_t>()[k] == want[k]);
}

}  // namespace

TEST_CASE("slices are NumPy's for every start, stop and step, the size free") {
  const Tensor x = vector("x", i64);
  std::vector<Tensor> outputs;
  for (const Case& c : cases()) outputs.push_back(x(slice(bound(c.start), bound(c.stop), c.step)));
  const auto f = function({x}, outputs);
  for (const std::int64_t size : {0, 1, 2, 3, 4, 8, 17}) {
    const std::vector<Array> results = f(Array::arange(0, static_cast<double>(size), 1, i64));
    for (std::size_t k = 0; k < results.size(); ++k) check(cases()[k], size, results[k]);
  }
}

TEST_CASE("slices are NumPy's for every start, stop and step, the size known") {
  for (const std::int64_t size : {0, 1, 2, 3, 8}) {
    const Tensor x = tensor("x", {size}, i64);
    std::vector<Tensor> outputs;
    for (const Case& c : cases()) {
      outputs.push_back(x(slice(bound(c.start), bound(c.stop), c.step)));
    }
    const auto f = function({x}, outputs);
    const std::vector<Array> results = f(Array::arange(0, static_cast<double>(size), 1, i64));
    for (std::size_t k = 0; k < results.size(); ++k) check(cases()[k], size, results[k]);
  }
}

TEST_CASE("slices between positions that are sizes") {
  // Positions that sizes give count from the start, also below 0.
  const Dim m = dim("m");
  const Tensor x = vector("x", i64);
  const Tensor y = tensor("y", {m}, i64);
  std::vector<Tensor> outputs;
  for (const std::int64_t step : {1, 2, -1, -2}) {
    outputs.push_back(x(slice(m - 3, end, step)));
    outputs.push_back(x(slice(end, m - 3, step)));
    outputs.push_back(x(slice(m - 3, m, step)));
    outputs.push_back(x(slice(m, m - 3, step)));
  }
  const auto f = function({x, y}, outputs);
  for (const std::int64_t size : {0, 1, 2, 3, 8}) {
    for (const std::int64_t given : {0, 1, 2, 3, 5, 12}) {
      const std::vector<Array> results =
          f(Array::arange(0, static_cast<double>(size), 1, i64), Array::zeros({given}, i64));
      std::size_t next = 0;
      for (const std::int64_t step : {1, 2, -1, -2}) {
        // One step outside is as good as any position further out.
        const std::int64_t low = std::max<std::int64_t>(given - 3, 0);
        const Bound low_stop = step < 0 && given < 3 ? Bound() : Bound(low);
        const bool low_start_outside = step < 0 && given < 3;
        const auto expect = [&](Bound start, Bound stop, bool empty) {
          const std::vector<std::int64_t> want =
              empty ? std::vector<std::int64_t>{} : positions(start, stop, step, size);
          const Array& have = results[next++];
          INFO("m " << given << " size " << size << " step " << step << " output " << next - 1);
          REQUIRE(have.size() == static_cast<std::int64_t>(want.size()));
          for (std::size_t k = 0; k < want.size(); ++k) {
            CHECK(have.data<std::int64_t>()[k] == want[k]);
          }
        };
        expect(low, std::nullopt, low_start_outside);
        expect(std::nullopt, low_stop, false);
        expect(low, given, low_start_outside);
        expect(given, low_stop, false);
      }
    }
  }
}

TEST_CASE("gradients of slices past the end are zeros") {
  const Tensor x = vector("x", f64);
  for (const Slice& cut : {slice(2, end), slice(1, end), slice(-2, end), slice(5, end, 2),
                           slice(end, end, -1), slice(end, 1, -1), slice(3, end, -2)}) {
    const auto f = function({x}, grad(sum(x(cut) * x(cut)), x));
    for (const std::int64_t size : {0, 1, 2, 3, 17}) {
      const Array given = Array::arange(1, static_cast<double>(size) + 1, 1, f64);
      const Array have = f(given);
      std::vector<double> want(static_cast<std::size_t>(size), 0);
      const auto bound_of = [](const SliceBound& b) {
        return b.position() ? Bound(b.position()->constant()) : Bound();
      };
      for (const std::int64_t at :
           positions(bound_of(cut.start), bound_of(cut.stop), cut.step, size)) {
        want[static_cast<std::size_t>(at)] = 2.0 * static_cast<double>(at + 1);
      }
      for (std::size_t k = 0; k < want.size(); ++k) CHECK(have.data<double>()[k] == want[k]);
    }
  }
}
