// What the machine itself reaches: multiply-adds in registers, streaming through memory, the time
// of one dependent addition. Compiled for the processor it runs on.
#include "floor.h"

#include <array>
#include <memory>
#include <stdexcept>
#include <thread>

// The letter of a vector register in a constraint of an assembler statement.
#ifdef __aarch64__
#define BENCH_IN_REGISTER "+w"
#else
#define BENCH_IN_REGISTER "+v"
#endif

namespace bench {
namespace {

template <class T>
struct VectorOf;
template <>
struct VectorOf<float> {
  using type = float __attribute__((vector_size(64)));
};
template <>
struct VectorOf<double> {
  using type = double __attribute__((vector_size(64)));
};

// Enough independent sums to hide the latency of a multiply-add, few enough to stay in registers.
constexpr int sums = 12;
// So many that starting threads does not count.
constexpr long rounds = 2'000'000;

template <class T>
double multiply_adds(double seed) {
  using Vector = typename VectorOf<T>::type;
  Vector a0{}, a1{}, a2{}, a3{}, a4{}, a5{}, a6{}, a7{}, a8{}, a9{}, a10{}, a11{};
  Vector x = a0 + static_cast<T>(seed), y = a0 + static_cast<T>(0.5);
  for (long i = 0; i < rounds; ++i) {
    a0 = a0 * x + y, a1 = a1 * x + y, a2 = a2 * x + y, a3 = a3 * x + y;
    a4 = a4 * x + y, a5 = a5 * x + y, a6 = a6 * x + y, a7 = a7 * x + y;
    a8 = a8 * x + y, a9 = a9 * x + y, a10 = a10 * x + y, a11 = a11 * x + y;
    // Twelve equal sums would be computed once.
    asm volatile(""
                 : BENCH_IN_REGISTER(a0), BENCH_IN_REGISTER(a1), BENCH_IN_REGISTER(a2),
                   BENCH_IN_REGISTER(a3), BENCH_IN_REGISTER(a4), BENCH_IN_REGISTER(a5));
    asm volatile(""
                 : BENCH_IN_REGISTER(a6), BENCH_IN_REGISTER(a7), BENCH_IN_REGISTER(a8),
                   BENCH_IN_REGISTER(a9), BENCH_IN_REGISTER(a10), BENCH_IN_REGISTER(a11));
  }
  const Vector all = a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + a10 + a11;
  return static_cast<double>(all[0]);
}

void on_threads(int threads, const std::function<void(int)>& work) {
  std::vector<std::thread> others;
  for (int k = 1; k < threads; ++k) others.emplace_back(work, k);
  work(0);
  for (std::thread& thread : others) thread.join();
}

template <class T>
Case peak_case(int threads) {
  const double flops = 2.0 * sums * rounds * threads *
                       static_cast<double>(sizeof(typename VectorOf<T>::type) / sizeof(T));
  return {[threads] {
            on_threads(threads, [](int) {
              volatile double result = multiply_adds<T>(0.999);
              static_cast<void>(result);
            });
          },
          [flops] { return std::vector<double>{flops}; }};
}

void triad(float* __restrict a, const float* __restrict b, const float* __restrict c,
           std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) a[i] = b[i] + 3 * c[i];
}

Case triad_case(int threads, std::size_t count) {
  const auto memory = std::make_shared<std::array<std::vector<float>, 3>>();
  for (auto& part : *memory) part.assign(count, 1);
  return {[memory, threads, count] {
            on_threads(threads, [&memory, threads, count](int k) {
              const std::size_t each = count / static_cast<std::size_t>(threads);
              const std::size_t at = each * static_cast<std::size_t>(k);
              triad((*memory)[0].data() + at, (*memory)[1].data() + at, (*memory)[2].data() + at,
                    each);
            });
          },
          [count] { return std::vector<double>{12.0 * static_cast<double>(count)}; }};
}

Case add_case() {
  constexpr long count = 1'000'000;
  return {[] {
            float sum = 0, one = 1;
            for (long i = 0; i < count; ++i) {
              asm volatile("" : BENCH_IN_REGISTER(one));
              sum += one;
              asm volatile("" : BENCH_IN_REGISTER(sum));
            }
          },
          [] { return std::vector<double>{count}; }};
}

}  // namespace

Case floor_case(const Parts& parts) {
  const std::string& kind = parts.at(1);
  if (kind == "f32") return peak_case<float>(thread_count());
  if (kind == "f64") return peak_case<double>(thread_count());
  if (kind == "triad") {
    const std::size_t bytes = parts.size() > 2 ? std::stoul(parts[2]) : 120'000'000;
    return triad_case(thread_count(), bytes / 12);
  }
  if (kind == "add") return add_case();
  throw std::runtime_error("no such floor: " + kind);
}

}  // namespace bench
