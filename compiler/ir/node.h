// Node: one use of an op in an expression. Immutable and hash-consed.
#pragma once
#include <kroton/tensor.h>

#include "runtime/fair_lock.h"

namespace kroton {

struct OpRecord;
class Device;
class DeviceCopy;
struct Callee;

// The value of a shared variable, and the lock of the calls that use it.
struct SharedState {
  SharedState(std::string its_name, Array initial)
      : name(std::move(its_name)), value(std::move(initial)) {}

  const std::string name;
  // A random stream's: a function that reads it adds 1 to element 1 at each call.
  bool counts_calls = false;
  Array value;          // on the host; older than the device's copy while a device is at work
  FairLock lock{name};  // shared by calls that read, exclusive for calls that update
  std::shared_ptr<DeviceCopy> copy;  // once a function on a device has used the variable

  // Makes `value` the newest. With the lock held, shared or exclusively.
  void bring_to_host();
  // The copy on that device, made there if need be. With the lock held exclusively.
  DeviceCopy& on_device(const std::shared_ptr<Device>& device);
  // A copy of the newest value. Waits for calls that update it; `who` is for messages.
  Array snapshot(const std::string& who);
};

// What a loop does in each step: results as expressions of parameters (inputs), and of nothing
// else.
struct Body {
  std::vector<Tensor> parameters;
  std::vector<Tensor> results;
};

// What a node needs beyond its inputs. One struct for all ops: each record's comment says which
// members it uses; the others stay as they are here.
struct Attributes {
  std::vector<int> axes;                 // axes reduced, permutation, axis mapping of a broadcast
  Dims dims;                             // target shape, or starts of a slice
  std::vector<std::int64_t> integers;    // steps of a slice, an integer literal, flags
  DType dtype = DType::f32;              // cast, iota, literal
  double real = 0;                       // floating literal, not rounded if it is weak
  bool weak = false;                     // literal, cast: has no dtype of its own (Node::weak)
  std::string name;                      // inputs and shared variables
  std::uint64_t identity = 0;            // inputs: makes each variable distinct
  std::shared_ptr<SharedState> state;    // shared variables
  std::shared_ptr<const Array> array;    // constant arrays (compared by buffer address)
  std::shared_ptr<const Body> body;      // loops and their results (compared by its expressions)
  std::shared_ptr<const Callee> callee;  // calls (compared by address)

  bool operator==(const Attributes& other) const;
  std::size_t hash() const;
  std::string to_string() const;  // "axes=[0] dims=(batch, 3)", only what is set
};

// Two sizes that must be equal for a node to be valid; unknown until the call when symbolic.
struct SizeConstraint {
  Dim left, right;
  std::string message;  // "add: sizes differ: x.shape[0] and y.shape[0]  [model.cpp:3]"
  // What the message says in place of %0, %1, ...; empty: whoever reports it adds both sizes.
  Dims values = {};
  bool is_count = false;  // a number of steps is not negative: the first thing that a call checks

  // The message with the text of each of `values`.
  std::string text(const std::function<std::string(const Dim&)>& shown) const;
};

// Expressions of a million nodes are possible, so that a node is small: equal types and attributes
// of nodes made one after the other are shared.
class Node {
 public:
  Node(const OpRecord& record, std::shared_ptr<const Attributes> its_attributes,
       std::vector<Tensor> operands, std::shared_ptr<const TensorType> its_type,
       std::vector<SizeConstraint> checks, SourceLine at, std::size_t hash_value, bool is_weak)
      : op(record),
        shared_attributes(std::move(its_attributes)),
        shared_type(std::move(its_type)),
        attributes(*shared_attributes),
        inputs(std::move(operands)),
        type(*shared_type),
        constraints(std::move(checks)),
        line(at),
        hash(hash_value),
        weak(is_weak) {}
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  const OpRecord& op;
  const std::shared_ptr<const Attributes> shared_attributes;  // not null, as is the next
  const std::shared_ptr<const TensorType> shared_type;
  const Attributes& attributes;
  const std::vector<Tensor> inputs;
  const TensorType& type;
  const std::vector<SizeConstraint> constraints;
  const SourceLine line;
  const std::size_t hash;
  // Made of literals only: the dtype is what it is where it meets no tensor that has one of its own
  // (ops/weak.h). Graphs do not know it: there every vertex has its dtype.
  const bool weak;
  mutable const Node* next_dead = nullptr;  // of those that wait for their memory to be freed
};

// The node of that op on those inputs: its type is inferred (ShapeError or TypeError naming the
// op, the types and the line when it cannot be), and an equal existing node is returned if there
// is one. The line is LineScope's or `line`.
Tensor make_node(const OpRecord& op, std::vector<Tensor> inputs, Attributes attributes,
                 SourceLine line);

// All nodes that `roots` reach, each once, inputs before users. Iterative.
std::vector<Tensor> topological_order(std::span<const Tensor> roots);

// Calls `visit` for the sizes in the types and attributes of all nodes that `roots` reach, those in
// the bodies of loops included, with the node's line; each possibly more than once.
void visit_dims(std::span<const Tensor> roots,
                const std::function<void(const Dim&, SourceLine)>& visit);
// The same for the size variables in them.
void visit_sizes(std::span<const Tensor> roots,
                 const std::function<void(const DimAtomRef&)>& visit);

// `roots` with every node that `replace` maps to a tensor replaced, and users rebuilt.
std::vector<Tensor> substitute(std::span<const Tensor> roots,
                               const std::function<std::optional<Tensor>(const Tensor&)>& replace);

}  // namespace kroton
