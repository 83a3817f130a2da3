// Calls of compiled functions: arguments checked, sizes bound, results allocated, code run.
#include <kroton/error.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <optional>

#include "compiler/ir/node.h"
#include "compiler/loop/scalar.h"
#include "compiler/ops/records.h"
#include "frontend/function_parts.h"
#include "frontend/profiler.h"
#include "runtime/device_copy.h"
#include "runtime/pool.h"
#include "runtime/print.h"
#include "runtime/visit.h"

namespace kroton::detail {
namespace {

std::string dtype_name(DType dtype) { return std::string(name_of(dtype)); }

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  const auto position = text.find(what);
  return position == std::string::npos ? text : text.replace(position, what.size(), by);
}

// The frame of a call, given back at its end.
class FrameLease {
 public:
  explicit FrameLease(std::atomic<CallFrame*>& spare)
      : spare_(spare), frame_(spare.exchange(nullptr, std::memory_order_acquire)) {
    if (!frame_) frame_ = new CallFrame;
  }
  ~FrameLease() { delete spare_.exchange(frame_, std::memory_order_acq_rel); }
  FrameLease(const FrameLease&) = delete;
  FrameLease& operator=(const FrameLease&) = delete;
  CallFrame& operator*() { return *frame_; }

 private:
  std::atomic<CallFrame*>& spare_;
  CallFrame* frame_;
};

bool overlap(const Array& a, const Array& b) {
  if (a.size() == 0 || b.size() == 0) return false;
  // A view with strides reaches from its first element to its last.
  const Storage* const a_storage = ArrayAccess::on_device(a);
  const Storage* const b_storage = ArrayAccess::on_device(b);
  if ((a_storage ? a_storage->device : nullptr) != (b_storage ? b_storage->device : nullptr)) {
    return false;
  }
  const auto range = [](const Array& x) {
    const auto* first = reinterpret_cast<const char*>(ArrayAccess::address(x));
    std::ptrdiff_t low = 0, high = 0;
    const Shape strides = x.strides();
    for (int axis = 0; axis < x.rank(); ++axis) {
      const std::ptrdiff_t reach = (x.shape()[axis] - 1) * strides[axis];
      (reach < 0 ? low : high) += reach;
    }
    const auto bytes = static_cast<std::ptrdiff_t>(size_of(x.dtype()));
    return std::pair{first + low * bytes, first + (high + 1) * bytes};
  };
  const auto [a_first, a_last] = range(a);
  const auto [b_first, b_last] = range(b);
  return a_first < b_last && b_first < a_last;
}

// An address for arrays without elements: compiled code may form it but not read it.
void store_number(const Argument& argument, const Tensor& input, const std::string& function,
                  std::uint64_t& storage) {
  const DType dtype = input.dtype();
  if (!is_float(dtype) && argument.is_floating()) {
    throw TypeError(function + ": " + input.name() + " is " + dtype_name(dtype) +
                    ", the argument is a floating number");
  }
  if (is_integer(dtype) && argument.is_above_i64() && dtype != DType::u64) {
    throw ValueError(function + ": " +
                     std::to_string(static_cast<std::uint64_t>(argument.integer())) + " for " +
                     input.name() + " does not fit " + dtype_name(dtype));
  }
  const bool has_real = argument.is_floating() || argument.is_above_i64();
  visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
    T value{};
    if constexpr (is_floating_element<T>) {
      value = has_real ? static_cast<T>(argument.real()) : static_cast<T>(argument.integer());
    } else {
      value = static_cast<T>(argument.integer());
      if (is_integer(dtype) && !argument.is_above_i64() && !holds(dtype, argument.integer())) {
        throw ValueError(function + ": " + std::to_string(argument.integer()) + " for " +
                         input.name() + " does not fit " + dtype_name(dtype));
      }
    }
    std::memcpy(&storage, &value, sizeof value);
  });
}

}  // namespace

std::int64_t FunctionCore::Parts::evaluate(const Dim& dim,
                                           const std::vector<std::int64_t>& raw_sizes,
                                           std::int64_t workers) const {
  if (dim.is_constant()) return dim.constant();
  try {
    return dim.evaluate([&](const DimAtom& atom) {
      const auto it = slots.find(atom.identity);
      return it == slots.end() ? workers : raw_sizes[static_cast<std::size_t>(it->second)];
    });
  } catch (const ValueError& error) {  // it does not fit in 64 bits
    throw ValueError(name + ": " + error.what() + ": " + dim.to_string() + "  [" + to_string(line) +
                     "]");
  }
}

