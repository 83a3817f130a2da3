// Trains a recurrent network to predict the next word of a sentence, and lets it write some.
//   rnn [--data FILE] [--epochs N] [--sentences N] [--hidden N] [--vocabulary N] [--rate R]
//       [--truncate N] [--target cpu|cuda]
// FILE is any plain text; a sample of Shakespeare ships with the repository. --truncate lets the
// gradient flow through that many last steps of a sentence only.
#include <kroton/kroton.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <map>
#include <numeric>
#include <random>
#include <sstream>
#include <string>

#include "common/flags.h"
namespace kt = kroton;

namespace {

using Clock = std::chrono::steady_clock;
using Words = std::vector<std::string>;
using Ids = std::vector<std::int64_t>;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Settings {
  std::string data = KROTON_EXAMPLE_DATA "/text/shakespeare.txt";
  int epochs = 1;
  int sentences = 1 << 30;  // of the training part
  int hidden = 100;
  int vocabulary = 8000;
  double rate = 0.005;
  int truncate = -1;
  kt::Target target = kt::cpu();
};

// ---- Text: sentences of lower-case words and punctuation marks.

// A sentence ends at . ! ? and at an empty line. The name of the speaker of a play, a line that
// ends in a colon after an empty line, is left out.
std::vector<Words> read_sentences(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw kt::IoError("rnn: cannot read " + path);
  std::vector<Words> sentences(1);
  const auto end_sentence = [&] {
    if (!sentences.back().empty()) sentences.emplace_back();
  };
  bool after_empty_line = true;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    const bool is_speaker = after_empty_line && line.ends_with(':');
    after_empty_line = line.empty();
    if (line.empty()) end_sentence();
    if (is_speaker) continue;
    std::string word;
    line += ' ';  // ends the last word
    for (std::size_t i = 0; i < line.size(); ++i) {
      const char c = line[i];
      const bool is_letter = std::isalpha(static_cast<unsigned char>(c)) || (c & 0x80) != 0;
      const bool joins = c == '\'' && !word.empty() && std::isalpha(line[i + 1]);
      if (is_letter || joins) {
        word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        continue;
      }
      if (!word.empty()) sentences.back().push_back(std::exchange(word, ""));
      if (std::string(".,!?;:").find(c) == std::string::npos) continue;
      sentences.back().emplace_back(1, c);
      if (c == '.' || c == '!' || c == '?') end_sentence();
    }
  }
  if (sentences.back().empty()) sentences.pop_back();
  if (sentences.size() < 10) throw kt::ValueError("rnn: fewer than 10 sentences in " + path);
  return sentences;
}

// The most frequent words, numbered from 3; 0 stands for all others.
class Vocabulary {
 public:
  static constexpr std::int64_t unknown = 0, start = 1, end = 2;

  Vocabulary(const std::vector<Words>& sentences, std::size_t size) {
    std::map<std::string, int> counts;
    for (const Words& sentence : sentences) {
      for (const std::string& word : sentence) ++counts[word];
    }
    different_ = counts.size();
    std::vector<std::pair<int, std::string>> order;
    for (const auto& [word, count] : counts) order.emplace_back(-count, word);
    std::sort(order.begin(), order.end());
    order.resize(std::min(order.size(), size - words_.size()));
    for (const auto& [count, word] : order) {
      ids_[word] = static_cast<std::int64_t>(words_.size());
      words_.push_back(word);
    }
  }

  std::int64_t size() const { return static_cast<std::int64_t>(words_.size()); }
  // Of the text, all counted.
  std::size_t different() const { return different_; }
  const std::string& word(std::int64_t id) const { return words_[static_cast<std::size_t>(id)]; }
  // With the start before and the end after it.
  Ids encode(const Words& sentence) const {
    Ids ids = {start};
    for (const std::string& word : sentence) {
      const auto it = ids_.find(word);
      ids.push_back(it == ids_.end() ? unknown : it->second);
    }
    ids.push_back(end);
    return ids;
  }

 private:
  Words words_ = {"(unknown)", "(start)", "(end)"};
  std::map<std::string, std::int64_t> ids_;
  std::size_t different_ = 0;
};

