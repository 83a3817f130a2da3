// Elementwise work and reductions: a loop nest over the axes that stay, and inside it one nest
// over the reduced axes per stage (a stage needs the results of the one before).
#include <kroton/error.h>

#include <algorithm>
#include <limits>
#include <optional>

#include "compiler/loop/simplify.h"
#include "compiler/lower/kernel_context.h"
#include "compiler/lower/reduction_parts.h"

namespace kroton {
namespace {

using loop::Op;
using Vertex = Graph::Vertex;
using Place = KernelContext::Place;

// Partial results of a whole-array reduction cover this many elements each, whatever the number
// of threads, so that the order of additions is always the same.
constexpr std::int64_t chunk_elements = 8192;
// By columns: the elements of a run of rows, and its fewest and most rows, so that partial results
// are few, and enough runs for threads to share.
constexpr std::int64_t run_elements = 32768;
constexpr std::int64_t least_run = 64;
constexpr std::int64_t most_run = 512;
constexpr std::int64_t run_of_unknown = 128;
constexpr std::int64_t rows_together = 4;  // that are added to an array of sums at once
// Axes before the reduced ones that are no more leave threads without work.
constexpr std::int64_t few_outer = 8;
// Work of one element from which a value is kept for later stages rather than computed again.
constexpr int worth_keeping = 8;
constexpr int cost_of_waiting = 8;  // for an element of a table
// On a GPU rows are kept in shared memory: those longer than what one thread does alone, as long as
// all of a kernel's leave room for several blocks on a processor.
constexpr std::int64_t least_shared_row = 17;  // elements

struct Accumulator {
  Vertex vertex;
  Op op = Op::add;
  loop::Variable variable;
  loop::Variable position;  // argmax and argmin
  bool is_arg = false;
  bool maximum = false;
  bool of_finite = false;  // whether all elements are finite, rather than the elements
  loop::Expr init;
};

class LoopsLowering {
 public:
  LoopsLowering(KernelContext& context, const Machine& machine)
      : context_(context),
        graph_(context.graph()),
        cluster_(context.cluster()),
        machine_(machine) {}

  std::vector<loop::Kernel> run() {
    find_stages();
    // Statements read an accumulator in the stages after its own.
    use_accumulators();
    if (machine_.gpu) return for_gpu();
    if (splits_in_chunks()) return chunked();
    if (const std::optional<Runs> runs = runs_by_columns()) return in_runs(*runs);
    return finish(whole(), work());
  }

 private:
  void use_accumulators() {
    for (const Accumulator& a : accumulators_) {
      if (a.of_finite) context_.set_operands_finite(a.vertex, loop::variable(a.variable));
    }
    for (const Accumulator& a : accumulators_) {
      if (!a.of_finite) context_.set_value({a.vertex, cluster_.outer_point()}, result(a));
    }
  }

  // All in one kernel.
  loop::Kernel whole() {
    loop::Kernel kernel;
    loop::Block body = declarations(accumulators_);
    for (int stage = 1; stage <= stages_; ++stage) {
      append(body, reduce_nest(stage_body(stage)));
    }
    append(body, results());
    kernel.body = outer_nest(std::move(body));
    return kernel;
  }

  // Few results of long reductions by runs, which many blocks share. Where the sizes are not known,
  // kernels of both kinds, of which the host starts those that suit them.
  std::vector<loop::Kernel> for_gpu() {
    std::optional<ReductionParts> parts;
    if (cluster_.reduces() && !machine_.one_block) {
      const std::optional<std::size_t> last = last_before_results();
      const bool by_columns = last && !lies_along_rows(*last);
      if (!by_columns && sums_relative_to_most()) {
        parts = register_parts(cluster_.domain, cluster_.reduced);
        at_once_ = parts.has_value();
      }
      if (!parts) parts = reduction_parts(cluster_.domain, cluster_.reduced, by_columns, stages_);
    }
    if (!parts) return rows_or_all(1);
    std::vector<loop::Kernel> kernels = in_runs({parts->axis, parts->step, parts->are_wanted});
    if (parts->are_wanted.is_constant()) return kernels;
    use_accumulators();
    in_runs_ = at_once_ = false;
    append(kernels, rows_or_all(1 - parts->are_wanted));
    return kernels;
  }

