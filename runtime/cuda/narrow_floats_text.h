// Floating numbers of 16 bits in kernels, between f32 and the bits that they are held as: a string
// literal of CUDA C++, to be included inside of one.
R"cuda(// Floating numbers of 16 bits are held as their bits.
__device__ inline float kt_f32_of_bf16(unsigned short a) {
  return __int_as_float((int)((unsigned)a << 16));
}
__device__ inline unsigned short kt_bf16(float a) {
  const unsigned bits = (unsigned)__float_as_int(a);
  if (a != a) return (unsigned short)(bits >> 16 | 0x40u);
  return (unsigned short)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}
__device__ inline float kt_f32_of_f16(unsigned short a) {
#ifdef __CUDA_ARCH__
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(a));
  return result;
#else
  const unsigned sign = (a & 0x8000u) << 16;
  const unsigned size = a & 0x7fffu;
  if (size < 0x400u) {
    return __int_as_float((int)((unsigned)__float_as_int((float)size * 5.9604644775390625e-8f) |
                                sign));
  }
  const unsigned exponent = size >= 0x7c00u ? 0x70000000u : 0x38000000u;
  return __int_as_float((int)(sign | ((size << 13) + exponent)));
#endif
}
__device__ inline unsigned short kt_f16(float a) {
#ifdef __CUDA_ARCH__
  unsigned short result;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result) : "f"(a));
  return result;
#else
  const unsigned bits = (unsigned)__float_as_int(a);
  const unsigned sign = bits >> 16 & 0x8000u;
  const unsigned size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) return (unsigned short)(sign | 0x7e00u | (size >> 13 & 0x1ffu));
  if (size >= 0x477ff000u) return (unsigned short)(sign | 0x7c00u);
  if (size < 0x38800000u) {
    const float shifted = __int_as_float((int)size) + 0.5f;
    return (unsigned short)(sign | ((unsigned)__float_as_int(shifted) - 0x3f000000u));
  }
  return (unsigned short)(sign | (size - 0x38000000u + 0xfffu + (size >> 13 & 1u)) >> 13);
#endif
}
)cuda"
