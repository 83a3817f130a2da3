// Linear algebra where it takes part: gradients of second order, scans, devices, the checking mode;
// and matrices that are made of parts.
#include <doctest/doctest.h>
#include <kroton/kroton.h>
#include <kroton/linalg.h>
#include <kroton/products.h>

#include <cmath>
#include <sstream>

#include "tests/aot/aot_tools.h"
#include "tests/gpu_emulator/emulated_device.h"
#include "tests/tools/error_text.h"

using namespace kroton;  // NOLINT: tests

namespace {

Tensor eye(const Tensor& x) {
  return cast(eq(iota(x.shape(), x.rank() - 2), iota(x.shape(), x.rank() - 1)), x.dtype());
}
Tensor tr(const Tensor& x) { return swapaxes(x, -1, -2); }
Array rnd(const Shape& s, int seed) { return Array::uniform(s, seed, -1, 1).cast(f64); }
// Singular values apart.
Tensor apart(const Tensor& x) {
  return 0.2 * x + where(eq(iota(x.shape(), x.rank() - 2), iota(x.shape(), x.rank() - 1)),
                         iota(x.shape(), x.rank() - 1, f64) + 1, 0);
}

}  // namespace

TEST_CASE("linear algebra: gradients of second order") {
  for (const Shape& shape : {Shape{3, 3}, Shape{2, 2, 2}, Shape{4, 2}, Shape{2, 4}}) {
    const Tensor x = tensor("x", Dims(shape.begin(), shape.end()), f64);
    const Array at = rnd(shape, 3);
    const Tensor a = apart(x), s = matmul(a, tr(a));
    const bool is_square = shape[-1] == shape[-2];
    std::vector<std::pair<const char*, Tensor>> costs = {
        {"pinv", sum(sin(pinv(a)))},
        {"svdvals", sum(sin(svdvals(a)))},
        {"svd",
         [&] {
           auto [u, d, vh] = svd(a);
           return sum(sin(matmul(u * expand_dims(cos(d), -2), vh)));
         }()},
        {"qr",
         [&] {
           auto [q, r] = qr(a);
           return sum(sin(q)) + sum(r * r * r);
         }()},
        {"nuc", sum(matrix_norm(a, MatrixNorm::nuc))},
    };
    if (is_square) {
      costs.emplace_back("solve", sum(sin(solve(a, x))));
      costs.emplace_back("inv", sum(sin(inv(a))));
      costs.emplace_back("det", sum(sin(det(a))));
      costs.emplace_back("logabsdet", sum(sin(slogdet(a).logabsdet)));
      costs.emplace_back("lu", sum(sin(lu(a).factors)));
      costs.emplace_back("expm", sum(sin(expm(a))));
      costs.emplace_back("eigh", [&] {
        auto [w, v] = eigh(s);
        return sum(sin(matmul(v * expand_dims(cos(w), -2), tr(v)))) + sum(square(v) * x);
      }());
      costs.emplace_back("eigvalsh", sum(sin(eigvalsh(s))));
      costs.emplace_back("sqrtm", sum(sin(sqrtm(matmul(s, s) + 0.3 * eye(s)))));
      costs.emplace_back("logdet", sum(logdet(matmul(a, tr(a)) + eye(a))));
      costs.emplace_back("power", sum(sin(matrix_power(a, -3))));
    }
    for (const auto& [name, cost] : costs) {
      CAPTURE(name);
      CAPTURE(shape[-1]);
      CHECK_NOTHROW(verify_grad(cost, {{x, at}}));
      CHECK_NOTHROW(verify_grad(sum(sin(grad(cost, x))), {{x, at}}));
    }
  }
}

