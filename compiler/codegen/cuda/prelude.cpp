#include "compiler/codegen/cuda/prelude.h"

namespace kroton::codegen {

// Integers wrap: sums and products are computed unsigned. A block's threads combine what they have
// accumulated in a fixed order: the lanes of a warp by a butterfly, then the warps one after the
// other; every thread has the result.
const std::string_view cuda_prelude = R"cuda(#ifndef KROTON_SHARED
#define KROTON_SHARED(type, name, count) __shared__ __align__(16) type name[count]
#endif
#ifndef KROTON_GLOBAL
#define KROTON_GLOBAL(type) type* __restrict__
// What other blocks may write while the kernel runs.
#define KROTON_COMMON(type) type*
// Neighbours by one access of up to 16 bytes, which their address must be a multiple of, or by two.
template <int bytes> struct KtWords;
struct KtTwice { uint4 first, second; };
template <> struct KtWords<32> { typedef KtTwice Type; };
template <> struct KtWords<16> { typedef uint4 Type; };
template <> struct KtWords<8> { typedef uint2 Type; };
template <> struct KtWords<4> { typedef unsigned Type; };
template <> struct KtWords<2> { typedef unsigned short Type; };
template <int count, class T> union KtTogether {
  typename KtWords<count * sizeof(T)>::Type words;
  T values[count];
};
template <int count, class T> __device__ inline void kt_load(T (&to)[count], const T* from) {
  KtTogether<count, T> all;
  all.words = *reinterpret_cast<const decltype(all.words)*>(from);
  for (int k = 0; k < count; ++k) to[k] = all.values[k];
}
// By instructions of their own: the compiler would make one of them and of the stores of single
// elements beside them, where nothing is aligned, and that of single elements.
__device__ inline void kt_put(void* to, const uint4& words) {
  asm volatile("{ .reg .u64 at; cvta.to.global.u64 at, %0; st.global.v4.u32 [at], {%1, %2, %3, %4}; }"
               :: "l"(to), "r"(words.x), "r"(words.y), "r"(words.z), "r"(words.w) : "memory");
}
__device__ inline void kt_put(void* to, const uint2& words) {
  asm volatile("{ .reg .u64 at; cvta.to.global.u64 at, %0; st.global.v2.u32 [at], {%1, %2}; }"
               :: "l"(to), "r"(words.x), "r"(words.y) : "memory");
}
__device__ inline void kt_put(void* to, const KtTwice& words) {
  kt_put(to, words.first);
  kt_put((char*)to + sizeof(uint4), words.second);
}
__device__ inline void kt_put(void* to, unsigned word) {
  asm volatile("{ .reg .u64 at; cvta.to.global.u64 at, %0; st.global.u32 [at], %1; }"
               :: "l"(to), "r"(word) : "memory");
}
__device__ inline void kt_put(void* to, unsigned short word) { *(unsigned short*)to = word; }
template <int count, class T> __device__ inline void kt_store(T* to, const T (&from)[count]) {
  KtTogether<count, T> all;
  for (int k = 0; k < count; ++k) all.values[k] = from[k];
  kt_put(to, all.words);
}
#define KROTON_LOAD(to, from, at) kt_load(to, from + (at))
#define KROTON_STORE(to, at, from) kt_store(to + (at), from)
#define KROTON_ADDRESS(x, at) ((unsigned long long)(x + (at)))
// All blocks of a grid wait for each other: each adds its share to a word that is 0 at first, and
// all shares together change nothing but the highest bit. The fences let what a block has written
// reach the others before it arrives, and drop what the first cache has of their memory after.
__device__ inline void kt_meet(unsigned* arrivals) {
  __syncthreads();
  if (threadIdx.x == 0) {
    constexpr unsigned highest = 0x80000000u;
    __threadfence();
    const unsigned before = atomicAdd(arrivals, blockIdx.x == 0 ? highest - (gridDim.x - 1) : 1u);
    while (((before ^ *(volatile unsigned*)arrivals) & highest) == 0u) {}
    __threadfence();
  }
  __syncthreads();
}
#define KROTON_MEET(arrivals) kt_meet(arrivals)
#define KROTON_ATOMIC_ADD(x, at, value) atomicAdd(&(x)[at], value)
// Blocks that wait for what those before them store have their numbers in the order in which they
// start: the first word counts them, and the runs of the kernel in its upper half. What is stored
// comes with the number of the run in the upper half of its word, so that nothing has to be cleared
// and no fence is needed: who finds that number has the value.
struct KtTurn { int block; unsigned run; };
__device__ inline KtTurn kt_turn(unsigned long long* words) {
  __shared__ unsigned long long turn;
  if (threadIdx.x == 0) {
    turn = atomicAdd(words, 1ull);
    const unsigned runs = (unsigned)(turn >> 32) + 1;
    if ((unsigned)turn == gridDim.x - 1) {
      atomicExch(words, runs == 0xffffffffu ? 0ull : (unsigned long long)runs << 32);
    }
  }
  __syncthreads();
  const KtTurn mine = {(int)(unsigned)turn, (unsigned)(turn >> 32) + 1};
  return mine;
}
template <class T> union KtTold {
  T value;
  unsigned halves[2];
};
__device__ inline void kt_tell_word(unsigned long long* to, unsigned run, unsigned value) {
  asm volatile("{ .reg .u64 at; cvta.to.global.u64 at, %0; st.relaxed.gpu.global.u64 [at], %1; }"
               :: "l"(to), "l"((unsigned long long)run << 32 | value) : "memory");
}
__device__ inline unsigned kt_told_word(const unsigned long long* from, unsigned run, bool& missing) {
  unsigned long long word;
  asm volatile("{ .reg .u64 at; cvta.to.global.u64 at, %1; ld.relaxed.gpu.global.u64 %0, [at]; }"
               : "=l"(word) : "l"(from) : "memory");
  missing = missing || (unsigned)(word >> 32) != run;
  return (unsigned)word;
}
// Behind the line of the first word.
template <class T> __device__ inline unsigned long long kt_word(long long start, long long index) {
  return 16 + start + index * (sizeof(T) > 4 ? 2 : 1);
}
template <class T>
__device__ inline void kt_tell(unsigned long long* words, unsigned long long at, unsigned run, T value) {
  KtTold<T> told;
  told.halves[0] = told.halves[1] = 0;
  told.value = value;
  kt_tell_word(words + at, run, told.halves[0]);
  if (sizeof(T) > 4) kt_tell_word(words + at + 1, run, told.halves[1]);
}
template <class T>
__device__ inline T kt_told(const unsigned long long* words, unsigned long long at, unsigned run,
                            bool& missing) {
  KtTold<T> told;
  told.halves[0] = kt_told_word(words + at, run, missing);
  told.halves[1] = sizeof(T) > 4 ? kt_told_word(words + at + 1, run, missing) : 0;
  return told.value;
}
#define KROTON_WORDS unsigned long long*
#define KROTON_TURN(words) kt_turn(words)
#define KROTON_TELL(T, words, start, index, turn, value) \
  kt_tell<T>(words, kt_word<T>(start, index), (turn).run, value)
#define KROTON_TOLD(T, words, start, index, turn, missing) \
  kt_told<T>(words, kt_word<T>(start, index), (turn).run, missing)
#endif

// Indices have 32 bits, unless a text says otherwise before this: where they would not do, it does.
#ifndef KROTON_INDEX
#define KROTON_INDEX int
#endif
typedef KROTON_INDEX kt_index;

struct kroton_error {
  int code;
  int site;
  long long index;
  long long size;
};

__device__ inline void kt_fail(kroton_error* error, int site, long long index, long long size) {
  if (atomicCAS(&error->code, 0, 1) != 0) return;
  error->site = site;
  error->index = index;
  error->size = size;
}

// Wide: the unsigned type that arithmetic is done in; Same: the one of T's bits.
#define KT_WRAPPING(T, Wide, Same)                                                         \
  __device__ inline T kt_add(T a, T b) { return (T)((Wide)a + (Wide)b); }                  \
  __device__ inline T kt_sub(T a, T b) { return (T)((Wide)a - (Wide)b); }                  \
  __device__ inline T kt_mul(T a, T b) { return (T)((Wide)a * (Wide)b); }                  \
  __device__ inline T kt_shl(T a, T n) { return (T)((Wide)a << n); }                       \
  __device__ inline T kt_lshr(T a, T n) { return (T)((Same)a >> n); }
KT_WRAPPING(signed char, unsigned, unsigned char)
KT_WRAPPING(short, unsigned, unsigned short)
KT_WRAPPING(int, unsigned, unsigned)
KT_WRAPPING(long long, unsigned long long, unsigned long long)
KT_WRAPPING(unsigned char, unsigned, unsigned char)
KT_WRAPPING(unsigned short, unsigned, unsigned short)
KT_WRAPPING(unsigned, unsigned, unsigned)
KT_WRAPPING(unsigned long long, unsigned long long, unsigned long long)
__device__ inline float kt_add(float a, float b) { return a + b; }
__device__ inline float kt_mul(float a, float b) { return a * b; }
__device__ inline double kt_add(double a, double b) { return a + b; }
__device__ inline double kt_mul(double a, double b) { return a * b; }
// Overloads rather than templates: an element of a buffer may be of a type that converts.
#define KT_INTEGER(T)                                                                      \
  __device__ inline T kt_neg(T a) { return kt_sub((T)0, a); }                              \
  __device__ inline T kt_abs(T a) { return a < 0 ? kt_neg(a) : a; }                        \
  __device__ inline T kt_div(T a, T b) {                                                   \
    if (b == 0) return 0;                                                                  \
    return b == -1 ? kt_neg(a) : a / b;                                                    \
  }                                                                                        \
  __device__ inline T kt_floor_div(T a, T b) {                                             \
    if (b == 0) return 0;                                                                  \
    if (b == -1) return kt_neg(a);                                                         \
    const T quotient = a / b;                                                              \
    return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;                     \
  }                                                                                        \
  __device__ inline T kt_mod(T a, T b) {                                                   \
    if (b == 0 || b == -1) return 0;                                                       \
    const T rest = a % b;                                                                  \
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;                           \
  }
#define KT_UNSIGNED(T)                                                                     \
  __device__ inline T kt_neg(T a) { return kt_sub((T)0, a); }                              \
  __device__ inline T kt_abs(T a) { return a; }                                            \
  __device__ inline T kt_div(T a, T b) { return b == 0 ? (T)0 : (T)(a / b); }              \
  __device__ inline T kt_floor_div(T a, T b) { return b == 0 ? (T)0 : (T)(a / b); }        \
  __device__ inline T kt_mod(T a, T b) { return b == 0 ? (T)0 : (T)(a % b); }
#define KT_ORDERED(T)                                                                      \
  __device__ inline T kt_min(T a, T b) { return a != a || a < b ? a : b; }                 \
  __device__ inline T kt_max(T a, T b) { return a != a || a > b ? a : b; }
#define KT_REAL(T, kt_fmod, kt_copysign)                                                   \
  __device__ inline T kt_mod(T a, T b) {                                                   \
    const T rest = kt_fmod(a, b);                                                          \
    if (rest == 0) return kt_copysign((T)0, b);                                            \
    return (rest < 0) != (b < 0) ? rest + b : rest;                                        \
  }
// To integers from `low` to below `end`, a power of two.
#define KT_INTEGER_OF(name, T, Real, low, end)                                             \
  __device__ inline T name(Real a) {                                                       \
    if (a != a) return 0;                                                                  \
    if (a >= (Real)end) return (T)((unsigned long long)(end / 2) - 1 +                     \
                                   (unsigned long long)(end / 2));                         \
    return a < (Real)low ? (T)(long long)low : (T)a;                                       \
  }
#define KT_INTEGERS_OF(Real)                                                               \
  KT_INTEGER_OF(kt_i8, signed char, Real, -128.0, 128.0)                                   \
  KT_INTEGER_OF(kt_i16, short, Real, -32768.0, 32768.0)                                    \
  KT_INTEGER_OF(kt_i32, int, Real, -2147483648.0, 2147483648.0)                            \
  KT_INTEGER_OF(kt_i64, long long, Real, -9223372036854775808.0, 9223372036854775808.0)    \
  KT_INTEGER_OF(kt_u8, unsigned char, Real, 0.0, 256.0)                                    \
  KT_INTEGER_OF(kt_u16, unsigned short, Real, 0.0, 65536.0)                                \
  KT_INTEGER_OF(kt_u32, unsigned, Real, 0.0, 4294967296.0)                                 \
  KT_INTEGER_OF(kt_u64, unsigned long long, Real, 0.0, 18446744073709551616.0)
KT_INTEGER(signed char)
KT_INTEGER(short)
KT_INTEGER(int)
KT_INTEGER(long long)
KT_UNSIGNED(unsigned char)
KT_UNSIGNED(unsigned short)
KT_UNSIGNED(unsigned)
KT_UNSIGNED(unsigned long long)
KT_ORDERED(signed char)
KT_ORDERED(short)
KT_ORDERED(int)
KT_ORDERED(long long)
KT_ORDERED(unsigned char)
KT_ORDERED(unsigned short)
KT_ORDERED(unsigned)
KT_ORDERED(unsigned long long)
KT_ORDERED(float)
KT_ORDERED(double)
KT_REAL(float, fmodf, copysignf)
KT_REAL(double, fmod, copysign)
KT_INTEGERS_OF(float)
KT_INTEGERS_OF(double)

// Arithmetic of indices. A quotient and its rest are those of numbers that are not negative, by such
// ones; the others round down. What is divided by 0 is not used.
__device__ inline kt_index kt_least(kt_index a, kt_index b) { return a < b ? a : b; }
__device__ inline kt_index kt_greatest(kt_index a, kt_index b) { return a > b ? a : b; }
__device__ inline kt_index kt_floor_quotient(kt_index a, kt_index b) { return kt_floor_div(a, b); }
__device__ inline kt_index kt_floor_rest(kt_index a, kt_index b) { return kt_mod(a, b); }
__device__ inline kt_index kt_quotient(kt_index a, kt_index b) {
  return b == 0 ? 0 : (kt_index)((unsigned KROTON_INDEX)a / (unsigned KROTON_INDEX)b);
}
__device__ inline kt_index kt_rest(kt_index a, kt_index b) {
  return b == 0 ? 0 : (kt_index)((unsigned KROTON_INDEX)a % (unsigned KROTON_INDEX)b);
}
// By a size: where indices have 32 bits, by a product with `by` (index_width.h).
__device__ inline kt_index kt_quotient(kt_index a, kt_index b, unsigned long long by) {
  if (sizeof(kt_index) > sizeof(int)) return kt_quotient(a, b);
  const unsigned long long product = (unsigned long long)((unsigned)a * 2) * (unsigned)by;
  return (kt_index)((unsigned)(product >> 32) >> (unsigned)(by >> 32));
}
__device__ inline kt_index kt_rest(kt_index a, kt_index b, unsigned long long by) {
  return a - kt_quotient(a, b, by) * b;
}

)cuda"
#include "runtime/cuda/narrow_floats_text.h"
                                      R"cuda(
