#include "compiler/codegen/cuda/run_program.h"

#include <kroton/error.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <utility>

#include "compiler/base/dump.h"
#include "compiler/contraction/library_product.h"
#include "compiler/ir/node.h"
#include "compiler/lower/overwrite.h"
#include "runtime/device_copy.h"

namespace kroton::codegen {
namespace {

// Whether there is one that a library of products may compute.
bool has_products(const std::vector<Step>& steps) {
  bool has = false;
  for_each_kernel(steps, [&](const loop::Kernel& kernel) {
    has = has || (kernel.instead && !kernel.instead->convolution);
  });
  return has;
}

}  // namespace

DeviceProgram::DeviceProgram(const Program& program, const CudaProgram& emitted,
                             std::shared_ptr<Device> device, const How& how)
    : program_(program),
      emitted_(emitted),
      home_(std::move(device)),
      device_(how.stream ? how.stream : home_),
      rates_(rates_of(home_->properties(), home_->capability())),
      how_{how.graphs && device_->has_graphs() && can_be_captured(program.steps),
           how.products && has_products(program.steps) && device_->has_products(),
           how.tf32,
           how.short_indices,
           how.stream,
           how.follows},
      exchanges_in_graphs_(how_.graphs && has_collectives(program.steps)),
      values_(program),
      transfers_(device_),
      exchanges_(device_),
      timer_(device_) {
  for (const Array& constant : program_.constants) {
    const Array values = constant.contiguous();
    DeviceMemory& memory = constants_.emplace_back(
        device_, values.size() * static_cast<std::int64_t>(size_of(values.dtype())));
    device_->upload(memory.address(), values.raw(), memory.bytes());
  }
  constexpr std::int64_t arrivals_bytes = 128;  // a line of memory of its own each
  std::int64_t meeting = 0;                     // kernels whose blocks wait for each other
  for (const CudaKernel& kernel : emitted_.kernels) {
    LoadedKernel& loaded = kernels_.emplace_back();
    loaded.emitted = &kernel;
    if (kernel.together) {
      loaded.arrivals = static_cast<DeviceAddress>(meeting++ * arrivals_bytes);
    }
    for (const loop::BufferRef& buffer : kernel.buffers) {
      loaded.buffers.push_back(position_of(buffer));
    }
  }
  if (meeting > 0) {
    arrivals_ = DeviceMemory(device_, meeting * arrivals_bytes);
    device_->clear(arrivals_.address(), arrivals_.bytes());
    for (LoadedKernel& kernel : kernels_) {
      if (kernel.emitted->together) kernel.arrivals += arrivals_.address();
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
    loaded.checks = has_checks(*kernel);
    for (const int position : loaded.buffers) {
      loaded.writes.push_back(
          std::any_of(kernel->outputs.begin(), kernel->outputs.end(),
                      [&](const auto& buffer) { return position_of(buffer) == position; }));
    }
    loaded.updates = std::any_of(kernel->outputs.begin(), kernel->outputs.end(),
                                 [&](const auto& buffer) { return is_state(buffer); });
    if (!kernel->instead) continue;
    const LibraryProduct& p = *kernel->instead;
    if (p.convolution ? !(how.products && device_->has_convolutions()) : !how_.products) continue;
    loaded.product = {&p,
                      position_of(p.a.buffer),
                      position_of(p.b.buffer),
                      position_of(p.result.buffer),
                      p.c ? position_of(p.c) : -1,
                      p.bias ? position_of(p.bias) : -1};
  }
  place_buffers(program_.steps);
  find_choices(program_.steps);
  for (Choice& choice : choices_) add_algorithms(choice);
  candidate_modules_.resize(emitted_.candidates.size());
  // Where sizes are free, for short ones.
  const std::int64_t workers = 1;
  if (program_.sizes.size() == 1) {
    values_.set(std::span(&workers, 1));
    for (LoadedKernel& kernel : kernels_) kernel.blocks = values_.of(kernel.emitted->blocks);
    wide_ = needs_wide_indices(std::span(&workers, 1));
  } else {
    wide_ = !how_.short_indices;
  }
  load_kernels();
  if (how.products && !how_.products && dumps("cuda") && has_products(program.steps)) {
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

// Everything that follows from the sizes and the arguments: memory, addresses, grids.
void DeviceProgram::bind(std::span<const ArgumentMemory> inputs,
                         std::span<const ArgumentMemory> outputs,
                         std::span<const std::int64_t> sizes) {
  const bool same_sizes = std::equal(sizes.begin(), sizes.end(), sizes_.begin(), sizes_.end());
  if (!same_sizes) {
    sizes_.clear();  // not valid until all is done
    values_.set(sizes);
  }
  transfers_.place(inputs, outputs);
  argument_addresses_.clear();
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    argument_addresses_.push_back(transfers_.input(k));
  }
  for (const auto& state : program_.states) {
    DeviceCopy& copy = state->on_device(home_);
    measured(&CallTimes::to_device, copy.is_on_device() ? 0 : state->value.nbytes(),
             [&] { argument_addresses_.push_back(copy.bring_to_device(state->value, *device_)); });
  }
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    argument_addresses_.push_back(transfers_.output(k));
  }
  if (!same_sizes) {
    grow(arena_, device_, values_.of(program_.arena_bytes));
    for (PlacedBuffer& placed : buffers_) {
      placed.bytes = values_.of(placed.buffer->size) *
                     static_cast<std::int64_t>(size_of(placed.buffer->dtype));
      if (placed.place.kind == Placement::Kind::arena) {
        placed.start =
            arena_.address() + static_cast<DeviceAddress>(values_.of(placed.place.offset));
      } else if (placed.place.kind == Placement::Kind::constant) {
        placed.start = constants_[static_cast<std::size_t>(placed.place.argument)].address();
      }
    }
    for (LoadedKernel& kernel : kernels_) {
      kernel.blocks = values_.of(kernel.emitted->blocks);
      kernel.derived.clear();
      if (kernel.blocks == 0) continue;
      for (const Dim& size : kernel.emitted->derived_sizes) {
        kernel.derived.push_back(static_cast<std::uint64_t>(values_.of(size)));
      }
      for (const Dim& size : kernel.emitted->divisors) {
        kernel.derived.push_back(division_by(values_.of(size)));
      }
      if (kernel.emitted->in_order) give_words(kernel);
    }
    wide_ = needs_wide_indices(sizes);
    load_kernels();
    sizes_.assign(sizes.begin(), sizes.end());
    recall_choices();
  }
  for (PlacedBuffer& placed : buffers_) {
    if (placed.place.kind == Placement::Kind::argument) {
      placed.start = argument_addresses_[static_cast<std::size_t>(placed.place.argument)];
    }
  }
}

// What is there of earlier runs has their numbers, whatever the sizes were.
void DeviceProgram::give_words(LoadedKernel& kernel) {
  constexpr std::int64_t first = 16;  // a line of memory in which blocks take their numbers
  const std::int64_t bytes = (first + values_.of(kernel.emitted->words)) *
                             static_cast<std::int64_t>(sizeof(std::uint64_t));
  if (bytes <= kernel.words.bytes()) return;
  grow(kernel.words, device_, bytes);
  device_->clear(kernel.words.address(), kernel.words.bytes());
}

// Asked for sizes of as many bits first, of all kernels, which holds for many calls; then for these
// sizes, of the kernels that have something to do.
bool DeviceProgram::needs_wide_indices(std::span<const std::int64_t> sizes) {
  if (!how_.short_indices) return true;
  const auto fit = [&](const std::function<ValueRange(std::int64_t)>& range_of, bool all) {
    const RangeOfSize range = [&](const DimAtom& atom) {
      const auto found =
          std::find_if(program_.sizes.begin(), program_.sizes.end(),
                       [&](const DimAtomRef& size) { return size->identity == atom.identity; });
      return range_of(sizes[static_cast<std::size_t>(found - program_.sizes.begin())]);
    };
    return std::all_of(kernels_.begin(), kernels_.end(), [&](const LoadedKernel& kernel) {
      return (!all && kernel.blocks == 0) || fits_in_32_bits(kernel.emitted->indices, range);
    });
  };
  const auto bits_of = [](std::int64_t size) {
    return static_cast<int>(std::bit_width(static_cast<std::uint64_t>(size)));
  };
  std::vector<int> bits(sizes.size());
  std::transform(sizes.begin(), sizes.end(), bits.begin(), bits_of);
  const auto [known, fresh] = short_sizes_.try_emplace(bits, false);
  if (fresh) {
    known->second = fit([&](std::int64_t size) { return range_of_bits(bits_of(size)); }, true);
  }
  return !known->second && !fit([](std::int64_t size) { return ValueRange{size, size}; }, false);
}

// Those that always run, for indices of this width.
void DeviceProgram::load_kernels() {
  std::unique_ptr<DeviceModule>& module = modules_[wide_ ? 1 : 0];
  if (module) return;
  module =
      device_->compile(wide_ ? with_wide_indices(emitted_.source) : emitted_.source, program_.name);
  std::int64_t fewest = 0;
  for (LoadedKernel& kernel : kernels_) {
    if (kernel.emitted->text >= 0) continue;
    DeviceModule::Kernel& handle = kernel.handles[wide_ ? 1 : 0];
    handle = module->kernel(kernel.emitted->name);
    if (!kernel.emitted->together) continue;
    const std::int64_t blocks =
        std::max<std::int64_t>(device_->blocks_together(handle, kernel.emitted->threads), 1);
    workers_ = fewest == 0 ? blocks : std::min(fewest, blocks);
    fewest = workers_;
  }
}

DeviceAddress DeviceProgram::address_of(const PlacedBuffer& placed) const {
  if (placed.elsewhere != 0) return placed.elsewhere;
  if (placed.of < 0) return placed.start;
  return buffers_[static_cast<std::size_t>(placed.of)].start +
         static_cast<DeviceAddress>(values_.of(placed.place.start)) * size_of(placed.buffer->dtype);
}

bool DeviceProgram::moves_what_it_reads() const {
  return std::ranges::any_of(program_.states, [this](const std::shared_ptr<SharedState>& state) {
    return !state->copy || state->copy->device() != home_ || !state->copy->is_on_device();
  });
}

// After an error in the middle of a call.
void DeviceProgram::give_up_states(const std::string& reason) {
  if (!updating_) return;
  for (std::size_t k = 0; k < program_.states.size(); ++k) {
    if (!program_.state_is_updated[k]) continue;
    SharedState& state = *program_.states[k];
    state.on_device(home_).written_in_part(
        "the value of " + state.name + " is lost: a call of " + program_.name +
        " failed while it was updating it on the device; set_value gives it a new one. " + reason);
  }
}

kroton_error DeviceProgram::run(std::span<const ArgumentMemory> inputs,
                                std::span<const ArgumentMemory> outputs,
                                std::span<const std::int64_t> sizes, CallTimes* times) {
  device_->check_usable();
  const std::lock_guard lock(device_->mutex);
  if (running_) {
    throw DeviceError(device_->name() + ": " + program_.name +
                      " is called by what its own kt::print is written to");
  }
  struct Running {
    DeviceProgram& program;
    ~Running() {
      program.running_ = false;
      program.times_ = nullptr;
      program.timer_.forget();
    }
  } const running{*this};
  running_ = true;
  times_ = times;
  device_->begin_call(program_.name);
  detail::StreamOrder order(*device_);
  if (how_.follows) order.follow(*how_.follows);
  for (const ArgumentMemory& input : inputs) order.use({input.storage, false});
  for (const ArgumentMemory& output : outputs) order.use({output.storage, true});
  for (std::size_t k = 0; k < program_.states.size(); ++k) {
    DeviceCopy& copy = program_.states[k]->on_device(home_);
    order.use(copy.uses(), program_.state_is_updated[k] || !copy.is_on_device());
  }
  const kroton_error error = run_ordered(inputs, outputs, sizes);
  timer_.settle();
  return error;
}

kroton_error DeviceProgram::run_ordered(std::span<const ArgumentMemory> inputs,
                                        std::span<const ArgumentMemory> outputs,
                                        std::span<const std::int64_t> sizes) {
  bind(inputs, outputs, sizes);
  values_.end_all();
  const auto host_bytes = [](std::span<const ArgumentMemory> arguments) {
    std::int64_t bytes = 0;
    for (const ArgumentMemory& argument : arguments) {
      if (argument.storage == nullptr) bytes += argument.bytes;
    }
    return bytes;
  };
  measured(&CallTimes::to_device, host_bytes(inputs), [&] { transfers_.upload(inputs); });
  kroton_error error{};
  updating_ = false;
  const bool checks = !program_.sites.empty();
  const bool downloads = checks || transfers_.has_host_outputs();
  const auto download = [&] {
    const std::int64_t bytes = host_bytes(outputs) + (checks ? std::int64_t{sizeof error} : 0);
    measured(&CallTimes::to_host, bytes, [&] { error = transfers_.download(outputs, checks); });
  };
  try {
    launch_all();
    transfers_.started(downloads || times_ != nullptr);
    if (checks) download();
  } catch (const std::exception& failure) {
    give_up_states(failure.what());
    throw;
  }
  if (error.code != KROTON_OK) return error;
  for (std::size_t k = 0; k < program_.states.size(); ++k) {
    if (program_.state_is_updated[k]) program_.states[k]->on_device(home_).written_on_device();
  }
  if (downloads && !checks) download();
  return error;
}

kroton_error DeviceProgram::run(const Call& call, CallContext&) {
  // Another thread's call may be in progress: what it uses is behind the device's lock.
  std::vector<ArgumentMemory> memory;
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
  const auto add = [&](std::size_t argument, const TensorType& type) {
    memory.push_back({call.args[argument], bytes_of(type),
                      call.storages.empty() ? nullptr : call.storages[argument]});
  };
  for (std::size_t k = 0; k < inputs; ++k) add(k, program_.inputs[k]);
  const std::size_t first_output = inputs + program_.states.size();
  for (std::size_t k = 0; k < program_.outputs.size(); ++k) {
    add(first_output + k, program_.outputs[k]);
  }
  return run(std::span(memory).first(inputs), std::span(memory).subspan(inputs), call.sizes,
             call.times);
}

}  // namespace kroton::codegen
