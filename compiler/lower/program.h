// Program: the ordered plan of a compiled function. What the emitters print.
#pragma once
#include <kroton/array.h>

#include <functional>
#include <map>
#include <variant>

#include "compiler/base/visit_kind.h"
#include "compiler/ir/callee.h"
#include "compiler/ir/node.h"
#include "compiler/loop/ir.h"

namespace kroton {

// Where a buffer of the Program lives.
struct Placement {
  enum class Kind : std::uint8_t { argument, arena, worker_scratch, constant, part };
  Kind kind = Kind::arena;
  int argument = 0;  // argument: position in args; constant: position in Program::constants
  Dim offset;        // arena and worker_scratch: bytes from the arena's start, see plan_memory
  Dim stride;        // worker_scratch: bytes from one worker's part to the next's
  // part: it begins at element `start` of the buffer `of`, which is not a part itself. `start` is
  // arithmetic (add, sub, mul, min, max, mod and floor_div by positive values) of constants, sizes
  // and the variables of the scans that the step is in: the row of a sequence that this iteration
  // reads, the one of a stack that it writes.
  loop::BufferRef of = nullptr;
  loop::Expr start = nullptr;
};

// A place where a function may stop: what the error says, with %index and %size for its numbers.
struct CheckSite {
  enum class Kind : std::uint8_t {
    index,     // the user's index is out of range
    operand,   // an op has no value for this operand
    memory,    // checking mode: a kernel reads or writes what it must not
    external,  // a function of the user's own reports an error, the number index
    value      // checking mode: a result is not finite; size holds its bits as f64
  };
  std::string message;  // "take: index %index is out of range for axis 0 of U"
  Kind kind = Kind::index;
};

struct Step;

// A scan: the steps run `extent` times in order, with `variable` running from 0 to extent-1. What
// moves with the iteration are the starts of buffers placed as parts.
struct Scan {
  loop::Variable variable;
  Dim extent;
  std::vector<Step> steps;
  std::string name;    // "scan0"
  std::string source;  // the user's line
  // Iterations that change no state are idle, those in which the boolean `idle` holds, a part that
  // moves with the iteration and lies where `steps` do not write in it. `idle_steps` may run in
  // their place, two of them at a time: a state that lies in two rows by turns is not moved.
  loop::BufferRef idle = nullptr;  // null: not known
  bool idle_to_the_end = true;     // from some iteration on all are idle; else up to some iteration
  std::vector<Step> idle_steps;
  std::string form = {};  // for people: why its steps are no kernel of their own on a GPU
};

// An ifelse: one of the two lists runs.
struct Branch {
  loop::BufferRef condition;  // one boolean
  std::vector<Step> then_steps;
  std::vector<Step> else_steps;
  std::string source;
};

// Code that the Program only calls: a function of the user's own or of LAPACK, or what shows a
// kt::print.
struct Call {
  // In memory, row-major and dense.
  struct Value {
    loop::BufferRef buffer;
    TensorType type;
  };
  std::shared_ptr<const Callee> callee;  // null: the value and the message are shown
  std::string message;
  std::vector<Value> inputs, outputs;
  int site = -1;  // of the first of the callee's errors; those of the others follow
  std::string source;

  std::string title() const;  // "call fft", "print \"loss\""
};

// One entry of Program::steps.
struct Step {
  std::variant<loop::Kernel, std::shared_ptr<const Scan>, std::shared_ptr<const Branch>,
               std::shared_ptr<const Call>>
      kind;
  // Kernels of one choice are several ways to the same: those of one candidate run, of the first
  // unless another one is known to be faster.
  int choice = -1;  // the same for all of them; -1: it always runs
  int candidate = 0;
};

// Calls the handler for what the step is. There is one for each kind, or it does not compile:
// const loop::Kernel&, const Scan&, const Branch&, const Call&.
template <class... Handlers>
decltype(auto) visit(const Step& step, Handlers... handlers) {
  return visit_kind(step.kind, std::move(handlers)...);
}
// What the step is, if it is of that kind.
template <class Kind>
const Kind* as(const Step& step) {
  if constexpr (std::is_same_v<Kind, loop::Kernel>) {
    return std::get_if<loop::Kernel>(&step.kind);
  } else {
    const auto* found = std::get_if<std::shared_ptr<const Kind>>(&step.kind);
    return found ? found->get() : nullptr;
  }
}
// For every list of steps in the step, in order.
void for_each_inner(const Step& step, const std::function<void(const std::vector<Step>&)>& action);
// The step with other lists in it.
using StepsToSteps = std::function<std::vector<Step>(const std::vector<Step>&)>;
Step with_inner(const Step& step, const StepsToSteps& replace);
// For every buffer that the step itself reads or writes, those of steps in it left out.
void for_each_buffer(const Step& step, const std::function<void(const loop::BufferRef&)>& action);

struct Program {
  std::string name;  // a C identifier
  // args holds the inputs, then the shared variables, then the outputs.
  std::vector<TensorType> inputs;
  std::vector<std::shared_ptr<SharedState>> states;
  std::vector<bool> state_is_updated;
  std::vector<TensorType> outputs;  // in terms of the size variables
  std::vector<Array> constants;
  std::vector<DimAtomRef> sizes;  // the variables whose values `sizes` holds, in order
  std::vector<Step> steps;
  std::map<int, Placement> placements;  // by Buffer::id
  Dim arena_bytes;
  std::vector<CheckSite> sites;
  bool profile = false;  // the entry calls context->profile around every kernel
};

// Kernels of at most this many scalar operations run on the calling thread: a fork and join costs
// about as much as the work.
constexpr std::int64_t most_work_on_one_thread = 1 << 15;

// The functions that it calls, each once. ValueError where two have one name.
using Callees = std::vector<std::shared_ptr<const Callee>>;
Callees callees(const Program& program);

// For every kernel, scans and branches entered, in program order.
void for_each_kernel(const std::vector<Step>& steps,
                     const std::function<void(const loop::Kernel&)>& action);

// How many of them run, those of other candidates than the first left out; loops count once.
std::int64_t kernel_count(const std::vector<Step>& steps);

// For every call, in program order.
void for_each_call(const std::vector<Step>& steps, const std::function<void(const Call&)>& action);

// The size variable that stands for the number of workers a call may use.
const Dim& worker_count();

std::string to_string(const Program& program);

}  // namespace kroton
