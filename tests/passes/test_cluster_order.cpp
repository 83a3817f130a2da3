// Which clusters come before which, against walks over all of them.
#include <doctest/doctest.h>

#include <random>
#include <set>
#include <vector>

#include "compiler/fusion/cluster_order.h"

using kroton::ClusterOrder;

namespace {

// Readers by cluster; what was merged into another has none.
using Readers = std::vector<std::set<int>>;

bool reaches(const Readers& readers, int from, int to) {
  std::set<int> seen;
  std::vector<int> pending{from};
  while (!pending.empty()) {
    const int next = pending.back();
    pending.pop_back();
    for (const int reader : readers[static_cast<std::size_t>(next)]) {
      if (reader == to) return true;
      if (seen.insert(reader).second) pending.push_back(reader);
    }
  }
  return false;
}

void check_same(const Readers& readers, ClusterOrder& order) {
  const int count = static_cast<int>(readers.size());
  for (int a = 0; a < count; ++a) {
    const auto& known = readers[static_cast<std::size_t>(a)];
    REQUIRE(order.readers_of(a) == std::vector<int>(known.begin(), known.end()));
    for (int b = 0; b < count; ++b) {
      if (a == b) continue;
      REQUIRE(order.are_ordered(a, b) == (reaches(readers, a, b) || reaches(readers, b, a)));
      REQUIRE(order.lead_to({a}, b) == reaches(readers, a, b));
    }
  }
}

}  // namespace

TEST_CASE("clusters: what comes before what") {
  std::mt19937 random(7);
  for (int round = 0; round < 20; ++round) {
    ClusterOrder order;
    Readers readers;
    const int count = 14;
    for (int k = 0; k < count; ++k) {
      order.add();
      readers.emplace_back();
      for (int edge = 0; k > 0 && edge < 2; ++edge) {
        const int reader = static_cast<int>(random() % static_cast<unsigned>(k));
        order.add_reader(k, reader);
        readers[static_cast<std::size_t>(k)].insert(reader);
      }
    }
    check_same(readers, order);
    for (int attempt = 0; attempt < 30; ++attempt) {
      const int a = static_cast<int>(random() % count), b = static_cast<int>(random() % count);
      if (a == b || reaches(readers, a, b) || reaches(readers, b, a)) continue;
      order.merge(a, b);
      auto& from = readers[static_cast<std::size_t>(b)];
      readers[static_cast<std::size_t>(a)].insert(from.begin(), from.end());
      from.clear();
      for (std::set<int>& others : readers) {
        if (others.erase(b) != 0) others.insert(a);
      }
      check_same(readers, order);
    }
    CHECK(order.lead_to({3, 4, 5}, 4));
    CHECK_FALSE(order.lead_to({}, 4));
  }
}
