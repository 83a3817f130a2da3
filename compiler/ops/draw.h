// How an op is called on operands that are drawn at random. Random tests make programs of such
// calls: they run them, and they print them as C++.
#pragma once
#include <kroton/convolution.h>
#include <kroton/index.h>
#include <kroton/ops.h>
#include <kroton/pooling.h>

#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "compiler/ir/op.h"

namespace kroton::ops {

// An operand of a call, by its number.
struct Slot {
  int number = 0;
};

// What one axis of x(...) is indexed with.
struct Cut {
  enum class Kind : std::uint8_t { whole, part, position, tensor };
  Kind kind = Kind::whole;
  std::optional<Dim> start = {}, stop = {};  // part; open where there is none
  std::int64_t step = 1;                     // part
  std::int64_t position = 0;
  Slot slot = {};  // tensor
};

using Widths = std::vector<std::pair<Dim, Dim>>;
// An argument as it stands in a program; std::monostate where it is left out. An `int` is an axis,
// a std::int64_t or a double is a literal.
using Argument =
    std::variant<std::monostate, Slot, std::vector<Slot>, double, std::int64_t, int, bool,
                 std::vector<int>, Dim, Dims, DType, Widths, std::vector<Cut>, std::string, PerAxis,
                 ConvolutionOptions, ConvTransposeOptions, MaxPoolOptions, AveragePoolOptions>;

// A call of one of the functions that users have.
struct Call {
  std::string function;  // "softmax"; "index" for x(...)
  std::vector<Argument> arguments;
  // The result, on these operands.
  std::function<Tensor(std::span<const Argument>, std::span<const Tensor>)> apply;
};

// Which dtypes an operand may have.
using Accept = bool (*)(DType);
inline bool any_dtype(DType) { return true; }
inline bool number(DType dtype) { return dtype != DType::boolean; }
inline bool floating(DType dtype) { return is_float(dtype); }
inline bool integer(DType dtype) { return is_integer(dtype); }
inline bool truth(DType dtype) { return dtype == DType::boolean; }
// Those it takes of which samples are made: boolean, and numbers of 32 and 64 bits that may be
// negative. What is right for these is tested on the others by a few samples (test_dtype_ops.cpp).
std::vector<DType> dtypes_of(Accept accept);
std::vector<DType> all_dtypes_of(Accept accept);

// What a record's `draw` sees: random numbers, and operands to choose from. It ends with `call`.
class Draw {
 public:
  virtual ~Draw() = default;
  virtual int below(int count) = 0;  // a random number in [0, count)
  bool one_in(int count) { return below(count) == 0; }

  // A tensor at hand, of such a dtype and rank.
  virtual Slot operand(Accept accept, int min_rank = 0, int max_rank = 4) = 0;
  // One that broadcasts with that operand, itself included.
  virtual Slot partner(Slot x, Accept accept) = 0;
  // One of that type.
  virtual Slot of_type(const TensorType& type) = 0;
  // One of that shape whose elements are indices of an axis of that size.
  virtual Slot indices(const Dims& shape, const Dim& size) = 0;
  // A size that the program has, and what a size is in its first call.
  virtual Dim size() = 0;
  virtual std::int64_t value(const Dim& size) const = 0;
  virtual const Tensor& operator[](Slot slot) const = 0;

  // A literal for an operand that meets x: of x's kind of number.
  Argument literal(Slot x);
  // An axis of x, at times counted from the end; x has one.
  int axis(Slot x);

  // The call: a function of <kroton/ops.h> and its arguments.
  template <class... Parameters, class... Arguments>
  void call(std::string function, Tensor (*f)(Parameters...), Arguments... arguments) {
    made_ = {std::move(function), {Argument(std::move(arguments))...}, bound(f)};
  }
  void call(Call made) { made_ = std::move(made); }
  const Call& made() const { return made_; }

 private:
  using Arguments = std::span<const Argument>;
  using Operands = std::span<const Tensor>;
  template <class T>
  using For = std::type_identity<T>;

  static Operand pass(const Argument& a, Operands operands, For<const Operand&>);
  static Axes pass(const Argument& a, Operands operands, For<const Axes&>);
  static std::optional<int> pass(const Argument& a, Operands operands, For<std::optional<int>>);
  static std::vector<Tensor> pass(const Argument& a, Operands operands,
                                  For<const std::vector<Tensor>&>);
  static KeepDims pass(const Argument& a, Operands, For<KeepDims>) { return std::get<bool>(a); }
  template <class T>
  static T pass(const Argument& a, Operands, For<T>) {
    return std::get<T>(a);
  }
  template <class T>
  static T pass(const Argument& a, Operands, For<const T&>) {
    return std::get<T>(a);
  }
  template <class Parameter>
  static auto argument(std::size_t k, Arguments arguments, Operands operands) {
    if constexpr (std::is_same_v<Parameter, const Operand::Location&>) {
      return Operand::Location::current();
    } else {
      return pass(arguments[k], operands, For<Parameter>());
    }
  }
  template <class... Parameters>
  static auto bound(Tensor (*f)(Parameters...)) {
    return [f](Arguments arguments, Operands operands) {
      return [&]<std::size_t... k>(std::index_sequence<k...>) {
        return f(argument<Parameters>(k, arguments, operands)...);
      }(std::index_sequence_for<Parameters...>());
    };
  }

  Call made_;
};

// x(cuts...).
Call index_call(Slot x, std::vector<Cut> cuts);

// ---- What the records of a family share

// A number from 1 to `most` for each of the axes.
PerAxis random_numbers(Draw& d, int axes, int most);

using UnaryFunction = Tensor (*)(const Operand&);
using BinaryFunction = Tensor (*)(const Operand&, const Operand&);
using ReduceFunction = Tensor (*)(const Operand&, const Axes&, KeepDims);
using PositionFunction = Tensor (*)(const Operand&, std::optional<int>, KeepDims);

void draw_unary(Draw& d, std::string name, UnaryFunction function, Accept accept);
// Two tensors that broadcast, a tensor with itself, or with a literal on either side.
void draw_binary(Draw& d, const std::string& name, BinaryFunction function, Accept accept);
// Over one axis, several, or all.
void draw_reduction(Draw& d, const char* name, ReduceFunction function, Accept accept);
void draw_position(Draw& d, const char* name, PositionFunction function);
// f(x, axis)
void draw_along_axis(Draw& d, const char* name, Tensor (*function)(const Operand&, int),
                     Accept accept);

}  // namespace kroton::ops
