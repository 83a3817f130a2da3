// Loops that are split where a condition on their variable changes.
//
// A join is a value with a condition: the first operand where the index is below its size, else the
// next. Each load of an operand has the condition that its element is wanted. Here a loop over the
// index becomes one loop for each operand, in which the condition is known and gone:
//
//   for j in 0..n + m { y[j] = select(j < n, a[j if j < n], b[j - n if not j < n]) }
//
//   for j in 0..n { y[j] = a[j] }
//   for j in 0..m { y[j + n] = b[j] }
//
// A sum of gradients of slices becomes its inside, where all terms are, and its borders. Few
// iterations next to each other, between conditions, stay one loop with conditions, whose lanes are
// masked; so do loops whose code would become many times what it was.
#include <algorithm>
#include <unordered_map>

#include "compiler/loop/index_arithmetic.h"
#include "compiler/loop/schedule.h"
#include "compiler/loop/simplify.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

// Iterations that are not worth a loop of their own, and loops that are split everywhere.
constexpr std::int64_t most_peeled = 8;
constexpr std::int64_t tiny_loop = 16;
// Columns that are joined, each a value of its own: a cut in so many iterations.
constexpr std::int64_t most_columns = 64;
constexpr std::int64_t columns_apart = 4;
// Of more cuts than that, at unknown sizes, the order is not looked into: they come from a join of
// many operands, whose first condition halves the others.
constexpr std::size_t many_cuts = 12;
// Kernels that the parts of an outermost loop become.
constexpr std::size_t most_kernels = 8;
// How much more expressions there may be than there were.
constexpr std::size_t most_growth = 8;
constexpr std::size_t always_allowed = 400;  // nodes

bool at_most(const Expr& a, const Expr& b) {
  const std::optional<Dim> d = difference(b, a);
  return d && provably_at_least(*d, 0);
}

// Whether b is known to be a few more than a, or less.
bool is_near(const Expr& a, const Expr& b) { return at_most(b, a + integer(most_peeled)); }

std::size_t count_nodes(const Block& block) {
  std::unordered_set<const ExprNode*> seen;
  std::vector<Expr> order;
  visit_expressions(block, [&](const Expr& e) { append_post_order(e, seen, order); });
  return order.size();
}

// Where conditions on the loop's variable change: each holds in all iterations before that one, or
// in that one and all after it.
struct Cut {
  Expr at;
  struct Condition {
    Expr e;
    bool holds_before;
  };
  std::vector<Condition> conditions;
};

// Iterations from all of `lowest` on, before all of `highest`: from `first` to before `last`.
struct Segment {
  std::vector<Expr> lowest, highest;
  Expr first, last;
  bool is_of_many = false;  // cuts, whose order is not looked into
};

class Cuts {
 public:
  explicit Cuts(const For& loop) : loop_(loop) {
    visit_statements(loop.body, [&](const Stmt& s) {
      if (const For* inner = as_for(s)) inside_.insert(inner->variable.id);
      if (const auto* declare = std::get_if<Declare>(&s)) inside_.insert(declare->variable.id);
    });
    std::unordered_set<const ExprNode*> seen, seen_conditions;
    std::vector<Expr> nodes, conditions;
    visit_expressions(loop.body, [&](const Expr& e) { append_post_order(e, seen, nodes); });
    for (const Expr& e : nodes) {
      if (is_conditional(*e)) append_post_order(e->args[1], seen_conditions, conditions);
    }
    for (const Expr& e : conditions) {
      if ((e->op == Op::lt || e->op == Op::le) && e->args[0]->dtype == DType::i64) add(e);
    }
  }

  const std::vector<Cut>& all() const { return cuts_; }

