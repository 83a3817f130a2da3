#include <doctest/doctest.h>
#include <kroton/array.h>

#include <algorithm>
#include <cstdint>
#include <thread>
#include <vector>

#include "runtime/large_memory.h"

namespace {

using kroton::Array;

constexpr std::int64_t mebi = std::int64_t{1} << 20;

Array bytes(std::int64_t count) { return Array::empty({count}, kroton::boolean); }

const void* address(const Array& array) { return array.raw(); }

}  // namespace

TEST_CASE("large memory: a freed block is used again, by what fits it closely") {
  const void* first = nullptr;
  {
    const Array a = bytes(16 * mebi);
    first = address(a);
    CHECK(reinterpret_cast<std::uintptr_t>(first) % 64 == 0);
  }
  CHECK(kroton::kept_large_bytes() >= 16 * mebi);
  {
    const Array a = bytes(16 * mebi);
    CHECK(address(a) == first);
    const Array b = bytes(16 * mebi);
    CHECK(address(b) != first);
  }
  const Array smaller = bytes(8 * mebi);
  CHECK(address(smaller) != first);
}

TEST_CASE("large memory: zeros are zero in memory that was used before") {
  {
    bytes(16 * mebi).data<bool>()[12345] = true;
  }
  const Array zeros = Array::zeros({16 * mebi}, kroton::boolean);
  CHECK(std::ranges::none_of(zeros.data<bool>(), [](bool b) { return b; }));
}

TEST_CASE("large memory: what is kept is bounded") {
  const auto most = static_cast<std::int64_t>(kroton::most_kept_bytes);
  {
    const Array large = bytes(most + mebi);
  }
  CHECK(kroton::kept_large_bytes() <= kroton::most_kept_bytes);
  {
    std::vector<Array> many;
    for (int i = 0; i < 40; ++i) many.push_back(bytes(4 * mebi));
  }
  CHECK(kroton::kept_large_bytes() <= kroton::most_kept_bytes);
  CHECK(kroton::kept_large_bytes() > kroton::most_kept_bytes / 2);
}

TEST_CASE("large memory: threads share it") {
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t, &wrong] {
      for (int i = 0; i < 50; ++i) {
        Array a = Array::empty({(2 + i % 3) * mebi}, kroton::boolean);
        auto elements = a.data<bool>();
        const bool mine = t % 2 == 0;
        for (std::size_t k = 0; k < elements.size(); k += 4096) elements[k] = mine;
        for (std::size_t k = 0; k < elements.size(); k += 4096) {
          wrong[static_cast<std::size_t>(t)] += elements[k] != mine ? 1 : 0;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>{0, 0, 0, 0});
}
