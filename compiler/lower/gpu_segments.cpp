#include "compiler/lower/gpu_segments.h"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "compiler/loop/gpu_radix_sort.h"
#include "compiler/loop/gpu_running.h"
#include "compiler/loop/gpu_schedule.h"
#include "compiler/loop/gpu_tables.h"
#include "compiler/loop/traverse.h"
#include "compiler/lower/reduction_parts.h"

namespace kroton {
namespace {

using loop::Expr;
using loop::Op;

// Up to so many iterations looking through all of them is quicker than the kernels of a sort: in
// blocks that share the columns of their rows, and where threads have rows or elements.
constexpr std::int64_t few_for_blocks = 24576;
constexpr std::int64_t few_for_threads = 2048;
constexpr std::int64_t columns_of_blocks = 16;

// A stored value as a function of what is there and of what comes to it.
struct Combination {
  Op op = Op::add;
  Expr added;  // null: it replaces what is there
};

Expr without_casts(Expr e) {
  while (e->op == Op::cast) e = e->args[0];
  return e;
}

bool loads_from(const Expr& e, int buffer) {
  const std::vector<Expr> nodes = loop::post_order(std::span(&e, 1));
  return std::any_of(nodes.begin(), nodes.end(), [&](const Expr& node) {
    return node->op == Op::load && node->buffer->id == buffer;
  });
}

template <class Is>
bool has_op(const Expr& e, const Is& is) {
  const std::vector<Expr> nodes = loop::post_order(std::span(&e, 1));
  return std::any_of(nodes.begin(), nodes.end(), [&](const Expr& node) { return is(node->op); });
}

// Rows that are known without looking at memory may be dealt out otherwise.
bool loads_something(const Expr& e) {
  return has_op(e, [](Op op) { return op == Op::load; });
}

std::optional<Combination> combination_of(const loop::Store& store) {
  if (!loads_from(store.value, store.buffer->id)) return Combination{};
  const Expr value = without_casts(store.value);
  if (value->op != Op::add && value->op != Op::mul && value->op != Op::min &&
      value->op != Op::max) {
    return std::nullopt;
  }
  for (const std::size_t k : {0U, 1U}) {
    const Expr there = without_casts(value->args[k]);
    const Expr& added = value->args[1 - k];
    const bool is_there = there->op == Op::load && there->buffer->id == store.buffer->id &&
                          !loop::is_conditional(*there) && there->args[0] == store.index;
    if (is_there && !loads_from(added, store.buffer->id)) return Combination{value->op, added};
  }
  return std::nullopt;
}

loop::For serial_loop(const loop::Variable& v, const Expr& extent, loop::Block body) {
  loop::For loop;
  loop.variable = v;
  loop.extent = extent;
  loop.body = std::move(body);
  return loop;
}

Expr and_also(const Expr& a, const Expr& b) { return loop::binary(Op::logical_and, a, b); }
Expr either(const Expr& a, const Expr& b) { return loop::binary(Op::logical_or, a, b); }
Expr is_not(const Expr& a) { return loop::unary(Op::logical_not, a); }
Expr wide(const Expr& a) { return loop::cast(a, DType::i64); }

loop::Variable scalar(const std::string& name, DType dtype) {
  return {loop::fresh_variable(name).id, dtype, name};
}

class Segments {
 public:
  Segments(const loop::Kernel& kernel, const loop::OrderedStores& stores,
           const Combination& combination, const loop::NewBuffer& new_buffer)
      : kernel_(kernel), stores_(stores), how_(combination), new_buffer_(new_buffer) {}

  std::vector<loop::Kernel> run() {
    if (!find_sizes() || are_many_.is_constant(0)) return {};
    std::vector<loop::Kernel> kernels;
    if (!are_many_.is_constant()) {
      kernels.push_back(kernel_);
      kernels.back().body = only_if(1 - are_many_, kernel_.body);
    }
    if (!in_tables_.is_constant(0)) {
      for (loop::Kernel& one : in_tables()) kernels.push_back(std::move(one));
    }
    if (wanted_.is_constant(0)) return kernels;
    const loop::GpuRadixSort sort(count_, rows_, wanted_, new_buffer_);
    sort_ = &sort;
    kernels.push_back(keys(sort.unsorted(), wanted_));
    for (loop::Kernel& one : sort.kernels(new_buffer_)) kernels.push_back(std::move(one));
    if (how_.added == nullptr) {
      kernels.push_back(last_of_each());
    } else {
      for (loop::Kernel& one : sums()) kernels.push_back(std::move(one));
    }
    return kernels;
  }

