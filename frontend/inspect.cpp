// What a compiled function shows of itself: f.print(), f.dot(), f.profile().
#include <kroton/error.h>

#include <algorithm>
#include <iostream>
#include <unordered_set>

#include "compiler/passes/fusion.h"
#include "frontend/function_parts.h"
#include "frontend/profiler.h"

namespace kroton::detail {
namespace {

std::string lines_of(const std::string& source) {
  return source.empty() ? "" : "  [" + source + "]";
}

class ProgramText {
 public:
  explicit ProgramText(const FunctionCore::Parts& parts) : program_(parts.program) {
    text_ = "function " + parts.name + "  [" + to_string(parts.line) + "]\n";
    for (std::size_t k = 0; k < program_.inputs.size(); ++k) {
      arguments_.push_back("input " + parts.inputs[k].name());
      text_ += "  " + arguments_.back() + " : " + to_string(program_.inputs[k]) + "\n";
    }
    for (std::size_t k = 0; k < program_.states.size(); ++k) {
      const SharedState& state = *program_.states[k];
      arguments_.push_back("shared " + state.name);
      text_ += "  " + arguments_.back() + " : " + std::string(name_of(state.value.dtype())) + " " +
               to_string(state.value.shape()) + (program_.state_is_updated[k] ? ", updated" : "") +
               "\n";
    }
    for (std::size_t k = 0; k < program_.outputs.size(); ++k) {
      arguments_.push_back("output " + std::to_string(k));
      text_ += "  " + arguments_.back() + " : " + to_string(program_.outputs[k]) + "\n";
    }
    text_ += "  arena : " + program_.arena_bytes.to_string() + " bytes\n";
    name_slots();
    steps(program_.steps, "");
  }
  const std::string& text() const { return text_; }

 private:
  // Buffers that begin at the same place share a slot of the arena.
  void name_slots() {
    std::vector<Dim> offsets;
    for (const auto& [id, place] : program_.placements) {
      if (place.kind != Placement::Kind::arena) continue;
      auto found = std::find(offsets.begin(), offsets.end(), place.offset);
      if (found == offsets.end()) {
        text_ += "  slot " + std::to_string(offsets.size()) + " : arena from byte " +
                 place.offset.to_string() + "\n";
        found = offsets.insert(offsets.end(), place.offset);
      }
      slots_[id] = found - offsets.begin();
    }
  }

  void steps(const std::vector<Step>& list, const std::string& indent) {
    for (const Step& step : list) {
      std::visit([&](const auto& what) { add(what, indent); }, step.kind);
    }
  }

  void add(const loop::Kernel& kernel, const std::string& indent) {
    text_ += indent + kernel.name + lines_of(kernel.source) + "\n";
    buffers("in", kernel.inputs, indent);
    buffers("out", kernel.outputs, indent);
    buffers("scratch", kernel.scratch, indent);
  }
  void add(const std::shared_ptr<const Loop>& loop, const std::string& indent) {
    text_ += indent + "loop " + loop->name + ", " + loop->extent.to_string() + " times" +
             lines_of(loop->source) + "\n";
    steps(loop->steps, indent + "  ");
  }
  void add(const std::shared_ptr<const Branch>& branch, const std::string& indent) {
    text_ += indent + "if " + branch->condition->name + lines_of(branch->source) + "\n";
    steps(branch->then_steps, indent + "  ");
    text_ += indent + "else\n";
    steps(branch->else_steps, indent + "  ");
  }
  void add(const std::shared_ptr<const Print>& shown, const std::string& indent) {
    text_ += indent + "print \"" + shown->message + "\"" + lines_of(shown->source) + "\n";
    buffers("in", {shown->value}, indent);
  }

  void buffers(const char* role, const std::vector<loop::BufferRef>& list,
               const std::string& indent) {
    for (const loop::BufferRef& buffer : list) {
      text_ += indent + "  " + role + " " + buffer->name + " : " +
               std::string(name_of(buffer->dtype)) + "[" + buffer->size.to_string() + "]" +
               place_of(buffer) + "\n";
    }
  }

