#include <kroton/error.h>

#include <algorithm>
#include <bit>
#include <unordered_map>
#include <unordered_set>

#include "compiler/base/machine.h"
#include "compiler/loop/ir.h"
#include "compiler/loop/matrix_tile.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

std::string text(DType dtype) { return std::string(name_of(dtype)); }

class Verifier {
 public:
  explicit Verifier(const Kernel& kernel) : kernel_(kernel) {}
  void run();

 private:
  // How a variable in sight may be used.
  struct Known {
    DType dtype;
    bool is_loop = false;      // of a For, else of a Declare
    bool is_unrolled = false;  // of a loop that is written out
    std::size_t depth = 0;     // how many loops enclose its declaration
  };
  struct Enclosing {
    const For* loop;
    std::unordered_set<int> accumulated;  // variables from outside that its body accumulates
  };

  [[noreturn]] void fail(const std::string& what) const {
    throw InternalError("loop IR: kernel '" + kernel_.name + "': " + what + "\n" +
                        to_string(kernel_));
  }
  void require(bool ok, const std::string& what) const {
    if (!ok) fail(what);
  }

  void add_buffer(const BufferRef& buffer, Space space, bool writable, const char* role);
  void check_expression(const Expr& e, const std::string& role);
  void check_node(const Expr& e, const std::string& role);
  void check_access(const BufferRef& buffer, const Expr& index, const std::string& role);
  void check_uniform(const Expr& e, const std::string& role);
  void check_block(const Block& block);
  void check(const Let& s);
  void check(const Declare& s);
  void check(const Allocate& s);
  void check(const Store& s);
  void check(const Accumulate& s);
  void check(const AccumulateArg& s);
  void check(const Barrier& s);
  void check(const Copy& s);
  void check(const Multiply& s);
  void check(const std::shared_ptr<const For>& s);
  void check(const std::shared_ptr<const If>& s);
  void check_gpu_loop(const For& loop, const std::string& role) const;
  // Whether every thread may run all that is around the loop.
  bool is_alone_in_serial_loops() const {
    const auto is_one = [](const Block& block) {
      return std::count_if(block.begin(), block.end(),
                           [](const Stmt& s) { return !std::holds_alternative<Let>(s); }) == 1;
    };
    return loops_.empty() ||
           (is_one(kernel_.body) && std::all_of(loops_.begin(), loops_.end(), [&](const auto& e) {
              return e.loop->kind == LoopKind::serial && is_one(e.loop->body);
            }));
  }
  bool depends_on_thread(const Expr& e) const {
    return std::any_of(loops_.begin(), loops_.end(), [&](const Enclosing& enclosing) {
      return (enclosing.loop->kind == LoopKind::thread ||
              enclosing.loop->kind == LoopKind::unroll) &&
             depends_on(e, enclosing.loop->variable);
    });
  }
  bool is_inside(LoopKind kind) const {
    return std::any_of(loops_.begin(), loops_.end(),
                       [&](const Enclosing& enclosing) { return enclosing.loop->kind == kind; });
  }
  const Known& accumulator(const Variable& v) const;
  void declare(const Variable& v, const Known& known);

  const Kernel& kernel_;
  std::unordered_map<int, Known> variables_;
  std::unordered_map<int, BufferRef> buffers_;
  std::unordered_set<int> writable_;
  std::vector<Enclosing> loops_;
  const ExprNode* awaits_ = nullptr;  // the load of an awaited buffer that may stand here
  std::unordered_set<const ExprNode*> checked_;  // nodes that are right in the current scope
};

void Verifier::add_buffer(const BufferRef& buffer, Space space, bool writable, const char* role) {
  require(buffer != nullptr, std::string(role) + " is null");
  require(buffer->space == space,
          std::string(role) + " '" + buffer->name + "' is in another space");
  require(buffers_.emplace(buffer->id, buffer).second,
          std::string(role) + " '" + buffer->name + "' has the id " + std::to_string(buffer->id) +
              " of another buffer");
  if (writable) writable_.insert(buffer->id);
}

