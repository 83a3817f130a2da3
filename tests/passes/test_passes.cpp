#include <doctest/doctest.h>
#include <kroton/error.h>
#include <kroton/grad.h>
#include <kroton/index.h>

#include <unistd.h>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "compiler/ir/leaf.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"
#include "compiler/passes/passes.h"
#include "tests/tools/graph_helpers.h"

using namespace kroton;  // NOLINT
using graph_test::count;
using graph_test::graph_of;
using graph_test::text;

namespace {

// The expression after the pass, which must keep its value at several sizes; "unchanged" if the
// pass says so. f64 inputs make the comparison sharp.
std::string after(bool (*pass)(Graph&), const Tensor& expression) {
  const Tensor anchor = tensor("anchor", {dim("n")});  // gives n its value
  const Graph before = graph_of({expression, anchor});
  Graph graph = graph_of({expression, anchor});
  const bool changed = pass(graph);
  CHECK_NOTHROW(verify(graph));
  for (const std::int64_t size : {0, 1, 3, 17}) {
    CAPTURE(size);
    const auto inputs =
        graph_test::random_inputs(graph, size, 1 + static_cast<std::uint64_t>(size));
    graph_test::check_close(graph_test::values(before, inputs), graph_test::values(graph, inputs),
                            expression.dtype() == f32 ? 1e-5 : 1e-9);
  }
  const std::string result = text(graph);
  if (!changed) CHECK(result == text(before));
  return changed ? result : "unchanged";
}

std::string canonical(const Tensor& expression) { return after(canonicalize, expression); }
std::string stable(const Tensor& expression) { return after(stabilize, expression); }

}  // namespace

TEST_CASE("canonicalize: identities") {
  const Tensor x = vector("x", f64);
  const Tensor y = vector("y", f64);
  const Tensor i = vector("i", i32);
  const Tensor p = vector("p", boolean);
  const Tensor q = vector("q", boolean);
  CHECK(canonical(x * 1) == "x");
  CHECK(canonical(1 * x) == "x");
  CHECK(canonical(x / 1) == "x");
  CHECK(canonical(x + 0) == "unchanged");  // -0 + 0 is 0
  CHECK(canonical(x + -0.0) == "x");
  CHECK(canonical(-0.0 + x) == "x");
  CHECK(canonical(x - 0) == "x");
  CHECK(canonical(x - -0.0) == "unchanged");
  CHECK(canonical(0 + i) == "i");
  CHECK(canonical(i - 0) == "i");
  CHECK(canonical(x * 0) == "unchanged");  // NaN * 0 is NaN
  CHECK(canonical(x + y) == "unchanged");
  CHECK(canonical(x - x) == "unchanged");
  CHECK(canonical(maximum(x, x)) == "x");
  CHECK(canonical(minimum(x, x)) == "x");
  CHECK(canonical(where(p, x, x)) == "x");
  CHECK(canonical(where(ones({x.shape(0)}, boolean), x, y)) == "x");
  CHECK(canonical(where(zeros({x.shape(0)}, boolean), x, y)) == "y");
  CHECK(canonical(where(~p, x, y)) == "where(p, y, x)");
  CHECK(canonical(logical_and(p, true)) == "p");
  CHECK(canonical(logical_and(p, false)) == "0");
  CHECK(canonical(logical_or(p, true)) == "1");
  CHECK(canonical(logical_or(p, p)) == "p");
  CHECK(canonical(~(~p)) == "p");
  CHECK(canonical(logical_and(p, q)) == "unchanged");
  CHECK(canonical(abs(-x)) == "abs(x)");
  CHECK(canonical(abs(abs(x))) == "abs(x)");
  CHECK(canonical(relu(relu(x))) == "relu(x)");
  CHECK(canonical(stop_gradient(stop_gradient(x))) == "stop_gradient(x)");
}

TEST_CASE("canonicalize: signs") {
  const Tensor x = vector("x", f64);
  const Tensor y = vector("y", f64);
  const Tensor i = vector("i", i32);
  CHECK(canonical(-(-x)) == "x");
  CHECK(canonical(0 - x) == "unchanged");  // 0 - 0 is 0, -0 is not
  CHECK(canonical(0 - i) == "neg(i)");
  CHECK(canonical(x * -1) == "neg(x)");
  CHECK(canonical(x / -1.0) == "neg(x)");
  CHECK(canonical(x - -y) == "add(x, y)");
  CHECK(canonical(x + -y) == "sub(x, y)");
  CHECK(canonical(-x + y) == "sub(y, x)");
  CHECK(canonical(-x - y) == "unchanged");
  CHECK(canonical(-i - i) == "neg(add(i, i))");
  CHECK(canonical(-(x - y)) == "unchanged");  // of equal numbers -0, y - x is 0
  CHECK(canonical(exp(-(x - y))) == "exp(sub(y, x))");
  CHECK(canonical(exp(-(-x - y))) == "exp(add(y, x))");
  CHECK(canonical(-x * y) == "neg(mul(x, y))");
  CHECK(canonical(-x * -y) == "mul(y, x)");
  CHECK(canonical(-x / -y) == "div(x, y)");
  CHECK(canonical(-(x * 3)) == "mul(x, -3)");
  CHECK(canonical(-(x / 4.0)) == "div(x, -4)");
  CHECK(canonical(x - y * -3.0) == "add(x, mul(y, 3))");
  CHECK(canonical(x + y * -3.0) == "sub(x, mul(y, 3))");
  CHECK(canonical(x - 0.5 * y) == "unchanged");
  CHECK(canonical(sum(-x)) == "unchanged");
  CHECK(canonical(-(i - 2)) == "sub(2, i)");
}

