// What a compiled function keeps, and the plan of its calls.
#pragma once
#include <kroton/function.h>

#include <atomic>
#include <mutex>
#include <optional>

#include "compiler/compile.h"
#include "frontend/size_limits.h"
#include "runtime/storage.h"

namespace kroton::detail {

WinogradTiles winograd_tiles(Winograd asked);

// What one axis of an input says about the sizes.
struct AxisRule {
  enum class Kind : std::uint8_t {
    constant,  // must be `constant`
    bind,      // gives variable `slot` its value
    equal,     // must equal variable `slot`, bound by an axis before
    computed   // must equal `dim`, known once all variables are bound
  };
  Kind kind = Kind::constant;
  std::int64_t constant = 0;
  int slot = -1;
  Dim dim;
};

// A size that a call must find at least that large.
struct SizeBound {
  Dim size;
  std::int64_t least = 0;
  std::string message;  // "broadcast: axis 0 has a negative size  [model.cpp:3]"
};

// What a call needs apart from the Arrays: kept between calls, one per call in progress.
struct CallFrame {
  std::vector<std::int64_t> raw_sizes;  // the inputs' size variables, by slot
  std::vector<std::int64_t> sizes;      // what the entry gets
  std::vector<Shape> output_shapes;
  std::vector<void*> args;
  std::vector<const Storage*> storages;  // by argument; null for one on the host
  std::vector<std::uint64_t> numbers;    // storage for arguments given as C++ numbers
  Array arena;                           // bytes
  std::int64_t workers = 0;
  bool valid = false;  // sizes, output_shapes and arena belong to raw_sizes and workers
};

class Profiler;

// What is known of a function before it is lowered, whether it is then run or written to a file.
struct FunctionPlan {
  std::string name;  // for messages
  SourceLine line;
  std::vector<Tensor> inputs;
  std::vector<std::vector<AxisRule>> rules;  // by input and axis
  std::map<std::uint64_t, int> slots;        // of the inputs' size variables
  std::vector<int> value_slots;              // by input: the slot that its value fills, or -1
  std::vector<DimAtomRef> slot_variables;    // by slot: the variable as the inputs' types have it
  // Not settled when the graph was built, in the order of their checks: what sizes are divided by,
  // sizes that must be equal, sizes that may come out negative.
  std::vector<SizeBound> divisors;
  std::vector<SizeConstraint> constraints;
  std::vector<SizeBound> extents;

  // Checks what the user asks for and plans the sizes; the graph of it is put into `graph`.
  FunctionPlan(const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs,
               const FunctionOptions& options, SourceLine line, std::unique_ptr<Graph>& graph);
  // By Program size: its slot, or -1 for the number of workers.
  std::vector<int> slots_of(const std::vector<DimAtomRef>& sizes) const;
};

struct FunctionCore::Parts : FunctionPlan {
  using FunctionPlan::FunctionPlan;
  double compile_seconds = 0;
  std::shared_ptr<Device> device;  // null: on the CPU
  int device_number = 0;
  bool uploads = true, downloads = true;
  std::vector<int> size_slots;            // slots_of the Program's sizes
  std::vector<LockRequest> locks;         // of the Program's states
  std::vector<LockRequest> moving_locks;  // for a call that moves what it reads
  std::vector<CountedShape> counted;      // checked at a call
  Program program;
  std::unique_ptr<Executable> executable;
  std::unique_ptr<Graph> graph;        // optimised
  std::unique_ptr<Profiler> profiler;  // of functions made for profiling only
  // One frame waits here between calls; further ones are made for calls at the same time.
  mutable std::atomic<CallFrame*> spare{nullptr};

  ~Parts();
  std::int64_t evaluate(const Dim& dim, const std::vector<std::int64_t>& raw_sizes,
                        std::int64_t workers) const;
  void bind_inputs(std::span<const Argument> arguments, CallFrame& frame,
                   std::vector<Array>& copies) const;
  // DeviceError for an Array that the function cannot use where it is; `which` is for the message.
  const Storage* storage_of(const Array& array, bool moves, const std::string& which) const;
  // The value of an input that is a number of steps.
  void bind_value(std::size_t input, const void* value, CallFrame& frame) const;
  void prepare(CallFrame& frame) const;
  void check_bounds(const std::vector<SizeBound>& bounds, const CallFrame& frame,
                    std::int64_t workers) const;
  void prepare_results(std::span<const Argument> arguments, std::span<Array> results, bool given,
                       CallFrame& frame) const;
  // After an error of memory, or of a size beyond 64 bits: ValueError naming the scan whose steps
  // are the reason, if one is.
  void check_steps(const CallFrame& frame) const;
  void run(CallFrame& frame) const;
  [[noreturn]] void fail(const kroton_error& error) const;
};

}  // namespace kroton::detail
