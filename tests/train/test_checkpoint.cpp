// Checkpoints of training: variables by name, what does not fit, and a training that is killed.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <functional>
#include <random>
#include <sstream>
#include <thread>

#include "tests/tools/error_text.h"
#include "tests/tools/own_process.h"
#include "tests/train/array_file_tools.h"

using namespace array_files;  // NOLINT: tests
using namespace error_text;   // NOLINT: tests

namespace {

std::string load_error(const std::filesystem::path& path, const std::vector<kt::Shared>& state,
                       const kt::LoadOptions& options = {}) {
  const std::string message =
      without_places(error_of([&] { kt::load_checkpoint(path, state, options); }));
  const std::string prefix = path.string() + ": ";
  return message.starts_with(prefix) ? message.substr(prefix.size()) : message;
}

std::vector<kt::Shared> joined_state(std::vector<kt::Shared> a, const std::vector<kt::Shared>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

constexpr int train_steps = 480;
constexpr int steps_between_checkpoints = 3;

// Trains a network with dropout, by momentum, on batches in random order, from the checkpoint if
// there is one. `notice` is told before every step ('s') and every checkpoint ('c').
void train(const std::filesystem::path& checkpoint, const std::filesystem::path& result,
           const std::function<void(char)>& notice) {
  kt::nn::seed(5);
  kt::Array classes = kt::Array::zeros({50}, kt::i64);
  for (std::int64_t k = 0; k < 50; ++k) classes(k) = k % 3;
  const kt::Shared inputs = kt::shared(kt::Array::normal({50, 8}, /*seed=*/1), "inputs");
  const kt::Shared labels = kt::shared(classes, "labels");
  const kt::Tensor rows = kt::vector("rows", kt::i64);
  const kt::nn::Sequential net{kt::nn::Dense(2000, {.activation = kt::nn::relu}),
                               kt::nn::Dropout(0.5), kt::nn::Dense(3)};
  const kt::Tensor loss =
      kt::nn::cross_entropy(net.train(kt::take(inputs, rows)), kt::take(labels, rows));
  kt::optim::Sgd sgd({.rate = 0.01, .momentum = 0.9});
  const auto step = kt::function({rows}, loss, {.updates = sgd.minimize(loss, net.parameters())});
  const std::vector<kt::Shared> state =
      joined_state(joined_state(net.state(), sgd.state()), {kt::nn::random_numbers().state()});

  int done = 0;
  if (std::filesystem::exists(checkpoint)) {
    done = std::stoi(kt::load_checkpoint(checkpoint, state).at("step"));
  }
  kt::data::Batches batches(50, 16, /*seed=*/3);
  const int per_epoch = static_cast<int>(batches.batch_count());
  for (int epoch = 0; epoch < train_steps / per_epoch; ++epoch) {
    batches.next_epoch();
    for (int k = 0; k < per_epoch; ++k) {
      if (epoch * per_epoch + k < done) continue;
      const auto batch = batches.batch(k);
      notice('s');
      step(std::vector<std::int64_t>(batch.begin(), batch.end()));
      if (++done % steps_between_checkpoints != 0) continue;
      notice('c');
      kt::save_checkpoint(checkpoint, state, {{"step", std::to_string(done)}});
    }
  }
  kt::save_checkpoint(result, state, {{"step", std::to_string(done)}});
}

constexpr const char* killed_test =
    "checkpoint: a training that is killed at random moments ends with the same bits";

// A process of its own that trains; it tells what it does through a pipe.
class Trainer {
 public:
  // One that stays at the end waits there to be killed.
  explicit Trainer(const std::string& directory, bool stays = false) {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    ::fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    const cache_test::Setting role("KROTON_TEST_ROLE",
                                   std::to_string(ends[1]) + (stays ? " 1 " : " 0 ") + directory);
    const std::string selected = std::string("-tc=") + killed_test;
    process_ = ::fork();
    REQUIRE(process_ >= 0);
    if (process_ == 0) {
      ::dup2(nowhere, STDOUT_FILENO);
      ::execl("/proc/self/exe", "kroton_tests", "-m", selected.c_str(), nullptr);
      ::_exit(127);
    }
    ::close(nowhere);
    ::close(ends[1]);
    notices_ = ends[0];
  }
  ~Trainer() {
    ::close(notices_);
    if (process_ > 0) kill();
  }
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  // Returns at the `count`-th notice of a kind, or when the process ends.
  void wait_for(char kind, int count) const {
    for (char notice = 0; count > 0 && ::read(notices_, &notice, 1) == 1;) {
      if (notice == kind) --count;
    }
  }
  // Whether the signal ended it.
  bool kill() {
    ::kill(process_, SIGKILL);
    const int status = wait();
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  }
  int wait() {
    int status = -1;
    REQUIRE(::waitpid(process_, &status, 0) == process_);
    process_ = 0;
    return status;
  }

 private:
  pid_t process_ = 0;
  int notices_ = -1;
};

}  // namespace

TEST_CASE("checkpoint: variables go by their names, with texts beside them") {
  const Files directory;
  const auto path = directory.path() / "f";
  const auto w = kt::shared(kt::Array::normal({3, 2}, 1), "w");
  const auto steps = kt::shared(7, "steps");
  const auto on = kt::shared(true, "on");
  const kt::RandomStream stream(/*seed=*/9);
  const std::vector<kt::Shared> state = {w, steps, on, stream.state(), w};
  kt::save_checkpoint(path, state, {{"epoch", "3"}});
  CHECK(kt::array_equal(kt::load_safetensors(path).at("w"), w.get_value()));
  CHECK(kt::load_safetensors(path).size() == 4);

  const auto w2 = kt::shared(kt::Array::zeros({3, 2}), "w");
  const auto steps2 = kt::shared(0, "steps");
  const auto on2 = kt::shared(false, "on");
  const kt::RandomStream stream2(/*seed=*/1);
  const auto metadata = kt::load_checkpoint(path, {stream2.state(), on2, steps2, w2});
  CHECK(metadata == std::map<std::string, std::string>{{"epoch", "3"}});
  CHECK(kt::array_equal(w2.get_value(), w.get_value()));
  CHECK(steps2.get_value().item<std::int64_t>() == 7);
  CHECK(on2.get_value().item<bool>());
  // The stream goes on as the other one.
  const auto draw = kt::function({}, stream.normal({5}));
  const auto draw2 = kt::function({}, stream2.normal({5}));
  CHECK(kt::array_equal(draw(), draw2()));
}

TEST_CASE("checkpoint: what does not fit is listed and nothing is set") {
  const Files directory;
  const auto path = directory.path() / "f";
  kt::save_checkpoint(
      path, {kt::shared(kt::Array::ones({3}), "a"), kt::shared(kt::Array::ones({2, 2}), "b"),
             kt::shared(kt::Array::ones({2}), "c"), kt::shared(kt::Array::ones({4}), "extra")});
  const auto a = kt::shared(kt::Array::zeros({3}), "a");
  const auto b = kt::shared(kt::Array::zeros({2, 3}), "b");
  const auto c = kt::shared(kt::Array::zeros({2}, kt::f64), "c");
  const auto d = kt::shared(kt::Array::zeros({2}), "d");
  CHECK(load_error(path, {a, b, c, d}) ==
        "does not fit the variables  [here]:\n"
        "  \"b\": the variable is f32 (2, 3), in the file it is f32 (2, 2)\n"
        "  \"c\": the variable is f64 (2,), in the file it is f32 (2,)\n"
        "  \"d\": not in the file\n"
        "  \"extra\": no variable takes it");
  CHECK(load_error(path, {a, d}, {.names = {{"d", "x"}}, .allow_extra = true}) ==
        "does not fit the variables  [here]:\n  \"d\" (\"x\"): not in the file");
  CHECK(load_error(path, {a, b}, {.allow_missing = true, .allow_extra = true}) ==
        "does not fit the variables  [here]:\n"
        "  \"b\": the variable is f32 (2, 3), in the file it is f32 (2, 2)");
  CHECK(kt::array_equal(a.get_value(), kt::Array::zeros({3})));
  // A damaged element is found before anything is set.
  const auto flag = kt::shared(kt::Array::from({true}), "flag");
  const auto damaged = directory.path() / "damaged";
  kt::save_checkpoint(damaged, {kt::shared(kt::Array::ones({3}), "a"), flag});
  Bytes bytes = contents(damaged);
  bytes.back() = 5;
  directory.write("damaged", bytes);
  CHECK(load_error(damaged, {a, flag}) == "at byte " + std::to_string(bytes.size() - 1) +
                                              ": tensor \"flag\": a boolean is 0 or 1, not 5");
  CHECK(kt::array_equal(a.get_value(), kt::Array::zeros({3})));

  kt::load_checkpoint(path, {a, d}, {.allow_missing = true, .allow_extra = true});
  CHECK(kt::array_equal(a.get_value(), kt::Array::ones({3})));
  CHECK(kt::array_equal(d.get_value(), kt::Array::zeros({2})));
  kt::load_checkpoint(path, {d}, {.names = {{"d", "c"}}, .allow_extra = true});
  CHECK(kt::array_equal(d.get_value(), kt::Array::ones({2})));
  std::vector<kt::Shared> many;
  for (int k = 0; k < 50; ++k) many.push_back(kt::shared(0.0, "v" + std::to_string(k)));
  CHECK(contains(load_error(path, many, {.allow_extra = true}), "\n  and 30 more"));
}

TEST_CASE("checkpoint: matrices that the file has transposed") {
  const Files directory;
  const auto path = directory.path() / "torch.safetensors";
  for (const std::int64_t rows : {0, 1, 3, 70}) {
    const kt::Array weight = kt::Array::normal({rows, 33}, 1);
    const kt::Array bias = kt::Array::normal({rows}, 2);
    kt::save_safetensors(path, {{"fc.weight", weight}, {"fc.bias", bias}});
    const kt::Shared w = kt::shared(kt::Array::zeros({33, rows}), "dense1.weight");
    const kt::Shared b = kt::shared(kt::Array::zeros({rows}), "dense1.bias");
    const std::map<std::string, std::string> names = {{"dense1.weight", "fc.weight"},
                                                      {"dense1.bias", "fc.bias"}};
    kt::load_checkpoint(path, {w, b}, {.names = names, .transposed = {"dense1.weight"}});
    const kt::Array loaded = w.get_value();
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t k = 0; k < 33; ++k) CHECK(loaded(k, i) == weight(i, k));
    }
    CHECK(kt::array_equal(b.get_value(), bias));
    if (rows == 3) {
      CHECK(load_error(path, {w, b}, {.names = names})
                .find("the variable is f32 (33, 3), in the file it is f32 (3, 33)") !=
            std::string::npos);
      CHECK(value_error([&] {
              kt::load_checkpoint(path, {w, b}, {.transposed = {"dense1.bias"}});
            }).starts_with("load_checkpoint: transposed: no matrix is named \"dense1.bias\""));
    }
  }
}

