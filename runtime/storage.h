// What an Array has that is no plain block of elements: a view with strides or an owner, or an
// array on a device.
#pragma once
#include <kroton/array.h>

#include <atomic>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/device.h"

namespace kroton::detail {

struct Storage {
  Shape strides;                   // of an array that is not row-major
  std::shared_ptr<void> owner;     // keeps the memory; null where that is the caller's
  std::shared_ptr<Device> device;  // null: the host's memory
  int number = 0;                  // of the device
  // On a device: whether the memory is another's, and the stream of the driver's that they use.
  bool is_foreign = false;
  void* stream = nullptr;
  // Of memory of Kroton's on a device, a part of the owner: whether others have got its address.
  std::atomic<bool>* is_known = nullptr;
  MemoryUses* uses = nullptr;  // of that memory
};

struct ArrayAccess {
  // Null for an array of plain elements and for a row-major view of the host's memory.
  static const Storage* storage(const Array& array);
  // The same for an array on a device only.
  static const Storage* on_device(const Array& array) {
    return array.on_device_ ? storage(array) : nullptr;
  }
  static DeviceAddress address(const Array& array) {
    return reinterpret_cast<DeviceAddress>(array.data_);
  }
  // An array in that storage. The shape has been checked.
  static Array make(void* data, DType dtype, const Shape& shape, bool read_only,
                    const Storage& storage, bool row_major);
};

// An array in a device's memory, with no defined values, to be used in that stream first of all.
Array empty_on_device(const std::shared_ptr<Device>& device, int number, const Shape& shape,
                      DType dtype, const Device& stream);

// Where the elements lie, for messages: "cuda:0 (NVIDIA H200)", "the host".
std::string place_of(const Array& array);
// DeviceError unless the elements are on the host; `operation` is for the message.
void require_host(const Array& array, const std::string& operation);

// Orders work of a stream of a device with that of others who use the same memory, streams of the
// device and of other libraries: what is asked for during its life waits for what they have used it
// for, and they wait for that.
class StreamOrder {
 public:
  struct Used {
    const Storage* storage;  // of an array on the device; null: none
    bool writes;
  };
  explicit StreamOrder(Device& stream, std::initializer_list<Used> used = {});
  ~StreamOrder();
  StreamOrder(const StreamOrder&) = delete;
  StreamOrder& operator=(const StreamOrder&) = delete;

  void use(const Used& used);
  void use(MemoryUses& memory, bool writes);
  // With all that is in that stream of the driver's.
  void follow(void* stream);

 private:
  Device& stream_;
  std::vector<void*> followed_;
  std::vector<std::pair<MemoryUses*, bool>> memory_;
};

}  // namespace kroton::detail
