// The reference interpreter: the meaning of an expression, by plain loops in double precision.
#pragma once
#include <map>

#include "compiler/ir/op.h"

namespace kroton {

// Values of size variables, by their atoms' identity.
using SizeBindings = std::map<std::uint64_t, std::int64_t>;

// The sizes that a value of that shape fixes are added to `sizes`. ShapeError, naming the variable,
// when the rank differs, or when a size has another value already or is fixed to another.
void bind_sizes(const Node& variable, const std::vector<std::int64_t>& shape, SizeBindings& sizes);
// The value of a size. ValueError naming the variable that has none.
std::int64_t evaluate(const Dim& dim, const SizeBindings& sizes);

// The values of `outputs`. `bindings` gives the inputs' values (each input that the outputs reach
// needs one: ValueError) and may replace the current values of shared variables. Free sizes follow
// from all bound values and from `sizes`; ShapeError when sizes that must be equal are not.
std::vector<ReferenceValue> evaluate(std::span<const Tensor> outputs,
                                     const std::map<const Node*, ReferenceValue>& bindings,
                                     SizeBindings sizes = {});

// While one lives, it is called with every value that this thread's evaluations compute, those in
// the bodies of loops too, and may change it: so tests model rounding errors. `inputs` are the
// operands' values, null for one that was not evaluated. Leaves are not passed. They nest: the
// innermost is called.
class ReferenceObserver {
 public:
  using Function = std::function<void(
      const Node& node, std::span<const ReferenceValue* const> inputs, ReferenceValue& value)>;
  explicit ReferenceObserver(Function function);
  ~ReferenceObserver();
  ReferenceObserver(const ReferenceObserver&) = delete;
  ReferenceObserver& operator=(const ReferenceObserver&) = delete;

 private:
  Function function_;
  const Function* previous_;
};

ReferenceValue from_array(const Array& array);
// The values in the dtype: floating ones rounded, integers exact up to 2^53.
Array to_array(const ReferenceValue& value);

}  // namespace kroton
