// Values of operations against NumPy 2.4 (erf: C's erf), computed once and written down.
#include <doctest/doctest.h>
#include <kroton/index.h>

#include <cmath>
#include <limits>

#include "tests/tools/op_tools.h"

namespace test_values {

using namespace op_test;  // NOLINT: tests

namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

void check(const char* text, const Tensor& y, const std::vector<std::int64_t>& shape,
           const std::vector<double>& expected) {
  CAPTURE(text);
  const ReferenceValue value = value_of(y);
  CHECK(value.shape == shape);
  REQUIRE(value.data.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CAPTURE(i);
    if (std::isfinite(expected[i])) {
      CHECK(value.data[i] == doctest::Approx(expected[i]).epsilon(1e-13));
    } else {
      CHECK(equal(value.data[i], expected[i]));
    }
  }
}

// The operands.
struct Values {
  Tensor x = constant(Array::from({{1.5, -2.0, 0.25}, {-0.5, 3.0, -1.25}}));
  Tensor v = constant(Array::from({2.0, -1.0, 0.5}));
  Tensor w = constant(Array::from({{1.0, 2.0, 3.0}, {4.0, 5.0, 6.0}, {7.0, 8.0, 9.0}}));
  Tensor t = constant(Array::arange(0, 24, 1, f64).reshape({2, 3, 4}));
  Tensor k = constant(Array::from<std::int64_t>({{7, -7, 0}, {5, -3, 9}}));
  Tensor d = constant(Array::from<std::int64_t>({2, -3, 0}));
  Tensor m = constant(Array::from({{true, false, true}, {false, false, true}}));
  Tensor n = constant(Array::from({true, true, false}));
  Tensor ids = constant(Array::from<std::int64_t>({1, 0, -1}));
  Tensor labels = constant(Array::from<std::int64_t>({2, 0}));
  Tensor a = constant(Array::arange(-5, 7, 1, f64).reshape({1, 4, 3}));
  Tensor b = constant(Array::arange(0, 18, 1, f64).reshape({3, 3, 2}));
  Tensor e = constant(Array::from({not_a_number, 1.0, -infinity, infinity, -0.0}));
  Tensor f = constant(Array::from({2.5, not_a_number, -3.5, 0.0, 1.0}));
  Tensor large = constant(Array::from({{1000.0, 999.0, -1000.0}, {-800.0, -801.0, -802.0}}));

  static Tensor constant(const Array& array) { return Operand(array).tensor(); }
};

}  // namespace

TEST_CASE("values: arithmetic") {
  const Values values;
  const Tensor& x = values.x;
  const Tensor& v = values.v;
  const Tensor& k = values.k;
  const Tensor& d = values.d;
  const Tensor& e = values.e;
  const Tensor& f = values.f;
  check("x + v", x + v, {2, 3}, {3.5, -3, 0.75, 1.5, 2, -0.75});
  check("x - 1", x - 1, {2, 3}, {0.5, -3, -0.75, -1.5, 2, -2.25});
  check("x * v", x * v, {2, 3}, {3, 2, 0.125, -1, -3, -0.625});
  check("2 / x", 2 / x, {2, 3}, {1.3333333333333333, -1, 8, -4, 0.6666666666666666, -1.6});
  check("x / v", x / v, {2, 3}, {0.75, 2, 0.5, -0.25, -3, -2.5});
  check("k / 2", k / 2, {2, 3}, {3.5, -3.5, 0, 2.5, -1.5, 4.5});
  check("floor_div(k, d)", floor_div(k, d), {2, 3}, {3, 2, 0, 2, 1, 0});
  check("k % d", k % d, {2, 3}, {1, -1, 0, 1, 0, 0});
  check("floor_div(x, v)", floor_div(x, v), {2, 3}, {0, 2, 0, -1, -3, -3});
  check("x % v", x % v, {2, 3}, {1.5, -0, 0.25, 1.5, -0, 0.25});
  check("pow(abs(x), v)", pow(abs(x), v), {2, 3},
        {2.25, 0.5, 0.5, 0.25, 0.3333333333333333, 1.118033988749895});
  check("pow(e, 0)", pow(e, 0), {5}, {1, 1, 1, 1, 1});
  check("maximum(e, f)", maximum(e, f), {5}, {not_a_number, not_a_number, -3.5, infinity, 1});
  check("minimum(e, f)", minimum(e, f), {5}, {not_a_number, not_a_number, -infinity, 0, -0});
  check("clip(x, -1, 1)", clip(x, -1, 1), {2, 3}, {1, -1, 0.25, -0.5, 1, -1});
  check("sign(e)", sign(e), {5}, {not_a_number, 1, -1, 1, 0});
  check("abs(k)", abs(k), {2, 3}, {7, 7, 0, 5, 3, 9});
  check("square(x)", square(x), {2, 3}, {2.25, 4, 0.0625, 0.25, 9, 1.5625});
  check("relu(x)", relu(x), {2, 3}, {1.5, 0, 0.25, 0, 3, 0});
}

