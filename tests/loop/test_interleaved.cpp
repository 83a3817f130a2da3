#include <doctest/doctest.h>

#include "compiler/loop/interleaved.h"
#include "compiler/loop/schedule.h"
#include "tests/loop/kernel_tools.h"

using namespace loop_test;  // NOLINT: tests

namespace {

const Variable i = fresh_variable("i");
const Expr vi = variable(i);
const Dim n = Dim::named("n");
const BufferRef x = buffer(0, "x", n * 3);
const BufferRef y = buffer(1, "y", n * 3);

Stmt store_at(std::int64_t step, std::int64_t offset, const Expr& value) {
  return Store{y, vi * integer(step) + integer(offset), value};
}

std::vector<Interleaved> groups(const Block& block) {
  return interleaved_stores(block, [](const Expr& index) { return stride_of(index, i); });
}

}  // namespace

TEST_CASE("interleaved: as many stores as there are elements between lanes, in any order") {
  const Expr value = load(x, vi);
  const Block three = {store_at(3, 2, value), store_at(3, 0, value), store_at(3, 1, value)};
  const std::vector<Interleaved> found = groups(three);
  REQUIRE(found.size() == 1);
  CHECK(found[0].stores == std::vector<std::size_t>{1, 2, 0});
  CHECK(found[0].last == 2);
  CHECK(groups({store_at(3, 2, value), store_at(3, 0, value)}).empty());  // a gap
  CHECK(groups({store_at(2, 0, value), store_at(2, 2, value)}).empty());  // the next pair
  CHECK(groups({store_at(2, 0, value), store_at(2, 1, value), store_at(2, 0, value)}).empty());
  CHECK(groups({store_at(1, 0, value), store_at(1, 1, value)}).empty());  // lanes are neighbours
  CHECK(groups({store_at(2, 3, value), store_at(2, 4, value)}).size() == 1);
}

TEST_CASE("interleaved: not where what is stored is read before all is") {
  const Expr first = load(y, vi * integer(2));
  const Expr second = load(y, vi * integer(2) + integer(1));
  const Expr one = real(1, DType::f32);
  CHECK(groups({store_at(2, 0, first + one), store_at(2, 1, second + one)}).size() == 1);
  CHECK(groups({store_at(2, 0, first + second), store_at(2, 1, second + one)}).size() == 1);
  CHECK(groups({store_at(2, 0, first + one), store_at(2, 1, first + second)}).empty());
  const Stmt branch = statement(If{binary(Op::lt, vi, integer(3)), {store_at(2, 0, one)}, {}});
  CHECK(groups({store_at(2, 0, one), branch, store_at(2, 1, one)}).empty());
}

TEST_CASE("interleaved: such a loop is a vector loop, one with gaps is not") {
  const auto loop = [](const std::vector<std::int64_t>& offsets) {
    Block body;
    for (const std::int64_t offset : offsets) body.push_back(store_at(3, offset, load(x, vi)));
    const Kernel k = kernel({x}, {y}, {serial(i, size(n), std::move(body))});
    return to_string(vectorize(k, 64));
  };
  CHECK(loop({0, 1, 2}).find("vector<16") != std::string::npos);
  CHECK(loop({0, 2}).find("vector") == std::string::npos);
}
