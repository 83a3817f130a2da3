#include "compiler/loop/count.h"

#include <kroton/error.h>

#include <algorithm>

#include "compiler/loop/elementary.h"
#include "compiler/loop/scalar.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

// The body of a loop, of a side of a branch, or of the kernel: what one iteration does apart from
// the regions in it.
struct Region {
  const For* loop = nullptr;
  const If* branch = nullptr;
  bool side = true;  // of the branch: where its condition is this
  int depth = 0;
  Work own = {};
  std::vector<std::unique_ptr<Region>> inner = {};
  std::vector<const ExprNode*> placed = {};  // computed here, once per iteration
  std::unordered_set<int> read = {};         // variables that decide extents and conditions in it
};

double flops_of(Op op) {
  switch (op) {
    case Op::add:
    case Op::sub:
    case Op::mul:
    case Op::div:
    case Op::mod:
    case Op::floor_div:
    case Op::min:
    case Op::max:
    case Op::sqrt:
    case Op::floor:
    case Op::ceil:
    case Op::round_even:
      return 1;
    case Op::fma:
      return 2;
    default:
      return 0;
  }
}

class Counter {
 public:
  Counter(const Kernel& kernel, const std::function<std::int64_t(const DimAtom&)>& value_of_size)
      : value_of_size_(value_of_size) {
    visit_statements(kernel.body, [&](const Stmt& s) {
      if (const auto* store = std::get_if<Store>(&s)) written_.insert(store->buffer->id);
    });
    path_.push_back(&root_);
    block(kernel.body);
  }

  Work total() { return total(root_); }

 private:
  void block(const Block& statements) {
    for (const Stmt& s : statements) {
      visit_own_expressions(s, [&](const Expr& e) { expression(e); });
      Region& here = *path_.back();
      if (const auto* declare = std::get_if<Declare>(&s)) {
        declared_[declare->variable.id] = here.depth;
      } else if (const auto* store = std::get_if<Store>(&s)) {
        here.own.stores[store->buffer->id] += 1;
      } else if (const auto* sum = std::get_if<Accumulate>(&s)) {
        if (is_float(sum->variable.dtype)) here.own.flops += 1;
      } else if (const If* branch = as_if(s)) {
        if (is_decided_by_loops(branch->condition)) {
          note_reads(branch->condition);
          inside({.branch = branch, .side = true}, branch->then_body);
          inside({.branch = branch, .side = false}, branch->else_body);
        } else {
          block(branch->then_body);
          block(branch->else_body);
        }
      } else if (const For* loop = as_for(s)) {
        note_reads(loop->extent);
        declared_[loop->variable.id] = here.depth + 1;
        loop_variables_.insert(loop->variable.id);
        inside({.loop = loop}, loop->body);
      }
    }
  }

  // The statements as a region of the current one.
  void inside(Region made, const Block& statements) {
    Region& here = *path_.back();
    auto region = std::make_unique<Region>(std::move(made));
    region->depth = here.depth + 1;
    path_.push_back(region.get());
    block(statements);
    path_.pop_back();
    // The next loop may be over the same variable: it computes these anew.
    for (const ExprNode* e : region->placed) depths_.erase(e);
    here.inner.push_back(std::move(region));
  }

  bool is_decided_by_loops(const Expr& condition) const {
    const std::vector<Expr> nodes = post_order(std::vector<Expr>{condition});
    return std::all_of(nodes.begin(), nodes.end(), [&](const Expr& e) {
      if (e->op == Op::variable) return loop_variables_.contains(e->variable.id);
      return !is_float(e->dtype) && e->op != Op::load && !may_fail(e->op);
    });
  }

  void note_reads(const Expr& decisive) {
    for (const Expr& e : post_order(std::vector<Expr>{decisive})) {
      if (e->op != Op::variable) continue;
      for (Region* region : path_) region->read.insert(e->variable.id);
    }
  }

