// A convolutional digit classifier compiled ahead of time, trained by a plain C program.
//   conv_aot [DIR]      DIR holds the MNIST files, unpacked
// This part runs when the example is built: it writes the training step and the prediction as C
// functions. The program is digits.c.
#include <kroton/kroton.h>
namespace kt = kroton;

int main(int argc, char** argv) {
  return kt::aot::generate(argc, argv, [](kt::aot::Generator& to) {
    auto images = kt::tensor("images", {kt::dim("batch"), 1, 28, 28});
    auto labels = kt::tensor("labels", {kt::dim("batch")}, kt::i64);
    auto rate = kt::scalar("rate");
    auto w1 = kt::shared(kt::Array::zeros({16, 1, 5, 5}), "w1");
    auto b1 = kt::shared(kt::Array::zeros({16, 1, 1}), "b1");
    auto w2 = kt::shared(kt::Array::zeros({32, 16, 3, 3}), "w2");
    auto b2 = kt::shared(kt::Array::zeros({32, 1, 1}), "b2");
    auto w3 = kt::shared(kt::Array::zeros({800, 10}), "w3");
    auto b3 = kt::shared(kt::Array::zeros({10}), "b3");

    auto first = kt::max_pool(kt::relu(kt::conv2d(images, w1) + b1), 2);  // (batch, 16, 12, 12)
    auto second = kt::max_pool(kt::relu(kt::conv2d(first, w2) + b2), 2);  // (batch, 32, 5, 5)
    auto logits = kt::dot(kt::flatten(second, 1), w3) + b3;
    auto loss = kt::mean(kt::softmax_cross_entropy(logits, labels));
    auto [gw1, gb1, gw2, gb2, gw3, gb3] = kt::grad(loss, w1, b1, w2, b2, w3, b3);

    // The program chooses the initial weights: the objects hold none.
    to.write({images, labels, rate}, loss,
             {.updates = {{w1, w1 - rate * gw1},
                          {b1, b1 - rate * gb1},
                          {w2, w2 - rate * gw2},
                          {b2, b2 - rate * gb2},
                          {w3, w3 - rate * gw3},
                          {b3, b3 - rate * gb3}},
              .name = "conv_train_step",
              .initial_values = false,
              .output_names = {"loss"}});
    to.write({images}, kt::argmax(logits, 1),
             {.name = "conv_predict", .initial_values = false, .output_names = {"digits"}});
  });
}
