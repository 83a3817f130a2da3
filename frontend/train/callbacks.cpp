#include <kroton/callbacks.h>
#include <kroton/error.h>

#include <cmath>
#include <limits>

namespace kroton::nn {

// ---- Monitor

Monitor::Monitor(std::string name, bool maximize, double min_delta)
    : name_(std::move(name)), maximize_(maximize), min_delta_(min_delta) {
  if (!(min_delta >= 0)) {
    throw ValueError("Monitor: min_delta is " + to_string(Array(min_delta)) +
                     ", expected at least 0");
  }
  reset();
}

void Monitor::reset() {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  best_ = maximize_ ? -infinity : infinity;
  best_epoch_ = 0;
}

double Monitor::value(const Epoch& epoch) const {
  if (!name_.empty()) return epoch[name_];
  return epoch.validation ? epoch.validation->loss : epoch.train.loss;
}

bool Monitor::observe(const FitState& fit) {
  const Epoch& epoch = fit.history.back();
  const double now = value(epoch);
  // The first number is the best so far, whatever min_delta is.
  const bool is_better = best_epoch_ == 0 ? !std::isnan(now)
                         : maximize_      ? now > best_ && now - best_ >= min_delta_
                                          : now < best_ && best_ - now >= min_delta_;
  if (is_better) {
    best_ = now;
    best_epoch_ = epoch.number;
  }
  return is_better;
}

// ---- EarlyStopping

EarlyStopping::EarlyStopping(EarlyStoppingOptions options)
    : options_(std::move(options)),
      monitor_(options_.monitor, options_.maximize, options_.min_delta) {
  if (options_.patience >= 1) return;
  throw ValueError("EarlyStopping: patience is " + std::to_string(options_.patience) +
                   ", expected at least 1");
}

void EarlyStopping::on_train_begin(FitState&) {
  monitor_.reset();
  since_best_ = stopped_epoch_ = 0;
  best_.clear();
}

void EarlyStopping::on_epoch_end(FitState& fit) {
  if (!monitor_.observe(fit)) {
    if (++since_best_ < options_.patience) return;
    stopped_epoch_ = fit.epoch;
    fit.stop = true;
    return;
  }
  since_best_ = 0;
  if (!options_.restore_best) return;
  best_.clear();
  for (const Shared& variable : fit.trainer.state()) {
    best_.emplace_back(variable, variable.get_value());
  }
}

void EarlyStopping::on_train_end(FitState&) {
  for (auto& [variable, value] : best_) variable.set_value(value);
  best_.clear();
}

// ---- ModelCheckpoint

ModelCheckpoint::ModelCheckpoint(std::filesystem::path path, ModelCheckpointOptions options)
    : path_(path.string()),
      options_(std::move(options)),
      monitor_(options_.monitor, options_.maximize) {
  if (path_.empty()) throw ValueError("ModelCheckpoint: the path is empty");
  if (options_.every_batches < 0) {
    throw ValueError("ModelCheckpoint: every_batches is " + std::to_string(options_.every_batches) +
                     ", expected at least 0");
  }
  if (options_.best_only && options_.every_batches > 0) {
    throw ValueError(
        "ModelCheckpoint: best_only is known at the end of an epoch, every_batches "
        "saves before it");
  }
}

void ModelCheckpoint::on_train_begin(FitState&) { monitor_.reset(); }

void ModelCheckpoint::save(const FitState& fit) const {
  std::string path = path_;
  constexpr std::string_view place = "{epoch}";
  const std::string number = std::to_string(fit.epoch);
  for (auto found = path.find(place); found != std::string::npos;
       found = path.find(place, found + number.size())) {
    path.replace(found, place.size(), number);
  }
  fit.trainer.save(path, fit.place());
}

void ModelCheckpoint::on_batch_end(FitState& fit, const Measured&) {
  // The end of the epoch saves after its last batch.
  const bool is_due = options_.every_batches > 0 && fit.batch % options_.every_batches == 0;
  if (is_due && fit.batch < fit.batches) save(fit);
}

void ModelCheckpoint::on_epoch_end(FitState& fit) {
  if (!options_.best_only || monitor_.observe(fit)) save(fit);
}

// ---- ReduceOnPlateau

ReduceOnPlateau::ReduceOnPlateau(const Shared& rate, const optim::PlateauOptions& options,
                                 std::string monitor)
    : plateau_(rate, options), monitor_(std::move(monitor)) {}

void ReduceOnPlateau::on_epoch_end(FitState& fit) {
  plateau_.observe(monitor_.value(fit.history.back()));
}

}  // namespace kroton::nn
