// What is called while a training runs.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <stdlib.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <sstream>

#include "frontend/train/progress.h"
#include "tests/tools/error_text.h"
#include "tests/tools/temporary_directory.h"
#include "tests/train/trainer_tools.h"

#if __has_include(<ext/stdio_filebuf.h>)
#include <ext/stdio_filebuf.h>
#endif

using namespace kroton;         // NOLINT: tests
using namespace error_text;     // NOLINT: tests
using namespace trainer_tools;  // NOLINT: tests

namespace {

// A history in which the validation loss takes these values.
struct Played {
  Setup setup;
  nn::FitOptions options = {};
  nn::FitState state{setup.trainer, options};
  // Whether the callback ends the training after this value.
  bool play(nn::Callback& callback, double loss) {
    state.epoch = static_cast<int>(state.history.size()) + 1;
    state.history.push_back({.number = state.epoch, .validation = nn::Measured{.loss = loss}});
    callback.on_epoch_end(state);
    return state.stop;
  }
};

}  // namespace

TEST_CASE("callbacks: early stopping brings the best state back") {
  const Clouds clouds;
  Setup s(3.0);  // far too fast: the loss goes up and down
  auto stopping = std::make_shared<nn::EarlyStopping>(
      nn::EarlyStoppingOptions{.patience = 3, .restore_best = true});
  const std::vector<nn::Epoch> history =
      s.trainer.fit(clouds.points, clouds.labels,
                    {.epochs = 60, .validation_split = 0.2, .callbacks = {stopping}});
  REQUIRE(history.size() < 60);
  CHECK(stopping->stopped_epoch() == history.back().number);
  CHECK(stopping->best_epoch() == history.back().number - 3);
  double least = history[0].validation->loss;
  for (const nn::Epoch& epoch : history) least = std::min(least, epoch.validation->loss);
  std::vector<std::uint32_t> last;
  for (std::uint32_t k = 240; k < 300; ++k) last.push_back(k);
  CHECK(s.trainer.evaluate(data::subset(clouds.dataset(), last)).loss ==
        doctest::Approx(least).epsilon(1e-6));
}

TEST_CASE("callbacks: patience counts epochs without improvement") {
  Played plain;
  nn::EarlyStopping stopping({.patience = 2});
  CHECK_FALSE(plain.play(stopping, 1.0));
  CHECK_FALSE(plain.play(stopping, 2.0));
  CHECK_FALSE(plain.play(stopping, 0.5));
  CHECK_FALSE(plain.play(stopping, 0.5));  // the same is no improvement
  CHECK(plain.play(stopping, 0.6));
  CHECK(stopping.stopped_epoch() == 5);
  CHECK(stopping.best_epoch() == 3);

  Played with_delta;
  nn::EarlyStopping demanding({.patience = 2, .min_delta = 0.1});
  CHECK_FALSE(with_delta.play(demanding, 1.0));
  CHECK_FALSE(with_delta.play(demanding, 0.95));
  CHECK(with_delta.play(demanding, 0.91));

  Played with_nan;
  nn::EarlyStopping of_nan({.patience = 2, .maximize = true});
  CHECK_FALSE(with_nan.play(of_nan, std::nan("")));
  CHECK_FALSE(with_nan.play(of_nan, -5));
  CHECK_FALSE(with_nan.play(of_nan, std::nan("")));
  CHECK(with_nan.play(of_nan, -6));
  CHECK(of_nan.best_epoch() == 2);

  Played unknown;
  nn::EarlyStopping misspelt({.monitor = "val_loss"});
  CHECK(value_error([&] { unknown.play(misspelt, 1); }) ==
        "EarlyStopping: nothing is called \"val_loss\" that was measured; there are loss, "
        "validation_loss");
  CHECK(value_error([&] { nn::EarlyStopping({.patience = 0}); }) ==
        "EarlyStopping: patience is 0, expected at least 1");
  CHECK(value_error([&] { nn::EarlyStopping({.min_delta = -1}); }) ==
        "EarlyStopping: min_delta is -1.0, expected at least 0");
}

