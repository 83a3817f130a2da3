// Charts as SVG: where things are, what is escaped, and what is odd.
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <regex>

#include "frontend/train/plot_axis.h"
#include "frontend/train/svg.h"
#include "tests/tools/error_text.h"
#include "tests/tools/temporary_directory.h"
#include "tests/train/trainer_tools.h"

using namespace kroton;      // NOLINT: tests
using namespace error_text;  // NOLINT: tests

namespace {

constexpr double missing = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++count;
  }
  return count;
}

// Every tag is closed in its turn, there is one root, and no number is none.
bool is_well_formed(const std::string& svg) {
  static const std::regex tag(R"(<(/?)(\w+)((?:\s+[\w:-]+="[^"<]*")*)\s*(/?)>)");
  std::vector<std::string> open;
  std::size_t tags = 0;
  for (std::sregex_iterator at(svg.begin(), svg.end(), tag), end; at != end; ++at) {
    ++tags;
    if ((*at)[1].length() > 0) {
      if (open.empty() || open.back() != (*at)[2]) return false;
      open.pop_back();
    } else if ((*at)[4].length() == 0) {
      open.push_back((*at)[2]);
    }
  }
  const bool has_numbers =
      svg.find("nan") == std::string::npos && svg.find("\"inf") == std::string::npos;
  return open.empty() && tags == count_of(svg, "<") && svg.starts_with("<svg ") && has_numbers;
}

// The text of all <text> of a picture.
std::vector<std::string> texts_of(const std::string& svg) {
  static const std::regex text(R"(<text [^>]*>([^<]*)</text>)");
  std::vector<std::string> texts;
  for (std::sregex_iterator at(svg.begin(), svg.end(), text), end; at != end; ++at) {
    texts.push_back((*at)[1]);
  }
  return texts;
}

std::vector<std::string> labels_of(const plot::Axis& axis) {
  std::vector<std::string> labels;
  for (const plot::Tick& tick : axis.ticks()) labels.push_back(tick.label);
  return labels;
}

using Labels = std::vector<std::string>;

plot::Axis linear(const std::vector<double>& values, int most = 5) {
  return {values, plot::Scale::linear, {}, 0, most};
}
plot::Axis logarithmic(const std::vector<double>& values, int most = 5) {
  return {values, plot::Scale::log, {}, 0, most};
}

}  // namespace

TEST_CASE("plot: ticks of linear axes") {
  CHECK(labels_of(linear({0, 1})) == Labels{"0", "1"});  // whole values have whole ticks
  CHECK(labels_of(linear({0, 0.99})) == Labels{"0.0", "0.2", "0.4", "0.6", "0.8"});
  CHECK(labels_of(linear({-0.5, 0.55})) == Labels{"−0.5", "0.0", "0.5"});
  CHECK(labels_of(linear({0, 100})) == Labels{"0", "20", "40", "60", "80", "100"});
  CHECK(labels_of(linear({1, 2})) == Labels{"1", "2"});
  CHECK(labels_of(linear({0.0011, 0.0039})) == Labels{"0.002", "0.003"});
  CHECK(labels_of(linear({7})) == Labels{"6", "7", "8"});
  CHECK(labels_of(linear({0})) == Labels{"−1", "0", "1"});
  CHECK(labels_of(linear({})) == Labels{"0.0", "0.2", "0.4", "0.6", "0.8", "1.0"});
  const plot::Axis large = linear({0, 3e9});
  CHECK(labels_of(large) == Labels{"0", "1", "2", "3"});
  CHECK(large.factor() == "×10⁹");
  const plot::Axis small = linear({0.5e-7, 3e-7});
  CHECK(labels_of(small) == Labels{"0.5", "1.0", "1.5", "2.0", "2.5", "3.0"});
  CHECK(small.factor() == "×10⁻⁷");
  CHECK(large.position(1.5e9) == doctest::Approx(0.5));
  CHECK(std::isnan(large.position(missing)));
  CHECK(std::isnan(large.position(infinity)));
  // The difference of the ends is no double.
  const plot::Axis widest = linear({-1.7e308, 1.7e308});
  CHECK(widest.position(0) == doctest::Approx(0.5));
  CHECK(labels_of(widest) == Labels{"−1", "0", "1"});
  const plot::Axis least = linear({0, 5e-324});
  CHECK(least.position(5e-324) == doctest::Approx(1));
  CHECK(least.ticks().size() >= 2);
  // Differences in the last places.
  const plot::Axis close = linear({1, 1 + 1e-9});
  CHECK(close.position(1 + 5e-10) == doctest::Approx(0.5).epsilon(1e-3));
  CHECK(close.ticks().size() >= 2);
}

