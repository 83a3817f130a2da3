#include "compiler/lower/checks.h"

#include <kroton/error.h>

#include <algorithm>
#include <set>
#include <unordered_set>

#include "compiler/loop/traverse.h"

namespace kroton {
namespace {

using loop::Expr;
using loop::Op;

// What memory is filled with: a NaN that no operation makes, an index out of range, true. Every two
// bytes are the same.
constexpr std::int64_t filled_bits = 0x7ffc7ffc7ffc7ffc;

Expr filling(DType dtype) {
  return is_float(dtype) ? loop::bitcast(loop::integer(filled_bits, integer_of_size(dtype)), dtype)
                         : loop::integer(filled_bits, dtype);
}

Expr both(const Expr& a, const Expr& b) { return loop::binary(Op::logical_and, a, b); }

CheckSite memory_site(const loop::Kernel& kernel, const std::string& what) {
  return {"kernel " + kernel.name + " " + what + "  [" + kernel.source + "]",
          CheckSite::Kind::memory};
}

// The kernels of a Program, one after the other.
class MemoryChecker {
 public:
  MemoryChecker(Program& program, BufferTable& buffers, const Machine& machine)
      : program_(program), buffers_(buffers), machine_(machine) {}

  void run() {
    count_uses(program_.steps, all_);
    std::set<int> filled;
    program_.steps = checked(program_.steps, filled);
  }

 private:
  // How often buffers are used, by Buffer::id of the whole, and which are used in parts.
  struct Uses {
    std::map<int, int> count;
    std::map<int, loop::BufferRef> buffers;
    std::set<int> in_parts;
  };

  void note(loop::BufferRef buffer, Uses& uses) const {
    const auto placed = program_.placements.find(buffer->id);
    const bool part =
        placed != program_.placements.end() && placed->second.kind == Placement::Kind::part;
    if (part) buffer = placed->second.of;
    ++uses.count[buffer->id];
    uses.buffers[buffer->id] = buffer;
    if (part) uses.in_parts.insert(buffer->id);
  }

  void count_uses(const std::vector<Step>& steps, Uses& uses) const {
    for (const Step& step : steps) count_uses(step, uses);
  }
  void count_uses(const Step& step, Uses& uses) const {
    for_each_buffer(step, [&](const loop::BufferRef& buffer) { note(buffer, uses); });
    for_each_inner(step, [&](const auto& inner) { count_uses(inner, uses); });
  }

  // Whether a whole buffer holds nothing before the Program writes to it: not so arguments,
  // constants and shared variables.
  bool begins_empty(const loop::BufferRef& buffer) const {
    const auto placed = program_.placements.find(buffer->id);
    if (placed == program_.placements.end()) return true;
    const Placement& place = placed->second;
    const std::size_t given = program_.inputs.size() + program_.states.size();
    return place.kind == Placement::Kind::argument &&
           static_cast<std::size_t>(place.argument) >= given;
  }

  std::vector<Step> checked(const std::vector<Step>& steps, std::set<int>& filled) {
    std::vector<Step> result;
    for (const Step& step : steps) {
      const bool repeats = as<Scan>(step) != nullptr;
      Uses uses;
      count_uses(step, uses);
      for (const auto& [id, buffer] : uses.buffers) {
        // What one iteration leaves to the next, or to others, is filled once; what it keeps for
        // itself, in each.
        const bool own =
            repeats && uses.count.at(id) == all_.count.at(id) && !uses.in_parts.count(id);
        if (own || !begins_empty(buffer) || !filled.insert(id).second) continue;
        result.push_back({fill_kernel(buffer)});
      }
      if (const auto* kernel = as<loop::Kernel>(step)) {
        result.emplace_back().kind = checked(*kernel);
        continue;
      }
      std::set<int> inside = filled;
      result.push_back(with_inner(
          step, [&](const auto& inner) { return checked(inner, repeats ? inside : filled); }));
    }
    return result;
  }

