#include "compiler/loop/gpu_schedule.h"

#include <kroton/error.h>

#include <algorithm>
#include <unordered_set>

#include "compiler/loop/dependence.h"
#include "compiler/loop/index.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

constexpr int warp = 32;
// Threads of a block where every thread has an element of its own.
constexpr int threads_of_elements = 256;
// The same where every element has a loop of its own: more blocks share the work of few columns.
constexpr int threads_of_loops = 64;
// Threads that share a row, by its length: a warp needs no shared memory to combine its sums.
constexpr std::int64_t warp_row = 512;
constexpr std::int64_t short_row = 16;  // up to here a row is one thread's
constexpr int threads_of_rows = 256;

std::vector<Variable> variables_of(const std::vector<const For*>& loops) {
  std::vector<Variable> result;
  for (const For* loop : loops) result.push_back(loop->variable);
  return result;
}

std::vector<Expr> extents_of(const std::vector<const For*>& loops) {
  std::vector<Expr> result;
  for (const For* loop : loops) result.push_back(loop->extent);
  return result;
}

Expr product(const std::vector<Expr>& extents) {
  Expr result = integer(1);
  for (const Expr& extent : extents) result = result * extent;
  return result;
}

bool depends_on_any(const Expr& e, const std::vector<const For*>& loops) {
  return std::any_of(loops.begin(), loops.end(),
                     [&](const For* loop) { return depends_on(e, loop->variable); });
}

bool is_independent(const For& loop) {
  const LoopFacts facts(loop);
  return !facts.reduces() && facts.iterations_are_independent(true);
}

// The loops that hold nothing but each other, outermost first, as far as `accept` goes. Their
// extents do not depend on each other. `rest` becomes the body of the last.
template <class Accept>
std::vector<const For*> perfect_nest(const Block& block, const Accept& accept, const Block*& rest) {
  std::vector<const For*> loops;
  rest = &block;
  while (rest->size() == 1) {
    const For* loop = as_for(rest->front());
    if (loop == nullptr || loop->kind != LoopKind::serial || depends_on_any(loop->extent, loops) ||
        !accept(*loop)) {
      break;
    }
    loops.push_back(loop);
    rest = &loop->body;
  }
  return loops;
}

bool has_loop(const Block& block) {
  bool found = false;
  visit_statements(block, [&](const Stmt& s) { found = found || as_for(s) != nullptr; });
  return found;
}

bool uses_shared(const Block& block) {
  bool found = false;
  visit_statements(block, [&](const Stmt& s) {
    const auto* store = std::get_if<Store>(&s);
    found = found || (store != nullptr && store->buffer->space == Space::shared);
  });
  return found;
}

// What a statement reads and writes of memory that threads share.
struct Use {
  std::unordered_set<int> read, written;
};

Use use_of(const Stmt& stmt) {
  Use use;
  std::unordered_set<const ExprNode*> seen;
  std::vector<Expr> nodes;
  visit_expressions({stmt}, [&](const Expr& e) { append_post_order(e, seen, nodes); });
  for (const Expr& e : nodes) {
    if (e->op == Op::load) use.read.insert(e->buffer->id);
  }
  visit_statements({stmt}, [&](const Stmt& s) {
    if (const auto* store = std::get_if<Store>(&s)) use.written.insert(store->buffer->id);
  });
  return use;
}

bool meet(const std::unordered_set<int>& a, const std::unordered_set<int>& b) {
  return std::any_of(a.begin(), a.end(), [&](int id) { return b.contains(id); });
}

// Barriers between statements of which one touches what another has written, or overwrites what
// another has read.
Block with_barriers(const Block& block) {
  Block result;
  Use since;
  for (const Stmt& s : block) {
    const Use use = use_of(s);
    if (meet(use.read, since.written) || meet(use.written, since.written) ||
        meet(use.written, since.read)) {
      result.push_back(Barrier{});
      since = {};
    }
    since.read.insert(use.read.begin(), use.read.end());
    since.written.insert(use.written.begin(), use.written.end());
    result.push_back(s);
  }
  return result;
}

class Scheduler {
 public:
  explicit Scheduler(const Kernel& kernel) : kernel_(kernel), next_id_(next_variable_id(kernel)) {}

