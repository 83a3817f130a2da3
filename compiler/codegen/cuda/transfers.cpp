#include "compiler/codegen/cuda/transfers.h"

#include <kroton/error.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

namespace kroton::codegen {
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

void grow(DeviceMemory& memory, const std::shared_ptr<Device>& device, std::int64_t bytes) {
  if (memory.bytes() >= bytes) return;
  const std::int64_t more = memory.bytes() + memory.bytes() / 2;
  memory = {};
  if (more > bytes) {
    try {
      memory = DeviceMemory(device, more);
      return;
    } catch (const DeviceError&) {  // NOLINT(bugprone-empty-catch): there may be room for less
    }
  }
  memory = DeviceMemory(device, bytes);
}

Transfers::Transfers(std::shared_ptr<Device> device)
    : device_(std::move(device)), results_(device_, line) {
  static_assert(sizeof(kroton_error) <= line);
  for (Inputs& inputs : inputs_) inputs.used = device_->make_event();
}

Transfers::Layout Transfers::layout(std::span<const ArgumentMemory> memory, std::int64_t begin) {
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

void Transfers::place(std::span<const ArgumentMemory> inputs,
                      std::span<const ArgumentMemory> outputs) {
  if (is_read_) current_ = 1 - current_;
  input_layout_ = layout(inputs, 0);
  output_layout_ = layout(outputs, line);
  DeviceMemory& uploaded = inputs_[current_].memory;
  grow(uploaded, device_, input_layout_.end);
  grow(results_, device_, output_layout_.end);
  const auto addresses = [](const Layout& in, const DeviceMemory& memory,
                            std::span<const ArgumentMemory> arguments) {
    std::vector<DeviceAddress> result;
    for (std::size_t k = 0; k < arguments.size(); ++k) {
      result.push_back(in.offsets[k] < 0
                           ? reinterpret_cast<DeviceAddress>(arguments[k].data)
                           : memory.address() + static_cast<DeviceAddress>(in.offsets[k]));
    }
    return result;
  };
  input_addresses_ = addresses(input_layout_, uploaded, inputs);
  output_addresses_ = addresses(output_layout_, results_, outputs);
}

void Transfers::upload(std::span<const ArgumentMemory> inputs) {
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

void Transfers::started(bool waits) {
  is_read_ = !waits && input_layout_.end > 0;
  if (is_read_) device_->record(*inputs_[current_].used);
}

kroton_error Transfers::download(std::span<const ArgumentMemory> outputs, bool checks) {
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

}  // namespace kroton::codegen
