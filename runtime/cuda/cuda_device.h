// A CUDA device through the driver.
#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <vector>

#include "runtime/cuda/driver_api.h"
#include "runtime/cuda/staging.h"
#include "runtime/device.h"

namespace kroton::nvidia {

class CublasLt;
class Cudnn;

// Opened once for each number (devices.cpp), and never closed: the context must outlast everything
// made in it. So must its other streams: one that is given back waits for the next who wants one.
class CudaDevice final : public Device {
 public:
  CudaDevice(int number, CUdevice device);
  // Another stream of it.
  explicit CudaDevice(CudaDevice* home);
  ~CudaDevice() override;

  // For exchanges between devices (peer_exchange.cpp), which one thread starts on all of them while
  // the threads that hold them wait. Makes the device's context the thread's current one, and locks
  // nothing.
  class Context {
   public:
    explicit Context(const CudaDevice& device);
    ~Context();
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;
  };
  CUcontext context() const { return context_; }
  // Starts a kernel of this device in that stream.
  static CUresult start(DeviceModule::Kernel kernel, unsigned blocks, int threads,
                        void** parameters, CUstream stream);
  // Lets copies from there on go straight, where the devices have such a way; if not, the driver
  // takes them by the host's memory.
  bool reach(CudaDevice& source);
  // Waits for all that the device does, in its context; not while a stream of it is captured, which
  // the driver does not allow.
  CUresult wait_for_device() const;

  // cuda_device.cpp
  const std::string& name() const override { return name_; }
  std::string kind() const override { return kind_; }
  DeviceProperties properties() const override { return properties_; }
  int capability() const override { return capability_; }
  void check_usable() const override;
  void begin_call(const std::string& function) override;

  // device_memory.cpp
  DeviceAddress allocate(std::int64_t bytes) override;
  void free(DeviceAddress address) noexcept override;
  void upload(DeviceAddress to, const void* from, std::int64_t bytes) override;
  void download(void* to, DeviceAddress from, std::int64_t bytes) override;
  void download(std::span<const DeviceRead> reads) override;
  void copy(DeviceAddress to, DeviceAddress from, std::int64_t bytes) override;
  bool copy_from(Device& other, DeviceAddress to, DeviceAddress from, std::int64_t bytes) override;
  void clear(DeviceAddress to, std::int64_t bytes) override;
  void begin_early_uploads(DeviceEvent& after) override;
  void end_early_uploads() noexcept override;

  // device_streams.cpp
  std::shared_ptr<Device> own_stream() override;
  std::shared_ptr<const DevicePlace> place() override;
  void wait_for(const DevicePlace& place) override;
  std::unique_ptr<DeviceEvent> make_event() override;
  void record(DeviceEvent& event) override;
  std::unique_ptr<DeviceEvent> make_timed_event() override;
  double seconds_between(DeviceEvent& from, DeviceEvent& to) override;
  void* begin_exchange() override;
  void record_exchange(DeviceEvent& event) override;
  void wait_for_exchange(DeviceEvent& event) override;
  void in_context(const std::function<void()>& action) override;
  std::string why_foreign(DeviceAddress address) override;
  void wait_for(void* stream) override;
  void let_wait(void* stream) override;
  void synchronize() override;
  void synchronize_all() override;

  // device_kernels.cpp
  std::unique_ptr<DeviceModule> compile(const std::string& source,
                                        const std::string& name) override;
  void launch(DeviceModule::Kernel kernel, std::int64_t blocks, int threads,
              std::span<const KernelArgument> arguments) override;
  void launch_together(DeviceModule::Kernel kernel, std::int64_t blocks, int threads,
                       std::span<const KernelArgument> arguments) override;
  std::int64_t blocks_together(DeviceModule::Kernel kernel, int threads) override;
  bool has_products() override;
  std::string why_no_products() const override { return why_no_products_; }
  std::string products_version() const override;
  bool product(const DeviceProduct& product) override;
  bool has_convolutions() override;
  std::string why_no_convolutions() const override { return why_no_convolutions_; }
  std::string convolutions_version() const override;
  bool convolution(const DeviceConvolution& convolution, std::string& why_not) override;

  // device_graphs.cpp
  // Not where every kernel is waited for: an error would name the graph.
  bool has_graphs() const override { return !waits_; }
  void begin_capture() override;
  bool orders_captured() const override;
  void* captured_stream() override { return stream_; }
  void capture_behind(std::span<const CapturedPlace> places) override;
  std::vector<CapturedPlace> captured_places() override;
  std::unique_ptr<DeviceGraph> end_capture() override;
  void end_capture(std::unique_ptr<DeviceGraph>& into) override;
  void abandon_capture() noexcept override;
  void launch(DeviceGraph& graph) override;

