#include "compiler/ops/samples.h"
#include "compiler/ir/leaf.h"
#include "compiler/scan/scan.h"

namespace kroton {

// Running products, sums of rows, and both at once, over sequences of 0, 1, 3 and 17 rows.
std::vector<Sample> scan_samples() {
  std::vector<Sample> samples;
  for (const DType dtype : ops::dtypes_of(ops::floating)) {
    for (const std::int64_t count : {0, 1, 3, 17}) {
      for (const Collect collect : {Collect::last, Collect::stack, Collect::stack_backwards}) {
        samples.push_back({{ops::spread(dtype, {count, 3}, -1, 1, 1),
                            ops::spread(dtype, {3}, -1, 1, 2), ops::spread(dtype, {3}, -1, 1, 3)},
                           [collect](std::span<const Tensor> in) {
                             const Tensor state = make_input("state", in[1].type(), in[1].line());
                             const Tensor row = make_input("row", in[1].type(), in[1].line());
                             const Tensor next = tanh(state * in[2] + row);
                             ScanDefinition loop;
                             loop.count = in[0].shape(0);
                             loop.states = {{state, in[1], next}};
                             loop.rows = {{row, in[0], 0, 1}};
                             const ScanResult wanted{collect == Collect::last ? state : next * row,
                                                     collect};
                             return make_scan(loop, {&wanted, 1}).front();
                           },
                           true});
      }
    }
  }
  return samples;
}

}  // namespace kroton
