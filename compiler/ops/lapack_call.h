// Calls of LAPACK as nodes (runtime/lapack.h): a routine is two C functions, for f32 and f64.
#pragma once
#include <map>

#include "compiler/ops/call.h"

namespace kroton::ops {

using Gradient = std::vector<Tensor> (*)(std::span<const Tensor> inputs,
                                         std::span<const Tensor> results,
                                         std::span<const Tensor> cotangents);

// What a routine is, in `errors`, by KROTON_LAPACK_...: the text of the first is given.
class Routine {
 public:
  // `name`: of the operation, in dumps and errors.
  Routine(const std::string& name, const std::string& function, ExternalFunction f32,
          ExternalFunction f64, const std::string& no_solution, Gradient gradient = nullptr);
  // The results of the call, of these types; they have the first operand's dtype where `dtype` is
  // none of its own.
  std::vector<Tensor> call(const std::vector<Tensor>& operands,
                           const std::vector<TensorType>& results) const;

 private:
  std::map<DType, std::shared_ptr<const Callee>> callees_;
};

// kroton_<name>, for a routine.
#define KROTON_ROUTINE(name) "kroton_" #name, kroton_##name##_f32, kroton_##name##_f64

}  // namespace kroton::ops