TEST_CASE("callbacks: checkpoints of the best epoch and of every epoch") {
  const Clouds clouds;
  const TemporaryDirectory folder;
  Setup s;
  s.trainer.fit(clouds.points, clouds.labels,
                {.epochs = 3,
                 .callbacks = {nn::ModelCheckpoint(folder.file("e{epoch}.safetensors")),
                               nn::ModelCheckpoint(
                                   folder.file("best.safetensors"),
                                   {.best_only = true, .monitor = "accuracy", .maximize = true})}});
  for (const char* name : {"e1.safetensors", "e2.safetensors", "e3.safetensors"}) {
    CHECK(std::filesystem::exists(folder.file(name)));
  }
  CHECK_FALSE(std::filesystem::exists(folder.file("e4.safetensors")));
  const std::vector<Array> after = s.values();
  const nn::Place place = s.trainer.resume(folder.file("e3.safetensors"));
  CHECK(place.epoch == 4);
  CHECK(place.batch == 0);
  const std::vector<Array> loaded = s.values();
  for (std::size_t k = 0; k < after.size(); ++k) CHECK(array_equal(after[k], loaded[k]));

  Played played;
  nn::ModelCheckpoint best(folder.file("{epoch}-{epoch}.safetensors"), {.best_only = true});
  for (const double loss : {3.0, 2.0, 2.5, 1.0}) played.play(best, loss);
  CHECK(std::filesystem::exists(folder.file("2-2.safetensors")));
  CHECK_FALSE(std::filesystem::exists(folder.file("3-3.safetensors")));
  CHECK(std::filesystem::exists(folder.file("4-4.safetensors")));
  CHECK(value_error([&] { nn::ModelCheckpoint(""); }) == "ModelCheckpoint: the path is empty");
  CHECK(contains(
      value_error([&] { nn::ModelCheckpoint("a", {.best_only = true, .every_batches = 2}); }),
      "best_only"));
}

TEST_CASE("callbacks: which direction is better is known by the name") {
  // Whether a callback keeps the largest value of that name.
  const auto keeps_largest = [](const std::string& name) {
    Played played;
    nn::EarlyStopping stopping({.patience = 9, .monitor = name});
    for (const double value : {0.5, 0.7, 0.3}) {
      played.state.epoch = static_cast<int>(played.state.history.size()) + 1;
      const std::string measured = name.starts_with("validation_") ? name.substr(11) : name;
      nn::Measured all{.loss = value, .metrics = {{measured, value}}};
      played.state.history.push_back(
          {.number = played.state.epoch, .train = all, .validation = all});
      stopping.on_epoch_end(played.state);
    }
    REQUIRE(stopping.best_epoch() != 1);
    return stopping.best_epoch() == 2;
  };
  for (const char* name :
       {"accuracy", "validation_accuracy", "top5_accuracy", "acc", "validation_acc", "auc",
        "roc_auc", "PR-AUC", "precision", "average_precision", "recall", "f1", "macro_f1",
        "validation_f1_score", "r_squared", "r2"}) {
    INFO(name);
    CHECK(keeps_largest(name));
  }
  for (const char* name : {"loss", "validation_loss", "", "error", "top1_error", "perplexity",
                           "validation_perplexity", "mse", "rmse", "mae", "nll", "cross_entropy"}) {
    INFO(name);
    CHECK_FALSE(keeps_largest(name));
  }
  for (const char* name : {"top5", "score", "inaccuracy", "validation_"}) {
    const std::string says = ": the name \"" + std::string(name) +
                             "\" does not tell whether larger is better: .maximize does";
    CHECK(value_error([&] { nn::EarlyStopping({.monitor = name}); }) == "EarlyStopping" + says);
    CHECK(value_error([&] { nn::ModelCheckpoint("a", {.best_only = true, .monitor = name}); }) ==
          "ModelCheckpoint" + says);
    CHECK(value_error([&] { nn::ReduceOnPlateau(shared(0.1, "rate"), {}, name); }) ==
          "ReduceOnPlateau" + says);
    nn::EarlyStopping({.monitor = name, .maximize = false});
  }
  // A plateau of an accuracy that rises is none.
  Played rising;
  nn::ReduceOnPlateau reduce(rising.setup.rate, {.factor = 0.5, .patience = 0},
                             "validation_accuracy");
  for (const double value : {0.1, 0.2, 0.3}) {
    rising.state.history.push_back(
        {.number = 1, .validation = nn::Measured{.metrics = {{"accuracy", value}}}});
    reduce.on_epoch_end(rising.state);
  }
  CHECK(reduce.plateau().rate() == doctest::Approx(0.01));
  CHECK(reduce.plateau().best() == 0.3);
}

