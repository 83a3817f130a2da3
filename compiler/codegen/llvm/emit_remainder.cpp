// The remainder of floating division, exact for all operands: division gives 53 bits of the
// quotient, and what these leave is an exact difference. One division is enough for quotients below
// 2^52; larger ones take a loop, a round for each further 53 bits.
#include "compiler/codegen/llvm/emit_remainder.h"

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Intrinsics.h>
#include <llvm/IR/MDBuilder.h>
#include <llvm/IR/Module.h>

#include <limits>

namespace kroton::codegen {
namespace {

class Remainder {
 public:
  Remainder(llvm::Function* function, llvm::Type* type)
      : b_(function->getContext()), function_(function), type_(type), wide_(b_.getDoubleTy()) {
    if (auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(type)) {
      wide_ = llvm::FixedVectorType::get(wide_, vector->getNumElements());
    }
    scalar_is_double_ = type->getScalarType()->isDoubleTy();
  }

  void emit() {
    auto* entry = llvm::BasicBlock::Create(b_.getContext(), "entry", function_);
    auto* loop = llvm::BasicBlock::Create(b_.getContext(), "loop", function_);
    auto* last = llvm::BasicBlock::Create(b_.getContext(), "last", function_);
    llvm::Value* x = function_->getArg(0);
    llvm::Value* y = function_->getArg(1);

    // An f32 is computed with as an f64, where no quotient overflows.
    b_.SetInsertPoint(entry);
    llvm::Value* dividend = absolute(b_.CreateFPCast(x, wide_));
    llvm::Value* divisor = absolute(b_.CreateFPCast(y, wide_));
    llvm::Value* all = dividend;
    llvm::Value* defined =
        b_.CreateAnd(b_.CreateFCmpOLT(dividend, infinity()), b_.CreateFCmpOGT(divisor, number(0)));
    llvm::Value* finite = b_.CreateFCmpOLT(divisor, infinity());
    llvm::Value* divides = b_.CreateAnd(defined, finite);
    dividend = b_.CreateSelect(divides, dividend, number(0));
    divisor = b_.CreateSelect(divides, divisor, number(1));
    llvm::MDNode* rarely = llvm::MDBuilder(b_.getContext()).createBranchWeights(1, 1 << 10);
    b_.CreateCondBr(any(is_large(b_.CreateFDiv(dividend, divisor))), loop, last, rarely);

    b_.SetInsertPoint(loop);
    auto* before = b_.CreatePHI(wide_, 2);
    llvm::Value* after = less(before, step(before, divisor));
    before->addIncoming(dividend, entry);
    before->addIncoming(after, loop);
    b_.CreateCondBr(any(is_large(absolute(b_.CreateFDiv(after, divisor)))), loop, last);

    b_.SetInsertPoint(last);
    auto* rest = b_.CreatePHI(wide_, 2);
    rest->addIncoming(dividend, entry);
    rest->addIncoming(after, loop);
    // A quotient that was rounded up leaves less than nothing.
    llvm::Value* left = less(rest, divisor);
    left = b_.CreateSelect(b_.CreateFCmpOLT(left, number(0)), b_.CreateFAdd(left, divisor), left);
    left = b_.CreateSelect(finite, left, all);  // of a number and an infinity: all of it
    b_.CreateRet(signed_as(b_.CreateFPCast(left, type_), x, y, defined));
  }

 private:
  llvm::Value* number(double value) { return llvm::ConstantFP::get(wide_, value); }
  llvm::Value* infinity() { return number(std::numeric_limits<double>::infinity()); }
  llvm::Value* absolute(llvm::Value* v) {
    return b_.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, v);
  }
  llvm::Value* any(llvm::Value* lanes) {
    return lanes->getType()->isVectorTy() ? b_.CreateOrReduce(lanes) : lanes;
  }
  // A quotient whose bits are not all known.
  llvm::Value* is_large(llvm::Value* quotient) {
    return b_.CreateFCmpOGE(quotient, number(0x1p52));
  }

  // The divisor, times a power of two where the quotient would overflow.
  llvm::Value* step(llvm::Value* rest, llvm::Value* divisor) {
    if (!scalar_is_double_) return divisor;
    llvm::Value* result = divisor;
    for (int k = 0; k < 2; ++k) {
      llvm::Value* overflows = b_.CreateFCmpOEQ(absolute(b_.CreateFDiv(rest, result)), infinity());
      result = b_.CreateSelect(overflows, b_.CreateFMul(result, number(0x1p900)), result);
    }
    return result;
  }

  // rest less the whole part of its quotient, an exact difference.
  llvm::Value* less(llvm::Value* rest, llvm::Value* divisor) {
    llvm::Value* whole =
        b_.CreateUnaryIntrinsic(llvm::Intrinsic::trunc, b_.CreateFDiv(rest, divisor));
    return b_.CreateIntrinsic(llvm::Intrinsic::fma, {wide_}, {b_.CreateFNeg(whole), divisor, rest});
  }

  // From |x| mod |y| to x mod y.
  llvm::Value* signed_as(llvm::Value* left, llvm::Value* x, llvm::Value* y, llvm::Value* defined) {
    const auto copysign = [&](llvm::Value* magnitude, llvm::Value* sign) {
      return b_.CreateBinaryIntrinsic(llvm::Intrinsic::copysign, magnitude, sign);
    };
    llvm::Value* zero = llvm::Constant::getNullValue(type_);
    llvm::Value* rest = copysign(left, x);
    llvm::Value* signs_differ =
        b_.CreateXor(b_.CreateFCmpOLT(rest, zero), b_.CreateFCmpOLT(y, zero));
    llvm::Value* result = b_.CreateSelect(signs_differ, b_.CreateFAdd(rest, y), rest);
    result = b_.CreateSelect(b_.CreateFCmpOEQ(left, zero), copysign(zero, y), result);
    return b_.CreateSelect(defined, result, llvm::ConstantFP::getNaN(type_));
  }

  llvm::IRBuilder<> b_;
  llvm::Function* function_;
  llvm::Type* type_;
  llvm::Type* wide_;
  bool scalar_is_double_;
};

}  // namespace

llvm::Function* remainder_function(llvm::Module& module, llvm::Type* type) {
  std::string name = type->getScalarType()->isDoubleTy() ? "kroton_mod_f64" : "kroton_mod_f32";
  if (auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(type)) {
    name += "x" + std::to_string(vector->getNumElements());
  }
  if (llvm::Function* known = module.getFunction(name)) return known;
  auto* function = llvm::Function::Create(llvm::FunctionType::get(type, {type, type}, false),
                                          llvm::Function::InternalLinkage, name, module);
  function->addFnAttr(llvm::Attribute::NoUnwind);
  Remainder(function, type).emit();
  return function;
}

}  // namespace kroton::codegen