TEST_CASE("plot: ticks of logarithmic axes") {
  CHECK(labels_of(logarithmic({0.001, 100})) == Labels{"0.001", "0.01", "0.1", "1", "10", "100"});
  CHECK(labels_of(logarithmic({1e-9, 1})) == Labels{"10⁻⁸", "10⁻⁶", "10⁻⁴", "0.01", "1"});
  CHECK(labels_of(logarithmic({1, 20})) == Labels{"1", "2", "5", "10", "20"});
  CHECK(labels_of(logarithmic({3.1, 3.3})) == Labels{"3.1", "3.3"});
  const plot::Axis axis = logarithmic({1, 100, 0, -5, missing});
  CHECK(axis.position(10) == doctest::Approx(0.5));
  CHECK(std::isnan(axis.position(0)));
  CHECK(std::isnan(axis.position(-1)));
  CHECK(logarithmic({1e-300, 1e300}).ticks().size() >= 2);
}

TEST_CASE("plot: curves with gaps and legends") {
  const std::string svg = plot::svg(
      plot::Chart{.title = "loss",
                  .x_label = "step",
                  .y_label = "nats",
                  .series = {{.name = "a", .y = {4, 3, missing, 2, missing, infinity, 1, 0}},
                             {.name = "b", .x = {0, 7}, .y = {1, 2}, .mark = plot::Mark::dashed},
                             {.x = {1, 2, 3}, .y = {1, missing, 2}, .mark = plot::Mark::points}}});
  CHECK(is_well_formed(svg));
  const auto texts = texts_of(svg);
  for (const char* text : {"loss", "step", "nats", "a", "b"}) {
    CHECK(std::count(texts.begin(), texts.end(), text) == 1);
  }
  // Three pieces, of which one is a single point and has a circle; two circles are of the points.
  static const std::regex path("<path d=\"(M[^\"h]*)\"");
  std::smatch match;
  REQUIRE(std::regex_search(svg, match, path));
  CHECK(count_of(match[1], "M") == 3);
  CHECK(count_of(match[1], "L") == 2);
  CHECK(count_of(svg, "<circle") == 1 + 2);
  CHECK(count_of(svg, "stroke-dasharray") == 2);  // the line, and the legend
  CHECK(svg ==
        plot::svg(plot::Chart{
            .title = "loss",
            .x_label = "step",
            .y_label = "nats",
            .series = {{.name = "a", .y = {4, 3, missing, 2, missing, infinity, 1, 0}},
                       {.name = "b", .x = {0, 7}, .y = {1, 2}, .mark = plot::Mark::dashed},
                       {.x = {1, 2, 3}, .y = {1, missing, 2}, .mark = plot::Mark::points}}}));
}

TEST_CASE("plot: texts are escaped") {
  CHECK(plot::escaped("a<b> & \"c\"") == "a&lt;b&gt; &amp; &quot;c&quot;");
  CHECK(plot::escaped("é\xff\xc3") == "é??");
  CHECK(plot::escaped(std::string("a\0b\n", 4)) == "a b ");
  CHECK(plot::fitted("short", 10, 100) == "short");
  CHECK(plot::fitted("éééééééééééééééé", 10, 50).ends_with("é…"));
  const std::string svg = plot::svg(
      plot::Chart{.title = "</text><script>&\xff",
                  .series = {{.name = "\"x\" < 3", .y = {1, 2}, .color = "red\" onload=\"bad"}}});
  CHECK(is_well_formed(svg));
  CHECK(contains(svg, "&lt;/text&gt;&lt;script&gt;&amp;?"));
  CHECK(contains(svg, "stroke=\"red&quot; onload=&quot;bad\""));
}

