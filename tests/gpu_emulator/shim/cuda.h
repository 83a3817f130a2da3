// What CUDA C++ source needs to run on the CPU. The emulator puts an include of this before the
// source and compiles both as a shared object; nothing else includes it.
#pragma once
#include "copies.h"
#include "launch.h"
#include "matrix_units.h"
#include "warps.h"
#include "words.h"

extern "C" {
float fmaf(float, float, float) noexcept;
double fma(double, double, double) noexcept;
float sqrtf(float) noexcept;
double sqrt(double) noexcept;
float floorf(float) noexcept;
double floor(double) noexcept;
float ceilf(float) noexcept;
double ceil(double) noexcept;
float fmodf(float, float) noexcept;
double fmod(double, double) noexcept;
float copysignf(float, float) noexcept;
double copysign(double, double) noexcept;
float rintf(float) noexcept;
double rint(double) noexcept;
float truncf(float) noexcept;
double trunc(double) noexcept;
float fabsf(float) noexcept;
double fabs(double) noexcept;
float fminf(float, float) noexcept;
double fmin(double, double) noexcept;
float fmaxf(float, float) noexcept;
double fmax(double, double) noexcept;
float copysignf(float, float) noexcept;
double copysign(double, double) noexcept;
}

namespace emulator {

// Atomic operations: threads do not run at the same time.
template <class T>
inline T exchange(T* place, T value) {
  const T old = *place;
  *place = value;
  return old;
}

}  // namespace emulator

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define threadIdx (emulator::machine.current->index)
#define blockIdx (emulator::machine.block)
#define blockDim (emulator::machine.block_size)
#define gridDim (emulator::machine.block_count)
#define KROTON_SHARED(type, name, count)                                     \
  static emulator::SharedOfBlocks<type, (count)> name##_of_blocks(__LINE__); \
  emulator::Shared<type, (count)>& name = name##_of_blocks.own()
#define KROTON_GLOBAL(type) emulator::Global<type>
#define KROTON_COMMON(type) emulator::Global<type>
#define KROTON_MEET(arrivals) emulator::grid_barrier(__LINE__)
#define KROTON_WORDS emulator::Global<unsigned long long>
#define KROTON_TURN(words) emulator::take_turn(words, __LINE__)
#define KROTON_TELL(T, words, start, index, turn, value) \
  emulator::tell<T>(words, start, index, turn, value)
#define KROTON_TOLD(T, words, start, index, turn, missing) \
  emulator::told<T>(words, start, index, turn)
typedef emulator::Turn KtTurn;
#define KROTON_LOAD(to, from, at) emulator::load_together(to, from, at)
#define KROTON_STORE(to, at, from) emulator::store_together(to, at, from)
#define KROTON_ADDRESS(x, at) (reinterpret_cast<uint64_t>((x).data + (at)))
#define KROTON_COPY(count, to, i, from, j, available) \
  emulator::copy_later<(count)>(to, i, from, j, available)
#define KROTON_COPIES_END() emulator::end_copies()
#define KROTON_WAIT_COPIES(n) emulator::wait_for_copies(n)
#define KROTON_SQUARES(to, x, at) \
  emulator::load_squares(__LINE__, emulator::squares_along, to, x, at)
#define KROTON_SQUARES_ACROSS(to, x, at) \
  emulator::load_squares(__LINE__, emulator::squares_across, to, x, at)
#define KROTON_UNITS(name, step, d, a, b) \
  emulator::units<emulator::Numbers_##name>(__LINE__, d, a, b)
#define KROTON_ATOMIC_ADD(x, i, v) atomicAdd((x)[i].atomically(), v)
#define __syncthreads() emulator::block_barrier(__LINE__)
#define __syncwarp(...) emulator::warp_barrier(__LINE__, ##__VA_ARGS__)
#define KROTON_SHUFFLE(op, ...) emulator::shuffle(__LINE__, emulator::WarpOp::op, __VA_ARGS__)
#define __shfl_sync(...) KROTON_SHUFFLE(index, __VA_ARGS__)
#define __shfl_up_sync(...) KROTON_SHUFFLE(up, __VA_ARGS__)
#define __shfl_down_sync(...) KROTON_SHUFFLE(down, __VA_ARGS__)
#define __shfl_xor_sync(...) KROTON_SHUFFLE(exclusive_or, __VA_ARGS__)
#define __ballot_sync(mask, value) emulator::ballot(__LINE__, mask, value)
#define __any_sync(mask, value) (emulator::ballot(__LINE__, mask, value) != 0u)
#define __all_sync(mask, value) (emulator::ballot(__LINE__, mask, value) == (mask))
#define __threadfence()

inline int __float_as_int(float x) {
  int r;
  memcpy(&r, &x, 4);
  return r;
}
inline float __int_as_float(int x) {
  float r;
  memcpy(&r, &x, 4);
  return r;
}
inline unsigned __float_as_uint(float x) {
  unsigned r;
  memcpy(&r, &x, 4);
  return r;
}
inline float __uint_as_float(unsigned x) {
  float r;
  memcpy(&r, &x, 4);
  return r;
}
inline long long __double_as_longlong(double x) {
  long long r;
  memcpy(&r, &x, 8);
  return r;
}
inline double __longlong_as_double(long long x) {
  double r;
  memcpy(&r, &x, 8);
  return r;
}
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline double __dsqrt_rn(double x) { return sqrt(x); }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a < b ? b : a; }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a < b ? b : a; }
inline long long min(long long a, long long b) { return a < b ? a : b; }
inline long long max(long long a, long long b) { return a < b ? b : a; }

inline int atomicCAS(int* place, int expected, int value) {
  return *place == expected ? emulator::exchange(place, value) : *place;
}
inline unsigned atomicCAS(unsigned* place, unsigned expected, unsigned value) {
  return *place == expected ? emulator::exchange(place, value) : *place;
}
inline unsigned long long atomicCAS(unsigned long long* place, unsigned long long expected,
                                    unsigned long long value) {
  return *place == expected ? emulator::exchange(place, value) : *place;
}
inline int atomicExch(int* place, int value) { return emulator::exchange(place, value); }
inline float atomicAdd(float* x, float v) { return emulator::exchange(x, *x + v); }
inline double atomicAdd(double* x, double v) { return emulator::exchange(x, *x + v); }
inline int atomicAdd(int* x, int v) { return emulator::exchange(x, *x + v); }
inline unsigned atomicAdd(unsigned* x, unsigned v) { return emulator::exchange(x, *x + v); }
inline unsigned long long atomicAdd(unsigned long long* x, unsigned long long v) {
  return emulator::exchange(x, *x + v);
}
inline int atomicMin(int* x, int v) { return emulator::exchange(x, min(*x, v)); }
inline int atomicMax(int* x, int v) { return emulator::exchange(x, max(*x, v)); }
