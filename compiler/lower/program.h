// Program: the ordered plan of a compiled function. What the emitters print.
#pragma once
#include <kroton/array.h>

#include <map>
#include <variant>

#include "compiler/ir/node.h"
#include "compiler/loop/ir.h"

namespace kroton {

// Where a buffer of the Program lives.
struct Placement {
  enum class Kind : std::uint8_t { argument, arena, worker_scratch, constant };
  Kind kind = Kind::arena;
  int argument = 0;  // argument: position in args; constant: position in Program::constants
  Dim offset;        // arena and worker_scratch: bytes from the arena's start, a multiple of 64
  Dim stride;        // worker_scratch: bytes from one worker's part to the next's
};

struct CheckSite {
  std::string message;  // "take: index out of range for axis 0 of U"
};

// One entry of Program::steps. Loops (scan) and branches (ifelse) are further alternatives.
using Step = std::variant<loop::Kernel>;

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
};

// The size variable that stands for the number of workers a call may use.
const Dim& worker_count();

std::string to_string(const Program& program);

}  // namespace kroton
