#include "compiler/codegen/llvm/emit_program.h"

#include <kroton/error.h>
#include <llvm/MC/MCSubtargetInfo.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <set>
#include <span>
#include <unordered_map>

#include "compiler/codegen/llvm/emit_shared_call.h"
#include "compiler/loop/traverse.h"
#include "runtime/abi.h"

namespace kroton::codegen {
namespace {

constexpr std::size_t most_steps = 32;  // of one function

class ProgramEmitter {
 public:
  // Adds the entry to the module.
  ProgramEmitter(const Program& program, const ProgramKernels& kernels, llvm::Module& module)
      : program_(program), kernels_(kernels), module_(&module), builder_(module.getContext()) {}

  void run() {
    declare_callees();
    emit_function(entry_symbol, llvm::Function::ExternalLinkage, program_.steps);
  }

 private:
  // A function with the entry's parameters that runs the steps. Many are divided among functions of
  // their own: what it costs to hold addresses in registers across calls grows with their square.
  llvm::Function* emit_function(const std::string& name, llvm::Function::LinkageTypes linkage,
                                std::span<const Step> steps) {
    llvm::Type* pointer = builder_.getPtrTy();
    auto* type =
        llvm::FunctionType::get(builder_.getInt32Ty(), {pointer, pointer, pointer, pointer}, false);
    auto* function = llvm::Function::Create(type, linkage, name, *module_);
    function->addFnAttr(llvm::Attribute::NoUnwind);
    const char* names[] = {"args", "sizes", "arena", "context"};
    for (unsigned k = 0; k < 4; ++k) function->getArg(k)->setName(names[k]);
    std::vector<llvm::Function*> parts;
    for (std::span<const Step> rest = steps; steps.size() > most_steps && !rest.empty();) {
      const std::size_t count = std::min(rest.size(), most_steps);
      parts.push_back(emit_function(name + "_part" + std::to_string(parts.size()),
                                    llvm::Function::InternalLinkage, rest.first(count)));
      rest = rest.subspan(count);
    }

    entry_ = function;
    addresses_.clear();
    long_sizes_.clear();
    sizes_ = std::make_unique<SizeEmitter>(program_.sizes, entry_->getArg(1));
    builder_.SetInsertPoint(block("entry"));
    failed_ = block("failed");
    for (llvm::Function* part : parts) {
      part->addFnAttr(llvm::Attribute::NoInline);
      return_if_failed(builder_.CreateCall(
          part, {entry_->getArg(0), entry_->getArg(1), entry_->getArg(2), entry_->getArg(3)}));
    }
    if (parts.empty()) run_steps(steps);
    builder_.CreateRet(builder_.getInt32(0));
    builder_.SetInsertPoint(failed_);
    builder_.CreateRet(builder_.getInt32(1));
    return function;
  }

  void run_steps(std::span<const Step> steps) {
    for (const Step& step : steps) {
      visit(
          step, [this](const loop::Kernel& kernel) { call_kernel(kernel); },
          [this](const Scan& scan) { run_scan(scan); },
          [this](const Branch& branch) { run_branch(branch); },
          [this](const Call& made) { made.callee ? call(made) : show(made); });
    }
  }

  void run_branch(const Branch& branch) {
    llvm::Value* condition = builder_.CreateICmpNE(
        builder_.CreateLoad(builder_.getInt8Ty(), buffer_address(branch.condition)),
        builder_.getInt8(0), branch.condition->name);
    auto* then_block = block("then");
    auto* else_block = block("else");
    auto* join = block("join");
    builder_.CreateCondBr(condition, then_block, else_block);
    builder_.SetInsertPoint(then_block);
    run_steps(branch.then_steps);
    builder_.CreateBr(join);
    builder_.SetInsertPoint(else_block);
    run_steps(branch.else_steps);
    builder_.CreateBr(join);
    builder_.SetInsertPoint(join);
  }

