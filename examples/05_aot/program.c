#include "program.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint64_t random_bits(void) { /* xorshift64 */
  static uint64_t s = 88172645463325252u;
  s ^= s << 13;
  s ^= s >> 7;
  return s ^= s << 17;
}

int64_t random_below(int64_t bound) { return (int64_t)(random_bits() % (uint64_t)bound); }

void fill_uniform(float* w, int64_t count, float limit) {
  for (int64_t k = 0; k < count; ++k) {
    w[k] = limit * ((float)(random_bits() >> 40) / (float)(1 << 23) - 1);
  }
}

void* aligned(size_t bytes) {
  void* memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
  if (memory == NULL && bytes != 0) {
    fprintf(stderr, "no memory for %zu bytes\n", bytes);
    exit(1);
  }
  return memory;
}

void check(int code, const char* (*message)(int)) {
  if (code == 0) return;
  fprintf(stderr, "%s\n", message(code));
  exit(1);
}

void print_program_size(void) {
  struct stat program;
  if (stat("/proc/self/exe", &program) != 0) {
    perror("/proc/self/exe");
    exit(1);
  }
  printf("this program has %ld KB, stripped\n", (long)(program.st_size + 999) / 1000);
}
