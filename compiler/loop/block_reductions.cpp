// Loops around reductions, a block of their results at a time. Such a loop,
//
//   for i { var sum = 0   for k { sum += value(i, k) }   y[i] = f(sum) }
//
// becomes three, with the sums of a block of i in an array: one that starts the sums, the
// reduction, and one that uses them. The first and the last are vector loops over i. The reduction
// runs either by columns, the vectors over i inside k, so that memory is read row by row; or, where
// k is the contiguous axis, by rows: vectors over k, several i at once, which share what does not
// depend on i and whose lanes are combined together.
#include <algorithm>
#include <bit>

#include "compiler/loop/best_positions.h"
#include "compiler/loop/dependence.h"
#include "compiler/loop/elementary.h"
#include "compiler/loop/schedule.h"
#include "compiler/loop/sum_blocks.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

// By columns: that many vectors of sums stay in registers; more are an array of that many bytes,
// to which that many steps of k are added at a time. Both fit the first cache, and the array is
// wide enough for memory to be read in long runs.
constexpr std::int64_t most_register_vectors = 8;
constexpr std::int64_t array_bytes = 4096;
constexpr int steps_together = 4;
// A reduction of no more steps is best as it is, all of it in registers.
constexpr std::int64_t few_steps = 16;

// By rows: rows at once, and vectors of each. Together they hide the latency of an addition.
constexpr int rows_together = 4;
constexpr int vectors_together = 8;
// Rows of no more known vectors are written out, as many at once as a vector holds sums: these stay
// in registers.
constexpr std::int64_t most_written_out = 8;
// The elements of a block of rows, as many as are handed to a thread at least; a longer row alone
// keeps it busy.
constexpr std::int64_t block_elements = 16384;
constexpr std::int64_t most_block_rows = 256;
// A vector has no fewer lanes: whole registers, of which none holds anything unknown.
constexpr std::int64_t fewest_lanes = 4;
// Operations and loads of one step; more of them are not worth several copies.
constexpr int most_operations = 8;
// Rows of one vector that are written out may have more: their sums are better combined together in
// any case.
constexpr int most_written_operations = 64;

Expr quotient(const Expr& extent, std::int64_t by) {
  if (const std::optional<Dim> dim = as_dim(extent)) return size(floor_div(*dim, by));
  return binary(Op::floor_div, extent, integer(by));
}

// The product of the extents of the loops in the nest where bounds of all are known.
std::optional<std::int64_t> most_steps(const For& nest) {
  const std::optional<std::int64_t> steps = constant_bound(nest.extent);
  if (!steps) return std::nullopt;
  std::int64_t inner = 1;
  for (const Stmt& s : nest.body) {
    const For* loop = as_for(s);
    if (loop == nullptr) continue;
    const std::optional<std::int64_t> known = most_steps(*loop);
    if (!known) return std::nullopt;
    inner = std::max(inner, *known);
  }
  return *steps * inner;
}

int operations(const For& nest) {
  int count = 0;
  const LoopFacts facts(nest);
  for (const Expr& e : facts.nodes()) count += operations_of(*e);
  return count;
}

bool contains(const std::vector<Variable>& variables, const Variable& v) {
  return std::find(variables.begin(), variables.end(), v) != variables.end();
}

// A loop around reductions, as this pass understands it.
struct Candidate {
  std::vector<Variable> sums;  // best values and their positions, too
  std::vector<Variable> positions;
  std::vector<const For*> reductions;
  bool stores = false;  // inside a reduction
  int widest = 4;       // bytes of a sum
};

class Blocker {
 public:
  Blocker(const Kernel& kernel, int lanes_bytes, const NewBuffer& new_buffer)
      : outermost_(outermost_loop(kernel)), lanes_bytes_(lanes_bytes), new_buffer_(new_buffer) {}

  Block operator()(const Block& block) {
    return replace_loops(block, [this](const For& loop, Block& result) { add_loop(loop, result); });
  }

 private:
  // A block of the loop's iterations, from `start` on.
  struct Part {
    const For* loop = nullptr;
    Expr start, extent;
    bool by_columns = false;
    bool in_registers = false;
    std::int64_t size = 0;  // of the arrays
    std::vector<std::pair<Variable, BufferRef>> arrays;
    // By rows.
    int rows = 1;              // at once
    int copies = 1;            // vectors of each
    bool written_out = false;  // the vectors of each
    int rows_written = 1;      // as many rows again and again
  };

