// Expressions computed for many rows at once: every op that depends on a row runs once on a tensor
// that has all rows along a new first axis.
#pragma once
#include <unordered_map>

#include "compiler/ir/node.h"

namespace kroton {

struct Batched {
  Tensor value;
  bool mapped = false;  // whether value has all rows, (count, ...); else it is the same for each
};

// `expression` for all rows at once. `mapped` gives for some nodes (typically the parameters of a
// loop's body) the tensor with all their rows, (count, ...); everything else is the same for all
// rows. What depends on no mapped node stays as it is. nullopt when an op on the way has no rule.
std::optional<Batched> batch(const Tensor& expression,
                             const std::unordered_map<const Node*, Tensor>& mapped,
                             const Dim& count);

// Several expressions; what they share is batched once. One without a result does not hold up the
// others.
std::vector<std::optional<Batched>> batch(std::span<const Tensor> expressions,
                                          const std::unordered_map<const Node*, Tensor>& mapped,
                                          const Dim& count);

// Several expressions, and what `batch` leaves in loops too: a loop becomes one whose states and
// rows are those of all rows, a branch on a condition of each row's own a `where` of both sides,
// and a factorisation takes the matrices of all rows.
struct BatchedAll {
  std::vector<Batched> values;
  Tensor refused;  // the node that has no rule, if there is one; `values` are empty then
};
BatchedAll batch_all(std::span<const Tensor> expressions,
                     const std::unordered_map<const Node*, Tensor>& mapped, const Dim& count);

}  // namespace kroton