 private:
  // step * variable + rest < bound, with a constant step.
  void add(const Expr& condition) {
    const Expr& a = condition->args[0];
    const Expr& b = condition->args[1];
    const Expr step_a = stride_of(a, loop_.variable);
    const Expr step_b = stride_of(b, loop_.variable);
    std::int64_t of_a = 0;
    std::int64_t of_b = 0;
    if (!is_integer_constant(step_a, of_a) || !is_integer_constant(step_b, of_b)) return;
    const std::int64_t step = of_a - of_b;
    if (step == 0) return;
    const auto at_zero = [&](const Expr& e) {
      return substitute(e, {{loop_.variable, integer(0)}});
    };
    const Expr bound = integer(condition->op == Op::lt ? 0 : 1);
    const Expr rest = at_zero(a) - at_zero(b);
    Expr at;
    if (step > 0) {
      at = binary(Op::floor_div, bound - rest + integer(step - 1), integer(step));
    } else {
      at = binary(Op::floor_div, rest - bound, integer(-step)) + integer(1);
    }
    if (!is_known_before(at)) return;
    const Cut::Condition found{condition, step > 0};
    for (Cut& known : cuts_) {
      const bool is_same =
          known.at == at || (cuts_.size() <= many_cuts && difference(known.at, at) == Dim(0));
      if (is_same) {
        known.conditions.push_back(found);
        return;
      }
    }
    cuts_.push_back({at, {found}});
  }

  bool is_known_before(const Expr& at) const {
    const std::vector<Expr> nodes = post_order(std::span(&at, 1));
    return std::none_of(nodes.begin(), nodes.end(), [&](const Expr& e) {
      return e->op == Op::load || may_fail(e->op) ||
             (e->op == Op::variable && inside_.contains(e->variable.id));
    });
  }

  const For& loop_;
  std::unordered_set<int> inside_;  // variables of the body
  std::vector<Cut> cuts_;
};

class Splitter {
 public:
  explicit Splitter(const Kernel& kernel)
      : nodes_left_(most_growth * count_nodes(kernel.body) + always_allowed) {}

  Block operator()(const Block& block) {
    return replace_loops(block, [this](const For& loop, Block& result) {
      for (Stmt& part : split(loop)) result.push_back(std::move(part));
    });
  }

 private:
  Block split(const For& loop) {
    const Cuts cuts(loop);
    Block result;
    if (cuts.all().empty()) {
      For whole = loop;
      whole.body = (*this)(loop.body);
      result.push_back(statement(std::move(whole)));
      return result;
    }
    std::int64_t extent = 0;
    const auto count = static_cast<std::int64_t>(cuts.all().size());
    const bool is_tiny =
        is_integer_constant(loop.extent, extent) &&
        (extent <= tiny_loop || (extent <= most_columns && count * columns_apart >= extent));
    const bool are_known = std::all_of(cuts.all().begin(), cuts.all().end(),
                                       [](const Cut& cut) { return cut.at->op == Op::integer; });
    const bool are_many = cuts.all().size() > many_cuts && !are_known;
    add_parts(loop, cuts.all(), {{integer(0)}, {loop.extent}, integer(0), loop.extent, are_many},
              is_tiny, result);
    return result;
  }

  // The loop over a segment, split further.
  void add_parts(const For& loop, const std::vector<Cut>& cuts, const Segment& segment,
                 bool is_tiny, Block& result) {
    if (constant_length(segment) == 0 || most_iterations(segment) == 0) return;
    const For decided = with_known(loop, cuts, segment);
    std::vector<Cut> open;
    for (const Cut& cut : cuts) {
      if (!known_side(cut, segment)) open.push_back(cut);
    }
    // Conditions may have gone with others.
    if (open.size() < cuts.size() && !open.empty()) open = Cuts(decided).all();
    std::erase_if(open, [&](const Cut& cut) { return known_side(cut, segment).has_value(); });
    const bool are_many = segment.is_of_many;
    const Cut* pivot = open.empty() ? nullptr
                       : are_many   ? &open.front()
                       : is_tiny    ? best_pivot(open, open)
                                    : best_pivot(open, apart(open, segment));
    const std::size_t nodes = pivot == nullptr ? 0 : count_nodes(decided.body);
    if (pivot == nullptr || nodes > nodes_left_) {
      For part = moved(decided, segment);
      const bool is_border = !is_tiny && !open.empty();
      if (!is_border) part.body = (*this)(part.body);
      result.push_back(statement(std::move(part)));
      return;
    }
    nodes_left_ -= nodes;
    // Within the segment.
    Expr at = pivot->at;
    if (!lies_after(segment, at)) at = binary(Op::max, at, segment.first);
    if (!lies_before(segment, at)) at = binary(Op::min, at, segment.last);
    Segment before = segment;
    before.last = at;
    before.highest.push_back(pivot->at);
    Segment after = segment;
    after.first = at;
    after.lowest.push_back(pivot->at);
    add_parts(decided, open, before, is_tiny, result);
    add_parts(decided, open, after, is_tiny, result);
  }

