#include "compiler/codegen/cuda/run_program.h"

#include <kroton/error.h>

#include <algorithm>

#include "compiler/ir/node.h"
#include "runtime/device_copy.h"
#include "runtime/print.h"

namespace kroton::codegen {
namespace {

constexpr std::size_t most_graphs = 8;                 // kept per Program, the oldest goes
constexpr std::int64_t most_graph_launches = 1 << 16;  // longer loops are run by the host

std::int64_t floor_div(std::int64_t a, std::int64_t b) {
  return b == 0 ? 0 : a / b - ((a % b != 0) && ((a < 0) != (b < 0)) ? 1 : 0);
}

// The host decides what runs next while it runs.
bool depends_on_values(const std::vector<Step>& steps) {
  return std::any_of(steps.begin(), steps.end(), [](const Step& step) {
    const auto* loop = std::get_if<std::shared_ptr<const Loop>>(&step.kind);
    if (loop) return depends_on_values((*loop)->steps);
    return !std::holds_alternative<loop::Kernel>(step.kind);
  });
}

}  // namespace

DeviceProgram::DeviceProgram(const Program& program, const CudaProgram& emitted,
                             std::shared_ptr<Device> device, const How& how)
    : program_(program),
      emitted_(emitted),
      device_(std::move(device)),
      how_{how.graphs && !depends_on_values(program.steps),
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
  int number = 0;
  for_each_kernel(program_.steps, [&](const loop::Kernel& kernel) {
    if (how_.products && kernel.product) {
      const loop::Product& p = *kernel.product;
      kernels_[static_cast<std::size_t>(number)].product = {&p,
                                                            position_of(p.a.buffer),
                                                            position_of(p.b.buffer),
                                                            position_of(p.result.buffer),
                                                            p.c ? position_of(p.c) : -1,
                                                            p.bias ? position_of(p.bias) : -1};
    }
    kernel_numbers_[&kernel] = number++;
  });
  if (kernels_.size() != kernel_numbers_.size()) {
    throw InternalError("cuda: " + program_.name + " has " +
                        std::to_string(kernel_numbers_.size()) + " kernels, " +
                        std::to_string(kernels_.size()) + " are emitted");
  }
  place_buffers(program_.steps);
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

// What steps other than kernels read.
void DeviceProgram::place_buffers(const std::vector<Step>& steps) {
  for (const Step& step : steps) {
    if (const auto* loop = std::get_if<std::shared_ptr<const Loop>>(&step.kind)) {
      place_buffers((*loop)->steps);
    } else if (const auto* branch = std::get_if<std::shared_ptr<const Branch>>(&step.kind)) {
      position_of((*branch)->condition);
      place_buffers((*branch)->then_steps);
      place_buffers((*branch)->else_steps);
    } else if (const auto* print = std::get_if<std::shared_ptr<const Print>>(&step.kind)) {
      position_of((*print)->value);
    }
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
    DeviceMemory& memory = arguments_[argument];
    if (memory.bytes() < bytes) {
      memory = {};
      memory = DeviceMemory(device_, bytes);
    }
    argument_addresses_[argument] = memory.address();
  };
  const std::size_t first_output = inputs.size() + program_.states.size();
  for (std::size_t k = 0; k < inputs.size(); ++k) provide(k, inputs[k].bytes);
  for (std::size_t k = 0; k < outputs.size(); ++k) provide(first_output + k, outputs[k].bytes);
  for (std::size_t k = 0; k < program_.states.size(); ++k) {
    SharedState& state = *program_.states[k];
    argument_addresses_[inputs.size() + k] = state.on_device(device_).bring_to_device(state.value);
  }
  if (!same_sizes) {
    const std::int64_t arena_bytes = evaluate(program_.arena_bytes);
    if (arena_.bytes() < arena_bytes) {
      arena_ = {};
      arena_ = DeviceMemory(device_, arena_bytes);
    }
    for (PlacedBuffer& placed : buffers_) {
      placed.bytes =
          evaluate(placed.buffer->size) * static_cast<std::int64_t>(size_of(placed.buffer->dtype));
      if (placed.place.kind == Placement::Kind::arena) {
        placed.start = arena_.address() + static_cast<DeviceAddress>(evaluate(placed.place.offset));
      } else if (placed.place.kind == Placement::Kind::constant) {
        placed.start = constants_[static_cast<std::size_t>(placed.place.argument)].address();
      }
    }
    for (LoadedKernel& kernel : kernels_) kernel.blocks = evaluate(kernel.emitted->blocks);
    sizes_.assign(sizes.begin(), sizes.end());
  }
  for (PlacedBuffer& placed : buffers_) {
    if (placed.place.kind == Placement::Kind::argument) {
      placed.start = argument_addresses_[static_cast<std::size_t>(placed.place.argument)];
    }
  }
}

DeviceAddress DeviceProgram::address_of(const PlacedBuffer& placed) const {
  if (placed.of < 0) return placed.start;
  return buffers_[static_cast<std::size_t>(placed.of)].start +
         static_cast<DeviceAddress>(evaluate(placed.place.start)) * size_of(placed.buffer->dtype);
}

// False for a product of nothing: libraries take sizes from 1 on.
bool DeviceProgram::run_product(const PlacedProduct& placed) {
  const loop::Product& p = *placed.product;
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
  const auto matrix = [&](const loop::Product::Matrix& m, int position) -> DeviceProduct::Matrix {
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
  device_->product(call);
  return true;
}

void DeviceProgram::launch(const LoadedKernel& kernel) {
  if (kernel.blocks == 0) return;
  if (kernel.product.product && run_product(kernel.product)) return;
  launch_arguments_.clear();
  for (int position : kernel.buffers) {
    const PlacedBuffer& placed = buffers_[static_cast<std::size_t>(position)];
    launch_arguments_.push_back({address_of(placed), placed.bytes});
  }
  for (std::int64_t size : sizes_) launch_arguments_.push_back({static_cast<std::uint64_t>(size)});
  launch_arguments_.push_back({error_.address(), error_.bytes()});
  device_->launch(kernel.handle, kernel.blocks, kernel.emitted->threads, launch_arguments_);
}

void DeviceProgram::run_steps(const std::vector<Step>& steps) {
  for (const Step& step : steps) {
    if (const auto* kernel = std::get_if<loop::Kernel>(&step.kind)) {
      launch(kernels_[static_cast<std::size_t>(kernel_numbers_.at(kernel))]);
    } else if (const auto* loop = std::get_if<std::shared_ptr<const Loop>>(&step.kind)) {
      const std::int64_t extent = evaluate((*loop)->extent);
      for (std::int64_t i = 0; i < extent; ++i) {
        variables_[(*loop)->variable.id] = i;
        run_steps((*loop)->steps);
      }
      variables_.erase((*loop)->variable.id);
    } else if (const auto* branch = std::get_if<std::shared_ptr<const Branch>>(&step.kind)) {
      std::uint8_t condition = 0;
      const int position = positions_.at((*branch)->condition->id);
      device_->download(&condition, address_of(buffers_[static_cast<std::size_t>(position)]), 1);
      run_steps(condition != 0 ? (*branch)->then_steps : (*branch)->else_steps);
    } else if (const auto* print = std::get_if<std::shared_ptr<const Print>>(&step.kind)) {
      show(**print);
    }
  }
}

// By the way that printing takes on the CPU.
void DeviceProgram::show(const Print& print) {
  const PlacedBuffer& placed = buffers_[static_cast<std::size_t>(positions_.at(print.value->id))];
  std::vector<std::byte> data(static_cast<std::size_t>(placed.bytes));
  device_->download(data.data(), address_of(placed), placed.bytes);
  std::vector<std::int64_t> shape;
  for (const Dim& dim : print.type.shape) shape.push_back(evaluate(dim));
  kroton_context context{};
  kroton_print_value(&context, print.message.c_str(), static_cast<std::int32_t>(print.type.dtype),
                     static_cast<std::int32_t>(shape.size()), shape.data(), data.data());
}

void DeviceProgram::run_all() {
  if (!program_.sites.empty()) device_->clear(error_.address(), error_.bytes());
  run_steps(program_.steps);
}

std::int64_t DeviceProgram::launches_of(const std::vector<Step>& steps) const {
  std::int64_t count = 0;
  for (const Step& step : steps) {
    const auto* loop = std::get_if<std::shared_ptr<const Loop>>(&step.kind);
    count += loop ? evaluate((*loop)->extent) * launches_of((*loop)->steps) : 1;
  }
  return count;
}

void DeviceProgram::run_replayed() {
  std::vector<std::int64_t> key = sizes_;
  for (DeviceAddress address : argument_addresses_) {
    key.push_back(static_cast<std::int64_t>(address));
  }
  key.push_back(static_cast<std::int64_t>(arena_.address()));
  for (const Captured& captured : captured_) {
    if (captured.key != key) continue;
    device_->launch(*captured.graph);
    return;
  }
  // Sizes that never come again are not worth a graph.
  if (key != last_key_ || launches_of(program_.steps) > most_graph_launches) {
    run_all();
    last_key_ = std::move(key);
    return;
  }
  device_->begin_capture();
  try {
    run_all();
  } catch (...) {
    device_->end_capture();
    throw;
  }
  if (captured_.size() == most_graphs) captured_.erase(captured_.begin());
  captured_.push_back({std::move(key), device_->end_capture()});
  device_->launch(*captured_.back().graph);
}

kroton_error DeviceProgram::run(std::span<const HostMemory> inputs,
                                std::span<const HostMemory> outputs,
                                std::span<const std::int64_t> sizes) {
  const std::lock_guard lock(device_->mutex);
  bind(inputs, outputs, sizes);
  variables_.clear();
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    device_->upload(argument_addresses_[k], inputs[k].data, inputs[k].bytes);
  }
  if (how_.graphs) {
    run_replayed();
  } else {
    run_all();
  }
  kroton_error error{};
  if (!program_.sites.empty()) {
    device_->download(&error, error_.address(), error_.bytes());
    if (error.code != KROTON_OK) return error;
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

}  // namespace kroton::codegen