  void add_loop(const For& loop, Block& result) {
    const std::optional<Candidate> candidate = find(loop);
    if (candidate && loop.kind == LoopKind::vector && add_by_columns(loop, *candidate, result)) {
      return;
    }
    if (candidate && loop.kind == LoopKind::serial && add_by_rows(loop, *candidate, result)) return;
    For kept = loop;
    if (loop.kind == LoopKind::serial) kept.body = (*this)(loop.body);
    result.push_back(statement(std::move(kept)));
  }

  // What a nest of loops inside may do: accumulate into `sums`, and store.
  static bool note_reduction(const For& nest, Candidate& found) {
    for (const Stmt& s : nest.body) {
      if (const For* inner = as_for(s)) {
        if (!note_reduction(*inner, found)) return false;
      } else if (const auto* sum = std::get_if<Accumulate>(&s)) {
        if (!contains(found.sums, sum->variable)) return false;
      } else if (const auto* arg = std::get_if<AccumulateArg>(&s)) {
        if (!contains(found.sums, arg->best) || !contains(found.sums, arg->position)) return false;
        if (!contains(found.positions, arg->position)) found.positions.push_back(arg->position);
      } else if (std::holds_alternative<Store>(s)) {
        found.stores = true;
      } else {
        return false;
      }
    }
    return true;
  }

  static std::optional<Candidate> find(const For& loop) {
    if (loop.unrolled > 0) return std::nullopt;
    Candidate found;
    for (const Stmt& s : loop.body) {
      if (const auto* declare = std::get_if<Declare>(&s)) {
        found.sums.push_back(declare->variable);
      } else if (const For* inner = as_for(s)) {
        found.reductions.push_back(inner);
        if (!note_reduction(*inner, found)) return std::nullopt;
      } else if (!std::holds_alternative<Store>(s)) {
        return std::nullopt;
      }
    }
    if (found.sums.empty() || found.reductions.empty()) return std::nullopt;
    for (const Variable& sum : found.sums) {
      if (contains(found.positions, sum)) continue;
      found.widest = std::max(found.widest, static_cast<int>(size_of(sum.dtype)));
    }
    return found;
  }

  bool add_by_columns(const For& loop, const Candidate& candidate, Block& result) {
    const LoopFacts facts(loop);
    if (facts.reduces() || facts.has_vector_loop()) return false;
    const bool few =
        std::all_of(candidate.reductions.begin(), candidate.reductions.end(), [](const For* nest) {
          const std::optional<std::int64_t> steps = most_steps(*nest);
          return steps && *steps <= few_steps;
        });
    if (few) return false;
    Part part;
    part.loop = &loop;
    part.by_columns = true;
    part.size = array_bytes / candidate.widest;
    std::int64_t extent = 0;
    if (is_integer_constant(loop.extent, extent)) {
      const std::int64_t vectors = (extent + loop.width - 1) / loop.width;
      part.in_registers =
          vectors * static_cast<std::int64_t>(candidate.sums.size()) <= most_register_vectors;
      if (part.in_registers || extent < part.size) part.size = vectors * loop.width;
    }
    add_blocks(part, candidate, result);
    return true;
  }

