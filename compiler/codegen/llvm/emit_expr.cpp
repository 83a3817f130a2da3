#include <kroton/error.h>
#include <llvm/IR/Intrinsics.h>
#include <llvm/IR/MDBuilder.h>
#include <llvm/IR/PatternMatch.h>

#include <algorithm>
#include <numeric>

#include "compiler/codegen/llvm/emit_remainder.h"
#include "compiler/codegen/llvm/kernel_emitter.h"
#include "compiler/loop/scalar.h"
#include "compiler/loop/schedule.h"
#include "compiler/loop/traverse.h"
#include "runtime/abi.h"

namespace kroton::codegen {
namespace {

using loop::Expr;
using loop::ExprNode;
using loop::Op;

// Prints elsewhere for as long as it lives. Blocks may be split meanwhile, so that an instruction
// marks where to go on.
class Elsewhere {
 public:
  Elsewhere(llvm::IRBuilder<>& builder, llvm::Instruction* before)
      : builder_(builder),
        here_(builder.Insert(new llvm::FreezeInst(llvm::PoisonValue::get(builder.getInt1Ty())))) {
    builder.SetInsertPoint(before);
  }
  ~Elsewhere() {
    builder_.SetInsertPoint(here_->getParent(), std::next(here_->getIterator()));
    here_->eraseFromParent();
  }
  Elsewhere(const Elsewhere&) = delete;
  Elsewhere& operator=(const Elsewhere&) = delete;

