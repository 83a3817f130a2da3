// Lists of arguments that are made before the call.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

using namespace kroton;  // NOLINT: tests

namespace {

std::vector<Argument> made_of_temporaries() {
  const Array local = Array::full({3}, 1);
  std::vector<Argument> list;
  list.emplace_back(local);
  list.emplace_back(std::vector<float>{10, 20, 30});
  list.push_back(std::array<float, 3>{100, 200, 300});
  list.emplace_back(1000.0);
  list.push_back([]() -> const Array { return Array::full({3}, 10000); }());
  return list;
}

}  // namespace

TEST_CASE("arguments: a list keeps what it is made of") {
  const Tensor a = vector("a"), b = vector("b"), c = vector("c"), d = scalar("d"), e = vector("e");
  const auto f = function({a, b, c, d, e}, a + b + c + d + e);
  const std::vector<Argument> list = made_of_temporaries();
  // Memory that would be taken again.
  const std::vector<std::vector<float>> others(20, std::vector<float>(3, -1));
  CHECK(array_equal(f.call(list), Array::from({11111.0F, 11221.0F, 11331.0F})));
  CHECK(array_equal(f.call(list), f.call(made_of_temporaries())));
  CHECK(others.size() == 20);
}

TEST_CASE("arguments: ranges that stay are read where they are") {
  const Tensor a = vector("a");
  const auto f = function({a}, 2 * a);
  std::vector<float> elements = {1, 2};
  const std::vector<Argument> list = {elements, std::span<const float>(elements)};
  elements[0] = 5;
  const Array expected = Array::from({10.0F, 4.0F});
  CHECK(array_equal(f.call(std::span(list).first(1)), expected));
  CHECK(array_equal(f.call(std::span(list).last(1)), expected));
  Array array = Array::from({1.0F, 2.0F});
  const std::vector<Argument> of_array = {array};
  array(0) = 7;  // the same elements
  CHECK(array_equal(f.call(of_array), Array::from({14.0F, 4.0F})));
}
