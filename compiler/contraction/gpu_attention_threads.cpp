// Attention by threads that multiply what their own few results need.
#include <algorithm>

#include "compiler/contraction/gpu_attention_builder.h"
#include "compiler/contraction/gpu_pair_threads.h"

namespace kroton {
namespace {

// Keys and values lie in the same place in turns.
class ScalarAttention final : public ByThreads<AttentionBuilder> {
 public:
  using ByThreads::ByThreads;

 private:
  loop::Block begin() override {
    loop::Block block;
    queries_ = allocate(block, "queries", DType::f32, std::int64_t{p_.inner} * line(p_.rows),
                        loop::Space::shared);
    keys_ = allocate(
        block, "keys", DType::f32,
        std::max(std::int64_t{p_.inner} * line(p_.keys), std::int64_t{p_.keys} * line(p_.columns)),
        loop::Space::shared);
    weights_ = allocate(block, "weights", DType::f32, std::int64_t{p_.keys} * line(p_.rows),
                        loop::Space::shared);
    block.push_back(
        fill(a_.products, true, queries_, first_row_, loop::integer(0), p_.rows, p_.inner));
    return block;
  }

  loop::Block begin_again() override { return {}; }

  loop::Block multiply_keys(const loop::Expr& step, bool) override {
    return {loop::Barrier{},
            fill(a_.products, false, keys_, step * loop::integer(p_.keys), loop::integer(0),
                 p_.keys, p_.inner),
            zeros(scores_, p_.keys), loop::Barrier{},
            multiplied(scores_, queries_, keys_, p_.keys, p_.inner)};
  }
  loop::Block wait_for_largest(const loop::Expr& step, bool with_values) override {
    loop::Block block{loop::Barrier{}};
    if (with_values) {
      block.push_back(fill(c_, false, keys_, loop::integer(0), step * loop::integer(p_.keys),
                           p_.columns, p_.keys));
    }
    return block;
  }
  loop::Stmt keep_weight(const Row& row, const loop::Expr& key,
                         const loop::Expr& weight) const override {
    return loop::Store{weights_, key * loop::integer(line(p_.rows)) + row.row, weight};
  }
  loop::Block multiply_values(const loop::Expr&) override {
    return {loop::Barrier{}, multiplied(sums_, weights_, keys_, p_.columns, p_.keys)};
  }

  loop::BufferRef queries_, keys_, weights_;
};

}  // namespace

std::unique_ptr<AttentionBuilder> thread_attention(const Attention& attention,
                                                   const GpuAttentionPlan& plan,
                                                   const GpuTilePlan& tiles,
                                                   const loop::NewBuffer& new_buffer) {
  return std::make_unique<ScalarAttention>(attention, plan, tiles, new_buffer);
}

}  // namespace kroton
