// Loops: a step written once as a C++ function of tensors, run as one real loop inside the compiled
// function. Its gradient is itself a loop. After Theano's scan; docs/scan.md is the guide.
#pragma once
#include <kroton/ops.h>
#include <kroton/tensor.h>

#include <array>
#include <concepts>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace kroton {

// A tensor whose rows the steps read: step t gets row t + tap for every tap, in the order of
// `taps`. Where a tap is negative the rows start so that the earliest tap reads row 0: a sequence
// of n rows with taps {-1, 0, 2} has n - 3 steps, and the first reads rows 0, 1 and 3. With
// go_backwards rows and taps count from the last row.
struct Sequence {
  Sequence(Tensor all_rows, std::vector<int> offsets = {0})  // NOLINT: a Tensor is a sequence
      : rows(std::move(all_rows)), taps(std::move(offsets)) {}
  Tensor rows;
  std::vector<int> taps;
};

struct NoInitial {};
// For an output that no step reads back.
inline constexpr NoInitial none{};

// An output of the step. With an initial value it is a state: the step also gets its earlier
// values, one argument per tap, -1 for the value before. With taps other than {-1} the initial
// value has a leading axis: row k is the value at step k - n, n = the earliest tap's distance.
struct State {
  State(NoInitial) {}                                   // NOLINT
  State(Tensor value, std::vector<int> offsets = {-1})  // NOLINT: a Tensor is an initial value
      : initial(std::move(value)), taps(std::move(offsets)), is_read_back(true) {}
  // A scalar, of a literal's dtype: f32, i64 or boolean.
  template <class T>
    requires std::is_arithmetic_v<T>
  State(T number, const std::source_location& at = std::source_location::current())  // NOLINT
      : State(Operand(number, at).tensor()) {}
  Tensor initial;
  std::vector<int> taps;
  bool is_read_back = false;
};

// How many steps: a size, a number, or an integer scalar computed by + - * from integer scalar
// inputs and numbers (its value is read at the call; ValueError if it, or one of those inputs, is
// negative).
class Steps {
 public:
  Steps(const Dim& count) : dim_(count) {}  // NOLINT
  template <std::integral T>
  Steps(T count) : dim_(static_cast<std::int64_t>(count)) {}            // NOLINT
  Steps(Tensor count) : tensor_(std::move(count)), is_tensor_(true) {}  // NOLINT
  const Dim& dim() const { return dim_; }
  const Tensor& tensor() const { return tensor_; }
  bool is_tensor() const { return is_tensor_; }  // otherwise a Dim

 private:
  Dim dim_;
  Tensor tensor_;
  bool is_tensor_ = false;
};

// What a step returns that may end the loop: its outputs, and whether this step was the last.
template <class Result>
struct Until {
  Result result;
  Tensor condition;
};
// For a step to return: `result` is what it would return otherwise, `condition` a boolean scalar.
// The step at which it holds is the last: later ones are not computed, here and in gradients, and
// every output keeps its value to the end. So y[-1] is the value of the step that ended the loop,
// and a stack has its n_steps rows, the last value repeated in those that were not computed. How
// many steps there were a state can count. n_steps, or the sequences, say how many there are at
// most.
//
//     auto roots = kt::scan(
//         [&](kt::Tensor x) {
//           auto next = x - f(x) / slope(x);
//           return kt::until(next, kt::abs(next - x) < 1e-12);
//         },
//         {.outputs_info = {guess}, .n_steps = 50});
template <class Result>
Until<Result> until(Result result, const Operand& condition) {
  return {std::move(result), condition.tensor()};
}

// Which steps a gradient keeps the states of; it computes the others again.
enum class Checkpoints : std::uint8_t {
  all,  // every step's: nothing is computed twice
  sqrt  // those of about sqrt(steps) steps
};

struct ScanOptions {
  std::vector<Sequence> sequences = {};
  std::vector<State> outputs_info =
      {};  // one per output, in order; may be left out if all are none
  std::vector<Tensor> non_sequences = {};
  std::optional<Steps> n_steps = {};  // default: what the shortest sequence gives
  bool go_backwards = false;          // sequences are read from their last row to their first
  // The gradient flows through this many last steps; -1: through all.
  std::int64_t truncate_gradient = -1;
  // Less memory for gradients: they keep the states of every so many steps only, and compute the
  // stretch of steps between two of them again, so that for n steps they take the memory of
  // n / checkpoint_every + checkpoint_every. 0: as `checkpoint` says.
  std::int64_t checkpoint_every = 0;
  Checkpoints checkpoint = Checkpoints::all;
  // The step may use only its arguments, not tensors captured by the lambda (ValueError).
  bool strict = false;
  std::string name = {};  // for messages and dumps
};

