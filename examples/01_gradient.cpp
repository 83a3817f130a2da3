// The gradient of a small expression.
#include <kroton/kroton.h>

#include <cstdio>
namespace kt = kroton;

int main() {
  auto a = kt::scalar("a");
  auto b = kt::scalar("b");
  auto e = (a + b) * (b + 1);
  auto [da, db] = kt::grad(e, a, b);
  auto f = kt::function({a, b}, {e, da, db});

  auto [value, by_a, by_b] = f(2, 1);
  std::printf("e = %g, de/da = %g, de/db = %g\n", value.item<float>(), by_a.item<float>(),
              by_b.item<float>());
}
