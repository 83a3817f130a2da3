// Loops whose iterations may meet: what they store to is dealt out.
#include <algorithm>

#include "compiler/loop/dependence.h"
#include "compiler/loop/gpu_scheduler.h"
#include "compiler/loop/index_arithmetic.h"

namespace kroton::loop {
namespace {

// Into how many shares the rows or elements are dealt that loops bound to their order store to.
constexpr int shares_of_rows = 32;
constexpr int shares_of_elements = 1024;
// Rows of many columns are dealt out to blocks: how many, of how many threads, and the iterations
// that one looks through at a time, in words.
constexpr int blocks_of_shares = 512;
constexpr int threads_of_shares = 256;
constexpr int chunk_of_shares = 2048;
constexpr int word_of_shares = 32;
// Operations of a block for each that it looks at.
constexpr int work_of_a_look = 60;

// Where the only store of the block goes: the row of the columns, or the element itself. Null if
// there are several stores, or what it stores to is read elsewhere.
Expr only_place(const Block& block, const For* column) {
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

bool is_multiple(const Expr& e, const Expr& of) {
  if (e == of) return true;
  std::int64_t value = 0;
  std::int64_t divisor = 0;
  if (is_integer_constant(e, value)) {
    return value == 0 || (is_integer_constant(of, divisor) && divisor != 0 && value % divisor == 0);
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

// Whether index == column + a multiple of the columns' number.
bool keeps_to_column(const Expr& index, const For& column) {
  const Expr stride = stride_of(index, column.variable);
  std::int64_t step = 0;
  return stride != nullptr && is_integer_constant(stride, step) && step == 1 &&
         is_multiple(substitute(index, {{column.variable, integer(0)}}), column.extent);
}

bool columns_are_apart(const For& column) {
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

}  // namespace

std::optional<OrderedStores> ordered_stores(const Block& body) {
  OrderedStores found;
  const Block* core = nullptr;
  found.loops = perfect_nest(body, [](const For&) { return true; }, core);
  if (found.loops.empty() || core->size() != 1 || is_independent(*found.loops.front())) {
    return std::nullopt;
  }
  found.store = std::get_if<Store>(&core->front());
  if (found.store == nullptr) return std::nullopt;
  const Block& whole = found.loops.front()->body;
  if (found.loops.size() > 1 && columns_are_apart(*found.loops.back())) {
    found.column = found.loops.back();
    found.loops.pop_back();
  }
  found.row = only_place(whole, found.column);
  return found.row != nullptr ? std::optional(found) : std::nullopt;
}

Block GpuScheduler::ordered(const Block& body) {
  const Block* core = nullptr;
  std::vector<const For*> loops = perfect_nest(body, [](const For&) { return true; }, core);
  if (loops.empty() || has_loop(*core)) return {};
  std::vector<const For*> spread;
  const For* column = loops.size() > 1 ? loops.back() : nullptr;
  if (column != nullptr && !columns_are_apart(*column)) column = nullptr;
  if (column != nullptr) loops.pop_back();
  if (column != nullptr && is_long(column->extent)) {
    if (const Expr row = only_place(loops.front()->body, column)) {
      ordered_threads_ = threads_of_shares;
      return in_shares(loops, *column, row, *core);
    }
  }
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

Block GpuScheduler::in_shares(const std::vector<const For*>& loops, const For& column,
                              const Expr& row, const Block& core) {
  constexpr int words = chunk_of_shares / word_of_shares;
  const std::vector<Expr> extents = extents_of(loops);
  const Expr count = product(extents);
  block_count_ = integer(blocks_of_shares);
  further_work_ = count * integer(blocks_of_shares * work_of_a_look);
  // A gap behind each word: threads that count one each reach different banks.
  const BufferRef mine = shared_buffer(DType::i32, chunk_of_shares + words, "mine");
  const BufferRef counts = shared_buffer(DType::i32, words, "counts");
  const Expr word_stride = integer(word_of_shares + 1);
  const auto at = [&](const Expr& position) {
    return unflatten(variables_of(loops), extents, position);
  };
  const Variable chunk = fresh("chunk"), t = fresh("t"), w = fresh("word"), k = fresh("k");
  const Expr first = variable(chunk) * integer(chunk_of_shares);

  const Expr position = first + variable(t);
  const Expr word = integer(word_of_shares);
  const Expr flag =
      binary(Op::floor_div, variable(t), word) * word_stride + binary(Op::mod, variable(t), word);
  const Expr is_mine = binary(Op::eq, binary(Op::mod, substitute(row, at(position)), block_count_),
                              variable(block_));
  const auto note = [&](const Expr& value) { return Block{Store{mine, flag, value}}; };
  const Expr zero = integer(0, DType::i32), one = integer(1, DType::i32);
  Block body{threads(t, integer(chunk_of_shares),
                     {statement(If{binary(Op::lt, position, count),
                                   note(select(is_mine, one, zero)), note(zero)})}),
             Barrier{}};

  Variable sum = fresh("sum");
  sum.dtype = DType::i32;
  For add;
  add.kind = LoopKind::unroll;
  add.variable = fresh("k");
  add.extent = word;
  add.body = {
      Accumulate{sum, Op::add, load(mine, variable(w) * word_stride + variable(add.variable))}};
  body.push_back(threads(
      w, integer(words),
      {Declare{sum, zero}, statement(std::move(add)), Store{counts, variable(w), variable(sum)}}));
  body.push_back(Barrier{});

  const Variable each = fresh("word");
  const Expr number = first + variable(each) * word + variable(k);
  const Block run{threads(column.variable, column.extent, substitute(core, at(number)))};
  const Expr marked = load(mine, variable(each) * word_stride + variable(k));
  For of_word;
  of_word.variable = k;
  of_word.extent = word;
  of_word.body = {statement(If{binary(Op::ne, marked, zero), run, {}})};
  For over_words;
  over_words.variable = each;
  over_words.extent = integer(words);
  over_words.body = {statement(
      If{binary(Op::ne, load(counts, variable(each)), zero), {statement(std::move(of_word))}, {}})};
  body.push_back(statement(std::move(over_words)));
  body.push_back(Barrier{});
  For chunks;
  chunks.variable = chunk;
  chunks.extent = blocks_for(count, chunk_of_shares);
  chunks.body = std::move(body);
  return {statement(std::move(chunks))};
}

}  // namespace kroton::loop