TEST_CASE("linear algebra: in scans, with rows and with states") {
  const Tensor xs = tensor("xs", {dim("steps"), 3, 3}, f64), b = tensor("b", {3}, f64);
  const auto looped =
      scan([&](Tensor x, Tensor state) { return solve(x + 4 * eye(x), state) + sum(det(x)); },
           {.sequences = {xs}, .outputs_info = {b}});
  const auto mapped = kroton::map([&](Tensor x) { return inv(x + 4 * eye(x)); }, {xs});
  const auto eigen = kroton::map([&](Tensor x) { return eigvalsh(x + tr(x)); }, {xs});
  const auto f = function({xs, b}, {looped[-1], mapped, inv(xs + 4 * eye(xs)), eigen,
                                    eigvalsh(xs + tr(xs)), grad(sum(looped), xs)});
  const auto got = f(rnd({5, 3, 3}, 1), rnd({3}, 2));
  CHECK(all_close(got[1], got[2], 1e-12, 1e-12));
  CHECK(all_close(got[3], got[4], 1e-12, 1e-12));
  verify_grad(sum(sin(looped)), {{xs, rnd({4, 3, 3}, 1)}, {b, rnd({3}, 2)}});
  const auto none = f(rnd({1, 3, 3}, 1), rnd({3}, 2));
  CHECK(none[1].shape() == Shape{1, 3, 3});
}

TEST_CASE("cuda: small matrices of linear algebra") {
  const gpu_emulator::TestCuda cuda;
  const Tensor x = tensor("x", {dim("batch"), 4, 4}, f64);
  const Tensor d = matmul(x, tr(x)) + eye(x);
  const std::vector<Tensor> outputs = {cholesky(d), inv(d), det(x), einsum("bij,bkj->bik", x, x)};
  const auto there = function({x}, outputs, {.target = kroton::cuda()})(rnd({37, 4, 4}, 1));
  const auto here = function({x}, outputs)(rnd({37, 4, 4}, 1));
  for (std::size_t k = 0; k < here.size(); ++k) CHECK(all_close(there[k], here[k], 1e-9, 1e-9));
  const auto f = function({x}, inv(x), {.name = "f", .target = kroton::cuda()});
  Array zero = rnd({3, 4, 4}, 1);
  for (int k = 32; k < 48; ++k) zero.data<double>()[static_cast<std::size_t>(k)] = 0;
  CHECK(error_text::value_error([&] { f(zero); }) ==
        "f: solve: matrix 2 is singular: its pivot 0 is 0  [here]");
}

TEST_CASE("linear algebra: the checking mode") {
  const Tensor x = tensor("x", {dim("batch"), 3, 3}, f64);
  const auto f = function(
      {x},
      {inv(x), cholesky(matmul(x, tr(x)) + eye(x)), det(x), eigvalsh(x + tr(x)), svd(x).u, qr(x).q},
      {.check = Check::all});
  CHECK_NOTHROW(f(rnd({7, 3, 3}, 1)));
}

TEST_CASE("linear algebra: threads share the matrices of a batch") {
  const Tensor x = tensor("x", {dim("count"), dim("n"), dim("n")}, f64);
  const auto [w, v] = eigh(x);
  const auto f =
      function({x}, {solve(x, x), w, v, svd(x).u, qr(x).r, det(x), cholesky(x + 40 * eye(x))});
  const Array many = rnd({23, 30, 30}, 1);
  const auto together = f(many);
  for (const std::int64_t number : {0, 11, 22}) {
    Array one = Array::zeros({1, 30, 30}, f64);
    std::copy_n(many.data<double>().begin() + number * 900, 900, one.data<double>().begin());
    const auto alone = f(one);
    for (std::size_t k = 0; k < alone.size(); ++k) {
      CAPTURE(k);
      const auto part =
          together[k].data<double>().subspan(static_cast<std::size_t>(number * alone[k].size()),
                                             static_cast<std::size_t>(alone[k].size()));
      CHECK(std::equal(part.begin(), part.end(), alone[k].data<double>().begin()));
    }
  }
  // The first matrix that fails is named, whoever comes to one first.
  const auto factor = function({x}, cholesky(x), {.name = "f"});
  Array bad = Array::zeros({50, 30, 30}, f64);
  for (int k = 0; k < 50; ++k) {
    for (int i = 0; i < 30; ++i) {
      const bool fails = (k == 11 && i == 7) || k == 26 || k == 49;
      bad.data<double>()[static_cast<std::size_t>((k * 30 + i) * 30 + i)] = fails ? -1 : 1;
    }
  }
  CHECK(
      error_text::value_error([&] { factor(bad); }) ==
      "f: cholesky: matrix 11 is not positive definite: its leading minor of order 8 is not above "
      "0  [here]");
}

