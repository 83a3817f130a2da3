// How long the longest chain of dependent operations of a kernel takes: no number of threads makes
// it shorter.
#pragma once
#include <functional>

#include "compiler/loop/ir.h"

namespace kroton::loop {

// Cycles of a GPU from the operands of an operation to its value.
struct ChainCosts {
  double operation = 4;  // of f32, or integers
  double operation_f64 = 8;
  double function = 20;  // a division, a root; an elementary function where `is_bound`
  double load_shared = 0, load_global = 0;
  double shuffle = 0;  // from one thread of a warp to another
  double barrier = 0;
  double issue = 0;  // between the operations of a thread; 0: all at once
  // True: what no program could go below. A value is there as soon as its operands are, wherever it
  // lies, sums are trees, and nobody waits for others or for memory. Else: as the kernel says it,
  // each thread with its operations in order.
  bool is_bound = true;
};

// Of a kernel that is run once, in cycles. Loops over steps are followed for a few steps, and go on
// as these do; of blocks one is followed, and a few of its threads' iterations, which are all
// alike.
double chain_of(const Kernel& kernel, const ChainCosts& costs,
                const std::function<std::int64_t(const DimAtom&)>& value_of_size);

}  // namespace kroton::loop
