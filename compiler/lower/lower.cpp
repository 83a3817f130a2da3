#include "compiler/lower/lower.h"

#include <kroton/error.h>

#include <algorithm>
#include <cstdlib>

#include "compiler/ir/leaf.h"
#include "compiler/lower/checks.h"
#include "compiler/lower/finish.h"
#include "compiler/lower/lowering.h"
#include "compiler/lower/merge_scans.h"
#include "compiler/lower/overwrite.h"
#include "compiler/lower/plan.h"
#include "compiler/lower/side_by_side.h"
#include "compiler/ops/attribute_views.h"
#include "compiler/ops/call.h"

namespace kroton {

namespace {

// Every access is looked at: none may be by units of the device's own.
Machine as_checked(const Machine& machine, const Checks& checks) {
  Machine result = machine;
  if (checks.memory && machine.has_matrix_units()) result.capability = 75;
  return result;
}

}  // namespace

// Every product is looked at by itself where values or accesses are checked.
Fusion fuse_for(const Graph& graph, const Machine& machine, const LoweringOptions& options) {
  const Machine checked = as_checked(machine, options.checks);
  Fusion fusion = fuse(graph, {checked.has_matrix_units(), machine.gpu && !machine.one_block});
  if (machine.gpu && !machine.one_block && !options.checks.values && !options.checks.memory) {
    join_attention(
        graph, fusion,
        {[&](const AttentionOperands& operands) { return computes_attention(operands, machine); },
         [&](const PairOperands& operands) { return computes_pairs(operands, machine); }});
  }
  return fusion;
}

Lowering::Lowering(const Graph& graph, Program& program, const Machine& machine,
                   const LoweringOptions& options)
    : graph_(graph),
      machine_(as_checked(machine, options.checks)),
      options_(options),
      fusion_(fuse_for(graph, machine_, options)),
      buffers_(graph),
      program_(program) {
  if (options.checks.values) checks_ = value_checks(graph);
  options_.candidates &= machine_.gpu && !options.checks.memory && !options.checks.values;
}
Lowering::Lowering(const Graph& body, Lowering& outer)
    : graph_(body),
      machine_(outer.machine_),
      options_(outer.options_),
      fusion_(fuse_for(body, machine_, options_)),
      buffers_(body, outer.buffers_),
      program_(outer.program_) {
  if (options_.checks.values) checks_ = value_checks(body);
}

void Lowering::run() {
  place_arguments();
  place_constants();
  for (const Graph::Update& update : graph_.updates) collect_update(update);
  share_results();
  for (const Cluster& cluster : fusion_.clusters) lower_cluster(cluster);
  for (const Update& update : updates_) update_in_place(update);
  order_clusters();
  add_copies();
  std::vector<Step> steps = branched_steps();
  if (!machine_.gpu) steps = merge_scans(steps, program_, buffers_);
  if (machine_.gpu && !options_.checks.memory) steps = side_by_side(steps, program_);
  program_.steps = finished(steps, options_.contract);
  collect_sizes(program_, graph_);
  const std::int64_t line = machine_.gpu ? device_line : host_line;
  if (options_.checks.memory) {
    check_memory(program_, buffers_, machine_);
    check_gaps(program_, buffers_, plan_memory_with_gaps(program_, line), machine_);
  } else {
    plan_memory(program_, line, machine_.gpu);
  }
  program_.sites = buffers_.sites();
}

void Lowering::place_arguments() {
  int position = 0;
  for (std::size_t k = 0; k < graph_.inputs.size(); ++k) {
    program_.inputs.push_back(graph_[graph_.inputs[k]].type);
    place(buffers_.of(graph_.inputs[k]), position++);
  }
  // Shared variables that are read, then those that are only updated.
  for (Vertex v : graph_.topological_order()) {
    if (!graph_.is_op(v, shared_op)) continue;
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

void Lowering::place_constants() {
  for (Vertex v : graph_.topological_order()) {
    if (!graph_.is_op(v, constant_op)) continue;
    if (program_.placements.contains(buffers_.of(v)->id)) continue;  // steps in another form too
    Placement& place = program_.placements[buffers_.of(v)->id];
    place.kind = Placement::Kind::constant;
    place.argument = static_cast<int>(program_.constants.size());
    program_.constants.push_back(*graph_[v].attributes.array);
  }
}

void Lowering::place(const loop::BufferRef& buffer, int argument) {
  Placement& place = program_.placements[buffer->id];
  place.kind = Placement::Kind::argument;
  place.argument = argument;
}

void Lowering::place_part(const loop::BufferRef& buffer, const loop::BufferRef& of,
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

loop::BufferRef Lowering::make_part(const loop::BufferRef& of, const Dim& size,
                                    const loop::Expr& start) {
  const auto part = buffers_.create(of->name, of->dtype, size);
  place_part(part, of, start);
  return part;
}

void Lowering::add_state(const std::shared_ptr<SharedState>& state, const loop::BufferRef& buffer,
                         int position) {
  program_.states.push_back(state);
  program_.state_is_updated.push_back(false);
  state_buffer_[state.get()] = buffer;
  place(buffer, position);
}

void Lowering::lower_cluster(const Cluster& cluster) {
  KernelContext context(graph_, fusion_, cluster, buffers_, checks_);
  StepGroup group;
  std::vector<loop::Kernel> kernels;
  std::vector<int> candidates;        // of the last kernels
  std::size_t before_candidates = 0;  // so many others
  switch (cluster.kind) {
    case Cluster::Kind::loops:
      kernels = lower_loops(context, machine_);
      break;
    case Cluster::Kind::contraction:
      kernels = operand_checks(context, machine_);
      before_candidates = kernels.size();
      for (loop::Kernel& kernel : lower_contraction(context, machine_, options_,
                                                    options_.candidates ? &candidates : nullptr)) {
        kernels.push_back(std::move(kernel));
      }
      break;
    case Cluster::Kind::attention:
      kernels = lower_attention(context, machine_);
      break;
    case Cluster::Kind::pairs:
      kernels = lower_pairs(context, machine_);
      break;
    case Cluster::Kind::write:
      kernels = lower_write(context, machine_);
      for (loop::Kernel& kernel : result_checks(context, machine_)) {
        kernels.push_back(std::move(kernel));
      }
      break;
    case Cluster::Kind::scan:
      add_group(lower_scan(cluster));
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
  for (std::size_t k = 0; k < kernels.size(); ++k) {
    loop::Kernel& kernel = kernels[k];
    kernel.name = ops.empty() ? "_copy" : ops;
    for (const std::string& line : lines) {
      if (!kernel.source.empty()) kernel.source += " ";
      kernel.source += line;
    }
    collect_buffers(kernel);
    group.checks = group.checks || has_checks(kernel);
    for (const loop::BufferRef& b : kernel.inputs) group.read.insert(b->id);
    for (const loop::BufferRef& b : kernel.outputs) group.written.insert(b->id);
    Step& step = group.steps.emplace_back();
    step.kind = std::move(kernel);
    if (candidates.empty() || k < before_candidates) continue;
    step.choice = buffers_.of(cluster.roots.front())->id;
    step.candidate = candidates[k - before_candidates];
  }
  const Vertex v = cluster.members.back();
  if (const VertexData& data = graph_[v]; data.op->shows) {
    Call shown;
    shown.message = data.attributes.name;
    shown.inputs = {{buffers_.of(v), data.type}};
    shown.source = kroton::to_string(data.line);
    group.steps.emplace_back().kind = std::make_shared<const Call>(std::move(shown));
    group.checks = true;  // whoever shows it may fail
  }
  add_group(std::move(group));
}

StepGroup Lowering::lower_call(const Cluster& cluster) {
  const VertexData& data = graph_[cluster.hero];
  const std::vector<TensorType> types = CallView(data.attributes).results();
  StepGroup group;
  Call call;
  call.callee = data.attributes.callee;
  call.source = kroton::to_string(data.line);
  const auto given = [&](const TensorType& type) {
    return TensorType{type.dtype, sizes_given(*call.callee, type.shape)};
  };
  int rank = 0;  // of the first operand
  for (const Vertex v : graph_.operands(cluster.hero)) {
    const TensorType& type = graph_[v].type;
    if (call.inputs.empty()) rank = type.rank();
    if (fusion_.stored[v]) {
      call.inputs.push_back({buffers_.of(v), given(type)});
      group.read.insert(buffers_.of(v)->id);
    } else {
      const auto buffer = buffers_.create("operand", type.dtype, element_count(type.shape));
      add_copy(group.steps, v, buffer);
      call.inputs.push_back({buffer, given(type)});
    }
  }
  for (const TensorType& type : types) call.outputs.push_back({nullptr, given(type)});
  for (const Vertex v : cluster.roots) {
    const auto at = static_cast<std::size_t>(result_number(graph_[v].attributes));
    call.outputs[at].buffer = buffers_.of(v);
  }
  for (Call::Value& value : call.outputs) {
    if (!value.buffer) {
      value.buffer = buffers_.create("unused", value.type.dtype, element_count(value.type.shape));
    }
    group.written.insert(value.buffer->id);
  }
  const CheckSite::Kind kind =
      call.callee->is_users() ? CheckSite::Kind::external : CheckSite::Kind::operand;
  for (const std::string& text : error_texts(*call.callee, rank)) {
    const int site = buffers_.add_site({text + "  [" + call.source + "]", kind});
    if (call.site < 0) call.site = site;
  }
  group.guard = cluster.guard;
  group.checks = true;
  group.steps.emplace_back().kind = std::make_shared<const Call>(std::move(call));
  return group;
}

void Lowering::add_kernel(std::vector<Step>& steps, loop::Kernel kernel, const char* name) const {
  kernel.name = name;
  collect_buffers(kernel);
  steps.emplace_back().kind = std::move(kernel);
}

void Lowering::add_copy(std::vector<Step>& steps, const loop::BufferRef& from,
                        const loop::BufferRef& to, const char* name) const {
  add_kernel(steps, copy_kernel(from, to, machine_), name);
}

void Lowering::add_copy(std::vector<Step>& steps, Vertex v, const loop::BufferRef& to,
                        const char* name) {
  if (!graph_.is_op(v, literal_op)) {
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

void Lowering::add_group(StepGroup group) {
  for (const auto& step : group.guard) group.read.insert(condition(step.condition)->id);
  groups_.push_back(std::move(group));
}

void Lowering::order_clusters() {
  const std::vector<std::size_t> order = order_of(groups_, state_buffers());
  if (order.size() != groups_.size())
    throw InternalError("lowering: kernels depend on each other in a circle");
  for (std::size_t g : order) {
    for (Step& step : groups_[g].steps) add_step(groups_[g].guard, std::move(step));
  }
}

void Lowering::add_step(const Guard& guard, Step step) {
  GuardedStep& added = steps_.emplace_back();
  for (const auto& [v, holds] : guard) {
    added.guard.push_back({condition(v), holds, ifelse_lines_.at(v)});
  }
  added.step = std::move(step);
}

std::set<int> Lowering::state_buffers() const {
  std::set<int> states;
  for (const auto& [state, buffer] : state_buffer_) states.insert(buffer->id);
  return states;
}

std::vector<Step> Lowering::branched_steps() {
  std::vector<Step> steps = std::move(first_);
  for (Step& step : nest_branches(steps_)) steps.push_back(std::move(step));
  for (Step& step : last_) steps.push_back(std::move(step));
  return steps;
}

Checks Checks::from_environment() {
  const char* asked = std::getenv("KROTON_CHECK");
  const std::string what = asked ? asked : "";
  if (what.empty() || what == "0") return {};
  if (what == "1") return {true, true};
  if (what == "memory") return {true, false};
  if (what == "values") return {false, true};
  throw ValueError("KROTON_CHECK is \"" + what + "\", expected 0, 1, memory or values");
}

WinogradTiles WinogradTiles::from_environment() {
  const char* asked = std::getenv("KROTON_WINOGRAD");
  const std::string what = asked ? asked : "";
  if (what.empty() || what == "2") return {2};
  if (what == "0") return {1};
  if (what == "4") return {4};
  throw ValueError("KROTON_WINOGRAD is \"" + what + "\", expected 0, 2 or 4");
}

Program lower(const Graph& graph, const std::string& name, const Machine& machine,
              const LoweringOptions& options) {
  Program program;
  program.name = name;
  Lowering(graph, program, machine, options).run();
  return program;
}

}  // namespace kroton
