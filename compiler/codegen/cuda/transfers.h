// The ways of a call's arguments to the device and of its results back.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/abi.h"
#include "runtime/device.h"
#include "runtime/storage.h"

namespace kroton::codegen {

// Memory of one input or output: row-major elements.
struct ArgumentMemory {
  void* data = nullptr;
  std::int64_t bytes = 0;
  const detail::Storage* storage = nullptr;  // of memory on the device; null: the host's
};

// Makes the memory at least that large. What grows gets half as much again: sizes that creep up ask
// for it a few times only, and the graphs that use it are not updated at every one of them.
void grow(DeviceMemory& memory, const std::shared_ptr<Device>& device, std::int64_t bytes);

// The arguments that come from the host, the error of the checks, and the outputs that go there, in
// memory that is kept from call to call. A call: place, upload, the kernels, is_read, download.
class Transfers {
 public:
  // Arguments of at most so many bytes are copied together.
  static constexpr std::int64_t small_bytes = 4 << 10;

  explicit Transfers(std::shared_ptr<Device> device);

  // Finds places for the arguments of a call. Before it may have been one that did not wait: then
  // inputs come to other memory, and the copies do not wait for what still runs.
  void place(std::span<const ArgumentMemory> inputs, std::span<const ArgumentMemory> outputs);
  DeviceAddress input(std::size_t k) const { return input_addresses_[k]; }
  DeviceAddress output(std::size_t k) const { return output_addresses_[k]; }
  // Of a kroton_error, and all of this memory behind it.
  DeviceAddress results() const { return results_.address(); }
  bool has_host_outputs() const { return output_layout_.end > line; }

  void upload(std::span<const ArgumentMemory> inputs);
  // Everything that reads the inputs has been started; whether the call waits for it.
  void started(bool waits);
  // Outputs, after a call with checks only if none has failed: the error of the checks.
  kroton_error download(std::span<const ArgumentMemory> outputs, bool checks);

 private:
  static constexpr std::int64_t line = 256;  // arguments begin at multiples of it

  // Places in one piece of memory: the small ones first, so that they are copied together. -1: not
  // in it.
  struct Layout {
    std::vector<std::int64_t> offsets;
    std::int64_t small_end = 0, end = 0;
  };
  // Memory that inputs are uploaded to.
  struct Inputs {
    DeviceMemory memory;
    std::unique_ptr<DeviceEvent> used;  // behind the last call that read it
  };

  static Layout layout(std::span<const ArgumentMemory> memory, std::int64_t begin);

  std::shared_ptr<Device> device_;
  // Two, for calls that do not wait: while one is read, the inputs of the next come to the other.
  std::array<Inputs, 2> inputs_;
  std::size_t current_ = 0;
  bool is_read_ = false;  // the current ones, perhaps still
  DeviceMemory results_;  // the error of the checks, then outputs on their way to the host
  Layout input_layout_, output_layout_;
  std::vector<DeviceAddress> input_addresses_, output_addresses_;
  std::vector<std::byte> packed_;
};

}  // namespace kroton::codegen
