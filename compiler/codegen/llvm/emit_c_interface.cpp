#include "compiler/codegen/llvm/emit_c_interface.h"

#include <kroton/error.h>
#include <llvm/IR/IRBuilder.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <unordered_map>

#include "compiler/codegen/llvm/emit_kernel.h"
#include "compiler/codegen/llvm/emit_program.h"
#include "runtime/abi.h"

namespace kroton::codegen {
namespace {

using aot::Check;
using aot::CInterface;
using Kind = Check::Kind;
using Builder = llvm::IRBuilder<>;

Dim element_count_of(const TensorType& type) {
  Dim count = 1;
  for (const Dim& dim : type.shape) count = count * dim;
  return count;
}

// Values of Dims, from sizes that nobody has checked: notes when a step leaves 64 bits or divides
// by a number that is not above zero.
class CheckedDims {
 public:
  // `values` are those of `variables`.
  CheckedDims(Builder& builder, std::vector<DimAtomRef> variables, std::vector<llvm::Value*> values)
      : b_(builder), variables_(std::move(variables)), values_(std::move(values)) {
    impossible_ = b_.getFalse();
  }

  llvm::Value* emit(const Dim& dim) {
    known_.clear();
    return value_of(dim);
  }

  // Whether one of the values so far is not what it should be.
  llvm::Value* impossible() const { return impossible_; }

 private:
  llvm::Value* value_of(const Dim& dim) {
    llvm::Value* sum = b_.getInt64(0);
    for (const Dim::Term& term : dim.terms()) {
      llvm::Value* product = b_.getInt64(static_cast<std::uint64_t>(term.coefficient));
      for (const DimAtomRef& factor : term.factors) {
        product = checked(llvm::Intrinsic::smul_with_overflow, product, value_of(*factor));
      }
      sum = checked(llvm::Intrinsic::sadd_with_overflow, sum, product);
    }
    return sum;
  }

  llvm::Value* value_of(const DimAtom& atom) {
    if (const auto found = known_.find(&atom); found != known_.end()) return found->second;
    return known_[&atom] = new_value_of(atom);
  }

  llvm::Value* new_value_of(const DimAtom& atom) {
    if (atom.is_variable()) {
      for (std::size_t k = 0; k < variables_.size(); ++k) {
        if (variables_[k]->identity == atom.identity) return values_[k];
      }
      throw InternalError("the size " + atom.name + " is not among the arguments");
    }
    llvm::Value* a = value_of(atom.operands[0]);
    llvm::Value* b = value_of(atom.operands[1]);
    if (atom.kind == DimAtom::Kind::minimum) {
      return b_.CreateBinaryIntrinsic(llvm::Intrinsic::smin, a, b);
    }
    if (atom.kind == DimAtom::Kind::maximum) {
      return b_.CreateBinaryIntrinsic(llvm::Intrinsic::smax, a, b);
    }
    llvm::Value* bad = b_.CreateICmpSLE(b, b_.getInt64(0));
    impossible_ = b_.CreateOr(impossible_, bad);
    b = b_.CreateSelect(bad, b_.getInt64(1), b);
    llvm::Value* quotient = b_.CreateSDiv(a, b);
    llvm::Value* remainder = b_.CreateSub(a, b_.CreateMul(quotient, b));
    llvm::Value* below = b_.CreateICmpSLT(remainder, b_.getInt64(0));
    return b_.CreateSub(quotient, b_.CreateZExt(below, b_.getInt64Ty()));
  }

  llvm::Value* checked(llvm::Intrinsic::ID operation, llvm::Value* a, llvm::Value* b) {
    if (llvm::isa<llvm::ConstantInt>(a) && llvm::cast<llvm::ConstantInt>(a)->isZero() &&
        operation == llvm::Intrinsic::sadd_with_overflow) {
      return b;
    }
    llvm::Value* both = b_.CreateBinaryIntrinsic(operation, a, b);
    impossible_ = b_.CreateOr(impossible_, b_.CreateExtractValue(both, 1));
    return b_.CreateExtractValue(both, 0);
  }

