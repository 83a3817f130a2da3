// Memory of a device, and copies to and from it.
#include <kroton/error.h>

#include <algorithm>
#include <cstring>

#include "runtime/cuda/cuda_device.h"

namespace kroton::nvidia {

DeviceAddress CudaDevice::allocate(std::int64_t bytes) {
  const Context context(*this);
  CUdeviceptr address = 0;
  const CUresult result = driver().cuMemAlloc(&address, static_cast<std::size_t>(bytes));
  check(result, "allocating " + std::to_string(bytes) + " bytes");
  return address;
}

void CudaDevice::free(DeviceAddress address) noexcept {
  // Of all streams: memory that others have got may be in use in theirs.
  give_back([&] {
    wait_for_device();
    driver().cuMemFree(address);
  });
}

void CudaDevice::upload(DeviceAddress to, const void* from, std::int64_t bytes) {
  if (bytes == 0) return;
  const Use use(*this);
  note_work();
  const auto size = static_cast<std::size_t>(bytes);
  check(is_early_ ? early_staging_.upload(to, from, size, early_stream_)
                  : staging_.upload(to, from, size, stream_),
        "copying " + std::to_string(bytes) + " bytes to the device");
}

void CudaDevice::download(void* to, DeviceAddress from, std::int64_t bytes) {
  if (bytes == 0) return;
  const Use use(*this);
  const std::string what = "copying " + std::to_string(bytes) + " bytes from the device";
  check(driver().cuMemcpyDtoHAsync(to, from, static_cast<std::size_t>(bytes), stream_), what);
  wait(what);
}

// Small ones by way of page-locked memory: a copy to other memory is waited for by itself.
void CudaDevice::download(std::span<const DeviceRead> reads) {
  const Use use(*this);
  std::size_t staged = 0;
  std::int64_t bytes = 0;
  const auto place_of = [&](const DeviceRead& read) -> char* {
    const auto size = static_cast<std::size_t>(read.bytes);
    if (size > landing_bytes - staged) return nullptr;
    char* const place = landing_ + staged;
    staged += (size + 63) / 64 * 64;
    staged = std::min(staged, landing_bytes);
    return place;
  };
  for (const DeviceRead& read : reads) {
    if (read.bytes == 0) continue;
    bytes += read.bytes;
    void* const landed = place_of(read);
    check(driver().cuMemcpyDtoHAsync(landed ? landed : read.to, read.from,
                                     static_cast<std::size_t>(read.bytes), stream_),
          "copying " + std::to_string(read.bytes) + " bytes from the device");
  }
  if (bytes == 0) return;
  wait("copying " + std::to_string(bytes) + " bytes from the device");
  staged = 0;
  for (const DeviceRead& read : reads) {
    if (read.bytes == 0) continue;
    if (const char* landed = place_of(read)) {
      std::memcpy(read.to, landed, static_cast<std::size_t>(read.bytes));
    }
  }
}

void CudaDevice::copy(DeviceAddress to, DeviceAddress from, std::int64_t bytes) {
  if (bytes == 0) return;
  const Use use(*this);
  note_work();
  check(driver().cuMemcpyDtoDAsync(to, from, static_cast<std::size_t>(bytes), stream_),
        "copying " + std::to_string(bytes) + " bytes on the device");
}

bool CudaDevice::copy_from(Device& other, DeviceAddress to, DeviceAddress from,
                           std::int64_t bytes) {
  auto* const source = dynamic_cast<CudaDevice*>(&other);
  if (source == nullptr || source == this) return false;
  if (bytes == 0) return true;
  // One device after the other: two threads that copy opposite ways do not wait for each other.
  const std::unique_ptr<DeviceEvent> is_there = source->make_event();
  source->record(*is_there);
  const std::unique_ptr<DeviceEvent> is_copied = make_event();
  {
    const Use use(*this);
    reach(*source);
    note_work();
    wait_in(stream_, static_cast<Event&>(*is_there).get());
    check(driver().cuMemcpyPeerAsync(to, context_, from, source->context_,
                                     static_cast<std::size_t>(bytes), stream_),
          "copying " + std::to_string(bytes) + " bytes from " + source->name_);
    record(*is_copied);
  }
  // What the source's device is asked for from here on may write there.
  const Use use(*source);
  source->wait_in(source->stream_, static_cast<Event&>(*is_copied).get());
  return true;
}

bool CudaDevice::reach(CudaDevice& source) {
  const Use use(*this);
  const auto [known, fresh] = reached_.emplace(source.number_, false);
  if (!fresh) return known->second;
  int can = 0;
  check(driver().cuDeviceCanAccessPeer(&can, device_, source.device_), "cuDeviceCanAccessPeer");
  if (can == 0) return false;
  constexpr CUresult is_enabled = 704;  // by somebody else
  const CUresult enabled = driver().cuCtxEnablePeerAccess(source.context_, 0);
  if (enabled != is_enabled) check(enabled, "cuCtxEnablePeerAccess");
  return known->second = true;
}

void CudaDevice::clear(DeviceAddress to, std::int64_t bytes) {
  if (bytes == 0) return;
  const Use use(*this);
  note_work();
  check(driver().cuMemsetD8Async(to, 0, static_cast<std::size_t>(bytes), stream_),
        "cuMemsetD8Async");
}

void CudaDevice::begin_early_uploads(DeviceEvent& after) {
  const Use use(*this);
  wait_in(early_stream_, static_cast<Event&>(after).get());
  is_early_ = true;
}

void CudaDevice::end_early_uploads() noexcept {
  release([&] {
    is_early_ = false;
    // What fails here is a lasting error, which the next call meets.
    driver().cuEventRecord(order_, early_stream_);
    driver().cuStreamWaitEvent(stream_, order_, 0);
  });
}

}  // namespace kroton::nvidia
