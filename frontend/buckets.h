// Exchanges between devices that are made together.
#pragma once
#include <kroton/tensor.h>

#include <vector>

namespace kroton::detail {

// The same expressions, in which sums over devices of fixed sizes that do not depend on each other
// are made together: as many as have `bytes`, those first that are computed first. Larger ones stay
// by themselves, as do those of free sizes.
std::vector<Tensor> with_buckets(const std::vector<Tensor>& roots, std::int64_t bytes);

// The positions of `roots` in the order in which they can be computed: by the longest chain of
// operations that each needs.
std::vector<std::size_t> by_depth(const std::vector<Tensor>& roots);

}  // namespace kroton::detail