TEST_CASE("plot: odd charts are charts") {
  const auto is_fine = [](const std::vector<double>& y, plot::Mark mark = plot::Mark::line,
                          plot::Scale scale = plot::Scale::linear) {
    const std::string svg =
        plot::svg(plot::Chart{.series = {{.name = "s", .y = y, .mark = mark}}, .y_scale = scale});
    return is_well_formed(svg);
  };
  for (const plot::Mark mark : {plot::Mark::line, plot::Mark::points}) {
    for (const plot::Scale scale : {plot::Scale::linear, plot::Scale::log}) {
      CHECK(is_fine({}, mark, scale));
      CHECK(is_fine({1}, mark, scale));
      CHECK(is_fine({0, 0, 0}, mark, scale));
      CHECK(is_fine({missing, infinity, -infinity}, mark, scale));
      CHECK(is_fine({1e308, -1e308, 1e-308}, mark, scale));
      CHECK(is_fine({5e-324, 1e-323}, mark, scale));
      CHECK(is_fine({-3, -2}, mark, scale));
    }
  }
  CHECK(contains(plot::svg(plot::Chart{}), ">no data<"));
  CHECK(is_well_formed(plot::svg(plot::Chart{.width = 100, .height = 100})));
  CHECK(is_well_formed(plot::svg(std::vector<plot::Chart>{})));
  plot::Chart many{.title = std::string(500, 'm'), .width = 200, .height = 150};
  for (int k = 0; k < 40; ++k) many.series.push_back({.name = std::string(80, 'w'), .y = {1, 2}});
  CHECK(is_well_formed(plot::svg(many)));
  // What lies outside of a range that is given is cut off by the inner svg.
  const std::string ranged = plot::svg(plot::Chart{.series = {{.y = {-1e300, 0.5, 1e300}}},
                                                   .x_range = plot::Range{0, 2},
                                                   .y_range = plot::Range{0, 1}});
  CHECK(is_well_formed(ranged));
  CHECK(count_of(ranged, "<svg") == 2);
}

TEST_CASE("plot: histograms") {
  const plot::Series series = plot::histogram(Array::from({0.0, 1.0, 1.5, 4.0, missing}), 4, "h");
  CHECK(series.x == std::vector<double>{0, 1, 2, 3, 4});
  CHECK(series.y == std::vector<double>{1, 2, 0, 1});
  const plot::Series same = plot::histogram(Array::full({17}, 3, i64), 3);
  CHECK(same.y == std::vector<double>{0, 17, 0});
  const plot::Series huge = plot::histogram(Array::from({-1.7e308, 1.7e308}), 2);
  CHECK(huge.y == std::vector<double>{1, 1});
  CHECK(std::isfinite(huge.x[1]));
  CHECK(plot::histogram(Array::zeros({0})).y.empty());
  const std::string svg = plot::svg(plot::Chart{.series = {series}});
  CHECK(is_well_formed(svg));
  CHECK(count_of(svg, "fill=\"#0072b2\"") == 1 + 4);  // the legend and the bars
  CHECK(is_well_formed(plot::svg(plot::Chart{.series = {plot::histogram(Array::zeros({0}))}})));
  CHECK(value_error([] { plot::histogram(Array::zeros({3}), 0); }) ==
        "histogram: bins is 0, below 1");
}

TEST_CASE("plot: confusion matrices") {
  const Array counts = Array::from({{50, 3, 0}, {8, 39, 1}, {0, 0, 0}});
  const std::string svg = plot::svg(plot::Confusion{counts, {"cat", "dog", "<bird>"}, "pets"});
  CHECK(is_well_formed(svg));
  const auto texts = texts_of(svg);
  for (const char* text : {"50", "3", "8", "39", "1", "pets", "true class", "predicted class"}) {
    CHECK(std::count(texts.begin(), texts.end(), text) == 1);
  }
  CHECK(std::count(texts.begin(), texts.end(), "0") == 4);
  for (const char* text : {"cat", "dog", "&lt;bird&gt;"}) {
    CHECK(std::count(texts.begin(), texts.end(), text) == 2);
  }
  for (const std::int64_t n : {0, 1, 17, 100}) {
    CHECK(is_well_formed(plot::svg(plot::Confusion{Array::ones({n, n})})));
  }
  CHECK(is_well_formed(plot::svg(plot::Confusion{Array::full({2, 2}, 123456789012, i64)})));
  CHECK(contains(shape_error([] { plot::svg(plot::Confusion{Array::zeros({2, 3})}); }),
                 "the counts are (2, 3), expected (classes, classes)"));
  CHECK(contains(shape_error([&] { plot::svg(plot::Confusion{counts, {"a"}, "pets"}); }),
                 "confusion matrix \"pets\": there are 3 classes and 1 names"));
  CHECK(contains(value_error([] { plot::svg(plot::Confusion{Array::full({1, 1}, -1)}); }),
                 "a count is -1.0"));
  CHECK(contains(value_error([] { plot::svg(plot::Confusion{Array::full({1, 1}, missing)}); }),
                 "a count is nan"));
}

