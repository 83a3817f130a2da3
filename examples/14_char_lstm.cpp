// Trains an LSTM to predict the next character of a text, and lets it write some.
//   char_lstm [--data FILE] [--epochs N] [--units N] [--characters N] [--checkpoint FILE]
//   [--resume]
// FILE is any plain text; a sample of Shakespeare ships with the repository. Every tenth passage of
// 10,000 characters is held out. 32 readers read the rest, each from its own place on, 64
// characters a step: their states go on from step to step, gradients do not (truncated
// backpropagation through time). All that a step changes is in shared variables: a checkpoint,
// saved every 100 steps, holds it, and with --resume the training goes on from there and ends with
// the same bits.
#include <kroton/kroton.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "common/flags.h"
namespace kt = kroton;
namespace nn = kt::nn;

namespace {

constexpr std::int64_t readers = 32, steps = 64, passage = 10000;

struct Settings {
  std::string data = KROTON_EXAMPLE_DATA "/text/shakespeare.txt";
  int epochs = 6;
  int units = 512;
  int characters = 500;  // to write
  std::string checkpoint;
  bool resume = false;
};

// ---- A text, as the numbers of its characters.

struct Text {
  kt::data::CharacterVocabulary characters;
  std::vector<std::int64_t> training, held_out;

  explicit Text(const std::string& all) : characters(all) {
    std::size_t k = 0;
    for (const std::int64_t number : characters.encode(all)) {
      (k++ / passage % 10 == 9 ? held_out : training).push_back(number);
    }
  }
};

// ---- The network, and readers of it.

struct Network {
  nn::Embedding characters;
  nn::Lstm lstm;
  nn::Dropout dropout{0.2};
  nn::Dense output;

  Network(std::int64_t count, std::int64_t units)
      : characters(count, 64, nn::normal(1), "characters"),
        lstm(units, {.sequences = true, .name = "lstm"}),
        output(count, {.name = "output"}) {}
};

// What some readers remember between calls, (readers, units) each.
struct State {
  kt::Shared hidden, cell;

  State(std::int64_t count, std::int64_t units, const std::string& name)
      : hidden(kt::shared(kt::Array::zeros({count, units}), name + ".hidden")),
        cell(kt::shared(kt::Array::zeros({count, units}), name + ".cell")) {}
};

// The logits (readers, steps, characters) of what comes after each of `numbers` (readers, steps).
// They go on from their state if `goes_on`, a boolean scalar, else from zeros; `updates` gets the
// state after the last step.
kt::Tensor read(const Network& net, const kt::Tensor& numbers, const State& state,
                const kt::Operand& goes_on, std::vector<kt::Update>& updates) {
  const nn::RecurrentResult result =
      net.lstm.run(net.characters(numbers),
                   {kt::where(goes_on, state.hidden, 0), kt::where(goes_on, state.cell, 0)});
  updates.push_back({state.hidden, result.state[0]});
  updates.push_back({state.cell, result.state[1]});
  return net.output(net.dropout(result.outputs));
}

// A text that is read by all readers, each its part, and the number of steps that this takes.
struct Pages {
  kt::Shared text;
  std::int64_t part, steps_through;

