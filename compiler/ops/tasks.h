// Pieces of work that need memory beside the result, shared by threads.
#pragma once
#include <functional>

#include "compiler/ir/op.h"

namespace kroton::ops {

// `count` pieces for each index of `outer`. A task goes through its share of them, one after the
// other in the same memory, which so stays in a cache.
class Tasks {
 public:
  Tasks(WriteContext& context, const Dims& outer, const Dim& count);
  // Scratch memory of which each task has a part of that shape, behind the task's own indices.
  WriteContext::Scratch scratch(DType dtype, const Dims& part) const;
  // `begin` makes what a task does before its first piece, `piece` what it does for each.
  void run(const std::function<void(const Index& task)>& begin,
           const std::function<void(const Index& task, const Index& outer,
                                    const loop::Expr& number)>& piece) const;

 private:
  WriteContext& context_;
  Dim count_, share_;
  Dims tasks_;
};

}  // namespace kroton::ops
