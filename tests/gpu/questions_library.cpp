// What the library of products does with NaN, and which addresses it takes.
#include <algorithm>
#include <cmath>

#include "runtime/cuda/cublaslt_api.h"
#include "tests/gpu/asked_device.h"

namespace gpu_questions {

using namespace kroton::nvidia;  // NOLINT: the driver

namespace {

constexpr int side = 64;
constexpr std::uint32_t relu_epilogue = 2;

// The product of two matrices of ones, the first element of the first of them NaN; all of them
// begin `offset` bytes behind a multiple of 256. Empty if the library refuses.
std::vector<float> product(const AskedDevice& device, int promised, int offset, int bias_offset,
                           std::uint32_t epilogue) {
  const CublasLtApi api(CublasLtApi::names(AskedDevice::driver_version() / 1000));
  const auto ask = [&](cublasStatus status, const char* what) {
    if (status != 0) {
      throw std::runtime_error(std::string(what) + ": " + api.cublasLtGetStatusString(status));
    }
  };
  cublasLtHandle handle = nullptr;
  cublasLtMatmulDesc operation = nullptr;
  cublasLtMatrixLayout layout = nullptr;
  cublasLtMatmulPreference preference = nullptr;
  ask(api.cublasLtCreate(&handle), "cublasLtCreate");
  ask(api.cublasLtMatmulDescCreate(&operation, compute_f32, type_f32), "desc");
  ask(api.cublasLtMatrixLayoutCreate(&layout, type_f32, side, side, side), "layout");
  ask(api.cublasLtMatmulPreferenceCreate(&preference), "preference");
  constexpr std::int64_t bytes = 4 * side * side, apart = bytes + 512;
  constexpr std::uint64_t workspace_bytes = 32 << 20;
  const CUdeviceptr all = AskedDevice::allocated(4 * apart);
  const CUdeviceptr workspace = AskedDevice::allocated(workspace_bytes);
  std::vector<float> ones(side * side, 1.0F);
  const auto at = [&](int number, int shift) {
    return all + static_cast<CUdeviceptr>(number * apart + shift);
  };
  const CUdeviceptr a = at(0, offset), b = at(1, offset), d = at(2, offset);
  const CUdeviceptr bias = at(3, bias_offset);
  device.upload(b, ones);
  device.upload(d, ones);
  device.upload(bias, ones);
  ones[0] = std::nanf("");
  device.upload(a, ones);
  if (epilogue != 0) {
    ask(api.cublasLtMatmulDescSetAttribute(operation, desc_epilogue, &epilogue, sizeof epilogue),
        "epilogue");
  }
  if (epilogue == epilogue_bias) {
    ask(api.cublasLtMatmulDescSetAttribute(operation, desc_bias, &bias, sizeof bias), "bias");
  }
  ask(api.cublasLtMatmulPreferenceSetAttribute(preference, preference_workspace, &workspace_bytes,
                                               sizeof workspace_bytes),
      "workspace");
  const auto alignment = static_cast<std::uint32_t>(promised);
  for (int k = 0; k < 4; ++k) {
    ask(api.cublasLtMatmulPreferenceSetAttribute(preference, preference_alignment + k, &alignment,
                                                 sizeof alignment),
        "alignment");
  }
  cublasLtMatmulHeuristicResult found{};
  int count = 0;
  if (api.cublasLtMatmulAlgoGetHeuristic(handle, operation, layout, layout, layout, layout,
                                         preference, 1, &found, &count) != 0 ||
      count == 0) {
    return {};
  }
  const float one = 1, zero = 0;
  const auto pointer = [](CUdeviceptr address) { return reinterpret_cast<void*>(address); };
  if (api.cublasLtMatmul(handle, operation, &one, pointer(a), layout, pointer(b), layout, &zero,
                         pointer(d), layout, pointer(d), layout, &found.algo, pointer(workspace),
                         workspace_bytes, device.stream()) != 0) {
    return {};
  }
  std::vector<float> result(side * side);
  device.download(result, d);
  AskedDevice::free(all);
  AskedDevice::free(workspace);
  return result;
}

}  // namespace

// max(a*b, 0) by the library, with a NaN in one row of a.
void ask_relu(const AskedDevice& device) {
  const std::vector<float> d = product(device, 256, 0, 0, relu_epilogue);
  if (d.empty()) {
    std::printf("the library's ReLU: it computes none\n");
    return;
  }
  const auto nans = std::count_if(d.begin(), d.end(), [](float x) { return std::isnan(x); });
  std::printf("the library's ReLU of NaN: %s (%lld of %d)\n", nans == side ? "NaN" : "NOT NaN",
              static_cast<long long>(nans), side);
}

// Matrices and biases that begin so many bytes behind a multiple of 256.
void ask_alignment(const AskedDevice& device) {
  for (const int offset : {0, 128, 64, 32, 16, 8, 4}) {
    const int promised = offset == 0 ? 256 : offset;
    std::printf("matrices at a multiple of %d bytes: ", promised);
    const std::vector<float> d = product(device, promised, offset, 0, 0);
    std::printf("%s\n", d.empty() ? "refused" : "computed");
  }
  for (const int offset : {16, 8, 4}) {  // the last may be the end of this process
    std::printf("a bias at a multiple of %d bytes: ", offset);
    const std::vector<float> d = product(device, 256, 0, offset, epilogue_bias);
    std::printf("%s\n", d.empty() ? "refused" : "computed");
  }
}

}  // namespace gpu_questions