TEST_CASE("values: elementary functions") {
  const Values values;
  const Tensor& x = values.x;
  const Tensor& e = values.e;
  check("exp(x)", exp(x), {2, 3},
        {4.4816890703380645, 0.1353352832366127, 1.2840254166877414, 0.6065306597126334,
         20.085536923187668, 0.2865047968601901});
  check("expm1(x)", expm1(x), {2, 3},
        {3.481689070338065, -0.8646647167633873, 0.2840254166877415, -0.3934693402873666,
         19.085536923187668, -0.7134952031398099});
  check("log(square(x))", log(square(x)), {2, 3},
        {0.8109302162163288, 1.3862943611198906, -2.772588722239781, -1.3862943611198906,
         2.1972245773362196, 0.44628710262841953});
  check("log1p(square(x))", log1p(square(x)), {2, 3},
        {1.1786549963416462, 1.6094379124341003, 0.06062462181643484, 0.22314355131420976,
         2.302585092994046, 0.9409833444645266});
  check("tanh(x)", tanh(x), {2, 3},
        {0.9051482536448665, -0.9640275800758169, 0.24491866240370913, -0.46211715726000974,
         0.9950547536867305, -0.8482836399575129});
  check("sigmoid(x)", sigmoid(x), {2, 3},
        {0.8175744761936437, 0.11920292202211755, 0.5621765008857981, 0.3775406687981454,
         0.9525741268224334, 0.22270013882530884});
  check("softplus(x)", softplus(x), {2, 3},
        {1.7014132779827524, 0.1269280110429725, 0.8259394198788436, 0.4740769841801067,
         3.048587351573742, 0.2519290813453729});
  check("erf(x)", erf(x), {2, 3},
        {0.9661051464753108, -0.9953222650189527, 0.2763263901682369, -0.5204998778130465,
         0.9999779095030014, -0.9229001282564582});
  check("sqrt(e)", sqrt(e), {5}, {not_a_number, 1, not_a_number, infinity, -0});
  check("sin(x)", sin(x), {2, 3},
        {0.9974949866040544, -0.9092974268256817, 0.24740395925452294, -0.479425538604203,
         0.1411200080598672, -0.9489846193555862});
  check("cos(x)", cos(x), {2, 3},
        {0.0707372016677029, -0.4161468365471424, 0.9689124217106447, 0.8775825618903728,
         -0.9899924966004454, 0.3153223623952687});
  const Tensor& f = values.f;
  check("atan(x)", atan(x), {2, 3},
        {0.982793723247329, -1.1071487177940904, 0.24497866312686414, -0.4636476090008061,
         1.2490457723982544, -0.8960553845713439});
  check("asin(x / 4)", asin(x / 4), {2, 3},
        {0.3843967744956391, -0.5235987755982989, 0.06254076179649139, -0.1253278311680654,
         0.848062078981481, -0.31782370392788073});
  check("acos(x / 4)", acos(x / 4), {2, 3},
        {1.1863995522992576, 2.0943951023931957, 1.5082555649984053, 1.696124157962962,
         0.7227342478134157, 1.8886200307227774});
  check("atan2(e, f)", atan2(e, f), {5},
        {not_a_number, not_a_number, -1.5707963267948966, 1.5707963267948966, -0});
  check("floor(x)", floor(x), {2, 3}, {1, -2, 0, -1, 3, -2});
  check("ceil(x)", ceil(x), {2, 3}, {2, -2, 1, -0, 3, -1});
}