  Builder& b_;
  std::vector<DimAtomRef> variables_;
  std::vector<llvm::Value*> values_;
  llvm::Value* impossible_;
  std::unordered_map<const DimAtom*, llvm::Value*> known_;  // of the form being emitted
};

class InterfaceEmitter {
 public:
  InterfaceEmitter(llvm::Module& module, const Program& program, const CInterface& interface)
      : module_(module), program_(program), c_(interface), b_(module.getContext()) {}

  void run() {
    entry_ = module_.getFunction(entry_symbol);
    entry_->setName("entry");
    entry_->setLinkage(llvm::GlobalValue::InternalLinkage);
    for (const CInterface::Size& size : c_.sizes) variables_.push_back(size.variable);
    variables_.push_back(worker_count().as_variable());
    emit_size_checks();
    emit_call();
    emit_arena_bytes();
    emit_error();
    if (c_.states.empty()) return;
    emit_place();
    if (c_.initial_values) emit_initial_values();
  }

 private:
  // A function that C code can call, or an internal one; building goes on in it.
  llvm::Function* begin(const std::string& name, llvm::Type* result,
                        const std::vector<llvm::Type*>& parameters, bool external = true) {
    if (llvm::GlobalValue* other = module_.getNamedValue(name)) other->setName(name + ".kernel");
    function_ = llvm::Function::Create(
        llvm::FunctionType::get(result, parameters, false),
        external ? llvm::Function::ExternalLinkage : llvm::Function::InternalLinkage, name,
        module_);
    function_->addFnAttr(llvm::Attribute::NoUnwind);
    b_.SetInsertPoint(llvm::BasicBlock::Create(b_.getContext(), "entry", function_));
    return function_;
  }

  llvm::AllocaInst* slot(llvm::Type* type) {
    llvm::BasicBlock& block = function_->getEntryBlock();
    return Builder(&block, block.begin()).CreateAlloca(type);
  }

  int code_of(Kind kind, int subject = 0) const {
    for (std::size_t k = 0; k < c_.checks.size(); ++k) {
      if (c_.checks[k].kind == kind && c_.checks[k].subject == subject) {
        return static_cast<int>(k) + 1;
      }
    }
    throw InternalError("emit_c_interface: no such check");
  }

  void return_if(llvm::Value* failed, llvm::Value* code) {
    auto* fail = llvm::BasicBlock::Create(b_.getContext(), "fail", function_);
    auto* next = llvm::BasicBlock::Create(b_.getContext(), "next", function_);
    b_.CreateCondBr(failed, fail, next);
    b_.SetInsertPoint(fail);
    b_.CreateRet(code);
    b_.SetInsertPoint(next);
  }
  void return_if(llvm::Value* failed, int code) {
    return_if(failed, b_.getInt32(static_cast<std::uint32_t>(code)));
  }

