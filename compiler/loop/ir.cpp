// Constructors of expressions: dtype checks, constant folding, identities. Node for node they run
// in constant time, since lowering builds thousands of expressions per kernel.
#include "compiler/loop/ir.h"

#include <kroton/error.h>

#include <array>
#include <bit>
#include <limits>
#include <unordered_set>

#include "compiler/loop/elementary.h"
#include "compiler/loop/intern.h"
#include "compiler/loop/scalar.h"

namespace kroton::loop {
namespace {

[[noreturn]] void fail(Op op, const std::string& what) {
  throw InternalError("loop IR: " + std::string(name_of(op)) + ": " + what);
}

std::string name(DType dtype) { return std::string(name_of(dtype)); }

void require_operand(Op op, const Expr& e) {
  if (e == nullptr) fail(op, "an operand is null");
}

void require_dtype(Op op, const Expr& e, DType expected, const char* role) {
  require_operand(op, e);
  if (e->dtype != expected) {
    fail(op, std::string(role) + " is " + name(e->dtype) + ", expected " + name(expected));
  }
}

void require_same(Op op, const Expr& a, const Expr& b) {
  require_operand(op, a);
  require_operand(op, b);
  if (a->dtype != b->dtype) {
    fail(op, "operands differ in dtype: " + name(a->dtype) + " and " + name(b->dtype));
  }
}

bool is_constant(const Expr& e) { return e->op == Op::integer || e->op == Op::real; }
bool is_integer_value(const Expr& e, std::int64_t value) {
  return e->op == Op::integer && e->integer == value;
}
// Compares bits: 0.0 is not -0.0.
bool is_real_value(const Expr& e, double value) {
  return e->op == Op::real &&
         std::bit_cast<std::uint64_t>(e->real) == std::bit_cast<std::uint64_t>(value);
}
// Not -0.
bool is_zero(const Expr& e) { return is_integer_value(e, 0) || is_real_value(e, 0); }
// Fixed while a kernel runs.
bool is_fixed(const Expr& e) { return e->op == Op::integer || e->op == Op::size; }

Expr constant(const Scalar& value, DType dtype) {
  return is_float(dtype) ? real(value.real, dtype) : integer(value.integer, dtype);
}

Expr make(Op op, DType dtype, std::vector<Expr> args) {
  ExprNode node{};
  node.op = op;
  node.dtype = dtype;
  node.args = std::move(args);
  return intern(std::move(node));
}

// The value of `op` on constants; null when an operand is not one.
template <class... Args>
Expr fold(Op op, DType operand, DType result, const Args&... args) {
  if (!(is_constant(args) && ...)) return nullptr;
  const std::array<Scalar, sizeof...(Args)> values{Scalar{args->real, args->integer}...};
  return constant(evaluate(op, operand, result, values.data()), result);
}

bool is_comparison(Op op) { return op == Op::eq || op == Op::ne || op == Op::lt || op == Op::le; }

bool is_commutative(Op op) {
  switch (op) {
    case Op::add:
    case Op::mul:
    case Op::min:
    case Op::max:
    case Op::bit_and:
    case Op::bit_or:
    case Op::bit_xor:
      return true;
    default:
      return false;
  }
}

void require_operands(Op op, const Expr& a, const Expr& b) {
  require_same(op, a, b);
  bool fits = false;
  switch (op) {
    case Op::add:
    case Op::sub:
    case Op::mul:
    case Op::div:
    case Op::mod:
      fits = a->dtype != DType::boolean;
      break;
    case Op::pow:
    case Op::atan2:
      fits = is_float(a->dtype);
      break;
    case Op::floor_div:
    case Op::bit_and:
    case Op::bit_or:
    case Op::bit_xor:
      fits = is_integer(a->dtype);
      break;
    case Op::min:
    case Op::max:
    case Op::eq:
    case Op::ne:
    case Op::lt:
    case Op::le:
      fits = true;
      break;
    case Op::logical_and:
    case Op::logical_or:
      fits = a->dtype == DType::boolean;
      break;
    case Op::shl:
    case Op::ashr:
    case Op::lshr: {
      fits = is_integer(a->dtype);
      const std::int64_t width = size_of(a->dtype) * 8;
      if (b->op != Op::integer || b->integer < 0 || b->integer >= width) {
        fail(op, "the shift count is " + to_string(b) + ", expected a constant below " +
                     std::to_string(width));
      }
      break;
    }
    default:
      fail(op, "takes another number of operands than two");
  }
  if (!fits) fail(op, "is not defined on " + name(a->dtype) + " and " + name(b->dtype));
}

// What an operation on a dtype that is only stored is computed of.
Expr computed(const Expr& a) {
  return is_only_stored(a->dtype) ? cast(a, info_of(a->dtype).computed_in) : a;
}

// The f32 whose rounding to 16 bits is that of the f64, as detail::rounded_to_odd() has it.
Expr rounded_to_odd(const Expr& a) {
  const Expr nearest = cast(a, DType::f32);
  const Expr back = cast(nearest, DType::f64);
  const Expr bits = bitcast(nearest, DType::i32);
  const Expr above = binary(Op::lt, unary(Op::abs, a), unary(Op::abs, back));
  const Expr below = select(above, binary(Op::sub, bits, integer(1, DType::i32)), bits);
  const Expr odd = binary(Op::bit_or, below, integer(1, DType::i32));
  return select(binary(Op::eq, back, a), nearest, bitcast(odd, DType::f32));
}

// Sums and products of sizes are sizes: strides that are equal become the same expression.
Expr combine_sizes(Op op, const Expr& a, const Expr& b) {
  if (!is_fixed(a) || !is_fixed(b) || a->dtype != DType::i64) return nullptr;
  const Dim left = *as_dim(a);
  const Dim right = *as_dim(b);
  try {
    switch (op) {
      case Op::add:
        return size(left + right);
      case Op::sub:
        return size(left - right);
      case Op::mul:
        return size(left * right);
      case Op::min:
        return size(minimum(left, right));
      case Op::max:
        return size(maximum(left, right));
      default:
        return nullptr;
    }
  } catch (const ValueError&) {
    return nullptr;  // too large for a size; the kernel's own arithmetic wraps
  }
}

// Whether computing the expression may stop the kernel.
bool may_stop(const Expr& root) {
  std::unordered_set<const ExprNode*> seen{root.get()};
  std::vector<const ExprNode*> stack{root.get()};
  while (!stack.empty()) {
    const ExprNode* e = stack.back();
    stack.pop_back();
    if (may_fail(e->op)) return true;
    for (const Expr& arg : e->args) {
      if (seen.insert(arg.get()).second) stack.push_back(arg.get());
    }
  }
  return false;
}

// Identities that hold for wrapping integers of every value. Null: none applies.
Expr simplify_integers(Op op, const Expr& a, const Expr& b) {
  if (Expr combined = combine_sizes(op, a, b)) return combined;
  // What has to fail may not be lost, though the result does not depend on it.
  const bool is_lost =
      (op == Op::mul && is_integer_value(b, 0)) || (a == b && op != Op::min && op != Op::max);
  if (is_lost && a->dtype != DType::i64 && may_stop(a)) return nullptr;
  const bool zero = is_integer_value(b, 0);
  const bool one = is_integer_value(b, 1);
  switch (op) {
    case Op::add:
      if (zero) return a;
      if (is_fixed(b) && a->op == Op::add && is_fixed(a->args[1])) {
        return binary(Op::add, a->args[0], binary(Op::add, a->args[1], b));
      }
      return nullptr;
    case Op::sub:
      if (a == b) return integer(0, a->dtype);
      if (b->op == Op::integer) return binary(Op::add, a, unary(Op::neg, b));
      return nullptr;
    case Op::mul:
      if (zero) return b;
      if (one) return a;
      if (is_fixed(b) && a->op == Op::mul && is_fixed(a->args[1])) {
        return binary(Op::mul, a->args[0], binary(Op::mul, a->args[1], b));
      }
      return nullptr;
    case Op::div:
      if (one) return a;
      if (zero || is_integer_value(a, 0)) return integer(0, a->dtype);
      return nullptr;
    case Op::floor_div: {
      if (one) return a;
      if (zero || is_integer_value(a, 0)) return integer(0, a->dtype);
      // floor(floor(x/c)/d) == floor(x/(c*d)) for c, d > 0 as long as the product is exact.
      constexpr std::int64_t limit = 1 << 15;
      if (b->op == Op::integer && a->op == Op::floor_div && a->args[1]->op == Op::integer) {
        const std::int64_t c = a->args[1]->integer;
        const std::int64_t d = b->integer;
        if (c > 0 && d > 0 && c < limit && d < limit && holds(a->dtype, c * d)) {
          return binary(Op::floor_div, a->args[0], integer(c * d, a->dtype));
        }
      }
      return nullptr;
    }
    case Op::mod:
      if (one || zero || is_integer_value(a, 0)) return integer(0, a->dtype);
      if (a->op == Op::mod && a->args[1] == b) return a;
      return nullptr;
    case Op::min:
    case Op::max:
      return a == b ? a : nullptr;
    case Op::eq:
    case Op::le:
      return a == b ? boolean_constant(true) : nullptr;
    case Op::ne:
    case Op::lt:
      return a == b ? boolean_constant(false) : nullptr;
    case Op::shl:
    case Op::ashr:
    case Op::lshr:
      return zero ? a : nullptr;
    default:
      return nullptr;
  }
}

// Whether a float is NaN or has this sign (1 or -1) or is a zero, as far as a look at a few
// operations tells.
bool has_sign(const Expr& e, int sign, int depth = 4) {
  if (depth == 0) return false;
  const auto arg = [&](std::size_t k, int s) { return has_sign(e->args[k], s, depth - 1); };
  switch (e->op) {
    case Op::real:
      return e->real == 0 || (e->real > 0) == (sign > 0);
    case Op::abs:
    case Op::sqrt:
      return sign > 0;
    case Op::neg:
      return arg(0, -sign);
    case Op::add:
      return arg(0, sign) && arg(1, sign);
    case Op::mul:
      if (e->args[0] == e->args[1]) return sign > 0;
      return (arg(0, 1) && arg(1, sign)) || (arg(0, -1) && arg(1, -sign));
    case Op::div:  // by another constant than a zero, whose sign counts
      if (e->args[1]->op != Op::real || e->args[1]->real == 0) return false;
      return arg(0, e->args[1]->real > 0 ? sign : -sign);
    default:
      return false;
  }
}

// Identities that keep every bit of the result, NaN, infinities and signed zeros included.
Expr simplify_reals(Op op, const Expr& a, const Expr& b) {
  switch (op) {
    case Op::add:
      if (is_real_value(b, -0.0)) return a;
      return is_real_value(a, -0.0) ? b : nullptr;
    case Op::sub:
      return is_real_value(b, 0.0) ? a : nullptr;
    case Op::mul:
      if (is_real_value(b, 1)) return a;
      return is_real_value(a, 1) ? b : nullptr;
    case Op::div:
      return is_real_value(b, 1) ? a : nullptr;
    case Op::min:
    case Op::max:
      return a == b ? a : nullptr;
    case Op::lt:  // a clamp that e^(-x^2), for example, does not need
      if ((a->op == Op::real && a->real >= 0 && has_sign(b, -1)) ||
          (b->op == Op::real && b->real <= 0 && has_sign(a, 1))) {
        return boolean_constant(false);
      }
      return nullptr;
    default:
      return nullptr;
  }
}

Expr simplify_booleans(Op op, const Expr& a, const Expr& b) {
  const bool is_and = op == Op::logical_and;
  if (!is_and && op != Op::logical_or) return nullptr;
  if (a == b) return a;
  for (const auto& [one, other] : {std::pair(a, b), std::pair(b, a)}) {
    if (one->op == Op::integer) return (one->integer != 0) == is_and ? other : one;
  }
  return nullptr;
}

}  // namespace

std::string_view name_of(Op op) {
  constexpr std::array names = std::to_array<std::string_view>(
      {"real",    "integer",  "variable",  "size",       "load",        "add",   "sub",  "mul",
       "div",     "mod",      "floor_div", "neg",        "abs",         "min",   "max",  "fma",
       "sqrt",    "floor",    "ceil",      "round_even", "exp",         "expm1", "log",  "log1p",
       "sigmoid", "tanh",     "softplus",  "erf",        "sin",         "cos",   "atan", "asin",
       "acos",    "pow",      "atan2",     "eq",         "ne",          "lt",    "le",   "and",
       "or",      "not",      "bit_and",   "bit_or",     "bit_xor",     "shl",   "ashr", "lshr",
       "select",  "shortcut", "cast",      "bitcast",    "check_index", "check"});
  static_assert(names.size() == static_cast<std::size_t>(Op::check) + 1);
  return names[static_cast<std::size_t>(op)];
}

Expr real(double value, DType dtype) {
  if (!is_float(dtype)) fail(Op::real, "the dtype is " + name(dtype) + ", expected a floating one");
  ExprNode node{};
  node.op = Op::real;
  node.dtype = dtype;
  node.real = scalar_from_real(value, dtype).real;
  return intern(std::move(node));
}

Expr integer(std::int64_t value, DType dtype) {
  if (is_float(dtype)) {
    fail(Op::integer, "the dtype is " + name(dtype) + ", expected an integer or boolean");
  }
  ExprNode node{};
  node.op = Op::integer;
  node.dtype = dtype;
  node.integer = scalar_from_integer(value, dtype).integer;
  return intern(std::move(node));
}

Expr whole_number(std::int64_t value, DType dtype) {
  return is_float(dtype) ? real(static_cast<double>(value), dtype) : integer(value, dtype);
}

Expr identity(Op op, DType dtype) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  switch (op) {
    case Op::add:
      return is_float(dtype) ? real(-0.0, dtype) : integer(0, dtype);
    case Op::mul:
      return whole_number(1, dtype);
    case Op::min:
      return is_float(dtype) ? real(infinity, dtype)
                             : integer(static_cast<std::int64_t>(highest_of(dtype)), dtype);
    case Op::max:
      return is_float(dtype) ? real(-infinity, dtype) : integer(lowest_of(dtype), dtype);
    case Op::logical_and:
      return boolean_constant(true);
    case Op::logical_or:
      return boolean_constant(false);
    default:
      fail(op, "cannot accumulate");
  }
}

