// Products and linear algebra: values and gradients against PyTorch's (linalg_values.py).
#include <doctest/doctest.h>
#include <kroton/banded.h>
#include <kroton/kroton.h>
#include <kroton/linalg.h>
#include <kroton/products.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <sstream>

#include "tests/ops/peer_values.h"
#include "tests/tools/places.h"

namespace test_linalg_values {

using namespace kroton;       // NOLINT: tests
using namespace peer_values;  // NOLINT: tests

namespace {

using Tensors = std::vector<Tensor>;

Tensor transposed(const Tensor& x) { return swapaxes(x, -1, -2); }

Tensor on_diagonal(const Tensor& x) {
  return eq(iota(x.shape(), x.rank() - 2), iota(x.shape(), x.rank() - 1));
}

Tensor eye(const Tensor& x) { return cast(on_diagonal(x), f64); }

// The matrices that linalg_values.py makes of whole numbers, by the same names.
Tensor regular(const Tensor& x) {
  return x + (3 * static_cast<double>(x.shape(-1).constant()) + 1) * eye(x);
}
Tensor definite(const Tensor& x) { return matmul(x, transposed(x)) / 4 + eye(x); }
Tensor counted(const Tensor& x, double first) {
  return where(on_diagonal(x), iota(x.shape(), x.rank() - 1, f64) + first, 0);
}
Tensor spread(const Tensor& x) {
  const auto n = static_cast<double>(x.shape(-1).constant());
  return (x + transposed(x)) / (8 * n + 1) + counted(x, 0);
}
Tensor apart(const Tensor& x) {
  const auto both = static_cast<double>((x.shape(-1) + x.shape(-2)).constant());
  return x / (8 * both) + counted(x, 1);
}
Tensor reversed(const Tensor& x, int axis) {
  const auto last = x.shape(axis) - 1;
  return take(x, size_of_dim(last) - arange(x.shape(axis)), axis);
}
Tensor rows(const Tensor& w) { return expand_dims(w, -2); }

using Function = std::function<Tensor(const Tensors&, const std::string& argument)>;

const std::map<std::string, Function>& functions() {
  const auto of_matrix = [](Tensor (*f)(const Operand&), Tensor (*of)(const Tensor&)) -> Function {
    return [=](const Tensors& x, const std::string&) { return f(of(x[0])); };
  };
  const auto one = [](std::function<Tensor(const Tensor&)> f) -> Function {
    return [=](const Tensors& x, const std::string&) { return f(x[0]); };
  };
  const auto norm = [](MatrixNorm which, Tensor (*of)(const Tensor&)) -> Function {
    return [=](const Tensors& x, const std::string&) { return matrix_norm(of(x[0]), which); };
  };
  const auto axes = [](const std::string& text) {
    std::vector<int> result;
    for (const std::int64_t axis : numbers(text)) result.push_back(static_cast<int>(axis));
    return result;
  };
  static const std::map<std::string, Function> all = {
      {"einsum", [](const Tensors& x, const std::string& text) { return einsum(text, x); }},
      {"tensordot",
       [](const Tensors& x, const std::string& n) { return tensordot(x[0], x[1], std::stoi(n)); }},
      {"tensordot_lists",
       [axes](const Tensors& x, const std::string& text) {
         const std::size_t bar = text.find('/');
         return tensordot(x[0], x[1], axes(text.substr(0, bar)), axes(text.substr(bar + 1)));
       }},
      {"inner", [](const Tensors& x, const std::string&) { return inner(x[0], x[1]); }},
      {"kron", [](const Tensors& x, const std::string&) { return kron(x[0], x[1]); }},
      {"vdot", [](const Tensors& x, const std::string&) { return vdot(x[0], x[1]); }},
      {"multi_dot", [](const Tensors& x, const std::string&) { return multi_dot(x); }},
      {"bilinear", [](const Tensors& x, const std::string&) { return bilinear(x[0], x[1], x[2]); }},
      {"matrix_power0", one([](const Tensor& x) { return matrix_power(x, 0); })},
      {"matrix_power3", one([](const Tensor& x) { return matrix_power(x, 3); })},
      {"matrix_power-2", one([](const Tensor& x) { return matrix_power(regular(x), -2); })},
      {"cholesky", of_matrix(cholesky, definite)},
      {"inv", of_matrix(inv, regular)},
      {"det", one([](const Tensor& x) {
         return det(regular(x) / (3 * static_cast<double>(x.shape(-1).constant()) + 1));
       })},
      {"logabsdet",
       one([](const Tensor& x) { return slogdet(reversed(regular(x), -1)).logabsdet; })},
      {"sign", one([](const Tensor& x) { return slogdet(reversed(regular(x), -1)).sign; })},
      {"logdet", of_matrix(logdet, definite)},
      {"lu", one([](const Tensor& x) { return lu(reversed(regular(x), -2)).factors; })},
      {"eigh", one([](const Tensor& x) {
         const auto [w, v] = eigh(spread(x));
         return matmul(v * rows(cos(w)), transposed(v)) + v * v;
       })},
      {"eigvalsh", of_matrix(eigvalsh, spread)},
      {"expm", one([](const Tensor& x) { return expm(x / 4); })},
      {"norm1", norm(MatrixNorm::one, regular)},
      {"norminf", norm(MatrixNorm::inf, regular)},
      {"fro", norm(MatrixNorm::fro, apart)},
      {"nuc", norm(MatrixNorm::nuc, apart)},
      {"two", norm(MatrixNorm::two, apart)},
      {"cond", one([](const Tensor& x) { return cond(apart(x)); })},
      {"cond1", one([](const Tensor& x) { return cond(regular(x), MatrixNorm::one); })},
      {"trace", one([](const Tensor& x) { return trace(x, 0, -2, -1); })},
      {"qr", one([](const Tensor& x) {
         const auto [q, r] = qr(apart(x));
         return sum(q * q) + flatten(r * r);
       })},
      {"svd", one([](const Tensor& x) {
         const auto [u, s, vh] = svd(apart(x));
         return matmul(u * rows(sin(s)), vh) + matmul(u * rows(s), sum(transposed(u), -1, true));
       })},
      {"svdvals", of_matrix(svdvals, apart)},
      {"pinv", one([](const Tensor& x) { return pinv(apart(x)); })},
      {"rank", one([](const Tensor& x) { return cast(matrix_rank(x), f64); })},
      {"lstsq", [](const Tensors& x, const std::string&) { return lstsq(apart(x[0]), x[1]); }},
      {"solve", [](const Tensors& x, const std::string&) { return solve(regular(x[0]), x[1]); }},
      {"solve_definite",
       [](const Tensors& x, const std::string&) {
         return solve(definite(x[0]), x[1], Assume::positive_definite);
       }},
      {"solve_vector",
       [](const Tensors& x, const std::string&) { return solve(regular(x[0]), x[1]); }},
      {"solve_triangular",
       [](const Tensors& x, const std::string& variant) {
         const int k = std::stoi(variant);
         return solve_triangular(regular(x[0]), x[1], k % 2 == 1, k / 2 == 1);
       }},
      {"solve_banded",
       [](const Tensors& x, const std::string& text) {
         const Integers bands = numbers(text);
         const Tensor on_main = eq(iota(x[0].shape(), x[0].rank() - 2), bands[1]);
         return solve_banded({static_cast<int>(bands[0]), static_cast<int>(bands[1])},
                             where(on_main, x[0] + 9, x[0]), x[1]);
       }},
      {"null_projection",
       [](const Tensors& x, const std::string& rank) {
         const Tensor basis = null_space(apart(x[0]), std::stoi(rank));
         return matmul(basis, transposed(basis));
       }},
      {"tridiagonal",
       [](const Tensors& x, const std::string&) {
         return solve_tridiagonal(x[0], x[1] + 9, x[2], x[3]);
       }},
  };
  return all;
}

struct Case {
  std::string name, argument, line;
  std::vector<Integers> shapes;
  std::vector<double> expected;  // two for the result and for each gradient

