// Products of pairs by threads that multiply what their own few results need.
#include "compiler/contraction/gpu_pair_threads.h"
#include "compiler/contraction/gpu_pairs_builder.h"

namespace kroton {
namespace {

// What lies across the rows, keys or values, lies in the same place in turns; so do the weights.
class ScalarPairs final : public ByThreads<PairsBuilder> {
 public:
  using ByThreads::ByThreads;

 private:
  loop::Block begin() override {
    loop::Block block;
    const auto shared_of = [&](const char* name, std::int64_t elements) {
      return allocate(block, name, DType::f32, elements, loop::Space::shared);
    };
    std::int64_t in_turns = 0;
    for (std::size_t i = 0; i < a_.products.size(); ++i) {
      in_turns = std::max(in_turns, std::int64_t{p_.inner[i]} * line(p_.keys));
      rows_of_.push_back(shared_of("rows", std::int64_t{p_.inner[i]} * line(p_.rows)));
    }
    for (const int columns : p_.columns) {
      in_turns = std::max(in_turns, std::int64_t{p_.keys} * line(columns));
    }
    keys_ = shared_of("keys", in_turns);
    weights_ = shared_of("weights", std::int64_t{p_.keys} * line(p_.rows));
    for (std::size_t i = 0; i < a_.products.size(); ++i) {
      block.push_back(fill(a_.products[i], true, rows_of_[i], first_row_, loop::integer(0), p_.rows,
                           p_.inner[i]));
    }
    return block;
  }

  loop::Block multiply_keys(const loop::Expr& step) override {
    loop::Block block;
    for (std::size_t i = 0; i < a_.products.size(); ++i) {
      block.push_back(loop::Barrier{});
      block.push_back(fill(a_.products[i], false, keys_, step * loop::integer(p_.keys),
                           loop::integer(0), p_.keys, p_.inner[i]));
      block.push_back(zeros(products_[i], p_.keys));
      block.push_back(loop::Barrier{});
      block.push_back(multiplied(products_[i], rows_of_[i], keys_, p_.keys, p_.inner[i]));
    }
    return block;
  }

  loop::Stmt keep_weight(std::size_t, const Row& row, const loop::Expr& key,
                         const loop::Expr& weight) const override {
    return loop::Store{weights_, key * loop::integer(line(p_.rows)) + row.row, weight};
  }

  loop::Block multiply_weights(const loop::Expr& step) override {
    loop::Block block;
    for (std::size_t j = 0; j < a_.results.size(); ++j) {
      block.push_back(loop::Barrier{});
      block.push_back(leave_weights(step, j, j + 1));
      block.push_back(fill(a_.results[j], false, keys_, loop::integer(0),
                           step * loop::integer(p_.keys), p_.columns[j], p_.keys));
      block.push_back(loop::Barrier{});
      block.push_back(multiplied(sums_[j], weights_, keys_, p_.columns[j], p_.keys));
    }
    return block;
  }

  std::vector<loop::BufferRef> rows_of_;  // by product
  loop::BufferRef keys_, weights_;
};

}  // namespace

std::unique_ptr<PairsBuilder> thread_pairs(const Pairs& pairs, const GpuPairsPlan& plan,
                                           const GpuTilePlan& tiles,
                                           const loop::NewBuffer& new_buffer) {
  return std::make_unique<ScalarPairs>(pairs, plan, tiles, new_buffer);
}

}  // namespace kroton