  loop::Kernel fill_kernel(const loop::BufferRef& buffer) {
    const loop::Variable i = loop::fresh_variable("i");
    loop::Kernel kernel;
    kernel.body = loop::nest({i}, {buffer->size},
                             {loop::Store{buffer, loop::variable(i), filling(buffer->dtype)}});
    kernel.work = loop::size(buffer->size);
    kernel = schedule(kernel, machine_);
    kernel.name = "fill" + std::to_string(fills_++) + "_" + buffer->name;
    collect_buffers(kernel);
    loop::verify(kernel);
    return kernel;
  }

  loop::Kernel checked(const loop::Kernel& kernel) {
    kernel_ = &kernel;
    sites_.clear();
    loop::Rewriter rewrite([this](const Expr& e) {
      if (e->op == Op::load) {
        return checked_load(e->buffer, e->args[0], loop::is_conditional(*e) ? e->args[1] : nullptr);
      }
      return e->op == Op::select ? checked_select(e) : e;
    });
    loop::Kernel result = kernel;
    // A library that computes the product instead would not be held to anything.
    result.instead = nullptr;
    const bool parallel = std::any_of(kernel.body.begin(), kernel.body.end(), [](const auto& s) {
      const loop::For* found = loop::as_for(s);
      return found != nullptr && found->kind == loop::LoopKind::parallel;
    });
    result.body = parallel ? loop::Block{} : fill_scratch();
    append(result.body, checked(rewrite(kernel.body), 0, false));
    loop::verify(result);
    return result;
  }

  int site(const loop::BufferRef& buffer, const char* access) {
    const auto [known, first] = sites_.try_emplace({buffer->id, access}, 0);
    if (first) {
      known->second =
          buffers_.add_site(memory_site(*kernel_, std::string(access) + " " + buffer->name +
                                                      " at index %index, whose size is %size"));
    }
    return known->second;
  }

  // What has a condition must be inside where that holds.
  Expr inside(const loop::BufferRef& buffer, const Expr& index, const char* access,
              const Expr& condition = nullptr) {
    const Expr size = loop::size(buffer->size);
    Expr fits =
        both(loop::binary(Op::le, loop::integer(0), index), loop::binary(Op::lt, index, size));
    if (condition) {
      fits = loop::binary(Op::logical_or, fits, loop::unary(Op::logical_not, condition));
    }
    return loop::check(index, fits, index, size, site(buffer, access));
  }

  bool begins_filled(loop::BufferRef buffer) const {
    if (buffer->space != loop::Space::global) return true;
    const auto placed = program_.placements.find(buffer->id);
    if (placed != program_.placements.end() && placed->second.kind == Placement::Kind::part) {
      buffer = placed->second.of;
    }
    return begins_empty(buffer);
  }

  Expr checked_load(const loop::BufferRef& buffer, const Expr& index, const Expr& condition) {
    Expr value = loop::load(buffer, inside(buffer, index, "reads", condition), condition);
    if (!is_float(buffer->dtype) || !begins_filled(buffer)) return value;
    const DType bits = integer_of_size(buffer->dtype);
    const Expr filled = loop::integer(filled_bits, bits);
    const int at = site(buffer, "reads what nothing has written:");
    written_sites_.insert(at);
    return loop::check(value, loop::binary(Op::ne, loop::bitcast(value, bits), filled), index,
                       loop::size(buffer->size), at);
  }

  // Both sides are loaded, but that nothing has written the one that is not taken does not matter.
  Expr checked_select(const Expr& e) {
    const auto where = [this](const Expr& side, const Expr& taken) {
      if (side->op != Op::check || !written_sites_.contains(static_cast<int>(side->integer))) {
        return side;
      }
      const Expr fits =
          loop::binary(Op::logical_or, loop::unary(Op::logical_not, taken), side->args[1]);
      return loop::check(side->args[0], fits, side->args[2], side->args[3],
                         static_cast<int>(side->integer));
    };
    const Expr& taken = e->args[0];
    return loop::select(taken, where(e->args[1], taken),
                        where(e->args[2], loop::unary(Op::logical_not, taken)));
  }

