#include "compiler/aot/c_interface.h"

#include <algorithm>

namespace kroton::aot {
namespace {

// What the text of an error says where its numbers are not known.
std::string without_numbers(std::string text) {
  static constexpr std::pair<std::string_view, std::string_view> forms[] = {
      {"returned %index", "has returned an error"},
      {"index (%index, %size)", "an index"},
      {" of the first axis and element %size of the others", ""},
      {"index %index", "an index"},
      {", whose size is %size", ""},
      {"is %size though", "is not finite though"},
      {"matrix %index", "a matrix"},
      {": its leading minor of order %size is not above 0", ""},
      {": element %size of its diagonal is 0", ""},
      {": its pivot %size is 0", ""}};
  for (const auto& [numbered, plain] : forms) {
    const auto at = text.find(numbered);
    if (at != std::string::npos) text.replace(at, numbered.size(), plain);
  }
  return text;
}

// The numbers of steps of scans, outer before inner.
void collect_extents(const std::vector<Step>& steps,
                     std::vector<std::pair<Dim, std::string>>& all) {
  for (const Step& step : steps) {
    if (const Scan* scan = as<Scan>(step)) all.emplace_back(scan->extent, scan->source);
    for_each_inner(step, [&](const auto& inner) { collect_extents(inner, all); });
  }
}

}  // namespace

void complete(CInterface& interface, const Program& program,
              const std::vector<SizeConstraint>& constraints,
              const std::vector<std::pair<int, Dim>>& values) {
  using Kind = Check::Kind;
  for (const CInterface::Array& state : interface.states) {
    interface.state_offsets.push_back(interface.state_bytes);
    std::int64_t bytes = size_of(state.type.dtype);
    for (const Dim& dim : state.type.shape) bytes *= dim.constant();
    interface.state_bytes += (bytes + memory_alignment - 1) / memory_alignment * memory_alignment;
  }

  std::vector<Check>& checks = interface.checks;
  const auto add = [&](Kind kind, int subject, const std::string& message) {
    checks.push_back({kind, subject, {}, {}, message});
  };
  if (interface.threads) add(Kind::null_context, 0, "context is a null pointer");
  for (std::size_t k = 0; k < interface.sizes.size(); ++k) {
    add(Kind::size_below_zero, static_cast<int>(k), interface.sizes[k].name + " is below zero");
  }
  if (!interface.sizes.empty()) {
    add(Kind::sizes_impossible, 0, "no array of these sizes fits in memory");
  }
  std::vector<Dim> extents;
  for (const auto* list : {&interface.inputs, &interface.outputs}) {
    for (const CInterface::Array& array : *list) {
      for (const Dim& dim : array.type.shape) {
        if (provably_at_least(dim, 0)) continue;
        if (std::find(extents.begin(), extents.end(), dim) != extents.end()) continue;
        extents.push_back(dim);
        checks.push_back({Kind::extent_below_zero,
                          0,
                          dim,
                          {},
                          "the size " + dim.to_string() + " of " + array.name + " is below zero"});
      }
    }
  }
  std::vector<std::pair<Dim, std::string>> loops;
  collect_extents(program.steps, loops);
  for (const auto& [dim, source] : loops) {
    if (provably_at_least(dim, 0)) continue;
    if (std::find(extents.begin(), extents.end(), dim) != extents.end()) continue;
    extents.push_back(dim);
    checks.push_back(
        {Kind::extent_below_zero,
         0,
         dim,
         {},
         "the number of steps " + dim.to_string() + " is below zero  [" + source + "]"});
  }
  for (const SizeConstraint& c : constraints) {
    checks.push_back({Kind::sizes_differ, 0, c.left, c.right, c.message});
  }
  for (const auto& [input, dim] : values) {
    checks.push_back({Kind::value_differs,
                      input,
                      dim,
                      {},
                      interface.inputs[static_cast<std::size_t>(input)].name +
                          " is not the number of steps, " + dim.to_string()});
  }
  const auto add_null_checks = [&](Kind kind, const std::vector<CInterface::Array>& arrays,
                                   const std::string& prefix) {
    for (std::size_t k = 0; k < arrays.size(); ++k) {
      if (kind == Kind::null_input && arrays[k].type.rank() == 0) continue;
      add(kind, static_cast<int>(k), prefix + arrays[k].name + " is a null pointer");
    }
  };
  add_null_checks(Kind::null_input, interface.inputs, "");
  if (!interface.states.empty()) add(Kind::null_state, 0, "state is a null pointer");
  add_null_checks(Kind::null_state_field, interface.states, "state->");
  add_null_checks(Kind::null_output, interface.outputs, "");
  add(Kind::null_arena, 0, "arena is a null pointer");
  add(Kind::arena_misaligned, 0, "the arena is not aligned to 64 bytes");
  add(Kind::arena_too_small, 0, "the arena is smaller than " + interface.name + "_arena_bytes()");
  for (std::size_t k = 0; k < program.sites.size(); ++k) {
    add(Kind::site, static_cast<int>(k), without_numbers(program.sites[k].message));
  }
  if (!interface.states.empty()) {
    add(Kind::null_memory, 0, "memory is a null pointer");
    add(Kind::memory_misaligned, 0, "memory is not aligned to 64 bytes");
  }
}

}  // namespace kroton::aot
