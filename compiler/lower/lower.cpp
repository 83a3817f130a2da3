#include "compiler/lower/lower.h"

#include <kroton/error.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "compiler/lower/branches.h"
#include "compiler/lower/checks.h"
#include "compiler/lower/kernel_context.h"
#include "compiler/lower/merge_loops.h"
#include "compiler/lower/overwrite.h"
#include "compiler/lower/plan.h"
#include "compiler/lower/product.h"
#include "compiler/ops/call.h"
#include "compiler/scan/scan.h"
#include "compiler/scan/steps.h"

namespace kroton {
namespace {

using Vertex = Graph::Vertex;

// The state whose history a stack shows: its values before the steps or after them.
struct History {
  int state = -1;
  bool after = false;
};
History history_of(const Attributes& loop, const Attributes& stack) {
  const LoopView view(loop);
  for (int k = 0; k < view.states; ++k) {
    const auto at = static_cast<std::size_t>(k);
    if (same(stack.body->results[0], loop.body->results[at])) return {k, true};
    if (same(stack.body->results[0], loop.body->parameters[at])) return {k, false};
  }
  return {};
}

class Lowering {
 public:
  Lowering(const Graph& graph, Program& program, const Machine& machine)
      : graph_(graph), machine_(machine), fusion_(fuse(graph)), buffers_(graph), program_(program) {
    if (machine.checks.values) checks_ = value_checks(graph);
  }
  // The body of a loop, as part of the same Program.
  Lowering(const Graph& body, Lowering& outer)
      : graph_(body),
        machine_(outer.machine_),
        fusion_(fuse(body)),
        buffers_(body, outer.buffers_),
        program_(outer.program_) {
    if (machine_.checks.values) checks_ = value_checks(body);
  }

  void run() {
    place_arguments();
    place_constants();
    for (const Graph::Update& update : graph_.updates) collect_update(update);
    share_results();
    for (const Cluster& cluster : fusion_.clusters) lower_cluster(cluster);
    for (const Update& update : updates_) update_in_place(update);
    order_clusters();
    add_copies();
    int kernels = 0, loops = 0;
    std::vector<Step> steps = branched_steps();
    if (!machine_.gpu) steps = merge_loops(steps, program_, buffers_);
    program_.steps = finished(steps, kernels, loops);
    collect_sizes();
    const std::int64_t line = machine_.gpu ? device_line : host_line;
    if (machine_.checks.memory) {
      check_memory(program_, buffers_, machine_);
      check_gaps(program_, buffers_, plan_memory_with_gaps(program_, line), machine_);
    } else {
      plan_memory(program_, line);
    }
    program_.sites = buffers_.sites();
  }

 private:
  // The kernels of one cluster, and what decides when they may run.
  struct Group {
    std::vector<Step> steps;
    Guard guard;
    std::set<int> read, written;  // buffers
    bool checks = false;          // or prints: the call may end in it
    bool overwrites_state = false;
  };
  // What a shared variable becomes where the guard holds.
  struct Update {
    std::shared_ptr<SharedState> state;
    Vertex value;
    Guard guard;
  };

  void place_arguments() {
    int position = 0;
    for (std::size_t k = 0; k < graph_.inputs.size(); ++k) {
      program_.inputs.push_back(graph_[graph_.inputs[k]].type);
      place(buffers_.of(graph_.inputs[k]), position++);
    }
    // Shared variables that are read, then those that are only updated.
    for (Vertex v : graph_.topological_order()) {
      if (!graph_.is_op(v, "shared")) continue;
      add_state(graph_[v].attributes.state, buffers_.of(v), position++);
    }
    for (const Graph::Update& update : graph_.updates) {
      if (!state_buffer_.count(update.state.get())) {
        const TensorType& type = graph_[update.value].type;
        add_state(update.state,
                  buffers_.create(update.state->name, type.dtype, element_count(type.shape)),
                  position++);
      }
      const auto at = std::find(program_.states.begin(), program_.states.end(), update.state);
      program_.state_is_updated[static_cast<std::size_t>(at - program_.states.begin())] = true;
    }
    std::set<Vertex> direct;  // vertices stored straight into an output
    for (std::size_t k = 0; k < graph_.outputs.size(); ++k) {
      const Vertex v = graph_.outputs[k];
      const TensorType& type = graph_[v].type;
      program_.outputs.push_back(type);
      if (may_store_in_argument(v) && direct.insert(v).second) {
        place(buffers_.of(v), position++);
        continue;
      }
      const auto buffer =
          buffers_.create("output" + std::to_string(k), type.dtype, element_count(type.shape));
      place(buffer, position++);
      output_copies_.push_back({v, buffer});
    }
  }