// ---- The network.

class Network {
 public:
  Network(std::int64_t vocabulary, const Settings& settings)
      : u_(uniform({settings.hidden, vocabulary}, vocabulary, 1, "U")),
        v_(uniform({vocabulary, settings.hidden}, settings.hidden, 2, "V")),
        w_(uniform({settings.hidden, settings.hidden}, settings.hidden, 3, "W")),
        x_(kt::tensor("x", {kt::dim("words")}, kt::i64)),
        y_(kt::tensor("y", {kt::dim("words")}, kt::i64)),
        target_(settings.target) {
    const auto [o, s] = kt::scan(
        [](kt::Tensor x_t, kt::Tensor s_before, kt::Tensor u, kt::Tensor v, kt::Tensor w) {
          const kt::Tensor s_t = kt::tanh(u(kt::all, x_t) + kt::dot(w, s_before));
          const kt::Tensor o_t = kt::softmax(kt::dot(v, s_t));
          return std::pair{o_t, s_t};
        },
        {.sequences = {x_},
         .outputs_info = {kt::none, kt::zeros({settings.hidden})},
         .non_sequences = {u_, v_, w_},
         .truncate_gradient = settings.truncate,
         .name = "rnn"});
    o_ = o;
    loss_ = -kt::sum(kt::log(kt::pick(o, y_)));  // categorical cross-entropy over the words
  }

  // One step of gradient descent on a sentence; returns its loss before the step.
  auto training_step(double rate) const {
    const auto [gu, gv, gw] = kt::grad(loss_, u_, v_, w_);
    return kt::function(
        {x_, y_}, loss_,
        {.updates = {{u_, u_ - rate * gu}, {v_, v_ - rate * gv}, {w_, w_ - rate * gw}},
         .name = "train",
         .target = target_});
  }
  auto loss() const { return kt::function({x_, y_}, loss_, {.name = "loss", .target = target_}); }
  // The probability of each word to come after these.
  auto next() const { return kt::function({x_}, o_[-1], {.name = "next", .target = target_}); }

 private:
  // Between -1/sqrt(inputs) and 1/sqrt(inputs).
  static kt::Shared uniform(const kt::Shape& shape, std::int64_t inputs, std::uint64_t seed,
                            const char* name) {
    const double limit = 1 / std::sqrt(static_cast<double>(inputs));
    return kt::shared(kt::Array::uniform(shape, seed, -limit, limit), name);
  }

  kt::Shared u_, v_, w_;
  kt::Tensor x_, y_, o_, loss_;
  kt::Target target_;
};

// Each word but the last, and the word after each.
std::pair<kt::Array, kt::Array> questions_and_answers(const Ids& ids) {
  const auto count = static_cast<std::int64_t>(ids.size()) - 1;
  return {kt::Array::view(ids.data(), {count}), kt::Array::view(ids.data() + 1, {count})};
}

double loss_per_word(const kt::Function<1>& loss, std::span<const Ids> sentences) {
  double sum = 0, words = 0;
  for (const Ids& ids : sentences) {
    const auto [x, y] = questions_and_answers(ids);
    sum += loss(x, y).item<float>();
    words += static_cast<double>(y.size());
  }
  return sum / words;
}

// A sentence of the network's own: each word is drawn with the probability it gives it.
std::string write_sentence(const kt::Function<1>& next, const Vocabulary& vocabulary,
                           std::mt19937& random) {
  Ids ids = {Vocabulary::start};
  std::string text;
  while (ids.size() < 25) {
    kt::Array p = next(kt::Array::from(ids));
    p.data<float>()[Vocabulary::unknown] = 0;
    p.data<float>()[Vocabulary::start] = 0;
    const std::span<const float> weights = p.data<float>();
    std::discrete_distribution<std::int64_t> draw(weights.begin(), weights.end());
    ids.push_back(draw(random));
    if (ids.back() == Vocabulary::end) break;
    const std::string& word = vocabulary.word(ids.back());
    const bool is_mark = std::string(".,!?;:").find(word) != std::string::npos;
    text += (text.empty() || is_mark ? "" : " ") + word;
  }
  return text;
}

