// OpRecord: everything known about an op, in one place. docs/add_an_op.md walks through one.
#pragma once
#include <array>
#include <concepts>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include "compiler/ir/node.h"
#include "compiler/ir/number.h"
#include "compiler/loop/ir.h"

namespace kroton {

// How the compiler treats an op; each kind says which members of the record it needs.
enum class OpKind : std::uint8_t {
  leaf,         // input, shared, literal, constant array: no inputs
  elementwise,  // each element is a function of the inputs' elements at the same index: `at`
  pointwise,    // the value at an index is an expression of the inputs' values at other indices:
                // `at`. Views (transpose, slice, broadcast), joins, gathers, iota
  reduce,       // `reduction` over attributes.axes, which leave the shape
  contraction,  // sums of products of two operands' elements: `roles`, `factors`
  write,        // writes its whole output by loops of its own, which ask for each element of input
                // 0 once: `write` (running sums, scatter)
  call,         // attributes.callee; has no value of its own
  scan,         // runs attributes.body for each step; has no value of its own
  result,       // a value that its operand, a scan or a call, computes
  branch,       // operand 1 or operand 2 as operand 0 tells; the other one is not evaluated
  composite     // stands for a composition of other ops until the expand pass: `expand`
};

// Whether nodes of that kind have no value of their own but results, nodes on them.
inline bool gives_results(OpKind kind) { return kind == OpKind::scan || kind == OpKind::call; }

enum class Reduction : std::uint8_t { absent, sum, prod, max, min, argmax, argmin, all, any };

// In what an op is linear.
enum class Linear : std::uint8_t {
  no,
  jointly,  // in all operands together: a sum, a view, a join
  each      // in each operand while the others stay as they are: a product
};

// What a type rule sees. `fail` throws ShapeError or TypeError: "dot: <what>: x is f32 (batch,
// 784), w is f32 (512, 10)  [model.cpp:17]" with every input's name and type and the line.
class TypeContext {
 public:
  TypeContext(const OpRecord& op, std::span<const Tensor> inputs, const Attributes& attributes,
              SourceLine line)
      : op_(op), inputs_(inputs), attributes_(attributes), line_(line) {}
  const Attributes& attributes() const { return attributes_; }
  int count() const { return static_cast<int>(inputs_.size()); }
  const TensorType& input(int k) const { return inputs_[static_cast<std::size_t>(k)].type(); }
  [[noreturn]] void fail_shape(const std::string& what) const;
  [[noreturn]] void fail_type(const std::string& what) const;
  // The one size that both must be: equal forms pass; two different constants fail with `what`; if
  // a size is free, the equality is noted, to be checked at the call. A constant is preferred.
  Dim equal(const Dim& a, const Dim& b, const std::string& what);
  // Notes that two sizes must be equal at the call, else ShapeError with `message`, in which %0 is
  // the value of values[0] and so on, and the line.
  void require_equal(const Dim& a, const Dim& b, const std::string& message, Dims values);
  // ShapeError for an axis that the user's expression makes without elements. One that only turns
  // out to be so in a function is evaluated, like that of a size that is 0 at the call.
  void refuse_empty(const Dim& size, const std::string& what) const;
  const Tensor& tensor(int k) const { return inputs_[static_cast<std::size_t>(k)]; }
  std::vector<SizeConstraint> take_constraints() { return std::exchange(constraints_, {}); }

 private:
  std::string describe_inputs() const;
  const OpRecord& op_;
  std::span<const Tensor> inputs_;
  const Attributes& attributes_;
  SourceLine line_;
  std::vector<SizeConstraint> constraints_;
};

// While one lives, this thread works on a function's graph, in which sizes that its expressions
// leave open are known by what they must be equal to.
class UnifiedSizes {
 public:
  UnifiedSizes();
  ~UnifiedSizes();
  UnifiedSizes(const UnifiedSizes&) = delete;
  UnifiedSizes& operator=(const UnifiedSizes&) = delete;
  static bool any();

 private:
  bool outer_;
};

// While one lives, the step of a scan is being built: sizes that differ are told with the scan, and
// with the state that has one of them.
class StepScope {
 public:
  struct State {
    std::string name;  // "state 0, h"
    TensorType type;
  };
  StepScope(std::string scan, SourceLine line, std::vector<State> states, const Dim& count);
  ~StepScope();
  StepScope(const StepScope&) = delete;
  StepScope& operator=(const StepScope&) = delete;
  // ", in scan  [model.cpp:7], where state 0 is f32 (7,)", if a state has size a or b.
  static std::string where(const Dim& a, const Dim& b);
  // What stands for the number of this scan's step, i64 (): once it has been asked for, the scan
  // makes it a row of 0, 1, ...
  const Tensor& number() const;
  bool has_number() const { return static_cast<bool>(number_); }
  const Dim& count() const { return count_; }  // of steps
  const StepScope* outer() const { return outer_; }
  // The innermost one of this thread, or null. A thread that works for another one takes its.
  static const StepScope*& current();