  // int32 sizes(int64 size..., int64 workers, ptr bytes): the code of the first check of the sizes
  // that fails, or 0 after storing the arena's size.
  void emit_size_checks() {
    std::vector<llvm::Type*> types(c_.sizes.size() + 1, b_.getInt64Ty());
    types.push_back(b_.getPtrTy());
    check_sizes_ = begin("check_sizes", b_.getInt32Ty(), types, false);
    std::vector<llvm::Value*> values;
    for (unsigned k = 0; k <= c_.sizes.size(); ++k) values.push_back(function_->getArg(k));
    for (std::size_t k = 0; k < c_.sizes.size(); ++k) {
      return_if(b_.CreateICmpSLT(values[k], b_.getInt64(0)),
                code_of(Kind::size_below_zero, static_cast<int>(k)));
    }
    CheckedDims dims(b_, variables_, values);
    llvm::Value* bytes = dims.emit(program_.arena_bytes);
    for (const Dim& count : c_.counts) dims.emit(count);
    for (const auto* list : {&c_.inputs, &c_.outputs}) {
      for (const CInterface::Array& array : *list) {
        dims.emit(element_count_of(array.type) * size_of(array.type.dtype));
      }
    }
    std::vector<std::pair<llvm::Value*, int>> failures;
    for (std::size_t k = 0; k < c_.checks.size(); ++k) {
      const Check& check = c_.checks[k];
      const int code = static_cast<int>(k) + 1;
      if (check.kind == Kind::extent_below_zero) {
        failures.emplace_back(b_.CreateICmpSLT(dims.emit(check.left), b_.getInt64(0)), code);
      } else if (check.kind == Kind::sizes_differ) {
        llvm::Value* left = dims.emit(check.left);
        failures.emplace_back(b_.CreateICmpNE(left, dims.emit(check.right)), code);
      }
    }
    if (!c_.sizes.empty()) return_if(dims.impossible(), code_of(Kind::sizes_impossible));
    for (const auto& [failed, code] : failures) return_if(failed, code);
    b_.CreateStore(bytes, function_->getArg(static_cast<unsigned>(c_.sizes.size()) + 1));
    b_.CreateRet(b_.getInt32(0));
  }

  // Calls that function. Returns its result and where the arena's size is.
  std::pair<llvm::Value*, llvm::Value*> call_size_checks(const std::vector<llvm::Value*>& sizes,
                                                         llvm::Value* workers) {
    llvm::Value* bytes = slot(b_.getInt64Ty());
    std::vector<llvm::Value*> arguments = sizes;
    arguments.push_back(workers);
    arguments.push_back(bytes);
    return {b_.CreateCall(check_sizes_, arguments), bytes};
  }

  llvm::Value* context_field(llvm::Value* context, std::size_t offset) {
    return b_.CreateConstGEP1_64(b_.getInt8Ty(), context, offset);
  }
  llvm::Value* workers_of(llvm::Value* context) {
    return b_.CreateLoad(b_.getInt64Ty(),
                         context_field(context, offsetof(kroton_context, workers)));
  }

  // A pointer that is null although its array has elements.
  llvm::Value* is_missing(llvm::Value* pointer, const TensorType& type, CheckedDims& dims) {
    llvm::Value* missing = b_.CreateIsNull(pointer);
    const Dim count = element_count_of(type);
    if (count.is_constant() && count.constant() > 0) return missing;
    return b_.CreateAnd(missing, b_.CreateICmpNE(dims.emit(count), b_.getInt64(0)));
  }

