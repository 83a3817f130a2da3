#include "compiler/lower/one_thread_scan.h"

#include <algorithm>
#include <set>

#include "compiler/loop/traverse.h"

namespace kroton {
namespace {

// Operations that a thread does, each cycle one, in the time that a loop of a block's threads takes
// for its way through memory and its barrier; and the most that are written out.
constexpr std::int64_t operations_of_a_barrier = 100;
constexpr std::int64_t most_operations = 2048;
// Words that a thread holds; it has 255 registers.
constexpr std::int64_t most_words = 160;

// The statements without loops of threads, every loop being one that is written out; nothing where
// one has no constant extent. `variables`: of these loops.
std::optional<loop::Block> written_out(const loop::Block& block, std::set<int>& variables) {
  loop::Block result;
  for (const loop::Stmt& s : block) {
    if (std::holds_alternative<loop::Barrier>(s)) continue;
    if (std::holds_alternative<loop::Allocate>(s) || std::holds_alternative<loop::Copy>(s) ||
        std::holds_alternative<loop::Multiply>(s)) {
      return std::nullopt;
    }
    if (const loop::For* found = loop::as_for(s)) {
      std::int64_t extent = 0;
      if (!loop::is_integer_constant(found->extent, extent)) return std::nullopt;
      std::optional<loop::Block> body = written_out(found->body, variables);
      if (!body) return std::nullopt;
      variables.insert(found->variable.id);
      loop::For loop;
      loop.kind = loop::LoopKind::unroll;
      loop.variable = found->variable;
      loop.extent = found->extent;
      loop.body = std::move(*body);
      result.push_back(loop::statement(std::move(loop)));
    } else if (const loop::If* branch = loop::as_if(s)) {
      std::optional<loop::Block> then_body = written_out(branch->then_body, variables);
      std::optional<loop::Block> else_body = written_out(branch->else_body, variables);
      if (!then_body || !else_body) return std::nullopt;
      result.push_back(loop::statement(
          loop::If{branch->condition, std::move(*then_body), std::move(*else_body)}));
    } else {
      result.push_back(s);
    }
  }
  return result;
}

class OneThread {
 public:
  // Whether the steps can be written out.
  bool find(const std::vector<Step>& steps) {
    return std::all_of(steps.begin(), steps.end(), [&](const Step& step) {
      return visit(
          step, [&](const loop::Kernel& kernel) { return find(kernel); },
          [](const Scan&) { return false; },
          [&](const Branch& branch) { return find(branch.then_steps) && find(branch.else_steps); },
          [](const Call&) { return false; });
    });
  }

  std::int64_t work() const { return work_; }
  std::int64_t kernels() const { return static_cast<std::int64_t>(bodies_.size()); }
  // Whether all places of the buffer are constant once loops are written out.
  bool is_at_constants(const loop::BufferRef& buffer) const {
    return !at_values_.contains(buffer->id);
  }

  loop::Block statements(const std::vector<Step>& steps, const Homes& homes) const {
    loop::Block result;
    for (const Step& step : steps) {
      if (const auto* kernel = as<loop::Kernel>(step)) {
        for (loop::Stmt& s : Rehoming(homes).block(bodies_.at(kernel))) {
          result.push_back(std::move(s));
        }
        continue;
      }
      const Branch& branch = *as<Branch>(step);
      loop::If sides;
      sides.condition = Rehoming(homes).expression(loop::load(branch.condition, loop::integer(0)));
      sides.then_body = statements(branch.then_steps, homes);
      sides.else_body = statements(branch.else_steps, homes);
      result.push_back(loop::statement(std::move(sides)));
    }
    return result;
  }

 private:
  bool find(const loop::Kernel& kernel) {
    std::int64_t own = 0;
    std::set<int> variables;
    std::optional<loop::Block> body = written_out(kernel.body, variables);
    if (!body || !loop::is_integer_constant(kernel.work, own)) return false;
    work_ += own;
    const auto note = [&](const loop::BufferRef& buffer, const loop::Expr& index) {
      const std::vector<loop::Expr> nodes = loop::post_order(std::span(&index, 1));
      const bool constant = std::all_of(nodes.begin(), nodes.end(), [&](const loop::Expr& e) {
        return e->op != loop::Op::load && e->op != loop::Op::size &&
               (e->op != loop::Op::variable || variables.contains(e->variable.id));
      });
      if (!constant) at_values_.insert(buffer->id);
    };
    std::unordered_set<const loop::ExprNode*> seen;
    std::vector<loop::Expr> nodes;
    loop::visit_expressions(*body,
                            [&](const loop::Expr& e) { loop::append_post_order(e, seen, nodes); });
    for (const loop::Expr& e : nodes) {
      if (e->op == loop::Op::load) note(e->buffer, e->args[0]);
    }
    loop::visit_statements(*body, [&](const loop::Stmt& s) {
      if (const auto* store = std::get_if<loop::Store>(&s)) note(store->buffer, store->index);
    });
    bodies_[&kernel] = std::move(*body);
    return true;
  }

  std::map<const loop::Kernel*, loop::Block> bodies_;
  std::set<int> at_values_;  // buffers, by id
  std::int64_t work_ = 0;
};

}  // namespace

std::optional<loop::Block> steps_in_one_thread(const Scan& scan, const StepUses& uses,
                                               const Program& program, BufferTable& buffers,
                                               Homes homes) {
  OneThread thread;
  if (scan.idle || !thread.find(scan.steps)) return std::nullopt;
  if (thread.work() > std::min(most_operations, operations_of_a_barrier * thread.kernels())) {
    return std::nullopt;
  }
  StepRegisters::Share all;
  all.most_words = most_words;
  all.may_hold = [&](const loop::BufferRef& buffer) { return thread.is_at_constants(buffer); };
  StepRegisters registers(scan, uses, program, buffers, std::move(all), homes);
  if (!registers.holds_all_written()) return std::nullopt;
  return registers.all_steps([&] { return thread.statements(scan.steps, homes); });
}

}  // namespace kroton
