#include <algorithm>

#include "compiler/codegen/llvm/kernel_emitter.h"
#include "compiler/loop/traverse.h"

namespace kroton::codegen {

// Inside a vector loop of W lanes, W iterations that store along their own variable: the values,
// one vector for each iteration, are a square that is transposed in registers and then stored in
// vectors too. Says whether it has printed the loop so.
bool KernelEmitter::print_transposed(const loop::For& loop) {
  std::int64_t extent = 0, step = 0;
  if (!lanes_ || lanes_->mask || loop.body.empty()) return false;
  const int width = lanes_->width;
  const auto is_let = [](const loop::Stmt& s) { return std::holds_alternative<loop::Let>(s); };
  if (!std::all_of(loop.body.begin(), loop.body.end() - 1, is_let)) return false;
  const auto* store = std::get_if<loop::Store>(&loop.body.back());
  if (store == nullptr || store->buffer->space == loop::Space::registers) return false;
  if (store->buffer->dtype == DType::boolean) return false;
  if (!loop::is_integer_constant(loop.extent, extent) || extent != width) return false;
  const loop::Expr along = loop::stride_of(store->index, loop.variable);
  const loop::Expr across = lane_stride(store->index);
  if (!along || !loop::is_integer_constant(along, step) || step != 1) return false;
  if (!across || (loop::is_integer_constant(across, step) && step == 1)) return false;
  for (const loop::Expr& e : loop::post_order(std::span(&store->value, 1))) {
    if (e->op == loop::Op::load && e->buffer->id == store->buffer->id) return false;
  }
  const auto index_nodes = loop::post_order(std::span(&store->index, 1));
  const bool may_fail = std::any_of(index_nodes.begin(), index_nodes.end(),
                                    [](const auto& e) { return loop::may_fail(e->op); });
  std::vector<llvm::Value*> rows;
  const auto at = [&](std::int64_t i, const std::function<void()>& print_there) {
    print_body(loop, [&] {
      bind(loop.variable, builder_.getInt64(static_cast<std::uint64_t>(i)));
      HeldScope scope(lets_);
      for (const loop::Stmt& s : loop.body) {
        if (const auto* let = std::get_if<loop::Let>(&s)) hold(*let, scope);
      }
      print_there();
    });
  };
  for (std::int64_t i = 0; i < extent; ++i) {
    at(i, [&] {
      rows.push_back(splat(print(store->value)));
      if (may_fail) print(store->index);  // of all lanes; the addresses below are those of some
    });
  }
  // Squares of half the size change places, then those within them.
  for (int half = width / 2; half >= 1; half /= 2) {
    std::vector<int> low, high;
    for (int lane = 0; lane < width; ++lane) {
      const bool second = (lane & half) != 0;
      low.push_back(second ? lane - half + width : lane);
      high.push_back(second ? lane + width : lane + half);
    }
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if ((i & static_cast<std::size_t>(half)) != 0) continue;
      llvm::Value*& a = rows[i];
      llvm::Value*& b = rows[i + static_cast<std::size_t>(half)];
      llvm::Value* exchanged = builder_.CreateShuffleVector(a, b, high);
      a = builder_.CreateShuffleVector(a, b, low);
      b = exchanged;
    }
  }
  at(0, [&] {
    llvm::Value* pointer = address(store->buffer, print_at_base(store->index));
    llvm::Value* stride = print(across).value;
    for (std::size_t lane = 0; lane < rows.size(); ++lane) {
      llvm::Value* distance = builder_.CreateMul(stride, builder_.getInt64(lane));
      builder_.CreateAlignedStore(
          rows[lane],
          builder_.CreateGEP(memory_type(context_, store->buffer->dtype), pointer, distance),
          alignment(store->buffer->dtype));
    }
  });
  return true;
}

}  // namespace kroton::codegen
