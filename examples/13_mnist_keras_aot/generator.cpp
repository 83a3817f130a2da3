// The network of mnist_keras compiled ahead of time, trained and timed by a plain C program.
//   mnist_keras_aot [DIR [REPEATS]]      DIR holds the MNIST files, unpacked
// This part runs when the example is built: it writes the training step and the prediction as C
// functions. The program is digits.c.
#include <kroton/kroton.h>
namespace kt = kroton;
namespace nn = kt::nn;

int main(int argc, char** argv) {
  return kt::aot::generate(argc, argv, [](kt::aot::Generator& to) {
    const nn::Sequential net{nn::Dense(128, {.activation = nn::relu, .name = "hidden"}),
                             nn::Dropout(0.2), nn::Dense(10, {.name = "output"})};
    const auto images = kt::tensor("images", {kt::dim("batch"), 784});
    const auto labels = kt::vector("labels", kt::i64);
    const auto loss = nn::cross_entropy(net.train(images), labels);
    kt::optim::Adam adam;

    // The program chooses the initial weights: the objects hold none.
    to.write({images, labels}, loss,
             {.updates = adam.minimize(loss, net.parameters()),
              .name = "keras_train_step",
              .initial_values = false,
              .output_names = {"loss"}});
    to.write({images}, kt::argmax(net(images), 1),
             {.name = "keras_predict", .initial_values = false, .output_names = {"digits"}});
  });
}
