// CUDA devices through the driver.
#include "runtime/device.h"

#include <kroton/error.h>
#include <pthread.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <vector>

#include "runtime/cuda/cublaslt.h"
#include "runtime/cuda/cudnn.h"
#include "runtime/cuda/driver_api.h"
#include "runtime/cuda/nccl.h"
#include "runtime/cuda/nvrtc.h"
#include "runtime/cuda/staging.h"

namespace kroton {
namespace nvidia {
namespace {

// Whether this process is the child, by fork, of one that had loaded the driver. The driver does
// not work there: nothing of it is called.
std::atomic<bool> forked{false};

void refuse_after_fork(const std::string& who) {
  if (!forked.load(std::memory_order_relaxed)) return;
  throw DeviceError(who +
                    ": CUDA does not work in a process that was forked by one that uses it; fork "
                    "before the first function for a GPU is made, or start a program by exec");
}

}  // namespace

const DriverApi& driver() {
  // Never destroyed: what lives in static variables of the program may still use it.
  static const DriverApi* const loaded = [] {
    const auto* api = new DriverApi;
    pthread_atfork(nullptr, nullptr, [] { forked = true; });
    return api;
  }();
  return *loaded;
}

std::string error_text(CUresult result) {
  const char* name = nullptr;
  const char* text = nullptr;
  driver().cuGetErrorName(result, &name);
  driver().cuGetErrorString(result, &text);
  return (name ? std::string(name) : "error " + std::to_string(result)) +
         (text ? std::string(": ") + text : "");
}

namespace {

// Errors after which the driver refuses everything in this process that concerns the device.
bool is_lasting(CUresult result) {
  constexpr std::array<CUresult, 14> lasting{
      4,    // deinitialized
      214,  // memory that cannot be corrected
      220,  // link between devices
      700,  // illegal address
      702,  // a kernel that took too long
      709,  // context is destroyed
      710,  // assert
      714,  // hardware stack
      715,  // illegal instruction
      716,  // misaligned address
      717,  // address space
      718,  // program counter
      719,  // launch failed
      721,  // tensor memory leak
  };
  return std::find(lasting.begin(), lasting.end(), result) != lasting.end();
}

// Whether code of another NVRTC may be loaded where this one's is not.
bool is_of_another_version(CUresult result) {
  constexpr std::array<CUresult, 6> codes{
      200,  // invalid image
      209,  // no code for this device
      218,  // invalid PTX
      221,  // no compiler of PTX
      222,  // PTX of a newer version
      223,  // which the compiler is not allowed to take
  };
  return std::find(codes.begin(), codes.end(), result) != codes.end();
}

struct NamedFunction {
  CUfunction function = nullptr;
  std::string name;
};

// Opened by open_device only, and never closed: the context must outlast everything made in it.
class CudaDevice final : public Device {
 public:
  CudaDevice(int number, CUdevice device)
      : name_("cuda:" + std::to_string(number)), number_(number), device_(device) {
    char text[256] = {};
    check(driver().cuDeviceGetName(text, sizeof text - 1, device), "cuDeviceGetName");
    name_ += " (" + std::string(text) + ")";
    kind_ = text;
    int major = 0, minor = 0, version = 0;
    check(driver().cuDeviceGetAttribute(&major, attribute_capability_major, device),
          "compute capability");
    check(driver().cuDeviceGetAttribute(&minor, attribute_capability_minor, device),
          "compute capability");
    capability_ = major * 10 + minor;
    check(driver().cuDriverGetVersion(&version), "cuDriverGetVersion");
    driver_ = version / 1000;
    kind_ += ", capability " + std::to_string(capability_) + ", driver " + std::to_string(version);
    check(driver().cuDevicePrimaryCtxRetain(&context_, device), "cuDevicePrimaryCtxRetain");
    const char* waits = std::getenv("KROTON_CUDA_SYNC");
    waits_ = waits && *waits && std::string(waits) != "0";
    const Use use(*this);
    check(driver().cuStreamCreate(&stream_, stream_non_blocking), "cuStreamCreate");
    check(driver().cuStreamCreate(&early_stream_, stream_non_blocking), "cuStreamCreate");
    check(driver().cuStreamCreate(&exchange_stream_, stream_non_blocking), "cuStreamCreate");
    check(driver().cuEventCreate(&order_, event_disable_timing), "cuEventCreate");
    void* memory = nullptr;
    check(driver().cuMemAllocHost(&memory, landing_bytes), "cuMemAllocHost");
    landing_ = static_cast<char*>(memory);
  }

