// Accumulation in the lanes of vector loops: best values with their positions, and how lanes are
// combined.
#include <algorithm>
#include <limits>

#include "compiler/codegen/llvm/kernel_emitter.h"
#include "compiler/loop/sum_blocks.h"
#include "compiler/loop/traverse.h"

namespace kroton::codegen {

using loop::Expr;
using loop::Op;

// Combines the lanes of each vector by halves, and the value from before with the result. Pairs of
// vectors are packed into one on the way, each to its own block of lanes, so that a step costs for
// all of them little more than for one.
std::vector<KernelEmitter::Values> KernelEmitter::combine_lanes(
    std::int64_t element_bytes, const std::vector<Values>& lanes, const std::vector<Values>& before,
    const std::function<Values(const Values&, const Values&)>& combine_two,
    const std::function<Values(const Values&)>& finish) {
  const auto width = static_cast<int>(
      llvm::cast<llvm::FixedVectorType>(lanes.front()[0]->getType())->getNumElements());
  const auto shuffled = [&](const Values& a, const Values& b, const std::vector<int>& mask) {
    Values result;
    for (std::size_t k = 0; k < a.size(); ++k) {
      result.push_back(builder_.CreateShuffleVector(a[k], b[k], mask));
    }
    return result;
  };
  const auto picked = [&](const Values& a, const std::vector<int>& mask) {
    Values result;
    for (llvm::Value* v : a) result.push_back(builder_.CreateShuffleVector(v, mask));
    return result;
  };
  constexpr int nothing = -1;
  struct Packed {
    Values lanes;
    std::vector<int> members;  // by block of lanes
  };
  std::vector<Packed> packed;
  for (const Values& v : lanes) packed.push_back({v, {static_cast<int>(packed.size())}});
  int block = width;  // lanes that belong to one result
  for (; block > 1 && packed.size() > 1; block /= 2) {
    const int half = block / 2;
    // Blocks of 16 bytes alternate: then no lane leaves its 16 bytes, which is cheap.
    const bool alternate = block * element_bytes == 16;
    if (packed.size() % 2 == 1) {
      packed.push_back(
          {packed.back().lanes, std::vector<int>(packed.back().members.size(), nothing)});
    }
    std::vector<Packed> next;
    for (std::size_t k = 0; k < packed.size(); k += 2) {
      const auto count = static_cast<int>(packed[k].members.size());
      Packed both;
      std::vector<int> low, high;
      for (int at = 0; at < 2 * count; ++at) {
        const int of = alternate ? at % 2 : at / count;
        const int from = alternate ? at / 2 : at % count;
        both.members.push_back(
            packed[k + static_cast<std::size_t>(of)].members[static_cast<std::size_t>(from)]);
        for (int l = 0; l < half; ++l) {
          low.push_back(of * width + from * block + l);
          high.push_back(low.back() + half);
        }
      }
      both.lanes = combine_two(shuffled(packed[k].lanes, packed[k + 1].lanes, low),
                               shuffled(packed[k].lanes, packed[k + 1].lanes, high));
      next.push_back(std::move(both));
    }
    packed = std::move(next);
  }
  std::vector<Values> totals(lanes.size());
  for (Packed& p : packed) {
    const auto count = static_cast<int>(p.members.size());
    // One block shrinks as it is halved, but to no less than a register, to which it would be
    // widened again; several stay where they are, and are picked at the end.
    const int fewest = std::min(width, static_cast<int>(16 / element_bytes));
    for (int half = block / 2; half >= 1; half /= 2) {
      std::vector<int> low, high;
      const int all = count == 1 ? std::max(half, fewest) : width;
      for (int l = 0; l < all; ++l) {
        low.push_back(l);
        // The rest is compared with itself, but not added up: that may overflow.
        const int rest = p.lanes.size() > 1 ? l : nothing;
        high.push_back(l % block < half ? l + half : rest);
      }
      const Values upper = picked(p.lanes, high);
      if (count == 1) p.lanes = picked(p.lanes, low);
      p.lanes = combine_two(p.lanes, upper);
    }
    // Together only where every lane of a register has a result: of the other lanes LLVM makes what
    // memory happens to contain beside the values from before, and that may raise a flag.
    const bool full = count >= fewest &&
                      std::find(p.members.begin(), p.members.end(), nothing) == p.members.end();
    if (full) {
      std::vector<int> firsts;
      for (int at = 0; at < count; ++at) firsts.push_back(at * block);
      if (block > 1) p.lanes = picked(p.lanes, firsts);
      if (finish) p.lanes = finish(p.lanes);
      Values earlier;
      for (std::size_t part = 0; part < p.lanes.size(); ++part) {
        llvm::Value* all = llvm::PoisonValue::get(p.lanes[part]->getType());
        for (int at = 0; at < count; ++at) {
          const auto member = static_cast<std::size_t>(p.members[static_cast<std::size_t>(at)]);
          all = builder_.CreateInsertElement(all, before[member][part],
                                             static_cast<std::uint64_t>(at));
        }
        earlier.push_back(all);
      }
      p.lanes = combine_two(earlier, p.lanes);
    }
    for (int at = 0; at < count; ++at) {
      const int member = p.members[static_cast<std::size_t>(at)];
      if (member == nothing) continue;
      Values total;
      for (llvm::Value* v : p.lanes) {
        total.push_back(
            builder_.CreateExtractElement(v, static_cast<std::uint64_t>(full ? at : at * block)));
      }
      if (!full) {
        if (finish) total = finish(total);
        total = combine_two(before[static_cast<std::size_t>(member)], total);
      }
      totals[static_cast<std::size_t>(member)] = std::move(total);
    }
  }
  return totals;
}

// Where the position is the number of the vector loop's iteration, but for what all iterations have
// in common, lanes keep that number, and this is the position of the first. Else null.
Expr KernelEmitter::position_of_first(const loop::For& loop, const loop::AccumulateArg& a) {
  std::int64_t step = 0;
  const Expr stride = loop::stride_of(a.at, loop.variable);
  if (stride == nullptr || !loop::is_integer_constant(stride, step) || step != 1) return nullptr;
  std::unordered_set<int> inside;
  bool same = true;
  loop::visit_statements(loop.body, [&](const loop::Stmt& s) {
    if (const auto* declare = std::get_if<loop::Declare>(&s)) inside.insert(declare->variable.id);
    if (const loop::For* inner = loop::as_for(s)) inside.insert(inner->variable.id);
    if (const auto* other = std::get_if<loop::AccumulateArg>(&s)) {
      same = same && (!(other->best == a.best) || other->at == a.at);
    }
  });
  const std::vector<Expr> nodes = loop::post_order(std::span(&a.at, 1));
  const bool is_common = std::none_of(nodes.begin(), nodes.end(), [&](const Expr& e) {
    return e->op == Op::load || loop::may_fail(e->op) ||
           (e->op == Op::variable && inside.contains(e->variable.id));
  });
  if (!same || !is_common) return nullptr;
  return loop::substitute(a.at, {{loop.variable, loop::integer(0)}});
}

// What a lane's position is before its first iteration. Where iterations are counted that is the
// first one: a lane that nothing has beaten has seen no more than the first one has, if there is
// one. Their numbers are as wide as the values, where they are known to fit.
llvm::Constant* KernelEmitter::first_position(const loop::For& loop, const loop::AccumulateArg& a,
                                              bool counts) {
  if (!counts) return builder_.getInt64(std::numeric_limits<std::int64_t>::max());
  const bool is_narrow =
      size_of(a.best.dtype) <= 4 &&
      !loop::exceeds(loop.extent, loop::integer(std::numeric_limits<std::int32_t>::max()));
  return llvm::ConstantInt::get(is_narrow ? builder_.getInt32Ty() : builder_.getInt64Ty(), 0);
}

// The position that a lane's is in the whole: after no iteration, none.
llvm::Value* KernelEmitter::position_of(llvm::Value* found, const Expr& start,
                                        llvm::Value* extent) {
  if (start == nullptr) return found;
  auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(found->getType());
  const auto spread = [&](llvm::Value* v) {
    return vector == nullptr ? v : builder_.CreateVectorSplat(vector->getNumElements(), v);
  };
  llvm::Type* wide = builder_.getInt64Ty();
  if (vector != nullptr) wide = llvm::FixedVectorType::get(wide, vector->getNumElements());
  llvm::Value* position =
      builder_.CreateAdd(builder_.CreateSExtOrTrunc(found, wide), spread(print(start).value));
  auto* known = llvm::dyn_cast<llvm::ConstantInt>(extent);
  if (known != nullptr && known->getSExtValue() > 0) return position;
  llvm::Value* none = builder_.getInt64(std::numeric_limits<std::int64_t>::max());
  return builder_.CreateSelect(builder_.CreateICmpSGT(extent, builder_.getInt64(0)), position,
                               spread(none));
}

KernelEmitter::Values KernelEmitter::better_of(const loop::AccumulateArg& a, const Values& best,
                                               const Values& value) {
  llvm::Value* better = arg_better(a, value[0], best[0], value[1], best[1]);
  return {builder_.CreateSelect(better, value[0], best[0]),
          builder_.CreateSelect(better, value[1], best[1])};
}

KernelEmitter::Values KernelEmitter::better_of(const loop::AccumulateArg& a,
                                               std::vector<Values> all) {
  for (; all.size() > 1; all.resize((all.size() + 1) / 2)) {
    for (std::size_t k = 0; 2 * k + 1 < all.size(); ++k) {
      all[k] = better_of(a, all[2 * k], all[2 * k + 1]);
    }
    if (all.size() % 2 == 1) all[all.size() / 2] = all.back();
  }
  return all.front();
}

// Ties keep the lower position; the first NaN wins over everything.
llvm::Value* KernelEmitter::arg_better(const loop::AccumulateArg& a, llvm::Value* value,
                                       llvm::Value* best, llvm::Value* at, llvm::Value* position) {
  llvm::Value* earlier = builder_.CreateICmpSLT(at, position);
  if (!is_float(a.best.dtype)) {
    llvm::Value* beats = a.maximum ? print_binary(Op::lt, a.best.dtype, best, value, nullptr)
                                   : print_binary(Op::lt, a.best.dtype, value, best, nullptr);
    return builder_.CreateOr(beats,
                             builder_.CreateAnd(builder_.CreateICmpEQ(value, best), earlier));
  }
  llvm::Value* beats =
      a.maximum ? builder_.CreateFCmpOGT(value, best) : builder_.CreateFCmpOLT(value, best);
  llvm::Value* tie = builder_.CreateAnd(builder_.CreateFCmpOEQ(value, best), earlier);
  llvm::Value* value_nan = builder_.CreateFCmpUNO(value, value);
  llvm::Value* best_nan = builder_.CreateFCmpUNO(best, best);
  llvm::Value* first_nan =
      builder_.CreateAnd(value_nan, builder_.CreateOr(builder_.CreateNot(best_nan), earlier));
  return builder_.CreateOr(builder_.CreateOr(beats, tie), first_nan);
}

// Whether the value beats what came before it: an equal one does not, nor a NaN after another.
llvm::Value* KernelEmitter::arg_beats(const loop::AccumulateArg& a, llvm::Value* value,
                                      llvm::Value* best) {
  if (!is_float(a.best.dtype)) {
    return a.maximum ? print_binary(Op::lt, a.best.dtype, best, value, nullptr)
                     : print_binary(Op::lt, a.best.dtype, value, best, nullptr);
  }
  llvm::Value* beats =
      a.maximum ? builder_.CreateFCmpUGT(value, best) : builder_.CreateFCmpULT(value, best);
  return builder_.CreateAnd(beats, builder_.CreateFCmpORD(best, best));
}

// The numbers of the lanes' iterations.
llvm::Value* KernelEmitter::print_iterations(llvm::Type* type) {
  llvm::Type* element = type->getScalarType();
  const auto width = static_cast<unsigned>(lanes_->width);
  std::vector<llvm::Constant*> numbers;
  for (unsigned k = 0; k < width; ++k) numbers.push_back(llvm::ConstantInt::get(element, k));
  llvm::Value* base = builder_.CreateTrunc(lanes_->base, element);
  return builder_.CreateAdd(builder_.CreateVectorSplat(width, base),
                            llvm::ConstantVector::get(numbers));
}

void KernelEmitter::print_accumulate(const loop::AccumulateArg& a) {
  const Scalar& best = scalars_.at(a.best.id);
  const Scalar& position = scalars_.at(a.position.id);
  const auto widened = [&](const Printed& p) { return best.lanes ? splat(p) : p.value; };
  llvm::Value* value = widened(print(a.value));
  llvm::Value* at =
      position.counts ? print_iterations(position.slot->getAllocatedType()) : widened(print(a.at));
  llvm::Value* old_best = builder_.CreateLoad(best.slot->getAllocatedType(), best.slot);
  llvm::Value* old_position = builder_.CreateLoad(position.slot->getAllocatedType(), position.slot);
  // Iterations that are counted come in order.
  llvm::Value* better = position.counts ? arg_beats(a, value, old_best)
                                        : arg_better(a, value, old_best, at, old_position);
  if (lanes_ && lanes_->mask) better = builder_.CreateAnd(better, lanes_->mask);
  builder_.CreateStore(builder_.CreateSelect(better, value, old_best), best.slot);
  builder_.CreateStore(builder_.CreateSelect(better, at, old_position), position.slot);
}

}  // namespace kroton::codegen