  void run_scan(const Scan& loop) {
    llvm::Value* extent = sizes_->emit(builder_, loop.extent);
    llvm::Value* next = builder_.getInt64(0);
    if (loop.idle && !loop.idle_to_the_end) next = run_idle_pairs(loop, extent);
    next = run_while(
        loop.name.c_str(), next,
        [&](llvm::Value* step) { return builder_.CreateICmpSLT(step, extent); },
        [&](llvm::Value* step) { return run_steps_of(loop, loop.steps, step); },
        loop.idle && loop.idle_to_the_end ? &loop : nullptr);
    if (!loop.idle || !loop.idle_to_the_end || loop.idle_steps.empty()) return;
    run_while(
        "idle", next, [&](llvm::Value* step) { return builder_.CreateICmpSLT(step, extent); },
        [&](llvm::Value* step) { return run_steps_of(loop, loop.idle_steps, step); });
  }

  // Iterations from `first` on as long as `goes_on`, and up to one in which `ends` is idle: that
  // one has brought every state to both of its rows. The number of the iteration after the last.
  llvm::Value* run_while(const char* name, llvm::Value* first,
                         const std::function<llvm::Value*(llvm::Value*)>& goes_on,
                         const std::function<llvm::Value*(llvm::Value*)>& run,
                         const Scan* ends = nullptr) {
    llvm::BasicBlock* before = builder_.GetInsertBlock();
    auto* head = block(name);
    auto* body = block("step");
    auto* done = block("done");
    builder_.CreateBr(head);
    builder_.SetInsertPoint(head);
    llvm::PHINode* step = builder_.CreatePHI(builder_.getInt64Ty(), 2, "step");
    step->addIncoming(first, before);
    llvm::Value* more = goes_on(step);
    llvm::BasicBlock* decides = builder_.GetInsertBlock();
    builder_.CreateCondBr(more, body, done);
    builder_.SetInsertPoint(body);
    llvm::Value* next = run(step);
    step->addIncoming(next, builder_.GetInsertBlock());
    llvm::BasicBlock* last = builder_.GetInsertBlock();
    if (ends == nullptr) {
      builder_.CreateBr(head);
      builder_.SetInsertPoint(done);
      return step;
    }
    builder_.CreateCondBr(is_idle(*ends, step), done, head);
    builder_.SetInsertPoint(done);
    llvm::PHINode* after = builder_.CreatePHI(builder_.getInt64Ty(), 2, "after");
    after->addIncoming(step, decides);
    after->addIncoming(next, last);
    return after;
  }

  llvm::Value* run_steps_of(const Scan& loop, std::span<const Step> steps, llvm::Value* step) {
    steps_[loop.variable.id] = step;
    run_steps(steps);
    return builder_.CreateNSWAdd(step, builder_.getInt64(1));
  }

  llvm::Value* is_idle(const Scan& loop, llvm::Value* step) {
    steps_[loop.variable.id] = step;
    return builder_.CreateICmpNE(
        builder_.CreateLoad(builder_.getInt8Ty(), buffer_address(loop.idle)), builder_.getInt8(0),
        "idle");
  }

  // Iterations before the first one that is not idle, an even number of them.
  llvm::Value* run_idle_pairs(const Scan& loop, llvm::Value* extent) {
    return run_while(
        "idle", builder_.getInt64(0),
        [&](llvm::Value* step) -> llvm::Value* {
          llvm::BasicBlock* before = builder_.GetInsertBlock();
          auto* look = block("look");
          auto* join = block("decide");
          llvm::Value* second = builder_.CreateNSWAdd(step, builder_.getInt64(1));
          builder_.CreateCondBr(builder_.CreateICmpSLT(second, extent), look, join);
          builder_.SetInsertPoint(look);
          llvm::Value* idle = is_idle(loop, second);
          llvm::BasicBlock* looked = builder_.GetInsertBlock();
          builder_.CreateBr(join);
          builder_.SetInsertPoint(join);
          llvm::PHINode* both = builder_.CreatePHI(builder_.getInt1Ty(), 2, "both");
          both->addIncoming(builder_.getFalse(), before);
          both->addIncoming(idle, looked);
          return both;
        },
        [&](llvm::Value* step) {
          return run_steps_of(loop, loop.idle_steps, run_steps_of(loop, loop.idle_steps, step));
        });
  }

