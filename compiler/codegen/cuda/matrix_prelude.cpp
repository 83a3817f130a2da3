#include "compiler/codegen/cuda/prelude.h"

namespace kroton::codegen {

// Places in shared memory and in registers are those of loop/matrix_tile.h. The instructions are
// written as PTX; the emulator has its own of each that begins with KROTON.
const std::string_view matrix_prelude = R"cuda(
#ifndef KROTON_MATRICES
#define KROTON_MATRICES
#ifndef KROTON_COPY
__device__ inline unsigned kt_shared_address(const void* p) {
  return (unsigned)__cvta_generic_to_shared(p);
}
// `available` elements of `count` are read, the others become 0.
template <int count, class T>
__device__ inline void kt_copy(T* to, const T* from, long long available) {
  constexpr int size = sizeof(T), all = count * size;
  const int bytes = available >= count ? all : available <= 0 ? 0 : (int)available * size;
  if (all == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(kt_shared_address(to)),
                 "l"(from), "r"(bytes)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(kt_shared_address(to)),
                 "l"(from), "n"(all == 16 ? 8 : all), "r"(bytes)
                 : "memory");
  }
}
#define KROTON_COPY(count, to, i, from, j, available) kt_copy<count>(&to[i], from + (j), available)
#define KROTON_COPIES_END() asm volatile("cp.async.commit_group;" ::: "memory")
#define KROTON_WAIT_COPIES(n) asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory")
// Four squares of 8 lines of 16 bytes: lane l says where line l % 8 of square l / 8 is, and gets
// the 4 bytes l % 4 of line l / 4 of each square; ACROSS, of numbers of 16 bits, number l / 4 of the
// lines 2 * (l % 4) and the next.
#define KT_SQUARES(how, to, x, at)                                                               \
  asm volatile("ldmatrix.sync.aligned.m8n8.x4" how ".shared.b16 {%0,%1,%2,%3}, [%4];"            \
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])                              \
               : "r"(kt_shared_address(&x[at]))                                                  \
               : "memory")
#define KROTON_SQUARES(to, x, at) KT_SQUARES("", to, x, at)
#define KROTON_SQUARES_ACROSS(to, x, at) KT_SQUARES(".trans", to, x, at)
#define KROTON_UNITS(name, step, d, a, b)                                                        \
  asm("mma.sync.aligned.m16n8k" #step ".row.col.f32." #name "." #name                               \
      ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                               \
      : "+f"((d)[0]), "+f"((d)[1]), "+f"((d)[2]), "+f"((d)[3])                                   \
      : "r"((a)[0]), "r"((a)[1]), "r"((a)[2]), "r"((a)[3]), "r"((b)[0]), "r"((b)[1]))
__device__ inline unsigned kt_tf32(unsigned x) {
  unsigned rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(__int_as_float((int)x)));
  return rounded;
}
#else
__device__ inline unsigned kt_tf32(unsigned x) {
  return (x & 0x7f800000u) == 0x7f800000u ? x : (x + 0x1000u) & 0xffffe000u;
}
#endif

struct KtUnits_bf16 {
  static const int bytes = 2;
  __device__ static unsigned given(unsigned x) { return x; }
  __device__ static void multiply(float* d, const unsigned* a, const unsigned* b) {
    KROTON_UNITS(bf16, 16, d, a, b);
  }
};
struct KtUnits_f16 {
  static const int bytes = 2;
  __device__ static unsigned given(unsigned x) { return x; }
  __device__ static void multiply(float* d, const unsigned* a, const unsigned* b) {
    KROTON_UNITS(f16, 16, d, a, b);
  }
};
struct KtUnits_f32 {
  static const int bytes = 4;
  __device__ static unsigned given(unsigned x) { return kt_tf32(x); }
  __device__ static void multiply(float* d, const unsigned* a, const unsigned* b) {
    KROTON_UNITS(tf32, 8, d, a, b);
  }
};

// Where an element of a line of `width` lies.
template <int width, int bytes, bool across> __device__ inline int kt_place(int line, int at) {
  const int together = 16 / bytes, pieces = width / together;
  const int by = pieces >= 8 ? (across && bytes == 4 ? line * 2 : line) % 8
                             : line / (8 / pieces) % pieces;
  return line * width + ((at / together) ^ by) * together + at % together;
}

// Four squares of an operand: two along its rows (or columns) and two along the inner axis. Its
// first is the one at (0, 0); `inner_first`: the second is the next along the inner axis.
template <class Units, int width, bool runs_inner, bool inner_first, class Slice>
__device__ inline void kt_squares(unsigned (&to)[4], Slice& x, int start, int at, int k) {
  const int together = 16 / Units::bytes, lane = threadIdx.x % 32;
  const int low = lane / 8 % 2, high = lane / 16;
  const int along = inner_first ? low : high, over = inner_first ? high : low;
  if (runs_inner) {
    const int line = at + over * 8 + lane % 8;
    KROTON_SQUARES(to, x,
                   (start + kt_place<width, Units::bytes, false>(line, k + along * together)));
  } else if (Units::bytes == 2) {
    const int line = k + along * 8 + lane % 8;
    KROTON_SQUARES_ACROSS(
        to, x, (start + kt_place<width, Units::bytes, true>(line, at + over * 8)));
  } else {
    #pragma unroll
    for (int n = 0; n < 4; ++n) {
      const int next = inner_first ? n % 2 : n / 2, other = inner_first ? n / 2 : n % 2;
      to[n] = (unsigned)__float_as_int((float)x[start + (kt_place<width, Units::bytes, true>(
          k + next * 4 + lane % 4, at + other * 8 + lane / 4))]);
    }
  }
  #pragma unroll
  for (int n = 0; n < 4; ++n) to[n] = Units::given(to[n]);
}

// sums += a * b, of the warp's part of the tile.
template <class Units, int rows, int columns, int depth, int warp_rows, int warp_columns,
          bool a_runs_inner, bool b_runs_inner, int count, class A, class B>
__device__ inline void kt_multiply(float (&sums)[count], A& a, long long a_start, B& b,
                                   long long b_start) {
  const int step = 32 / Units::bytes, down = warp_rows / 16, across = warp_columns / 8;
  const int warp = threadIdx.x / 32, warps = columns / warp_columns;
  const int row = warp / warps * warp_rows, column = warp % warps * warp_columns;
  #pragma unroll
  for (int k = 0; k < depth; k += step) {
    unsigned of_a[down][4], of_b[across / 2][4];
    #pragma unroll
    for (int i = 0; i < down; ++i) {
      kt_squares<Units, (a_runs_inner ? depth : rows), a_runs_inner, false>(
          of_a[i], a, (int)a_start, row + i * 16, k);
    }
    #pragma unroll
    for (int j = 0; j < across / 2; ++j) {
      kt_squares<Units, (b_runs_inner ? depth : columns), b_runs_inner, true>(
          of_b[j], b, (int)b_start, column + j * 16, k);
    }
    #pragma unroll
    for (int i = 0; i < down; ++i) {
      #pragma unroll
      for (int j = 0; j < across; ++j) {
        Units::multiply(sums + (i * across + j) * 4, of_a[i], of_b[j / 2] + j % 2 * 2);
      }
    }
  }
}
#endif
)cuda";

}  // namespace kroton::codegen
