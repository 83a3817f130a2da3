#include <kroton/kroton.h>

namespace kt = kroton;

int main(int argc, char** argv) {
  return kt::aot::generate(argc, argv, [](kt::aot::Generator& to) {
    const kt::Dim n = kt::dim("n");
    auto a = kt::tensor("a", {n, n}, kt::f64);
    to.write({a}, kt::cholesky(a), {.name = "factor"});
  });
}
