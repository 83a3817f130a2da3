#include "runtime/cuda/cublaslt.h"

#include <kroton/error.h>

#include <vector>

#include "runtime/visit.h"

namespace kroton::nvidia {
namespace {

void check(const CublasLtApi& api, cublasStatus status, const char* what) {
  if (status == 0) return;
  throw DeviceError("cuBLASLt (" + api.loaded.path() + "): " + what + ": " +
                    api.cublasLtGetStatusString(status));
}

// The library's way to say that it does not compute this: what a kernel does then.
bool is_refusal(cublasStatus status) {
  return status == status_not_supported || status == status_invalid_value ||
         status == status_arch_mismatch;
}

// What the library is promised of the matrices' addresses. A row of a scan is aligned to its
// elements only; beyond 256 bytes nothing is gained.
std::array<std::uint32_t, 4> alignments_of(const DeviceProduct& p) {
  const auto alignment = [](std::uint64_t address) {
    constexpr std::uint64_t most = 256;
    return static_cast<std::uint32_t>(((address | most) & (~(address | most) + 1)));
  };
  const std::uint64_t c = p.beta != 0 ? p.c.address : p.d.address;
  return {alignment(p.b.address), alignment(p.a.address), alignment(c), alignment(p.d.address)};
}

// Kernels of the library read the bias by vectors; no preference says what they may expect.
constexpr std::uint64_t bias_alignment = 16;

const void* pointer(std::uint64_t address) {
  return reinterpret_cast<const void*>(static_cast<std::uintptr_t>(address));
}

// The library's number for elements of the dtype.
int type_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return type_f32;
    case DType::f64:
      return type_f64;
    case DType::f16:
      return type_f16;
    case DType::bf16:
      return type_bf16;
    case DType::boolean:
    case DType::i8:
    case DType::i16:
    case DType::i32:
    case DType::i64:
    case DType::u8:
    case DType::u16:
    case DType::u32:
    case DType::u64:
      break;
  }
  throw InternalError("cublasLt: no products of " + std::string(name_of(dtype)));
}

// And for how it computes.
int compute_of(const DeviceProduct& p) {
  if (p.dtype == DType::f64) return compute_f64;
  return p.tf32 && p.operands == p.dtype ? compute_tf32 : compute_f32;
}

}  // namespace

CublasLtPlan::CublasLtPlan(const CublasLtApi& api, const DeviceProduct& product) : api_(api) {
  check(api, api.cublasLtMatmulDescCreate(&operation, compute_of(product), type_of(product.dtype)),
        "cublasLtMatmulDescCreate");
  const auto set = [&](int attribute, const auto& value) {
    check(api, api.cublasLtMatmulDescSetAttribute(operation, attribute, &value, sizeof value),
          "cublasLtMatmulDescSetAttribute");
  };
  if (product.b.transposed) set(desc_transpose_a, operation_transpose);
  if (product.a.transposed) set(desc_transpose_b, operation_transpose);
  if (product.bias != 0) {
    set(desc_epilogue, epilogue_bias);
    set(desc_bias, pointer(product.bias));
  }
  // Row-major (rows, columns) is column-major (columns, rows).
  const auto layout = [&](cublasLtMatrixLayout& made, const DeviceProduct::Matrix& m, DType dtype,
                          std::int64_t rows, std::int64_t columns) {
    if (m.transposed) std::swap(rows, columns);
    check(api,
          api.cublasLtMatrixLayoutCreate(&made, type_of(dtype), static_cast<std::uint64_t>(columns),
                                         static_cast<std::uint64_t>(rows), m.leading),
          "cublasLtMatrixLayoutCreate");
    if (product.batch == 1) return;
    const auto count = static_cast<std::int32_t>(product.batch);
    check(api, api.cublasLtMatrixLayoutSetAttribute(made, layout_batch_count, &count, sizeof count),
          "batch count");
    check(api,
          api.cublasLtMatrixLayoutSetAttribute(made, layout_batch_stride, &m.batch_stride,
                                               sizeof m.batch_stride),
          "batch stride");
  };
  layout(first, product.b, product.operands, product.inner, product.columns);
  layout(second, product.a, product.operands, product.rows, product.inner);
  layout(c, product.beta != 0 ? product.c : product.d, product.result, product.rows,
         product.columns);
  layout(d, product.d, product.result, product.rows, product.columns);
}

CublasLtPlan::~CublasLtPlan() {
  for (cublasLtMatrixLayout layout : {first, second, c, d}) {
    if (layout) api_.cublasLtMatrixLayoutDestroy(layout);
  }
  if (operation) api_.cublasLtMatmulDescDestroy(operation);
}