TEST_CASE("callbacks: where a checkpoint cannot be is said before the training") {
  const Clouds clouds;
  const TemporaryDirectory folder;
  Setup s;
  const std::string path = folder.file("none/a.safetensors");
  CHECK(message_of<IoError>([&] {
          s.trainer.fit(clouds.points, clouds.labels, {.callbacks = {nn::ModelCheckpoint(path)}});
        }) == "ModelCheckpoint: " + path + ": there is no directory " + folder.file("none"));
  CHECK(s.trainer.steps() == 0);
}

TEST_CASE("callbacks: the path of a checkpoint has fields") {
  const Clouds clouds;
  const TemporaryDirectory folder;
  Setup s;
  const auto path = [&](const char* name) { return folder.file(name); };
  const auto fit = [&](const std::string& name, nn::ModelCheckpointOptions options = {}) {
    return s.trainer.fit(clouds.points, clouds.labels,
                         {.epochs = 2,
                          .batch = 100,
                          .validation_split = 0.2,
                          .callbacks = {nn::ModelCheckpoint(folder.file(name), options)}});
  };
  const auto written = [](const char* form, double value) {
    char text[64];
    std::snprintf(text, sizeof text, form, value);
    return std::string(text);
  };
  const auto history = fit("}{-{epoch:03d}-{validation_loss:.2f}-{accuracy}-{loss:.1e}.st");
  for (const nn::Epoch& epoch : history) {
    CHECK(std::filesystem::exists(path(
        ("}{-00" + std::to_string(epoch.number) + "-" + written("%.2f", epoch["validation_loss"]) +
         "-" + written("%.4f", epoch["accuracy"]) + "-" + written("%.1e", epoch["loss"]) + ".st")
            .c_str())));
  }
  fit("{epoch}b{batch:2d}.st", {.every_batches = 2});
  for (const char* name : {"1b 2.st", "1b 3.st", "2b 2.st", "2b 3.st"}) {
    INFO(std::string(name));
    CHECK(std::filesystem::exists(path(name)));
  }
  const std::int64_t steps = s.trainer.steps();
  const std::string unknown = folder.file("{val_loss}.st");
  CHECK(value_error([&] { fit("{val_loss}.st"); }) ==
        "ModelCheckpoint: {val_loss} of the path " + unknown +
            " is nothing that is measured; there are epoch, batch, loss, accuracy, "
            "validation_loss, validation_accuracy");
  CHECK(s.trainer.steps() == steps);
  for (const char* field : {"{}", "{epoch:f}", "{epoch:.2d}", "{loss:d}", "{loss:.3}}x{:x}",
                            "{loss:3q}", "{loss:.3ff}", "{loss:999f}", "{loss:-3f}"}) {
    INFO(std::string(field));
    CHECK(contains(value_error([&] { nn::ModelCheckpoint{std::string(field)}; }),
                   "is no field: expected a name, or as {epoch:02d} or {loss:.3f}"));
  }
  CHECK(value_error([&] { nn::ModelCheckpoint("{loss}.st", {.every_batches = 2}); }) ==
        "ModelCheckpoint: {loss} of the path {loss}.st is known at the end of an epoch, "
        "every_batches saves before it");
}

