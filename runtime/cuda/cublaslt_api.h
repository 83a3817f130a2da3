// The part of cuBLASLt that is used, declared as in its documentation (CUDA 11 to 13).
#pragma once
#include <cstddef>
#include <cstdint>

#include "runtime/cuda/driver_api.h"
#include "runtime/cuda/library.h"

namespace kroton::nvidia {

using cublasStatus = int;  // 0: success
using cublasLtHandle = struct cublasLtContext*;
using cublasLtMatmulDesc = struct cublasLtMatmulDescOpaque*;
using cublasLtMatrixLayout = struct cublasLtMatrixLayoutOpaque*;
using cublasLtMatmulPreference = struct cublasLtMatmulPreferenceOpaque*;

struct cublasLtMatmulAlgo {
  std::uint64_t data[8];
};
struct cublasLtMatmulHeuristicResult {
  cublasLtMatmulAlgo algo;
  std::size_t workspace_bytes;
  cublasStatus state;
  float waves;
  int reserved[4];
};

constexpr int type_f32 = 0, type_f64 = 1, type_f16 = 2, type_bf16 = 14;  // cudaDataType
constexpr int compute_f32 = 68, compute_f64 = 70;  // cublasComputeType_t: in full precision
constexpr int compute_tf32 = 77;                   // operands of f32 are rounded
constexpr int desc_transpose_a = 3, desc_transpose_b = 4, desc_epilogue = 7, desc_bias = 8;
constexpr std::int32_t operation_transpose = 1;
constexpr std::uint32_t epilogue_bias = 4;
constexpr int layout_batch_count = 5, layout_batch_stride = 6;
constexpr int preference_workspace = 1, preference_reductions = 3;
constexpr int preference_alignment = 5;  // in bytes, of a; 6 to 8: of b, c and d
constexpr cublasStatus status_invalid_value = 7, status_arch_mismatch = 8,
                       status_not_supported = 15;
// Partial sums added in a fixed order: in what is computed in, in the result's type.
constexpr std::uint32_t reductions_in_order = 2, reductions_of_results = 4;

struct CublasLtApi {
  Library loaded;

  std::size_t (*cublasLtGetVersion)() = nullptr;
  const char* (*cublasLtGetStatusString)(cublasStatus) = nullptr;
  cublasStatus (*cublasLtCreate)(cublasLtHandle*) = nullptr;
  cublasStatus (*cublasLtMatmulDescCreate)(cublasLtMatmulDesc*, int compute, int scale) = nullptr;
  cublasStatus (*cublasLtMatmulDescDestroy)(cublasLtMatmulDesc) = nullptr;
  cublasStatus (*cublasLtMatmulDescSetAttribute)(cublasLtMatmulDesc, int attribute, const void*,
                                                 std::size_t) = nullptr;
  cublasStatus (*cublasLtMatrixLayoutCreate)(cublasLtMatrixLayout*, int type, std::uint64_t rows,
                                             std::uint64_t columns, std::int64_t leading) = nullptr;
  cublasStatus (*cublasLtMatrixLayoutDestroy)(cublasLtMatrixLayout) = nullptr;
  cublasStatus (*cublasLtMatrixLayoutSetAttribute)(cublasLtMatrixLayout, int attribute, const void*,
                                                   std::size_t) = nullptr;
  cublasStatus (*cublasLtMatmulPreferenceCreate)(cublasLtMatmulPreference*) = nullptr;
  cublasStatus (*cublasLtMatmulPreferenceDestroy)(cublasLtMatmulPreference) = nullptr;
  cublasStatus (*cublasLtMatmulPreferenceSetAttribute)(cublasLtMatmulPreference, int attribute,
                                                       const void*, std::size_t) = nullptr;
  cublasStatus (*cublasLtMatmulAlgoGetHeuristic)(cublasLtHandle, cublasLtMatmulDesc,
                                                 cublasLtMatrixLayout a, cublasLtMatrixLayout b,
                                                 cublasLtMatrixLayout c, cublasLtMatrixLayout d,
                                                 cublasLtMatmulPreference, int wanted,
                                                 cublasLtMatmulHeuristicResult*,
                                                 int* found) = nullptr;
  cublasStatus (*cublasLtMatmul)(cublasLtHandle, cublasLtMatmulDesc, const void* alpha,
                                 const void* a, cublasLtMatrixLayout, const void* b,
                                 cublasLtMatrixLayout, const void* beta, const void* c,
                                 cublasLtMatrixLayout, void* d, cublasLtMatrixLayout,
                                 const cublasLtMatmulAlgo*, void* workspace,
                                 std::size_t workspace_bytes, CUstream) = nullptr;

  // The names that it may have, the best first for a driver of that major version.
  static std::vector<std::string> names(int driver) {
    return library_names("libcublasLt.so", {"13", "12", "11"}, driver);
  }

  explicit CublasLtApi(const std::vector<std::string>& names)
      : loaded("cuBLASLt, NVIDIA's library of products (libcublasLt),", names) {
    loaded.find(cublasLtGetVersion, "cublasLtGetVersion");
    loaded.find(cublasLtGetStatusString, "cublasLtGetStatusString");
    loaded.find(cublasLtCreate, "cublasLtCreate");
    loaded.find(cublasLtMatmulDescCreate, "cublasLtMatmulDescCreate");
    loaded.find(cublasLtMatmulDescDestroy, "cublasLtMatmulDescDestroy");
    loaded.find(cublasLtMatmulDescSetAttribute, "cublasLtMatmulDescSetAttribute");
    loaded.find(cublasLtMatrixLayoutCreate, "cublasLtMatrixLayoutCreate");
    loaded.find(cublasLtMatrixLayoutDestroy, "cublasLtMatrixLayoutDestroy");
    loaded.find(cublasLtMatrixLayoutSetAttribute, "cublasLtMatrixLayoutSetAttribute");
    loaded.find(cublasLtMatmulPreferenceCreate, "cublasLtMatmulPreferenceCreate");
    loaded.find(cublasLtMatmulPreferenceDestroy, "cublasLtMatmulPreferenceDestroy");
    loaded.find(cublasLtMatmulPreferenceSetAttribute, "cublasLtMatmulPreferenceSetAttribute");
    loaded.find(cublasLtMatmulAlgoGetHeuristic, "cublasLtMatmulAlgoGetHeuristic");
    loaded.find(cublasLtMatmul, "cublasLtMatmul");
  }
};

}  // namespace kroton::nvidia