TEST_CASE("canonicalize: scalar factors and powers") {
  const Tensor x = vector("x", f64);
  const Tensor i = vector("i", i32);
  CHECK(canonical(0.5 * (0.25 * x)) == "mul(x, 0.125)");
  CHECK(canonical((x * 3) / 4.0) == "mul(x, 0.75)");
  CHECK(canonical((x / 4.0) * 3) == "mul(x, 0.75)");
  CHECK(canonical((x / 4.0) / 2.0) == "div(x, 8)");
  CHECK(canonical(2 * (x / 2.0)) == "x");
  CHECK(canonical((x * 1e200) * 1e-200) == "x");
  CHECK(canonical((x * 1e-20) * 1e-20) == "unchanged");  // the product is near f32's underflow
  CHECK(canonical(3 * (5 * i)) == "unchanged");
  CHECK(canonical(pow(x, 1)) == "x");
  CHECK(canonical(pow(x, 2)) == "mul(x, x)");
  CHECK(canonical(pow(x, 3)) == "mul(mul(x, x), x)");
  CHECK(canonical(pow(x, 0.5)) == "where(eq(x, -inf), inf, sqrt(add(x, 0)))");
  CHECK(canonical(pow(x, -1)) == "div(1, x)");
  CHECK(canonical(pow(x, -0.5)) == "where(eq(x, -inf), 0, div(1, sqrt(add(x, 0))))");
  CHECK(canonical(pow(x, -2)) == "mul(div(1, x), div(1, x))");
  CHECK(canonical(pow(x, 2.5)) == "unchanged");
}

TEST_CASE("canonicalize: casts") {
  const Tensor x = vector("x", f32);
  const Tensor i = vector("i", i32);
  const Tensor p = vector("p", boolean);
  CHECK(canonical(cast(cast(x, f64), f32)) == "x");
  CHECK(canonical(cast(cast(i, f64), i64)) == "cast{dtype=i64}(i)");
  CHECK(canonical(cast(cast(p, i32), f32)) == "cast(p)");
  CHECK(canonical(cast(cast(x, i32), f32)) == "unchanged");
  CHECK(canonical(cast(cast(i, f32), i32)) == "unchanged");  // above 2^24
}

TEST_CASE("canonicalize: broadcasts, reshapes and transposes merge") {
  const Tensor x = tensor("x", {dim("n"), 3}, f64);
  const Tensor b = tensor("b", {3}, f64);
  const Tensor s = scalar("s", f64);
  const Dim n = dim("n");
  CHECK(canonical(transpose(transpose(x))) == "x");
  CHECK(canonical(transpose(transpose(expand_dims(x, 2), {2, 0, 1}), {1, 2, 0})) ==
        "reshape{dims=(n, 3, 1)}(x)");
  CHECK(canonical(transpose(expand_dims(x, 0), {1, 0, 2})) == "reshape{dims=(n, 1, 3)}(x)");
  CHECK(canonical(reshape(reshape(x, {3, n}), {n * 3})) == "reshape{dims=(3*n,)}(x)");
  CHECK(canonical(reshape(reshape(x, {3, n}), {n, 3})) == "x");
  CHECK(canonical(squeeze(expand_dims(x, 1))) == "x");
  CHECK(canonical(broadcast_to(expand_dims(b, 0), {n, 3})) == "broadcast{axes=[1] dims=(n, 3)}(b)");
  CHECK(canonical(broadcast_to(broadcast_to(s, {3}), {n, 3})) == "broadcast{dims=(n, 3)}(s)");
  CHECK(canonical(reshape(full({n, 3}, s), {3, n})) == "unchanged");
  CHECK(canonical(reshape(ones({n, 3}, f64), {3, n}) + reshape(x, {3, n})) ==
        "add(1, reshape{dims=(3, n)}(x))");
  CHECK(canonical(transpose(broadcast_to(b, {n, 3}))) == "broadcast{axes=[0] dims=(3, n)}(b)");
  CHECK(canonical(squeeze(expand_dims(broadcast_to(b, {n, 3}), 1))) ==
        "broadcast{axes=[1] dims=(n, 3)}(b)");
  // Work is done before elements are repeated.
  CHECK(canonical(exp(broadcast_to(b, {n, 3})) * 2) ==
        "broadcast{axes=[1] dims=(n, 3)}(mul(exp(b), 2))");
  CHECK(canonical(x + exp(broadcast_to(b, {n, 3}))) ==
        "add(x, broadcast{axes=[1] dims=(n, 3)}(exp(b)))");
  // Axes of size 1 leave early.
  CHECK(canonical(squeeze(exp(expand_dims(x, 1)) + 1)) == "add(exp(x), 1)");
}

