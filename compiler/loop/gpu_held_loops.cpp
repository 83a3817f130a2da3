#include "compiler/loop/gpu_held_loops.h"

#include <algorithm>
#include <array>
#include <map>

#include "compiler/base/machine.h"
#include "compiler/loop/gpu_scheduler.h"
#include "compiler/loop/index_arithmetic.h"

namespace kroton::loop {
namespace {

constexpr std::int64_t few_rounds = 4;  // of a row whose length is not known
constexpr std::array<std::int64_t, 3> neighbours_of_row = {8, 4, 2};

std::int64_t words_of(DType dtype) { return size_of(dtype) > 4 ? 2 : 1; }

}  // namespace

bool has_loop_or_branch(const Block& block) {
  return std::any_of(block.begin(), block.end(),
                     [](const Stmt& s) { return as_for(s) != nullptr || as_if(s) != nullptr; });
}

StageHolder::StageHolder(const Variable& position, std::vector<HeldStage> stages, const Block& core)
    : position_(position), stages_(std::move(stages)) {
  is_possible_ = note_shared();
  note_loads(core);
}

std::int64_t StageHolder::neighbours(std::int64_t length, std::int64_t fewest) const {
  for (const std::int64_t together : neighbours_of_row) {
    if (length % together != 0 || length / together < fewest) continue;
    if (suits(together, length)) return together;
  }
  return 1;
}

std::int64_t StageHolder::neighbours_of_free() const {
  std::int64_t narrowest = bytes_together, widest = 1;
  for (const HeldStage& stage : stages_) {
    bool fits = true;
    const auto note = [&](const BufferRef& buffer, const Expr& index, bool conditional) {
      if (buffer->space != Space::global || !depends_on(index, position_)) return;
      fits = fits && !conditional && steps_by_one(index, position_);
      narrowest = std::min<std::int64_t>(narrowest, size_of(buffer->dtype));
      widest = std::max<std::int64_t>(widest, size_of(buffer->dtype));
    };
    for (const Expr& e : nodes_of(stage.body)) {
      if (e->op == Op::load) note(e->buffer, e->args[0], is_conditional(*e));
    }
    visit_statements(stage.body, [&](const Stmt& s) {
      if (const auto* store = std::get_if<Store>(&s)) note(store->buffer, store->index, false);
    });
    if (!fits) return 1;
  }
  const std::int64_t together = neighbours_of(narrowest, widest);
  return together < few_rounds ? 1 : together;
}

std::int64_t StageHolder::narrowest() const {
  std::int64_t bytes = 8;
  for (const HeldStage& stage : stages_) {
    for (const Expr& e : nodes_of(stage.body)) {
      if (is_of_row(e)) bytes = std::min<std::int64_t>(bytes, size_of(e->dtype));
    }
  }
  return bytes;
}

bool StageHolder::is_of_row(const Expr& e) const {
  return e->op == Op::load && e->buffer->space == Space::global &&
         depends_on(e->args[0], position_);
}

bool StageHolder::note_shared() {
  bool fits = true;
  std::map<int, HeldArray> rows;
  for (std::size_t stage = 0; stage < stages_.size(); ++stage) {
    const auto note = [&](const BufferRef& buffer, const Expr& index) {
      if (buffer->space != Space::shared) return;
      fits = fits && index == variable(position_);
      HeldArray& row = rows[buffer->id];
      if (row.shared == nullptr) row.first = stage;
      row.shared = buffer;
      ++row.uses;
    };
    for (const Expr& e : nodes_of(stages_[stage].body)) {
      if (e->op == Op::load) note(e->buffer, e->args[0]);
    }
    visit_statements(stages_[stage].body, [&](const Stmt& s) {
      if (const auto* store = std::get_if<Store>(&s)) note(store->buffer, store->index);
    });
  }
  for (auto& [id, row] : rows) held_.push_back(std::move(row));
  return fits;
}

void StageHolder::note_loads(const Block& core) {
  std::unordered_map<const ExprNode*, std::size_t> known;
  for (std::size_t stage = 0; stage < stages_.size(); ++stage) {
    for (const Expr& e : nodes_of(stages_[stage].body)) {
      if (!is_of_row(e) || is_conditional(*e) || !may_be_early(e, core)) continue;
      const auto [found, is_new] = known.emplace(e.get(), held_.size());
      if (is_new) {
        HeldArray row;
        row.element = e;
        row.first = stage;
        held_.push_back(row);
      }
      ++held_[found->second].uses;
    }
  }
  std::erase_if(held_, [](const HeldArray& row) { return row.uses < 2; });
}

bool StageHolder::may_be_early(const Expr& e, const Block& core) const {
  for (std::size_t k = 0; k < core.size(); ++k) {
    if (!use_of({core[k]}).written.contains(e->buffer->id)) continue;
    if (k != stages_.back().place) return false;
    const Block& last = stages_.back().body;
    bool is_written = false;
    for (const Stmt& s : last) {
      const Use use = use_of({s});
      if (is_written && use.read.contains(e->buffer->id)) return false;
      is_written = is_written || use.written.contains(e->buffer->id);
    }
  }
  return true;
}

std::vector<Expr> StageHolder::nodes_of(const Block& block) {
  std::unordered_set<const ExprNode*> seen;
  std::vector<Expr> nodes;
  visit_expressions(block, [&](const Expr& e) { append_post_order(e, seen, nodes); });
  return nodes;
}

bool StageHolder::suits(std::int64_t together, std::int64_t length) const {
  std::int64_t narrowest = 0, widest = 0;
  bool fits = true;
  const Variable k = fresh_variable("k"), q = fresh_variable("q");
  for (const HeldStage& stage : stages_) {
    const Block body = at(stage.body, q, k, together, length);
    const auto note = [&](const BufferRef& buffer, const Expr& index, bool conditional) {
      if (buffer->space != Space::global) return;
      if (!depends_on(index, k) && !depends_on(index, q) && !conditional) return;
      fits = fits && !conditional && steps_by_one(index, k);
      const std::int64_t bytes = size_of(buffer->dtype);
      narrowest = narrowest == 0 ? bytes : std::min(narrowest, bytes);
      widest = std::max(widest, bytes);
    };
    for (const Expr& e : nodes_of(body)) {
      if (e->op == Op::load) note(e->buffer, e->args[0], is_conditional(*e));
    }
    visit_statements(body, [&](const Stmt& s) {
      if (const auto* store = std::get_if<Store>(&s)) note(store->buffer, store->index, false);
    });
  }
  return fits && narrowest > 0 && together <= neighbours_of(narrowest, widest);
}

Block StageHolder::at(const Block& body, const Variable& q, const Variable& k,
                      std::int64_t together, std::int64_t length) const {
  const Expr place = variable(q) * integer(together) + variable(k);
  For inner, outer;
  inner.variable = k;
  inner.extent = integer(together);
  inner.body = substitute(body, {{position_, place}});
  outer.variable = q;
  outer.extent = integer(length / together);
  outer.body = {statement(std::move(inner))};
  const Block simple = simplify_indices({statement(std::move(outer))});
  return as_for(as_for(simple.front())->body.front())->body;
}

bool StageHolder::choose(std::int64_t slots, const NewRegisters& registers) {
  std::stable_sort(held_.begin(), held_.end(),
                   [](const HeldArray& a, const HeldArray& b) { return a.uses > b.uses; });
  std::int64_t words = 0;
  bool all_shared = true;
  std::erase_if(held_, [&](const HeldArray& row) {
    const DType dtype = row.element != nullptr ? row.element->dtype : row.shared->dtype;
    const std::int64_t more = slots * words_of(dtype);
    if (words + more <= most_held_words) {
      words += more;
      return false;
    }
    all_shared = all_shared && row.shared == nullptr;
    return true;
  });
  for (HeldArray& row : held_) {
    row.registers = row.element != nullptr
                        ? registers(row.element->dtype, slots, row.element->buffer->name.c_str())
                        : registers(row.shared->dtype, slots, "row");
  }
  return all_shared;
}

For unrolled_loop(const Variable& v, std::int64_t extent, Block body) {
  For loop;
  loop.kind = LoopKind::unroll;
  loop.variable = v;
  loop.extent = integer(extent);
  loop.body = std::move(body);
  return loop;
}

Block DealtStages::operator()(const HeldStage& stage, std::size_t number, const Expr& own) {
  Block block;
  std::vector<const HeldArray*> brought;
  for (const HeldArray& row : held_) {
    if (row.first == number && row.element != nullptr) brought.push_back(&row);
  }
  const auto bring = [&](const Spot& spot) {
    return moved(spot, own, false, [&](const Expr& k, const Expr& place) {
      Block loads;
      for (const HeldArray* row : brought) {
        loads.push_back(Store{row->registers, slot(spot.round, k), at(row->element, place)});
      }
      return loads;
    });
  };
  if (!brought.empty()) append(block, rounds(own, bring, true));
  append(block, rounds(own, [&](const Spot& spot) { return compute(stage.body, spot, own); }));
  return block;
}

Dim DealtStages::is_multiple() const {
  const Dim rest = share_.length - share_.together * floor_div(share_.length, share_.together);
  return 1 - minimum(rest, 1);
}

Block DealtStages::rounds(const Expr& own, const OfRound& body, bool whole_apart) const {
  if (is_wide()) return wide_rounds(own, body);
  if (is_free()) return free_rounds(own, body, whole_apart);
  const auto of = [&](const Expr& round) {
    const Expr begin = round * integer(share_.threads) * integer(share_.together);
    const Expr first = (round * integer(share_.threads) + own) * integer(share_.together);
    return body({round, begin, first, integer(1)});
  };
  Block block;
  const std::int64_t whole = share_.count / share_.threads, rest = share_.count % share_.threads;
  if (whole == 1) append(block, of(integer(0)));
  if (whole > 1) {
    const Variable n = fresh_variable("n");
    block.push_back(statement(unrolled_loop(n, whole, of(variable(n)))));
  }
  if (rest > 0) {
    block.push_back(statement(If{binary(Op::lt, own, integer(rest)), of(integer(whole)), {}}));
  }
  return block;
}

// A few rounds at a time: all threads leave out those behind the row's end.
Block DealtStages::free_rounds(const Expr& own, const OfRound& body, bool whole_apart) const {
  const std::int64_t few = share_.rounds % few_rounds == 0 ? few_rounds : 1;
  const Variable g = fresh_variable("g");
  const auto of_group = [&](bool guarded) {
    const Variable n = fresh_variable("n");
    const Expr round = variable(g) * integer(few) + variable(n);
    const Expr begin = round * integer(share_.threads), first = begin + own;
    const Block done = body({round, begin, first, integer(1)});
    const Block inside{statement(If{binary(Op::lt, first, length_), done, {}})};
    return Block{statement(unrolled_loop(n, few, guarded ? inside : done))};
  };
  const Expr begin = variable(g) * integer(few * share_.threads);
  const Expr end = begin + integer(few * share_.threads);
  Block group{statement(If{binary(Op::lt, begin, length_), of_group(true), {}})};
  if (whole_apart) {
    group = {statement(If{binary(Op::le, end, length_), of_group(false), std::move(group)})};
  }
  return {statement(unrolled_loop(g, share_.rounds / few, std::move(group)))};
}

Block DealtStages::wide_rounds(const Expr& own, const OfRound& body) const {
  const Variable g = fresh_variable("g");
  const Dim whole = is_multiple();
  const Expr begin = variable(g) * integer(share_.threads * share_.together);
  const Expr first = begin + own * size(1 + whole * (share_.together - 1));
  const Expr step = size(share_.threads - whole * (share_.threads - 1));
  Block inside = body({variable(g), begin, first, step});
  return {statement(unrolled_loop(
      g, share_.rounds, {statement(If{binary(Op::lt, begin, length_), std::move(inside), {}})}))};
}

Block DealtStages::moved(const Spot& spot, const Expr& own, bool guarded,
                         const OfPlace& body) const {
  if (!is_wide()) return together(spot.first, body);
  // Nobody looks at what is loaded in place of what lies behind the row's end; without a look at
  // each nothing comes between the loads.
  const Expr few = integer(share_.together);
  const Expr first = spot.begin + own * few;
  Block near = guarded
                   ? Block{statement(If{binary(Op::lt, first, length_), together(first, body), {}})}
                   : together(binary(Op::min, first, length_ - few), body);
  const Variable k = fresh_variable("k");
  const Expr place = spot.begin + own + variable(k) * integer(share_.threads);
  Block far =
      guarded ? Block{statement(If{binary(Op::lt, place, length_), body(variable(k), place), {}})}
              : body(variable(k), binary(Op::min, place, length_ - integer(1)));
  return {statement(If{binary(Op::eq, size(is_multiple()), integer(1)),
                       std::move(near),
                       {statement(unrolled_loop(k, share_.together, std::move(far)))}})};
}

Block DealtStages::together(const Expr& first, const OfPlace& body) const {
  if (share_.together == 1) return body(integer(0), first);
  For few;
  few.kind = LoopKind::vector;
  few.variable = fresh_variable("k");
  few.width = few.unrolled = static_cast<int>(share_.together);
  few.extent = integer(share_.together);
  few.body = body(variable(few.variable), first + variable(few.variable));
  return {statement(std::move(few))};
}

Block DealtStages::compute(const Block& body, const Spot& spot, const Expr& own) {
  // Elements that only this stage looks at, and results, come and go together as well.
  std::unordered_map<const ExprNode*, BufferRef> once;
  std::vector<Expr> loads;
  std::vector<std::pair<BufferRef, Store>> stores;
  if (share_.together > 1) {
    std::unordered_set<const ExprNode*> seen;
    std::vector<Expr> nodes;
    visit_expressions(body, [&](const Expr& e) { append_post_order(e, seen, nodes); });
    for (const Expr& e : nodes) {
      if (e->op != Op::load || e->buffer->space != Space::global || is_held(e) ||
          !depends_on(e->args[0], position_)) {
        continue;
      }
      once[e.get()] = registers_(e->dtype, share_.together, "near");
      loads.push_back(e);
    }
  }
  const Variable k = fresh_variable("k");
  const Expr neighbour = share_.together == 1 ? integer(0) : variable(k);
  Rewriter rewrite([&](const Expr& e) {
    if (e->op != Op::load) return e;
    if (const auto found = once.find(e.get()); found != once.end()) {
      return load(found->second, neighbour);
    }
    for (const HeldArray& row : held_) {
      const bool is_row =
          row.element != nullptr ? row.element == e : row.shared->id == e->buffer->id;
      if (is_row) return load(row.registers, slot(spot.round, neighbour));
    }
    return e;
  });
  const auto redirect = [&](const auto& self, const Block& block) -> Block {
    Block result;
    for (const Stmt& s : block) {
      const auto* store = std::get_if<Store>(&s);
      if (store == nullptr) {
        result.push_back(with_inner(s, [&](const Block& inner) { return self(self, inner); }));
        continue;
      }
      const auto row = std::find_if(held_.begin(), held_.end(), [&](const HeldArray& held) {
        return held.shared != nullptr && held.shared->id == store->buffer->id;
      });
      if (row != held_.end()) {
        result.push_back(Store{row->registers, slot(spot.round, neighbour), store->value});
      } else if (share_.together > 1 && store->buffer->space == Space::global) {
        stores.emplace_back(registers_(store->buffer->dtype, share_.together, "near"), *store);
        result.push_back(Store{stores.back().first, neighbour, store->value});
      } else {
        result.push_back(s);
      }
    }
    return result;
  };
  const Expr place = spot.first + neighbour * spot.step;
  Block each = substitute(redirect(redirect, rewrite(body)), {{position_, place}});
  if (share_.together == 1) return each;
  if (is_wide()) each = {statement(If{binary(Op::lt, place, length_), std::move(each), {}})};
  Block block;
  for (const Expr& e : loads) block.push_back(Allocate{once.at(e.get())});
  for (const auto& [near, store] : stores) block.push_back(Allocate{near});
  if (!loads.empty()) {
    // What another thread may be storing is not looked at.
    const bool in_place = std::ranges::any_of(loads, [&](const Expr& e) {
      return std::ranges::any_of(
          stores, [&](const auto& s) { return s.second.buffer->id == e->buffer->id; });
    });
    append(block, moved(spot, own, in_place, [&](const Expr& number, const Expr& here) {
             Block bring;
             for (const Expr& e : loads) {
               bring.push_back(Store{once.at(e.get()), number, at(e, here)});
             }
             return bring;
           }));
  }
  block.push_back(statement(unrolled_loop(k, share_.together, std::move(each))));
  if (!stores.empty()) {
    append(block, moved(spot, own, true, [&](const Expr& number, const Expr& here) {
             Block leave;
             for (const auto& [near, store] : stores) {
               leave.push_back(Store{store.buffer, at(store.index, here), load(near, number)});
             }
             return leave;
           }));
  }
  return block;
}

bool DealtStages::is_held(const Expr& e) const {
  return std::any_of(held_.begin(), held_.end(),
                     [&](const HeldArray& row) { return row.element == e; });
}

Expr DealtStages::at(const Expr& e, const Expr& place) const {
  return substitute(e, {{position_, place}});
}

}  // namespace kroton::loop
