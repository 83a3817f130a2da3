// Calls in a Program on a device: prints, functions of the host, exchanges with other devices.
#include <kroton/error.h>

#include <array>
#include <utility>

#include "compiler/codegen/cuda/run_program.h"
#include "compiler/ir/node.h"
#include "compiler/ops/call.h"
#include "runtime/communicator.h"
#include "runtime/print.h"

namespace kroton::codegen {

namespace {

// What connects the devices takes one exchange after the other, as if each wrote here.
constexpr DeviceAddress exchange_memory = 2;

}  // namespace

Collective DeviceProgram::collective_in(const kroton::Call& made) const {
  std::array<std::int64_t, collective_rank> sizes{};
  for (std::size_t k = 0; k < sizes.size(); ++k) {
    sizes[k] = values_.of(made.inputs[0].type.shape[k]);
  }
  return collective_of(sizes.data());
}

bool DeviceProgram::is_between_devices(const Collective& what) const {
  const RankScope* const scope = RankScope::current();
  return scope && what.size == scope->group.size() && scope->group.is_connected_for(what);
}

// Between devices, if there is something that does it.
bool DeviceProgram::exchange(const kroton::Call& made) {
  if (!is_collective(made)) return false;
  const Collective what = collective_in(made);
  const bool is_direct = is_between_devices(what);
  if (!is_direct && !order_) return false;
  const RankScope& scope = *RankScope::current();
  const auto failed = [&] { return DeviceError(program_.name + ": " + scope.group.failure()); };
  if (!is_direct) {  // any more: another device has failed since this one has begun to capture
    scope.group.confirm_graph(scope.rank);
    throw failed();
  }
  const PlacedBuffer& in = placed(made.inputs[1]);
  const PlacedBuffer& out = placed(made.outputs[0]);
  ExchangePart part{.in = address_of(in),
                    .out = address_of(out),
                    .in_count = values_.of(made.inputs[1].type.shape[0]),
                    .out_count = values_.of(made.outputs[0].type.shape[0])};
  const bool clears = what.kind == Collective::Kind::reduce && scope.rank != what.root;
  const auto start = [&](void* stream) {
    part.stream = stream;
    const bool done = scope.group.run(
        scope.rank, what, part,
        [this](const std::function<void()>& action) { device_->in_context(action); });
    if (!done) throw failed();
  };
  if (order_) {
    const CaptureOrder::Range written = CaptureOrder::range(part.out, out.bytes, true);
    if (clears) in_order({written}, [&] { device_->clear(part.out, out.bytes); });
    in_order({CaptureOrder::range(part.in, in.bytes, false), written,
              CaptureOrder::range(exchange_memory, 1, true)},
             [&] { start(device_->captured_stream()); });
    return true;
  }
  settle(in);
  settle(out);
  if (clears) device_->clear(part.out, out.bytes);
  start(device_->begin_exchange());
  exchanges_.add(memory_of(in), memory_of(out));
  return true;
}

ExchangesInFlight::Memory DeviceProgram::memory_of(const PlacedBuffer& placed) const {
  const DeviceAddress begin = address_of(placed);
  return {begin, begin + static_cast<DeviceAddress>(placed.bytes)};
}

// Waits for the exchanges that use that memory.
void DeviceProgram::settle(const PlacedBuffer& touched) {
  if (!exchanges_.empty()) exchanges_.settle(memory_of(touched));
}

void DeviceProgram::show(const kroton::Call& print) {
  const TensorType& type = print.inputs[0].type;
  const std::vector<std::byte> data = downloaded(placed(print.inputs[0]));
  std::vector<std::int64_t> shape;
  for (const Dim& dim : type.shape) shape.push_back(values_.of(dim));
  CallContext context{};
  kroton_print_value(&context, print.message.c_str(), static_cast<std::int32_t>(type.dtype),
                     static_cast<std::int32_t>(shape.size()), shape.data(), data.data());
  if (context.failure) std::rethrow_exception(context.failure);
}

// On the host: what it reads is fetched, and what it gives is sent back. After a failed check it is
// not called, as no kernel does anything then.
void DeviceProgram::call(const kroton::Call& made) {
  kroton_error error{};
  download(&error, transfers_.results(), sizeof error);
  if (error.code != KROTON_OK) return;
  std::vector<std::vector<std::byte>> memory;
  std::vector<void*> arrays;
  std::vector<std::int64_t> sizes;
  const auto add = [&](std::vector<std::byte> bytes, const TensorType& type) {
    arrays.push_back(memory.emplace_back(std::move(bytes)).data());
    for (const Dim& dim : type.shape) sizes.push_back(values_.of(dim));
  };
  for (const kroton::Call::Value& value : made.inputs) add(downloaded(placed(value)), value.type);
  for (const kroton::Call::Value& value : made.outputs) {
    add(std::vector<std::byte>(static_cast<std::size_t>(placed(value).bytes)), value.type);
  }
  error = invoke(*made.callee, made.callee->options.function, arrays, sizes);
  if (error.code != KROTON_OK) {
    error.site += made.site;
    upload(transfers_.results(), &error, sizeof error);
    return;
  }
  for (std::size_t k = 0; k < made.outputs.size(); ++k) {
    const PlacedBuffer& to = placed(made.outputs[k]);
    upload(address_of(to), arrays[made.inputs.size() + k], to.bytes);
  }
}

const DeviceProgram::PlacedBuffer& DeviceProgram::placed(const kroton::Call::Value& value) const {
  return buffers_[static_cast<std::size_t>(positions_.at(value.buffer->id))];
}

std::vector<std::byte> DeviceProgram::downloaded(const PlacedBuffer& placed) {
  std::vector<std::byte> data(static_cast<std::size_t>(placed.bytes));
  download(data.data(), address_of(placed), placed.bytes);
  return data;
}

}  // namespace kroton::codegen