  // What is the module's own gets another name where they clash.
  void declare_callees() {
    llvm::Type* pointer = builder_.getPtrTy();
    auto* type = llvm::FunctionType::get(builder_.getInt32Ty(), {pointer, pointer}, false);
    for (const auto& callee : callees(program_)) {
      const std::string& name = callee->options.name;
      if (llvm::Function* own = module_->getFunction(name)) own->setName("kernel");
      auto* function =
          llvm::Function::Create(type, llvm::Function::ExternalLinkage, name, *module_);
      function->addFnAttr(llvm::Attribute::NoUnwind);
      callees_[name] = function;
    }
  }

  // An array in the entry's frame.
  llvm::Value* frame_array(llvm::Type* element, std::size_t count, const char* name) {
    llvm::IRBuilder<> at_entry(&entry_->getEntryBlock(), entry_->getEntryBlock().begin());
    return at_entry.CreateAlloca(llvm::ArrayType::get(element, count), nullptr, name);
  }

  // A function that ends the call where it returns a number other than 0.
  void call(const Call& made) {
    llvm::Type* pointer = builder_.getPtrTy();
    llvm::Type* i64 = builder_.getInt64Ty();
    std::vector<Call::Value> values = made.inputs;
    values.insert(values.end(), made.outputs.begin(), made.outputs.end());
    std::vector<Dim> sizes;
    for (const Call::Value& value : values) {
      sizes.insert(sizes.end(), value.type.shape.begin(), value.type.shape.end());
    }
    llvm::Value* arrays = frame_array(pointer, values.size(), "arrays");
    for (std::size_t k = 0; k < values.size(); ++k) {
      builder_.CreateStore(buffer_address(values[k].buffer),
                           builder_.CreateConstGEP1_64(pointer, arrays, k));
    }
    llvm::Value* lengths = frame_array(i64, sizes.size(), "lengths");
    for (std::size_t k = 0; k < sizes.size(); ++k) {
      builder_.CreateStore(sizes_->emit(builder_, sizes[k]),
                           builder_.CreateConstGEP1_64(i64, lengths, k));
    }
    llvm::Function* function = callees_.at(made.callee->options.name);
    llvm::Value* status = made.callee->takes_matrices
                              ? call_of_matrices(function, values, arrays, lengths)
                              : builder_.CreateCall(function, {arrays, lengths});
    auto* wrong = block("wrong");
    auto* next = block("next");
    builder_.CreateCondBr(builder_.CreateICmpNE(status, builder_.getInt32(0)), wrong, next);
    builder_.SetInsertPoint(wrong);
    llvm::Value* site = builder_.getInt32(static_cast<std::uint32_t>(made.site));
    llvm::Value* index = builder_.CreateSExt(status, i64);
    llvm::Value* size = builder_.getInt64(0);
    if (!made.callee->is_users()) {
      site = builder_.CreateAdd(site, builder_.CreateSub(status, builder_.getInt32(1)));
      llvm::Value* numbers = buffer_address(made.outputs.back().buffer);
      index = builder_.CreateLoad(i64, numbers);
      size = builder_.CreateLoad(i64, builder_.CreateConstGEP1_64(i64, numbers, 1));
    }
    builder_.CreateCall(report_function(*module_), {entry_->getArg(3), index, size, site});
    builder_.CreateBr(failed_);
    builder_.SetInsertPoint(next);
  }

