// Batching: an expression for all rows at once is the expression applied row by row.
#include <doctest/doctest.h>
#include <kroton/index.h>
#include <kroton/variables.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "compiler/scan/batch.h"
#include "tests/tools/op_tools.h"

using namespace op_test;  // NOLINT: tests

namespace {

// Whether integers among the operands are indices: what the op is composed of refuses some.
bool takes_indices(const Tensor& output) {
  const Node& node = output.node();
  const Tensor composition =
      node.op.kind == OpKind::composite ? node.op.expand(node.inputs, node.attributes) : output;
  const std::vector<Tensor> parts = topological_order(std::span(&composition, 1));
  return std::ranges::any_of(parts, [](const Tensor& t) { return t.node().op.observable; });
}

// Row `row` of an operand: other values, as valid as the sample's. Indices stay in range: they are
// only rotated, a single one becomes the one before it.
ReferenceValue row_of(ReferenceValue value, bool indices, int row) {
  std::vector<Number>& data = value.data;
  if (!data.empty()) {
    const auto turns = static_cast<std::size_t>(row) % data.size();
    std::rotate(data.begin(), data.begin() + static_cast<std::ptrdiff_t>(turns), data.end());
  }
  for (Number& x : data) {
    if (value.dtype == DType::boolean) {
      x = row % 2 == 0 ? x : 1 - x;
    } else if (is_float(value.dtype)) {
      x *= 1 - 0.03125 * row;
    } else if (!indices) {
      x += row;
    } else if (data.size() == 1) {
      x += -(row % 2);
    }
    if (value.dtype == DType::f32) {
      x = static_cast<double>(static_cast<float>(x));
    }
  }
  return value;
}

ReferenceValue stacked(const std::vector<ReferenceValue>& rows, const ReferenceValue& like) {
  ReferenceValue result{like.dtype, like.shape, {}};
  result.shape.insert(result.shape.begin(), static_cast<std::int64_t>(rows.size()));
  for (const ReferenceValue& row : rows) {
    result.data.insert(result.data.end(), row.data.begin(), row.data.end());
  }
  return result;
}

// An input for `count` rows of x.
Tensor rows_of(const Tensor& x, const Dim& count) {
  Dims shape = x.shape();
  shape.insert(shape.begin(), count);
  return make_input("rows", {x.dtype(), shape}, {__FILE__, __LINE__});
}

// The mapped inputs' rows, and the values of all inputs: those of all rows at once, and of each.
struct Rows {
  std::unordered_map<const Node*, Tensor> mapped;
  Bindings bindings;
  std::vector<Bindings> single;
};

Rows rows_for(const Case& c, const std::vector<bool>& mapped, bool indices, int count,
              const Dim& count_size) {
  Rows result;
  result.bindings = c.bindings;
  result.single.assign(static_cast<std::size_t>(count), c.bindings);
  for (std::size_t k = 0; k < c.inputs.size(); ++k) {
    const Tensor& input = c.inputs[k];
    const ReferenceValue& value = c.bindings.at(&input.node());
    if (!mapped[k]) {
      continue;
    }
    std::vector<ReferenceValue> rows;
    for (int row = 0; row < count; ++row) {
      rows.push_back(row_of(value, indices, row));
      result.single[static_cast<std::size_t>(row)][&input.node()] = rows.back();
    }
    const Tensor tensor = rows_of(input, count_size);
    result.mapped.emplace(&input.node(), tensor);
    result.bindings[&tensor.node()] = stacked(rows, value);
  }
  return result;
}

void check_close(const ReferenceValue& got, const ReferenceValue& expected) {
  CHECK(got.shape == expected.shape);
  REQUIRE(got.data.size() == expected.data.size());
  for (std::size_t i = 0; i < got.data.size(); ++i) {
    const double scale = std::max(1.0, std::fabs(expected.data[i]));
    const bool close = equal(got.data[i], expected.data[i]) ||
                       std::fabs(got.data[i] - expected.data[i]) <= 1e-12 * scale;
    CHECK_MESSAGE(close, i, ": ", got.data[i], " instead of ", expected.data[i]);
  }
}

// `count` rows of the mapped inputs of a case: the batched value is that of each row, stacked.
void check_rows(const Case& c, const std::vector<bool>& mapped, bool indices, int count,
                const Dim& count_size) {
  const Rows rows = rows_for(c, mapped, indices, count, count_size);
  const std::optional<Batched> batched = batch(c.output, rows.mapped, count_size);
  REQUIRE(batched.has_value());
  CHECK(batched->mapped);
  CHECK(batched->value.dtype() == c.output.dtype());
  std::vector<ReferenceValue> expected;
  for (const Bindings& bindings : rows.single) {
    expected.push_back(value_of(c.output, bindings));
  }
  check_close(value_of(batched->value, rows.bindings),
              stacked(expected, value_of(c.output, c.bindings)));
}

// Every choice of mapped inputs among the first three but none.
std::vector<std::vector<bool>> choices(std::size_t inputs) {
  std::vector<std::vector<bool>> result;
  const std::size_t free = std::min<std::size_t>(inputs, 3);
  for (std::size_t bits = 1; bits < (std::size_t{1} << free); ++bits) {
    std::vector<bool> mapped(inputs, false);
    for (std::size_t k = 0; k < free; ++k) {
      mapped[k] = (bits >> k & 1) != 0;
    }
    result.push_back(std::move(mapped));
  }
  return result;
}

void check_all_ops(int count, bool free_sizes) {
  for (const OpRecord* op : all_ops()) {
    if (op->batch == nullptr) {
      continue;
    }
    CAPTURE(op->name);
    int number = -1;
    for (const Sample& sample : op->samples()) {
      ++number;
      CAPTURE(number);
      for (const std::vector<bool>& mapped : choices(sample.inputs.size())) {
        CAPTURE(mapped);
        // Rows that take different sides have no rule, nor have several streams of random numbers.
        if ((op->kind == OpKind::branch || op->is_redrawn) && mapped[0]) continue;
        const Case c = make_case(sample, free_sizes);
        check_rows(c, mapped, takes_indices(c.output), count,
                   free_sizes ? Dim::fresh("count") : Dim(count));
      }
    }
  }
}

int uses_of(const Tensor& root, std::string_view op) {
  const std::vector<Tensor> order = topological_order(std::span(&root, 1));
  return static_cast<int>(std::count_if(order.begin(), order.end(), [&](const Tensor& tensor) {
    return tensor.node().op.name == op;
  }));
}

}  // namespace