  bool add_by_rows(const For& loop, const Candidate& candidate, Block& result) {
    const LoopFacts facts(loop);
    if (!facts.has_vector_loop() || facts.reduces() || facts.reads_reduced() ||
        facts.has_varying_control() || !facts.iterations_are_independent(false)) {
      return false;
    }
    std::int64_t longest = 0;
    bool all_known = true;
    bool shares = false;
    int most = 0;  // operations
    Part part;
    part.loop = &loop;
    part.written_out = true;
    for (const For* nest : candidate.reductions) {
      most = std::max(most, operations(*nest));
      const std::optional<std::int64_t> steps = most_steps(*nest);
      all_known = all_known && steps;
      longest = std::max(longest, steps.value_or(0));
      shares = shares || has_common_load(facts, *nest);
      const bool is_light = operations(*nest) <= most_operations && !candidate.stores;
      const std::int64_t vectors = is_light ? most_written_out : 1;
      part.written_out = part.written_out && steps && nest->kind == LoopKind::vector &&
                         *steps <= vectors * nest->width;
    }
    if (longest >= block_elements) return false;
    if (!part.written_out && (candidate.stores || most > most_operations || !shares)) return false;
    if (most > most_written_operations) return false;
    // Those that store along the row gain less from being combined than their code costs.
    part.rows_written =
        candidate.stores ? rows_together : static_cast<int>(lanes_bytes_ / candidate.widest);
    part.size = rows_together;
    if (all_known) {
      const auto fitting = std::bit_floor(
          static_cast<std::uint64_t>(block_elements / std::max<std::int64_t>(longest, 1)));
      part.size = std::clamp(static_cast<std::int64_t>(fitting), part.size, most_block_rows);
    }
    part.rows = rows_together;
    std::int64_t extent = 0;
    if (is_integer_constant(loop.extent, extent)) {
      // A few rows that may be long: better a thread for each.
      if (!all_known && extent <= rows_together) return false;
      part.size = std::min(part.size, extent);
      part.rows = static_cast<int>(std::min<std::int64_t>(part.rows, extent));
    }
    const auto sums = static_cast<int>(candidate.sums.size());
    part.copies = part.written_out ? 1 : std::max(1, vectors_together / (part.rows * sums));
    add_blocks(part, candidate, result);
    return true;
  }

  // Whether a load in the nest is the same for all iterations of the loop around.
  static bool has_common_load(const LoopFacts& around, const For& nest) {
    const LoopFacts facts(nest);
    return std::any_of(facts.nodes().begin(), facts.nodes().end(), [&](const Expr& e) {
      return e->op == Op::load && facts.varies(e) && !around.varies(e);
    });
  }

  Variable fresh(const std::string& name, DType dtype = DType::i64) {
    return fresh_variable(name, dtype);
  }

  For loop_over(const std::string& name, const Expr& extent) {
    For loop;
    loop.variable = fresh(name);
    loop.extent = extent;
    return loop;
  }

  void add_blocks(Part& part, const Candidate& candidate, Block& result) {
    const For& loop = *part.loop;
    std::int64_t extent = 0;
    if (is_integer_constant(loop.extent, extent) && extent <= part.size) {
      part.start = integer(0);
      part.extent = loop.extent;
      add_block(part, candidate, result);
      return;
    }
    For blocks = loop_over(loop.variable.name + "_block", integer(0));
    const std::optional<Dim> dim = as_dim(loop.extent);
    blocks.extent = dim ? size(ceil_div(*dim, part.size))
                        : quotient(loop.extent + integer(part.size - 1), part.size);
    part.start = variable(blocks.variable) * integer(part.size);
    part.extent = binary(Op::min, loop.extent - part.start, integer(part.size));
    add_block(part, candidate, blocks.body);
    // The loop's iterations are independent, so its blocks are. Of their bodies that is hard to
    // see.
    blocks.is_independent = true;
    if (outermost_ != nullptr && outermost_->variable == loop.variable) {
      blocks.kind = LoopKind::parallel;
    }
    result.push_back(statement(std::move(blocks)));
  }

  // Whether, at run time, the reductions by columns are better as they are: few steps, whose rows
  // are read as so many streams, or sums for one vector only. Null where it is known that not.
  static Expr is_best_as_is(const Part& part, const Candidate& candidate) {
    if (!part.by_columns || part.in_registers) return nullptr;
    Expr few;
    for (const For* nest : candidate.reductions) {
      if (const std::optional<std::int64_t> steps = most_steps(*nest)) {
        if (*steps <= few_steps) continue;
        few = nullptr;
        break;
      }
      const Expr small = binary(Op::le, nest->extent, integer(few_steps));
      few = few == nullptr ? small : binary(Op::logical_and, few, small);
    }
    std::int64_t known = 0;
    if (is_integer_constant(part.loop->extent, known)) return few;
    const Expr narrow = binary(Op::le, part.extent, integer(part.loop->width));
    return few == nullptr ? narrow : binary(Op::logical_or, few, narrow);
  }

  // Where few steps are the only reason, they are no more than that.
  static void bound_steps(For& loop) {
    for (Stmt& s : loop.body) {
      const For* nest = as_for(s);
      if (nest == nullptr) continue;
      For bounded = *nest;
      bounded.extent = binary(Op::min, nest->extent, integer(few_steps));
      s = statement(std::move(bounded));
    }
  }

