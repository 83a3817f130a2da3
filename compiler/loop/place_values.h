// Where each value is computed: the last decision about a kernel, which emitters, the printer and
// the counts of work then follow.
#pragma once
#include <optional>
#include <unordered_map>
#include <vector>

#include "compiler/loop/ir.h"

namespace kroton::loop {

// The kernel with Let statements (it has none yet, else it is returned as it is):
//
// - Arithmetic is computed in the outermost block that has its variables, right before the
//   statement with its first use.
// - A load, a check or a division is not computed where the program would not come to it: it leaves
//   a loop only for the moment before its first iteration, and no side of a branch.
// - What depends on what the kernel writes (a buffer, an accumulator) is computed again after a
//   statement that may have written it.
// - A value with one use, in the block where it is computed, is not named, unless it is a check or
//   what it is made of nests deeply.
//
// So every expression that is not under a Let may be printed where it stands, and nothing is
// computed twice, nor its text written twice.
Kernel place_values(const Kernel& kernel);

// Whether some finite operands make it divide by zero or invalid.
bool may_raise_flags(const ExprNode& e);

// What a walk over a kernel with Lets knows of them changes by a Scope, which it opens for each
// block: in it the walk calls `let` for a Let and `end_statement` after any other statement.
// `Values` has exchange(), as LetValues.
template <class T, class Values>
class LetScope {
 public:
  explicit LetScope(Values& values) : values_(values) {}
  ~LetScope() { undo(log_); }
  LetScope(const LetScope&) = delete;
  LetScope& operator=(const LetScope&) = delete;

  void let(const Let& let, T value) { set(let, std::move(value)); }
  void end_statement() { undo(passing_); }
  // What an outer Let of the same expression has, the expression being something else by now: it
  // is out of sight while this one is worked out.
  void hide(const Let& let) { set(let, std::nullopt); }

 private:
  struct Change {
    const ExprNode* e;
    std::optional<T> before;
  };
  void set(const Let& let, std::optional<T> value) {
    std::vector<Change>& log = let.life == Let::Life::statement ? passing_ : log_;
    const ExprNode* e = let.value.get();
    log.push_back({e, values_.exchange(e, std::move(value))});
  }
  void undo(std::vector<Change>& log) {
    for (; !log.empty(); log.pop_back()) {
      values_.exchange(log.back().e, std::move(log.back().before));
    }
  }

  Values& values_;
  std::vector<Change> log_, passing_;
};

template <class T>
class LetValues {
 public:
  using Scope = LetScope<T, LetValues>;

  // Sets or forgets the expression's value, and returns what it was.
  std::optional<T> exchange(const ExprNode* e, std::optional<T> value) {
    const auto found = values_.find(e);
    if (found == values_.end()) {
      if (value) values_.emplace(e, std::move(*value));
      return std::nullopt;
    }
    std::optional<T> before = std::move(found->second);
    if (value) {
      found->second = std::move(*value);
    } else {
      values_.erase(found);
    }
    return before;
  }
  // Null where the expression is under no Let.
  T* find(const ExprNode* e) {
    const auto found = values_.find(e);
    return found == values_.end() ? nullptr : &found->second;
  }

 private:
  std::unordered_map<const ExprNode*, T> values_;
};

}  // namespace kroton::loop
