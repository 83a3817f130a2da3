// Scans: where states, rows and results lie while the steps run.
#include <algorithm>

#include "compiler/loop/traverse.h"
#include "compiler/lower/idle_steps.h"
#include "compiler/lower/lowering.h"
#include "compiler/lower/overwrite.h"
#include "compiler/lower/persistent_scan.h"
#include "compiler/ops/attribute_views.h"
#include "compiler/ops/records.h"
#include "compiler/ops/scan_op.h"
#include "compiler/scan/scan.h"

namespace kroton {
namespace {

// A loop keeps each state in two rows by turns, or, where the states of all steps are wanted, in
// one row for each step and one for the initial value. A step reads its row and writes the next:
// nothing is copied but the initial value.
struct StateRows {
  loop::BufferRef buffer;
  Dim row;  // elements
  bool history = false, backwards = false;
};
loop::Expr row_start(const StateRows& state, const Dim& count, const loop::Expr& step) {
  const loop::Expr number = state.history ? (state.backwards ? loop::size(count) - step : step)
                                          : loop::binary(loop::Op::mod, step, loop::integer(2));
  return number * loop::size(state.row);
}

}  // namespace

bool Lowering::may_store_in_argument(Vertex v) const {
  if (graph_.is_op(v, scan_last_op)) return false;
  if (!graph_.is_op(v, scan_stack_op)) return graph_[v].op->kind != OpKind::leaf;
  return history_of(graph_[graph_.operand(v, 0)].attributes, graph_[v].attributes).state < 0;
}

StepGroup Lowering::lower_scan(const Cluster& cluster) {
  const Vertex loop = cluster.hero;
  const VertexData& data = graph_[loop];
  const ScanView view(data.attributes);
  std::vector<Vertex> operands = graph_.operands(loop);
  for (Vertex& v : operands) v = stored_source(graph_, v);
  std::vector<Vertex> stacks;
  Body body = *data.attributes.body;
  for (Vertex v : cluster.roots) {
    if (!graph_.is_op(v, scan_stack_op)) continue;
    stacks.push_back(v);
    body.results.push_back(graph_[v].attributes.body->results[0]);
  }
  Graph inside(body.parameters, body.results, {}, false);
  Lowering steps(inside, *this);
  StepGroup group;
  group.guard = cluster.guard;
  const loop::Variable step = loop::fresh_variable("step");
  const loop::Expr now = loop::variable(step);
  const loop::Expr after = now + loop::integer(1);

  // Operands in memory.
  std::vector<loop::BufferRef> given;
  for (Vertex v : operands) {
    loop::BufferRef buffer = buffers_.of(v);
    if (graph_.is_op(v, literal_op)) {
      buffer = buffers_.create("literal", buffer->dtype, buffer->size);
      add_copy(group.steps, v, buffer);
    } else {
      group.read.insert(buffer->id);
    }
    given.push_back(buffer);
  }
  // States.
  std::vector<StateRows> states(static_cast<std::size_t>(view.states));
  for (Vertex v : stacks) {
    const History shown = history_of(data.attributes, graph_[v].attributes);
    if (shown.state < 0) continue;
    StateRows& state = states[static_cast<std::size_t>(shown.state)];
    if (state.history) continue;
    state.history = true;
    state.backwards = is_backwards(graph_[v].attributes);
  }
  for (std::size_t k = 0; k < states.size(); ++k) {
    StateRows& state = states[k];
    const Vertex parameter = inside.inputs[k];
    state.row = element_count(inside[parameter].type.shape);
    state.buffer = buffers_.create(inside[parameter].attributes.name, inside[parameter].type.dtype,
                                   state.row * (state.history ? view.count + Dim(1) : Dim(2)));
    group.written.insert(state.buffer->id);
    const loop::Expr first = row_start(state, view.count, loop::integer(0));
    if (computed_for(operands[k], loop, given[k])) {
      place_part(given[k], state.buffer, first);
    } else {
      add_copy(group.steps, given[k], make_part(state.buffer, state.row, first));
    }
    steps.place_part(steps.buffers_.of(parameter), state.buffer, row_start(state, view.count, now));
  }
  // Rows and what stays.
  for (std::size_t k = states.size(); k < given.size(); ++k) {
    const Vertex parameter = inside.inputs[k];
    const int row = static_cast<int>(k) - view.states;
    if (row >= view.rows) {
      steps.buffers_.set(parameter, given[k]);
      continue;
    }
    const loop::Expr number = loop::size(view.offset(row)) + loop::integer(view.stride(row)) * now;
    steps.place_part(steps.buffers_.of(parameter), given[k],
                     number * loop::size(element_count(inside[parameter].type.shape)));
  }
  // Where results go: a value is computed in place for the first who wants it, and copied for
  // others.
  std::vector<std::pair<Vertex, loop::BufferRef>> copies;
  std::set<Vertex> placed;
  const auto send = [&](Vertex v, const loop::BufferRef& to, const Dim& row,
                        const loop::Expr& start) {
    const OpKind kind = inside[v].op->kind;
    if (kind != OpKind::leaf && kind != OpKind::result && placed.insert(v).second) {
      steps.place_part(steps.buffers_.of(v), to, start);
      return steps.buffers_.of(v);
    }
    copies.emplace_back(v, make_part(to, row, start));
    return copies.back().second;
  };
  std::vector<loop::BufferRef> next;  // of the states
  for (std::size_t k = 0; k < states.size(); ++k) {
    next.push_back(send(inside.outputs[k], states[k].buffer, states[k].row,
                        row_start(states[k], view.count, after)));
  }
  struct Row {
    std::size_t stack;
    loop::BufferRef of;
    Dim size;
    loop::Expr start;
  };
  std::vector<Row> shown;  // rows that are stored besides the states
  for (std::size_t k = 0; k < stacks.size(); ++k) {
    const Vertex v = stacks[k];
    const loop::BufferRef buffer = buffers_.of(v);
    group.written.insert(buffer->id);
    const bool backwards = is_backwards(graph_[v].attributes);
    const History history = history_of(data.attributes, graph_[v].attributes);
    if (history.state >= 0) {
      const StateRows& state = states[static_cast<std::size_t>(history.state)];
      if (state.backwards == backwards) {
        place_part(buffer, state.buffer,
                   loop::size(history.after != backwards ? state.row : Dim(0)));
        continue;
      }
    }
    const Vertex value = inside.outputs[states.size() + k];
    const Dim row = element_count(inside[value].type.shape);
    const loop::Expr number = backwards ? loop::size(view.count - Dim(1)) - now : now;
    send(value, buffer, row, number * loop::size(row));
    shown.push_back({k, buffer, row, number * loop::size(row)});
  }
  for (Vertex v : cluster.roots) {
    if (!graph_.is_op(v, scan_last_op)) continue;
    const StateRows& state = states[static_cast<std::size_t>(result_number(graph_[v].attributes))];
    place_part(buffers_.of(v), state.buffer, row_start(state, view.count, loop::size(view.count)));
    group.written.insert(buffers_.of(v)->id);
  }

  auto made = std::make_shared<Scan>();
  made->variable = step;
  made->extent = view.count;
  made->source = kroton::to_string(data.line);
  made->steps = steps.body_steps(copies);
  // What is left to do in a step that changes no state.
  const std::optional<IdleSteps> idle = find_idle_steps(graph_, loop, stacks);
  const auto idle_steps = [&](const Machine& machine) {
    Body kept{body.parameters, {}};
    std::vector<std::size_t> histories;
    for (std::size_t k = 0; k < states.size(); ++k) {
      if (!states[k].history) continue;
      histories.push_back(k);
      kept.results.push_back(body.parameters[k]);
    }
    for (const Row& row : shown) {
      const History shows = history_of(data.attributes, graph_[stacks[row.stack]].attributes);
      kept.results.push_back(shows.state < 0
                                 ? idle->rows[row.stack]
                                 : body.parameters[static_cast<std::size_t>(shows.state)]);
    }
    const Graph at_rest(kept.parameters, kept.results, {}, false);
    Lowering resting(at_rest, *this);
    resting.machine_ = machine;
    for (std::size_t k = 0; k < given.size(); ++k) {
      resting.buffers_.set(at_rest.inputs[k], steps.buffers_.of(inside.inputs[k]));
    }
    std::vector<std::pair<Vertex, loop::BufferRef>> rows;
    for (std::size_t n = 0; n < histories.size(); ++n) {
      rows.emplace_back(at_rest.outputs[n], next[histories[n]]);
    }
    std::set<Vertex> stored;
    for (std::size_t n = 0; n < shown.size(); ++n) {
      const Vertex v = at_rest.outputs[histories.size() + n];
      const auto& [stack, of, size, start] = shown[n];
      if (at_rest[v].op->kind != OpKind::leaf && stored.insert(v).second) {
        resting.place_part(resting.buffers_.of(v), of, start);
      } else {
        rows.emplace_back(v, make_part(of, size, start));
      }
    }
    return resting.body_steps(rows);
  };
  if (idle) {
    made->idle = steps.buffers_.of(inside.inputs[idle->flag]);
    made->idle_to_the_end = idle->to_the_end;
    made->idle_steps = idle_steps(machine_);
  }
  group.checks = has_calls(made->steps);
  for_each_kernel(made->steps, [&](const loop::Kernel& kernel) {
    group.checks = group.checks || has_checks(kernel);
  });
  const bool is_part = machine_.one_block || machine_.waiting_blocks;
  if (machine_.gpu && machine_.persistent_scans && !is_part && !options_.checks.memory) {
    // The steps once more, as parts of one kernel.
    const auto again = [&](const Machine& machine) {
      Lowering parts(inside, *this);
      parts.machine_ = machine;
      parts.options_.candidates = false;
      for (Vertex v : inside.topological_order()) {
        const bool is_given =
            std::find(inside.inputs.begin(), inside.inputs.end(), v) != inside.inputs.end();
        if (is_given || placed.contains(v) || inside.is_op(v, constant_op)) {
          parts.buffers_.set(v, steps.buffers_.of(v));
        }
      }
      Scan whole = *made;
      whole.steps = parts.body_steps(copies);
      if (idle) whole.idle_steps = idle_steps(machine);
      return whole;
    };
    const std::int64_t launches = kernel_count(made->steps);
    Machine one_block = machine_;
    one_block.one_block = true;
    one_block.block_shared_bytes = 0;
    PersistentScan persistent = persistent_scan(again(one_block), launches, program_, buffers_);
    if (persistent.kernel) group.steps.emplace_back().kind = *std::move(persistent.kernel);
    if (persistent.is_wanted.is_constant(1)) {
      // What moved with the steps has no place of its own any more.
      std::erase_if(program_.placements, [&](const auto& entry) {
        const Placement& place = entry.second;
        return place.kind == Placement::Kind::part && loop::depends_on(place.start, step);
      });
      return group;
    }
    const Dim is_larger = 1 - persistent.is_wanted;
    Machine waiting = machine_;
    waiting.waiting_blocks = true;
    Dim left = is_larger;
    std::string why_not;
    for (const bool keeps : {true, false}) {
      PersistentScan together =
          waiting_scan(again(waiting), launches, left, keeps, program_, buffers_);
      if (together.kernel) group.steps.emplace_back().kind = *std::move(together.kernel);
      left = left - together.is_wanted;
      why_not = together.why_not;
    }
    made->extent = made->extent * left;
    made->form = "kernels for each step: " + persistent.why_not;
    if (why_not != persistent.why_not) made->form += ", " + why_not;
  }
  group.steps.emplace_back().kind = std::shared_ptr<const Scan>(std::move(made));
  return group;
}

bool Lowering::computed_for(Vertex v, Vertex loop, const loop::BufferRef& buffer) const {
  const OpKind kind = graph_[v].op->kind;
  return kind != OpKind::leaf && kind != OpKind::result && graph_.use_count(v) == 1 &&
         graph_.users(v).front() == loop && program_.placements.count(buffer->id) == 0;
}

std::vector<Step> Lowering::body_steps(
    const std::vector<std::pair<Vertex, loop::BufferRef>>& copies) {
  place_constants();
  share_results();
  for (const Cluster& cluster : fusion_.clusters) lower_cluster(cluster);
  order_clusters();
  for (const auto& [v, to] : copies) add_copy(last_, v, to);
  return branched_steps();
}

}  // namespace kroton
