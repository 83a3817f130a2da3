#include "compiler/lower/side_by_side.h"

#include <kroton/error.h>

#include <algorithm>
#include <map>
#include <set>

#include "compiler/loop/traverse.h"
#include "compiler/lower/overwrite.h"
#include "compiler/lower/rehome.h"

namespace kroton {
namespace {

// Of one launch: kernels, arrays, and shared memory, which each has for itself.
constexpr std::size_t most_kernels = 8;
constexpr std::size_t most_buffers = 64;
constexpr std::int64_t most_shared = 32 << 10;
// Elements of results that may lie in memory longer.
constexpr std::int64_t few_results = 1 << 21;
// A size that is large.
constexpr std::int64_t many = 1 << 16;

// What a kernel touches, and how many blocks it has.
struct Part {
  std::set<int> read, written;  // by Buffer::id of the whole
  std::set<int> own, given;     // arrays of its blocks, and in memory, by Buffer::id
  Dim blocks = 1;
};

bool meet(const std::set<int>& a, const std::set<int>& b) {
  return std::any_of(a.begin(), a.end(), [&](int id) { return b.contains(id); });
}

// The number of blocks where a factor that is 0 or 1 is that.
Dim where_flag(const Dim& blocks, const DimAtomRef& flag, bool holds) {
  std::vector<Dim::Term> terms = blocks.terms();
  for (Dim::Term& term : terms) {
    if (std::erase(term.factors, flag) != 0 && !holds) term.coefficient = 0;
  }
  return Dim::from_terms(std::move(terms));
}

// Whether one of the two has no blocks, whatever the sizes: they are ways to the same.
bool exclude(const Dim& a, const Dim& b) {
  for (const Dim::Term& term : a.terms()) {
    for (const DimAtomRef& flag : term.factors) {
      if (flag->kind != DimAtom::Kind::minimum ||
          std::none_of(flag->operands.begin(), flag->operands.end(),
                       [](const Dim& d) { return d.is_constant(1); })) {
        continue;
      }
      for (const bool holds : {false, true}) {
        if (where_flag(a, flag, holds).is_constant(0) && where_flag(b, flag, !holds).is_constant(0))
          return true;
      }
    }
  }
  return false;
}

bool wait(const std::vector<Part>& a, const std::vector<Part>& b) {
  return std::any_of(a.begin(), a.end(), [&](const Part& x) {
    return std::any_of(b.begin(), b.end(), [&](const Part& y) {
      const bool touch =
          meet(x.written, y.read) || meet(x.written, y.written) || meet(x.read, y.written);
      return touch && !exclude(x.blocks, y.blocks);
    });
  });
}

// Whether an array of one's blocks goes by the number of something of the other's.
bool share_numbers(const std::vector<Part>& a, const std::vector<Part>& b) {
  return std::any_of(a.begin(), a.end(), [&](const Part& x) {
    return std::any_of(b.begin(), b.end(), [&](const Part& y) {
      return meet(x.own, y.own) || meet(x.own, y.given) || meet(x.given, y.own);
    });
  });
}

// Whether it has no blocks where sizes are large.
bool is_for_few(const Dim& blocks) {
  try {
    return blocks.substitute([](const DimAtomRef&) { return many; }).is_constant(0);
  } catch (const ValueError&) {
    return false;  // more than 64 bits hold
  }
}

// A place in the plan: a step, or kernels that have come together there.
struct Place {
  std::vector<Step> steps;
  std::vector<Part> parts;  // of each
  bool stays = false;       // others do not move past it
  bool checks = false;      // what is updated is so behind it
  bool writes_argument = false;
  int threads = 0;       // of a block; 0: nothing joins it
  bool has_few = false;  // results, which is known
  std::size_t buffers = 0;
  std::int64_t shared = 0;
};

class SideBySide {
 public:
  explicit SideBySide(const Program& program) : program_(program) {}

  std::vector<Step> run(const std::vector<Step>& steps) {
    for (const Step& step : steps) places_.push_back(place_of(step));
    for (std::size_t k = 1; k < places_.size(); ++k) {
      for (std::size_t before = k; before-- > 0 && !places_[k].steps.empty();) join(before, k);
    }
    std::vector<Step> result;
    for (const Place& place : places_) {
      if (place.steps.empty()) continue;
      result.push_back(place.steps.size() == 1 ? place.steps[0] : together(place));
    }
    return result;
  }

 private:
  int whole(const loop::BufferRef& buffer) const {
    const auto found = program_.placements.find(buffer->id);
    const bool is_part =
        found != program_.placements.end() && found->second.kind == Placement::Kind::part;
    return is_part ? found->second.of->id : buffer->id;
  }

  bool is_argument(int id) const {
    const auto found = program_.placements.find(id);
    return found != program_.placements.end() && found->second.kind == Placement::Kind::argument;
  }