 private:
  bool find_sizes() {
    count_ = 1;
    for (const loop::For* loop : stores_.loops) {
      const std::optional<Dim> extent = loop::as_dim(loop->extent);
      if (!extent) return false;
      count_ = count_ * *extent;
    }
    if (stores_.column != nullptr) {
      const std::optional<Dim> extent = loop::as_dim(stores_.column->extent);
      if (!extent) return false;
      columns_ = *extent;
      column_ = stores_.column->variable;
    }
    rows_ = floor_div(stores_.store->buffer->size, maximum(columns_, 1));
    const auto is_at_most = [](const Dim& size, std::int64_t bound) {
      return minimum(1, floor_div(bound, maximum(size, 1)));
    };
    const bool are_in_blocks =
        stores_.column != nullptr &&
        (!columns_.is_constant() || columns_.constant() >= columns_of_blocks);
    const std::int64_t few = are_in_blocks ? few_for_blocks : few_for_threads;
    are_many_ = minimum(1, floor_div(count_, few + 1)) *
                is_at_most(rows_, loop::GpuRadixSort::most_limit) *
                is_at_most(count_, loop::GpuRadixSort::most_keys);
    wanted_ = are_many_ * minimum(1, columns_);  // without columns nothing is looked at
    // The threads of a block with a table wait for each other.
    if (stores_.column == nullptr && how_.added != nullptr && !has_op(how_.added, loop::may_fail)) {
      in_tables_ = wanted_ * is_at_most(rows_, loop::GpuTables::most_rows);
      wanted_ = wanted_ * (1 - is_at_most(rows_, loop::GpuTables::most_rows));
    }
    return true;
  }

  // An expression of the loops for the iteration of that number.
  Expr at(const Expr& e, const Expr& iteration) const {
    std::vector<loop::Variable> variables;
    std::vector<Expr> extents;
    for (const loop::For* loop : stores_.loops) {
      variables.push_back(loop->variable);
      extents.push_back(loop->extent);
    }
    return loop::substitute(e, loop::unflatten(variables, extents, iteration));
  }

  // No iteration of any of the loops touches what another one stores.
  loop::Kernel over(const std::vector<loop::Variable>& variables, const Dims& extents,
                    loop::Block body, std::int64_t work) const {
    for (std::size_t k = variables.size(); k-- > 0;) {
      loop::For loop = serial_loop(variables[k], loop::size(extents[k]), std::move(body));
      loop.is_independent = true;
      body = {loop::statement(std::move(loop))};
    }
    loop::Kernel kernel;
    kernel.body = only_if(wanted_, std::move(body));
    kernel.work = loop::size(element_count(extents) * Dim(work));
    return kernel;
  }

  loop::Kernel keys(const loop::BufferRef& to, const Dim& wanted) const {
    const loop::Variable i = loop::fresh_variable("i");
    const Expr key = loop::cast(at(stores_.row, loop::variable(i)), DType::i32);
    loop::For loop = serial_loop(i, loop::size(count_), {loop::Store{to, loop::variable(i), key}});
    loop.is_independent = true;
    loop::Kernel kernel;
    kernel.body = only_if(wanted, {loop::statement(std::move(loop))});
    kernel.work = loop::size(count_);
    return kernel;
  }

  std::vector<loop::Kernel> in_tables() const {
    loop::GpuTables tables;
    tables.count = count_;
    tables.rows = rows_;
    tables.wanted = in_tables_;
    tables.op = how_.op;
    tables.dtype = how_.added->dtype;
    tables.keys = new_buffer_("keys", DType::i32, count_ * in_tables_, loop::Space::global);
    tables.added = [&](const Expr& i) { return at(how_.added, i); };
    tables.store = [&](const Expr& row, const Expr& sum) -> loop::Stmt {
      return loop::Store{stores_.store->buffer, row, stored_value(row, sum)};
    };
    std::vector<loop::Kernel> kernels = tables.kernels(new_buffer_);
    kernels.insert(kernels.begin(), keys(tables.keys, in_tables_));
    return kernels;
  }

  // What is stored at that place, of what comes to it.
  Expr stored_value(const Expr& place, const Expr& sum) const {
    loop::Rewriter with_sum([&](const Expr& e) {
      if (e == how_.added) return sum;
      const bool is_there = e->op == Op::load && e->buffer->id == stores_.store->buffer->id;
      return is_there ? loop::load(e->buffer, place) : e;
    });
    return with_sum(stores_.store->value);
  }

