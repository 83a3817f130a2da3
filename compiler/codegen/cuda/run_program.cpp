#include "compiler/codegen/cuda/run_program.h"

#include <kroton/error.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>

#include "compiler/base/dump.h"
#include "compiler/contraction/library_convolution.h"
#include "compiler/ir/node.h"
#include "compiler/lower/overwrite.h"
#include "compiler/ops/call.h"
#include "runtime/device_copy.h"
#include "runtime/print.h"

namespace kroton::codegen {
namespace {

constexpr std::int64_t line = 256;  // arguments begin at multiples of it

std::int64_t floor_div(std::int64_t a, std::int64_t b) {
  return b == 0 ? 0 : a / b - ((a % b != 0) && ((a < 0) != (b < 0)) ? 1 : 0);
}

}  // namespace

bool can_be_captured(const std::vector<Step>& steps) {
  return std::all_of(steps.begin(), steps.end(), [](const Step& step) {
    return visit(
        step, [](const loop::Kernel&) { return true; },
        [](const Scan& scan) { return scan.idle == nullptr && can_be_captured(scan.steps); },
        // The host decides what runs next while it runs.
        [](const Branch&) { return false; }, [](const kroton::Call&) { return false; });
  });
}

DeviceProgram::DeviceProgram(const Program& program, const CudaProgram& emitted,
                             std::shared_ptr<Device> device, const How& how)
    : program_(program),
      emitted_(emitted),
      device_(std::move(device)),
      how_{how.graphs && device_->has_graphs() && can_be_captured(program.steps),
           how.products && device_->has_products(), how.tf32},
      module_(device_->compile(emitted_.source, program.name)),
      results_(device_, line) {
  static_assert(sizeof(kroton_error) <= line);
  for (const Array& constant : program_.constants) {
    const Array values = constant.contiguous();
    DeviceMemory& memory = constants_.emplace_back(
        device_, values.size() * static_cast<std::int64_t>(size_of(values.dtype())));
    device_->upload(memory.address(), values.raw(), memory.bytes());
  }
  const std::size_t argument_count =
      program_.inputs.size() + program_.states.size() + program_.outputs.size();
  argument_addresses_.resize(argument_count);
  for (Inputs& inputs : inputs_) inputs.used = device_->make_event();
  for (const CudaKernel& kernel : emitted_.kernels) {
    LoadedKernel& loaded = kernels_.emplace_back();
    loaded.emitted = &kernel;
    if (kernel.text < 0) loaded.handle = module_->kernel(kernel.name);
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
  candidate_modules_.resize(emitted_.candidates.size());
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

DeviceProgram::Layout DeviceProgram::layout(std::span<const ArgumentMemory> memory,
                                            std::int64_t begin) {
  Layout result{std::vector<std::int64_t>(memory.size(), -1), begin, begin};
  for (const bool small : {true, false}) {
    for (std::size_t k = 0; k < memory.size(); ++k) {
      if (memory[k].storage || (memory[k].bytes <= small_bytes) != small) continue;
      result.offsets[k] = result.end;
      result.end += (memory[k].bytes + line - 1) / line * line;
    }
    if (small) result.small_end = result.end;
  }
  return result;
}

// Everything that follows from the sizes and the arguments: memory, addresses, grids.
void DeviceProgram::bind(std::span<const ArgumentMemory> inputs,
                         std::span<const ArgumentMemory> outputs,
                         std::span<const std::int64_t> sizes) {
  const bool same_sizes = std::equal(sizes.begin(), sizes.end(), sizes_.begin(), sizes_.end());
  if (!same_sizes) {
    sizes_.clear();  // not valid until all is done
    for (std::size_t k = 0; k < sizes.size(); ++k) {
      size_values_[program_.sizes[k]->identity] = sizes[k];
    }
  }
  if (is_read_) current_ = 1 - current_;
  input_layout_ = layout(inputs, 0);
  output_layout_ = layout(outputs, line);
  DeviceMemory& uploaded = inputs_[current_].memory;
  grow(uploaded, input_layout_.end);
  grow(results_, output_layout_.end);
  const auto place = [&](const Layout& in, const DeviceMemory& memory,
                         std::span<const ArgumentMemory> arguments, std::size_t first) {
    for (std::size_t k = 0; k < arguments.size(); ++k) {
      argument_addresses_[first + k] =
          in.offsets[k] < 0 ? reinterpret_cast<DeviceAddress>(arguments[k].data)
                            : memory.address() + static_cast<DeviceAddress>(in.offsets[k]);
    }
  };
  place(input_layout_, uploaded, inputs, 0);
  place(output_layout_, results_, outputs, inputs.size() + program_.states.size());
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
    recall_choices();
  }
  for (PlacedBuffer& placed : buffers_) {
    if (placed.place.kind == Placement::Kind::argument) {
      placed.start = argument_addresses_[static_cast<std::size_t>(placed.place.argument)];
    }
  }
}

// To at least that many bytes. Memory that grows gets half as much again: sizes that creep up ask
// for it a few times only, and the graphs that use it are not updated at every one of them.
void DeviceProgram::grow(DeviceMemory& memory, std::int64_t bytes) {
  if (memory.bytes() >= bytes) return;
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
  if (placed.elsewhere != 0) return placed.elsewhere;
  if (placed.of < 0) return placed.start;
  return buffers_[static_cast<std::size_t>(placed.of)].start +
         static_cast<DeviceAddress>(evaluate(placed.place.start)) * size_of(placed.buffer->dtype);
}

// False for one that the library does not compute; products of nothing are never given to it.
bool DeviceProgram::run_product(const PlacedProduct& placed) {
  const LibraryProduct& p = *placed.product;
  if (p.convolution) return run_convolution(placed);
  DeviceProduct call;
  call.dtype = p.dtype;
  call.operands = p.a.buffer->dtype;
  call.result = p.result.buffer->dtype;
  call.tf32 = how_.tf32;
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

bool DeviceProgram::run_convolution(const PlacedProduct& placed) {
  const LibraryConvolution& c = *placed.product->convolution;
  DeviceConvolution call;
  using Wanted = DeviceConvolution::Wanted;
  call.wanted = c.wanted;
  call.dtype = c.dtype;
  call.operands = placed.product->a.buffer->dtype;
  call.result = placed.product->result.buffer->dtype;
  call.tf32 = how_.tf32;
  call.flipped = c.flipped;
  call.groups = evaluate(c.groups);
  call.stride = c.stride;
  call.dilation = c.dilation;
  bool is_empty = false;
  const auto array = [&](const LibraryConvolution::Array& of, int position) {
    DeviceConvolution::Array made{address_of(buffers_[static_cast<std::size_t>(position)]), {}, {}};
    for (const Dim& size : of.sizes) {
      made.sizes.push_back(evaluate(size));
      is_empty = is_empty || made.sizes.back() == 0;
    }
    for (std::size_t k = 0; k < of.strides.size(); ++k) {
      const std::int64_t stride = evaluate(of.strides[k]);
      made.strides.push_back(made.sizes[k] == 1 ? std::max<std::int64_t>(stride, 1) : stride);
    }
    return made;
  };
  // a is in the filters' place, b in the picture's.
  const int y_known = c.wanted == Wanted::w ? placed.a : placed.b;
  call.x = array(c.x, c.wanted == Wanted::x ? placed.result : placed.b);
  call.w = array(c.w, c.wanted == Wanted::w ? placed.result : placed.a);
  call.y = array(c.y, c.wanted == Wanted::y ? placed.result : y_known);
  if (is_empty) return false;
  for (std::size_t k = 0; k < c.stride.size(); ++k) {
    call.before.push_back(evaluate(c.before[k]));
    call.after.push_back(evaluate(c.after[k]));
    // What no window reaches is not seen.
    if (call.after[k] < 0 && c.wanted != Wanted::x) {
      call.x.sizes[k + 2] += std::exchange(call.after[k], 0);
    }
    if (call.before[k] < 0 || call.after[k] < 0 || call.x.sizes[k + 2] <= 0) return false;
  }
  std::string why_not;
  if (device_->convolution(call, why_not)) return true;
  if (dumps("cuda") && refusals_.insert(why_not).second) {
    std::fprintf(stderr, "== a convolution of %s by a kernel\n%s\n", program_.name.c_str(),
                 why_not.c_str());
  }
  return false;
}

namespace {

// Memory that libraries work in, each as if it were here: two of them at a time would disturb each
// other.
constexpr DeviceAddress library_memory = 1;

CaptureOrder::Range range_of(DeviceAddress begin, std::int64_t bytes, bool writes) {
  return {begin, begin + static_cast<DeviceAddress>(bytes), writes};
}

}  // namespace

std::vector<CaptureOrder::Range> DeviceProgram::touched(const LoadedKernel& kernel) const {
  std::vector<CaptureOrder::Range> ranges;
  for (std::size_t k = 0; k < kernel.buffers.size(); ++k) {
    const PlacedBuffer& placed = buffers_[static_cast<std::size_t>(kernel.buffers[k])];
    ranges.push_back(range_of(address_of(placed), placed.bytes, kernel.writes[k]));
  }
  // The first failed check counts, and nothing is updated behind one.
  if (kernel.checks || (kernel.updates && !program_.sites.empty())) {
    ranges.push_back(range_of(results_.address(), sizeof(kroton_error), kernel.checks));
  }
  if (kernel.product.product) ranges.push_back(range_of(library_memory, 1, true));
  return ranges;
}

void DeviceProgram::launch(const LoadedKernel& kernel) {
  if (kernel.blocks == 0) return;
  if (!order_) {
    start(kernel);
    return;
  }
  const std::vector<CaptureOrder::Range> ranges = touched(kernel);
  device_->capture_behind(order_->before(ranges));
  start(kernel);
  order_->add(ranges, device_->captured_places());
}

void DeviceProgram::start(const LoadedKernel& kernel) {
  if (!in_flight_.empty()) {
    for (int position : kernel.buffers) settle(buffers_[static_cast<std::size_t>(position)]);
  }
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
  launch_arguments_.push_back({results_.address(), sizeof(kroton_error)});
  device_->launch(kernel.handle, kernel.blocks, kernel.emitted->threads, launch_arguments_);
  updating_ = updating_ || kernel.updates;
}

void DeviceProgram::run_steps(const std::vector<Step>& steps) {
  for (const Step& step : steps) {
    visit(
        step,
        [this](const loop::Kernel& kernel) {
          const LoadedKernel& loaded =
              kernels_[static_cast<std::size_t>(kernel_numbers_.at(&kernel))];
          if (loaded.choice < 0 || candidate_of(loaded.choice) == loaded.candidate) launch(loaded);
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
        [this](const kroton::Call& made) {
          if (!made.callee) {
            settle(placed(made.inputs[0]));
            show(made);
          } else if (!exchange(made)) {
            for (const auto* values : {&made.inputs, &made.outputs}) {
              for (const kroton::Call::Value& value : *values) settle(placed(value));
            }
            call(made);
          }
        });
  }
}

// Between devices, if there is something that does it.
bool DeviceProgram::exchange(const kroton::Call& made) {
  const RankScope* const scope = RankScope::current();
  if (!scope || made.callee->options.function != kroton_collective) return false;
  std::array<std::int64_t, collective_rank> sizes{};
  for (std::size_t k = 0; k < sizes.size(); ++k) {
    sizes[k] = evaluate(made.inputs[0].type.shape[k]);
  }
  const Collective what = collective_of(sizes.data());
  if (what.size != scope->group.size() || !scope->group.is_connected_for(what)) return false;
  const PlacedBuffer& in = placed(made.inputs[1]);
  const PlacedBuffer& out = placed(made.outputs[0]);
  settle(in);
  settle(out);
  ExchangePart part{.in = address_of(in),
                    .out = address_of(out),
                    .in_count = evaluate(made.inputs[1].type.shape[0]),
                    .out_count = evaluate(made.outputs[0].type.shape[0])};
  if (what.kind == Collective::Kind::reduce && scope->rank != what.root) {
    device_->clear(part.out, out.bytes);
  }
  part.stream = device_->begin_exchange();
  const bool done = scope->group.run(
      scope->rank, what, part,
      [this](const std::function<void()>& action) { device_->in_context(action); });
  if (!done) throw DeviceError(program_.name + ": " + scope->group.failure());
  InFlight& started = in_flight_.emplace_back();
  if (spare_events_.empty()) spare_events_.push_back(device_->make_event());
  started.done = std::move(spare_events_.back());
  spare_events_.pop_back();
  device_->record_exchange(*started.done);
  const auto end_of = [](DeviceAddress begin, std::int64_t bytes) {
    return begin + static_cast<DeviceAddress>(bytes);
  };
  started.begin = {part.in, part.out};
  started.end = {end_of(part.in, in.bytes), end_of(part.out, out.bytes)};
  return true;
}

// Waits for the exchanges that use that memory, and for those before them.
void DeviceProgram::settle(const PlacedBuffer& touched) {
  const DeviceAddress begin = address_of(touched);
  const DeviceAddress end = begin + static_cast<DeviceAddress>(touched.bytes);
  std::size_t last = in_flight_.size();
  while (last > 0) {
    const InFlight& started = in_flight_[last - 1];
    bool touches = false;
    for (std::size_t k = 0; k < 2; ++k) {
      touches = touches || (begin < started.end[k] && started.begin[k] < end);
    }
    if (touches) break;
    --last;
  }
  if (last == 0) return;
  device_->wait_for_exchange(*in_flight_[last - 1].done);
  for (std::size_t k = 0; k < last; ++k) spare_events_.push_back(std::move(in_flight_[k].done));
  in_flight_.erase(in_flight_.begin(), in_flight_.begin() + static_cast<std::ptrdiff_t>(last));
}

void DeviceProgram::settle_all() {
  if (in_flight_.empty()) return;
  device_->wait_for_exchange(*in_flight_.back().done);
  for (InFlight& started : in_flight_) spare_events_.push_back(std::move(started.done));
  in_flight_.clear();
}

bool DeviceProgram::is_true(const loop::BufferRef& condition) {
  std::uint8_t value = 0;
  const int position = positions_.at(condition->id);
  settle(buffers_[static_cast<std::size_t>(position)]);
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
  device_->download(&error, results_.address(), sizeof error);
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
    device_->upload(results_.address(), &error, sizeof error);
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
  if (!program_.sites.empty()) {
    device_->clear(results_.address(), sizeof(kroton_error));
    if (order_) {
      const CaptureOrder::Range error = range_of(results_.address(), sizeof(kroton_error), true);
      order_->add(std::span(&error, 1), device_->captured_places());
    }
  }
  in_flight_.clear();  // of a call that has failed
  is_undecided_ = false;
  for (Choice& choice : choices_) choice.was_tried = false;
  run_steps(program_.steps);
  settle_all();
  if (!choices_.empty() && !is_undecided_) decided_sizes_.insert(sizes_);
}

std::int64_t DeviceProgram::launches_of(const std::vector<Step>& steps) const {
  std::int64_t count = 0;
  for (const Step& step : steps) {
    if (const Scan* scan = as<Scan>(step)) {
      count += evaluate(scan->extent) * launches_of(scan->steps);
    } else if (const auto* kernel = as<loop::Kernel>(step)) {
      const LoadedKernel& loaded = kernels_[static_cast<std::size_t>(kernel_numbers_.at(kernel))];
      const bool runs = loaded.choice < 0 ||
                        choices_[static_cast<std::size_t>(loaded.choice)].now == loaded.candidate;
      count += runs && loaded.blocks != 0 ? 1 : 0;
    } else {
      ++count;
    }
  }
  return count;
}

// Into a graph of the same launches if there is one.
void DeviceProgram::capture(std::unique_ptr<DeviceGraph>& graph) {
  device_->begin_capture();
  if (device_->orders_captured()) order_.emplace();
  try {
    run_all();
    order_.reset();
  } catch (...) {
    order_.reset();
    device_->abandon_capture();
    updating_ = false;  // nothing has been started
    throw;
  }
  updating_ = false;
  if (graph) {
    device_->end_capture(graph);
  } else {
    graph = device_->end_capture();
  }
}

void DeviceProgram::run_replayed() {
  // All that the launches have beside the sizes.
  std::vector<DeviceAddress> addresses = argument_addresses_;
  addresses.push_back(arena_.address());
  addresses.push_back(results_.address());
  DeviceGraph* graph = graphs_.look_up(sizes_, addresses);
  if (!graph) {
    // While a graph is captured nothing can be timed.
    if (!choices_.empty() && decided_sizes_.count(sizes_) == 0) {
      run_all();
      return;
    }
    const std::int64_t launches = launches_of(program_.steps);
    if (!graphs_.wants(launches)) {
      run_all();
      return;
    }
    std::unique_ptr<DeviceGraph> made = graphs_.take_outdated();
    capture(made);
    graph = graphs_.keep(std::move(made), launches);
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

namespace {

// What is uploaded meanwhile does not wait for what still runs.
class EarlyUploads {
 public:
  EarlyUploads(Device& device, DeviceEvent& after) : device_(device) {
    device_.begin_early_uploads(after);
  }
  ~EarlyUploads() { device_.end_early_uploads(); }
  EarlyUploads(const EarlyUploads&) = delete;
  EarlyUploads& operator=(const EarlyUploads&) = delete;

 private:
  Device& device_;
};

}  // namespace

void DeviceProgram::upload(std::span<const ArgumentMemory> inputs) {
  if (input_layout_.end == 0) return;
  std::optional<EarlyUploads> early;
  if (is_read_) early.emplace(*device_, *inputs_[current_].used);
  const DeviceAddress base = inputs_[current_].memory.address();
  packed_.resize(static_cast<std::size_t>(input_layout_.small_end));
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    const std::int64_t offset = input_layout_.offsets[k];
    if (offset < 0 || inputs[k].bytes == 0) continue;
    if (offset < input_layout_.small_end) {
      std::memcpy(packed_.data() + offset, inputs[k].data,
                  static_cast<std::size_t>(inputs[k].bytes));
    } else {
      device_->upload(base + static_cast<DeviceAddress>(offset), inputs[k].data, inputs[k].bytes);
    }
  }
  device_->upload(base, packed_.data(), input_layout_.small_end);
}

kroton_error DeviceProgram::download(std::span<const ArgumentMemory> outputs) {
  const bool checks = !program_.sites.empty();
  const std::int64_t begin = checks ? 0 : line;
  const auto small_end = std::max(begin, output_layout_.small_end);
  packed_.resize(static_cast<std::size_t>(small_end));
  std::vector<DeviceRead> small{{packed_.data() + begin,
                                 results_.address() + static_cast<DeviceAddress>(begin),
                                 small_end - begin}};
  std::vector<DeviceRead> large;
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    const std::int64_t offset = output_layout_.offsets[k];
    if (offset < output_layout_.small_end) continue;
    large.push_back({outputs[k].data, results_.address() + static_cast<DeviceAddress>(offset),
                     outputs[k].bytes});
  }
  // Arrays of the host stay as they are if a check has failed.
  if (!checks) small.insert(small.end(), large.begin(), large.end());
  device_->download(small);
  kroton_error error{};
  if (checks) std::memcpy(&error, packed_.data(), sizeof error);
  if (error.code != KROTON_OK) return error;
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    const std::int64_t offset = output_layout_.offsets[k];
    if (offset < 0 || offset >= output_layout_.small_end || outputs[k].bytes == 0) continue;
    std::memcpy(outputs[k].data, packed_.data() + offset,
                static_cast<std::size_t>(outputs[k].bytes));
  }
  if (checks) device_->download(large);
  return error;
}

kroton_error DeviceProgram::run(std::span<const ArgumentMemory> inputs,
                                std::span<const ArgumentMemory> outputs,
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
  std::vector<const detail::Storage*> storages;
  for (const auto& list : {inputs, outputs}) {
    for (const ArgumentMemory& argument : list) storages.push_back(argument.storage);
  }
  const detail::StreamOrder order(*device_, storages);
  return run_ordered(inputs, outputs, sizes);
}

kroton_error DeviceProgram::run_ordered(std::span<const ArgumentMemory> inputs,
                                        std::span<const ArgumentMemory> outputs,
                                        std::span<const std::int64_t> sizes) {
  bind(inputs, outputs, sizes);
  variables_.clear();
  upload(inputs);
  kroton_error error{};
  updating_ = false;
  const bool checks = !program_.sites.empty();
  const bool waits = checks || output_layout_.end > line;
  try {
    launch_all();
    is_read_ = !waits && input_layout_.end > 0;
    if (is_read_) device_->record(*inputs_[current_].used);
    if (checks) error = download(outputs);
  } catch (const std::exception& failure) {
    give_up_states(failure.what());
    throw;
  }
  if (error.code != KROTON_OK) return error;
  for (std::size_t k = 0; k < program_.states.size(); ++k) {
    if (program_.state_is_updated[k]) program_.states[k]->on_device(device_).written_on_device();
  }
  if (waits && !checks) download(outputs);
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
  return run(std::span(memory).first(inputs), std::span(memory).subspan(inputs), call.sizes);
}

}  // namespace kroton::codegen
