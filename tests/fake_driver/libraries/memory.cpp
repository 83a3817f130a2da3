// The driver of the tests: memory and copies.
#include <cstdlib>
#include <cstring>
#include <sstream>

#include "tests/fake_driver/libraries/driver.h"

using namespace fake_driver;  // NOLINT: this is its interface

namespace {

std::uint64_t digest(const void* data, std::size_t bytes) {
  std::uint64_t hash = 1469598103934665603U;
  for (std::size_t k = 0; k < bytes; ++k) {
    hash = (hash ^ static_cast<const unsigned char*>(data)[k]) * 1099511628211U;
  }
  return hash;
}

std::string bytes_at(std::size_t bytes, CUdeviceptr address) {
  std::ostringstream text;
  text << bytes << " bytes at 0x" << std::hex << address;
  return text.str();
}

// A copy or a clearing whose device memory is not there.
CUresult stray(const std::string& what, std::size_t bytes, CUdeviceptr address) {
  complain(what + " of " + bytes_at(bytes, address) + ", which is not inside an allocation");
  return illegal_address;
}

}  // namespace

DRIVER_FUNCTION(cuMemAlloc_v2)(CUdeviceptr* address, std::size_t bytes) {
  const Call call("cuMemAlloc_v2");
  if (call.result != 0) return call.result;
  if (bytes == 0) {
    complain("cuMemAlloc of 0 bytes");
    return invalid_value;
  }
  constexpr std::size_t alignment = 256;
  const std::size_t size = (bytes + alignment - 1) / alignment * alignment;
  void* data = std::aligned_alloc(alignment, size);
  void* shadow = std::calloc(size, gpu_emulator::log_bytes);
  if (!data || !shadow) return out_of_memory;
  std::memset(data, 0xa5, size);  // what was there before means nothing
  *address = reinterpret_cast<CUdeviceptr>(data);
  machine().allocations[*address] = {bytes, shadow, current_context(), false};
  ++machine().allocated;
  return 0;
}

DRIVER_FUNCTION(cuMemFree_v2)(CUdeviceptr address) {
  const Call call("cuMemFree_v2");
  if (call.result != 0) return call.result;
  const auto found = machine().allocations.find(address);
  if (found == machine().allocations.end() || found->second.freed) {
    complain("cuMemFree of what is not allocated");
    return invalid_value;
  }
  if (!belongs("cuMemFree", found->second.context)) return invalid_value;
  if (!is_idle(found->second.context)) {
    complain("cuMemFree of " + bytes_at(found->second.bytes, address) + " while work is queued");
    finish_all(found->second.context);
  }
  std::memset(reinterpret_cast<void*>(address), 0xa5, found->second.bytes);
  found->second.freed = true;
  --machine().allocated;
  return 0;
}

DRIVER_FUNCTION(cuMemAllocHost_v2)(void** memory, std::size_t bytes) {
  const Call call("cuMemAllocHost_v2");
  if (call.result != 0) return call.result;
  *memory = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  if (!*memory) return out_of_memory;
  machine().host_memory[reinterpret_cast<CUdeviceptr>(*memory)] = bytes;
  return 0;
}

DRIVER_FUNCTION(cuMemcpyHtoDAsync_v2)
(CUdeviceptr to, const void* from, std::size_t bytes, CUstream stream) {
  const Call call("cuMemcpyHtoDAsync_v2");
  if (call.result != 0) return call.result;
  stream = resolved(stream);
  if (!belongs("cuMemcpyHtoDAsync", stream->context)) return invalid_handle;
  if (stream->capturing) complain("a copy from the host's memory in a graph");
  enqueue(stream, [=, before = digest(from, bytes)] {
    void* target = memory(to, static_cast<std::int64_t>(bytes));
    if (!target) return stray("a copy to the device", bytes, to);
    if (digest(from, bytes) != before) {
      complain("the host's memory that " + std::to_string(bytes) +
               " bytes are copied from has changed before they were copied");
    }
    std::memcpy(target, from, bytes);
    return 0;
  });
  return 0;
}

DRIVER_FUNCTION(cuMemcpyDtoHAsync_v2)
(void* to, CUdeviceptr from, std::size_t bytes, CUstream stream) {
  const Call call("cuMemcpyDtoHAsync_v2");
  if (call.result != 0) return call.result;
  stream = resolved(stream);
  if (!belongs("cuMemcpyDtoHAsync", stream->context)) return invalid_handle;
  if (stream->capturing) complain("a copy to the host's memory in a graph");
  enqueue(stream, [=] {
    const void* source = memory(from, static_cast<std::int64_t>(bytes));
    if (!source) return stray("a copy from the device", bytes, from);
    std::memcpy(to, source, bytes);
    return 0;
  });
  return 0;
}