 private:
  llvm::IRBuilder<>& builder_;
  llvm::Instruction* here_;
};

bool is_constant_number(const Expr& e) {
  return e->op == Op::integer || (e->op == Op::real && e->real == e->real);
}

// What gives the greater (1) or the smaller (-1) of two floating numbers, be it by a select that
// chooses between just those that its condition orders; 0 for anything else.
int extremum(const loop::ExprNode& e) {
  if (!is_float(e.dtype)) return 0;
  if (e.op == Op::max || e.op == Op::min) return e.op == Op::max ? 1 : -1;
  if (e.op != Op::select) return 0;
  const loop::ExprNode& condition = *e.args[0];
  if (condition.op != Op::lt && condition.op != Op::le) return 0;
  if (condition.args[0] == e.args[2] && condition.args[1] == e.args[1]) return 1;
  return condition.args[0] == e.args[1] && condition.args[1] == e.args[2] ? -1 : 0;
}

// Whether a select gives the greater of a number and one that is the greater of two; or the
// smaller.
bool repeats_extremum(const loop::ExprNode& e) {
  const int kind = e.op == Op::select ? extremum(e) : 0;
  return kind != 0 && (extremum(*e.args[1]) == kind || extremum(*e.args[2]) == kind);
}

}  // namespace

llvm::Type* llvm_type(llvm::LLVMContext& context, DType dtype) {
  switch (dtype) {
    case DType::boolean:
      return llvm::Type::getInt1Ty(context);
    case DType::i8:
    case DType::u8:
      return llvm::Type::getInt8Ty(context);
    case DType::i16:
    case DType::u16:
    case DType::f16:
    case DType::bf16:
      return llvm::Type::getInt16Ty(context);
    case DType::i32:
    case DType::u32:
      return llvm::Type::getInt32Ty(context);
    case DType::i64:
    case DType::u64:
      return llvm::Type::getInt64Ty(context);
    case DType::f32:
      return llvm::Type::getFloatTy(context);
    case DType::f64:
      return llvm::Type::getDoubleTy(context);
  }
  throw InternalError("llvm_type: unknown dtype");
}

llvm::Type* memory_type(llvm::LLVMContext& context, DType dtype) {
  return dtype == DType::boolean ? llvm::Type::getInt8Ty(context) : llvm_type(context, dtype);
}

llvm::Constant* real_constant(llvm::LLVMContext& context, double value, DType dtype) {
  llvm::Type* type = llvm_type(context, dtype);
  if (!is_only_stored(dtype)) return llvm::ConstantFP::get(type, value);
  std::uint16_t bits = 0;
  loop::write_element(&bits, dtype, {value, 0});
  return llvm::ConstantInt::get(type, bits);
}

llvm::Value* SizeEmitter::emit(llvm::IRBuilder<>& builder, const Dim& dim) const {
  Emitted emitted;
  return emit(builder, dim, emitted);
}

llvm::Value* SizeEmitter::emit(llvm::IRBuilder<>& builder, const Dim& dim, Emitted& emitted) const {
  llvm::Type* i64 = builder.getInt64Ty();
  if (dim.is_constant()) return builder.getInt64(static_cast<std::uint64_t>(dim.constant()));
  const auto new_value = [&](const DimAtom& atom) -> llvm::Value* {
    if (atom.is_variable()) {
      for (std::size_t k = 0; k < variables_.size(); ++k) {
        if (variables_[k]->identity == atom.identity) {
          llvm::LoadInst* load =
              builder.CreateLoad(i64, builder.CreateConstGEP1_64(i64, sizes_, k), atom.name);
          load->setMetadata(llvm::LLVMContext::MD_invariant_load,
                            llvm::MDNode::get(builder.getContext(), {}));
          return load;
        }
      }
      throw InternalError("size variable " + atom.name + " is not among the program's sizes");
    }
    llvm::Value* a = emit(builder, atom.operands[0], emitted);
    llvm::Value* b = emit(builder, atom.operands[1], emitted);
    switch (atom.kind) {
      case DimAtom::Kind::minimum:
        return builder.CreateBinaryIntrinsic(llvm::Intrinsic::smin, a, b);
      case DimAtom::Kind::maximum:
        return builder.CreateBinaryIntrinsic(llvm::Intrinsic::smax, a, b);
      default: {  // floor division by a positive size
        const auto* divisor = llvm::dyn_cast<llvm::ConstantInt>(b);
        if (divisor && divisor->getValue().isPowerOf2()) {
          return builder.CreateAShr(a, divisor->getValue().logBase2());
        }
        llvm::Value* quotient = builder.CreateSDiv(a, b);
        llvm::Value* remainder = builder.CreateSub(a, builder.CreateMul(quotient, b));
        llvm::Value* below = builder.CreateICmpSLT(remainder, builder.getInt64(0));
        return builder.CreateSub(quotient, builder.CreateZExt(below, i64));
      }
    }
  };
  const auto atom_value = [&](const DimAtom& atom) {
    const auto known = emitted.find(&atom);
    return known != emitted.end() ? known->second : emitted[&atom] = new_value(atom);
  };
  llvm::Value* sum = nullptr;
  for (const Dim::Term& term : dim.terms()) {
    llvm::Value* product = nullptr;
    for (const DimAtomRef& factor : term.factors) {
      llvm::Value* value = atom_value(*factor);
      product = product ? builder.CreateMul(product, value) : value;
    }
    llvm::Value* coefficient = builder.getInt64(static_cast<std::uint64_t>(term.coefficient));
    if (!product) {
      product = coefficient;
    } else if (term.coefficient != 1) {
      product = builder.CreateMul(product, coefficient);
    }
    sum = sum ? builder.CreateAdd(sum, product) : product;
  }
  // LLVM tries every way to take a long sum apart between a loop's addresses: minutes for a join of
  // a hundred sizes.
  constexpr std::size_t long_sum = 3;
  if (dim.terms().size() >= long_sum) sum = builder.CreateFreeze(sum);
  return sum ? sum : builder.getInt64(0);
}

llvm::Type* KernelEmitter::type_of(DType dtype, bool lanes) {
  llvm::Type* scalar = llvm_type(context_, dtype);
  return lanes ? llvm::FixedVectorType::get(scalar, static_cast<unsigned>(lanes_->width)) : scalar;
}

llvm::Align KernelEmitter::alignment(DType dtype) const { return llvm::Align(size_of(dtype)); }

llvm::Value* KernelEmitter::splat(const Printed& p) {
  if (p.lanes) return p.value;
  return builder_.CreateVectorSplat(static_cast<unsigned>(lanes_->width), p.value);
}

llvm::Value* KernelEmitter::address(const loop::BufferRef& buffer, llvm::Value* index) {
  const auto found = buffers_.find(buffer->id);
  if (found == buffers_.end()) {
    throw InternalError("kernel " + kernel_.name + ": buffer " + buffer->name + " is not declared");
  }
  llvm::Type* element = memory_type(context_, buffer->dtype);
  // A constant term is an offset of its own: neighbouring addresses then share the rest.
  llvm::Value* rest = nullptr;
  llvm::ConstantInt* term = nullptr;
  if (llvm::PatternMatch::match(
          index, llvm::PatternMatch::m_Add(llvm::PatternMatch::m_Value(rest),
                                           llvm::PatternMatch::m_ConstantInt(term)))) {
    return builder_.CreateGEP(element, builder_.CreateGEP(element, found->second, rest), term);
  }
  return builder_.CreateGEP(element, found->second, index);
}

const KernelEmitter::Nature& KernelEmitter::nature_of(const ExprNode& e) {
  if (const auto it = natures_.find(&e); it != natures_.end()) return it->second;
  Nature nature;
  if (e.op == Op::variable) {
    const auto it = loop_variables_.find(e.variable.id);
    nature.depth =
        it != loop_variables_.end() ? it->second.second : scalars_.at(e.variable.id).depth;
  }
  for (const Expr& arg : e.args) {
    const Nature& of_arg = nature_of(*arg);
    nature.depth = std::max(nature.depth, of_arg.depth);
    nature.checks |= of_arg.checks;
  }
  nature.checks |= loop::may_fail(e.op);
  // Printed in this order, an argument is held while the ones after it are printed.
  int before = 0;
  for (const std::size_t k : printing_order(e, nature.checks)) {
    nature.held = std::max(nature.held, before++ + nature_of(*e.args[k]).held);
  }
  if (e.op != Op::real && e.op != Op::integer) nature.held = std::max(nature.held, 1);
  return natures_[&e] = std::move(nature);
}

// The arguments that hold most values first: a long chain after what it is combined with would have
// all of its links' other arguments wait for it, in memory where registers are used up. With checks
// as they are written, so that the first one that fails is the first one there.
std::vector<std::size_t> KernelEmitter::printing_order(const ExprNode& e, bool as_written) {
  std::vector<std::size_t> order(e.args.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (as_written) return order;
  const auto held = [&](std::size_t k) { return nature_of(*e.args[k]).held; };
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return std::pair(-held(a), a) < std::pair(-held(b), b);
  });
  return order;
}

