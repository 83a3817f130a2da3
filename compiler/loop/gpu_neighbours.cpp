// Elementwise work whose operands come by accesses of several elements.
#include <algorithm>

#include "compiler/loop/gpu_scheduler.h"
#include "compiler/loop/index_arithmetic.h"

namespace kroton::loop {
namespace {

// More neighbours of narrow elements are fewer threads.
constexpr std::int64_t least_elements_of_many = 1 << 20;
constexpr std::int64_t few_together = 4;
// Fewer elements are better spread over more threads.
constexpr std::int64_t least_elements = 1 << 18;

// Of an element, where the number of elements is not known: what computes more is better spread
// too.
constexpr int most_for_neighbours = 24;
constexpr int operations_of_function = 10;  // an elementary one

// The block with its indices simplified as those of a loop over these variables.
Block simplified(Block block, const std::vector<std::pair<Variable, Expr>>& variables) {
  for (auto v = variables.rbegin(); v != variables.rend(); ++v) {
    For loop;
    loop.variable = v->first;
    loop.extent = v->second;
    loop.body = std::move(block);
    block = {statement(std::move(loop))};
  }
  block = simplify_indices(block);
  for (std::size_t k = 0; k < variables.size(); ++k) block = Block(as_for(block.front())->body);
  return block;
}

// The kernel for a few neighbours of a thread, and how much of memory lies as they do.
struct Neighbours {
  Block body;
  bool is_possible = false;
  int near = 0, far = 0;  // loads of single elements to neighbours, and of others
  int written = 0;        // arrays
};

// All stores must be to neighbours, and what is overwritten is read where it is written.
Neighbours as_neighbours(Block body, const Variable& k) {
  Neighbours result;
  result.body = std::move(body);
  std::unordered_set<int> written;
  std::unordered_set<const ExprNode*> seen;
  std::vector<Expr> nodes;
  for (const Stmt& s : result.body) {
    const auto* store = std::get_if<Store>(&s);
    if (store == nullptr || !steps_by_one(store->index, k)) return result;
    if (!written.insert(store->buffer->id).second) return result;
    visit_own_expressions(s, [&](const Expr& e) { append_post_order(e, seen, nodes); });
  }
  for (const Expr& e : nodes) {
    if (e->op != Op::load || !depends_on(e, k)) continue;
    ++(!is_conditional(*e) && steps_by_one(e->args[0], k) ? result.near : result.far);
    const bool elsewhere = std::none_of(result.body.begin(), result.body.end(), [&](const Stmt& s) {
      const auto& store = std::get<Store>(s);
      return store.buffer->id == e->buffer->id && store.index == e->args[0];
    });
    if (written.contains(e->buffer->id) && (elsewhere || is_conditional(*e))) return result;
  }
  result.written = static_cast<int>(written.size());
  result.is_possible = true;
  return result;
}

// A free size that the length of a row is a multiple of; null if none shows.
DimAtomRef factor_of(const Expr& length) {
  const std::optional<Dim> dim = as_dim(length);
  if (!dim || dim->is_constant() || dim->terms().size() != 1) return nullptr;
  const std::vector<DimAtomRef> factors = dim->terms().front().factors;
  const auto last = std::find_if(factors.rbegin(), factors.rend(),
                                 [](const DimAtomRef& atom) { return atom->is_variable(); });
  return last == factors.rend() ? nullptr : *last;
}

}  // namespace

Block GpuScheduler::neighbours(const std::vector<const For*>& loops, const Block& core) {
  if (loops.empty()) return {};
  const std::vector<Expr> extents = extents_of(loops);
  const Expr count = product(extents);
  std::int64_t known = 0;
  const bool constant = is_integer_constant(count, known);
  if (constant && known < least_elements) return {};
  std::int64_t widest = 1, narrowest = bytes_together;
  std::unordered_set<const ExprNode*> seen;
  std::vector<Expr> nodes;
  for (const Stmt& s : core) {
    const auto* store = std::get_if<Store>(&s);
    if (store == nullptr || store->buffer->space != Space::global) return {};
    widest = std::max<std::int64_t>(widest, size_of(store->buffer->dtype));
    narrowest = std::min<std::int64_t>(narrowest, size_of(store->buffer->dtype));
    visit_own_expressions(s, [&](const Expr& e) { append_post_order(e, seen, nodes); });
  }
  int operations = 0;
  for (const Expr& e : nodes) {
    if (may_fail(e->op)) return {};
    const bool is_function = Op::exp <= e->op && e->op <= Op::atan2;
    operations += is_function ? operations_of_function : e->args.empty() ? 0 : 1;
    if (e->op != Op::load) continue;
    widest = std::max<std::int64_t>(widest, size_of(e->dtype));
    narrowest = std::min<std::int64_t>(narrowest, size_of(e->dtype));
  }
  if (!constant && operations > most_for_neighbours) return {};
  std::int64_t together = neighbours_of(narrowest, widest);
  if (constant && known < least_elements_of_many) together = std::min(together, few_together);
  if (together < 2) return {};

  For few;
  few.kind = LoopKind::vector;
  few.variable = fresh("k");
  few.width = static_cast<int>(together);
  const Variable t = fresh("t");
  const Expr of_block = integer(threads_of_neighbours * together);
  const Expr first = variable(block_) * of_block + variable(t) * integer(together);
  const bool is_even = constant && known % (threads_of_neighbours * together) == 0;
  few.extent = is_even ? integer(together) : binary(Op::min, count - first, integer(together));
  const Expr blocks = blocks_for(count, static_cast<int>(threads_of_neighbours * together));
  const auto dealt_out = [&](const Block& of, const std::vector<Expr>& lengths) {
    const Expr place = first + variable(few.variable);
    return as_neighbours(simplified(substitute(of, unflatten(variables_of(loops), lengths, place)),
                                    {{block_, blocks},
                                     {t, integer(threads_of_neighbours)},
                                     {few.variable, integer(together)}}),
                         few.variable);
  };
  const auto loop_of = [&](const Neighbours& neighbours) {
    For loop = few;
    loop.body = neighbours.body;
    return statement(std::move(loop));
  };
  const Neighbours anyhow = dealt_out(core, extents);
  // Most accesses must be to neighbours.
  if (!anyhow.is_possible || anyhow.far > anyhow.near + anyhow.written) return {};
  Stmt own = loop_of(anyhow);
  // Where rows are of whole neighbours, what is the same for all rows, or for a row, shows.
  const DimAtomRef free = factor_of(extents.back());
  if (anyhow.far > 0 && extents.size() > 1 && free != nullptr) {
    const Dim whole = Dim(together) * floor_div(Dim::from_terms({{1, {free}}}), together);
    Rewriter with_whole([&](const Expr& e) {
      if (e->op != Op::size) return e;
      return size(e->dim.substitute([&](const DimAtomRef& atom) {
        return atom == free ? std::optional<Dim>(whole) : std::nullopt;
      }));
    });
    std::vector<Expr> lengths;
    for (const Expr& extent : extents) lengths.push_back(with_whole(extent));
    const Neighbours rows = dealt_out(with_whole(core), lengths);
    if (rows.is_possible && rows.far < anyhow.far) {
      const Expr rest = binary(Op::mod, size(Dim::from_terms({{1, {free}}})), integer(together));
      own = statement(If{binary(Op::eq, rest, integer(0)), {loop_of(rows)}, {own}});
    }
  }
  block_count_ = blocks;
  // Threads past the end have no elements.
  return {threads(t, integer(threads_of_neighbours), {own})};
}

}  // namespace kroton::loop