  const std::string& name() const override { return name_; }

  std::string kind() const override { return kind_; }

  void check_usable() const override {
    refuse_after_fork(name_);
    if (!is_lost_.load(std::memory_order_acquire)) return;
    throw DeviceError(name_ + " cannot be used in this process any more: " + lost_);
  }

  DeviceAddress allocate(std::int64_t bytes) override {
    const Use use(*this);
    CUdeviceptr address = 0;
    const CUresult result = driver().cuMemAlloc(&address, static_cast<std::size_t>(bytes));
    check(result, "allocating " + std::to_string(bytes) + " bytes");
    return address;
  }

  void free(DeviceAddress address) noexcept override {
    // Of all streams: memory that others have got may be in use in theirs.
    release([&] {
      driver().cuCtxSynchronize();
      driver().cuMemFree(address);
    });
  }

  void upload(DeviceAddress to, const void* from, std::int64_t bytes) override {
    if (bytes == 0) return;
    const Use use(*this);
    note_work();
    const auto size = static_cast<std::size_t>(bytes);
    check(is_early_ ? early_staging_.upload(to, from, size, early_stream_)
                    : staging_.upload(to, from, size, stream_),
          "copying " + std::to_string(bytes) + " bytes to the device");
  }

  void download(void* to, DeviceAddress from, std::int64_t bytes) override {
    if (bytes == 0) return;
    const Use use(*this);
    const std::string what = "copying " + std::to_string(bytes) + " bytes from the device";
    check(driver().cuMemcpyDtoHAsync(to, from, static_cast<std::size_t>(bytes), stream_), what);
    wait(what);
  }

