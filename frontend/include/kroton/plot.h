// Curves, points, histograms and confusion matrices as SVG, which browsers show and documents take.
//
//     kt::plot::write_svg("curves.svg", kt::plot::learning_curves(trainer.fit(...)));
//     kt::plot::write_svg("points.svg", {.title = "two classes", .x_label = "x", .y_label = "y",
//                                        .series = {{.name = "first", .x = x0, .y = y0,
//                                                    .mark = kt::plot::Mark::points}}});
//
// Pictures are on white, so that they can be read on dark pages, too, and their colours can be told
// apart by the colour-blind. The same charts give the same bytes. Texts may be any UTF-8; a byte
// that is none is shown as "?".
#pragma once
#include <kroton/array.h>
#include <kroton/trainer.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace kroton::plot {

enum class Mark : std::uint8_t {
  line,
  dashed,
  points,
  bars  // from 0, between the x of k and of k + 1: one x more than y
};

// A value that is not finite, or on a logarithmic axis not positive, is a gap.
struct Series {
  std::string name = {};          // in the legend; empty: not there
  std::vector<double> x = {}, y;  // without x: 0, 1, 2, ...
  Mark mark = Mark::line;
  std::string color = {};  // as CSS has it, "#d55e00"; empty: the next one of the palette
};

enum class Scale : std::uint8_t { linear, log };
using Range = std::pair<double, double>;

struct Chart {
  std::string title = {}, x_label = {}, y_label = {};
  std::vector<Series> series = {};
  Scale x_scale = Scale::linear, y_scale = Scale::linear;
  // What the axes show; else all that there is.
  std::optional<Range> x_range = {}, y_range = {};
  int width = 640, height = 400;  // pixels
};

// Counts as a picture: (classes, classes), the true class in each row, as nn::confusion_matrix
// gives them. A cell is the darker the larger its part of the true class is.
struct Confusion {
  Array counts;
  std::vector<std::string> classes = {};  // their names; empty: 0, 1, 2, ...
  std::string title = {};
};

// The picture. ShapeError for a series with other numbers of x and y, for counts that are not
// square, and for another number of names; ValueError for a width or height below 100 pixels, for a
// range that is not finite, empty, or on a logarithmic axis not positive, and for counts that are
// negative or not finite. All name the chart's title.
std::string svg(const Chart& chart);
std::string svg(const Confusion& confusion);
// Side by side, in rows of so many; they may be of different sizes.
std::string svg(const std::vector<Chart>& charts, int columns = 2);
// The same in a file, which is the old or the new one at any time. IoError where it cannot be
// written.
void write_svg(const std::filesystem::path& path, const Chart& chart);
void write_svg(const std::filesystem::path& path, const Confusion& confusion);
void write_svg(const std::filesystem::path& path, const std::vector<Chart>& charts,
               int columns = 2);

// How often values fall into bins of one width from the least to the largest: bars. Those that are
// not finite are left out. ValueError for less than one bin.
Series histogram(const Array& values, int bins = 30, std::string name = {});
// A chart of the loss and one of each metric over the epochs: of training, and where there is one
// of validation, dashed. ValueError for no epochs.
std::vector<Chart> learning_curves(const std::vector<nn::Epoch>& history);

}  // namespace kroton::plot
