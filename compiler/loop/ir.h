// The loop IR: what a kernel is. Docs: docs/loop_ir.md (the grammar on one page).
//
// A kernel is a list of statements over buffers. Scalar expressions are an immutable hash-consed
// DAG; statements are a tree. Indices are i64 and linear (row-major offsets in elements).
#pragma once
#include <kroton/dim.h>
#include <kroton/dtype.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace kroton {
struct LibraryProduct;  // compiler/contraction/library_product.h
}

namespace kroton::loop {

// Scalar operations. Floating and integer forms share a name where the meaning is one; the dtype
// of the operands decides. Booleans are i1. Comparisons give boolean.
enum class Op : std::uint8_t {
  real,      // floating constant: `real`
  integer,   // integer or boolean constant: `integer`
  variable,  // loop variable, or a scalar declared by Declare: `variable`
  size,      // the value of a Dim, i64: `dim`
  load,      // buffer[args[0]]; with args[1], a boolean, only where it holds, else nothing is read
             // and the value is 0
  add,
  sub,
  mul,
  div,        // floating: IEEE. integer: truncated towards zero; x/0 == 0, min/-1 == min
  mod,        // integer: remainder of floor division (sign of the divisor; x mod 0 == 0);
              // floating: the same, exact; x mod 0 is NaN, x mod inf is x if the signs agree
  floor_div,  // integer: floor division, x/0 == 0
  neg,
  abs,
  min,
  max,  // floating: a NaN operand gives NaN
  fma,  // args[0]*args[1]+args[2], rounded once
  sqrt,
  floor,
  ceil,
  round_even,
  exp,  // from here to atan2: elementary functions, of floating numbers (elementary.h)
  expm1,
  log,
  log1p,
  sigmoid,
  tanh,
  softplus,
  erf,
  sin,
  cos,
  atan,
  asin,
  acos,
  pow,    // args[0] to the power of args[1]
  atan2,  // the angle of the point (args[1], args[0])
  eq,
  ne,
  lt,
  le,
  logical_and,
  logical_or,
  logical_not,
  bit_and,
  bit_or,
  bit_xor,
  shl,
  ashr,
  lshr,      // args[1]: a constant shift count below the width
  select,    // args[0] ? args[1] : args[2]; both sides are evaluated
  shortcut,  // args[2], which is equal to args[1] where args[0] holds; a scalar that need not wait
             // for args[2] then does not, as a branch that is predicted
  cast,      // to `dtype`; floating to integer truncates and saturates, NaN -> 0; to boolean: != 0
  bitcast,   // between f32 and i32, f64 and i64
  check_index,  // args[0] = index, args[1] = size, both i64; gives the index, negative ones counted
                // from the end; outside [-size, size) the kernel stops with error `site`
  check,  // args[0], any dtype; where args[1], a boolean, does not hold, the kernel stops with
          // error `site` and the numbers args[2] and args[3], both i64, as index and size
};

// Its name as the printer and messages write it: "floor_div".
std::string_view name_of(Op op);

struct ExprNode;
using Expr = std::shared_ptr<const ExprNode>;

struct Variable {  // identity is `id`; the name is for printing
  int id = -1;
  DType dtype = DType::i64;
  std::string name;
  friend bool operator==(const Variable& a, const Variable& b) { return a.id == b.id; }
};

enum class Space : std::uint8_t {
  global,     // an argument, a shared variable, or a slice of the arena
  worker,     // a slice of the arena per worker: scratch inside one iteration of a parallel loop
  registers,  // constant size, only constant indices after unrolling: held in registers; inside a
              // block loop every thread has its own
  stack,      // constant size, a few KB of the thread's stack
  shared,     // GPU: constant size, one copy per block
  awaited,    // GPU: one copy for all blocks of a run of the kernel. Each element is stored at most
              // once, and a load waits until it is; so blocks have their numbers in the order in
              // which they start, and a block loads what those before it store
  counters    // GPU: shared integers that are 0 at first. A store adds to what is there, to which
              // other threads of the block may add at the same time
};

struct Buffer {
  int id = -1;  // unique in its kernel's Program
  std::string name;
  DType dtype = DType::f32;
  Dim size;  // elements
  Space space = Space::global;
};
using BufferRef = std::shared_ptr<const Buffer>;

struct ExprNode {
  Op op;
  DType dtype;  // of the result
  std::vector<Expr> args;
  double real = 0;
  std::int64_t integer = 0;  // integer constant; check_index, check: site
  Variable variable;
  Dim dim;
  BufferRef buffer;
};

// Constructors. They fold constants and drop identities of index arithmetic (x+0, x*1, x*0 for
// integers only), so that lowering can be written plainly. Sums and products of sizes become one
// `size` node, so that equal strides are one expression. Operands' dtypes must agree, else
// InternalError. Equal expressions are one node as long as one of them lives: compare addresses.
Expr real(double value, DType dtype);
Expr integer(std::int64_t value, DType dtype = DType::i64);
Expr whole_number(std::int64_t value, DType dtype);  // real or integer
Expr boolean_constant(bool value);
// What leaves every other value as it is under add, mul, min, max, logical_and or logical_or, and
// what an accumulation by one of them begins with: the same, but that of a sum is 0, not -0, which
// a sum of nothing would be.
Expr identity(Op op, DType dtype);
Expr initial(Op op, DType dtype);
Expr variable(const Variable& variable);
Expr size(const Dim& dim);  // a constant Dim becomes an integer
// Only where `condition` holds, if it is given.
Expr load(const BufferRef& buffer, const Expr& index, const Expr& condition = nullptr);
// neg abs sqrt floor ceil round_even logical_not, and the elementary functions of one operand
Expr unary(Op op, const Expr& a);
Expr binary(Op op, const Expr& a, const Expr& b);
Expr fma(const Expr& a, const Expr& b, const Expr& c);
Expr select(const Expr& condition, const Expr& a, const Expr& b);
Expr shortcut(const Expr& condition, const Expr& quick, const Expr& full);
Expr cast(const Expr& a, DType to);
Expr bitcast(const Expr& a, DType to);
Expr check_index(const Expr& index, const Expr& size, int site);
Expr check(const Expr& value, const Expr& condition, const Expr& index, const Expr& size, int site);
// Whether the operation may stop the kernel.
inline bool may_fail(Op op) { return op == Op::check_index || op == Op::check; }
// Whether it is a load that has a condition.
inline bool is_conditional(const ExprNode& e) { return e.op == Op::load && e.args.size() > 1; }
inline Expr operator+(const Expr& a, const Expr& b) { return binary(Op::add, a, b); }
inline Expr operator-(const Expr& a, const Expr& b) { return binary(Op::sub, a, b); }
inline Expr operator*(const Expr& a, const Expr& b) { return binary(Op::mul, a, b); }
// The constant behind an integer expression, if it is one.
bool is_integer_constant(const Expr& e, std::int64_t& value);
// The Dim behind an i64 constant or a `size`; nullopt for anything else.
std::optional<Dim> as_dim(const Expr& e);

// What one step of a loop's variable adds to the expression: e(v+1) - e(v) when that difference
// does not depend on v; null when e is not affine in v. 0-valued constant when e does not depend.
Expr stride_of(const Expr& e, const Variable& v);
bool depends_on(const Expr& e, const Variable& v);
// e with variables replaced.
Expr substitute(const Expr& e, const std::vector<std::pair<Variable, Expr>>& replacements);

struct For;
struct If;
// The value is computed here, and its uses below are what it was here. place_values alone makes
// these, once a kernel is complete: nothing before emitters and the printer meets one.
struct Let {
  enum class Life : std::uint8_t {
    block,      // until the end of the block
    statement,  // of the next statement, which may change what it depends on
    loop        // at the head of a loop's body: computed once, if there is an iteration
  };
  Expr value;
  Life life = Life::block;
};
// GPU: the threads of a block wait for each other, and see what the others have stored.
struct Barrier {
  int under_way = 0;     // the last thread loops whose copies need not have come
  bool of_grid = false;  // all blocks of the kernel wait, which are there at once
};
// A scalar that Accumulate changes; read as a variable after the loop that accumulates it.
struct Declare {
  Variable variable;
  Expr init;
};
// A register, stack, worker, shared or awaited buffer that lives until the end of the enclosing
// block.
struct Allocate {
  BufferRef buffer;
};
struct Store {
  BufferRef buffer;
  Expr index;
  Expr value;
};
// variable = op(variable, value); op is associative: add, mul, min, max, logical_and, logical_or.
// Inside a vector or thread loop lanes accumulate apart and are combined by a fixed tree at its
// end.
struct Accumulate {
  Variable variable;
  Op op;
  Expr value;
};
// Arg-maximum or arg-minimum: if value beats `best`, both change; ties keep the lower position,
// the first NaN wins over everything.
struct AccumulateArg {
  Variable best;
  Variable position;
  bool maximum;
  Expr value;
  Expr at;
};
// GPU, in a thread loop: `count` neighbours come from global memory to shared memory. They may come
// late: from here to the barrier that waits for this thread loop nobody touches them, nor writes
// what they come from.
struct Copy {
  BufferRef to;
  Expr to_index;
  BufferRef from;
  Expr from_index;
  Expr available;  // i64: so many are there; the others become 0, and are not read
  int count = 1;
  Expr aligned;  // boolean, the same for all threads and iterations: both indices are multiples of
                 // count
};
// How the warps of a block share the product of two tiles (matrix_tile.h).
struct MatrixTile {
  int rows = 0, columns = 0, depth = 0;  // of the block's tile
  int warp_rows = 0, warp_columns = 0;   // of a warp's part
  bool a_runs_inner = true;              // neighbours in memory are neighbours along the inner axis
  bool b_runs_inner = false;
  friend bool operator==(const MatrixTile&, const MatrixTile&) = default;
};
// GPU, outside thread loops: sums += a·b by the device's matrix units. Each thread has the sums of
// its own elements of the tile in registers; a and b are tiles in shared memory. Products of 16
// bits are exact, those of f32 are of operands rounded to 11 bits (TF32); they are added in f32, in
// an order that is the device's and always the same.
struct Multiply {
  BufferRef sums;
  BufferRef a, b;
  Expr a_start, b_start;  // i64: the tiles' first elements in their buffers
  MatrixTile tile;
};
using Stmt = std::variant<Let, Declare, Allocate, Store, Accumulate, AccumulateArg, Barrier, Copy,
                          Multiply, std::shared_ptr<const For>, std::shared_ptr<const If>>;
using Block = std::vector<Stmt>;

enum class LoopKind : std::uint8_t {
  serial,
  parallel,  // one of a kernel, alone in serial loops: its iterations are split over the workers
  vector,    // `width` lanes at once, a masked tail; `interleave` independent copies
  unroll,    // constant extent, written out
  block,     // GPU, outermost only: one iteration per block of `width` threads
  thread     // GPU: thread t of the block runs the iterations t, t + width, t + 2*width ...
};

struct For {
  Variable variable;  // runs from 0 to extent-1
  Expr extent;        // i64
  LoopKind kind = LoopKind::serial;
  int width = 1;       // vector: lanes; block: threads
  int interleave = 1;  // vector: how many vectors per step, each with its own accumulators
  int unrolled = 0;    // vector: if not 0, written out for this many iterations, at least the
                       // extent (which may be symbolic); those past the extent are masked
  Block body;
  bool is_independent = false;  // no iteration touches what another one writes, though the body may
                                // not show it any more
};

struct If {
  Expr condition;
  Block then_body;
  Block else_body;
};

struct Kernel {
  std::string name;
  std::vector<BufferRef> inputs;   // read only
  std::vector<BufferRef> outputs;  // written, perhaps read too (in place)
  std::vector<BufferRef> scratch;  // Space::worker
  Block body;
  Expr work;           // an estimate of the scalar operations, i64: decides whether threads pay
  std::string source;  // the user's lines it comes from, for profiles and dumps
  std::string form;    // which of several it was made in, for people: "tiles of 2 x 2 results"
  std::shared_ptr<const LibraryProduct> instead;  // what a library may do in its place, or null
};

std::string to_string(const Expr& e);
std::string to_string(const Kernel& kernel);
// Throws InternalError with the kernel's text around the fault: undeclared variables, dtype
// mismatches, stores to read-only buffers, parallel loops beside others, non-constant
// unroll extents, register buffers with non-constant size.
void verify(const Kernel& kernel);

}  // namespace kroton::loop
