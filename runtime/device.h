// A processor with memory of its own that runs kernels given as CUDA C++. The real one is in
// runtime/cuda; the tests have one that emulates it on the CPU.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "runtime/communicator.h"
#include "runtime/device_convolution.h"
#include "runtime/device_pool.h"
#include "runtime/device_product.h"
#include "runtime/device_uses.h"

namespace kroton {

using DeviceAddress = std::uint64_t;  // 0: no memory

// One argument of a kernel: an address or an integer. For an address, `bytes` is how much memory
// the kernel may touch from there on: what a checking device holds it to.
struct KernelArgument {
  static constexpr std::int64_t number = -1;
  std::uint64_t value = 0;
  std::int64_t bytes = number;
};

// A copy to the host.
struct DeviceRead {
  void* to = nullptr;
  DeviceAddress from = 0;
  std::int64_t bytes = 0;
};

// The kernels of one source text, compiled for one device.
class DeviceModule {
 public:
  using Kernel = void*;
  virtual ~DeviceModule() = default;
  // DeviceError when the source has no kernel of that name. Valid as long as the module.
  virtual Kernel kernel(const std::string& name) = 0;
};

// Launches noted once, to be run again as a whole with the same arguments.
class DeviceGraph {
 public:
  virtual ~DeviceGraph() = default;
};

// A place in the order of a device's work.
class DeviceEvent {
 public:
  virtual ~DeviceEvent() = default;
  // When it was passed, on a device that does at once what it is asked for.
  std::chrono::steady_clock::time_point passed;
};

// What a device is made of, as far as it tells; 0: it does not.
struct DeviceProperties {
  std::string model;         // "NVIDIA H100 80GB HBM3"
  int processors = 0;        // each with matrix units, registers and shared memory of its own
  double clock = 0;          // GHz, at most
  double f32_per_f64 = 0;    // operations
  double memory_clock = 0;   // GHz, at most
  int memory_bits = 0;       // that go to or from memory at a time
  double shared_memory = 0;  // bytes, of a processor
};

// A stream of a device. Its work is done in the order in which it is asked for. Every function may
// be called from any thread; who needs a sequence of calls undisturbed holds `mutex` meanwhile.
// What fails is a DeviceError that names the device and the operation.
//
// What runs nowhere else, and all memory, is the device's own stream's, which is what is called the
// device. Others are made by own_stream(): their work runs beside that of the rest, on the same
// memory. What is in order between them is what is waited for by places (MemoryUses). A thread that
// holds a stream's mutex waits for no other one's.
class Device {
 public:
  virtual ~Device() = default;
  // "cuda:0 (NVIDIA H200)"
  virtual const std::string& name() const = 0;
  // Its compute capability: 75, 80, 90.
  virtual int capability() const { return 80; }
  // What decides how fast kernels run there, for what is remembered of it: the kind of device, its
  // driver.
  virtual std::string kind() const { return name(); }
  virtual DeviceProperties properties() const { return {}; }
  // DeviceError if nothing can be done on the device any more: it has failed, or this process is
  // the child of the one that opened it. To be asked before the mutex is locked: in a child nobody
  // may be there to unlock it.
  virtual void check_usable() const {}

  // Another stream of the device, given back when nobody has it any more. Null where all work is in
  // one.
  virtual std::shared_ptr<Device> own_stream() { return nullptr; }
  // Behind what has been asked for, for other streams to wait for; null while there are none.
  virtual std::shared_ptr<const DevicePlace> place() { return nullptr; }
  // What is asked for from here on comes after that place of another stream of the device.
  virtual void wait_for(const DevicePlace& /*place*/) {}