  // Whether the value is computed, and not a part of what a loop keeps.
  bool may_store_in_argument(Vertex v) const {
    if (graph_.is_op(v, "loop_last")) return false;
    if (!graph_.is_op(v, "loop_stack")) return graph_[v].op->kind != OpKind::leaf;
    return history_of(graph_[graph_.operand(v, 0)].attributes, graph_[v].attributes).state < 0;
  }

  void place_constants() {
    for (Vertex v : graph_.topological_order()) {
      if (!graph_.is_op(v, "constant")) continue;
      Placement& place = program_.placements[buffers_.of(v)->id];
      place.kind = Placement::Kind::constant;
      place.argument = static_cast<int>(program_.constants.size());
      program_.constants.push_back(*graph_[v].attributes.array);
    }
  }

  void place(const loop::BufferRef& buffer, int argument) {
    Placement& place = program_.placements[buffer->id];
    place.kind = Placement::Kind::argument;
    place.argument = argument;
  }

  // The buffer is a part of another, from that element on.
  void place_part(const loop::BufferRef& buffer, const loop::BufferRef& of,
                  const loop::Expr& start) {
    Placement place;
    place.kind = Placement::Kind::part;
    place.of = of;
    place.start = start;
    if (const auto outer = program_.placements.find(of->id);
        outer != program_.placements.end() && outer->second.kind == Placement::Kind::part) {
      place.of = outer->second.of;
      place.start = outer->second.start + start;
    }
    program_.placements[buffer->id] = std::move(place);
  }
  loop::BufferRef make_part(const loop::BufferRef& of, const Dim& size, const loop::Expr& start) {
    const auto part = buffers_.create(of->name, of->dtype, size);
    place_part(part, of, start);
    return part;
  }

  void add_state(const std::shared_ptr<SharedState>& state, const loop::BufferRef& buffer,
                 int position) {
    program_.states.push_back(state);
    program_.state_is_updated.push_back(false);
    state_buffer_[state.get()] = buffer;
    place(buffer, position);
  }

  // An update by an ifelse that nothing else reads is two updates under its condition, and none
  // where the old value stays.
  void collect_update(const Graph::Update& update) {
    std::vector<Update> pending{{update.state, update.value, {}}};
    while (!pending.empty()) {
      const Update next = std::move(pending.back());
      pending.pop_back();
      const VertexData& data = graph_[next.value];
      if (data.op->kind == OpKind::branch && graph_.use_count(next.value) == 1) {
        dissolved_.insert(next.value);
        const std::vector<Vertex> operands = graph_.operands(next.value);
        for (const bool holds : {false, true}) {
          pending.push_back(
              {next.state, operands[holds ? 1 : 2], extended(next.guard, {operands[0], holds})});
        }
      } else if (data.op->kind != OpKind::leaf || data.attributes.state != next.state) {
        updates_.push_back(next);
      }
    }
  }

