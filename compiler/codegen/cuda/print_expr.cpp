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
    case Op::select:
    case Op::check_index:  // which is below its size
      plain = plain && is_plain(e->args[1]) && is_plain(e->args.back());
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
    case Op::select:
      return is_plain(e) && is_not_negative(e->args[1]) && is_not_negative(e->args[2]);
    case Op::check_index:
      return is_plain(e);
    default:
      return false;
  }
}

bool KernelPrinter::is_index(const Expr& e) {
  return is_plain(e) &&
         (e->op == Op::integer || e->op == Op::variable || indices_.contains(e.get()));
}

bool KernelPrinter::is_narrow(const Expr& e) {
  return e->op != Op::integer && e->op != Op::size && is_index(e);
}

std::string KernelPrinter::type_of(const loop::Variable& counter) const {
  return loop_variables_.contains(counter.id) ? "kt_index" : "long long";
}

// Values have 64 bits.
std::string KernelPrinter::widened(const std::string& index, int outer) {
  return prefix < outer ? "((long long)" + index + ")" : "(long long)" + index;
}

std::string KernelPrinter::text(const Expr& e, Place place, int outer) {
  const bool widens = place == Place::value && is_narrow(e);
  if (const std::string* name = lets_.find(e.get())) return widens ? widened(*name, outer) : *name;
  return widens ? widened(node_text(e, Place::index, prefix), outer) : node_text(e, place, outer);
}

std::string KernelPrinter::infix(const Expr& e, const char* op, int level, Place place, int outer) {
  const std::string result =
      text(e->args[0], place, level) + " " + op + " " + text(e->args[1], place, level + 1);
  return level < outer ? "(" + result + ")" : result;
}

std::string KernelPrinter::compared(const Expr& e, const char* op, Place place, int outer) {
  const bool are_indices = is_index(e->args[0]) && is_index(e->args[1]);
  return infix(e, op, comparison, are_indices ? Place::index : place, outer);
}

std::string KernelPrinter::element_text(const loop::BufferRef& buffer, const Expr& index) {
  if (buffer->space == loop::Space::awaited) {
    return "KROTON_TOLD(" + told_text(buffer, index) + ", " + missing_ + ")";
  }
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
      return real || plain ? infix(e, "+", sum, place, outer) : call("kt_add", e, Place::value);
    case Op::sub:
      return real || plain ? infix(e, "-", sum, place, outer) : call("kt_sub", e, Place::value);
    case Op::mul:
      return real || plain ? infix(e, "*", product, place, outer) : call("kt_mul", e, Place::value);
    case Op::div:
      return real ? infix(e, "/", product, place, outer) : call("kt_div", e, Place::value);
    case Op::mod:
    case Op::floor_div:
      if (plain) return division(e);
      return call(e->op == Op::mod ? "kt_mod" : "kt_floor_div", e, Place::value);
    case Op::min:
    case Op::max: {
      const bool minimum = e->op == Op::min;
      if (e->dtype == DType::boolean) {
        return infix(e, minimum ? "&&" : "||", minimum ? conjunction : disjunction, place, outer);
      }
      if (plain) return call(minimum ? "kt_least" : "kt_greatest", e, place);
      return call(minimum ? "kt_min" : "kt_max", e, Place::value);
    }
    case Op::neg:
      if (!real) return call("kt_neg", e, Place::value);
      return (prefix < outer ? "(-" : "-") + text(e->args[0], place, atom) +
             (prefix < outer ? ")" : "");
    case Op::abs:
      if (!real) return call("kt_abs", e, Place::value);
      return call("fabs" + suffix_of(e->dtype), e, place);
    default:
      throw InternalError("kernel " + kernel_.name + ": no arithmetic");
  }
}

