// f.dot(): the optimised graph in Graphviz's language.
#include <unordered_set>

#include "compiler/fusion/fusion.h"
#include "compiler/ops/attribute_views.h"
#include "compiler/ops/records.h"
#include "compiler/ops/scan_op.h"
#include "compiler/scan/scan.h"
#include "frontend/function_parts.h"

namespace kroton::detail {
namespace {

using Vertex = Graph::Vertex;

// As a string of the language; "\n" in it begins a new line of the label.
std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    if (c == '\n') {
      result += "\\n";
    } else {
      result += c;
    }
  }
  return result + "\"";
}

class DotText {
 public:
  DotText(const Graph& graph, const std::string& name) {
    text_ = "digraph " + quoted(name) +
            " {\n  node [shape=box, style=rounded, fontname=Helvetica, fontsize=10];\n";
    add(graph, "v", "  ");
    for (std::size_t k = 0; k < graph.outputs.size(); ++k) {
      result("output" + std::to_string(k), "output " + std::to_string(k), graph.outputs[k]);
    }
    for (std::size_t k = 0; k < graph.updates.size(); ++k) {
      result("update" + std::to_string(k), "new " + graph.updates[k].state->name,
             graph.updates[k].value);
    }
    text_ += edges_ + "}\n";
  }
  const std::string& text() const { return text_; }

 private:
  // The graph's nodes, in frames by kernel; their names begin with `prefix`.
  void add(const Graph& graph, const std::string& prefix, const std::string& indent) {
    const Fusion fusion = fuse(graph);
    std::unordered_set<Vertex> framed;
    std::unordered_set<Vertex> loops;
    for (const Cluster& cluster : fusion.clusters) {
      framed.insert(cluster.members.begin(), cluster.members.end());
      const bool loop = cluster.kind == Cluster::Kind::scan;
      // A kernel of an op with loops of its own has no domain but its result's.
      const bool write = cluster.kind == Cluster::Kind::write;
      const Dims& domain = write ? graph[cluster.hero].type.shape : cluster.domain;
      std::string label = "kernel over " + to_string(domain);
      if (loop) {
        label = "scan, " + ScanView(graph[cluster.hero].attributes).count.to_string() + " times";
        loops.insert(cluster.hero);
      }
      text_ += indent + "subgraph cluster_" + std::to_string(frames_++) + " {\n" + indent +
               "  label=" + quoted(label) + ";\n" + indent + "  color=gray;\n";
      for (const Vertex v : cluster.members) {
        if (!loop || v != cluster.hero) node(graph, fusion, v, prefix, indent + "  ");
      }
      if (loop) add_body(graph, cluster, prefix, indent + "  ");
      text_ += indent + "}\n";
    }
    for (const Vertex v : graph.topological_order()) {
      if (!framed.contains(v)) node(graph, fusion, v, prefix, indent);
      if (loops.contains(v)) continue;  // its edges are those of its body
      for (const Vertex operand : graph.operands(v)) {
        if (!loops.contains(operand)) edge(id(prefix, operand), id(prefix, v));
      }
    }
  }

  // What a loop does in each step, and which values go in and out.
  void add_body(const Graph& graph, const Cluster& cluster, const std::string& prefix,
                const std::string& indent) {
    const Attributes& attributes = graph[cluster.hero].attributes;
    const ScanView view(attributes);
    Body body = *attributes.body;
    std::vector<Vertex> stacks;
    for (const Vertex v : cluster.roots) {
      if (!graph.is_op(v, scan_stack_op)) continue;
      stacks.push_back(v);
      body.results.push_back(graph[v].attributes.body->results[0]);
    }
    const Graph inside(body.parameters, body.results, {}, false);
    const std::string inner = id(prefix, cluster.hero) + "_";
    add(inside, inner, indent);
    const std::vector<Vertex> operands = graph.operands(cluster.hero);
    for (std::size_t k = 0; k < operands.size(); ++k) {
      edge(id(prefix, operands[k]), id(inner, inside.inputs[k]));
    }
    for (std::size_t k = 0; k < static_cast<std::size_t>(view.states); ++k) {
      edge(id(inner, inside.outputs[k]), id(inner, inside.inputs[k]),
           " [style=dashed, constraint=false]");
    }
    for (const Vertex v : cluster.roots) {
      if (!graph.is_op(v, scan_last_op)) continue;
      const auto state = static_cast<std::size_t>(result_number(graph[v].attributes));
      edge(id(inner, inside.outputs[state]), id(prefix, v));
    }
    for (std::size_t k = 0; k < stacks.size(); ++k) {
      edge(id(inner, inside.outputs[static_cast<std::size_t>(view.states) + k]),
           id(prefix, stacks[k]));
    }
  }

  static std::string id(const std::string& prefix, Vertex v) { return prefix + std::to_string(v); }

  void node(const Graph& graph, const Fusion& fusion, Vertex v, const std::string& prefix,
            const std::string& indent) {
    const VertexData& data = graph[v];
    const bool leaf = data.op->kind == OpKind::leaf;
    std::string label = std::string(data.op->name);
    if (leaf && !data.attributes.name.empty()) label += " " + data.attributes.name;
    label += "\n" + to_string(data.type);
    if (data.line.line != 0) label += "\n" + to_string(data.line);
    text_ += indent + id(prefix, v) + " [label=" + quoted(label);
    if (leaf) text_ += ", style=filled, fillcolor=lightgray";
    // What is stored; all else exists only inside its kernel.
    if (!leaf && fusion.stored[v]) text_ += ", penwidth=2";
    text_ += "];\n";
  }

  void edge(const std::string& from, const std::string& to, const char* attributes = "") {
    edges_ += "  " + from + " -> " + to + attributes + ";\n";
  }

  void result(const std::string& name, const std::string& label, Vertex v) {
    text_ += "  " + name + " [label=" + quoted(label) + ", shape=ellipse];\n";
    edge(id("v", v), name);
  }

  std::string text_;
  std::string edges_;  // written last: a frame takes in what is mentioned inside it
  int frames_ = 0;
};

}  // namespace

std::string FunctionCore::dot() const { return DotText(*parts_->graph, parts_->name).text(); }

}  // namespace kroton::detail