TEST_CASE("canonicalize: slices move before elementwise operations") {
  const Dim n = dim("n");
  const Tensor x = tensor("x", {17, 3}, f64);
  const Tensor b = tensor("b", {3}, f64);
  const Tensor c = tensor("c", {n, 1}, f64);
  CHECK(canonical(ops::strided_slice(x, {0, 0}, {17, 3}, {1, 1})) == "x");
  CHECK(canonical(ops::strided_slice(x, {16, 0}, {17, 3}, {-1, 1})) == "unchanged");
  CHECK(canonical(x(slice(2, 15, 2), all)(slice(1, 6, 2), all)) ==
        "slice{dims=(4, 0, 3, 3) integers=[4, 1]}(x)");
  CHECK(canonical(exp(x)(slice(1, 4), all)) == "exp(slice{dims=(1, 0, 3, 3) integers=[1, 1]}(x))");
  CHECK(canonical((x * 2 + b)(slice(1, 4), slice(0, 2))) ==
        "add(mul(slice{dims=(1, 0, 3, 2) integers=[1, 1]}(x), 2), "
        "broadcast{axes=[1] dims=(3, 2)}(slice{dims=(0, 2) integers=[1]}(b)))");
  CHECK(canonical((c + 1)(all, 0)) == "add(reshape{dims=(n,)}(c), 1)");
  // Not when the whole is computed anyway.
  const Tensor e = exp(x);
  CHECK(count(graph_of({e, e(0)}), "slice") == 1);
  Graph graph = graph_of({e, e(0)});
  canonicalize(graph);
  CHECK(text(graph, 1) == "reshape{dims=(3,)}(slice{dims=(0, 0, 1, 3) integers=[1, 1]}(exp(x)))");
}

TEST_CASE("canonicalize: parts of one tensor are joined") {
  const Dim n = dim("n");
  const Tensor x = tensor("x", {n, 3}, f64);
  const Tensor y = tensor("y", {n, 2}, f64);
  const Tensor z = tensor("z", {n, 5}, f64);
  const auto columns = [](const Tensor& part, int before, int after) {
    return pad(part, {{0, 0}, {before, after}});
  };
  CHECK(canonical(columns(y, 3, 0) + columns(x, 0, 2)) == "concatenate{axes=[1]}(x, y)");
  CHECK(canonical(columns(x, 0, 2) + z + columns(y, 3, 0)) ==
        "add(z, concatenate{axes=[1]}(x, y))");
  // What no part covers stays zero.
  CHECK(canonical(columns(y, 4, 1) + columns(x, 1, 3)) ==
        "unslice{dims=(0, 1, n, 7) integers=[1, 1]}(concatenate{axes=[1]}(x, y))");
  // The order of the additions does not matter.
  const Tensor w = tensor("w", {n, 4}, f64);
  CHECK(canonical(columns(x, 0, 6) + columns(w, 5, 0) + columns(y, 3, 4)) ==
        "concatenate{axes=[1]}(x, y, w)");
  // Neither parts that overlap nor rows beside columns, nor what something else needs.
  CHECK(canonical(columns(x, 0, 2) + columns(x, 2, 0)) == "unchanged");
  CHECK(canonical(columns(y, 0, 3) + columns(y, 3, 0)) == "unchanged");
  CHECK(canonical(pad(tensor("r", {3, 5}, f64), {{0, 2}, {0, 0}}) +
                  pad(tensor("s", {5, 2}, f64), {{0, 0}, {3, 0}})) == "unchanged");
  const Tensor padded = columns(x, 0, 2);
  Graph graph = graph_of({padded + columns(y, 3, 0), padded});
  canonicalize(graph);
  CHECK(count(graph, "concatenate") == 0);
}