TEST_CASE("checkpoint: two variables of one name") {
  const Files directory;
  const auto path = directory.path() / "f";
  const std::vector<kt::Shared> twins = {kt::shared(1.0, "w"), kt::shared(2.0, "w")};
  CHECK(value_error([&] { kt::save_checkpoint(path, twins); }) ==
        "save_checkpoint: two variables are named \"w\":  [here] and  [here], in the list  [here]");
  CHECK_FALSE(std::filesystem::exists(path));
  CHECK(value_error([&] { kt::load_checkpoint(path, twins); }) ==
        "load_checkpoint: two variables are named \"w\":  [here] and  [here], in the list  [here]");
  CHECK(value_error([&] { kt::load_checkpoint(path, {}, {.names = {{"x", "y"}}}); }) ==
        "load_checkpoint: names: no variable is named \"x\"  [here]");
  CHECK(load_error(path, {}) == "no such file");
}

TEST_CASE("checkpoint: an optimizer goes on where another one stopped") {
  const Files directory;
  const auto path = directory.path() / "f";
  const auto run = [&](int before, int after) {
    const auto w = kt::shared(kt::Array::normal({17}, 1), "w");
    const kt::Tensor cost = kt::sum(kt::square(kt::sin(w))) / 2;
    kt::optim::Adam adam({.rate = kt::optim::cosine(0.1, 20), .accumulate = 3});
    const auto step = kt::function({}, cost, {.updates = adam.minimize(cost, {w})});
    const std::vector<kt::Shared> state = joined_state({w}, adam.state());
    if (before == 0) kt::load_checkpoint(path, state);
    for (int k = 0; k < before; ++k) step();
    if (before != 0) kt::save_checkpoint(path, state);
    for (int k = 0; k < after; ++k) step();
    return w.get_value();
  };
  const kt::Array whole = run(7, 8);
  CHECK(kt::array_equal(run(0, 8), whole));
}