Expr initial(Op op, DType dtype) {
  return op == Op::add ? whole_number(0, dtype) : identity(op, dtype);
}

Expr boolean_constant(bool value) { return integer(value ? 1 : 0, DType::boolean); }

Expr variable(const Variable& variable) {
  if (variable.id < 0) fail(Op::variable, "'" + variable.name + "' has no id");
  ExprNode node{};
  node.op = Op::variable;
  node.dtype = variable.dtype;
  node.variable = variable;
  return intern(std::move(node));
}

Expr size(const Dim& dim) {
  if (dim.is_constant()) return integer(dim.constant());
  ExprNode node{};
  node.op = Op::size;
  node.dtype = DType::i64;
  node.dim = dim;
  return intern(std::move(node));
}

Expr load(const BufferRef& buffer, const Expr& index, const Expr& condition) {
  if (buffer == nullptr) fail(Op::load, "the buffer is null");
  require_dtype(Op::load, index, DType::i64, "the index");
  if (condition != nullptr) {
    require_dtype(Op::load, condition, DType::boolean, "the condition");
    if (condition->op == Op::integer) {
      return condition->integer != 0 ? load(buffer, index) : whole_number(0, buffer->dtype);
    }
  }
  ExprNode node{};
  node.op = Op::load;
  node.dtype = buffer->dtype;
  node.args = {index};
  if (condition != nullptr) node.args.push_back(condition);
  node.buffer = buffer;
  return intern(std::move(node));
}