  Place place_of(const Step& step) const {
    Place place;
    place.steps = {step};
    const auto* kernel = as<loop::Kernel>(step);
    place.stays = kernel == nullptr;
    if (kernel == nullptr) return place;
    Part& part = place.parts.emplace_back();
    for (const loop::BufferRef& b : kernel->inputs) {
      part.read.insert(whole(b));
      part.given.insert(b->id);
    }
    place.has_few = true;
    for (const loop::BufferRef& b : kernel->outputs) {
      const int id = whole(b);
      part.read.insert(id);
      part.written.insert(id);
      part.given.insert(b->id);
      place.writes_argument = place.writes_argument || is_argument(id);
      const bool is_few = b->size.is_constant() && b->size.constant() <= few_results;
      place.has_few = place.has_few && (is_few || is_argument(id));
    }
    place.checks = has_checks(*kernel);
    place.buffers = kernel->inputs.size() + kernel->outputs.size();
    const loop::For* blocks = kernel->body.size() == 1 ? loop::as_for(kernel->body[0]) : nullptr;
    if (place.checks || step.choice >= 0 || kernel->instead != nullptr || blocks == nullptr ||
        blocks->kind != loop::LoopKind::block || !kernel->scratch.empty() ||
        !kernel->form.empty() || !loop::as_dim(blocks->extent)) {
      return place;
    }
    part.blocks = *loop::as_dim(blocks->extent);
    // A way that is for small sizes only would be a launch of nothing for all others.
    if (is_for_few(part.blocks)) return place;
    bool is_plain = true;
    loop::visit_statements(kernel->body, [&](const loop::Stmt& s) {
      is_plain = is_plain && !std::holds_alternative<loop::Copy>(s) &&
                 !std::holds_alternative<loop::Multiply>(s);
      const auto* barrier = std::get_if<loop::Barrier>(&s);
      is_plain = is_plain && (barrier == nullptr || !barrier->of_grid);
      const auto* array = std::get_if<loop::Allocate>(&s);
      if (array == nullptr) return;
      part.own.insert(array->buffer->id);
      // Registers are those of the kernel that has the most.
      is_plain = is_plain && array->buffer->space == loop::Space::shared;
      if (array->buffer->space != loop::Space::shared) return;
      place.shared +=
          array->buffer->size.constant() * static_cast<std::int64_t>(size_of(array->buffer->dtype));
    });
    if (is_plain) place.threads = blocks->width;
    return place;
  }

  // The first of the two goes to the second, or the second to the first.
  void join(std::size_t a, std::size_t b) {
    Place &x = places_[a], &y = places_[b];
    if (x.threads == 0 || x.threads != y.threads ||
        x.steps.size() + y.steps.size() > most_kernels || x.buffers + y.buffers > most_buffers ||
        x.shared + y.shared > most_shared || share_numbers(x.parts, y.parts) ||
        wait(x.parts, y.parts)) {
      return;
    }
    bool are_neighbours = true, later = true, sooner = true;
    for (std::size_t k = a + 1; k < b && (later || sooner); ++k) {
      const Place& between = places_[k];
      if (between.steps.empty()) continue;
      are_neighbours = false;
      later = later && !between.stays && !wait(x.parts, between.parts);
      sooner = sooner && !between.stays && !wait(between.parts, y.parts) &&
               !(between.checks && y.writes_argument);
    }
    if (!later && !sooner) return;
    if (!are_neighbours && !(x.has_few && y.has_few)) return;
    unite(later ? y : x, later ? x : y);
  }

  static void unite(Place& to, Place& from) {
    to.steps.insert(to.steps.end(), from.steps.begin(), from.steps.end());
    to.parts.insert(to.parts.end(), from.parts.begin(), from.parts.end());
    to.writes_argument = to.writes_argument || from.writes_argument;
    to.has_few = to.has_few && from.has_few;
    to.buffers += from.buffers;
    to.shared += from.shared;
    from = {};
  }

  static Step together(const Place& place) {
    const Homes none;
    loop::For all;
    all.kind = loop::LoopKind::block;
    all.variable = loop::fresh_variable("block");
    all.width = place.threads;
    Dim before = 0;
    loop::Kernel kernel;
    kernel.work = loop::integer(0);
    std::set<std::string> lines;
    struct Range {
      loop::Block body;
      Dim end;
    };
    std::vector<Range> ranges;
    std::map<int, loop::BufferRef> read, written;
    for (const Step& step : place.steps) {
      const loop::Kernel& one = *as<loop::Kernel>(step);
      const loop::For& nest = *loop::as_for(one.body[0]);
      const Rehoming renamed(none);
      const loop::Variable number = renamed.renamed(nest.variable);
      loop::Block body = renamed.block(nest.body);
      body.insert(body.begin(),
                  loop::Declare{number, loop::variable(all.variable) - loop::size(before)});
      before = before + *loop::as_dim(nest.extent);
      ranges.push_back({std::move(body), before});
      kernel.work = kernel.work + one.work;
      for (const loop::BufferRef& b : one.inputs) read[b->id] = b;
      for (const loop::BufferRef& b : one.outputs) written[b->id] = b;
      if (kernel.name.size() < 40) kernel.name += one.name;
      if (lines.insert(one.source).second) {
        kernel.source += (kernel.source.empty() ? "" : " ") + one.source;
      }
    }
    all.extent = loop::size(before);
    loop::Block rest = std::move(ranges.back().body);
    for (std::size_t k = ranges.size() - 1; k-- > 0;) {
      loop::If which;
      which.condition =
          loop::binary(loop::Op::lt, loop::variable(all.variable), loop::size(ranges[k].end));
      which.then_body = std::move(ranges[k].body);
      which.else_body = std::move(rest);
      rest = {loop::statement(std::move(which))};
    }
    all.body = std::move(rest);
    kernel.body = {loop::statement(std::move(all))};
    for (const auto& [id, buffer] : written) kernel.outputs.push_back(buffer);
    for (const auto& [id, buffer] : read) {
      if (!written.contains(id)) kernel.inputs.push_back(buffer);
    }
    Step result;
    result.kind = std::move(kernel);
    return result;
  }

  const Program& program_;
  std::vector<Place> places_;
};

}  // namespace

std::vector<Step> side_by_side(const std::vector<Step>& steps, const Program& program) {
  return SideBySide(program).run(steps);
}

}  // namespace kroton