  void add_block(const Part& part, const Candidate& candidate, Block& result) {
    if (const Expr as_is = is_best_as_is(part, candidate)) {
      For same = *part.loop;
      same.variable = fresh(part.loop->variable.name);
      same.extent = part.extent;
      same.body = substitute(part.loop->body,
                             {{part.loop->variable, part.start + variable(same.variable)}});
      std::int64_t known = 0;
      if (is_integer_constant(part.loop->extent, known)) bound_steps(same);
      If branch{as_is, {statement(std::move(same))}, {}};
      add_part(part, candidate, branch.else_body);
      result.push_back(statement(std::move(branch)));
      return;
    }
    if (!part.written_out) {
      add_part(part, candidate, result);
      return;
    }
    // As many rows as a vector has lanes, again and again; then those left over.
    Part whole = part;
    whole.in_registers = true;
    whole.rows = part.rows_written;
    whole.size = whole.rows;
    whole.extent = integer(whole.rows);
    const Expr count = quotient(part.extent, whole.size);
    add_times(part.loop->variable.name + "_group", count, result, [&](const Expr& group) {
      whole.start = part.start + group * integer(whole.size);
      Block body;
      add_part(whole, candidate, body);
      return body;
    });
    Part rest = part;
    rest.start = part.start + count * integer(whole.size);
    rest.extent = part.extent - count * integer(whole.size);
    rest.size = std::min<std::int64_t>(part.size, whole.size);
    rest.rows = 1;
    std::int64_t known = 0;
    if (is_integer_constant(rest.extent, known)) {
      if (known == 0) return;
      rest.rows = static_cast<int>(std::min<std::int64_t>(part.rows, known));
    }
    add_part(rest, candidate, result);
  }

  void add_part(Part part, const Candidate& candidate, Block& result) {
    for (const Variable& sum : candidate.sums) {
      const bool is_narrow = part.by_columns && is_narrow_position(candidate.reductions, sum);
      part.arrays.emplace_back(
          sum, new_buffer_(sum.name + "s", is_narrow ? DType::i32 : sum.dtype, Dim(part.size),
                           part.in_registers ? Space::registers : Space::stack));
      result.push_back(Allocate{part.arrays.back().second});
      if (part.by_columns && !part.in_registers)
        define_last_lanes(part, part.arrays.back().second, result);
    }
    Block straight;
    for (const Stmt& s : part.loop->body) {
      const For* nest = as_for(s);
      if (nest == nullptr) {
        straight.push_back(s);
        continue;
      }
      add_straight(part, straight, result);
      straight.clear();
      if (part.by_columns) {
        add_long_columns(part, *nest, result);
      } else {
        add_rows(part, *nest, result);
      }
    }
    add_straight(part, straight, result);
  }

  // The last vector of sums is loaded whole. What stands in its lanes past the last column is not
  // used, but a product of it that is computed early could raise a flag, as memory may hold
  // anything.
  void define_last_lanes(const Part& part, const BufferRef& array, Block& result) {
    const std::int64_t width = part.loop->width;
    std::int64_t extent = 0;
    const bool is_known = is_integer_constant(part.extent, extent);
    if (!is_float(array->dtype) || (is_known && extent % width == 0)) return;
    For lanes = loop_over(part.loop->variable.name, integer(width));
    make_lanes(part, lanes);
    const Expr last = quotient(part.extent - integer(1), width) * integer(width);
    lanes.body.push_back(Store{array, last + variable(lanes.variable), real(0, array->dtype)});
    result.push_back(statement(std::move(lanes)));
  }

  // What a reduction's or a straight statement's variables are at the block's iteration `at`.
  static std::vector<std::pair<Variable, Expr>> values_at(const Part& part, const Expr& at) {
    std::vector<std::pair<Variable, Expr>> values{{part.loop->variable, part.start + at}};
    for (const auto& [sum, array] : part.arrays) {
      values.emplace_back(sum, as_position(load(array, at), sum.dtype));
    }
    return values;
  }