Expr unary(Op op, const Expr& a) {
  require_operand(op, a);
  bool fits = false;
  switch (op) {
    case Op::neg:
    case Op::abs:
      fits = a->dtype != DType::boolean;
      break;
    case Op::sqrt:
    case Op::floor:
    case Op::ceil:
    case Op::round_even:
      fits = is_float(a->dtype);
      break;
    case Op::logical_not:
      fits = a->dtype == DType::boolean;
      break;
    default:
      if (!is_elementary(op) || is_elementary_of_two(op)) {
        fail(op, "takes another number of operands than one");
      }
      fits = is_float(a->dtype);
  }
  if (!fits) fail(op, "is not defined on " + name(a->dtype));
  if (is_only_stored(a->dtype)) return cast(unary(op, computed(a)), a->dtype);
  if (is_elementary(op)) return is_constant(a) ? arithmetic_of(op, {a}) : make(op, a->dtype, {a});
  if (Expr folded = fold(op, a->dtype, a->dtype, a)) return folded;
  if ((op == Op::neg || op == Op::logical_not) && a->op == op) return a->args[0];
  const bool repeats = op == Op::abs || op == Op::floor || op == Op::ceil || op == Op::round_even;
  if (repeats && a->op == op) return a;
  return make(op, a->dtype, {a});
}

