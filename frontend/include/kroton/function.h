// Compiled functions of tensors.
#pragma once
#include <kroton/ops.h>
#include <kroton/profile.h>
#include <kroton/target.h>
#include <kroton/tensor.h>

#include <array>
#include <concepts>
#include <iosfwd>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace kroton {

// A new value for a shared variable, stored after each call. All updates and outputs are computed
// from the old values.
struct Update {
  // The value is a Tensor of the variable's dtype and shape, or a number for a scalar.
  Update(const Shared& variable, const Operand& new_value)
      : target(variable),
        value(new_value.is_empty() ? Tensor() : new_value.tensor(variable.dtype())) {}
  template <class T>
    requires(!std::derived_from<T, Shared>)
  Update(const T&, const Operand&) = delete;  // what is updated is a kt::shared variable

  Shared target;
  Tensor value;
};

// An expression to compute with instead of a variable (or of any other expression).
struct Given {
  Tensor variable;
  Tensor replacement;  // of the same dtype and rank
};

enum class UnusedInput : std::uint8_t { error, ignore };

// What a function checks about itself in every call: slower, for finding mistakes.
enum class Check : std::uint8_t {
  environment,  // what KROTON_CHECK says: 0, memory, values, or 1 for both
  off,
  memory,  // compiled code reads and writes only what it may: else InternalError
  values,  // a result that is not finite though its operands are: NotFiniteError
  all
};

// How convolutions with windows of three places are computed (docs/convolution.md): directly, or in
// tiles of 2 or 4 results along each axis, which take fewer multiplications: with 16 instead of 36,
// or 36 instead of 144, where windows are 3 x 3. Either where it pays, on CPUs.
enum class Winograd : std::uint8_t {
  environment,  // what KROTON_WINOGRAD says: 0, 2 or 4; tiles of 2 where it is not set
  off,
  two,   // rounding errors as large as those of the direct form
  four,  // rounding errors about four times as large
};

struct FunctionOptions {
  std::vector<Update> updates = {};
  std::vector<Given> givens = {};
  std::string name = {};  // for messages and dumps; letters, digits and underscores
  Target target = cpu();  // where it runs, and where the shared variables live meanwhile
  UnusedInput on_unused_input = UnusedInput::error;
  bool profile = false;              // measure every kernel of every call, for Function::profile()
  Check check = Check::environment;  // the checking mode, docs/checking.md
  // Whether a * b + c is rounded once, by a fused multiply-add, wherever it occurs. Faster where
  // arithmetic counts (half the operations of a polynomial), and not the same bits: x * x - y * y
  // need not be 0 where x is y.
  bool contract = false;
  Winograd winograd = Winograd::environment;
  // Of a function on a GPU. Arguments that are on the device already (Array::to) are used there.
  // Others are copied to it in each call; where `uploads` is false they are DeviceErrors instead.
  bool uploads = true;
  // Whether results are copied to the host; else they stay on the device (docs/gpu.md).
  bool downloads = true;
  // Whether its calls run in a stream of the device's that is theirs, beside those of functions in
  // other streams: for functions that several threads call. Whoever uses the same variables or
  // arrays is waited for.
  bool own_stream = false;
  // A stream of the caller's on that device (a cudaStream_t; null: the default one) in whose order
  // calls are: they come after all that it has when they are made, and what it gets later comes
  // after them. ValueError beside own_stream, and for the CPU.
  std::optional<void*> stream = {};
};

// One argument of a call: an Array or a view of the caller's memory; a std::vector or other range
// of elements, which is read where it is, for a vector; or a C++ number for a scalar (it takes the
// input's dtype; a floating number for an integer input is a TypeError). It keeps the Array alive,
// and has a copy of the elements of a range that is a temporary, so that a list of arguments may be
// made before the call. The elements of other ranges are to outlive it.
class Argument {
 public:
  Argument(const Array& array) : owned_(array) {}        // NOLINT
  Argument(Array&& array) : owned_(std::move(array)) {}  // NOLINT
  template <class R>
    requires(ElementRange<std::remove_cvref_t<R>> && !std::same_as<std::remove_cvref_t<R>, Array>)
  Argument(R&& elements) : owned_(view_of(elements)) {  // NOLINT
    constexpr bool stays = std::is_lvalue_reference_v<R> || std::ranges::borrowed_range<R>;
    if constexpr (!stays) owned_ = owned_->copy();
  }
  template <class T>
    requires std::is_arithmetic_v<T>
  Argument(T number)  // NOLINT
      : floating_(std::is_floating_point_v<T>),
        above_i64_(std::is_unsigned_v<T> && static_cast<double>(number) >= 0x1p63),
        real_(static_cast<double>(number)),
        integer_(std::is_floating_point_v<T> ? 0 : static_cast<std::int64_t>(number)) {}

  // One that is over before what it is made of: nothing is counted or copied.
  template <class T>
  static Argument borrowed(const T& value) {
    if constexpr (std::same_as<T, Array>) {
      Argument argument;
      argument.array_ = &value;
      return argument;
    } else {
      return Argument(value);
    }
  }