  // All workers share the matrices where it pays. If one fails, one worker does it all over again:
  // it comes to the first that fails, and says so.
  llvm::Value* call_of_matrices(llvm::Function* function, std::span<const Call::Value> values,
                                llvm::Value* arrays, llvm::Value* lengths) {
    llvm::Type* pointer = builder_.getPtrTy();
    llvm::Type* i64 = builder_.getInt64Ty();
    const auto call_alone = [&] { return builder_.CreateCall(function, {arrays, lengths}); };
    const Dims& first = values.front().type.shape;
    if (first.size() != 3 || first[0].is_constant(1)) return call_alone();
    llvm::Value* count = sizes_->emit(builder_, first[0]);
    // Such functions take about that many operations.
    llvm::Value* work = sizes_->emit(builder_, first[0] * first[1] * first[1] * first[2]);
    llvm::Value* workers =
        builder_.CreateLoad(i64, context_field(offsetof(kroton_context, workers)));
    const auto exceeds = [&](llvm::Value* a, std::int64_t least) {
      return builder_.CreateICmpSGT(a, builder_.getInt64(static_cast<std::uint64_t>(least)));
    };
    llvm::Value* pays =
        builder_.CreateAnd(exceeds(work, most_work_on_one_thread),
                           builder_.CreateAnd(exceeds(count, 1), exceeds(workers, 1)));
    auto *shared = block("shared"), *alone = block("alone"), *done = block("done");
    builder_.CreateCondBr(pays, shared, alone);
    builder_.SetInsertPoint(shared);
    llvm::Value* environment = frame_array(pointer, 2, "environment");
    builder_.CreateStore(arrays, builder_.CreateConstGEP1_64(pointer, environment, 0));
    builder_.CreateStore(lengths, builder_.CreateConstGEP1_64(pointer, environment, 1));
    llvm::Value* parallel_for =
        builder_.CreateLoad(pointer, context_field(offsetof(kroton_context, parallel_for)));
    auto* type =
        llvm::FunctionType::get(builder_.getInt32Ty(), {pointer, pointer, pointer, i64}, false);
    llvm::Function* body = matrices_body(*module_, function, values);
    llvm::Value* found =
        builder_.CreateCall(type, parallel_for, {entry_->getArg(3), body, environment, count});
    builder_.CreateCondBr(builder_.CreateICmpEQ(found, builder_.getInt32(0)), done, alone);
    builder_.SetInsertPoint(alone);
    llvm::Value* own = call_alone();
    builder_.CreateBr(done);
    builder_.SetInsertPoint(done);
    llvm::PHINode* status = builder_.CreatePHI(builder_.getInt32Ty(), 2);
    status->addIncoming(found, shared);
    status->addIncoming(own, alone);
    return status;
  }

  // Hands a value to the context, if it wants to show any, and ends the call if it wants that.
  void show(const Call& shown) {
    const auto& [value, value_type] = shown.inputs.front();
    llvm::Type* pointer = builder_.getPtrTy();
    llvm::Type* i32 = builder_.getInt32Ty();
    llvm::Type* i64 = builder_.getInt64Ty();
    llvm::Value* hook =
        builder_.CreateLoad(pointer, context_field(offsetof(kroton_context, print)));
    auto* wanted = block("print");
    auto* next = block("next");
    builder_.CreateCondBr(builder_.CreateIsNotNull(hook), wanted, next);
    builder_.SetInsertPoint(wanted);
    const Dims& sizes = value_type.shape;
    llvm::Value* shape = frame_array(i64, sizes.size(), "shape");
    for (std::size_t axis = 0; axis < sizes.size(); ++axis) {
      builder_.CreateStore(sizes_->emit(builder_, sizes[axis]),
                           builder_.CreateConstGEP1_64(i64, shape, axis));
    }
    auto* type =
        llvm::FunctionType::get(i32, {pointer, pointer, i32, i32, pointer, pointer}, false);
    llvm::Value* status = builder_.CreateCall(
        type, hook,
        {entry_->getArg(3), builder_.CreateGlobalString(shown.message, "message"),
         builder_.getInt32(static_cast<std::uint32_t>(value_type.dtype)),
         builder_.getInt32(static_cast<std::uint32_t>(sizes.size())), shape,
         buffer_address(value)});
    builder_.CreateCondBr(builder_.CreateICmpNE(status, builder_.getInt32(0)), failed_, next);
    builder_.SetInsertPoint(next);
  }

