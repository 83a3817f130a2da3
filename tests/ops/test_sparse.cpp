// Sparse matrices: values and gradients against SciPy's and PyTorch's (sparse_values.py), patterns
// that are none, and where products stand.
#include <doctest/doctest.h>
#include <kroton/kroton.h>
#include <kroton/sparse.h>

#include <cmath>
#include <fstream>
#include <sstream>

#include "tests/ops/peer_values.h"
#include "tests/tools/compiled_tools.h"
#include "tests/tools/error_text.h"
#include "tests/tools/graph_helpers.h"
#include "tests/tools/places.h"

namespace test_sparse {

using namespace kroton;       // NOLINT: tests
using namespace error_text;   // NOLINT: tests
using namespace peer_values;  // NOLINT: tests

namespace {

using Tensors = std::vector<Tensor>;
using Sizes = SparseMatrix::Sizes;

// Positions as sparse_values.py makes them.
Array places(std::int64_t count, std::int64_t size, std::uint64_t seed) {
  std::vector<std::int64_t> result;
  for (std::uint64_t k = 0; k < static_cast<std::uint64_t>(count); ++k) {
    const std::uint64_t mixed = (k * 2654435761u + seed * 40503) % (1ull << 32) / (1ull << 16);
    result.push_back(static_cast<std::int64_t>(mixed) % size);
  }
  return Array::from(result);
}

struct Line {
  std::string name;
  std::int64_t rows = 0, columns = 0, count = 0, width = 0;
  std::vector<double> sums;
};

std::vector<Line> read_lines() {
  std::ifstream file(places::source_dir() + "/tests/ops/sparse_values.txt");
  REQUIRE(file.good());
  std::vector<Line> lines;
  for (std::string text; std::getline(file, text);) {
    std::istringstream in(text);
    Line line;
    in >> line.name >> line.rows >> line.columns >> line.count >> line.width;
    for (double sum = 0; in >> sum;) line.sums.push_back(sum);
    lines.push_back(line);
  }
  return lines;
}

Tensor weighted(const Tensor& y) {
  const Tensor flat = flatten(y);
  return sum(flat * (iota(flat.shape(), 0, f64) % 7.0 - 2.5));
}

std::vector<double> sums_of(const std::vector<double>& values) {
  double first = 0, second = 0;
  for (std::size_t k = 0; k < values.size(); ++k) {
    first += values[k] * (static_cast<double>(k % 11) - 5);
    second += values[k] * static_cast<double>(k % 17 + 1);
  }
  return {first, second};
}

// A matrix with the elements that sparse_values.py gives it, and its values, an input.
struct Given {
  Given(std::int64_t rows, std::int64_t columns, std::int64_t count, std::uint64_t seed,
        const char* name)
      : values(tensor(name, {count}, f64)),
        numbers(operand({count}, seed + 2, f64)),
        matrix(SparseMatrix::from_coo(places(count, rows, seed), places(count, columns, seed + 1),
                                      values, {rows, columns})) {}
  Tensor values;
  Array numbers;
  SparseMatrix matrix;
};

// By the reference interpreter, or compiled.
void check_line(const Line& line, bool free_sizes, bool is_compiled) {
  CAPTURE(line.name);
  CAPTURE(line.rows);
  CAPTURE(line.columns);
  CAPTURE(line.count);
  CAPTURE(line.width);
  const Given a(line.rows, line.columns, line.count, 1, "values");
  Tensors inputs = {a.values};
  std::vector<Array> arguments = {a.numbers};
  const auto dense = [&](peer_values::Integers shape, std::uint64_t seed) {
    if (line.width >= 0) shape.push_back(line.width);
    Dims sizes;
    for (const std::int64_t size : shape) {
      sizes.push_back(free_sizes && size > 1 ? Dim::fresh("n") : Dim(size));
    }
    inputs.push_back(tensor("x", sizes, f64));
    arguments.push_back(operand(shape, seed, f64));
    return inputs.back();
  };
  Tensor y;
  std::optional<Given> b;
  const std::string& name = line.name;
  if (name == "dot") {
    y = dot(a.matrix, dense({line.columns}, 9));
  } else if (name == "left") {
    const Tensor x = dense({line.rows}, 9);
    y = dot(line.width < 0 ? x : transpose(x), a.matrix);
  } else if (name == "transposed") {
    y = dot(transpose(a.matrix), dense({line.rows}, 9));
  } else if (name == "to_dense") {
    y = to_dense(a.matrix);
  } else if (name == "sum") {
    y = sum(a.matrix);
  } else if (name == "sum0" || name == "sum1") {
    y = sum(a.matrix, name == "sum0" ? 0 : 1);
  } else if (name == "diagonal") {
    y = diagonal(a.matrix);
  } else if (name == "scale_rows") {
    y = to_dense(scale_rows(a.matrix, dense({line.rows}, 9)));
  } else if (name == "scale_columns") {
    y = to_dense(scale_columns(a.matrix, dense({line.columns}, 9)));
  } else if (name == "add") {
    b.emplace(line.rows, line.columns, line.count / 2, 5, "others");
    y = to_dense(add(a.matrix, b->matrix));
  } else if (name == "product") {
    b.emplace(line.columns, line.rows + 2, line.count, 5, "others");
    y = to_dense(dot(a.matrix, b->matrix));
  } else if (name == "sampled") {
    const Tensor left = Operand(operand({line.rows, line.width}, 8, f64)).tensor();
    const Tensor right = dense({line.columns}, 9);
    y = to_dense(sampled_dot(a.matrix, left, transpose(right)));
  } else {
    REQUIRE(name == "softmax");
    y = to_dense(softmax(a.matrix.with_values(a.matrix.values() / 3)));
  }
  if (b) {
    inputs.push_back(b->values);
    arguments.push_back(b->numbers);
  }
  Tensors outputs = {y};
  for (const Tensor& g : grad(weighted(y), inputs, {.allow_unused = true})) outputs.push_back(g);
  std::vector<double> sums;
  const auto add_sums = [&](const std::vector<double>& values) {
    for (const double sum : sums_of(values)) sums.push_back(sum);
  };
  const compiled_test::Problem problem{inputs, outputs, arguments};
  if (is_compiled) {
    for (const Array& result : compiled_test::compiled(problem)) {
      const std::span<const double> data = result.data<double>();
      add_sums({data.begin(), data.end()});
    }
  } else {
    for (const ReferenceValue& result : compiled_test::expected(problem)) {
      add_sums({result.data.begin(), result.data.end()});
    }
  }
  REQUIRE(sums.size() == line.sums.size());
  for (std::size_t k = 0; k < sums.size(); ++k) {
    CAPTURE(k);
    CHECK(sums[k] == doctest::Approx(line.sums[k]).epsilon(1e-11).scale(1));
  }
}

const Array rows = Array::from({0, 0, 1, 3}), columns = Array::from({1, 2, 0, 2});

}  // namespace

TEST_CASE("sparse: values and gradients of SciPy and PyTorch") {
  int number = 0;
  const std::vector<Line> lines = read_lines();
  CHECK(lines.size() > 300);
  for (const Line& line : lines) {
    ++number;
    check_line(line, number % 2 == 1, number % 7 == 0);
  }
}

TEST_CASE("sparse: what a matrix has") {
  const Tensor w = tensor("w", {4});
  const SparseMatrix a =
      SparseMatrix::from_coo(Array::from({3, 0, 1, 0}), Array::from({2, 2, 0, 1}), w, {4, 3});
  CHECK(a.shape() == Sizes{4, 3});
  CHECK(a.shape(0) == 4);
  CHECK(a.shape(-1) == 3);
  CHECK(a.nnz() == 4);
  CHECK(a.dtype() == f32);
  CHECK(array_equal(a.indptr(), Array::from({0, 2, 3, 3, 4})));
  CHECK(array_equal(a.indices(), Array::from({1, 2, 0, 2})));
  CHECK(array_equal(a.row_indices(), Array::from({0, 0, 1, 3})));
  const auto values = function({w}, a.values());
  CHECK(array_equal(values(Array::from({1.0F, 2.0F, 3.0F, 4.0F})),
                    Array::from({4.0F, 2.0F, 3.0F, 1.0F})));
  // What is in order stays what it is.
  CHECK(same(SparseMatrix::from_coo(rows, columns, w, {4, 3}).values(), w));
  CHECK(same(SparseMatrix::from_csr(a.indptr(), a.indices(), w, {4, 3}).values(), w));
  // Several elements at one place are one, constants are added up at once.
  const SparseMatrix twice = SparseMatrix::from_coo(Array::from({1, 0, 1}), Array::from({0, 0, 0}),
                                                    Array::from({1.0, 2.0, 4.0}), {2, 2});
  CHECK(twice.nnz() == 2);
  CHECK(array_equal(function({}, twice.values())(), Array::from({2.0, 5.0})));
  CHECK(twice.values().name() == "constant");
  // Other values at the same places, or one for all.
  CHECK(array_equal(function({}, to_dense(twice.with_values(1.0)))(),
                    Array::from({{1.0F, 0.0F}, {1.0F, 0.0F}})));
  const SparseMatrix dense = SparseMatrix::from_dense(
      Array::from({{0.0, 2.0, 0.0}, {0.0, 0.0, 0.0}, {std::nan(""), 0.0, -1.0}}));
  CHECK(dense.nnz() == 3);
  CHECK(array_equal(dense.indptr(), Array::from({0, 1, 1, 3})));
  CHECK(array_equal(dense.indices(), Array::from({1, 0, 2})));
  CHECK(SparseMatrix::from_dense(Array::zeros({0, 3})).shape() == Sizes{0, 3});
}

TEST_CASE("sparse: what is no pattern is told with its place") {
  const Array two = Array::from({1.0F, 2.0F});
  const auto coo = [&](const Array& i, const Array& j, const Operand& v, const Sizes& shape) {
    SparseMatrix::from_coo(i, j, v, shape);
  };
  const auto csr = [&](const Array& indptr, const Array& indices, const Sizes& shape) {
    SparseMatrix::from_csr(indptr, indices, 1.0, shape);
  };
  const Array i = Array::from({0, 1}), j = Array::from({2, 0});
  CHECK(value_error([&] { coo(Array::from({0, 3}), j, two, {3, 3}); }) ==
        "from_coo: rows[1] is 3, outside [0, 3)  [here]");
  CHECK(value_error([&] { coo(i, Array::from({-1, 0}), two, {3, 3}); }) ==
        "from_coo: columns[0] is -1, outside [0, 3)  [here]");
  CHECK(value_error([&] { coo(i, j, two, {3, -3}); }) ==
        "from_coo: a size of (3, -3) is negative  [here]");
  CHECK(shape_error([&] { coo(i, Array::from({0}), two, {3, 3}); }) ==
        "from_coo: rows and columns are not equally many: 2 and 1  [here]");
  CHECK(type_error([&] { coo(Array::from({0.0, 1.0}), j, two, {3, 3}); }) ==
        "from_coo: rows is f64, expected integers  [here]");
  CHECK(shape_error([&] { coo(Array::from({{0, 1}}), j, two, {3, 3}); }) ==
        "from_coo: rows has 2 axes, expected one  [here]");
  CHECK(shape_error([&] { coo(i, j, tensor("v", {3}), {3, 3}); }) ==
        "from_coo: the values are not as many as the stored elements: 3 and 2: v is f32 (3,)  "
        "[here]");
  CHECK(shape_error([&] { coo(i, j, tensor("v", {2, 1}), {3, 3}); }) ==
        "from_coo: the values have one axis: v is f32 (2, 1)  [here]");
  CHECK(type_error([&] { coo(i, j, tensor("v", {2}, boolean), {3, 3}); }) ==
        "from_coo: the values are numbers: v is boolean (2,)  [here]");
  CHECK(shape_error([&] { csr(Array::from({0, 1}), j, {2, 3}); }) ==
        "from_csr: indptr has 2 elements, expected one more than there are rows, 3  [here]");
  CHECK(value_error([&] { csr(Array::from({1, 1, 2}), j, {2, 3}); }) ==
        "from_csr: indptr[0] is 1, expected 0  [here]");
  CHECK(value_error([&] { csr(Array::from({0, 2, 1}), j, {2, 3}); }) ==
        "from_csr: indptr falls: indptr[1] is 2, indptr[2] is 1  [here]");
  CHECK(value_error([&] { csr(Array::from({0, 1, 3}), j, {2, 3}); }) ==
        "from_csr: indptr ends with 3, there are 2 indices  [here]");
  CHECK(value_error([&] { csr(Array::from({0, 1, 2}), j, {2, 2}); }) ==
        "from_csr: indices[0] is 2, outside [0, 2)  [here]");
  CHECK(value_error([&] { csr(Array::from({0, 0, 3}), Array::from({2, 0, 2}), {2, 3}); }) ==
        "from_csr: row 1 has column 2 twice: indices[0] and indices[2]; from_coo adds such "
        "elements up  [here]");
  CHECK(shape_error([&] { SparseMatrix::from_dense(Array::from({1.0, 2.0})); }) ==
        "from_dense: takes a matrix, its rank is 1  [here]");
  CHECK(type_error([&] { SparseMatrix::from_dense(Array::zeros({2, 2}, boolean)); }) ==
        "from_dense: takes numbers, not booleans  [here]");
}

TEST_CASE("sparse: sizes that do not fit are told") {
  const SparseMatrix a = SparseMatrix::from_coo(rows, columns, tensor("w", {4}), {4, 3});
  const Tensor x = tensor("x", {4}), free = vector("v"), m = matrix("m");
  CHECK(shape_error([&] { dot(a, x); }) ==
        "dot: a sparse matrix (4, 3) takes 3 on its right: x is f32 (4,)  [here]");
  CHECK(shape_error([&] { dot(tensor("y", {3}), a); }) ==
        "dot: a sparse matrix (4, 3) takes 4 on its left: y is f32 (3,)  [here]");
  CHECK(shape_error([&] { dot(a, tensor("t", {3, 2, 2})); }) ==
        "dot: the dense operand is a vector or a matrix: t is f32 (3, 2, 2)  [here]");
  CHECK(type_error([&] { dot(a, tensor("t", {3}, boolean)); }) ==
        "dot: takes numbers: t is boolean (3,)  [here]");
  CHECK(value_error([&] { dot(a, Tensor()); }).starts_with("dot: "));
  CHECK(value_error([&] { a.shape(2); }).starts_with("shape: axis 2"));
  CHECK(shape_error([&] { add(a, transpose(a)); }).find("differ: (4, 3) and (3, 4)") !=
        std::string::npos);
  CHECK(shape_error([&] { dot(a, a); }).find("(4, 3) and (4, 3) have no product") !=
        std::string::npos);
  CHECK(shape_error([&] { scale_rows(a, tensor("d", {3})); }).find("not as many") !=
        std::string::npos);
  CHECK(shape_error([&] { sampled_dot(a, m, tensor("y", {2, 4})); }).find("is not (4, 3)") !=
        std::string::npos);
  const Tensor w = a.values();
  const auto f = function({w, free}, dot(a, free));
  const Array ones = Array::ones({4});
  CHECK(f(ones, Array::ones({3})).shape() == Shape{4});
  CHECK(shape_error([&] { f(ones, Array::ones({4})); }) ==
        "function: dot: the dense operand has 4 where the sparse matrix, (4, 3), takes 3  [here]");
  const Tensor some = vector("some");
  const SparseMatrix b = SparseMatrix::from_coo(rows, columns, some, {4, 3});
  const auto g = function({some}, to_dense(b));
  CHECK(g(ones).shape() == Shape{4, 3});
  for (const std::int64_t size : {3, 5}) {
    CHECK(shape_error([&] { g(Array::ones({size})); }).find("not as many") != std::string::npos);
  }
}

TEST_CASE("sparse: in scans and branches and mapped over") {
  const Tensor w = tensor("w", {4}, f64), x = tensor("x", {3}, f64), s = tensor("s", {5, 3}, f64);
  const SparseMatrix a = SparseMatrix::from_coo(rows, columns, w, {4, 3});
  const Tensor dense = to_dense(a);
  const Array numbers = operand({4}, 3, f64), at = operand({3}, 4, f64),
              many = operand({5, 3}, 5, f64);
  const auto agree = [&](const Tensors& sparse, const Tensors& plain) {
    const compiled_test::Problem problem{{w, x, s}, sparse, {numbers, at, many}};
    const std::vector<Array> have = compiled_test::compiled(problem);
    const std::vector<Array> want =
        compiled_test::compiled({{w, x, s}, plain, {numbers, at, many}});
    for (std::size_t k = 0; k < have.size(); ++k) CHECK(all_close(have[k], want[k], 1e-12, 1e-12));
  };
  const auto both = [&](const std::function<Tensor(bool is_sparse)>& y) {
    const Tensor sparse = y(true), plain = y(false);
    Tensors left = {sparse}, right = {plain};
    for (const Tensor& g : grad(weighted(sparse), {w, x, s}, {.allow_unused = true}))
      left.push_back(g);
    for (const Tensor& g : grad(weighted(plain), {w, x, s}, {.allow_unused = true}))
      right.push_back(g);
    agree(left, right);
  };
  // A power iteration; the matrix stays, or changes with the step.
  both([&](bool is_sparse) {
    return scan(
        [&](const Tensor& row, const Tensor& state) {
          const Tensor v = state + row;
          const Tensor y = is_sparse ? dot(dot(a, v), a) : dot(dot(dense, v), dense);
          return tanh(y);
        },
        {.sequences = {s}, .outputs_info = {x}});
  });
  both([&](bool is_sparse) {
    return scan(
        [&](const Tensor& row, const Tensor& state) {
          const SparseMatrix scaled = scale_columns(a, row);
          return tanh(is_sparse ? dot(dot(scaled, state), scaled)
                                : dot(dot(dense * row, state), dense * row));
        },
        {.sequences = {s}, .outputs_info = {x}});
  });
  both([&](bool is_sparse) {
    return ifelse(sum(x) > 0, is_sparse ? dot(a, x) : dot(dense, x),
                  is_sparse ? dot(a, 2 * x) : dot(dense, 2 * x));
  });
  both([&](bool is_sparse) {
    return vmap([&](const Tensor& row) { return is_sparse ? dot(a, row) : dot(dense, row); })(s);
  });
  both([&](bool is_sparse) {
    const Tensor all = stack({w, 2 * w, w * w});
    return vmap([&](const Tensor& values) {
      const SparseMatrix b = a.with_values(values);
      return is_sparse ? dot(b, x) : dot(to_dense(b), x);
    })(all);
  });
  // Second derivatives.
  const auto penalty = [&](const Tensor& y, const Tensors& wrt) {
    Tensor total = zeros({}, f64);
    for (const Tensor& g : grad(sum(exp(0.1 * y) * y), wrt)) total = total + sum(g * g * g);
    return total;
  };
  both([&](bool is_sparse) { return penalty(is_sparse ? dot(a, x) : dot(dense, x), {w, x}); });
  both([&](bool is_sparse) {
    return penalty(is_sparse ? dot(a, transpose(s)) : dot(dense, transpose(s)), {w, s});
  });
  // Forwards.
  const Tensor y = dot(a, x);
  agree({jacobian(y, w), jacobian(y, x)}, {jacobian(dot(dense, x), w), dense});
}

TEST_CASE("sparse: dtypes are promoted and integers stay") {
  const SparseMatrix ones = SparseMatrix::from_coo(rows, columns, 1, {4, 3});
  CHECK(dot(ones, tensor("x", {3}, f64)).dtype() == f64);
  CHECK(dot(ones, tensor("x", {3}, i32)).dtype() == i32);
  const SparseMatrix tenths = SparseMatrix::from_coo(rows, columns, 0.1, {4, 3});
  const Tensor x = tensor("x", {3}, f64);
  // A literal has the precision of what it meets.
  CHECK(function({x}, dot(tenths, x))(Array::from({1.0, 0.0, 0.0}))(1).item<double>() == 0.1);
  const SparseMatrix whole =
      SparseMatrix::from_coo(rows, columns, Array::from({1, 2, 3, 4}), {4, 3});
  CHECK(array_equal(function({}, sum(whole, 0))(), Array::from({3LL, 1LL, 6LL})));
}

}  // namespace test_sparse