namespace detail {

using StepFunction = std::function<std::vector<Operand>(std::span<const Tensor>)>;

// One stacked result per output of the step: (steps, ...) each. With `ends` the last of the step's
// outputs is the condition of until().
std::vector<Tensor> scan(const StepFunction& step, int arity, const ScanOptions& options,
                         SourceLine line, bool ends = false);
// The last values of the states, those before the first step if there are no steps. ValueError for
// an output that is none.
std::vector<Tensor> fold(const StepFunction& step, int arity, const ScanOptions& options,
                         SourceLine line, bool ends = false);

template <class F, class Sequence>
struct takes_impl;
template <class F, std::size_t... I>
struct takes_impl<F, std::index_sequence<I...>>
    : std::is_invocable<F, decltype((static_cast<void>(I), std::declval<Tensor>()))...> {};
// Whether F can be called with N tensors.
template <class F, std::size_t N>
inline constexpr bool takes = takes_impl<F, std::make_index_sequence<N>>::value;
// Lazy: a generic lambda that takes a tensor is not tried with a span.
template <class F>
inline constexpr bool takes_span =
    std::conjunction_v<std::bool_constant<!takes<F, 1>>,
                       std::is_invocable<F, std::span<const Tensor>>>;
inline constexpr std::size_t most_arguments = 32;
// The number of tensors F takes: its own if there is one number only, most_arguments + 1 if none.
template <class F, std::size_t N = 1>
constexpr std::size_t arity_of() {
  if constexpr (N > most_arguments || takes<F, N>) {
    return N;
  } else {
    return arity_of<F, N + 1>();
  }
}

template <class F, std::size_t... I>
auto call_step(F& f, std::span<const Tensor> arguments, std::index_sequence<I...>) {
  return f(arguments[I]...);
}
template <class F>
auto call_step(F& f, std::span<const Tensor> arguments) {
  if constexpr (takes_span<F>) {
    return f(arguments);
  } else {
    return call_step(f, arguments, std::make_index_sequence<arity_of<F>()>());
  }
}
template <class F>
inline constexpr bool takes_tensors = takes_span<F> || arity_of<F>() <= most_arguments;
template <class F>
using step_result =
    std::remove_cvref_t<decltype(call_step(std::declval<F&>(), std::span<const Tensor>()))>;

// What a step may return: one of these, a tuple of them, or a list of tensors.
template <class T>
concept StepValue = std::derived_from<T, Tensor> || std::is_arithmetic_v<T>;
template <class T, class Sequence>
struct holds_step_values;
template <class T, std::size_t... I>
struct holds_step_values<T, std::index_sequence<I...>>
    : std::bool_constant<(StepValue<std::remove_cvref_t<std::tuple_element_t<I, T>>> && ...)> {};
template <class T>
concept StepTuple = requires { std::tuple_size<T>::value; } &&
                    holds_step_values<T, std::make_index_sequence<std::tuple_size_v<T>>>::value;
template <class T>
inline constexpr bool is_step_result =
    StepValue<T> || StepTuple<T> || TensorRange<T> || std::same_as<T, std::vector<Tensor>>;

// Until<T> -> T.
template <class T>
struct without_until {
  using type = T;
  static constexpr bool ends = false;
};
template <class T>
struct without_until<Until<T>> {
  using type = T;
  static constexpr bool ends = true;
};

template <class Result>
std::vector<Operand> as_list(const Result& result, const std::source_location& at) {
  std::vector<Operand> list;
  if constexpr (without_until<Result>::ends) {
    list = as_list(result.result, at);
    list.emplace_back(result.condition, at);
  } else if constexpr (StepValue<Result>) {
    list.emplace_back(result, at);
  } else if constexpr (StepTuple<Result>) {
    std::apply([&](const auto&... each) { (list.emplace_back(each, at), ...); }, result);
  } else {
    for (const Tensor& each : result) list.emplace_back(each, at);
  }
  return list;
}

// Whether F is a step; where it is not, the compiler says why.
template <class F>
constexpr bool check_step() {
  if constexpr (!takes_tensors<F>) {
    static_assert(takes_tensors<F>,
                  "each argument of a step is a kt::Tensor (or auto), or the only one is a "
                  "std::span<const kt::Tensor>: the values are not known before the function runs");
    return false;
  } else {
    using Result = typename without_until<step_result<F>>::type;
    static_assert(is_step_result<Result>,
                  "a step returns a kt::Tensor or a number, a pair, tuple or array of them, a "
                  "std::vector<kt::Tensor>, or one of these with kt::until");
    return is_step_result<Result>;
  }
}

template <class F>
StepFunction step_function(F& step, const std::source_location& at) {
  return [&step, at](std::span<const Tensor> arguments) {
    return as_list<step_result<F>>(call_step(step, arguments), at);
  };
}
// Whether the step may end the loop.
template <class F>
inline constexpr bool may_end = without_until<step_result<F>>::ends;
// One tensor for each output, in the form in which F returns them.
template <class F>
auto as_returned(std::vector<Tensor> outputs) {
  using Result = typename without_until<step_result<F>>::type;
  if constexpr (StepValue<Result>) {  // x < y is a Mask
    return outputs[0];
  } else if constexpr (StepTuple<Result>) {
    std::array<Tensor, std::tuple_size_v<Result>> result;
    for (std::size_t k = 0; k < result.size(); ++k) result[k] = outputs[k];
    return result;
  } else {
    return outputs;
  }
}
template <class F>
constexpr int arity() {
  return takes_span<F> ? -1 : static_cast<int>(arity_of<F>());
}

}  // namespace detail

