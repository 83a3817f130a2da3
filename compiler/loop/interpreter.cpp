#include "compiler/loop/interpreter.h"

#include <kroton/error.h>

#include <array>
#include <cmath>
#include <memory>
#include <unordered_map>

#include "compiler/loop/elementary.h"
#include "compiler/loop/matrix_tile.h"
#include "compiler/loop/place_values.h"
#include "compiler/loop/scalar.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

// An expression as a list of steps, arguments before users: evaluating it needs no recursion. What
// a step has to look up has been found when the list was made.
struct Step {
  const ExprNode* e = nullptr;
  std::size_t slot = 0;
  std::array<std::size_t, 4> args{};  // their slots
  const std::optional<Scalar>* variable = nullptr;
  const BufferMemory* buffer = nullptr;
  std::int64_t size = 0;
};

// The value of every expression, in a slot of its own.
class Slots {
 public:
  std::size_t slot_of(const ExprNode* e) {
    const auto [found, is_new] = numbers_.try_emplace(e, values_.size());
    if (is_new) values_.emplace_back();
    return found->second;
  }
  Scalar& operator[](std::size_t slot) { return values_[slot].value; }
  bool is_under_let(std::size_t slot) const { return values_[slot].is_under_let; }
  std::optional<Scalar> exchange(const ExprNode* e, const std::optional<Scalar>& value) {
    Value& held = values_[slot_of(e)];
    const std::optional<Scalar> before =
        held.is_under_let ? std::optional(held.value) : std::nullopt;
    held = {value.value_or(Scalar{}), value.has_value()};
    return before;
  }

 private:
  struct Value {
    Scalar value;
    bool is_under_let = false;
  };
  std::unordered_map<const ExprNode*, std::size_t> numbers_;
  std::vector<Value> values_;
};

class Interpreter {
 public:
  Interpreter(const Kernel& kernel, const Memory& memory) : kernel_(kernel), memory_(memory) {}

  std::optional<IndexFault> run() {
    for (const auto* list : {&kernel_.inputs, &kernel_.outputs}) {
      for (const BufferRef& buffer : *list) {
        const auto found = memory_.buffers.find(buffer->id);
        if (found == memory_.buffers.end()) fail("buffer '" + buffer->name + "' has no memory");
        buffers_[buffer->id] = found->second;
      }
    }
    for (const BufferRef& buffer : kernel_.scratch) allocate(buffer);
    try {
      run_block(kernel_.body);
    } catch (const IndexFault& fault) {
      return fault;
    }
    return std::nullopt;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw InternalError("loop IR: kernel '" + kernel_.name + "': " + what + "\n" +
                        to_string(kernel_));
  }

  void allocate(const BufferRef& buffer) {
    const std::int64_t count = buffer->size.evaluate(memory_.size_of);
    const std::int64_t copies = buffer->space == Space::registers ? threads_ : 1;
    std::vector<std::byte>& storage = owned_[buffer->id];
    storage.assign(static_cast<std::size_t>(count * copies * size_of(buffer->dtype)),
                   buffer->space == Space::counters ? std::byte{0} : std::byte{0xff});
    buffers_[buffer->id] = {storage.data(), count};
  }

  void* element(const BufferRef& buffer, std::int64_t index, const char* access) const {
    return element(*buffer, memory_of(*buffer), index, access);
  }

  const BufferMemory& memory_of(const Buffer& buffer) const {
    const auto found = buffers_.find(buffer.id);
    if (found == buffers_.end()) fail("buffer '" + buffer.name + "' has no memory");
    return found->second;
  }

  void* element(const Buffer& buffer, const BufferMemory& memory, std::int64_t index,
                const char* access) const {
    if (index < 0 || index >= memory.count) {
      fail(std::string(access) + " outside buffer '" + buffer.name + "': index " +
           std::to_string(index) + ", size " + std::to_string(memory.count));
    }
    if (buffer.space == Space::registers) index += thread_ * memory.count;
    return static_cast<std::byte*>(memory.data) + index * size_of(buffer.dtype);
  }

