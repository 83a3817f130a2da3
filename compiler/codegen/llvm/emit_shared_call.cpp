#include "compiler/codegen/llvm/emit_shared_call.h"

#include <llvm/IR/IRBuilder.h>

namespace kroton::codegen {

llvm::Function* matrices_body(llvm::Module& module, llvm::Function* function,
                              std::span<const Call::Value> values) {
  llvm::IRBuilder<> b(module.getContext());
  llvm::Type* pointer = b.getPtrTy();
  llvm::Type* i64 = b.getInt64Ty();
  auto* type = llvm::FunctionType::get(b.getInt32Ty(), {pointer, i64, i64, i64}, false);
  auto* body = llvm::Function::Create(type, llvm::Function::InternalLinkage, "matrices", module);
  body->addFnAttr(llvm::Attribute::NoUnwind);
  llvm::Value *begin = body->getArg(2), *end = body->getArg(3);
  b.SetInsertPoint(llvm::BasicBlock::Create(module.getContext(), "entry", body));
  const auto element = [&](llvm::Type* of, llvm::Value* array, std::size_t k) {
    return b.CreateConstGEP1_64(of, array, k);
  };
  const auto array_of = [&](llvm::Type* of, std::size_t count) {
    return b.CreateAlloca(llvm::ArrayType::get(of, count));
  };
  std::size_t size_count = 0;
  for (const Call::Value& value : values) size_count += value.type.shape.size();
  llvm::Value* arrays = b.CreateLoad(pointer, element(pointer, body->getArg(0), 0));
  llvm::Value* sizes = b.CreateLoad(pointer, element(pointer, body->getArg(0), 1));
  llvm::Value* own_arrays = array_of(pointer, values.size());
  llvm::Value* own_sizes = array_of(i64, size_count);
  llvm::Value* count = b.CreateLoad(i64, sizes);
  std::size_t at = 0;
  for (std::size_t k = 0; k < values.size(); ++k) {
    const std::size_t rank = values[k].type.shape.size();
    const bool is_failure = k + 1 == values.size();
    llvm::Value* elements = b.getInt64(1);
    for (std::size_t axis = 0; axis < rank; ++axis, ++at) {
      llvm::Value* size = b.CreateLoad(i64, element(i64, sizes, at));
      elements = b.CreateMul(elements, size);
      const bool is_count = rank == 3 && axis == 0;
      b.CreateStore(is_count ? b.CreateSub(end, begin) : size, element(i64, own_sizes, at));
    }
    llvm::Value* address = nullptr;
    if (is_failure) {
      address = array_of(i64, 2);
    } else {
      const auto bytes = static_cast<std::uint64_t>(size_of(values[k].type.dtype));
      llvm::Value* of_each = b.CreateMul(b.CreateUDiv(elements, count), b.getInt64(bytes));
      address = b.CreateGEP(b.getInt8Ty(), b.CreateLoad(pointer, element(pointer, arrays, k)),
                            b.CreateMul(of_each, begin));
    }
    b.CreateStore(address, element(pointer, own_arrays, k));
  }
  b.CreateRet(b.CreateCall(function, {own_arrays, own_sizes}));
  return body;
}

}  // namespace kroton::codegen
