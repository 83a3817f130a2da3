// A training step of a digit classifier, run by programs of its own, for every target.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "compiler/codegen/llvm/jit.h"
#include "tests/aot/aot_tools.h"

using namespace aot_tools;

namespace {

constexpr std::int64_t digit_count = 400;
constexpr std::int64_t hidden = 32;

// Batches of several sizes, from several places.
std::int64_t batch_size(int step) { return 1 + step * 13 % 40; }
std::int64_t batch_start(int step) { return step * 37 % (digit_count - 40); }

struct Model {
  kt::Tensor images = kt::tensor("images", {kt::dim("batch"), 784});
  kt::Tensor labels = kt::tensor("labels", {kt::dim("batch")}, kt::i64);
  kt::Shared w1 = kt::shared(kt::Array::normal({784, hidden}, 1, 0, 0.05), "w1");
  kt::Shared b1 = kt::shared(kt::Array::zeros({hidden}), "b1");
  kt::Shared w2 = kt::shared(kt::Array::normal({hidden, 10}, 2, 0, 0.2), "w2");
  kt::Shared b2 = kt::shared(kt::Array::zeros({10}), "b2");
  kt::Tensor loss;
  std::vector<kt::Update> updates;

  Model() {
    const auto activity = kt::relu(kt::dot(images, w1) + b1);
    loss = kt::mean(kt::softmax_cross_entropy(kt::dot(activity, w2) + b2, labels));
    const auto [g1, gb1, g2, gb2] = kt::grad(loss, w1, b1, w2, b2);
    updates = {
        {w1, w1 - 0.1 * g1}, {b1, b1 - 0.1 * gb1}, {w2, w2 - 0.1 * g2}, {b2, b2 - 0.1 * gb2}};
  }
};

struct Digits {
  kt::Array images = kt::Array::empty({digit_count, 784});
  kt::Array labels = kt::Array::empty({digit_count}, kt::i64);

  Digits() {
    const kt::data::Mnist mnist =
        kt::data::load_mnist(places::source_dir() + "/examples/data/mnist");
    std::vector<std::uint32_t> rows(digit_count);
    for (std::uint32_t k = 0; k < digit_count; ++k) rows[k] = k;
    kt::data::gather_batch(mnist.train_images, rows, images.data<float>());
    kt::data::gather_labels(mnist.train_labels, rows, labels.data<std::int64_t>());
  }
};

// The program: reads the digits, trains, writes the losses and then the state to its output.
const char* const program_text = R"(
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include "train_step.h"
enum { digits = 400 };
static float images[digits * 784];
static int64_t labels[digits];
int main(int argc, char** argv) {
  FILE* in = argc == 3 ? fopen(argv[1], "rb") : NULL;
  if (in == NULL || fread(images, sizeof images, 1, in) != 1) return 1;
  if (fread(labels, sizeof labels, 1, in) != 1) return 2;
  train_step_state state;
  char* memory = aligned_alloc(64, TRAIN_STEP_STATE_BYTES);
  if (train_step_state_init(&state, memory) != 0) return 3;
  const size_t bytes = (train_step_arena_bytes(40) + 63) / 64 * 64;
  void* arena = aligned_alloc(64, bytes);
  for (int step = 0; step < atoi(argv[2]); ++step) {
    const int64_t batch = 1 + step * 13 % 40, first = step * 37 % (digits - 40);
    float loss;
    int code = train_step(batch, images + 784 * first, labels + first, &state, &loss, arena, bytes);
    if (code != 0) {
      fprintf(stderr, "%s\n", train_step_error(code));
      return 4;
    }
    fwrite(&loss, sizeof loss, 1, stdout);
  }
  fwrite(memory, TRAIN_STEP_STATE_BYTES, 1, stdout);
  return 0;
}
)";

