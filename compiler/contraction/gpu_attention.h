// Attention as one kernel for GPUs: a product, the softmax of its rows, another product.
#pragma once
#include <optional>

#include "compiler/contraction/gpu_pair_plan.h"
#include "compiler/contraction/gpu_tiles.h"

namespace kroton {

//   result[batch, rows, columns] = Σ over keys: weights[batch, rows, keys] * b[batch, keys,
//   columns] weights = softmax over keys of the scores, which are made of the products of
//   `products`
//
// Rows, keys, columns and the inner axis of the products are one axis each.
struct Attention {
  Contraction products;   // batch, rows, keys (its columns); stores nothing
  loop::Expr score;       // of products.sum and the variables
  loop::Variable weight;  // stands for a weight in result.a, which is linear in it
  Contraction result;     // its inner axis: the keys
  // What is stored of each weight, if that is wanted.
  std::optional<loop::Store> kept = {};
  // What is stored of each row, made of its largest score and the sum of the exponentials: these
  // stand for them.
  loop::Variable largest, total;
  std::vector<loop::Store> of_rows = {};
};

// What a plan depends on.
struct AttentionSizes {
  DType element;  // of all operands, as they lie in memory
  bool units;     // the device's matrix units multiply
  std::int64_t inner, columns;
};

// A block has so many rows of results, all columns, and goes over so many keys at a time. Inner
// elements and columns are filled up with zeros to what the tiles have of them.
struct GpuAttentionPlan : PairTilePlan {
  int inner, columns;
  // Numbers that a row's threads leave for each other, with what keeps rows in different banks.
  int exchange_stride() const { return units ? across : across + across / 4; }
  std::string to_string() const;
};

// Nothing where the rows that a block needs have no room in its shared memory.
std::optional<GpuAttentionPlan> plan_gpu_attention(const AttentionSizes& sizes);

// A block keeps the largest score of each row so far, the sum of the exponentials and the sums of
// the products, which become smaller by a factor when a larger score comes: no score and no weight
// is in global memory. Weights are rounded to the operands' dtype before they are divided by their
// sum.
loop::Kernel build_gpu_attention(const Attention& attention, const GpuAttentionPlan& plan,
                                 const loop::NewBuffer& new_buffer);

}  // namespace kroton
