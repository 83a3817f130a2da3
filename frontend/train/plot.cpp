// Charts of curves, points and bars.
#include <kroton/error.h>
#include <kroton/plot.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "frontend/train/files.h"
#include "frontend/train/plot_axis.h"
#include "frontend/train/svg.h"

namespace kroton::plot {

namespace {

// Okabe and Ito, "Color Universal Design" (2008), without black and yellow.
constexpr const char* palette[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                   "#e69f00", "#56b4e9", "#6f4e9c", "#7f7f7f"};

constexpr double label_size = 12, tick_size = 11, title_size = 15;

template <class Error = ValueError>
[[noreturn]] void fail(const Chart& chart, const std::string& what) {
  throw Error("chart " + files::shown(chart.title) + ": " + what);
}

void check_range(const Chart& chart, const char* name, const std::optional<Range>& range,
                 Scale scale) {
  if (!range) return;
  const auto [low, high] = *range;
  const bool is_right = std::isfinite(low) && std::isfinite(high) && low < high &&
                        (scale == Scale::linear || low > 0);
  if (is_right) return;
  fail(chart, std::string(name) + " is from " + to_string(Array(low)) + " to " +
                  to_string(Array(high)) + (scale == Scale::log ? " on a logarithmic axis" : ""));
}

void check(const Chart& chart) {
  if (chart.width < 100 || chart.height < 100) {
    fail(chart, "it is " + std::to_string(chart.width) + " by " + std::to_string(chart.height) +
                    " pixels, expected at least 100 by 100");
  }
  check_range(chart, "x_range", chart.x_range, chart.x_scale);
  check_range(chart, "y_range", chart.y_range, chart.y_scale);
  for (const Series& series : chart.series) {
    const std::size_t more = series.mark == Mark::bars ? 1 : 0;
    if ((series.x.empty() && (more == 0 || series.y.empty())) ||
        series.x.size() == series.y.size() + more) {
      continue;
    }
    fail<ShapeError>(chart, "the series " + files::shown(series.name) + " has " +
                                std::to_string(series.x.size()) + " x and " +
                                std::to_string(series.y.size()) + " y" +
                                (more == 1 ? ", bars have one x more than y" : ""));
  }
}

double x_of(const Series& series, std::size_t k) {
  return series.x.empty() ? static_cast<double>(k) : series.x[k];
}

// What is in the legend, in rows of a width.
struct Legend {
  struct Entry {
    std::string name, color;
    Mark mark;
    double x = 0;
    int row = 0;
  };
  std::vector<Entry> entries;
  int rows = 0;

  static constexpr double row_height = 18, symbol = 22;

  Legend(const Chart& chart, const std::vector<std::string>& colors, double width) {
    double x = 0;
    for (std::size_t k = 0; k < chart.series.size(); ++k) {
      const Series& series = chart.series[k];
      if (series.name.empty()) continue;
      const std::string name = fitted(series.name, label_size, width - symbol - 6);
      const double own = symbol + 6 + width_of(name, label_size) + 18;
      if (rows == 0 || (x > 0 && x + own - 18 > width)) {
        ++rows;
        x = 0;
      }
      entries.push_back({name, colors[k], series.mark, x, rows - 1});
      x += own;
    }
  }

  std::string drawn(double left, double top) const {
    std::string out;
    for (const Entry& entry : entries) {
      const double x = left + entry.x, y = top + row_height * (entry.row + 0.5);
      if (entry.mark == Mark::points) {
        out += "<circle cx=\"" + number(x + symbol / 2) + "\" cy=\"" + number(y) +
               "\" r=\"4\" fill=\"" + escaped(entry.color) + "\"/>\n";
      } else if (entry.mark == Mark::bars) {
        out += rectangle(x + 5, y - 5, 12, 10, entry.color);
      } else {
        out += "<path d=\"M" + number(x) + ' ' + number(y) + 'h' + number(symbol) +
               "\" fill=\"none\" stroke=\"" + escaped(entry.color) + "\" stroke-width=\"2\"" +
               (entry.mark == Mark::dashed ? " stroke-dasharray=\"5 3\"" : "") + "/>\n";
      }
      out += text(x + symbol + 6, y + 4, entry.name, label_size);
    }
    return out;
  }
};

// A series in an area of this size, its origin at the top left.
class Drawing {
 public:
  Drawing(const Axis& x, const Axis& y, double width, double height)
      : x_(x), y_(y), width_(width), height_(height) {}

