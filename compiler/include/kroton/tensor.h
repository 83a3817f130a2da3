// Tensor: a symbolic expression. A cheap handle to an immutable, hash-consed node; the same handle
// serves users, derivative rules and graph rewrites.
#pragma once
#include <kroton/array.h>
#include <kroton/type.h>

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <ranges>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace kroton {

class IndexItem;  // <kroton/index.h>
class Node;
class Operand;
struct SharedState;

// A place in the user's program. `file` has static storage.
struct SourceLine {
  const char* file = "";
  std::uint32_t line = 0;
};
std::string to_string(const SourceLine& line);  // "model.cpp:17" (the file's last component)

// What is asked of an empty Tensor, and any operation on one, is a ValueError with the line.
class Tensor {
 public:
  using Location = std::source_location;
  Tensor() = default;  // empty: no expression
  explicit Tensor(std::shared_ptr<const Node> node) : node_(std::move(node)) {}

  explicit operator bool() const { return node_ != nullptr; }
  const Node& node(const Location& at = Location::current()) const {
    if (node_ == nullptr) fail_empty("node", at);
    return *node_;
  }
  const std::shared_ptr<const Node>& handle() const { return node_; }

  // What a Tensor without a name gives is a copy: its expression may end with it.
  const TensorType& type(const Location& at = Location::current()) const&;
  TensorType type(const Location& at = Location::current()) const&& { return type_of("type", at); }
  DType dtype(const Location& at = Location::current()) const { return type_of("dtype", at).dtype; }
  int rank(const Location& at = Location::current()) const { return type_of("rank", at).rank(); }
  const Dims& shape(const Location& at = Location::current()) const& {
    return type_of("shape", at).shape;
  }
  Dims shape(const Location& at = Location::current()) const&& {
    return type_of("shape", at).shape;
  }
  // One size; a negative axis counts from the last. ValueError for one that is not there.
  const Dim& shape(int axis, const Location& at = Location::current()) const&;
  Dim shape(int axis, const Location& at = Location::current()) const&& {
    const Tensor& named = *this;
    return named.shape(axis, at);
  }
  SourceLine line(const Location& at = Location::current()) const;
  // The user's name for it, else its operation's name.
  std::string name(const Location& at = Location::current()) const;

  // Row i along the first axis; i: an integer (negative counts from the end) or an integer tensor
  // (as `take`). Rank falls by one for a scalar index.
  Tensor operator[](const Operand& index) const;
  // NumPy's basic and integer-array indexing, one argument per axis, the rest taken whole:
  // integers, kt::all, kt::slice(...), integer tensors.
  Tensor operator()(const IndexItem& i) const;
  Tensor operator()(const IndexItem& i, const IndexItem& j) const;
  Tensor operator()(const IndexItem& i, const IndexItem& j, const IndexItem& k) const;
  Tensor operator()(const IndexItem& i, const IndexItem& j, const IndexItem& k,
                    const IndexItem& l) const;
  Tensor operator()(const IndexItem& i, const IndexItem& j, const IndexItem& k, const IndexItem& l,
                    const IndexItem& m) const;

  // True when both handles are the same expression.
  friend bool same(const Tensor& a, const Tensor& b) { return a.node_ == b.node_; }

 private:
  friend class Operand;
  // `asked` is named if no operation is under way.
  const TensorType& type_of(std::string_view asked, const Location& at) const;
  [[noreturn]] static void fail_empty(std::string_view asked, const Location& at);
  [[noreturn]] static void fail_empty(std::string_view asked, const SourceLine& line);

  std::shared_ptr<const Node> node_;
};

// Other lists of tensors than std::vector<Tensor>: a vector of shared variables, an array.
template <class R>
concept TensorRange =
    std::ranges::input_range<const R> && std::derived_from<std::ranges::range_value_t<R>, Tensor> &&
    !std::same_as<R, std::vector<Tensor>>;

// What an operator or a function of tensors accepts: a tensor, a literal, or an Array (a constant).
// Its implicit constructors note the user's line. A literal takes the dtype of the tensor it meets;
// a floating literal that meets an integer or boolean tensor is a TypeError.
class Operand {
 public:
  using Location = std::source_location;
  Operand(const Tensor& tensor, const Location& location = Location::current())  // NOLINT
      : tensor_(tensor), line_{location.file_name(), location.line()} {}
  Operand(const Array& constant, const Location& location = Location::current());  // NOLINT
  template <class T>
    requires std::is_arithmetic_v<T>
  Operand(T literal, const Location& location = Location::current())  // NOLINT
      : is_literal_(true),
        is_floating_literal_(std::is_floating_point_v<T>),
        is_boolean_literal_(std::is_same_v<T, bool>),
        is_above_i64_(std::is_unsigned_v<T> && static_cast<double>(literal) >= 0x1p63),
        real_(static_cast<double>(literal)),
        integer_(std::is_floating_point_v<T> ? 0 : static_cast<std::int64_t>(literal)),
        line_{location.file_name(), location.line()} {}

  Operand(const Dim&) = delete;    // a size as a number is kt::size_of_dim(size)
  Operand(const Entry&) = delete;  // read the element first: double v = a(i, j)
  template <ElementRange R>
  Operand(const R&) = delete;  // a constant is an Array: kt::Array::from(values)

  bool is_literal() const { return is_literal_; }
  bool is_empty() const { return !is_literal_ && !tensor_; }  // given an empty Tensor
  // The line of the innermost LineScope if there is one, else the line this was written at.
  SourceLine line() const;
  // The tensor, not empty (ValueError); a literal becomes a scalar constant of `literal_dtype`
  // (TypeError if it does not fit: a floating literal for an integer dtype, an integer above its
  // range).
  Tensor tensor(DType literal_dtype) const;
  // The tensor; a literal takes its natural dtype, f32 for floating, i64 for integers, boolean, the
  // first two until it meets a tensor with a dtype of its own.
  Tensor tensor() const;

 private:
  Tensor tensor_;
  bool is_literal_ = false;
  bool is_floating_literal_ = false;
  bool is_boolean_literal_ = false;
  bool is_above_i64_ = false;  // an unsigned literal of 2^63 or more: only real_ holds it
  double real_ = 0;
  std::int64_t integer_ = 0;
  SourceLine line_;
};

// While one lives, nodes built on this thread carry its line: derivative rules and rewrites give
// the nodes they build the line of the user's operation they stand for.
class LineScope {
 public:
  // `function` is the user's function that opens it, for messages.
  explicit LineScope(SourceLine line, std::string_view function = __builtin_FUNCTION());
  ~LineScope();
  LineScope(const LineScope&) = delete;
  LineScope& operator=(const LineScope&) = delete;
  static std::optional<SourceLine> current();
  // That of the outermost one; empty if none lives.
  static std::string_view function();

 private:
  std::optional<SourceLine> previous_;
};

// A parameter or state that outlives calls. Its shape and dtype are those of its initial value.
class Shared : public Tensor {
 public:
  Shared(const Array& value, std::string name, SourceLine line);
  // The variable that the tensor is; ValueError for any other expression.
  explicit Shared(const Tensor& variable, const Location& at = Location::current());
  // A handle that is moved from stays what it was.
  Shared(const Shared&) = default;
  Shared& operator=(const Shared&) = default;
  // A copy of the current value. Waits for a running update of it.
  Array get_value() const;
  // Replaces the value by a copy. ShapeError or TypeError, naming the variable, unless the shape
  // and dtype are the initial ones.
  void set_value(const Array& value);
  const std::shared_ptr<SharedState>& state() const;
};

// Creates a shared variable holding a copy of `value`.
Shared shared(const Array& value, std::string name = "",
              const std::source_location& location = std::source_location::current());
template <class T>
Shared shared(std::initializer_list<T>, std::string = "") = delete;  // take kt::Array::from({...})
// A scalar, of a literal's dtype: f32, i64 or boolean. kt::shared(kt::Array(0.0)) is an f64.
template <class T>
  requires std::is_arithmetic_v<T>
Shared shared(T value, std::string name = "",
              const std::source_location& location = std::source_location::current()) {
  using Stored =
      std::conditional_t<std::is_floating_point_v<T>, float,
                         std::conditional_t<std::is_same_v<T, bool>, bool, std::int64_t>>;
  return shared(Array(static_cast<Stored>(value)), std::move(name), location);
}

}  // namespace kroton
