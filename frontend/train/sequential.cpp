// Layers one after the other.
#include <kroton/error.h>
#include <kroton/nn_network.h>

#include <algorithm>
#include <cstdio>

#include "frontend/train/layer_names.h"

namespace kroton::nn {

namespace {

std::int64_t size_of(const Parameter& parameter) {
  std::int64_t count = 1;
  for (const Dim& size : parameter.value.shape()) count *= size.constant();
  return count;
}

// Three digits, more of large numbers: "0.00123", "58.3", "1204".
std::string formatted(double value) {
  if (value == 0) return "0";
  char text[64];
  std::snprintf(text, sizeof text, value < 1000 ? "%.3g" : "%.0f", value);
  return text;
}

// Columns as wide as their widest cell, those of numbers on the right.
std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths(rows.front().size(), 0);
  for (const auto& row : rows) {
    for (std::size_t k = 0; k < row.size(); ++k) widths[k] = std::max(widths[k], row[k].size());
  }
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t k = 0; k < row.size(); ++k) {
      const std::string space(widths[k] - row[k].size(), ' ');
      text += (k < 2 ? row[k] + space : space + row[k]) + (k + 1 < row.size() ? "  " : "\n");
    }
  }
  return text;
}

}  // namespace

Sequential::Sequential(std::initializer_list<Layer> layers, std::string name)
    : Sequential(std::vector<Layer>(layers), std::move(name)) {}

Sequential::Sequential(std::vector<Layer> layers, std::string name)
    : layers_(std::move(layers)),
      names_(names_of("Sequential", layers_)),
      name_(std::move(name)),
      made_(std::make_shared<Made>()) {}

Tensor Sequential::operator()(const Tensor& x) const {
  const Scope own = Scope::of_layer(name_);
  const Recorder recorder;
  std::vector<Call> calls;
  Tensor y = x;
  for (std::size_t k = 0; k < layers_.size(); ++k) {
    const Scope path(names_[k]);
    const Recorder of_layer;
    y = layers_[k](y);
    Call call{names_[k], y.type(), 0, of_layer.multiply_adds()};
    for (const auto& parameter : of_layer.recorded()) call.parameters += size_of(*parameter);
    calls.push_back(std::move(call));
  }
  made_->calls = std::move(calls);
  made_->is_called = true;
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
  if (!made_->is_called) {
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

std::vector<std::shared_ptr<Parameter>> Sequential::below(const char* what,
                                                          const std::string& path) const {
  state();
  std::vector<std::shared_ptr<Parameter>> found;
  std::vector<std::string> paths;
  for (const auto& parameter : made_->parameters) {
    if (parameter->is_statistic) continue;
    const std::string& name = parameter->value.name();
    if (name == path || name.starts_with(path + ".")) found.push_back(parameter);
    for (std::size_t end = name.find('.'); end != std::string::npos;
         end = name.find('.', end + 1)) {
      paths.push_back(name.substr(0, end));
    }
    paths.push_back(name);
  }
  if (!found.empty()) return found;
  std::sort(paths.begin(), paths.end());
  paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
  std::string near;
  for (const std::string& name : near_names(paths, path)) near += (near.empty() ? "" : ", ") + name;
  throw ValueError(std::string(what) + ": there is no parameter " + path + ", nor one below it" +
                   (near.empty() ? "; the network has none" : "; near are " + near));
}

std::vector<Shared> Sequential::parameters(const std::string& path) const {
  std::vector<Shared> result;
  for (const auto& parameter : below("parameters", path)) {
    if (parameter->trainable) result.push_back(parameter->value);
  }
  return result;
}

std::int64_t Sequential::parameter_count() const {
  std::int64_t count = 0;
  for (const auto& parameter : made_->parameters) count += size_of(*parameter);
  return count;
}

void Sequential::set_trainable(const std::string& path, bool trainable) const {
  for (const auto& parameter : below("set_trainable", path)) parameter->trainable = trainable;
}

std::string Sequential::summary(const std::map<std::string, std::int64_t>& sizes) const {
  state();
  const auto number = [&](const Dim& size) {
    return static_cast<double>(size.evaluate([&](const DimAtom& free) -> std::int64_t {
      const auto given = sizes.find(free.name);
      return given == sizes.end() ? 1 : given->second;
    }));
  };
  std::vector<std::vector<std::string>> rows = {{"layer", "gives", "parameters", "MFLOP", "MiB"}};
  double all_flops = 0, all_bytes = 0;
  for (const Call& call : made_->calls) {
    double count = 1;
    bool is_possible = true;
    for (const Dim& size : call.gives.shape) {
      count *= number(size);
      is_possible = is_possible && number(size) >= 0;
    }
    std::vector<std::string> row = {call.name, to_string(call.gives.shape),
                                    std::to_string(call.parameters)};
    if (!is_possible) {
      row.insert(row.end(), {"?", "?"});
      rows.push_back(std::move(row));
      continue;
    }
    const double flops = 2 * number(call.multiply_adds);
    const double bytes = count * static_cast<double>(kroton::size_of(call.gives.dtype));
    row.insert(row.end(), {formatted(flops / 1e6), formatted(bytes / 0x1p20)});
    rows.push_back(std::move(row));
    all_flops += flops;
    all_bytes += bytes;
  }
  std::int64_t trained = 0;
  for (const auto& parameter : made_->parameters) {
    if (parameter->trainable) trained += size_of(*parameter);
  }
  return table(rows) + std::to_string(parameter_count()) + " parameters, " +
         std::to_string(trained) + " of them trained; " + formatted(all_flops / 1e6) + " MFLOP, " +
         formatted(all_bytes / 0x1p20) + " MiB\n";
}

}  // namespace kroton::nn
