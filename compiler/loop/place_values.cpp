#include "compiler/loop/place_values.h"

#include <algorithm>
#include <unordered_set>

#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

// From this depth of nesting on a value is named, so that no text and no recursion is deep.
constexpr int most_nested = 12;

// What the statements of a block, and those nested in them, write, and which of them does it last.
struct Written {
  std::unordered_map<int, std::size_t> buffers;
  std::unordered_map<int, std::size_t> variables;
};

// What decides where an expression may be computed.
struct Nature {
  std::size_t depth = 0;                // of the innermost block that defines a variable of it
  bool stays = false;                   // a load, a check or a division
  bool is_of_thread = false;            // of registers, which every thread has its own of
  std::vector<int> buffers, variables;  // that it depends on and the kernel writes
};

void add_to(std::vector<int>& all, const std::vector<int>& more) {
  for (const int id : more) {
    if (std::find(all.begin(), all.end(), id) == all.end()) all.push_back(id);
  }
}

class Placer {
 public:
  explicit Placer(const Kernel& kernel) : written_(written_in(kernel.body)) {}

  Block run(const Block& block) { return place_block(block, Kind::plain); }

 private:
  enum class Kind : std::uint8_t {
    plain,  // the kernel's body, or that of a loop that is entered wherever its statement is
    loop,   // it may have no iteration
    branch
  };
  struct Value {
    Expr e;
    std::size_t before = 0;  // the statement in front of which it is computed
    Let::Life life = Let::Life::block;
    int uses = 0;
    bool is_let = false;
  };
  // A block that is being placed. The last of them is where the current statement is.
  struct Level {
    const Block* block;
    Kind kind;
    bool is_of_thread = false;       // the body of a loop over threads
    std::size_t at = 0;              // the current statement
    std::vector<Value> values = {};  // operands before their users
    std::unordered_map<const ExprNode*, std::size_t> known = {};
  };

  const Written& written_in(const Block& block) {
    const auto [found, is_new] = written_in_.try_emplace(&block);
    Written& written = found->second;
    for (std::size_t k = 0; is_new && k < block.size(); ++k) {
      const auto note = [&](const Stmt& s) {
        if (const auto* store = std::get_if<Store>(&s); store && store->buffer) {
          written.buffers[store->buffer->id] = k;
        } else if (const auto* copy = std::get_if<Copy>(&s)) {
          written.buffers[copy->to->id] = k;
        } else if (const auto* product = std::get_if<Multiply>(&s)) {
          written.buffers[product->sums->id] = k;
        } else if (const auto* sum = std::get_if<Accumulate>(&s)) {
          written.variables[sum->variable.id] = k;
        } else if (const auto* best = std::get_if<AccumulateArg>(&s)) {
          written.variables[best->best.id] = k;
          written.variables[best->position.id] = k;
        }
      };
      visit_statements(std::span(&block[k], 1), note);
    }
    return written;
  }

  // Whether a statement of the block, from that one on, writes what the value depends on.
  static bool writes(const Written& written, std::size_t from, const Nature& nature) {
    const auto any = [&](const std::unordered_map<int, std::size_t>& last,
                         const std::vector<int>& ids) {
      return std::any_of(ids.begin(), ids.end(), [&](int id) {
        const auto found = last.find(id);
        return found != last.end() && found->second >= from;
      });
    };
    return any(written.buffers, nature.buffers) || any(written.variables, nature.variables);
  }

  void define(const Variable& v, std::size_t depth) {
    const auto [found, is_new] = depths_.try_emplace(v.id, depth);
    if (is_new || found->second == depth) return;
    // Two loops may share a variable, one after the other, at different depths.
    found->second = depth;
    natures_.clear();
  }

  const Nature& nature_of(const Expr& e) {
    if (const auto found = natures_.find(e.get()); found != natures_.end()) return found->second;
    Nature nature;
    if (e->op == Op::variable) {
      const auto found = depths_.find(e->variable.id);
      if (found != depths_.end()) nature.depth = found->second;
      if (written_.variables.contains(e->variable.id)) nature.variables = {e->variable.id};
    }
    if (e->op == Op::load && e->buffer != nullptr && written_.buffers.contains(e->buffer->id)) {
      nature.buffers = {e->buffer->id};
    }
    nature.stays = e->op == Op::load || may_fail(e->op) || may_raise_flags(*e);
    nature.is_of_thread =
        e->op == Op::load && e->buffer != nullptr && e->buffer->space == Space::registers;
    for (const Expr& arg : e->args) {
      if (arg == nullptr) continue;
      const Nature& of_arg = nature_of(arg);
      nature.depth = std::max(nature.depth, of_arg.depth);
      nature.stays = nature.stays || of_arg.stays;
      nature.is_of_thread = nature.is_of_thread || of_arg.is_of_thread;
      add_to(nature.buffers, of_arg.buffers);
      add_to(nature.variables, of_arg.variables);
    }
    return natures_[e.get()] = std::move(nature);
  }

  // The innermost level up to `site` whose block writes what the value depends on, or has other
  // registers for each thread; 0 for none.
  std::size_t innermost_writer(const Nature& nature, std::size_t site) {
    if (nature.buffers.empty() && nature.variables.empty() && !nature.is_of_thread) return 0;
    for (std::size_t k = site; k > 0; --k) {
      if (nature.is_of_thread && levels_[k].is_of_thread) return k;
      if (writes(written_in(*levels_[k].block), 0, nature)) return k;
    }
    return 0;
  }

