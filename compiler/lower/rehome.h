// Statements of a loop's steps as parts of the one kernel that the loop becomes.
#pragma once
#include <functional>
#include <map>
#include <memory>

#include "compiler/loop/traverse.h"

namespace kroton {

// Where a buffer of the steps is found in that kernel.
struct Home {
  loop::BufferRef buffer;
  loop::Expr start;            // element 0, in terms of the kernel's variables
  loop::Expr value = nullptr;  // the only element, where that does not change during a step
  bool is_alone = false;       // every thread has one element, whatever the index
};
using Homes = std::map<int, Home>;  // by Buffer::id

// Rewrites one kernel: loads and stores go to the homes of their buffers, and its variables are
// renamed, since variables of different kernels may have the same id.
class Rehoming {
 public:
  // Called with each loop as it was and as it is to be, but for its body.
  using Adjust = std::function<void(const loop::For& before, loop::For& after)>;

  // `homes` must live as long.
  explicit Rehoming(const Homes& homes, Adjust adjust = {});
  Rehoming(const Rehoming&) = delete;
  Rehoming& operator=(const Rehoming&) = delete;

  loop::Expr expression(const loop::Expr& e) const { return (*rewrite_)(e); }
  loop::Block block(const loop::Block& block) const;
  loop::Variable renamed(const loop::Variable& v) const;

 private:
  loop::Expr replaced(const loop::Expr& e) const;
  loop::Block moved(const loop::Block& block) const;
  loop::Stmt moved(const loop::Stmt& s) const;

  const Homes& homes_;
  Adjust adjust_;
  std::unique_ptr<loop::Rewriter> rewrite_;
  mutable std::map<int, loop::Variable> variables_;  // by their ids before
};

}  // namespace kroton