  // The statements for that iteration, with the sums in their arrays.
  Block with_arrays(const Part& part, const Block& block, const Expr& at) {
    Block result;
    for (Stmt& s : substitute(block, values_at(part, at))) {
      if (const auto* declare = std::get_if<Declare>(&s)) {
        const BufferRef& array = array_of(part, declare->variable);
        result.push_back(Store{array, at, as_position(declare->init, array->dtype)});
      } else if (const auto* sum = std::get_if<Accumulate>(&s)) {
        const BufferRef& array = array_of(part, sum->variable);
        result.push_back(Store{array, at, binary(sum->op, load(array, at), sum->value)});
      } else if (const auto* arg = std::get_if<AccumulateArg>(&s)) {
        add_best(part, *arg, at, {{arg->value, arg->at}}, result);
      } else {
        result.push_back(std::move(s));
      }
    }
    return result;
  }

  // Stores the better of what the arrays have and the values at their positions, one after the
  // other. Both of the old pair are read before either is stored.
  void add_best(const Part& part, const AccumulateArg& arg, const Expr& at,
                const std::vector<std::pair<Expr, Expr>>& candidates, Block& result) {
    const BufferRef& bests = array_of(part, arg.best);
    const BufferRef& positions = array_of(part, arg.position);
    const Variable best = fresh(arg.best.name, bests->dtype);
    const Variable position = fresh(arg.position.name, positions->dtype);
    result.push_back(Declare{best, load(bests, at)});
    result.push_back(Declare{position, load(positions, at)});
    Expr value = variable(best), place = variable(position);
    for (const auto& [next, next_at] : candidates) {
      const Expr next_place = cast(next_at, positions->dtype);
      const Expr better = is_better(arg.maximum, next, value, next_place, place);
      value = select(better, next, value);
      place = select(better, next_place, place);
    }
    result.push_back(Store{bests, at, value});
    result.push_back(Store{positions, at, place});
  }

  static const BufferRef& array_of(const Part& part, const Variable& sum) {
    return std::find_if(part.arrays.begin(), part.arrays.end(),
                        [&](const auto& entry) { return entry.first == sum; })
        ->second;
  }

  void add_straight(const Part& part, const Block& block, Block& result) {
    if (block.empty()) return;
    For lanes = loop_over(part.loop->variable.name, part.extent);
    lanes.body = with_arrays(part, block, variable(lanes.variable));
    if (part.by_columns) {
      make_lanes(part, lanes);
    } else if (vectorize_loop(lanes, lanes_bytes_)) {
      // No more than one vector: no loop then.
      const auto most = static_cast<int>(
          std::bit_ceil(static_cast<std::uint64_t>(std::max(part.size, fewest_lanes))));
      if (part.in_registers || most <= lanes.width) {
        lanes.width = std::min(lanes.width, most);
        lanes.interleave = 1;
        lanes.unrolled = most;
      }
    } else if (part.in_registers) {
      lanes.kind = LoopKind::unroll;
    }
    result.push_back(statement(std::move(lanes)));
  }

  static void make_lanes(const Part& part, For& lanes) {
    lanes.kind = LoopKind::vector;
    lanes.width = part.loop->width;
    if (part.in_registers) lanes.unrolled = static_cast<int>(part.size);
  }

  // By columns, with floating sums that may be long: in blocks, see sum_blocks.h.
  void add_long_columns(const Part& part, const For& nest, Block& result) {
    const std::vector<Variable> sums = sums_of(nest);
    const Expr block = block_of(nest, sums);
    if (block == nullptr) return add_columns(part, nest, result);
    std::vector<CarriedSums> carried;
    for (const Variable& sum : sums) {
      const BufferRef& array = array_of(part, sum);
      const auto like_it = [&](const char* name) {
        return new_buffer_(sum.name + name, sum.dtype, array->size, Space::worker);
      };
      carried.push_back({array, like_it("_group"), like_it("_total")});
    }
    For blocks = loop_over(nest.variable.name + "_block", blocks_in(nest.extent, block));
    const Expr number = variable(blocks.variable);
    For one = loop_over(nest.variable.name, extent_of_block(nest.extent, block, number));
    one.body = substitute(nest.body, {{nest.variable, number * block + variable(one.variable)}});
    add_columns(part, one, blocks.body);
    const auto over = [&](const std::function<Block(const Expr&)>& body) {
      For lanes = loop_over(part.loop->variable.name, part.extent);
      lanes.body = body(variable(lanes.variable));
      make_lanes(part, lanes);
      return statement(std::move(lanes));
    };
    blocks.body.push_back(statement(If{binary(Op::lt, integer(1), blocks.extent),
                                       {carry_sums(carried, number, blocks.extent, over)},
                                       {}}));
    result.push_back(statement(std::move(blocks)));
  }

