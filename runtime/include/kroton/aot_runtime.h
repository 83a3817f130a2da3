#pragma once

/* Threads for functions that were compiled ahead of time with `threads`. C and C++. The library is
   kroton_aot_runtime (in CMake: kroton::aot_runtime); it depends on libc and its threads only. */

#include <stdint.h> /* NOLINT(modernize-deprecated-headers): this header is C */

#ifdef __cplusplus
extern "C" {
#endif

struct kroton_context;

/* A context whose calls run on `threads` threads: the caller's and threads - 1 helpers, which live
   as long as the context. threads = 0 stands for the number of processors that the process may use.
   Results of calls do not depend on the number: helpers compute in the floating-point environment
   (rounding, flush-to-zero, traps) of whoever calls.

   One context serves one call at a time, from any thread, but not in a forked child. Between the
   loops of a call, and for some tens of microseconds after it, idle helpers poll; then they sleep.

   Returns null, with the reason in errno, for threads below 0 (EINVAL) or above 4096 (EINVAL), and
   when the system has no memory or no thread left. The caller destroys the context. */
struct kroton_context* kroton_context_create(int64_t threads);

/* How many threads its calls run on. */
int64_t kroton_context_threads(const struct kroton_context* context);

/* Ends the helpers and frees the context; null is allowed. No call may be running. */
void kroton_context_destroy(struct kroton_context* context);

#ifdef __cplusplus
}
#endif
