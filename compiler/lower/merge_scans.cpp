#include "compiler/lower/merge_scans.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <set>

#include "compiler/fusion/fusion.h"
#include "compiler/loop/index_arithmetic.h"
#include "compiler/loop/traverse.h"
#include "compiler/lower/index_loops.h"
#include "compiler/lower/rehome.h"

namespace kroton {
namespace {

// How often steps mention buffers, by Buffer::id. Who mentions a part mentions the whole.
class Mentions {
 public:
  Mentions(const std::vector<Step>& steps, const Program& program) : program_(program) {
    count(steps);
  }
  const std::map<int, int>& by_id() const { return by_id_; }

 private:
  void count(const loop::BufferRef& buffer) {
    ++by_id_[buffer->id];
    const auto placed = program_.placements.find(buffer->id);
    if (placed == program_.placements.end() || placed->second.kind != Placement::Kind::part) return;
    count(placed->second.of);
  }

  void count(const std::vector<Step>& steps) {
    for (const Step& step : steps) {
      for_each_buffer(step, [this](const loop::BufferRef& buffer) { count(buffer); });
      for_each_inner(step, [this](const auto& inner) { count(inner); });
    }
  }

  const Program& program_;
  std::map<int, int> by_id_;
};

bool is_parallel(const loop::Kernel& kernel) {
  bool is_parallel = false;
  loop::visit_statements(kernel.body, [&](const loop::Stmt& s) {
    const loop::For* found = loop::as_for(s);
    is_parallel = is_parallel || (found != nullptr && found->kind == loop::LoopKind::parallel);
  });
  return is_parallel;
}

// Whether all of it would run on the calling thread, and nothing needs the runtime.
bool may_merge(const std::vector<Step>& steps) {
  return std::all_of(steps.begin(), steps.end(), [](const Step& step) {
    return visit(
        step,
        [](const loop::Kernel& kernel) {
          std::int64_t work = 0;
          return !is_parallel(kernel) ||
                 (loop::is_integer_constant(kernel.work, work) && work <= most_work_on_one_thread);
        },
        [](const Scan&) { return false; },
        [](const Branch& branch) {
          return may_merge(branch.then_steps) && may_merge(branch.else_steps);
        },
        [](const Call&) { return false; });
  });
}

void collect_terms(const loop::Expr& sum, std::vector<loop::Expr>& terms) {
  if (sum->op != loop::Op::add) {
    terms.push_back(sum);
    return;
  }
  for (const loop::Expr& arg : sum->args) collect_terms(arg, terms);
}

bool has_op(const loop::Expr& e, loop::Op op) {
  const std::vector<loop::Expr> nodes = loop::post_order(std::span(&e, 1));
  return std::any_of(nodes.begin(), nodes.end(), [&](const auto& node) { return node->op == op; });
}

// Steps of loops are not negative: rows by turns are told by the last bit.
loop::Expr with_bits(const loop::Expr& e) {
  loop::Rewriter rewrite([](const loop::Expr& node) {
    std::int64_t divisor = 0;
    if (node->op != loop::Op::mod || !loop::is_integer_constant(node->args[1], divisor) ||
        divisor != 2) {
      return node;
    }
    return loop::binary(loop::Op::bit_and, node->args[0], loop::integer(1));
  });
  return rewrite(e);
}

constexpr std::int64_t steps_of_a_part = 512;

// One loop whose steps become one kernel.
class Merger {
 public:
  Merger(const Scan& loop, Program& program, BufferTable& buffers)
      : loop_(loop),
        program_(program),
        buffers_(buffers),
        step_(loop::fresh_variable(loop.variable.name)) {}

  // `own`: buffers that nothing outside the loop mentions. Nothing if the places of some buffer
  // cannot be told from those of others.
  std::optional<loop::Kernel> run(const std::set<int>& own) {
    collect_uses(loop_.steps);
    collect_uses(loop_.idle_steps);
    if (!place_in_wholes()) return std::nullopt;
    hold_in_registers(own);

    const loop::Expr zero = loop::integer(0);
    loop::Kernel kernel;
    loop::Block all = one_step();
    if (loop_.idle && homes_.contains(loop_.idle->id)) {
      all = in_parts(std::move(all));
    } else {
      all = {steps(loop::size(loop_.extent), std::move(all))};
    }
    for (const State& state : states_) {
      const loop::Expr first = loop::substitute(state.start, {{step_, zero}});
      kernel.body.push_back(loop::Allocate{state.held});
      kernel.body.push_back(copy({state.whole, first}, {state.held, zero}, state.held->size));
    }
    kernel.body.insert(kernel.body.end(), all.begin(), all.end());
    for (const State& state : states_) {
      if (state.all_rows) continue;
      const loop::Expr last = loop::substitute(state.start, {{step_, loop::size(loop_.extent)}});
      kernel.body.push_back(copy({state.held, zero}, {state.whole, last}, state.held->size));
    }
    kernel.name = "_scan" + name_;
    kernel.source = loop_.source;
    for (const std::string& line : lines_) kernel.source += " " + line;
    kernel.work = loop::size(loop_.extent) * work_;
    collect_buffers(kernel);
    forget_moving_parts();
    return kernel;
  }