  void emit_call() {
    llvm::Type* pointer = b_.getPtrTy();
    llvm::Type* i64 = b_.getInt64Ty();
    std::vector<llvm::Type*> types;
    if (c_.threads) types.push_back(pointer);
    for (const CInterface::Size& size : c_.sizes) {
      if (size.input < 0) types.push_back(i64);
    }
    const auto first_input = static_cast<unsigned>(types.size());
    for (const CInterface::Array& input : c_.inputs) {
      types.push_back(input.type.rank() == 0 ? memory_type(b_.getContext(), input.type.dtype)
                                             : pointer);
    }
    if (!c_.states.empty()) types.push_back(pointer);
    types.insert(types.end(), c_.outputs.size(), pointer);
    types.push_back(pointer);
    types.push_back(i64);
    begin(c_.name, b_.getInt32Ty(), types);

    unsigned next = 0;
    llvm::Value* context = c_.threads ? function_->getArg(next++) : nullptr;
    if (context) return_if(b_.CreateIsNull(context), code_of(Kind::null_context));
    llvm::Value* workers = context ? workers_of(context) : b_.getInt64(1);
    const auto value_of_input = [&](int k) {
      return b_.CreateIntCast(function_->getArg(first_input + static_cast<unsigned>(k)), i64,
                              is_signed(c_.inputs[static_cast<std::size_t>(k)].type.dtype));
    };
    std::vector<llvm::Value*> values;
    for (const CInterface::Size& size : c_.sizes) {
      values.push_back(size.input < 0 ? function_->getArg(next++) : value_of_input(size.input));
    }
    const auto [code, bytes_slot] = call_size_checks(values, workers);
    return_if(b_.CreateICmpNE(code, b_.getInt32(0)), code);
    values.push_back(workers);
    CheckedDims dims(b_, variables_, values);
    for (const Check& check : c_.checks) {
      if (check.kind != Kind::value_differs) continue;
      return_if(b_.CreateICmpNE(value_of_input(check.subject), dims.emit(check.left)),
                code_of(check.kind, check.subject));
    }

    std::vector<llvm::Value*> args;
    for (std::size_t k = 0; k < c_.inputs.size(); ++k) {
      llvm::Value* value = function_->getArg(next++);
      if (c_.inputs[k].type.rank() == 0) {
        args.push_back(slot(value->getType()));
        if (c_.inputs[k].type.dtype == DType::boolean) {
          value = b_.CreateZExt(b_.CreateIsNotNull(value), value->getType());
        }
        b_.CreateStore(value, args.back());
        continue;
      }
      return_if(is_missing(value, c_.inputs[k].type, dims),
                code_of(Kind::null_input, static_cast<int>(k)));
      args.push_back(value);
    }
    if (!c_.states.empty()) {
      llvm::Value* state = function_->getArg(next++);
      return_if(b_.CreateIsNull(state), code_of(Kind::null_state));
      for (std::size_t k = 0; k < c_.states.size(); ++k) {
        llvm::Value* field = b_.CreateLoad(pointer, b_.CreateConstGEP1_64(pointer, state, k));
        return_if(is_missing(field, c_.states[k].type, dims),
                  code_of(Kind::null_state_field, static_cast<int>(k)));
        args.push_back(field);
      }
    }
    for (std::size_t k = 0; k < c_.outputs.size(); ++k) {
      args.push_back(function_->getArg(next++));
      return_if(is_missing(args.back(), c_.outputs[k].type, dims),
                code_of(Kind::null_output, static_cast<int>(k)));
    }
    llvm::Value* arena = function_->getArg(next++);
    llvm::Value* arena_bytes = function_->getArg(next++);
    llvm::Value* bytes = b_.CreateLoad(i64, bytes_slot);
    return_if(b_.CreateAnd(b_.CreateIsNull(arena), b_.CreateICmpNE(bytes, b_.getInt64(0))),
              code_of(Kind::null_arena));
    return_if(is_misaligned(arena), code_of(Kind::arena_misaligned));
    return_if(b_.CreateICmpULT(arena_bytes, bytes), code_of(Kind::arena_too_small));

    llvm::Value* entry_args = store_all(args, pointer);
    std::vector<llvm::Value*> entry_sizes;
    for (const DimAtomRef& variable : program_.sizes) {
      entry_sizes.push_back(value_of(*variable, values));
    }
    llvm::Value* sizes = store_all(entry_sizes, i64);
    if (!context) context = make_serial_context();
    llvm::Value* error = context_field(context, offsetof(kroton_context, error));
    b_.CreateMemSet(error, b_.getInt8(0), sizeof(kroton_error), llvm::Align(8));
    llvm::Value* status = b_.CreateCall(entry_, {entry_args, sizes, arena, context});
    if (!program_.sites.empty()) {
      const int first = code_of(Kind::site, 0);
      llvm::Value* site =
          b_.CreateLoad(b_.getInt32Ty(),
                        b_.CreateConstGEP1_64(b_.getInt8Ty(), error, offsetof(kroton_error, site)));
      return_if(b_.CreateICmpNE(status, b_.getInt32(0)),
                b_.CreateAdd(site, b_.getInt32(static_cast<std::uint32_t>(first))));
    }
    b_.CreateRet(b_.getInt32(0));
  }