void Verifier::check_node(const Expr& e, const std::string& role) {
  if (e->op == Op::variable) {
    const auto found = variables_.find(e->variable.id);
    require(found != variables_.end(),
            role + " reads '" + e->variable.name + "', which is not declared here");
    require(found->second.dtype == e->dtype, role + " reads '" + e->variable.name + "' as " +
                                                 text(e->dtype) + ", it is declared as " +
                                                 text(found->second.dtype));
    for (const Enclosing& enclosing : loops_) {
      require(!enclosing.accumulated.contains(e->variable.id),
              role + " reads '" + e->variable.name + "' inside the " +
                  (enclosing.loop->kind == LoopKind::vector ? "vector" : "thread") +
                  " loop that accumulates it");
    }
  }
  if (e->op == Op::load) check_access(e->buffer, e->args[0], role);
  require(e->op != Op::load || e->buffer->space != Space::awaited || e.get() == awaits_,
          role + " loads from an awaited buffer; such a load is stored to registers");
  // The constructors take care of the rest; what they would give shows whether a node was made
  // without them.
  if (!e->args.empty()) require(with_args(e, e->args)->dtype == e->dtype, role + ": wrong dtype");
}

void Verifier::check_expression(const Expr& e, const std::string& role) {
  require(e != nullptr, role + " is null");
  std::vector<Expr> order;
  append_post_order(e, checked_, order);
  for (const Expr& node : order) check_node(node, role);
}

void Verifier::check_access(const BufferRef& buffer, const Expr& index, const std::string& role) {
  require(buffer != nullptr, role + " has no buffer");
  const auto found = buffers_.find(buffer->id);
  require(found != buffers_.end(),
          role + " uses buffer '" + buffer->name + "', which the kernel does not have here");
  require(found->second->dtype == buffer->dtype && found->second->space == buffer->space,
          role + " uses buffer '" + buffer->name + "' as " + text(buffer->dtype) +
              ", the kernel has it as " + text(found->second->dtype));
  require(index != nullptr && index->dtype == DType::i64,
          role + ": the index of '" + buffer->name + "' is not i64");
  if (buffer->space != Space::registers) return;
  require(!is_inside(LoopKind::block) || is_inside(LoopKind::thread),
          role + ": register buffer '" + buffer->name + "' is used outside a thread loop");
  for (const Expr& node : post_order(std::span(&index, 1))) {
    const bool fixed = node->op != Op::load && node->op != Op::size &&
                       (node->op != Op::variable || (variables_.contains(node->variable.id) &&
                                                     variables_.at(node->variable.id).is_unrolled));
    if (!fixed) {
      fail(role + ": the index " + to_string(index) + " of register buffer '" + buffer->name +
           "' is not constant after unrolling");
    }
  }
}

// Inside a vector loop, control must not differ between lanes.
void Verifier::check_uniform(const Expr& e, const std::string& role) {
  for (const Enclosing& enclosing : loops_) {
    if (enclosing.loop->kind != LoopKind::vector) continue;
    if (depends_on(e, enclosing.loop->variable)) {
      fail(role + " " + to_string(e) + " differs between the lanes of the vector loop over '" +
           enclosing.loop->variable.name + "'");
    }
  }
}

void Verifier::declare(const Variable& v, const Known& known) {
  require(v.id >= 0, "variable '" + v.name + "' has no id");
  require(variables_.emplace(v.id, known).second,
          "variable '" + v.name + "' is declared where its id is in use");
}

void Verifier::check_block(const Block& block) {
  const auto variables = variables_;
  const auto buffers = buffers_;
  const auto writable = writable_;
  const auto checked = checked_;
  for (const Stmt& s : block) {
    std::visit([&](const auto& one) { check(one); }, s);
  }
  variables_ = variables;
  buffers_ = buffers;
  writable_ = writable;
  checked_ = checked;
}

void Verifier::check(const Let& s) { check_expression(s.value, "a value"); }

void Verifier::check(const Declare& s) {
  check_expression(s.init, "the initial value of '" + s.variable.name + "'");
  require(s.init->dtype == s.variable.dtype, "variable '" + s.variable.name + "' is " +
                                                 text(s.variable.dtype) +
                                                 ", its initial value is " + text(s.init->dtype));
  declare(s.variable, {s.variable.dtype, false, false, loops_.size()});
}