  // The statements with their stores checked and what they allocate filled. `threads`: of the block
  // loop they are in, if any.
  loop::Block checked(const loop::Block& block, int threads, bool in_thread) {
    loop::Block result;
    for (const loop::Stmt& s : block) {
      if (const auto* store = std::get_if<loop::Store>(&s)) {
        result.push_back(loop::Store{store->buffer, inside(store->buffer, store->index, "writes"),
                                     store->value});
      } else if (const auto* allocated = std::get_if<loop::Allocate>(&s)) {
        result.push_back(s);
        // What blocks wait for is stored once, and what is counted begins with 0.
        if (allocated->buffer->space == loop::Space::awaited ||
            allocated->buffer->space == loop::Space::counters) {
          continue;
        }
        append(result, fill(allocated->buffer, threads, in_thread));
      } else if (const loop::For* found = loop::as_for(s)) {
        loop::For copy = *found;
        const bool is_block = copy.kind == loop::LoopKind::block;
        loop::Block body = checked(copy.body, is_block ? copy.width : threads,
                                   in_thread || copy.kind == loop::LoopKind::thread);
        copy.body.clear();
        if (copy.kind == loop::LoopKind::parallel) append(copy.body, fill_scratch());
        append(copy.body, std::move(body));
        result.push_back(loop::statement(std::move(copy)));
      } else {
        result.push_back(loop::with_inner(
            s, [&](const loop::Block& inner) { return checked(inner, threads, in_thread); }));
      }
    }
    return result;
  }

  // A worker's scratch holds nothing from one iteration of the parallel loop to the next.
  loop::Block fill_scratch() {
    loop::Block block;
    for (const loop::BufferRef& buffer : kernel_->scratch) append(block, fill(buffer, 0, false));
    return block;
  }

  // Schedules number the variables they add to a kernel by themselves.
  loop::Variable own_variable(const char* name) { return loop::fresh_variable(name); }

  loop::Block fill(const loop::BufferRef& buffer, int threads, bool in_thread) {
    const bool registers = buffer->space == loop::Space::registers;
    const bool shared = buffer->space == loop::Space::shared;
    loop::For elements;
    elements.variable = own_variable("e");
    elements.extent = loop::size(buffer->size);
    elements.kind = registers ? loop::LoopKind::unroll
                    : shared  ? loop::LoopKind::thread
                              : loop::LoopKind::serial;
    elements.body = {
        loop::Store{buffer, loop::variable(elements.variable), filling(buffer->dtype)}};
    loop::Block block{loop::statement(std::move(elements))};
    if (shared) block.push_back(loop::Barrier{});
    if (registers && threads > 0 && !in_thread) {
      loop::For each;
      each.variable = own_variable("t");
      each.extent = loop::integer(threads);
      each.kind = loop::LoopKind::thread;
      each.body = std::move(block);
      block = {loop::statement(std::move(each))};
    }
    return block;
  }

  static void append(loop::Block& block, loop::Block more) {
    for (loop::Stmt& s : more) block.push_back(std::move(s));
  }

  Program& program_;
  BufferTable& buffers_;
  const Machine machine_;
  Uses all_;
  int fills_ = 0;
  const loop::Kernel* kernel_ = nullptr;  // in progress
  std::map<std::pair<int, std::string>, int> sites_;
  std::unordered_set<int> written_sites_;  // of the checks that something has written what is read
};

// Loop variables for the axes, and as an index.
std::pair<std::vector<loop::Variable>, Index> variables_for(const Dims& shape) {
  std::vector<loop::Variable> variables;
  Index index;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    variables.push_back(loop::fresh_variable("i"));
    index.push_back(loop::variable(variables.back()));
  }
  return {std::move(variables), std::move(index)};
}

// finite = every element of the vertex is.
loop::Kernel finite_kernel(KernelContext& context, Graph::Vertex v, const loop::BufferRef& finite,
                           const Machine& machine) {
  const Dims& shape = context.graph()[v].type.shape;
  const auto [variables, index] = variables_for(shape);
  loop::Variable all = loop::fresh_variable("finite");
  all.dtype = DType::boolean;
  loop::Kernel kernel;
  kernel.body = {loop::Declare{all, loop::boolean_constant(true)}};
  const loop::Expr element = is_finite(context.value(v, index));
  for (loop::Stmt& s :
       loop::nest(variables, shape, {loop::Accumulate{all, Op::logical_and, element}})) {
    kernel.body.push_back(std::move(s));
  }
  kernel.body.push_back(loop::Store{finite, loop::integer(0), loop::variable(all)});
  kernel.work = loop::size(element_count(shape));
  return schedule(kernel, machine, &context.buffers());
}

}  // namespace

