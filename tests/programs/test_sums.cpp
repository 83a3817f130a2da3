// Sums of many numbers: in f32 they are good to a block of additions, not to all of them.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <cmath>
#include <string>
#include <vector>

namespace kt = kroton;

namespace {

// What the sums may be off, relatively. One after the other, most would be off by 1e-3 to 5e-1.
constexpr double allowed = 3e-5;

struct Sum {
  std::string name;
  kt::Tensor x, sum;
  kt::Shape shape;
  double expected;  // every element of the sum, where all of x are 0.1f
};

void check(const Sum& s) {
  const auto f = kt::function({s.x}, s.sum);
  const kt::Array result = f(kt::Array::full(s.shape, 0.1F));
  REQUIRE(result.size() > 0);
  for (const float got : result.data<float>()) {
    CHECK_MESSAGE(std::abs(got / s.expected - 1) < allowed, s.name, ": ", got, " instead of ",
                  s.expected);
  }
}

const double tenth = static_cast<double>(0.1F);

kt::Tensor known(const std::vector<std::int64_t>& shape) {
  return kt::tensor("x", kt::Dims(shape.begin(), shape.end()));
}

}  // namespace

TEST_CASE("f32 means along every axis and of whole arrays") {
  const auto v = kt::vector("v");
  const auto x = kt::matrix("x");
  const auto t = kt::tensor3("t");
  const kt::Tensor tall = known({1'000'000, 3}), wide = known({3, 1'000'000});
  const kt::Tensor strided = x(kt::all, kt::slice(0, kt::end, 2));
  const std::vector<Sum> sums{
      {"vector", v, kt::mean(v), {3'000'000}, tenth},
      {"vector, in two stages", v, kt::mean(v - kt::max(v)) + kt::mean(v), {3'000'000}, tenth},
      {"one column", x, kt::mean(x, 0), {3'000'000, 1}, tenth},
      {"few columns", x, kt::mean(x, 0), {1'000'000, 8}, tenth},
      {"few columns, known", tall, kt::mean(tall, 0), {1'000'000, 3}, tenth},
      {"many columns", x, kt::mean(x, 0), {20'000, 100}, tenth},
      {"every second column", x, kt::mean(strided, 0), {500'000, 6}, tenth},
      {"one row", x, kt::mean(x, 1), {1, 3'000'000}, tenth},
      {"long rows", x, kt::mean(x, 1), {3, 1'000'000}, tenth},
      {"long rows, known", wide, kt::mean(wide, 1), {3, 1'000'000}, tenth},
      {"transposed", x, kt::mean(kt::transpose(x)), {1500, 1500}, tenth},
      {"first and last axis", t, kt::mean(t, {0, 2}), {40'000, 4, 16}, tenth},
      {"first and middle axis", t, kt::mean(t, {0, 1}), {2000, 100, 4}, tenth},
      {"middle axis", t, kt::mean(t, 1), {4, 200'000, 3}, tenth},
      {"loops that cannot be one",
       t,
       kt::mean(t * kt::mean(t, 2, true), {0, 1}),
       {1000, 300, 4},
       tenth * tenth},
  };
  for (const Sum& s : sums) check(s);
}

TEST_CASE("f32 products with a long inner axis") {
  const auto x = kt::matrix("x");
  const auto v = kt::vector("v");
  const kt::Tensor tall = known({300'000, 20}), wide = known({5, 200'000});
  const double square = tenth * tenth;
  const std::vector<Sum> sums{
      {"columns", x, kt::dot(kt::transpose(x), x), {1'000'000, 6}, square * 1e6},
      {"columns, known", tall, kt::dot(kt::transpose(tall), tall), {300'000, 20}, square * 3e5},
      {"rows", x, kt::dot(x, kt::transpose(x)), {7, 200'000}, square * 2e5},
      {"rows, known", wide, kt::dot(wide, kt::transpose(wide)), {5, 200'000}, square * 2e5},
      {"matrix and vector",
       x,
       kt::dot(kt::transpose(x), x(kt::all, 0)),
       {500'000, 5},
       square * 5e5},
      {"vectors", v, kt::dot(v, v), {3'000'000}, square * 3e6},
  };
  for (const Sum& s : sums) check(s);
}

TEST_CASE("f32 gradients that are sums, and sums inside loops") {
  const auto x = kt::matrix("x");
  const auto b = kt::vector("b");
  const auto by_bias = kt::function({x, b}, kt::grad(kt::sum(kt::square(x + b)), b))(
      kt::Array::full({1'000'000, 3}, 0.1F), kt::Array::zeros({3}));
  CHECK(std::abs(by_bias.data<float>()[0] / (2e6 * tenth) - 1) < allowed);

  const auto t = kt::tensor3("t");
  const auto means =
      kt::scan([](kt::Tensor rows, kt::Tensor before) { return before / 2 + kt::mean(rows, 0); },
               {.sequences = {t}, .outputs_info = {kt::zeros({5})}});
  check({"scan", t, means[-1], {2, 500'000, 5}, 1.5 * tenth});

  // A variance needs the mean first.
  const auto columns = kt::function({x}, kt::var(x, 0));
  kt::Array two = kt::Array::full({1'000'000, 2}, 1.1F);
  for (std::size_t k = 0; k < 1'000'000; ++k) two.data<float>()[k] = 0.9F;
  for (const float got : columns(two).data<float>()) {
    CHECK(std::abs(got / 0.01 - 1) < 1e-4);  // of 1 +- 0.1: the mean's last bit counts
  }
}

TEST_CASE("sums of whole numbers are exact, however many blocks there are") {
  // 0 1 2 3 4 -4 -3 -2 -1 and again: no partial sum leaves the whole numbers of f32.
  const std::int64_t count = 700'000;
  const auto value = [](std::int64_t k) { return static_cast<float>((k % 9 + 4) % 9 - 4); };
  const kt::Tensor x = kt::matrix("x"), tall = known({count, 3});
  kt::Array a = kt::Array::empty({count, 3});
  double expected[3] = {0, 0, 0};
  for (std::int64_t k = 0; k < count; ++k) {
    for (std::int64_t j = 0; j < 3; ++j) {
      a.data<float>()[static_cast<std::size_t>(k * 3 + j)] = value(k + j);
      expected[j] += value(k + j);
    }
  }
  const auto ones = kt::ones({kt::Dim(2), x.shape(0)});
  const kt::Array by_columns = kt::function({x}, kt::sum(x, 0))(a);
  const kt::Array by_known_columns = kt::function({tall}, kt::sum(tall, 0))(a);
  const kt::Array product = kt::function({x}, kt::dot(ones, x))(a);
  const kt::Array by_rows = kt::function({x}, kt::sum(kt::transpose(x), 1))(a);
  for (std::size_t j = 0; j < 3; ++j) {
    CHECK(by_columns.data<float>()[j] == expected[j]);
    CHECK(by_known_columns.data<float>()[j] == expected[j]);
    CHECK(product.data<float>()[j] == expected[j]);
    CHECK(product.data<float>()[j + 3] == expected[j]);
    CHECK(by_rows.data<float>()[j] == expected[j]);
  }
}