  Kernel run() {
    if (kernel_.body.empty()) {
      block_count_ = integer(0);
      return finish({}, warp);
    }
    const Block* core = nullptr;
    std::vector<const For*> outer = perfect_nest(kernel_.body, is_independent, core);
    if (has_loop(*core) && can_share(*core) && !suits_threads(outer, *core)) {
      return finish(rows(outer, *core), row_threads_);
    }
    if (uses_shared(*core)) {
      throw InternalError("kernel " + kernel_.name +
                          " keeps rows in shared memory, but blocks cannot share its rows\n" +
                          to_string(kernel_));
    }
    if (!outer.empty()) {
      const int threads = has_loop(*core) ? threads_of_loops : threads_of_elements;
      return finish(elements(outer, *core, threads), threads);
    }
    Block columns = columns_outside();
    if (!columns.empty()) return finish(std::move(columns), threads_of_loops);
    return finish(one_thread(), warp);
  }

 private:
  Variable fresh(const std::string& name) { return {next_id_++, DType::i64, name}; }

  Kernel finish(Block body, int threads) {
    Kernel result = kernel_;
    Block shared;
    std::unordered_set<int> allocated;
    visit_statements(body, [&](const Stmt& s) {
      const auto* store = std::get_if<Store>(&s);
      if (store != nullptr && store->buffer->space == Space::shared &&
          allocated.insert(store->buffer->id).second) {
        shared.push_back(Allocate{store->buffer});
      }
    });
    body.insert(body.begin(), shared.begin(), shared.end());
    For blocks;
    blocks.kind = LoopKind::block;
    blocks.variable = block_;
    blocks.extent = block_count_;
    blocks.width = threads;
    blocks.body = std::move(body);
    result.body = simplify_indices({statement(std::move(blocks))});
    return result;
  }

  // One iteration of the loops a thread.
  Block elements(const std::vector<const For*>& loops, const Block& core, int threads) {
    const std::vector<Expr> extents = extents_of(loops);
    const Expr count = product(extents);
    const Expr width = integer(threads);
    const Variable t = fresh("t");
    std::int64_t known = 0;
    const bool constant = is_integer_constant(count, known);
    const bool one_block = constant && known <= threads;
    const Expr first = one_block ? integer(0) : variable(block_) * width;
    if (const std::optional<Dim> dim = as_dim(count)) {
      block_count_ = size(ceil_div(*dim, threads));
    } else {
      block_count_ = binary(Op::floor_div, count + integer(threads - 1), width);
    }
    For loop;
    loop.kind = LoopKind::thread;
    loop.variable = t;
    loop.extent = binary(Op::min, count - first, width);
    if (constant && known % threads == 0) loop.extent = width;
    if (one_block) loop.extent = count;
    loop.body = substitute(core, unflatten(variables_of(loops), extents, first + variable(t)));
    return {statement(std::move(loop))};
  }

  // One iteration of the loops a block, whose threads share the loops of the core.
  Block rows(const std::vector<const For*>& loops, const Block& core) {
    const std::vector<Expr> extents = extents_of(loops);
    block_count_ = product(extents);
    const Block own = substitute(core, unflatten(variables_of(loops), extents, variable(block_)));
    Block result;
    for (const Stmt& s : own) {
      const For* loop = as_for(s);
      result.push_back(loop == nullptr ? s : shared_loop(*loop));
    }
    return with_barriers(result);
  }

  static bool may_share(const For& loop) {
    const LoopFacts facts(loop);
    return !facts.reads_reduced() && facts.iterations_are_independent(false);
  }

  static bool can_share(const Block& core) {
    return std::all_of(core.begin(), core.end(), [](const Stmt& s) {
      const For* loop = as_for(s);
      if (loop != nullptr) return loop->kind == LoopKind::serial && may_share(*loop);
      return as_if(s) == nullptr;
    });
  }

  // The loop and those nested in it as one thread loop.
  Stmt shared_loop(const For& loop) {
    const Block* core = nullptr;
    const Block whole{statement(loop)};
    const std::vector<const For*> loops = perfect_nest(whole, may_share, core);
    const Variable t = fresh(loops.size() == 1 ? loop.variable.name : "t");
    const std::vector<Expr> extents = extents_of(loops);
    For result;
    result.kind = LoopKind::thread;
    result.variable = t;
    result.extent = product(extents);
    result.body = substitute(*core, unflatten(variables_of(loops), extents, variable(t)));
    return statement(std::move(result));
  }

