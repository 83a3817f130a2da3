#include "compiler/loop/gpu_schedule.h"

#include <kroton/error.h>

#include <algorithm>
#include <unordered_set>

#include "compiler/base/machine.h"
#include "compiler/loop/dependence.h"
#include "compiler/loop/index_arithmetic.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

constexpr int warp = Machine::warp;
// Threads of a block where every thread has an element of its own.
constexpr int threads_of_elements = 256;
// The same where every element has a loop of its own: more blocks share the work of few columns.
constexpr int threads_of_loops = 64;
// Threads that share a row, by its length: a warp needs no shared memory to combine its sums.
constexpr std::int64_t warp_row = 512;
constexpr std::int64_t short_row = 16;  // up to here a row is one thread's
constexpr int threads_of_rows = 256;
// Column sums: the groups of threads that share the rows, and how many rows it takes to pay.
constexpr int groups = 8;
constexpr std::int64_t least_grouped_rows = 64;
// Into how many shares the rows or elements are dealt that loops bound to their order store to.
constexpr int shares_of_rows = 32;
constexpr int shares_of_elements = 1024;

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

// What statements read and write of memory that threads share.
struct Use {
  std::unordered_set<int> read, written;
};

Use use_of(const Block& block) {
  Use use;
  std::unordered_set<const ExprNode*> seen;
  std::vector<Expr> nodes;
  visit_expressions(block, [&](const Expr& e) { append_post_order(e, seen, nodes); });
  for (const Expr& e : nodes) {
    if (e->op == Op::load) use.read.insert(e->buffer->id);
  }
  visit_statements(block, [&](const Stmt& s) {
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
    const Use use = use_of({s});
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
  explicit Scheduler(const Kernel& kernel) : kernel_(kernel), next_id_(next_variable_id(kernel)) {
    const Use use = use_of(kernel.body);
    for (const auto* ids : {&use.read, &use.written}) {
      for (const int id : *ids) next_buffer_id_ = std::max(next_buffer_id_, id + 1);
    }
  }

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
    if (Block columns = grouped_columns(outer, *core); !columns.empty()) {
      return finish(std::move(columns), groups * warp);
    }
    if (!outer.empty()) {
      const int threads = has_loop(*core) ? threads_of_loops : threads_of_elements;
      return finish(elements(outer, *core, threads), threads);
    }
    Block in_order = ordered();
    if (!in_order.empty()) return finish(std::move(in_order), threads_of_loops);
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

  static Expr blocks_for(const Expr& count, int per_block) {
    if (const std::optional<Dim> dim = as_dim(count)) return size(ceil_div(*dim, per_block));
    return binary(Op::floor_div, count + integer(per_block - 1), integer(per_block));
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
    block_count_ = blocks_for(count, threads);
    Expr extent = binary(Op::min, count - first, width);
    if (constant && known % threads == 0) extent = width;
    if (one_block) extent = count;
    return {Scheduler::threads(
        t, extent, substitute(core, unflatten(variables_of(loops), extents, first + variable(t))))};
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
    return threads(t, product(extents),
                   substitute(*core, unflatten(variables_of(loops), extents, variable(t))));
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

  // Column sums: 32 neighbouring columns a block, whose rows groups of threads share out; then one
  // thread a column adds up what the groups have. Empty if the core is more than that.
  Block grouped_columns(const std::vector<const For*>& outer, const Block& core) {
    std::vector<Declare> sums;
    Block after;
    const For* loop = nullptr;
    for (const Stmt& s : core) {
      const auto* declare = std::get_if<Declare>(&s);
      if (as_if(s) != nullptr || (loop != nullptr && as_for(s) != nullptr)) return {};
      if (as_for(s) != nullptr) {
        loop = as_for(s);
      } else if (declare != nullptr && loop == nullptr) {
        sums.push_back(*declare);
      } else {
        after.push_back(s);
      }
    }
    if (outer.empty() || loop == nullptr) return {};
    const Block* body = nullptr;
    const Block whole{statement(*loop)};
    const std::vector<const For*> loops = perfect_nest(whole, may_share, body);
    const std::vector<Expr> extents = extents_of(loops);
    const Expr rows = product(extents);
    std::int64_t known = 0;
    if (is_integer_constant(rows, known) && known < least_grouped_rows) return {};
    std::vector<const Accumulate*> accumulations;
    for (const Stmt& s : *body) {
      const auto* sum = std::get_if<Accumulate>(&s);
      const auto declared = std::find_if(sums.begin(), sums.end(), [&](const Declare& d) {
        return sum != nullptr && d.variable == sum->variable &&
               d.init == initial(sum->op, sum->variable.dtype);
      });
      if (declared == sums.end()) return {};
      accumulations.push_back(sum);
    }
    if (accumulations.size() != sums.size() || sums.empty()) return {};

    const Expr count = product(extents_of(outer));
    const Expr width = integer(warp);
    const Expr first = variable(block_) * width;
    block_count_ = blocks_for(count, warp);
    const auto columns = [&](const Block& block, const Expr& column) {
      return substitute(block, unflatten(variables_of(outer), extents_of(outer), column));
    };
    const Variable t = fresh("t");
    const Variable k = fresh("k");
    const Variable c = fresh("c");
    const Variable g = fresh("g");
    const Expr group = binary(Op::floor_div, variable(t), width);
    const Expr column = first + binary(Op::mod, variable(t), width);
    For share;
    share.variable = k;
    share.extent = binary(Op::floor_div, rows + integer(groups - 1) - group, integer(groups));
    share.body = substitute(
        *body, unflatten(variables_of(loops), extents, variable(k) * integer(groups) + group));
    Block own(sums.begin(), sums.end());
    own.push_back(statement(std::move(share)));
    Block total(sums.begin(), sums.end());
    Block combine;
    for (const Accumulate* sum : accumulations) {
      const BufferRef partial = shared_buffer(sum->variable.dtype, groups * warp);
      own.push_back(Store{partial, variable(t), variable(sum->variable)});
      combine.push_back(
          Accumulate{sum->variable, sum->op, load(partial, variable(g) * width + variable(c))});
    }
    For add;
    add.kind = LoopKind::unroll;
    add.variable = g;
    add.extent = integer(groups);
    add.body = std::move(combine);
    total.push_back(statement(std::move(add)));
    total.insert(total.end(), after.begin(), after.end());
    const Stmt inside = statement(If{binary(Op::lt, column, count), columns(own, column), {}});
    return {threads(t, integer(groups * warp), {inside}), Barrier{},
            threads(c, binary(Op::min, count - first, width), columns(total, first + variable(c)))};
  }

  BufferRef shared_buffer(DType dtype, std::int64_t size) {
    Buffer buffer;
    buffer.id = next_buffer_id_++;
    buffer.name = "partial";
    buffer.dtype = dtype;
    buffer.size = Dim(size);
    buffer.space = Space::shared;
    return std::make_shared<const Buffer>(std::move(buffer));
  }

  static Stmt threads(const Variable& t, const Expr& extent, Block body) {
    For loop;
    loop.kind = LoopKind::thread;
    loop.variable = t;
    loop.extent = extent;
    loop.body = std::move(body);
    return statement(std::move(loop));
  }

  // Loops whose iterations may meet. Columns that cannot meet get a thread each. And where all that
  // is stored is one element, the elements are dealt out: each thread goes over all iterations and
  // runs those that store to its share, in order. Empty if neither is possible.
  Block ordered() {
    const Block* core = nullptr;
    std::vector<const For*> loops =
        perfect_nest(kernel_.body, [](const For&) { return true; }, core);
    if (loops.empty() || has_loop(*core)) return {};
    std::vector<const For*> spread;
    const For* column = loops.size() > 1 ? loops.back() : nullptr;
    if (column != nullptr && !columns_are_apart(*column)) column = nullptr;
    if (column != nullptr) loops.pop_back();
    Block inside = *core;
    For shares;
    if (const Expr place = only_place(loops.front()->body, column)) {
      shares.variable = fresh("share");
      shares.extent = integer(column != nullptr ? shares_of_rows : shares_of_elements);
      const Expr mine =
          binary(Op::eq, binary(Op::mod, place, shares.extent), variable(shares.variable));
      inside = {statement(If{mine, std::move(inside), {}})};
      spread.push_back(&shares);
    }
    if (column != nullptr) spread.push_back(column);
    if (spread.empty()) return {};
    for (auto it = loops.rbegin(); it != loops.rend(); ++it) {
      For loop = **it;
      loop.body = std::move(inside);
      inside = {statement(std::move(loop))};
    }
    return elements(spread, inside, threads_of_loops);
  }

  // Where the only store of the block goes: the row of the columns, or the element itself. Null if
  // there are several stores, or what it stores to is read elsewhere.
  static Expr only_place(const Block& block, const For* column) {
    const Store* store = nullptr;
    bool only = true;
    std::vector<Expr> nodes;
    std::unordered_set<const ExprNode*> seen;
    visit_statements(block, [&](const Stmt& s) {
      const auto* one = std::get_if<Store>(&s);
      only = only && (as_for(s) != nullptr || (one != nullptr && store == nullptr));
      if (one != nullptr) store = one;
      visit_own_expressions(s, [&](const Expr& e) { append_post_order(e, seen, nodes); });
    });
    if (!only || store == nullptr) return nullptr;
    for (const Expr& e : nodes) {
      if (e->op == Op::load && e->buffer->id == store->buffer->id && e->args[0] != store->index) {
        return nullptr;
      }
    }
    if (column == nullptr) return store->index;
    const Expr row = substitute(store->index, {{column->variable, integer(0)}});
    if (row->op == Op::mul && row->args[1] == column->extent) return row->args[0];
    return binary(Op::floor_div, row, column->extent);
  }

  static bool columns_are_apart(const For& column) {
    const LoopFacts facts(column);
    std::unordered_set<int> written;
    for (const Access& access : facts.accesses()) {
      if (access.is_store) written.insert(access.buffer->id);
    }
    return !facts.reduces() &&
           std::all_of(facts.accesses().begin(), facts.accesses().end(), [&](const Access& access) {
             return !written.contains(access.buffer->id) || keeps_to_column(access.index, column);
           });
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
  Block one_thread() { return {threads(fresh("t"), integer(1), kernel_.body)}; }

  const Kernel& kernel_;
  int next_id_;
  int next_buffer_id_ = 0;  // above those of the kernel
  Variable block_ = fresh("b");
  Expr block_count_ = integer(1);
  int row_threads_ = threads_of_rows;
};

}  // namespace

Kernel schedule_for_gpu(const Kernel& kernel) { return Scheduler(kernel).run(); }

}  // namespace kroton::loop