 private:
  class Module;
  struct NamedFunction;
  class Graph;

  // One thread at a time, in this device's context; then in the one that the thread had.
  class Use {
   public:
    explicit Use(CudaDevice& device) : lock_(usable(device).mutex) {
      device.check(driver().cuCtxPushCurrent(device.context_), "cuCtxPushCurrent");
    }
    ~Use() {
      CUcontext popped = nullptr;
      driver().cuCtxPopCurrent(&popped);
    }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    static CudaDevice& usable(CudaDevice& device) {
      device.check_usable();
      return device;
    }
    std::lock_guard<std::recursive_mutex> lock_;
  };

  class Event : public DeviceEvent {
   public:
    Event(CudaDevice& device, CUevent event) : device_(device), event_(event) {}
    // The driver keeps it until it has been passed.
    ~Event() override {
      device_.give_back([&] { driver().cuEventDestroy(event_); });
    }
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
    CUevent get() const { return event_; }

   private:
    CudaDevice& device_;
    CUevent event_;
  };

  // Gives something back, in the context, if there still is one. What fails shows in the next call.
  // Locks no stream: who lets go of the last use of another stream's event may hold their own.
  template <class F>
  void give_back(const F& action) const noexcept {
    if (is_forked() || home_.is_lost_) return;
    if (driver().cuCtxPushCurrent(context_) != 0) return;
    action();
    CUcontext popped = nullptr;
    driver().cuCtxPopCurrent(&popped);
  }
  // The same for what this stream is in the middle of.
  template <class F>
  void release(const F& action) noexcept {
    if (is_forked() || home_.is_lost_) return;
    const std::lock_guard lock(mutex);
    give_back(action);
  }
  void open_streams();

  void start_blocks(DeviceModule::Kernel kernel, std::int64_t blocks, int threads, bool together,
                    std::span<const KernelArgument> arguments);
  void wait_in(CUstream stream, CUevent event);
  // `log` gets what the driver's compiler of PTX says.
  static CUresult load(const std::string& image, CUmodule& module, std::string& log);
  // Of libraries; what they do in it is in one stream.
  void need_workspace();
  std::unique_ptr<DeviceEvent> new_event(unsigned flags);
  void ask_properties();
  // What is asked for is the work of the call that began last.
  void note_work();
  void wait(const std::string& what);
  // A DeviceError for what is no success; from an error that lasts on nothing is done here any
  // more.
  void check(CUresult result, const std::string& what);
  void lose(CUresult result, const std::string& what);

  CudaDevice& home_;  // the device, whose own stream has what all have in common
  std::string name_;
  std::string kind_;
  DeviceProperties properties_;
  int number_ = 0;
  CUdevice device_ = 0;
  std::map<int, bool> reached_;  // devices that have been asked about, and whether they are
  int capability_ = 0;
  int driver_ = 0;      // its major version
  bool waits_ = false;  // for every kernel, so that an error names it
  CUcontext context_ = nullptr;
  CUstream stream_ = nullptr;
  Staging staging_;
  CUstream early_stream_ = nullptr;  // of uploads that do not wait for what runs
  Staging early_staging_;
  CUstream exchange_stream_ = nullptr;  // of exchanges with other devices
  bool is_early_ = false;
  CUevent order_ = nullptr;  // between streams: recorded and waited for at once
  static constexpr std::size_t landing_bytes = std::size_t{64} << 10;
  char* landing_ = nullptr;  // page-locked memory that small downloads come to
  std::vector<void*> parameters_;
  std::vector<CUgraphNode> dependencies_;
  std::unique_ptr<CublasLt> products_;
  std::string why_no_products_;
  std::unique_ptr<Cudnn> convolutions_;
  std::string why_no_convolutions_;
  DeviceAddress workspace_ = 0;

  std::string call_;          // the function of the last call that began
  bool is_noted_ = false;     // among those in flight
  std::uint64_t places_ = 0;  // made so far
  // The last place of each other stream that this one comes after already.
  std::map<const Device*, std::uint64_t> waited_for_;

  // The device's, in its own stream.
  std::mutex common_;  // what follows
  // Functions whose work nobody has waited for yet.
  std::map<const CudaDevice*, std::vector<std::string>> in_flight_;
  std::string lost_;  // written once, before is_lost_
  std::vector<std::unique_ptr<CudaDevice>> streams_;
  std::vector<CudaDevice*> idle_;  // of these
  std::atomic<bool> is_lost_{false};
  std::atomic<bool> has_streams_{false};
  mutable std::shared_mutex captures_;  // shared by those that go on
};

}  // namespace kroton::nvidia
