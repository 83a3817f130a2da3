// Arrays in the memory of devices.
#include <kroton/array.h>

#include <algorithm>

#include "runtime/storage.h"

namespace kroton {

using detail::ArrayAccess;
using detail::StreamOrder;

std::string to_string(const Target& target) {
  return target.kind == Target::Kind::cpu ? "cpu" : "cuda:" + std::to_string(target.device);
}

void synchronize(const Target& target) {
  if (target.kind == Target::Kind::cuda) cuda_device(target.device)->synchronize_all();
}

namespace detail {
namespace {

// The elements of an array, from the device's pool.
struct DeviceElements {
  DeviceElements(std::shared_ptr<Device> on, std::int64_t size, const Device& stream)
      : device(std::move(on)), bytes(size), piece(device->pool.allocate(bytes, stream)) {}
  ~DeviceElements() { device->pool.give_back(std::move(piece), bytes, is_known); }
  DeviceElements(const DeviceElements&) = delete;
  DeviceElements& operator=(const DeviceElements&) = delete;

  std::shared_ptr<Device> device;
  std::int64_t bytes;
  DevicePool::Piece piece;
  std::atomic<bool> is_known{false};  // to others, who may be using it when it is given back
};

}  // namespace

Array empty_on_device(const std::shared_ptr<Device>& device, int number, const Shape& shape,
                      DType dtype, const Device& stream) {
  const std::int64_t size = shape.element_count();
  if (size > (std::int64_t{1} << 62) / size_of(dtype)) {
    throw ValueError("array: " + to_string(shape) + " of " + std::string(name_of(dtype)) +
                     " is larger than any memory");
  }
  Storage storage;
  storage.device = device;
  storage.number = number;
  void* data = nullptr;
  if (size > 0) {
    const auto elements = std::make_shared<DeviceElements>(device, size * size_of(dtype), stream);
    data = reinterpret_cast<void*>(elements->piece.address);
    storage.is_known = &elements->is_known;
    storage.uses = elements->piece.uses.get();
    storage.owner = elements;
  }
  return ArrayAccess::make(data, dtype, shape, false, storage, true);
}

std::string place_of(const Array& array) {
  const Storage* storage = ArrayAccess::on_device(array);
  return storage ? storage->device->name() : "the host";
}

void require_host(const Array& array, const std::string& operation) {
  if (!array.is_on_device()) return;
  throw DeviceError(operation + ": the array is on " + place_of(array) +
                    ", elements are looked at on the host: to(kt::cpu()) copies them there");
}

StreamOrder::StreamOrder(Device& stream, std::initializer_list<Used> used) : stream_(stream) {
  for (const Used& one : used) use(one);
}

void StreamOrder::use(const Used& used) {
  if (!used.storage) return;
  if (used.storage->is_foreign) follow(used.storage->stream);
  if (used.storage->uses) use(*used.storage->uses, used.writes);
}

void StreamOrder::use(MemoryUses& memory, bool writes) {
  for (const auto& place : memory.before(stream_, writes)) stream_.wait_for(*place);
  memory_.emplace_back(&memory, writes);
}

void StreamOrder::follow(void* stream) {
  if (std::ranges::find(followed_, stream) != followed_.end()) return;
  followed_.push_back(stream);
  stream_.wait_for(stream);
}

StreamOrder::~StreamOrder() {
  try {
    for (void* stream : followed_) stream_.let_wait(stream);
    if (memory_.empty()) return;
    const std::shared_ptr<const DevicePlace> place = stream_.place();
    if (!place) return;
    for (const auto& [memory, writes] : memory_) memory->note(place, writes);
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): the next call says so
  }
}

}  // namespace detail

void Array::fail_on_device(const char* operation) const {
  detail::require_host(*this, operation);
  throw InternalError("array: not on a device");
}

Target Array::device() const noexcept {
  const detail::Storage* storage = ArrayAccess::on_device(*this);
  return storage ? cuda(storage->number) : cpu();
}

