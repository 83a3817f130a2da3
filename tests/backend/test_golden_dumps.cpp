// Golden dumps of three functions on their way: graph after the passes, fusion, loop IR for vectors
// of 64 bytes. `bash tests/run --update-golden` rewrites them.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include "compiler/fusion/fusion.h"
#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "tests/golden.h"

using namespace kroton;  // NOLINT: tests

namespace {

std::string dump(const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs,
                 const std::vector<std::pair<Shared, Tensor>>& updates = {}) {
  Graph graph(inputs, outputs, updates);
  run_passes(graph);
  return "== graph\n" + to_string(graph) + "== fusion\n" + fuse(graph).to_string(graph) +
         "== loop\n" + to_string(lower(graph, "golden", x86_machine(64)));
}

// Sizes are written in the order of their variables' creation: this one comes first, also when no
// function was compiled before.
[[maybe_unused]] const Dim& first_size = worker_count();

}  // namespace

TEST_CASE("golden: a training step of the logistic regression") {
  const Tensor x = matrix("x");
  const Tensor y = vector("y");
  const Shared w = shared(Array::zeros({2, 1}), "w");
  const Shared b = shared(Array::zeros({1}), "b");
  const Tensor p = 1 / (1 + exp(-dot(x, w) - b));
  const Tensor q = p(all, 0);
  const Tensor xent = -y * log(q) - (1 - y) * log(1 - q);
  const Tensor loss = mean(xent) + 0.01 * sum(square(w));
  const auto [gw, gb] = grad(loss, w, b);
  check_golden("logistic", dump({x, y}, {loss}, {{w, w - 0.1 * gw}, {b, b - 0.1 * gb}}));
}

TEST_CASE("golden: a dense layer with bias and relu") {
  const Tensor x = matrix("x");
  const Shared w = shared(Array::zeros({784, 512}), "w");
  const Shared b = shared(Array::zeros({512}), "b");
  check_golden("dense", dump({x}, {relu(dot(x, w) + b)}));
}

TEST_CASE("golden: softmax of rows") {
  const Tensor x = matrix("x");
  check_golden("softmax", dump({x}, {softmax(x)}));
}

TEST_CASE("golden: ifelse with a gradient and an update") {
  const Tensor c = scalar("c", boolean);
  const Tensor x = tensor("x", {17});
  const Tensor ids = tensor("ids", {3}, i64);
  const Shared w = shared(Array::zeros({17}), "w");
  const Tensor loss = ifelse(c, sum(take(tanh(x * w), ids)), sum(w * w));
  check_golden("ifelse", dump({c, x, ids}, {loss}, {{w, ifelse(c, w - 0.1 * grad(loss, w), w)}}));
}

TEST_CASE("golden: a dump is the same every time") {
  const auto once = [] {
    const Tensor x = matrix("x");
    const Shared w = shared(Array::zeros({100, 10}), "w");
    const Tensor loss = mean(logsumexp(dot(x, w), 1));
    return dump({x}, {loss}, {{w, w - grad(loss, w)}});
  };
  CHECK(once() == once());
}
