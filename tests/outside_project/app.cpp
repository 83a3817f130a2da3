#include <kroton/kroton.h>

#include <cstdio>

namespace kt = kroton;

int main() {
  auto a = kt::scalar("a");
  auto b = kt::scalar("b");
  auto e = (a + b) * (b + 1);
  auto f = kt::function({a, b}, e);
  float v = f(2.0f, 1.0f).item<float>();
  std::printf("%g\n", v);
  return v == 6.0f ? 0 : 1;
}
