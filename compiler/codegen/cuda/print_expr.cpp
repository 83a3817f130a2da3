// Scalar expressions as CUDA C++.
#include <kroton/error.h>

#include <algorithm>
#include <cmath>

#include "compiler/codegen/cuda/kernel_printer.h"
#include "compiler/loop/scalar.h"
#include "compiler/loop/traverse.h"

namespace kroton::codegen {
namespace {

using loop::Expr;
using loop::ExprNode;
using loop::Op;

constexpr std::int64_t plain_constant = 1 << 30;  // constants of index arithmetic stay below

std::string integer_text(std::int64_t value, DType dtype) {
  if (dtype == DType::boolean) return value != 0 ? "true" : "false";
  // A literal has no fewer bits than an int.
  if (size_of(dtype) < size_of(DType::i32)) {
    return "(" + std::string(info_of(dtype).cuda_type) + ")" + std::to_string(value);
  }
  const std::string suffix =
      std::string(is_signed(dtype) ? "" : "U") + (size_of(dtype) > size_of(DType::i32) ? "LL" : "");
  // The digits of the lowest value alone are a number above the highest.
  if (is_signed(dtype) && value == lowest_of(dtype)) {
    return "(" + std::to_string(value + 1) + suffix + " - 1)";
  }
  return loop::digits_of({0, value}, dtype) + suffix;
}

// What is written behind the name of a function of C's and a number to have those of the dtype.
std::string suffix_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "f";
    case DType::f64:
      return "";
    case DType::boolean:
    case DType::i8:
    case DType::i16:
    case DType::i32:
    case DType::i64:
    case DType::u8:
    case DType::u16:
    case DType::u32:
    case DType::u64:
    case DType::f16:
    case DType::bf16:
      break;
  }
  throw InternalError("cuda: " + std::string(name_of(dtype)) + " has no mathematical functions");
}

// Whether values of the dtype are an integer in CUDA C++: numbers, or the bits of a number.
bool is_integer_there(DType dtype) { return is_integer(dtype) || is_only_stored(dtype); }

// The function that makes a value of the dtype of the bits that e's operand has; of integers that
// have other ones a conversion.
std::string bitcast_to(DType to, DType from) {
  const std::string conversion = "(" + std::string(info_of(to).cuda_type) + ")";
  if (is_integer_there(to) && is_integer_there(from)) return conversion;
  switch (to) {
    case DType::i32:
      return "__float_as_int";
    case DType::u32:
      return conversion + "__float_as_int";
    case DType::i64:
      return "__double_as_longlong";
    case DType::u64:
      return conversion + "__double_as_longlong";
    case DType::f32:
      return "__int_as_float";
    case DType::f64:
      return "__longlong_as_double";
    case DType::boolean:
    case DType::i8:
    case DType::i16:
    case DType::u8:
    case DType::u16:
    case DType::f16:
    case DType::bf16:
      break;
  }
  throw InternalError("cuda: no value has the bits of " + std::string(name_of(to)));
}

// What is computed of narrower integers than int is one.
std::string converted_back(const std::string& text, DType dtype) {
  if (size_of(dtype) >= size_of(DType::i32) || !is_integer(dtype)) return text;
  return "(" + std::string(info_of(dtype).cuda_type) + ")" + text;
}

}  // namespace

std::string_view memory_type(DType dtype) {
  return dtype == DType::boolean ? "unsigned char" : info_of(dtype).cuda_type;
}

std::string KernelPrinter::real_text(double value, DType dtype) {
  if (is_only_stored(dtype)) {
    std::uint16_t bits = 0;
    loop::write_element(&bits, dtype, {value, 0});
    return integer_text(bits, DType::u16);
  }
  const std::string make = bitcast_to(dtype, integer_of_size(dtype));
  const bool narrow = size_of(dtype) == size_of(DType::f32);
  if (std::isnan(value)) return make + (narrow ? "(0x7fc00000)" : "(0x7ff8000000000000LL)");
  if (std::isinf(value)) {
    const std::string infinity = make + (narrow ? "(0x7f800000)" : "(0x7ff0000000000000LL)");
    return value < 0 ? "(-" + infinity + ")" : infinity;
  }
  std::string text = loop::digits_of({value, 0}, dtype);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  text += suffix_of(dtype);
  return std::signbit(value) ? "(" + text + ")" : text;
}

