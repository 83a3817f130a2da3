// Costly values that several loops of one kernel read: kept where all read them at one index, and
// never taken for values at another.
#include <doctest/doctest.h>

#include <set>

#include "compiler/loop/traverse.h"
#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "tests/gpu_emulator/emulated_device.h"
#include "tests/tools/compiled_tools.h"

using namespace kroton;         // NOLINT: tests
using namespace compiled_test;  // NOLINT: tests

namespace {

using Reader = std::function<Tensor(const Tensor& costly, const Tensor& ids)>;

// What reads the elements of a square at other places than its own.
const std::vector<std::pair<const char*, Reader>>& readers() {
  static const std::vector<std::pair<const char*, Reader>> known = {
      {"itself", [](const Tensor& e, const Tensor&) { return e; }},
      {"transpose", [](const Tensor& e, const Tensor&) { return transpose(e); }},
      {"rows taken", [](const Tensor& e, const Tensor& ids) { return take(e, ids); }},
      {"columns taken", [](const Tensor& e, const Tensor& ids) { return take(e, ids, 1); }},
      {"rows reversed", [](const Tensor& e, const Tensor&) { return e(slice(end, end, -1)); }},
      {"columns reversed",
       [](const Tensor& e, const Tensor&) { return e(all, slice(end, end, -1)); }},
      {"transposed rows taken",
       [](const Tensor& e, const Tensor& ids) { return transpose(take(e, ids)); }},
      {"a row for all", [](const Tensor& e, const Tensor&) { return e(0) + zeros_like(e); }},
      {"a column for all",
       [](const Tensor& e, const Tensor&) { return expand_dims(e(all, 0), 1) + zeros_like(e); }},
  };
  return known;
}

Array ids_of(std::int64_t n) {
  Array ids = Array::zeros({n}, i64);
  for (std::int64_t k = 0; k < n; ++k) ids.data<std::int64_t>()[k] = (k * 5 + 1) % n;
  return ids;
}

// Buffers in which kernels keep values: stored to and read again.
int kept_count(const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs) {
  Graph graph(inputs, outputs, {});
  run_passes(graph);
  int count = 0;
  for_each_kernel(lower(graph, "kept", x86_machine(64)).steps, [&](const loop::Kernel& kernel) {
    std::set<int> read, kept;
    loop::visit_expressions(kernel.body, [&](const loop::Expr& root) {
      for (const loop::Expr& e : loop::post_order(std::span(&root, 1))) {
        if (e->op == loop::Op::load) read.insert(e->buffer->id);
      }
    });
    loop::visit_statements(kernel.body, [&](const loop::Stmt& s) {
      const auto* store = std::get_if<loop::Store>(&s);
      if (store != nullptr && read.count(store->buffer->id)) kept.insert(store->buffer->id);
    });
    count += static_cast<int>(kept.size());
  });
  return count;
}

}  // namespace

TEST_CASE("kept values: a costly value through each view, reduced and divided by the sum") {
  const Dim n = dim("n");
  for (const bool known : {false, true}) {
    const DType dtype = known ? DType::f32 : DType::f64;
    const Tensor x = known ? tensor("x", {5, 5}, dtype) : tensor("x", {n, n}, dtype);
    const Tensor ids = known ? tensor("ids", {5}, i64) : tensor("ids", {n}, i64);
    const std::vector<Array> values{random_array({5, 5}, dtype, 7), ids_of(5)};
    for (const auto& [name, read] : readers()) {
      CAPTURE(name);
      CAPTURE(known);
      const Tensor e = read(exp(x), ids);
      const Tensor t = read(tanh(x), ids);
      std::vector<Tensor> outputs;
      for (const int axis : {0, 1}) {
        outputs.push_back(e / sum(e, axis, true));
        outputs.push_back(softmax(t, axis));
        outputs.push_back(t - max(t, axis, true));
        outputs.push_back(exp(t) * sum(exp(t) * x, axis, true));
      }
      for (const Tensor& output : outputs) {
        check_agrees({{x, ids}, {output, ids(0)}, values});
      }
      outputs.push_back(ids(0));
      check_agrees({{x, ids}, outputs, values});
    }
  }
}

