#include "compiler/lower/index_loops.h"

#include <algorithm>

#include "compiler/loop/traverse.h"

namespace kroton {
namespace {

// The loops whose variables are in the indices of some buffers.
struct IndexLoops {
  const std::set<int>& buffers;
  std::set<int>& variables;
  std::vector<const loop::For*> open = {};

  // False if some index would not be constant with these loops written out.
  bool visit(const loop::Block& block) {
    bool constant = true;
    for (const loop::Stmt& s : block) {
      loop::visit_own_expressions(s, [&](const loop::Expr& e) {
        for (const loop::Expr& node : loop::post_order(std::span(&e, 1))) {
          if (node->op != loop::Op::load || !buffers.contains(node->buffer->id)) continue;
          constant = constant && visit_index(node->args[0]);
        }
      });
      if (const auto* store = std::get_if<loop::Store>(&s)) {
        if (buffers.contains(store->buffer->id)) constant = constant && visit_index(store->index);
      } else if (const loop::For* inner = loop::as_for(s)) {
        open.push_back(inner);
        constant = constant && visit(inner->body);
        open.pop_back();
      } else if (const loop::If* branch = loop::as_if(s)) {
        constant = constant && visit(branch->then_body) && visit(branch->else_body);
      }
    }
    return constant;
  }

  bool visit_index(const loop::Expr& index) {
    for (const loop::Expr& node : loop::post_order(std::span(&index, 1))) {
      if (node->op == loop::Op::load || node->op == loop::Op::size) return false;
      if (node->op != loop::Op::variable) continue;
      const auto by = std::find_if(open.begin(), open.end(), [&](const loop::For* loop) {
        return loop->variable == node->variable;
      });
      if (by == open.end() || !is_short(**by)) return false;
      variables.insert(node->variable.id);
    }
    return true;
  }
};

}  // namespace

bool is_short(const loop::For& loop) {
  std::int64_t extent = 0;
  return loop::is_integer_constant(loop.extent, extent) && extent >= 1 && extent <= most_held &&
         (loop.kind != loop::LoopKind::vector || loop.interleave == 1 ||
          extent == loop.width * loop.interleave);
}

bool find_index_loops(const std::vector<Step>& steps, const std::set<int>& buffers,
                      KernelLoops& found) {
  return std::all_of(steps.begin(), steps.end(), [&](const Step& step) {
    if (const auto* kernel = as<loop::Kernel>(step)) {
      IndexLoops loops{buffers, found[kernel]};
      return loops.visit(kernel->body);
    }
    bool all = true;
    for_each_inner(
        step, [&](const auto& inner) { all = all && find_index_loops(inner, buffers, found); });
    return all;
  });
}

}  // namespace kroton