  std::string place_of(const loop::BufferRef& buffer) const {
    const auto found = program_.placements.find(buffer->id);
    if (found == program_.placements.end()) return "";
    const Placement& place = found->second;
    switch (place.kind) {
      case Placement::Kind::argument:
        return ", " + arguments_.at(static_cast<std::size_t>(place.argument));
      case Placement::Kind::constant:
        return ", constant " + std::to_string(place.argument);
      case Placement::Kind::arena:
        return ", slot " + std::to_string(slots_.at(buffer->id));
      case Placement::Kind::worker_scratch:
        return ", one per worker";
      case Placement::Kind::part:
        return ", in " + place.of->name + " from element " + loop::to_string(place.start);
    }
    return "";
  }

  const Program& program_;
  std::vector<std::string> arguments_;
  std::map<int, std::ptrdiff_t> slots_;  // by buffer
  std::string text_;
};

// As a string in Graphviz's language; "\n" in it begins a new line of the label.
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
  DotText(const Graph& graph, const std::string& name) : graph_(graph), fusion_(fuse(graph)) {
    text_ = "digraph " + quoted(name) +
            " {\n  node [shape=box, style=rounded, fontname=Helvetica, fontsize=10];\n";
    for (std::size_t k = 0; k < fusion_.clusters.size(); ++k) {
      const Cluster& cluster = fusion_.clusters[k];
      std::string sizes;
      for (const Dim& d : cluster.domain) sizes += (sizes.empty() ? "" : ", ") + d.to_string();
      text_ += "  subgraph cluster_" + std::to_string(k) +
               " {\n    label=" + quoted("kernel over (" + sizes + ")") + ";\n    color=gray;\n";
      for (const Graph::Vertex v : cluster.members) {
        node(v, "    ");
        clustered_.insert(v);
      }
      text_ += "  }\n";
    }
    for (const Graph::Vertex v : graph.topological_order()) {
      if (!clustered_.contains(v)) node(v, "  ");
      for (const Graph::Vertex operand : graph.operands(v)) {
        text_ += "  " + id(operand) + " -> " + id(v) + ";\n";
      }
    }
    for (std::size_t k = 0; k < graph.outputs.size(); ++k) {
      result("output" + std::to_string(k), "output " + std::to_string(k), graph.outputs[k]);
    }
    for (std::size_t k = 0; k < graph.updates.size(); ++k) {
      result("update" + std::to_string(k), "new " + graph.updates[k].state->name,
             graph.updates[k].value);
    }
    text_ += "}\n";
  }
  const std::string& text() const { return text_; }

 private:
  static std::string id(Graph::Vertex v) { return "v" + std::to_string(v); }

  void node(Graph::Vertex v, const std::string& indent) {
    const VertexData& data = graph_[v];
    const bool leaf = data.op->kind == OpKind::leaf;
    std::string label = std::string(data.op->name);
    if (leaf && !data.attributes.name.empty()) label += " " + data.attributes.name;
    if (leaf && data.attributes.state) label += " " + data.attributes.state->name;
    label += "\n" + to_string(data.type);
    if (data.line.line != 0) label += "\n" + to_string(data.line);
    text_ += indent + id(v) + " [label=" + quoted(label);
    if (leaf) text_ += ", style=filled, fillcolor=lightgray";
    // What is stored; all else exists only inside its kernel.
    if (!leaf && fusion_.stored[v]) text_ += ", penwidth=2";
    text_ += "];\n";
  }

  void result(const std::string& name, const std::string& label, Graph::Vertex v) {
    text_ += "  " + name + " [label=" + quoted(label) + ", shape=ellipse];\n  " + id(v) + " -> " +
             name + ";\n";
  }

  const Graph& graph_;
  Fusion fusion_;
  std::unordered_set<Graph::Vertex> clustered_;
  std::string text_;
};

}  // namespace

void FunctionCore::print(std::ostream* stream) const {
  (stream != nullptr ? *stream : std::cout) << ProgramText(*parts_).text() << std::flush;
}

std::string FunctionCore::dot() const { return DotText(*parts_->graph, parts_->name).text(); }

Profile FunctionCore::profile() const {
  if (!parts_->profiler) {
    throw ValueError(parts_->name + ": profile: the function was not made with .profile = true  [" +
                     to_string(parts_->line) + "]");
  }
  return parts_->profiler->profile(parts_->name);
}

}  // namespace kroton::detail