bool KernelEmitter::depends_on_lane(const ExprNode& e) {
  return lanes_ && nature_of(e).depth >= lanes_->depth;
}

// Inside the vector loop too: an index of the serial loops in it.
bool KernelEmitter::same_for_all_lanes(const ExprNode& e) {
  if (e.op == Op::variable) {
    const auto scalar = scalars_.find(e.variable.id);
    return e.variable.id != lanes_->variable && (scalar == scalars_.end() || !scalar->second.lanes);
  }
  return std::all_of(e.args.begin(), e.args.end(),
                     [this](const Expr& arg) { return same_for_all_lanes(*arg); });
}

// What the index of the next lane is more; null if that is not the same for all of them, as where a
// scalar of each lane's own is in it.
Expr KernelEmitter::lane_stride(const Expr& index) {
  const std::vector<Expr> nodes = loop::post_order(std::span(&index, 1));
  const bool own = std::any_of(nodes.begin(), nodes.end(), [this](const Expr& e) {
    if (e->op != Op::variable) return false;
    const auto scalar = scalars_.find(e->variable.id);
    return scalar != scalars_.end() && scalar->second.lanes;
  });
  return own ? nullptr : loop::stride_of(index, {lanes_->variable, DType::i64, ""});
}

Printed KernelEmitter::print(const Expr& e) { return print_memoised(e, false); }