  llvm::Value* value_of(const DimAtom& variable, const std::vector<llvm::Value*>& values) const {
    for (std::size_t k = 0; k < variables_.size(); ++k) {
      if (variables_[k]->identity == variable.identity) return values[k];
    }
    throw InternalError("the size " + variable.name + " is not among the arguments");
  }

  // An array on the stack that holds the values.
  llvm::Value* store_all(const std::vector<llvm::Value*>& values, llvm::Type* type) {
    llvm::Value* array = slot(llvm::ArrayType::get(type, values.size()));
    for (std::size_t k = 0; k < values.size(); ++k) {
      b_.CreateStore(values[k], b_.CreateConstGEP1_64(type, array, k));
    }
    return array;
  }

  // A context of one worker, whose parallel_for is therefore never called.
  llvm::Value* make_serial_context() {
    auto* type = llvm::ArrayType::get(b_.getInt8Ty(), sizeof(kroton_context));
    llvm::AllocaInst* context = slot(type);
    context->setAlignment(llvm::Align(8));
    b_.CreateMemSet(context, b_.getInt8(0), sizeof(kroton_context), llvm::Align(8));
    b_.CreateStore(b_.getInt64(1), context_field(context, offsetof(kroton_context, workers)));
    return context;
  }

  llvm::Value* is_misaligned(llvm::Value* pointer) {
    llvm::Value* address = b_.CreatePtrToInt(pointer, b_.getInt64Ty());
    return b_.CreateICmpNE(b_.CreateAnd(address, aot::memory_alignment - 1), b_.getInt64(0));
  }

  void emit_arena_bytes() {
    std::vector<llvm::Type*> types;
    if (c_.threads) types.push_back(b_.getPtrTy());
    types.insert(types.end(), c_.sizes.size(), b_.getInt64Ty());
    begin(c_.name + "_arena_bytes", b_.getInt64Ty(), types);
    llvm::Value* workers = b_.getInt64(1);
    if (c_.threads) {
      return_if(b_.CreateIsNull(function_->getArg(0)), b_.getInt64(0));
      workers = workers_of(function_->getArg(0));
    }
    std::vector<llvm::Value*> sizes;
    for (unsigned k = 0; k < c_.sizes.size(); ++k) {
      sizes.push_back(function_->getArg((c_.threads ? 1 : 0) + k));
    }
    const auto [code, bytes] = call_size_checks(sizes, workers);
    return_if(b_.CreateICmpNE(code, b_.getInt32(0)), b_.getInt64(0));
    b_.CreateRet(b_.CreateLoad(b_.getInt64Ty(), bytes));
  }

  // A table of messages without pointers, so that it needs no relocation.
  void emit_error() {
    std::string text;
    std::vector<std::uint32_t> offsets;
    const auto add = [&](const std::string& message) {
      offsets.push_back(static_cast<std::uint32_t>(text.size()));
      text += message;
      text += '\0';
    };
    add("no error");
    for (const Check& check : c_.checks) add(c_.name + ": " + check.message);
    add(c_.name + ": not an error code of this function");
    auto* text_data = llvm::ConstantDataArray::getString(b_.getContext(), text, /*AddNull=*/false);
    auto* offset_data = llvm::ConstantDataArray::get(b_.getContext(), offsets);
    auto* messages = constant("messages", text_data);
    auto* starts = constant("message_starts", offset_data);

    begin(c_.name + "_error", b_.getPtrTy(), {b_.getInt32Ty()});
    llvm::Value* last = b_.getInt32(static_cast<std::uint32_t>(offsets.size() - 1));
    llvm::Value* code = b_.CreateBinaryIntrinsic(llvm::Intrinsic::umin, function_->getArg(0), last);
    llvm::Value* start =
        b_.CreateLoad(b_.getInt32Ty(),
                      b_.CreateGEP(b_.getInt32Ty(), starts, b_.CreateZExt(code, b_.getInt64Ty())));
    b_.CreateRet(b_.CreateGEP(b_.getInt8Ty(), messages, b_.CreateZExt(start, b_.getInt64Ty())));
  }