TEST_CASE("plot: the curves of a training") {
  std::vector<nn::Epoch> history(3);
  for (int k = 0; k < 3; ++k) {
    nn::Epoch& epoch = history[static_cast<std::size_t>(k)];
    epoch.number = k + 1;
    epoch.train = {1.0 / (k + 1), {{"accuracy", 0.5 + 0.1 * k}}};
    if (k > 0) epoch.validation = nn::Measured{0.7, {{"accuracy", 0.6}}};
  }
  const auto charts = plot::learning_curves(history);
  REQUIRE(charts.size() == 2);
  CHECK(charts[1].title == "accuracy");
  REQUIRE(charts[0].series.size() == 2);
  CHECK(charts[0].series[0].x == std::vector<double>{1, 2, 3});
  CHECK(charts[0].series[1].x == std::vector<double>{2, 3});
  CHECK(charts[1].series[1].y == std::vector<double>{0.6, 0.6});
  const TemporaryDirectory folder;
  plot::write_svg(folder.file("a.svg"), charts);
  std::ifstream file(folder.file("a.svg"));
  const std::string written(std::istreambuf_iterator<char>(file), {});
  CHECK(written == plot::svg(charts));
  CHECK(is_well_formed(written));
  CHECK(contains(written, "width=\"960\" height=\"320\""));
  CHECK(contains(plot::svg(charts, 1), "width=\"480\" height=\"640\""));
  CHECK(value_error([] { plot::learning_curves({}); }) == "learning_curves: there are no epochs");
  CHECK(contains(message_of<IoError>([&] { plot::write_svg(folder.file("no/a.svg"), charts); }),
                 "no/a.svg"));
}

TEST_CASE("plot: errors") {
  const auto shape_of = [](plot::Series series) {
    return shape_error(
        [&] { plot::svg(plot::Chart{.title = "t", .series = {std::move(series)}}); });
  };
  CHECK(shape_of({.name = "s", .x = {1, 2}, .y = {1}}) ==
        "chart \"t\": the series \"s\" has 2 x and 1 y");
  CHECK(shape_of({.name = "s", .x = {1, 2}, .y = {1, 2}, .mark = plot::Mark::bars}) ==
        "chart \"t\": the series \"s\" has 2 x and 2 y, bars have one x more than y");
  CHECK(contains(shape_of({.y = {1, 2}, .mark = plot::Mark::bars}), "0 x and 2 y"));
  CHECK(value_error([] { plot::svg(plot::Chart{.width = 99}); }) ==
        "chart \"\": it is 99 by 400 pixels, expected at least 100 by 100");
  CHECK(value_error([] { plot::svg(plot::Chart{.y_range = plot::Range{1, 1}}); }) ==
        "chart \"\": y_range is from 1.0 to 1.0");
  CHECK(value_error([] {
          plot::svg(plot::Chart{.x_scale = plot::Scale::log, .x_range = plot::Range{0, 1}});
        }) == "chart \"\": x_range is from 0.0 to 1.0 on a logarithmic axis");
  CHECK(value_error([] { plot::svg(plot::Chart{.x_range = plot::Range{0, infinity}}); }) ==
        "chart \"\": x_range is from 0.0 to inf");
  CHECK(value_error([] { plot::svg(std::vector<plot::Chart>{}, 0); }) ==
        "svg: columns is 0, below 1");
}
