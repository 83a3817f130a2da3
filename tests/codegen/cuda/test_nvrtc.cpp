// NVRTC accepts what the CUDA emitter prints: the samples of every op and their gradients, for
// several generations of GPUs. Needs NVRTC, no GPU.
#include <doctest/doctest.h>
#include <kroton/error.h>
#include <kroton/kroton.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <mutex>
#include <thread>

#include "compiler/codegen/cuda/emit_cuda.h"
#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "runtime/cuda/nvrtc.h"
#include "tests/tools/left_out.h"
#include "tests/tools/sample_tools.h"

using namespace op_test;        // NOLINT: tests
using namespace compiled_test;  // NOLINT: tests

namespace {

struct Unit {
  std::string name;
  std::string source;
};

Unit unit_of(const std::string& name, const std::vector<Tensor>& inputs,
             const std::vector<Tensor>& outputs,
             const std::vector<std::pair<Shared, Tensor>>& updates = {}) {
  Graph graph(inputs, outputs, updates);
  run_passes(graph);
  return {name, codegen::emit_cuda(lower(graph, name, gpu_machine())).source};
}

// Samples of every op and, where their sizes are known, their gradients: a few of each, since
// neighbours differ in dtype or shape. Many to a unit: NVRTC takes long to begin and little for a
// kernel. With free sizes every kernel has those of its whole unit as
// parameters, so fewer are put together.
std::vector<Unit> units_of_samples(bool free_sizes) {
  const std::size_t outputs_per_unit = free_sizes ? 30 : 120;
  std::vector<Unit> units;
  std::vector<Tensor> inputs;
  std::vector<Tensor> outputs;
  const auto finish = [&] {
    if (outputs.empty()) return;
    units.push_back(unit_of("samples" + std::to_string(units.size()), inputs, outputs));
    inputs.clear();
    outputs.clear();
  };
  for (const OpRecord* op : all_ops()) {
    std::vector<Trial> trials = value_trials(*op, free_sizes);
    if (!free_sizes) {
      for (Trial& trial : gradient_trials(*op, free_sizes)) trials.push_back(std::move(trial));
    }
    const std::size_t most = free_sizes ? 2 : 6;
    for (const Trial& trial : at_most(trials, std::min(trials.size() / 8 + 1, most))) {
      inputs.insert(inputs.end(), trial.sample.inputs.begin(), trial.sample.inputs.end());
      outputs.insert(outputs.end(), trial.outputs.begin(), trial.outputs.end());
      if (outputs.size() >= outputs_per_unit) finish();
    }
  }
  finish();
  return units;
}

// One unit with kernels of every kind: elementwise, rows, columns, whole arrays, products, checks.
Unit unit_of_training_step() {
  const Tensor ids = vector("ids", i64);
  const Tensor labels = vector("labels", i64);
  const Shared table = shared(Array::zeros({500, 48}), "table");
  const Shared w = shared(Array::zeros({48, 70}), "w");
  const Shared b = shared(Array::zeros({70}), "b");
  const Shared v = shared(Array::zeros({70, 10}), "v");
  const Tensor hidden = relu(dot(take(table, ids), w) + b);
  const Tensor scores = dot(hidden, v);
  const Tensor loss = mean(softmax_cross_entropy(scores, labels));
  const auto [gt, gw, gb, gv] = grad(loss, table, w, b, v);
  return unit_of(
      "training_step", {ids, labels}, {loss, argmax(scores, 1), softmax(scores)},
      {{table, table - 0.1 * gt}, {w, w - 0.1 * gw}, {b, b - 0.1 * gb}, {v, v - 0.1 * gv}});
}

// The training steps of the examples, with their gradients and updates.
Unit unit_of_logistic() {
  const Tensor x = matrix("x");
  const Tensor y = vector("y");
  const Shared w = shared(Array::zeros({2, 1}), "w");
  const Shared b = shared(Array::zeros({1}), "b");
  const Tensor p = 1 / (1 + exp(-dot(x, w) - b));
  const Tensor q = p(all, 0);
  const Tensor loss = mean(-y * log(q) - (1 - y) * log(1 - q)) + 0.01 * sum(square(w));
  const auto [gw, gb] = grad(loss, w, b);
  return unit_of("logistic", {x, y}, {loss}, {{w, w - 0.1 * gw}, {b, b - 0.1 * gb}});
}

Unit unit_of_digits() {
  const Tensor images = tensor("images", {dim("batch"), 784});
  const Tensor labels = tensor("labels", {dim("batch")}, i64);
  const Shared w1 = shared(Array::zeros({784, 512}), "w1");
  const Shared b1 = shared(Array::zeros({512}), "b1");
  const Shared w2 = shared(Array::zeros({512, 10}), "w2");
  const Shared b2 = shared(Array::zeros({10}), "b2");
  const Tensor scores = dot(relu(dot(images, w1) + b1), w2) + b2;
  const Tensor loss = mean(softmax_cross_entropy(scores, labels));
  const auto [g1, h1, g2, h2] = grad(loss, w1, b1, w2, b2);
  return unit_of(
      "digits", {images, labels}, {loss, mean(cast(eq(argmax(scores, 1), labels), f32))},
      {{w1, w1 - 0.5 * g1}, {b1, b1 - 0.5 * h1}, {w2, w2 - 0.5 * g2}, {b2, b2 - 0.5 * h2}});
}

Unit unit_of_words() {
  const Tensor x = tensor("x", {dim("words")}, i64);
  const Tensor y = tensor("y", {dim("words")}, i64);
  const Shared u = shared(Array::zeros({100, 8000}), "u");
  const Shared v = shared(Array::zeros({8000, 100}), "v");
  const Shared w = shared(Array::zeros({100, 100}), "w");
  const auto [o, s] = scan(
      [&](Tensor word, Tensor before) {
        const Tensor state = tanh(u(all, word) + dot(w, before));
        return std::pair{softmax(dot(v, state)), state};
      },
      {.sequences = {x}, .outputs_info = {none, zeros({100})}});
  const Tensor loss = -sum(log(pick(o, y)));
  const auto [gu, gv, gw] = grad(loss, u, v, w);
  return unit_of("words", {x, y}, {loss, o[-1]},
                 {{u, u - 0.005 * gu}, {v, v - 0.005 * gv}, {w, w - 0.005 * gw}});
}

// Conversions between all dtypes, and arithmetic of each.
Unit unit_of_dtypes() {
  const Dim n = dim("n");
  std::vector<Tensor> inputs, outputs;
  for (const DTypeInfo& info : dtype_table) {
    const Tensor x = tensor("x", {n}, info.dtype), y = tensor("y", {n}, info.dtype);
    inputs.insert(inputs.end(), {x, y});
    for (const DTypeInfo& to : dtype_table) outputs.push_back(cast(x, to.dtype));
    if (info.dtype == boolean) continue;
    outputs.insert(outputs.end(), {maximum(x * y + x, y), sum(x), max(x), argmax(x), -abs(x)});
    if (!is_integer(info.dtype)) continue;
    outputs.insert(outputs.end(), {floor_div(x, y), mod(x, y), left_shift(x, 3), x ^ (y & 5)});
  }
  return unit_of("dtypes", inputs, outputs, {});
}

void compile_all(const std::vector<Unit>& units, const std::vector<int>& capabilities) {
  const nvidia::Nvrtc& nvrtc = nvidia::Nvrtc::get();
  std::vector<std::pair<const Unit*, int>> jobs;
  for (const Unit& unit : units) {
    for (const int capability : capabilities) jobs.emplace_back(&unit, capability);
  }
  std::atomic<std::size_t> next = 0;
  std::mutex mutex;
  std::string failures;
  const auto work = [&] {
    for (std::size_t k = next++; k < jobs.size(); k = next++) {
      try {
        const auto& [unit, capability] = jobs[k];
        if (!nvrtc.compile(unit->source, unit->name, capability).empty()) continue;
        const std::scoped_lock lock(mutex);
        failures += unit->name + ": no code\n";
      } catch (const std::exception& error) {
        const std::scoped_lock lock(mutex);
        failures += std::string(error.what()) + "\n";
      }
    }
  };
  std::vector<std::jthread> threads;
  for (unsigned k = 0; k < std::max(1U, std::thread::hardware_concurrency()); ++k) {
    threads.emplace_back(work);
  }
  threads.clear();
  CHECK(failures == "");
}

bool has_nvrtc(const std::string& test) {
  try {
    nvidia::Nvrtc::get();
    return true;
  } catch (const DeviceError& error) {
    leave_out(test, error.what());
    return false;
  }
}

void compile_samples(const std::string& what, bool free_sizes, int capability) {
  if (!has_nvrtc("NVRTC compiles " + what + ", sm_" + std::to_string(capability))) return;
  compile_all(units_of_samples(free_sizes), {capability});
}

}  // namespace

TEST_CASE("NVRTC compiles the examples for every generation") {
  if (!has_nvrtc("NVRTC compiles the examples for every generation")) return;
  compile_all({unit_of_training_step(), unit_of_logistic()}, {75, 80, 90, 100});
  compile_all({unit_of_digits(), unit_of_words()}, {80, 100});
}

TEST_CASE("NVRTC compiles the conversions and the arithmetic of every dtype") {
  if (!has_nvrtc("NVRTC compiles the conversions and the arithmetic of every dtype")) return;
  compile_all({unit_of_dtypes()}, {75, 100});
}

// The texts are those of every generation: the oldest has the fewest instructions, the newest the
// fewest of the old ones.
TEST_CASE("NVRTC compiles the samples of every op and their gradients, sizes known, sm_75") {
  compile_samples("the samples of every op and their gradients, sizes known", false, 75);
}
TEST_CASE("NVRTC compiles the samples of every op, sizes free, sm_100") {
  compile_samples("the samples of every op, sizes free", true, 100);
}