// Over an axis of size 0 nothing runs, so an index's divisor is positive.
std::string KernelPrinter::division(const Expr& e) {
  const bool is_mod = e->op == Op::mod;
  const Expr& by = e->args[1];
  if (!is_not_negative(e->args[0]) || !is_not_negative(by)) {
    return call(is_mod ? "kt_floor_rest" : "kt_floor_quotient", e, Place::index);
  }
  const std::string plain = call(is_mod ? "kt_rest" : "kt_quotient", e, Place::index);
  if (by->op != Op::size) return plain;
  const auto found = std::find(divisors_.begin(), divisors_.end(), by->dim);
  const auto position = static_cast<std::size_t>(found - divisors_.begin());
  if (found == divisors_.end()) {
    divisors_.push_back(by->dim);
    division_names_.push_back(distinct("by_" + text(by, Place::index)));
    division_parameters_ += ",\n    unsigned long long " + division_names_.back();
  }
  return plain.substr(0, plain.size() - 1) + ", " + division_names_[position] + ")";
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
  const std::string cast = "(" + std::string(info_of(e->dtype).cuda_type) + ")" +
                           text(from, is_narrow(from) ? Place::index : Place::value, prefix);
  return prefix < outer ? "(" + cast + ")" : cast;
}

std::string KernelPrinter::node_text(const Expr& e, Place place, int outer) {
  switch (e->op) {
    case Op::real:
      return real_text(e->real, e->dtype);
    case Op::integer: {
      const bool is_bare = place == Place::index && is_plain(e);  // beside it all is an index
      const std::string number =
          is_bare ? std::to_string(e->integer) : integer_text(e->integer, e->dtype);
      return e->integer < 0 && outer > any ? "(" + number + ")" : number;
    }
    case Op::variable:
      return name_of(e->variable);
    case Op::size:
      return size_text(e->dim, place, outer);
    case Op::load: {
      std::string element = element_text(e->buffer, e->args[0]);
      if (is_conditional(*e)) {
        element = "(" + text(e->args[1], Place::value, conjunction) + " ? " + element + " : " +
                  node_text(loop::whole_number(0, e->dtype), Place::value, any) + ")";
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
      return compared(e, "==", place, outer);
    case Op::ne:
      return compared(e, "!=", place, outer);
    case Op::lt:
      return compared(e, "<", place, outer);
    case Op::le:
      return compared(e, "<=", place, outer);
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
      return call("kt_shl", e, Place::value);
    case Op::ashr:
      return converted_back(
          "(" + text(e->args[0], place, atom) + " >> " + text(e->args[1], place, atom) + ")",
          e->dtype);
    case Op::lshr:
      return call("kt_lshr", e, Place::value);
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
  derived_parameters_ += ",\n    kt_index " + name;
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

std::string KernelPrinter::size_text(const Dim& dim, Place place, int outer) {
  const bool is_index = place == Place::index;
  const auto number = [&](std::int64_t value) {
    const bool is_bare = is_index && -plain_constant <= value && value <= plain_constant;
    return is_bare ? std::to_string(value) : integer_text(value, DType::i64);
  };
  if (dim.is_constant()) return number(dim.constant());
  const std::vector<Dim::Term> terms = dim.terms();
  std::string result;
  for (const Dim::Term& term : terms) {
    const bool negative = term.coefficient < 0 && term.coefficient != INT64_MIN;
    const std::int64_t coefficient = negative ? -term.coefficient : term.coefficient;
    std::string factors;
    for (const DimAtomRef& factor : term.factors) {
      factors += (!factors.empty() ? " * " : is_index ? "" : "(long long)") + atom_text(*factor);
    }
    if (factors.empty()) {
      factors = number(coefficient);
    } else if (coefficient != 1) {
      factors += " * " + number(coefficient);
    }
    if (result.empty()) {
      result = (negative ? "-" : "") + factors;
    } else {
      result += (negative ? " - " : " + ") + factors;
    }
  }
  const bool is_name =
      terms.size() == 1 && terms[0].coefficient == 1 && terms[0].factors.size() == 1;
  const int level = terms.size() > 1 ? sum : !is_name ? product : is_index ? atom : prefix;
  return level < outer ? "(" + result + ")" : result;
}

KernelPrinter::Place KernelPrinter::place_of(const Expr& e) const {
  return indices_.contains(e.get()) ? Place::index : Place::value;
}

// Notes which variables have indices for values: counters, and what nothing changes, which is a
// name and as good in an index as what it stands for.
void KernelPrinter::find_names(const loop::Block& block) {
  const auto add = [&](const loop::Variable& v, const Expr& value, bool counts) {
    loop_variables_.insert(v.id);
    computed_indices_.names.push_back({v, value, counts});
  };
  loop::visit_statements(block, [&](const loop::Stmt& s) {
    if (const loop::For* loop = loop::as_for(s); loop && is_plain(loop->extent)) {
      // Neighbours are counted to the end, whether they are there or not.
      const bool together = loop->kind == loop::LoopKind::vector;
      add(loop->variable, together ? loop::integer(loop->width) : loop->extent, true);
    }
    const auto* name = std::get_if<loop::Declare>(&s);
    if (name && !changed_.contains(name->variable.id) && is_plain(name->init) &&
        is_not_negative(name->init)) {
      add(name->variable, name->init, false);
    }
  });
}

// Notes what the indices, extents and conditions of the block are made of.
void KernelPrinter::find_indices(const loop::Block& block) {
  find_names(block);
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
    if (const auto* name = std::get_if<loop::Declare>(&s)) {
      if (loop_variables_.contains(name->variable.id)) roots.push_back(name->init);
    }
    if (const auto* multiply = std::get_if<loop::Multiply>(&s)) {
      roots.insert(roots.end(), {multiply->a_start, multiply->b_start});
    }
    loop::visit_own_expressions(s, [&](const Expr& e) { loop::append_post_order(e, seen, nodes); });
  });
  for (const Expr& e : nodes) {
    if (e->op == Op::load) roots.push_back(e->args[0]);
    const bool compares = Op::eq <= e->op && e->op <= Op::le;
    if (compares && is_plain(e->args[0]) && is_plain(e->args[1])) {
      roots.insert(roots.end(), e->args.begin(), e->args.end());
    }
  }
  for (const Expr& e : loop::post_order(roots)) {
    if (indices_.insert(e.get()).second && is_index(e)) computed_indices_.arithmetic.push_back(e);
  }
}

// An index that is made of an unrolled loop's variable has 64 bits: what is constant in it when the
// loop is written out is then part of the instructions that access memory, and the rest is computed
// once.
std::string KernelPrinter::type_of_let(const Expr& e) {
  const bool is_constant_in_part =
      std::any_of(written_out_.begin(), written_out_.end(),
                  [&](const loop::Variable& v) { return loop::depends_on(e, v); });
  return is_narrow(e) && !is_constant_in_part ? "kt_index"
                                              : std::string(info_of(e->dtype).cuda_type);
}

// What is small is as well written where it is used.
void KernelPrinter::print_let(const loop::Let& let, loop::LetValues<std::string>::Scope& scope) {
  const Expr& e = let.value;
  const bool is_small =
      is_plain(e) && !loop::may_fail(e->op) &&
      std::all_of(e->args.begin(), e->args.end(), [](const Expr& a) { return a->args.empty(); });
  if (is_small) return;
  const std::string name = distinct("t" + std::to_string(++temporaries_));
  if (loop::may_fail(e->op)) {
    print_check(e, name);
  } else {
    line("const " + type_of_let(e) + " " + name + " = " + node_text(e, place_of(e), any) + ";");
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
  const std::string size = text(e->args[1], Place::value, prefix);
  line("const long long " + index + " = " + text(e->args[0], Place::value) + ";");
  fail_if(index + " < -" + size + " || " + index + " >= " + size, index, size);
  line("const " + std::string(is_narrow(e) ? "kt_index " : "long long ") + name + " = " + index +
       " < 0 ? " + index + " + " + size + " : " + index + ";");
}

}  // namespace kroton::codegen