  // What is computed for one side of an ifelse only is stored where the result lies.
  void share_results() {
    std::map<Vertex, const Cluster*> stored_by;
    for (const Cluster& cluster : fusion_.clusters) {
      if (gives_results(graph_[cluster.hero].op->kind)) continue;  // places its results itself
      for (Vertex v : cluster.roots) stored_by[v] = &cluster;
      if (cluster.kind != Cluster::Kind::branch) continue;
      ifelse_lines_.try_emplace(graph_.operand(cluster.hero, 0),
                                kroton::to_string(graph_[cluster.hero].line));
    }
    for (auto it = fusion_.clusters.rbegin(); it != fusion_.clusters.rend(); ++it) {
      if (it->kind != Cluster::Kind::branch || dissolved_.count(it->hero)) continue;
      const std::vector<Vertex> operands = graph_.operands(it->hero);
      for (const bool holds : {true, false}) {
        const Vertex v = operands[holds ? 1 : 2];
        const auto writer = stored_by.find(v);
        if (writer == stored_by.end() || graph_.use_count(v) != 1) continue;
        if (writer->second->guard != extended(it->guard, {operands[0], holds})) continue;
        if (!(graph_[v].type == graph_[it->hero].type)) continue;
        buffers_.set(v, buffers_.of(it->hero));
      }
    }
  }

  void lower_branch(const Cluster& cluster) {
    if (dissolved_.count(cluster.hero)) return;
    const std::vector<Vertex> operands = graph_.operands(cluster.hero);
    const loop::BufferRef& to = buffers_.of(cluster.hero);
    for (const bool holds : {true, false}) {
      const Vertex v = operands[holds ? 1 : 2];
      if (fusion_.stored[v] && buffers_.of(v) == to) continue;
      Group group;
      add_copy(group.steps, v, to, "_ifelse");
      std::get<loop::Kernel>(group.steps.back().kind).source =
          kroton::to_string(graph_[cluster.hero].line);
      if (fusion_.stored[v]) group.read.insert(buffers_.of(v)->id);
      group.written.insert(to->id);
      group.guard = extended(cluster.guard, {operands[0], holds});
      add_group(std::move(group));
    }
  }

  void add_group(Group group) {
    for (const auto& step : group.guard) group.read.insert(condition(step.condition)->id);
    groups_.push_back(std::move(group));
  }

  // Where the condition of an ifelse lies during the whole call.
  const loop::BufferRef& condition(Vertex v) {
    loop::BufferRef& buffer = conditions_[v];
    if (buffer) return buffer;
    const bool updated =
        std::any_of(graph_.updates.begin(), graph_.updates.end(),
                    [&](const auto& update) { return update.state == graph_[v].attributes.state; });
    if (!updated && !graph_.is_op(v, "literal")) return buffer = buffers_.of(v);
    buffer = buffers_.create("held", DType::boolean, 1);
    add_copy(first_, v, buffer);
    return buffer;
  }

  void lower_cluster(const Cluster& cluster) {
    KernelContext context(graph_, fusion_, cluster, buffers_, checks_);
    Group group;
    std::vector<loop::Kernel> kernels;
    switch (cluster.kind) {
      case Cluster::Kind::loops:
        kernels = lower_loops(context, machine_);
        break;
      case Cluster::Kind::dot:
        kernels = operand_checks(context, machine_);
        for (loop::Kernel& kernel : lower_dot(context, machine_)) {
          kernels.push_back(std::move(kernel));
        }
        break;
      case Cluster::Kind::write:
        kernels = lower_write(context, machine_);
        for (loop::Kernel& kernel : result_checks(context, machine_)) {
          kernels.push_back(std::move(kernel));
        }
        break;
      case Cluster::Kind::loop:
        add_group(lower_loop(cluster));
        return;
      case Cluster::Kind::call:
        add_group(lower_call(cluster));
        return;
      case Cluster::Kind::branch:
        lower_branch(cluster);
        return;
    }
    group.guard = cluster.guard;
    std::string ops;
    std::set<std::string> lines;
    for (Vertex v : cluster.members) {
      const OpRecord& op = *graph_[v].op;
      if (!op.is_view && op.kind != OpKind::leaf && ops.size() < 40)
        ops += "_" + std::string(op.name);
      lines.insert(kroton::to_string(graph_[v].line));
    }
    for (loop::Kernel& kernel : kernels) {
      kernel.name = ops.empty() ? "_copy" : ops;
      for (const std::string& line : lines) {
        if (!kernel.source.empty()) kernel.source += " ";
        kernel.source += line;
      }
      collect_buffers(kernel);
      group.checks = group.checks || has_checks(kernel);
      for (const loop::BufferRef& b : kernel.inputs) group.read.insert(b->id);
      for (const loop::BufferRef& b : kernel.outputs) group.written.insert(b->id);
      group.steps.emplace_back().kind = std::move(kernel);
    }
    if (graph_.is_op(cluster.members.back(), "print")) {
      const Vertex v = cluster.members.back();
      const VertexData& data = graph_[v];
      Call shown;
      shown.message = data.attributes.name;
      shown.inputs = {{buffers_.of(v), data.type}};
      shown.source = kroton::to_string(data.line);
      group.steps.emplace_back().kind = std::make_shared<const Call>(std::move(shown));
      group.checks = true;  // whoever shows it may fail
    }
    add_group(std::move(group));
  }

