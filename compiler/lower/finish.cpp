#include "compiler/lower/finish.h"

#include <set>

#include "compiler/loop/schedule.h"
#include "compiler/scan/steps.h"

namespace kroton {
namespace {

std::vector<Step> numbered(const std::vector<Step>& steps, bool contract, int& kernels,
                           int& scans) {
  std::vector<Step> result;
  for (const Step& step : steps) {
    const std::string name = as<Scan>(step) ? "scan" + std::to_string(scans++) : "";
    Step copy = with_inner(
        step, [&](const auto& inner) { return numbered(inner, contract, kernels, scans); });
    if (const auto* kernel = as<loop::Kernel>(copy)) {
      loop::Kernel named = contract ? loop::contract_products(*kernel) : *kernel;
      named.name = "k" + std::to_string(kernels++) + named.name;
      loop::verify(named);
      copy.kind = std::move(named);
    } else if (const Scan* scan = as<Scan>(copy)) {
      auto named = std::make_shared<Scan>(*scan);
      named->name = name;
      copy.kind = std::shared_ptr<const Scan>(std::move(named));
    }
    result.push_back(std::move(copy));
  }
  return result;
}

}  // namespace

std::vector<Step> finished(const std::vector<Step>& steps, bool contract) {
  int kernels = 0, scans = 0;
  return numbered(steps, contract, kernels, scans);
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