  // Before what ends the entry block, if that is there: behind all that dominates every use.
  void at_end_of_entry(llvm::IRBuilder<>& b) {
    llvm::BasicBlock& entry = entry_->getEntryBlock();
    if (llvm::Instruction* end = entry.getTerminator()) {
      b.SetInsertPoint(end);
    } else {
      b.SetInsertPoint(&entry);
    }
  }

  // The value of a size. Places in the arena, and in a join of many, are sums of as many sizes,
  // each but a few terms longer than another: such a one is computed once, in the entry block, from
  // the one that it has most in common with.
  llvm::Value* size(llvm::IRBuilder<>& builder, const Dim& dim) {
    constexpr std::size_t long_sum = 8, most_compared = 8;
    const std::size_t length = dim.terms().size();
    if (length < long_sum) return sizes_->emit(builder, dim);
    const auto above = std::ranges::lower_bound(long_sizes_, length, {}, &LongSize::length);
    const auto near = [&](auto first) {
      return std::min<std::ptrdiff_t>(first, most_compared / 2);
    };
    Dim rest = dim;
    std::size_t shortest = length;
    llvm::Value* known = nullptr;
    for (auto other = above - near(above - long_sizes_.begin());
         other != above + near(long_sizes_.end() - above); ++other) {
      if (other->dim == dim) return other->value;
      const Dim difference = dim - other->dim;
      if (const std::size_t terms = difference.terms().size(); terms < shortest) {
        shortest = terms;
        rest = difference;
        known = other->value;
      }
    }
    llvm::IRBuilder<> b(builder_.getContext());
    at_end_of_entry(b);
    llvm::Value* value = sizes_->emit(b, rest);
    if (known != nullptr) value = b.CreateAdd(known, value);
    long_sizes_.insert(std::ranges::lower_bound(long_sizes_, length, {}, &LongSize::length),
                       {length, dim, value});
    return value;
  }

  // Where a buffer begins. Parts move with the loops they are in; all else is computed once, in the
  // entry block, which dominates every use.
  llvm::Value* buffer_address(const loop::BufferRef& buffer) {
    const Placement& placed = program_.placements.at(buffer->id);
    if (placed.kind == Placement::Kind::part) {
      return builder_.CreateGEP(memory_type(builder_.getContext(), buffer->dtype),
                                buffer_address(placed.of), scalar(placed.start), buffer->name);
    }
    if (const auto known = addresses_.find(buffer->id); known != addresses_.end()) {
      return known->second;
    }
    llvm::IRBuilder<> b(builder_.getContext());
    at_end_of_entry(b);
    const Placement& place = program_.placements.at(buffer->id);
    llvm::Value* address = nullptr;
    switch (place.kind) {
      case Placement::Kind::argument:
        address = b.CreateLoad(b.getPtrTy(),
                               b.CreateConstGEP1_64(b.getPtrTy(), entry_->getArg(0),
                                                    static_cast<std::uint64_t>(place.argument)),
                               buffer->name);
        break;
      case Placement::Kind::constant:
        address = constant_data(place.argument);
        break;
      case Placement::Kind::arena:
      case Placement::Kind::worker_scratch:
        address =
            b.CreateGEP(b.getInt8Ty(), entry_->getArg(2), size(b, place.offset), buffer->name);
        break;
      case Placement::Kind::part:
        break;
    }
    return addresses_[buffer->id] = address;
  }

