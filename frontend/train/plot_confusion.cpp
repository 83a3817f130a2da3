// Confusion matrices.
#include <kroton/error.h>
#include <kroton/plot.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "frontend/train/files.h"
#include "frontend/train/svg.h"

namespace kroton::plot {

namespace {

// From white through light to dark blue.
std::string shade(double part) {
  constexpr double stops[3][3] = {{255, 255, 255}, {107, 174, 214}, {8, 69, 148}};
  const double at = std::clamp(part, 0.0, 1.0) * 2;
  const std::size_t from = at < 1 ? 0 : 1;
  char text[8];
  int rgb[3];
  for (std::size_t c = 0; c < 3; ++c) {
    const double mixed =
        stops[from][c] + (stops[from + 1][c] - stops[from][c]) * (at - static_cast<double>(from));
    rgb[c] = static_cast<int>(std::lround(mixed));
  }
  std::snprintf(text, sizeof text, "#%02x%02x%02x", static_cast<unsigned>(rgb[0]) & 0xffU,
                static_cast<unsigned>(rgb[1]) & 0xffU, static_cast<unsigned>(rgb[2]) & 0xffU);
  return text;
}

std::string count_text(double count) {
  char text[32];
  std::snprintf(text, sizeof text, count == std::floor(count) && count < 1e9 ? "%.0f" : "%.3g",
                count);
  return text;
}

struct Checked {
  std::size_t classes = 0;
  std::vector<double> counts;
  std::vector<std::string> names;
  double at(std::size_t i, std::size_t j) const { return counts[i * classes + j]; }
};

Checked checked(const Confusion& confusion) {
  const std::string of = "confusion matrix " + files::shown(confusion.title) + ": ";
  const Shape& shape = confusion.counts.shape();
  if (shape.rank() != 2 || shape[0] != shape[1]) {
    throw ShapeError(of + "the counts are " + to_string(shape) + ", expected (classes, classes)");
  }
  Checked result;
  result.classes = static_cast<std::size_t>(shape[0]);
  result.names = confusion.classes;
  for (std::size_t k = 0; confusion.classes.empty() && k < result.classes; ++k) {
    result.names.push_back(std::to_string(k));
  }
  if (result.names.size() != result.classes) {
    throw ShapeError(of + "there are " + std::to_string(result.classes) + " classes and " +
                     std::to_string(result.names.size()) + " names");
  }
  const Array all = confusion.counts.cast(f64).contiguous();
  for (const double count : all.data<double>()) {
    if (!(count >= 0) || std::isinf(count)) {
      throw ValueError(of + "a count is " + to_string(Array(count)));
    }
    result.counts.push_back(count);
  }
  return result;
}

}  // namespace

std::string svg(const Confusion& confusion) {
  Checked all = checked(confusion);
  constexpr double label_size = 12;
  for (std::string& name : all.names) name = fitted(name, label_size, 160);
  const auto n = static_cast<double>(all.classes);
  double widest = 0;
  for (const std::string& name : all.names) {
    widest = std::max(widest, width_of(name, label_size));
  }
  const double cell = std::clamp(480 / std::max(n, 1.0), 6.0, n < 5 ? 72.0 : 56.0);
  const double side = std::max(n * cell, 1.0);
  // Names below the columns are turned where they are wider than these.
  const bool turned = widest > cell - 6;
  const bool has_names = cell >= 12;
  const double name_size = std::min(label_size, cell * 0.75);
  const double left = 44 + (has_names ? widest : 0), top = confusion.title.empty() ? 20 : 46;
  const double below = has_names ? (turned ? widest * 0.71 + 16 : 18) : 4;
  const double width = left + side + 84, height = top + side + below + 34;

  std::string out =
      text(left, 26, fitted(confusion.title, 16, side + 70), 15, Anchor::start, text_color, true);
  std::string cells, numbers;
  for (std::size_t i = 0; i < all.classes; ++i) {
    double total = 0;
    for (std::size_t j = 0; j < all.classes; ++j) total += all.at(i, j);
    const double y = top + static_cast<double>(i) * cell;
    for (std::size_t j = 0; j < all.classes; ++j) {
      const double count = all.at(i, j), part = total > 0 ? count / total : 0;
      const double x = left + static_cast<double>(j) * cell;
      cells += rectangle(x, y, cell, cell, shade(part));
      const std::string shown = count_text(count);
      // As large as the cell lets it be.
      const double size = std::min(13.0, 13 * (cell - 6) / std::max(width_of(shown, 13), 1.0));
      if (size < 6) continue;
      numbers += text(x + cell / 2, y + cell / 2 + size * 0.36, shown, size, Anchor::middle,
                      count == 0    ? "#b0b0b0"
                      : part > 0.55 ? "#ffffff"
                                    : text_color);
    }
    if (!has_names) continue;
    out += text(left - 7, y + cell / 2 + 4, all.names[i], name_size, Anchor::end);
    const double x = left + (static_cast<double>(i) + 0.5) * cell;
    if (turned) {
      out += text(x + 4, top + side + 13, all.names[i], name_size, Anchor::end, text_color, false,
                  -45);
    } else {
      out += text(x, top + side + 16, all.names[i], name_size, Anchor::middle);
    }
  }
  out += cells;
  // Lines between cells, and around them.
  for (std::size_t k = 0; k <= all.classes; ++k) {
    const double at = static_cast<double>(k) * cell;
    const char* color = k == 0 || k == all.classes ? axis_color : grid_color;
    const double thickness = cell >= 12 || k == 0 || k == all.classes ? 1 : 0.25;
    out += line(left, top + at, left + side, top + at, color, thickness);
    out += line(left + at, top, left + at, top + side, color, thickness);
  }
  out += numbers;
  if (all.classes == 0) out += text(left, top + 20, "no data", label_size);
  out += text(20, top + side / 2, "true class", label_size, Anchor::middle, text_color, false, -90);
  out += text(left + side / 2, height - 10, "predicted class", label_size, Anchor::middle);
  // What the shades mean.
  const double bar = std::min(side, 200.0), x = left + side + 18;
  constexpr int steps = 40;
  for (int k = 0; k < steps; ++k) {
    out += rectangle(x, top + bar * k / steps, 12, bar / steps + 0.5, shade(1 - (k + 0.5) / steps));
  }
  for (const int percent : {0, 50, 100}) {
    out += text(x + 17, top + bar * (1 - percent / 100.0) + 4, std::to_string(percent) + " %", 10);
  }
  out +=
      text(x + 58, top + bar / 2, "of the true class", 10, Anchor::middle, text_color, false, -90);
  return document(width, height, out);
}

}  // namespace kroton::plot