TEST_CASE("canonicalize: reductions") {
  const Dim n = dim("n");
  const Tensor x = tensor("x", {n, 3}, f64);
  const Tensor c = tensor("c", {n, 1}, f64);
  const Tensor b = tensor("b", {3}, f64);
  const Tensor u = tensor("u", {1, 1}, f64);
  CHECK(canonical(sum(c, 1)) == "reshape{dims=(n,)}(c)");
  CHECK(canonical(max(c, 1)) == "reshape{dims=(n,)}(c)");
  CHECK(canonical(sum(c)) == "sum{axes=[0]}(reshape{dims=(n,)}(c))");
  CHECK(canonical(sum(u)) == "reshape(u)");
  CHECK(canonical(squeeze(sum(tensor("k", {1, n, 3}, f64), 1))) ==
        "sum{axes=[0]}(reshape{dims=(n, 3)}(k))");
  CHECK(canonical(sum(x, Axes(std::vector<int>{}))) == "x");
  CHECK(canonical(sum(sum(x, 1))) == "sum{axes=[0, 1]}(x)");
  CHECK(canonical(sum(max(x, 1))) == "unchanged");
  CHECK(canonical(sum(broadcast_to(b, {n, 3}))) ==
        "where(eq(size{dims=(n,) dtype=i64}, 0), 0, "
        "mul(sum{axes=[0]}(b), size{dims=(n,) dtype=f64}))");
  CHECK(canonical(sum(broadcast_to(b, {5, 3}), 0)) == "mul(b, 5)");
  CHECK(canonical(sum(broadcast_to(b, {0, 3}), 0)) == "0");
  CHECK(canonical(sum(broadcast_to(b, {n, 3}), 1)) == "broadcast{dims=(n,)}(sum{axes=[0]}(b))");
  CHECK(canonical(max(broadcast_to(b, {5, 3}), 0)) == "b");
  CHECK(canonical(max(broadcast_to(b, {n, 3}), 0)) == "unchanged");  // n may be 0
}

TEST_CASE("canonicalize: distances from a mean add up to 0") {
  const Tensor x = tensor("x", {5, 3}, f64), y = tensor("y", {5, 3}, f64),
               b = tensor("b", {3}, f64), free = tensor("free", {dim("n"), 3}, f64);
  const Tensor rest = x - mean(x, 0, true);
  const std::string m = "div(sum{axes=[0]}(x), 5)";
  CHECK(canonical(sum(rest, 0)) == "sub(" + m + ", " + m + ")");
  CHECK(canonical(sum(rest * b, 0)) == "mul(sub(" + m + ", " + m + "), b)");
  // What is added to them is added up without its factors.
  CHECK(canonical(sum(rest / b - y * b, 0)) ==
        "sub(div(sub(" + m + ", " + m + "), b), mul(sum{axes=[0]}(y), b))");
  CHECK(canonical(sum(-(y + rest), 0)) == "sub(neg(sum{axes=[0]}(y)), sub(" + m + ", " + m + "))");
  CHECK(canonical(sum(rest - y - exp(y), 0)) ==
        "sub(sub(" + m + ", " + m + "), sum{axes=[0]}(add(y, exp(y))))");
  const std::string free_mean =
      "div(sum{axes=[0]}(free), broadcast{dims=(3,)}(size{dims=(n,) dtype=f64}))";
  CHECK(canonical(sum(free - mean(free, 0, true), 0)) ==
        "where(broadcast{dims=(3,)}(eq(size{dims=(n,) dtype=f64}, 0)), 0, sub(" + free_mean + ", " +
            free_mean + "))");
  // Of others nothing is known: weights that differ, other axes, another mean.
  for (const Tensor& other : {sum(rest * y, 0), sum(rest, 1), sum(x - mean(y, 0, true), 0),
                              sum(x - sum(x, 0, true), 0)}) {
    Graph graph = graph_of({other});
    canonicalize(graph);
    CHECK(count(graph, "sum") == 2);
  }
}

TEST_CASE("canonicalize: transposes become flags of the product") {
  const Dim n = dim("n");
  const Tensor x = tensor("x", {n, 3}, f64);
  const Tensor y = tensor("y", {n, 5}, f64);
  CHECK(canonical(dot(transpose(x), y)) == "dot{integers=[1, 0]}(x, y)");
  CHECK(canonical(dot(transpose(y), transpose(transpose(x)))) == "dot{integers=[1, 0]}(y, x)");
  CHECK(canonical(transpose(dot(transpose(x), y))) == "dot{integers=[1, 0]}(y, x)");
  CHECK(canonical(dot(transpose(x), transpose(tensor("z", {5, n}, f64)))) ==
        "dot{integers=[1, 1]}(x, z)");
  const Tensor batch = tensor("batch", {2, n, 3}, f64);
  CHECK(canonical(matmul(swapaxes(batch, 1, 2), batch)) == "dot{integers=[1, 0]}(batch, batch)");
  CHECK(count(graph_of({matmul(transpose(batch, {1, 2, 0}), transpose(batch, {1, 0, 2}))}),
              "transpose") == 2);
}