  std::string of(const Series& series, const std::string& color) const {
    switch (series.mark) {
      case Mark::line:
      case Mark::dashed:
        return line_of(series, color);
      case Mark::points:
        return points_of(series, color);
      case Mark::bars:
        return bars_of(series, color);
    }
    return "";
  }

 private:
  struct Point {
    double x, y;
    bool is_gap() const { return std::isnan(x) || std::isnan(y); }
    std::string text() const { return number(x) + ' ' + number(y); }
  };
  // Far outside of a range that is given, drawing programs do not count on.
  static double bounded(double position) { return std::clamp(position, -10.0, 11.0); }
  Point at(double x, double y) const {
    const double across = x_.position(x), up = y_.position(y);
    if (std::isnan(across) || std::isnan(up)) return {across, up};
    return {bounded(across) * width_, (1 - bounded(up)) * height_};
  }
  static std::string dot(const Point& point, double radius, const std::string& color) {
    return "<circle cx=\"" + number(point.x) + "\" cy=\"" + number(point.y) + "\" r=\"" +
           number(radius) + "\" fill=\"" + escaped(color) + "\"/>\n";
  }

  std::string line_of(const Series& series, const std::string& color) const {
    std::string path, dots;
    Point last{std::nan(""), 0};
    std::size_t length = 0;  // of the piece under way
    const auto finish = [&] {
      // A piece of one point would not be seen.
      if (length == 1) dots += dot(last, 3, color);
      length = 0;
    };
    for (std::size_t k = 0; k < series.y.size(); ++k) {
      const Point point = at(x_of(series, k), series.y[k]);
      if (point.is_gap()) {
        finish();
        continue;
      }
      path += (length == 0 ? 'M' : 'L') + point.text();
      ++length;
      last = point;
    }
    finish();
    if (path.empty()) return "";
    return "<path d=\"" + path + "\" fill=\"none\" stroke=\"" + escaped(color) +
           "\" stroke-width=\"2\" stroke-linejoin=\"round\" stroke-linecap=\"round\"" +
           (series.mark == Mark::dashed ? " stroke-dasharray=\"6 4\"" : "") + "/>\n" + dots;
  }

  std::string points_of(const Series& series, const std::string& color) const {
    // Many points are small and let others through.
    const double radius = series.y.size() > 500 ? 2 : 3;
    std::string dots;
    for (std::size_t k = 0; k < series.y.size(); ++k) {
      const Point point = at(x_of(series, k), series.y[k]);
      if (!point.is_gap()) dots += dot(point, radius, color);
    }
    return "<g fill-opacity=\"0.6\">\n" + dots + "</g>\n";
  }

  std::string bars_of(const Series& series, const std::string& color) const {
    const double zero = y_.position(0);
    const double bottom = std::isnan(zero) ? height_ : (1 - bounded(zero)) * height_;
    std::string bars;
    for (std::size_t k = 0; k < series.y.size(); ++k) {
      const Point from = at(series.x[k], series.y[k]), to = at(series.x[k + 1], series.y[k]);
      if (from.is_gap() || to.is_gap()) continue;
      // White lines between them.
      const double gap = to.x - from.x > 4 ? 1 : 0;
      bars += rectangle(std::min(from.x, to.x) + gap / 2, std::min(from.y, bottom),
                        std::abs(to.x - from.x) - gap, std::abs(bottom - from.y), color);
    }
    return "<g fill-opacity=\"0.75\">\n" + bars + "</g>\n";
  }

