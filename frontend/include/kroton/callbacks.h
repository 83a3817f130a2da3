// What is called while Trainer::fit trains: the callbacks that there are. One of your own derives
// from nn::Callback (trainer.h). Logs are in training_log.h.
//
//     trainer.fit(examples, {.epochs = 100, .validation = held_out,
//                            .callbacks = {kt::nn::EarlyStopping({.patience = 5}),
//                                          kt::nn::ModelCheckpoint("last.safetensors")}});
//
// `monitor` is a name of Epoch::values(): unless given "validation_loss", without validation
// "loss". Names that there are not are a ValueError before the first epoch, which lists those there
// are. `maximize` is whether larger is better. Unless given it is known by the name, or the word
// that it ends in: larger is better of accuracy, acc, auc, precision, recall, f1, f1_score,
// r_squared, r2; smaller of loss, error, perplexity, mse, rmse, mae, nll, cross_entropy; other
// names are a ValueError. A NaN is no better than anything. A loss that is not finite ends a
// training without a callback.
#pragma once
#include <kroton/schedule.h>
#include <kroton/trainer.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace kroton::nn {

// The best value of a monitored name so far.
class Monitor {
 public:
  // Better is what is so by `min_delta` at least; ValueError for a negative one. `owner` begins the
  // errors.
  explicit Monitor(std::string name = {}, std::optional<bool> maximize = {}, double min_delta = 0,
                   std::string owner = "Monitor");
  // ValueError, which lists what there is, where no epoch will measure what is monitored.
  void check(const FitState& fit) const;
  // Takes the last epoch of the history, and whether it is the best one.
  bool observe(const FitState& fit);
  // The monitored value of an epoch.
  double value(const Epoch& epoch) const;
  void reset();
  int best_epoch() const { return best_epoch_; }  // 0 before the first
  double best() const { return best_; }

 private:
  std::string owner_, name_;
  bool maximize_;
  double min_delta_;
  double best_;
  int best_epoch_ = 0;
};

struct EarlyStoppingOptions {
  int patience = 1;  // epochs in a row without improvement after which the training ends
  std::string monitor = {};
  std::optional<bool> maximize = {};
  double min_delta = 0;  // what is less than this is no improvement
  // When the training ends, for whatever reason, the state is that of the best epoch.
  bool restore_best = false;
};
// ValueError for a patience below 1.
class EarlyStopping : public Callback {
 public:
  explicit EarlyStopping(EarlyStoppingOptions options = {});
  void on_train_begin(FitState& fit) override;
  void on_epoch_end(FitState& fit) override;
  void on_train_end(FitState& fit) override;
  int stopped_epoch() const { return stopped_epoch_; }  // 0: it has not
  int best_epoch() const { return monitor_.best_epoch(); }

 private:
  EarlyStoppingOptions options_;
  Monitor monitor_;
  int since_best_ = 0, stopped_epoch_ = 0;
  std::vector<std::pair<Shared, Array>> best_;
};

struct ModelCheckpointOptions {
  bool best_only = false;  // only after epochs that are the best so far
  std::string monitor = {};
  std::optional<bool> maximize = {};
  // Also after so many batches, in the middle of epochs; 0: not. Not with best_only.
  std::int64_t every_batches = 0;
};
// Trainer::save after each epoch: Trainer::resume and FitOptions::start go on from there. In the
// path {epoch} becomes the number of the epoch, {batch} how many of its batches are done, and the
// name of anything that an epoch measures its value: "{epoch:02d}-{validation_loss:.3f}.st". After
// a colon stands how, as in Python and Keras: a width, with a 0 in front filled up with zeros, and
// digits after the point with f, e or g (.4f unless given), or d for {epoch} and {batch}.
// ValueError for another format, with every_batches for what is known at the end of an epoch only,
// and, when the training begins, for a name that nothing has, listing those there are. A file is
// the old or the new one at any time. IoError for a directory that there is not, when the training
// begins. A program that predicts takes the parameters alone: load_checkpoint(path, net.state(),
// {.allow_extra = true}).
class ModelCheckpoint : public Callback {
 public:
  explicit ModelCheckpoint(std::filesystem::path path, ModelCheckpointOptions options = {});
  void on_train_begin(FitState& fit) override;
  void on_batch_end(FitState& fit, const Measured& of_batch) override;
  void on_epoch_end(FitState& fit) override;

