#include <kroton/error.h>
#include <llvm/IR/Intrinsics.h>
#include <llvm/IR/MDBuilder.h>

#include <algorithm>

#include "compiler/codegen/llvm/kernel_emitter.h"
#include "compiler/loop/elementary.h"
#include "compiler/loop/interleaved.h"
#include "compiler/loop/sum_blocks.h"
#include "compiler/loop/traverse.h"
#include "runtime/abi.h"

namespace kroton::codegen {
namespace {

using loop::Expr;
using loop::Op;

// The parameters before it are sizes, context, worker, begin and end.
constexpr unsigned first_buffer = 5;

// Operations of a vector loop's body that is written only once, with masks.
constexpr std::int64_t large_body = 256;

// The accumulating statements of a vector loop's body, and the scalars it declares itself.
void collect_accumulated(const loop::Block& block, std::vector<const loop::Stmt*>& found,
                         std::unordered_set<int>& declared) {
  for (const loop::Stmt& stmt : block) {
    if (const auto* own = std::get_if<loop::Declare>(&stmt)) {
      declared.insert(own->variable.id);
    } else if (std::holds_alternative<loop::Accumulate>(stmt) ||
               std::holds_alternative<loop::AccumulateArg>(stmt)) {
      found.push_back(&stmt);
    } else if (const auto* inner = std::get_if<std::shared_ptr<const loop::For>>(&stmt)) {
      collect_accumulated((*inner)->body, found, declared);
    } else if (const auto* branch = std::get_if<std::shared_ptr<const loop::If>>(&stmt)) {
      collect_accumulated((*branch)->then_body, found, declared);
      collect_accumulated((*branch)->else_body, found, declared);
    }
  }
}

bool has_inner_loop(const loop::Block& block) {
  bool found = false;
  loop::visit_statements(block,
                         [&](const loop::Stmt& stmt) { found |= loop::as_for(stmt) != nullptr; });
  return found;
}

// Distinct operations in the block's expressions.
std::int64_t operation_count(const loop::Block& block) {
  std::unordered_set<const loop::ExprNode*> seen;
  std::vector<Expr> nodes;
  loop::visit_expressions(block,
                          [&](const Expr& root) { loop::append_post_order(root, seen, nodes); });
  return std::count_if(nodes.begin(), nodes.end(), [](const Expr& e) { return !e->args.empty(); });
}

}  // namespace

llvm::Function* report_function(llvm::Module& module) {
  if (llvm::Function* known = module.getFunction("kroton_report")) return known;
  llvm::LLVMContext& c = module.getContext();
  llvm::IRBuilder<> b(c);
  llvm::Type* i64 = b.getInt64Ty();
  auto* type =
      llvm::FunctionType::get(b.getVoidTy(), {b.getPtrTy(), i64, i64, b.getInt32Ty()}, false);
  auto* f = llvm::Function::Create(type, llvm::Function::InternalLinkage, "kroton_report", module);
  f->addFnAttr(llvm::Attribute::NoInline);
  f->addFnAttr(llvm::Attribute::Cold);
  f->addFnAttr(llvm::Attribute::NoUnwind);
  b.SetInsertPoint(llvm::BasicBlock::Create(c, "entry", f));
  const auto field = [&](std::size_t offset) {
    return b.CreateConstGEP1_64(b.getInt8Ty(), f->getArg(0),
                                offsetof(kroton_context, error) + offset);
  };
  // Several workers may fail at once; one of them is reported.
  llvm::Value* exchange = b.CreateAtomicCmpXchg(
      field(offsetof(kroton_error, code)), b.getInt32(0), b.getInt32(1), llvm::MaybeAlign(4),
      llvm::AtomicOrdering::AcquireRelease, llvm::AtomicOrdering::Monotonic);
  auto* first = llvm::BasicBlock::Create(c, "first", f);
  auto* done = llvm::BasicBlock::Create(c, "done", f);
  b.CreateCondBr(b.CreateExtractValue(exchange, 1), first, done);
  b.SetInsertPoint(first);
  b.CreateStore(f->getArg(1), field(offsetof(kroton_error, index)));
  b.CreateStore(f->getArg(2), field(offsetof(kroton_error, size)));
  b.CreateStore(f->getArg(3), field(offsetof(kroton_error, site)));
  b.CreateBr(done);
  b.SetInsertPoint(done);
  b.CreateRetVoid();
  return f;
}

KernelEmitter::KernelEmitter(llvm::Module& module, const Program& program,
                             const loop::Kernel& kernel, const Machine& machine)
    : module_(module),
      context_(module.getContext()),
      program_(program),
      kernel_(kernel),
      masks_(machine.masks),
      converts_f16_(machine.converts_f16),
      builder_(module.getContext()) {}

EmittedKernel KernelEmitter::run(const std::vector<loop::BufferRef>& buffers,
                                 const std::vector<loop::Variable>& numbers) {
  std::vector<DType> dtypes;
  for (const loop::Variable& number : numbers) dtypes.push_back(number.dtype);
  function_ = llvm::Function::Create(kernel_type(context_, buffers.size(), dtypes),
                                     llvm::Function::InternalLinkage, kernel_.name, module_);
  function_->addFnAttr(llvm::Attribute::NoUnwind);
  function_->addFnAttr(llvm::Attribute::NoInline);
  const char* names[first_buffer] = {"sizes", "context", "worker", "begin", "end"};
  for (unsigned k = 0; k < first_buffer; ++k) function_->getArg(k)->setName(names[k]);
  unsigned position = first_buffer;
  for (const loop::BufferRef& buffer : buffers) {
    llvm::Argument* argument = function_->getArg(position++);
    argument->setName(buffer->name);
    argument->addAttr(llvm::Attribute::NoAlias);
    argument->addAttr(
        llvm::Attribute::getWithAlignment(context_, llvm::Align(size_of(buffer->dtype))));
    buffers_[buffer->id] = argument;
  }
  for (const loop::Variable& number : numbers) {
    llvm::Argument* argument = function_->getArg(position++);
    argument->setName(number.name);
    loop_variables_[number.id] = {argument, 0};
  }
  for (const loop::BufferRef& b : kernel_.inputs) {
    if (program_.placements.count(b->id) == 0)
      throw InternalError("buffer without a place: " + b->name);
  }
  llvm::Argument* sizes = function_->getArg(0);
  call_context_ = function_->getArg(1);
  llvm::Argument* worker = function_->getArg(2);
  sizes_ = std::make_unique<SizeEmitter>(program_.sizes, sizes);

  auto* entry = llvm::BasicBlock::Create(context_, "entry", function_);
  builder_.SetInsertPoint(entry);
  auto* body = llvm::BasicBlock::Create(context_, "body", function_);
  llvm::Instruction* to_body = builder_.CreateBr(body);
  // Each worker writes to its own part of a scratch buffer.
  builder_.SetInsertPoint(to_body);
  for (const loop::BufferRef& buffer : kernel_.scratch) {
    llvm::Value* stride = sizes_->emit(builder_, program_.placements.at(buffer->id).stride);
    buffers_[buffer->id] = builder_.CreateGEP(builder_.getInt8Ty(), buffers_[buffer->id],
                                              builder_.CreateMul(worker, stride));
  }
  builder_.SetInsertPoint(body);
  print_block(kernel_.body);
  builder_.CreateRet(builder_.getInt32(0));
  result_.function = function_;
  return result_;
}

llvm::AllocaInst* KernelEmitter::entry_slot(llvm::Type* type, const std::string& name, int align) {
  llvm::IRBuilder<> b(&function_->getEntryBlock(), function_->getEntryBlock().begin());
  llvm::AllocaInst* slot = b.CreateAlloca(type, nullptr, name);
  if (align > 0) slot->setAlignment(llvm::Align(static_cast<std::uint64_t>(align)));
  return slot;
}

void KernelEmitter::return_error(llvm::Value* failed, llvm::Value* index, llvm::Value* size,
                                 int site) {
  llvm::BasicBlock* rest = cut_here("in_range");
  auto* fail = llvm::BasicBlock::Create(context_, "out_of_range", function_);
  builder_.CreateCondBr(failed, fail, rest,
                        llvm::MDBuilder(context_).createBranchWeights(1, 1 << 20));
  builder_.SetInsertPoint(fail);
  builder_.CreateCall(
      report_function(module_),
      {call_context_, index, size, builder_.getInt32(static_cast<std::uint32_t>(site))});
  builder_.CreateRet(builder_.getInt32(1));
  builder_.SetInsertPoint(rest, rest->begin());
}

// What follows here goes to a block of its own. The one before it has no end yet, where printing
// goes on.
llvm::BasicBlock* KernelEmitter::cut_here(const char* name) {
  llvm::BasicBlock* block = builder_.GetInsertBlock();
  llvm::BasicBlock* rest = nullptr;
  if (builder_.GetInsertPoint() == block->end()) {
    rest = llvm::BasicBlock::Create(context_, name, function_);
  } else {
    rest = block->splitBasicBlock(builder_.GetInsertPoint(), name);
    block->getTerminator()->eraseFromParent();
  }
  builder_.SetInsertPoint(block);
  return rest;
}

void KernelEmitter::print_block(const loop::Block& block) {
  HeldScope scope(lets_);
  std::vector<loop::Interleaved> together;
  if (lanes_) {
    together = loop::interleaved_stores(block, [this](const Expr& e) { return lane_stride(e); });
  }
  std::unordered_map<std::size_t, llvm::Value*> waiting;  // values, by their store's position
  for (std::size_t k = 0; k < block.size(); ++k) {
    if (const auto* let = std::get_if<loop::Let>(&block[k])) {
      if (let->life != loop::Let::Life::loop) hold(*let, scope);
      continue;
    }
    const auto group = std::find_if(together.begin(), together.end(), [&](const auto& g) {
      return std::find(g.stores.begin(), g.stores.end(), k) != g.stores.end();
    });
    if (group == together.end()) {
      print_statement(block[k]);
    } else {
      const auto& store = std::get<loop::Store>(block[k]);
      waiting[k] = in_memory(splat(print(store.value)), store.buffer->dtype);
      if (k == group->last) {
        std::vector<llvm::Value*> values;
        for (const std::size_t at : group->stores) values.push_back(waiting.at(at));
        print_interleaved(std::get<loop::Store>(block[group->stores.front()]), values);
      }
    }
    scope.end_statement();
  }
}

void KernelEmitter::print_statement(const loop::Stmt& stmt) {
  const auto not_for_cpus = [this] {
    throw InternalError("kernel " + kernel_.name + " is scheduled for a GPU");
  };
  loop::visit(
      stmt, [](const loop::Let&) {},
      [&](const loop::Declare& one) {
        const Printed init = print(one.init);
        const bool lanes = lanes_.has_value();
        declare(one.variable, lanes ? splat(init) : init.value, lanes);
      },
      [&](const loop::Allocate& allocate) { print_allocate(allocate); },
      [&](const loop::Store& store) { print_store(store); },
      [&](const loop::Accumulate& sum) { print_accumulate(sum); },
      [&](const loop::AccumulateArg& best) { print_accumulate(best); },
      [&](const loop::Barrier&) { not_for_cpus(); }, [&](const loop::Copy&) { not_for_cpus(); },
      [&](const loop::Multiply&) { not_for_cpus(); },
      [&](const loop::For& loop) { print_for(loop); },
      [&](const loop::If& branch) { print_if(branch); });
}

// With room for a whole vector at its end, see print_load.
void KernelEmitter::print_allocate(const loop::Allocate& allocate) {
  const loop::BufferRef& buffer = allocate.buffer;
  if (!is_on_stack(buffer)) return;
  llvm::Type* type =
      llvm::ArrayType::get(memory_type(context_, buffer->dtype),
                           static_cast<std::uint64_t>(buffer->size.constant() + most_lanes));
  buffers_[buffer->id] = entry_slot(type, buffer->name, 64);
}

void KernelEmitter::hold(const loop::Let& let, HeldScope& scope) {
  scope.let(let, {level_, lanes_.has_value()});
}

// What is computed once before the loop's iterations, of which there is one.
void KernelEmitter::hold_values_of(const loop::For& loop, HeldScope& scope) {
  for (const loop::Stmt& stmt : loop.body) {
    const auto* let = std::get_if<loop::Let>(&stmt);
    if (let == nullptr || let->life != loop::Let::Life::loop) return;
    // Another part of the same loop may be around this one.
    if (lets_.find(let->value.get()) == nullptr) hold(*let, scope);
  }
}

// Prints what belongs to the loop's body, where control comes only if it has an iteration.
void KernelEmitter::print_body(const loop::For& loop, const std::function<void()>& body) {
  HeldScope scope(lets_);
  ++depth_;
  hold_values_of(loop, scope);
  body();
  --depth_;
}

// Prints a level that begins with `branch`, where the builder stands.
void KernelEmitter::print_after(llvm::Instruction* branch,
                                const std::function<void()>& print_there) {
  left_.push_back(branch);
  ++level_;
  print_there();
  --level_;
  left_.pop_back();
}

void KernelEmitter::declare(const loop::Variable& variable, llvm::Value* init, bool lanes) {
  llvm::AllocaInst* slot = entry_slot(init->getType(), variable.name);
  builder_.CreateStore(init, slot);
  scalars_[variable.id] = {slot, lanes, depth_};
}

void KernelEmitter::print_for(const loop::For& loop) {
  switch (loop.kind) {
    case loop::LoopKind::serial: {
      llvm::Value* extent = print(loop.extent).value;
      print_counted(loop, builder_.getInt64(0), extent, 1, [&](llvm::Value* i) {
        bind(loop.variable, i);
        print_block(loop.body);
      });
      return;
    }
    case loop::LoopKind::parallel: {
      result_.parallel_extent = loop.extent;
      print_counted(loop, function_->getArg(3), function_->getArg(4), 1, [&](llvm::Value* i) {
        bind(loop.variable, i);
        print_block(loop.body);
      });
      return;
    }
    case loop::LoopKind::unroll: {
      if (print_transposed(loop)) return;
      std::int64_t extent = 0;
      if (!loop::is_integer_constant(loop.extent, extent)) {
        throw InternalError("kernel " + kernel_.name + ": unrolled loop without a constant extent");
      }
      for (std::int64_t i = 0; i < extent; ++i) {
        print_body(loop, [&] {
          bind(loop.variable, builder_.getInt64(static_cast<std::uint64_t>(i)));
          print_block(loop.body);
        });
      }
      return;
    }
    case loop::LoopKind::vector:
      print_vector(loop);
      return;
    case loop::LoopKind::block:
    case loop::LoopKind::thread:
      throw InternalError("kernel " + kernel_.name + " is scheduled for a GPU");
  }
}

void KernelEmitter::bind(const loop::Variable& variable, llvm::Value* value) {
  const auto [it, first] = loop_variables_.try_emplace(variable.id, value, depth_);
  if (first) return;
  // Two loops may share a variable, one after the other, at different depths.
  if (it->second.second != depth_) natures_.clear();
  it->second = {value, depth_};
}

// A loop from begin to end (exclusive) by step. The preheader is entered only when the loop runs
// at least once, so what is hoisted there would have run anyway.
void KernelEmitter::print_counted(const loop::For& loop, llvm::Value* begin, llvm::Value* end,
                                  std::int64_t step,
                                  const std::function<void(llvm::Value*)>& body) {
  auto* constant_begin = llvm::dyn_cast<llvm::ConstantInt>(begin);
  auto* constant_end = llvm::dyn_cast<llvm::ConstantInt>(end);
  const bool known = constant_begin && constant_end;
  if (known && constant_begin->getSExtValue() >= constant_end->getSExtValue()) return;
  if (known && constant_begin->getSExtValue() + step >= constant_end->getSExtValue()) {
    print_body(loop, [&] { body(begin); });
    return;
  }
  auto* preheader = llvm::BasicBlock::Create(context_, loop.variable.name + ".pre", function_);
  auto* header = llvm::BasicBlock::Create(context_, loop.variable.name, function_);
  auto* exit = llvm::BasicBlock::Create(context_, loop.variable.name + ".end", function_);
  const auto print_from_preheader = [&] {
    builder_.SetInsertPoint(preheader);
    print_body(loop, [&] {
      llvm::Instruction* enter = builder_.CreateBr(header);
      builder_.SetInsertPoint(header);
      llvm::PHINode* i = builder_.CreatePHI(builder_.getInt64Ty(), 2, loop.variable.name);
      print_after(enter, [&] { body(i); });
      llvm::Value* next = builder_.CreateAdd(i, builder_.getInt64(static_cast<std::uint64_t>(step)),
                                             "", true, true);
      llvm::BasicBlock* latch = builder_.GetInsertBlock();
      builder_.CreateCondBr(builder_.CreateICmpSLT(next, end), header, exit);
      i->addIncoming(next, latch);
      // What is printed before the loop may have split its block.
      i->addIncoming(begin, enter->getParent());
    });
    builder_.SetInsertPoint(exit);
  };
  if (known) {
    builder_.CreateBr(preheader);
    print_from_preheader();
  } else {
    print_after(builder_.CreateCondBr(builder_.CreateICmpSLT(begin, end), preheader, exit),
                print_from_preheader);
  }
}

void KernelEmitter::print_lanes(const loop::For& loop, llvm::Value* base, llvm::Value* mask,
                                bool repeats) {
  ++depth_;
  bind(loop.variable, base);
  lanes_ = Lanes{loop.variable.id, loop.width, depth_, base, mask, mask != nullptr && repeats};
  print_block(loop.body);
  lanes_.reset();
  --depth_;
}

// The first `rest` of `width` lanes, or all: narrow numbers make narrow comparisons.
llvm::Value* KernelEmitter::mask_of(int width, llvm::Value* rest) {
  const auto count = static_cast<unsigned>(width);
  llvm::Value* active = builder_.CreateTrunc(
      builder_.CreateBinaryIntrinsic(llvm::Intrinsic::umin, rest, builder_.getInt64(count)),
      builder_.getInt32Ty());
  std::vector<llvm::Constant*> numbers;
  for (unsigned k = 0; k < count; ++k) numbers.push_back(builder_.getInt32(k));
  return builder_.CreateICmpULT(llvm::ConstantVector::get(numbers),
                                builder_.CreateVectorSplat(count, active));
}

// The same for a known number, which LLVM must not know: it would see that nothing needs the idle
// lanes, and put in them what raises flags. It does not know that a worker's number is not
// negative.
llvm::Value* KernelEmitter::opaque_mask(int width, llvm::ConstantInt* rest) {
  llvm::Value*& mask = opaque_masks_[{width, rest->getSExtValue()}];
  if (mask != nullptr) return mask;
  llvm::IRBuilder<>::InsertPointGuard guard(builder_);
  builder_.SetInsertPoint(function_->getEntryBlock().getTerminator());
  llvm::Value* zero = builder_.CreateLShr(function_->getArg(2), 63);
  return mask = mask_of(width, builder_.CreateSub(rest, zero));
}

void KernelEmitter::print_vector(const loop::For& loop) {
  const std::int64_t width = loop.width;
  const std::int64_t copies = std::max(1, loop.interleave);
  llvm::Value* extent = print(loop.extent).value;
  auto* constant_extent = llvm::dyn_cast<llvm::ConstantInt>(extent);

  // Accumulators declared outside get one slot per lane and copy, starting from the identity.
  struct Accumulator {
    const loop::Accumulate* plain = nullptr;
    const loop::AccumulateArg* arg = nullptr;
    std::vector<Scalar> copies, positions;
    std::vector<Scalar> parts;  // of floating sums: what they add up in one block
    Scalar outside, outside_position;
    Expr start;  // of args whose lanes count iterations: the position of the first
  };
  std::vector<const loop::Stmt*> statements;
  std::unordered_set<int> declared;
  collect_accumulated(loop.body, statements, declared);
  std::vector<Accumulator> accumulators;
  bool in_parts = false;  // whether the body adds to the parts
  const bool repeats = !is_harmless_on_zeros(loop);
  const auto lane_slot = [&](llvm::Constant* init, const std::string& name) {
    auto* value = llvm::ConstantVector::getSplat(
        llvm::ElementCount::getFixed(static_cast<unsigned>(width)), init);
    llvm::AllocaInst* slot = entry_slot(value->getType(), name);
    builder_.CreateStore(value, slot);
    return Scalar{slot, true, depth_};
  };
  for (const loop::Stmt* stmt : statements) {
    Accumulator a;
    a.plain = std::get_if<loop::Accumulate>(stmt);
    a.arg = std::get_if<loop::AccumulateArg>(stmt);
    if (!a.plain && !a.arg) continue;
    const loop::Variable& variable = a.plain ? a.plain->variable : a.arg->best;
    if (declared.count(variable.id)) continue;  // a value per lane anyway
    a.outside = scalars_.at(variable.id);
    for (std::int64_t k = 0; k < copies; ++k) {
      if (a.plain) {
        a.copies.push_back(lane_slot(identity(a.plain->op, variable.dtype), variable.name));
      } else {
        a.start = position_of_first(loop, *a.arg);
        a.copies.push_back(
            lane_slot(identity(a.arg->maximum ? Op::max : Op::min, variable.dtype), variable.name));
        a.positions.push_back(
            lane_slot(first_position(loop, *a.arg, a.start != nullptr), a.arg->position.name));
        a.positions.back().counts = a.start != nullptr;
      }
    }
    if (a.arg) a.outside_position = scalars_.at(a.arg->position.id);
    accumulators.push_back(std::move(a));
  }
  const auto body = [&](llvm::Value* base, std::int64_t copy, llvm::Value* mask) {
    for (const Accumulator& a : accumulators) {
      const auto k = static_cast<std::size_t>(copy);
      scalars_[a.plain ? a.plain->variable.id : a.arg->best.id] =
          in_parts && !a.parts.empty() ? a.parts[k] : a.copies[k];
      if (a.arg) scalars_[a.arg->position.id] = a.positions[k];
    }
    print_lanes(loop, base, mask, repeats);
  };
  const auto offset = [&](llvm::Value* base, std::int64_t by) {
    return by == 0 ? base
                   : builder_.CreateAdd(base, builder_.getInt64(static_cast<std::uint64_t>(by)));
  };
  const auto tail_mask = [&](llvm::Value* rest) {
    auto* known = llvm::dyn_cast<llvm::ConstantInt>(rest);
    return known != nullptr && repeats ? opaque_mask(loop.width, known) : mask_of(loop.width, rest);
  };

  if (loop.unrolled > 0) {
    const auto parts = [&] {
      for (std::int64_t i = 0; i < loop.unrolled; i += width) {
        llvm::Value* base = builder_.getInt64(static_cast<std::uint64_t>(i));
        const std::int64_t copy = (i / width) % copies;
        if (constant_extent && i >= constant_extent->getSExtValue()) break;
        if (constant_extent && i + width <= constant_extent->getSExtValue()) {
          body(base, copy, nullptr);
          continue;
        }
        llvm::Value* left = builder_.CreateSub(extent, base);
        if (repeats) {
          print_rest(left, loop, [&](llvm::Value* rest) { body(base, copy, tail_mask(rest)); });
          continue;
        }
        // Lanes are compared as signed numbers: a vector past the extent has none left.
        llvm::Value* rest =
            builder_.CreateBinaryIntrinsic(llvm::Intrinsic::smax, left, builder_.getInt64(0));
        body(base, copy, tail_mask(rest));
      }
    };
    if (repeats) {
      parts();
    } else {
      print_body(loop, parts);
    }
  } else {
    const auto whole = [&](std::int64_t step) {
      if (step == 1) return extent;
      auto* s = builder_.getInt64(static_cast<std::uint64_t>(step));
      return builder_.CreateSub(extent, builder_.CreateURem(extent, s));
    };
    // Where masks cost nothing, a masked loop takes what the main loop leaves, and all of a body so
    // large that writing it twice would cost more time to compile than masks cost to run.
    const bool masked = masks_ && width > 1 && !has_inner_loop(loop.body) &&
                        !(constant_extent && constant_extent->getSExtValue() % width == 0);
    const bool once = masked && copies == 1 && operation_count(loop.body) >= large_body;
    llvm::Value* done = builder_.getInt64(0);
    // Long loops add to parts, see sum_blocks.h; what is left over is short.
    const auto in_blocks = [&](llvm::Value* end, std::int64_t step,
                               const std::function<void(llvm::Value*)>& steps) {
      const std::int64_t block = step * loop::sum_block;
      const bool is_long = loop::exceeds(loop.extent, loop::integer(block));
      for (Accumulator& a : accumulators) {
        if (!is_long || !a.plain || !loop::is_float_sum(*a.plain)) continue;
        for (std::size_t k = 0; k < a.copies.size(); ++k) {
          a.parts.push_back(
              lane_slot(identity(Op::add, a.plain->variable.dtype), a.plain->variable.name));
        }
        in_parts = true;
      }
      if (!in_parts) return print_counted(loop, builder_.getInt64(0), end, step, steps);
      const auto for_each_part = [&](const std::function<void(const Scalar&, const Scalar&)>& f) {
        for (const Accumulator& a : accumulators) {
          for (std::size_t k = 0; k < a.parts.size(); ++k) f(a.parts[k], a.copies[k]);
        }
      };
      print_counted(loop, builder_.getInt64(0), end, block, [&](llvm::Value* i) {
        for_each_part([&](const Scalar& part, const Scalar&) {
          llvm::Type* type = part.slot->getAllocatedType();
          builder_.CreateStore(llvm::ConstantFP::getNegativeZero(type), part.slot);
        });
        llvm::Value* until =
            builder_.CreateBinaryIntrinsic(llvm::Intrinsic::smin, end, offset(i, block));
        print_counted(loop, i, until, step, steps);
        for_each_part([&](const Scalar& part, const Scalar& copy) {
          llvm::Type* type = part.slot->getAllocatedType();
          llvm::Value* sum = builder_.CreateFAdd(builder_.CreateLoad(type, copy.slot),
                                                 builder_.CreateLoad(type, part.slot));
          builder_.CreateStore(sum, copy.slot);
        });
      });
      in_parts = false;
    };
    const auto masked_step = [&](llvm::Value* i) {
      body(i, 0, tail_mask(builder_.CreateSub(extent, i)));
    };
    if (once) {
      in_blocks(extent, width, masked_step);
    } else {
      llvm::Value* end = whole(width * copies);
      in_blocks(end, width * copies, [&](llvm::Value* i) {
        for (std::int64_t k = 0; k < copies; ++k) body(offset(i, k * width), k, nullptr);
      });
      done = end;
    }
    if (masked && copies > 1) {
      print_counted(loop, done, extent, width, masked_step);
    } else if (!once) {
      if (copies > 1) {
        llvm::Value* end = whole(width);
        print_counted(loop, done, end, width, [&](llvm::Value* i) { body(i, 0, nullptr); });
        done = end;
      }
      if (width > 1) {
        print_rest(builder_.CreateSub(extent, done), loop,
                   [&](llvm::Value* rest) { body(done, 0, tail_mask(rest)); });
      }
    }
  }

  // The fixed tree: copies first, then halves of the lanes, then the value from before the loop.
  // Those with the same operation share its steps.
  const auto take = [&](const Scalar& s) {
    return builder_.CreateLoad(s.slot->getAllocatedType(), s.slot);
  };
  std::map<std::pair<Op, DType>, std::vector<const Accumulator*>> alike;
  std::vector<std::vector<const Accumulator*>> alike_args;
  for (const Accumulator& a : accumulators) {
    if (a.plain) {
      alike[{a.plain->op, a.plain->variable.dtype}].push_back(&a);
      continue;
    }
    scalars_[a.arg->best.id] = a.outside;
    scalars_[a.arg->position.id] = a.outside_position;
    const auto known = std::find_if(alike_args.begin(), alike_args.end(), [&](const auto& group) {
      const Accumulator& first = *group.front();
      return first.arg->maximum == a.arg->maximum && first.start == a.start &&
             first.arg->best.dtype == a.arg->best.dtype;
    });
    if (known == alike_args.end()) {
      alike_args.push_back({&a});
    } else {
      known->push_back(&a);
    }
  }
  for (const std::vector<const Accumulator*>& members : alike_args) {
    const loop::AccumulateArg& arg = *members.front()->arg;
    std::vector<Values> lanes, before;
    for (const Accumulator* a : members) {
      std::vector<Values> copies_of;
      for (std::size_t k = 0; k < a->copies.size(); ++k) {
        copies_of.push_back({take(a->copies[k]), take(a->positions[k])});
      }
      lanes.push_back(better_of(arg, std::move(copies_of)));
      before.push_back({take(a->outside), take(a->outside_position)});
    }
    const auto better = [&](const Values& best, const Values& value) {
      return better_of(arg, best, value);
    };
    const auto positioned = [&](const Values& found) {
      return Values{found[0], position_of(found[1], members.front()->start, extent)};
    };
    const std::vector<Values> totals =
        combine_lanes(size_of(arg.best.dtype), lanes, before, better, positioned);
    for (std::size_t k = 0; k < members.size(); ++k) {
      builder_.CreateStore(totals[k][0], members[k]->outside.slot);
      builder_.CreateStore(totals[k][1], members[k]->outside_position.slot);
    }
  }
  for (const auto& [kind, members] : alike) {
    const auto [op, dtype] = kind;
    std::vector<Values> lanes, before;
    for (const Accumulator* a : members) {
      llvm::Value* sum = take(a->copies[0]);
      for (std::size_t k = 1; k < a->copies.size(); ++k) {
        sum = combine(op, dtype, sum, take(a->copies[k]));
      }
      lanes.push_back({sum});
      before.push_back({take(a->outside)});
    }
    const auto both = [&, o = op, d = dtype](const Values& x, const Values& y) {
      return Values{combine(o, d, x[0], y[0])};
    };
    const std::vector<Values> totals = combine_lanes(size_of(dtype), lanes, before, both);
    for (std::size_t k = 0; k < members.size(); ++k) {
      builder_.CreateStore(totals[k][0], members[k]->outside.slot);
      scalars_[members[k]->plain->variable.id] = members[k]->outside;
    }
  }
}

// Runs the body if `rest` is not 0.
void KernelEmitter::print_rest(llvm::Value* rest, const loop::For& loop,
                               const std::function<void(llvm::Value*)>& body) {
  const auto print_there = [&] { print_body(loop, [&] { body(rest); }); };
  if (auto* constant = llvm::dyn_cast<llvm::ConstantInt>(rest)) {
    if (!constant->isZero()) print_there();
    return;
  }
  auto* tail = llvm::BasicBlock::Create(context_, loop.variable.name + ".tail", function_);
  auto* join = llvm::BasicBlock::Create(context_, loop.variable.name + ".done", function_);
  llvm::Instruction* branch =
      builder_.CreateCondBr(builder_.CreateICmpSGT(rest, builder_.getInt64(0)), tail, join);
  builder_.SetInsertPoint(tail);
  print_after(branch, print_there);
  builder_.CreateBr(join);
  builder_.SetInsertPoint(join);
}

void KernelEmitter::print_if(const loop::If& branch) {
  llvm::Value* condition = print(branch.condition).value;
  auto* then_block = llvm::BasicBlock::Create(context_, "then", function_);
  auto* else_block = llvm::BasicBlock::Create(context_, "else", function_);
  auto* join = llvm::BasicBlock::Create(context_, "join", function_);
  llvm::Instruction* split = builder_.CreateCondBr(condition, then_block, else_block);
  const auto side = [&](llvm::BasicBlock* block, const loop::Block& body) {
    builder_.SetInsertPoint(block);
    ++depth_;
    print_after(split, [&] { print_block(body); });
    --depth_;
    builder_.CreateBr(join);
  };
  side(then_block, branch.then_body);
  side(else_block, branch.else_body);
  builder_.SetInsertPoint(join);
}

llvm::Constant* KernelEmitter::identity(Op op, DType dtype) {
  return llvm::cast<llvm::Constant>(print(loop::identity(op, dtype)).value);
}

llvm::Value* KernelEmitter::combine(Op op, DType dtype, llvm::Value* a, llvm::Value* b) {
  return print_binary(op, dtype, a, b, nullptr);
}

void KernelEmitter::print_accumulate(const loop::Accumulate& accumulate) {
  const Printed value = print(accumulate.value);
  const Scalar& scalar = scalars_.at(accumulate.variable.id);
  llvm::Value* v = scalar.lanes ? splat(value) : value.value;
  // A lane's own scalar may take what an idle one has.
  if (lanes_ && lanes_->mask && scalar.depth < lanes_->depth) {
    llvm::Value* neutral = llvm::ConstantVector::getSplat(
        llvm::ElementCount::getFixed(static_cast<unsigned>(lanes_->width)),
        identity(accumulate.op, accumulate.variable.dtype));
    v = builder_.CreateSelect(lanes_->mask, v, neutral);
  }
  llvm::Value* old = builder_.CreateLoad(scalar.slot->getAllocatedType(), scalar.slot);
  builder_.CreateStore(combine(accumulate.op, accumulate.variable.dtype, old, v), scalar.slot);
}

llvm::FunctionType* kernel_type(llvm::LLVMContext& context, std::size_t buffers,
                                const std::vector<DType>& numbers) {
  llvm::Type* pointer = llvm::PointerType::getUnqual(context);
  llvm::Type* i64 = llvm::Type::getInt64Ty(context);
  std::vector<llvm::Type*> types{pointer, pointer, i64, i64, i64};
  types.resize(types.size() + buffers, pointer);
  for (const DType dtype : numbers) types.push_back(llvm_type(context, dtype));
  return llvm::FunctionType::get(llvm::Type::getInt32Ty(context), types, false);
}

EmittedKernel emit_kernel(llvm::Module& module, const Program& program, const loop::Kernel& kernel,
                          const std::vector<loop::BufferRef>& buffers,
                          const std::vector<loop::Variable>& numbers, const Machine& machine) {
  return KernelEmitter(module, program, loop::place_values(loop::with_arithmetic(kernel)), machine)
      .run(buffers, numbers);
}

}  // namespace kroton::codegen