  // Puts every node that is not counted yet where it is computed.
  void expression(const Expr& root) {
    std::vector<Expr> nodes;
    std::unordered_set<const ExprNode*> seen;
    append_post_order(root, seen, nodes);
    const int here = path_.back()->depth;
    for (const Expr& e : nodes) {
      if (depths_.contains(e.get())) continue;
      int depth = 0;
      bool moves = true;  // to the loop it depends on; a read of what the kernel writes stays
      for (const Expr& arg : e->args) {
        const auto known = depths_.find(arg.get());
        depth = std::max(depth, known == depths_.end() ? here : known->second);
        moves = moves && known != depths_.end();
      }
      if (e->op == Op::variable) {
        const auto known = declared_.find(e->variable.id);
        depth = known == declared_.end() ? here : known->second;
      }
      if (e->op == Op::load && written_.contains(e->buffer->id)) moves = false;
      if (!moves) depth = here;
      Region& region = *path_[static_cast<std::size_t>(depth)];
      if (e->op == Op::load) region.own.loads[e->buffer->id] += 1;
      if (is_float(e->dtype)) region.own.flops += flops_of(e->op);
      if (!moves) continue;
      depths_[e.get()] = depth;
      region.placed.push_back(e.get());
    }
  }

  static void add(Work& to, const Work& more, double times) {
    to.flops += times * more.flops;
    for (const auto& [buffer, count] : more.loads) to.loads[buffer] += times * count;
    for (const auto& [buffer, count] : more.stores) to.stores[buffer] += times * count;
  }

  Work total(const Region& region) {
    Work sum = region.own;
    for (const auto& inner : region.inner) {
      if (inner->branch != nullptr) {
        if ((value_of(inner->branch->condition) != 0) == inner->side) add(sum, total(*inner), 1);
        continue;
      }
      const int variable = inner->loop->variable.id;
      const std::int64_t extent = value_of(inner->loop->extent);
      if (extent <= 0) continue;
      if (!inner->read.contains(variable)) {
        add(sum, total(*inner), static_cast<double>(extent));
        continue;
      }
      for (std::int64_t i = 0; i < extent; ++i) {
        variables_[variable] = i;
        add(sum, total(*inner), 1);
      }
    }
    return sum;
  }

  // Of an extent or a condition: integer arithmetic and comparisons of constants, sizes and the
  // variables of outer loops.
  std::int64_t value_of(const Expr& e) {
    switch (e->op) {
      case Op::integer:
        return e->integer;
      case Op::size:
        return e->dim.evaluate(value_of_size_);
      case Op::variable:
        return variables_.at(e->variable.id);
      default:
        break;
    }
    std::vector<Scalar> args;
    for (const Expr& arg : e->args) args.push_back({0, value_of(arg)});
    if (args.empty() || is_float(e->dtype)) {
      throw InternalError("count_work: not for sizes alone to decide: " + to_string(e));
    }
    return evaluate(e->op, e->args[e->op == Op::select ? 1 : 0]->dtype, e->dtype, args.data())
        .integer;
  }

  const std::function<std::int64_t(const DimAtom&)>& value_of_size_;
  Region root_;
  std::vector<Region*> path_;
  std::unordered_set<int> written_;  // buffers
  std::unordered_set<int> loop_variables_;
  std::unordered_map<int, int> declared_;            // variables: the depth of their region
  std::unordered_map<const ExprNode*, int> depths_;  // of what is counted and may be shared
  std::unordered_map<int, std::int64_t> variables_;
};

}  // namespace

Work count_work(const Kernel& kernel,
                const std::function<std::int64_t(const DimAtom&)>& value_of_size) {
  return Counter(with_arithmetic(kernel), value_of_size).total();
}

double count_bytes(const Kernel& kernel, const Work& work,
                   const std::function<std::int64_t(const DimAtom&)>& value_of_size) {
  double bytes = 0;
  std::unordered_set<int> seen;
  for (const auto* list : {&kernel.inputs, &kernel.outputs}) {
    for (const BufferRef& buffer : *list) {
      if (!seen.insert(buffer->id).second) continue;
      const auto size = static_cast<double>(buffer->size.evaluate(value_of_size));
      for (const auto* counts : {&work.loads, &work.stores}) {
        const auto found = counts->find(buffer->id);
        if (found == counts->end()) continue;
        bytes += std::min(found->second, size) * static_cast<double>(size_of(buffer->dtype));
      }
    }
  }
  return bytes;
}

}  // namespace kroton::loop
