// Kernels of attention for GPUs: the algorithm, and what each way of multiplying adds to it.
#pragma once
#include <limits>
#include <memory>

#include "compiler/contraction/gpu_attention.h"
#include "compiler/contraction/gpu_pair_tiles.h"

namespace kroton {

// The algorithm. How rows and columns are shared by the threads, and how they multiply, is what
// derived classes say.
class AttentionBuilder : public PairTileBuilder {
 public:
  AttentionBuilder(const Attention& attention, const GpuAttentionPlan& plan,
                   const GpuTilePlan& tile_plan, const loop::NewBuffer& new_buffer)
      : PairTileBuilder(attention.result, plan, tile_plan, new_buffer), a_(attention), p_(plan) {}

 protected:
  // Shared memory, and what comes to it before the first step.
  virtual loop::Block begin() = 0;
  // The same before the first step of going over the keys again.
  virtual loop::Block begin_again() = 0;
  // From the step's begin on: the products of its keys are in `scores_`. Its values are wanted,
  // too, or not.
  virtual loop::Block multiply_keys(const loop::Expr& step, bool with_values) = 0;
  // The threads have left their largest scores, and wait for each other.
  virtual loop::Block wait_for_largest(const loop::Expr& step, bool with_values) = 0;
  // Where a weight is left, and what adds its products to `sums_`, once all are there.
  virtual loop::Stmt keep_weight(const Row& row, const loop::Expr& key,
                                 const loop::Expr& weight) const = 0;
  virtual loop::Block multiply_values(const loop::Expr& step) = 0;

  const Attention& a_;
  const GpuAttentionPlan& p_;
  loop::BufferRef scores_, sums_;

 private:
  loop::Block tile() override {
    const loop::Space registers = loop::Space::registers;
    const int threads_of_block = plan_.threads();
    loop::Block block;
    scores_ =
        allocate(block, "scores", DType::f32, p_.rows * p_.keys / threads_of_block, registers);
    sums_ = allocate(block, "sums", DType::f32, p_.rows * p_.columns / threads_of_block, registers);
    top_ = allocate(block, "top", DType::f32, p_.thread_rows, registers);
    total_ = allocate(block, "total", DType::f32, p_.thread_rows, registers);
    exchange_ = allocate(block, "exchange", DType::f32,
                         std::int64_t{p_.rows} * p_.exchange_stride(), loop::Space::shared);
    append(block, begin());
    block.push_back(over_rows([&](const Row& row) {
      loop::Block body = over_elements(row, p_.columns, [&](const Element& e) {
        return loop::Block{loop::Store{sums_, e.number, zero()}};
      });
      body.push_back(loop::Store{top_, loop::variable(row.number), lowest()});
      body.push_back(loop::Store{total_, loop::variable(row.number), zero()});
      return body;
    }));
    // Weights that are kept are divided by their sum, which takes all keys: once for the sums, once
    // for the weights.
    const bool keeps = a_.kept.has_value();
    block.push_back(over_steps([&](const loop::Expr& step) {
      loop::Block body = multiply_keys(step, !keeps);
      body.push_back(scores(step, true));
      append(body, wait_for_largest(step, !keeps));
      body.push_back(exponentials(step, !keeps));
      if (!keeps) append(body, multiply_values(step));
      return body;
    }));
    if (keeps) block.push_back(loop::Barrier{});  // the last largest scores have been read
    // What a row's threads have of its sum.
    block.push_back(over_rows([&](const Row& row) {
      return loop::Block{loop::Store{exchange_, place_of_own(row),
                                     loop::load(total_, loop::variable(row.number))}};
    }));
    block.push_back(loop::Barrier{});
    block.push_back(over_rows([&](const Row& row) {
      const loop::Variable sum = scalar("sum"), factor = scalar("factor");
      loop::Block body{loop::Declare{sum, zero()}};
      append(body, over_exchanged(row, [&](const loop::Expr& value) {
               return loop::Accumulate{sum, loop::Op::add, value};
             }));
      loop::Expr reciprocal =
          loop::binary(loop::Op::div, loop::real(1, DType::f32), loop::variable(sum));
      if (!inner_.is_constant()) {  // a sum of nothing
        reciprocal = loop::select(loop::binary(loop::Op::lt, loop::integer(0), loop::size(inner_)),
                                  reciprocal, zero());
      }
      if (keeps) {
        body.push_back(loop::Store{total_, loop::variable(row.number), reciprocal});
        return body;
      }
      append(body, store_of_row(row, loop::variable(sum)));
      body.push_back(loop::Declare{factor, reciprocal});
      append(body, store_results(row, loop::variable(factor)));
      return body;
    }));
    if (!keeps) return block;
    append(block, begin_again());
    block.push_back(over_steps([&](const loop::Expr& step) {
      loop::Block body = multiply_keys(step, true);
      body.push_back(scores(step, false));
      append(body, wait_for_largest(step, true));
      body.push_back(kept_weights(step));
      append(body, multiply_values(step));
      return body;
    }));
    // A block does not end while copies to its memory are on their way.
    block.push_back(loop::Barrier{});
    block.push_back(
        over_rows([&](const Row& row) { return store_results(row, loop::real(1, DType::f32)); }));
    return block;
  }

