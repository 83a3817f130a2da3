// What threads that run all steps of a scan by themselves have in registers.
#pragma once
#include <functional>
#include <map>
#include <vector>

#include "compiler/lower/kernel_context.h"
#include "compiler/lower/program.h"
#include "compiler/lower/rehome.h"

namespace kroton {

// A buffer of a step.
struct StepUse {
  loop::BufferRef buffer;
  bool read = false, written = false;
};
using StepUses = std::map<int, StepUse>;  // by Buffer::id

// Finds homes in registers for what goes from step to step (states) and from kernel to kernel of a
// step, for the rows of sequences, each loaded a step before it is used, so that no step waits for
// memory, and for what stays the same in all steps. What has none stays where it is.
class StepRegisters {
 public:
  // A thread has one element of every buffer, the one of that number, or all of each.
  struct Share {
    loop::Expr element = nullptr;  // null: all
    std::int64_t most_words = 0;   // that are held in all
    // Whether the steps touch the buffer as registers can be: at that element only, or at constant
    // indices when their loops are written out.
    std::function<bool(const loop::BufferRef&)> may_hold;
  };

  StepRegisters(const Scan& scan, const StepUses& uses, const Program& program,
                BufferTable& buffers, Share share, Homes& homes);

  // All steps, by that thread: `step` makes the statements of one, when homes are known.
  loop::Block all_steps(const std::function<loop::Block()>& step);
  // Whether what steps write is held, but for what is stored for others.
  bool holds_all_written() const;

 private:
  // What each step reads from the one before.
  struct State {
    loop::BufferRef whole, held, next;  // in memory; before and after the step
    loop::Variable value;               // before the step, where the thread has one element
    loop::Expr start;                   // of the row before the step
    bool all_rows = false;              // else two by turns, of which the last one counts
  };
  // What steps read only.
  struct Input {
    loop::BufferRef whole, held, now;  // in memory; the next step's; this step's
    loop::Variable value;              // the same, where the thread has one element
    loop::Expr start;
    bool moves = false;  // with the steps
  };
  struct Place {
    loop::BufferRef buffer;
    loop::Expr start;
  };

  void hold(const std::vector<const StepUse*>& parts, int whole);
  void hold_state(const StepUse& before, const StepUse& after);
  void hold_input(const StepUse& use);
  bool has_room(const loop::BufferRef& buffer);
  bool is_one() const { return share_.element != nullptr; }
  Place in_memory(const loop::BufferRef& whole, const loop::Expr& start) const;
  loop::Expr at_step(const loop::Expr& start, const loop::Expr& step) const;
  loop::BufferRef in_registers(const loop::BufferRef& buffer);
  loop::Variable give_value(const loop::BufferRef& before, const loop::BufferRef& held);
  Home home_of(const loop::BufferRef& held) const;
  // `when`: only where that holds.
  loop::Stmt copy(const Place& from, const Place& to, const Dim& size,
                  const loop::Expr& when = nullptr) const;

  const Scan& scan_;
  const StepUses& uses_;
  const Program& program_;
  BufferTable& buffers_;
  const Share share_;
  Homes& homes_;
  std::int64_t words_ = 0;
  std::vector<loop::BufferRef> passing_;
  std::vector<State> states_;
  std::vector<Input> inputs_;
};

}  // namespace kroton