  // Whether the first stage is a maximum and the second one adds up exponentials relative to it, as
  // a softmax does. Then a run may take its own maximum, and its sum is brought to that of all.
  bool sums_relative_to_most() {
    const Accumulator* most = nullptr;
    const Accumulator* sum = nullptr;
    for (const Accumulator& a : accumulators_) {
      const int stage = ready_[a.vertex];
      if (stage > 2) continue;
      const Accumulator*& one = stage == 1 ? most : sum;
      if (one != nullptr || a.is_arg || a.of_finite || !is_float(a.variable.dtype)) return false;
      one = &a;
    }
    const bool stores = std::any_of(cluster_.roots.begin(), cluster_.roots.end(),
                                    [&](Vertex v) { return is_full(v) && ready_[v] < 2; });
    if (most == nullptr || sum == nullptr || stores || most->op != Op::max || sum->op != Op::add ||
        most->variable.dtype != sum->variable.dtype) {
      return false;
    }
    const Index point = cluster_.full_point();
    const loop::Expr element = context_.value(graph_.operand(most->vertex, 0), point);
    const loop::Expr power = context_.value(graph_.operand(sum->vertex, 0), point);
    return power->op == Op::exp && power->args[0]->op == Op::sub &&
           power->args[0]->args[0] == element &&
           power->args[0]->args[1] == loop::variable(most->variable);
  }

  // One kernel; of rows whose length is not known, one for those that are short, one for those that
  // are not, and, if that brings something, one for those that fit in registers.
  std::vector<loop::Kernel> rows_or_all(const Dim& are_wanted) {
    const loop::Kernel kernel = whole();
    const auto where = [&](const Dim& flag) {
      loop::Kernel one = kernel;
      one.body = only_if(flag, kernel.body);
      return finish(std::move(one), work());
    };
    const std::optional<Dim> length = row_length();
    if (!length || length->is_constant() || machine_.one_block) return where(are_wanted);
    const Dim are_long = minimum(1, floor_div(*length, Machine::warp_row + 1));
    machine_.longest_row = Machine::warp_row;
    std::vector<loop::Kernel> kernels = where(are_wanted * (1 - are_long));
    machine_.longest_row = 0;
    const loop::For* blocks = loop::as_for(kernels[0].body.back());
    // Threads may be dealt out otherwise than by rows: then one kernel is for all.
    if (blocks == nullptr || blocks->width != Machine::warp) return where(are_wanted);
    const Dim are_longer = minimum(1, floor_div(*length, Machine::block_row + 1));
    machine_.longest_row = Machine::block_row;
    std::vector<loop::Kernel> held = where(are_wanted * are_long * (1 - are_longer));
    machine_.longest_row = 0;
    if (!holds_rows(held[0])) {
      append(kernels, where(are_wanted * are_long));
      return kernels;
    }
    append(kernels, std::move(held));
    append(kernels, where(are_wanted * are_longer));
    return kernels;
  }

  // Whether threads keep their elements of a row.
  static bool holds_rows(const loop::Kernel& kernel) {
    bool holds = false;
    loop::visit_statements(kernel.body, [&](const loop::Stmt& s) {
      const auto* array = std::get_if<loop::Allocate>(&s);
      holds = holds || (array != nullptr && array->buffer->space == loop::Space::registers);
    });
    return holds;
  }