  // One of the row's threads does.
  loop::Block store_of_row(const Row& row, const loop::Expr& sum) const {
    if (a_.of_rows.empty()) return {};
    const loop::Expr place = first_row_ + row.row;
    Places places = places_of(c_.rows, place);
    places.push_back({a_.largest, loop::load(top_, loop::variable(row.number))});
    places.push_back({a_.total, sum});
    loop::If first;
    first.condition = loop::binary(loop::Op::eq, row.sharer, loop::integer(0));
    first.then_body = loop::substitute(loop::Block(a_.of_rows.begin(), a_.of_rows.end()), places);
    return inside(place, rows_, p_.rows, {loop::statement(std::move(first))});
  }

  loop::Block store_results(const Row& row, const loop::Expr& factor) const {
    return over_runs(row, p_.columns, [&](const Element& first, int count) {
      const loop::Variable next = loop::fresh_variable("next");
      return store_neighbours(row.row, first.column, next, count,
                              loop::load(sums_, first.number + loop::variable(next)) * factor);
    });
  }

  // Scores take the place of their products; each thread leaves its largest of each row, if that is
  // wanted.
  loop::Stmt scores(const loop::Expr& step, bool leaves_largest) const {
    return over_rows([&](const Row& row) {
      const loop::Variable most = scalar("most");
      loop::Block body{loop::Declare{most, lowest()}};
      append(
          body, over_elements(row, p_.keys, [&](const Element& e) {
            const loop::Expr key = step * loop::integer(p_.keys) + e.column;
            loop::Block one{loop::Store{scores_, e.number, score(row, key, e.number)}};
            if (leaves_largest) {
              one.push_back(loop::Accumulate{most, loop::Op::max, loop::load(scores_, e.number)});
            }
            return one;
          }));
      if (leaves_largest) {
        body.push_back(loop::Store{exchange_, place_of_own(row), loop::variable(most)});
      }
      return body;
    });
  }

  // Minus infinity behind the last key: it is no part of the row.
  loop::Expr score(const Row& row, const loop::Expr& key, const loop::Expr& number) const {
    const loop::Expr value =
        at(a_.score, row, key, {{a_.products.sum, loop::load(scores_, number)}});
    return fits(inner_, p_.keys)
               ? value
               : loop::select(loop::binary(loop::Op::lt, key, loop::size(inner_)), value, lowest());
  }

  // The largest score so far; as long as nothing but minus infinity has been seen 0, since the
  // difference of two is no number.
  static loop::Expr base_of(const loop::Expr& largest) {
    return loop::select(loop::binary(loop::Op::eq, largest, lowest()), zero(), largest);
  }

  // The exponentials of the step's scores, and what the largest so far does to all sums.
  loop::Stmt exponentials(const loop::Expr& step, bool are_multiplied) const {
    return over_rows([&](const Row& row) {
      const loop::Expr number = loop::variable(row.number);
      const loop::Variable most = scalar("most"), base = scalar("base"), factor = scalar("factor"),
                           sum = scalar("sum");
      loop::Block body{loop::Declare{most, loop::load(top_, number)}};
      append(body, over_exchanged(row, [&](const loop::Expr& value) {
               return loop::Accumulate{most, loop::Op::max, value};
             }));
      body.push_back(loop::Declare{base, base_of(loop::variable(most))});
      body.push_back(loop::Declare{
          factor, loop::unary(loop::Op::exp, loop::load(top_, number) - loop::variable(base))});
      body.push_back(loop::Store{top_, number, loop::variable(most)});
      body.push_back(loop::Declare{sum, zero()});
      append(body, over_elements(row, p_.keys, [&](const Element& e) {
               const loop::Variable weight = scalar("weight");
               loop::Block one{
                   loop::Declare{weight, loop::unary(loop::Op::exp, loop::load(scores_, e.number) -
                                                                        loop::variable(base))},
                   loop::Accumulate{sum, loop::Op::add, loop::variable(weight)}};
               if (are_multiplied) one.push_back(multiply_by(row, step, e, loop::variable(weight)));
               return one;
             }));
      body.push_back(loop::Store{
          total_, number,
          loop::fma(loop::load(total_, number), loop::variable(factor), loop::variable(sum))});
      if (!are_multiplied) return body;
      append(body, over_elements(row, p_.columns, [&](const Element& e) {
               return loop::Block{loop::Store{
                   sums_, e.number, loop::load(sums_, e.number) * loop::variable(factor)}};
             }));
      return body;
    });
  }

