#include "compiler/codegen/cuda/run_program.h"

#include <kroton/error.h>

#include <algorithm>
#include <cstdio>

#include "compiler/base/dump.h"
#include "compiler/contraction/library_product.h"
#include "compiler/ir/node.h"
#include "compiler/ops/call.h"
#include "runtime/device_copy.h"
#include "runtime/print.h"

namespace kroton::codegen {
namespace {

std::int64_t floor_div(std::int64_t a, std::int64_t b) {
  return b == 0 ? 0 : a / b - ((a % b != 0) && ((a < 0) != (b < 0)) ? 1 : 0);
}

// The host decides what runs next while it runs.
bool depends_on_values(const std::vector<Step>& steps) {
  return std::any_of(steps.begin(), steps.end(), [](const Step& step) {
    return visit(
        step, [](const loop::Kernel&) { return false; },

        [](const Scan& scan) { return scan.idle != nullptr || depends_on_values(scan.steps); },
        [](const Branch&) { return true; }, [](const kroton::Call&) { return true; });
  });
}

}  // namespace

DeviceProgram::DeviceProgram(const Program& program, const CudaProgram& emitted,
                             std::shared_ptr<Device> device, const How& how)
    : program_(program),
      emitted_(emitted),
      device_(std::move(device)),
      how_{how.graphs && device_->has_graphs() && !depends_on_values(program.steps),
           how.products && device_->has_products()},
      module_(device_->compile(emitted_.source, program.name)),
      error_(device_, sizeof(kroton_error)) {
  for (const Array& constant : program_.constants) {
    const Array values = constant.contiguous();
    DeviceMemory& memory = constants_.emplace_back(
        device_, values.size() * static_cast<std::int64_t>(size_of(values.dtype())));
    device_->upload(memory.address(), values.raw(), memory.bytes());
  }
  const std::size_t argument_count =
      program_.inputs.size() + program_.states.size() + program_.outputs.size();
  arguments_.resize(argument_count);
  argument_addresses_.resize(argument_count);
  for (const CudaKernel& kernel : emitted_.kernels) {
    LoadedKernel& loaded = kernels_.emplace_back();
    loaded.emitted = &kernel;
    loaded.handle = module_->kernel(kernel.name);
    for (const loop::BufferRef& buffer : kernel.buffers) {
      loaded.buffers.push_back(position_of(buffer));
    }
  }
  for_each_kernel(program_.steps, [&](const loop::Kernel& kernel) {
    const int number = static_cast<int>(kernel_numbers_.size());
    kernel_numbers_[&kernel] = number;
  });
  if (kernels_.size() != kernel_numbers_.size()) {
    throw InternalError("cuda: " + program_.name + " has " +
                        std::to_string(kernel_numbers_.size()) + " kernels, " +
                        std::to_string(kernels_.size()) + " are emitted");
  }
  for (const auto& [kernel, number] : kernel_numbers_) {
    LoadedKernel& loaded = kernels_[static_cast<std::size_t>(number)];
    loaded.updates = std::any_of(kernel->outputs.begin(), kernel->outputs.end(),
                                 [&](const auto& buffer) { return is_state(buffer); });
    if (!how_.products || !kernel->instead) continue;
    const LibraryProduct& p = *kernel->instead;
    loaded.product = {&p,
                      position_of(p.a.buffer),
                      position_of(p.b.buffer),
                      position_of(p.result.buffer),
                      p.c ? position_of(p.c) : -1,
                      p.bias ? position_of(p.bias) : -1};
  }
  place_buffers(program_.steps);
  if (how.products && !how_.products && dumps("cuda")) {
    std::fprintf(stderr, "== products by kernels\n%s\n", device_->why_no_products().c_str());
  }
}

int DeviceProgram::position_of(const loop::BufferRef& buffer) {
  const auto [it, fresh] = positions_.emplace(buffer->id, static_cast<int>(buffers_.size()));
  const int position = it->second;
  if (!fresh) return position;
  const auto place = program_.placements.find(buffer->id);
  if (place == program_.placements.end() || place->second.kind == Placement::Kind::worker_scratch) {
    throw InternalError(
        "cuda: buffer " + buffer->name + " of " + program_.name +
        (place == program_.placements.end() ? " has no place" : " is scratch of a CPU's worker"));
  }
  buffers_.push_back({buffer, place->second, -1, 0, 0});
  if (place->second.kind == Placement::Kind::part) {
    const int of = position_of(place->second.of);
    buffers_[static_cast<std::size_t>(position)].of = of;
  }
  return position;
}

// Whether the buffer is a shared variable, or a part of one.
bool DeviceProgram::is_state(const loop::BufferRef& buffer) {
  const PlacedBuffer& placed = buffers_[static_cast<std::size_t>(position_of(buffer))];
  const Placement& place =
      placed.of < 0 ? placed.place : buffers_[static_cast<std::size_t>(placed.of)].place;
  const auto first = static_cast<int>(program_.inputs.size());
  return place.kind == Placement::Kind::argument && place.argument >= first &&
         place.argument < first + static_cast<int>(program_.states.size());
}

// What steps other than kernels read.
void DeviceProgram::place_buffers(const std::vector<Step>& steps) {
  for (const Step& step : steps) {
    if (!as<loop::Kernel>(step)) {
      for_each_buffer(step, [this](const loop::BufferRef& buffer) { position_of(buffer); });
    }
    for_each_inner(step, [this](const auto& inner) { place_buffers(inner); });
  }
}

std::int64_t DeviceProgram::evaluate(const Dim& dim) const {
  if (dim.is_constant()) return dim.constant();
  return dim.evaluate([&](const DimAtom& atom) {
    const auto found = size_values_.find(atom.identity);
    if (found == size_values_.end()) {
      throw InternalError("cuda: " + program_.name + " does not get the size " + atom.name);
    }
    return found->second;
  });
}

std::int64_t DeviceProgram::evaluate(const loop::Expr& e) const {
  const auto argument = [&](std::size_t k) { return evaluate(e->args[k]); };
  switch (e->op) {
    case loop::Op::integer:
      return e->integer;
    case loop::Op::size:
      return evaluate(e->dim);
    case loop::Op::variable:
      if (const auto found = variables_.find(e->variable.id); found != variables_.end()) {
        return found->second;
      }
      break;
    case loop::Op::add:
      return argument(0) + argument(1);
    case loop::Op::sub:
      return argument(0) - argument(1);
    case loop::Op::mul:
      return argument(0) * argument(1);
    case loop::Op::neg:
      return -argument(0);
    case loop::Op::min:
      return std::min(argument(0), argument(1));
    case loop::Op::max:
      return std::max(argument(0), argument(1));
    case loop::Op::floor_div:
      return floor_div(argument(0), argument(1));
    case loop::Op::mod:
      return argument(1) == 0 ? 0 : argument(0) - floor_div(argument(0), argument(1)) * argument(1);
    default:
      break;
  }
  throw InternalError("cuda: the host cannot evaluate " + loop::to_string(e) + " of " +
                      program_.name);
}

// Everything that follows from the sizes: memory, addresses, grids.
void DeviceProgram::bind(std::span<const HostMemory> inputs, std::span<const HostMemory> outputs,
                         std::span<const std::int64_t> sizes) {
  const bool same_sizes = std::equal(sizes.begin(), sizes.end(), sizes_.begin(), sizes_.end());
  if (!same_sizes) {
    sizes_.clear();  // not valid until all is done
    for (std::size_t k = 0; k < sizes.size(); ++k) {
      size_values_[program_.sizes[k]->identity] = sizes[k];
    }
  }
  const auto provide = [&](std::size_t argument, std::int64_t bytes) {
    grow(arguments_[argument], bytes);
    argument_addresses_[argument] = arguments_[argument].address();
  };
  const std::size_t first_output = inputs.size() + program_.states.size();
  for (std::size_t k = 0; k < inputs.size(); ++k) provide(k, inputs[k].bytes);
  for (std::size_t k = 0; k < outputs.size(); ++k) provide(first_output + k, outputs[k].bytes);
  for (std::size_t k = 0; k < program_.states.size(); ++k) {
    SharedState& state = *program_.states[k];
    argument_addresses_[inputs.size() + k] = state.on_device(device_).bring_to_device(state.value);
  }
  if (!same_sizes) {
    grow(arena_, evaluate(program_.arena_bytes));
    for (PlacedBuffer& placed : buffers_) {
      placed.bytes =
          evaluate(placed.buffer->size) * static_cast<std::int64_t>(size_of(placed.buffer->dtype));
      if (placed.place.kind == Placement::Kind::arena) {
        placed.start = arena_.address() + static_cast<DeviceAddress>(evaluate(placed.place.offset));
      } else if (placed.place.kind == Placement::Kind::constant) {
        placed.start = constants_[static_cast<std::size_t>(placed.place.argument)].address();
      }
    }
    for (LoadedKernel& kernel : kernels_) {
      kernel.blocks = evaluate(kernel.emitted->blocks);
      kernel.derived_sizes.clear();
      if (kernel.blocks == 0) continue;
      for (const Dim& size : kernel.emitted->derived_sizes) {
        kernel.derived_sizes.push_back(evaluate(size));
      }
    }
    sizes_.assign(sizes.begin(), sizes.end());
  }
  for (PlacedBuffer& placed : buffers_) {
    if (placed.place.kind == Placement::Kind::argument) {
      placed.start = argument_addresses_[static_cast<std::size_t>(placed.place.argument)];
    }
  }
}

// To at least that many bytes. Memory that grows gets half as much again: sizes that creep up ask
// for it a few times only, and the graphs that use it are not lost at every one of them.
void DeviceProgram::grow(DeviceMemory& memory, std::int64_t bytes) {
  if (memory.bytes() >= bytes) return;
  graphs_.forget_graphs();
  const std::int64_t more = memory.bytes() + memory.bytes() / 2;
  memory = {};
  if (more > bytes) {
    try {
      memory = DeviceMemory(device_, more);
      return;
    } catch (const DeviceError&) {  // NOLINT(bugprone-empty-catch): there may be room for less
    }
  }
  memory = DeviceMemory(device_, bytes);
}

DeviceAddress DeviceProgram::address_of(const PlacedBuffer& placed) const {
  if (placed.of < 0) return placed.start;
  return buffers_[static_cast<std::size_t>(placed.of)].start +
         static_cast<DeviceAddress>(evaluate(placed.place.start)) * size_of(placed.buffer->dtype);
}

// False for one that the library does not compute; products of nothing are never given to it.
bool DeviceProgram::run_product(const PlacedProduct& placed) {
  const LibraryProduct& p = *placed.product;
  DeviceProduct call;
  call.dtype = p.result.buffer->dtype;
  call.rows = evaluate(p.rows);
  call.columns = evaluate(p.columns);
  call.inner = evaluate(p.inner);
  call.batch = evaluate(p.batch);
  if (std::min({call.rows, call.columns, call.inner, call.batch}) == 0) return false;
  const auto address = [&](int position) {
    return address_of(buffers_[static_cast<std::size_t>(position)]);
  };
  const auto matrix = [&](const LibraryProduct::Matrix& m, int position) -> DeviceProduct::Matrix {
    return {address(position), evaluate(m.leading), evaluate(m.batch_stride), m.transposed};
  };
  call.a = matrix(p.a, placed.a);
  call.b = matrix(p.b, placed.b);
  call.d = matrix(p.result, placed.result);
  if (placed.c >= 0) {
    call.c = call.d;
    call.c.address = address(placed.c);
  }
  if (placed.bias >= 0) call.bias = address(placed.bias);
  call.alpha = p.alpha;
  call.beta = p.beta;
  return device_->product(call);
}

void DeviceProgram::launch(const LoadedKernel& kernel) {
  if (kernel.blocks == 0) return;
  if (kernel.product.product && run_product(kernel.product)) {
    updating_ = updating_ || kernel.updates;
    return;
  }
  launch_arguments_.clear();
  for (int position : kernel.buffers) {
    const PlacedBuffer& placed = buffers_[static_cast<std::size_t>(position)];
    launch_arguments_.push_back({address_of(placed), placed.bytes});
  }
  for (std::int64_t size : sizes_) launch_arguments_.push_back({static_cast<std::uint64_t>(size)});
  for (std::int64_t size : kernel.derived_sizes) {
    launch_arguments_.push_back({static_cast<std::uint64_t>(size)});
  }
  launch_arguments_.push_back({error_.address(), error_.bytes()});
  device_->launch(kernel.handle, kernel.blocks, kernel.emitted->threads, launch_arguments_);
  updating_ = updating_ || kernel.updates;
}

void DeviceProgram::run_steps(const std::vector<Step>& steps) {
  for (const Step& step : steps) {
    visit(
        step,
        [this](const loop::Kernel& kernel) {
          launch(kernels_[static_cast<std::size_t>(kernel_numbers_.at(&kernel))]);
        },
        [this](const Scan& scan) {
          const std::int64_t extent = evaluate(scan.extent);
          const bool ends = scan.idle != nullptr && scan.idle_to_the_end;
          std::int64_t idle_from = extent;
          for (std::int64_t i = 0; i < extent; ++i) {
            variables_[scan.variable.id] = i;
            run_steps(idle_from < i ? scan.idle_steps : scan.steps);
            if (!ends || idle_from < i) continue;
            // The one that finds it out has brought every state to both of its rows.
            if (is_true(scan.idle)) {
              if (scan.idle_steps.empty()) break;
              idle_from = i;
            }
          }
          variables_.erase(scan.variable.id);
        },
        [this](const Branch& branch) {
          run_steps(is_true(branch.condition) ? branch.then_steps : branch.else_steps);
        },
        [this](const kroton::Call& made) { made.callee ? call(made) : show(made); });
  }
}

bool DeviceProgram::is_true(const loop::BufferRef& condition) {
  std::uint8_t value = 0;
  const int position = positions_.at(condition->id);
  device_->download(&value, address_of(buffers_[static_cast<std::size_t>(position)]), 1);
  return value != 0;
}

// By the way that printing takes on the CPU.
void DeviceProgram::show(const kroton::Call& print) {
  const TensorType& type = print.inputs[0].type;
  const std::vector<std::byte> data = downloaded(placed(print.inputs[0]));
  std::vector<std::int64_t> shape;
  for (const Dim& dim : type.shape) shape.push_back(evaluate(dim));
  CallContext context{};
  kroton_print_value(&context, print.message.c_str(), static_cast<std::int32_t>(type.dtype),
                     static_cast<std::int32_t>(shape.size()), shape.data(), data.data());
  if (context.failure) std::rethrow_exception(context.failure);
}

// On the host: what it reads is fetched, and what it gives is sent back. After a failed check it is
// not called, as no kernel does anything then.
void DeviceProgram::call(const kroton::Call& made) {
  kroton_error error{};
  device_->download(&error, error_.address(), sizeof error);
  if (error.code != KROTON_OK) return;
  std::vector<std::vector<std::byte>> memory;
  std::vector<void*> arrays;
  std::vector<std::int64_t> sizes;
  const auto add = [&](std::vector<std::byte> bytes, const TensorType& type) {
    arrays.push_back(memory.emplace_back(std::move(bytes)).data());
    for (const Dim& dim : type.shape) sizes.push_back(evaluate(dim));
  };
  for (const kroton::Call::Value& value : made.inputs) add(downloaded(placed(value)), value.type);
  for (const kroton::Call::Value& value : made.outputs) {
    add(std::vector<std::byte>(static_cast<std::size_t>(placed(value).bytes)), value.type);
  }
  error = invoke(*made.callee, made.callee->options.function, arrays, sizes);
  if (error.code != KROTON_OK) {
    error.site += made.site;
    device_->upload(error_.address(), &error, sizeof error);
    return;
  }
  for (std::size_t k = 0; k < made.outputs.size(); ++k) {
    const PlacedBuffer& to = placed(made.outputs[k]);
    device_->upload(address_of(to), arrays[made.inputs.size() + k], to.bytes);
  }
}

const DeviceProgram::PlacedBuffer& DeviceProgram::placed(const kroton::Call::Value& value) const {
  return buffers_[static_cast<std::size_t>(positions_.at(value.buffer->id))];
}

std::vector<std::byte> DeviceProgram::downloaded(const PlacedBuffer& placed) {
  std::vector<std::byte> data(static_cast<std::size_t>(placed.bytes));
  device_->download(data.data(), address_of(placed), placed.bytes);
  return data;
}

void DeviceProgram::run_all() {
  if (!program_.sites.empty()) device_->clear(error_.address(), error_.bytes());
  run_steps(program_.steps);
}

std::int64_t DeviceProgram::launches_of(const std::vector<Step>& steps) const {
  std::int64_t count = 0;
  for (const Step& step : steps) {
    if (const Scan* scan = as<Scan>(step)) {
      count += evaluate(scan->extent) * launches_of(scan->steps);
    } else if (const auto* kernel = as<loop::Kernel>(step)) {
      const int number = kernel_numbers_.at(kernel);
      count += kernels_[static_cast<std::size_t>(number)].blocks != 0 ? 1 : 0;
    } else {
      ++count;
    }
  }
  return count;
}

std::unique_ptr<DeviceGraph> DeviceProgram::captured() {
  device_->begin_capture();
  try {
    run_all();
  } catch (...) {
    device_->abandon_capture();
    updating_ = false;  // nothing has been started
    throw;
  }
  updating_ = false;
  return device_->end_capture();
}

void DeviceProgram::run_replayed() {
  // All that may be another's at the next call: own memory that moves drops the graphs.
  std::vector<std::int64_t> key = sizes_;
  for (std::size_t k = 0; k < program_.states.size(); ++k) {
    key.push_back(static_cast<std::int64_t>(argument_addresses_[program_.inputs.size() + k]));
  }
  DeviceGraph* graph = graphs_.look_up(key);
  if (!graph) {
    const std::int64_t launches = launches_of(program_.steps);
    if (!graphs_.wants(launches)) {
      run_all();
      return;
    }
    graph = graphs_.keep(captured(), launches);
  }
  device_->launch(*graph);
  updating_ = true;
}

void DeviceProgram::launch_all() {
  if (how_.graphs) {
    run_replayed();
  } else {
    run_all();
  }
}

// After an error in the middle of a call.
void DeviceProgram::give_up_states(const std::string& reason) {
  if (!updating_) return;
  for (std::size_t k = 0; k < program_.states.size(); ++k) {
    if (!program_.state_is_updated[k]) continue;
    SharedState& state = *program_.states[k];
    state.on_device(device_).written_in_part(
        "the value of " + state.name + " is lost: a call of " + program_.name +
        " failed while it was updating it on the device; set_value gives it a new one. " + reason);
  }
}

kroton_error DeviceProgram::run(std::span<const HostMemory> inputs,
                                std::span<const HostMemory> outputs,
                                std::span<const std::int64_t> sizes) {
  device_->check_usable();
  const std::lock_guard lock(device_->mutex);
  if (running_) {
    throw DeviceError(device_->name() + ": " + program_.name +
                      " is called by what its own kt::print is written to");
  }
  struct Running {
    bool& flag;
    ~Running() { flag = false; }
  } const running{running_};
  running_ = true;
  device_->begin_call(program_.name);
  bind(inputs, outputs, sizes);
  variables_.clear();
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    device_->upload(argument_addresses_[k], inputs[k].data, inputs[k].bytes);
  }
  kroton_error error{};
  updating_ = false;
  try {
    launch_all();
    if (!program_.sites.empty()) {
      device_->download(&error, error_.address(), error_.bytes());
      if (error.code != KROTON_OK) return error;
    }
  } catch (const std::exception& failure) {
    give_up_states(failure.what());
    throw;
  }
  for (std::size_t k = 0; k < program_.states.size(); ++k) {
    if (program_.state_is_updated[k]) program_.states[k]->on_device(device_).written_on_device();
  }
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    device_->download(outputs[k].data,
                      argument_addresses_[inputs.size() + program_.states.size() + k],
                      outputs[k].bytes);
  }
  return error;
}

kroton_error DeviceProgram::run(const Call& call, CallContext&) {
  // Another thread's call may be in progress: what it uses is behind the device's lock.
  std::vector<HostMemory> memory;
  const auto bytes_of = [&](const TensorType& type) {
    std::int64_t bytes = size_of(type.dtype);
    for (const Dim& dim : type.shape) {
      bytes *= dim.evaluate([&](const DimAtom& atom) {
        for (std::size_t k = 0; k < program_.sizes.size(); ++k) {
          if (program_.sizes[k]->identity == atom.identity) return call.sizes[k];
        }
        throw InternalError("cuda: " + program_.name + " does not get the size " + atom.name);
      });
    }
    return bytes;
  };
  const std::size_t inputs = program_.inputs.size();
  for (std::size_t k = 0; k < inputs; ++k) {
    memory.push_back({call.args[k], bytes_of(program_.inputs[k])});
  }
  const std::size_t first_output = inputs + program_.states.size();
  for (std::size_t k = 0; k < program_.outputs.size(); ++k) {
    memory.push_back({call.args[first_output + k], bytes_of(program_.outputs[k])});
  }
  return run(std::span(memory).first(inputs), std::span(memory).subspan(inputs), call.sizes);
}

}  // namespace kroton::codegen
