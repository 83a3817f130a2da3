// Stores: of one element, of lanes next to each other or apart, and of several values side by side.
#include <bit>

#include "compiler/codegen/llvm/kernel_emitter.h"
#include "compiler/loop/traverse.h"

namespace kroton::codegen {

using loop::Expr;

namespace {

// Vectors of which the first has the first lane of each of the values, then the second lane of
// each, and the others what follows: of values that are a power of two, by halves.
template <class Builder>
std::vector<llvm::Value*> zip(Builder& builder, std::vector<llvm::Value*> values, int width) {
  const std::size_t half = values.size() / 2;
  for (std::size_t level = half; level > 0; level /= 2) {
    std::vector<llvm::Value*> pairs;
    for (std::size_t k = 0; k < half; ++k) {
      for (const int first : {0, width / 2}) {
        std::vector<int> lanes;
        for (int lane = first; lane < first + width / 2; ++lane) {
          lanes.push_back(lane);
          lanes.push_back(width + lane);
        }
        pairs.push_back(builder.CreateShuffleVector(values[k], values[k + half], lanes));
      }
    }
    values = std::move(pairs);
  }
  return values;
}

}  // namespace

// A value, or those of lanes, as they lie in memory.
llvm::Value* KernelEmitter::in_memory(llvm::Value* value, DType dtype) {
  if (dtype != DType::boolean) return value;
  llvm::Type* byte = builder_.getInt8Ty();
  if (auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(value->getType())) {
    byte = llvm::FixedVectorType::get(byte, vector->getNumElements());
  }
  return builder_.CreateZExt(value, byte);
}

// The first lane of each value, one after the other from where `first` stores on, then the second
// lane of each: as many whole vectors as there are values.
void KernelEmitter::print_interleaved(const loop::Store& first,
                                      const std::vector<llvm::Value*>& values) {
  const DType dtype = first.buffer->dtype;
  const int width = lanes_->width;
  const auto count = static_cast<int>(values.size());
  llvm::Value* start = address(first.buffer, print_at_base(first.index));
  const bool by_halves = std::has_single_bit(values.size());
  const std::vector<llvm::Value*> zipped = by_halves ? zip(builder_, values, width) : values;
  for (int part = 0; part < count; ++part) {
    // Lane k of this vector is lane (part * width + k) / count of one of the values.
    const auto place = [&](int k) { return part * width + k; };
    llvm::Value* vector = zipped[static_cast<std::size_t>(part)];
    std::vector<int> lanes(static_cast<std::size_t>(width));
    for (int from = 0; from < count && !by_halves; ++from) {
      for (int k = 0; k < width; ++k) {
        int& lane = lanes[static_cast<std::size_t>(k)];
        if (place(k) % count == from) {
          lane = (from == 0 ? 0 : width) + place(k) / count;
        } else {
          lane = from == 0 ? -1 : place(k) % count < from ? k : -1;
        }
      }
      llvm::Value* value = values[static_cast<std::size_t>(from)];
      vector = from == 0 ? builder_.CreateShuffleVector(value, lanes)
                         : builder_.CreateShuffleVector(vector, value, lanes);
    }
    llvm::Value* pointer = builder_.CreateConstGEP1_64(memory_type(context_, dtype), start,
                                                       static_cast<std::uint64_t>(part * width));
    if (lanes_->mask == nullptr) {
      builder_.CreateAlignedStore(vector, pointer, alignment(dtype));
      continue;
    }
    std::vector<int> active;
    for (int k = 0; k < width; ++k) active.push_back(place(k) / count);
    builder_.CreateMaskedStore(vector, pointer, alignment(dtype),
                               builder_.CreateShuffleVector(lanes_->mask, active));
  }
}

void KernelEmitter::print_store(const loop::Store& store) {
  const Printed value = print(store.value);
  const DType dtype = store.buffer->dtype;
  if (!lanes_) {
    llvm::Value* pointer = address(store.buffer, print(store.index).value);
    builder_.CreateAlignedStore(in_memory(value.value, dtype), pointer, alignment(dtype));
    return;
  }
  llvm::Value* lanes = in_memory(splat(value), dtype);
  const Expr stride = lane_stride(store.index);
  std::int64_t step = 0;
  if (stride && loop::is_integer_constant(stride, step) && step == 1) {
    llvm::Value* pointer = address(store.buffer, print_at_base(store.index));
    if (lanes_->mask && is_on_stack(store.buffer)) {
      llvm::Value* old = builder_.CreateAlignedLoad(lanes->getType(), pointer, alignment(dtype));
      builder_.CreateAlignedStore(builder_.CreateSelect(lanes_->mask, lanes, old), pointer,
                                  alignment(dtype));
    } else if (lanes_->mask) {
      builder_.CreateMaskedStore(lanes, pointer, alignment(dtype), lanes_->mask);
    } else {
      builder_.CreateAlignedStore(lanes, pointer, alignment(dtype));
    }
    return;
  }
  if (stride && loop::is_integer_constant(stride, step) && lanes_->mask == nullptr) {
    // At places that are known from the first: an instruction that scatters takes many times as
    // long as the stores one by one.
    llvm::Value* first = address(store.buffer, print_at_base(store.index));
    for (int k = 0; k < lanes_->width; ++k) {
      llvm::Value* pointer =
          builder_.CreateGEP(memory_type(context_, dtype), first,
                             builder_.getInt64(static_cast<std::uint64_t>(k * step)));
      builder_.CreateAlignedStore(
          builder_.CreateExtractElement(lanes, static_cast<std::uint64_t>(k)), pointer,
          alignment(dtype));
    }
    return;
  }
  llvm::Value* pointers = address(store.buffer, splat(print(store.index)));
  llvm::Value* mask =
      lanes_->mask ? lanes_->mask : llvm::Constant::getAllOnesValue(type_of(DType::boolean, true));
  builder_.CreateMaskedScatter(lanes, pointers, alignment(dtype), mask);
}

}  // namespace kroton::codegen