  const Axis &x_, &y_;
  double width_, height_;
};

std::string content_of(const Chart& chart) {
  check(chart);
  std::vector<double> xs, ys;
  std::vector<std::string> colors;
  bool has_bars = false;
  for (const Series& series : chart.series) {
    colors.push_back(series.color.empty() ? palette[colors.size() % std::size(palette)]
                                          : series.color);
    has_bars = has_bars || series.mark == Mark::bars;
    for (std::size_t k = 0; k < series.y.size(); ++k) {
      // A gap has no part in the axes.
      const bool is_seen = std::isfinite(series.y[k]) && std::isfinite(x_of(series, k)) &&
                           (chart.y_scale == Scale::linear || series.y[k] > 0) &&
                           (chart.x_scale == Scale::linear || x_of(series, k) > 0);
      if (!is_seen) continue;
      ys.push_back(series.y[k]);
      xs.push_back(x_of(series, k));
      if (series.mark == Mark::bars) xs.push_back(series.x[k + 1]);
    }
  }
  const double width = chart.width, height = chart.height;
  const double right = width - 20;
  const double title_height = chart.title.empty() ? 0 : 26;
  double bottom = height - 30 - (chart.x_label.empty() ? 0 : 20);

  const Axis y(ys, chart.y_scale, chart.y_range, 0.05,
               std::max(2, static_cast<int>((bottom - title_height) / 48)), has_bars);
  double widest = 0;
  for (const Tick& tick : y.ticks()) widest = std::max(widest, width_of(tick.label, tick_size));
  if (!y.factor().empty()) widest = std::max(widest, width_of(y.factor(), tick_size));
  const double left = std::min(14 + (chart.y_label.empty() ? 0 : 20) + widest + 8, width / 2);
  const Legend legend(chart, colors, right - left);
  const double top = std::min(14 + title_height + legend.rows * Legend::row_height +
                                  (legend.rows > 0 || !y.factor().empty() ? 8 : 0),
                              bottom - 20);
  // Labels of the x axis have room for the widest of them.
  int most = std::max(2, static_cast<int>((right - left) / 64));
  Axis x(xs, chart.x_scale, chart.x_range, has_bars ? 0.01 : 0.02, most);
  for (; most > 2; --most) {
    double total = 0;
    for (const Tick& tick : x.ticks()) total += width_of(tick.label, tick_size) + 14;
    if (total <= right - left) break;
    x = Axis(xs, chart.x_scale, chart.x_range, has_bars ? 0.01 : 0.02, most - 1);
  }

  std::string out = text(left, 24, fitted(chart.title, title_size * 1.07, right - left), title_size,
                         Anchor::start, text_color, true);
  out += legend.drawn(left, 10 + title_height);
  for (const Tick& tick : y.ticks()) {
    const double at = bottom - tick.at * (bottom - top);
    out += line(left, at, right, at, grid_color);
    out += text(left - 7, at + 4, tick.label, tick_size, Anchor::end);
  }
  for (const Tick& tick : x.ticks()) {
    const double at = left + tick.at * (right - left);
    out += line(at, top, at, bottom, grid_color);
    out += line(at, bottom, at, bottom + 4, axis_color);
    out += text(at, bottom + 17, tick.label, tick_size, Anchor::middle);
  }
  // Nested, so that nothing leaves the area.
  out += "<svg x=\"" + number(left) + "\" y=\"" + number(top) + "\" width=\"" +
         number(right - left) + "\" height=\"" + number(bottom - top) + "\">\n";
  const Drawing drawing(x, y, right - left, bottom - top);
  for (std::size_t k = 0; k < chart.series.size(); ++k) {
    out += drawing.of(chart.series[k], colors[k]);
  }
  out += "</svg>\n";
  out += line(left, top, left, bottom, axis_color) + line(left, bottom, right, bottom, axis_color);
  if (ys.empty()) {
    out += text((left + right) / 2, (top + bottom) / 2, "no data", label_size, Anchor::middle,
                axis_color);
  }
  out += text(left - 7, top - 8, y.factor(), tick_size, Anchor::end);
  out += text(right, bottom + 31, x.factor(), tick_size, Anchor::end);
  out += text((left + right) / 2, height - 12, chart.x_label, label_size, Anchor::middle);
  out += text(20, (top + bottom) / 2, chart.y_label, label_size, Anchor::middle, text_color, false,
              -90);
  return out;
}

}  // namespace

std::string svg(const Chart& chart) {
  return document(chart.width, chart.height, content_of(chart));
}

std::string svg(const std::vector<Chart>& charts, int columns) {
  if (columns < 1) throw ValueError("svg: columns is " + std::to_string(columns) + ", below 1");
  double x = 0, y = 0, row_height = 0, width = 0;
  int column = 0;
  std::string out;
  for (const Chart& chart : charts) {
    if (column == columns) {
      y += row_height;
      x = row_height = 0;
      column = 0;
    }
    out += "<g transform=\"translate(" + number(x) + ' ' + number(y) + ")\">\n" +
           content_of(chart) + "</g>\n";
    x += chart.width;
    width = std::max(width, x);
    row_height = std::max(row_height, static_cast<double>(chart.height));
    ++column;
  }
  return document(width, y + row_height, out);
}

Series histogram(const Array& values, int bins, std::string name) {
  if (bins < 1) throw ValueError("histogram: bins is " + std::to_string(bins) + ", below 1");
  const Array all = values.cast(f64).contiguous();
  std::vector<double> finite;
  for (const double value : all.data<double>()) {
    if (std::isfinite(value)) finite.push_back(value);
  }
  Series series{.name = std::move(name), .y = {}, .mark = Mark::bars};
  if (finite.empty()) return series;
  auto [least, largest] = std::ranges::minmax(finite);
  // Equal values lie in the middle.
  if (least == largest) {
    const double around = std::max(std::abs(least) / 10, 0.5);
    least -= around;
    largest += around;
  }
  // Halves, as the difference of two doubles may be none.
  const double half = largest / 2 - least / 2;
  for (int k = 0; k <= bins; ++k) series.x.push_back(least + 2 * (half * k / bins));
  series.y.assign(static_cast<std::size_t>(bins), 0);
  for (const double value : finite) {
    const int at = static_cast<int>((value / 2 - least / 2) / half * bins);
    ++series.y[static_cast<std::size_t>(std::clamp(at, 0, bins - 1))];
  }
  return series;
}

std::vector<Chart> learning_curves(const std::vector<nn::Epoch>& history) {
  if (history.empty()) throw ValueError("learning_curves: there are no epochs");
  std::vector<std::string> names = {"loss"};
  for (const auto& [name, value] : history.front().train.metrics) names.push_back(name);
  std::vector<Chart> charts;
  for (const std::string& name : names) {
    Series train{.name = "training", .y = {}};
    Series validation{.name = "validation", .y = {}, .mark = Mark::dashed};
    for (const nn::Epoch& epoch : history) {
      train.x.push_back(epoch.number);
      train.y.push_back(epoch.train[name]);
      if (!epoch.validation) continue;
      validation.x.push_back(epoch.number);
      validation.y.push_back((*epoch.validation)[name]);
    }
    Chart chart{.title = name,
                .x_label = "epoch",
                .series = {std::move(train)},
                .width = 480,
                .height = 320};
    if (!validation.y.empty()) chart.series.push_back(std::move(validation));
    charts.push_back(std::move(chart));
  }
  return charts;
}

void write_svg(const std::filesystem::path& path, const Chart& chart) {
  files::OutputFile file(path);
  file.write(svg(chart));
  file.commit();
}
void write_svg(const std::filesystem::path& path, const Confusion& confusion) {
  files::OutputFile file(path);
  file.write(svg(confusion));
  file.commit();
}
void write_svg(const std::filesystem::path& path, const std::vector<Chart>& charts, int columns) {
  files::OutputFile file(path);
  file.write(svg(charts, columns));
  file.commit();
}

}  // namespace kroton::plot