  static std::int64_t constant_length(const Segment& segment) {
    const std::optional<Dim> length = difference(segment.last, segment.first);
    return length && length->is_constant() ? length->constant() : -1;
  }
  // A bound that shows in the ends; more than a few iterations where none does.
  static std::int64_t most_iterations(const Segment& segment) {
    std::int64_t most = most_peeled + 1;
    if (segment.is_of_many) return most;
    for (const Expr& lowest : segment.lowest) {
      for (const Expr& highest : segment.highest) {
        if (!is_near(lowest, highest)) continue;
        while (most > 0 && at_most(highest, lowest + integer(most - 1))) --most;
      }
    }
    return most;
  }
  static bool lies_after(const Segment& segment, const Expr& at) {
    return at_most(segment.first, at);
  }
  static bool lies_before(const Segment& segment, const Expr& at) {
    return at_most(at, segment.last);
  }

  // Whether all of the segment comes after the cut, or all before it.
  enum class Side : std::uint8_t { after, before };
  static std::optional<Side> known_side(const Cut& cut, const Segment& segment) {
    const auto is_after = [&](const Expr& lowest) {
      return segment.is_of_many ? cut.at == lowest : at_most(cut.at, lowest);
    };
    if (std::any_of(segment.lowest.begin(), segment.lowest.end(), is_after)) return Side::after;
    const auto is_before = [&](const Expr& highest) {
      return segment.is_of_many ? cut.at == highest : at_most(highest, cut.at);
    };
    if (std::any_of(segment.highest.begin(), segment.highest.end(), is_before)) {
      return Side::before;
    }
    return std::nullopt;
  }

  static For with_known(const For& loop, const std::vector<Cut>& cuts, const Segment& segment) {
    std::unordered_map<const ExprNode*, bool> known;
    for (const Cut& cut : cuts) {
      const std::optional<Side> side = known_side(cut, segment);
      if (!side) continue;
      for (const Cut::Condition& condition : cut.conditions) {
        known[condition.e.get()] = condition.holds_before == (*side == Side::before);
      }
    }
    For result = loop;
    if (known.empty()) return result;
    Rewriter rewrite([&](const Expr& e) {
      const auto found = known.find(e.get());
      return found == known.end() ? e : boolean_constant(found->second);
    });
    result.body = rewrite(loop.body);
    return result;
  }

  // The loop over the segment's iterations.
  For moved(const For& loop, const Segment& segment) {
    For result = loop;
    result.variable = fresh_variable(result.variable.name);
    result.extent = segment.last - segment.first;
    if (constant_length(segment) < 0) {
      if (const std::int64_t most = most_iterations(segment); most <= most_peeled) {
        result.extent = binary(Op::min, result.extent, integer(most));
      }
    }
    result.body =
        loop::substitute(loop.body, {{loop.variable, variable(result.variable) + segment.first}});
    return result;
  }

