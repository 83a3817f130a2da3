/* sched_getaffinity and CPU_COUNT */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier) */
#include <errno.h>
#include <kroton/aot_runtime.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "runtime/abi.h"
#include "runtime/float_environment.h"

enum { spin_nanoseconds = 50000, most_threads = 4096 };

typedef struct crew crew;

typedef struct helper {
  crew* crew;
  int64_t worker; /* 1 and up; 0 is the caller */
  pthread_t thread;
} helper;

/* A context and its helpers. A loop is announced by a new `loop` number, and over when `unfinished`
   is 0. Both sides poll first and then sleep; `mutex` is for sleeping only. */
struct crew {
  kroton_context context; /* first: a context is a pointer to it */
  kroton_body body;       /* the loop: written before `loop` changes */
  void* env;
  int64_t extent;
  int64_t workers;
  uint64_t float_control;    /* the caller's, see float_environment.h */
  atomic_ullong float_flags; /* that helpers raised */
  int32_t* results;          /* by worker */
  atomic_uint loop;          /* the number of the last loop */
  atomic_llong unfinished;
  atomic_bool leave;
  bool busy; /* a loop is running: only its caller reads and writes this */
  bool spin;
  int64_t started;
  helper* helpers;
  pthread_mutex_t mutex;
  pthread_cond_t announced;
  pthread_cond_t finished;
};

static void relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");
#endif
}

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* The beginning of a worker's range, extent * worker / workers without overflow. */
static int64_t range_begin(int64_t extent, int64_t worker, int64_t workers) {
  return extent / workers * worker + extent % workers * worker / workers;
}

static int32_t run_range(kroton_body body, void* env, int64_t extent, int64_t worker,
                         int64_t workers) {
  const int64_t begin = range_begin(extent, worker, workers);
  const int64_t end = range_begin(extent, worker + 1, workers);
  return begin < end ? body(env, worker, begin, end) : 0;
}

static bool poll_loop(crew* c, unsigned seen) {
  if (!c->spin) return atomic_load(&c->loop) != seen;
  const int64_t deadline = now() + spin_nanoseconds;
  do {
    for (int i = 0; i < 64; ++i) {
      if (atomic_load(&c->loop) != seen) return true;
      relax();
    }
  } while (now() < deadline);
  return false;
}

static bool poll_finished(crew* c) {
  if (!c->spin) return atomic_load(&c->unfinished) == 0;
  const int64_t deadline = now() + spin_nanoseconds;
  do {
    for (int i = 0; i < 64; ++i) {
      if (atomic_load(&c->unfinished) == 0) return true;
      relax();
    }
  } while (now() < deadline);
  return false;
}

static void* help(void* argument) {
  helper* const me = argument;
  crew* const c = me->crew;
  unsigned seen = 0;
  for (;;) {
    if (!poll_loop(c, seen)) {
      pthread_mutex_lock(&c->mutex);
      while (atomic_load(&c->loop) == seen) pthread_cond_wait(&c->announced, &c->mutex);
      pthread_mutex_unlock(&c->mutex);
    }
    seen = atomic_load(&c->loop);
    if (atomic_load(&c->leave)) return NULL;
    kroton_enter_float_environment(c->float_control);
    c->results[me->worker] = run_range(c->body, c->env, c->extent, me->worker, c->workers);
    atomic_fetch_or(&c->float_flags, kroton_get_float_environment().flags);
    if (atomic_fetch_sub(&c->unfinished, 1) == 1) {
      /* The lock orders this after the caller's look at `unfinished`, or before it. */
      pthread_mutex_lock(&c->mutex);
      pthread_cond_signal(&c->finished);
      pthread_mutex_unlock(&c->mutex);
    }
  }
}

static void announce(crew* c) {
  pthread_mutex_lock(&c->mutex);
  atomic_fetch_add(&c->loop, 1);
  pthread_cond_broadcast(&c->announced);
  pthread_mutex_unlock(&c->mutex);
}

static int32_t parallel_for(kroton_context* context, kroton_body body, void* env, int64_t extent) {
  crew* const c = (crew*)context;
  const int64_t workers = context->workers;
  int32_t first = 0;
  if (extent <= 0) return 0;
  /* Inside a body of a helper this may read a value that its caller has set: it is true then, and
     was written before the loop was announced. */
  if (workers == 1 || c->busy) {
    for (int64_t w = 0; w < workers; ++w) {
      const int32_t result = run_range(body, env, extent, w, workers);
      if (first == 0) first = result;
    }
    return first;
  }
  c->busy = true;
  c->body = body;
  c->env = env;
  c->extent = extent;
  c->workers = workers;
  c->float_control = kroton_get_float_environment().control;
  atomic_store(&c->float_flags, 0);
  atomic_store(&c->unfinished, workers - 1);
  announce(c);
  c->results[0] = run_range(body, env, extent, 0, workers);
  if (!poll_finished(c)) {
    pthread_mutex_lock(&c->mutex);
    while (atomic_load(&c->unfinished) != 0) pthread_cond_wait(&c->finished, &c->mutex);
    pthread_mutex_unlock(&c->mutex);
  }
  kroton_add_float_flags(atomic_load(&c->float_flags));
  for (int64_t w = 0; w < workers && first == 0; ++w) first = c->results[w];
  c->busy = false;
  return first;
}

static int64_t processors(void) {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

/* Returns 0 or the reason. */
static int start(crew* c) {
  /* The program's signals are for the program's threads, but those that a thread's own code causes:
     with them blocked, no handler would hear of a trap. */
  const int own[] = {SIGFPE, SIGSEGV, SIGBUS, SIGILL, SIGTRAP};
  sigset_t all, before;
  sigfillset(&all);
  for (size_t k = 0; k < sizeof own / sizeof own[0]; ++k) sigdelset(&all, own[k]);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int reason = 0;
  while (reason == 0 && c->started < c->context.workers - 1) {
    helper* const h = &c->helpers[c->started];
    h->crew = c;
    h->worker = c->started + 1;
    reason = pthread_create(&h->thread, NULL, help, h);
    if (reason == 0) ++c->started;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return reason;
}

kroton_context* kroton_context_create(int64_t threads) {
  if (threads < 0 || threads > most_threads) {
    errno = EINVAL;
    return NULL;
  }
  const int64_t available = processors();
  if (threads == 0) threads = available;
  crew* const c = calloc(1, sizeof *c);
  if (c == NULL) return NULL;
  c->context.parallel_for = parallel_for;
  c->context.workers = threads;
  c->context.pool = c;
  c->spin = threads <= available;
  c->results = calloc((size_t)threads, sizeof *c->results);
  c->helpers = calloc((size_t)threads, sizeof *c->helpers);
  pthread_mutex_init(&c->mutex, NULL);
  pthread_cond_init(&c->announced, NULL);
  pthread_cond_init(&c->finished, NULL);
  const int reason = c->results != NULL && c->helpers != NULL ? start(c) : ENOMEM;
  if (reason != 0) {
    kroton_context_destroy(&c->context);
    errno = reason;
    return NULL;
  }
  return &c->context;
}

int64_t kroton_context_threads(const kroton_context* context) { return context->workers; }

void kroton_context_destroy(kroton_context* context) {
  if (context == NULL) return;
  crew* const c = (crew*)context;
  atomic_store(&c->leave, true);
  announce(c);
  for (int64_t k = 0; k < c->started; ++k) pthread_join(c->helpers[k].thread, NULL);
  pthread_cond_destroy(&c->finished);
  pthread_cond_destroy(&c->announced);
  pthread_mutex_destroy(&c->mutex);
  free(c->helpers);
  free(c->results);
  free(c);
}