TEST_CASE("callbacks: a name that nothing has is refused before the first epoch") {
  const Clouds clouds;
  Setup s;
  const auto refused = [&](const nn::AnyCallback& callback, double split) {
    return value_error([&] {
      s.trainer.fit(clouds.points, clouds.labels,
                    {.validation_split = split, .callbacks = {callback}});
    });
  };
  const std::string all = "loss, accuracy, validation_loss, validation_accuracy";
  const std::string says = ": nothing that is measured is called \"val_loss\"; there are ";
  CHECK(refused(nn::EarlyStopping({.monitor = "val_loss"}), 0.1) == "EarlyStopping" + says + all);
  CHECK(refused(nn::EarlyStopping({.monitor = "val_loss"}), 0) ==
        "EarlyStopping" + says + "loss, accuracy");
  CHECK(refused(nn::ModelCheckpoint("a", {.best_only = true, .monitor = "val_loss"}), 0.1) ==
        "ModelCheckpoint" + says + all);
  CHECK(refused(nn::ReduceOnPlateau(s.rate, {}, "val_loss"), 0.1) ==
        "ReduceOnPlateau" + says + all);
  CHECK(s.trainer.steps() == 0);
}

TEST_CASE("callbacks: early stopping and the best checkpoint agree") {
  const Clouds clouds;
  const TemporaryDirectory folder;
  for (const bool stopping_first : {true, false}) {
    Setup s(3.0);  // far too fast: the loss goes up and down
    auto stopping = std::make_shared<nn::EarlyStopping>(
        nn::EarlyStoppingOptions{.patience = 3, .restore_best = true});
    const std::string path = folder.file("best.safetensors");
    const nn::ModelCheckpoint best(path, {.best_only = true});
    std::vector<nn::AnyCallback> callbacks = {stopping, best};
    if (!stopping_first) callbacks = {best, stopping};
    s.trainer.fit(clouds.points, clouds.labels,
                  {.epochs = 60, .validation_split = 0.2, .callbacks = callbacks});
    CHECK(stopping->stopped_epoch() == stopping->best_epoch() + 3);
    const std::vector<Array> restored = s.values();
    const nn::Place place = s.trainer.resume(path);
    CHECK(place.epoch == stopping->best_epoch() + 1);
    const std::vector<Array> loaded = s.values();
    for (std::size_t k = 0; k < loaded.size(); ++k) CHECK(array_equal(restored[k], loaded[k]));
  }
}

TEST_CASE("callbacks: a plateau lowers the rate") {
  Played played;
  nn::ReduceOnPlateau reduce(played.setup.rate, {.factor = 0.5, .patience = 1});
  for (const double loss : {1.0, 1.0, 1.0}) played.play(reduce, loss);
  CHECK(reduce.plateau().rate() == doctest::Approx(0.005));
  CHECK(played.setup.rate.get_value().item<float>() == doctest::Approx(0.005));
}

