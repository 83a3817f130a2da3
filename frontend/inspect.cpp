// What a compiled function shows of its program: f.print(), f.profile().
#include <kroton/error.h>

#include <algorithm>
#include <iostream>

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

Profile FunctionCore::profile() const {
  if (!parts_->profiler) {
    throw ValueError(parts_->name + ": profile: the function was not made with .profile = true  [" +
                     to_string(parts_->line) + "]");
  }
  return parts_->profiler->profile(parts_->name);
}

}  // namespace kroton::detail
