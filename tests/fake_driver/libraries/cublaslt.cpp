// libcublasLt of the tests, of the version that version.cpp names: products by plain loops, held to
// the alignment that the algorithm was chosen for.
#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <type_traits>
#include <vector>

#include "runtime/cuda/cublaslt_api.h"
#include "tests/fake_driver/libraries/machine.h"

namespace kroton::nvidia {

struct cublasLtContext {};
struct Attributes {
  std::map<int, std::vector<char>> values;

  cublasStatus set(int attribute, const void* value, std::size_t bytes) {
    const char* start = static_cast<const char*>(value);
    values[attribute].assign(start, start + bytes);
    return 0;
  }
  template <class T>
  T get(int attribute, T otherwise) const {
    const auto found = values.find(attribute);
    if (found == values.end()) return otherwise;
    std::memcpy(&otherwise, found->second.data(), sizeof otherwise);
    return otherwise;
  }
};
struct cublasLtMatmulDescOpaque : Attributes {
  int compute = 0, scale = 0;
};
struct cublasLtMatrixLayoutOpaque : Attributes {
  int type = 0;
  std::uint64_t rows = 0, columns = 0;
  std::int64_t leading = 0;
};
struct cublasLtMatmulPreferenceOpaque : Attributes {};

}  // namespace kroton::nvidia

using namespace kroton::nvidia;  // NOLINT: this is its interface
using fake_driver::complain;

namespace {

constexpr cublasStatus not_initialized = 1, invalid_value = 7, not_supported = 15;
constexpr int first_alignment = 5;  // of a; those of b, c and d follow
constexpr std::uint64_t mark = 0x6b726f746f6e;
constexpr int algorithms = 3;  // that there are for a product

std::string behaviour() { return fake_driver::setting("cublaslt", "on"); }

// One matrix of the batch, column-major.
struct Matrix {
  std::uint64_t address = 0;
  std::int64_t rows = 0, columns = 0, leading = 0, stride = 0;

  std::int64_t at(std::int64_t batch, std::int64_t row, std::int64_t column,
                  bool transposed) const {
    return batch * stride + (transposed ? column + row * leading : row + column * leading);
  }
};

Matrix matrix(const void* address, const cublasLtMatrixLayoutOpaque& layout) {
  return {reinterpret_cast<std::uint64_t>(address), static_cast<std::int64_t>(layout.rows),
          static_cast<std::int64_t>(layout.columns), layout.leading,
          layout.get<std::int64_t>(layout_batch_stride, 0)};
}

struct Product {
  Matrix a, b, c, d;
  bool transpose_a = false, transpose_b = false;
  std::uint64_t bias = 0;
  std::int64_t batch = 1;
  double alpha = 1, beta = 0;
  int algorithm = 0;
};

// Numbers of 16 bits, as a float.
struct Bf16 {
  std::uint16_t bits;
  explicit operator double() const {
    const std::uint32_t word = std::uint32_t{bits} << 16;
    float value = 0;
    std::memcpy(&value, &word, sizeof value);
    return value;
  }
  static Bf16 of(double value) {
    const auto rounded = static_cast<float>(value);
    std::uint32_t word = 0;
    std::memcpy(&word, &rounded, sizeof word);
    return {static_cast<std::uint16_t>((word + 0x7fff + (word >> 16 & 1)) >> 16)};
  }
};
// A float that is multiplied with 11 of its bits.
struct Tf32 {
  float given;
  explicit operator double() const {
    std::uint32_t word = 0;
    std::memcpy(&word, &given, sizeof word);
    constexpr std::uint32_t half = 1U << 12;
    word = (word + half) & ~(2 * half - 1);
    float rounded = 0;
    std::memcpy(&rounded, &word, sizeof rounded);
    return rounded;
  }
};
template <class T>
T of(double value) {
  if constexpr (std::is_same_v<T, Bf16>) {
    return Bf16::of(value);
  } else {
    return static_cast<T>(value);
  }
}

template <class T>
T* elements(const Matrix& m, std::int64_t batch) {
  const std::int64_t count = (batch - 1) * m.stride + (m.columns - 1) * m.leading + m.rows;
  return static_cast<T*>(
      fake_driver::memory(m.address, count * static_cast<std::int64_t>(sizeof(T))));
}

template <class Operand, class T>
fake_driver::CUresult multiply(const Product& p) {
  const std::int64_t inner = p.transpose_a ? p.a.rows : p.a.columns;
  const Operand* a = elements<Operand>(p.a, p.batch);
  const Operand* b = elements<Operand>(p.b, p.batch);
  const T* c = p.beta != 0 ? elements<T>(p.c, p.batch) : nullptr;
  T* d = elements<T>(p.d, p.batch);
  const T* bias = p.bias == 0 ? nullptr : elements<T>({p.bias, p.d.rows, 1, p.d.rows, 0}, 1);
  if (!a || !b || !d || (p.beta != 0 && !c) || (p.bias != 0 && !bias)) {
    complain("cublasLtMatmul of memory that is not inside an allocation");
    return fake_driver::illegal_address;
  }
  fake_driver::count_product(p.algorithm);
  for (std::int64_t n = 0; n < p.batch; ++n) {
    for (std::int64_t i = 0; i < p.d.rows; ++i) {
      for (std::int64_t j = 0; j < p.d.columns; ++j) {
        double sum = 0;
        for (std::int64_t k = 0; k < inner; ++k) {
          sum += static_cast<double>(a[p.a.at(n, i, k, p.transpose_a)]) *
                 static_cast<double>(b[p.b.at(n, k, j, p.transpose_b)]);
        }
        sum *= p.alpha;
        if (c) sum += p.beta * static_cast<double>(c[p.c.at(n, i, j, false)]);
        if (bias) sum += static_cast<double>(bias[i]);
        d[p.d.at(n, i, j, false)] = of<T>(sum);
      }
    }
  }
  return 0;
}

// Whether the sizes fit together, as the library looks at them.
bool fits(const Product& p) {
  const std::int64_t rows = p.transpose_a ? p.a.columns : p.a.rows;
  const std::int64_t inner = p.transpose_a ? p.a.rows : p.a.columns;
  const std::int64_t inner_b = p.transpose_b ? p.b.columns : p.b.rows;
  const std::int64_t columns = p.transpose_b ? p.b.rows : p.b.columns;
  bool good = rows == p.d.rows && columns == p.d.columns && inner == inner_b &&
              p.c.rows == p.d.rows && p.c.columns == p.d.columns && rows > 0 && columns > 0 &&
              inner > 0 && p.batch > 0;
  for (const Matrix* m : {&p.a, &p.b, &p.c, &p.d}) good = good && m->leading >= m->rows;
  return good;
}

Product product_of(const cublasLtMatmulDescOpaque& desc, const void* a,
                   const cublasLtMatrixLayoutOpaque& a_layout, const void* b,
                   const cublasLtMatrixLayoutOpaque& b_layout, const void* c,
                   const cublasLtMatrixLayoutOpaque& c_layout, const void* d,
                   const cublasLtMatrixLayoutOpaque& d_layout) {
  Product p;
  p.a = matrix(a, a_layout);
  p.b = matrix(b, b_layout);
  p.c = matrix(c, c_layout);
  p.d = matrix(d, d_layout);
  p.transpose_a = desc.get<std::int32_t>(desc_transpose_a, 0) == operation_transpose;
  p.transpose_b = desc.get<std::int32_t>(desc_transpose_b, 0) == operation_transpose;
  if (desc.get<std::uint32_t>(desc_epilogue, 1) == epilogue_bias) {
    p.bias = desc.get<std::uint64_t>(desc_bias, 0);
  }
  p.batch = d_layout.get<std::int32_t>(layout_batch_count, 1);
  return p;
}

}  // namespace