// What such a program prints after `steps` steps. `compiler` and `runner` are command lines.
std::string train(const std::string& target, int steps, const std::string& compiler,
                  const std::string& runner) {
  const TemporaryDirectory directory;
  const Digits digits;
  const Model model;
  const kt::aot::Files files = kt::aot::write({model.images, model.labels}, model.loss,
                                              {.updates = model.updates,
                                               .name = "train_step",
                                               .directory = directory.path(),
                                               .target = target,
                                               .output_names = {"loss"}});
  write_file(directory.file("main.c"), program_text);
  const auto bytes = [](const kt::Array& a) {
    return std::string(static_cast<const char*>(a.raw()), static_cast<std::size_t>(a.nbytes()));
  };
  write_file(directory.file("digits"), bytes(digits.images) + bytes(digits.labels));
  run_well(compiler + " -std=c11 -O1 -Wall -Wextra -Werror -o " + directory.file("main") + " " +
           directory.file("main.c") + " " + files.object + " -lm");
  const std::string result = directory.file("result");
  run_well(runner + " " + directory.file("main") + " " + directory.file("digits") + " " +
           std::to_string(steps) + " > " + result);
  return read_file(result);
}

// The same by the function compiled in this process.
std::string train_here(int steps) {
  const Digits digits;
  const Model model;
  const auto step =
      kt::function({model.images, model.labels}, model.loss, {.updates = model.updates});
  std::string result;
  for (int k = 0; k < steps; ++k) {
    const auto first = static_cast<std::size_t>(batch_start(k));
    const kt::Array x =
        kt::Array::view(digits.images.data<float>().data() + 784 * first, {batch_size(k), 784});
    const kt::Array y =
        kt::Array::view(digits.labels.data<std::int64_t>().data() + first, {batch_size(k)});
    const float loss = step(x, y).item<float>();
    result.append(reinterpret_cast<const char*>(&loss), sizeof loss);
  }
  for (const kt::Shared* shared : {&model.w1, &model.b1, &model.w2, &model.b2}) {
    const kt::Array value = shared->get_value();
    std::string block(static_cast<const char*>(value.raw()),
                      static_cast<std::size_t>(value.nbytes()));
    block.resize((block.size() + 63) / 64 * 64);
    result += block;
  }
  return result;
}

// Sums are taken in another order where vectors have another width: losses and weights of some
// training steps agree to a part in ten thousand (docs/ahead_of_time.md).
void check_close(const std::string& a, const std::string& b) {
  REQUIRE(a.size() == b.size());
  REQUIRE(a.size() % sizeof(float) == 0);
  double worst = 0;
  for (std::size_t k = 0; k < a.size(); k += sizeof(float)) {
    float left = 0, right = 0;
    std::memcpy(&left, a.data() + k, sizeof left);
    std::memcpy(&right, b.data() + k, sizeof right);
    const double difference = std::abs(double{left} - double{right});
    if (!(difference <= 1e-4 * std::max(1.0, std::abs(double{left})))) worst = 1;
    worst = std::max(worst, difference);
  }
  CHECK(worst < 0.5);
  // A step did something.
  CHECK(a.substr(0, 4) != a.substr(4, 4));
}

bool has_command(const std::string& command) { return run("command -v " + command).status == 0; }

}  // namespace

TEST_CASE("aot: a program trains with the bits of this process over 100 steps") {
  const std::string here = train_here(100);
  CHECK(train("native", 100, places::c_compiler(), "") == here);
}

TEST_CASE("aot: code for x86-64-v2 and x86-64-v3 runs on this processor") {
  const std::string here = train_here(20);
  check_close(train("x86-64-v2", 20, places::c_compiler(), ""), here);
  if (kt::codegen::host_target().machine.vector_bytes >= 32) {
    check_close(train("x86-64-v3", 20, places::c_compiler(), ""), here);
  } else {
    MESSAGE("left out: this processor is no x86-64-v3");
  }
}

TEST_CASE("aot: code for x86-64-v4 runs on this processor") {
  if (kt::codegen::host_target().machine.vector_bytes < 64) {
    MESSAGE("left out: this processor is no x86-64-v4");
    return;
  }
  check_close(train("x86-64-v4", 20, places::c_compiler(), ""), train_here(20));
}

TEST_CASE("aot: code for aarch64 runs under an emulator") {
  for (const auto& [command, package] :
       {std::pair("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu and libc6-dev-arm64-cross"),
        std::pair("qemu-aarch64", "qemu-user")}) {
    if (has_command(command)) continue;
    MESSAGE("left out: there is no " << command << " here (Debian: " << package << ")");
    return;
  }
  check_close(train("aarch64", 20, "aarch64-linux-gnu-gcc -static", "qemu-aarch64"),
              train_here(20));
}
