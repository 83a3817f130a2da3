// The streams of a device, and what waits for what.
#include <kroton/error.h>

#include "runtime/cuda/cuda_device.h"

namespace kroton::nvidia {

// A new stream comes after all that the device's own one has got so far: nothing is noted of who
// has used memory there before. From then on it is.
std::shared_ptr<Device> CudaDevice::own_stream() {
  CudaDevice& home = home_;
  home.check_usable();
  CudaDevice* stream = nullptr;
  {
    const std::lock_guard lock(home.common_);
    if (!home.idle_.empty()) {
      stream = home.idle_.back();
      home.idle_.pop_back();
    }
  }
  if (!stream) {
    auto made = std::make_unique<CudaDevice>(&home);
    const Use use(home);
    home.has_streams_ = true;
    home.check(driver().cuEventRecord(home.order_, home.stream_), "cuEventRecord");
    home.wait_in(made->stream_, home.order_);
    const std::lock_guard lock(home.common_);
    stream = home.streams_.emplace_back(std::move(made)).get();
    home.idle_.reserve(home.streams_.size());
  }
  return {stream, [&home](CudaDevice* given_back) {
            if (is_forked()) return;
            const std::lock_guard lock(home.common_);
            home.idle_.push_back(given_back);
          }};
}

std::shared_ptr<const DevicePlace> CudaDevice::place() {
  const Use use(*this);
  if (!home_.has_streams_) return nullptr;
  auto place = std::make_shared<DevicePlace>(DevicePlace{this, ++places_, make_event()});
  record(*place->event);
  return place;
}

void CudaDevice::wait_for(const DevicePlace& place) {
  if (place.stream == this) return;
  const Use use(*this);
  std::uint64_t& last = waited_for_[place.stream];
  if (last >= place.number) return;
  wait_in(stream_, static_cast<Event&>(*place.event).get());
  last = place.number;
}

std::unique_ptr<DeviceEvent> CudaDevice::new_event(unsigned flags) {
  const Context context(*this);
  CUevent event = nullptr;
  check(driver().cuEventCreate(&event, flags), "cuEventCreate");
  return std::make_unique<Event>(*this, event);
}

std::unique_ptr<DeviceEvent> CudaDevice::make_event() { return new_event(event_disable_timing); }

std::unique_ptr<DeviceEvent> CudaDevice::make_timed_event() { return new_event(event_default); }

double CudaDevice::seconds_between(DeviceEvent& from, DeviceEvent& to) {
  const Use use(*this);
  float milliseconds = 0;
  check(driver().cuEventElapsedTime(&milliseconds, static_cast<Event&>(from).get(),
                                    static_cast<Event&>(to).get()),
        "cuEventElapsedTime");
  return 1e-3 * static_cast<double>(milliseconds);
}

void CudaDevice::record(DeviceEvent& event) {
  const Use use(*this);
  check(driver().cuEventRecord(static_cast<Event&>(event).get(), stream_), "cuEventRecord");
}

void* CudaDevice::begin_exchange() {
  const Use use(*this);
  note_work();
  check(driver().cuEventRecord(order_, stream_), "cuEventRecord");
  wait_in(exchange_stream_, order_);
  return exchange_stream_;
}

void CudaDevice::record_exchange(DeviceEvent& event) {
  const Use use(*this);
  check(driver().cuEventRecord(static_cast<Event&>(event).get(), exchange_stream_),
        "cuEventRecord");
}

void CudaDevice::wait_for_exchange(DeviceEvent& event) {
  const Use use(*this);
  wait_in(stream_, static_cast<Event&>(event).get());
}

void CudaDevice::in_context(const std::function<void()>& action) {
  const Use use(*this);
  action();
}

std::string CudaDevice::why_foreign(DeviceAddress address) {
  const Context context(*this);
  unsigned type = 0;
  const CUresult asked = driver().cuPointerGetAttribute(&type, pointer_memory_type, address);
  if (asked == 1) return "is in no memory that the driver knows";
  check(asked, "cuPointerGetAttribute");
  unsigned is_managed = 0;
  check(driver().cuPointerGetAttribute(&is_managed, pointer_is_managed, address),
        "cuPointerGetAttribute");
  if (is_managed != 0) return "";  // it goes where it is used
  if (type == memory_of_host) return "is memory of the host";
  int device = -1;
  check(driver().cuPointerGetAttribute(&device, pointer_device, address), "cuPointerGetAttribute");
  return device == number_ ? "" : "is on cuda:" + std::to_string(device);
}

void CudaDevice::wait_for(void* stream) {
  const Use use(*this);
  check(driver().cuEventRecord(order_, static_cast<CUstream>(stream)),
        "cuEventRecord in a stream of the caller's");
  wait_in(stream_, order_);
}

void CudaDevice::let_wait(void* stream) {
  const Use use(*this);
  check(driver().cuEventRecord(order_, stream_), "cuEventRecord");
  wait_in(static_cast<CUstream>(stream), order_);
}

void CudaDevice::synchronize() {
  const Use use(*this);
  wait("cuStreamSynchronize");
}

void CudaDevice::synchronize_all() {
  synchronize();
  if (!home_.has_streams_) return;
  const Context context(*this);
  check(wait_for_device(), "cuCtxSynchronize");
}

CUresult CudaDevice::wait_for_device() const {
  const std::lock_guard lock(home_.captures_);
  return driver().cuCtxSynchronize();
}

void CudaDevice::wait_in(CUstream stream, CUevent event) {
  check(driver().cuStreamWaitEvent(stream, event, 0), "cuStreamWaitEvent");
}

}  // namespace kroton::nvidia
