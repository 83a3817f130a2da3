// Rows that stay in registers: their elements come from memory once, by accesses of up to 16 bytes.
#include <algorithm>
#include <array>
#include <map>

#include "compiler/loop/gpu_scheduler.h"
#include "compiler/loop/index_arithmetic.h"
#include "compiler/loop/sum_blocks.h"

namespace kroton::loop {
namespace {

// Elements of a row that a thread has at most, and words that it holds of all arrays.
constexpr std::int64_t most_of_thread = 16;
constexpr std::int64_t most_held_words = 32;
constexpr int most_row_threads = 1024;
constexpr std::int64_t few_rounds = 4;  // of a row whose length is not known
constexpr std::array<std::int64_t, 3> neighbours_of_row = {8, 4, 2};

// What a branch leaves out can be neither loaded early nor stored late.
bool has_loop_or_branch(const Block& block) {
  return std::any_of(block.begin(), block.end(),
                     [](const Stmt& s) { return as_for(s) != nullptr || as_if(s) != nullptr; });
}

std::int64_t words_of(DType dtype) { return size_of(dtype) > 4 ? 2 : 1; }

// The loops of a row's stages, each as what it does for one position of the row.
struct RowStage {
  std::size_t place = 0;  // among the statements of the core
  Block body;
};

// What is kept for a row: the loads of an element that several stages need, or a row that one stage
// leaves to the next ones.
struct HeldRow {
  Expr element;           // the load of the position, of memory
  BufferRef shared;       // or the row in shared memory
  std::size_t first = 0;  // the first stage with it
  int uses = 0;
  BufferRef registers;
};

// How the positions are dealt out: round by round, in each a few neighbours to each thread.
struct RowShare {
  std::int64_t threads = 0, rounds = 0, together = 1;
  std::int64_t count = 0;  // positions divided by `together`, if known
};

class RowHolder {
 public:
  RowHolder(const Variable& position, std::vector<RowStage> stages, const Block& core)
      : position_(position), stages_(std::move(stages)) {
    is_possible_ = note_shared();
    note_loads(core);
  }

  bool is_possible() const { return is_possible_; }
  const std::vector<RowStage>& stages() const { return stages_; }
  std::vector<HeldRow>& held() { return held_; }

  // How many neighbours a thread may have at a time, where the row has `length` positions.
  std::int64_t neighbours(std::int64_t length) const {
    for (const std::int64_t together : neighbours_of_row) {
      if (length % together != 0 || length / together < Machine::warp) continue;
      if (suits(together, length)) return together;
    }
    return 1;
  }

 private:
  bool is_of_row(const Expr& e) const {
    return e->op == Op::load && e->buffer->space == Space::global &&
           depends_on(e->args[0], position_);
  }