  // The cuts with more than a few iterations between them and to the ends: of several that are near
  // each other the outer ones, and those next to an end are left out but for the innermost.
  static std::vector<Cut> apart(const std::vector<Cut>& cuts, const Segment& segment) {
    std::vector<Cut> kept;
    for (const Cut& cut : cuts) {
      const auto near_before = [&](const Expr& e) {
        return e != cut.at && at_most(e, cut.at) && is_near(e, cut.at);
      };
      const auto near_after = [&](const Expr& e) {
        return e != cut.at && at_most(cut.at, e) && is_near(cut.at, e);
      };
      const auto any_cut = [&](const auto& is) {
        return std::any_of(cuts.begin(), cuts.end(), [&](const Cut& c) { return is(c.at); });
      };
      const auto any_of = [](const std::vector<Expr>& ends, const auto& is) {
        return std::any_of(ends.begin(), ends.end(), is);
      };
      const bool before = any_cut(near_before) || any_of(segment.lowest, near_before);
      const bool after = any_cut(near_after) || any_of(segment.highest, near_after);
      if (!(before && after)) kept.push_back(cut);
    }
    return kept;
  }

  // The cut among `candidates` that decides most others on both of its sides.
  static const Cut* best_pivot(const std::vector<Cut>& cuts, const std::vector<Cut>& candidates) {
    const Cut* best = nullptr;
    std::size_t most = 0;
    for (const Cut& cut : cuts) {
      const auto is_it = [&](const Cut& c) { return c.at == cut.at; };
      if (std::none_of(candidates.begin(), candidates.end(), is_it)) continue;
      std::size_t before = 1;
      std::size_t after = 1;
      for (const Cut& other : cuts) {
        if (&other == &cut) continue;
        before += at_most(other.at, cut.at) ? 1 : 0;
        after += at_most(cut.at, other.at) ? 1 : 0;
      }
      const std::size_t decided = std::min(before, after);
      if (decided > most) {
        most = decided;
        best = &cut;
      }
    }
    return best;
  }

  std::size_t nodes_left_;
};

// The work of one iteration of so many.
Expr share_of(const Expr& work, const Expr& iterations) {
  const std::optional<Dim> all = as_dim(work);
  const std::optional<Dim> count = as_dim(iterations);
  if (all && count && !count->is_constant(0)) {
    Dim one = floor_div(*all, *count);
    if (one * *count == *all) return size(one);
  }
  return binary(Op::floor_div, work, binary(Op::max, iterations, integer(1)));
}

bool has_conditional_loads(const Block& block) {
  bool found = false;
  std::unordered_set<const ExprNode*> seen;
  std::vector<Expr> order;
  visit_expressions(block, [&](const Expr& e) { append_post_order(e, seen, order); });
  for (const Expr& e : order) found = found || is_conditional(*e);
  return found;
}

}  // namespace

std::vector<Kernel> split_loops(const Kernel& kernel, bool into_kernels) {
  if (!has_conditional_loads(kernel.body)) return {kernel};
  Kernel result = note_independence(kernel);
  result.body = Splitter(kernel)(result.body);
  const bool only_loops = std::all_of(result.body.begin(), result.body.end(),
                                      [](const Stmt& s) { return as_for(s) != nullptr; });
  if (!into_kernels || !only_loops || kernel.body.size() != 1) return {simplify(result)};
  const Expr work_of_one = share_of(kernel.work, as_for(kernel.body[0])->extent);
  std::vector<Kernel> kernels;
  const std::size_t parts = result.body.size();
  const std::size_t together = (parts + most_kernels - 1) / most_kernels;
  for (std::size_t k = 0; k < parts; k += together) {
    Kernel own = kernel;
    own.body.clear();
    own.work = integer(0);
    for (std::size_t part = k; part < std::min(parts, k + together); ++part) {
      own.body.push_back(result.body[part]);
      own.work = own.work + work_of_one * as_for(result.body[part])->extent;
    }
    kernels.push_back(simplify(own));
  }
  return kernels;
}

}  // namespace kroton::loop
