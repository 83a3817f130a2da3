// NVRTC accepts what the CUDA emitter prints: the samples of every op and their gradients, for
// several generations of GPUs. Needs NVRTC, no GPU.
#include <doctest/doctest.h>
#include <kroton/error.h>
#include <kroton/kroton.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <thread>

#include "compiler/codegen/cuda/emit_cuda.h"
#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "runtime/cuda/nvrtc.h"
#include "tests/backend/sample_tools.h"
#include "tests/left_out.h"

using namespace op_test;       // NOLINT: tests
using namespace backend_test;  // NOLINT: tests

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
  return {name, codegen::emit_cuda(lower(graph, name, {.gpu = true})).source};
}

// All samples and, where their sizes are known, their gradients; many to a unit: NVRTC takes long
// to begin and little for a kernel. With free sizes every kernel has those of its whole unit as
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
    for (const Trial& trial : trials) {
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

}  // namespace

TEST_CASE("NVRTC compiles a training step for every generation") {
  if (!has_nvrtc("NVRTC compiles a training step for every generation")) return;
  compile_all({unit_of_training_step()}, {75, 80, 90, 100});
}

TEST_CASE("NVRTC compiles the samples of every op and their gradients, sizes known") {
  if (!has_nvrtc("NVRTC compiles the samples of every op and their gradients, sizes known")) return;
  compile_all(units_of_samples(false), {80});
}

TEST_CASE("NVRTC compiles the samples of every op, sizes free") {
  if (!has_nvrtc("NVRTC compiles the samples of every op, sizes free")) return;
  compile_all(units_of_samples(true), {90});
}
