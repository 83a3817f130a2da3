#include <doctest/doctest.h>
#include <kroton/error.h>
#include <kroton/ops.h>
#include <kroton/variables.h>

#include "compiler/ir/reference.h"

namespace kt = kroton;
using kt::Array;
using kt::Tensor;

namespace {

using Bindings = std::map<const kt::Node*, kt::ReferenceValue>;

std::vector<kt::Number> value(const Tensor& output, const Bindings& bindings) {
  return kt::evaluate(std::span(&output, 1), bindings).front().data;
}

}  // namespace

TEST_CASE("the reference interpreter follows the expression") {
  const Tensor x = kt::matrix("x");
  const Tensor y = kt::vector("y");
  const Bindings at = {{&x.node(), {kt::f32, {2, 3}, {1, 2, 3, 4, 5, 6}}},
                       {&y.node(), {kt::f32, {3}, {10, 20, 30}}}};
  CHECK(value(x + y, at) == std::vector<kt::Number>{11, 22, 33, 14, 25, 36});
  CHECK(value(kt::sum(x * 2), at) == std::vector<kt::Number>{42});
  CHECK(value(kt::dot(x, y), at) == std::vector<kt::Number>{140, 320});
  const std::vector<Tensor> outputs = {kt::transpose(x), x};
  const auto both = kt::evaluate(outputs, at);
  CHECK(both[0].shape == std::vector<std::int64_t>{3, 2});
  CHECK(both[0].data == std::vector<kt::Number>{1, 4, 2, 5, 3, 6});
  CHECK(both[1].data == at.at(&x.node()).data);
}

TEST_CASE("the reference interpreter takes empty and single arrays") {
  const Tensor x = kt::vector("x");
  for (const std::int64_t size : {0, 1, 3, 17}) {
    const Bindings at = {
        {&x.node(), {kt::f32, {size}, std::vector<kt::Number>(static_cast<std::size_t>(size), 2)}}};
    CHECK(value(kt::sum(x * x), at) == std::vector<kt::Number>{4.0 * static_cast<double>(size)});
    CHECK(value(x + 1, at).size() == static_cast<std::size_t>(size));
  }
}

TEST_CASE("the reference interpreter computes in double precision") {
  const Tensor x = kt::scalar("x");
  const Bindings at = {{&x.node(), {kt::f32, {}, {1e-12}}}};
  CHECK(value((x + 1) - 1, at)[0] == doctest::Approx(1e-12).epsilon(1e-3));
}

TEST_CASE("shared variables have their current value unless one is bound") {
  kt::Shared w = kt::shared(Array::from({1.0F, 2.0F}), "w");
  const Tensor twice = w * 2;
  CHECK(value(twice, {}) == std::vector<kt::Number>{2, 4});
  w.set_value(Array::from({3.0F, 4.0F}));
  CHECK(value(twice, {}) == std::vector<kt::Number>{6, 8});
  CHECK(value(twice, {{&w.node(), {kt::f32, {2}, {5, 6}}}}) == std::vector<kt::Number>{10, 12});
}

TEST_CASE("sizes that conflict are errors with the variables' names") {
  const Tensor x = kt::vector("x");
  const Tensor y = kt::vector("y");
  const Tensor sum = x + y;
  const kt::ReferenceValue two{kt::f32, {2}, {1, 2}};
  const kt::ReferenceValue three{kt::f32, {3}, {1, 2, 3}};
  CHECK_THROWS_WITH_AS(value(sum, {{&x.node(), two}, {&y.node(), three}}),
                       doctest::Contains("x.shape[0] and y.shape[0]"), kt::ShapeError);
  CHECK_THROWS_WITH_AS(value(sum, {{&x.node(), two}, {&y.node(), three}}),
                       doctest::Contains(": 2 and 3"), kt::ShapeError);
  CHECK_THROWS_WITH_AS(value(sum, {{&x.node(), two}}), doctest::Contains("y"), kt::ValueError);

  const Tensor square = kt::tensor("square", {kt::dim("n"), kt::dim("n")});
  CHECK_THROWS_WITH_AS(value(square, {{&square.node(), {kt::f32, {1, 2}, {1, 2}}}}),
                       doctest::Contains("square: expected f32 (n, n), got (1, 2)  [test_ref"),
                       kt::ShapeError);
  CHECK_THROWS_AS(value(square, {{&square.node(), {kt::f32, {3}, {1, 2, 3}}}}), kt::ShapeError);
  CHECK_THROWS_AS(value(square, {{&square.node(), {kt::f32, {1, 1}, {}}}}), kt::InternalError);
}

TEST_CASE("sizes are evaluated from the bound shapes") {
  const Tensor x = kt::tensor("x", {kt::dim("n"), 3});
  kt::SizeBindings sizes;
  kt::bind_sizes(x.node(), {17, 3}, sizes);
  CHECK(kt::evaluate(kt::dim("n") * 2 + 1, sizes) == 35);
  CHECK(kt::evaluate(kt::floor_div(kt::dim("n"), 2), sizes) == 8);
  CHECK_THROWS_WITH_AS(kt::evaluate(kt::dim("other_size"), sizes),
                       "size: no input fixes the size other_size", kt::ValueError);
  CHECK_THROWS_AS(kt::bind_sizes(x.node(), {17, 4}, sizes), kt::ShapeError);
  CHECK_THROWS_AS(kt::bind_sizes(x.node(), {16, 3}, sizes), kt::ShapeError);
}

TEST_CASE("host values become arrays and back") {
  const Array arrays[] = {Array::from({1.5F, -2.0F}),
                          Array::from({{1.0, 2.0}, {3.0, 4.0}}),
                          Array::from({std::int32_t{-3}, std::int32_t{17}}),
                          Array(std::int64_t{1} << 40),
                          Array::from({true, false, true}),
                          Array::zeros({0, 3})};
  for (const Array& array : arrays) {
    CHECK(kt::array_equal(kt::to_array(kt::from_array(array)), array));
  }
  const float elements[] = {1, 2, 3, 4};
  CHECK(kt::from_array(Array::view(elements, {2, 2}, {1, 2})).data ==
        std::vector<kt::Number>{1, 3, 2, 4});
}