void Verifier::check(const Allocate& s) {
  require(s.buffer != nullptr, "an allocated buffer is null");
  require(s.buffer->space != Space::global,
          "buffer '" + s.buffer->name + "' is allocated in global space");
  const bool is_scratch = s.buffer->space == Space::worker;
  const bool is_stack = s.buffer->space == Space::stack;
  const bool is_awaited = s.buffer->space == Space::awaited;
  const bool counts = s.buffer->space == Space::counters;
  require(is_scratch || is_awaited || s.buffer->size.is_constant(),
          std::string(is_stack                           ? "stack"
                      : s.buffer->space == Space::shared ? "shared"
                      : counts                           ? "counters'"
                                                         : "register") +
              " buffer '" + s.buffer->name + "' has the size " + s.buffer->size.to_string() +
              ", which is not constant");
  require((!is_scratch && !is_stack) || !is_inside(LoopKind::block),
          "buffer '" + s.buffer->name + "' is a " + (is_stack ? "thread" : "worker") +
              "'s, allocated inside a block loop");
  require(!counts || s.buffer->dtype == DType::i32, "counters '" + s.buffer->name + "' are no i32");
  require((s.buffer->space != Space::shared && !is_awaited && !counts) ||
              (is_inside(LoopKind::block) && !is_inside(LoopKind::thread)),
          (is_awaited ? "awaited buffer '"
           : counts   ? "counters '"
                      : "shared buffer '") +
              s.buffer->name + "' is allocated outside a block loop or inside a thread loop");
  add_buffer(s.buffer, s.buffer->space, true, "the allocated buffer");
}

void Verifier::check(const Store& s) {
  const std::string role = "the store to '" + (s.buffer == nullptr ? "" : s.buffer->name) + "'";
  check_expression(s.index, role);
  const bool holds = s.buffer != nullptr && s.buffer->space == Space::registers;
  awaits_ = holds && is_inside(LoopKind::thread) ? s.value.get() : nullptr;
  check_expression(s.value, role);
  awaits_ = nullptr;
  check_access(s.buffer, s.index, role);
  require((s.buffer->space != Space::awaited && s.buffer->space != Space::counters) ||
              is_inside(LoopKind::thread),
          role + " is outside a thread loop");
  require(writable_.contains(s.buffer->id), role + ": the buffer is read-only");
  require(s.value->dtype == s.buffer->dtype, role + ": the value is " + text(s.value->dtype) +
                                                 ", the buffer " + text(s.buffer->dtype));
}

const Verifier::Known& Verifier::accumulator(const Variable& v) const {
  const auto found = variables_.find(v.id);
  require(found != variables_.end(), "'" + v.name + "' is accumulated but not declared here");
  require(!found->second.is_loop, "'" + v.name + "' is accumulated but is a loop's variable");
  for (std::size_t depth = found->second.depth; depth < loops_.size(); ++depth) {
    const LoopKind kind = loops_[depth].loop->kind;
    require(kind != LoopKind::parallel && kind != LoopKind::block,
            "'" + v.name + "' is accumulated across the iterations of a " +
                (kind == LoopKind::parallel ? "parallel" : "block") + " loop");
  }
  return found->second;
}

void Verifier::check(const Accumulate& s) {
  const DType dtype = accumulator(s.variable).dtype;
  const std::string role = "the accumulation of '" + s.variable.name + "'";
  check_expression(s.value, role);
  const bool logical = s.op == Op::logical_and || s.op == Op::logical_or;
  require(logical || s.op == Op::add || s.op == Op::mul || s.op == Op::min || s.op == Op::max,
          role + " is by " + std::string(name_of(s.op)) + ", which is not associative");
  const bool arithmetic = s.op == Op::add || s.op == Op::mul;
  require(dtype == DType::boolean ? !arithmetic : !logical,
          role + " by " + std::string(name_of(s.op)) + " is not defined on " + text(dtype));
  require(s.value->dtype == dtype,
          role + ": the value is " + text(s.value->dtype) + ", the variable " + text(dtype));
}

void Verifier::check(const AccumulateArg& s) {
  const DType best = accumulator(s.best).dtype;
  const DType position = accumulator(s.position).dtype;
  const std::string role = "the accumulation of '" + s.best.name + "'";
  check_expression(s.value, role);
  check_expression(s.at, role);
  require(s.value->dtype == best,
          role + ": the value is " + text(s.value->dtype) + ", the variable " + text(best));
  require(is_integer(position) && s.at->dtype == position,
          role + ": the position is " + text(s.at->dtype) + ", its variable " + text(position));
}