std::vector<loop::Kernel> operand_checks(KernelContext& context, const Machine& machine) {
  std::vector<loop::Kernel> kernels;
  const Graph::Vertex hero = context.cluster().hero;
  if (!context.checks_values() || !is_float(context.graph()[hero].type.dtype)) return kernels;
  Expr all = loop::boolean_constant(true);
  for (Graph::Vertex v : context.graph().operands(hero)) {
    if (!is_float(context.graph()[v].type.dtype)) continue;
    const loop::BufferRef finite = context.buffers().create("finite", DType::boolean, 1);
    kernels.push_back(finite_kernel(context, v, finite, machine));
    all = both(all, loop::load(finite, loop::integer(0)));
  }
  context.set_operands_finite(hero, all);
  return kernels;
}

std::vector<loop::Kernel> result_checks(KernelContext& context, const Machine& machine) {
  std::vector<loop::Kernel> kernels = operand_checks(context, machine);
  const Graph::Vertex hero = context.cluster().hero;
  if (!context.checks_values() || !is_float(context.graph()[hero].type.dtype)) return kernels;
  const loop::BufferRef& result = context.buffers().of(hero);
  const Dims& shape = context.graph()[hero].type.shape;
  const auto [variables, index] = variables_for(shape);
  const Expr at = linear_index(shape, index);
  const Expr value = loop::load(result, at);
  context.set_value({hero, index}, value);
  loop::Kernel kernel;
  kernel.body = loop::nest(variables, shape, {loop::Store{result, at, context.checked(value)}});
  kernel.work = loop::size(result->size);
  kernels.push_back(schedule(kernel, machine));
  return kernels;
}

void check_memory(Program& program, BufferTable& buffers, const Machine& machine) {
  MemoryChecker(program, buffers, machine).run();
}

void check_gaps(Program& program, BufferTable& buffers, const std::vector<ArenaGap>& gaps,
                const Machine& machine) {
  const loop::Variable i = loop::fresh_variable("i");
  const Expr at = loop::variable(i);
  std::vector<Step> before, after;
  for (const ArenaGap& gap : gaps) {
    const std::int64_t elements = gap.bytes / 8;
    const loop::BufferRef buffer = buffers.create("gap", DType::i64, elements);
    Placement& place = program.placements[buffer->id];
    place.kind = Placement::Kind::arena;
    place.offset = gap.offset;
    const auto add = [&](std::vector<Step>& steps, const std::string& name, const Expr& value) {
      loop::Kernel kernel;
      kernel.body = loop::nest({i}, {elements}, {loop::Store{buffer, at, value}});
      kernel.work = loop::integer(elements);
      kernel = schedule(kernel, machine);
      kernel.name = name + std::to_string(steps.size());
      collect_buffers(kernel);
      loop::verify(kernel);
      steps.push_back({std::move(kernel)});
    };
    const Expr filled = loop::integer(filled_bits);
    const int site = buffers.add_site(
        {"something was written " + gap.where + ", outside of every buffer of the arena",
         CheckSite::Kind::memory});
    add(before, "fill_gap", filled);
    const Expr found = loop::load(buffer, at);
    add(after, "check_gap",
        loop::check(found, loop::binary(Op::eq, found, filled), at, loop::integer(elements), site));
  }
  before.insert(before.end(), program.steps.begin(), program.steps.end());
  before.insert(before.end(), after.begin(), after.end());
  program.steps = std::move(before);
}

}  // namespace kroton