  // What the function reads and what it gives lies in memory, wanted or not.
  Group lower_call(const Cluster& cluster) {
    const VertexData& data = graph_[cluster.hero];
    const std::vector<TensorType> types = CallView(data.attributes).results();
    Group group;
    Call call;
    call.callee = data.attributes.callee;
    call.source = kroton::to_string(data.line);
    for (const Vertex v : graph_.operands(cluster.hero)) {
      const TensorType& type = graph_[v].type;
      if (fusion_.stored[v]) {
        call.inputs.push_back({buffers_.of(v), type});
        group.read.insert(buffers_.of(v)->id);
      } else {
        const auto buffer = buffers_.create("operand", type.dtype, element_count(type.shape));
        add_copy(group.steps, v, buffer);
        call.inputs.push_back({buffer, type});
      }
    }
    for (const TensorType& type : types) call.outputs.push_back({nullptr, type});
    for (const Vertex v : cluster.roots) {
      const auto at = static_cast<std::size_t>(graph_[v].attributes.integers[0]);
      call.outputs[at].buffer = buffers_.of(v);
    }
    for (Call::Value& value : call.outputs) {
      if (!value.buffer) {
        value.buffer = buffers_.create("unused", value.type.dtype, element_count(value.type.shape));
      }
      group.written.insert(value.buffer->id);
    }
    call.site = buffers_.add_site({call.callee->options.name + ": the function returned %index  [" +
                                       call.source + "]",
                                   CheckSite::Kind::external});
    group.guard = cluster.guard;
    group.checks = true;
    group.steps.emplace_back().kind = std::make_shared<const Call>(std::move(call));
    return group;
  }

  void add_kernel(std::vector<Step>& steps, loop::Kernel kernel, const char* name) const {
    kernel.name = name;
    collect_buffers(kernel);
    steps.emplace_back().kind = std::move(kernel);
  }
  void add_copy(std::vector<Step>& steps, const loop::BufferRef& from, const loop::BufferRef& to,
                const char* name = "_copy") const {
    add_kernel(steps, copy_kernel(from, to, machine_), name);
  }
  // The value of a vertex into `to`: a literal is written, anything else copied.
  void add_copy(std::vector<Step>& steps, Vertex v, const loop::BufferRef& to,
                const char* name = "_copy") {
    if (!graph_.is_op(v, "literal")) {
      add_copy(steps, buffers_.of(v), to, name);
      return;
    }
    loop::Kernel kernel;
    const Cluster none;
    KernelContext context(graph_, fusion_, none, buffers_, checks_);
    kernel.body = {loop::Store{to, loop::integer(0), context.value(v, {})}};
    kernel.work = loop::integer(1);
    kernel = schedule(kernel, machine_);
    add_kernel(steps, std::move(kernel), "_literal");
  }