  // Of each of several rows that are reduced along the last axis; nothing for those that are known
  // to be long.
  std::optional<Dim> row_length() const {
    Dim length = 1;
    std::int64_t least = 1;
    bool is_along = false, are_several = false;
    for (std::size_t axis = 0; axis < cluster_.domain.size(); ++axis) {
      if (cluster_.domain[axis].is_constant(1)) continue;
      is_along = cluster_.reduced[axis];
      are_several = are_several || !is_along;
      if (!is_along) continue;
      length = length * cluster_.domain[axis];
      if (cluster_.domain[axis].is_constant()) least *= cluster_.domain[axis].constant();
    }
    return is_along && are_several && least <= Machine::warp_row ? std::optional(length)
                                                                 : std::nullopt;
  }

  // The last of the reduced axes if the last of all axes with more than one position is none.
  std::optional<std::size_t> last_before_results() const {
    std::optional<std::size_t> last;
    bool is_along = false;
    for (std::size_t axis = 0; axis < cluster_.domain.size(); ++axis) {
      if (cluster_.domain[axis].is_constant(1)) continue;
      is_along = cluster_.reduced[axis];
      if (is_along) last = axis;
    }
    return is_along ? std::nullopt : last;
  }

  // How many stages must have run before each member's value is known.
  void find_stages() {
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

  bool is_full(Vertex v) const {
    return graph_[v].op->kind != OpKind::reduce &&
           graph_[v].type.shape.size() == cluster_.domain.size();
  }

  // A maximum of finite numbers is one of them.
  static bool may_overflow(const Accumulator& a) {
    return is_float(a.variable.dtype) && !a.is_arg && (a.op == Op::add || a.op == Op::mul);
  }

  static Accumulator finiteness(Vertex v) {
    Accumulator a;
    a.vertex = v;
    a.of_finite = true;
    a.op = Op::logical_and;
    a.init = loop::boolean_constant(true);
    a.variable = loop::fresh_variable("finite");
    a.variable.dtype = DType::boolean;
    return a;
  }

  Accumulator accumulator(Vertex v) const {
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

  static loop::Block declarations(const std::vector<Accumulator>& accumulators) {
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

  loop::Block stage_body(int stage) {
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

  static loop::Expr result(const Accumulator& a) {
    if (!a.is_arg) return loop::variable(a.variable);
    // No element at all: position 0.
    const loop::Expr position = loop::variable(a.position);
    const loop::Expr none = loop::integer(std::numeric_limits<std::int64_t>::max());
    return loop::select(loop::binary(Op::eq, position, none), loop::integer(0), position);
  }

  bool fits_shared(const Dim& count, DType dtype) {
    if (!count.is_constant() || count.constant() < least_shared_row) return false;
    const std::int64_t bytes = count.constant() * size_of(dtype);
    if (shared_bytes_ + bytes > machine_.block_shared_bytes) return false;
    shared_bytes_ += bytes;
    return true;
  }

  // Costly values that a later stage computes again, of the same vertex at the same index, are kept
  // and read from there at once: on a CPU where the result goes in the end, if its last stage reads
  // them there, else in a row of scratch memory. Users come before operands: what only kept values
  // are computed from is not kept.
  void keep_for_later(int stage, loop::Block& body) {
    if (stage == stages_) return;
    const std::vector<Place> now = costly_in(stage);
    std::vector<loop::Expr> values, checked;  // before any of them is a load
    for (const Place& place : now) {
      values.push_back(context_.value(place.vertex, place.index));
      checked.push_back(context_.checked(values.back()));
    }
    std::vector<Place> later = costly_after(stage);
    for (std::size_t k = now.size(); k-- > 0;) {
      const Place& place = now[k];
      const loop::Expr& value = values[k];
      if (std::find(later.begin(), later.end(), place) == later.end()) continue;
      loop::BufferRef buffer;
      loop::Expr index;
      if (const std::optional<Vertex> result = lend_result(value->dtype)) {
        buffer = context_.buffers().of(*result);
        index = linear_index(cluster_.domain, cluster_.full_point());
      } else {
        Dims row;
        Index at;
        for (std::size_t axis = 0; axis < cluster_.domain.size(); ++axis) {
          if (!cluster_.reduced[axis]) continue;
          row.push_back(cluster_.domain[axis]);
          at.push_back(loop::variable(cluster_.variables[axis]));
        }
        const Dim count = element_count(row);
        if (in_runs_ || (machine_.gpu && !fits_shared(count, value->dtype))) continue;
        buffer = context_.buffers().create(
            "row", value->dtype, count, machine_.gpu ? loop::Space::shared : loop::Space::worker);
        index = linear_index(row, at);
      }
      body.push_back(loop::Store{buffer, index, checked[k]});
      context_.set_value(place, loop::load(buffer, index));
      later = costly_after(stage);
    }
  }

  // The result whose memory can hold a value of this dtype until the last stage replaces it,
  // element by element: the one that is stored last, once. On a GPU shared memory is nearer.
  std::optional<Vertex> lend_result(DType dtype) {
    std::optional<Vertex> last;
    for (Vertex v : cluster_.roots) {
      if (is_full(v) && ready_.at(v) + 1 == stages_) last = v;
    }
    if (machine_.gpu || lent_ || !last || graph_[*last].type.dtype != dtype) return std::nullopt;
    lent_ = true;
    return last;
  }

  // The costly values that a stage's statements compute for each element of a row, operands before
  // users.
  std::vector<Place> costly_in(int stage) {
    context_.forget_values();
    const Index point = cluster_.full_point();
    for (const Accumulator& a : accumulators_) {
      if (ready_[a.vertex] == stage) context_.value(graph_.operand(a.vertex, 0), point);
    }
    for (Vertex v : cluster_.roots) {
      if (is_full(v) && ready_[v] + 1 == stage) context_.value(v, point);
    }
    std::vector<Place> costly;
    for (const Place& place : context_.computed()) {
      if (graph_[place.vertex].op->cost >= worth_keeping && runs_along_row(place.index)) {
        costly.push_back(place);
      }
    }
    return costly;
  }

  std::vector<Place> costly_after(int stage) {
    std::vector<Place> costly;
    for (int later = stage + 1; later <= stages_; ++later) {
      for (Place& place : costly_in(later)) costly.push_back(std::move(place));
    }
    return costly;
  }

  // Whether the index differs from element to element of a row.
  bool runs_along_row(const Index& index) const {
    for (std::size_t axis = 0; axis < cluster_.domain.size(); ++axis) {
      if (!cluster_.reduced[axis] || cluster_.domain[axis].is_constant(1)) continue;
      const bool runs = std::any_of(index.begin(), index.end(), [&](const loop::Expr& e) {
        return loop::depends_on(e, cluster_.variables[axis]);
      });
      if (!runs) return false;
    }
    return true;
  }

  loop::Block reduce_nest(loop::Block body) {
    std::vector<loop::Variable> variables;
    Dims extents;
    for (std::size_t axis = 0; axis < cluster_.domain.size(); ++axis) {
      if (!cluster_.reduced[axis]) continue;
      variables.push_back(cluster_.variables[axis]);
      extents.push_back(cluster_.domain[axis]);
    }
    return loop::nest(variables, extents, std::move(body));
  }

  // Roots over the outer axes.
  loop::Block results() {
    loop::Block block;
    for (Vertex v : cluster_.roots) {
      if (cluster_.reduces() && !is_full(v)) {
        block.push_back(context_.store_root(v, cluster_.outer_point()));
      }
    }
    return block;
  }

  loop::Block outer_nest(loop::Block body) {
    std::vector<loop::Variable> variables;
    Dims extents;
    for (std::size_t axis = 0; axis < cluster_.domain.size(); ++axis) {
      if (cluster_.reduced[axis]) continue;
      variables.push_back(cluster_.variables[axis]);
      extents.push_back(cluster_.domain[axis]);
    }
    return loop::nest(variables, extents, std::move(body));
  }

  // A reduction of a whole array can use threads: each chunk leaves partial results, and a second
  // kernel combines them.
  bool splits_in_chunks() const {
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

  std::vector<loop::Kernel> chunked() {
    // Chunks are runs of rows along the first axis.
    const Dim rows = cluster_.domain[0];
    Dim inner = 1;
    for (std::size_t axis = 1; axis < cluster_.domain.size(); ++axis)
      inner = inner * cluster_.domain[axis];
    const Dim step = maximum(1, floor_div(chunk_elements, maximum(inner, 1)));
    const Dim chunks = ceil_div(rows, step);
    const loop::Variable chunk = loop::fresh_variable("chunk");
    const loop::Variable row = loop::fresh_variable("row");
    const loop::Expr first = loop::variable(chunk) * loop::size(step);

    loop::Block sums = stage_body(1);
    std::vector<loop::Variable> variables(cluster_.variables.begin() + 1, cluster_.variables.end());
    Dims extents(cluster_.domain.begin() + 1, cluster_.domain.end());
    sums = loop::nest(variables, extents, std::move(sums));
    loop::For rows_loop;
    rows_loop.variable = row;
    rows_loop.extent = loop::binary(Op::min, loop::size(step), loop::size(rows) - first);
    rows_loop.body = loop::substitute(sums, {{cluster_.variables[0], first + loop::variable(row)}});
    loop::Block body = declarations(accumulators_);
    body.push_back(loop::statement(std::move(rows_loop)));
    std::vector<loop::BufferRef> partials;
    for (const Accumulator& a : accumulators_) {
      partials.push_back(context_.buffers().create("partial", a.variable.dtype, chunks));
      body.push_back(
          loop::Store{partials.back(), loop::variable(chunk), loop::variable(a.variable)});
    }
    loop::Kernel first_kernel;
    first_kernel.body = independent(loop::nest({chunk}, {chunks}, std::move(body)));

    loop::Kernel second;
    loop::Block combine = declarations(accumulators_);
    loop::Block steps;
    for (std::size_t k = 0; k < accumulators_.size(); ++k) {
      steps.push_back(loop::Accumulate{accumulators_[k].variable, accumulators_[k].op,
                                       loop::load(partials[k], loop::variable(chunk))});
    }
    append(combine, loop::nest({chunk}, {chunks}, std::move(steps)));
    append(combine, results());
    second.body = std::move(combine);
    std::vector<loop::Kernel> kernels = finish(std::move(first_kernel), work());
    append(kernels, finish(std::move(second), chunks));
    return kernels;
  }

  // A reduction in runs of positions of one axis, which threads share.
  struct Runs {
    std::size_t axis;
    Dim step;            // positions of a run
    Dim are_wanted = 1;  // or 0: nothing is to be done
  };

  // Reductions whose results lie next to each other in memory, of many rows: by runs of rows.
  std::optional<Runs> runs_by_columns() {
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
    const Dim together = product(first + 1, behind);  // rows of one position of the first axis
    const Dim columns = product(behind, cluster_.reduced.end());
    if (columns.is_constant(1)) return std::nullopt;
    // Threads share those before, if there are enough of them.
    if (!outer.is_constant() || outer.constant() > few_outer) return std::nullopt;
    std::int64_t step = run_of_unknown;
    if (columns.is_constant() && together.is_constant() && together.constant() > 0) {
      const std::int64_t least = std::max<std::int64_t>(1, least_run / together.constant());
      const std::int64_t most = std::max<std::int64_t>(least, most_run / together.constant());
      step = std::clamp(
          run_elements / std::max<std::int64_t>(1, columns.constant() * together.constant()), least,
          most);
      if (step > rows_together) step -= step % rows_together;
    }
    const Dim& rows = domain[static_cast<std::size_t>(first - begin)];
    if (rows.is_constant() && rows.constant() <= step) return std::nullopt;
    if (lies_along_rows(static_cast<std::size_t>(behind - begin) - 1)) return std::nullopt;
    return Runs{static_cast<std::size_t>(first - begin), step};
  }

  // Whether operands are contiguous along what is summed, the axis `inner`, and none along the
  // results, as in the product of a vector and a transposed matrix.
  bool lies_along_rows(std::size_t inner) {
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

  // For each stage a kernel that leaves partial results of each run, or stores, and one that
  // combines the partial ones in their order, whatever the number of threads.
  std::vector<loop::Kernel> in_runs(const Runs& cut) {
    in_runs_ = true;
    const Dim runs = ceil_div(cluster_.domain[cut.axis], cut.step);
    const loop::Variable run = loop::fresh_variable("run");
    // The axes that stay, and among them the run's in place of those that are reduced.
    std::vector<loop::Variable> kept, with_runs;
    Dims kept_shape, runs_shape;
    for (std::size_t axis = 0; axis < cluster_.domain.size(); ++axis) {
      if (axis == cut.axis) {
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
        first.body = only_if(cut.are_wanted,
                             loop::nest(cluster_.variables, cluster_.domain, std::move(body)));
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
      if (at_once_ && stage == 1) {
        const std::vector<Accumulator> relative = sums_of(++stage);
        append(of_run, declarations(relative));
        append(of_run, rows_of_run(cut, run, stage_body(stage)));
        append(sums, relative);
      }
      loop::Block combine = declarations(sums);
      loop::Block steps;
      loop::Expr most_of_run;
      for (const Accumulator& a : sums) {
        const auto partial = context_.buffers().create("partial", a.variable.dtype, parts);
        of_run.push_back(loop::Store{partial, part, loop::variable(a.variable)});
        if (at_once_ && stage == 2 && &a == &sums.back()) {
          append(combine, loop::nest({run}, {runs}, std::move(steps)));
          steps = relative_steps(sums[0], most_of_run, a, loop::load(partial, part));
          continue;
        }
        if (!a.is_arg) {
          most_of_run = loop::load(partial, part);
          steps.push_back(loop::Accumulate{a.variable, a.op, most_of_run});
          continue;
        }
        const auto position = context_.buffers().create("partial_position", DType::i64, parts);
        of_run.push_back(loop::Store{position, part, loop::variable(a.position)});
        steps.push_back(loop::AccumulateArg{a.variable, a.position, a.maximum,
                                            loop::load(partial, part), loop::load(position, part)});
      }
      first.body = only_if(cut.are_wanted,
                           independent(loop::nest(with_runs, runs_shape, std::move(of_run))));
      append(kernels, finish(std::move(first), work()));
      append(combine, loop::nest({run}, {runs}, std::move(steps)));
      if (stage == last_sums) append(combine, results());
      if (stage < stages_) append(combine, stored_sums(sums, cut, kept_shape, index_of(kept)));
      loop::Kernel second;
      second.body = only_if(cut.are_wanted, loop::nest(kept, kept_shape, std::move(combine)));
      append(kernels, finish(std::move(second), parts));
    }
    return kernels;
  }

  std::vector<Accumulator> sums_of(int stage) {
    std::vector<Accumulator> sums;
    for (const Accumulator& a : accumulators_) {
      if (ready_[a.vertex] == stage) sums.push_back(a);
    }
    return sums;
  }

  // Adds the sum of a run, which is relative to the run's maximum, to one relative to that of all.
  // A run of elements that are all -inf has no sum of its own.
  static loop::Block relative_steps(const Accumulator& most, const loop::Expr& most_of_run,
                                    const Accumulator& sum, const loop::Expr& of_run) {
    const loop::Expr all = loop::variable(most.variable);
    const DType dtype = most.variable.dtype;
    const loop::Expr factor = loop::unary(Op::exp, loop::binary(Op::sub, most_of_run, all));
    const loop::Expr none = loop::real(-std::numeric_limits<double>::infinity(), dtype);
    const loop::Expr brought =
        loop::select(loop::binary(Op::eq, most_of_run, none), loop::real(0, dtype),
                     loop::binary(Op::mul, of_run, factor));
    return {
        loop::Accumulate{sum.variable, Op::add,
                         loop::select(loop::binary(Op::eq, most_of_run, all), of_run, brought)}};
  }

  // The reduced axes' loops around the body, for the rows of one run.
  loop::Block rows_of_run(const Runs& cut, const loop::Variable& run, loop::Block body) {
    std::vector<loop::Variable> variables;
    Dims extents;
    for (std::size_t axis = 0; axis < cluster_.domain.size(); ++axis) {
      if (!cluster_.reduced[axis] || axis == cut.axis) continue;
      variables.push_back(cluster_.variables[axis]);
      extents.push_back(cluster_.domain[axis]);
    }
    const loop::Expr first = loop::variable(run) * loop::size(cut.step);
    loop::For rows;
    rows.variable = loop::fresh_variable("row");
    rows.extent =
        loop::binary(Op::min, loop::size(cut.step), loop::size(cluster_.domain[cut.axis]) - first);
    rows.body =
        loop::substitute(loop::nest(variables, extents, std::move(body)),
                         {{cluster_.variables[cut.axis], first + loop::variable(rows.variable)}});
    const loop::Block nest{loop::statement(std::move(rows))};
    return machine_.gpu ? all_independent(nest) : nest;
  }

  // No iteration of any of the loops touches what another one stores.
  static loop::Block all_independent(const loop::Block& nest) {
    return loop::replace_loops(nest, [](const loop::For& found, loop::Block& result) {
      loop::For loop = found;
      loop.is_independent = true;
      loop.body = all_independent(loop.body);
      result.push_back(loop::statement(std::move(loop)));
    });
  }

  // Keeps the results of a stage in memory, from where the stages after it read them.
  loop::Block stored_sums(const std::vector<Accumulator>& sums, const Runs& cut, const Dims& shape,
                          const Index& index) {
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

  // No iteration of any of the loops around the innermost one touches what another one stores.
  static loop::Block independent(const loop::Block& nest) {
    return loop::replace_loops(nest, [](const loop::For& found, loop::Block& result) {
      loop::For loop = found;
      loop.is_independent = true;
      result.push_back(loop::statement(std::move(loop)));
    });
  }

  std::vector<loop::Kernel> finish(loop::Kernel kernel, const Dim& work) const {
    kernel.work = loop::size(work);
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

  // Every element is visited; each member costs what it does for its own elements, a reduction for
  // those it reads. Of what has other sizes than the domain, as a table that is looked up, so many
  // elements are computed as are asked for.
  Dim work() const {
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

  // Of an element. One that lies anywhere, another anywhere for each, is waited for.
  int cost_of(Vertex v) const {
    const OpRecord& op = *graph_[v].op;
    if (!op.observable || !op.has_points() || op.arity < 2) return op.cost;
    const std::vector<bool> checked = checked_axes(graph_, v);
    return op.cost + (!checked.empty() && checked.back() ? cost_of_waiting : 0);
  }

  template <class T>
  static void append(std::vector<T>& list, std::vector<T> more) {
    for (T& one : more) list.push_back(std::move(one));
  }

  KernelContext& context_;
  const Graph& graph_;
  const Cluster& cluster_;
  Machine machine_;
  std::map<Vertex, int> ready_;
  std::vector<Accumulator> accumulators_;
  bool at_once_ = false;  // runs have their own maximum and the sum relative to it
  bool in_runs_ = false;  // no stage leaves anything in scratch memory for the next
  bool lent_ = false;     // a result's memory keeps another value until the last stage
  int stages_ = 0;
  std::int64_t shared_bytes_ = 0;
};

}  // namespace

std::vector<loop::Kernel> lower_loops(KernelContext& context, const Machine& machine) {
  return LoopsLowering(context, machine).run();
}

}  // namespace kroton