  // A use of the value by what is computed at the level `site`, or there before the loop.
  void use(const Expr& e, std::size_t site, bool site_before_loop = false) {
    if (e == nullptr || (e->args.empty() && e->op != Op::size)) return;
    const Nature nature = nature_of(e);
    const std::size_t home = std::max(nature.depth, innermost_writer(nature, site));
    for (std::size_t k = home; k <= site; ++k) {
      Level& level = levels_[k];
      const auto found = level.known.find(e.get());
      if (found == level.known.end()) continue;
      Value& value = level.values[found->second];
      if (value.life == Let::Life::statement && value.before != level.at) continue;
      ++value.uses;
      const bool is_before_loop = value.life == Let::Life::loop;
      value.is_let = value.is_let || k < site || is_before_loop != site_before_loop;
      return;
    }
    std::size_t target = home;
    bool before_loop = false;
    for (std::size_t k = home + 1; nature.stays && k <= site; ++k) {
      const Kind kind = levels_[k].kind;
      if (kind == Kind::plain || (kind == Kind::loop && before_loop)) continue;
      target = k;
      before_loop = kind == Kind::loop;
    }
    for (const Expr& arg : e->args) use(arg, target, before_loop);
    Level& level = levels_[target];
    const bool elsewhere = target < site || before_loop != site_before_loop;
    const bool shadows = is_named_outside(e, target);
    Value value{e, level.at, Let::Life::block, 1, elsewhere || shadows || may_fail(e->op)};
    if (before_loop) {
      value.before = 0;
      value.life = Let::Life::loop;
    } else if (writes(written_in(*level.block), level.at, nature)) {
      value.life = Let::Life::statement;
    }
    level.known[e.get()] = level.values.size();
    level.values.push_back(std::move(value));
  }

  // Whether a name of an outer block may stand for what the value is there: within the level it
  // needs one of its own.
  bool is_named_outside(const Expr& e, std::size_t level) const {
    return std::any_of(levels_.begin(), levels_.begin() + static_cast<std::ptrdiff_t>(level),
                       [&](const Level& outer) {
                         const auto found = outer.known.find(e.get());
                         if (found == outer.known.end()) return false;
                         const Value& value = outer.values[found->second];
                         return value.life != Let::Life::statement || value.before == outer.at;
                       });
  }

  // Names what nests too deeply of what is not named yet.
  static void name_nested(Level& level) {
    std::unordered_map<const ExprNode*, int> depths;
    for (Value& value : level.values) {
      int depth = 0;
      for (const Expr& arg : value.e->args) {
        if (const auto found = depths.find(arg.get()); found != depths.end()) {
          depth = std::max(depth, found->second);
        }
      }
      value.is_let = value.is_let || value.uses > 1 || depth >= most_nested;
      depths[value.e.get()] = value.is_let ? 0 : depth + 1;
    }
  }

  Block place_block(const Block& block, Kind kind, bool is_of_thread = false) {
    levels_.push_back({&block, kind, is_of_thread});
    std::vector<Stmt> placed;
    for (const Stmt& s : block) {
      levels_.back().at = placed.size();
      const std::size_t here = levels_.size() - 1;
      // How many iterations there are to hand out is known to who does it.
      const For* loop = as_for(s);
      if (loop == nullptr || (loop->kind != LoopKind::block && loop->kind != LoopKind::parallel)) {
        visit_own_expressions(s, [&](const Expr& e) { use(e, here); });
      }
      placed.push_back(place_statement(s));
    }
    Level level = std::move(levels_.back());
    levels_.pop_back();
    name_nested(level);
    Block result;
    // Before the loop comes first; then each in front of its statement.
    for (const Value& value : level.values) {
      if (value.is_let && value.life == Let::Life::loop) result.push_back(Let{value.e, value.life});
    }
    std::size_t next = 0;
    for (std::size_t k = 0; k < placed.size(); ++k) {
      for (; next < level.values.size() && level.values[next].before <= k; ++next) {
        const Value& value = level.values[next];
        if (value.is_let && value.life != Let::Life::loop) {
          result.push_back(Let{value.e, value.life});
        }
      }
      result.push_back(std::move(placed[k]));
    }
    return result;
  }

  Stmt place_statement(const Stmt& s) {
    if (const auto* declare = std::get_if<Declare>(&s)) {
      define(declare->variable, levels_.size() - 1);
    } else if (const For* loop = as_for(s)) {
      define(loop->variable, levels_.size());
      std::int64_t extent = 0;
      const bool runs =
          loop->extent != nullptr && is_integer_constant(loop->extent, extent) && extent > 0;
      For result = *loop;
      result.body =
          place_block(loop->body, runs ? Kind::plain : Kind::loop, loop->kind == LoopKind::thread);
      return statement(std::move(result));
    } else if (const If* branch = as_if(s)) {
      return statement(If{branch->condition, place_block(branch->then_body, Kind::branch),
                          place_block(branch->else_body, Kind::branch)});
    }
    return s;
  }

  std::unordered_map<const Block*, Written> written_in_;
  const Written& written_;                       // in the whole kernel
  std::unordered_map<int, std::size_t> depths_;  // of variables
  std::unordered_map<const ExprNode*, Nature> natures_;
  std::vector<Level> levels_;
};

}  // namespace

bool may_raise_flags(const ExprNode& e) {
  return is_float(e.dtype) &&
         (e.op == Op::div || e.op == Op::floor_div || e.op == Op::mod || e.op == Op::sqrt);
}

Kernel place_values(const Kernel& kernel) {
  bool has_lets = false;
  visit_statements(kernel.body,
                   [&](const Stmt& s) { has_lets = has_lets || std::holds_alternative<Let>(s); });
  if (has_lets) return kernel;
  Kernel result = kernel;
  result.body = Placer(kernel).run(kernel.body);
  return result;
}

}  // namespace kroton::loop