 private:
  void save(const FitState& fit) const;
  // The path as fields and the text between them, which have no name.
  struct Piece {
    std::string text, name = {};
    int width = 0, digits = 4;
    bool zeros = false;
    char form = 'f';
  };
  static std::vector<Piece> pieces_of(const std::string& path);
  std::string path_;
  std::vector<Piece> pieces_;
  ModelCheckpointOptions options_;
  Monitor monitor_;
};

// optim::Plateau, observed after each epoch. The rate is the one that the optimizer has been given,
// and belongs in TrainerOptions::state where trainings are resumed. Rates that are functions of the
// step need no callback: the schedules of schedule.h are part of the step. What it has observed it
// keeps from one call of fit to the next.
class ReduceOnPlateau : public Callback {
 public:
  explicit ReduceOnPlateau(const Shared& rate, const optim::PlateauOptions& options = {},
                           std::string monitor = {});
  void on_train_begin(FitState& fit) override;
  void on_epoch_end(FitState& fit) override;
  const optim::Plateau& plateau() const { return plateau_; }

 private:
  optim::Plateau plateau_;
  Monitor monitor_;
};

struct LambdaCallbackOptions {
  std::function<void(FitState&)> on_train_begin = {}, on_epoch_begin = {};
  std::function<void(FitState&, const Measured& of_batch)> on_batch_end = {};
  std::function<void(FitState&)> on_epoch_end = {}, on_train_end = {};
};
// Functions in place of a class.
class LambdaCallback : public Callback {
 public:
  explicit LambdaCallback(LambdaCallbackOptions functions) : functions_(std::move(functions)) {}
  void on_train_begin(FitState& fit) override { call(functions_.on_train_begin, fit); }
  void on_epoch_begin(FitState& fit) override { call(functions_.on_epoch_begin, fit); }
  void on_batch_end(FitState& fit, const Measured& of_batch) override {
    if (functions_.on_batch_end) functions_.on_batch_end(fit, of_batch);
  }
  void on_epoch_end(FitState& fit) override { call(functions_.on_epoch_end, fit); }
  void on_train_end(FitState& fit) override { call(functions_.on_train_end, fit); }

 private:
  static void call(const std::function<void(FitState&)>& function, FitState& fit) {
    if (function) function(fit);
  }
  LambdaCallbackOptions functions_;
};

// ---- For loops of one's own

// Lines while a program trains on minibatches itself, as CNTK's ProgressPrinter writes them: after
// each `every`-th of them the means since the last line, and at the end those of all. Means are by
// the numbers of examples.
//
//     kt::nn::ProgressPrinter progress(std::cout, 100);
//     while (auto batch = loader.next()) {
//       progress.update(trainer.train_minibatch(*batch), batch->labels.shape()[0]);
//     }
//     progress.summary();
class ProgressPrinter {
 public:
  // ValueError for `every` below 1.
  explicit ProgressPrinter(std::ostream& stream, std::int64_t every = 100);
  // A minibatch of so many examples; ValueError for none.
  void update(const Measured& of_batch, std::int64_t examples);
  // The means of all since the last summary, which are then forgotten.
  Measured summary();

 private:
  struct Means {
    Measured sums;
    double examples = 0;
    std::int64_t batches = 0;
    void add(const Measured& of_batch, double count);
    Measured values() const;
  };
  std::string line_of(const Means& means) const;
  std::ostream* stream_;
  std::int64_t every_;
  Means recent_, all_;
};

}  // namespace kroton::nn
