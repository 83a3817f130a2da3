// Ops that write their output by loops of their own, plain copies, and the default schedule.
#include <kroton/error.h>

#include <algorithm>

#include "compiler/ir/block_context.h"
#include "compiler/loop/gpu_radix_sort.h"
#include "compiler/loop/gpu_running.h"
#include "compiler/loop/gpu_schedule.h"
#include "compiler/loop/schedule.h"
#include "compiler/loop/simplify.h"
#include "compiler/loop/sum_blocks.h"
#include "compiler/loop/traverse.h"
#include "compiler/lower/gpu_segments.h"
#include "compiler/lower/kernel_context.h"

namespace kroton {
namespace {

using Vertex = Graph::Vertex;

class VertexWrite final : public WriteContext, public BlockContext {
 public:
  VertexWrite(KernelContext& context, Vertex v, const Machine& machine)
      : context_(context), v_(v), operands_(context.graph().operands(v)), machine_(machine) {}
  bool is_for_gpu() const override { return machine_.gpu; }
  bool makes_kernels() const override { return machine_.gpu && !machine_.one_block; }
  void sort(const Sorted& how) override {
    const Dims rows(how.shape.begin(), how.shape.end() - 1);
    loop::GpuSort sort;
    sort.count = how.shape.back();
    sort.rows = element_count(rows);
    sort.wanted = how.wanted;
    sort.dtype = how.dtype;
    sort.bits = how.bits;
    sort.is_signed = true;
    sort.has_places = how.has_positions;
    sort.first = how.first;
    sort.key = [&](const loop::Expr& row, const loop::Expr& i) {
      return how.key(places_of(row, rows), i);
    };
    const loop::Expr anywhere = loop::variable(loop::fresh_variable("i"));
    if (may_fail(sort.key(anywhere, anywhere))) {
      // The threads of a block wait for each other: a kernel without barriers fails.
      Dims extents = how.shape;
      extents[0] = extents[0] * how.wanted;
      const Scratch keys = scratch(how.dtype, extents);
      independent_nest(extents, [&](const Index& at) {
        store(keys, at, how.key(Index(at.begin(), at.end() - 1), at.back()));
      });
      const loop::BufferRef from = scratch_.back().first;
      sort.key = [=, count = sort.count](const loop::Expr& row, const loop::Expr& i) {
        return loop::load(from, row * loop::size(count) + i);
      };
    }
    sort.put = [&](const loop::Expr& row, const loop::Expr& to, const loop::Expr& from,
                   const loop::Expr& key) {
      const loop::Expr position = from == nullptr ? nullptr : loop::cast(from, DType::i64);
      return inside(1, [&] { how.put(places_of(row, rows), to, position, key); });
    };
    add_kernels(sort.kernels(context_.buffers().maker()));
  }
  bool run(const Running& how) override {
    // The blocks of a step that waits as a whole have no order.
    if (machine_.waiting_blocks) return false;
    const Dims& shape = type().shape;
    const auto axis = shape.begin() + how.axis;
    const Dims before(shape.begin(), axis), after(axis + 1, shape.end());
    loop::GpuRunning running;
    running.outer = element_count(before);
    running.count = *axis;
    running.inner = element_count(after);
    running.wanted = how.wanted;
    running.dtype = type().dtype;
    running.factor_dtype = how.factor_dtype;
    running.op = how.op;
    const auto on_way = [&](const loop::Expr& position) {
      return how.backwards ? loop::size(running.count - Dim(1)) - position : position;
    };
    const auto at = [&](const auto& value) -> loop::GpuRunning::At {
      if (!value) return nullptr;
      return [&](const loop::Expr& outer, const loop::Expr& position, const loop::Expr& inner) {
        Index index = places_of(outer, before);
        index.push_back(on_way(position));
        for (const loop::Expr& place : places_of(inner, after)) index.push_back(place);
        return value(index);
      };
    };
    running.value = at(how.value);
    running.factor = at(how.factor);
    const loop::Expr anywhere = loop::variable(loop::fresh_variable("i"));
    if (may_fail(running.value(zero_, anywhere, zero_))) return false;
    if (running.factor) {
      const loop::Expr factor = running.factor(zero_, anywhere, zero_);
      if (may_fail(factor)) return false;
      running.reads_factor = reads_memory(factor);
    }
    running.store = [&](const loop::Expr& outer, const loop::Expr& position,
                        const loop::Expr& inner, const loop::Expr& y) -> loop::Stmt {
      const loop::Expr line = outer * loop::size(running.count) + on_way(position);
      return loop::Store{output(), line * loop::size(running.inner) + inner, y};
    };
    add_kernels({running.kernel(context_.buffers().maker())});
    return true;
  }
  const Attributes& attributes() const override { return context_.graph()[v_].attributes; }
  const TensorType& type() const override { return context_.graph()[v_].type; }
  int input_count() const override { return static_cast<int>(operands_.size()); }
  const TensorType& input_type(int k) const override { return context_.graph()[operand(k)].type; }
  loop::Expr input(int k, const Index& index) override { return context_.value(operand(k), index); }
  loop::Expr check_index(const loop::Expr& index, const Dim& size, int axis) override {
    return context_.check_index(v_, index, size, axis);
  }
  loop::Expr check(const loop::Expr& value, const loop::Expr& condition, const loop::Expr& index,
                   const loop::Expr& size, const std::string& text) override {
    return context_.check(v_, value, condition, index, size, text);
  }
  void nest(const Dims& extents, const std::function<void(const Index&)>& body) override {
    nest(extents, body, false);
  }
  void independent_nest(const Dims& extents,
                        const std::function<void(const Index&)>& body) override {
    nest(extents, body, true);
  }
  void loop(const loop::Expr& extent, const Dim& most,
            const std::function<void(const loop::Expr&)>& body) override {
    loop::For loop;
    loop.variable = loop::fresh_variable("i");
    loop.extent = extent;
    loop.body = inside(most, [&] { body(loop::variable(loop.variable)); });
    add(loop::statement(std::move(loop)));
  }
  void store(const Index& index, const loop::Expr& value) override {
    store(output(), type().shape, index, value);
  }
  loop::Expr stored(const Index& index) override {
    return loop::load(output(), linear_index(type().shape, index));
  }
  Scratch scratch(DType dtype, const Dims& shape) override {
    return scratch(dtype, shape, loop::Space::global);
  }
  Scratch scratch_of_iteration(DType dtype, const Dims& shape) override {
    return scratch(dtype, shape, loop::Space::worker);
  }
  loop::Expr hold(const loop::Expr& value) override {
    const loop::Variable held{loop::fresh_variable("t").id, value->dtype, "t"};
    add(loop::Declare{held, value});
    return loop::variable(held);
  }
  void store(Scratch scratch, const Index& index, const loop::Expr& value) override {
    const auto& [buffer, shape] = scratch_[static_cast<std::size_t>(scratch.number)];
    store(buffer, shape, index, value);
  }
  loop::Expr stored(Scratch scratch, const Index& index) override {
    const auto& [buffer, shape] = scratch_[static_cast<std::size_t>(scratch.number)];
    return loop::load(buffer, linear_index(shape, index));
  }
  loop::Block take_block() { return std::move(block_); }
  // How many elements each statement of the block stores.
  const std::vector<Dim>& stores() const { return stores_of_; }