 private:
  const std::string scan_;
  const std::vector<State> states_;
  const SourceLine line_;
  const Dim count_;
  mutable Tensor number_;
  const StepScope* const outer_;
};

using Index = std::vector<loop::Expr>;  // one i64 expression per axis

// What the axes of a contraction's result run along, and what is added up for each of its elements:
// result[i] = the sum over inner axes of operand 0 at factors[0] times operand 1 at factors[1].
struct ContractionRoles {
  std::vector<std::size_t> batch;    // in both operands
  std::vector<std::size_t> rows;     // in operand 0 only
  std::vector<std::size_t> columns;  // in operand 1 only
  Dims inner;
  // Axes of the rows along which a window moves over operand 0: its element there is at
  // position * stride + k * dilation, for a point k of an inner axis.
  struct Window {
    std::size_t axis;   // of the result
    std::size_t inner;  // which inner axis
    std::int64_t stride, dilation;
  };
  std::vector<Window> windows;
};
using Factors = std::array<Index, 2>;
// Whether the windows are known not to have more places than there are positions, as those of a
// picture, but not those of the gradient by filters: what several windows see is worth a copy then.
bool overlaps_little(const ContractionRoles& roles, const Dims& result);

// What `at` sees: the node's types and attributes, and its inputs' values at any index.
class PointContext {
 public:
  virtual ~PointContext() = default;
  virtual const Attributes& attributes() const = 0;
  virtual const TensorType& type() const = 0;
  virtual int input_count() const = 0;
  virtual const TensorType& input_type(int k) const = 0;
  // The k-th input's value at `index` (one expression per axis of that input): its own expression
  // if it is fused here, a load if it is stored.
  virtual loop::Expr input(int k, const Index& index) = 0;
  // `index` checked against [−size, size) at run time, negative ones counted from the end; `axis`
  // is for the message.
  virtual loop::Expr check_index(const loop::Expr& index, const Dim& size, int axis) = 0;
  // The same against [0, size): a negative one is an error, too.
  virtual loop::Expr check_position(const loop::Expr& position, const Dim& size, int axis) = 0;
  // `value`. Where the condition does not hold the call ends with a ValueError of that text and the
  // user's line, in which %index and %size stand for the two numbers, i64.
  virtual loop::Expr check(const loop::Expr& value, const loop::Expr& condition,
                           const loop::Expr& index, const loop::Expr& size,
                           const std::string& text) = 0;
  // What `then` gives where the condition holds, what `otherwise` gives elsewhere. Each reads its
  // inputs there only: their indices may be out of range elsewhere.
  virtual loop::Expr choose(const loop::Expr& condition, const std::function<loop::Expr()>& then,
                            const std::function<loop::Expr()>& otherwise) = 0;
};

// What `write` sees: it emits statements that fill the output completely.
class WriteContext {
 public:
  // Memory beside the output, which these statements alone use; its elements begin undefined.
  struct Scratch {
    int number = 0;
  };