bool KernelPrinter::is_plain(const Expr& e) {
  if (const auto found = plain_.find(e.get()); found != plain_.end()) return found->second;
  bool plain = e->dtype == DType::i64;
  switch (e->op) {
    case Op::integer:
      plain = plain && -plain_constant <= e->integer && e->integer <= plain_constant;
      break;
    case Op::variable:
      plain = plain && loop_variables_.contains(e->variable.id);
      break;
    case Op::size:
      break;
    case Op::add:
    case Op::sub:
    case Op::mul:
    case Op::min:
    case Op::max:
    case Op::floor_div:
    case Op::mod:
    case Op::bit_xor:
      plain = plain && is_plain(e->args[0]) && is_plain(e->args[1]);
      break;
    default:
      plain = false;
  }
  return plain_[e.get()] = plain;
}

bool KernelPrinter::is_not_negative(const Expr& e) {
  switch (e->op) {
    case Op::integer:
      return e->integer >= 0;
    case Op::variable:
      return loop_variables_.contains(e->variable.id);
    case Op::size:
      return provably_at_least(e->dim, 0);
    case Op::add:
    case Op::mul:
    case Op::min:
    case Op::floor_div:
    case Op::mod:
    case Op::bit_xor:
      return is_plain(e) && is_not_negative(e->args[0]) && is_not_negative(e->args[1]);
    default:
      return false;
  }
}

std::string KernelPrinter::text(const Expr& e, Place place, int outer) {
  if (const std::string* name = lets_.find(e.get())) return *name;
  return node_text(e, place, outer);
}

std::string KernelPrinter::infix(const Expr& e, const char* op, int level, Place place, int outer) {
  // Among the operands of a plain operator an index constant needs no suffix.
  const auto operand = [&](const Expr& arg, int at) {
    const bool bare = place == Place::index && arg->op == Op::integer && arg->dtype == DType::i64 &&
                      is_plain(arg) && arg->integer >= 0;
    return bare ? std::to_string(arg->integer) : text(arg, place, at);
  };
  const std::string result =
      operand(e->args[0], level) + " " + op + " " + operand(e->args[1], level + 1);
  return level < outer ? "(" + result + ")" : result;
}

std::string KernelPrinter::element_text(const loop::BufferRef& buffer, const Expr& index) {
  if (neighbours_ != nullptr && steps_by_one(index, neighbours_->variable)) {
    const auto found = together_.find(buffer->id);
    if (found != together_.end()) return found->second + "[" + name_of(neighbours_->variable) + "]";
  }
  return name_of(buffer) + "[" + text(index, Place::index) + "]";
}

std::string KernelPrinter::call(const std::string& function, const Expr& e, Place place) {
  std::string result = function + "(";
  for (std::size_t k = 0; k < e->args.size(); ++k) {
    result += (k == 0 ? "" : ", ") + text(e->args[k], place);
  }
  return result + ")";
}

