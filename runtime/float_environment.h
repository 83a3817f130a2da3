#pragma once

/* The floating-point environment that compiled code computes in: rounding, what becomes of
   subnormal numbers, which exceptions trap, and the flags of those that were raised. C and C++.

   A parallel loop is computed in the environment of the thread that calls, on all of its threads:
   a helper takes over the control word before it runs a range, and hands its flags back. */

#include <stdint.h> /* NOLINT(modernize-deprecated-headers): this header is C */

#if !defined(__x86_64__) && !defined(__aarch64__)
#include <fenv.h> /* NOLINT(modernize-deprecated-headers) */
#endif

typedef struct kroton_float_environment {
  uint64_t control;
  uint64_t flags;
} kroton_float_environment;

static inline kroton_float_environment kroton_get_float_environment(void) {
  kroton_float_environment result;
#if defined(__x86_64__)
  const unsigned word = __builtin_ia32_stmxcsr();
  result.control = word & ~0x3FU;
  result.flags = word & 0x3FU;
#elif defined(__aarch64__)
  __asm__ volatile("mrs %0, fpcr" : "=r"(result.control));
  __asm__ volatile("mrs %0, fpsr" : "=r"(result.flags));
#else
  result.control = (uint64_t)fegetround();
  result.flags = (uint64_t)fetestexcept(FE_ALL_EXCEPT);
#endif
  return result;
}

static inline void kroton_set_float_environment(kroton_float_environment to) {
#if defined(__x86_64__)
  __builtin_ia32_ldmxcsr((unsigned)(to.control | to.flags));
#elif defined(__aarch64__)
  __asm__ volatile("msr fpcr, %0" : : "r"(to.control));
  __asm__ volatile("msr fpsr, %0" : : "r"(to.flags));
#else
  fesetround((int)to.control);
  feclearexcept(FE_ALL_EXCEPT);
  feraiseexcept((int)to.flags);
#endif
}

/* For a helper: the caller's control word, no flags. */
static inline void kroton_enter_float_environment(uint64_t control) {
  const kroton_float_environment entered = {control, 0};
  kroton_set_float_environment(entered);
}

/* For the caller: the flags that its helpers raised are raised. */
static inline void kroton_add_float_flags(uint64_t flags) {
  kroton_float_environment now = kroton_get_float_environment();
  if ((flags & ~now.flags) == 0) return;
  now.flags |= flags;
  kroton_set_float_environment(now);
}