  // By columns: the vectors over the block's iterations innermost.
  void add_columns(const Part& part, const For& nest, Block& result) {
    const bool only_sums = std::all_of(nest.body.begin(), nest.body.end(), [](const Stmt& s) {
      return std::holds_alternative<Accumulate>(s) || std::holds_alternative<AccumulateArg>(s);
    });
    std::int64_t extent = 0;
    const bool is_short = is_integer_constant(nest.extent, extent) && extent < steps_together;
    if (!only_sums || part.in_registers || is_short) {
      For steps = nest;
      steps.body = lanes_over(part, nest.body);
      result.push_back(statement(std::move(steps)));
      return;
    }
    const Expr whole = quotient(nest.extent, steps_together);
    For steps = loop_over(nest.variable.name, whole);
    const Expr first = variable(steps.variable) * integer(steps_together);
    For lanes = loop_over(part.loop->variable.name, part.extent);
    make_lanes(part, lanes);
    lanes.body = added_together(part, nest, first, variable(lanes.variable));
    steps.body = {statement(std::move(lanes))};
    result.push_back(statement(std::move(steps)));

    const Expr done = whole * integer(steps_together);
    For rest = loop_over(nest.variable.name, nest.extent - done);
    rest.body =
        lanes_over(part, substitute(nest.body, {{nest.variable, done + variable(rest.variable)}}));
    if (is_integer_constant(rest.extent, extent) && extent == 0) return;
    result.push_back(statement(std::move(rest)));
  }

  // The body of a nest: a vector loop for the statements between inner loops, and inside those.
  Block lanes_over(const Part& part, const Block& body) {
    Block result;
    Block straight;
    for (const Stmt& s : body) {
      const For* inner = as_for(s);
      if (inner == nullptr) {
        straight.push_back(s);
        continue;
      }
      add_straight(part, straight, result);
      straight.clear();
      add_long_columns(part, *inner, result);
    }
    add_straight(part, straight, result);
    return result;
  }

  // sum = ((sum + value(first)) + value(first + 1)) + ... for each sum of the nest's body.
  Block added_together(const Part& part, const For& nest, const Expr& first, const Expr& at) {
    Block result;
    auto values = values_at(part, at);
    values.emplace_back(nest.variable, first);
    for (const Stmt& s : nest.body) {
      if (const auto* arg = std::get_if<AccumulateArg>(&s)) {
        std::vector<std::pair<Expr, Expr>> candidates;
        for (int k = 0; k < steps_together; ++k) {
          values.back().second = first + integer(k);
          candidates.emplace_back(substitute(arg->value, values), substitute(arg->at, values));
        }
        add_best(part, *arg, at, candidates, result);
        continue;
      }
      const auto& sum = std::get<Accumulate>(s);
      const BufferRef& array = array_of(part, sum.variable);
      Expr total = load(array, at);
      for (int k = 0; k < steps_together; ++k) {
        values.back().second = first + integer(k);
        total = binary(sum.op, total, substitute(sum.value, values));
      }
      result.push_back(Store{array, at, total});
    }
    return result;
  }

  // By rows: several of the block's iterations at a time, then those left over.
  void add_rows(const Part& part, const For& nest, Block& result) {
    if (part.rows == 1) {
      add_times(part.loop->variable.name, part.extent, result,
                [&](const Expr& row) { return rows_at(part, nest, row, 1); });
      return;
    }
    const Expr groups = quotient(part.extent, part.rows);
    const Expr done = groups * integer(part.rows);
    const Expr left = part.extent - done;
    add_times(part.loop->variable.name, groups, result, [&](const Expr& group) {
      return rows_at(part, nest, group * integer(part.rows), part.rows);
    });
    std::int64_t known = 0;
    if (is_integer_constant(left, known)) {
      if (known > 0) append(result, rows_at(part, nest, done, static_cast<int>(known)));
      return;
    }
    add_times(part.loop->variable.name, left, result,
              [&](const Expr& row) { return rows_at(part, nest, done + row, 1); });
  }