llvm::Value* KernelEmitter::print_at_base(const Expr& e) { return print_memoised(e, true).value; }

Printed KernelEmitter::print_memoised(const Expr& e, bool at_base) {
  Held* held = lets_.find(e.get());
  if (held == nullptr) return print_node(*e, at_base);
  if (!lanes_ || nature_of(*e).depth < lanes_->depth) at_base = false;  // both meanings are one
  if (at_base && held->at_base) return {held->at_base, false};
  if (!at_base && held->printed) return *held->printed;
  Printed printed;
  const std::optional<Lanes> lanes = lanes_;
  if (!held->in_lanes) lanes_.reset();
  if (held->level == level_) {
    printed = print_node(*e, at_base);
  } else {
    const Elsewhere outside(builder_, left_[held->level]);
    const std::size_t level = std::exchange(level_, held->level);
    printed = print_node(*e, at_base);
    level_ = level;
  }
  lanes_ = lanes;
  if (at_base) {
    held->at_base = printed.value;
  } else {
    held->printed = printed;
  }
  return printed;
}

llvm::Value* KernelEmitter::print_integer_division(Op op, DType dtype, llvm::Value* a,
                                                   llvm::Value* b) {
  const llvm::APInt* divisor = nullptr;
  if (op != Op::div && llvm::PatternMatch::match(b, llvm::PatternMatch::m_Power2(divisor)) &&
      divisor->isStrictlyPositive()) {
    llvm::Constant* mask = llvm::ConstantInt::get(a->getType(), *divisor - 1);
    return op == Op::mod      ? builder_.CreateAnd(a, mask)
           : is_signed(dtype) ? builder_.CreateAShr(a, divisor->logBase2())
                              : builder_.CreateLShr(a, divisor->logBase2());
  }
  // Defined for all operands: x / 0 == 0, x mod 0 == 0, and min / -1 == min (negation wraps).
  llvm::Value* zero = llvm::Constant::getNullValue(a->getType());
  llvm::Value* one = llvm::ConstantInt::get(a->getType(), 1);
  llvm::Value* by_zero = builder_.CreateICmpEQ(b, zero);
  if (!is_signed(dtype)) {
    llvm::Value* safe = builder_.CreateSelect(by_zero, one, b);
    llvm::Value* result =
        op == Op::mod ? builder_.CreateURem(a, safe) : builder_.CreateUDiv(a, safe);
    return builder_.CreateSelect(by_zero, zero, result);
  }
  llvm::Value* by_minus_one =
      builder_.CreateICmpEQ(b, llvm::ConstantInt::getSigned(a->getType(), -1));
  llvm::Value* safe = builder_.CreateSelect(builder_.CreateOr(by_zero, by_minus_one), one, b);
  llvm::Value* quotient = builder_.CreateSDiv(a, safe);
  quotient = builder_.CreateSelect(by_minus_one, builder_.CreateNeg(a), quotient);
  if (op != Op::div) {
    llvm::Value* remainder = builder_.CreateSub(a, builder_.CreateMul(quotient, b));
    llvm::Value* signs_differ = builder_.CreateICmpSLT(builder_.CreateXor(remainder, b), zero);
    llvm::Value* adjust = builder_.CreateAnd(builder_.CreateICmpNE(remainder, zero), signs_differ);
    if (op == Op::mod) {
      llvm::Value* shifted = builder_.CreateAdd(remainder, b);
      return builder_.CreateSelect(by_zero, zero,
                                   builder_.CreateSelect(adjust, shifted, remainder));
    }
    quotient = builder_.CreateSelect(adjust, builder_.CreateSub(quotient, one), quotient);
  }
  return builder_.CreateSelect(by_zero, zero, quotient);
}

