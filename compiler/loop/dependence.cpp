#include "compiler/loop/dependence.h"

#include <algorithm>
#include <map>
#include <optional>

#include "compiler/loop/index_arithmetic.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

// The extent of a loop that runs: max(0, n) is n then.
Dim of_running(const Dim& extent) {
  const DimAtomRef atom = extent.as_atom();
  if (!atom || atom->kind != DimAtom::Kind::maximum) return extent;
  for (const std::size_t k : {std::size_t{0}, std::size_t{1}}) {
    if (atom->operands[k].is_constant() && atom->operands[k].constant() <= 0) {
      return atom->operands[1 - k];
    }
  }
  return extent;
}

// A Dim that the extent does not exceed where the loop's body runs.
std::optional<Dim> most_iterations(const Expr& extent) {
  if (extent->op != Op::min) {
    const std::optional<Dim> dim = as_dim(extent);
    return dim ? std::optional(of_running(*dim)) : dim;
  }
  for (const Expr& bound : extent->args) {
    if (const std::optional<Dim> dim = as_dim(bound)) return dim;
  }
  return std::nullopt;
}

// Whether the size is a factor of the number of elements: where one of them is accessed, it is not
// 0.
bool is_factor(const Dim& size, const Dim& elements) {
  const DimAtomRef atom = size.as_atom();
  if (!atom || !provably_at_least(size, 0)) return false;
  const std::vector<Dim::Term> terms = elements.terms();
  return !terms.empty() && std::all_of(terms.begin(), terms.end(), [&](const Dim::Term& term) {
    return std::find(term.factors.begin(), term.factors.end(), atom) != term.factors.end();
  });
}

// One loop's part of an affine index. The extent, or a bound of it, may be unknown.
struct Part {
  Dim stride;
  std::optional<Dim> extent;
};

// Whether different positions of the loops always give different indices: true when the parts can
// be ordered so that each stride exceeds all that the parts before it reach together.
bool is_injective(const std::vector<Part>& parts, const Dim& span) {
  if (parts.empty()) return true;
  for (std::size_t k = 0; k < parts.size(); ++k) {
    if (!provably_at_least(parts[k].stride, span)) continue;
    if (parts.size() == 1) return true;
    if (!parts[k].extent) continue;
    std::vector<Part> rest = parts;
    rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(k));
    if (is_injective(rest, span + parts[k].stride * (*parts[k].extent - 1))) return true;
  }
  return false;
}

constexpr std::size_t max_parts = 6;  // is_injective tries all orders

// Whether the index is a multiple of the size wherever it is evaluated, as far as its form shows.
bool is_multiple_of(const Expr& e, const Expr& size) {
  if (e == size) return true;
  std::int64_t value = 0, divisor = 0;
  if (is_integer_constant(e, value)) {
    return value == 0 ||
           (is_integer_constant(size, divisor) && divisor != 0 && value % divisor == 0);
  }
  const auto is_multiple = [&](const Expr& arg) { return is_multiple_of(arg, size); };
  switch (e->op) {
    case Op::add:
    case Op::sub:
      return std::all_of(e->args.begin(), e->args.end(), is_multiple);
    case Op::mul:
      return std::any_of(e->args.begin(), e->args.end(), is_multiple);
    default:
      return false;
  }
}

}  // namespace

LoopFacts::LoopFacts(const For& loop) : loop_(loop) {
  visit_statements(loop.body, [&](const Stmt& s) {
    if (const auto* declare = std::get_if<Declare>(&s)) declared_.insert(declare->variable.id);
  });
  visit_statements(loop.body, [&](const Stmt& s) {
    const auto reduce = [&](const Variable& v) {
      has_accumulation_ = true;
      if (!declared_.contains(v.id)) reduced_.insert(v.id);
    };
    if (const auto* sum = std::get_if<Accumulate>(&s)) {
      reduce(sum->variable);
      accumulated_dtypes_.push_back(sum->variable.dtype);
    }
    if (const auto* best = std::get_if<AccumulateArg>(&s)) {
      reduce(best->best);
      reduce(best->position);
      accumulated_dtypes_.push_back(best->best.dtype);
    }
    if (const auto* own = std::get_if<Allocate>(&s)) allocated_.insert(own->buffer->id);
    if (const For* inner = as_for(s)) {
      has_inner_loop_ = true;
      has_vector_loop_ = has_vector_loop_ || inner->kind == LoopKind::vector;
    }
  });
  Place place;
  collect(loop.body, place);
}

