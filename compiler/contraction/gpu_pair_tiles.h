// Kernels for GPUs whose blocks multiply tiles of pairs, a row and a key each, into registers, make
// something else of them, and multiply that: what attention and its gradients have in common.
#pragma once
#include <functional>

#include "compiler/contraction/gpu_pair_plan.h"
#include "compiler/contraction/gpu_tile_builder.h"
#include "compiler/loop/traverse.h"

namespace kroton {

// How rows and columns are shared by the threads is what ByUnits and ByThreads say. The rows are
// those of `result`, the keys its inner elements.
class PairTileBuilder : public GpuTileBuilder {
 public:
  PairTileBuilder(const Contraction& result, const PairTilePlan& pairs,
                  const GpuTilePlan& tile_plan, const loop::NewBuffer& new_buffer)
      : GpuTileBuilder(result, tile_plan, new_buffer), pairs_(pairs) {}

 protected:
  // A row of the tile that a thread has a part of: its number among the thread's rows, which of the
  // threads that share it this one is.
  struct Row {
    loop::Variable thread, number;
    loop::Expr row, sharer;
  };
  // A column that the thread has of such a row, and the register.
  struct Element {
    loop::Expr column, number;
  };
  using OfRow = std::function<loop::Block(const Row&)>;
  using OfElement = std::function<loop::Block(const Element&)>;
  using OfRun = std::function<loop::Block(const Element& first, int count)>;

  virtual Row row_of(const loop::Variable& thread, const loop::Variable& number) const = 0;
  // `body` for the thread's elements of the row, among so many columns: the first of some
  // neighbours, and how many they are.
  virtual loop::Block over_runs(const Row& row, int columns, const OfRun& body) const = 0;

  loop::Stmt over_rows(const OfRow& body) const {
    const loop::Variable t = loop::fresh_variable("t"), r = loop::fresh_variable("r");
    return threads(t, plan_.threads(), unrolled(r, pairs_.thread_rows, body(row_of(t, r))));
  }

  loop::Block over_elements(const Row& row, int columns, const OfElement& body) const {
    return over_runs(row, columns, [&](const Element& first, int count) {
      const loop::Variable next = loop::fresh_variable("next");
      return unrolled(
          next, count,
          body({first.column + loop::variable(next), first.number + loop::variable(next)}));
    });
  }

  loop::Stmt zeros(const loop::BufferRef& to, int columns) const {
    return over_rows([&](const Row& row) {
      return over_elements(row, columns, [&](const Element& e) {
        return loop::Block{loop::Store{to, e.number, loop::real(0, DType::f32)}};
      });
    });
  }

  loop::BufferRef allocate(loop::Block& block, const char* name, DType dtype, std::int64_t size,
                           loop::Space space) const {
    block.push_back(loop::Allocate{new_buffer_(name, dtype, Dim(size), space)});
    return std::get<loop::Allocate>(block.back()).buffer;
  }

  loop::Stmt over_steps(const std::function<loop::Block(const loop::Expr& step)>& body) const {
    loop::For steps;
    steps.variable = loop::fresh_variable("step");
    steps.extent = loop::size(ceil_div(inner_, Dim(pairs_.keys)));
    steps.body = body(loop::variable(steps.variable));
    return loop::statement(std::move(steps));
  }

  // Of rows, keys and these variables, at a place; what is there is loaded from global memory only
  // where the place is one.
  loop::Expr at(const loop::Expr& value, const Row& row, const loop::Expr& key,
                const Places& given) const {
    const loop::Expr place = first_row_ + row.row;
    Places places = places_of(c_.rows, place);
    for (auto& one : places_of(c_.inner, key)) places.push_back(std::move(one));
    places.insert(places.end(), given.begin(), given.end());
    const loop::Expr placed = loop::substitute(value, places);
    loop::Expr inside = loop::boolean_constant(true);
    if (!fits(rows_, pairs_.rows)) inside = loop::binary(loop::Op::lt, place, loop::size(rows_));
    if (!fits(inner_, pairs_.keys)) {
      inside = loop::binary(loop::Op::logical_and, inside,
                            loop::binary(loop::Op::lt, key, loop::size(inner_)));
    }
    return inside->op == loop::Op::integer ? placed : loaded_inside(placed, inside);
  }

  // Nothing is loaded from global memory elsewhere.
  static loop::Expr loaded_inside(const loop::Expr& value, const loop::Expr& inside) {
    loop::Rewriter rewrite([&](const loop::Expr& e) {
      if (e->op != loop::Op::load || e->buffer->space != loop::Space::global) return e;
      const loop::Expr when = loop::is_conditional(*e)
                                  ? loop::binary(loop::Op::logical_and, inside, e->args[1])
                                  : inside;
      return loop::load(e->buffer, e->args[0], when);
    });
    return rewrite(value);
  }

  static loop::Variable scalar(const char* name) {
    loop::Variable variable = loop::fresh_variable(name);
    variable.dtype = DType::f32;
    return variable;
  }
  static loop::Expr zero() { return loop::real(0, DType::f32); }

  static void append(loop::Block& to, loop::Block more) {
    for (loop::Stmt& stmt : more) to.push_back(std::move(stmt));
  }

  const PairTilePlan& pairs_;
};

// A warp of matrix units has 16 rows.
template <class Base>
class ByUnits : public Base {
 public:
  using Base::Base;
  using typename Base::Element;
  using typename Base::OfRun;
  using typename Base::Row;

 protected:
  Row row_of(const loop::Variable& thread, const loop::Variable& number) const override {
    const loop::Expr lane = loop::binary(loop::Op::mod, loop::variable(thread), loop::integer(32));
    const loop::Expr warp =
        loop::binary(loop::Op::floor_div, loop::variable(thread), loop::integer(32));
    return {thread, number,
            warp * loop::integer(attention_warp_rows) + loop::variable(number) * loop::integer(8) +
                loop::binary(loop::Op::floor_div, lane, loop::integer(4)),
            loop::binary(loop::Op::mod, lane, loop::integer(4))};
  }

  // In the places that loop::place_of_sum says: two neighbours of every eight columns.
  loop::Block over_runs(const Row& row, int columns, const OfRun& body) const override {
    const loop::Variable j = loop::fresh_variable("j");
    const loop::Expr two = loop::integer(2);
    return this->unrolled(j, columns / 8,
                          body({loop::variable(j) * loop::integer(8) + row.sharer * two,
                                (loop::variable(j) * two + loop::variable(row.number)) * two},
                               2));
  }
};

}  // namespace kroton
