// A random program: variables, calls of the public interface that make values of them, outputs and
// updates. It can be built as tensors, and printed as C++.
#pragma once
#include <kroton/kroton.h>

#include <map>
#include <string>
#include <vector>

#include "compiler/ops/draw.h"

namespace fuzz {

namespace kt = kroton;

// Values of a program are numbered, those inside of loops too.
using Value = int;

// How a variable's elements are made, by functions that users have, so that a printed program can
// make them as well.
struct Contents {
  std::uint64_t seed = 0;
  double low = -1.5, high = 1.5;         // uniform in [low, high)
  bool whole = false;                    // rounded towards 0: ties
  std::optional<kt::Dim> index_of = {};  // whole numbers in [0, size), or (-size, size) if low < 0
  kt::Array array(const kt::Shape& shape, kt::DType dtype) const;
  std::string text(const kt::Shape& shape, kt::DType dtype) const;  // of the same, in C++
};

struct Variable {
  Value value = 0;
  kt::DType dtype = kt::f32;
  kt::Dims shape;
  bool shared = false;
  Contents contents;
};

// A size that is known at the call only, and what it is in the first and the second one.
struct Size {
  kt::Dim dim;
  std::int64_t first = 0, second = 0;
};

struct Statement;

// Statements of the program itself, or of a loop's step.
struct Block {
  std::vector<Value> parameters;  // of a step
  std::vector<Statement> statements;
  std::vector<Value> results;
};

// A call of an operation: kt::exp(x).
struct Operation {
  kt::ops::Call call;
};

// kt::scan. Operands: sequences, initial values, non-sequences, a tensor that counts the steps.
struct Scan {
  std::vector<std::vector<int>> sequence_taps;
  std::vector<std::vector<int>> state_taps;  // none for an output that no step reads back
  int non_sequences = 0;
  std::optional<kt::Dim> steps = {};
  bool counted = false;  // the number of steps is the last operand
  bool backwards = false;
  std::int64_t truncate = -1;
  Block body;
};

// Operands: costs (or outputs), their cotangents, what is differentiated by, what counts as given.
struct Gradient {
  enum class Form : std::uint8_t { grad, vjp, known };
  Form form = Form::grad;
  int costs = 1;
  int cotangents = 0;
  int wrt = 1;
  int constants = 0;
};

struct Statement {
  std::variant<Operation, Scan, Gradient> what;
  std::vector<Value> operands;
  std::vector<Value> results;
};

struct Program {
  std::vector<Size> sizes;
  std::vector<Variable> variables;
  Block main;                                    // its results are the outputs
  std::vector<std::pair<Value, Value>> updates;  // of a shared variable, by a value
  Value next = 0;                                // the next value's number
};

// Whether a size is free and belongs to one variable, which made it (kt::matrix), as messages call
// it: "x3.shape[0]"; other sizes are named. And whether it is that variable's.
bool is_free(const kt::DimAtom& size);
bool is_own(const Variable& variable, const kt::DimAtom& size);

// What a size is at a call.
std::int64_t evaluate(const Program& program, const kt::Dim& dim, bool second);
// What a variable's elements are at a call.
Contents contents_of(const Program& program, const Variable& variable, bool second);
kt::Shape shape_of(const Program& program, const kt::Dims& dims, bool second);

// The program as tensors.
struct Built {
  std::vector<kt::Tensor> inputs;  // the variables that are not shared
  std::vector<const Variable*> input_variables;
  std::vector<kt::Shared> shared;
  std::vector<const Variable*> shared_variables;
  std::vector<kt::Tensor> outputs;
  std::vector<kt::Update> updates;
  std::map<Value, kt::Tensor> tensors;  // outside of loops

  std::vector<kt::Array> arguments(const Program& program, bool second) const;
};
// Errors are those of the functions it calls. It refers to the program's variables.
Built build(const Program& program);
// The results of one statement, on tensors; `inside` makes those of a loop's step.
std::vector<kt::Tensor> apply(
    const Statement& statement, const std::vector<kt::Tensor>& operands,
    const std::function<std::vector<kt::Tensor>(const Block&, std::span<const kt::Tensor>)>&
        inside);

// Drops what no output and no update needs.
void prune(Program& program);
// Calls `visit` for every statement, those in loops included, operands' before their users'.
void visit(const Block& block, const std::function<void(const Statement&)>& visit);
// The operations of the program, each once: "add exp scan".
std::vector<std::string> operations(const Program& program);

// A whole C++ program: builds, compiles, calls and prints. `expected` are the lines of a comment.
std::string cpp_text(const Program& program, const std::vector<std::string>& comment);

}  // namespace fuzz