const Storage* FunctionCore::Parts::storage_of(const Array& array, bool moves,
                                               const std::string& which) const {
  const Storage* storage = ArrayAccess::on_device(array);
  const auto runs_on = [&] { return device ? device->name() : std::string("the CPU"); };
  if (!storage) {
    if (!device || moves) return nullptr;
    throw DeviceError(name + ": " + which + " is on the host, the function runs on " + runs_on() +
                      " and moves nothing: to(kt::cuda(" + std::to_string(device_number) +
                      ")) copies it there");
  }
  if (storage->device != device) {
    throw DeviceError(name + ": " + which + " is on " + place_of(array) +
                      ", the function runs on " + runs_on() + ": to(" +
                      (device ? "kt::cuda(" + std::to_string(device_number) + ")" : "kt::cpu()") +
                      ") copies it there");
  }
  if (storage->is_foreign && array.size() > 0) {
    const std::string why = device->why_foreign(ArrayAccess::address(array));
    if (!why.empty()) {
      throw DeviceError(name + ": " + which + ", a view of memory on " + device->name() + ", " +
                        why);
    }
  }
  return storage;
}

void FunctionCore::Parts::bind_value(std::size_t input, const void* value, CallFrame& frame) const {
  const std::int64_t count = loop::read_element(value, inputs[input].dtype()).integer;
  if (count < 0) {
    throw ValueError(name + ": " + inputs[input].name() +
                     " sets a number of steps and cannot be negative, the argument is " +
                     std::to_string(count));
  }
  std::int64_t& size = frame.raw_sizes[static_cast<std::size_t>(value_slots[input])];
  if (size == count) return;
  size = count;
  frame.valid = false;
}

void FunctionCore::Parts::bind_inputs(std::span<const Argument> arguments, CallFrame& frame,
                                      std::vector<Array>& copies) const {
  if (arguments.size() != inputs.size()) {
    std::string names;
    for (const Tensor& input : inputs) names += (names.empty() ? "" : ", ") + input.name();
    throw ValueError(name + ": takes " + std::to_string(inputs.size()) + " arguments (" + names +
                     "), got " + std::to_string(arguments.size()));
  }
  std::vector<std::int64_t>& sizes = frame.raw_sizes;
  if (sizes.size() != slot_variables.size()) sizes.assign(slot_variables.size(), -1);
  frame.numbers.resize(inputs.size());
  frame.args.resize(inputs.size() + program.states.size() + program.outputs.size());
  frame.storages.assign(frame.args.size(), nullptr);
  bool has_computed = false;
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    const Tensor& input = inputs[k];
    const Array* array = arguments[k].array();
    if (!array) {
      if (!rules[k].empty()) {
        throw ShapeError(name + ": " + input.name() + " is " + to_string(input.type()) +
                         ", the argument is a number");
      }
      store_number(arguments[k], input, name, frame.numbers[k]);
      frame.args[k] = &frame.numbers[k];
      if (value_slots[k] >= 0) bind_value(k, &frame.numbers[k], frame);
      continue;
    }
    const auto mismatch = [&] {
      return name + ": " + input.name() + " is " + to_string(input.type()) + ", the argument is " +
             dtype_name(array->dtype()) + " " + to_string(array->shape());
    };
    if (array->dtype() != input.dtype()) throw TypeError(mismatch());
    const Shape& shape = array->shape();
    if (shape.rank() != static_cast<int>(rules[k].size())) throw ShapeError(mismatch());
    for (std::size_t axis = 0; axis < rules[k].size(); ++axis) {
      const AxisRule& rule = rules[k][axis];
      const std::int64_t extent = shape[static_cast<int>(axis)];
      switch (rule.kind) {
        case AxisRule::Kind::constant:
          if (extent != rule.constant) throw ShapeError(mismatch());
          break;
        case AxisRule::Kind::bind: {
          std::int64_t& size = sizes[static_cast<std::size_t>(rule.slot)];
          if (size != extent) {
            size = extent;
            frame.valid = false;
          }
          break;
        }
        case AxisRule::Kind::equal:
          if (extent != sizes[static_cast<std::size_t>(rule.slot)]) {
            throw ShapeError(mismatch() + ", but " +
                             slot_variables[static_cast<std::size_t>(rule.slot)]->name + " is " +
                             std::to_string(sizes[static_cast<std::size_t>(rule.slot)]));
          }
          break;
        case AxisRule::Kind::computed:
          has_computed = true;
          break;
      }
    }
    if (array->is_on_device() || !uploads) {
      frame.storages[k] = storage_of(*array, uploads, input.name());
    }
    if (frame.storages[k]) {
      if (value_slots[k] >= 0) {
        throw DeviceError(name + ": " + input.name() +
                          " sets a number of steps, which the host must know; the argument is on " +
                          place_of(*array));
      }
      frame.args[k] = reinterpret_cast<void*>(ArrayAccess::address(*array));
      continue;
    }
    const Array* used = array;
    if (!array->is_row_major()) {
      copies.push_back(array->contiguous());
      used = &copies.back();
    }
    // The entry takes one kind of pointer; it only reads inputs.
    frame.args[k] = const_cast<void*>(address_of(*used));
    if (value_slots[k] >= 0) bind_value(k, used->raw(), frame);
  }
  if (!has_computed) return;
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    for (std::size_t axis = 0; axis < rules[k].size(); ++axis) {
      const AxisRule& rule = rules[k][axis];
      if (rule.kind != AxisRule::Kind::computed) continue;
      const std::int64_t want = evaluate(rule.dim, sizes, 1);
      const std::int64_t have = arguments[k].array()->shape()[static_cast<int>(axis)];
      if (have != want) {
        throw ShapeError(name + ": " + inputs[k].name() + " is " + to_string(inputs[k].type()) +
                         ", where " + rule.dim.to_string() + " is " + std::to_string(want) +
                         "; the argument is " + to_string(arguments[k].array()->shape()));
      }
    }
  }
}