 private:
  void nest(const Dims& extents, const std::function<void(const Index&)>& body,
            bool is_independent) {
    std::vector<loop::Variable> variables;
    Index index;
    for (std::size_t axis = 0; axis < extents.size(); ++axis) {
      variables.push_back(loop::fresh_variable(std::string(1, static_cast<char>('i' + axis % 6))));
      index.push_back(loop::variable(variables.back()));
    }
    loop::Block loops =
        loop::nest(variables, extents, inside(element_count(extents), [&] { body(index); }));
    for (loop::Stmt& stmt : loops) {
      add(is_independent ? marked_independent(stmt, extents.size()) : std::move(stmt));
    }
  }
  // The statements that `body` makes in a loop of at most so many iterations.
  loop::Block inside(const Dim& iterations, const std::function<void()>& body) {
    loop::Block outside = std::move(block_);
    block_.clear();
    const Dim around = iterations_;
    iterations_ = iterations_ * iterations;
    ++depth_;
    body();
    --depth_;
    iterations_ = around;
    std::swap(block_, outside);
    return outside;
  }
  static loop::Stmt marked_independent(const loop::Stmt& stmt, std::size_t loops) {
    const loop::For* found = loop::as_for(stmt);
    if (found == nullptr || loops == 0) return stmt;
    loop::For loop = *found;
    loop.is_independent = true;
    for (loop::Stmt& inner : loop.body) inner = marked_independent(inner, loops - 1);
    return loop::statement(std::move(loop));
  }
  Scratch scratch(DType dtype, const Dims& shape, loop::Space space) {
    const std::string name(context_.graph()[v_].op->name);
    scratch_.emplace_back(
        context_.buffers().create(name + "_scratch", dtype, element_count(shape), space), shape);
    return {static_cast<int>(scratch_.size()) - 1};
  }
  void store(const loop::BufferRef& buffer, const Dims& shape, const Index& index,
             const loop::Expr& value) {
    stores_ = stores_ + iterations_;
    add(loop::Store{buffer, linear_index(shape, index), value});
  }
  const loop::BufferRef& buffer_of(Scratch scratch) const {
    return scratch_[static_cast<std::size_t>(scratch.number)].first;
  }
  Vertex operand(int k) const { return operands_[static_cast<std::size_t>(k)]; }
  // The index of the element with that number.
  static Index places_of(const loop::Expr& number, const Dims& shape) {
    Index index(shape.size());
    loop::Expr left = number;
    for (std::size_t axis = shape.size(); axis-- > 1;) {
      const loop::Expr extent = loop::size(shape[axis]);
      index[axis] = loop::binary(loop::Op::mod, left, extent);
      left = loop::binary(loop::Op::floor_div, left, extent);
    }
    if (!shape.empty()) index[0] = left;
    return index;
  }
  template <class Is>
  static bool has_node(const loop::Expr& e, const Is& is) {
    const std::vector<loop::Expr> nodes = loop::post_order(std::span(&e, 1));
    return std::any_of(nodes.begin(), nodes.end(),
                       [&](const loop::Expr& node) { return is(node->op); });
  }
  static bool reads_memory(const loop::Expr& e) {
    return has_node(e, [](loop::Op op) { return op == loop::Op::load; });
  }
  static bool may_fail(const loop::Expr& e) {
    return has_node(e, [](loop::Op op) { return loop::may_fail(op); });
  }
  void add_kernels(const std::vector<loop::Kernel>& kernels) {
    for (const loop::Kernel& kernel : kernels) {
      stores_ = *loop::as_dim(kernel.work);
      add(kernel.body.front());
    }
  }
  void add(loop::Stmt stmt) {
    block_.push_back(std::move(stmt));
    if (depth_ != 0) return;
    stores_of_.push_back(stores_);
    stores_ = 0;
  }
  const loop::BufferRef& output() { return context_.buffers().of(v_); }
  KernelContext& context_;
  Vertex v_;
  std::vector<Vertex> operands_;
  const Machine& machine_;
  const loop::Expr zero_ = loop::integer(0);
  std::vector<std::pair<loop::BufferRef, Dims>> scratch_;
  loop::Block block_;
  Dim iterations_ = 1;  // of the loops in progress
  int depth_ = 0;       // how many these are
  Dim stores_ = 0;      // since the last statement outside of all loops
  std::vector<Dim> stores_of_;
};

// The kernel, or those that do the same on a GPU where it would leave most of the threads idle.
std::vector<loop::Kernel> parts_for_gpu(const loop::Kernel& kernel, BufferTable& buffers,
                                        const Machine& machine) {
  if (!machine.gpu || machine.one_block) return {kernel};
  std::vector<loop::Kernel> parts =
      in_segments(loop::collapse_loops(loop::simplify(kernel)), buffers.maker());
  if (parts.empty()) return {kernel};
  return parts;
}

bool has_blocks(const loop::Kernel& kernel) {
  const loop::For* loop = kernel.body.empty() ? nullptr : loop::as_for(kernel.body.back());
  return loop != nullptr && loop->kind == loop::LoopKind::block;
}

}  // namespace

std::vector<loop::Kernel> lower_write(KernelContext& context, const Machine& machine) {
  const Vertex v = context.cluster().hero;
  VertexWrite write(context, v, machine);
  context.graph()[v].op->write(write);
  loop::Kernel kernel;
  kernel.body = write.take_block();
  const Dim count = element_count(context.graph()[v].type.shape);
  kernel.work = loop::size(count);
  const bool is_small = count.is_constant() && count.constant() <= most_work_on_one_thread;
  if (is_small && !machine.gpu) {
    return {loop::vectorize(loop::carry_stored(loop::collapse_loops(loop::simplify(kernel))),
                            machine.vector_bytes)};
  }
  // One kernel for each loop nest: the blocks of a GPU cannot wait for each other, and the workers
  // of a CPU share the iterations of one loop.
  std::vector<loop::Kernel> kernels;
  for (std::size_t k = 0; k < kernel.body.size(); ++k) {
    loop::Kernel one = kernel;
    one.body = {kernel.body[k]};
    one.work = loop::size(write.stores()[k]);
    for (const loop::Kernel& part : parts_for_gpu(one, context.buffers(), machine)) {
      const bool is_scheduled = has_blocks(part);
      kernels.push_back(is_scheduled
                            ? part
                            : schedule(part, machine, machine.gpu ? nullptr : &context.buffers()));
    }
  }
  return kernels;
}

loop::Kernel copy_kernel(const loop::BufferRef& from, const loop::BufferRef& to,
                         const Machine& machine) {
  const loop::Variable i = loop::fresh_variable("i");
  loop::Kernel kernel;
  kernel.body = loop::nest(
      {i}, {from->size}, {loop::Store{to, loop::variable(i), loop::load(from, loop::variable(i))}});
  kernel.work = loop::size(from->size);
  return schedule(kernel, machine);
}

loop::Kernel schedule(const loop::Kernel& kernel, const Machine& machine, BufferTable* buffers) {
  loop::Kernel scheduled = loop::collapse_loops(loop::simplify(kernel));
  if (machine.one_block) return loop::schedule_in_one_block(scheduled);
  if (machine.gpu) {
    return loop::sum_in_blocks(
        machine.waiting_blocks ? loop::schedule_for_waiting_blocks(scheduled, machine.longest_row)
                               : loop::schedule_for_gpu(scheduled, machine.longest_row));
  }
  const int lanes_bytes = machine.vector_bytes;
  scheduled = loop::carry_stored(loop::share_columns(loop::note_independence(scheduled)));
  if (buffers != nullptr) {
    scheduled = loop::tile_transposed(scheduled, lanes_bytes, buffers->maker());
  }
  scheduled = loop::vectorize(scheduled, lanes_bytes);
  if (buffers != nullptr) {
    scheduled = loop::block_reductions(scheduled, lanes_bytes, buffers->maker());
  }
  return loop::share_draws(loop::parallelize(loop::sum_in_blocks(scheduled)));
}

}  // namespace kroton
