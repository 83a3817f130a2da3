#include <stdio.h>

#include "learn.h"
#include "score.h"

#ifdef THREADS
#include <kroton/aot_runtime.h>
#define CONTEXT context,
#else
#define CONTEXT
#endif

static _Alignas(64) char memory[LEARN_STATE_BYTES];
static _Alignas(64) char arena[4096];

int main(void) {
  const float x[6] = {1, 0, 0, 0, 1, 1};
  float scores[2];
  learn_state state;
  score_state shared;
#ifdef THREADS
  struct kroton_context* context = kroton_context_create(2);
  if (context == NULL) return 1;
#endif
  if (learn_state_init(&state, memory) != 0) return 1;
  shared.w = state.w;
  if (learn(CONTEXT 2, x, &state, arena, sizeof arena) != 0) return 1;
  if (score(CONTEXT 2, x, &shared, scores, arena, sizeof arena) != 0) return 1;
#ifdef THREADS
  kroton_context_destroy(context);
#endif
  printf("%g %g\n", scores[0], scores[1]);
  return scores[0] == 0 && scores[1] == 3 ? 0 : 1;
}