// One line that is redrawn: on a terminal all the time, else once an epoch.
void show_progress(const Settings& settings, int epoch, double done, double loss, double rate,
                   double left) {
  const bool terminal = isatty(STDOUT_FILENO);
  if (!terminal && done < 1) return;
  char bar[25];
  for (int i = 0; i < 24; ++i) bar[i] = i < static_cast<int>(done * 24) ? '#' : '.';
  bar[24] = 0;
  std::printf("%sepoch %2d/%d [%s] loss per word %.4f  %6.0f words/s  %3.0f s left%s",
              terminal ? "\r" : "", epoch, settings.epochs, bar, loss, rate, left,
              done < 1 ? "" : "\n");
  std::fflush(stdout);
}

int run(const Settings& settings) {
  if (settings.truncate == 0) throw kt::ValueError("rnn: --truncate is a number of steps, not 0");
  const std::vector<Words> sentences = read_sentences(settings.data);
  const Vocabulary vocabulary(sentences, static_cast<std::size_t>(settings.vocabulary));
  // Every tenth sentence is kept from the training.
  std::vector<Ids> training, validation;
  for (std::size_t k = 0; k < sentences.size(); ++k) {
    (k % 10 == 9 ? validation : training).push_back(vocabulary.encode(sentences[k]));
  }
  training.resize(std::min(training.size(), static_cast<std::size_t>(settings.sentences)));
  double words = 0;
  for (const Ids& ids : training) words += static_cast<double>(ids.size() - 1);
  std::printf("%zu training sentences of %.1f words, %zu for validation, from %s\n",
              training.size(), words / static_cast<double>(training.size()), validation.size(),
              settings.data.c_str());
  std::printf("vocabulary %lld of %zu different words, hidden %d, truncation %d\n",
              static_cast<long long>(vocabulary.size()), vocabulary.different() + 3,
              settings.hidden, settings.truncate);

  const Network network(vocabulary.size(), settings);
  const kt::Function<1> train = network.training_step(settings.rate);
  const kt::Function<1> loss = network.loss();
  const kt::Function<1> next = network.next();
  std::printf("compiled the training step in %.0f ms, the loss in %.0f ms, prediction in %.0f ms\n",
              1e3 * train.compile_seconds(), 1e3 * loss.compile_seconds(),
              1e3 * next.compile_seconds());

  // The same sentences for every measurement.
  const auto some = std::span(training).first(std::min<std::size_t>(training.size(), 500));
  const std::vector<Ids> measured(some.begin(), some.end());
  const auto show_losses = [&](const char* when) {
    std::printf("%s training: loss per word %.4f, validation %.4f\n", when,
                loss_per_word(loss, measured), loss_per_word(loss, validation));
  };
  show_losses("before");

  std::mt19937 random(4);
  double words_done = 0;
  double seconds = 0;
  for (int epoch = 1; epoch <= settings.epochs; ++epoch) {
    std::shuffle(training.begin(), training.end(), random);
    const Clock::time_point start = Clock::now();
    double sum = 0, count = 0;
    for (const Ids& ids : training) {
      const auto [x, y] = questions_and_answers(ids);
      sum += train(x, y).item<float>();
      count += static_cast<double>(y.size());
      const double speed = (words_done + count) / (seconds + seconds_since(start));
      show_progress(settings, epoch, count / words, sum / count, speed,
                    (words * settings.epochs - words_done - count) / speed);
    }
    words_done += count;
    seconds += seconds_since(start);
  }

  show_losses("after");
  std::printf("some sentences of its own:\n");
  for (int k = 0; k < 5; ++k) {
    std::printf("  %s\n", write_sentence(next, vocabulary, random).c_str());
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  return flags::run(argc, argv,
                    {{"--data", &settings.data},
                     {"--epochs", &settings.epochs},
                     {"--sentences", &settings.sentences},
                     {"--hidden", &settings.hidden},
                     {"--vocabulary", &settings.vocabulary, /*least=*/4},
                     {"--rate", &settings.rate},
                     {"--truncate", &settings.truncate, /*least=*/-1},
                     {"--target", &settings.target}},
                    [&] { return run(settings); });
}