  // A loop keeps each state in two rows by turns, or, where the states of all steps are wanted, in
  // one row for each step and one for the initial value. A step reads its row and writes the next:
  // nothing is copied but the initial value.
  struct StateRows {
    loop::BufferRef buffer;
    Dim row;  // elements
    bool history = false, backwards = false;
  };
  loop::Expr row_start(const StateRows& state, const Dim& count, const loop::Expr& step) const {
    const loop::Expr number = state.history ? (state.backwards ? loop::size(count) - step : step)
                                            : loop::binary(loop::Op::mod, step, loop::integer(2));
    return number * loop::size(state.row);
  }

  Group lower_loop(const Cluster& cluster) {
    const Vertex loop = cluster.hero;
    const VertexData& data = graph_[loop];
    const LoopView view(data.attributes);
    std::vector<Vertex> operands = graph_.operands(loop);
    for (Vertex& v : operands) v = stored_source(graph_, v);
    std::vector<Vertex> stacks;
    Body body = *data.attributes.body;
    for (Vertex v : cluster.roots) {
      if (!graph_.is_op(v, "loop_stack")) continue;
      stacks.push_back(v);
      body.results.push_back(graph_[v].attributes.body->results[0]);
    }
    Graph inside(body.parameters, body.results, {}, false);
    Lowering steps(inside, *this);
    Group group;
    group.guard = cluster.guard;
    const loop::Variable step = fresh_variable("step");
    const loop::Expr now = loop::variable(step);
    const loop::Expr after = now + loop::integer(1);

    // Operands in memory.
    std::vector<loop::BufferRef> given;
    for (Vertex v : operands) {
      loop::BufferRef buffer = buffers_.of(v);
      if (graph_.is_op(v, "literal")) {
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
      state.backwards = graph_[v].attributes.integers[0] != 0;
    }
    for (std::size_t k = 0; k < states.size(); ++k) {
      StateRows& state = states[k];
      const Vertex parameter = inside.inputs[k];
      state.row = element_count(inside[parameter].type.shape);
      state.buffer =
          buffers_.create(inside[parameter].attributes.name, inside[parameter].type.dtype,
                          state.row * (state.history ? view.count + Dim(1) : Dim(2)));
      group.written.insert(state.buffer->id);
      const loop::Expr first = row_start(state, view.count, loop::integer(0));
      if (computed_for(operands[k], loop, given[k])) {
        place_part(given[k], state.buffer, first);
      } else {
        add_copy(group.steps, given[k], make_part(state.buffer, state.row, first));
      }
      steps.place_part(steps.buffers_.of(parameter), state.buffer,
                       row_start(state, view.count, now));
    }
    // Rows and what stays.
    for (std::size_t k = states.size(); k < given.size(); ++k) {
      const Vertex parameter = inside.inputs[k];
      const int row = static_cast<int>(k) - view.states;
      if (row >= view.rows) {
        steps.buffers_.set(parameter, given[k]);
        continue;
      }
      const loop::Expr number =
          loop::size(view.offset(row)) + loop::integer(view.stride(row)) * now;
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
      } else {
        copies.emplace_back(v, make_part(to, row, start));
      }
    };
    for (std::size_t k = 0; k < states.size(); ++k) {
      send(inside.outputs[k], states[k].buffer, states[k].row,
           row_start(states[k], view.count, after));
    }
    for (std::size_t k = 0; k < stacks.size(); ++k) {
      const Vertex v = stacks[k];
      const loop::BufferRef buffer = buffers_.of(v);
      group.written.insert(buffer->id);
      const bool backwards = graph_[v].attributes.integers[0] != 0;
      const History shown = history_of(data.attributes, graph_[v].attributes);
      if (shown.state >= 0) {
        const StateRows& state = states[static_cast<std::size_t>(shown.state)];
        if (state.backwards == backwards) {
          place_part(buffer, state.buffer,
                     loop::size(shown.after != backwards ? state.row : Dim(0)));
          continue;
        }
      }
      const Vertex value = inside.outputs[states.size() + k];
      const Dim row = element_count(inside[value].type.shape);
      const loop::Expr number = backwards ? loop::size(view.count - Dim(1)) - now : now;
      send(value, buffer, row, number * loop::size(row));
    }
    for (Vertex v : cluster.roots) {
      if (!graph_.is_op(v, "loop_last")) continue;
      const StateRows& state = states[static_cast<std::size_t>(graph_[v].attributes.integers[0])];
      place_part(buffers_.of(v), state.buffer,
                 row_start(state, view.count, loop::size(view.count)));
      group.written.insert(buffers_.of(v)->id);
    }

    auto made = std::make_shared<Loop>();
    made->variable = step;
    made->extent = view.count;
    made->source = kroton::to_string(data.line);
    made->steps = steps.body_steps(copies);
    group.checks = has_calls(made->steps);
    for_each_kernel(made->steps, [&](const loop::Kernel& kernel) {
      group.checks = group.checks || has_checks(kernel);
    });
    group.steps.emplace_back().kind = std::shared_ptr<const Loop>(std::move(made));
    return group;
  }

