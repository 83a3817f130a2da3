#include <kroton/kroton.h>

namespace kt = kroton;

int main(int argc, char** argv) {
  return kt::aot::generate(argc, argv, [](kt::aot::Generator& to) {
    auto a = kt::tensor("a", {2, 2}, kt::f64);
    to.write({a}, kt::cholesky(a), {.name = "factor"});
  });
}