TEST_CASE("kept values: one vertex at two indices in one function") {
  const Dim n = dim("n");
  const Tensor x = tensor("x", {n, n}, f64);
  const Tensor ids = tensor("ids", {n}, i64);
  const std::vector<Array> values{random_array({6, 6}, f64, 3), ids_of(6)};
  std::vector<Tensor> outputs;
  for (const auto& [first_name, first] : readers()) {
    for (const auto& [second_name, second] : readers()) {
      const Tensor e = exp(x);
      const Tensor a = first(e, ids);
      const Tensor b = second(e, ids);
      outputs.push_back(a / sum(b, 1, true));
      outputs.push_back(a * b / sum(a, 0, true));
    }
  }
  for (const Tensor& output : outputs) {
    CAPTURE(describe(std::span(&output, 1)));
    check_agrees({{x, ids}, {output, ids(0)}, values});
  }
}

TEST_CASE("cuda: kept values") {
  const gpu_emulator::TestCuda cuda;
  for (const Dim& n : {Dim(20), dim("n")}) {
    const Tensor x = tensor("x", {n, n}, f64);
    const Tensor ids = tensor("ids", {n}, i64);
    std::vector<Tensor> outputs{ids(0)};
    for (const auto& [name, read] : readers()) {
      const Tensor e = read(exp(x), ids);
      outputs.push_back(e / sum(e, 1, true));
      outputs.push_back(softmax(read(tanh(x), ids), 0));
    }
    check_agrees({{x, ids}, outputs, {random_array({20, 20}, f64, 7), ids_of(20)}}, {},
                 kroton::cuda());
  }
}

TEST_CASE("kept values: a gather of a vector that several loops read") {
  for (const Dim& n : {Dim(3), dim("n")}) {
    const Tensor x = tensor("x", {n}, f64);
    const Tensor ids = tensor("ids", {n}, i64);
    const Tensor s = take(sin(x), ids);
    const auto f = function({x, ids}, {s, s + sum(s)});
    const auto [first, second] =
        f(Array::from({0.4, 0.5, 0.6}, {3}), Array::from(std::vector<std::int64_t>{1, 0, 2}, {3}));
    CHECK(all_close(first,
                    Array::from({0.479425538604203, 0.389418342308651, 0.564642473395035}, {3}),
                    1e-12, 1e-12));
    CHECK(all_close(second,
                    Array::from({1.912911892912092, 1.82290469661654, 1.998128827702924}, {3}),
                    1e-12, 1e-12));
  }
}

TEST_CASE("kept values: a longer gather than what it reads, and results of other dtypes") {
  const Dim n = dim("n"), m = dim("m");
  const Tensor x = tensor("x", {n}, f64);
  const Tensor ids = tensor("ids", {m}, i64);
  const Tensor s = take(exp(x), ids);
  const std::vector<Array> values{random_array({4}, f64, 3), ids_of(4)};
  check_agrees({{x, ids}, {s / sum(s), cast(s / sum(s), f32), s - max(s), argmax(s)}, values});
  const Tensor pair = take(exp(x), expand_dims(ids, 0) + zeros({3, m}, i64));
  check_agrees({{x, ids}, {pair / sum(pair, 1, true), pair * sum(pair, 0)}, values});
}

TEST_CASE("kept values: once for each index that a later loop reads") {
  const Tensor x = tensor("x", {200, 200});
  CHECK(kept_count({x}, {softmax(x, 1)}) == 1);
  CHECK(kept_count({x}, {softmax(transpose(x), 1)}) == 1);
  // A transpose that rows read is stored, with what is made of its elements before.
  const Tensor e = transpose(exp(x));
  CHECK(kept_count({x}, {e / sum(e, 1, true)}) == 0);
  const Tensor t = softmax(transpose(tanh(x)), 1);
  CHECK(kept_count({x}, {t}) == 1);
  // The sine is there only for its hyperbolic tangent.
  const Tensor inner = tanh(sin(x));
  CHECK(kept_count({x}, {inner / sum(inner, 1, true)}) == 1);
  CHECK(kept_count({x}, {x / sum(x, 1, true)}) == 0);
}