 private:
  struct Use {
    loop::BufferRef buffer;
    bool read = false, written = false;
  };
  // A row that each step adds to a stack.
  struct Row {
    loop::BufferRef whole;
    loop::Expr start;
    loop::BufferRef held;
  };
  // What each step reads from the one before.
  struct State {
    loop::BufferRef whole, held, next;  // in memory; before and after the step
    loop::Variable value;               // of a scalar, before the step
    loop::Expr start;                   // of the row before the step
    bool all_rows = false;              // else two by turns, of which the last one counts
  };

  loop::Stmt steps(const loop::Expr& extent, loop::Block body) const {
    loop::For steps;
    steps.variable = step_;
    steps.extent = extent;
    steps.body = std::move(body);
    return loop::statement(std::move(steps));
  }

  loop::Block one_step() {
    const loop::Expr zero = loop::integer(0);
    loop::Block body;
    for (const State& state : states_) {
      if (!state.held->size.is_constant(1)) continue;
      body.push_back(loop::Declare{state.value, loop::load(state.held, zero)});
    }
    for (const loop::BufferRef& buffer : passing_) body.push_back(loop::Allocate{buffer});
    add_steps(loop_.steps, body);
    for (const Row& row : rows_) {
      body.push_back(copy({row.held, zero}, {row.whole, row.start}, row.held->size));
    }
    for (const State& state : states_) {
      const Dim& size = state.held->size;
      body.push_back(copy({state.next, zero}, {state.held, zero}, size));
      if (!state.all_rows) continue;
      body.push_back(copy({state.next, zero}, {state.whole, start_after(state)}, size));
    }
    return body;
  }

  // A step that changes no state: the rows that are held stay, and are stored.
  loop::Block one_idle_step() {
    const loop::Expr zero = loop::integer(0);
    loop::Block body;
    std::set<int> passed;  // by the steps below, which the copies of held states are not among
    for (const State& state : states_) {
      passed.insert(state.next->id);
      if (!state.all_rows) continue;
      body.push_back(copy({state.held, zero}, {state.whole, start_after(state)}, state.held->size));
    }
    std::vector<Step> others;
    for (const Step& step : loop_.idle_steps) {
      const auto* kernel = as<loop::Kernel>(step);
      const bool of_held = kernel && kernel->outputs.size() == 1 &&
                           homes_.contains(kernel->outputs[0]->id) &&
                           passed.contains(homes_.at(kernel->outputs[0]->id).buffer->id);
      if (!of_held) others.push_back(step);
    }
    for (const State& state : states_) {
      if (!state.held->size.is_constant(1)) continue;
      body.push_back(loop::Declare{state.value, loop::load(state.held, zero)});
    }
    for (const loop::BufferRef& buffer : passing_) body.push_back(loop::Allocate{buffer});
    const std::string name = name_;
    const loop::Expr work = work_;
    add_steps(others, body);
    name_ = name;
    work_ = work;
    for (const Row& row : rows_) {
      body.push_back(copy({row.held, zero}, {row.whole, row.start}, row.held->size));
    }
    return body;
  }