DRIVER_FUNCTION(cuMemcpyDtoDAsync_v2)
(CUdeviceptr to, CUdeviceptr from, std::size_t bytes, CUstream stream) {
  const Call call("cuMemcpyDtoDAsync_v2");
  if (call.result != 0) return call.result;
  stream = resolved(stream);
  if (!belongs("cuMemcpyDtoDAsync", stream->context)) return invalid_handle;
  if (to < from + bytes && from < to + bytes) complain("a copy of memory onto itself");
  enqueue(stream, [=] {
    void* target = memory(to, static_cast<std::int64_t>(bytes));
    const void* source = memory(from, static_cast<std::int64_t>(bytes));
    if (!target) return stray("a copy on the device", bytes, to);
    if (!source) return stray("a copy on the device", bytes, from);
    std::memcpy(target, source, bytes);
    return 0;
  });
  return 0;
}

DRIVER_FUNCTION(cuDeviceCanAccessPeer)(int* can, CUdevice device, CUdevice peer) {
  const Call call("cuDeviceCanAccessPeer", Needs::driver);
  if (call.result != 0) return call.result;
  if (device == peer) complain("cuDeviceCanAccessPeer of a device and itself");
  *can = setting("peers", "on") == "on" ? 1 : 0;
  return 0;
}

DRIVER_FUNCTION(cuCtxEnablePeerAccess)(CUcontext peer, unsigned flags) {
  const Call call("cuCtxEnablePeerAccess");
  if (call.result != 0) return call.result;
  constexpr CUresult is_enabled = 704, unsupported = 217;
  if (flags != 0 || peer == current_context()) return invalid_value;
  if (setting("peers", "on") != "on") {
    complain("cuCtxEnablePeerAccess of devices that have no way to each other");
    return unsupported;
  }
  return machine().peers.emplace(current_context(), peer).second ? 0 : is_enabled;
}

DRIVER_FUNCTION(cuMemcpyPeerAsync)
(CUdeviceptr to, CUcontext here, CUdeviceptr from, CUcontext there, std::size_t bytes,
 CUstream stream) {
  const Call call("cuMemcpyPeerAsync");
  if (call.result != 0) return call.result;
  stream = resolved(stream);
  if (!belongs("cuMemcpyPeerAsync", stream->context)) return invalid_handle;
  if (stream->context != here) complain("cuMemcpyPeerAsync in a stream of another device");
  enqueue(stream, [=] {
    void* target = memory(to, static_cast<std::int64_t>(bytes));
    if (!target) return stray("a copy between devices", bytes, to);
    const CUcontext before = std::exchange(machine().working, there);
    const void* source = memory(from, static_cast<std::int64_t>(bytes));
    machine().working = before;
    if (!source) return stray("a copy between devices", bytes, from);
    std::memcpy(target, source, bytes);
    return 0;
  });
  return 0;
}

DRIVER_FUNCTION(cuPointerGetAttribute)(void* value, int attribute, CUdeviceptr address) {
  const Call call("cuPointerGetAttribute");
  if (call.result != 0) return call.result;
  const auto in = [&](const auto& all) {
    auto after = all.upper_bound(address);
    return after == all.begin() ? all.end() : --after;
  };
  const auto host = in(machine().host_memory);
  const bool is_host = host != machine().host_memory.end() && address < host->first + host->second;
  const auto found = in(machine().allocations);
  const bool is_there = found != machine().allocations.end() && !found->second.freed &&
                        address < found->first + found->second.bytes;
  if (!is_host && !is_there) return invalid_value;
  constexpr unsigned of_device = 2;
  if (attribute == pointer_memory_type) {
    *static_cast<unsigned*>(value) = is_host ? memory_of_host : of_device;
  } else if (attribute == pointer_is_managed) {
    *static_cast<unsigned*>(value) = 0;
  } else if (attribute == pointer_device) {
    *static_cast<int*>(value) = is_host ? 0 : found->second.context->device;
  } else {
    return invalid_value;
  }
  return 0;
}

DRIVER_FUNCTION(cuMemsetD8Async)
(CUdeviceptr to, unsigned char value, std::size_t bytes, CUstream stream) {
  const Call call("cuMemsetD8Async");
  if (call.result != 0) return call.result;
  stream = resolved(stream);
  if (!belongs("cuMemsetD8Async", stream->context)) return invalid_handle;
  enqueue(stream, [=] {
    void* target = memory(to, static_cast<std::int64_t>(bytes));
    if (!target) return stray("a clearing", bytes, to);
    std::memset(target, value, bytes);
    return 0;
  });
  return 0;
}

SAME(cuMemAllocHost, cuMemAllocHost_v2);
SAME(cuMemAlloc, cuMemAlloc_v2);
SAME(cuMemFree, cuMemFree_v2);
SAME(cuMemcpyHtoDAsync, cuMemcpyHtoDAsync_v2);
SAME(cuMemcpyDtoHAsync, cuMemcpyDtoHAsync_v2);
SAME(cuMemsetD8Async, cuMemsetD8Async);
SAME(cuMemcpyDtoDAsync, cuMemcpyDtoDAsync_v2);
SAME(cuDeviceCanAccessPeer, cuDeviceCanAccessPeer);
SAME(cuCtxEnablePeerAccess, cuCtxEnablePeerAccess);
SAME(cuMemcpyPeerAsync, cuMemcpyPeerAsync);
SAME(cuPointerGetAttribute, cuPointerGetAttribute);