  llvm::GlobalVariable* constant_data(int number) {
    llvm::GlobalVariable*& global = constants_[number];
    if (global) return global;
    const Array& array = program_.constants[static_cast<std::size_t>(number)];
    const auto* bytes = static_cast<const char*>(array.raw());
    auto* data = llvm::ConstantDataArray::getRaw(
        llvm::StringRef(bytes, static_cast<std::size_t>(array.nbytes())),
        static_cast<std::uint64_t>(array.nbytes()), builder_.getInt8Ty());
    global = new llvm::GlobalVariable(*module_, data->getType(), true,
                                      llvm::GlobalValue::PrivateLinkage, data, "constant");
    global->setAlignment(llvm::Align(64));
    return global;
  }

  void call_kernel(const loop::Kernel& kernel) {
    const int number = called_++;
    profile(number, true);
    const ProgramKernels::Callable callable = kernels_.callable(kernel, *module_);
    llvm::Function* function = callable.function;
    llvm::Value* zero = builder_.getInt64(0);
    std::vector<llvm::Value*> arguments{entry_->getArg(1), entry_->getArg(3), zero, zero, zero};
    if (callable.parallel_extent) {
      llvm::Value* extent = scalar(callable.parallel_extent);
      llvm::Value* work = scalar(kernel.work);
      arguments[4] = extent;
      if (!is_at_most(work, most_work_on_one_thread) && !is_at_most(extent, 1)) {
        arguments[2] = work;
        arguments[3] = function;
        function = start_function(function->getFunctionType());
      }
    }
    for (const loop::BufferRef& buffer : callable.buffers) {
      arguments.push_back(buffer_address(buffer));
    }
    for (const loop::Expr& constant : callable.numbers) {
      arguments.push_back(is_float(constant->dtype) ? real_constant(builder_.getContext(),
                                                                    constant->real, constant->dtype)
                                                    : scalar(constant));
    }
    llvm::Value* status = builder_.CreateCall(function, arguments);
    profile(number, false);
    if (callable.has_checks) return_if_failed(status);
  }

  static bool is_at_most(llvm::Value* value, std::int64_t bound) {
    const auto* constant = llvm::dyn_cast<llvm::ConstantInt>(value);
    return constant && constant->getSExtValue() <= bound;
  }

