// Calls as nodes: a `call` stands for one call of a function of the user's own, and a `call_result`
// for one of the arrays that it gives. Ops that Kroton has as functions of this form (cholesky)
// have records of their own, of the kind `call`, with the same results.
#pragma once
#include "compiler/ir/callee.h"
#include "compiler/ir/op.h"
#include "runtime/abi.h"

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

// The results, as nodes, of a call on these operands by a node of that op.
std::vector<Tensor> make_call(const OpRecord& op, std::shared_ptr<const Callee> callee,
                              std::vector<Tensor> operands, const std::vector<TensorType>& results);

// The result k of a call.
Tensor result_of_call(const Tensor& call, std::size_t k);
// Whether the function takes batches of matrices; and such a call on operands with one more first
// axis each, of that size, which its results get too. What it tells of failures stays as it is.
bool takes_matrices(const Tensor& call);
Tensor call_of_rows(const Tensor& call, std::vector<Tensor> operands, const Dim& count);

// What records of the kind share: vjp_results by the callee's gradient, the function's call.
std::vector<Tensor> differentiate_call(const Tensor& call,
                                       std::span<const std::pair<Tensor, Tensor>> results,
                                       const std::vector<bool>& wanted);
void call_reference(ReferenceContext& context);

// The sizes that the function gets of an array of that shape.
Dims sizes_given(const Callee& callee, const Dims& shape);

// The texts of its errors, numbers left open, where its first operand has that rank.
std::vector<std::string> error_texts(const Callee& callee, int rank);

// Calls the function on the host. Where it fails: code is not KROTON_OK, `site` the position in
// error_texts, and index and size the numbers in it.
// `function` is the callee's, or the same of f64.
kroton_error invoke(const Callee& callee, ExternalFunction function,
                    const std::vector<void*>& arrays, const std::vector<std::int64_t>& sizes);

}  // namespace kroton