  // Whether each row in shared memory is touched at the iteration's own position only.
  bool note_shared() {
    bool fits = true;
    std::map<int, HeldRow> rows;
    for (std::size_t stage = 0; stage < stages_.size(); ++stage) {
      const auto note = [&](const BufferRef& buffer, const Expr& index) {
        if (buffer->space != Space::shared) return;
        fits = fits && index == variable(position_);
        HeldRow& row = rows[buffer->id];
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

  void note_loads(const Block& core) {
    std::unordered_map<const ExprNode*, std::size_t> known;
    for (std::size_t stage = 0; stage < stages_.size(); ++stage) {
      for (const Expr& e : nodes_of(stages_[stage].body)) {
        if (!is_of_row(e) || is_conditional(*e) || !may_be_early(e, core)) continue;
        const auto [found, is_new] = known.emplace(e.get(), held_.size());
        if (is_new) {
          HeldRow row;
          row.element = e;
          row.first = stage;
          held_.push_back(row);
        }
        ++held_[found->second].uses;
      }
    }
    std::erase_if(held_, [](const HeldRow& row) { return row.uses < 2; });
  }

  // Whether nothing is written to the array before the last look at it.
  bool may_be_early(const Expr& e, const Block& core) const {
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

  static std::vector<Expr> nodes_of(const Block& block) {
    std::unordered_set<const ExprNode*> seen;
    std::vector<Expr> nodes;
    visit_expressions(block, [&](const Expr& e) { append_post_order(e, seen, nodes); });
    return nodes;
  }

  // Whether all that the stages touch of memory lies together, and is of elements that do.
  bool suits(std::int64_t together, std::int64_t length) const {
    std::int64_t narrowest = 0, widest = 0;
    bool fits = true;
    const Variable k = fresh_variable("k"), q = fresh_variable("q");
    for (const RowStage& stage : stages_) {
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

 public:
  // The body for neighbour k of group q.
  Block at(const Block& body, const Variable& q, const Variable& k, std::int64_t together,
           std::int64_t length) const {
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

 private:
  Variable position_;
  std::vector<RowStage> stages_;
  std::vector<HeldRow> held_;
  bool is_possible_ = true;
};

For unrolled_loop(const Variable& v, std::int64_t extent, Block body) {
  For loop;
  loop.kind = LoopKind::unroll;
  loop.variable = v;
  loop.extent = integer(extent);
  loop.body = std::move(body);
  return loop;
}

// Deals the positions of a stage out to the threads.
class HeldRowStage {
 public:
  HeldRowStage(const RowShare& share, const Expr& length, const Variable& position,
               std::vector<HeldRow>& held,
               const std::function<BufferRef(DType, std::int64_t, const char*)>& registers)
      : share_(share), length_(length), position_(position), held_(held), registers_(registers) {}

  // The thread's part of the stage with that number.
  Block operator()(const RowStage& stage, std::size_t number, const Variable& t) {
    Block block;
    std::vector<const HeldRow*> brought;
    for (const HeldRow& row : held_) {
      if (row.first == number && row.element != nullptr) brought.push_back(&row);
    }
    const auto bring = [&](const Expr& round, const Expr& first) {
      return together([&](const Expr& k) {
        Block loads;
        for (const HeldRow* row : brought) {
          loads.push_back(Store{row->registers, slot(round, k), at(row->element, first + k)});
        }
        return loads;
      });
    };
    if (!brought.empty()) append(block, rounds(t, bring, true));
    append(block, rounds(t, [&](const Expr& round, const Expr& first) {
             return compute(stage.body, round, first);
           }));
    return block;
  }

 private:
  static void append(Block& list, Block more) {
    for (Stmt& s : more) list.push_back(std::move(s));
  }

  Expr slot(const Expr& round, const Expr& k) const { return round * integer(share_.together) + k; }
  Expr at(const Expr& e, const Expr& place) const { return substitute(e, {{position_, place}}); }

  // `body` for each round of the thread's, given its number and its first position. With
  // `whole_apart`, rounds that are known when the kernel runs to be whole are not looked at one by
  // one, so that nothing comes between their loads.
  template <class Body>
  Block rounds(const Variable& t, const Body& body, bool whole_apart = false) const {
    const auto of = [&](const Expr& round) {
      const Expr first = (round * integer(share_.threads) + variable(t)) * integer(share_.together);
      return std::pair(first, body(round, first));
    };
    Block block;
    const std::int64_t whole = share_.count / share_.threads, rest = share_.count % share_.threads;
    if (share_.count == 0) {
      // A few rounds at a time: all threads leave out those behind the row's end.
      const std::int64_t few = share_.rounds % few_rounds == 0 ? few_rounds : 1;
      const Variable g = fresh_variable("g");
      const auto of_group = [&](bool guarded) {
        const Variable n = fresh_variable("n");
        const auto [first, own] = of(variable(g) * integer(few) + variable(n));
        const Block inside{statement(If{binary(Op::lt, first, length_), own, {}})};
        return Block{statement(unrolled_loop(n, few, guarded ? inside : own))};
      };
      const Expr begin = variable(g) * integer(few * share_.threads * share_.together);
      const Expr end = begin + integer(few * share_.threads * share_.together);
      Block group{statement(If{binary(Op::lt, begin, length_), of_group(true), {}})};
      if (whole_apart) {
        group = {statement(If{binary(Op::le, end, length_), of_group(false), std::move(group)})};
      }
      block.push_back(statement(unrolled_loop(g, share_.rounds / few, std::move(group))));
      return block;
    }
    if (whole == 1) append(block, of(integer(0)).second);
    if (whole > 1) {
      const Variable n = fresh_variable("n");
      block.push_back(statement(unrolled_loop(n, whole, of(variable(n)).second)));
    }
    if (rest > 0) {
      block.push_back(
          statement(If{binary(Op::lt, variable(t), integer(rest)), of(integer(whole)).second, {}}));
    }
    return block;
  }

  // `body` for the neighbours of a round, which memory gives and takes together.
  template <class Body>
  Block together(const Body& body) const {
    if (share_.together == 1) return body(integer(0));
    For few;
    few.kind = LoopKind::vector;
    few.variable = fresh_variable("k");
    few.width = few.unrolled = static_cast<int>(share_.together);
    few.extent = integer(share_.together);
    few.body = body(variable(few.variable));
    return {statement(std::move(few))};
  }

  Block compute(const Block& body, const Expr& round, const Expr& first) {
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
      for (const HeldRow& row : held_) {
        const bool is_row =
            row.element != nullptr ? row.element == e : row.shared->id == e->buffer->id;
        if (is_row) return load(row.registers, slot(round, neighbour));
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
        const auto row = std::find_if(held_.begin(), held_.end(), [&](const HeldRow& held) {
          return held.shared != nullptr && held.shared->id == store->buffer->id;
        });
        if (row != held_.end()) {
          result.push_back(Store{row->registers, slot(round, neighbour), store->value});
        } else if (share_.together > 1 && store->buffer->space == Space::global) {
          stores.emplace_back(registers_(store->buffer->dtype, share_.together, "near"), *store);
          result.push_back(Store{stores.back().first, neighbour, store->value});
        } else {
          result.push_back(s);
        }
      }
      return result;
    };
    Block own = substitute(redirect(redirect, rewrite(body)), {{position_, first + neighbour}});
    if (share_.together == 1) return own;
    Block block;
    for (const Expr& e : loads) block.push_back(Allocate{once.at(e.get())});
    for (const auto& [near, store] : stores) block.push_back(Allocate{near});
    if (!loads.empty()) {
      append(block, together([&](const Expr& each) {
               Block bring;
               for (const Expr& e : loads) {
                 bring.push_back(Store{once.at(e.get()), each, at(e, first + each)});
               }
               return bring;
             }));
    }
    block.push_back(statement(unrolled_loop(k, share_.together, std::move(own))));
    if (!stores.empty()) {
      append(
          block, together([&](const Expr& each) {
            Block leave;
            for (const auto& [near, store] : stores) {
              leave.push_back(Store{store.buffer, at(store.index, first + each), load(near, each)});
            }
            return leave;
          }));
    }
    return block;
  }

  bool is_held(const Expr& e) const {
    return std::any_of(held_.begin(), held_.end(),
                       [&](const HeldRow& row) { return row.element == e; });
  }

  const RowShare share_;
  const Expr length_;
  const Variable position_;
  std::vector<HeldRow>& held_;
  const std::function<BufferRef(DType, std::int64_t, const char*)>& registers_;
};

}  // namespace

Block GpuScheduler::held_rows(const std::vector<const For*>& outer, const Block& core) {
  const std::vector<Expr> extents = extents_of(outer);
  const Block own = substitute(core, unflatten(variables_of(outer), extents, variable(block_)));
  const Variable position = fresh("p");
  std::vector<RowStage> stages;
  Expr length;
  for (std::size_t k = 0; k < own.size(); ++k) {
    if (as_for(own[k]) == nullptr) {
      const auto* store = std::get_if<Store>(&own[k]);
      if (store != nullptr && store->buffer->space != Space::global) return {};
      continue;
    }
    const Block* body = nullptr;
    const Block whole{own[k]};
    const std::vector<const For*> loops = perfect_nest(whole, may_share, body);
    const Expr count = product(extents_of(loops));
    if (has_loop_or_branch(*body) || (length != nullptr && length != count)) return {};
    length = count;
    stages.push_back({k, substitute(*body, unflatten(variables_of(loops), extents_of(loops),
                                                     variable(position)))});
  }
  std::int64_t known = 0;
  if (stages.empty()) return {};
  const bool is_known = is_integer_constant(length, known);
  const std::int64_t most = is_known ? known : constant_bound(length).value_or(longest_row_);
  if (most < warp) return {};

  RowHolder holder(position, std::move(stages), own);
  if (!holder.is_possible()) return {};
  RowShare share;
  share.together = known > 0 ? holder.neighbours(known) : 1;
  const std::int64_t groups = (most + share.together - 1) / share.together;
  const std::int64_t of_thread = most_of_thread / share.together;
  std::int64_t threads = row_threads_;
  while (threads * of_thread < groups && threads < most_row_threads) threads *= 2;
  share.rounds = (groups + threads - 1) / threads;
  if (share.rounds > of_thread) return {};
  // As few threads without elements as can be.
  share.threads = ((groups + share.rounds - 1) / share.rounds + warp - 1) / warp * warp;
  if (known == 0) share.threads = threads;
  share.count = known / share.together;

  // Those that are looked at most, as many as there is room for.
  std::vector<HeldRow>& held = holder.held();
  std::stable_sort(held.begin(), held.end(),
                   [](const HeldRow& a, const HeldRow& b) { return a.uses > b.uses; });
  std::int64_t words = 0;
  const std::int64_t slots = share.rounds * share.together;
  std::erase_if(held, [&](const HeldRow& row) {
    const DType dtype = row.element != nullptr ? row.element->dtype : row.shared->dtype;
    const std::int64_t more = slots * words_of(dtype);
    if (words + more > most_held_words) return true;
    words += more;
    return false;
  });
  if (held.empty() && share.together == 1) return {};
  const std::function<BufferRef(DType, std::int64_t, const char*)> registers =
      [&](DType dtype, std::int64_t size, const char* name) {
        return new_buffer(Space::registers, dtype, size, name);
      };
  block_count_ = product(extents);
  Block result;
  for (HeldRow& row : held) {
    row.registers = row.element != nullptr
                        ? registers(row.element->dtype, slots, row.element->buffer->name.c_str())
                        : registers(row.shared->dtype, slots, "row");
    result.push_back(Allocate{row.registers});
  }
  HeldRowStage deal(share, length, position, held, registers);
  std::size_t number = 0;
  for (std::size_t k = 0; k < own.size(); ++k) {
    if (number == holder.stages().size() || holder.stages()[number].place != k) {
      result.push_back(own[k]);
      continue;
    }
    const Variable t = fresh("t");
    result.push_back(
        GpuScheduler::threads(t, integer(share.threads), deal(holder.stages()[number], number, t)));
    ++number;
  }
  row_threads_ = static_cast<int>(share.threads);
  return with_barriers(result);
}

}  // namespace kroton::loop