void Verifier::check(const Barrier& s) {
  require(is_inside(LoopKind::block) && !is_inside(LoopKind::thread),
          "a barrier is outside a block loop or inside a thread loop");
  require(!s.of_grid || s.under_way == 0, "a barrier of the grid waits for all copies");
}

void Verifier::check(const Copy& s) {
  const std::string role = "the copy to '" + (s.to == nullptr ? "" : s.to->name) + "'";
  require(is_inside(LoopKind::thread), role + " is outside a thread loop");
  for (const Expr& e : {s.to_index, s.from_index, s.available, s.aligned})
    check_expression(e, role);
  check_access(s.to, s.to_index, role);
  check_access(s.from, s.from_index, role);
  require(s.to->space == Space::shared && s.from->space == Space::global,
          role + " is not from global to shared memory");
  require(s.to->dtype == s.from->dtype, role + ": elements of '" + s.from->name + "' are " +
                                            text(s.from->dtype) + ", of '" + s.to->name + "' " +
                                            text(s.to->dtype));
  require(s.available->dtype == DType::i64 && s.aligned->dtype == DType::boolean,
          role + ": how many are there is i64, whether they are aligned boolean");
  const std::int64_t bytes = s.count * static_cast<std::int64_t>(size_of(s.to->dtype));
  require(bytes == 4 || bytes == 8 || bytes == 16,
          role + " is of " + std::to_string(bytes) + " bytes; expected 4, 8 or 16");
  require(!depends_on_thread(s.aligned), role + ": threads may differ about the alignment");
}

void Verifier::check(const Multiply& s) {
  require(is_inside(LoopKind::block) && !is_inside(LoopKind::thread),
          "a product of tiles is outside a block loop or inside a thread loop");
  for (const Expr& e : {s.a_start, s.b_start}) check_expression(e, "a product of tiles");
  for (const BufferRef& buffer : {s.sums, s.a, s.b}) {
    require(buffer != nullptr && buffers_.contains(buffer->id),
            "a product of tiles uses a buffer that the kernel does not have here");
  }
  const MatrixTile& tile = s.tile;
  const auto divides = [](int a, int b) { return a > 0 && b > 0 && b % a == 0; };
  require(divides(16, tile.warp_rows) && divides(16, tile.warp_columns) &&
              divides(tile.warp_rows, tile.rows) && divides(tile.warp_columns, tile.columns),
          "a product of tiles: warps do not share the tile");
  constexpr int warp = Machine::warp;
  require(warps_of(tile) * warp == loops_.front().loop->width,
          "a product of tiles is for " + std::to_string(warps_of(tile)) + " warps");
  require(s.a->space == Space::shared && s.b->space == Space::shared && s.a->dtype == s.b->dtype &&
              s.sums->space == Space::registers && s.sums->dtype == DType::f32 &&
              s.sums->size.is_constant(sums_of_thread(tile)),
          "a product of tiles: its buffers are not those of tiles in shared memory and sums");
  const int step = 2 * elements_together(s.a->dtype);
  require(divides(step, tile.depth),
          "a product of tiles: its depth is no multiple of " + std::to_string(step));
}

void Verifier::check_gpu_loop(const For& loop, const std::string& role) const {
  if (loop.kind == LoopKind::block) {
    require(loops_.empty() && kernel_.body.size() == 1,
            role + " is a block loop but not all of the kernel");
    constexpr int warp = Machine::warp;
    const bool is_part = loop.width >= 2 && loop.width < warp && warp % loop.width == 0;
    require(is_part || (loop.width > 0 && loop.width % warp == 0 && loop.width <= 1024),
            role + " has " + std::to_string(loop.width) +
                " threads; expected a power of two up to 32, or a multiple of 32 up to 1024");
  } else if (loop.kind == LoopKind::thread) {
    require(is_inside(LoopKind::block) && !is_inside(LoopKind::thread),
            role + " is a thread loop outside a block loop or inside another");
  } else if (loop.kind == LoopKind::vector) {
    require(!is_inside(LoopKind::block) || is_inside(LoopKind::thread),
            role + " is a vector loop inside a block loop, but in no thread loop");
  }
}