CublasLt::CublasLt(int driver) {
  std::string failures;
  for (const std::string& name : CublasLtApi::names(driver)) {
    try {
      api_ = std::make_shared<const CublasLtApi>(std::vector<std::string>{name});
      check(*api_, api_->cublasLtCreate(&handle_), "cublasLtCreate");
      return;
    } catch (const DeviceError& error) {
      failures += (failures.empty() ? "" : "\n") + std::string(error.what());
    }
  }
  throw DeviceError(failures);
}

std::string CublasLt::version() const {
  return "cuBLASLt " + std::to_string(api_->cublasLtGetVersion());
}

CublasLt::Key CublasLt::key_of(const DeviceProduct& p) {
  return {{p.dtype, p.operands, p.result},
          p.rows,
          p.columns,
          p.inner,
          p.batch,
          {p.a.leading, p.b.leading, p.c.leading, p.d.leading, p.a.batch_stride, p.b.batch_stride,
           p.c.batch_stride, p.d.batch_stride},
          {p.a.transposed, p.b.transposed, p.bias != 0, p.beta != 0, p.tf32},
          alignments_of(p),
          p.algorithm};
}

std::unique_ptr<CublasLtPlan> CublasLt::make_plan(const DeviceProduct& p) const {
  auto made = std::make_unique<CublasLtPlan>(*api_, p);
  cublasLtMatmulPreference preference = nullptr;
  check(*api_, api_->cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
  cublasStatus set = 0;
  const auto prefer = [&](int attribute, const auto& value) {
    if (set != 0) return;
    set = api_->cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value);
  };
  prefer(preference_workspace, std::uint64_t{workspace_bytes});
  // A result of 16 bits is rounded once.
  prefer(preference_reductions,
         p.result == p.dtype ? reductions_in_order | reductions_of_results : reductions_in_order);
  int attribute = preference_alignment;
  for (const std::uint32_t alignment : alignments_of(p)) prefer(attribute++, alignment);
  std::vector<cublasLtMatmulHeuristicResult> found(static_cast<std::size_t>(p.algorithm) + 1);
  int count = 0;
  const cublasStatus status =
      set != 0 ? set
               : api_->cublasLtMatmulAlgoGetHeuristic(handle_, made->operation, made->first,
                                                      made->second, made->c, made->d, preference,
                                                      p.algorithm + 1, found.data(), &count);
  api_->cublasLtMatmulPreferenceDestroy(preference);
  check(*api_, set, "cublasLtMatmulPreferenceSetAttribute");
  if (is_refusal(status)) return nullptr;
  check(*api_, status, "cublasLtMatmulAlgoGetHeuristic");
  if (count <= p.algorithm || found.back().state != 0) return nullptr;
  made->algorithm = found.back().algo;
  return made;
}

bool CublasLt::product(const DeviceProduct& p, CUdeviceptr workspace, CUstream stream) {
  if (p.bias % bias_alignment != 0) return false;
  Key key = key_of(p);
  auto known = plans_.find(key);
  if (known == plans_.end()) {
    std::unique_ptr<CublasLtPlan> made = make_plan(p);
    known = plans_.emplace(std::move(key), std::move(made)).first;
  }
  if (!known->second) return false;
  const CublasLtPlan& plan = *known->second;
  if (p.bias != 0) {
    const void* bias = pointer(p.bias);
    check(*api_,
          api_->cublasLtMatmulDescSetAttribute(plan.operation, desc_bias, &bias, sizeof bias),
          "bias");
  }
  const std::uint64_t c = p.beta != 0 ? p.c.address : p.d.address;
  const cublasStatus status =
      visit_dtype(info_of(p.dtype).computed_in, [&]<class T>(std::type_identity<T>) {
        const T alpha = static_cast<T>(p.alpha), beta = static_cast<T>(p.beta);
        return api_->cublasLtMatmul(
            handle_, plan.operation, &alpha, pointer(p.b.address), plan.first, pointer(p.a.address),
            plan.second, &beta, pointer(c), plan.c, const_cast<void*>(pointer(p.d.address)), plan.d,
            &plan.algorithm, const_cast<void*>(pointer(workspace)), workspace_bytes, stream);
      });
  if (is_refusal(status)) {
    known->second.reset();  // not asked again
    return false;
  }
  check(*api_, status, "cublasLtMatmul");
  return true;
}

}  // namespace kroton::nvidia
