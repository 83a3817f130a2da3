#include "compiler/lower/program.h"

namespace kroton {

const Dim& worker_count() {
  static const Dim dim = Dim::fresh("workers");
  return dim;
}

std::string to_string(const Program& program) {
  std::string text =
      "program " + program.name + "  arena " + program.arena_bytes.to_string() + " bytes\n";
  for (const auto& [id, place] : program.placements) {
    if (place.kind != Placement::Kind::arena) continue;
    text += "  buffer " + std::to_string(id) + " at " + place.offset.to_string() + "\n";
  }
  for (const Step& step : program.steps) text += loop::to_string(std::get<loop::Kernel>(step));
  return text;
}

}  // namespace kroton
