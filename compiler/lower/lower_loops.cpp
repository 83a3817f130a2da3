// Elementwise work and reductions: a loop nest over the axes that stay, and inside it one nest
// over the reduced axes per stage (a stage needs the results of the one before).
#include <kroton/error.h>

#include <algorithm>
#include <limits>
#include <optional>

#include "compiler/loop/simplify.h"
#include "compiler/lower/kernel_context.h"

namespace kroton {
namespace {

using loop::Op;
using Vertex = Graph::Vertex;
using Place = KernelContext::Place;

// Partial results of a whole-array reduction cover this many elements each, whatever the number
// of threads, so that the order of additions is always the same.
constexpr std::int64_t chunk_elements = 8192;
// Work of one element from which a value is kept for later stages rather than computed again.
constexpr int worth_keeping = 8;
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
    for (const Accumulator& a : accumulators_) {
      if (a.of_finite) context_.set_operands_finite(a.vertex, loop::variable(a.variable));
    }
    for (const Accumulator& a : accumulators_) {
      if (!a.of_finite) context_.set_value({a.vertex, cluster_.outer_point()}, result(a));
    }
    if (splits_in_chunks()) return chunked();
    loop::Kernel kernel;
    loop::Block body = declarations();
    for (int stage = 1; stage <= stages_; ++stage) {
      append(body, reduce_nest(stage_body(stage)));
    }
    append(body, results());
    kernel.body = outer_nest(std::move(body));
    return finish(std::move(kernel));
  }

 private:
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

  loop::Block declarations() {
    loop::Block block;
    for (const Accumulator& a : accumulators_) {
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
        if (machine_.gpu && !fits_shared(count, value->dtype)) continue;
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
  // kernel combines them. What is stored per element must show that chunks store apart.
  bool splits_in_chunks() const {
    if (!cluster_.reduces() || stages_ != 1) return false;
    if (std::find(cluster_.reduced.begin(), cluster_.reduced.end(), false) !=
        cluster_.reduced.end()) {
      return false;
    }
    for (const Accumulator& a : accumulators_) {
      if (a.is_arg) return false;
    }
    const bool known_rows = std::all_of(cluster_.domain.begin() + 1, cluster_.domain.end(),
                                        [](const Dim& d) { return d.is_constant(); });
    for (Vertex v : cluster_.roots) {
      if (is_full(v) && !known_rows) return false;
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
    rows_loop.body = replaced(sums, cluster_.variables[0], first + loop::variable(row));
    loop::Block body = declarations();
    body.push_back(loop::statement(std::move(rows_loop)));
    std::vector<loop::BufferRef> partials;
    for (const Accumulator& a : accumulators_) {
      partials.push_back(context_.buffers().create("partial", a.variable.dtype, chunks));
      body.push_back(
          loop::Store{partials.back(), loop::variable(chunk), loop::variable(a.variable)});
    }
    loop::Kernel first_kernel;
    first_kernel.body = loop::nest({chunk}, {chunks}, std::move(body));

    loop::Kernel second;
    loop::Block combine = declarations();
    loop::Block steps;
    for (std::size_t k = 0; k < accumulators_.size(); ++k) {
      steps.push_back(loop::Accumulate{accumulators_[k].variable, accumulators_[k].op,
                                       loop::load(partials[k], loop::variable(chunk))});
    }
    append(combine, loop::nest({chunk}, {chunks}, std::move(steps)));
    append(combine, results());
    second.body = std::move(combine);
    std::vector<loop::Kernel> kernels = finish(std::move(first_kernel));
    for (loop::Kernel& kernel : finish(std::move(second))) kernels.push_back(std::move(kernel));
    return kernels;
  }

  static loop::Block replaced(const loop::Block& block, const loop::Variable& from,
                              const loop::Expr& to) {
    const auto in = [&](const loop::Expr& e) { return loop::substitute(e, {{from, to}}); };
    loop::Block result;
    for (const loop::Stmt& stmt : block) {
      if (const auto* a = std::get_if<loop::Accumulate>(&stmt)) {
        result.push_back(loop::Accumulate{a->variable, a->op, in(a->value)});
      } else if (const auto* s = std::get_if<loop::Store>(&stmt)) {
        result.push_back(loop::Store{s->buffer, in(s->index), in(s->value)});
      } else if (const auto* f = std::get_if<std::shared_ptr<const loop::For>>(&stmt)) {
        loop::For copy = **f;
        copy.body = replaced(copy.body, from, to);
        result.push_back(loop::statement(std::move(copy)));
      } else {
        throw InternalError("chunked reduction: unexpected statement");
      }
    }
    return result;
  }

  std::vector<loop::Kernel> finish(loop::Kernel kernel) const {
    kernel.work = loop::size(work());
    if (machine_.gpu) return {schedule(kernel, machine_, &context_.buffers())};
    const Dim count = element_count(cluster_.domain);
    const bool is_small = count.is_constant() && count.constant() <= most_work_on_one_thread;
    std::vector<loop::Kernel> kernels;
    for (const loop::Kernel& part : loop::split_loops(loop::simplify(kernel), !is_small)) {
      const loop::Kernel collapsed = loop::collapse_loops(part);
      for (const loop::Kernel& rows : loop::split_short_rows(collapsed, machine_.vector_bytes)) {
        kernels.push_back(schedule(rows, machine_, &context_.buffers()));
      }
    }
    return kernels;
  }

  // Every element is visited; each member costs what it does for its own elements, a reduction for
  // those it reads.
  Dim work() const {
    Dim sum = element_count(cluster_.domain);
    for (Vertex v : cluster_.members) {
      const bool reduces = graph_[v].op->kind == OpKind::reduce;
      const Dims& shape = graph_[reduces ? graph_.operand(v, 0) : v].type.shape;
      sum = sum + element_count(shape) * Dim(graph_[v].op->cost);
    }
    return sum;
  }

  static void append(loop::Block& block, loop::Block more) {
    for (loop::Stmt& stmt : more) block.push_back(std::move(stmt));
  }

  KernelContext& context_;
  const Graph& graph_;
  const Cluster& cluster_;
  Machine machine_;
  std::map<Vertex, int> ready_;
  std::vector<Accumulator> accumulators_;
  bool lent_ = false;  // a result's memory keeps another value until the last stage
  int stages_ = 0;
  std::int64_t shared_bytes_ = 0;
};

}  // namespace

std::vector<loop::Kernel> lower_loops(KernelContext& context, const Machine& machine) {
  return LoopsLowering(context, machine).run();
}

}  // namespace kroton
