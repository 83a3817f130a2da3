// Products of all pairs of rows and keys that are computed again where their results are needed, as
// kernels for GPUs: attention's gradients (docs/decisions/0054-gradients-of-attention.md).
#pragma once
#include <optional>

#include "compiler/contraction/gpu_pair_plan.h"
#include "compiler/contraction/gpu_tiles.h"

namespace kroton {

//   product[i][batch, rows, keys] = Σ over inner: a[i][batch, rows, inner] * b[i][batch, inner,
//   keys] result[j][batch, rows, columns] = Σ over keys: a[j] * b[j][batch, keys, columns]
//
// where a[j], a weight, is made of the products. Rows, keys, columns and inner elements are one
// axis each. Rows may be what others call keys.
struct Pairs {
  std::vector<Contraction> products;  // rows, keys (their columns); they store nothing
  std::vector<Contraction> results;   // rows, columns, keys (their inner axis)
};

// What a plan depends on.
struct PairsSizes {
  DType element;  // of all operands, as they lie in memory
  bool units;     // the device's matrix units multiply
  std::vector<std::int64_t> inner, columns;
  int shared;  // so many results multiply a tile that a product has, too
};

// A block has so many rows of results, all columns, and goes over so many keys at a time.
struct GpuPairsPlan : PairTilePlan {
  std::vector<int> inner, columns;
  std::string to_string() const;
};

// Nothing where the rows that a block needs have no room in its shared memory.
std::optional<GpuPairsPlan> plan_gpu_pairs(const PairsSizes& sizes);

// The result that multiplies what the product has brought: the same elements in the same order.
bool shares_tile(const Contraction& product, const Contraction& result, DType element);

// Nothing of rows x keys is in global memory. Each result is added up in the order of the keys.
loop::Kernel build_gpu_pairs(const Pairs& pairs, const GpuPairsPlan& plan,
                             const loop::NewBuffer& new_buffer);

}  // namespace kroton
