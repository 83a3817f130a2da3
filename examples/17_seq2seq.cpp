// Learns to sort the digits of a string, by an encoder and a decoder with attention.
//   seq2seq [--steps N] [--digits N]
// Strings have N digits or fewer, down to half as many. Those that are multiples of 11 as numbers
// are held out. After Bahdanau, Cho and Bengio, "Neural Machine Translation by Jointly Learning to
// Align and Translate", 2015, with the attention of Luong et al., 2015.
#include <kroton/kroton.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "common/flags.h"
namespace kt = kroton;
namespace nn = kt::nn;

namespace {

constexpr std::int64_t units = 128, batch = 128;
const std::string alphabet = " 0123456789";

struct Settings {
  int steps = 600;
  int digits = 10;
};

// ---- Strings of digits, and the same digits sorted, filled up with spaces: "314159  ", "113459 ".

using Strings = std::vector<std::string>;

class Tasks {
 public:
  explicit Tasks(int digits) : digits_(digits) {}

  // Of the strings that are held out, or of the others.
  std::pair<Strings, Strings> draw(std::int64_t count, bool held_out) {
    std::uniform_int_distribution<int> length((digits_ + 1) / 2, digits_), digit('0', '9');
    Strings questions, answers;
    while (static_cast<std::int64_t>(questions.size()) < count) {
      std::string digits(static_cast<std::size_t>(length(random_)), ' ');
      for (char& each : digits) each = static_cast<char>(digit(random_));
      if ((std::stoll(digits) % 11 == 0) != held_out) continue;
      std::string sorted = digits;
      std::sort(sorted.begin(), sorted.end());
      for (std::string* each : {&digits, &sorted}) {
        each->resize(static_cast<std::size_t>(digits_), ' ');
      }
      questions.push_back(digits);
      answers.push_back(sorted);
    }
    return {questions, answers};
  }

 private:
  int digits_;
  std::mt19937_64 random_{1};
};

// The places in the alphabet of all characters, (strings, length).
kt::Array places(const Strings& strings) {
  std::vector<std::int64_t> all;
  for (const std::string& each : strings) {
    for (const char c : each) all.push_back(static_cast<std::int64_t>(alphabet.find(c)));
  }
  const auto count = static_cast<std::int64_t>(strings.size());
  return kt::Array::from(all).reshape({count, static_cast<std::int64_t>(all.size()) / count});
}

// ---- The network.

struct Network {
  nn::Embedding characters{static_cast<std::int64_t>(alphabet.size()), 32};
  nn::Gru encoder{units, {.sequences = true, .name = "encoder"}};
  nn::Gru decoder{units, {.sequences = true, .name = "decoder"}};
  nn::Dense output{static_cast<std::int64_t>(alphabet.size()), {.name = "output"}};

  // What the encoder remembers after each character of the questions, and after the last.
  nn::RecurrentResult encode(const kt::Tensor& questions) const {
    return encoder.run(characters(questions));
  }
  // The logits of what comes after each of `written`, and what the decoder then remembers. Its
  // states attend to those of the encoder that are like them.
  std::pair<kt::Tensor, kt::Tensor> decode(const kt::Tensor& written, const kt::Tensor& state,
                                           const kt::Tensor& encoded) const {
    const nn::RecurrentResult decoded = decoder.run(characters(written), {state});
    const kt::Tensor likeness = kt::matmul(decoded.outputs, kt::swapaxes(encoded, 1, 2));
    const kt::Tensor attended = kt::matmul(kt::softmax(likeness), encoded);
    return {output(kt::concatenate({decoded.outputs, attended}, 2)), decoded.state[0]};
  }
};

int run(const Settings& settings) {
  if (settings.digits > 18) throw kt::ValueError("seq2seq: --digits is at most 18");
  nn::seed(1);
  const Network net;
  const auto questions = kt::matrix("questions", kt::i64);
  const auto answers = kt::matrix("answers", kt::i64);

  // Teacher forcing: the decoder sees the right characters before each one that it is to write.
  const nn::Recorder recorder;
  const auto encoded = net.encode(questions);
  const auto begin = kt::zeros_like(answers(kt::all, kt::slice(0, 1)));  // a space
  const auto before =
      kt::concatenate({begin, answers(kt::all, kt::slice(0, settings.digits - 1))}, 1);
  const auto logits = net.decode(before, encoded.state[0], encoded.outputs).first;
  const auto loss = nn::cross_entropy(logits, answers);
  const std::vector<kt::Shared> parameters = recorder.parameters();
  kt::optim::Adam adam({.rate = kt::optim::cosine(4e-3, settings.steps), .clip_norm = 1});
  const auto train = kt::function({questions, answers}, loss,
                                  {.updates = adam.minimize(loss, parameters), .name = "train"});

  // Greedy decoding: a function that writes one character, and is called for each.
  const auto encode = kt::function({questions}, {encoded.outputs, encoded.state[0]});
  const auto last = kt::vector("last", kt::i64);
  const auto state = kt::tensor("state", {kt::dim("batch"), units});
  const auto memory = kt::tensor("memory", {kt::dim("batch"), kt::dim("length"), units});
  const auto [next, state_after] = net.decode(kt::expand_dims(last, 1), state, memory);
  const auto write =
      kt::function({last, state, memory}, {kt::argmax(next(kt::all, 0), 1), state_after});
  const auto answer = [&](const Strings& asked) {
    auto [outputs, remembered] = encode(places(asked));
    kt::Array written = kt::Array::zeros({static_cast<std::int64_t>(asked.size())}, kt::i64);
    Strings result(asked.size());
    for (int k = 0; k < settings.digits; ++k) {
      const auto step = write(written, remembered, outputs);
      written = step[0];
      remembered = step[1];
      const std::span<const std::int64_t> each = written.data<std::int64_t>();
      for (std::size_t i = 0; i < result.size(); ++i) {
        result[i] += alphabet[static_cast<std::size_t>(each[i])];
      }
    }
    return result;
  };

  Tasks tasks(settings.digits);
  const auto start = std::chrono::steady_clock::now();
  for (int step = 1; step <= settings.steps; ++step) {
    const auto [asked, right] = tasks.draw(batch, /*held_out=*/false);
    const float step_loss = train(places(asked), places(right)).item<float>();
    if (step % 100 != 0) continue;
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    std::printf("step %5d  loss %.4f  %.1f s\n", step, step_loss, elapsed.count());
    std::fflush(stdout);
  }

  const auto [asked, right] = tasks.draw(2000, /*held_out=*/true);
  const Strings written = answer(asked);
  int exact = 0;
  for (std::size_t k = 0; k < asked.size(); ++k) exact += written[k] == right[k];
  for (std::size_t k = 0; k < 5; ++k) {
    std::printf("  %s -> %s%s\n", asked[k].c_str(), written[k].c_str(),
                written[k] == right[k] ? "" : ("  not " + right[k]).c_str());
  }
  std::printf("%.1f %% of held-out strings sorted\n",
              100.0 * exact / static_cast<double>(asked.size()));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  return flags::run(argc, argv, {{"--steps", &settings.steps}, {"--digits", &settings.digits}},
                    [&] { return run(settings); });
}