TEST_CASE("callbacks: they are called in turn and may end the training anywhere") {
  const Clouds clouds;
  Setup s;
  std::string calls;
  const auto history = s.trainer.fit(
      clouds.points, clouds.labels,
      {.epochs = 3,
       .batch = 100,
       .callbacks = {nn::LambdaCallback(
           {.on_train_begin =
                [&](nn::FitState& fit) {
                  CHECK(fit.batches == 3);
                  CHECK(fit.examples == 300);
                  calls += "begin ";
                },
            .on_epoch_begin = [&](nn::FitState& fit) { calls += std::to_string(fit.epoch) + "( "; },
            .on_batch_end =
                [&](nn::FitState& fit, const nn::Measured& of_batch) {
                  CHECK(std::isfinite(of_batch.loss));
                  if (fit.batch == 1) CHECK(fit.so_far().loss == doctest::Approx(of_batch.loss));
                  calls += std::to_string(fit.batch) + ' ';
                  fit.stop = fit.epoch == 2 && fit.batch == 2;
                },
            .on_epoch_end =
                [&](nn::FitState& fit) {
                  CHECK(fit.history.back().number == fit.epoch);
                  const nn::Place place = fit.place();
                  calls += ") go on from " + std::to_string(place.epoch) + "." +
                           std::to_string(place.batch) + ' ';
                },
            .on_train_end = [&](nn::FitState&) { calls += "end"; }})}});
  CHECK(calls == "begin 1( 1 2 3 ) go on from 2.0 2( 1 2 ) go on from 2.2 end");
  CHECK(history.size() == 2);
  CHECK(s.trainer.steps() == 5);
  // Stopped before its first batch an epoch has not been.
  const auto none = s.trainer.fit(
      clouds.points, clouds.labels,
      {.callbacks = {nn::LambdaCallback({.on_epoch_begin = [](auto& fit) { fit.stop = true; }})}});
  CHECK(none.empty());
  // No epoch: only the beginning and the end.
  calls.clear();
  s.trainer.fit(clouds.points, clouds.labels,
                {.epochs = 0, .callbacks = {nn::LambdaCallback({.on_train_end = [&](nn::FitState&) {
                                calls += "end";
                              }})}});
  CHECK(calls == "end");
}

TEST_CASE("progress: a terminal's line is redrawn and others get one line an epoch") {
  const std::ostringstream text;
  CHECK(nn::terminal_columns(text) == 0);
#if __has_include(<ext/stdio_filebuf.h>)
  const int master = ::posix_openpt(O_RDWR | O_NOCTTY);
  if (master < 0 || ::grantpt(master) != 0 || ::unlockpt(master) != 0) {
    MESSAGE("there are no pseudo-terminals here");
    return;
  }
  const int terminal = ::open(::ptsname(master), O_RDWR | O_NOCTTY);
  REQUIRE(terminal >= 0);
  std::string shown;
  {
    __gnu_cxx::stdio_filebuf<char> buffer(terminal, std::ios::out);
    std::ostream stream(&buffer);
    CHECK(nn::terminal_columns(stream) == 80);  // where the terminal does not know
    const Clouds clouds;
    Setup s;
    s.trainer.fit(clouds.points, clouds.labels, {.epochs = 2, .progress = &stream});
    ::fcntl(master, F_SETFL, O_NONBLOCK);
    char bytes[4096];
    for (ssize_t got = 1; got > 0;) {
      got = ::read(master, bytes, sizeof bytes);
      if (got > 0) shown.append(bytes, static_cast<std::size_t>(got));
    }
  }
  ::close(master);
  CHECK(shown.starts_with("\repoch 1/2  10 %  loss "));
  CHECK(contains(shown, " left"));
  CHECK(contains(shown, "\x1b[K\r\n"));
  CHECK(std::count(shown.begin(), shown.end(), '\n') == 2);
#endif
}

TEST_CASE("progress: a printer for loops of minibatches") {
  std::ostringstream lines;
  nn::ProgressPrinter progress(lines, 2);
  progress.update({1.0, {{"accuracy", 0.5}}}, 10);
  progress.update({2.0, {{"accuracy", 1.0}}}, 30);
  progress.update({4.0, {{"accuracy", 0.0}}}, 1000);
  const nn::Measured all = progress.summary();
  CHECK(all.loss == doctest::Approx((10 + 60 + 4000) / 1040.0));
  CHECK(all["accuracy"] == doctest::Approx((5 + 30) / 1040.0));
  CHECK(lines.str() ==
        "minibatches 1 to 2: loss 1.7500  accuracy 0.8750  (40 examples)\n"
        "all 3 minibatches: loss 3.9135  accuracy 0.0337  (1,040 examples)\n");
  CHECK(progress.summary().loss == 0);
  CHECK(value_error([&] { nn::ProgressPrinter(lines, 0); }) ==
        "ProgressPrinter: every is 0, expected at least 1");
  CHECK(value_error([&] { progress.update({}, 0); }) ==
        "ProgressPrinter: a minibatch of 0 examples");
}
