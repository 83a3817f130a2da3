// Reductions in runs, which threads share: each run leaves partial results, and a further kernel
// combines these in their order.
#include <algorithm>
#include <limits>

#include "compiler/loop/index_arithmetic.h"
#include "compiler/lower/loops_lowering.h"
#include "compiler/lower/reduction_parts.h"

namespace kroton {

using loop::Op;
using Vertex = Graph::Vertex;

namespace {

// Partial results of a whole-array reduction cover this many elements each, whatever the number
// of threads, so that the order of additions is always the same.
constexpr std::int64_t chunk_elements = 8192;
// By columns: the elements of a run of rows, and its fewest and most rows, so that partial results
// are few, and enough runs for threads to share.
constexpr std::int64_t run_elements = 32768;
constexpr std::int64_t least_run = 64;
constexpr std::int64_t most_run = 512;
constexpr std::int64_t run_of_unknown = 128;
// Rows joined of parts are code for each part: where they are cut into runs, in each with bounds
// that the run tells, so that a part of one row is a loop.
constexpr std::int64_t least_joined = 2048;
constexpr std::int64_t rows_together = 4;  // that are added to an array of sums at once
// Axes before the reduced ones that are no more leave threads without work.
constexpr std::int64_t few_outer = 8;

}  // namespace

bool LoopsLowering::splits_in_chunks() const {
  if (!cluster_.reduces() || stages_ != 1) return false;
  if (std::find(cluster_.reduced.begin(), cluster_.reduced.end(), false) !=
      cluster_.reduced.end()) {
    return false;
  }
  for (const Accumulator& a : accumulators_) {
    if (a.is_arg) return false;
  }
  const Dim count = element_count(cluster_.domain);
  return !count.is_constant() || count.constant() > chunk_elements;
}

LoopsLowering::Runs LoopsLowering::runs_of_all() const {
  Runs cut;
  for (std::size_t axis = 0; axis < cluster_.domain.size(); ++axis) cut.axes.push_back(axis);
  Dim inner = 1;
  if (cut.axes.size() > 1 && !lie_as_one(cut.axes)) {
    inner = cluster_.domain.back();
    cut.axes.pop_back();
  }
  cut.step = maximum(1, floor_div(chunk_elements, maximum(inner, 1)));
  return cut;
}

std::optional<LoopsLowering::Runs> LoopsLowering::runs_by_columns() {
  const Dims& domain = cluster_.domain;
  const auto begin = cluster_.reduced.begin();
  const auto first = std::find(begin, cluster_.reduced.end(), true);
  const auto behind = std::find(first, cluster_.reduced.end(), false);
  if (first == cluster_.reduced.end() || behind == cluster_.reduced.end() ||
      std::find(behind, cluster_.reduced.end(), true) != cluster_.reduced.end()) {
    return std::nullopt;
  }
  const auto product = [&](auto from, auto to) {
    return element_count(Dims(domain.begin() + (from - begin), domain.begin() + (to - begin)));
  };
  const Dim count = element_count(domain);
  if (count.is_constant() && count.constant() <= most_work_on_one_thread) return std::nullopt;
  const Dim outer = product(begin, first);
  const Dim columns = product(behind, cluster_.reduced.end());
  if (columns.is_constant(1)) return std::nullopt;
  // Threads share those before, if there are enough of them.
  if (!outer.is_constant() || outer.constant() > few_outer) return std::nullopt;
  std::int64_t step = run_of_unknown;
  if (columns.is_constant()) {
    step = std::clamp(run_elements / std::max<std::int64_t>(1, columns.constant()), least_run,
                      most_run);
    step -= step % rows_together;
  }
  const Dim rows = product(first, behind);
  if (rows.is_constant() && rows.constant() <= step) return std::nullopt;
  const auto inner = static_cast<std::size_t>(behind - begin) - 1;
  if (rows.is_constant() && rows.constant() < least_joined && is_joined_along(inner)) {
    return std::nullopt;
  }
  if (lies_along_rows(inner)) return std::nullopt;
  Runs cut;
  for (auto axis = first; axis != behind; ++axis) {
    cut.axes.push_back(static_cast<std::size_t>(axis - begin));
  }
  cut.step = step;
  return cut;
}

bool LoopsLowering::lie_as_one(const std::vector<std::size_t>& axes) const {
  // Whether nothing of the places of a position is left in the indices.
  const loop::Variable position = loop::fresh_variable("position");
  const auto places = places_of(axes, loop::variable(position));
  const Index point = cluster_.full_point();
  std::vector<loop::Expr> values;
  for (const Accumulator& a : accumulators_) {
    values.push_back(context_.value(graph_.operand(a.vertex, 0), point));
  }
  loop::Block indices;
  for (const loop::Expr& e : loop::post_order(values)) {
    if (e->op != Op::load) continue;
    indices.push_back(
        loop::Declare{loop::fresh_variable("index"), loop::substitute(e->args[0], places)});
  }
  indices =
      loop::simplify_indices(loop::nest({position}, {positions_of(axes)}, std::move(indices)));
  bool divides = false;
  loop::visit_expressions(indices, [&](const loop::Expr& e) {
    for (const loop::Expr& part : loop::post_order(std::span(&e, 1))) {
      const bool is_place = part->op == Op::floor_div || part->op == Op::mod;
      divides = divides || (is_place && loop::depends_on(part, position));
    }
  });
  return !divides;
}

Dim LoopsLowering::positions_of(const std::vector<std::size_t>& axes) const {
  Dim count = 1;
  for (const std::size_t axis : axes) count = count * cluster_.domain[axis];
  return count;
}

std::vector<std::pair<loop::Variable, loop::Expr>> LoopsLowering::places_of(
    const std::vector<std::size_t>& axes, const loop::Expr& position) const {
  std::vector<loop::Variable> variables;
  std::vector<loop::Expr> extents;
  for (const std::size_t axis : axes) {
    variables.push_back(cluster_.variables[axis]);
    extents.push_back(loop::size(cluster_.domain[axis]));
  }
  return loop::unflatten(variables, extents, position);
}

bool LoopsLowering::lies_along_rows(std::size_t inner) {
  const loop::Variable& summed = cluster_.variables[inner];
  const loop::Variable& last = cluster_.variables.back();
  bool along_sums = false, along_results = false;
  for (const Accumulator& a : accumulators_) {
    if (ready_[a.vertex] != 1) continue;
    const loop::Expr value = context_.value(graph_.operand(a.vertex, 0), cluster_.full_point());
    for (const loop::Expr& e : loop::post_order(std::span(&value, 1))) {
      if (e->op != Op::load) continue;
      const auto is_along = [&](const loop::Variable& v) {
        const loop::Expr step = loop::stride_of(e->args[0], v);
        std::int64_t elements = 0;
        return step && loop::is_integer_constant(step, elements) && elements == 1;
      };
      along_results = along_results || is_along(last);
      along_sums = along_sums || is_along(summed);
    }
  }
  return along_sums && !along_results;
}

bool LoopsLowering::is_joined_along(std::size_t axis) {
  for (const Accumulator& a : accumulators_) {
    if (ready_[a.vertex] != 1) continue;
    const loop::Expr value = context_.value(graph_.operand(a.vertex, 0), cluster_.full_point());
    for (const loop::Expr& e : loop::post_order(std::span(&value, 1))) {
      if (e->op == Op::select && loop::depends_on(e->args[0], cluster_.variables[axis]))
        return true;
    }
  }
  return false;
}

std::vector<loop::Kernel> LoopsLowering::in_runs(const Runs& cut) {
  in_runs_ = true;
  const Dim runs = ceil_div(positions_of(cut.axes), cut.step);
  const loop::Variable run = loop::fresh_variable("run");
  // The axes that stay, and among them the run's in place of those that are reduced.
  std::vector<loop::Variable> kept, with_runs;
  Dims kept_shape, runs_shape;
  for (std::size_t axis = 0; axis < cluster_.domain.size(); ++axis) {
    if (axis == cut.axes.front()) {
      with_runs.push_back(run);
      runs_shape.push_back(runs);
    }
    if (cluster_.reduced[axis]) continue;
    for (auto* list : {&kept, &with_runs}) list->push_back(cluster_.variables[axis]);
    for (auto* shape : {&kept_shape, &runs_shape}) shape->push_back(cluster_.domain[axis]);
  }
  int last_sums = 0;
  for (const Accumulator& a : accumulators_) last_sums = std::max(last_sums, ready_[a.vertex]);
  std::vector<loop::Kernel> kernels;
  for (int stage = 1; stage <= stages_; ++stage) {
    std::vector<Accumulator> sums = sums_of(stage);
    loop::Block body = stage_body(stage);
    loop::Kernel first;
    if (sums.empty()) {
      first.body =
          only_if(cut.are_wanted, loop::nest(cluster_.variables, cluster_.domain, std::move(body)));
      append(kernels, finish(std::move(first), work()));
      continue;
    }
    const auto index_of = [](const std::vector<loop::Variable>& variables) {
      Index index;
      for (const loop::Variable& v : variables) index.push_back(loop::variable(v));
      return index;
    };
    const loop::Expr part = linear_index(runs_shape, index_of(with_runs));
    const Dim parts = element_count(runs_shape) * cut.are_wanted;
    loop::Block of_run = declarations(sums);
    append(of_run, rows_of_run(cut, run, std::move(body)));
    const std::size_t firsts = sums.size();
    if (stage == 1 && !relative_.empty()) {
      const std::vector<Accumulator> relative = sums_of(++stage);
      append(of_run, declarations(relative));
      append(of_run, rows_of_run(cut, run, relative_body(cut, run)));
      append(sums, relative);
    }
    loop::Block combine = declarations(sums);
    loop::Block steps, relative_steps;
    std::map<Vertex, loop::Expr> of_first;
    for (std::size_t k = 0; k < sums.size(); ++k) {
      const Accumulator& a = sums[k];
      const auto partial = context_.buffers().create("partial", a.variable.dtype, parts);
      of_run.push_back(loop::Store{partial, part, loop::variable(a.variable)});
      const loop::Expr found = loop::load(partial, part);
      if (k >= firsts) {
        const Relative& relative = relative_[k - firsts];
        append(relative_steps,
               relative_step(relative, of_first, found, count_of_run(cut, run, a.variable.dtype)));
        continue;
      }
      of_first[a.vertex] = found;
      if (!a.is_arg) {
        steps.push_back(loop::Accumulate{a.variable, a.op, found});
        continue;
      }
      const auto position = context_.buffers().create("partial_position", DType::i64, parts);
      of_run.push_back(loop::Store{position, part, loop::variable(a.position)});
      steps.push_back(loop::AccumulateArg{a.variable, a.position, a.maximum, found,
                                          loop::load(position, part)});
    }
    loop::Block of_runs = loop::nest(with_runs, runs_shape, std::move(of_run));
    of_runs = machine_.gpu ? all_independent(of_runs) : independent(of_runs);
    first.body = only_if(cut.are_wanted, std::move(of_runs));
    append(kernels, finish(std::move(first), work()));
    append(combine, loop::nest({run}, {runs}, std::move(steps)));
    if (!relative_steps.empty()) {
      append(combine, loop::nest({run}, {runs}, std::move(relative_steps)));
    }
    if (stage == last_sums) append(combine, results());
    if (stage < stages_) append(combine, stored_sums(sums, cut, kept_shape, index_of(kept)));
    loop::Kernel second;
    second.body = only_if(cut.are_wanted, loop::nest(kept, kept_shape, std::move(combine)));
    append(kernels, finish(std::move(second), parts));
  }
  return kernels;
}

std::vector<Accumulator> LoopsLowering::sums_of(int stage) {
  std::vector<Accumulator> sums;
  for (const Accumulator& a : accumulators_) {
    if (ready_[a.vertex] == stage) sums.push_back(a);
  }
  return sums;
}

const Accumulator& LoopsLowering::accumulator_of(Vertex v) const {
  return *std::find_if(accumulators_.begin(), accumulators_.end(),
                       [&](const Accumulator& a) { return a.vertex == v; });
}

std::vector<std::size_t> LoopsLowering::not_cut(const Runs& cut) const {
  std::vector<std::size_t> axes;
  for (std::size_t axis = 0; axis < cluster_.domain.size(); ++axis) {
    if (!cluster_.reduced[axis]) continue;
    if (std::find(cut.axes.begin(), cut.axes.end(), axis) == cut.axes.end()) axes.push_back(axis);
  }
  return axes;
}

loop::Expr LoopsLowering::rows_in_run(const Runs& cut, const loop::Variable& run) const {
  const loop::Expr first = loop::variable(run) * loop::size(cut.step);
  return loop::binary(Op::min, loop::size(cut.step), loop::size(positions_of(cut.axes)) - first);
}

loop::Expr LoopsLowering::count_of_run(const Runs& cut, const loop::Variable& run,
                                       DType dtype) const {
  Dim others = 1;
  for (const std::size_t axis : not_cut(cut)) others = others * cluster_.domain[axis];
  return loop::cast(rows_in_run(cut, run) * loop::size(others), dtype);
}

loop::Block LoopsLowering::relative_body(const Runs& cut, const loop::Variable& run) {
  loop::Block body;
  std::size_t next = 0;
  for (const loop::Stmt& s : stage_body(2)) {
    const auto* sum = std::get_if<loop::Accumulate>(&s);
    const Relative* relative = sum != nullptr ? &relative_[next++] : nullptr;
    if (relative == nullptr || relative->kind == OfRun::exponentials) {
      body.push_back(s);
      continue;
    }
    const Accumulator& first = accumulator_of(relative->first);
    const loop::Expr mean = loop::binary(Op::div, loop::variable(first.variable),
                                         count_of_run(cut, run, first.variable.dtype));
    loop::Rewriter rewrite([&](const loop::Expr& e) { return e == relative->centre ? mean : e; });
    body.push_back(loop::Accumulate{sum->variable, sum->op, rewrite(sum->value)});
  }
  return body;
}

loop::Block LoopsLowering::relative_step(const Relative& relative,
                                         const std::map<Vertex, loop::Expr>& of_first,
                                         const loop::Expr& sum_of_run,
                                         const loop::Expr& count_of_run) const {
  const Accumulator& sum = accumulator_of(relative.sum);
  const DType dtype = sum.variable.dtype;
  loop::Expr own = of_first.at(relative.first), brought;
  if (relative.kind == OfRun::exponentials) {
    // A run of elements that are all -inf has no sum of its own.
    const loop::Expr factor = loop::unary(Op::exp, loop::binary(Op::sub, own, relative.centre));
    const loop::Expr none = loop::real(-std::numeric_limits<double>::infinity(), dtype);
    brought = loop::select(loop::binary(Op::eq, own, none), loop::real(0, dtype),
                           loop::binary(Op::mul, sum_of_run, factor));
  } else {
    // Distances from another centre are larger by the distance of both, squares, which have no
    // sum of distances beside them, by its square.
    own = loop::binary(Op::div, own, count_of_run);
    const loop::Expr moved = loop::binary(Op::sub, own, relative.centre);
    const bool is_square = relative.kind == OfRun::squares;
    const loop::Expr more =
        loop::binary(Op::mul, is_square ? count_of_run : of_first.at(relative.weights),
                     is_square ? loop::binary(Op::mul, moved, moved) : moved);
    brought = loop::binary(Op::add, sum_of_run, more);
  }
  // The same one needs nothing, infinite ones above all.
  const loop::Expr is_same = loop::binary(Op::eq, own, relative.centre);
  return {loop::Accumulate{sum.variable, Op::add, loop::select(is_same, sum_of_run, brought)}};
}

loop::Block LoopsLowering::rows_of_run(const Runs& cut, const loop::Variable& run,
                                       loop::Block body) {
  std::vector<loop::Variable> variables;
  Dims extents;
  for (const std::size_t axis : not_cut(cut)) {
    variables.push_back(cluster_.variables[axis]);
    extents.push_back(cluster_.domain[axis]);
  }
  const loop::Expr first = loop::variable(run) * loop::size(cut.step);
  loop::For rows;
  rows.variable = loop::fresh_variable("row");
  rows.extent = rows_in_run(cut, run);
  rows.body = loop::substitute(loop::nest(variables, extents, std::move(body)),
                               places_of(cut.axes, first + loop::variable(rows.variable)));
  return {loop::statement(std::move(rows))};
}

loop::Block LoopsLowering::all_independent(const loop::Block& nest) {
  return loop::replace_loops(nest, [](const loop::For& found, loop::Block& result) {
    loop::For loop = found;
    loop.is_independent = true;
    loop.body = all_independent(loop.body);
    result.push_back(loop::statement(std::move(loop)));
  });
}

loop::Block LoopsLowering::stored_sums(const std::vector<Accumulator>& sums, const Runs& cut,
                                       const Dims& shape, const Index& index) {
  loop::Block block;
  const loop::Expr at = linear_index(shape, index);
  const auto kept = [&](const loop::Expr& value) {
    const auto buffer =
        context_.buffers().create("acc", value->dtype, element_count(shape) * cut.are_wanted);
    block.push_back(loop::Store{buffer, at, value});
    return loop::load(buffer, at);
  };
  // What is known of a value goes with it.
  for (const Accumulator& a : sums) {
    if (a.of_finite) context_.set_operands_finite(a.vertex, kept(loop::variable(a.variable)));
  }
  for (const Accumulator& a : sums) {
    if (!a.of_finite) {
      context_.set_value({a.vertex, cluster_.outer_point()}, kept(result(a)));
    }
  }
  return block;
}

loop::Block LoopsLowering::independent(const loop::Block& nest) {
  return loop::replace_loops(nest, [](const loop::For& found, loop::Block& result) {
    loop::For loop = found;
    loop.is_independent = true;
    result.push_back(loop::statement(std::move(loop)));
  });
}

}  // namespace kroton