  virtual ~WriteContext() = default;
  virtual const Attributes& attributes() const = 0;
  virtual const TensorType& type() const = 0;
  virtual int input_count() const = 0;
  virtual const TensorType& input_type(int k) const = 0;
  // The k-th input's value at `index`: that of input 0 may be computed here, others are stored.
  virtual loop::Expr input(int k, const Index& index) = 0;
  virtual loop::Expr check_index(const loop::Expr& index, const Dim& size, int axis) = 0;
  // As of PointContext.
  virtual loop::Expr check(const loop::Expr& value, const loop::Expr& condition,
                           const loop::Expr& index, const loop::Expr& size,
                           const std::string& text) = 0;
  // A fresh loop nest over `extents`, inside the one in progress if there is one; `body` gets the
  // loop variables and makes what is inside, by store() and further nests.
  virtual void nest(const Dims& extents,
                    const std::function<void(const Index& variables)>& body) = 0;
  // The same where no iteration touches an element that another one writes, though the indices may
  // not show it: workers share those of the outermost nests.
  virtual void independent_nest(const Dims& extents,
                                const std::function<void(const Index& variables)>& body) = 0;
  // A fresh loop inside the nest in progress, of as many iterations as the expression says: the
  // last one of several pieces may be shorter. None has more than `most`.
  virtual void loop(const loop::Expr& extent, const Dim& most,
                    const std::function<void(const loop::Expr& variable)>& body) = 0;
  virtual void store(const Index& index, const loop::Expr& value) = 0;  // output[index] = value
  virtual loop::Expr stored(const Index& index) = 0;                    // output[index] so far
  virtual Scratch scratch(DType dtype, const Dims& shape) = 0;
  virtual void store(Scratch scratch, const Index& index, const loop::Expr& value) = 0;
  virtual loop::Expr stored(Scratch scratch, const Index& index) = 0;
  // Whether it is for a GPU, where only many independent iterations are quick.
  virtual bool is_for_gpu() const { return false; }
};

// Host values of the reference interpreter, row-major.
struct ReferenceValue {
  DType dtype = DType::f64;
  std::vector<std::int64_t> shape;
  std::vector<Number> data;
  // Of a scan: its parameters' values in each step, then its states after the last.
  std::vector<ReferenceValue> trace = {};
};

// What `reference` sees: concrete inputs, and the output's shape already known.
struct ReferenceContext {
  const Attributes& attributes;
  std::vector<const ReferenceValue*> inputs;     // null: not evaluated, the value of a branch
  ReferenceValue& output;                        // shape and dtype set, data zero-filled to size
  std::function<std::int64_t(const Dim&)> size;  // the value of a symbolic size
};

// One call of the op from which tests are made: values for its inputs, and its attributes.
struct Sample {
  std::vector<ReferenceValue> inputs;
  // Applies the op to the inputs, as a user would.
  std::function<Tensor(std::span<const Tensor>)> apply;
  bool differentiable = true;  // false at kinks, or for integer inputs
  // At a kink: a smooth function that has the derivatives there that the op has by convention.
  std::function<Tensor(std::span<const Tensor>)> smooth = {};
};

namespace ops {

class Draw;  // compiler/ops/draw.h

// Which dtypes an op takes.
enum class Accepts : std::uint8_t { floating, numbers, booleans, anything };

// A function of one to three values of one type: a lambda without captures, or a function object.
template <class T>
struct ElementFunction {
  T (*of)(const T* x) = nullptr;
  int arity = 0;
  constexpr ElementFunction() = default;
  template <class F>
    requires std::is_empty_v<F>
  constexpr ElementFunction(F)  // NOLINT: implicit
      : of([](const T* x) -> T {
          if constexpr (std::is_invocable_v<F, T>) {
            return F()(x[0]);
          } else if constexpr (std::is_invocable_v<F, T, T>) {
            return F()(x[0], x[1]);
          } else {
            return F()(x[0], x[1], x[2]);
          }
        }),
        arity(std::is_invocable_v<F, T>      ? 1
              : std::is_invocable_v<F, T, T> ? 2
                                             : 3) {}
};

// What an elementwise op is on single elements, of which elementwise() makes its record
// (compiler/ops/elementwise.h).
struct Elementwise {
  struct Range {
    double low = -2, high = 2;
  };
  struct Values {
    std::array<double, 8> values = {};
    std::size_t count = 0;
    constexpr Values() = default;
    template <std::convertible_to<double>... T>
    constexpr Values(T... x)  // NOLINT: implicit
        : values{static_cast<double>(x)...}, count(sizeof...(x)) {}
  };

  std::string_view name;
  int cost = 1;
  bool commutative = false;
  Linear linear = Linear::no;
  Accepts accepts = Accepts::floating;     // the operands, which have one dtype
  bool is_predicate = false;               // its result is boolean, else of the operands' dtype
  bool keeps_stored = false;               // as of the record
  ElementFunction<loop::Expr> value = {};  // in code
  // g times the derivative by each operand: what a cotangent g of the result y gives the operands
  // x. An empty Tensor where an operand gets none. Null: not differentiable.
  std::vector<Tensor> (*derivatives)(const Tensor& y, std::span<const Tensor> x,
                                     const Tensor& g) = nullptr;
  ElementFunction<Number> reference = {};

  // The operands' values in samples, which keep away from kinks; of one operand, others in f64.
  Range range = {}, second_range = {};
  Values special = {};

