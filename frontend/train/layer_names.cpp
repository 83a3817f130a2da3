#include "frontend/train/layer_names.h"

#include <kroton/error.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

namespace kroton::nn {

std::vector<std::string> names_of(const char* what, const std::vector<Layer>& layers) {
  std::map<std::string, int> numbers;
  std::set<std::string> taken;
  std::vector<std::string> names;
  for (const Layer& layer : layers) {
    const std::string name = layer.name().empty()
                                 ? layer.kind() + std::to_string(++numbers[layer.kind()])
                                 : layer.name();
    if (!taken.insert(name).second) {
      throw ValueError(std::string(what) + ": two layers are called " + name);
    }
    names.push_back(name);
  }
  return names;
}

namespace {

// How many characters are put in, left out or replaced: Levenshtein's distance, row by row.
std::size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t k = 0; k < b.size(); ++k) {
      const std::size_t replaced = diagonal + (a[i] == b[k] ? 0 : 1);
      diagonal = row[k + 1];
      row[k + 1] = std::min({replaced, row[k] + 1, diagonal + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

std::vector<std::string> near_names(const std::vector<std::string>& names,
                                    const std::string& name) {
  std::vector<std::string> near = names;
  std::stable_sort(near.begin(), near.end(), [&](const std::string& a, const std::string& b) {
    return distance(a, name) < distance(b, name);
  });
  near.resize(std::min<std::size_t>(near.size(), 3));
  return near;
}

}  // namespace kroton::nn