  // Whether only this loop reads the value, and a kernel of its own computes it.
  bool computed_for(Vertex v, Vertex loop, const loop::BufferRef& buffer) const {
    const OpKind kind = graph_[v].op->kind;
    return kind != OpKind::leaf && kind != OpKind::result && graph_.use_count(v) == 1 &&
           graph_.users(v).front() == loop && program_.placements.count(buffer->id) == 0;
  }

  std::vector<Step> body_steps(const std::vector<std::pair<Vertex, loop::BufferRef>>& copies) {
    place_constants();
    share_results();
    for (const Cluster& cluster : fusion_.clusters) lower_cluster(cluster);
    order_clusters();
    for (const auto& [v, to] : copies) add_copy(last_, v, to);
    return branched_steps();
  }

  // Stores an update's value straight over the old one where nobody needs the old one any more;
  // otherwise it is copied after everything else has run.
  void update_in_place(const Update& update) {
    const Vertex v = update.value;
    const loop::BufferRef state = state_buffer_.at(update.state.get());
    const loop::BufferRef result = buffers_.of(v);
    const auto writes = [&](const Group& g) { return g.written.count(result->id) != 0; };
    const auto writer = std::find_if(groups_.begin(), groups_.end(), writes);
    const bool read_elsewhere =
        program_.placements.count(result->id) != 0 || graph_.use_count(v) > 1;
    // The last kernel of the group writes it, and it alone.
    const auto* last = writer == groups_.end() || writer->steps.empty()
                           ? nullptr
                           : std::get_if<loop::Kernel>(&writer->steps.back().kind);
    int writers = 0;
    if (last) {
      for_each_kernel(writer->steps, [&](const loop::Kernel& k) {
        writers +=
            static_cast<int>(std::count_if(k.outputs.begin(), k.outputs.end(),
                                           [&](const auto& b) { return b->id == result->id; }));
      });
    }
    // A library knows nothing of checks: it would write over the old value though one has failed.
    // The copy that follows instead is a kernel, and looks.
    const bool stores_once = graph_[v].op->kind != OpKind::write;
    const bool unchecked = machine_.gpu && last && last->product && anything_checks();
    if (!last || unchecked || read_elsewhere || writer->guard != update.guard || writer->checks ||
        writers != 1 || std::any_of(writer + 1, groups_.end(), writes) ||
        !may_overwrite(*last, result->id, state->id, stores_once)) {
      state_copies_.push_back(update);
      return;
    }
    // Readers of the old value and everything that may fail come first.
    Group before = *writer;
    auto& kernel = std::get<loop::Kernel>(writer->steps.back().kind);
    kernel.body = with_stores_to(kernel.body, result->id, state);
    if (kernel.product) kernel.product = with_result(*kernel.product, state);
    collect_buffers(kernel);
    writer->written.erase(result->id);
    writer->written.insert(state->id);
    writer->overwrites_state = true;
    if (sorted().empty() && !groups_.empty()) {
      *writer = std::move(before);
      state_copies_.push_back(update);
    }
  }