  // Of the whole device, and locks no stream.
  virtual DeviceAddress allocate(std::int64_t bytes) = 0;  // aligned to 256 bytes, not cleared
  virtual void free(DeviceAddress address) noexcept = 0;   // waits for work that may use it
  // `from` may be changed when upload returns; `to` holds the bytes when download returns.
  virtual void upload(DeviceAddress to, const void* from, std::int64_t bytes) = 0;
  virtual void download(void* to, DeviceAddress from, std::int64_t bytes) = 0;
  // Several downloads that are waited for once.
  virtual void download(std::span<const DeviceRead> reads) {
    for (const DeviceRead& read : reads) download(read.to, read.from, read.bytes);
  }
  virtual void copy(DeviceAddress to, DeviceAddress from, std::int64_t bytes) = 0;
  // A copy from another device's memory, in order with the work of both, whose host does not wait.
  // False, and nothing is done, where there is no way but by the host's memory. Neither device's
  // mutex is to be locked.
  virtual bool copy_from(Device& /*source*/, DeviceAddress /*to*/, DeviceAddress /*from*/,
                         std::int64_t /*bytes*/) {
    return false;
  }
  virtual void clear(DeviceAddress to, std::int64_t bytes) = 0;  // to zero

  // A place that work before it has passed when it is recorded: `early` uploads after it may be
  // done while what was asked for since then still runs. All that is asked for later comes after
  // them.
  virtual std::unique_ptr<DeviceEvent> make_event() { return std::make_unique<DeviceEvent>(); }
  virtual void record(DeviceEvent& event) { event.passed = std::chrono::steady_clock::now(); }
  virtual void begin_early_uploads(DeviceEvent& /*after*/) {}
  virtual void end_early_uploads() noexcept {}
  // One that knows when it was passed; the seconds from one to another, when both are.
  virtual std::unique_ptr<DeviceEvent> make_timed_event() { return make_event(); }
  virtual double seconds_between(DeviceEvent& from, DeviceEvent& to) {
    return std::chrono::duration<double>(to.passed - from.passed).count();
  }

  // Exchanges with other devices are in a stream of their own, beside other work. The stream; what
  // comes to it from here on waits for what was asked for before. Null where there is none.
  virtual void* begin_exchange() { return nullptr; }
  // The place behind what the stream has got.
  virtual void record_exchange(DeviceEvent& /*event*/) {}
  // What is asked for from here on waits for that place.
  virtual void wait_for_exchange(DeviceEvent& /*event*/) {}
  // With the device's context as the thread's current one.
  virtual void in_context(const std::function<void()>& action) { action(); }

  // Memory and streams of others. Empty if memory at that address is this device's; else what it is
  // instead: "is memory of the host".
  virtual std::string why_foreign(DeviceAddress address) = 0;
  // What is asked for from here on waits for what is in that stream now, and the other way round.
  virtual void wait_for(void* /*stream*/) {}
  virtual void let_wait(void* /*stream*/) {}

  // `name` is for messages. A source that does not compile is an InternalError with the
  // compiler's log and the text.
  virtual std::unique_ptr<DeviceModule> compile(const std::string& source,
                                                const std::string& name) = 0;
  // What is asked for from here on belongs to a call of that function. Work that fails does so
  // later, when somebody waits for it: the error names the calls that may be meant.
  virtual void begin_call(const std::string& /*function*/) {}
  // Starts blocks*threads threads; both at least 1, threads at most 1024. Does not wait.
  virtual void launch(DeviceModule::Kernel kernel, std::int64_t blocks, int threads,
                      std::span<const KernelArgument> arguments) = 0;
  // The same for blocks that wait for each other, at most as many as are on the device at once: one
  // of the kernel on each processor; 0: it starts no such kernels.
  virtual void launch_together(DeviceModule::Kernel kernel, std::int64_t blocks, int threads,
                               std::span<const KernelArgument> arguments);
  virtual std::int64_t blocks_together(DeviceModule::Kernel /*kernel*/, int /*threads*/) {
    return 0;
  }
  // Whether the device has a library of matrix products; if not, why.
  virtual bool has_products() = 0;
  virtual std::string why_no_products() const { return ""; }
  virtual std::string products_version() const { return ""; }
  // One product by it. False, and nothing is done, if the library does not compute such a one, or
  // has fewer algorithms for it.
  virtual bool product(const DeviceProduct& product) = 0;
  // The same for convolutions. Their library is another one; where it computes none of a kind, it
  // says why, if it can be told.
  virtual bool has_convolutions() { return false; }
  virtual std::string why_no_convolutions() const { return ""; }
  virtual std::string convolutions_version() const { return ""; }
  virtual bool convolution(const DeviceConvolution& /*convolution*/, std::string& /*why_not*/) {
    return false;
  }
  virtual void synchronize() = 0;
  // The same for all streams of the device.
  virtual void synchronize_all() { synchronize(); }
  // How long the device works on what that starts. Waits.
  double seconds_of(const std::function<void()>& start);