TEST_CASE("the ops without a batch rule") {
  for (const OpRecord* op : all_ops()) {
    CAPTURE(op->name);
    // Without operands there is nothing to map. A loop inside a loop stays there; it prints in each
    // step, and calls what only a function of the user's own knows. No loop updates a variable.
    const bool stays = op->arity == 0 || op->kind == OpKind::leaf || gives_results(op->kind) ||
                       op->kind == OpKind::result || op->name == "print" || op->carries_update;
    CHECK((op->batch == nullptr) == stays);
  }
}

TEST_CASE("every op's batch rule gives the op of each row") { check_all_ops(3, false); }

TEST_CASE("every op's batch rule gives the op of each row, with free sizes") {
  check_all_ops(3, true);
}

TEST_CASE("every op's batch rule takes a single row") { check_all_ops(1, false); }

TEST_CASE("every op's batch rule takes no rows") {
  check_all_ops(0, false);
  check_all_ops(0, true);
}

TEST_CASE("what depends on no mapped node stays as it is") {
  const Tensor x = tensor("x", {3});
  const Tensor w = tensor("w", {3});
  const Tensor y = exp(w) + 1;
  const std::optional<Batched> alone = batch(y, {{&x.node(), rows_of(x, 5)}}, 5);
  REQUIRE(alone);
  CHECK(!alone->mapped);
  CHECK(same(alone->value, y));
  // The parameter itself.
  const Tensor rows = rows_of(x, 5);
  CHECK(same(batch(x, {{&x.node(), rows}}, 5)->value, rows));
}

TEST_CASE("a product with rows on one side is one product of matrices") {
  const Dim steps = dim("steps");
  const Tensor x = tensor("x", {17});
  const Tensor m = tensor("m", {4, 17});
  const Tensor w = tensor("w", {17, 5});
  const Tensor v = tensor("v", {5, 17});
  const auto rank_of_product = [&](const Tensor& y, const Tensor& varying) {
    const Tensor value = batch(y, {{&varying.node(), rows_of(varying, steps)}}, steps)->value;
    CHECK(uses_of(value, "dot") == 1);
    for (const Tensor& tensor : topological_order(std::span(&value, 1))) {
      if (tensor.node().op.name == "dot") {
        return tensor.rank();
      }
    }
    return 0;
  };
  CHECK(rank_of_product(dot(x, w), x) == 2);             // (17) x (17, 5)
  CHECK(rank_of_product(dot(v, x), x) == 2);             // (5, 17) x (17)
  CHECK(rank_of_product(dot(m, w), m) == 2);             // (4, 17) x (17, 5)
  CHECK(rank_of_product(dot(v, transpose(m)), m) == 2);  // (5, 17) x (17, 4)
  CHECK(rank_of_product(dot(x, w), w) == 3);             // a vector on matrices that vary
}