  // Steps by the hundreds, of which those that are all idle are passed over together. Even numbers
  // of them: a state that lies in two rows by turns stays where it is.
  loop::Block in_parts(loop::Block body) {
    const loop::Variable part = loop::fresh_variable("part");
    const loop::Expr length = loop::integer(steps_of_a_part);
    const loop::Expr first = loop::variable(part) * length;
    const loop::Expr left = loop::size(loop_.extent) - first;
    const auto from_first = [&](const loop::Block& block) {
      return loop::substitute(block, {{step_, first + loop::variable(step_)}});
    };
    // Whether all are: by the first one, or by the last one.
    const loop::Expr decides =
        loop_.idle_to_the_end ? first : first + loop::integer(steps_of_a_part - 1);
    const loop::Expr whole = loop::binary(loop::Op::le, length, left);
    const Home& home = homes_.at(loop_.idle->id);
    const bool held = home.value != nullptr || home.buffer->space == loop::Space::registers;
    loop::Expr idle;
    if (held) {
      idle =
          loop::binary(loop::Op::logical_and, whole, loop::load(held_flag(home), loop::integer(0)));
    } else {
      idle = loop::load(home.buffer, loop::substitute(home.start, {{step_, decides}}), whole);
    }
    loop::If sides;
    sides.condition = idle;
    loop::Block at_rest = one_idle_step();
    const bool rests = std::any_of(at_rest.begin(), at_rest.end(), [](const loop::Stmt& s) {
      return !std::holds_alternative<loop::Declare>(s) &&
             !std::holds_alternative<loop::Allocate>(s);
    });
    if (rests) sides.then_body = {steps(length, from_first(at_rest))};
    sides.else_body = {
        steps(loop::binary(loop::Op::min, length, left), from_first(std::move(body)))};
    loop::For parts;
    parts.variable = part;
    parts.extent = loop::size(ceil_div(loop_.extent, steps_of_a_part));
    parts.body = {loop::statement(std::move(sides))};
    return {loop::statement(std::move(parts))};
  }

  // What holds the flag between steps.
  loop::BufferRef held_flag(const Home& home) const {
    for (const State& state : states_) {
      if (home.buffer->id == state.held->id) return state.held;
    }
    throw InternalError("merge_scans: the flag of idle steps is held by no state");
  }

  void collect_uses(const std::vector<Step>& steps) {
    const auto use = [&](const loop::BufferRef& buffer) -> Use& {
      Use& found = uses_[buffer->id];
      found.buffer = buffer;
      return found;
    };
    for (const Step& step : steps) {
      if (const auto* kernel = as<loop::Kernel>(step)) {
        for (const loop::BufferRef& b : kernel->inputs) use(b).read = true;
        for (const loop::BufferRef& b : kernel->outputs) use(b).written = true;
      } else {
        for_each_buffer(step, [&](const loop::BufferRef& b) { use(b).read = true; });
        for_each_inner(step, [&](const auto& inner) { collect_uses(inner); });
      }
    }
  }

  // Parts of one buffer overlap from step to step, so the kernel has the whole buffer; inside
  // another loop, the part of it that this one works on.
  bool place_in_wholes() {
    struct Whole {
      loop::BufferRef buffer;
      std::vector<loop::Expr> outer;  // what moves with the loops around this one
      Dim end = 0;                    // of what the steps use, in elements after that
      std::vector<std::pair<int, loop::Expr>> uses = {};  // with where they start after that
    };
    std::map<int, Whole> wholes;
    for (const auto& [id, use] : uses_) {
      const auto placed = program_.placements.find(id);
      const bool part =
          placed != program_.placements.end() && placed->second.kind == Placement::Kind::part;
      std::vector<loop::Expr> terms, outer;
      if (part) collect_terms(placed->second.start, terms);
      loop::Expr start = loop::integer(0);
      for (const loop::Expr& term : terms) {
        const loop::Expr inner = loop::substitute(term, {{loop_.variable, loop::variable(step_)}});
        const loop::Expr fixed = loop::substitute(term, {{loop_.variable, loop::integer(0)}});
        if (!has_op(fixed, loop::Op::variable)) {
          start = start + inner;
        } else if (inner == term) {
          outer.push_back(term);
        } else {
          return false;
        }
      }
      const loop::BufferRef buffer = part ? placed->second.of : use.buffer;
      Whole& whole = wholes.try_emplace(buffer->id, Whole{buffer, outer}).first->second;
      if (whole.outer != outer) return false;
      whole.uses.emplace_back(id, start);
      if (outer.empty()) continue;
      const auto range = loop::range_of(start, {{step_, loop_.extent}});
      if (!range || !provably_at_least(range->low, 0)) return false;
      whole.end = maximum(whole.end, range->high + use.buffer->size);
    }
    for (auto& [id, whole] : wholes) {
      if (!whole.outer.empty()) {
        Placement place;
        place.kind = Placement::Kind::part;
        place.of = whole.buffer;
        place.start = whole.outer[0];
        for (std::size_t k = 1; k < whole.outer.size(); ++k) {
          place.start = place.start + whole.outer[k];
        }
        whole.buffer = buffers_.create(whole.buffer->name, whole.buffer->dtype, whole.end);
        program_.placements[whole.buffer->id] = std::move(place);
      }
      for (const auto& [use, start] : whole.uses) homes_[use] = {whole.buffer, start};
    }
    return true;
  }

