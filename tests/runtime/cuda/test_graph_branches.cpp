// Graphs whose branches run side by side, on the driver of the tests, which runs what does not wait
// for each other in any order.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include "tests/fake_driver/process.h"

namespace kt = kroton;
using fake_driver::Process;

namespace {

// Its results, called several times, are those of the CPU.
void check_all_orders(const std::vector<kt::Tensor>& inputs, const std::vector<kt::Tensor>& outputs,
                      const std::vector<kt::Array>& values) {
  const std::vector<kt::Argument> arguments(values.begin(), values.end());
  const auto on_cpu = kt::function(inputs, outputs),
             on_cuda = kt::function(inputs, outputs, {.target = kt::cuda()});
  const std::vector<kt::Array> want = on_cpu.call(arguments);
  for (int call = 0; call < 8; ++call) {
    const std::vector<kt::Array> have = on_cuda.call(arguments);
    for (std::size_t k = 0; k < want.size(); ++k) {
      CAPTURE(k);
      CHECK(kt::all_close(have[k], want[k], 1e-4, 1e-4));
    }
  }
}

}  // namespace

TEST_CASE("graph branches: independent chains are side by side") {
  const Process process;
  if (!process) return;
  std::vector<kt::Tensor> inputs, outputs;
  std::vector<kt::Array> values;
  for (int k = 0; k < 4; ++k) {
    inputs.push_back(kt::tensor("x" + std::to_string(k), {20, 30}));
    values.push_back(kt::Array::normal({20, 30}, static_cast<std::uint64_t>(k)));
    // Kernels that keep rows or columns in registers are launches of their own.
    outputs.push_back(kt::softmax(kt::softmax(inputs.back(), 1), 0));
  }
  const int kernels = process->kernels();
  check_all_orders(inputs, outputs, values);
  const int of_each_call = (process->kernels() - kernels) / 8;
  CHECK(process->calls("cuGraphLaunch") == 7);
  CAPTURE(of_each_call);
  CHECK(process->graph_depth() <= of_each_call / 2);
  CHECK(process->graph_depth() > 0);
}

TEST_CASE("graph branches: what one branch leaves to another is waited for") {
  const Process process;
  if (!process) return;
  const auto x = kt::matrix("x"), w = kt::matrix("w"), v = kt::matrix("v");
  const kt::Tensor a = kt::softmax(kt::dot(x, w)), b = kt::softmax(kt::dot(x, v));
  const kt::Tensor both = kt::dot(kt::transpose(a), b);
  check_all_orders(
      {x, w, v}, {both, kt::sum(a, {0}), kt::sum(b, {1}), kt::max(both)},
      {kt::Array::normal({9, 7}, 1), kt::Array::normal({7, 6}, 2), kt::Array::normal({7, 5}, 3)});
}

TEST_CASE("graph branches: a training step gives the same numbers in any order") {
  const Process process;
  if (!process) return;
  const auto x = kt::matrix("x");
  const auto labels = kt::tensor("labels", {x.shape(0)}, kt::i64);
  const auto train = [&](const kt::Target& target) {
    auto w1 = kt::shared(kt::Array::normal({7, 9}, 1), "w1");
    auto b1 = kt::shared(kt::Array::zeros({9}), "b1");
    auto w2 = kt::shared(kt::Array::normal({9, 4}, 2), "w2");
    auto b2 = kt::shared(kt::Array::zeros({4}), "b2");
    const kt::Tensor hidden = kt::tanh(kt::dot(x, w1) + b1);
    const kt::Tensor loss = kt::mean(kt::softmax_cross_entropy(kt::dot(hidden, w2) + b2, labels));
    std::vector<kt::Update> updates;
    for (const kt::Shared& p : {w1, b1, w2, b2}) {
      updates.emplace_back(p, p - 0.1 * kt::grad(loss, p));
    }
    const auto step = kt::function({x, labels}, loss, {.updates = updates, .target = target});
    kt::Array ys = kt::Array::zeros({6}, kt::i64);
    std::vector<kt::Array> results;
    for (int call = 0; call < 8; ++call) {
      for (std::int64_t i = 0; i < 6; ++i)
        ys.data<std::int64_t>()[static_cast<std::size_t>(i)] = (i + call) % 4;
      results.push_back(step(kt::Array::normal({6, 7}, static_cast<std::uint64_t>(call)), ys));
    }
    // A failed check leaves all as it was, whatever ran before it.
    ys.data<std::int64_t>()[2] = 4;
    CHECK_THROWS_AS(step(kt::Array::normal({6, 7}, 1), ys), kt::ValueError);
    for (const kt::Shared& p : {w1, b1, w2, b2}) results.push_back(p.get_value());
    return results;
  };
  const std::vector<kt::Array> want = train(kt::cpu());
  for (const bool products : {true, false}) {
    kt::Target target = kt::cuda();
    target.products = products;
    const std::vector<kt::Array> have = train(target);
    for (std::size_t k = 0; k < want.size(); ++k) {
      CAPTURE(k);
      CHECK(kt::all_close(have[k], want[k], 1e-4, 1e-4));
    }
  }
}

TEST_CASE("graph branches: scans that start kernels and the first of two failed checks") {
  const Process process;
  if (!process) return;
  const auto x = kt::tensor("x", {3, 32, 64});
  const auto w = kt::constant(kt::Array::normal({64, 64}, 1));
  const auto both = kt::scan(
      [&](const kt::Tensor& row, const kt::Tensor& a, const kt::Tensor& b) {
        return std::pair{kt::tanh(kt::dot(a, w) * 0.1 + row), kt::tanh(kt::dot(b, w) * 0.2 - row)};
      },
      {.sequences = {x}, .outputs_info = {kt::zeros({32, 64}), kt::zeros({32, 64})}});
  check_all_orders({x}, {kt::sum(both[0], {0}), both[1][-1]}, {kt::Array::normal({3, 32, 64}, 2)});
  // Which of two checks is told is the same in every order.
  const auto i = kt::tensor("i", {kt::dim("n")}, kt::i64),
             j = kt::tensor("j", {kt::dim("m")}, kt::i64);
  const auto table = kt::constant(kt::Array::normal({7, 3}, 3));
  const auto f = kt::function(
      {i, j}, std::vector<kt::Tensor>{kt::take(table, i, 0), kt::take(2 * table, j, 0)},
      {.target = kt::cuda()});
  kt::Array good = kt::Array::zeros({4}, kt::i64), bad = kt::Array::zeros({4}, kt::i64),
            worse = kt::Array::zeros({4}, kt::i64);
  bad.data<std::int64_t>()[1] = 8;
  worse.data<std::int64_t>()[1] = 9;
  f(good, good);
  std::string first;
  for (int call = 0; call < 8; ++call) {
    try {
      f(bad, worse);
      CHECK(false);
    } catch (const kt::ValueError& error) {
      if (first.empty()) first = error.what();
      CHECK(first == error.what());
    }
  }
}
