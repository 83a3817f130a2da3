// Kernels of a device: compiled, loaded and started; products and convolutions by libraries.
#include <kroton/error.h>

#include <algorithm>
#include <array>
#include <map>

#include "runtime/cuda/cublaslt.h"
#include "runtime/cuda/cuda_device.h"
#include "runtime/cuda/cudnn.h"
#include "runtime/cuda/nvrtc.h"

namespace kroton::nvidia {
namespace {

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

}  // namespace

struct CudaDevice::NamedFunction {
  CUfunction function = nullptr;
  std::string name;
};

class CudaDevice::Module : public DeviceModule {
 public:
  Module(CudaDevice& device, std::string name, CUmodule module)
      : device_(device), name_(std::move(name)), module_(module) {}
  ~Module() override {
    device_.give_back([&] {
      device_.wait_for_device();
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

// `log` gets what the driver's compiler of PTX says.
CUresult CudaDevice::load(const std::string& image, CUmodule& module, std::string& log) {
  log.assign(8192, '\0');
  std::array<int, 2> options{jit_error_log, jit_error_log_bytes};
  // The size is passed in the place of a pointer.
  std::array<void*, 2> values{log.data(), reinterpret_cast<void*>(log.size())};
  const CUresult result = driver().cuModuleLoadDataEx(
      &module, image.c_str(), static_cast<unsigned>(options.size()), options.data(), values.data());
  log.resize(log.find('\0') == std::string::npos ? log.size() : log.find('\0'));
  return result;
}

std::unique_ptr<DeviceModule> CudaDevice::compile(const std::string& source,
                                                  const std::string& name) {
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

CUresult CudaDevice::start(DeviceModule::Kernel kernel, unsigned blocks, int threads,
                           void** parameters, CUstream stream) {
  return driver().cuLaunchKernel(static_cast<const NamedFunction*>(kernel)->function, blocks, 1, 1,
                                 static_cast<unsigned>(threads), 1, 1, 0, stream, parameters,
                                 nullptr);
}

void CudaDevice::launch(DeviceModule::Kernel kernel, std::int64_t blocks, int threads,
                        std::span<const KernelArgument> arguments) {
  start_blocks(kernel, blocks, threads, false, arguments);
}

void CudaDevice::launch_together(DeviceModule::Kernel kernel, std::int64_t blocks, int threads,
                                 std::span<const KernelArgument> arguments) {
  start_blocks(kernel, blocks, threads, true, arguments);
}

std::int64_t CudaDevice::blocks_together(DeviceModule::Kernel kernel, int threads) {
  // Older drivers may not capture such launches in graphs.
  constexpr int first_driver = 12;
  if (driver_ < first_driver) return 0;
  const Use use(*this);
  int able = 0, processors = 0, blocks = 0;
  check(driver().cuDeviceGetAttribute(&able, attribute_cooperative_launch, device_),
        "cuDeviceGetAttribute");
  check(driver().cuDeviceGetAttribute(&processors, attribute_processors, device_),
        "cuDeviceGetAttribute");
  const auto& called = *static_cast<const NamedFunction*>(kernel);
  check(driver().cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, called.function, threads, 0),
        "how many blocks of " + called.name + " a processor has");
  return able != 0 && blocks > 0 ? processors : 0;
}

void CudaDevice::start_blocks(DeviceModule::Kernel kernel, std::int64_t blocks, int threads,
                              bool together, std::span<const KernelArgument> arguments) {
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
  const CUresult result =
      together ? driver().cuLaunchCooperativeKernel(called.function, static_cast<unsigned>(blocks),
                                                    1, 1, static_cast<unsigned>(threads), 1, 1, 0,
                                                    stream_, parameters_.data())
               : start(kernel, static_cast<unsigned>(blocks), threads, parameters_.data(), stream_);
  check(result, "starting the kernel " + called.name);
  if (waits_) wait("the kernel " + called.name);
}

std::string CudaDevice::products_version() const { return products_ ? products_->version() : ""; }
std::string CudaDevice::convolutions_version() const {
  return convolutions_ ? convolutions_->version() : "";
}

bool CudaDevice::has_products() {
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

bool CudaDevice::product(const DeviceProduct& product) {
  const Use use(*this);
  note_work();
  if (!products_->product(product, workspace_, stream_)) return false;
  if (waits_) wait("a product by cuBLASLt");
  return true;
}

bool CudaDevice::has_convolutions() {
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

bool CudaDevice::convolution(const DeviceConvolution& convolution, std::string& why_not) {
  const Use use(*this);
  note_work();
  if (!convolutions_->convolution(convolution, workspace_, why_not)) return false;
  if (waits_) wait("a convolution by cuDNN");
  return true;
}

// Of libraries; what they do in it is in one stream.
void CudaDevice::need_workspace() {
  static_assert(Cudnn::workspace_bytes == std::int64_t{CublasLt::workspace_bytes});
  if (workspace_ == 0) workspace_ = allocate(Cudnn::workspace_bytes);
}

}  // namespace kroton::nvidia
