// ifelse: what each side computes, and where.
#include <algorithm>

#include "compiler/ir/leaf.h"
#include "compiler/lower/lowering.h"

namespace kroton {

void Lowering::share_results() {
  std::map<Vertex, const Cluster*> stored_by;
  for (const Cluster& cluster : fusion_.clusters) {
    if (gives_results(graph_[cluster.hero].op->kind)) continue;  // places its results itself
    for (Vertex v : cluster.roots) stored_by[v] = &cluster;
    if (cluster.kind != Cluster::Kind::branch) continue;
    ifelse_lines_.try_emplace(graph_.operand(cluster.hero, 0),
                              kroton::to_string(graph_[cluster.hero].line));
  }
  for (auto it = fusion_.clusters.rbegin(); it != fusion_.clusters.rend(); ++it) {
    if (it->kind != Cluster::Kind::branch || dissolved_.count(it->hero)) continue;
    const std::vector<Vertex> operands = graph_.operands(it->hero);
    for (const bool holds : {true, false}) {
      const Vertex v = operands[holds ? 1 : 2];
      const auto writer = stored_by.find(v);
      if (writer == stored_by.end() || graph_.use_count(v) != 1) continue;
      if (writer->second->guard != extended(it->guard, {operands[0], holds})) continue;
      if (!(graph_[v].type == graph_[it->hero].type)) continue;
      buffers_.set(v, buffers_.of(it->hero));
    }
  }
}

void Lowering::lower_branch(const Cluster& cluster) {
  if (dissolved_.count(cluster.hero)) return;
  const std::vector<Vertex> operands = graph_.operands(cluster.hero);
  const loop::BufferRef& to = buffers_.of(cluster.hero);
  for (const bool holds : {true, false}) {
    const Vertex v = operands[holds ? 1 : 2];
    if (fusion_.stored[v] && buffers_.of(v) == to) continue;
    StepGroup group;
    add_copy(group.steps, v, to, "_ifelse");
    std::get<loop::Kernel>(group.steps.back().kind).source =
        kroton::to_string(graph_[cluster.hero].line);
    if (fusion_.stored[v]) group.read.insert(buffers_.of(v)->id);
    group.written.insert(to->id);
    group.guard = extended(cluster.guard, {operands[0], holds});
    add_group(std::move(group));
  }
}

const loop::BufferRef& Lowering::condition(Vertex v) {
  loop::BufferRef& buffer = conditions_[v];
  if (buffer) return buffer;
  const bool updated =
      std::any_of(graph_.updates.begin(), graph_.updates.end(),
                  [&](const auto& update) { return update.state == graph_[v].attributes.state; });
  if (!updated && !graph_.is_op(v, literal_op)) return buffer = buffers_.of(v);
  buffer = buffers_.create("held", DType::boolean, 1);
  add_copy(first_, v, buffer);
  return buffer;
}

}  // namespace kroton