#define LIBRARY_FUNCTION(name) FAKE_DRIVER_EXPORT cublasStatus name

FAKE_DRIVER_EXPORT const char* cublasLtGetStatusString(cublasStatus status) {
  return status == not_supported     ? "CUBLAS_STATUS_NOT_SUPPORTED"
         : status == invalid_value   ? "CUBLAS_STATUS_INVALID_VALUE"
         : status == not_initialized ? "CUBLAS_STATUS_NOT_INITIALIZED"
                                     : "CUBLAS_STATUS_UNKNOWN";
}

FAKE_DRIVER_EXPORT std::size_t cublasLtGetVersion() {
  return 10000 * static_cast<std::size_t>(fake_driver::library_version);
}

LIBRARY_FUNCTION(cublasLtCreate)(cublasLtHandle* handle) {
  if (behaviour() == "off") return not_initialized;
  if (fake_driver::library_version > fake_driver::setting("version", 13000) / 1000) {
    return not_initialized;
  }
  static cublasLtContext context;
  *handle = &context;
  return 0;
}

LIBRARY_FUNCTION(cublasLtMatmulDescCreate)(cublasLtMatmulDesc* desc, int compute, int scale) {
  *desc = new cublasLtMatmulDescOpaque;
  (*desc)->compute = compute;
  (*desc)->scale = scale;
  return 0;
}
LIBRARY_FUNCTION(cublasLtMatmulDescDestroy)(cublasLtMatmulDesc desc) {
  delete desc;
  return 0;
}
LIBRARY_FUNCTION(cublasLtMatmulDescSetAttribute)
(cublasLtMatmulDesc desc, int attribute, const void* value, std::size_t bytes) {
  return desc->set(attribute, value, bytes);
}

LIBRARY_FUNCTION(cublasLtMatrixLayoutCreate)
(cublasLtMatrixLayout* layout, int type, std::uint64_t rows, std::uint64_t columns,
 std::int64_t leading) {
  *layout = new cublasLtMatrixLayoutOpaque;
  (*layout)->type = type;
  (*layout)->rows = rows;
  (*layout)->columns = columns;
  (*layout)->leading = leading;
  return 0;
}
LIBRARY_FUNCTION(cublasLtMatrixLayoutDestroy)(cublasLtMatrixLayout layout) {
  delete layout;
  return 0;
}
LIBRARY_FUNCTION(cublasLtMatrixLayoutSetAttribute)
(cublasLtMatrixLayout layout, int attribute, const void* value, std::size_t bytes) {
  return layout->set(attribute, value, bytes);
}

