// Kernels of products of pairs for GPUs: what both ways of multiplying do.
#pragma once
#include <memory>

#include "compiler/contraction/gpu_pair_tiles.h"
#include "compiler/contraction/gpu_pairs.h"

namespace kroton {

class PairsBuilder : public PairTileBuilder {
 public:
  PairsBuilder(const Pairs& pairs, const GpuPairsPlan& plan, const GpuTilePlan& tile_plan,
               const loop::NewBuffer& new_buffer)
      : PairTileBuilder(pairs.results[0], plan, tile_plan, new_buffer), a_(pairs), p_(plan) {}

 protected:
  // Shared memory, and what comes to it before the first step.
  virtual loop::Block begin() = 0;
  // The products with the step's keys come to `products_`.
  virtual loop::Block multiply_keys(const loop::Expr& step) = 0;
  // Where a weight of a result is left.
  virtual loop::Stmt keep_weight(std::size_t result, const Row& row, const loop::Expr& key,
                                 const loop::Expr& weight) const = 0;
  // Leaves the weights and adds their products to `sums_`.
  virtual loop::Block multiply_weights(const loop::Expr& step) = 0;

  // The weights of these results, each made of the pair's products; none behind the last key.
  loop::Stmt leave_weights(const loop::Expr& step, std::size_t first, std::size_t end) const {
    return over_rows([&](const Row& row) {
      return over_elements(row, p_.keys, [&](const Element& e) {
        const loop::Expr key = step * loop::integer(p_.keys) + e.column;
        Places given;
        for (std::size_t i = 0; i < a_.products.size(); ++i) {
          given.push_back({a_.products[i].sum, loop::load(products_[i], e.number)});
        }
        loop::Block body;
        for (std::size_t j = first; j < end; ++j) {
          const loop::Expr& all = a_.results[j].a;
          const loop::Expr value =
              at(all->dtype == p_.element ? all : all->args[0], row, key, given);
          const loop::Expr weight =
              fits(inner_, p_.keys)
                  ? value
                  : loop::select(loop::binary(loop::Op::lt, key, loop::size(inner_)), value,
                                 loop::real(0, value->dtype));
          body.push_back(keep_weight(j, row, e.column, weight));
        }
        return body;
      });
    });
  }

  const Pairs& a_;
  const GpuPairsPlan& p_;
  std::vector<loop::BufferRef> products_, sums_;

 private:
  loop::Block tile() override {
    loop::Block block;
    const auto registers = [&](const char* name, int columns) {
      return allocate(block, name, DType::f32, p_.rows * columns / plan_.threads(),
                      loop::Space::registers);
    };
    for (std::size_t i = 0; i < a_.products.size(); ++i) {
      products_.push_back(registers("products", p_.keys));
    }
    for (const int columns : p_.columns) sums_.push_back(registers("sums", columns));
    append(block, begin());
    for (std::size_t j = 0; j < sums_.size(); ++j) block.push_back(zeros(sums_[j], p_.columns[j]));
    block.push_back(over_steps([&](const loop::Expr& step) {
      loop::Block body = multiply_keys(step);
      append(body, multiply_weights(step));
      return body;
    }));
    block.push_back(over_rows([&](const Row& row) {
      loop::Block body;
      for (std::size_t j = 0; j < sums_.size(); ++j) {
        append(body, over_runs(row, p_.columns[j], [&](const Element& first, int count) {
                 const loop::Variable next = loop::fresh_variable("next");
                 return store_neighbours_of(
                     a_.results[j], p_.columns[j], row.row, first.column, next, count,
                     loop::load(sums_[j], first.number + loop::variable(next)));
               }));
      }
      return body;
    }));
    return block;
  }
};

std::unique_ptr<PairsBuilder> unit_pairs(const Pairs& pairs, const GpuPairsPlan& plan,
                                         const GpuTilePlan& tiles,
                                         const loop::NewBuffer& new_buffer);
std::unique_ptr<PairsBuilder> thread_pairs(const Pairs& pairs, const GpuPairsPlan& plan,
                                           const GpuTilePlan& tiles,
                                           const loop::NewBuffer& new_buffer);

}  // namespace kroton