TEST_CASE("canonicalize: axes that are merged for a product are its own") {
  const Dim n = dim("n");
  const Tensor x = tensor("x", {n, 2, 3, 4}, f64), y = tensor("y", {n, 2, 4, 5}, f64),
               z = tensor("z", {2 * n, 5, 3}, f64);
  const Tensor a = reshape(x, {2 * n, 3, 4}), b = reshape(y, {2 * n, 4, 5});
  CHECK(canonical(matmul(a, b)) == "reshape{dims=(2*n, 3, 5)}(dot{integers=[0, 0]}(x, y))");
  CHECK(canonical(reshape(matmul(a, b), {n, 2, 3, 5})) == "dot{integers=[0, 0]}(x, y)");
  CHECK(canonical(reshape(matmul(z, a), {n, 2, 5, 4})) ==
        "dot{integers=[0, 0]}(reshape{dims=(n, 2, 5, 3)}(z), x)");
  // Other axes than those of batches; axes of one element; work that is done with the product.
  CHECK(canonical(reshape(matmul(z, a), {2 * n, 20})) == "unchanged");
  CHECK(canonical(reshape(matmul(z, a), {2 * n, 1, 5, 4})) == "unchanged");
  CHECK(canonical(exp(matmul(a, b))) == "unchanged");
}

TEST_CASE("stabilize: sigmoid, softplus and their neighbours") {
  const Tensor x = vector("x", f64);
  const Tensor y = vector("y", f64);
  CHECK(stable(1 / (1 + exp(-x))) == "sigmoid(x)");
  CHECK(stable(1 / (exp(x) + 1)) == "sigmoid(neg(x))");
  CHECK(stable(1 / (1 + exp(-x - y))) == "sigmoid(add(y, x))");
  CHECK(stable(exp(x) / (1 + exp(x))) == "sigmoid(x)");
  CHECK(stable(1 - sigmoid(x)) == "sigmoid(neg(x))");
  CHECK(stable(log(sigmoid(x))) == "neg(softplus(neg(x)))");
  CHECK(stable(log(1 - sigmoid(x))) == "neg(softplus(x))");
  CHECK(stable(log1p(-sigmoid(x))) == "neg(softplus(x))");
  CHECK(stable(log(1 - 1 / (1 + exp(-x)))) == "neg(softplus(x))");
  CHECK(stable(log(1 + exp(x))) == "softplus(x)");
  CHECK(stable(log1p(exp(x))) == "softplus(x)");
  CHECK(stable(log(1 + x)) == "log1p(x)");
  CHECK(stable(log(1 - x)) == "log1p(neg(x))");
  CHECK(stable(exp(x) - 1) == "expm1(x)");
  CHECK(stable(log(exp(x))) == "x");
  CHECK(stable(sqrt(square(x))) == "abs(x)");
  CHECK(stable(2 / (1 + exp(-x))) == "unchanged");
}

TEST_CASE("stabilize: softmax") {
  const Dim n = dim("n");
  const Tensor x = tensor("x", {n, 5}, f64);
  const Tensor labels = tensor("labels", {n}, i64);
  CHECK(stable(log(softmax(x))) == "log_softmax{axes=[1]}(x)");
  CHECK(stable(log(softmax(x, 0))) == "log_softmax{axes=[0]}(x)");
  CHECK(stable(exp(x) / sum(exp(x), 1, true)) == "softmax{axes=[1]}(x)");
  CHECK(stable(exp(x) / sum(exp(x))) == "unchanged");
  const Tensor shifted = exp(x - max(x, 1, true));
  CHECK(stable(shifted / sum(shifted, 1, true)) == "softmax{axes=[1]}(x)");
  CHECK(stable(log_softmax(x - max(x, 0, true), 1)) != "log_softmax{axes=[1]}(x)");
  CHECK(stable(-pick(log_softmax(x), labels)) == "softmax_cross_entropy(x, labels)");
  CHECK(stable(-log(pick(softmax(x), labels))) == "softmax_cross_entropy(x, labels)");
  CHECK(stable(-mean(log(pick(softmax(x), labels)))) ==
        "neg(div(sum{axes=[0]}(neg(softmax_cross_entropy(x, labels))), "
        "size{dims=(n,) dtype=f64}))");
  CHECK(stable(log(softmax(x)(all, 2))) ==
        "reshape{dims=(n,)}(slice{dims=(0, 2, n, 1) integers=[1, 1]}(log_softmax{axes=[1]}(x)))");
  CHECK(stable(pick(log_softmax(transpose(x), 0), labels)) != "");
}