TEST_CASE("values: comparison, logic and conversion") {
  const Values values;
  const Tensor& x = values.x;
  const Tensor& v = values.v;
  const Tensor& k = values.k;
  const Tensor& m = values.m;
  const Tensor& n = values.n;
  const Tensor& e = values.e;
  const Tensor& f = values.f;
  check("x < v", x < v, {2, 3}, {1, 1, 1, 1, 0, 1});
  check("x >= 0.25", x >= 0.25, {2, 3}, {1, 0, 1, 0, 1, 0});
  check("eq(e, e)", eq(e, e), {5}, {0, 1, 1, 1, 1});
  check("ne(e, f)", ne(e, f), {5}, {1, 1, 1, 1, 1});
  check("m & n", m & n, {2, 3}, {1, 0, 0, 0, 0, 0});
  check("m ^ n", m ^ n, {2, 3}, {0, 1, 1, 1, 1, 1});
  check("~m", ~m, {2, 3}, {0, 1, 0, 1, 1, 0});
  check("where(m, x, v)", where(m, x, v), {2, 3}, {1.5, -1, 0.25, 2, -1, -1.25});
  check("cast(x, i32)", cast(x, i32), {2, 3}, {1, -2, 0, 0, 3, -1});
  check("cast(k, boolean)", cast(k, boolean), {2, 3}, {1, 1, 0, 1, 1, 1});
}

TEST_CASE("values: reductions") {
  const Values values;
  const Tensor& x = values.x;
  const Tensor& t = values.t;
  const Tensor& k = values.k;
  const Tensor& m = values.m;
  const Tensor& n = values.n;
  const Tensor& e = values.e;
  const Tensor& f = values.f;
  const Tensor& large = values.large;
  check("sum(x)", sum(x), {}, {1});
  check("sum(x, 0)", sum(x, 0), {3}, {1, 1, -1});
  check("sum(m, 1)", sum(m, 1), {2}, {2, 1});
  check("prod(t, {0, -1}, true)", prod(t, {0, -1}, true), {1, 3, 1}, {0, 78140160, 1683158400});
  check("mean(t, 1)", mean(t, 1), {2, 4}, {4, 5, 6, 7, 16, 17, 18, 19});
  check("mean(k, 0)", mean(k, 0), {3}, {6, -5, 4.5});
  check("var(x, -1)", var(x, -1), {2}, {2.097222222222222, 3.430555555555556});
  check("stddev(x)", stddev(x), {}, {1.681186750152668});
  check("max(t, {0, 2})", max(t, {0, 2}), {3}, {15, 19, 23});
  check("min(x, 0, true)", min(x, 0, true), {1, 3}, {-0.5, -2, -1.25});
  check("max(e)", max(e), {}, {not_a_number});
  check("argmax(x, 1)", argmax(x, 1), {2}, {0, 1});
  check("argmin(x)", argmin(x), {}, {1});
  check("argmax(f)", argmax(f), {}, {1});
  check("logsumexp(large, 1)", logsumexp(large, 1), {2}, {1000.3132616875182, -799.5923940355557});
  check("any(m, 0)", any(m, 0), {3}, {1, 0, 1});
  check("all(m | n, 1)", all(m | n, 1), {2}, {1, 1});
}

TEST_CASE("values: shape and basic indexing") {
  const Values values;
  const Tensor& x = values.x;
  const Tensor& v = values.v;
  const Tensor& t = values.t;
  check("transpose(t, {2, 0, 1})(0)", transpose(t, {2, 0, 1})(0), {2, 3}, {0, 4, 8, 12, 16, 20});
  check("reshape(t, {4, -1})", reshape(t, {4, -1}), {4, 6},
        {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23});
  check("swapaxes(x, 0, 1)", swapaxes(x, 0, 1), {3, 2}, {1.5, -0.5, -2, 3, 0.25, -1.25});
  check("broadcast_to(v, {2, 3})", broadcast_to(v, {2, 3}), {2, 3}, {2, -1, 0.5, 2, -1, 0.5});
  check("concatenate({x, x + 1}, 1)", concatenate({x, x + 1}, 1), {2, 6},
        {1.5, -2, 0.25, 2.5, -1, 1.25, -0.5, 3, -1.25, 0.5, 4, -0.25});
  check("stack({v, v * 2}, 1)", stack({v, v * 2}, 1), {3, 2}, {2, 4, -1, -2, 0.5, 1});
  check("pad(x, {{1, 0}, {0, 2}})", pad(x, {{1, 0}, {0, 2}}), {3, 5},
        {0, 0, 0, 0, 0, 1.5, -2, 0.25, 0, 0, -0.5, 3, -1.25, 0, 0});
  check("t[1]", t[1], {3, 4}, {12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23});
  check("t(all, 1)", t(all, 1), {2, 4}, {4, 5, 6, 7, 16, 17, 18, 19});
  check("t(all, all, -1)", t(all, all, -1), {2, 3}, {3, 7, 11, 15, 19, 23});
  check("t(1, slice(end, end, -2), slice(1, -1))", t(1, slice(end, end, -2), slice(1, -1)), {2, 2},
        {21, 22, 13, 14});
  check("t(0, slice(-2, end), slice(end, end, 3))", t(0, slice(-2, end), slice(end, end, 3)),
        {2, 2}, {4, 7, 8, 11});
  check("t(all, slice(2, 0, -1), 0)", t(all, slice(2, 0, -1), 0), {2, 2}, {8, 4, 20, 16});
  check("x(slice(1, 99))", x(slice(1, 99)), {1, 3}, {-0.5, 3, -1.25});
  check("x(all, slice(2, 2))", x(all, slice(2, 2)), {2, 0}, {});
}