TEST_CASE("linear algebra: a factor is shared") {
  const Tensor x = tensor("x", {20, 20}, f64), b = tensor("b", {20}, f64);
  const Tensor y = solve(x, b);
  const auto f = function({x, b}, {y, grad(sum(sin(y)), x), slogdet(x).logabsdet, inv(x)});
  std::ostringstream text;
  f.print(text);
  std::size_t count = 0;
  for (std::size_t at = 0; (at = text.str().find("kroton_lu_f64", at)) != std::string::npos; ++at)
    ++count;
  CHECK(count == 1);
}

TEST_CASE("linear algebra: odd matrices") {
  const Tensor a = vector("a", f64), b = vector("b", f64);
  const auto t = function({a, b}, toeplitz(a, b));
  CHECK(array_equal(t(Array::from({1.0, 2.0, 3.0}), Array::from({9.0, 8.0})),
                    Array::from({{1.0, 8.0}, {2.0, 1.0}, {3.0, 2.0}})));
  const auto v = function({a}, {vander(a, 3), vander(a, 3, true)})(Array::from({2.0, 3.0}));
  CHECK(array_equal(v[0], Array::from({{4.0, 2.0, 1.0}, {9.0, 3.0, 1.0}})));
  CHECK(array_equal(v[1], Array::from({{1.0, 2.0, 4.0}, {1.0, 3.0, 9.0}})));
  const Tensor m = matrix("m", f64);
  CHECK(array_equal(function({m, a}, block_diag({m, expand_dims(a, 0)}))(
                        Array::from({{1.0}, {2.0}}), Array::from({3.0, 4.0})),
                    Array::from({{1.0, 0.0, 0.0}, {2.0, 0.0, 0.0}, {0.0, 3.0, 4.0}})));
  const auto e = function({m}, expm(m));
  CHECK(all_close(
      e(Array::from({{0.0, 100.0}, {-100.0, 0.0}})),
      Array::from({{std::cos(100.0), std::sin(100.0)}, {-std::sin(100.0), std::cos(100.0)}}), 1e-11,
      1e-11));
  CHECK(all_close(e(Array::zeros({2, 2}, f64)), Array::from({{1.0, 0.0}, {0.0, 1.0}})));
  const auto w =
      function({m}, {eigvals(m).real, eigvals(m).imag})(Array::from({{0.0, 1.0}, {-1.0, 0.0}}));
  CHECK(all_close(w[0], Array::zeros({2}, f64), 1e-12, 1e-12));
  CHECK(std::abs(w[1].data<double>()[0]) == doctest::Approx(1));
  CHECK_THROWS_AS(e(Array::ones({2, 3}, f64)), ShapeError);
}

TEST_CASE("linear algebra: small matrices ahead of time need no library") {
  const TemporaryDirectory directory;
  // A filter's step: covariance and state, of 6 numbers of which 2 are measured.
  const Tensor p = tensor("p", {6, 6}, f64), h = tensor("h", {2, 6}, f64);
  const Tensor state = tensor("state", {6}, f64), seen = tensor("seen", {2}, f64);
  const Tensor ph = matmul(p, tr(h)), s = matmul(h, ph);
  const Tensor gain = tr(solve(s + eye(s), tr(ph)));
  const std::vector<Tensor> outputs = {state + dot(gain, seen - dot(h, state)),
                                       p - matmul(gain, tr(ph)),
                                       cholesky(p + 9 * eye(p)),
                                       inv(p + 9 * eye(p)),
                                       eigh(p).vectors,
                                       svd(h).vh,
                                       qr(p).q,
                                       pinv(h)};
  const auto files =
      aot::write({p, h, state, seen}, outputs, {.name = "step", .directory = directory.path()});
  const std::string header = aot_tools::read_file(files.header);
  CHECK(header.find("LAPACK") == std::string::npos);
  CHECK(header.find("solve: the matrix is singular  [") != std::string::npos);
  std::ostringstream text;
  function({p, h, state, seen}, outputs).print(text);
  CHECK(text.str().find("kroton_") == std::string::npos);
}
