// Whole epochs as users write them: data, changes of pictures and metrics included. The peers' are
// peers/*_training.py, of the same sizes.
#include <cstdlib>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>

#include "ours.h"

namespace bench {
namespace {

namespace kt = kroton;
namespace nn = kt::nn;
namespace data = kt::data;

constexpr std::int64_t text_batch = 32, text_steps = 64, text_units = 256;
constexpr std::int64_t gpt_batch = 12, gpt_steps = 64, gpt_width = 128, gpt_heads = 4;
constexpr int gpt_layers = 4, gpt_batches = 50;
constexpr std::int64_t photo_batch = 8, photo_size = 224, photos = 32;

std::string folder(const char* name) {
  const char* given = std::getenv("KROTON_EXAMPLE_DATA");
  return std::string(given != nullptr ? given : KROTON_EXAMPLE_DATA) + '/' + name;
}

// An epoch, by a trainer or by a loop of one's own, that gives the loss.
Case case_of(std::function<double()> epoch) {
  return {[epoch] { epoch(); }, [epoch] { return std::vector<double>{epoch()}; }};
}

// An epoch of fit, or its first step.
Case fit(const nn::Sequential& net, const kt::Tensor& x, const kt::Tensor& labels,
         std::shared_ptr<kt::optim::Optimizer> optimizer, data::Dataset examples,
         const nn::FitOptions& options, bool first) {
  if (first) {
    std::vector<std::uint32_t> rows(static_cast<std::size_t>(options.batch));
    std::iota(rows.begin(), rows.end(), 0U);
    examples = data::subset(examples, rows);
  }
  const auto trainer =
      std::make_shared<nn::Trainer>(net, x, labels, nn::cross_entropy_of, *optimizer,
                                    nn::TrainerOptions{.metrics = {{"accuracy", nn::accuracy}}});
  return case_of([optimizer, trainer, examples, options] {
    return trainer->fit(examples, options).at(0).train.loss;
  });
}

data::Dataset digits() {
  data::Mnist mnist = data::load_mnist(folder("mnist"));
  return data::from_images(std::move(mnist.train_images), std::move(mnist.train_labels));
}

Case mnist(const nn::Sequential& net, bool first) {
  return fit(net, kt::tensor("x", {kt::dim("batch"), 1, 28, 28}), kt::vector("labels", kt::i64),
             std::make_shared<kt::optim::Adam>(), digits(), {.batch = 128, .threads = 1}, first);
}

Case mnist_mlp(bool first) {
  using namespace nn;  // NOLINT: a list of layers
  return mnist({Flatten(), Dense(512, {.activation = relu}), Dropout(0.2),
                Dense(512, {.activation = relu}), Dropout(0.2), Dense(10)},
               first);
}

Case mnist_cnn(bool first) {
  using namespace nn;  // NOLINT: a list of layers
  return mnist(
      {Conv2D(32, 3, {.activation = relu}), MaxPool(2), Conv2D(64, 3, {.activation = relu}),
       MaxPool(2), Flatten(), Dropout(0.5), Dense(10)},
      first);
}

Case cifar(bool first) {
  const kt::Tensor x = kt::tensor("x", {kt::dim("batch"), 3, 32, 32});
  const kt::Tensor labels = kt::vector("labels", kt::i64);
  using namespace nn;  // NOLINT: a list of layers
  const Sequential net{Conv2D(20, 5, {.activation = relu}),
                       MaxPool(2),
                       Conv2D(40, 5, {.activation = relu}),
                       MaxPool(2),
                       Flatten(),
                       Dense(1000, {.activation = relu}),
                       Dropout(0.5),
                       Dense(1000, {.activation = relu}),
                       Dropout(0.5),
                       Dense(10)};
  data::Cifar10 pictures = data::load_cifar10(folder("cifar10"));
  const data::Dataset examples = data::augmented(
      data::from_images(std::move(pictures.train_images), std::move(pictures.train_labels)),
      {.padding = 4, .fill = data::Fill::constant, .horizontal_flip = true});
  return fit(net, x, labels, std::make_shared<kt::optim::Sgd>(kt::optim::SgdOptions{.rate = 0.01}),
             examples, {.batch = 50, .threads = 1}, first);
}

Case char_lstm(bool first) {
  const std::string text = data::read_text(folder("text/shakespeare.txt"));
  const data::CharacterVocabulary characters(text);
  const kt::Tensor x = kt::matrix("x", kt::i64), labels = kt::matrix("labels", kt::i64);
  const nn::Sequential net{nn::Embedding(characters.size(), 64),
                           nn::Lstm(text_units, {.sequences = true}), nn::Dense(characters.size())};
  const data::Dataset windows = data::windows(kt::Array::from(characters.encode(text)), text_steps);
  return fit(net, x, labels,
             std::make_shared<kt::optim::Adam>(kt::optim::AdamOptions{.rate = 2e-3}), windows,
             {.batch = text_batch, .drop_last = true, .threads = 1}, first);
}

// The transformer of examples/gpt.
struct Gpt {
  nn::Embedding characters, places;
  std::vector<nn::TransformerBlock> blocks;
  nn::LayerNormalization norm;