  // Whether launches may be captured. Between begin and end, launch, product and clear are noted
  // instead of run, and nothing else may be called. What has failed meanwhile is abandoned.
  virtual bool has_graphs() const { return true; }
  virtual void begin_capture() = 0;
  virtual std::unique_ptr<DeviceGraph> end_capture() = 0;
  // The same into a graph of the same launches with other arguments, which it replaces: cheaper
  // than a new one.
  virtual void end_capture(std::unique_ptr<DeviceGraph>& graph) { graph = end_capture(); }
  virtual void abandon_capture() noexcept = 0;
  // Whether what is captured may be put in another order than one behind the other: then what
  // comes next waits for those places only, until captured_places() is asked for where it is.
  using CapturedPlace = void*;
  virtual bool orders_captured() const { return false; }
  virtual void capture_behind(std::span<const CapturedPlace> /*places*/) {}
  virtual std::vector<CapturedPlace> captured_places() { return {}; }
  // The stream that is captured, for what others put there.
  virtual void* captured_stream() { return nullptr; }
  virtual void launch(DeviceGraph& graph) = 0;

  std::recursive_mutex mutex;
  DevicePool pool{*this};  // memory for arrays
};

inline double Device::seconds_of(const std::function<void()>& start) {
  const std::unique_ptr<DeviceEvent> from = make_timed_event(), to = make_timed_event();
  record(*from);
  start();
  record(*to);
  synchronize();
  return seconds_between(*from, *to);
}

inline void Device::launch_together(DeviceModule::Kernel kernel, std::int64_t blocks, int threads,
                                    std::span<const KernelArgument> arguments) {
  launch(kernel, blocks, threads, arguments);
}

// Memory on a device, freed at the end of its life.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  DeviceMemory(std::shared_ptr<Device> device, std::int64_t bytes)
      : device_(std::move(device)),
        address_(bytes > 0 ? device_->allocate(bytes) : 0),
        bytes_(bytes) {}
  DeviceMemory(DeviceMemory&& other) noexcept { *this = std::move(other); }
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(address_, other.address_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~DeviceMemory() {
    if (address_ != 0) device_->free(address_);
  }

  DeviceAddress address() const { return address_; }
  std::int64_t bytes() const { return bytes_; }

 private:
  std::shared_ptr<Device> device_;
  DeviceAddress address_ = 0;
  std::int64_t bytes_ = 0;
};

// The CUDA device of that number, opened at first use and shared from then on. DeviceError that
// says what is missing and where it was looked for: the driver, NVRTC, or the device.
std::shared_ptr<Device> cuda_device(int number);

// The same, of this machine, whatever replaces it.
std::shared_ptr<Device> machine_cuda_device(int number);

// What exchanges between the CUDA devices of these numbers, a group of as many ranks: the library
// (NCCL), or copies between their memories where there is none; `why` tells of what there is not.
// Null where there is no such way, and for devices that replace the machine's.
std::shared_ptr<GroupExchange> open_exchange(const std::vector<int>& devices, std::string& why);

// From now on cuda_device gives what `open` gives; with an empty function, real devices again. The
// tests put their emulator here.
void replace_cuda_devices(std::function<std::shared_ptr<Device>(int number)> open);

}  // namespace kroton
