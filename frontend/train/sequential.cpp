// Layers one after the other.
#include <kroton/error.h>
#include <kroton/nn.h>

#include <algorithm>
#include <set>

namespace kroton::nn {

namespace {

std::int64_t size_of(const Parameter& parameter) {
  std::int64_t count = 1;
  for (const Dim& size : parameter.value.shape()) count *= size.constant();
  return count;
}

// The layers' own names; the others are numbered by their kinds.
std::vector<std::string> names_of(const std::vector<Layer>& layers) {
  std::map<std::string, int> numbers;
  std::set<std::string> taken;
  std::vector<std::string> names;
  for (const Layer& layer : layers) {
    const std::string name = layer.name().empty()
                                 ? layer.kind() + std::to_string(++numbers[layer.kind()])
                                 : layer.name();
    if (!taken.insert(name).second) {
      throw ValueError("Sequential: two layers are called " + name);
    }
    names.push_back(name);
  }
  return names;
}

// Columns as wide as their widest cell, the last ones on the right.
std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths(rows.front().size(), 0);
  for (const auto& row : rows) {
    for (std::size_t k = 0; k < row.size(); ++k) widths[k] = std::max(widths[k], row[k].size());
  }
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t k = 0; k < row.size(); ++k) {
      const std::string space(widths[k] - row[k].size(), ' ');
      text += k + 1 < row.size() ? row[k] + space + "  " : space + row[k] + "\n";
    }
  }
  return text;
}

}  // namespace

Sequential::Sequential(std::initializer_list<Layer> layers, std::string name)
    : Sequential(std::vector<Layer>(layers), std::move(name)) {}

Sequential::Sequential(std::vector<Layer> layers, std::string name)
    : layers_(std::move(layers)),
      names_(names_of(layers_)),
      name_(std::move(name)),
      made_(std::make_shared<Made>()) {}

Tensor Sequential::operator()(const Tensor& x) const {
  const Recorder recorder;
  std::vector<Call> calls;
  Tensor y = x;
  for (std::size_t k = 0; k < layers_.size(); ++k) {
    const Scope path(names_[k]);
    const Recorder of_layer;
    y = layers_[k](y);
    Call call{names_[k], to_string(y.shape()), 0};
    for (const auto& parameter : of_layer.recorded()) call.parameters += size_of(*parameter);
    calls.push_back(std::move(call));
  }
  made_->calls = std::move(calls);
  for (const auto& parameter : recorder.recorded()) {
    auto& known = made_->parameters;
    if (std::find(known.begin(), known.end(), parameter) == known.end()) {
      known.push_back(parameter);
    }
  }
  return y;
}

Tensor Sequential::train(const Tensor& x) const {
  const Training training;
  return (*this)(x);
}

std::vector<Shared> Sequential::state() const {
  if (made_->calls.empty()) {
    throw ValueError("Sequential: the network has not been called, which makes its parameters");
  }
  std::vector<Shared> result;
  for (const auto& parameter : made_->parameters) result.push_back(parameter->value);
  return result;
}

std::vector<Shared> Sequential::parameters() const {
  const std::vector<Shared> all = state();
  std::vector<Shared> result;
  for (std::size_t k = 0; k < all.size(); ++k) {
    if (made_->parameters[k]->trainable) result.push_back(all[k]);
  }
  return result;
}

std::int64_t Sequential::parameter_count() const {
  std::int64_t count = 0;
  for (const auto& parameter : made_->parameters) count += size_of(*parameter);
  return count;
}

void Sequential::set_trainable(const std::string& path, bool trainable) const {
  bool found = false;
  for (const auto& parameter : made_->parameters) {
    const std::string& name = parameter->value.name();
    const bool is_below = name == path || name.starts_with(path + ".");
    if (parameter->is_statistic || !is_below) continue;
    parameter->trainable = trainable;
    found = true;
  }
  if (!found) {
    throw ValueError("set_trainable: there is no parameter " + path + ", nor one below it");
  }
}

std::string Sequential::summary() const {
  state();
  std::vector<std::vector<std::string>> rows = {{"layer", "gives", "parameters"}};
  for (const Call& call : made_->calls) {
    rows.push_back({call.name, call.shape, std::to_string(call.parameters)});
  }
  std::int64_t trained = 0;
  for (const auto& parameter : made_->parameters) {
    if (parameter->trainable) trained += size_of(*parameter);
  }
  return table(rows) + std::to_string(parameter_count()) + " parameters, " +
         std::to_string(trained) + " of them trained\n";
}

}  // namespace kroton::nn
