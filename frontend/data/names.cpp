#include "frontend/data/names.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <span>

#include "frontend/train/files.h"

namespace kroton::data {

namespace {

// How many characters are to be changed, put in or left out.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0U);
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0]++;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t changed = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({changed, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string no_such_name(const std::string& kind, std::string_view name,
                         const std::vector<std::string>& names) {
  constexpr std::size_t longest = 100, compared = 1000, most = 20;
  std::string text = "there is no " + kind + " " + files::shown(name);
  std::size_t least = name.size() / 3 + 1;
  std::string_view near;
  for (const std::string& other : std::span(names).first(std::min(names.size(), compared))) {
    if (name.size() > longest || other.size() > longest) continue;
    const std::size_t changes = distance(name, other);
    if (changes <= least && (near.empty() || changes < least)) {
      least = changes;
      near = other;
    }
  }
  if (!near.empty()) text += "; did you mean " + files::shown(near) + "?";
  if (names.empty()) return text + "; there are none";
  text += near.empty() ? "; there are " : " There are ";
  for (std::size_t k = 0; k < std::min(names.size(), most); ++k) {
    text += (k == 0 ? "" : ", ") + files::shown(names[k]);
  }
  if (names.size() > most) text += ", ... (" + std::to_string(names.size()) + " in all)";
  return text;
}

}  // namespace kroton::data