TEST_CASE("values: indexing by tensors") {
  const Values values;
  const Tensor& x = values.x;
  const Tensor& w = values.w;
  const Tensor& t = values.t;
  const Tensor& ids = values.ids;
  const Tensor& labels = values.labels;
  check("x(all, ids)", x(all, ids), {2, 3}, {-2, 1.5, 0.25, 3, -0.5, -1.25});
  check("x[ids % 2]", x[ids % 2], {3, 3}, {-0.5, 3, -1.25, 1.5, -2, 0.25, -0.5, 3, -1.25});
  check("take(t, ids, 1)(0)", take(t, ids, 1)(0), {3, 4}, {4, 5, 6, 7, 0, 1, 2, 3, 8, 9, 10, 11});
  check("scatter_add(w, ids, {4, 3})", scatter_add(w, ids, {4, 3}), {4, 3},
        {4, 5, 6, 1, 2, 3, 0, 0, 0, 7, 8, 9});
  check("pick(x, labels)", pick(x, labels), {2}, {0.25, -0.5});
  check("one_hot(labels, 4)", one_hot(labels, 4), {2, 4}, {0, 0, 1, 0, 1, 0, 0, 0});
  check("iota({2, 3}, 1)", iota({2, 3}, 1), {2, 3}, {0, 1, 2, 0, 1, 2});
  check("arange(4)", arange(4), {4}, {0, 1, 2, 3});
}

TEST_CASE("values: products") {
  const Values values;
  const Tensor& x = values.x;
  const Tensor& v = values.v;
  const Tensor& w = values.w;
  const Tensor& t = values.t;
  const Tensor& k = values.k;
  const Tensor& d = values.d;
  const Tensor& a = values.a;
  const Tensor& b = values.b;
  check("dot(x, v)", dot(x, v), {2}, {5.125, -4.625});
  check("dot(v, v)", dot(v, v), {}, {5.25});
  check("dot(v, w)", dot(v, w), {3}, {1.5, 3, 4.5});
  check("dot(x, w)", dot(x, w), {2, 3}, {-4.75, -5, -5.25, 2.75, 4, 5.25});
  check("dot(k, d)", dot(k, d), {2}, {35, 19});
  check("matmul(a, b)", matmul(a, b), {3, 4, 2},
        {-20, -32, -2,  -5,  16,   22,   34,  49,  -92, -104, -20, -23,
         52,  58,  124, 139, -164, -176, -38, -41, 88,  94,   214, 229});
  check("matmul(t, b(0, all, 0)[0] + ones({4}))", matmul(t, b(0, all, 0)[0] + ones({4})), {2, 3},
        {6, 22, 38, 54, 70, 86});
  check("outer(v, d)", outer(v, d), {3, 3}, {4, -6, 0, -2, 3, -0, 1, -1.5, 0});
}

TEST_CASE("values: probability") {
  const Values values;
  const Tensor& x = values.x;
  const Tensor& labels = values.labels;
  const Tensor& large = values.large;
  check("softmax(x)", softmax(x), {2, 3},
        {0.7594731860969822, 0.022934102999540424, 0.21759271090347723, 0.028911913009762105,
         0.9574310663086683, 0.013657020681569421});
  check("softmax(x, 0)", softmax(x, 0), {2, 3},
        {0.8807970779778823, 0.006692850924284856, 0.8175744761936437, 0.11920292202211755,
         0.9933071490757153, 0.18242552380635632});
  check("log_softmax(large)", log_softmax(large), {2, 3},
        {-0.3132616875182066, -1.3132616875182066, -2000.3132616875182, -0.40760596444431485,
         -1.4076059644443148, -2.407605964444315});
  check("softmax_cross_entropy(x, labels)", softmax_cross_entropy(x, labels), {2},
        {1.5251302622476353, 3.543501553930298});
}

}  // namespace test_values