TEST_CASE("lines, shared parts and several expressions") {
  const Tensor x = tensor("x", {3});
  const Tensor shared_part = tanh(x);
  const Tensor a = exp(shared_part);
  const Tensor b = shared_part * 2;
  const Tensor roots[] = {a, b, tensor("w", {2})};
  const auto results = batch(roots, {{&x.node(), rows_of(x, 7)}}, 7);
  REQUIRE(results.size() == 3);
  CHECK(same(results[0]->value.node().inputs[0], results[1]->value.node().inputs[0]));
  CHECK(!results[2]->mapped);
  CHECK(results[0]->value.line().line == a.line().line);
  CHECK(results[1]->value.line().line == b.line().line);
}

TEST_CASE("softmax_cross_entropy of the same logits computes their normalisation once") {
  const Tensor logits = tensor("logits", {3, 10});
  const Tensor labels = tensor("labels", {3}, i64);
  const Tensor y = softmax_cross_entropy(logits, labels);
  const Tensor value = batch(y, {{&labels.node(), rows_of(labels, 7)}}, 7)->value;
  CHECK(value.shape() == Dims{7, 3});
  CHECK(uses_of(value, "softmax_cross_entropy") == 0);
  for (const Tensor& tensor : topological_order(std::span(&value, 1))) {
    if (tensor.node().op.name == "exp") {
      CHECK(tensor.shape() == Dims{3, 10});
    }
  }
}

TEST_CASE("a condition of each row's own leaves ifelse without a rule") {
  const Tensor c = tensor("c", {}, boolean);
  const Tensor x = tensor("x", {3});
  const Tensor w = tensor("w", {3});
  const std::unordered_map<const Node*, Tensor> both = {{&c.node(), rows_of(c, 7)},
                                                        {&x.node(), rows_of(x, 7)}};
  const Tensor y = ifelse(c, x, w);
  const Tensor roots[] = {exp(y), exp(x)};
  const auto results = batch(roots, both, 7);
  CHECK(!results[0]);
  CHECK(results[1]);
  CHECK(batch(y, {{&x.node(), rows_of(x, 7)}}, 7)->value.shape() == Dims{7, 3});
}

TEST_CASE("rows of another rank than the node's are a bug") {
  const Tensor x = tensor("x", {3});
  CHECK_THROWS_AS(batch(exp(x), {{&x.node(), tensor("rows", {3})}}, 3), InternalError);
}

TEST_CASE("an index that is out of range in a row is an error, not an element of another row") {
  const Tensor x = tensor("x", {3});
  const Tensor i = tensor("i", {}, i64);
  const Tensor y = take(x, i);
  const Tensor rows_x = rows_of(x, 2);
  const Tensor rows_i = rows_of(i, 2);
  const Tensor both = batch(y, {{&x.node(), rows_x}, {&i.node(), rows_i}}, 2)->value;
  const ReferenceValue values = ops::values(f32, {2, 3}, {1, 2, 3, 4, 5, 6});
  const auto at = [&](double first, double second) {
    return value_of(both, {{&rows_x.node(), values},
                           {&rows_i.node(), ops::values(DType::i64, {2}, {first, second})}});
  };
  CHECK(at(2, -3).data == std::vector<Number>{3, 4});
  CHECK_THROWS_AS(at(3, 0), ValueError);
  CHECK_THROWS_AS(at(0, -4), ValueError);
}

TEST_CASE("batching goes through 100,000 nodes") {
  const Tensor x = tensor("x", {2});
  Tensor y = x;
  for (int k = 0; k < 100000; ++k) {
    y = y + x;
  }
  const std::optional<Batched> result = batch(y, {{&x.node(), rows_of(x, 3)}}, 3);
  REQUIRE(result);
  CHECK(result->value.shape() == Dims{3, 2});
}
