// A contender for products: OpenBLAS or oneDNN, loaded when it runs.
//   kroton_bench_blas LIBRARY     a path of libopenblas.so.0 or libdnnl.so.2
#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <stdexcept>

#include "bench.h"

namespace {

// cblas.h: CblasRowMajor, CblasNoTrans, CblasTrans.
constexpr int row_major = 101, plain = 111, transposed = 112;
template <class T>
using CblasGemm = void (*)(int, int, int, int, int, int, T, const T*, int, const T*, int, T, T*,
                           int);
// dnnl.h
using DnnlGemm = int (*)(char, char, std::int64_t, std::int64_t, std::int64_t, float, const float*,
                         std::int64_t, const float*, std::int64_t, float, float*, std::int64_t);

void* library = nullptr;

template <class T>
struct Operands {
  bool turned_a, turned_b;
  int m, n, k;
  std::vector<T> a, b, c;
};

template <class T>
bench::Case gemm(const bench::Parts& parts) {
  const bench::Parts sizes = bench::split(parts.at(3), 'x');
  const auto o = std::make_shared<Operands<T>>();
  o->turned_a = parts.at(2)[0] == 'T';
  o->turned_b = parts.at(2)[1] == 'T';
  o->m = std::stoi(sizes.at(0));
  o->n = std::stoi(sizes.at(1));
  o->k = std::stoi(sizes.at(2));
  const auto size = [](int rows, int columns) {
    return static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns);
  };
  o->a.resize(size(o->m, o->k));
  o->b.resize(size(o->k, o->n));
  o->c.resize(size(o->m, o->n));
  for (std::size_t i = 0; i < o->a.size(); ++i) o->a[i] = static_cast<T>(bench::element(i, 0));
  for (std::size_t i = 0; i < o->b.size(); ++i) o->b[i] = static_cast<T>(bench::element(i, 1));
  const int lda = o->turned_a ? o->m : o->k, ldb = o->turned_b ? o->k : o->n;

  std::function<void()> run;
  constexpr bool single = sizeof(T) == sizeof(float);
  const auto cblas =
      reinterpret_cast<CblasGemm<T>>(dlsym(library, single ? "cblas_sgemm" : "cblas_dgemm"));
  if (cblas != nullptr) {
    run = [=] {
      cblas(row_major, o->turned_a ? transposed : plain, o->turned_b ? transposed : plain, o->m,
            o->n, o->k, 1, o->a.data(), lda, o->b.data(), ldb, 0, o->c.data(), o->n);
    };
  } else if constexpr (single) {
    const auto dnnl = reinterpret_cast<DnnlGemm>(dlsym(library, "dnnl_sgemm"));
    if (dnnl == nullptr) throw std::runtime_error("the library has no product that is known here");
    run = [=] {
      dnnl(o->turned_a ? 'T' : 'N', o->turned_b ? 'T' : 'N', o->m, o->n, o->k, 1, o->a.data(), lda,
           o->b.data(), ldb, 0, o->c.data(), o->n);
    };
  } else {
    throw std::runtime_error("not measured: no product of f64");
  }
  return {run, [o, run] {
            run();
            return bench::sample(o->c);
          }};
}

}  // namespace

int main(int argc, char** argv) {
  library = argc == 2 ? dlopen(argv[1], RTLD_NOW) : nullptr;
  if (library == nullptr) {
    std::fprintf(stderr, "kroton_bench_blas: %s\n",
                 argc == 2 ? dlerror() : "one argument: LIBRARY");
    return 1;
  }
  return bench::serve([](const bench::Parts& parts) {
    if (parts.at(0) != "gemm") throw std::runtime_error("not measured: " + parts.at(0));
    return parts.at(1) == "f64" ? gemm<double>(parts) : gemm<float>(parts);
  });
}