  // Few elements go from kernel to kernel, and from step to step, in registers.
  void hold_in_registers(const std::set<int>& own) {
    std::map<int, std::vector<const Use*>> users;  // by the whole buffer
    for (const auto& [id, use] : uses_) users[homes_.at(id).buffer->id].push_back(&use);
    for (const auto& [id, parts] : users) {
      if (parts.size() == 1) {
        const bool passes_on =
            parts[0]->buffer->id == id && own.contains(id) && !program_.placements.contains(id);
        if (passes_on && write_out_loops({parts[0]})) {
          homes_[id] = {passing(parts[0]->buffer), loop::integer(0)};
        } else {
          hold_row(*parts[0]);
        }
      } else if (parts.size() == 2) {
        const bool swapped = parts[0]->written;
        hold_state(*parts[swapped ? 1 : 0], *parts[swapped ? 0 : 1]);
      }
    }
    for (auto& [id, home] : homes_) home.start = with_bits(home.start);
  }

  // How far a start moves from one step to the next, either way; nothing if that is not known.
  std::optional<Dim> stride(const loop::Expr& start) const {
    const loop::Expr first = loop::substitute(start, {{step_, loop::integer(0)}});
    const loop::Expr second = loop::substitute(start, {{step_, loop::integer(1)}});
    const std::optional<Dim> moves = loop::as_dim(second - first);
    return moves && !provably_at_least(*moves, 0) ? 0 - *moves : moves;
  }

  // Two rows of one size, of which the second lies where the first does in the next step.
  void hold_state(const Use& before, const Use& after) {
    if (before.written || !after.written) return;
    const Dim& row = before.buffer->size;
    if (after.buffer->size != row || stride(homes_.at(before.buffer->id).start) != row) return;
    State state;
    state.whole = homes_.at(before.buffer->id).buffer;
    state.start = homes_.at(before.buffer->id).start;
    if (homes_.at(after.buffer->id).start != start_after(state)) return;
    if (!write_out_loops({&before, &after})) return;
    state.all_rows = !has_op(state.start, loop::Op::mod);
    state.held = in_registers(before.buffer);
    state.next = passing(after.buffer);
    Home& home = homes_[before.buffer->id] = {state.held, loop::integer(0)};
    if (state.held->size.is_constant(1)) {
      state.value = {loop::fresh_variable(before.buffer->name).id, before.buffer->dtype,
                     before.buffer->name};
      home.value = loop::variable(state.value);
    }
    homes_[after.buffer->id] = {state.next, loop::integer(0)};
    states_.push_back(std::move(state));
  }

  // A row of a stack that the step itself reads as well is stored at its end.
  void hold_row(const Use& use) {
    Home& home = homes_.at(use.buffer->id);
    const std::optional<Dim> moves = stride(home.start);
    if (!use.read || !use.written || !moves) return;
    if (moves->is_constant(0) || !provably_at_least(*moves, use.buffer->size)) return;
    if (!write_out_loops({&use})) return;
    const loop::BufferRef held = passing(use.buffer);
    rows_.push_back({home.buffer, home.start, held});
    home = {held, loop::integer(0)};
  }

  loop::BufferRef in_registers(const loop::BufferRef& buffer) {
    return buffers_.create(buffer->name, buffer->dtype, buffer->size, loop::Space::registers);
  }
  loop::BufferRef passing(const loop::BufferRef& buffer) {
    return passing_.emplace_back(in_registers(buffer));
  }

  // Whether the buffers are small, and all accesses to them at constant indices once loops of few
  // iterations are written out. If so, those will be.
  bool write_out_loops(const std::vector<const Use*>& uses) {
    std::set<int> ids;
    for (const Use* use : uses) {
      const Dim& size = use->buffer->size;
      if (!size.is_constant() || size.constant() < 1 || size.constant() > most_held) return false;
      ids.insert(use->buffer->id);
    }
    KernelLoops found;
    if (!find_index_loops(loop_.steps, ids, found) ||
        !find_index_loops(loop_.idle_steps, ids, found)) {
      return false;
    }
    for (const auto& [kernel, variables] : found) {
      written_out_[kernel].insert(variables.begin(), variables.end());
    }
    return true;
  }