TEST_CASE("stabilize: the logarithm of a sum of exponentials does not overflow") {
  const Tensor x = tensor("x", {3, 17}, f64);
  for (const Tensor& expression : {log(sum(exp(x), 1)), log(sum(exp(x), 1, true)), log(sum(exp(x))),
                                   log(sum(exp(-x), 0)), logsumexp(x, 1)}) {
    Graph graph = graph_of({expression});
    const bool changed = stabilize(graph);
    CHECK(count(graph, "max") == 1);
    CHECK(count(graph, "log") == 1);
    auto inputs = graph_test::random_inputs(graph, 0, 5);
    graph_test::check_close(graph_test::values(graph_of({expression}), inputs),
                            graph_test::values(graph, inputs), 1e-9);
    for (Number& value : inputs[0].data) value *= 1000;
    const ReferenceValue result = graph_test::values(graph, inputs)[0];
    for (const double value : result.data) {
      CHECK(std::isfinite(value));
    }
    CHECK((changed || graph.size() > 0));
    CHECK_FALSE(stabilize(graph));
  }
}

TEST_CASE("stabilize: the logistic regression of Theano's tutorial ends in softplus") {
  const Tensor x = matrix("x");
  const Tensor y = vector("y");
  const Shared w = shared(Array::full({2, 1}, 1.0), "w");
  const Shared b = shared(Array::zeros({1}), "b");
  const Tensor p = 1 / (1 + exp(-dot(x, w) - b));
  const Tensor q = p(all, 0);
  const Tensor xent = -y * log(q) - (1 - y) * log(1 - q);
  const Tensor loss = mean(xent) + 0.01 * sum(square(w));

  SUBCASE("when the prediction is used here only") {
    Graph graph = graph_of({loss});
    run_passes_before_gradient(graph);
    CHECK(count(graph, "log") == 0);
    CHECK(count(graph, "exp") == 0);
    CHECK(count(graph, "div") == 1);
    CHECK(count(graph, "softplus") == 2);
  }
  SUBCASE("when the prediction is a result too") {
    Graph graph = graph_of({loss, p});
    run_passes_before_gradient(graph);
    CHECK(count(graph, "log") == 0);
    CHECK(count(graph, "softplus") == 2);
  }
  SUBCASE("the gradient is finite where the prediction is certain and wrong") {
    const std::vector<Tensor> inputs{x, y};
    Graph graph(inputs, std::vector<Tensor>{loss}, {}, false);
    run_passes_before_gradient(graph);
    const Tensor cost = graph.export_expressions(graph.outputs)[0];
    const std::vector<Tensor> gradients = grad(cost, {w, b});
    std::map<const Node*, ReferenceValue> values;
    values[&x.node()] = {f32, {4, 2}, {500, 500, -500, -500, 500, 500, -500, -500}};
    values[&y.node()] = {f32, {4}, {0, 1, 1, 0}};
    const std::vector<Tensor> wanted{cost, gradients[0], gradients[1]};
    const std::vector<ReferenceValue> results = evaluate(wanted, values);
    CHECK(results[0].data[0] == doctest::Approx(500.02));  // two of four are wrong by 1000
    CHECK(results[1].data[0] == doctest::Approx(250.02));
    CHECK(results[1].data[1] == doctest::Approx(250.02));
    CHECK(results[2].data[0] == doctest::Approx(0));
  }
}

TEST_CASE("cse: equal vertices become one") {
  const Tensor x = tensor("x", {dim("n"), 3}, f64);
  const Tensor y = tensor("y", {dim("n"), 3}, f64);
  // As expressions these are different: only commutativity makes them equal.
  Graph graph = graph_of({exp(x + y) * exp(y + x), sum(x * y, 0) - sum(y * x, 1)(0), x - y, y - x});
  const auto inputs = graph_test::random_inputs(graph, 3, 1);
  const auto before = graph_test::values(graph, inputs);
  CHECK(count(graph, "add") == 2);
  CHECK(eliminate_common_subexpressions(graph));
  CHECK(count(graph, "add") == 1);
  CHECK(count(graph, "exp") == 1);
  CHECK(count(graph, "sum") == 2);  // other axes
  CHECK(count(graph, "sub") == 3);  // not commutative
  verify(graph);
  graph_test::check_close(before, graph_test::values(graph, inputs), 0);
  CHECK_FALSE(eliminate_common_subexpressions(graph));
}

