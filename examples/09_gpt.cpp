// Trains a small transformer to predict the next character of a text, and lets it write some.
//   gpt [--data FILE] [--steps N] [--characters N]
// FILE is any plain text; a sample of Shakespeare ships with the repository. 4 layers of 4 heads,
// 128 wide, that see 64 characters; batches of 12.
#include <kroton/kroton.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "common/flags.h"
namespace kt = kroton;
namespace nn = kt::nn;

namespace {

constexpr std::int64_t layers = 4, heads = 4, width = 128, context = 64, batch = 12;

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Settings {
  std::string data = KROTON_EXAMPLE_DATA "/text/shakespeare.txt";
  int steps = 2000;
  int characters = 300;
};

// A text as the numbers of its characters among those that occur in it.
struct Text {
  std::string characters;
  std::vector<std::int64_t> numbers;
};

Text read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  const std::string all = bytes.str();
  if (static_cast<std::int64_t>(all.size()) < 20 * (context + 1)) {
    throw kt::IoError("gpt: " + path + " is not there, or has too few characters");
  }
  Text text;
  text.characters = all;
  std::sort(text.characters.begin(), text.characters.end());
  text.characters.erase(std::unique(text.characters.begin(), text.characters.end()),
                        text.characters.end());
  for (const char c : all) {
    text.numbers.push_back(static_cast<std::int64_t>(text.characters.find(c)));
  }
  return text;
}

// Characters and their places as vectors, blocks, and how like each character's vector the result
// is: the table serves at both ends.
struct Transformer {
  nn::Embedding characters, places;
  std::vector<nn::TransformerBlock> blocks;
  nn::LayerNormalization norm;

  explicit Transformer(std::int64_t count)
      : characters(count, width, nn::normal(0.02), "characters"),
        places(context, width, nn::normal(0.02), "places") {
    // One after the other: copies of a layer would share their parameters.
    for (std::int64_t k = 0; k < layers; ++k) {
      blocks.emplace_back(heads, 4 * width,
                          nn::AttentionOptions{.causal = true, .weight = nn::normal(0.02)});
    }
  }

  kt::Tensor operator()(const kt::Tensor& ids) const {
    const auto part = [](const std::string& name, const auto& layer, const kt::Tensor& input) {
      const nn::Scope scope(name);
      return layer(input);
    };
    kt::Tensor x =
        part("characters", characters, ids) + part("places", places, kt::arange(ids.shape(1)));
    for (std::size_t k = 0; k < blocks.size(); ++k) {
      x = part("block" + std::to_string(k + 1), blocks[k], x);
    }
    return kt::matmul(part("norm", norm, x), kt::transpose(characters.table()));
  }
};

int run(const Settings& settings) {
  const Text text = read_text(settings.data);
  const auto length = static_cast<std::int64_t>(text.numbers.size());
  const std::int64_t train_length = length * 9 / 10;
  const kt::Shared all = kt::shared(kt::Array::from(text.numbers), "text");
  std::printf("%lld characters, %zu different ones, from %s\n", static_cast<long long>(length),
              text.characters.size(), settings.data.c_str());

  nn::seed(1);
  const nn::Sequential net{Transformer(static_cast<std::int64_t>(text.characters.size()))};
  // Windows of the text, from where each starts: the next character is the label of each.
  const kt::Tensor starts = kt::vector("starts", kt::i64);
  const kt::Tensor windows = kt::take(all, kt::expand_dims(starts, 1) + kt::arange(context + 1));
  const kt::Tensor loss = nn::cross_entropy(net.train(windows(kt::all, kt::slice(0, context))),
                                            windows(kt::all, kt::slice(1, context + 1)));
  // What multiplies is drawn to 0, what is added is not.
  std::vector<kt::Shared> added;
  for (const kt::Shared& parameter : net.parameters()) {
    if (parameter.rank() < 2) added.push_back(parameter);
  }
  const std::int64_t falling = std::max(settings.steps - 100, 1);
  kt::optim::AdamW adam({.rate = kt::optim::warm_up(100, kt::optim::cosine(1e-3, falling, 1e-4)),
                         .beta2 = 0.99,
                         .weight_decay = 0.1,
                         .clip_norm = 1,
                         .groups = {{.parameters = added, .weight_decay = 0}}});
  const auto train = kt::function(
      {starts}, loss, {.updates = adam.minimize(loss, net.parameters()), .name = "train"});
  const auto evaluate = kt::function({starts}, loss, {.name = "evaluate"});
  // The next character, drawn from what the last place of a window says.
  const kt::Tensor seen = kt::tensor("seen", {1, kt::dim("length")}, kt::i64);
  kt::RandomStream random(2);
  const auto next = kt::function({seen}, random.categorical(net(seen)(0, -1) / 0.8));
  std::printf("%lld parameters; compiled the training step in %.0f ms\n",
              static_cast<long long>(net.parameter_count()), 1e3 * train.compile_seconds());

  std::mt19937 places(3);
  const auto draw = [&](std::int64_t first, std::int64_t end) {
    std::uniform_int_distribution<std::int64_t> start(first, end - context - 1);
    std::vector<std::int64_t> result(batch);
    for (std::int64_t& place : result) place = start(places);
    return result;
  };
  const auto validation = [&] {
    constexpr int times = 20;
    double sum = 0;
    for (int k = 0; k < times; ++k) sum += evaluate(draw(train_length, length)).item<float>();
    return sum / times;
  };
  const Clock::time_point start = Clock::now();
  double in_training = 0;
  for (int step = 1; step <= settings.steps; ++step) {
    const Clock::time_point begin = Clock::now();
    const float step_loss = train(draw(0, train_length)).item<float>();
    in_training += seconds_since(begin);
    if (step % 250 != 0 && step != settings.steps) continue;
    std::printf("step %5d  loss %.4f  validation %.4f  %.1f ms a step  %.0f s\n", step, step_loss,
                validation(), 1e3 * in_training / step, seconds_since(start));
    std::fflush(stdout);
  }

  std::vector<std::int64_t> written = {text.numbers.front()};
  for (int k = 0; k < settings.characters; ++k) {
    const auto known = std::min<std::int64_t>(context, static_cast<std::int64_t>(written.size()));
    const kt::Array window = kt::Array::view(written.data() + written.size() - known, {1, known});
    written.push_back(next(window).item<std::int64_t>());
  }
  for (const std::int64_t number : written) {
    std::putchar(text.characters[static_cast<std::size_t>(number)]);
  }
  std::putchar('\n');
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  return flags::run(argc, argv,
                    {{"--data", &settings.data},
                     {"--steps", &settings.steps},
                     {"--characters", &settings.characters, /*least=*/0}},
                    [&] { return run(settings); });
}
