#pragma once

/* The call ABI of compiled functions. Plain C, so that a program that links an ahead-of-time
   compiled object needs nothing else. The code generators lay these structures out by hand: a
   change here is a change there. */

#include <stdint.h> /* NOLINT(modernize-deprecated-headers): this header is C */

#ifdef __cplusplus
extern "C" {
#endif

/* Element types. A boolean is one byte, 0 or 1; an F16 or BF16 is the uint16_t of its bits. */
typedef enum kroton_dtype {
  KROTON_BOOLEAN = 0,
  KROTON_I32 = 1,
  KROTON_I64 = 2,
  KROTON_F32 = 3,
  KROTON_F64 = 4,
  KROTON_I8 = 5,
  KROTON_I16 = 6,
  KROTON_U8 = 7,
  KROTON_U16 = 8,
  KROTON_U32 = 9,
  KROTON_U64 = 10,
  KROTON_F16 = 11,
  KROTON_BF16 = 12
} kroton_dtype;

enum { KROTON_OK = 0, KROTON_INDEX_OUT_OF_RANGE = 1 };

/* The first error of a call. Workers that run into an error at the same time agree on one by a
   compare-and-swap of `code` from 0; the winner fills in the rest. */
typedef struct kroton_error {
  int32_t code;  /* KROTON_OK or what went wrong */
  int32_t site;  /* number of the checking place in the program */
  int64_t index; /* the index that is out of range, as it was given */
  int64_t size;  /* the size of the axis that it indexes */
} kroton_error;

/* One worker's part, [begin, end), of a parallel loop. `worker` is in [0, workers). Returns nonzero
   on error. Must not throw. */
typedef int32_t (*kroton_body)(void* env, int64_t worker, int64_t begin, int64_t end);

/* What a compiled function gets from its caller. One context serves one call at a time. */
typedef struct kroton_context {
  /* Splits [0, extent) statically: worker w runs [extent*w/workers, extent*(w+1)/workers), and not
     at all where that is empty. Returns when all are done: 0, or the nonzero result of the lowest
     worker that has one. May be called from inside a body. */
  int32_t (*parallel_for)(struct kroton_context* context, kroton_body body, void* env,
                          int64_t extent);
  int64_t workers;    /* how many workers parallel_for splits a loop over, >= 1 */
  kroton_error error; /* all zero before a call */
  void* pool;         /* belongs to parallel_for */
  /* Shows a value that the function prints (kt::print): `message`, then `rank` sizes and the
     row-major elements of the type numbered `dtype` (kroton_dtype). May be null: nothing is shown.
     What it gets is gone after it returns. Returns nonzero to end the call, which has updated
     nothing then. Must not throw. */
  int32_t (*print)(struct kroton_context* context, const char* message, int32_t dtype, int32_t rank,
                   const int64_t* shape, const void* data);
  /* Called before (begin = 1) and after (begin = 0) the kernel of that number, by functions that
     are compiled for profiling; others never read it. */
  void (*profile)(struct kroton_context* context, int32_t kernel, int32_t begin);
} kroton_context;

/* A compiled function: one pointer per argument, the values of the symbolic sizes, the scratch
   memory of the call, its context. Returns 0, or nonzero after filling in context->error. */
typedef int32_t (*kroton_entry)(void** args, const int64_t* sizes, void* arena,
                                kroton_context* context);

#ifdef __cplusplus
}
#endif
