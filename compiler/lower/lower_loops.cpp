// Elementwise work and reductions: a loop nest over the axes that stay, and inside it one nest
// over the reduced axes per stage (a stage needs the results of the one before).
#include <kroton/error.h>

#include <algorithm>
#include <limits>

#include "compiler/contraction/gpu_step_tiles.h"
#include "compiler/loop/gpu_schedule.h"
#include "compiler/loop/simplify.h"
#include "compiler/lower/loops_lowering.h"

namespace kroton {

using loop::Op;
using Vertex = Graph::Vertex;

namespace {

constexpr int cost_of_waiting = 8;  // for an element of a table

}  // namespace

std::vector<loop::Kernel> LoopsLowering::run() {
  find_stages();
  // Statements read an accumulator in the stages after its own.
  use_accumulators();
  if (machine_.gpu) return for_gpu();
  if (splits_in_chunks()) return in_runs(runs_of_all());
  if (const std::optional<Runs> runs = runs_by_columns()) return in_runs(*runs);
  return finish(whole(), work());
}

void LoopsLowering::use_accumulators() {
  for (const Accumulator& a : accumulators_) {
    if (a.of_finite) context_.set_operands_finite(a.vertex, loop::variable(a.variable));
  }
  for (const Accumulator& a : accumulators_) {
    if (!a.of_finite) context_.set_value({a.vertex, cluster_.outer_point()}, result(a));
  }
}

loop::Kernel LoopsLowering::whole() {
  loop::Kernel kernel;
  loop::Block body = declarations(accumulators_);
  for (int stage = 1; stage <= stages_; ++stage) {
    append(body, reduce_nest(stage_body(stage)));
  }
  append(body, results());
  kernel.body = outer_nest(std::move(body));
  return kernel;
}

void LoopsLowering::find_stages() {
  for (Vertex v : cluster_.members) {
    int ready = 0;
    for (Vertex o : graph_.operands(v)) {
      if (const auto it = ready_.find(o); it != ready_.end()) ready = std::max(ready, it->second);
    }
    if (graph_[v].op->kind == OpKind::reduce) {
      ++ready;
      accumulators_.push_back(accumulator(v));
      if (context_.checks_values() && may_overflow(accumulators_.back())) {
        accumulators_.push_back(finiteness(v));
      }
      stages_ = std::max(stages_, ready);
    }
    ready_[v] = ready;
  }
  for (Vertex v : cluster_.roots) {
    if (is_full(v)) stages_ = std::max(stages_, ready_[v] + 1);
  }
}

bool LoopsLowering::is_full(Vertex v) const {
  return graph_[v].op->kind != OpKind::reduce &&
         graph_[v].type.shape.size() == cluster_.domain.size();
}

bool LoopsLowering::may_overflow(const Accumulator& a) {
  return is_float(a.variable.dtype) && !a.is_arg && (a.op == Op::add || a.op == Op::mul);
}

Accumulator LoopsLowering::finiteness(Vertex v) {
  Accumulator a;
  a.vertex = v;
  a.of_finite = true;
  a.op = Op::logical_and;
  a.init = loop::boolean_constant(true);
  a.variable = loop::fresh_variable("finite");
  a.variable.dtype = DType::boolean;
  return a;
}

Accumulator LoopsLowering::accumulator(Vertex v) const {
  Accumulator a;
  a.vertex = v;
  const DType dtype = graph_[v].type.dtype;
  const DType operand = graph_[graph_.operand(v, 0)].type.dtype;
  a.variable = loop::fresh_variable("acc");
  a.variable.dtype = dtype;
  switch (graph_[v].op->reduction) {
    case Reduction::sum:
      a.op = Op::add;
      break;
    case Reduction::prod:
      a.op = Op::mul;
      break;
    case Reduction::max:
      a.op = Op::max;
      break;
    case Reduction::min:
      a.op = Op::min;
      break;
    case Reduction::all:
      a.op = Op::logical_and;
      break;
    case Reduction::any:
      a.op = Op::logical_or;
      break;
    case Reduction::argmax:
    case Reduction::argmin:
      a.is_arg = true;
      a.maximum = graph_[v].op->reduction == Reduction::argmax;
      a.position = loop::fresh_variable("position");
      a.variable.dtype = operand;
      a.op = a.maximum ? Op::max : Op::min;
      break;
    case Reduction::absent:
      throw InternalError("reduce op without a reduction");
  }
  a.init = loop::initial(a.op, a.variable.dtype);
  return a;
}

loop::Block LoopsLowering::declarations(const std::vector<Accumulator>& accumulators) {
  loop::Block block;
  for (const Accumulator& a : accumulators) {
    block.push_back(loop::Declare{a.variable, a.init});
    if (a.is_arg) {
      block.push_back(
          loop::Declare{a.position, loop::integer(std::numeric_limits<std::int64_t>::max())});
    }
  }
  return block;
}

loop::Block LoopsLowering::stage_body(int stage) {
  // Before anything is kept: the stage itself needs no load of what it has just computed.
  loop::Block sums;
  for (const Accumulator& a : accumulators_) {
    if (ready_[a.vertex] != stage) continue;
    const Vertex operand = graph_.operand(a.vertex, 0);
    const loop::Expr plain = context_.value(operand, cluster_.full_point());
    const loop::Expr value = a.of_finite ? is_finite(plain) : context_.checked(plain);
    if (a.is_arg) {
      const int axis = graph_[a.vertex].attributes.axes.at(0);
      const loop::Expr at = loop::variable(cluster_.variables[static_cast<std::size_t>(axis)]);
      sums.push_back(loop::AccumulateArg{a.variable, a.position, a.maximum, value, at});
    } else {
      sums.push_back(loop::Accumulate{a.variable, a.op, loop::cast(value, a.variable.dtype)});
    }
  }
  loop::Block body;
  keep_for_later(stage, body);
  append(body, std::move(sums));
  for (Vertex v : cluster_.roots) {
    if (is_full(v) && ready_[v] + 1 == stage) {
      body.push_back(context_.store_root(v, cluster_.full_point()));
    }
  }
  return body;
}

loop::Expr LoopsLowering::result(const Accumulator& a) {
  if (!a.is_arg) return loop::variable(a.variable);
  // No element at all: position 0.
  const loop::Expr position = loop::variable(a.position);
  const loop::Expr none = loop::integer(std::numeric_limits<std::int64_t>::max());
  return loop::select(loop::binary(Op::eq, position, none), loop::integer(0), position);
}

loop::Block LoopsLowering::reduce_nest(loop::Block body) {
  std::vector<loop::Variable> variables;
  Dims extents;
  for (std::size_t axis = 0; axis < cluster_.domain.size(); ++axis) {
    if (!cluster_.reduced[axis]) continue;
    variables.push_back(cluster_.variables[axis]);
    extents.push_back(cluster_.domain[axis]);
  }
  return loop::nest(variables, extents, std::move(body));
}

loop::Block LoopsLowering::results() {
  loop::Block block;
  for (Vertex v : cluster_.roots) {
    if (cluster_.reduces() && !is_full(v)) {
      block.push_back(context_.store_root(v, cluster_.outer_point()));
    }
  }
  return block;
}

loop::Block LoopsLowering::outer_nest(loop::Block body) {
  std::vector<loop::Variable> variables;
  Dims extents;
  for (std::size_t axis = 0; axis < cluster_.domain.size(); ++axis) {
    if (cluster_.reduced[axis]) continue;
    variables.push_back(cluster_.variables[axis]);
    extents.push_back(cluster_.domain[axis]);
  }
  return loop::nest(variables, extents, std::move(body));
}

std::vector<loop::Kernel> LoopsLowering::finish(loop::Kernel kernel, const Dim& work) const {
  kernel.work = loop::size(work);
  if (machine_.one_block || machine_.waiting_blocks) {
    std::vector<loop::Kernel> parts = loop::parts_apart(kernel);
    for (loop::Kernel& part : parts) {
      if (machine_.waiting_blocks) {
        loop::Kernel loops = loop::simplify(part);
        collect_buffers(loops);
        if (!loops.outputs.empty()) {
          const int first = loops.outputs[0]->id;
          context_.buffers().step_parts()[first] =
              std::make_shared<const StepPart>(StepPart{{}, false, std::move(loops)});
        }
      }
      part = schedule(part, machine_, &context_.buffers());
    }
    return parts;
  }
  if (machine_.gpu) return {schedule(kernel, machine_, &context_.buffers())};
  const Dim count = element_count(cluster_.domain);
  const bool is_small = count.is_constant() && count.constant() <= most_work_on_one_thread;
  std::vector<loop::Kernel> kernels;
  for (const loop::Kernel& part :
       loop::split_loops(loop::split_phases(loop::simplify(kernel)), !is_small)) {
    const loop::Kernel collapsed = loop::collapse_loops(part);
    for (const loop::Kernel& rows : loop::split_short_rows(collapsed, machine_.vector_bytes)) {
      kernels.push_back(schedule(rows, machine_, &context_.buffers()));
    }
  }
  return kernels;
}

Dim LoopsLowering::work() const {
  const Dim all = element_count(cluster_.domain);
  Dim sum = all;
  for (Vertex v : cluster_.members) {
    const bool reduces = graph_[v].op->kind == OpKind::reduce;
    const Dims& shape = graph_[reduces ? graph_.operand(v, 0) : v].type.shape;
    const bool is_part = std::all_of(shape.begin(), shape.end(), [&](const Dim& size) {
      return size.is_constant(1) ||
             std::count(cluster_.domain.begin(), cluster_.domain.end(), size) != 0;
    });
    sum = sum + (is_part ? element_count(shape) : all) * Dim(cost_of(v));
  }
  return sum;
}

int LoopsLowering::cost_of(Vertex v) const {
  const OpRecord& op = *graph_[v].op;
  if (!op.observable || !op.has_points() || op.arity < 2) return op.cost;
  const std::vector<bool> checked = checked_axes(graph_, v);
  return op.cost + (!checked.empty() && checked.back() ? cost_of_waiting : 0);
}

std::vector<loop::Kernel> lower_loops(KernelContext& context, const Machine& machine) {
  return LoopsLowering(context, machine).run();
}

}  // namespace kroton