llvm::Value* KernelEmitter::print_binary(Op op, DType dtype, llvm::Value* a, llvm::Value* b,
                                         const ExprNode* node) {
  const bool real = is_float(dtype);
  switch (op) {
    case Op::add:
      return real ? builder_.CreateFAdd(a, b) : builder_.CreateAdd(a, b);
    case Op::sub:
      return real ? builder_.CreateFSub(a, b) : builder_.CreateSub(a, b);
    case Op::mul:
      return real ? builder_.CreateFMul(a, b) : builder_.CreateMul(a, b);
    case Op::div:
      return real ? builder_.CreateFDiv(a, b) : print_integer_division(op, dtype, a, b);
    case Op::floor_div:
      return print_integer_division(op, dtype, a, b);
    case Op::mod:
      if (!real) return print_integer_division(op, dtype, a, b);
      return builder_.CreateCall(remainder_function(module_, a->getType()), {a, b});
    case Op::min:
    case Op::max: {
      const bool minimum = op == Op::min;
      if (dtype == DType::boolean)
        return minimum ? builder_.CreateAnd(a, b) : builder_.CreateOr(a, b);
      if (!real) {
        const auto intrinsic = is_signed(dtype)
                                   ? (minimum ? llvm::Intrinsic::smin : llvm::Intrinsic::smax)
                                   : (minimum ? llvm::Intrinsic::umin : llvm::Intrinsic::umax);
        return builder_.CreateBinaryIntrinsic(intrinsic, a, b);
      }
      // x86's min and max return the second operand when either is NaN: with the one operand that
      // may be NaN second, one instruction does. Otherwise the second is tested as well, which an
      // accumulation, whose first operand is the value so far, need not wait for.
      const auto first_if_better = [&](llvm::Value* x, llvm::Value* y) {
        llvm::Value* better = minimum ? builder_.CreateFCmpOLT(x, y) : builder_.CreateFCmpOGT(x, y);
        return builder_.CreateSelect(better, x, y);
      };
      if (node && is_constant_number(node->args[0])) return first_if_better(a, b);
      if (node && is_constant_number(node->args[1])) return first_if_better(b, a);
      return builder_.CreateSelect(builder_.CreateFCmpUNO(b, b),
                                   llvm::ConstantFP::getNaN(b->getType()), first_if_better(b, a));
    }
    case Op::eq:
      return real ? builder_.CreateFCmpOEQ(a, b) : builder_.CreateICmpEQ(a, b);
    case Op::ne:
      return real ? builder_.CreateFCmpUNE(a, b) : builder_.CreateICmpNE(a, b);
    case Op::lt:
      if (real) return builder_.CreateFCmpOLT(a, b);
      return is_signed(dtype) ? builder_.CreateICmpSLT(a, b) : builder_.CreateICmpULT(a, b);
    case Op::le:
      if (real) return builder_.CreateFCmpOLE(a, b);
      return is_signed(dtype) ? builder_.CreateICmpSLE(a, b) : builder_.CreateICmpULE(a, b);
    case Op::logical_and:
    case Op::bit_and:
      return builder_.CreateAnd(a, b);
    case Op::logical_or:
    case Op::bit_or:
      return builder_.CreateOr(a, b);
    case Op::bit_xor:
      return builder_.CreateXor(a, b);
    case Op::shl:
      return builder_.CreateShl(a, b);
    case Op::ashr:
      return is_signed(dtype) ? builder_.CreateAShr(a, b) : builder_.CreateLShr(a, b);
    case Op::lshr:
      return builder_.CreateLShr(a, b);
    default:
      throw InternalError("kernel " + kernel_.name + ": not a binary operation");
  }
}

