#include "compiler/lower/step_registers.h"

#include <algorithm>

#include "compiler/loop/traverse.h"

namespace kroton {

StepRegisters::StepRegisters(const Scan& scan, const StepUses& uses, const Program& program,
                             BufferTable& buffers, Share share, Homes& homes)
    : scan_(scan),
      uses_(uses),
      program_(program),
      buffers_(buffers),
      share_(std::move(share)),
      homes_(homes) {
  std::map<int, std::vector<const StepUse*>> users;  // by the whole buffer
  for (const auto& [id, use] : uses_) users[homes_.at(id).buffer->id].push_back(&use);
  const auto is_written = [](const auto& parts) {
    return std::any_of(parts.begin(), parts.end(), [](const auto* use) { return use->written; });
  };
  for (const auto& [id, parts] : users) {
    if (is_written(parts)) hold(parts, id);
  }
  for (const auto& [id, parts] : users) {
    if (is_written(parts)) continue;
    for (const StepUse* use : parts) hold_input(*use);
  }
}

bool StepRegisters::holds_all_written() const {
  return std::all_of(uses_.begin(), uses_.end(), [&](const auto& entry) {
    const loop::BufferRef& home = homes_.at(entry.first).buffer;
    return !entry.second.written || home->space == loop::Space::registers ||
           (!entry.second.read && home->id != entry.first);
  });
}

void StepRegisters::hold(const std::vector<const StepUse*>& parts, int whole) {
  const loop::BufferRef& first = parts[0]->buffer;
  if (parts.size() == 1) {
    const bool is_own = first->id == whole && !program_.placements.contains(whole);
    if (is_own && has_room(first)) {
      homes_[whole] = home_of(passing_.emplace_back(in_registers(first)));
    }
  } else if (parts.size() == 2) {
    const bool swapped = parts[0]->written;
    hold_state(*parts[swapped ? 1 : 0], *parts[swapped ? 0 : 1]);
  }
}

void StepRegisters::hold_state(const StepUse& before, const StepUse& after) {
  if (before.written || !after.written) return;
  const Dim& row = before.buffer->size;
  State state;
  state.whole = homes_.at(before.buffer->id).buffer;
  state.start = homes_.at(before.buffer->id).start;
  const loop::Expr step = loop::variable(scan_.variable);
  if (after.buffer->size != row ||
      homes_.at(after.buffer->id).start != at_step(state.start, step + loop::integer(1))) {
    return;
  }
  // By turns, or row by row: else a row that is held may be one that the step writes.
  const std::vector<loop::Expr> nodes = loop::post_order(std::span(&state.start, 1));
  const bool by_turns = std::any_of(nodes.begin(), nodes.end(),
                                    [](const loop::Expr& e) { return e->op == loop::Op::mod; });
  const std::optional<Dim> moves =
      loop::as_dim(at_step(state.start, loop::integer(1)) - at_step(state.start, loop::integer(0)));
  if (!moves || (*moves != row && 0 - *moves != row)) return;
  if (!has_room(before.buffer) || !has_room(after.buffer)) return;
  state.all_rows = !by_turns;
  state.held = in_registers(before.buffer);
  state.next = passing_.emplace_back(in_registers(after.buffer));
  homes_[before.buffer->id] = home_of(state.held);
  homes_[after.buffer->id] = home_of(state.next);
  state.value = give_value(before.buffer, state.held);
  states_.push_back(std::move(state));
}

void StepRegisters::hold_input(const StepUse& use) {
  const Home& home = homes_.at(use.buffer->id);
  const std::vector<loop::Expr> nodes = loop::post_order(std::span(&home.start, 1));
  const bool moves = std::any_of(nodes.begin(), nodes.end(),
                                 [](const loop::Expr& e) { return e->op == loop::Op::variable; });
  if (!has_room(use.buffer)) return;
  Input input;
  input.whole = home.buffer;
  input.start = home.start;
  input.moves = moves;
  input.held = input.now = in_registers(use.buffer);
  if (moves && !is_one()) input.now = passing_.emplace_back(in_registers(use.buffer));
  homes_[use.buffer->id] = home_of(input.now);
  if (moves) input.value = give_value(use.buffer, input.held);
  inputs_.push_back(std::move(input));
}

bool StepRegisters::has_room(const loop::BufferRef& buffer) {
  if (!share_.may_hold(buffer)) return false;
  std::int64_t elements = 1;
  if (!is_one()) {
    if (!buffer->size.is_constant()) return false;
    elements = buffer->size.constant();
  }
  const std::int64_t words = elements * (size_of(buffer->dtype) > 4 ? 2 : 1);
  if (elements < 1 || words_ + words > share_.most_words) return false;
  words_ += words;
  return true;
}

loop::Block StepRegisters::all_steps(const std::function<loop::Block()>& step) {
  const loop::Expr zero = loop::integer(0);
  const loop::Expr now = loop::variable(scan_.variable);
  const loop::Expr after = now + loop::integer(1), count = loop::size(scan_.extent);
  const auto is_step = [&](const loop::Expr& e) { return loop::binary(loop::Op::lt, e, count); };
  loop::Block own, each;
  for (const State& state : states_) {
    own.push_back(loop::Allocate{state.held});
    own.push_back(copy(in_memory(state.whole, at_step(state.start, zero)), {state.held, zero},
                       state.held->size));
    if (is_one()) each.push_back(loop::Declare{state.value, loop::load(state.held, zero)});
  }
  for (const loop::BufferRef& buffer : passing_) each.push_back(loop::Allocate{buffer});
  for (const Input& input : inputs_) {
    own.push_back(loop::Allocate{input.held});
    const Dim& size = input.held->size;
    const auto next = [&](const loop::Expr& number) {
      return copy(in_memory(input.whole, at_step(input.start, number)), {input.held, zero}, size,
                  input.moves ? is_step(number) : nullptr);
    };
    own.push_back(next(zero));
    if (!input.moves) continue;
    each.push_back(is_one() ? loop::Stmt(loop::Declare{input.value, loop::load(input.held, zero)})
                            : copy({input.held, zero}, {input.now, zero}, size));
    each.push_back(next(after));
  }
  for (loop::Stmt& s : step()) each.push_back(std::move(s));
  for (const State& state : states_) {
    const Place next{state.next, zero};
    const Dim& size = state.held->size;
    each.push_back(copy(next, {state.held, zero}, size));
    if (!state.all_rows) continue;
    each.push_back(copy(next, in_memory(state.whole, at_step(state.start, after)), size));
  }
  loop::For steps;
  steps.variable = scan_.variable;
  steps.extent = count;
  steps.body = std::move(each);
  own.push_back(loop::statement(std::move(steps)));
  for (const State& state : states_) {
    if (state.all_rows) continue;
    own.push_back(copy({state.held, zero}, in_memory(state.whole, at_step(state.start, count)),
                       state.held->size));
  }
  return own;
}

StepRegisters::Place StepRegisters::in_memory(const loop::BufferRef& whole,
                                              const loop::Expr& start) const {
  return {whole, is_one() ? start + share_.element : start};
}

loop::Expr StepRegisters::at_step(const loop::Expr& start, const loop::Expr& step) const {
  return loop::substitute(start, {{scan_.variable, step}});
}

loop::BufferRef StepRegisters::in_registers(const loop::BufferRef& buffer) {
  return buffers_.create(buffer->name, buffer->dtype, is_one() ? Dim(1) : buffer->size,
                         loop::Space::registers);
}

// A scalar for what a step reads of `before`, if it is one element.
loop::Variable StepRegisters::give_value(const loop::BufferRef& before,
                                         const loop::BufferRef& held) {
  const loop::Variable value = loop::fresh_variable(before->name, before->dtype);
  if (is_one()) {
    homes_[before->id] = home_of(held);
    homes_[before->id].value = loop::variable(value);
  }
  return value;
}

Home StepRegisters::home_of(const loop::BufferRef& held) const {
  return {held, loop::integer(0), nullptr, is_one()};
}

loop::Stmt StepRegisters::copy(const Place& from, const Place& to, const Dim& size,
                               const loop::Expr& when) const {
  const auto one = [&](const loop::Expr& e) {
    return loop::Store{to.buffer, to.start + e, loop::load(from.buffer, from.start + e, when)};
  };
  if (size.is_constant(1)) return one(loop::integer(0));
  loop::For elements;
  elements.variable = loop::fresh_variable("e");
  elements.extent = loop::size(size);
  elements.kind = loop::LoopKind::unroll;
  elements.body = {one(loop::variable(elements.variable))};
  return loop::statement(std::move(elements));
}

}  // namespace kroton