Array Array::empty(const Shape& shape, DType dtype, const Target& device) {
  if (device == cpu()) return empty(shape, dtype);
  const std::shared_ptr<Device> on = cuda_device(device.device);
  return detail::empty_on_device(on, device.device, shape, dtype, *on);
}

Array Array::zeros(const Shape& shape, DType dtype, const Target& device) {
  if (device == cpu()) return zeros(shape, dtype);
  Array array = empty(shape, dtype, device);
  const detail::Storage* const storage = ArrayAccess::on_device(array);
  const StreamOrder order(*storage->device, {{storage, true}});
  storage->device->clear(ArrayAccess::address(array), array.nbytes());
  return array;
}

Array Array::view_of(const Target& device, void* data, DType dtype, const Shape& shape,
                     bool read_only, void* stream) {
  const Array checked = view_of(data, dtype, shape, read_only);
  if (device == cpu()) return checked;
  detail::Storage storage;
  storage.device = cuda_device(device.device);
  storage.number = device.device;
  storage.is_foreign = true;
  storage.stream = stream;
  if (checked.size_ > 0) {
    const auto address = reinterpret_cast<DeviceAddress>(data);
    const std::string what = "view: the memory of " + std::string(name_of(dtype)) + " " +
                             to_string(shape) + " to be viewed on " + storage.device->name() + " ";
    const std::string why = storage.device->why_foreign(address);
    if (!why.empty()) throw DeviceError(what + why);
    if (address % static_cast<DeviceAddress>(size_of(dtype)) != 0) {
      throw ValueError(what + "begins at an address that is no multiple of " +
                       std::to_string(size_of(dtype)));
    }
  }
  return ArrayAccess::make(data, dtype, shape, read_only, storage, true);
}

Array Array::to(const Target& target) const {
  if (target == device()) return *this;
  Array result = empty(shape_, dtype_, target);
  result.assign(*this);
  return result;
}

const void* Array::device_pointer() const {
  const detail::Storage* storage = ArrayAccess::on_device(*this);
  if (!storage) {
    throw DeviceError(
        "device_pointer: the array is on the host: to(kt::cuda()) copies it to a device");
  }
  if (storage->is_known) *storage->is_known = true;
  return data_;
}

void* Array::device_pointer() {
  const void* pointer = std::as_const(*this).device_pointer();
  check_writable();
  return const_cast<void*>(pointer);
}

void Array::assign_between(const Array& values) {
  const detail::Storage* const here = ArrayAccess::on_device(*this);
  const detail::Storage* const there = ArrayAccess::on_device(values);
  const std::int64_t bytes = nbytes();
  if (here == nullptr) {
    if (!row_major_) {
      assign(values.to(cpu()));
      return;
    }
    const StreamOrder order(*there->device, {{there, false}});
    there->device->download(data_, ArrayAccess::address(values), bytes);
    return;
  }
  if (there == nullptr) {
    const Array source = values.contiguous();
    const StreamOrder order(*here->device, {{here, true}});
    here->device->upload(ArrayAccess::address(*this), source.data_, bytes);
    return;
  }
  if (here->device != there->device) {
    const StreamOrder order_here(*here->device, {{here, true}});
    const StreamOrder order_there(*there->device, {{there, false}});
    const bool is_copied = here->device->copy_from(*there->device, ArrayAccess::address(*this),
                                                   ArrayAccess::address(values), bytes);
    if (!is_copied) assign(values.to(cpu()));
    return;
  }
  const DeviceAddress target = ArrayAccess::address(*this), source = ArrayAccess::address(values);
  if (target == source) return;
  const auto length = static_cast<DeviceAddress>(bytes);
  if (target < source + length && source < target + length) {  // which the driver does not copy
    assign_between(values.copy());
    return;
  }
  const StreamOrder order(*here->device, {{here, true}, {there, false}});
  here->device->copy(target, source, bytes);
}

}  // namespace kroton
