// Conversions between dtypes; floating numbers of 16 bits are held as their bits.
#include <llvm/IR/Intrinsics.h>

#include <cmath>

#include "compiler/codegen/llvm/kernel_emitter.h"

namespace kroton::codegen {

// Beside a conversion LLVM would do the arithmetic in 16 bits, which most processors do lane by
// lane.
llvm::Value* KernelEmitter::fenced(llvm::Value* a) {
  return builder_.CreateIntrinsic(llvm::Intrinsic::arithmetic_fence, {a->getType()}, {a});
}

// The f32 that has the value of a floating number of 16 bits, which is held as its bits.
llvm::Value* KernelEmitter::print_f32_of(llvm::Value* a, DType from) {
  llvm::Type* narrow = a->getType();
  const auto like_a = [&](llvm::Type* type) -> llvm::Type* { return narrow->getWithNewType(type); };
  llvm::Type* real = like_a(builder_.getFloatTy());
  llvm::Type* whole = like_a(builder_.getInt32Ty());
  const auto constant = [&](std::uint32_t value) { return llvm::ConstantInt::get(whole, value); };
  if (from == DType::f16 && converts_f16_) {
    llvm::Value* half = builder_.CreateBitCast(a, like_a(builder_.getHalfTy()));
    return fenced(builder_.CreateFPExt(half, real));
  }
  llvm::Value* bits = builder_.CreateZExt(a, whole);
  if (from == DType::bf16) return builder_.CreateBitCast(builder_.CreateShl(bits, 16), real);
  // A product by 2^112, exact, moves the exponent, that of subnormal numbers too.
  llvm::Value* size = builder_.CreateShl(builder_.CreateAnd(bits, constant(0x7fff)), 13);
  llvm::Value* moved = builder_.CreateBitCast(
      builder_.CreateFMul(builder_.CreateBitCast(size, real), llvm::ConstantFP::get(real, 0x1p112)),
      whole);
  llvm::Value* is_finite = builder_.CreateICmpULT(size, constant(0x7c00U << 13));
  moved = builder_.CreateSelect(is_finite, moved, builder_.CreateOr(size, constant(0x7f800000)));
  llvm::Value* sign = builder_.CreateShl(builder_.CreateAnd(bits, constant(0x8000)), 16);
  return builder_.CreateBitCast(builder_.CreateOr(moved, sign), real);
}

// The bits of the floating number of 16 bits that is nearest to an f32, of two the even one.
llvm::Value* KernelEmitter::print_rounded(llvm::Value* a, DType to) {
  llvm::Type* real = a->getType();
  const auto like_a = [&](llvm::Type* type) -> llvm::Type* { return real->getWithNewType(type); };
  llvm::Type* narrow = like_a(builder_.getInt16Ty());
  llvm::Type* whole = like_a(builder_.getInt32Ty());
  const auto constant = [&](std::uint32_t value) { return llvm::ConstantInt::get(whole, value); };
  if (to == DType::f16 && converts_f16_) {
    llvm::Value* rounded = builder_.CreateFPTrunc(fenced(a), like_a(builder_.getHalfTy()));
    return builder_.CreateBitCast(rounded, narrow);
  }
  llvm::Value* bits = builder_.CreateBitCast(a, whole);
  // `x` without its last bits, to the nearest and even.
  const auto rounded = [&](llvm::Value* x, std::uint64_t last) {
    llvm::Value* odd = builder_.CreateAnd(builder_.CreateLShr(x, last), constant(1));
    llvm::Value* half = constant((1U << (last - 1)) - 1);
    return builder_.CreateLShr(builder_.CreateAdd(builder_.CreateAdd(x, half), odd), last);
  };
  if (to == DType::bf16) {
    llvm::Value* is_nan = builder_.CreateFCmpUNO(a, a);
    llvm::Value* nan = builder_.CreateOr(builder_.CreateLShr(bits, 16), constant(0x40));
    return builder_.CreateTrunc(builder_.CreateSelect(is_nan, nan, rounded(bits, 16)), narrow);
  }
  llvm::Value* size = builder_.CreateAnd(bits, constant(0x7fffffff));
  llvm::Value* result = rounded(builder_.CreateSub(size, constant(0x38000000)), 13);
  // Below 2^-14 a sum with 0.5 leaves the multiple of 2^-24.
  llvm::Value* is_small = builder_.CreateICmpULT(size, constant(0x38800000));
  llvm::Value* small = builder_.CreateSelect(is_small, size, constant(0));
  llvm::Value* sum =
      builder_.CreateFAdd(builder_.CreateBitCast(small, real), llvm::ConstantFP::get(real, 0.5));
  llvm::Value* subnormal =
      builder_.CreateSub(builder_.CreateBitCast(sum, whole), constant(0x3f000000));
  result = builder_.CreateSelect(is_small, subnormal, result);
  llvm::Value* is_large = builder_.CreateICmpUGE(size, constant(0x477ff000));
  result = builder_.CreateSelect(is_large, constant(0x7c00), result);
  llvm::Value* is_nan = builder_.CreateICmpUGT(size, constant(0x7f800000));
  llvm::Value* nan = builder_.CreateOr(
      builder_.CreateAnd(builder_.CreateLShr(size, 13), constant(0x1ff)), constant(0x7e00));
  result = builder_.CreateSelect(is_nan, nan, result);
  llvm::Value* sign = builder_.CreateAnd(builder_.CreateLShr(bits, 16), constant(0x8000));
  return builder_.CreateTrunc(builder_.CreateOr(result, sign), narrow);
}

llvm::Value* KernelEmitter::print_cast(llvm::Value* a, DType from, DType to) {
  if (from == to) return a;
  if (is_only_stored(from)) return print_f32_of(a, from);
  if (is_only_stored(to)) return print_rounded(a, to);
  llvm::Type* type = llvm_type(context_, to);
  if (auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(a->getType())) {
    type = llvm::FixedVectorType::get(type, vector->getNumElements());
  }
  if (to == DType::boolean) {
    llvm::Value* zero = llvm::Constant::getNullValue(a->getType());
    return is_float(from) ? builder_.CreateFCmpUNE(a, zero) : builder_.CreateICmpNE(a, zero);
  }
  if (is_float(from)) {
    if (is_float(to)) return builder_.CreateFPCast(a, type);
    // Compared first: the conversion of what does not fit raises a flag.
    llvm::Constant* low = llvm::ConstantFP::get(a->getType(), static_cast<double>(lowest_of(to)));
    llvm::Constant* high = llvm::ConstantFP::get(a->getType(), std::ldexp(1.0, info_of(to).digits));
    llvm::Value* above = builder_.CreateFCmpOGE(a, high);
    llvm::Value* fits =
        builder_.CreateAnd(builder_.CreateFCmpOGE(a, low), builder_.CreateFCmpOLT(a, high));
    llvm::Value* inside =
        builder_.CreateSelect(fits, a, llvm::Constant::getNullValue(a->getType()));
    llvm::Value* whole =
        is_signed(to) ? builder_.CreateFPToSI(inside, type) : builder_.CreateFPToUI(inside, type);
    whole = builder_.CreateSelect(above, llvm::ConstantInt::get(type, highest_of(to)), whole);
    return builder_.CreateSelect(builder_.CreateFCmpOLT(a, low),
                                 llvm::ConstantInt::getSigned(type, lowest_of(to)), whole);
  }
  if (is_signed(from)) {
    return is_float(to) ? builder_.CreateSIToFP(a, type) : builder_.CreateSExtOrTrunc(a, type);
  }
  return is_float(to) ? builder_.CreateUIToFP(a, type) : builder_.CreateZExtOrTrunc(a, type);
}

}  // namespace kroton::codegen