  // What `body` gives for each of `count` numbers: no loop for none or one.
  void add_times(const std::string& name, const Expr& count, Block& result,
                 const std::function<Block(const Expr&)>& body) {
    std::int64_t known = 0;
    if (is_integer_constant(count, known) && known <= 1) {
      if (known == 1) append(result, body(integer(0)));
      return;
    }
    For loop = loop_over(name, count);
    loop.body = body(variable(loop.variable));
    result.push_back(statement(std::move(loop)));
  }

  static void append(Block& block, Block more) {
    for (Stmt& s : more) block.push_back(std::move(s));
  }

  // One row of several: what stands for the block's iteration, and for its sums.
  struct Row {
    Expr at;
    std::vector<std::pair<Variable, Variable>> sums;
  };

  Block rows_at(const Part& part, const For& nest, const Expr& first, int count) {
    std::vector<Row> rows;
    Block result;
    for (int r = 0; r < count; ++r) {
      Row row{first + integer(r), {}};
      for (const auto& [sum, array] : part.arrays) {
        if (!accumulates(nest, sum)) continue;
        row.sums.emplace_back(sum, fresh(sum.name, sum.dtype));
        result.push_back(Declare{row.sums.back().second, load(array, row.at)});
      }
      rows.push_back(std::move(row));
    }
    result.push_back(statement(jammed(part, nest, rows)));
    for (const Row& row : rows) {
      for (const auto& [sum, own] : row.sums) {
        result.push_back(Store{array_of(part, sum), row.at, variable(own)});
      }
    }
    return result;
  }

  static bool accumulates(const For& nest, const Variable& sum) {
    bool found = false;
    visit_statements(nest.body, [&](const Stmt& s) {
      const auto* accumulate = std::get_if<Accumulate>(&s);
      const auto* arg = std::get_if<AccumulateArg>(&s);
      found = found || (accumulate != nullptr && accumulate->variable == sum) ||
              (arg != nullptr && (arg->best == sum || arg->position == sum));
    });
    return found;
  }

  // The nest with every statement once per row.
  static For jammed(const Part& part, const For& nest, const std::vector<Row>& rows) {
    For result = nest;
    result.body.clear();
    result.interleave = std::min(result.interleave, part.copies);
    if (part.written_out) {
      const auto steps = static_cast<int>(*most_steps(nest));
      result.unrolled = (steps + nest.width - 1) / nest.width * nest.width;
    }
    for (const Stmt& s : nest.body) {
      if (const For* inner = as_for(s)) {
        result.body.push_back(statement(jammed(part, *inner, rows)));
        continue;
      }
      for (const Row& row : rows) {
        const auto values = values_at(part, row.at);
        const auto own = [&](const Variable& sum) {
          return std::find_if(row.sums.begin(), row.sums.end(),
                              [&](const auto& entry) { return entry.first == sum; })
              ->second;
        };
        if (const auto* arg = std::get_if<AccumulateArg>(&s)) {
          result.body.push_back(AccumulateArg{own(arg->best), own(arg->position), arg->maximum,
                                              substitute(arg->value, values),
                                              substitute(arg->at, values)});
        } else if (const auto* store = std::get_if<Store>(&s)) {
          result.body.push_back(Store{store->buffer, substitute(store->index, values),
                                      substitute(store->value, values)});
        } else {
          const auto& sum = std::get<Accumulate>(s);
          result.body.push_back(
              Accumulate{own(sum.variable), sum.op, substitute(sum.value, values)});
        }
      }
    }
    return result;
  }

  const For* outermost_;
  int lanes_bytes_;
  const NewBuffer& new_buffer_;
};

}  // namespace

Kernel block_reductions(const Kernel& kernel, int lanes_bytes, const NewBuffer& new_buffer) {
  Kernel result = kernel;
  const NewBuffer noted = [&](const std::string& name, DType dtype, const Dim& size, Space space) {
    BufferRef made = new_buffer(name, dtype, size, space);
    if (space == Space::worker) result.scratch.push_back(made);
    return made;
  };
  result.body = Blocker(kernel, lanes_bytes, noted)(kernel.body);
  return result;
}

}  // namespace kroton::loop