void LoopFacts::note_expression(const Expr& root, Place& place) {
  std::vector<Expr> order;
  append_post_order(root, place.seen, order);
  for (const Expr& e : order) {
    if (e->op == Op::load) accesses_.push_back({e->buffer, e->args[0], false, place.inner});
    if (!seen_.insert(e.get()).second) continue;
    nodes_.push_back(e);
    const bool is_variable = e->op == Op::variable;
    if (is_variable && reduced_.contains(e->variable.id)) reads_reduced_ = true;
    const bool varies_itself =
        is_variable && (e->variable == loop_.variable || declared_.contains(e->variable.id));
    if (varies_itself ||
        std::any_of(e->args.begin(), e->args.end(), [&](const Expr& arg) { return varies(arg); })) {
      varying_.insert(e.get());
    }
  }
}

void LoopFacts::collect(const Block& block, Place& place) {
  for (const Stmt& s : block) {
    visit_own_expressions(s, [&](const Expr& e) { note_expression(e, place); });
    if (const auto* store = std::get_if<Store>(&s)) {
      accesses_.push_back({store->buffer, store->index, true, place.inner});
    } else if (const For* loop = as_for(s)) {
      has_varying_control_ = has_varying_control_ || varies(loop->extent);
      Place inside{place.inner, {}};
      inside.inner.push_back(loop);
      collect(loop->body, inside);
    } else if (const If* branch = as_if(s)) {
      has_varying_control_ = has_varying_control_ || varies(branch->condition);
      collect(branch->then_body, place);
      collect(branch->else_body, place);
    }
  }
}

Expr LoopFacts::stride(const Expr& index) const {
  if (declared_.empty()) return stride_of(index, loop_.variable);
  for (const Expr& e : post_order(std::span(&index, 1))) {
    if (e->op == Op::variable && declared_.contains(e->variable.id)) return nullptr;
  }
  return stride_of(index, loop_.variable);
}

// All accesses go through the same indices, in loops that may be other ones, and no two iterations
// share one of them.
bool LoopFacts::has_own_element_per_iteration(const std::vector<const Access*>& accesses) const {
  const std::optional<Dim> own = as_dim(stride(accesses.front()->index));
  if (!own) return false;
  std::vector<Part> common;
  Expr origin;
  for (const Access* access : accesses) {
    const std::optional<Dim> moves = as_dim(stride(access->index));
    if (!moves || *moves != *own) return false;
    std::vector<Part> parts;
    std::vector<std::pair<Variable, Expr>> start{{loop_.variable, integer(0)}};
    for (const For* loop : access->inner) {
      if (!depends_on(access->index, loop->variable)) continue;
      const std::optional<Dim> step = as_dim(stride_of(access->index, loop->variable));
      if (!step) return false;
      parts.push_back({*step, most_iterations(loop->extent)});
      start.emplace_back(loop->variable, integer(0));
    }
    const Expr first = substitute(access->index, start);
    if (access == accesses.front()) {
      common = std::move(parts);
      origin = first;
      continue;
    }
    if (first != origin) {
      const std::optional<Dim> distance = difference(first, origin);
      if (!distance || !distance->is_constant(0)) return false;
    }
    if (parts.size() != common.size()) return false;
    for (Part& part : common) {
      const auto same = std::find_if(parts.begin(), parts.end(), [&](const Part& other) {
        return other.stride == part.stride;
      });
      if (same == parts.end()) return false;
      if (same->extent != part.extent) part.extent = std::nullopt;
      parts.erase(same);
    }
  }
  common.push_back({*own, as_dim(loop_.extent)});
  return common.size() <= max_parts && is_injective(common, 1);
}