  const std::vector<Step>& steps_of(const Expr& root) {
    const auto [found, is_new] = steps_.try_emplace(root.get());
    if (!is_new) return found->second;
    for (const Expr& e : post_order(std::span(&root, 1))) {
      Step& step = found->second.emplace_back();
      step.e = e.get();
      step.slot = slots_.slot_of(e.get());
      for (std::size_t k = 0; k < e->args.size(); ++k) {
        step.args[k] = slots_.slot_of(e->args[k].get());
      }
      if (e->op == Op::variable) step.variable = &variables_[e->variable.id];
      if (e->op == Op::load) step.buffer = &memory_of(*e->buffer);
      if (e->op == Op::size) step.size = e->dim.evaluate(memory_.size_of);
    }
    return found->second;
  }

  Scalar evaluate_step(const Step& step, const Scalar* args) const {
    const ExprNode& e = *step.e;
    switch (e.op) {
      case Op::real:
      case Op::integer:
        return {e.real, e.integer};
      case Op::variable:
        if (!*step.variable) fail("'" + e.variable.name + "' has no value");
        return **step.variable;
      case Op::size:
        return {0, step.size};
      case Op::load:
        if (is_conditional(e) && args[1].integer == 0) return {};
        return read_element(element(*e.buffer, *step.buffer, args[0].integer, "load"), e.dtype);
      case Op::check_index: {
        const std::int64_t index = args[0].integer;
        const std::int64_t size = args[1].integer;
        if (index < -size || index >= size) {
          throw IndexFault{static_cast<int>(e.integer), index, size};
        }
        return {0, index < 0 ? index + size : index};
      }
      case Op::check:
        if (args[1].integer == 0) {
          throw IndexFault{static_cast<int>(e.integer), args[2].integer, args[3].integer};
        }
        return args[0];
      case Op::select:
      case Op::shortcut:
        return loop::evaluate(e.op, e.dtype, e.dtype, args);
      default:
        return loop::evaluate(e.op, e.args[0]->dtype, e.dtype, args);
    }
  }

  Scalar value(const Expr& root) {
    std::array<Scalar, 4> args;
    const std::vector<Step>& steps = steps_of(root);
    for (const Step& step : steps) {
      if (slots_.is_under_let(step.slot)) continue;
      for (std::size_t a = 0; a < step.e->args.size(); ++a) args[a] = slots_[step.args[a]];
      slots_[step.slot] = evaluate_step(step, args.data());
    }
    return slots_[steps.back().slot];
  }

  void run_block(const Block& block) {
    LetScope<Scalar, Slots> scope(slots_);
    for (const Stmt& s : block) {
      if (const auto* let = std::get_if<Let>(&s)) {
        if (let->life == Let::Life::loop) continue;
        scope.hide(*let);
        scope.let(*let, value(let->value));
        continue;
      }
      std::visit([this](const auto& one) { run(one); }, s);
      scope.end_statement();
    }
  }