// Runs `step` n_steps times. Its arguments are, in this order: for each sequence the rows of its
// taps, for each state its earlier values by tap, the non-sequences. It returns the new value of
// each output: a Tensor, a pair, tuple or array of Tensors, or a vector of them. A number stands
// for a scalar, of its state's dtype if it has one. Tensors that the lambda captures are
// non-sequences too, unless `strict`.
//
// Returns the outputs of all steps, stacked along a new first axis, in the order of the steps: a
// Tensor, a std::array of Tensors (for structured bindings), or a vector, like what `step` returns.
// y[-1] is the last one; an output of which only that is used is not stored.
//
// The step is called once, when the graph is built. Errors: TypeError or ShapeError when a state
// changes its type (named with its type outside and inside the loop), ValueError for a wrong number
// of arguments or outputs, for taps that are not earlier values, and when neither a sequence nor
// n_steps sets the number of steps; at the call ShapeError when a sequence is shorter than n_steps.
template <class F>
auto scan(F step, const ScanOptions& options,
          const std::source_location& at = std::source_location::current()) {
  if constexpr (detail::check_step<F>()) {
    return detail::as_returned<F>(detail::scan(detail::step_function(step, at), detail::arity<F>(),
                                               options, SourceLine{at.file_name(), at.line()},
                                               detail::may_end<F>));
  } else {
    return Tensor();
  }
}

// The values of the last step only: the same arguments, and for each output, which must be a state,
// what is its value after the last step, or the initial one if there are no steps. With taps that
// is one row, the latest. reduce(step, options) is scan(step, options)[-1], also of no steps.
// ValueError for an output that is none; otherwise the errors of scan.
template <class F>
auto reduce(F step, const ScanOptions& options,
            const std::source_location& at = std::source_location::current()) {
  if constexpr (detail::check_step<F>()) {
    return detail::as_returned<F>(detail::fold(detail::step_function(step, at), detail::arity<F>(),
                                               options, SourceLine{at.file_name(), at.line()},
                                               detail::may_end<F>));
  } else {
    return Tensor();
  }
}

// step(row..., non_sequences...) for each row of the sequences.
template <class F>
auto map(F step, std::vector<Sequence> sequences, std::vector<Tensor> non_sequences = {},
         const std::source_location& at = std::source_location::current()) {
  return scan(std::move(step),
              {.sequences = std::move(sequences), .non_sequences = std::move(non_sequences)}, at);
}

namespace detail {

template <class F>
Tensor fold(F step, const ScanOptions& options, const std::source_location& at) {
  if constexpr (check_step<F>()) {
    static_assert(StepValue<step_result<F>>, "the step of a fold returns the next value, a Tensor");
    return fold(step_function(step, at), arity<F>(), options, SourceLine{at.file_name(), at.line()})
        .front();
  } else {
    return Tensor();
  }
}

}  // namespace detail

// The last value of a single state: step(row, state) from the first row on (foldl), or from the
// last row on (foldr). Of no rows: the initial value.
template <class F>
Tensor foldl(F step, std::vector<Sequence> sequences, State initial,
             std::vector<Tensor> non_sequences = {},
             const std::source_location& at = std::source_location::current()) {
  return detail::fold(std::move(step),
                      {.sequences = std::move(sequences),
                       .outputs_info = {std::move(initial)},
                       .non_sequences = std::move(non_sequences)},
                      at);
}
template <class F>
Tensor foldr(F step, std::vector<Sequence> sequences, State initial,
             std::vector<Tensor> non_sequences = {},
             const std::source_location& at = std::source_location::current()) {
  return detail::fold(std::move(step),
                      {.sequences = std::move(sequences),
                       .outputs_info = {std::move(initial)},
                       .non_sequences = std::move(non_sequences),
                       .go_backwards = true},
                      at);
}

}  // namespace kroton