struct KtAdd {
  template <class T> __device__ static T apply(T a, T b) { return kt_add(a, b); }
};
struct KtMul {
  template <class T> __device__ static T apply(T a, T b) { return kt_mul(a, b); }
};
struct KtMin {
  template <class T> __device__ static T apply(T a, T b) { return kt_min(a, b); }
};
struct KtMax {
  template <class T> __device__ static T apply(T a, T b) { return kt_max(a, b); }
};
struct KtAnd {
  __device__ static bool apply(bool a, bool b) { return a && b; }
};
struct KtOr {
  __device__ static bool apply(bool a, bool b) { return a || b; }
};
// All lanes take part, but for those that have returned, whose values nobody takes.
template <class T> __device__ inline T kt_exchange(T a, int lanes) {
  return __shfl_xor_sync(0xffffffffu, a, lanes);
}
__device__ inline bool kt_exchange(bool a, int lanes) {
  return __shfl_xor_sync(0xffffffffu, (int)a, lanes) != 0;
}
// Of `count` lanes beside each other.
template <class Op, int count = 32, class T> __device__ inline T kt_combine(T value) {
  for (int lanes = count / 2; lanes > 0; lanes /= 2) {
    value = Op::apply(value, kt_exchange(value, lanes));
  }
  return value;
}
template <class Op, class T, class Shared>
__device__ inline T kt_combine(T value, Shared& shared) {
  value = kt_combine<Op>(value);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
  __syncthreads();
  value = shared[0];
  for (int warp = 1; warp < (int)blockDim.x / 32; ++warp) value = Op::apply(value, (T)shared[warp]);
  __syncthreads();
  return value;
}