// Stops the kernel where `bad` holds, in any active lane. The first of them gives the numbers for
// the message.
void KernelEmitter::fail_if(const Printed& bad, const Printed& index, const Printed& size,
                            int site) {
  if (const auto* known = llvm::dyn_cast<llvm::Constant>(bad.value)) {
    if (known->isNullValue()) return;
  }
  result_.has_checks = true;
  if (!bad.lanes) {
    const auto of_first = [&](const Printed& p) {
      return p.lanes ? builder_.CreateExtractElement(p.value, std::uint64_t{0}) : p.value;
    };
    llvm::Value* first_index = of_first(index);
    return_error(bad.value, first_index, of_first(size), site);
    return;
  }
  llvm::Value* active = lanes_->mask ? builder_.CreateAnd(bad.value, lanes_->mask) : bad.value;
  llvm::Value* any = builder_.CreateOrReduce(active);
  llvm::Type* bits_type = builder_.getIntNTy(static_cast<unsigned>(lanes_->width));
  llvm::Value* bits = builder_.CreateBitCast(active, bits_type);
  llvm::Value* lane =
      builder_.CreateBinaryIntrinsic(llvm::Intrinsic::cttz, bits, builder_.getFalse());
  lane = builder_.CreateSelect(any, lane, llvm::Constant::getNullValue(bits_type));
  lane = builder_.CreateZExtOrTrunc(lane, builder_.getInt64Ty());
  const auto of_lane = [&](const Printed& p) {
    return p.lanes ? builder_.CreateExtractElement(p.value, lane) : p.value;
  };
  llvm::Value* first_index = of_lane(index);
  llvm::Value* first_size = of_lane(size);
  return_error(any, first_index, first_size, site);
}

Printed KernelEmitter::print_check_index(const ExprNode& e, bool at_base) {
  const Printed size = print(e.args[1]);
  const Printed index = at_base ? Printed{print_at_base(e.args[0]), false} : print(e.args[0]);
  llvm::Value* i = index.value;
  llvm::Value* n = index.lanes ? splat(size) : size.value;
  llvm::Value* zero = llvm::Constant::getNullValue(i->getType());
  llvm::Value* wrapped =
      builder_.CreateSelect(builder_.CreateICmpSLT(i, zero), builder_.CreateAdd(i, n), i);
  fail_if({builder_.CreateICmpUGE(wrapped, n), index.lanes}, index, size,
          static_cast<int>(e.integer));
  return {wrapped, index.lanes};
}

Printed KernelEmitter::print_check(const ExprNode& e) {
  const Printed value = print(e.args[0]);
  const Printed condition = print(e.args[1]);
  const Printed index = print(e.args[2]);
  const Printed size = print(e.args[3]);
  fail_if({builder_.CreateNot(condition.value), condition.lanes}, index, size,
          static_cast<int>(e.integer));
  return value;
}

