#include <stdio.h>

#include "factor.h"

static _Alignas(64) char arena[4096];

int main(void) {
  const double definite[4] = {4, 0, 2, 5}, indefinite[4] = {1, 0, 2, 1};
  double l[4];
  if (factor(2, definite, l, arena, sizeof arena) != 0) return 1;
  const int code = factor(2, indefinite, l, arena, sizeof arena);
  printf("%g %g %g %g, %s\n", l[0], l[1], l[2], l[3], factor_error(code));
  return code != 0 ? 0 : 1;
}