std::string KernelPrinter::arithmetic(const Expr& e, Place place, int outer) {
  const bool real = is_float(e->dtype);
  const bool plain = place == Place::index && is_plain(e);
  switch (e->op) {
    case Op::add:
      return real || plain ? infix(e, "+", sum, place, outer) : call("kt_add", e, place);
    case Op::sub:
      return real || plain ? infix(e, "-", sum, place, outer) : call("kt_sub", e, place);
    case Op::mul:
      return real || plain ? infix(e, "*", product, place, outer) : call("kt_mul", e, place);
    case Op::div:
      return real ? infix(e, "/", product, place, outer) : call("kt_div", e, place);
    case Op::mod:
    case Op::floor_div: {
      // Over an axis of size 0 nothing runs, so an index's divisor is positive.
      const bool is_mod = e->op == Op::mod;
      if (plain && is_not_negative(e->args[0]) && is_not_negative(e->args[1])) {
        return infix(e, is_mod ? "%" : "/", product, place, outer);
      }
      return call(is_mod ? "kt_mod" : "kt_floor_div", e, place);
    }
    case Op::min:
    case Op::max: {
      const bool minimum = e->op == Op::min;
      if (e->dtype == DType::boolean) {
        return infix(e, minimum ? "&&" : "||", minimum ? conjunction : disjunction, place, outer);
      }
      return call(minimum ? "kt_min" : "kt_max", e, place);
    }
    case Op::neg:
      if (!real) return call("kt_neg", e, place);
      return (prefix < outer ? "(-" : "-") + text(e->args[0], place, atom) +
             (prefix < outer ? ")" : "");
    case Op::abs:
      if (!real) return call("kt_abs", e, place);
      return call("fabs" + suffix_of(e->dtype), e, place);
    default:
      throw InternalError("kernel " + kernel_.name + ": no arithmetic");
  }
}

std::string KernelPrinter::conversion(const Expr& e, int outer) {
  const Expr& from = e->args[0];
  if (e->op == Op::bitcast) return call(bitcast_to(e->dtype, from->dtype), e, Place::value);
  if (is_only_stored(from->dtype)) {
    return call("kt_f32_of_" + std::string(kroton::name_of(from->dtype)), e, Place::value);
  }
  if (is_only_stored(e->dtype)) {
    return call("kt_" + std::string(kroton::name_of(e->dtype)), e, Place::value);
  }
  if (e->dtype == DType::boolean) {
    const std::string test = text(from, Place::value, comparison + 1) + " != 0";
    return comparison < outer ? "(" + test + ")" : test;
  }
  if (is_float(from->dtype) && is_integer(e->dtype)) {
    return call("kt_" + std::string(kroton::name_of(e->dtype)), e, Place::value);
  }
  const std::string cast =
      "(" + std::string(info_of(e->dtype).cuda_type) + ")" + text(from, Place::value, prefix);
  return prefix < outer ? "(" + cast + ")" : cast;
}

