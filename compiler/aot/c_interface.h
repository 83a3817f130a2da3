// The C functions of one ahead-of-time compiled function: what its header declares
// (compiler/aot/c_header.h) and its object defines (compiler/codegen/llvm/emit_c_interface.h).
#pragma once
#include "compiler/lower/program.h"

namespace kroton::aot {

// What a call checks, in this order. The code that a call returns is a check's position here
// plus 1.
struct Check {
  enum class Kind : std::uint8_t {
    null_context,
    size_below_zero,    // subject: position in sizes
    sizes_impossible,   // an element count or the arena's size does not fit in 64 bits
    extent_below_zero,  // left: the extent of an axis
    sizes_differ,       // left and right must be equal
    value_differs,      // the value of input `subject` must be `left`
    null_input,         // subject: position in inputs
    null_state,         // the structure itself
    null_state_field,   // subject: position in states
    null_output,        // subject: position in outputs
    null_arena,
    arena_misaligned,
    arena_too_small,
    site,         // subject: position in Program::sites
    null_memory,  // of the functions that lay out the state, as is the next
    memory_misaligned
  };
  Kind kind;
  int subject = 0;
  Dim left, right;
  std::string message;
};

struct CInterface {
  // A size that the caller passes, as int64_t, or that is the value of an input (a count of steps).
  struct Size {
    std::string name;     // in C
    std::string shown;    // as the user's program has it
    DimAtomRef variable;  // what all Dims here, and Program::sizes, are made of
    int input = -1;       // position of the input whose value it is; -1: it is passed by itself
  };
  // An input, a shared variable or an output. Inputs of rank 0 are passed by value.
  struct Array {
    std::string name;    // in C
    std::string source;  // what is known of it: the user's name and line
    TensorType type;
  };

  std::string name;    // of the C function
  std::string source;  // the user's line
  std::string target;  // as the user named it
  bool threads = false;
  bool initial_values = true;
  std::vector<Size> sizes;
  std::vector<Array> inputs, states, outputs;  // states in the order of Program::states
  std::vector<Dim> counts;  // of elements, beside those of the arrays, that must fit in 64 bits
  std::vector<std::int64_t> state_offsets;  // bytes from the start of the state's memory
  std::int64_t state_bytes = 0;
  std::vector<Check> checks;
};

// Fills in the layout of the state, and the checks; the rest is given. `constraints` are those that
// the sizes do not fulfil by themselves, `values` the inputs (by position) whose value must be that
// size.
void complete(CInterface& interface, const Program& program,
              const std::vector<SizeConstraint>& constraints,
              const std::vector<std::pair<int, Dim>>& values);

// The alignment in bytes of the arena, the state's memory, and the arrays in it.
inline constexpr std::int64_t memory_alignment = 64;

}  // namespace kroton::aot