  // Whether the core is better run by one thread for each iteration of the loops around it: its
  // loops are short, or neighbouring iterations read neighbouring elements. Sets row_threads_.
  bool suits_threads(const std::vector<const For*>& outer, const Block& core) {
    std::int64_t longest = 0;  // -1: not known
    int along_rows = 0;
    int along_columns = 0;
    const auto is_step = [](const Expr& index, const Variable& v) {
      const Expr stride = stride_of(index, v);
      std::int64_t step = 0;
      return stride != nullptr && is_integer_constant(stride, step) && step == 1;
    };
    for (const Stmt& s : core) {
      const For* loop = as_for(s);
      if (loop == nullptr) continue;
      const Block* rest = nullptr;
      const Block whole{s};
      const std::vector<const For*> loops = perfect_nest(whole, may_share, rest);
      std::int64_t count = 0;
      const bool known = is_integer_constant(product(extents_of(loops)), count);
      longest = !known || longest < 0 ? -1 : std::max(longest, count);
      const LoopFacts facts(*loop);
      for (const Access& access : facts.accesses()) {
        if (access.buffer->space != Space::global) continue;
        if (is_step(access.index, loops.back()->variable)) ++along_rows;
        if (!outer.empty() && is_step(access.index, outer.back()->variable)) ++along_columns;
      }
    }
    row_threads_ = longest >= 0 && longest <= warp_row ? warp : threads_of_rows;
    if (outer.empty() || uses_shared(core)) return false;
    return (longest >= 0 && longest <= short_row) || along_columns > along_rows;
  }

  // Serial loops around independent columns, in which all that is written is apart: one thread a
  // column, which keeps the order. Empty if the kernel is no such nest.
  Block columns_outside() {
    const Block* core = nullptr;
    std::vector<const For*> loops =
        perfect_nest(kernel_.body, [](const For&) { return true; }, core);
    if (loops.size() < 2 || has_loop(*core)) return {};
    const For& column = *loops.back();
    const LoopFacts facts(column);
    std::unordered_set<int> written;
    for (const Access& access : facts.accesses()) {
      if (access.is_store) written.insert(access.buffer->id);
    }
    for (const Access& access : facts.accesses()) {
      if (written.contains(access.buffer->id) && !keeps_to_column(access.index, column)) return {};
    }
    if (facts.reduces()) return {};
    loops.pop_back();
    Block inside = *core;
    for (auto it = loops.rbegin(); it != loops.rend(); ++it) {
      For loop = **it;
      loop.body = std::move(inside);
      inside = {statement(std::move(loop))};
    }
    return elements({&column}, inside, threads_of_loops);
  }

  // Whether index == column + a multiple of the columns' number.
  static bool keeps_to_column(const Expr& index, const For& column) {
    const Expr stride = stride_of(index, column.variable);
    std::int64_t step = 0;
    return stride != nullptr && is_integer_constant(stride, step) && step == 1 &&
           is_multiple(substitute(index, {{column.variable, integer(0)}}), column.extent);
  }

  static bool is_multiple(const Expr& e, const Expr& of) {
    if (e == of) return true;
    std::int64_t value = 0;
    std::int64_t divisor = 0;
    if (is_integer_constant(e, value)) {
      return value == 0 ||
             (is_integer_constant(of, divisor) && divisor != 0 && value % divisor == 0);
    }
    if (e->op == Op::add || e->op == Op::sub) {
      return is_multiple(e->args[0], of) && is_multiple(e->args[1], of);
    }
    if (e->op == Op::mul) return is_multiple(e->args[0], of) || is_multiple(e->args[1], of);
    const std::optional<Dim> product = as_dim(e);
    const std::optional<Dim> factor = as_dim(of);
    return product && factor && !factor->is_constant(0) &&
           floor_div(*product, *factor) * *factor == *product;
  }

  // All of the kernel in its order.
  Block one_thread() {
    For loop;
    loop.kind = LoopKind::thread;
    loop.variable = fresh("t");
    loop.extent = integer(1);
    loop.body = kernel_.body;
    return {statement(std::move(loop))};
  }

  const Kernel& kernel_;
  int next_id_;
  Variable block_ = fresh("b");
  Expr block_count_ = integer(1);
  int row_threads_ = threads_of_rows;
};

}  // namespace

std::vector<std::pair<Variable, Expr>> unflatten(const std::vector<Variable>& variables,
                                                 const std::vector<Expr>& extents, const Expr& at) {
  std::vector<std::pair<Variable, Expr>> result;
  Expr rest = at;
  for (std::size_t k = variables.size(); k-- > 0;) {
    const bool last = k == 0;
    result.emplace_back(variables[k], last ? rest : binary(Op::mod, rest, extents[k]));
    if (!last) rest = binary(Op::floor_div, rest, extents[k]);
  }
  return result;
}

Kernel schedule_for_gpu(const Kernel& kernel) { return Scheduler(kernel).run(); }

}  // namespace kroton::loop