std::string KernelPrinter::node_text(const Expr& e, Place place, int outer) {
  switch (e->op) {
    case Op::real:
      return real_text(e->real, e->dtype);
    case Op::integer: {
      const std::string number = integer_text(e->integer, e->dtype);
      return e->integer < 0 && outer > any ? "(" + number + ")" : number;
    }
    case Op::variable:
      return name_of(e->variable);
    case Op::size:
      return size_text(e->dim, outer);
    case Op::load: {
      std::string element = element_text(e->buffer, e->args[0]);
      if (is_conditional(*e)) {
        element = "(" + text(e->args[1], Place::value, conjunction) + " ? " + element + " : " +
                  node_text(loop::whole_number(0, e->dtype), place, any) + ")";
      }
      if (e->dtype != DType::boolean) return element;
      return comparison < outer ? "(" + element + " != 0)" : element + " != 0";
    }
    case Op::add:
    case Op::sub:
    case Op::mul:
    case Op::div:
    case Op::mod:
    case Op::floor_div:
    case Op::neg:
    case Op::abs:
    case Op::min:
    case Op::max:
      return arithmetic(e, place, outer);
    case Op::fma:
      return call("fma" + suffix_of(e->dtype), e, place);
    case Op::sqrt:
      return call("sqrt" + suffix_of(e->dtype), e, place);
    case Op::floor:
      return call("floor" + suffix_of(e->dtype), e, place);
    case Op::ceil:
      return call("ceil" + suffix_of(e->dtype), e, place);
    case Op::round_even:
      return call("rint" + suffix_of(e->dtype), e, place);
    case Op::eq:
      return infix(e, "==", comparison, place, outer);
    case Op::ne:
      return infix(e, "!=", comparison, place, outer);
    case Op::lt:
      return infix(e, "<", comparison, place, outer);
    case Op::le:
      return infix(e, "<=", comparison, place, outer);
    case Op::logical_and:
      return infix(e, "&&", conjunction, place, outer);
    case Op::logical_or:
      return infix(e, "||", disjunction, place, outer);
    case Op::logical_not:
      return "!" + text(e->args[0], place, atom);
    case Op::bit_and:
      return converted_back(infix(e, "&", bits, place, std::max<int>(outer, bits + 1)), e->dtype);
    case Op::bit_or:
      return converted_back(infix(e, "|", bits, place, std::max<int>(outer, bits + 1)), e->dtype);
    case Op::bit_xor:
      return converted_back(infix(e, "^", bits, place, std::max<int>(outer, bits + 1)), e->dtype);
    case Op::shl:
      return call("kt_shl", e, place);
    case Op::ashr:
      return converted_back(
          "(" + text(e->args[0], place, atom) + " >> " + text(e->args[1], place, atom) + ")",
          e->dtype);
    case Op::lshr:
      return call("kt_lshr", e, place);
    case Op::select: {
      const std::string chosen = text(e->args[0], place, choice + 1) + " ? " +
                                 text(e->args[1], place, choice + 1) + " : " +
                                 text(e->args[2], place, choice + 1);
      return choice < outer ? "(" + chosen + ")" : chosen;
    }
    case Op::shortcut:  // threads that go different ways wait for each other
      return text(e->args[2], place, outer);
    case Op::cast:
    case Op::bitcast:
      return conversion(e, outer);
    case Op::exp:
    case Op::expm1:
    case Op::log:
    case Op::log1p:
    case Op::sigmoid:
    case Op::tanh:
    case Op::softplus:
    case Op::erf:
    case Op::sin:
    case Op::cos:
    case Op::atan:
    case Op::asin:
    case Op::acos:
    case Op::pow:
    case Op::atan2:
    case Op::check_index:
    case Op::check:
      break;
  }
  throw InternalError("kernel " + kernel_.name + ": " + std::string(loop::name_of(e->op)) +
                      " is not made by its statement");
}

// A quotient, a minimum or a maximum of sizes is worked out by the host, once for all threads.
std::string KernelPrinter::atom_text(const DimAtom& size) {
  const auto found = sizes_.find(size.identity);
  if (found != sizes_.end()) return found->second;
  if (size.is_variable()) {
    throw InternalError("size variable " + size.name + " is not among the program's sizes");
  }
  const std::string name = distinct("size");
  derived_sizes_.push_back(operation(size));
  derived_parameters_ += ",\n    long long " + name;
  return sizes_[size.identity] = name;
}

Dim KernelPrinter::operation(const DimAtom& size) {
  const Dim &a = size.operands[0], &b = size.operands[1];
  switch (size.kind) {
    case DimAtom::Kind::minimum:
      return minimum(a, b);
    case DimAtom::Kind::maximum:
      return maximum(a, b);
    default:
      return floor_div(a, b);
  }
}

std::string KernelPrinter::size_text(const Dim& dim, int outer) {
  if (dim.is_constant()) return integer_text(dim.constant(), DType::i64);
  const std::vector<Dim::Term> terms = dim.terms();
  std::string result;
  for (const Dim::Term& term : terms) {
    const bool negative = term.coefficient < 0 && term.coefficient != INT64_MIN;
    const std::int64_t coefficient = negative ? -term.coefficient : term.coefficient;
    std::string factors;
    for (const DimAtomRef& factor : term.factors) {
      factors += (factors.empty() ? "" : " * ") + atom_text(*factor);
    }
    if (factors.empty()) {
      factors = integer_text(coefficient, DType::i64);
    } else if (coefficient != 1) {
      factors += " * " + integer_text(coefficient, DType::i64);
    }
    if (result.empty()) {
      result = (negative ? "-" : "") + factors;
    } else {
      result += (negative ? " - " : " + ") + factors;
    }
  }
  const int level = terms.size() > 1 ? sum : product;
  const bool bare = terms.size() == 1 && terms[0].coefficient == 1 && terms[0].factors.size() == 1;
  return !bare && level < outer ? "(" + result + ")" : result;
}

