// A contender for products: OpenBLAS, or the faster of oneDNN's two ways to multiply. The library
// is loaded when it runs.
//   kroton_bench_blas LIBRARY     a path of libopenblas.so.0 or libdnnl.so.2
#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <chrono>
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

template <class Function>
Function found(const char* name) {
  const auto function = reinterpret_cast<Function>(dlsym(library, name));
  if (function == nullptr) throw std::runtime_error(std::string("the library has no ") + name);
  return function;
}

// The matmul primitive of oneDNN 2, by what dnnl_types.h says of its types.
namespace dnnl {

using Handle = void*;
// Filled by the library and passed back to it; larger than any of its structures.
struct alignas(64) Descriptor {
  std::array<std::byte, 16384> bytes{};
};
struct Argument {
  int position;
  Handle memory;
};
constexpr int cpu = 1, f32 = 3, in_order = 1, source = 1, weights = 33, destination = 17;

template <class... Arguments>
void call(const char* name, Arguments... arguments) {
  const int status = found<int (*)(Arguments...)>(name)(arguments...);
  if (status != 0) {
    throw std::runtime_error(std::string(name) + " fails with " + std::to_string(status));
  }
}

Handle engine() {
  Handle result = nullptr;
  call("dnnl_engine_create", &result, cpu, std::size_t{0});
  return result;
}

// A row-major matrix of `leading` elements a row, or one stored transposed.
Descriptor matrix(int rows, int columns, int leading, bool turned) {
  Descriptor result;
  const std::array<std::int64_t, 2> sizes{rows, columns};
  const std::array<std::int64_t, 2> strides{turned ? 1 : leading, turned ? leading : 1};
  call("dnnl_memory_desc_init_by_strides", &result, 2, sizes.data(), f32, strides.data());
  return result;
}

std::function<void()> matmul(Operands<float>& o, int lda, int ldb) {
  static const Handle processor = engine();
  const Descriptor a = matrix(o.m, o.k, lda, o.turned_a), b = matrix(o.k, o.n, ldb, o.turned_b),
                   c = matrix(o.m, o.n, o.n, false);
  Descriptor operation;
  call<Descriptor*, const Descriptor*, const Descriptor*, const Descriptor*, const Descriptor*>(
      "dnnl_matmul_desc_init", &operation, &a, &b, nullptr, &c);
  Handle description = nullptr, primitive = nullptr, stream = nullptr;
  call<Handle*, const Descriptor*, Handle, Handle, Handle>(
      "dnnl_primitive_desc_create", &description, &operation, nullptr, processor, nullptr);
  call("dnnl_primitive_create", &primitive, description);
  call("dnnl_stream_create", &stream, processor, in_order);
  std::array<Argument, 3> arguments{
      {{source, nullptr}, {weights, nullptr}, {destination, nullptr}}};
  const auto memory = [](const Descriptor& of, float* data) {
    Handle result = nullptr;
    call<Handle*, const Descriptor*, Handle, void*>("dnnl_memory_create", &result, &of, processor,
                                                    data);
    return result;
  };
  arguments[0].memory = memory(a, o.a.data());
  arguments[1].memory = memory(b, o.b.data());
  arguments[2].memory = memory(c, o.c.data());
  // Held until the case is gone.
  const auto held = std::shared_ptr<void>(nullptr, [=](void*) {
    for (const Argument& argument : arguments) call("dnnl_memory_destroy", argument.memory);
    call("dnnl_stream_destroy", stream);
    call("dnnl_primitive_destroy", primitive);
    call("dnnl_primitive_desc_destroy", description);
  });
  using Execute = int (*)(Handle, Handle, int, const Argument*);
  const auto execute = found<Execute>("dnnl_primitive_execute");
  const auto wait = found<int (*)(Handle)>("dnnl_stream_wait");
  return [=] {
    static_cast<void>(held);
    execute(primitive, stream, 3, arguments.data());
    wait(stream);
  };
}

}  // namespace dnnl

double seconds(const std::function<void()>& run) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  run();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// In turns, for a twentieth of a second or three calls; the first calls do not count.
std::function<void()> faster(const std::function<void()>& a, const std::function<void()>& b) {
  a();
  b();
  double best_a = 1e9, best_b = 1e9, total = 0;
  for (int i = 0; i < 3 || total < 0.05; ++i) {
    const double of_a = seconds(a), of_b = seconds(b);
    best_a = std::min(best_a, of_a);
    best_b = std::min(best_b, of_b);
    total += of_a + of_b;
  }
  return best_a <= best_b ? a : b;
}

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
    const auto sgemm = found<DnnlGemm>("dnnl_sgemm");
    run = faster(
        [=] {
          sgemm(o->turned_a ? 'T' : 'N', o->turned_b ? 'T' : 'N', o->m, o->n, o->k, 1, o->a.data(),
                lda, o->b.data(), ldb, 0, o->c.data(), o->n);
        },
        dnnl::matmul(*o, lda, ldb));
  } else {
    throw std::runtime_error("has no product of f64");
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
    if (parts.at(0) != "gemm") throw std::runtime_error("has no " + parts.at(0));
    return parts.at(1) == "f64" ? gemm<double>(parts) : gemm<float>(parts);
  });
}