  bool anything_checks() const {
    return std::any_of(groups_.begin(), groups_.end(), [](const Group& g) { return g.checks; });
  }

  // Positions of the groups in an order that respects reads, overwrites and checks; empty if
  // there is none.
  std::vector<std::size_t> sorted() const {
    const std::size_t n = groups_.size();
    std::vector<std::set<std::size_t>> after(n);
    std::map<int, std::vector<std::size_t>> writers;
    for (std::size_t g = 0; g < n; ++g) {
      for (int b : groups_[g].written) writers[b].push_back(g);
    }
    std::set<int> states;
    for (const auto& [state, buffer] : state_buffer_) states.insert(buffer->id);
    for (std::size_t g = 0; g < n; ++g) {
      for (int b : groups_[g].read) {
        const auto it = writers.find(b);
        if (it == writers.end()) continue;
        for (std::size_t w : it->second) {
          if (w == g || exclusive(groups_[w].guard, groups_[g].guard)) continue;
          if (states.count(b)) {
            after[g].insert(w);  // the old value is read before it is overwritten
          } else {
            after[w].insert(g);
          }
        }
      }
      if (!groups_[g].checks) continue;
      for (std::size_t h = 0; h < n; ++h) {
        if (h == g || !groups_[h].overwrites_state) continue;
        if (!exclusive(groups_[g].guard, groups_[h].guard)) after[g].insert(h);
      }
    }
    std::vector<int> waiting(n, 0);
    for (const auto& set : after) {
      for (std::size_t h : set) ++waiting[h];
    }
    std::set<std::size_t> ready;
    for (std::size_t g = 0; g < n; ++g) {
      if (waiting[g] == 0) ready.insert(g);
    }
    // The first in the order of fusion; with branches, what keeps their number small: all that no
    // further condition guards before the next branch begins, and a branch to its end.
    const bool branches = std::any_of(groups_.begin(), groups_.end(),
                                      [](const Group& g) { return !g.guard.empty(); });
    const Guard always;
    std::vector<std::size_t> order;
    while (!ready.empty()) {
      auto next = ready.begin();
      if (branches) {
        const Guard& last = order.empty() ? always : groups_[order.back()].guard;
        const auto key = [&](std::size_t g) {
          const Guard& guard = groups_[g].guard;
          return std::tuple(-affinity(last, guard), guard.size(), g);
        };
        next = std::min_element(ready.begin(), ready.end(),
                                [&](auto a, auto b) { return key(a) < key(b); });
      }
      const std::size_t g = *next;
      ready.erase(next);
      order.push_back(g);
      for (std::size_t h : after[g]) {
        if (--waiting[h] == 0) ready.insert(h);
      }
    }
    if (order.size() != n) order.clear();
    return order;
  }

  void order_clusters() {
    const std::vector<std::size_t> order = sorted();
    if (order.size() != groups_.size())
      throw InternalError("lowering: kernels depend on each other in a circle");
    for (std::size_t g : order) {
      for (Step& step : groups_[g].steps) add_step(groups_[g].guard, std::move(step));
    }
  }

  void add_step(const Guard& guard, Step step) {
    GuardedStep& added = steps_.emplace_back();
    for (const auto& [v, holds] : guard) {
      added.guard.push_back({condition(v), holds, ifelse_lines_.at(v)});
    }
    added.step = std::move(step);
  }

  void add_copies() {
    for (const auto& [v, to] : output_copies_) {
      // Old values of shared variables, so before any update.
      add_copy(graph_[v].op->kind == OpKind::leaf ? first_ : last_, v, to);
    }
    for (const Update& update : state_copies_) {
      const loop::BufferRef to = state_buffer_.at(update.state.get());
      std::vector<Step> copy;
      if (graph_[update.value].op->kind != OpKind::leaf) {
        add_copy(copy, update.value, to);
      } else {
        // Another shared variable's old value, kept before anything changes it.
        const auto held = buffers_.create("held", to->dtype, to->size);
        add_copy(first_, update.value, held);
        add_copy(copy, held, to);
      }
      add_step(update.guard, std::move(copy.front()));
    }
  }