KernelPrinter::Place KernelPrinter::place_of(const Expr& e) const {
  return indices_.contains(e.get()) ? Place::index : Place::value;
}

// Notes what the indices, extents and conditions of the block are made of.
void KernelPrinter::find_indices(const loop::Block& block) {
  std::vector<Expr> roots;
  std::unordered_set<const ExprNode*> seen;
  std::vector<Expr> nodes;
  loop::visit_statements(block, [&](const loop::Stmt& s) {
    if (const auto* store = std::get_if<loop::Store>(&s)) roots.push_back(store->index);
    if (const loop::For* loop = loop::as_for(s)) roots.push_back(loop->extent);
    if (const loop::If* branch = loop::as_if(s)) roots.push_back(branch->condition);
    if (const auto* copy = std::get_if<loop::Copy>(&s)) {
      roots.insert(roots.end(), {copy->to_index, copy->from_index, copy->available, copy->aligned});
    }
    if (const auto* multiply = std::get_if<loop::Multiply>(&s)) {
      roots.insert(roots.end(), {multiply->a_start, multiply->b_start});
    }
    loop::visit_own_expressions(s, [&](const Expr& e) { loop::append_post_order(e, seen, nodes); });
  });
  for (const Expr& e : nodes) {
    if (e->op == Op::load) roots.push_back(e->args[0]);
  }
  for (const Expr& e : loop::post_order(roots)) indices_.insert(e.get());
}

// What is small is as well written where it is used.
void KernelPrinter::print_let(const loop::Let& let, loop::LetValues<std::string>::Scope& scope) {
  const Expr& e = let.value;
  const bool is_small = is_plain(e) && std::all_of(e->args.begin(), e->args.end(),
                                                   [](const Expr& a) { return a->args.empty(); });
  if (is_small) return;
  const std::string name = distinct("t" + std::to_string(++temporaries_));
  if (loop::may_fail(e->op)) {
    print_check(e, name);
  } else {
    line("const " + std::string(info_of(e->dtype).cuda_type) + " " + name + " = " +
         node_text(e, place_of(e), any) + ";");
  }
  scope.let(let, name);
}

void KernelPrinter::print_check(const Expr& e, const std::string& name) {
  const auto fail_if = [&](const std::string& condition, const std::string& index,
                           const std::string& size) {
    open("if (" + condition + ") {");
    line("kt_fail(error, " + std::to_string(e->integer) + ", " + index + ", " + size + ");");
    line(failed_.empty() ? "return;" : "goto " + failed_ + ";");
    uses_label_ = uses_label_ || !failed_.empty();
    close();
  };
  if (e->op == Op::check) {
    fail_if("!" + text(e->args[1], Place::value, atom), text(e->args[2], Place::value),
            text(e->args[3], Place::value));
    line("const " + std::string(info_of(e->dtype).cuda_type) + " " + name + " = " +
         text(e->args[0], Place::value) + ";");
    return;
  }
  const std::string index = distinct(name + "_given");
  const std::string size = text(e->args[1], Place::index, prefix);
  line("const long long " + index + " = " + text(e->args[0], Place::value) + ";");
  fail_if(index + " < -" + size + " || " + index + " >= " + size, index, size);
  line("const long long " + name + " = " + index + " < 0 ? " + index + " + " + size + " : " +
       index + ";");
}

}  // namespace kroton::codegen
