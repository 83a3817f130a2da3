// Where threads have to wait for each other, and where they need not: loops in which each has the
// same elements become one.
#include <algorithm>
#include <map>

#include "compiler/loop/gpu_scheduler.h"
#include "compiler/loop/index_arithmetic.h"

namespace kroton::loop {
namespace {

// Whether both are the same, in whatever order sums are written.
bool is_same(const Expr& a, const Expr& b) {
  if (a == b) return true;
  if (a == nullptr || b == nullptr || a->dtype != DType::i64 || b->dtype != DType::i64) {
    return false;
  }
  const std::optional<Dim> apart = difference(a, b);
  return apart && apart->is_constant(0);
}

// What a statement touches, and which thread touches it, if each has its own.
class Touched {
 public:
  explicit Touched(const Stmt& s) : use_(use_of({s})) {
    static const Variable block = fresh_variable("block"), element = fresh_variable("element");
    const For* loop = as_for(s);
    if (loop == nullptr) return;
    std::vector<std::pair<Variable, Expr>> places;
    // Blocks that are dealt out to those that there are: each if it is one of the kernel's.
    if (loop->kind == LoopKind::serial && loop->body.size() == 2) {
      const auto* number = std::get_if<Declare>(&loop->body[0]);
      const If* inside = as_if(loop->body[1]);
      if (number == nullptr || inside == nullptr || inside->then_body.size() != 1) return;
      places.emplace_back(number->variable, variable(block));
      dealt_.push_back(substitute(inside->condition, places));
      loop = as_for(inside->then_body[0]);
    }
    if (loop == nullptr || loop->kind != LoopKind::thread) {
      dealt_.clear();
      return;
    }
    dealt_.push_back(substitute(loop->extent, places));
    places.emplace_back(loop->variable, variable(element));
    find_own(*loop, places);
  }

  void leave_out(const std::unordered_set<int>& ids) {
    for (const int id : ids) {
      use_.read.erase(id);
      use_.written.erase(id);
    }
  }

  // Whether threads have the same iterations there, with nothing that they add up together, and no
  // name stands for two things.
  bool is_alike(const Touched& other) const {
    return is_dealt_alike(other) && is_apart_ && other.is_apart_ &&
           std::none_of(inner_.begin(), inner_.end(), [&](const Variable& v) {
             return std::find(other.inner_.begin(), other.inner_.end(), v) != other.inner_.end();
           });
  }

  // Whether both touch the same memory, one of them writing.
  bool meets_any(const Touched& other) const {
    const auto meet = [](const std::unordered_set<int>& a, const std::unordered_set<int>& b) {
      return std::any_of(a.begin(), a.end(), [&](int id) { return b.contains(id); });
    };
    return meet(use_.written, other.use_.read) || meet(use_.written, other.use_.written) ||
           meet(use_.read, other.use_.written);
  }

  // Whether a thread touches what another one does there, one of them writing.
  bool meets(const Touched& other) const {
    return meets(use_.written, other.use_.read, other) ||
           meets(use_.written, other.use_.written, other) ||
           meets(use_.read, other.use_.written, other);
  }

 private:
  // What all threads load alike may be loaded outside of the loop.
  void find_own(const For& threads, const std::vector<std::pair<Variable, Expr>>& places) {
    const Block& body = threads.body;
    visit_statements(body, [&](const Stmt& s) {
      if (const For* loop = as_for(s)) inner_.push_back(loop->variable);
      if (const auto* declare = std::get_if<Declare>(&s)) inner_.push_back(declare->variable);
      if (const auto* sum = std::get_if<Accumulate>(&s)) {
        is_apart_ =
            is_apart_ && std::find(inner_.begin(), inner_.end(), sum->variable) != inner_.end();
      }
      is_apart_ = is_apart_ && !std::holds_alternative<AccumulateArg>(s) &&
                  !std::holds_alternative<Copy>(s) && !std::holds_alternative<Multiply>(s);
    });
    const auto note = [&](const BufferRef& buffer, const Expr& index) {
      const bool is_one = depends_on(index, threads.variable) &&
                          std::none_of(inner_.begin(), inner_.end(),
                                       [&](const Variable& v) { return depends_on(index, v); });
      const Expr at = is_one ? substitute(index, places) : nullptr;
      const auto [found, is_new] = own_.try_emplace(buffer->id, at);
      if (!is_new && !is_same(found->second, at)) found->second = nullptr;
    };
    std::unordered_set<const ExprNode*> seen;
    std::vector<Expr> nodes;
    visit_expressions(body, [&](const Expr& e) { append_post_order(e, seen, nodes); });
    for (const Expr& e : nodes) {
      if (e->op == Op::load) note(e->buffer, e->args[0]);
    }
    visit_statements(body, [&](const Stmt& s) {
      if (const auto* store = std::get_if<Store>(&s)) note(store->buffer, store->index);
    });
  }

  bool meets(const std::unordered_set<int>& a, const std::unordered_set<int>& b,
             const Touched& other) const {
    return std::any_of(a.begin(), a.end(),
                       [&](int id) { return b.contains(id) && !is_own(id, other); });
  }

  // Whether iterations are the same threads', which each has one.
  bool is_dealt_alike(const Touched& other) const {
    return !dealt_.empty() && std::ranges::equal(dealt_, other.dealt_, is_same);
  }