// Every iteration stays within a window of its own: all accesses move by the same stride, and what
// the inner loops add stays below it.
bool LoopFacts::has_own_window_per_iteration(const std::vector<const Access*>& accesses) const {
  struct Reach {
    Expr base;
    Dim length;  // beyond the base
  };
  std::vector<Reach> reaches;
  const Expr common = stride(accesses.front()->index);
  const std::optional<Dim> own = as_dim(common);
  if (!own) return false;
  const bool is_positive = is_factor(*own, accesses.front()->buffer->size);
  for (const Access* access : accesses) {
    if (stride(access->index) != common) return false;
    Reach reach;
    std::vector<std::pair<Variable, Expr>> origin{{loop_.variable, integer(0)}};
    for (const For* loop : access->inner) {
      if (!depends_on(access->index, loop->variable)) continue;
      const std::optional<Dim> step = as_dim(stride_of(access->index, loop->variable));
      const std::optional<Dim> extent = most_iterations(loop->extent);
      if (!step || !extent || !provably_at_least(*step, 0)) return false;
      reach.length = reach.length + *step * (*extent - 1);
      origin.emplace_back(loop->variable, integer(0));
    }
    reach.base = substitute(access->index, origin);
    reaches.push_back(reach);
  }
  return std::any_of(reaches.begin(), reaches.end(), [&](const Reach& lowest) {
    return std::all_of(reaches.begin(), reaches.end(), [&](const Reach& reach) {
      const std::optional<Dim> distance = difference(reach.base, lowest.base);
      if (!distance || !provably_at_least(*distance, 0)) return false;
      const Dim window = *distance + reach.length + 1;
      return provably_at_least(*own, window) || (is_positive && provably_at_least(1, window));
    });
  });
}

bool LoopFacts::has_own_column_per_iteration(const std::vector<const Access*>& accesses) const {
  return std::all_of(accesses.begin(), accesses.end(), [&](const Access* access) {
    const Expr& index = access->index;
    const Expr step = stride_of(index, loop_.variable);
    std::int64_t elements = 0;
    const bool is_plain =
        std::none_of(access->inner.begin(), access->inner.end(),
                     [&](const For* loop) { return depends_on(index, loop->variable); });
    return is_plain && step && is_integer_constant(step, elements) && elements == 1 &&
           is_multiple_of(substitute(index, {{loop_.variable, integer(0)}}), loop_.extent);
  });
}

bool LoopFacts::holds_where_written(
    bool workers_apart,
    const std::function<bool(const std::vector<const Access*>&)>& independent) const {
  std::map<int, std::vector<const Access*>> by_buffer;
  for (const Access& access : accesses_) by_buffer[access.buffer->id].push_back(&access);
  return std::all_of(by_buffer.begin(), by_buffer.end(), [&](const auto& entry) {
    const std::vector<const Access*>& accesses = entry.second;
    const Space space = accesses.front()->buffer->space;
    if (allocated_.contains(entry.first)) return true;
    if (workers_apart && (space == Space::worker || space == Space::shared)) return true;
    const bool is_written = std::any_of(accesses.begin(), accesses.end(),
                                        [](const Access* access) { return access->is_store; });
    return !is_written || independent(accesses);
  });
}

bool LoopFacts::iterations_are_independent(bool workers_apart) const {
  return holds_where_written(workers_apart, [this](const auto& accesses) {
    // What was known when the loop was made holds for memory that workers share.
    const bool is_known = loop_.is_independent && accesses.front()->buffer->space == Space::global;
    return is_known || has_own_element_per_iteration(accesses) ||
           has_own_window_per_iteration(accesses) || has_own_column_per_iteration(accesses);
  });
}

bool LoopFacts::has_own_columns() const {
  return holds_where_written(
      false, [this](const auto& accesses) { return has_own_column_per_iteration(accesses); });
}

}  // namespace kroton::loop
