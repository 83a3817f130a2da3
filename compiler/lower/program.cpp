#include "compiler/lower/program.h"

#include <kroton/error.h>

#include <algorithm>

namespace kroton {
namespace {

std::string indented(const std::string& text, const std::string& indent) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size() - 1);
    result += indent + text.substr(at, end + 1 - at);
    at = end + 1;
  }
  return result;
}

std::string lines_of(const std::string& source) {
  return source.empty() ? "" : "  [" + source + "]";
}

void print(const std::vector<Step>& steps, const std::string& indent, std::string& text) {
  for (const Step& step : steps) {
    if (const auto* kernel = std::get_if<loop::Kernel>(&step.kind)) {
      text += indented(loop::to_string(*kernel), indent);
    } else if (const auto* loop = std::get_if<std::shared_ptr<const Loop>>(&step.kind)) {
      text += indent + "loop " + (*loop)->name + " " + (*loop)->variable.name + " < " +
              (*loop)->extent.to_string() + lines_of((*loop)->source) + "\n";
      print((*loop)->steps, indent + "  ", text);
    } else if (const auto* branch = std::get_if<std::shared_ptr<const Branch>>(&step.kind)) {
      text += indent + "if " + (*branch)->condition->name + lines_of((*branch)->source) + "\n";
      print((*branch)->then_steps, indent + "  ", text);
      text += indent + "else\n";
      print((*branch)->else_steps, indent + "  ", text);
    } else if (const auto* call = std::get_if<std::shared_ptr<const Call>>(&step.kind)) {
      text += indent + (*call)->title();
      for (const Call::Value& value : (*call)->inputs) text += " " + value.buffer->name;
      for (std::size_t k = 0; k < (*call)->outputs.size(); ++k) {
        text += (k == 0 ? " -> " : " ") + (*call)->outputs[k].buffer->name;
      }
      text += lines_of((*call)->source) + "\n";
    }
  }
}

}  // namespace

const Dim& worker_count() {
  static const Dim& dim = *new Dim(Dim::fresh("workers"));  // never destroyed
  return dim;
}

std::string to_string(const Program& program) {
  std::string text =
      "program " + program.name + "  arena " + program.arena_bytes.to_string() + " bytes\n";
  for (const auto& [id, place] : program.placements) {
    if (place.kind == Placement::Kind::arena) {
      text += "  buffer " + std::to_string(id) + " at " + place.offset.to_string() + "\n";
    } else if (place.kind == Placement::Kind::part) {
      text += "  buffer " + std::to_string(id) + " in " + std::to_string(place.of->id) +
              " from element " + loop::to_string(place.start) + "\n";
    }
  }
  print(program.steps, "", text);
  return text;
}

std::string Call::title() const {
  return callee ? "call " + callee->options.name : "print \"" + message + "\"";
}

void for_each_call(const std::vector<Step>& steps, const std::function<void(const Call&)>& visit) {
  for (const Step& step : steps) {
    if (const auto* call = std::get_if<std::shared_ptr<const Call>>(&step.kind)) {
      visit(**call);
    } else if (const auto* loop = std::get_if<std::shared_ptr<const Loop>>(&step.kind)) {
      for_each_call((*loop)->steps, visit);
    } else if (const auto* branch = std::get_if<std::shared_ptr<const Branch>>(&step.kind)) {
      for_each_call((*branch)->then_steps, visit);
      for_each_call((*branch)->else_steps, visit);
    }
  }
}

Callees callees(const Program& program) {
  Callees result;
  for_each_call(program.steps, [&](const Call& call) {
    if (!call.callee) return;
    for (const auto& known : result) {
      if (known->options.name != call.callee->options.name) continue;
      if (known->options.function == call.callee->options.function) return;
      throw ValueError(program.name + ": two functions are called " + known->options.name + "  [" +
                       call.source + "]");
    }
    result.push_back(call.callee);
  });
  return result;
}

void for_each_kernel(const std::vector<Step>& steps,
                     const std::function<void(const loop::Kernel&)>& visit) {
  for (const Step& step : steps) {
    if (const auto* kernel = std::get_if<loop::Kernel>(&step.kind)) {
      visit(*kernel);
    } else if (const auto* loop = std::get_if<std::shared_ptr<const Loop>>(&step.kind)) {
      for_each_kernel((*loop)->steps, visit);
    } else if (const auto* branch = std::get_if<std::shared_ptr<const Branch>>(&step.kind)) {
      for_each_kernel((*branch)->then_steps, visit);
      for_each_kernel((*branch)->else_steps, visit);
    }
  }
}

}  // namespace kroton