  // Small ones by way of page-locked memory: a copy to other memory is waited for by itself.
  void download(std::span<const DeviceRead> reads) override {
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

  void copy(DeviceAddress to, DeviceAddress from, std::int64_t bytes) override {
    if (bytes == 0) return;
    const Use use(*this);
    note_work();
    check(driver().cuMemcpyDtoDAsync(to, from, static_cast<std::size_t>(bytes), stream_),
          "copying " + std::to_string(bytes) + " bytes on the device");
  }

  bool copy_from(Device& other, DeviceAddress to, DeviceAddress from, std::int64_t bytes) override {
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

  void clear(DeviceAddress to, std::int64_t bytes) override {
    if (bytes == 0) return;
    const Use use(*this);
    note_work();
    check(driver().cuMemsetD8Async(to, 0, static_cast<std::size_t>(bytes), stream_),
          "cuMemsetD8Async");
  }

  std::unique_ptr<DeviceEvent> make_event() override {
    const Use use(*this);
    CUevent event = nullptr;
    check(driver().cuEventCreate(&event, event_disable_timing), "cuEventCreate");
    return std::make_unique<Event>(*this, event);
  }

  void record(DeviceEvent& event) override {
    const Use use(*this);
    check(driver().cuEventRecord(static_cast<Event&>(event).get(), stream_), "cuEventRecord");
  }

  void begin_early_uploads(DeviceEvent& after) override {
    const Use use(*this);
    wait_in(early_stream_, static_cast<Event&>(after).get());
    is_early_ = true;
  }

  void end_early_uploads() noexcept override {
    release([&] {
      is_early_ = false;
      // What fails here is a lasting error, which the next call meets.
      driver().cuEventRecord(order_, early_stream_);
      driver().cuStreamWaitEvent(stream_, order_, 0);
    });
  }

  void* begin_exchange() override {
    const Use use(*this);
    note_work();
    check(driver().cuEventRecord(order_, stream_), "cuEventRecord");
    wait_in(exchange_stream_, order_);
    return exchange_stream_;
  }

  void record_exchange(DeviceEvent& event) override {
    const Use use(*this);
    check(driver().cuEventRecord(static_cast<Event&>(event).get(), exchange_stream_),
          "cuEventRecord");
  }

  void wait_for_exchange(DeviceEvent& event) override {
    const Use use(*this);
    wait_in(stream_, static_cast<Event&>(event).get());
  }

  void in_context(const std::function<void()>& action) override {
    const Use use(*this);
    action();
  }

  std::string why_foreign(DeviceAddress address) override {
    const Use use(*this);
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
    check(driver().cuPointerGetAttribute(&device, pointer_device, address),
          "cuPointerGetAttribute");
    return device == number_ ? "" : "is on cuda:" + std::to_string(device);
  }

  void wait_for(void* stream) override {
    const Use use(*this);
    check(driver().cuEventRecord(order_, static_cast<CUstream>(stream)),
          "cuEventRecord in the stream of a view");
    wait_in(stream_, order_);
  }

  void let_wait(void* stream) override {
    const Use use(*this);
    check(driver().cuEventRecord(order_, stream_), "cuEventRecord");
    wait_in(static_cast<CUstream>(stream), order_);
  }

  std::unique_ptr<DeviceModule> compile(const std::string& source,
                                        const std::string& name) override {
    // The first NVRTC whose code the driver takes.
    std::string failures;
    for (const std::string& library : Nvrtc::names(driver_)) {
      std::string image;
      try {
        image = Nvrtc::load({library}).compile(source, name, capability_);
      } catch (const DeviceError& error) {
        failures += "\n  " + std::string(error.what());
        continue;
      }
      const Use use(*this);
      CUmodule module = nullptr;
      std::string log;
      const CUresult result = load(image, module, log);
      if (result == 0) return std::make_unique<Module>(*this, name, module);
      if (!is_of_another_version(result)) check(result, "loading the kernels of " + name);
      failures += "\n  " + Nvrtc::load({library}).path() + ": " + error_text(result) +
                  (log.empty() ? "" : "\n" + log);
    }
    throw DeviceError(name_ + ": loading the kernels of " + name +
                      ": the driver takes no code that can be made here:" + failures);
  }

  void begin_call(const std::string& function) override {
    const std::lock_guard lock(mutex);
    call_ = function;
  }

  void launch(DeviceModule::Kernel kernel, std::int64_t blocks, int threads,
              std::span<const KernelArgument> arguments) override {
    constexpr std::int64_t most_blocks = 0x7fffffff;
    const auto& called = *static_cast<const NamedFunction*>(kernel);
    if (blocks > most_blocks) {
      throw DeviceError(name_ + ": " + called.name + ": a grid of " + std::to_string(blocks) +
                        " blocks, at most " + std::to_string(most_blocks) + " can be");
    }
    const Use use(*this);
    note_work();
    parameters_.clear();
    for (const KernelArgument& argument : arguments) {
      parameters_.push_back(const_cast<std::uint64_t*>(&argument.value));
    }
    check(driver().cuLaunchKernel(called.function, static_cast<unsigned>(blocks), 1, 1,
                                  static_cast<unsigned>(threads), 1, 1, 0, stream_,
                                  parameters_.data(), nullptr),
          "starting the kernel " + called.name);
    if (waits_) wait("the kernel " + called.name);
  }

  int capability() const override { return capability_; }

  bool has_products() override {
    const Use use(*this);
    if (products_ || !why_no_products_.empty()) return products_ != nullptr;
    std::unique_ptr<CublasLt> library;
    try {
      library = std::make_unique<CublasLt>(driver_);
    } catch (const DeviceError& error) {
      why_no_products_ = error.what();
      return false;
    }
    need_workspace();
    products_ = std::move(library);
    return true;
  }

  std::string why_no_products() const override { return why_no_products_; }
  std::string products_version() const override { return products_ ? products_->version() : ""; }

  bool product(const DeviceProduct& product) override {
    const Use use(*this);
    note_work();
    if (!products_->product(product, workspace_, stream_)) return false;
    if (waits_) wait("a product by cuBLASLt");
    return true;
  }

  bool has_convolutions() override {
    const Use use(*this);
    if (convolutions_ || !why_no_convolutions_.empty()) return convolutions_ != nullptr;
    std::unique_ptr<Cudnn> library;
    try {
      library = std::make_unique<Cudnn>(stream_);
    } catch (const DeviceError& error) {
      check_usable();
      why_no_convolutions_ = error.what();
      return false;
    }
    need_workspace();
    convolutions_ = std::move(library);
    return true;
  }

  std::string why_no_convolutions() const override { return why_no_convolutions_; }
  std::string convolutions_version() const override {
    return convolutions_ ? convolutions_->version() : "";
  }

  bool convolution(const DeviceConvolution& convolution, std::string& why_not) override {
    const Use use(*this);
    note_work();
    if (!convolutions_->convolution(convolution, workspace_, why_not)) return false;
    if (waits_) wait("a convolution by cuDNN");
    return true;
  }

  void synchronize() override {
    const Use use(*this);
    wait("cuStreamSynchronize");
  }

  double seconds_of(const std::function<void()>& start) override {
    const Use use(*this);
    for (CUevent& event : timed_) {
      if (!event) check(driver().cuEventCreate(&event, event_default), "cuEventCreate");
    }
    check(driver().cuEventRecord(timed_[0], stream_), "cuEventRecord");
    start();
    check(driver().cuEventRecord(timed_[1], stream_), "cuEventRecord");
    wait("kernels that are timed");
    float milliseconds = 0;
    check(driver().cuEventElapsedTime(&milliseconds, timed_[0], timed_[1]), "cuEventElapsedTime");
    return 1e-3 * static_cast<double>(milliseconds);
  }

  // Not where every kernel is waited for: an error would name the graph.
  bool has_graphs() const override { return !waits_; }

  void begin_capture() override {
    const Use use(*this);
    check(driver().cuStreamBeginCapture(stream_, capture_mode_relaxed), "cuStreamBeginCapture");
  }

  bool orders_captured() const override {
    return driver().cuStreamGetCaptureInfo && driver().cuStreamUpdateCaptureDependencies;
  }

  void capture_behind(std::span<const CapturedPlace> places) override {
    const Use use(*this);
    dependencies_.clear();
    for (const CapturedPlace place : places) {
      dependencies_.push_back(static_cast<CUgraphNode>(place));
    }
    check(driver().cuStreamUpdateCaptureDependencies(
              stream_, dependencies_.data(), dependencies_.size(), capture_set_dependencies),
          "cuStreamUpdateCaptureDependencies");
  }

  std::vector<CapturedPlace> captured_places() override {
    const Use use(*this);
    int status = 0;
    const CUgraphNode* nodes = nullptr;
    std::size_t count = 0;
    check(driver().cuStreamGetCaptureInfo(stream_, &status, nullptr, nullptr, &nodes, &count),
          "cuStreamGetCaptureInfo");
    return {nodes, nodes + count};
  }

  std::unique_ptr<DeviceGraph> end_capture() override {
    const Use use(*this);
    CUgraph graph = nullptr;
    check(driver().cuStreamEndCapture(stream_, &graph), "cuStreamEndCapture");
    CUgraphExec executable = nullptr;
    const CUresult result = driver().cuGraphInstantiate(&executable, graph, 0);
    driver().cuGraphDestroy(graph);
    check(result, "cuGraphInstantiate");
    return std::make_unique<Graph>(*this, executable);
  }

  void end_capture(std::unique_ptr<DeviceGraph>& into) override {
    const Use use(*this);
    CUgraph graph = nullptr;
    check(driver().cuStreamEndCapture(stream_, &graph), "cuStreamEndCapture");
    void* failed_node = nullptr;
    int why = 0;
    const CUresult result =
        driver().cuGraphExecUpdate(static_cast<Graph&>(*into).get(), graph, &failed_node, &why);
    // What cannot be updated, for whatever reason, is made anew.
    const bool again = result != 0 && !is_lasting(result);
    CUgraphExec executable = nullptr;
    const CUresult made = again ? driver().cuGraphInstantiate(&executable, graph, 0) : 0;
    driver().cuGraphDestroy(graph);
    if (!again) {
      check(result, "cuGraphExecUpdate");
      return;
    }
    check(made, "cuGraphInstantiate");
    into = std::make_unique<Graph>(*this, executable);
  }

  void abandon_capture() noexcept override {
    release([&] {
      CUgraph graph = nullptr;
      driver().cuStreamEndCapture(stream_, &graph);
      if (graph) driver().cuGraphDestroy(graph);
    });
  }

  void launch(DeviceGraph& graph) override {
    const Use use(*this);
    note_work();
    check(driver().cuGraphLaunch(static_cast<Graph&>(graph).get(), stream_), "cuGraphLaunch");
  }

 private:
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

  class Module : public DeviceModule {
   public:
    Module(CudaDevice& device, std::string name, CUmodule module)
        : device_(device), name_(std::move(name)), module_(module) {}
    ~Module() override {
      device_.release([&] {
        driver().cuCtxSynchronize();
        driver().cuModuleUnload(module_);
      });
    }
    Module(const Module&) = delete;
    Module& operator=(const Module&) = delete;

    Kernel kernel(const std::string& name) override {
      const Use use(device_);
      NamedFunction& found = kernels_[name];
      found.name = name;
      device_.check(driver().cuModuleGetFunction(&found.function, module_, name.c_str()),
                    name_ + " has no kernel " + name);
      return &found;
    }

   private:
    CudaDevice& device_;
    std::string name_;
    CUmodule module_;
    std::map<std::string, NamedFunction> kernels_;
  };

  class Graph : public DeviceGraph {
   public:
    Graph(CudaDevice& device, CUgraphExec graph) : device_(device), graph_(graph) {}
    // The driver keeps it until its launches are done.
    ~Graph() override {
      device_.release([&] { driver().cuGraphExecDestroy(graph_); });
    }
    Graph(const Graph&) = delete;
    Graph& operator=(const Graph&) = delete;
    CUgraphExec get() const { return graph_; }

   private:
    CudaDevice& device_;
    CUgraphExec graph_;
  };

  class Event : public DeviceEvent {
   public:
    Event(CudaDevice& device, CUevent event) : device_(device), event_(event) {}
    // The driver keeps it until it has been passed.
    ~Event() override {
      device_.release([&] { driver().cuEventDestroy(event_); });
    }
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
    CUevent get() const { return event_; }

   private:
    CudaDevice& device_;
    CUevent event_;
  };

  // Copies from there on go straight, where the devices have such a way; else the driver takes them
  // by the host's memory.
  void reach(const CudaDevice& source) {
    if (!reached_.insert(source.number_).second) return;
    int can = 0;
    check(driver().cuDeviceCanAccessPeer(&can, device_, source.device_), "cuDeviceCanAccessPeer");
    if (can == 0) return;
    constexpr CUresult is_enabled = 704;  // by somebody else
    const CUresult enabled = driver().cuCtxEnablePeerAccess(source.context_, 0);
    if (enabled != is_enabled) check(enabled, "cuCtxEnablePeerAccess");
  }

  void wait_in(CUstream stream, CUevent event) {
    check(driver().cuStreamWaitEvent(stream, event, 0), "cuStreamWaitEvent");
  }

  // Gives something back, in the context, if there still is one. What fails shows in the next call.
  template <class F>
  void release(const F& give_back) noexcept {
    if (forked || is_lost_) return;
    const std::lock_guard lock(mutex);
    if (driver().cuCtxPushCurrent(context_) != 0) return;
    give_back();
    CUcontext popped = nullptr;
    driver().cuCtxPopCurrent(&popped);
  }

  // `log` gets what the driver's compiler of PTX says.
  static CUresult load(const std::string& image, CUmodule& module, std::string& log) {
    log.assign(8192, '\0');
    std::array<int, 2> options{jit_error_log, jit_error_log_bytes};
    // The size is passed in the place of a pointer.
    std::array<void*, 2> values{log.data(), reinterpret_cast<void*>(log.size())};
    const CUresult result =
        driver().cuModuleLoadDataEx(&module, image.c_str(), static_cast<unsigned>(options.size()),
                                    options.data(), values.data());
    log.resize(log.find('\0') == std::string::npos ? log.size() : log.find('\0'));
    return result;
  }

  // Of libraries; what they do in it is in one stream.
  void need_workspace() {
    static_assert(Cudnn::workspace_bytes == std::int64_t{CublasLt::workspace_bytes});
    if (workspace_ == 0) workspace_ = allocate(Cudnn::workspace_bytes);
  }

  void note_work() {
    if (call_.empty()) return;
    if (std::find(in_flight_.begin(), in_flight_.end(), call_) == in_flight_.end()) {
      in_flight_.push_back(call_);
    }
  }

  void wait(const std::string& what) {
    check(driver().cuStreamSynchronize(stream_), what);
    in_flight_.clear();
  }

  void check(CUresult result, const std::string& what) {
    if (result == 0) return;
    if (!is_lasting(result)) throw DeviceError(name_ + ": " + what + ": " + error_text(result));
    if (!is_lost_) {
      std::string calls;
      for (const std::string& call : in_flight_) calls += (calls.empty() ? "" : " or ") + call;
      lost_ = (calls.empty() ? "the device failed, and no call of Kroton's was under way"
                             : "the device failed in a call of " + calls) +
              ": " + error_text(result) + " (noticed at: " + what + ")";
      is_lost_.store(true, std::memory_order_release);
    }
    check_usable();
  }

  std::string name_;
  std::string kind_;
  int number_ = 0;
  CUdevice device_ = 0;
  std::set<int> reached_;  // devices whose memory copies have been let reach
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
  std::array<CUevent, 2> timed_{};  // before and behind what is timed
  CUevent order_ = nullptr;         // between streams: recorded and waited for at once
  static constexpr std::size_t landing_bytes = std::size_t{64} << 10;
  char* landing_ = nullptr;  // page-locked memory that small downloads come to
  std::vector<void*> parameters_;
  std::vector<CUgraphNode> dependencies_;
  std::unique_ptr<CublasLt> products_;
  std::string why_no_products_;
  std::unique_ptr<Cudnn> convolutions_;
  std::string why_no_convolutions_;
  DeviceAddress workspace_ = 0;

  std::string call_;                    // the function of the last call that began
  std::vector<std::string> in_flight_;  // functions whose work nobody has waited for yet
  std::string lost_;                    // written once, before is_lost_
  std::atomic<bool> is_lost_{false};
};

std::shared_ptr<Device> open_device(int number) {
  const DriverApi& api = driver();
  const CUresult started = api.cuInit(0);
  if (started != 0) {
    throw DeviceError("the CUDA driver (" + api.loaded.path() +
                      ") finds no device it can use: " + error_text(started));
  }
  int count = 0, version = 0;
  const CUresult counted = api.cuDeviceGetCount(&count);
  if (counted != 0) throw DeviceError("cuDeviceGetCount: " + error_text(counted));
  if (number < 0 || number >= count) {
    throw DeviceError("there is no CUDA device " + std::to_string(number) + ": this machine has " +
                      std::to_string(count) + (count == 1 ? " (number 0)" : ""));
  }
  const CUresult asked = api.cuDriverGetVersion(&version);
  if (asked != 0) throw DeviceError("cuDriverGetVersion: " + error_text(asked));
  Nvrtc::load(Nvrtc::names(version / 1000));
  CUdevice device = 0;
  const CUresult got = api.cuDeviceGet(&device, number);
  if (got != 0) throw DeviceError("cuDeviceGet: " + error_text(got));
  return std::make_shared<CudaDevice>(number, device);
}

struct Devices {
  std::mutex mutex;
  std::map<int, std::shared_ptr<Device>> opened;
  std::function<std::shared_ptr<Device>(int)> replacement;
};

Devices& devices() {
  // Never destroyed: what lives in static variables of the program may still use a device.
  static auto* all = new Devices;
  return *all;
}

}  // namespace
}  // namespace nvidia

std::shared_ptr<Device> machine_cuda_device(int number) {
  const std::string asked = "cuda(" + std::to_string(number) + ")";
  nvidia::refuse_after_fork(asked);
  nvidia::Devices& all = nvidia::devices();
  const std::lock_guard lock(all.mutex);
  std::shared_ptr<Device>& device = all.opened[number];
  if (device) {
    device->check_usable();
    return device;
  }
  try {
    device = nvidia::open_device(number);
  } catch (const DeviceError& error) {
    throw DeviceError(asked + ": " + error.what());
  }
  return device;
}

std::shared_ptr<Device> cuda_device(int number) {
  nvidia::refuse_after_fork("cuda(" + std::to_string(number) + ")");
  std::function<std::shared_ptr<Device>(int)> replacement;
  {
    nvidia::Devices& all = nvidia::devices();
    const std::lock_guard lock(all.mutex);
    replacement = all.replacement;
  }
  return replacement ? replacement(number) : machine_cuda_device(number);
}

std::shared_ptr<GroupExchange> open_exchange(const std::vector<int>& devices, std::string& why) {
  {
    nvidia::Devices& all = nvidia::devices();
    const std::lock_guard lock(all.mutex);
    if (all.replacement) {
      why = "other devices are in the place of this machine's";
      return nullptr;
    }
  }
  try {
    const std::shared_ptr<Device> first = cuda_device(devices[0]);
    std::shared_ptr<GroupExchange> made;
    first->in_context([&] { made = nvidia::make_nccl(devices); });
    return made;
  } catch (const DeviceError& error) {
    why = error.what();
    return nullptr;
  }
}

void replace_cuda_devices(std::function<std::shared_ptr<Device>(int number)> open) {
  nvidia::Devices& all = nvidia::devices();
  const std::lock_guard lock(all.mutex);
  all.replacement = std::move(open);
}

}  // namespace kroton