Expr binary(Op op, const Expr& a, const Expr& b) {
  require_operands(op, a, b);
  const DType result = is_comparison(op) ? DType::boolean : a->dtype;
  if (is_only_stored(a->dtype)) return cast(binary(op, computed(a), computed(b)), result);
  if (is_elementary(op)) {
    return is_constant(a) && is_constant(b) ? arithmetic_of(op, {a, b}) : make(op, result, {a, b});
  }
  if (Expr folded = fold(op, a->dtype, result, a, b)) return folded;
  if (is_float(a->dtype)) {
    if (Expr simpler = simplify_reals(op, a, b)) return simpler;
  } else if (is_integer(a->dtype)) {
    // Constants and sizes stand on the right, so that the identities look there only.
    if (is_commutative(op) && is_fixed(a) && !is_fixed(b)) return binary(op, b, a);
    if (Expr simpler = simplify_integers(op, a, b)) return simpler;
  } else if (Expr simpler = simplify_booleans(op, a, b)) {
    return simpler;
  }
  return make(op, result, {a, b});
}

Expr fma(const Expr& a, const Expr& b, const Expr& c) {
  require_same(Op::fma, a, b);
  require_same(Op::fma, a, c);
  if (!is_float(a->dtype)) fail(Op::fma, "is not defined on " + name(a->dtype));
  if (is_only_stored(a->dtype)) return cast(fma(computed(a), computed(b), computed(c)), a->dtype);
  if (Expr folded = fold(Op::fma, a->dtype, a->dtype, a, b, c)) return folded;
  if (is_real_value(a, 1)) return b + c;
  if (is_real_value(b, 1)) return a + c;
  return make(Op::fma, a->dtype, {a, b, c});
}