  llvm::GlobalVariable* constant(const char* name, llvm::Constant* data) {
    return new llvm::GlobalVariable(module_, data->getType(), true,
                                    llvm::GlobalValue::PrivateLinkage, data, name);
  }

  void emit_place() {
    llvm::Type* pointer = b_.getPtrTy();
    place_ = begin(c_.name + "_state_place", b_.getInt32Ty(), {pointer, pointer});
    llvm::Value* state = function_->getArg(0);
    llvm::Value* memory = function_->getArg(1);
    return_if(b_.CreateIsNull(state), code_of(Kind::null_state));
    return_if(b_.CreateIsNull(memory), code_of(Kind::null_memory));
    return_if(is_misaligned(memory), code_of(Kind::memory_misaligned));
    for (std::size_t k = 0; k < c_.states.size(); ++k) {
      b_.CreateStore(b_.CreateConstGEP1_64(b_.getInt8Ty(), memory,
                                           static_cast<std::uint64_t>(c_.state_offsets[k])),
                     b_.CreateConstGEP1_64(pointer, state, k));
    }
    b_.CreateRet(b_.getInt32(0));
  }

  // The arrays of initial values, and the function that copies them.
  void emit_initial_values() {
    llvm::Type* pointer = b_.getPtrTy();
    begin(c_.name + "_state_init", b_.getInt32Ty(), {pointer, pointer});
    llvm::Value* memory = function_->getArg(1);
    llvm::Value* code = b_.CreateCall(place_, {function_->getArg(0), memory});
    return_if(b_.CreateICmpNE(code, b_.getInt32(0)), code);
    for (std::size_t k = 0; k < c_.states.size(); ++k) {
      const Array value = program_.states[k]->snapshot(program_.name);
      const auto bytes = static_cast<std::uint64_t>(value.nbytes());
      const auto* first = static_cast<const char*>(value.raw());
      const bool zero = std::all_of(first, first + bytes, [](char byte) { return byte == 0; });
      // Values that are all zero take no room in the file.
      auto* type = llvm::ArrayType::get(b_.getInt8Ty(), std::max<std::uint64_t>(bytes, 1));
      llvm::Constant* data =
          zero ? static_cast<llvm::Constant*>(llvm::ConstantAggregateZero::get(type))
               : llvm::ConstantDataArray::getRaw(llvm::StringRef(first, bytes), bytes,
                                                 b_.getInt8Ty());
      const std::string name = c_.name + "_initial_" + c_.states[k].name;
      if (llvm::GlobalValue* other = module_.getNamedValue(name)) {
        other->setName(name + ".kernel");
      }
      auto* global = new llvm::GlobalVariable(module_, type, !zero,
                                              llvm::GlobalValue::ExternalLinkage, data, name);
      global->setAlignment(llvm::Align(aot::memory_alignment));
      llvm::Value* to = b_.CreateConstGEP1_64(b_.getInt8Ty(), memory,
                                              static_cast<std::uint64_t>(c_.state_offsets[k]));
      const llvm::Align align(aot::memory_alignment);
      if (zero) {
        b_.CreateMemSet(to, b_.getInt8(0), bytes, align);
      } else {
        b_.CreateMemCpy(to, align, global, align, bytes);
      }
    }
    b_.CreateRet(b_.getInt32(0));
  }

  llvm::Module& module_;
  const Program& program_;
  const CInterface& c_;
  Builder b_;
  std::vector<DimAtomRef> variables_;  // of the sizes, then of the number of workers
  llvm::Function* entry_ = nullptr;
  llvm::Function* check_sizes_ = nullptr;
  llvm::Function* place_ = nullptr;
  llvm::Function* function_ = nullptr;  // in the making
};

}  // namespace

void emit_c_interface(llvm::Module& module, const Program& program,
                      const aot::CInterface& interface) {
  InterfaceEmitter(module, program, interface).run();
}

}  // namespace kroton::codegen
