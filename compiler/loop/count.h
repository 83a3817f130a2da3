// How much a kernel computes and reads at given sizes: for profiles.
#pragma once
#include <functional>
#include <map>

#include "compiler/loop/ir.h"

namespace kroton::loop {

struct Work {
  double flops = 0;              // floating + - * / min max sqrt and roundings; an fma is two
  std::map<int, double> loads;   // by Buffer::id: elements read, as often as they are read
  std::map<int, double> stores;  // the same, written
};

// An expression counts where place_values has it computed. Of a branch that sizes and the positions
// of loops decide, the side taken counts; of others, which the data decides, both.
Work count_work(const Kernel& kernel,
                const std::function<std::int64_t(const DimAtom&)>& value_of_size);

// The bytes of the arguments' elements that the kernel reads and writes, each counted once per
// direction.
double count_bytes(const Kernel& kernel, const Work& work,
                   const std::function<std::int64_t(const DimAtom&)>& value_of_size);

}  // namespace kroton::loop