Expr select(const Expr& condition, const Expr& a, const Expr& b) {
  require_dtype(Op::select, condition, DType::boolean, "the condition");
  require_same(Op::select, a, b);
  if (condition->op == Op::integer) return condition->integer != 0 ? a : b;
  if (a == b) return a;
  // A load that gives 0 where another 0 is wanted.
  if (is_conditional(*a) && a->args[1] == condition && a->dtype == b->dtype && is_zero(b)) return a;
  return make(Op::select, a->dtype, {condition, a, b});
}

Expr shortcut(const Expr& condition, const Expr& quick, const Expr& full) {
  require_dtype(Op::shortcut, condition, DType::boolean, "the condition");
  require_same(Op::shortcut, quick, full);
  if (quick == full || full->args.empty()) return full;
  if (condition->op == Op::integer) return condition->integer != 0 ? quick : full;
  return make(Op::shortcut, full->dtype, {condition, quick, full});
}

Expr cast(const Expr& a, DType to) {
  require_operand(Op::cast, a);
  if (a->dtype == to) return a;
  if (Expr folded = fold(Op::cast, a->dtype, to, a)) return folded;
  // Emitters convert what is only stored to the dtype it is computed in, and back.
  const DType from = a->dtype;
  if (is_only_stored(from) && to != info_of(from).computed_in) return cast(computed(a), to);
  if (is_only_stored(to) && from != info_of(to).computed_in) {
    const bool rounds_twice = is_float(from) && !keeps_every_value(from, DType::f32);
    return cast(rounds_twice ? rounded_to_odd(a) : cast(a, info_of(to).computed_in), to);
  }
  return make(Op::cast, to, {a});
}

Expr bitcast(const Expr& a, DType to) {
  require_operand(Op::bitcast, a);
  if (a->dtype == to) return a;
  const bool fits =
      a->dtype != DType::boolean && to != DType::boolean && size_of(a->dtype) == size_of(to);
  if (!fits) fail(Op::bitcast, "from " + name(a->dtype) + " to " + name(to) + ": sizes differ");
  // A constant NaN is any of them: bits that are one are kept as they are.
  Expr folded = fold(Op::bitcast, a->dtype, to, a);
  if (folded && !(folded->op == Op::real && folded->real != folded->real)) return folded;
  return make(Op::bitcast, to, {a});
}

Expr check_index(const Expr& index, const Expr& size, int site) {
  require_dtype(Op::check_index, index, DType::i64, "the index");
  require_dtype(Op::check_index, size, DType::i64, "the size");
  std::int64_t at = 0;
  std::int64_t count = 0;
  if (is_integer_constant(index, at) && is_integer_constant(size, count) && at >= -count &&
      at < count) {
    return integer(at < 0 ? at + count : at);
  }
  ExprNode node{};
  node.op = Op::check_index;
  node.dtype = DType::i64;
  node.args = {index, size};
  node.integer = site;
  return intern(std::move(node));
}

Expr check(const Expr& value, const Expr& condition, const Expr& index, const Expr& size,
           int site) {
  require_operand(Op::check, value);
  require_dtype(Op::check, condition, DType::boolean, "the condition");
  require_dtype(Op::check, index, DType::i64, "the index");
  require_dtype(Op::check, size, DType::i64, "the size");
  if (condition->op == Op::integer && condition->integer != 0) return value;
  ExprNode node{};
  node.op = Op::check;
  node.dtype = value->dtype;
  node.args = {value, condition, index, size};
  node.integer = site;
  return intern(std::move(node));
}

bool is_integer_constant(const Expr& e, std::int64_t& value) {
  if (e == nullptr || e->op != Op::integer) return false;
  value = e->integer;
  return true;
}

std::optional<Dim> as_dim(const Expr& e) {
  if (e == nullptr || e->dtype != DType::i64) return std::nullopt;
  if (e->op == Op::integer) return Dim(e->integer);
  if (e->op == Op::size) return e->dim;
  return std::nullopt;
}

}  // namespace kroton::loop
