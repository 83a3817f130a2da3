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

// What a walk over a kernel with Lets knows of them. It opens a Scope for each block, and in it
// calls `let` for a Let and `end_statement` after any other statement.
template <class T>
class LetValues {
 public:
  class Scope {
   public:
    explicit Scope(LetValues& values) : values_(values.values_) {}
    ~Scope() { undo(log_); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

    void let(const Let& let, T value) {
      std::vector<Change>& log = let.life == Let::Life::statement ? passing_ : log_;
      const ExprNode* e = let.value.get();
      const auto [found, is_new] = values_.try_emplace(e, std::move(value));
      if (is_new) {
        log.push_back({e, std::nullopt});
      } else {
        log.push_back({e, std::move(found->second)});
        found->second = std::move(value);
      }
    }
    void end_statement() { undo(passing_); }
    // What an outer Let of the same expression has, the expression being something else by now: it
    // is out of sight while this one is worked out.
    void hide(const Let& let) {
      const auto found = values_.find(let.value.get());
      if (found == values_.end()) return;
      std::vector<Change>& log = let.life == Let::Life::statement ? passing_ : log_;
      log.push_back({found->first, std::move(found->second)});
      values_.erase(found);
    }

   private:
    struct Change {
      const ExprNode* e;
      std::optional<T> before;
    };
    void undo(std::vector<Change>& log) {
      for (; !log.empty(); log.pop_back()) {
        Change& last = log.back();
        if (last.before) {
          values_.insert_or_assign(last.e, std::move(*last.before));
        } else {
          values_.erase(last.e);
        }
      }
    }

    std::unordered_map<const ExprNode*, T>& values_;
    std::vector<Change> log_, passing_;
  };

  // Null where the expression is under no Let.
  T* find(const ExprNode* e) {
    const auto found = values_.find(e);
    return found == values_.end() ? nullptr : &found->second;
  }

 private:
  std::unordered_map<const ExprNode*, T> values_;
};

}  // namespace kroton::loop
