// vmap: a function of single examples, made one of batches.
#pragma once
#include <kroton/function_of_tensors.h>

namespace kroton {

// The axis of an input that is mapped, a negative one counted from the last; kt::none: the input is
// the same for all rows.
struct MappedAxis {
  MappedAxis(int number) : axis(number), is_mapped(true) {}  // NOLINT
  MappedAxis(NoInitial) {}                                   // NOLINT
  int axis = 0;
  bool is_mapped = false;
};

struct VmapOptions {
  std::vector<MappedAxis> in_axes = {};  // one for each input; left out: the first of each
  std::vector<int> out_axes = {};        // one for each result; left out: in front of each
};

namespace detail {

std::vector<Tensor> vmap(const StepFunction& f, int arity, const std::vector<Operand>& inputs,
                         const VmapOptions& options, SourceLine line);

}  // namespace detail

// The function of batches that does for each row what f does for one:
//
//   auto norms = kt::vmap([](kt::Tensor v) { return kt::sqrt(kt::sum(v * v)); })(matrix);
//
// f is called once, on tensors without the mapped axis, when the result is called. What it computes
// of them is computed for all rows together: one product for all rows, one loop of which every step
// does all rows. There is no loop over the rows. f may use kt::grad, kt::jacobian, kt::scan and
// kt::vmap; what it captures, shared variables for example, is the same for all rows. The results
// are what f returns (a Tensor, a pair, tuple or array of them, a vector), with the mapped axis in
// front or at out_axes; one that depends on no row is repeated.
//
// A branch (ifelse) on a condition of each row's own computes both sides for all rows; what only
// one side may compute, a division by something that is not 0 there, may then give a gradient that
// is NaN. A random stream that f draws from gives each row numbers of its own, those that kt::map
// would.
//
// ValueError, naming it, for an operation that cannot take rows: one of the user's own
// (kt::ExternalOp), an update of a shared variable; kt::map runs such a function in a loop.
// ValueError for in_axes or out_axes that do not fit the inputs or results, or if no input is
// mapped; ShapeError for mapped axes of different sizes, at the call where they are free.
template <class F>
auto vmap(F f, const VmapOptions& options = {},
          const std::source_location& at = std::source_location::current()) {
  static_assert(detail::check_step<F>());
  return detail::FunctionOfTensors<F>(
      [f = std::move(f), options, at](const std::vector<Operand>& inputs, SourceLine line) mutable {
        return detail::vmap(detail::step_function(f, at), detail::arity<F>(), inputs, options,
                            line);
      });
}

}  // namespace kroton