  // All steps, in nested branches.
  std::vector<Step> branched_steps() {
    std::vector<Step> steps = std::move(first_);
    for (Step& step : nest_branches(steps_)) steps.push_back(std::move(step));
    for (Step& step : last_) steps.push_back(std::move(step));
    return steps;
  }

  // The steps with every kernel and loop numbered and verified.
  static std::vector<Step> finished(const std::vector<Step>& steps, int& kernels, int& loops) {
    std::vector<Step> result;
    for (const Step& step : steps) {
      Step& copy = result.emplace_back();
      if (const auto* loop = std::get_if<std::shared_ptr<const Loop>>(&step.kind)) {
        auto named = std::make_shared<Loop>(**loop);
        named->name = "loop" + std::to_string(loops++);
        named->steps = finished((*loop)->steps, kernels, loops);
        copy.kind = std::shared_ptr<const Loop>(std::move(named));
      } else if (const auto* branch = std::get_if<std::shared_ptr<const Branch>>(&step.kind)) {
        auto named = std::make_shared<Branch>(**branch);
        named->then_steps = finished((*branch)->then_steps, kernels, loops);
        named->else_steps = finished((*branch)->else_steps, kernels, loops);
        copy.kind = std::shared_ptr<const Branch>(std::move(named));
      } else if (const auto* kernel = std::get_if<loop::Kernel>(&step.kind)) {
        loop::Kernel named = *kernel;
        named.name = "k" + std::to_string(kernels++) + named.name;
        loop::verify(named);
        copy.kind = std::move(named);
      } else {
        copy = step;
      }
    }
    return result;
  }

  // In the order in which the inputs and outputs mention them: the same for equal functions,
  // whatever the process has made before.
  void collect_sizes() {
    std::set<std::uint64_t> seen;
    const auto note = [&](const DimAtomRef& atom) {
      if (seen.insert(atom->identity).second) program_.sizes.push_back(atom);
    };
    for (const auto* types : {&program_.inputs, &program_.outputs}) {
      for (const TensorType& type : *types) {
        for (const Dim& d : type.shape) d.visit_variables(note);
      }
    }
    // Numbers of steps come from values: they may be inside only.
    for (Vertex v : graph_.topological_order()) {
      for (const Dims* dims : {&graph_[v].type.shape, &graph_[v].attributes.dims}) {
        for (const Dim& d : *dims) d.visit_variables(note);
      }
      if (graph_[v].attributes.body) visit_sizes(graph_[v].attributes.body->results, note);
    }
    worker_count().visit_variables(note);
  }

  const Graph& graph_;
  Machine machine_;
  Fusion fusion_;
  BufferTable buffers_;
  Program& program_;
  ValueChecks checks_;
  std::vector<Group> groups_;
  std::vector<GuardedStep> steps_;
  std::vector<Step> first_, last_;  // before and after all others
  std::map<const SharedState*, loop::BufferRef> state_buffer_;
  std::vector<std::pair<Vertex, loop::BufferRef>> output_copies_;
  std::vector<Update> updates_, state_copies_;
  std::set<Vertex> dissolved_;                    // ifelse that are updates under a condition
  std::map<Vertex, loop::BufferRef> conditions_;  // by the condition
  std::map<Vertex, std::string> ifelse_lines_;    // by the condition: of one of its ifelse
};

}  // namespace

Checks Checks::from_environment() {
  const char* asked = std::getenv("KROTON_CHECK");
  const std::string what = asked ? asked : "";
  if (what.empty() || what == "0") return {};
  if (what == "1") return {true, true};
  if (what == "memory") return {true, false};
  if (what == "values") return {false, true};
  throw ValueError("KROTON_CHECK is \"" + what + "\", expected 0, 1, memory or values");
}

Program lower(const Graph& graph, const std::string& name, const Machine& machine) {
  Program program;
  program.name = name;
  Lowering(graph, program, machine).run();
  return program;
}

}  // namespace kroton