TEST_CASE("fold: what depends on constants only is computed") {
  const auto folded = [](const Tensor& expression) { return after(fold_constants, expression); };
  const Tensor x = tensor("x", {dim("n")}, f64);
  const Tensor c = make_constant(Array::from({1.0, 2.0, 3.0}), {});
  const Tensor two =
      ops::apply(op_named("add"), {make_literal(1, f64, {}), make_literal(1, f64, {})});
  CHECK(folded(two) == "2");
  CHECK(folded(x * exp(zeros({dim("n")}, f64))) == "mul(x, 1)");
  CHECK(folded(sum(c)) == "6");
  CHECK(folded(cast(c, i32)) == "constant{dims=(3,) dtype=i32 array=i32(3,)}");
  CHECK(folded(c * c - c * c) == "0");
  CHECK(folded(sum(ones({7, 3}, f64), 0)) == "7");
  CHECK(folded(size_of_dim(3) * 2) == "6");
  CHECK(folded(iota({3}, 0)) == "unchanged");
  CHECK(folded(sum(ones({dim("n"), 3}, f64))) == "unchanged");  // n is not known
  CHECK(folded(exp(make_constant(Array::zeros({2048}), {}))) == "unchanged");
  CHECK(folded(make_literal(std::int64_t{1} << 60, i64, {}) + size_of_dim(dim("n"))) ==
        "unchanged");
  // Beyond 2^53, where a double does not hold every integer.
  const Tensor large = make_literal((std::int64_t{1} << 53) + 1, i64, {});
  CHECK(folded(ops::apply(op_named("add"), {large, make_literal(1, i64, {})})) ==
        "9007199254740994");
}

TEST_CASE("expand: composites and stop_gradient") {
  const Tensor x = tensor("x", {dim("n"), 5}, f64);
  const Tensor labels = tensor("labels", {dim("n")}, i64);
  for (const Tensor& expression :
       {softmax(x), log_softmax(x, 0), softmax_cross_entropy(x, labels), stop_gradient(exp(x))}) {
    CHECK(after(expand_composites, expression) != "unchanged");
    Graph graph = graph_of({expression});
    expand_composites(graph);
    for (const Graph::Vertex v : graph.topological_order()) {
      CHECK(graph[v].op->kind != OpKind::composite);
      CHECK_FALSE(graph.is_op(v, stop_gradient_op));
    }
  }
  CHECK(after(expand_composites, exp(x)) == "unchanged");
}

TEST_CASE("canonicalize: the sum of products is one product") {
  const Dim n = dim("n");
  const Tensor x = tensor("x", {n, 5, 3}, f64);
  const Tensor y = tensor("y", {n, 5, 4}, f64);
  const Tensor outer_x = tensor("outer_x", {n, 3}, f64);
  const Tensor outer_y = tensor("outer_y", {n, 4}, f64);
  CHECK(canonical(sum(matmul(swapaxes(x, 1, 2), y), 0)) ==
        "dot{integers=[1, 0]}(reshape{dims=(5*n, 3)}(x), reshape{dims=(5*n, 4)}(y))");
  CHECK(canonical(sum(matmul(expand_dims(outer_x, 2), expand_dims(outer_y, 1)), 0)) ==
        "dot{integers=[1, 0]}(outer_x, outer_y)");
  const Tensor rows = tensor("rows", {n, 4, 5}, f64);
  CHECK(canonical(sum(matmul(rows, y), 0)) ==
        "dot{integers=[1, 0]}(reshape{dims=(5*n, 4)}(transpose{axes=[0, 2, 1]}(rows)), "
        "reshape{dims=(5*n, 4)}(y))");
  // A sum over rows of the product, or over some of the axes before it, is another thing.
  CHECK(canonical(sum(matmul(swapaxes(x, 1, 2), y), 1)) ==
        "sum{axes=[1]}(dot{integers=[1, 0]}(x, y))");
}

