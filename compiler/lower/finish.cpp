#include "compiler/lower/finish.h"

#include <set>

#include "compiler/scan/steps.h"

namespace kroton {
namespace {

std::vector<Step> numbered(const std::vector<Step>& steps, int& kernels, int& loops) {
  std::vector<Step> result;
  for (const Step& step : steps) {
    Step& copy = result.emplace_back();
    if (const auto* loop = std::get_if<std::shared_ptr<const Loop>>(&step.kind)) {
      auto named = std::make_shared<Loop>(**loop);
      named->name = "loop" + std::to_string(loops++);
      named->steps = numbered((*loop)->steps, kernels, loops);
      copy.kind = std::shared_ptr<const Loop>(std::move(named));
    } else if (const auto* branch = std::get_if<std::shared_ptr<const Branch>>(&step.kind)) {
      auto named = std::make_shared<Branch>(**branch);
      named->then_steps = numbered((*branch)->then_steps, kernels, loops);
      named->else_steps = numbered((*branch)->else_steps, kernels, loops);
      copy.kind = std::shared_ptr<const Branch>(std::move(named));
    } else if (const auto* kernel = std::get_if<loop::Kernel>(&step.kind)) {
      loop::Kernel named = *kernel;
      named.name = "k" + std::to_string(kernels++) + named.name;
      loop::verify(named);
      copy.kind = std::move(named);
    } else {
      copy = step;
    }
  }
  return result;
}

}  // namespace

std::vector<Step> finished(const std::vector<Step>& steps) {
  int kernels = 0, loops = 0;
  return numbered(steps, kernels, loops);
}

void collect_sizes(Program& program, const Graph& graph) {
  std::set<std::uint64_t> seen;
  const auto note = [&](const DimAtomRef& atom) {
    if (seen.insert(atom->identity).second) program.sizes.push_back(atom);
  };
  for (const auto* types : {&program.inputs, &program.outputs}) {
    for (const TensorType& type : *types) {
      for (const Dim& d : type.shape) d.visit_variables(note);
    }
  }
  // Numbers of steps come from values: they may be inside only.
  for (Graph::Vertex v : graph.topological_order()) {
    for (const Dims* dims : {&graph[v].type.shape, &graph[v].attributes.dims}) {
      for (const Dim& d : *dims) d.visit_variables(note);
    }
    if (graph[v].attributes.body) visit_sizes(graph[v].attributes.body->results, note);
  }
  worker_count().visit_variables(note);
}

}  // namespace kroton
