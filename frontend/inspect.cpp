// What a compiled function shows of its program: f.print(), f.memory(), f.profile().
#include <kroton/error.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <set>

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
    if (!kernel.form.empty()) text_ += indent + "  " + kernel.form + "\n";
    buffers("in", kernel.inputs, indent);
    buffers("out", kernel.outputs, indent);
    buffers("scratch", kernel.scratch, indent);
  }
  void add(const std::shared_ptr<const Scan>& loop, const std::string& indent) {
    text_ += indent + "scan " + loop->name + ", " + loop->extent.to_string() + " times" +
             lines_of(loop->source) + "\n";
    steps(loop->steps, indent + "  ");
  }
  void add(const std::shared_ptr<const Branch>& branch, const std::string& indent) {
    text_ += indent + "if " + branch->condition->name + lines_of(branch->source) + "\n";
    steps(branch->then_steps, indent + "  ");
    text_ += indent + "else\n";
    steps(branch->else_steps, indent + "  ");
  }
  void add(const std::shared_ptr<const Call>& call, const std::string& indent) {
    text_ += indent + call->title() + lines_of(call->source) + "\n";
    for (const Call::Value& value : call->inputs) buffers("in", {value.buffer}, indent);
    for (const Call::Value& value : call->outputs) buffers("out", {value.buffer}, indent);
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
        return place_of(place.of) + " from element " + loop::to_string(place.start);
    }
    return "";
  }

  const Program& program_;
  std::vector<std::string> arguments_;
  std::map<int, std::ptrdiff_t> slots_;  // by buffer
  std::string text_;
};

}  // namespace

void FunctionCore::print(std::ostream* stream) const {
  (stream != nullptr ? *stream : std::cout) << ProgramText(*parts_).text() << std::flush;
}

MemoryUse FunctionCore::memory(std::span<const Argument> arguments) const {
  const Program& program = parts_->program;
  CallFrame frame;
  std::vector<Array> copies;
  parts_->bind_inputs(arguments, frame, copies);
  parts_->prepare(frame);
  const auto value = [&](const Dim& dim) {
    return parts_->evaluate(dim, frame.raw_sizes, frame.workers);
  };
  MemoryUse use;
  use.arena = value(program.arena_bytes);

  std::map<int, Dim> stored;  // bytes by buffer
  Dim scratch = 0;            // of one worker: all kernels share it
  const auto add = [&](loop::BufferRef buffer) {
    const Placement* place = &program.placements.at(buffer->id);
    while (place->kind == Placement::Kind::part) {
      buffer = place->of;
      place = &program.placements.at(buffer->id);
    }
    if (place->kind == Placement::Kind::worker_scratch) scratch = place->stride;
    if (place->kind != Placement::Kind::arena) return;
    stored[buffer->id] = buffer->size * Dim(static_cast<std::int64_t>(size_of(buffer->dtype)));
  };
  for_each_kernel(program.steps, [&](const loop::Kernel& kernel) {
    for (const auto* list : {&kernel.inputs, &kernel.outputs, &kernel.scratch}) {
      for (const loop::BufferRef& buffer : *list) add(buffer);
    }
  });
  use.without_reuse = value(scratch) * frame.workers;
  // As in the arena, each begins on a cache line.
  for (const auto& [id, bytes] : stored) use.without_reuse += (value(bytes) + 63) / 64 * 64;

  const Graph& graph = *parts_->graph;
  std::set<Graph::Vertex> results(graph.outputs.begin(), graph.outputs.end());
  for (const Graph::Update& update : graph.updates) results.insert(update.value);
  for (const Graph::Vertex v : graph.topological_order()) {
    const VertexData& data = graph[v];
    // A loop or a call has no value of its own; what moves elements only could be a view.
    if (data.op->kind == OpKind::leaf || gives_results(data.op->kind) || data.op->is_view ||
        results.contains(v)) {
      continue;
    }
    auto bytes = static_cast<std::int64_t>(size_of(data.type.dtype));
    for (const Dim& dim : data.type.shape) bytes *= value(dim);
    use.without_fusion += bytes;
  }
  return use;
}

Profile FunctionCore::profile() const {
  if (!parts_->profiler) {
    throw ValueError(parts_->name + ": profile: the function was not made with .profile = true  [" +
                     to_string(parts_->line) + "]");
  }
  return parts_->profiler->profile(parts_->name, *parts_->executable);
}

}  // namespace kroton::detail