  const Array* array() const { return owned_ ? &*owned_ : array_; }  // null for a number
  bool is_floating() const { return floating_; }
  // An unsigned number of 2^63 or more, which only real() holds.
  bool is_above_i64() const { return above_i64_; }
  double real() const { return real_; }
  std::int64_t integer() const { return integer_; }

 private:
  Argument() = default;
  template <class R>
  static Array view_of(const R& elements) {
    return Array::view(std::ranges::data(elements),
                       {static_cast<std::int64_t>(std::ranges::size(elements))});
  }

  const Array* array_ = nullptr;
  std::optional<Array> owned_;
  bool floating_ = false;
  bool above_i64_ = false;
  double real_ = 0;
  std::int64_t integer_ = 0;
};

// The memory of a call beside its arguments, shared variables and results, in bytes.
struct MemoryUse {
  std::int64_t arena = 0;           // what the call takes
  std::int64_t without_reuse = 0;   // with a place of its own for every intermediate it stores
  std::int64_t without_fusion = 0;  // with the result of every operation stored, those inside of
                                    // loops left out
};

inline constexpr int dynamic_outputs = -1;

namespace detail {

template <class T>
concept NoOutput = std::is_arithmetic_v<T> || std::same_as<T, Array>;

template <class T>
inline constexpr bool is_argument = std::is_convertible_v<const T&, Argument>;

// Whether a call may have these arguments; where not, the compiler says what it may.
template <class... Arguments>
constexpr bool check_arguments() {
  static_assert((is_argument<Arguments> && ...),
                "an argument of a call is a kt::Array, a number, or a vector of bool, integers of "
                "8 to 64 bits, kt::float16, kt::bfloat16, float or double; a list of all arguments "
                "goes to f.call()");
  return (is_argument<Arguments> && ...);
}

// then(list) of the arguments, which are there as long.
template <class Then, class... Arguments>
auto with_list(const Then& then, const Arguments&... arguments) {
  if constexpr (check_arguments<Arguments...>()) {
    const std::array<Argument, sizeof...(Arguments)> list{Argument::borrowed(arguments)...};
    return then(std::span<const Argument>(list));
  } else {
    return then(std::span<const Argument>());
  }
}

// What a call of N outputs returns: `fill` gets as many Arrays to fill, `count` if that is not
// known when the program is compiled.
template <int N, class Fill>
auto results_of(std::size_t count, const Fill& fill) {
  if constexpr (N == dynamic_outputs) {
    std::vector<Array> results(count);
    fill(std::span<Array>(results));
    return results;
  } else if constexpr (N == 0) {
    fill(std::span<Array>());
  } else {
    std::array<Array, static_cast<std::size_t>(N)> results;
    fill(std::span<Array>(results));
    if constexpr (N == 1) {
      return std::move(results[0]);
    } else {
      return results;
    }
  }
}

// A compiled function, whatever its number of outputs.
class FunctionCore {
 public:
  FunctionCore(const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs,
               FunctionOptions options, SourceLine line);
  ~FunctionCore();
  FunctionCore(const FunctionCore&) = delete;
  FunctionCore& operator=(const FunctionCore&) = delete;

  // Fills `results`, one Array per output. Each is allocated here, or, when `given`, written into.
  void call(std::span<const Argument> arguments, std::span<Array> results, bool given) const;
  std::size_t output_count() const;
  const std::string& name() const;
  double compile_seconds() const;
  void print(std::ostream* stream) const;  // null: std::cout
  std::string dot() const;
  Profile profile() const;
  MemoryUse memory(std::span<const Argument> arguments) const;

  struct Parts;

 private:
  std::unique_ptr<Parts> parts_;
};

}  // namespace detail

// A compiled function of N outputs. Copies share the code. Without updates it may be called from
// several threads at once; calls that update the same shared variables wait for each other.
//
// Errors of a call (the shared variables are then as before it): ValueError for a wrong number of
// arguments or an index out of range, TypeError for a wrong dtype, ShapeError for a wrong shape,
// DeviceError for an Array on another device than the function's.
template <int N>
class Function {
 public:
  explicit Function(std::shared_ptr<const detail::FunctionCore> core) : core_(std::move(core)) {
    if (!core_) throw ValueError("function: there is no compiled function");
  }
  // A handle that is moved from stays what it was.
  Function(const Function&) = default;
  Function& operator=(const Function&) = default;

  // One argument per input, in order. Returns the output's Array; with several outputs a
  // std::array of them (for structured bindings); nothing without outputs; a std::vector when the
  // outputs were given as one.
  template <class... Arguments>
  auto operator()(const Arguments&... arguments) const {
    return detail::with_list([&](std::span<const Argument> list) { return call(list); },
                             arguments...);
  }
  auto call(std::span<const Argument> arguments) const {
    return detail::results_of<N>(core().output_count(), [&](std::span<Array> results) {
      core().call(arguments, results, false);
    });
  }
  // f.into(y, z)(a, b): results are written into the caller's row-major Arrays, which must have
  // the outputs' dtypes and shapes and must not overlap an argument. Those of a function on a GPU
  // may lie on its device; where a check fails they may be written in part.
  template <class... Outputs>
  auto into(Outputs&... outputs) const {
    constexpr bool are_arrays = (std::same_as<std::remove_const_t<Outputs>, Array> && ...);
    static_assert(are_arrays,
                  "results are written into kt::Arrays: kt::Array::view(data, shape) is "
                  "one on your own memory");
    if constexpr (are_arrays) {
      return [core = core_, results = std::array<Array, sizeof...(Outputs)>{
                                outputs...}]<class... T>(const T&... arguments) mutable {
        detail::with_list([&](std::span<const Argument> list) { core->call(list, results, true); },
                          arguments...);
      };
    }
  }