  struct Place {
    loop::BufferRef buffer;
    loop::Expr start;
  };
  static loop::Stmt copy(const Place& from, const Place& to, const Dim& size) {
    if (size.is_constant(1)) {
      return loop::Store{to.buffer, to.start, loop::load(from.buffer, from.start)};
    }
    loop::For elements;
    elements.variable = loop::fresh_variable("e");
    elements.extent = loop::size(size);
    // So few are numbers of their own rather than a vector, as in the kernels of the steps.
    elements.kind = size.constant() < 4 ? loop::LoopKind::unroll : loop::LoopKind::vector;
    if (elements.kind == loop::LoopKind::vector) {
      elements.width = static_cast<int>(std::bit_ceil(static_cast<std::uint64_t>(size.constant())));
      elements.unrolled = elements.width;
    }
    const loop::Expr e = loop::variable(elements.variable);
    elements.body = {loop::Store{to.buffer, to.start + e, loop::load(from.buffer, from.start + e)}};
    return loop::statement(std::move(elements));
  }

  loop::Expr start_after(const State& state) const {
    return loop::substitute(state.start, {{step_, loop::variable(step_) + loop::integer(1)}});
  }

  // What moved with the steps has no place of its own any more.
  void forget_moving_parts() {
    for (const auto& [id, use] : uses_) {
      const auto placed = program_.placements.find(id);
      if (placed != program_.placements.end() && placed->second.kind == Placement::Kind::part &&
          loop::depends_on(placed->second.start, loop_.variable)) {
        program_.placements.erase(placed);
      }
    }
  }

  void add_steps(const std::vector<Step>& steps, loop::Block& block) {
    for (const Step& step : steps) {
      if (const auto* body = as<loop::Kernel>(step)) {
        const std::set<int>& written_out = written_out_[body];
        const Rehoming rehomed(homes_, [&](const loop::For& found, loop::For& inner) {
          if (inner.kind == loop::LoopKind::parallel) inner.kind = loop::LoopKind::serial;
          if (!is_short(inner) || !written_out.contains(found.variable.id)) return;
          if (inner.kind == loop::LoopKind::serial) inner.kind = loop::LoopKind::unroll;
          if (inner.kind == loop::LoopKind::vector) {
            inner.unrolled = static_cast<int>(inner.extent->integer);
          }
        });
        for (loop::Stmt& s : rehomed.block(body->body)) block.push_back(std::move(s));
        work_ = work_ + body->work;
        if (name_.size() < 40) name_ += body->name;
        if (body->source != loop_.source) lines_.insert(body->source);
      } else {
        const Branch* branch = as<Branch>(step);  // scans and calls are not merged
        loop::If sides;
        sides.condition =
            Rehoming(homes_).expression(loop::load(branch->condition, loop::integer(0)));
        add_steps(branch->then_steps, sides.then_body);
        add_steps(branch->else_steps, sides.else_body);
        block.push_back(loop::statement(std::move(sides)));
      }
    }
  }

  const Scan& loop_;
  Program& program_;
  BufferTable& buffers_;
  const loop::Variable step_;
  std::map<int, Use> uses_;    // by Buffer::id
  std::map<int, Home> homes_;  // the same
  std::vector<loop::BufferRef> passing_;
  std::vector<State> states_;
  std::vector<Row> rows_;
  KernelLoops written_out_;
  loop::Expr work_ = loop::integer(0);
  std::string name_;
  std::set<std::string> lines_;
};

class ScanMerger {
 public:
  ScanMerger(const std::vector<Step>& steps, Program& program, BufferTable& buffers)
      : program_(program), buffers_(buffers), all_(steps, program) {}

  std::vector<Step> run(const std::vector<Step>& steps) {
    std::vector<Step> result;
    for (const Step& step : steps) {
      if (const Scan* scan = as<Scan>(step)) {
        result.push_back(merged(*scan));
      } else {
        result.push_back(with_inner(step, [this](const auto& inner) { return run(inner); }));
      }
    }
    return result;
  }

 private:
  Step merged(const Scan& loop) {
    const Mentions inside(loop.steps, program_);
    auto copy = std::make_shared<Scan>(loop);
    copy->steps = run(loop.steps);
    copy->idle_steps = run(loop.idle_steps);
    if (!copy->steps.empty() && may_merge(copy->steps) && may_merge(copy->idle_steps)) {
      std::set<int> own;
      for (const auto& [id, count] : inside.by_id()) {
        if (all_.by_id().at(id) == count) own.insert(id);
      }
      if (auto kernel = Merger(*copy, program_, buffers_).run(own)) return {std::move(*kernel)};
    }
    return {std::shared_ptr<const Scan>(std::move(copy))};
  }

  Program& program_;
  BufferTable& buffers_;
  Mentions all_;
};

}  // namespace

std::vector<Step> merge_scans(const std::vector<Step>& steps, Program& program,
                              BufferTable& buffers) {
  return ScanMerger(steps, program, buffers).run(steps);
}

}  // namespace kroton
