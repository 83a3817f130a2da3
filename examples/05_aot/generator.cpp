// A digit classifier compiled ahead of time, trained by a plain C program.
//   aot [DIR]      DIR holds the MNIST files, unpacked
// This part runs when the example is built: it writes the training step and the prediction as C
// functions. The program is digits.c.
#include <kroton/kroton.h>
namespace kt = kroton;

int main(int argc, char** argv) {
  return kt::aot::generate(argc, argv, [](kt::aot::Generator& to) {
    auto images = kt::tensor("images", {kt::dim("batch"), 784});
    auto labels = kt::tensor("labels", {kt::dim("batch")}, kt::i64);
    auto rate = kt::scalar("rate");
    auto w1 = kt::shared(kt::Array::zeros({784, 512}), "w1");
    auto b1 = kt::shared(kt::Array::zeros({512}), "b1");
    auto w2 = kt::shared(kt::Array::zeros({512, 10}), "w2");
    auto b2 = kt::shared(kt::Array::zeros({10}), "b2");

    auto hidden = kt::relu(kt::dot(images, w1) + b1);
    auto logits = kt::dot(hidden, w2) + b2;
    auto loss = kt::mean(kt::softmax_cross_entropy(logits, labels));
    auto [gw1, gb1, gw2, gb2] = kt::grad(loss, w1, b1, w2, b2);

    // The program chooses the initial weights: the objects hold none.
    to.write({images, labels, rate}, loss,
             {.updates = {{w1, w1 - rate * gw1},
                          {b1, b1 - rate * gb1},
                          {w2, w2 - rate * gw2},
                          {b2, b2 - rate * gb2}},
              .name = "train_step",
              .initial_values = false,
              .output_names = {"loss"}});
    to.write({images}, kt::argmax(logits, 1),
             {.name = "predict", .initial_values = false, .output_names = {"digits"}});
  });
}