TEST_CASE(killed_test) {
  if (const std::string role = own_process::role(); !role.empty()) {
    std::istringstream stream(role);
    int pipe = -1;
    bool stays = false;
    std::string directory;
    stream >> pipe >> stays >> directory;
    train(directory + "/checkpoint", directory + "/result",
          [pipe](char notice) { REQUIRE(::write(pipe, &notice, 1) == 1); });
    while (stays) ::pause();
    return;
  }
  const TemporaryDirectory uninterrupted, interrupted;
  const cache_test::Setting cache("KROTON_CACHE", uninterrupted.file("cache"));
  {
    Trainer trainer(uninterrupted.path());
    trainer.wait_for('s', train_steps);
    REQUIRE(trainer.wait() == 0);
  }
  const Bytes wanted = contents(uninterrupted.file("result"));
  REQUIRE(wanted.size() > 100'000);

  std::mt19937 random(1);
  const auto below = [&](unsigned n) { return static_cast<int>(random() % n); };
  int kills = 0, while_writing = 0, last = 0;
  std::filesystem::file_time_type last_left{};
  for (int k = 0; k < 20; ++k) {
    Trainer trainer(interrupted.path(), /*stays=*/true);
    // At any moment from the start on; among the steps; in a checkpoint.
    if (k % 5 == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(below(100)));
    } else if (k % 2 == 0) {
      trainer.wait_for('s', 1 + below(15));
    } else {
      trainer.wait_for('c', 1 + below(4));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(below(1500)));
    kills += trainer.kill();
    if (const std::string left = interrupted.file("checkpoint.tmp");
        std::filesystem::exists(left)) {
      while_writing += std::filesystem::last_write_time(left) != last_left;
      last_left = std::filesystem::last_write_time(left);
    }
    // Whole, and never an older one than before.
    if (!std::filesystem::exists(interrupted.file("checkpoint"))) continue;
    const auto metadata = kt::read_safetensors_metadata(interrupted.file("checkpoint"));
    (void)kt::load_safetensors(interrupted.file("checkpoint"));
    const int step = std::stoi(metadata.at("step"));
    CHECK(step >= last);
    last = step;
  }
  MESSAGE(kills, " kills, ", while_writing, " of them while a checkpoint was written, up to step ",
          last);
  CHECK(kills == 20);
  CHECK(last > 0);
  Trainer trainer(interrupted.path());
  trainer.wait_for('s', train_steps);
  REQUIRE(trainer.wait() == 0);
  CHECK(contents(interrupted.file("result")) == wanted);
  CHECK(contents(interrupted.file("checkpoint")) == contents(uninterrupted.file("checkpoint")));
}