  explicit Gpt(std::int64_t count)
      : characters(count, gpt_width, nn::normal(0.02)),
        places(gpt_steps, gpt_width, nn::normal(0.02)) {
    for (int k = 0; k < gpt_layers; ++k) {
      blocks.emplace_back(gpt_heads, 4 * gpt_width, nn::AttentionOptions{.causal = true});
    }
  }

  kt::Tensor operator()(const kt::Tensor& ids) const {
    kt::Tensor x = characters(ids) + places(kt::arange(ids.shape(1)));
    for (const nn::TransformerBlock& block : blocks) x = block(x);
    return kt::matmul(norm(x), kt::transpose(characters.table()));
  }
};

Case gpt(bool first) {
  const std::string text = data::read_text(folder("text/shakespeare.txt"));
  const data::CharacterVocabulary characters(text);
  const kt::Tensor x = kt::matrix("x", kt::i64), labels = kt::matrix("labels", kt::i64);
  const auto adamw = std::make_shared<kt::optim::AdamW>(
      kt::optim::AdamWOptions{.rate = 1e-3, .weight_decay = 0.1});
  const auto trainer = std::make_shared<nn::Trainer>(
      nn::Sequential{Gpt(characters.size())}, x, labels, nn::cross_entropy_of, *adamw,
      nn::TrainerOptions{.metrics = {{"accuracy", nn::accuracy}}});
  const auto loader = std::make_shared<data::Loader>(
      data::windows(kt::Array::from(characters.encode(text)), gpt_steps, {.stride = 1}),
      data::LoaderOptions{.batch = gpt_batch});
  return case_of([adamw, trainer, loader, epoch = 0, batches = first ? 1 : gpt_batches]() mutable {
    double sum = 0;
    loader->start(static_cast<std::uint64_t>(epoch++));
    for (int k = 0; k < batches; ++k) sum += trainer->train_minibatch(*loader->next()).loss;
    return sum / batches;
  });
}

Case vgg_folder(bool first) {
  std::vector<nn::Layer> features;
  for (const int size :
       {64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0}) {
    if (size == 0) {
      features.emplace_back(nn::MaxPool(2));
    } else {
      features.emplace_back(nn::Conv2D(
          size, 3,
          {.activation = nn::relu, .padding = kt::Padding::same, .weight = nn::he_normal()}));
    }
  }
  const data::ImageFolder photographs(folder("photos"), {.rows = photo_size, .cols = photo_size});
  const auto classes = static_cast<std::int64_t>(photographs.class_names().size());
  const nn::Sequential net{nn::Sequential(features, "features"), nn::Flatten(),
                           nn::Dense(256, {.activation = nn::relu}), nn::Dropout(0.5),
                           nn::Dense(classes)};
  const kt::Tensor x = kt::tensor("x", {kt::dim("batch"), 3, photo_size, photo_size});
  const kt::Tensor labels = kt::vector("labels", kt::i64);
  net(x);  // makes the parameters
  net.set_trainable("features", false);
  std::vector<std::uint32_t> rows;
  for (std::int64_t k = 0; k < photos; ++k) {
    rows.push_back(static_cast<std::uint32_t>(k % photographs.count()));
  }
  const data::Dataset examples =
      data::augmented(data::subset(photographs.dataset(), rows), {.horizontal_flip = true});
  return fit(net, x, labels,
             std::make_shared<kt::optim::Adam>(kt::optim::AdamOptions{.rate = 1e-4}), examples,
             {.batch = photo_batch, .threads = 1}, first);
}

}  // namespace

Case train_case(const Parts& parts) {
  const std::string& name = parts.at(1);
  const bool first = parts.size() > 2 && parts[2] == "first";
  nn::seed(1);
  if (name == "mnist_mlp") return mnist_mlp(first);
  if (name == "mnist_cnn") return mnist_cnn(first);
  if (name == "cifar") return cifar(first);
  if (name == "char_lstm") return char_lstm(first);
  if (name == "gpt") return gpt(first);
  if (name == "vgg_folder") return vgg_folder(first);
  throw std::runtime_error("no training " + name);
}

}  // namespace bench