void Verifier::check(const std::shared_ptr<const For>& s) {
  require(s != nullptr, "a loop is null");
  const std::string role = "the loop over '" + s->variable.name + "'";
  check_expression(s->extent, "the extent of " + role);
  require(s->extent->dtype == DType::i64, role + ": the extent is " + text(s->extent->dtype));
  require(s->variable.dtype == DType::i64, role + ": the variable is " + text(s->variable.dtype));
  check_uniform(s->extent, "the extent");
  const bool constant = s->extent->op == Op::integer;
  const bool is_vector = s->kind == LoopKind::vector;
  const bool written_out = s->kind == LoopKind::unroll || (is_vector && s->unrolled > 0);
  if (s->kind == LoopKind::unroll && !constant) {
    fail(role + " is unrolled but its extent " + to_string(s->extent) + " is not constant");
  }
  std::int64_t extent = 0;
  const bool cut = is_vector && s->unrolled > 0 && is_integer_constant(s->extent, extent) &&
                   extent > s->unrolled;
  require(!cut, role + " is written out for " + std::to_string(s->unrolled) + " of its " +
                    std::to_string(extent) + " iterations");
  require(s->kind != LoopKind::parallel || is_alone_in_serial_loops(),
          role + " is parallel but neither outermost nor alone in serial loops");
  check_gpu_loop(*s, role);
  const auto power_of_two = [](int n) { return n > 0 && std::has_single_bit(unsigned(n)); };
  require(!is_vector || (power_of_two(s->width) && power_of_two(s->interleave)),
          role + " has " + std::to_string(s->width) + " lanes and " +
              std::to_string(s->interleave) + " copies; both must be powers of two");
  for (const Enclosing& enclosing : loops_) {
    require(!is_vector || enclosing.loop->kind != LoopKind::vector,
            role + " is a vector loop inside another");
  }
  Enclosing enclosing{s.get(), {}};
  if (is_vector || s->kind == LoopKind::thread) {
    std::unordered_set<int> inside;
    visit_statements(s->body, [&](const Stmt& nested) {
      if (const auto* one = std::get_if<Declare>(&nested)) inside.insert(one->variable.id);
      if (const auto* one = std::get_if<Accumulate>(&nested)) {
        enclosing.accumulated.insert(one->variable.id);
      }
      if (const auto* one = std::get_if<AccumulateArg>(&nested)) {
        enclosing.accumulated.insert(one->best.id);
        enclosing.accumulated.insert(one->position.id);
      }
    });
    for (const int id : inside) enclosing.accumulated.erase(id);
  }
  const auto variables = variables_;
  const auto checked = checked_;
  // Nodes found right outside may be wrong inside: they may read what the loop accumulates.
  if (!enclosing.accumulated.empty()) checked_.clear();
  loops_.push_back(std::move(enclosing));
  declare(s->variable, {DType::i64, true, written_out, loops_.size()});
  check_block(s->body);
  loops_.pop_back();
  variables_ = variables;
  checked_ = checked;
}

void Verifier::check(const std::shared_ptr<const If>& s) {
  require(s != nullptr, "a branch is null");
  check_expression(s->condition, "a condition");
  if (s->condition->dtype != DType::boolean) {
    fail("the condition " + to_string(s->condition) + " is " + text(s->condition->dtype) +
         ", expected boolean");
  }
  check_uniform(s->condition, "the condition");
  check_block(s->then_body);
  check_block(s->else_body);
}

void Verifier::run() {
  for (const BufferRef& buffer : kernel_.outputs) {
    add_buffer(buffer, Space::global, true, "output");
  }
  for (const BufferRef& buffer : kernel_.scratch) {
    add_buffer(buffer, Space::worker, true, "scratch buffer");
  }
  for (const BufferRef& buffer : kernel_.inputs) {
    add_buffer(buffer, Space::global, false, "input");
  }
  require(kernel_.work != nullptr, "the work is null");
  check_expression(kernel_.work, "the work");
  require(kernel_.work->dtype == DType::i64, "the work is " + text(kernel_.work->dtype));
  check_block(kernel_.body);
}

}  // namespace

void verify(const Kernel& kernel) { Verifier(kernel).run(); }

}  // namespace kroton::loop
