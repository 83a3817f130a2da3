#include <kroton/callbacks.h>
#include <kroton/error.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "frontend/train/trainer_parts.h"

namespace kroton::nn {

// ---- Monitor

namespace {

std::string listed(const std::vector<std::string>& names) {
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
  return all;
}

// Whether a larger value of that name is better; nothing where the name does not tell.
std::optional<bool> is_maximized(std::string name) {
  std::ranges::transform(name, name.begin(), [](char c) {
    return 'A' <= c && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  const auto ends_in = [&](std::initializer_list<std::string_view> words) {
    return std::ranges::any_of(words, [&](std::string_view word) {
      if (!name.ends_with(word)) return false;
      const std::size_t before = name.size() - word.size();
      return before == 0 || name[before - 1] < 'a' || name[before - 1] > 'z';
    });
  };
  if (name.empty()) return false;  // the loss
  if (ends_in(
          {"accuracy", "acc", "auc", "precision", "recall", "f1", "f1_score", "r_squared", "r2"})) {
    return true;
  }
  if (ends_in({"loss", "error", "perplexity", "mse", "rmse", "mae", "nll", "cross_entropy"})) {
    return false;
  }
  return {};
}

bool is_maximized(const char* owner, const std::string& name, std::optional<bool> given) {
  if (!given) given = is_maximized(name);
  if (given) return *given;
  throw ValueError(std::string(owner) + ": the name \"" + name +
                   "\" does not tell whether larger is better: .maximize does");
}

}  // namespace

Monitor::Monitor(std::string name, std::optional<bool> maximize, double min_delta,
                 std::string owner)
    : owner_(std::move(owner)),
      name_(std::move(name)),
      maximize_(is_maximized(owner_.c_str(), name_, maximize)),
      min_delta_(min_delta) {
  if (!(min_delta >= 0)) {
    throw ValueError(owner_ + ": min_delta is " + to_string(Array(min_delta)) +
                     ", expected at least 0");
  }
  reset();
}

void Monitor::reset() {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  best_ = maximize_ ? -infinity : infinity;
  best_epoch_ = 0;
}

void Monitor::check(const FitState& fit) const {
  if (name_.empty() || std::ranges::find(fit.names, name_) != fit.names.end()) return;
  throw ValueError(owner_ + ": nothing that is measured is called \"" + name_ + "\"; there are " +
                   listed(fit.names));
}

double Monitor::value(const Epoch& epoch) const {
  if (!name_.empty()) {
    return with_prefix([&] { return epoch[name_]; }, [&] { return owner_ + ": "; });
  }
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
      monitor_(options_.monitor, options_.maximize, options_.min_delta, "EarlyStopping") {
  if (options_.patience >= 1) return;
  throw ValueError("EarlyStopping: patience is " + std::to_string(options_.patience) +
                   ", expected at least 1");
}

void EarlyStopping::on_train_begin(FitState& fit) {
  monitor_.check(fit);
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

// ---- ReduceOnPlateau

namespace {

optim::PlateauOptions directed(optim::PlateauOptions options, const std::string& monitor) {
  options.maximize = is_maximized("ReduceOnPlateau", monitor, options.maximize);
  return options;
}

}  // namespace

ReduceOnPlateau::ReduceOnPlateau(const Shared& rate, const optim::PlateauOptions& options,
                                 std::string monitor)
    : plateau_(rate, directed(options, monitor)),
      monitor_(std::move(monitor), options.maximize, 0, "ReduceOnPlateau") {}

void ReduceOnPlateau::on_train_begin(FitState& fit) { monitor_.check(fit); }

void ReduceOnPlateau::on_epoch_end(FitState& fit) {
  plateau_.observe(monitor_.value(fit.history.back()));
}

}  // namespace kroton::nn
