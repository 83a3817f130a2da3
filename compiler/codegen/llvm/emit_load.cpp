// Loads: of one element, of lanes next to each other or apart, and of those a condition holds for.
#include "compiler/codegen/llvm/kernel_emitter.h"
#include "compiler/loop/schedule.h"
#include "compiler/loop/traverse.h"

namespace kroton::codegen {

using loop::Expr;
using loop::ExprNode;

// Every `step`-th element from the pointer on: as many vectors, of which the lanes are picked. The
// last is not read past its last element.
llvm::Value* KernelEmitter::load_strided(llvm::Value* pointer, DType dtype, std::int64_t step) {
  const int width = lanes_->width;
  llvm::Type* element = memory_type(context_, dtype);
  auto* type = llvm::FixedVectorType::get(element, static_cast<unsigned>(width));
  llvm::Value* picked = nullptr;
  for (int part = 0; part < static_cast<int>(step); ++part) {
    llvm::Value* from = builder_.CreateConstGEP1_64(
        element, pointer, static_cast<std::uint64_t>(part) * static_cast<std::uint64_t>(width));
    const auto last = static_cast<int>((width - 1) * step) - part * width;
    llvm::Value* vector = nullptr;
    if (last >= width - 1) {
      vector = builder_.CreateAlignedLoad(type, from, alignment(dtype));
    } else {
      std::vector<llvm::Constant*> wanted;
      for (int k = 0; k < width; ++k) wanted.push_back(builder_.getInt1(k <= last));
      vector =
          builder_.CreateMaskedLoad(type, from, alignment(dtype), llvm::ConstantVector::get(wanted),
                                    llvm::Constant::getNullValue(type));
    }
    // Lanes that earlier parts have stay, and those of later parts may be anything.
    std::vector<int> lanes;
    for (int lane = 0; lane < width; ++lane) {
      const int at = lane * static_cast<int>(step) - part * width;
      const bool is_here = at >= 0 && at < width;
      lanes.push_back(is_here ? (picked ? width + at : at) : (picked && at < 0 ? lane : -1));
    }
    picked = picked ? builder_.CreateShuffleVector(picked, vector, lanes)
                    : builder_.CreateShuffleVector(vector, lanes);
  }
  return picked;
}

// Lanes for which the condition does not hold are masked like idle ones; a scalar is loaded in a
// branch. An element of memory, as print_load then takes it.
Printed KernelEmitter::print_conditional_load(const ExprNode& e, bool at_base) {
  const Expr& index = e.args[0];
  llvm::Type* element = memory_type(context_, e.dtype);
  const bool of_lanes = !at_base && lanes_ && depends_on_lane(e) &&
                        !(same_for_all_lanes(*index) && same_for_all_lanes(*e.args[1]));
  if (!of_lanes) {
    const auto part = [&](const Expr& arg) {
      return at_base ? print_at_base(arg) : print(arg).value;
    };
    llvm::Value* where = part(index);
    llvm::Value* condition = part(e.args[1]);
    llvm::BasicBlock* after = cut_here("loaded");
    llvm::BasicBlock* before = builder_.GetInsertBlock();
    auto* loads = llvm::BasicBlock::Create(context_, "load", function_);
    builder_.CreateCondBr(condition, loads, after);
    builder_.SetInsertPoint(loads);
    llvm::Value* value =
        builder_.CreateAlignedLoad(element, address(e.buffer, where), alignment(e.dtype));
    builder_.CreateBr(after);
    builder_.SetInsertPoint(after, after->begin());
    llvm::PHINode* result = builder_.CreatePHI(element, 2);
    result->addIncoming(value, loads);
    result->addIncoming(llvm::Constant::getNullValue(element), before);
    return {result, false};
  }
  llvm::Type* type = llvm::FixedVectorType::get(element, static_cast<unsigned>(lanes_->width));
  llvm::Value* zeros = llvm::Constant::getNullValue(type);
  llvm::Value* mask = splat(print(e.args[1]));
  if (lanes_->mask && !lanes_->repeats) mask = builder_.CreateAnd(mask, lanes_->mask);
  const Expr stride = lane_stride(index);
  std::int64_t step = 0;
  const bool is_contiguous = stride && loop::is_integer_constant(stride, step) && step == 1;
  if (is_contiguous && !(lanes_->mask && lanes_->repeats)) {
    llvm::Value* pointer = address(e.buffer, print_at_base(index));
    return {builder_.CreateMaskedLoad(type, pointer, alignment(e.dtype), mask, zeros), true};
  }
  llvm::Value* pointers = address(e.buffer, splat(print(index)));
  return {builder_.CreateMaskedGather(type, pointers, alignment(e.dtype), mask, zeros), true};
}

Printed KernelEmitter::print_load(const ExprNode& e, bool at_base) {
  const Expr& index = e.args[0];
  llvm::Type* element = memory_type(context_, e.dtype);
  llvm::Value* value = nullptr;
  bool lanes = false;
  if (loop::is_conditional(e)) {
    const Printed loaded = print_conditional_load(e, at_base);
    value = loaded.value;
    lanes = loaded.lanes;
  } else if (at_base || !lanes_ || !depends_on_lane(*index) || same_for_all_lanes(*index)) {
    llvm::Value* where = at_base ? print_at_base(index) : print(index).value;
    value = builder_.CreateAlignedLoad(element, address(e.buffer, where), alignment(e.dtype));
  } else {
    lanes = true;
    llvm::Type* type = llvm::FixedVectorType::get(element, static_cast<unsigned>(lanes_->width));
    const Expr stride = lane_stride(index);
    std::int64_t step = 0;
    if (stride && loop::is_integer_constant(stride, step) && step == 1) {
      llvm::Value* pointer = address(e.buffer, print_at_base(index));
      if (lanes_->mask && !is_on_stack(e.buffer)) {
        llvm::Value* idle = llvm::Constant::getNullValue(type);
        if (lanes_->repeats) {
          idle = builder_.CreateVectorSplat(
              static_cast<unsigned>(lanes_->width),
              builder_.CreateAlignedLoad(element, pointer, alignment(e.dtype)));
        }
        value = builder_.CreateMaskedLoad(type, pointer, alignment(e.dtype), lanes_->mask, idle);
      } else {
        // An allocated buffer has room for a whole vector: a plain load can become a register.
        value = builder_.CreateAlignedLoad(type, pointer, alignment(e.dtype));
        if (lanes_->mask && lanes_->repeats) {
          llvm::Value* first = builder_.CreateExtractElement(value, std::uint64_t{0});
          value = builder_.CreateSelect(
              lanes_->mask, value,
              builder_.CreateVectorSplat(static_cast<unsigned>(lanes_->width), first));
        } else if (lanes_->mask && e.buffer->space == loop::Space::stack) {
          value = builder_.CreateSelect(lanes_->mask, value, llvm::Constant::getNullValue(type));
        }
      }
    } else if (stride && !lanes_->mask && loop::is_integer_constant(stride, step) &&
               loop::is_short_stride(step)) {
      value = load_strided(address(e.buffer, print_at_base(index)), e.dtype, step);
    } else if (stride && !lanes_->mask && loop::is_integer_constant(stride, step) && step == -1) {
      // The elements up to the first lane's, the other way round.
      std::vector<int> backwards;
      for (int lane = lanes_->width; lane-- > 0;) backwards.push_back(lane);
      llvm::Value* lowest =
          builder_.CreateSub(print_at_base(index), builder_.getInt64(backwards.front()));
      llvm::Value* vector =
          builder_.CreateAlignedLoad(type, address(e.buffer, lowest), alignment(e.dtype));
      value = builder_.CreateShuffleVector(vector, backwards);
    } else {
      llvm::Value* pointers = address(e.buffer, splat(print(index)));
      llvm::Value* mask = lanes_->mask && !lanes_->repeats
                              ? lanes_->mask
                              : llvm::Constant::getAllOnesValue(type_of(DType::boolean, true));
      value = builder_.CreateMaskedGather(type, pointers, alignment(e.dtype), mask,
                                          llvm::Constant::getNullValue(type));
    }
  }
  if (e.dtype == DType::boolean) {
    value = builder_.CreateICmpNE(value, llvm::Constant::getNullValue(value->getType()));
  }
  return {value, lanes};
}

}  // namespace kroton::codegen