  // In place of what follows from the above.
  TensorType (*infer)(TypeContext& context) = nullptr;
  void (*draw)(Draw& d) = nullptr;
  std::vector<Sample> (*samples)() = nullptr;
};

}  // namespace ops

struct OpRecord {
  std::string_view name;
  OpKind kind = OpKind::pointwise;
  int arity = 1;          // -1: any number
  int cost = 1;           // scalar work of one element: 0 for a view, 1 for an addition, 10 for exp
  bool is_view = false;   // at() only moves or repeats elements of input 0
  bool regroups = false;  // a view of all elements in their row-major order
  bool shows = false;     // its value is shown, with attributes.name, when it is computed
  bool adds = false;      // write: an element may be the sum of many of input 0
  // Computed by every reader rather than stored: a random number costs no more than reading it.
  bool is_redrawn = false;
  // A function that computes it updates operand 1, a shared variable, by operand 2.
  bool carries_update = false;
  int starts_from = -1;    // write: the input that the result is before anything is added to it
  bool sets_weak = false;  // attributes.weak says whether the result has no dtype of its own
  Linear linear = Linear::no;
  bool commutative = false;
  // It shows that the op is evaluated: it may end the call with an error, or it prints. Then it is
  // evaluated only if an output or update really needs it.
  bool observable = false;
  Reduction reduction = Reduction::absent;
  // Its code takes values of dtypes that are only stored (is_only_stored) as they are: it moves or
  // compares them. Other ops but views are computed on their conversions (passes/widen.cpp).
  bool keeps_stored = false;

  TensorType (*infer)(TypeContext& context) = nullptr;
  // The cotangents of the inputs given y (this node) and its cotangent g; an empty Tensor where an
  // input gets none. Null: not differentiable, its cotangents are zero.
  std::vector<Tensor> (*vjp)(const Tensor& y, const Tensor& g) = nullptr;
  // Scans and calls instead of vjp: the cotangents of the inputs given those of some results; an
  // empty Tensor for inputs that are not wanted.
  std::vector<Tensor> (*vjp_results)(const Tensor& node,
                                     std::span<const std::pair<Tensor, Tensor>> results,
                                     const std::vector<bool>& wanted) = nullptr;
  // The tangent of y (this node) given those of the inputs, an empty Tensor where an input has
  // none; at least one has one. Null: it follows from `linear`, the elementwise derivatives or the
  // vjp (autodiff/forward_sweep.h). Only where that costs more does a record have it.
  Tensor (*jvp)(const Tensor& y, std::span<const Tensor> tangents) = nullptr;
  // The same with vjp_results: the tangents of these results of the node.
  std::vector<Tensor> (*jvp_results)(const Tensor& node, std::span<const Tensor> results,
                                     std::span<const Tensor> tangents) = nullptr;
  loop::Expr (*at)(PointContext& context, const Index& index) = nullptr;
  void (*write)(WriteContext& context) = nullptr;
  // Contractions: the roles of the axes, given the operands' shapes; and where the operands'
  // elements lie that an element of the result takes from a point of the inner axes.
  ContractionRoles (*roles)(const Attributes& attributes, const Dims& a, const Dims& b) = nullptr;
  Factors (*factors)(const Attributes& attributes, const Index& result,
                     const Index& inner) = nullptr;
  // The composition, on the given inputs (of this node's input types).
  Tensor (*expand)(std::span<const Tensor> inputs, const Attributes& attributes) = nullptr;
  void (*reference)(ReferenceContext& context) = nullptr;
  // The op on operands of which the `mapped` ones carry an extra first axis of size `count`; the
  // result carries it too: row i is the op on the rows i. At least one is mapped. Null, or an empty
  // result: no rule for these operands (a composite is expanded, another op stays inside scans).
  Tensor (*batch)(std::span<const Tensor> operands, const std::vector<bool>& mapped,
                  const Attributes& attributes, const Dim& count) = nullptr;
  // A call of the op as users write it, on operands chosen from those that `d` has: what random
  // tests make programs of. Null for leaves, scans and their results, which such tests make, and
  // for ops that only gradients have.
  void (*draw)(ops::Draw& d) = nullptr;
  std::vector<Sample> (*samples)() = nullptr;
  ops::Elementwise elementwise = {};  // what the members above are made of, if they are

  // Whether a value at an index is an expression of the inputs' values at indices.
  bool has_points() const { return kind == OpKind::elementwise || kind == OpKind::pointwise; }
};

// Whether evaluating such a node may end the call with an error: the op may, or one in the body of
// a scan.
bool may_fail(const OpRecord& op, const Attributes& attributes);

// All records, in the order of the list in ops/records.h.
std::span<const OpRecord* const> all_ops();
const OpRecord& op_named(std::string_view name);  // InternalError if there is none

}  // namespace kroton
