// Convolutions by cuDNN's graph interface, loaded at run time.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/cuda/cudnn_api.h"
#include "runtime/device_convolution.h"

namespace kroton::nvidia {

struct CudnnPlan;

// Convolutions on one device, whose context is current during every call.
class Cudnn {
 public:
  // Memory that an engine may ask for.
  static constexpr std::int64_t workspace_bytes = std::int64_t{32} << 20;

  // DeviceError if there is no library that starts.
  explicit Cudnn(CUstream stream);
  ~Cudnn();
  Cudnn(const Cudnn&) = delete;
  Cudnn& operator=(const Cudnn&) = delete;

  // "cuDNN 91002"
  std::string version() const;

  // Queues the convolution in the stream, by an engine that gives the same bits at every call and
  // computes in full precision (but for TF32 where that is asked for): the first that the library
  // names for this convolution, the same one from then on. False if it has none; `why_not` says so.
  // `workspace`: memory of workspace_bytes on the device.
  bool convolution(const DeviceConvolution& convolution, CUdeviceptr workspace,
                   std::string& why_not);

 private:
  // All that an engine is chosen for.
  using Key = std::vector<std::int64_t>;
  struct Known {
    std::unique_ptr<CudnnPlan> plan;  // null: none
    std::string why_not;
  };
  static Key key_of(const DeviceConvolution& convolution);
  Known make_plan(const DeviceConvolution& convolution) const;

  CudnnApi api_;
  cudnnHandle handle_ = nullptr;
  std::map<Key, Known> plans_;
};

}  // namespace kroton::nvidia