TEST_CASE("small_dots: products with a unit size become reductions") {
  const Dim n = dim("n");
  const auto small = [](const Tensor& expression) {
    const std::string result = after(reduce_small_dots, expression);
    Graph graph = graph_of({expression});
    reduce_small_dots(graph);
    canonicalize(graph);
    CHECK((result == "unchanged") == (count(graph, "dot") == 1));
    return text(graph);
  };
  const Tensor x = tensor("x", {n, 3}, f64);
  const Tensor v = tensor("v", {3}, f64);
  const Tensor u = tensor("u", {n}, f64);
  const Tensor column = tensor("column", {n, 1}, f64);
  CHECK(small(dot(x, v)) == "sum{axes=[1]}(mul(x, broadcast{axes=[1] dims=(n, 3)}(v)))");
  CHECK(small(dot(u, x)) == "sum{axes=[0]}(mul(broadcast{axes=[0] dims=(n, 3)}(u), x))");
  CHECK(small(dot(v, v)) == "sum{axes=[0]}(mul(v, v))");
  CHECK(count(graph_of({dot(column, transpose(column))}), "dot") == 1);
  small(dot(column, transpose(column)));
  CHECK(small(dot(x, transpose(x))) == "dot{integers=[0, 1]}(x, x)");
  // Transformations of many points.
  const Tensor turn = tensor("turn", {3, 4}, f64);
  CHECK(small(dot(x, turn)).find("dot") == std::string::npos);
  CHECK(small(dot(x, transpose(tensor("turn", {4, 3}, f64)))).find("dot") == std::string::npos);
  CHECK(small(dot(x, tensor("wide", {3, 5}, f64))) == "dot{integers=[0, 0]}(x, wide)");
  CHECK(small(dot(tensor("few", {16, 3}, f64), turn)) == "dot{integers=[0, 0]}(few, turn)");
  // All transpositions, plain and batched.
  for (const Dims& batch : {Dims{}, Dims{2}}) {
    const auto operand = [&](const char* name, const Dim& rows, const Dim& columns) {
      Dims shape = batch;
      shape.push_back(rows);
      shape.push_back(columns);
      return tensor(name, shape, f64);
    };
    for (const auto& [m, k, l] : std::vector<std::array<Dim, 3>>{
             {1, n, 5}, {5, n, 1}, {n, 1, 5}, {1, n, 1}, {1, 1, 1}, {n, 4, 3}, {17, 2, 4}}) {
      for (int flags = 0; flags < 4; ++flags) {
        const bool transpose_a = (flags & 1) != 0;
        const bool transpose_b = (flags & 2) != 0;
        const Tensor a = transpose_a ? operand("a", k, m) : operand("a", m, k);
        const Tensor b = transpose_b ? operand("b", l, k) : operand("b", k, l);
        Attributes attributes;
        attributes.integers = {transpose_a, transpose_b};
        small(ops::apply(op_named("dot"), {a, b}, attributes));
      }
    }
  }
}

TEST_CASE("dce: removes what no result needs") {
  const Tensor x = vector("x");
  Graph graph = graph_of({exp(x)});
  CHECK_FALSE(eliminate_dead_code(graph));
  graph.build({0}, {}, [](std::span<const Tensor> v) { return tanh(v[0]); });
  CHECK(eliminate_dead_code(graph));
  CHECK(graph.size() == 2);
}

TEST_CASE("passes: long chains take no recursion and linear time") {
  const Tensor x = vector("x");
  Tensor y = x;
  for (int k = 0; k < 100000; ++k) y = y * 1;
  Graph ones = graph_of({y});
  run_passes(ones);
  CHECK(ones.size() == 1);

  // Each addition is the sum of all that is before it.
  y = x;
  for (int k = 0; k < 100000; ++k) y = y + x;
  Graph sums = graph_of({y});
  run_passes(sums);
  CHECK(sums.size() == 100001);

  y = x;
  for (int k = 0; k < 10000; ++k) y = squeeze(exp(-(-expand_dims(y, 0))))(slice(0, x.shape(0)));
  Graph views = graph_of({y});
  run_passes(views);
  CHECK(views.size() == 10001);

  // Each slice could move through all that is before it.
  y = tensor("y", {2001}, f32);
  for (int k = 0; k < 1000; ++k) y = exp(y)(slice(1, 2001 - k));
  Graph slices = graph_of({y});
  run_passes(slices);
  CHECK(count(slices, "exp") == 1000);
}

TEST_CASE("passes: the environment asks for dumps and times") {
  const auto captured = [](const char* dump, const char* time) {
    const Tensor x = vector("x");
    Graph graph = graph_of({exp(x) * 1});
    unsetenv("KROTON_DUMP");
    unsetenv("KROTON_TIME");
    if (dump != nullptr) setenv("KROTON_DUMP", dump, 1);
    if (time != nullptr) setenv("KROTON_TIME", time, 1);
    std::FILE* file = std::tmpfile();
    std::fflush(stderr);
    const int saved = dup(2);
    dup2(fileno(file), 2);
    run_passes(graph);
    std::fflush(stderr);
    dup2(saved, 2);
    close(saved);
    unsetenv("KROTON_DUMP");
    unsetenv("KROTON_TIME");
    std::string result;
    std::fseek(file, 0, SEEK_SET);
    for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) result += static_cast<char>(c);
    std::fclose(file);
    return result;
  };
  const auto contains = [](const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  };
  CHECK(captured(nullptr, nullptr).empty());
  const std::string all = captured("all", nullptr);
  CHECK(contains(all, "== input\ninputs: %0 x\n"));
  CHECK(contains(all, "== stabilize\ninputs: %0 x\n"));
  CHECK(contains(all, "== canonicalize: unchanged\n=="));
  const std::string two = captured("cse,input", nullptr);
  CHECK(contains(two, "== input\n"));
  CHECK(contains(two, "== cse: unchanged\n"));
  CHECK_FALSE(contains(two, "canonicalize"));
  CHECK(contains(captured(nullptr, "1"), "canonicalize "));
}
