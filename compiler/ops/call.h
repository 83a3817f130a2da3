// Calls as nodes: a `call` stands for one call of a function of the user's own, and a `call_result`
// for one of the arrays that it gives.
#pragma once
#include "compiler/ir/callee.h"
#include "compiler/ir/op.h"

namespace kroton {

// The attributes of a `call`: dims, the sizes of all results, one after the other; integers, dtype
// and rank of each.
class CallView {
 public:
  explicit CallView(const Attributes& attributes) : attributes_(attributes) {}
  std::vector<TensorType> results() const;

 private:
  const Attributes& attributes_;
};

// Calls the function on the host.
std::int32_t invoke(const Callee& callee, const std::vector<void*>& arrays,
                    const std::vector<std::int64_t>& sizes);

}  // namespace kroton
