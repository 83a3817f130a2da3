// Updates that change few elements of a shared variable touch no others.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "tests/gpu_emulator/emulated_device.h"
#include "tests/tools/compiled_tools.h"

namespace test_sparse_updates {

namespace kt = kroton;

namespace {

constexpr std::int64_t rows = 5000, width = 130;

kt::Shared table(std::uint64_t seed = 1) {
  return kt::shared(compiled_test::random_array({rows, width}, kt::f32, seed), "table");
}

// How many kernels have a loop over all of the table.
int kernels_over_table(const std::vector<kt::Tensor>& inputs, const kt::Shared& w,
                       const kt::Tensor& value, const std::vector<kt::Tensor>& outputs = {}) {
  const std::vector<std::pair<kt::Shared, kt::Tensor>> updates{{w, value}};
  kt::Graph graph(inputs, outputs, updates);
  kt::run_passes(graph);
  const kt::Program program = kt::lower(graph, "f", kt::x86_machine(64));
  int found = 0;
  kt::for_each_kernel(program.steps, [&](const kt::loop::Kernel& k) {
    // Its work has a part that does not depend on the number of indices.
    const auto zero = [](const kt::DimAtom&) { return std::int64_t{0}; };
    found += kt::loop::as_dim(k.work)->evaluate(zero) >= rows * width ? 1 : 0;
  });
  return found;
}

const std::vector<kt::Tensor> none;
const kt::Tensor ids = kt::tensor("ids", {kt::dim("n")}, kt::i64);

// Steps with such a new value against steps with the same value, which the function also gives back
// and so has to compute as a whole.
void check_steps(const std::function<kt::Tensor(const kt::Shared&)>& value,
                 const kt::Target& target = kt::cpu()) {
  const kt::Shared sparse = table(), dense = table();
  const auto step =
      kt::function({ids}, none, {.updates = {{sparse, value(sparse)}}, .target = target});
  const kt::Tensor whole = value(dense);
  const auto same = kt::function({ids}, {whole}, {.updates = {{dense, whole}}, .target = target});
  for (const auto& at : std::vector<std::vector<std::int64_t>>{
           {}, {7}, {4999, 0, -1, 7, 7, 7}, {3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3}}) {
    const kt::Array indices = kt::Array::from(at);
    step(indices);
    same(indices);
    CHECK(kt::all_close(sparse.get_value(), dense.get_value(), 1e-5, 1e-5));
  }
  CHECK_FALSE(kt::all_close(sparse.get_value(), table().get_value(), 1e-5, 1e-5));
}

kt::Tensor gradient(const kt::Shared& w, const kt::Tensor& at) {
  return kt::grad(kt::sum(kt::square(kt::take(w, at)) * 0.5), w);
}

}  // namespace

TEST_CASE("sparse updates: a step of gradient descent adds to the rows that were taken") {
  const kt::Shared w = table();
  CHECK(kernels_over_table({ids}, w, w - 0.1 * gradient(w, ids)) == 0);
  const kt::Tensor rate = kt::tensor("rate", {});
  CHECK(kernels_over_table({ids, rate}, w, w + gradient(w, ids) * rate / 3.0) == 0);
  CHECK(kernels_over_table({ids, rate}, w, -(rate * gradient(w, ids)) + w) == 0);
  // Of several lookups.
  const kt::Tensor both =
      kt::grad(kt::sum(kt::square(kt::take(w, ids)) + kt::sin(kt::take(w, ids * ids % 17))), w);
  CHECK(kernels_over_table({ids}, w, w - 0.1 * both) == 0);
}

TEST_CASE("sparse updates: what needs all of the table computes all of it") {
  const kt::Shared w = table(), v = table(2);
  const kt::Tensor g = gradient(w, ids);
  CHECK(kernels_over_table({ids}, w, w * 0.999 - 0.1 * g) > 0);
  CHECK(kernels_over_table({ids}, w, w - kt::square(g)) > 0);
  CHECK(kernels_over_table({ids}, w, v - 0.1 * g) > 0);
  CHECK(kernels_over_table({ids}, w, w - 0.1 * g, {g}) > 0);
  CHECK(kernels_over_table({ids}, w, w - v * g) > 0);
}

TEST_CASE("sparse updates: values, with repeated indices and such from the end") {
  check_steps([](const kt::Shared& w) { return w - 0.1 * gradient(w, ids); });
  check_steps([](const kt::Shared& w) { return -(gradient(w, ids) / 4.0) + w; });
  check_steps([](const kt::Shared& w) {
    return w - 0.1 * kt::grad(kt::sum(kt::square(kt::take(w, ids)) +
                                      kt::take(w, kt::expand_dims(ids * ids % 17, 1)) * 0.5),
                              w);
  });
  check_steps(
      [](const kt::Shared& w) { return kt::add_at(w, kt::ones({ids.shape(0), width}), ids); });
  check_steps([](const kt::Shared& w) {
    return w - 0.1 * kt::grad(kt::sum(kt::sin(kt::take(w, ids * ids % 100, 1))), w);
  });
}

TEST_CASE("cuda: sparse updates") {
  const gpu_emulator::TestCuda cuda;
  check_steps([](const kt::Shared& w) { return w - 0.1 * gradient(w, ids); }, kt::cuda());
}

TEST_CASE("sparse updates: nothing changes where an index is out of range") {
  const kt::Shared w = table();
  const auto f = kt::function({ids}, none, {.updates = {{w, w - 0.1 * gradient(w, ids)}}});
  CHECK_THROWS_WITH_AS(
      f(kt::Array::from(std::vector<std::int64_t>{1, 2, 5000})),
      doctest::Contains("index 5000 is out of range for axis 0 of table, whose size is 5000"),
      kt::ValueError);
  CHECK(kt::all_close(w.get_value(), table().get_value(), 0, 0));
}

TEST_CASE("sparse updates: any number of threads gives the same bits") {
  std::vector<kt::Array> results;
  for (const std::int64_t threads : {1, 2, 5}) {
    const compiled_test::ThreadCount count(threads);
    const kt::Shared w = table();
    const auto f = kt::function({ids}, {kt::cumsum(kt::take(w, ids), 0)},
                                {.updates = {{w, w - 0.1 * gradient(w, ids)}}});
    std::vector<std::int64_t> at(3000);
    for (std::size_t k = 0; k < at.size(); ++k) at[k] = static_cast<std::int64_t>(k * k % 999);
    results.push_back(f(kt::Array::from(at)));
    results.push_back(w.get_value());
  }
  for (std::size_t k = 2; k < results.size(); ++k) {
    CHECK(kt::all_close(results[k], results[k - 2], 0, 0));
  }
}

}  // namespace test_sparse_updates
