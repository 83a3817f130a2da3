#include "compiler/lower/program.h"

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
    } else if (const auto* shown = std::get_if<std::shared_ptr<const Print>>(&step.kind)) {
      text += indent + "print \"" + (*shown)->message + "\" " + (*shown)->value->name +
              lines_of((*shown)->source) + "\n";
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