void FunctionCore::Parts::check_bounds(const std::vector<SizeBound>& bounds, const CallFrame& frame,
                                       std::int64_t workers) const {
  for (const SizeBound& bound : bounds) {
    const std::int64_t value = evaluate(bound.size, frame.raw_sizes, workers);
    if (value >= bound.least) continue;
    throw ShapeError(name + ": " + bound.message + ": " + bound.size.to_string() + " is " +
                     std::to_string(value));
  }
}

// Everything that follows from the sizes.
void FunctionCore::Parts::prepare(CallFrame& frame) const {
  const std::int64_t workers = executable->workers();
  if (frame.valid && frame.workers == workers) return;
  frame.valid = false;
  check_bounds(divisors, frame, workers);
  const auto value_of = [&](const DimAtom& atom) {
    const auto slot = slots.find(atom.identity);
    return slot == slots.end() ? workers : frame.raw_sizes[static_cast<std::size_t>(slot->second)];
  };
  for (const CountedShape& shape : counted) check_count(shape, name, value_of);
  for (const SizeConstraint& c : constraints) {
    const std::int64_t left = evaluate(c.left, frame.raw_sizes, workers);
    const std::int64_t right = evaluate(c.right, frame.raw_sizes, workers);
    if (left != right) {
      if (!c.values.empty()) {
        const std::string message = name + ": " + c.text([&](const Dim& dim) {
          return std::to_string(evaluate(dim, frame.raw_sizes, workers));
        });
        if (c.is_count) throw ValueError(message);
        throw ShapeError(message);
      }
      std::string values;
      for (const auto& [dim, value] : {std::pair(&c.left, left), std::pair(&c.right, right)}) {
        if (dim->is_constant()) continue;
        values += (values.empty() ? "" : ", ") + dim->to_string() + " is " + std::to_string(value);
      }
      throw ShapeError(name + ": " + c.message + ": " + values);
    }
  }
  check_bounds(extents, frame, workers);
  frame.sizes.clear();
  for (int slot : size_slots) {
    frame.sizes.push_back(slot < 0 ? workers : frame.raw_sizes[static_cast<std::size_t>(slot)]);
  }
  frame.output_shapes.clear();
  try {
    for (const TensorType& type : program.outputs) {
      Shape shape;
      for (const Dim& d : type.shape) shape.push_back(evaluate(d, frame.raw_sizes, workers));
      frame.output_shapes.push_back(shape);
    }
    const std::int64_t bytes = executable->uses_host_memory()
                                   ? evaluate(program.arena_bytes, frame.raw_sizes, workers)
                                   : 0;
    if (bytes > frame.arena.nbytes()) {
      frame.arena = Array();  // before its successor is made
      frame.arena = Array::empty({bytes}, boolean);
    }
  } catch (const ValueError&) {
    check_steps(frame);
    throw;
  }
  frame.workers = workers;
  frame.valid = true;
}

void FunctionCore::Parts::check_steps(const CallFrame& frame) const {
  struct {
    double bytes = 0;
    Graph::Vertex vertex = 0;
    std::int64_t steps = -1;  // none: the value is not that of all steps of a scan
  } largest;
  for (const Graph::Vertex v : graph->topological_order()) {
    const VertexData& data = (*graph)[v];
    double bytes = static_cast<double>(size_of(data.type.dtype));
    std::int64_t steps = -1;
    try {
      for (const Dim& dim : data.type.shape) {
        bytes *= static_cast<double>(evaluate(dim, frame.raw_sizes, 1));
      }
      if (data.op == &scan_stack_op) {
        steps = evaluate(data.type.shape[0], frame.raw_sizes, 1);
      }
    } catch (const ValueError&) {
      continue;
    }
    // Of equal ones the first is meant: what is computed from all steps is as large.
    if (bytes > largest.bytes) largest = {bytes, v, steps};
  }
  if (largest.steps < 0) return;
  const VertexData& data = (*graph)[largest.vertex];
  if (data.attributes.body == nullptr) return;  // the last state
  throw ValueError(name + ": scan: there is no memory for the values of all " +
                   std::to_string(largest.steps) + " steps, " + to_string(data.type) + "  [" +
                   to_string(data.line) + "]");
}

