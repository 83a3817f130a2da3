// Matrix products by cuBLASLt, loaded at run time.
#pragma once
#include <array>
#include <map>
#include <memory>
#include <tuple>

#include "runtime/cuda/cublaslt_api.h"
#include "runtime/device_product.h"

namespace kroton::nvidia {

// What cuBLASLt needs to know of one product beyond its addresses. The library is column-major, so
// it is told to compute dᵀ = bᵀ·aᵀ: our rows are its columns. No device is needed to make one.
class CublasLtPlan {
 public:
  CublasLtPlan(const CublasLtApi& api, const DeviceProduct& product);
  ~CublasLtPlan();
  CublasLtPlan(const CublasLtPlan&) = delete;
  CublasLtPlan& operator=(const CublasLtPlan&) = delete;

  cublasLtMatmulDesc operation = nullptr;
  cublasLtMatrixLayout first = nullptr, second = nullptr;  // of b and a
  cublasLtMatrixLayout c = nullptr, d = nullptr;
  cublasLtMatmulAlgo algorithm{};

 private:
  const CublasLtApi& api_;
};

// Products on one device, whose context is current during every call.
class CublasLt {
 public:
  static constexpr std::size_t workspace_bytes = std::size_t{32} << 20;

  // For a driver of that major version. DeviceError if there is no library that starts.
  explicit CublasLt(int driver);
  std::string version() const;
  // Queues the product; false if the library has no way to compute it. `workspace`: memory of
  // workspace_bytes on the device.
  bool product(const DeviceProduct& product, CUdeviceptr workspace, CUstream stream);

 private:
  // What an algorithm is chosen for: the last are the alignments of the four matrices, and which of
  // those that the library names.
  using Key = std::tuple<std::array<DType, 3>, std::int64_t, std::int64_t, std::int64_t,
                         std::int64_t, std::array<std::int64_t, 8>, std::array<bool, 5>,
                         std::array<std::uint32_t, 4>, int>;
  static Key key_of(const DeviceProduct& product);
  // Null if the library has none.
  std::unique_ptr<CublasLtPlan> make_plan(const DeviceProduct& product) const;

  std::shared_ptr<const CublasLtApi> api_;
  cublasLtHandle handle_ = nullptr;
  std::map<Key, std::unique_ptr<CublasLtPlan>> plans_;
};

}  // namespace kroton::nvidia