  // Iterations are independent where they write, so that equal places are those of equal threads.
  bool is_own(int id, const Touched& other) const {
    if (!is_dealt_alike(other)) return false;
    const auto here = own_.find(id), there = other.own_.find(id);
    return here != own_.end() && there != other.own_.end() && here->second != nullptr &&
           is_same(here->second, there->second);
  }

  Use use_;
  std::vector<Variable> inner_;  // of its loops and scalars
  bool is_apart_ = true;
  std::vector<Expr> dealt_;  // which thread has which iteration; empty: not one each
  std::map<int, Expr> own_;  // by Buffer::id: what an iteration touches; null: not one element
};

bool meet(const std::vector<Touched>& all, const Touched& next) {
  return std::any_of(all.begin(), all.end(), [&](const Touched& one) { return one.meets(next); });
}

// The thread loop, in the loop over its blocks if there is one.
const For& threads_in(const For& loop) {
  return loop.kind == LoopKind::thread ? loop : *as_for(as_if(loop.body[1])->then_body[0]);
}

// What the thread has stored it need not load again, unless the element changes once more.
Block with_values(const Block& body) {
  Block result;
  for (std::size_t k = 0; k < body.size(); ++k) {
    const auto* store = std::get_if<Store>(&body[k]);
    const Block rest(body.begin() + static_cast<std::ptrdiff_t>(k) + 1, body.end());
    if (store == nullptr || is_only_stored(store->buffer->dtype) ||
        store->buffer->dtype != store->value->dtype ||
        !use_of(rest).read.contains(store->buffer->id) ||
        use_of(rest).written.contains(store->buffer->id)) {
      result.push_back(body[k]);
      continue;
    }
    const Variable value = fresh_variable("value", store->value->dtype);
    Rewriter rewrite([&](const Expr& e) {
      if (e->op != Op::load || e->buffer->id != store->buffer->id ||
          !is_same(e->args[0], store->index)) {
        return e;
      }
      if (!is_conditional(*e)) return variable(value);
      return select(e->args[1], variable(value), whole_number(0, value.dtype));
    });
    const Block further = rewrite(rest);
    result.push_back(Declare{value, store->value});
    result.push_back(Store{store->buffer, store->index, variable(value)});
    for (Stmt& s : with_values(further)) result.push_back(std::move(s));
    return result;
  }
  return result;
}

// Both as one loop.
Stmt joined(const For& first, const For& second) {
  const For& one = threads_in(first);
  const For& other = threads_in(second);
  For threads = one;
  std::vector<std::pair<Variable, Expr>> places{{other.variable, variable(one.variable)}};
  const bool has_blocks = first.kind != LoopKind::thread;
  if (has_blocks) {
    places.emplace_back(std::get<Declare>(second.body[0]).variable,
                        variable(std::get<Declare>(first.body[0]).variable));
  }
  for (Stmt& s : substitute(other.body, places)) threads.body.push_back(std::move(s));
  threads.body = with_values(threads.body);
  if (!has_blocks) return statement(std::move(threads));
  For blocks = first;
  blocks.body[1] =
      statement(If{as_if(first.body[1])->condition, {statement(std::move(threads))}, {}});
  return statement(std::move(blocks));
}

}  // namespace

Block with_joined_loops(const Block& block) {
  Block result;
  for (const Stmt& s : block) {
    const Touched next(s);
    if (!result.empty()) {
      const Touched last(result.back());
      if (last.is_alike(next) && !last.meets(next)) {
        result.back() = joined(*as_for(result.back()), *as_for(s));
        continue;
      }
    }
    result.push_back(s);
  }
  return result;
}

Block with_barriers(const Block& block) {
  Block result;
  std::vector<Touched> since;  // the last barrier
  for (const Stmt& s : block) {
    Touched next(s);
    if (std::any_of(since.begin(), since.end(),
                    [&](const Touched& one) { return one.meets_any(next); })) {
      result.push_back(Barrier{});
      since.clear();
    }
    since.push_back(std::move(next));
    result.push_back(s);
  }
  return result;
}

Block with_barriers_of_steps(const Block& block, const Barrier& barrier, const Variable* step,
                             const ApartMemory& apart) {
  Block result;
  std::vector<Touched> since;  // the last barrier
  bool has_barrier = false;
  const auto wait = [&] {
    result.push_back(barrier);
    since.clear();
    has_barrier = true;
  };
  for (const Stmt& s : block) {
    if (std::holds_alternative<Barrier>(s)) {
      result.push_back(s);
      since.clear();
      has_barrier = true;
      continue;
    }
    Touched next(s);
    next.leave_out(apart.of_blocks);
    if (meet(since, next)) wait();
    since.push_back(std::move(next));
    result.push_back(s);
  }
  if (step == nullptr) return result;
  // The iteration behind this one, up to its first barrier; of those further behind nothing else is
  // known.
  bool meets = !has_barrier;
  const Expr after = variable(*step) + integer(1);
  for (const Stmt& s : substitute(result, {{*step, after}})) {
    if (meets || std::holds_alternative<Barrier>(s)) break;
    Touched next(s);
    next.leave_out(apart.of_blocks);
    next.leave_out(apart.by_turns);
    meets = meet(since, next);
  }
  if (meets) wait();
  return result;
}

}  // namespace kroton::loop