LIBRARY_FUNCTION(cublasLtMatmulPreferenceCreate)(cublasLtMatmulPreference* preference) {
  *preference = new cublasLtMatmulPreferenceOpaque;
  return 0;
}
LIBRARY_FUNCTION(cublasLtMatmulPreferenceDestroy)(cublasLtMatmulPreference preference) {
  delete preference;
  return 0;
}
LIBRARY_FUNCTION(cublasLtMatmulPreferenceSetAttribute)
(cublasLtMatmulPreference preference, int attribute, const void* value, std::size_t bytes) {
  return preference->set(attribute, value, bytes);
}

LIBRARY_FUNCTION(cublasLtMatmulAlgoGetHeuristic)
(cublasLtHandle /*handle*/, cublasLtMatmulDesc desc, cublasLtMatrixLayout a, cublasLtMatrixLayout b,
 cublasLtMatrixLayout c, cublasLtMatrixLayout d, cublasLtMatmulPreference preference, int wanted,
 cublasLtMatmulHeuristicResult* result, int* found) {
  *found = 0;
  if (behaviour() == "refuses") return not_supported;
  if (behaviour() == "none") return 0;
  const Product p = product_of(*desc, nullptr, *a, nullptr, *b, nullptr, *c, nullptr, *d);
  if (!fits(p)) {
    complain("cublasLtMatmulAlgoGetHeuristic: sizes that do not fit together");
    return invalid_value;
  }
  for (; *found < std::min(wanted, algorithms); ++*found, ++result) {
    *result = {};
    for (int k = 0; k < 4; ++k) {
      result->algo.data[k] = preference->get<std::uint32_t>(first_alignment + k, 256);
    }
    result->algo.data[4] = preference->get<std::uint64_t>(preference_workspace, 0);
    result->algo.data[5] = mark;
    result->algo.data[6] = static_cast<std::uint64_t>(*found);
  }
  return 0;
}

LIBRARY_FUNCTION(cublasLtMatmul)
(cublasLtHandle /*handle*/, cublasLtMatmulDesc desc, const void* alpha, const void* a,
 cublasLtMatrixLayout a_layout, const void* b, cublasLtMatrixLayout b_layout, const void* beta,
 const void* c, cublasLtMatrixLayout c_layout, void* d, cublasLtMatrixLayout d_layout,
 const cublasLtMatmulAlgo* algorithm, void* workspace, std::size_t workspace_bytes,
 CUstream stream) {
  if (behaviour() == "late") return not_supported;
  if (!fake_driver::is_current(stream)) {
    complain("cublasLtMatmul in another context than the stream's");
    return invalid_value;
  }
  Product p = product_of(*desc, a, *a_layout, b, *b_layout, c, *c_layout, d, *d_layout);
  const bool single = desc->scale == type_f32;
  // What there is of the library's combinations, but for f16.
  const int of_a = a_layout->type, of_d = d_layout->type;
  const bool is_known = of_a == b_layout->type && of_d == c_layout->type &&
                        (of_a == of_d || (of_a == type_bf16 && of_d == type_f32)) &&
                        (single ? of_a == type_f32 || of_a == type_bf16 : of_a == type_f64);
  if (!is_known) return not_supported;
  const bool rounds = desc->compute == compute_tf32 && of_a == type_f32;
  if (!fits(p) || (!rounds && desc->compute != (single ? compute_f32 : compute_f64)) ||
      algorithm->data[5] != mark || algorithm->data[4] > workspace_bytes ||
      reinterpret_cast<std::uint64_t>(workspace) % 256 != 0) {
    complain("cublasLtMatmul: a product that its algorithm was not chosen for");
    return invalid_value;
  }
  p.algorithm = static_cast<int>(algorithm->data[6]);
  p.alpha = single ? *static_cast<const float*>(alpha) : *static_cast<const double*>(alpha);
  p.beta = single ? *static_cast<const float*>(beta) : *static_cast<const double*>(beta);
  const Matrix* matrices[] = {&p.a, &p.b, &p.c, &p.d};
  bool aligned = p.bias % 16 == 0;
  for (int k = 0; k < 4; ++k) aligned = aligned && matrices[k]->address % algorithm->data[k] == 0;
  if (!aligned) {
    complain("cublasLtMatmul: an address that is not aligned as its algorithm was promised");
    fake_driver::enqueue(stream, [] { return fake_driver::misaligned_address; });
    return 0;
  }
  fake_driver::enqueue(stream, [p, of_a, of_d, rounds] {
    if (rounds) return multiply<Tf32, float>(p);
    if (of_a == type_f64) return multiply<double, double>(p);
    if (of_a == type_f32) return multiply<float, float>(p);
    return of_d == type_f32 ? multiply<Bf16, float>(p) : multiply<Bf16, Bf16>(p);
  });
  return 0;
}