// Ties keep the lower position; the first NaN beats everything.
template <bool maximum, class T, class P>
__device__ inline bool kt_beats(T value, P at, T best, P position) {
  if (maximum ? value > best : value < best) return true;
  if (value == best) return at < position;
  return value != value && (best == best || at < position);
}
template <bool maximum, int count = 32, class T, class P>
__device__ inline void kt_combine_arg(T& best, P& position) {
  for (int lanes = count / 2; lanes > 0; lanes /= 2) {
    const T value = kt_exchange(best, lanes);
    const P at = kt_exchange(position, lanes);
    if (kt_beats<maximum>(value, at, best, position)) {
      best = value;
      position = at;
    }
  }
}
template <bool maximum, class T, class P, class Values, class Positions>
__device__ inline void kt_combine_arg(T& best, P& position, Values& values, Positions& positions) {
  kt_combine_arg<maximum>(best, position);
  if (threadIdx.x % 32 == 0) {
    values[threadIdx.x / 32] = best;
    positions[threadIdx.x / 32] = position;
  }
  __syncthreads();
  for (int warp = 0; warp < (int)blockDim.x / 32; ++warp) {
    const T value = values[warp];
    const P at = positions[warp];
    if (kt_beats<maximum>(value, at, best, position)) {
      best = value;
      position = at;
    }
  }
  __syncthreads();
}
)cuda";

}  // namespace kroton::codegen