void FunctionCore::Parts::prepare_results(std::span<const Argument> arguments,
                                          std::span<Array> results, bool given,
                                          CallFrame& frame) const {
  if (results.size() != program.outputs.size()) {
    throw ValueError(name + ": has " + std::to_string(program.outputs.size()) + " outputs, got " +
                     std::to_string(results.size()) + " arrays to write into");
  }
  const std::size_t first = inputs.size() + program.states.size();
  for (std::size_t k = 0; k < results.size(); ++k) {
    const Shape& shape = frame.output_shapes[k];
    const DType dtype = program.outputs[k].dtype;
    if (!given) {
      try {
        results[k] = device && !downloads ? empty_on_device(device, device_number, shape, dtype,
                                                            *executable->stream())
                                          : Array::empty(shape, dtype);
      } catch (const ValueError&) {
        check_steps(frame);
        throw;
      }
    } else {
      const std::string which = name + ": output " + std::to_string(k);
      const std::string mismatch = which + " is " + dtype_name(dtype) + " " + to_string(shape) +
                                   ", the given array is " + dtype_name(results[k].dtype()) + " " +
                                   to_string(results[k].shape());
      if (results[k].dtype() != dtype) throw TypeError(mismatch);
      if (!(results[k].shape() == shape)) throw ShapeError(mismatch);
      if (!results[k].is_row_major()) {
        throw ValueError(which + ": the given array is not row-major");
      }
      for (std::size_t i = 0; i < arguments.size(); ++i) {
        if (arguments[i].array() && overlap(results[k], *arguments[i].array())) {
          throw ValueError(which + ": the given array overlaps the argument " + inputs[i].name());
        }
      }
      for (std::size_t i = 0; i < k; ++i) {
        if (overlap(results[k], results[i])) {
          throw ValueError(which + ": the given array overlaps that of output " +
                           std::to_string(i));
        }
      }
    }
    if (!results[k].is_on_device() && downloads) {
      frame.args[first + k] = address_of(results[k]);
      continue;
    }
    const std::string which = "the given array of output " + std::to_string(k);
    const Storage* storage = storage_of(results[k], downloads, which);
    if (storage && results[k].is_read_only()) {
      throw ValueError(name + ": " + which + " is a view of const memory");
    }
    frame.storages[first + k] = storage;
    frame.args[first + k] = storage ? reinterpret_cast<void*>(ArrayAccess::address(results[k]))
                                    : address_of(results[k]);
  }
}

void FunctionCore::Parts::run(CallFrame& frame) const {
  std::optional<HeldLocks> held(std::in_place, locks, name);
  if (executable->moves_what_it_reads()) {
    held.reset();
    held.emplace(moving_locks, name);
  }
  CallContext context{make_context(Pool::global()), nullptr};
  context.workers = frame.workers;
  context.print = kroton_print_value;
  const Executable::Call call{frame.args, frame.sizes, frame.arena.raw(), frame.storages};
  const kroton_error error =
      profiler ? profiler->run(*executable, call, context) : executable->run(call, context);
  if (error.code != KROTON_OK) fail(error);
}

void FunctionCore::Parts::fail(const kroton_error& error) const {
  const CheckSite& site = program.sites[static_cast<std::size_t>(error.site)];
  std::string size = std::to_string(error.size);
  if (site.kind == CheckSite::Kind::value) {
    const double value = std::bit_cast<double>(error.size);
    size = std::isnan(value) ? "NaN" : value < 0 ? "-inf" : "inf";
  }
  const std::string message =
      name + ": " +
      replaced(replaced(site.message, "%index", std::to_string(error.index)), "%size", size);
  if (site.kind == CheckSite::Kind::memory) throw InternalError(message);
  if (site.kind == CheckSite::Kind::external) throw ExternalError(message);
  if (site.kind == CheckSite::Kind::value) throw NotFiniteError(message);
  throw ValueError(message);
}

void FunctionCore::call(std::span<const Argument> arguments, std::span<Array> results,
                        bool given) const {
  FrameLease lease(parts_->spare);
  CallFrame& frame = *lease;
  std::vector<Array> copies;
  parts_->bind_inputs(arguments, frame, copies);
  parts_->prepare(frame);
  parts_->prepare_results(arguments, results, given, frame);
  parts_->run(frame);
}

}  // namespace kroton::detail