  // Whether the element at that sorted position is of another row than the next one.
  Expr is_last(const Expr& position, const Expr& key) const {
    const Expr next = position + loop::integer(1);
    const Expr is_within = loop::binary(Op::lt, next, loop::size(count_));
    return either(is_not(is_within), loop::binary(Op::ne, sort_->key(next, is_within), key));
  }

  // The element of this column in a table with a row for each of something.
  Expr place(const Expr& row) const {
    if (stores_.column == nullptr) return row;
    return row * loop::size(columns_) + loop::variable(column_);
  }

  // What the iteration at that sorted position brings.
  Expr brought(const Expr& e, const Expr& position) const {
    return at(e, wide(sort_->place(position)));
  }

  loop::Kernel over_columns(const loop::Variable& v, const Dim& extent, loop::Block body,
                            std::int64_t work) const {
    if (stores_.column == nullptr) return over({v}, {extent}, std::move(body), work);
    return over({v, column_}, {extent, columns_}, std::move(body), work);
  }

  loop::Kernel last_of_each() const {
    const loop::Variable s = loop::fresh_variable("s"), row = scalar("row", DType::i32);
    const Expr here = loop::variable(s);
    return over_columns(s, count_,
                        {loop::Declare{row, sort_->key(here)},
                         loop::statement(loop::If{
                             is_last(here, loop::variable(row)),
                             {loop::Store{stores_.store->buffer, place(wide(loop::variable(row))),
                                          brought(stores_.store->value, here)}},
                             {}})},
                        2);
  }

  // Running sums of what comes to each row, of which the last ones are stored. What may fail comes
  // before: the threads of a block wait for each other.
  std::vector<loop::Kernel> sums() const {
    std::vector<loop::Kernel> kernels;
    Expr added = how_.added;
    const loop::Variable s = loop::fresh_variable("s");
    loop::BufferRef known;
    if (has_op(added, loop::may_fail)) {
      known = new_buffer_("added", added->dtype, count_ * columns_ * wanted_, loop::Space::global);
      kernels.push_back(over_columns(
          s, count_,
          {loop::Store{known, place(loop::variable(s)), brought(added, loop::variable(s))}}, 2));
    }
    const auto in_column = [&](const Expr& e, const Expr& inner) {
      return stores_.column == nullptr ? e : loop::substitute(e, {{column_, inner}});
    };
    loop::GpuRunning running;
    running.count = count_;
    running.inner = columns_;
    running.wanted = wanted_;
    running.dtype = added->dtype;
    running.op = how_.op;
    running.value = [&](const Expr&, const Expr& position, const Expr& inner) {
      if (known != nullptr) {
        return loop::load(known, in_column(place(position), inner));
      }
      return in_column(brought(added, position), inner);
    };
    running.begins = [&](const Expr&, const Expr& position, const Expr&) {
      const Expr has_before = loop::binary(Op::lt, loop::integer(0), position);
      const Expr before = sort_->key(position - loop::integer(1), has_before);
      const Expr goes_on = and_also(has_before, loop::binary(Op::eq, sort_->key(position), before));
      return loop::select(goes_on, loop::integer(0, DType::i32), loop::integer(1, DType::i32));
    };
    running.store = [&](const Expr&, const Expr& position, const Expr& inner,
                        const Expr& sum) -> loop::Stmt {
      const loop::Variable row = scalar("row", DType::i32);
      const Expr to = in_column(place(wide(loop::variable(row))), inner);
      return loop::statement(loop::If{
          is_last(position, sort_->key(position)),
          {loop::Declare{row, sort_->key(position)},
           loop::Store{stores_.store->buffer, to, in_column(stored_value(to, sum), inner)}},
          {}});
    };
    kernels.push_back(running.kernel(new_buffer_));
    return kernels;
  }

  const loop::Kernel& kernel_;
  const loop::OrderedStores& stores_;
  const Combination how_;
  const loop::NewBuffer& new_buffer_;
  const loop::GpuRadixSort* sort_ = nullptr;
  Dim count_ = 1, columns_ = 1, rows_ = 1;
  Dim are_many_ = 1, wanted_ = 1;
  Dim in_tables_ = 0;  // instead of what is wanted
  loop::Variable column_;
};

}  // namespace

std::vector<loop::Kernel> in_segments(const loop::Kernel& kernel,
                                      const loop::NewBuffer& new_buffer) {
  const std::optional<loop::OrderedStores> stores = loop::ordered_stores(kernel.body);
  if (!stores || !loads_something(stores->row)) return {};
  const std::optional<Combination> how = combination_of(*stores->store);
  if (!how) return {};
  return Segments(kernel, *stores, *how, new_buffer).run();
}

}  // namespace kroton
