// Tiles of pairs by threads that multiply what their own few results need.
#pragma once
#include <algorithm>

#include "compiler/contraction/gpu_pair_tiles.h"

namespace kroton {

inline constexpr int attention_loads_at_once = 8;

// A thread has a few rows and columns.
template <class Base>
class ByThreads : public Base {
 public:
  using Base::Base;
  using typename Base::Element;
  using typename Base::OfRun;
  using typename Base::Row;

 protected:
  Row row_of(const loop::Variable& thread, const loop::Variable& number) const override {
    const loop::Expr across = loop::integer(this->pairs_.across);
    return {thread, number,
            loop::binary(loop::Op::floor_div, loop::variable(thread), across) *
                    loop::integer(this->pairs_.thread_rows) +
                loop::variable(number),
            loop::binary(loop::Op::mod, loop::variable(thread), across)};
  }

  // Groups of columns as far apart as the tile allows, so that neighbouring threads' loads are
  // neighbours in shared memory.
  loop::Block over_runs(const Row& row, int columns, const OfRun& body) const override {
    const loop::Variable g = loop::fresh_variable("g");
    const int each = columns / this->pairs_.across, group = std::min(each, attention_load);
    const loop::Expr number = loop::variable(g);
    return this->unrolled(
        g, each / group,
        body({number * loop::integer(group * this->pairs_.across) +
                  row.sharer * loop::integer(group),
              loop::variable(row.number) * loop::integer(each) + number * loop::integer(group)},
             group));
  }

  static int line(int width) { return width + gpu_tile_padding; }

  // An operand's elements, a line for each inner one; zeros past its ends.
  loop::Stmt fill(const Contraction& c, bool is_a, const loop::BufferRef& to,
                  const loop::Expr& first, const loop::Expr& first_inner, int width,
                  int depth) const {
    const AxisList& axes = is_a ? c.rows : c.columns;
    const loop::Expr& operand = is_a ? c.a : c.b;
    const Dim size = count(axes), inner_size = count(c.inner);
    const bool inner_runs_fastest =
        is_contiguous(operand, c.inner.back()) || (is_a && !is_contiguous(operand, axes.back()));
    const int elements = width * depth, all = this->plan_.threads();
    const int rounds = (elements + all - 1) / all;
    const int at_once = rounds % attention_loads_at_once == 0 ? attention_loads_at_once : 1;
    const loop::Variable t = loop::fresh_variable("t"), n = loop::fresh_variable("n");
    loop::For groups;
    groups.variable = loop::fresh_variable("group");
    groups.extent = loop::integer(rounds / at_once);
    const loop::Expr round =
        loop::variable(groups.variable) * loop::integer(at_once) + loop::variable(n);
    const loop::Expr number = round * loop::integer(all) + loop::variable(t);
    // A sector of each of several rows: what a warp stores lies in different banks.
    const int sector = inner_runs_fastest ? attention_thread_depth : 1;
    const loop::Expr low = loop::binary(loop::Op::mod, number, loop::integer(sector));
    const loop::Expr high = loop::binary(loop::Op::floor_div, number, loop::integer(sector));
    const loop::Expr at = loop::binary(loop::Op::mod, high, loop::integer(width));
    const loop::Expr k =
        loop::binary(loop::Op::floor_div, high, loop::integer(width)) * loop::integer(sector) + low;
    const loop::Expr inside = loop::binary(
        loop::Op::logical_and, loop::binary(loop::Op::lt, first_inner + k, loop::size(inner_size)),
        loop::binary(loop::Op::lt, first + at, loop::size(size)));
    Places places = this->places_of(axes, first + at);
    for (auto& one : this->places_of(c.inner, first_inner + k)) places.push_back(std::move(one));
    loop::Block body{loop::Store{to, k * loop::integer(line(width)) + at,
                                 this->only_inside(loop::substitute(operand, places), inside)}};
    if (elements % all != 0) {
      body = {loop::statement(loop::If{
          loop::binary(loop::Op::lt, number, loop::integer(elements)), std::move(body), {}})};
    }
    groups.body = this->unrolled(n, at_once, std::move(body));
    return this->threads(t, all, {loop::statement(std::move(groups))});
  }

  // sums += a * b.
  loop::Stmt multiplied(const loop::BufferRef& sums, const loop::BufferRef& a,
                        const loop::BufferRef& b, int columns, int depth) const {
    const loop::Variable t = loop::fresh_variable("t"), r = loop::fresh_variable("r"),
                         k = loop::fresh_variable("k");
    loop::For slices;
    slices.variable = loop::fresh_variable("slice");
    slices.extent = loop::integer(depth / attention_thread_depth);
    const loop::Expr inner =
        loop::variable(slices.variable) * loop::integer(attention_thread_depth) + loop::variable(k);
    const Row row = row_of(t, r);
    slices.body = this->unrolled(
        k, attention_thread_depth,
        this->unrolled(
            r, this->pairs_.thread_rows, this->over_elements(row, columns, [&](const Element& e) {
              const loop::Expr x =
                  loop::load(a, inner * loop::integer(line(this->pairs_.rows)) + row.row);
              const loop::Expr y = loop::load(b, inner * loop::integer(line(columns)) + e.column);
              return loop::Block{
                  loop::Store{sums, e.number, loop::fma(x, y, loop::load(sums, e.number))}};
            })));
    return this->threads(t, this->plan_.threads(), {loop::statement(std::move(slices))});
  }
};

}  // namespace kroton