Printed KernelEmitter::print_node(const ExprNode& e, bool at_base) {
  switch (e.op) {
    case Op::real:
      return {real_constant(context_, e.real, e.dtype), false};
    case Op::integer:
      return {
          llvm::ConstantInt::getSigned(llvm_type(context_, e.dtype),
                                       e.dtype == DType::boolean ? -(e.integer != 0) : e.integer),
          false};
    case Op::variable: {
      if (const auto it = loop_variables_.find(e.variable.id); it != loop_variables_.end()) {
        if (!lanes_ || lanes_->variable != e.variable.id) return {it->second.first, false};
        if (at_base) return {lanes_->base, false};
        std::vector<llvm::Constant*> offsets;
        for (int k = 0; k < lanes_->width; ++k) {
          offsets.push_back(builder_.getInt64(static_cast<std::uint64_t>(k)));
        }
        llvm::Value* distance = llvm::ConstantVector::get(offsets);
        if (lanes_->repeats) {
          distance = builder_.CreateSelect(lanes_->mask, distance,
                                           llvm::Constant::getNullValue(distance->getType()));
        }
        return {builder_.CreateAdd(splat({lanes_->base, false}), distance), true};
      }
      const Scalar& scalar = scalars_.at(e.variable.id);
      return {builder_.CreateLoad(scalar.slot->getAllocatedType(), scalar.slot), scalar.lanes};
    }
    case Op::size:
      return {sizes_->emit(builder_, e.dim), false};
    case Op::load:
      return print_load(e, at_base);
    case Op::check_index:
      return print_check_index(e, at_base);
    case Op::check:
      if (!at_base) return print_check(e);
      print_check(e);  // of all lanes
      return print_memoised(e.args[0], true);
    default:
      break;
  }
  if (e.op == Op::shortcut && depends_on_lane(e)) return print_memoised(e.args[2], at_base);
  std::vector<Printed> printed(e.args.size());
  bool lanes = false;
  for (const std::size_t k : printing_order(e, nature_of(e).checks)) {
    printed[k] = print_memoised(e.args[k], at_base);
    lanes = lanes || printed[k].lanes;
  }
  std::vector<llvm::Value*> args;
  for (const Printed& p : printed) args.push_back(lanes ? splat(p) : p.value);
  const DType from = e.args[0]->dtype;
  // A divisor or radicand that a select makes harmless stays so: LLVM would drop that select where
  // another one drops the quotient.
  if (const Expr& last = e.args.back(); loop::may_raise_flags(e) && last->op == Op::select) {
    args.back() = builder_.CreateIntrinsic(llvm::Intrinsic::arithmetic_fence,
                                           {args.back()->getType()}, {args.back()});
  }
  // The greater of two numbers, chosen by a select, is the second one where the first is NaN. LLVM
  // takes it for a maximum that may be merged with the one that gives the first.
  if (repeats_extremum(e)) {
    args[1] = builder_.CreateIntrinsic(llvm::Intrinsic::arithmetic_fence, {args[1]->getType()},
                                       {args[1]});
  }
  const auto one = [&]() -> llvm::Value* {
    llvm::Value* a = args[0];
    switch (e.op) {
      case Op::neg:
        return is_float(from) ? builder_.CreateFNeg(a) : builder_.CreateNeg(a);
      case Op::abs:
        if (is_float(from)) return builder_.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, a);
        if (!is_signed(from)) return a;
        return builder_.CreateBinaryIntrinsic(llvm::Intrinsic::abs, a, builder_.getFalse());
      case Op::sqrt:
        return builder_.CreateUnaryIntrinsic(llvm::Intrinsic::sqrt, a);
      case Op::floor:
        return builder_.CreateUnaryIntrinsic(llvm::Intrinsic::floor, a);
      case Op::ceil:
        return builder_.CreateUnaryIntrinsic(llvm::Intrinsic::ceil, a);
      case Op::round_even:
        return builder_.CreateUnaryIntrinsic(llvm::Intrinsic::roundeven, a);
      case Op::logical_not:
        return builder_.CreateNot(a);
      case Op::cast:
        return print_cast(a, from, e.dtype);
      case Op::bitcast:
        return builder_.CreateBitCast(a, type_of(e.dtype, lanes));
      case Op::fma:
        return builder_.CreateIntrinsic(llvm::Intrinsic::fma, {a->getType()},
                                        {args[0], args[1], args[2]});
      case Op::select:
        return builder_.CreateSelect(args[0], args[1], args[2]);
      case Op::shortcut: {
        llvm::MDNode* often = llvm::MDBuilder(context_).createBranchWeights(1 << 20, 1);
        llvm::Value* value = builder_.CreateSelect(args[0], args[1], args[2]);
        if (auto* chosen = llvm::dyn_cast<llvm::SelectInst>(value)) {
          chosen->setMetadata(llvm::LLVMContext::MD_prof, often);
        }
        return value;
      }
      default:
        return print_binary(e.op, from, args[0], args[1], &e);
    }
  };
  return {one(), lanes};
}

}  // namespace kroton::codegen