  // The function that runs a kernel of this type on the calling thread or on all workers. It has
  // the parameters of the kernel, but its work in the place of the worker and the kernel in that of
  // the begin: the kernel finds all others where they are.
  llvm::Function* start_function(llvm::FunctionType* kernel) {
    llvm::Function*& f = starts_[kernel];
    if (f) return f;
    std::vector<llvm::Type*> types = kernel->params();
    llvm::Type* pointer = builder_.getPtrTy();
    types[3] = pointer;
    f = llvm::Function::Create(llvm::FunctionType::get(builder_.getInt32Ty(), types, false),
                               llvm::Function::InternalLinkage, "start", *module_);
    f->addFnAttr(llvm::Attribute::NoUnwind);
    f->addFnAttr(llvm::Attribute::NoInline);
    const char* names[] = {"sizes", "context", "work", "kernel", "extent"};
    for (unsigned k = 0; k < 5; ++k) f->getArg(k)->setName(names[k]);
    llvm::Value* context = f->getArg(1);
    llvm::Value* extent = f->getArg(4);
    llvm::IRBuilder<> b(llvm::BasicBlock::Create(builder_.getContext(), "entry", f));
    auto* threads = llvm::BasicBlock::Create(builder_.getContext(), "threads", f);
    auto* alone = llvm::BasicBlock::Create(builder_.getContext(), "alone", f);
    const auto field = [&](std::size_t offset) {
      return b.CreateConstGEP1_64(b.getInt8Ty(), context, offset);
    };
    // What all workers share: the kernel, sizes, the context, the buffers and the numbers.
    std::vector<llvm::Value*> shared{f->getArg(3), f->getArg(0), context};
    for (unsigned k = 5; k < f->arg_size(); ++k) shared.push_back(f->getArg(k));
    llvm::Value* environment =
        b.CreateAlloca(llvm::ArrayType::get(pointer, shared.size()), nullptr, "environment");
    llvm::Value* workers =
        b.CreateLoad(b.getInt64Ty(), field(offsetof(kroton_context, workers)), "workers");
    llvm::Value* pays =
        b.CreateAnd(b.CreateICmpSGT(f->getArg(2), b.getInt64(most_work_on_one_thread)),
                    b.CreateAnd(b.CreateICmpSGT(workers, b.getInt64(1)),
                                b.CreateICmpSGT(extent, b.getInt64(1))));
    b.CreateCondBr(pays, threads, alone);

    b.SetInsertPoint(alone);
    llvm::Value* zero = b.getInt64(0);
    std::vector<llvm::Value*> arguments{f->getArg(0), context, zero, zero, extent};
    arguments.insert(arguments.end(), shared.begin() + 3, shared.end());
    llvm::CallInst* run = b.CreateCall(kernel, f->getArg(3), arguments);
    run->setTailCall();
    b.CreateRet(run);

    b.SetInsertPoint(threads);
    for (std::size_t k = 0; k < shared.size(); ++k) {
      b.CreateStore(shared[k], b.CreateConstGEP1_64(pointer, environment, k));
    }
    llvm::Value* parallel_for =
        b.CreateLoad(pointer, field(offsetof(kroton_context, parallel_for)), "parallel_for");
    auto* type =
        llvm::FunctionType::get(b.getInt32Ty(), {pointer, pointer, pointer, b.getInt64Ty()}, false);
    b.CreateRet(
        b.CreateCall(type, parallel_for, {context, share_function(kernel), environment, extent}));
    return f;
  }

  // The kroton_body that unpacks the environment and runs one worker's share of such a kernel.
  llvm::Function* share_function(llvm::FunctionType* kernel) {
    llvm::IRBuilder<> b(builder_.getContext());
    llvm::Type* pointer = b.getPtrTy();
    llvm::Type* i64 = b.getInt64Ty();
    auto* type = llvm::FunctionType::get(b.getInt32Ty(), {pointer, i64, i64, i64}, false);
    auto* f = llvm::Function::Create(type, llvm::Function::InternalLinkage, "share", *module_);
    f->addFnAttr(llvm::Attribute::NoUnwind);
    b.SetInsertPoint(llvm::BasicBlock::Create(b.getContext(), "entry", f));
    const auto shared = [&](std::size_t k, llvm::Type* of) {
      return b.CreateLoad(of, b.CreateConstGEP1_64(pointer, f->getArg(0), k));
    };
    llvm::Value* function = shared(0, pointer);
    std::vector<llvm::Value*> arguments{shared(1, pointer), shared(2, pointer), f->getArg(1),
                                        f->getArg(2), f->getArg(3)};
    for (unsigned k = 5; k < kernel->getNumParams(); ++k) {
      arguments.push_back(shared(k - 2, kernel->getParamType(k)));
    }
    b.CreateRet(b.CreateCall(kernel, function, arguments));
    return f;
  }

  // Tells the context that the kernel begins or ends, if the Program is to be profiled.
  void profile(int kernel, bool begins) {
    if (!program_.profile) return;
    llvm::Type* pointer = builder_.getPtrTy();
    llvm::Type* i32 = builder_.getInt32Ty();
    auto* type = llvm::FunctionType::get(builder_.getVoidTy(), {pointer, i32, i32}, false);
    llvm::Value* hook =
        builder_.CreateLoad(pointer, context_field(offsetof(kroton_context, profile)));
    builder_.CreateCall(type, hook,
                        {entry_->getArg(3), builder_.getInt32(static_cast<std::uint32_t>(kernel)),
                         builder_.getInt32(begins ? 1 : 0)});
  }