  explicit Case(const std::string& text) : line(text) {
    std::istringstream in(text);
    std::string list;
    in >> name >> argument >> list;
    std::istringstream parts(list);
    for (std::string part; std::getline(parts, part, ';');) {
      shapes.push_back(part == "s" ? Integers{} : numbers(part));
    }
    for (double value = 0; in >> value;) expected.push_back(value);
  }
};

std::vector<Case> cases_of(const std::function<bool(const std::string&)>& wanted) {
  std::ifstream in(places::source_dir() + "/tests/ops/linalg_values.txt");
  REQUIRE(in);
  std::vector<Case> result;
  for (std::string line; std::getline(in, line);) {
    if (Case c(line); wanted(c.name)) result.push_back(std::move(c));
  }
  REQUIRE(!result.empty());
  return result;
}

std::pair<double, double> sums(const Array& values) {
  std::pair<double, double> result;
  std::int64_t i = 0;
  for (const double x : values.data<double>()) {
    result.first += x * static_cast<double>(i % 11 - 5);
    result.second += x * static_cast<double>(i % 17 + 1);
    ++i;
  }
  return result;
}

void check(const Case& c, DType dtype) {
  CAPTURE(c.line);
  Tensors inputs, operands;
  std::vector<Array> values;
  for (std::size_t k = 0; k < c.shapes.size(); ++k) {
    const Integers& shape = c.shapes[k];
    inputs.push_back(tensor("x" + std::to_string(k), Dims(shape.begin(), shape.end()), f64));
    operands.push_back(cast(inputs.back(), dtype));
    values.push_back(operand(shape, k + 1, f64));
  }
  const Tensor y = cast(functions().at(c.name)(operands, c.argument), f64);
  const Tensor flat = flatten(y);
  const Tensor loss = sum(flat * (cast(arange(flat.shape(0)) % 7, f64) - 2.5));
  Tensors outputs = {y};
  for (const Tensor& gradient : grad(loss, inputs, {.allow_unused = true})) {
    outputs.push_back(gradient);
  }
  const std::vector<Argument> arguments(values.begin(), values.end());
  const std::vector<Array> results =
      function(inputs, outputs, {.on_unused_input = UnusedInput::ignore}).call(arguments);
  for (std::size_t k = 0; k < results.size(); ++k) {
    CAPTURE(k);
    const auto [a, b] = sums(results[k]);
    const double scale = 1 + std::abs(c.expected[2 * k]) + std::abs(c.expected[2 * k + 1]);
    const double tolerance = dtype == f32 ? 2e-3 : 1e-8;
    CHECK(std::abs(a - c.expected[2 * k]) <= tolerance * scale);
    CHECK(std::abs(b - c.expected[2 * k + 1]) <= tolerance * scale);
  }
}

void check_all(const std::set<std::string>& names) {
  for (const Case& c : cases_of([&](const std::string& name) { return names.contains(name); })) {
    check(c, f64);
  }
}

}  // namespace

TEST_CASE("linalg values: einsum") { check_all({"einsum"}); }
TEST_CASE("linalg values: products") {
  check_all({"tensordot", "tensordot_lists", "inner", "kron", "vdot", "multi_dot", "bilinear",
             "matrix_power0", "matrix_power3", "matrix_power-2"});
}
TEST_CASE("linalg values: systems") {
  check_all({"solve", "solve_definite", "solve_vector", "inv", "lstsq", "solve_banded"});
}
TEST_CASE("linalg values: triangles") { check_all({"cholesky", "solve_triangular"}); }
TEST_CASE("linalg values: determinants") {
  check_all({"det", "logabsdet", "sign", "logdet", "trace", "lu"});
}
TEST_CASE("linalg values: qr and eigenvalues") { check_all({"qr", "eigh", "eigvalsh"}); }
TEST_CASE("linalg values: singular values") {
  check_all({"svd", "svdvals", "pinv", "rank", "nuc", "two", "cond", "null_projection"});
}
TEST_CASE("linalg values: norms") { check_all({"fro", "norm1", "norminf", "cond1"}); }
TEST_CASE("linalg values: loops") { check_all({"expm", "tridiagonal"}); }
TEST_CASE("linalg values: in f32") {
  int count = 0;
  for (const Case& c : cases_of([](const std::string& name) { return name != "einsum"; })) {
    const Integers& shape = c.shapes[0];
    if (shape.size() < 2 || shape.back() != 3) continue;
    check(c, f32);
    ++count;
  }
  CHECK(count > 20);
}
TEST_CASE("linalg values: every function of the file has a case") {
  std::set<std::string> seen;
  cases_of([&](const std::string& name) { return seen.insert(name).second; });
  for (const auto& [name, function] : functions()) CHECK_MESSAGE(seen.contains(name), name);
  CHECK(seen.size() == functions().size());
}

}  // namespace test_linalg_values
