// CUDA devices through the driver.
#include "runtime/device.h"

#include <kroton/error.h>

#include <map>
#include <vector>

#include "runtime/cuda/cublaslt.h"
#include "runtime/cuda/driver_api.h"
#include "runtime/cuda/nvrtc.h"

namespace kroton {
namespace nvidia {

const DriverApi& driver() {
  static const auto& loaded = *new DriverApi;  // never destroyed
  return loaded;
}

namespace {

std::string error_text(CUresult result) {
  const char* name = nullptr;
  const char* text = nullptr;
  driver().cuGetErrorName(result, &name);
  driver().cuGetErrorString(result, &text);
  return (name ? std::string(name) : "error " + std::to_string(result)) +
         (text ? std::string(": ") + text : "");
}

class Module : public DeviceModule {
 public:
  Module(std::string name, CUmodule module) : name_(std::move(name)), module_(module) {}
  ~Module() override { driver().cuModuleUnload(module_); }
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  Kernel kernel(const std::string& name) override {
    CUfunction function = nullptr;
    const CUresult result = driver().cuModuleGetFunction(&function, module_, name.c_str());
    if (result != 0) {
      throw DeviceError("cuda: " + name_ + " has no kernel " + name + ": " + error_text(result));
    }
    return function;
  }

 private:
  std::string name_;
  CUmodule module_;
};

class Graph : public DeviceGraph {
 public:
  explicit Graph(CUgraphExec graph) : graph_(graph) {}
  ~Graph() override { driver().cuGraphExecDestroy(graph_); }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  CUgraphExec get() const { return graph_; }

 private:
  CUgraphExec graph_;
};

// Lives until the process ends: the context must outlast everything made in it.
class CudaDevice : public Device {
 public:
  CudaDevice(int number, CUdevice device) : name_("cuda:" + std::to_string(number)) {
    char text[256] = {};
    check(driver().cuDeviceGetName(text, sizeof text - 1, device), "cuDeviceGetName");
    name_ += " (" + std::string(text) + ")";
    int major = 0, minor = 0;
    check(driver().cuDeviceGetAttribute(&major, attribute_capability_major, device),
          "compute capability");
    check(driver().cuDeviceGetAttribute(&minor, attribute_capability_minor, device),
          "compute capability");
    capability_ = major * 10 + minor;
    check(driver().cuDevicePrimaryCtxRetain(&context_, device), "cuDevicePrimaryCtxRetain");
    const Use use(*this);
    check(driver().cuStreamCreate(&stream_, stream_non_blocking), "cuStreamCreate");
  }

  const std::string& name() const override { return name_; }

  DeviceAddress allocate(std::int64_t bytes) override {
    const Use use(*this);
    CUdeviceptr address = 0;
    const CUresult result = driver().cuMemAlloc(&address, static_cast<std::size_t>(bytes));
    check(result, "allocating " + std::to_string(bytes) + " bytes");
    return address;
  }

  void free(DeviceAddress address) noexcept override {
    const std::lock_guard lock(mutex);
    driver().cuCtxSetCurrent(context_);
    driver().cuStreamSynchronize(stream_);
    driver().cuMemFree(address);
  }

  void upload(DeviceAddress to, const void* from, std::int64_t bytes) override {
    if (bytes == 0) return;
    const Use use(*this);
    // Of pageable memory: staged before the call returns.
    check(driver().cuMemcpyHtoDAsync(to, from, static_cast<std::size_t>(bytes), stream_),
          "copying " + std::to_string(bytes) + " bytes to the device");
  }

  void download(void* to, DeviceAddress from, std::int64_t bytes) override {
    if (bytes == 0) return;
    const Use use(*this);
    check(driver().cuMemcpyDtoHAsync(to, from, static_cast<std::size_t>(bytes), stream_),
          "copying " + std::to_string(bytes) + " bytes from the device");
    check(driver().cuStreamSynchronize(stream_), "cuStreamSynchronize");
  }

  void clear(DeviceAddress to, std::int64_t bytes) override {
    if (bytes == 0) return;
    const Use use(*this);
    check(driver().cuMemsetD8Async(to, 0, static_cast<std::size_t>(bytes), stream_),
          "cuMemsetD8Async");
  }

  std::unique_ptr<DeviceModule> compile(const std::string& source,
                                        const std::string& name) override {
    const std::string image = Nvrtc::get().compile(source, name, capability_);
    const Use use(*this);
    CUmodule module = nullptr;
    check(driver().cuModuleLoadData(&module, image.c_str()), "loading the kernels of " + name);
    return std::make_unique<Module>(name, module);
  }