  void run(const Let&) {}
  void run(const Declare& s) { variables_[s.variable.id] = value(s.init); }
  void run(const Allocate& s) {
    // One for all blocks.
    if (s.buffer->space == Space::awaited && owned_.contains(s.buffer->id)) return;
    allocate(s.buffer);
  }
  void run(const Store& s) {
    const std::int64_t index = value(s.index).integer;
    void* to = element(s.buffer, index, "store");
    Scalar stored = value(s.value);
    if (s.buffer->space == Space::counters) {
      const std::array<Scalar, 2> args{read_element(to, s.buffer->dtype), stored};
      stored = loop::evaluate(Op::add, s.buffer->dtype, s.buffer->dtype, args.data());
    }
    write_element(to, s.buffer->dtype, stored);
  }
  void run(const Accumulate& s) {
    const DType dtype = s.variable.dtype;
    std::optional<Scalar>& sum = variables_[s.variable.id];
    const std::array<Scalar, 2> args{sum.value(), value(s.value)};
    sum = loop::evaluate(s.op, dtype, dtype, args.data());
  }
  void run(const AccumulateArg& s) {
    const Scalar candidate = value(s.value);
    const Scalar at = value(s.at);
    Scalar& best = variables_[s.best.id].value();
    Scalar& position = variables_[s.position.id].value();
    if (beats(candidate, best, s.best.dtype, s.maximum) ||
        (ties(candidate, best, s.best.dtype) && at.integer < position.integer)) {
      best = candidate;
      position = at;
    }
  }
  // One iteration after the other, whatever the kind: the threads of a block too, so that barriers
  // have nothing to do.
  void run(const std::shared_ptr<const For>& s) {
    const std::int64_t extent = value(s->extent).integer;
    if (s->kind == LoopKind::block) {
      threads_ = s->width;
      blocks_ = extent;
    }
    LetScope<Scalar, Slots> scope(slots_);
    for (const Stmt& inner : s->body) {
      const auto* let = std::get_if<Let>(&inner);
      if (extent > 0 && let != nullptr && let->life == Let::Life::loop) {
        scope.hide(*let);
        scope.let(*let, value(let->value));
      }
    }
    for (std::int64_t k = 0; k < extent; ++k) {
      variables_[s->variable.id] = Scalar{0, k};
      if (s->kind == LoopKind::thread) thread_ = k % threads_;
      run_block(s->body);
    }
    if (s->kind == LoopKind::thread) thread_ = 0;
  }
  void run(const Barrier& s) {
    if (s.of_grid && blocks_ > 1) {
      throw InternalError("the interpreter runs blocks one after the other, not " +
                          std::to_string(blocks_) + " that wait for each other");
    }
  }
  void run(const Copy& s) {
    const std::int64_t to = value(s.to_index).integer, from = value(s.from_index).integer;
    const std::int64_t available = value(s.available).integer;
    for (std::int64_t k = 0; k < s.count; ++k) {
      const Scalar copied =
          k < available ? read_element(element(s.from, from + k, "copy"), s.from->dtype) : Scalar{};
      write_element(element(s.to, to + k, "copy"), s.to->dtype, copied);
    }
  }
  void run(const Multiply& s) {
    const MatrixTile& tile = s.tile;
    const std::int64_t a_start = value(s.a_start).integer, b_start = value(s.b_start).integer;
    const auto operand = [&](const BufferRef& buffer, std::int64_t place) {
      return read_element(element(buffer, place, "load"), buffer->dtype).real;
    };
    for (std::int64_t t = 0; t < threads_; ++t) {
      for (int r = 0; r < sums_of_thread(tile); ++r) {
        const auto [row, column] = place_of_sum(tile, t, r);
        thread_ = t;
        void* sum = element(s.sums, r, "load");
        auto total = static_cast<float>(read_element(sum, s.sums->dtype).real);
        for (int k = 0; k < tile.depth; ++k) {
          const double a = operand(s.a, a_start + place_of_a(tile, s.a->dtype, row, k));
          const double b = operand(s.b, b_start + place_of_b(tile, s.b->dtype, k, column));
          total += static_cast<float>(multiplied(a, s.a->dtype) * multiplied(b, s.b->dtype));
        }
        write_element(sum, s.sums->dtype, {total, 0});
      }
    }
    thread_ = 0;
  }
  void run(const std::shared_ptr<const If>& s) {
    run_block(value(s->condition).integer != 0 ? s->then_body : s->else_body);
  }

  static bool beats(const Scalar& a, const Scalar& b, DType dtype, bool maximum) {
    if (!is_float(dtype)) {
      const std::array<Scalar, 2> in_order{maximum ? b : a, maximum ? a : b};
      return loop::evaluate(Op::lt, dtype, DType::boolean, in_order.data()).integer != 0;
    }
    if (std::isnan(a.real)) return !std::isnan(b.real);
    return maximum ? a.real > b.real : a.real < b.real;
  }
  static bool ties(const Scalar& a, const Scalar& b, DType dtype) {
    if (!is_float(dtype)) return a.integer == b.integer;
    return a.real == b.real || (std::isnan(a.real) && std::isnan(b.real));
  }

  const Kernel& kernel_;
  const Memory& memory_;
  std::unordered_map<int, BufferMemory> buffers_;
  std::unordered_map<int, std::vector<std::byte>> owned_;
  std::unordered_map<int, std::optional<Scalar>> variables_;
  std::unordered_map<const ExprNode*, std::vector<Step>> steps_;
  Slots slots_;
  std::int64_t threads_ = 1;  // of a block
  std::int64_t blocks_ = 1;
  std::int64_t thread_ = 0;  // which of them runs
};

}  // namespace

std::optional<IndexFault> interpret(const Kernel& kernel, const Memory& memory) {
  return Interpreter(place_values(with_arithmetic(kernel)), memory).run();
}

}  // namespace kroton::loop
