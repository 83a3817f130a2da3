// The gradient of a small expression.
#include <kroton/kroton.h>

#include <cstdio>
namespace kt = kroton;

int main() {
  auto a = kt::scalar("a");
  auto b = kt::scalar("b");
  auto e = (a + b) * (b + 1);
  auto [de_da, de_db] = kt::grad(e, a, b);
  auto f = kt::function({a, b}, {e, de_da, de_db});
  for (const kt::Array& value : f(2, 1)) std::printf("%g\n", value.item<float>());
}