  void return_if_failed(llvm::Value* status) {
    auto* next = block("next");
    builder_.CreateCondBr(builder_.CreateICmpNE(status, builder_.getInt32(0)), failed_, next);
    builder_.SetInsertPoint(next);
  }

  // A loop extent, a work estimate or the start of a part: arithmetic of constants, sizes and the
  // numbers of steps.
  llvm::Value* scalar(const loop::Expr& e) {
    using loop::Op;
    if (e->op == Op::integer) return builder_.getInt64(static_cast<std::uint64_t>(e->integer));
    if (e->op == Op::size) return size(builder_, e->dim);
    if (e->op == Op::variable) return steps_.at(e->variable.id);
    std::vector<llvm::Value*> args;
    for (const loop::Expr& arg : e->args) args.push_back(scalar(arg));
    switch (e->op) {
      case Op::add:
        return builder_.CreateAdd(args[0], args[1]);
      case Op::sub:
        return builder_.CreateSub(args[0], args[1]);
      case Op::mul:
        return builder_.CreateMul(args[0], args[1]);
      case Op::div:
        return builder_.CreateSDiv(args[0], args[1]);
      case Op::floor_div:  // by positive numbers
        return builder_.CreateSub(
            builder_.CreateSDiv(args[0], args[1]),
            builder_.CreateZExt(is_negative(builder_.CreateSRem(args[0], args[1])),
                                args[0]->getType()));
      case Op::mod: {  // as floor_div
        llvm::Value* rest = builder_.CreateSRem(args[0], args[1]);
        return builder_.CreateAdd(
            rest, builder_.CreateSelect(is_negative(rest), args[1], builder_.getInt64(0)));
      }
      case Op::min:
        return builder_.CreateBinaryIntrinsic(llvm::Intrinsic::smin, args[0], args[1]);
      case Op::max:
        return builder_.CreateBinaryIntrinsic(llvm::Intrinsic::smax, args[0], args[1]);
      default:
        throw InternalError("emit_program: not the extent of a parallel loop: " +
                            loop::to_string(e));
    }
  }

  llvm::Value* is_negative(llvm::Value* number) {
    return builder_.CreateICmpSLT(number, builder_.getInt64(0));
  }

  llvm::Value* context_field(std::size_t offset) {
    return builder_.CreateConstGEP1_64(builder_.getInt8Ty(), entry_->getArg(3), offset);
  }

  llvm::BasicBlock* block(const char* name) {
    return llvm::BasicBlock::Create(builder_.getContext(), name, entry_);
  }

  const Program& program_;
  const ProgramKernels& kernels_;
  llvm::Module* module_;
  llvm::IRBuilder<> builder_;
  std::map<llvm::FunctionType*, llvm::Function*> starts_;  // by the type of the kernel
  std::map<std::string, llvm::Function*> callees_;         // by name
  std::map<int, llvm::GlobalVariable*> constants_;         // by position in Program::constants
  int called_ = 0;                                         // called so far
  // The function in progress.
  llvm::Function* entry_ = nullptr;
  llvm::BasicBlock* failed_ = nullptr;
  std::unique_ptr<SizeEmitter> sizes_;
  std::map<int, llvm::Value*> addresses_;
  struct LongSize {
    std::size_t length;  // terms
    Dim dim;
    llvm::Value* value;
  };
  std::vector<LongSize> long_sizes_;   // by length; of the function that is being printed
  std::map<int, llvm::Value*> steps_;  // by the variables of the loops in progress
};

}  // namespace

OwnedModule emit_program(const Program& program, const Machine& machine,
                         const llvm::TargetMachine& target, const ModuleSink& full) {
  ProgramKernels kernels(program, machine, target, full);
  OwnedModule last = kernels.take_last();
  ProgramEmitter(program, kernels, *last.module).run();
  return last;
}

}  // namespace kroton::codegen