  // The step's weights, where all sums are known; they are stored, too.
  loop::Stmt kept_weights(const loop::Expr& step) const {
    return over_rows([&](const Row& row) {
      const loop::Expr number = loop::variable(row.number);
      const loop::Variable base = scalar("base");
      loop::Block body{loop::Declare{base, base_of(loop::load(top_, number))}};
      append(body, over_elements(row, p_.keys, [&](const Element& e) {
               const loop::Expr weight = loop::unary(loop::Op::exp, loop::load(scores_, e.number) -
                                                                        loop::variable(base)) *
                                         loop::load(total_, number);
               return loop::Block{loop::Store{scores_, e.number, weight},
                                  multiply_by(row, step, e, loop::load(scores_, e.number))};
             }));
      append(body, over_runs(row, p_.keys, [&](const Element& first, int count) {
               const loop::Variable next = loop::fresh_variable("next");
               const loop::Expr key = step * loop::integer(p_.keys) + first.column;
               const loop::Expr place = key + loop::variable(next);
               const std::pair<loop::Variable, loop::Expr> weight{
                   a_.weight, loop::load(scores_, first.number + loop::variable(next))};
               loop::For run;
               run.variable = next;
               run.kind = loop::LoopKind::vector;
               run.width = run.unrolled = count;
               run.extent = loop::integer(count);
               if (!fits(inner_, p_.keys)) {
                 run.extent = loop::binary(loop::Op::min, loop::size(inner_) - key, run.extent);
               }
               Places places = places_of(c_.rows, first_row_ + row.row);
               for (auto& one : places_of(c_.inner, place)) places.push_back(std::move(one));
               run.body = {loop::Store{a_.kept->buffer, loop::substitute(a_.kept->index, places),
                                       at(a_.kept->value, row, place, {weight})}};
               return inside(first_row_ + row.row, rows_, p_.rows,
                             {loop::statement(std::move(run))});
             }));
      return body;
    });
  }

  // Leaves what the values are multiplied by, which is made of the weight.
  loop::Stmt multiply_by(const Row& row, const loop::Expr& step, const Element& e,
                         const loop::Expr& weight) const {
    const loop::Expr multiplied = c_.a->dtype == p_.element ? c_.a : c_.a->args[0];
    const loop::Expr key = step * loop::integer(p_.keys) + e.column;
    return keep_weight(row, e.column, at(multiplied, row, key, {{a_.weight, weight}}));
  }

  loop::Expr place_of_own(const Row& row) const {
    return row.row * loop::integer(p_.exchange_stride()) + row.sharer;
  }
  // What all threads of the row have left, in their order.
  template <class Body>
  loop::Block over_exchanged(const Row& row, const Body& body) const {
    const loop::Variable s = loop::fresh_variable("s");
    return unrolled(s, p_.across,
                    {body(loop::load(exchange_, row.row * loop::integer(p_.exchange_stride()) +
                                                    loop::variable(s)))});
  }

  static loop::Expr lowest() {
    return loop::real(-std::numeric_limits<double>::infinity(), DType::f32);
  }

  loop::BufferRef top_, total_, exchange_;
};

std::unique_ptr<AttentionBuilder> unit_attention(const Attention& attention,
                                                 const GpuAttentionPlan& plan,
                                                 const GpuTilePlan& tiles,
                                                 const loop::NewBuffer& new_buffer);
std::unique_ptr<AttentionBuilder> thread_attention(const Attention& attention,
                                                   const GpuAttentionPlan& plan,
                                                   const GpuTilePlan& tiles,
                                                   const loop::NewBuffer& new_buffer);

}  // namespace kroton
