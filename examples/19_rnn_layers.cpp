// Trains the same network as rnn, out of layers and by a trainer: the next word of a sentence.
//   rnn_layers [--data FILE] [--epochs N]
// FILE is any plain text; a sample of Shakespeare ships with the repository. Sentences are dealt in
// batches of about one length and filled up; the loss leaves out what fills them up.
#include <kroton/kroton.h>

#include <iostream>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/flags.h"
namespace kt = kroton;
using namespace kt::nn;  // NOLINT: layers

namespace {

using Ids = std::vector<std::int64_t>;

// Up to and with each . ! or ?
std::vector<std::string> sentences_of(const std::string& text) {
  std::vector<std::string> sentences(1);
  for (const char c : text) {
    sentences.back() += c;
    if (std::string_view(".!?").find(c) != std::string_view::npos) sentences.emplace_back();
  }
  sentences.pop_back();
  return sentences;
}

int run(const std::string& path, int epochs) {
  const std::string text = kt::data::read_text(path);
  const kt::data::WordVocabulary words(text, {.most = 8000, .lower_case = true});
  const std::int64_t mark = words.size();  // before the first word, and after the last
  std::vector<Ids> before, after;
  for (const std::string& sentence : sentences_of(text)) {
    Ids ids = words.encode(sentence);
    after.push_back(ids);
    after.back().push_back(mark);
    ids.insert(ids.begin(), mark);
    before.push_back(ids);
  }
  const auto [training, held_out] =
      kt::data::split(kt::data::sequences(before, after, {.longest = 60}), 0.1, /*seed=*/1);

  seed(1);
  const Sequential net{Embedding(mark + 1, 100), SimpleRnn(100, {.sequences = true}),
                       Dense(mark + 1)};
  const auto x = kt::matrix("words", kt::i64), mask = kt::matrix("mask");
  const auto loss = [&](const kt::Tensor& logits, const kt::Tensor& labels) {
    return cross_entropy(logits, labels, {.mask = mask});
  };
  kt::optim::Adam adam({.rate = 2e-3, .clip_norm = 1});
  Trainer trainer(net, x, kt::matrix("next", kt::i64), loss, adam, {.mask = mask});
  std::cout << training.count << " sentences to learn from and " << held_out.count << " held out, "
            << mark << " different words\n"
            << net.summary();
  trainer.fit(
      training,
      {.epochs = epochs, .by_length = true, .validation = held_out, .progress = &std::cout});

  // Each word is drawn with the probability that the network gives it.
  const auto next = kt::function({x}, kt::softmax(net(x)(0, -1)), {.name = "next"});
  std::mt19937 random(4);
  for (int k = 0; k < 5; ++k) {
    Ids written = {mark};
    while (written.size() < 25) {
      const auto count = static_cast<std::int64_t>(written.size());
      const kt::Array p = next(kt::Array::from(written).reshape({1, count}));
      std::vector<float> weights(p.data<float>().begin(), p.data<float>().end());
      weights[kt::data::WordVocabulary::unknown] = 0;
      std::discrete_distribution<std::int64_t> draw(weights.begin(), weights.end());
      written.push_back(draw(random));
      if (written.back() == mark) break;
    }
    if (written.back() == mark) written.pop_back();
    std::cout << "  " << words.decode(std::span(written).subspan(1)) << '\n';
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::string path = KROTON_EXAMPLE_DATA "/text/shakespeare.txt";
  int epochs = 5;
  return flags::run(argc, argv, {{"--data", &path}, {"--epochs", &epochs}},
                    [&] { return run(path, epochs); });
}
