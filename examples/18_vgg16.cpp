// Teaches VGG16 new classes: photographs in a folder for each class.
//   vgg16 [--data DIR] [--weights FILE] [--epochs N] [--batch N] [--size N] [--whole]
// A small head is trained on the features of the convolutions; with --whole VGG16 keeps its own
// three layers after them, of which the last one is made anew and trained. FILE holds weights in
// safetensors under torchvision's names (features.0.weight, ...); without it they are random. A few
// photographs ship with the repository. Simonyan and Zisserman, "Very Deep Convolutional Networks
// for Large-Scale Image Recognition", 2015.
#include <kroton/kroton.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <iostream>
#include <set>
#include <string>
#include <vector>

#include "common/flags.h"
namespace kt = kroton;
namespace nn = kt::nn;
namespace data = kt::data;

namespace {

struct Settings {
  std::string data = KROTON_EXAMPLE_DATA "/photos";
  std::string weights;
  int epochs = 5, batch = 8, size = 224;
  bool whole = false;
};

// The convolutions, named by torchvision's numbers, which count activations and pools, too.
nn::Sequential features() {
  std::vector<nn::Layer> layers;
  int number = 0;
  for (const int filters :
       {64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0}) {
    if (filters == 0) {
      layers.emplace_back(nn::MaxPool(2));
      number += 1;
    } else {
      layers.emplace_back(nn::Conv2D(filters, 3,
                                     {.activation = nn::relu,
                                      .padding = kt::Padding::same,
                                      .weight = nn::he_normal(),
                                      .name = std::to_string(number)}));
      number += 2;
    }
  }
  return nn::Sequential(layers, "features");
}

nn::Sequential network(const Settings& settings, std::int64_t classes) {
  if (!settings.whole) {
    return {features(), nn::Flatten(), nn::Dense(256, {.activation = nn::relu, .name = "hidden"}),
            nn::Dropout(0.5), nn::Dense(classes, {.name = "last"})};
  }
  return {features(), nn::Flatten(),
          nn::Sequential({nn::Dense(4096, {.activation = nn::relu, .name = "0"}), nn::Dropout(0.5),
                          nn::Dense(4096, {.activation = nn::relu, .name = "3"}), nn::Dropout(0.5)},
                         "classifier"),
          nn::Dense(classes, {.name = "last"})};
}

// All but the last layers from the file; PyTorch has the transposes of our matrices.
void load(const std::string& file, const std::vector<kt::Shared>& state) {
  std::vector<kt::Shared> known;
  std::set<std::string> matrices;
  for (const kt::Shared& variable : state) {
    if (!variable.name().starts_with("features.") && !variable.name().starts_with("classifier.")) {
      continue;
    }
    known.push_back(variable);
    if (variable.rank() == 2) matrices.insert(variable.name());
  }
  kt::load_checkpoint(file, known, {.transposed = matrices, .allow_extra = true});
}

int run(const Settings& settings) {
  if (settings.whole && settings.size != 224) {
    throw kt::ValueError("vgg16: --whole is for pictures of 224 x 224");
  }
  const data::ImageFolder folder(settings.data, {.rows = settings.size,
                                                 .cols = settings.size,
                                                 .resize = data::Fit::fit_and_crop,
                                                 .unreadable = data::Unreadable::skip});
  for (const auto& [path, reason] : folder.skipped()) std::cout << "left out: " << reason << '\n';
  std::cout << folder.count() << " photographs in " << folder.class_names().size()
            << " classes from " << settings.data << '\n';
  // A fifth is for testing; the others are other ones in each epoch.
  const auto [for_training, for_test] = data::split(folder.dataset(), 0.2, /*seed=*/1);
  data::AugmentOptions changes{.rotation = 10,
                               .width_shift = 0.1,
                               .height_shift = 0.1,
                               .zoom = {0.8, 1},
                               .horizontal_flip = true};
  // What torchvision's weights were trained on.
  const data::AugmentOptions normalised{.mean = {0.485, 0.456, 0.406},
                                        .stddev = {0.229, 0.224, 0.225}};
  changes.mean = normalised.mean;
  changes.stddev = normalised.stddev;
  const data::Dataset training = data::augmented(for_training, changes);
  const data::Dataset test = data::augmented(for_test, normalised);

  nn::seed(1);
  const auto classes = static_cast<std::int64_t>(folder.class_names().size());
  const nn::Sequential net = network(settings, classes);
  const auto x = kt::tensor("x", {kt::dim("batch"), 3, settings.size, settings.size});
  const auto labels = kt::vector("labels", kt::i64);
  net(x);  // makes the parameters
  if (!settings.weights.empty()) load(settings.weights, net.state());
  net.set_trainable("features", false);
  if (settings.whole) net.set_trainable("classifier", false);

  kt::optim::Adam adam({.rate = 1e-3});
  nn::Trainer trainer(net, x, labels, nn::cross_entropy_of, adam,
                      {.metrics = {{"accuracy", nn::accuracy}}});
  std::cout << net.summary();
  trainer.fit(training, {.epochs = settings.epochs,
                         .batch = settings.batch,
                         .validation = test,
                         .threads = 1,
                         .progress = &std::cout});

  const auto start = std::chrono::steady_clock::now();
  const kt::Array logits = trainer.predict(test, settings.batch, /*threads=*/1);
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::printf("%.0f ms a photograph, peak memory %ld MiB\n",
              1e3 * taken.count() / static_cast<double>(test.count), usage.ru_maxrss / 1024);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  return flags::run(argc, argv,
                    {{"--data", &settings.data},
                     {"--weights", &settings.weights},
                     {"--epochs", &settings.epochs},
                     {"--batch", &settings.batch},
                     {"--size", &settings.size, /*least=*/32},
                     {"--whole", &settings.whole}},
                    [&] { return run(settings); });
}
