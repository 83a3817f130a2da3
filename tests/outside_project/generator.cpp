#include <kroton/kroton.h>

namespace kt = kroton;

int main(int argc, char** argv) {
  return kt::aot::generate(argc, argv, [](kt::aot::Generator& to) {
    auto x = kt::tensor("x", {kt::dim("batch"), 3});
    auto w = kt::shared(kt::Array::from({1.0F, 2.0F, 3.0F}), "w");
    auto scores = kt::sum(x * w, 1);
    to.write({x}, scores, {.name = "score"});
    to.write({x}, {.updates = {{w, w - kt::grad(kt::sum(scores), w)}}, .name = "learn"});
  });
}
