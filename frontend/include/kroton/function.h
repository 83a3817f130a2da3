// Compiled functions of tensors.
#pragma once
#include <kroton/ops.h>
#include <kroton/profile.h>
#include <kroton/target.h>
#include <kroton/tensor.h>

#include <array>
#include <iosfwd>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace kroton {

// A new value for a shared variable, stored after each call. All updates and outputs are computed
// from the old values.
struct Update {
  Shared target;
  Tensor value;  // of the variable's dtype and shape
};

// An expression to compute with instead of a variable (or of any other expression).
struct Given {
  Tensor variable;
  Tensor replacement;  // of the same dtype and rank
};

enum class UnusedInput : std::uint8_t { error, ignore };

struct FunctionOptions {
  std::vector<Update> updates = {};
  std::vector<Given> givens = {};
  std::string name = {};  // for messages and dumps; letters, digits and underscores
  Target target = cpu();  // where it runs, and where the shared variables live meanwhile
  UnusedInput on_unused_input = UnusedInput::error;
  bool profile = false;  // measure every kernel of every call, for Function::profile()
};

// One argument of a call: an Array or a view of the caller's memory, or a C++ number for a scalar
// input (it takes the input's dtype; a floating number for an integer input is a TypeError).
class Argument {
 public:
  Argument(const Array& array) : array_(&array) {}  // NOLINT
  template <class T>
    requires std::is_arithmetic_v<T>
  Argument(T number)  // NOLINT
      : floating_(std::is_floating_point_v<T>),
        above_i64_(std::is_unsigned_v<T> && static_cast<double>(number) >= 0x1p63),
        real_(static_cast<double>(number)),
        integer_(std::is_floating_point_v<T> ? 0 : static_cast<std::int64_t>(number)) {}

  const Array* array() const { return array_; }  // null for a number
  bool is_floating() const { return floating_; }
  // An unsigned number of 2^63 or more, which only real() holds.
  bool is_above_i64() const { return above_i64_; }
  double real() const { return real_; }
  std::int64_t integer() const { return integer_; }

 private:
  const Array* array_ = nullptr;
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

namespace detail {

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

inline constexpr int dynamic_outputs = -1;

// A compiled function of N outputs. Copies share the code. Without updates it may be called from
// several threads at once; calls that update the same shared variables wait for each other.
//
// Errors of a call (the shared variables are then as before it): ValueError for a wrong number of
// arguments or an index out of range, TypeError for a wrong dtype, ShapeError for a wrong shape.
template <int N>
class Function {
 public:
  explicit Function(std::shared_ptr<const detail::FunctionCore> core) : core_(std::move(core)) {}

  // One argument per input, in order. Returns the output's Array; with several outputs a
  // std::array of them (for structured bindings); nothing without outputs; a std::vector when the
  // outputs were given as one.
  template <class... Arguments>
  auto operator()(const Arguments&... arguments) const {
    const std::array<Argument, sizeof...(Arguments)> list{Argument(arguments)...};
    return call(list);
  }
  auto call(std::span<const Argument> arguments) const {
    if constexpr (N == dynamic_outputs) {
      std::vector<Array> results(core_->output_count());
      core_->call(arguments, results, false);
      return results;
    } else if constexpr (N == 0) {
      core_->call(arguments, {}, false);
    } else {
      std::array<Array, static_cast<std::size_t>(N)> results;
      core_->call(arguments, results, false);
      if constexpr (N == 1) {
        return std::move(results[0]);
      } else {
        return results;
      }
    }
  }
  // f.into(y, z)(a, b): results are written into the caller's row-major Arrays, which must have
  // the outputs' dtypes and shapes and must not overlap an argument.
  template <class... Outputs>
  auto into(Outputs&... outputs) const {
    return [core = core_, results = std::array<Array, sizeof...(Outputs)>{outputs...}](
               const auto&... arguments) mutable {
      const std::array<Argument, sizeof...(arguments)> list{Argument(arguments)...};
      core->call(list, results, true);
    };
  }

  const std::string& name() const { return core_->name(); }
  // How long compiling took, in seconds.
  double compile_seconds() const { return core_->compile_seconds(); }

  // The optimised program: kernels in the order they run in, loops and branches with what is in
  // them, the user's lines each one computes, its buffers with their sizes and where they lie.
  void print() const { core_->print(nullptr); }  // to std::cout
  void print(std::ostream& stream) const { core_->print(&stream); }
  // The optimised graph in Graphviz's language, one box per kernel: `dot -Tsvg`.
  std::string dot() const { return core_->dot(); }
  // Where the time of the calls so far went. ValueError unless the function was made with
  // `.profile = true`. The first use in a process takes a fraction of a second to measure the
  // machine's peak.
  Profile profile() const { return core_->profile(); }
  // What a call with such arguments needs. Their sizes count; nothing is computed.
  template <class... Arguments>
  MemoryUse memory(const Arguments&... arguments) const {
    const std::array<Argument, sizeof...(Arguments)> list{Argument(arguments)...};
    return core_->memory(list);
  }

 private:
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