  const std::string& name() const& { return core().name(); }
  std::string name() const&& { return core().name(); }
  // How long compiling took, in seconds.
  double compile_seconds() const { return core().compile_seconds(); }

  // The optimised program: kernels in the order they run in, loops and branches with what is in
  // them, the user's lines each one computes, its buffers with their sizes and where they lie.
  void print() const { core().print(nullptr); }  // to std::cout
  void print(std::ostream& stream) const { core().print(&stream); }
  // The optimised graph in Graphviz's language, one box per kernel: `dot -Tsvg`.
  std::string dot() const { return core().dot(); }
  // Where the time of the calls so far went. ValueError unless the function was made with
  // `.profile = true`. The first use on the CPU in a process takes a fraction of a second to
  // measure the machine's peak.
  Profile profile() const { return core().profile(); }
  // What a call with such arguments needs. Their sizes count; nothing is computed.
  template <class... Arguments>
  MemoryUse memory(const Arguments&... arguments) const {
    return detail::with_list([&](std::span<const Argument> list) { return core().memory(list); },
                             arguments...);
  }

 private:
  const detail::FunctionCore& core() const { return *core_; }

  std::shared_ptr<const detail::FunctionCore> core_;
};

// Compiles a function of `inputs` (variables, each once). Errors when it is built: ValueError for
// an input that is no variable, appears twice or is not used, for a variable that the outputs need
// and that is neither an input nor given, and for two updates of one shared variable; TypeError or
// ShapeError for an update or a given of another type than what it replaces; DeviceError for a
// target that this machine does not have.
inline Function<1> function(const std::vector<Tensor>& inputs, const Tensor& output,
                            FunctionOptions options = {},
                            const std::source_location& at = std::source_location::current()) {
  return Function<1>(std::make_shared<detail::FunctionCore>(inputs, std::vector<Tensor>{output},
                                                            std::move(options),
                                                            SourceLine{at.file_name(), at.line()}));
}
template <std::size_t N>
Function<static_cast<int>(N)> function(
    const std::vector<Tensor>& inputs, const Tensor (&outputs)[N], FunctionOptions options = {},
    const std::source_location& at = std::source_location::current()) {
  return Function<static_cast<int>(N)>(std::make_shared<detail::FunctionCore>(
      inputs, std::vector<Tensor>(outputs, outputs + N), std::move(options),
      SourceLine{at.file_name(), at.line()}));
}
// As many outputs as the vector holds.
inline Function<dynamic_outputs> function(
    const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs,
    FunctionOptions options = {},
    const std::source_location& at = std::source_location::current()) {
  return Function<dynamic_outputs>(std::make_shared<detail::FunctionCore>(
      inputs, outputs, std::move(options), SourceLine{at.file_name(), at.line()}));
}
// The same for a vector of shared variables, for example.
template <TensorRange Outputs>
Function<dynamic_outputs> function(
    const std::vector<Tensor>& inputs, const Outputs& outputs, FunctionOptions options = {},
    const std::source_location& at = std::source_location::current()) {
  return function(inputs, std::vector<Tensor>(outputs.begin(), outputs.end()), std::move(options),
                  at);
}
// As many as the array holds, known to the compiler: auto [a, b] = f(x).
template <std::derived_from<Tensor> T, std::size_t N>
Function<static_cast<int>(N)> function(
    const std::vector<Tensor>& inputs, const std::array<T, N>& outputs,
    FunctionOptions options = {},
    const std::source_location& at = std::source_location::current()) {
  return Function<static_cast<int>(N)>(std::make_shared<detail::FunctionCore>(
      inputs, std::vector<Tensor>(outputs.begin(), outputs.end()), std::move(options),
      SourceLine{at.file_name(), at.line()}));
}
template <detail::NoOutput T, class... Rest>
void function(const std::vector<Tensor>&, T, Rest...) = delete;  // an output is a Tensor
template <std::derived_from<Tensor> T, class... Rest>
void function(const T& input, const Rest&...) = delete;  // inputs are a list: kt::function({x}, y)
// No outputs, only updates.
inline Function<0> function(const std::vector<Tensor>& inputs, FunctionOptions options,
                            const std::source_location& at = std::source_location::current()) {
  return Function<0>(std::make_shared<detail::FunctionCore>(
      inputs, std::vector<Tensor>{}, std::move(options), SourceLine{at.file_name(), at.line()}));
}

// For how many functions this process has generated machine code: a new size does not count, a new
// function does, unless its code was found in the on-disk cache.
std::int64_t compilation_count();

}  // namespace kroton