  void launch(DeviceModule::Kernel kernel, std::int64_t blocks, int threads,
              std::span<const KernelArgument> arguments) override {
    constexpr std::int64_t most_blocks = 0x7fffffff;
    if (blocks > most_blocks) {
      throw DeviceError(name_ + ": a grid of " + std::to_string(blocks) + " blocks, at most " +
                        std::to_string(most_blocks) + " can be");
    }
    const Use use(*this);
    parameters_.clear();
    for (const KernelArgument& argument : arguments) {
      parameters_.push_back(const_cast<std::uint64_t*>(&argument.value));
    }
    check(driver().cuLaunchKernel(static_cast<CUfunction>(kernel), static_cast<unsigned>(blocks), 1,
                                  1, static_cast<unsigned>(threads), 1, 1, 0, stream_,
                                  parameters_.data(), nullptr),
          "cuLaunchKernel");
  }

  bool has_products() override {
    const Use use(*this);
    if (!looked_for_products_) {
      looked_for_products_ = true;
      try {
        products_ = std::make_unique<CublasLt>();
        workspace_ = allocate(CublasLt::workspace_bytes);
      } catch (const DeviceError&) {
        products_.reset();  // without it, kernels compute products
      }
    }
    return products_ != nullptr;
  }

  void product(const DeviceProduct& product) override {
    const Use use(*this);
    products_->product(product, workspace_, stream_);
  }

  void synchronize() override {
    const Use use(*this);
    check(driver().cuStreamSynchronize(stream_), "cuStreamSynchronize");
  }

  void begin_capture() override {
    const Use use(*this);
    check(driver().cuStreamBeginCapture(stream_, capture_mode_relaxed), "cuStreamBeginCapture");
  }

  std::unique_ptr<DeviceGraph> end_capture() override {
    const Use use(*this);
    CUgraph graph = nullptr;
    check(driver().cuStreamEndCapture(stream_, &graph), "cuStreamEndCapture");
    CUgraphExec executable = nullptr;
    const CUresult result = driver().cuGraphInstantiate(&executable, graph, 0);
    driver().cuGraphDestroy(graph);
    check(result, "cuGraphInstantiate");
    return std::make_unique<Graph>(executable);
  }

  void launch(DeviceGraph& graph) override {
    const Use use(*this);
    check(driver().cuGraphLaunch(static_cast<Graph&>(graph).get(), stream_), "cuGraphLaunch");
  }

 private:
  // One thread at a time, with this device's context.
  class Use {
   public:
    explicit Use(CudaDevice& device) : lock_(device.mutex) {
      device.check(driver().cuCtxSetCurrent(device.context_), "cuCtxSetCurrent");
    }

   private:
    std::lock_guard<std::recursive_mutex> lock_;
  };

  void check(CUresult result, const std::string& what) const {
    if (result != 0) throw DeviceError(name_ + ": " + what + ": " + error_text(result));
  }

  std::string name_;
  int capability_ = 0;
  CUcontext context_ = nullptr;
  CUstream stream_ = nullptr;
  std::vector<void*> parameters_;
  bool looked_for_products_ = false;
  std::unique_ptr<CublasLt> products_;
  DeviceAddress workspace_ = 0;
};

std::shared_ptr<Device> open_device(int number) {
  const std::string asked = "cuda(" + std::to_string(number) + "): ";
  try {
    const DriverApi& api = driver();
    const CUresult started = api.cuInit(0);
    if (started != 0) {
      throw DeviceError("the CUDA driver (" + api.loaded.path() +
                        ") finds no device it can use: " + error_text(started));
    }
    int count = 0;
    const CUresult counted = api.cuDeviceGetCount(&count);
    if (counted != 0) throw DeviceError("cuDeviceGetCount: " + error_text(counted));
    if (number < 0 || number >= count) {
      throw DeviceError("there is no CUDA device " + std::to_string(number) +
                        ": this machine has " + std::to_string(count) +
                        (count == 1 ? " (number 0)" : ""));
    }
    Nvrtc::get();
    CUdevice device = 0;
    const CUresult got = api.cuDeviceGet(&device, number);
    if (got != 0) throw DeviceError("cuDeviceGet: " + error_text(got));
    return std::make_shared<CudaDevice>(number, device);
  } catch (const DeviceError& error) {
    throw DeviceError(asked + error.what());
  }
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

std::shared_ptr<Device> cuda_device(int number) {
  nvidia::Devices& all = nvidia::devices();
  const std::lock_guard lock(all.mutex);
  if (all.replacement) return all.replacement(number);
  const auto found = all.opened.find(number);
  if (found != all.opened.end()) return found->second;
  return all.opened.emplace(number, nvidia::open_device(number)).first->second;
}

void replace_cuda_devices(std::function<std::shared_ptr<Device>(int number)> open) {
  nvidia::Devices& all = nvidia::devices();
  const std::lock_guard lock(all.mutex);
  all.replacement = std::move(open);
}

}  // namespace kroton