  Pages(const std::vector<std::int64_t>& numbers, const std::string& name)
      : text(kt::shared(kt::Array::from(numbers), name)),
        part((static_cast<std::int64_t>(numbers.size()) - 1) / readers),
        steps_through(part / steps) {}
};

// The loss of step `step`, an i64 scalar; after the last step the readers begin again.
kt::Tensor loss_of_step(const Network& net, const Pages& pages, const kt::Tensor& step,
                        const State& state, std::vector<kt::Update>& updates) {
  const kt::Tensor first = step % pages.steps_through * steps;
  const kt::Tensor windows =
      kt::take(pages.text, kt::expand_dims(kt::arange(readers) * pages.part, 1) + first +
                               kt::arange(steps + 1));
  return nn::cross_entropy(
      read(net, windows(kt::all, kt::slice(0, steps)), state, first > 0, updates),
      windows(kt::all, kt::slice(1, steps + 1)));
}

// ---- Training.

int run(const Settings& settings) {
  if (settings.resume && settings.checkpoint.empty()) {
    throw kt::ValueError("char_lstm: --resume needs --checkpoint FILE");
  }
  const Text text(kt::data::read_text(settings.data));
  if (static_cast<std::int64_t>(text.held_out.size()) <= readers * steps) {
    throw kt::ValueError("char_lstm: " + settings.data + " has fewer than 92,049 characters");
  }
  const Pages training(text.training, "training"), held_out(text.held_out, "held_out");
  const std::int64_t steps_in_all = settings.epochs * training.steps_through;

  nn::seed(1);
  const Network net(text.characters.size(), settings.units);
  kt::optim::Adam adam({.rate = kt::optim::warm_up(50, kt::optim::cosine(4e-3, steps_in_all, 1e-4)),
                        .clip_norm = 1});
  const State train_state(readers, settings.units, "readers");
  const kt::Shared taken = kt::shared(std::int64_t{0}, "steps_taken");
  std::vector<kt::Shared> checkpoint = {train_state.hidden, train_state.cell, taken,
                                        nn::random_numbers().state()};
  const auto train = [&] {
    const nn::Training on;
    const nn::Recorder recorder;
    std::vector<kt::Update> updates = {{taken, taken + 1}};
    const kt::Tensor loss = loss_of_step(net, training, taken, train_state, updates);
    const std::vector<kt::Shared> parameters = recorder.parameters();
    const std::vector<kt::Update> steps_of_adam = adam.minimize(loss, parameters);
    updates.insert(updates.end(), steps_of_adam.begin(), steps_of_adam.end());
    checkpoint.insert(checkpoint.end(), parameters.begin(), parameters.end());
    checkpoint.insert(checkpoint.end(), adam.state().begin(), adam.state().end());
    return kt::function({}, loss, {.updates = updates, .name = "train"});
  }();

  const kt::Tensor step_number = kt::scalar("step", kt::i64);
  std::vector<kt::Update> test_updates;
  const kt::Tensor test_loss = loss_of_step(
      net, held_out, step_number, State(readers, settings.units, "test_readers"), test_updates);
  const auto test = kt::function({step_number}, test_loss, {.updates = test_updates});

  // A reader of what it writes: each character is drawn from what the last one lets expect.
  const kt::Shared last = kt::shared(kt::Array::from({{text.training.front()}}), "last");
  const kt::RandomStream random(/*seed=*/2);
  std::vector<kt::Update> write_updates;
  const kt::Tensor drawn = random.categorical(
      read(net, last, State(1, settings.units, "writer"), true, write_updates) / 0.8);
  write_updates.push_back({last, drawn});
  const auto write = kt::function({}, drawn(0, 0), {.updates = write_updates});

  if (settings.resume) kt::load_checkpoint(settings.checkpoint, checkpoint);
  const auto first = taken.get_value().item<std::int64_t>() + 1;
  std::printf("%zu characters to learn from and %zu held out, %lld different ones, from %s\n",
              text.training.size(), text.held_out.size(),
              static_cast<long long>(text.characters.size()), settings.data.c_str());
  std::printf("compiled the training step in %.0f ms; %lld of %lld steps are taken\n",
              1e3 * train.compile_seconds(), static_cast<long long>(first - 1),
              static_cast<long long>(steps_in_all));

  const auto start = std::chrono::steady_clock::now();
  double sum = 0, count = 0;
  for (std::int64_t step = first; step <= steps_in_all; ++step) {
    sum += train().item<float>();
    ++count;
    const bool ends_epoch = step % training.steps_through == 0;
    if (!settings.checkpoint.empty() && (step % 100 == 0 || ends_epoch)) {
      kt::save_checkpoint(settings.checkpoint, checkpoint);
    }
    if (!ends_epoch) continue;
    double test_sum = 0;
    for (std::int64_t k = 0; k < held_out.steps_through; ++k) test_sum += test(k).item<float>();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    std::printf("epoch %2lld  training %.3f, held out %.3f bits per character  %.0f s\n",
                static_cast<long long>(step / training.steps_through), sum / count / std::log(2.0),
                test_sum / static_cast<double>(held_out.steps_through) / std::log(2.0),
                elapsed.count());
    std::fflush(stdout);
    sum = count = 0;
  }

  for (int k = 0; k < settings.characters; ++k) {
    std::printf("%s", text.characters.decode(write()).c_str());
  }
  std::putchar('\n');
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  return flags::run(argc, argv,
                    {{"--data", &settings.data},
                     {"--epochs", &settings.epochs},
                     {"--units", &settings.units},
                     {"--characters", &settings.characters},
                     {"--checkpoint", &settings.checkpoint},
                     {"--resume", &settings.resume}},
                    [&] { return run(settings); });
}
