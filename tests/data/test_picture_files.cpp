// Pictures read from files, compared with Pillow and with what was written.
#include "tests/data/picture_tools.h"

#include <limits>

namespace {

using namespace pictures;
using kt::data::read_picture;

}  // namespace

TEST_CASE("pictures: files as Pillow reads them") {
  for (const auto& [name, sample] : samples()) {
    if (sample.file.empty()) continue;
    CAPTURE(name);
    const Picture colours = read_picture(sample.file, name);
    CHECK(colours.channels == 3);
    CHECK(colours.rows == sample.rows);
    CHECK(colours.cols == sample.cols);
    // Another libjpeg may round another way.
    const int tolerance = name.ends_with(".jpg") ? 2 : 0;
    CHECK(difference(colours.pixels, sample.colours) <= tolerance);
    const Picture grey = read_picture(sample.file, name, {.channels = 1});
    CHECK(grey.channels == 1);
    CHECK(grey.rows == sample.rows);
    CHECK(difference(grey.pixels, sample.grey) <= tolerance);
  }
  CHECK(samples().size() > 30);
}

TEST_CASE("pictures: PNG of all kinds") {
  struct Kind {
    int type, samples;
    std::vector<int> bits;
  };
  const std::vector<Kind> kinds{{PNG_COLOR_TYPE_GRAY, 1, {1, 2, 4, 8, 16}},
                                {PNG_COLOR_TYPE_RGB, 3, {8, 16}},
                                {PNG_COLOR_TYPE_PALETTE, 1, {1, 2, 4, 8}},
                                {PNG_COLOR_TYPE_GRAY_ALPHA, 2, {8, 16}},
                                {PNG_COLOR_TYPE_RGB_ALPHA, 4, {8, 16}}};
  const std::int64_t sizes[][2] = {{1, 1}, {3, 17}, {17, 3}, {9, 8}};
  for (const Kind& kind : kinds) {
    for (const int bits : kind.bits) {
      for (const auto& [rows, cols] : sizes) {
        for (const bool interlaced : {false, true}) {
          CAPTURE(kind.type);
          CAPTURE(bits);
          CAPTURE(interlaced);
          std::vector<unsigned> values(static_cast<std::size_t>(rows * cols * kind.samples));
          const unsigned most = (1U << bits) - 1;
          for (std::size_t k = 0; k < values.size(); ++k) {
            values[k] = static_cast<unsigned>(k * 40503 % 65521) & most;
          }
          std::vector<png_color> palette;
          if (kind.type == PNG_COLOR_TYPE_PALETTE) {
            for (unsigned k = 0; k <= most; ++k) {
              palette.push_back({static_cast<png_byte>(k), static_cast<png_byte>(255 - k),
                                 static_cast<png_byte>(k * k)});
            }
          }
          Bytes expected;
          const auto per_pixel = static_cast<std::size_t>(kind.samples);
          for (std::size_t k = 0; k < values.size(); k += per_pixel) {
            if (!palette.empty()) {
              const png_color& colour = palette[values[k]];
              expected.insert(expected.end(), {colour.red, colour.green, colour.blue});
              continue;
            }
            for (std::size_t c = 0; c < 3; ++c) {
              const unsigned value = values[k + (kind.samples >= 3 ? c : 0)];
              expected.push_back(static_cast<std::uint8_t>((value * 255 * 2 + most) / (2 * most)));
            }
          }
          const Bytes file =
              png_file({kind.type, bits, interlaced, palette}, rows, cols, kind.samples, values);
          const Picture picture = read_picture(file, "a.png");
          CHECK(picture.rows == rows);
          CHECK(picture.cols == cols);
          CHECK(picture.pixels == expected);
        }
      }
    }
  }
}

TEST_CASE("pictures: JPEG of all colour spaces") {
  // Of one colour: only rounding is lost.
  const std::int64_t rows = 9, cols = 10;
  const auto plain = [&](std::initializer_list<std::uint8_t> values) {
    Bytes all;
    for (std::int64_t k = 0; k < rows * cols; ++k) all.insert(all.end(), values);
    return all;
  };
  const auto check = [&](const JpegKind& kind, const Bytes& values, const Bytes& expected,
                         const Bytes& grey) {
    for (const bool is_progressive : {false, true}) {
      JpegKind written = kind;
      written.is_progressive = is_progressive;
      const Bytes file = jpeg_file(written, rows, cols, values);
      CHECK(difference(read_picture(file, "a.jpg").pixels, expected) <= 2);
      CHECK(difference(read_picture(file, "a.jpg", {.channels = 1}).pixels, grey) <= 2);
    }
  };
  const Bytes orange = plain({250, 130, 20});
  const Bytes light = plain({153});  // 0.299 * 250 + 0.587 * 130 + 0.114 * 20
  check({}, orange, orange, light);
  check({.stored = JCS_RGB, .has_adobe = true}, orange, orange, light);
  check({.space = JCS_GRAYSCALE, .stored = JCS_GRAYSCALE, .channels = 1}, plain({77}),
        plain({77, 77, 77}), plain({77}));
  // Inks: light is what neither the colour nor black takes away, (1 - ink) * (1 - black).
  JpegKind inks{.space = JCS_CMYK, .stored = JCS_CMYK, .channels = 4};
  const Bytes colours = plain({200, 100, 0}), grey = plain({119});
  check(inks, plain({0, 128, 255, 55}), colours, grey);
  inks.has_adobe = true;  // stored inverted
  check(inks, plain({255, 127, 0, 200}), colours, grey);
  inks.stored = JCS_YCCK;
  check(inks, plain({255, 127, 0, 200}), colours, grey);
  // Two components are no colours.
  const Bytes two = jpeg_file({.space = JCS_UNKNOWN, .stored = JCS_UNKNOWN, .channels = 2}, rows,
                              cols, plain({1, 2}));
  CHECK(error_of([&] { return read_picture(two, "two.jpg"); }) ==
        "two.jpg: a JPEG of 2 components, of which the colours are not known");
}

TEST_CASE("pictures: written and read again") {
  const Files files;
  for (const std::int64_t channels : {1, 3}) {
    for (const std::int64_t cols : {1, 3, 17}) {
      Picture picture{{}, 5, cols, channels};
      for (std::int64_t k = 0; k < 5 * cols * channels; ++k) {
        picture.pixels.push_back(static_cast<std::uint8_t>(k * 37));
      }
      const auto path = files.path() / "no name of a picture";
      kt::data::write_png(path, picture);
      const Picture read = read_picture(path, {.channels = channels});
      CHECK(read.rows == 5);
      CHECK(read.cols == cols);
      CHECK(read.pixels == picture.pixels);
      // The same through arrays.
      const kt::Array values = kt::data::to_array(picture);
      CHECK(values.shape() == kt::Shape{channels, 5, cols});
      kt::data::write_png(path, values);
      CHECK(read_picture(path, {.channels = channels}).pixels == picture.pixels);
    }
  }
  const kt::Array plane = kt::Array::from({{-1.0F, 0.0F, 0.5F}, {0.25F, 1.0F, 1e30F}});
  const Picture rounded = kt::data::to_picture(plane);
  CHECK(rounded.channels == 1);
  CHECK(rounded.pixels == Bytes{0, 0, 128, 64, 255, 255});
  // Columns first: a view that is not row-major.
  const std::vector<float> values{0, 1, 0.2F, 0.4F};
  const kt::Array turned = kt::Array::view(values.data(), {2, 2}, {1, 2});
  CHECK(kt::data::to_picture(turned).pixels == Bytes{0, 51, 255, 102});
}

TEST_CASE("pictures: read at a part of their size") {
  // Grey that rises from left to right, and a bright stripe at the top.
  const std::int64_t rows = 150, cols = 240;
  Bytes values;
  for (std::int64_t k = 0; k < rows * cols; ++k) {
    values.push_back(static_cast<std::uint8_t>(k < 16 * cols ? 250 : k % cols));
  }
  for (const bool is_progressive : {false, true}) {
    const Bytes file = jpeg_file({.space = JCS_GRAYSCALE,
                                  .stored = JCS_GRAYSCALE,
                                  .channels = 1,
                                  .is_progressive = is_progressive},
                                 rows, cols, values);
    const auto read = [&](std::int64_t least_rows, std::int64_t least_cols) {
      return read_picture(file, "a.jpg",
                          {.channels = 1, .least_rows = least_rows, .least_cols = least_cols});
    };
    const std::int64_t sizes[][4] = {
        {0, 0, 150, 240},  {1, 1, 19, 30},     {0, 30, 19, 30},
        {19, 30, 19, 30},  {19, 31, 38, 60},   {20, 0, 38, 60},
        {38, 0, 38, 60},   {39, 0, 75, 120},   {75, 120, 75, 120},
        {76, 0, 150, 240}, {150, 1, 150, 240}, {1000, std::int64_t{1} << 62, 150, 240}};
    for (const auto& [least_rows, least_cols, got_rows, got_cols] : sizes) {
      CAPTURE(least_rows);
      CAPTURE(least_cols);
      const Picture picture = read(least_rows, least_cols);
      CHECK(picture.rows == got_rows);
      CHECK(picture.cols == got_cols);
      CHECK(std::abs(picture.pixels[0] - 250) <= 1);
      const std::int64_t part = 240 / got_cols, row = got_rows / 2;
      for (std::int64_t col = 0; col < got_cols; ++col) {
        const auto value = picture.pixels[static_cast<std::size_t>(row * got_cols + col)];
        CHECK(std::abs(value - (static_cast<double>(col * part) +
                                (static_cast<double>(part) - 1) / 2)) <= 1.6);
      }
    }
    CHECK(read(0, 0).pixels.size() == values.size());
    CHECK_THROWS_AS((void)read(-1, 1), kt::ValueError);
    CHECK_THROWS_AS((void)read(1, -1), kt::ValueError);
  }
  // Stored as 2 x 3, and on its side: the size asked for is that of the upright picture.
  const Bytes& turned = samples().at("turned6.jpg").file;
  const Picture whole = read_picture(turned, "a.jpg", {.least_rows = 3, .least_cols = 2});
  CHECK(whole.pixels == read_picture(turned, "a.jpg").pixels);
  const Picture half = read_picture(turned, "a.jpg", {.least_rows = 2, .least_cols = 1});
  CHECK(half.rows == 2);
  CHECK(half.cols == 1);
}

TEST_CASE("pictures: larger than what is read at once") {
  Picture picture{{}, 600, 601, 3};
  picture.pixels.resize(600 * 601 * 3);
  for (std::size_t k = 0; k < picture.pixels.size(); ++k) {
    picture.pixels[k] = static_cast<std::uint8_t>((k / 1803 + k % 1803 / 3) / 10);
  }
  CHECK(read_picture(kt::data::to_png(picture), "a.png").pixels == picture.pixels);
  for (const bool is_progressive : {false, true}) {
    const Bytes file =
        jpeg_file({.quality = 95, .is_progressive = is_progressive}, 600, 601, picture.pixels);
    CHECK(difference(read_picture(file, "a.jpg").pixels, picture.pixels) <= 3);
  }
}

TEST_CASE("pictures: side by side") {
  const kt::Array three = kt::Array::from({1.0F, 2.0F, 3.0F, 4.0F, 5.0F, 6.0F}, {3, 1, 2});
  CHECK(kt::array_equal(kt::data::tile(three, 2, {.background = 9}),
                        kt::Array::from({{1.0F, 2.0F, 9.0F, 3.0F, 4.0F},
                                         {9.0F, 9.0F, 9.0F, 9.0F, 9.0F},
                                         {5.0F, 6.0F, 9.0F, 9.0F, 9.0F}})));
  CHECK(kt::array_equal(kt::data::tile(three, 100, {.gap = 0}),
                        kt::Array::from({{1.0F, 2.0F, 3.0F, 4.0F, 5.0F, 6.0F}})));
  // Channels stay apart.
  const kt::Array colours = three.reshape({1, 3, 1, 2});
  CHECK(kt::array_equal(kt::data::tile(colours, 1), three));
  const float huge = std::numeric_limits<float>::max();
  const kt::Array uneven =
      kt::Array::from({-2.0F, 2.0F, 0.0F, 7.0F, 7.0F, 7.0F, -huge, 0.0F, huge}, {3, 1, 3});
  CHECK(
      kt::all_close(kt::data::tile(uneven, 1, {.gap = 0, .stretch = true}),
                    kt::Array::from({{0.0F, 1.0F, 0.5F}, {0.5F, 0.5F, 0.5F}, {0.0F, 0.5F, 1.0F}})));
}

TEST_CASE("pictures: other sizes as Pillow makes them") {
  const Picture picture = pattern(13, 17);
  CHECK(samples().at("colours.png").colours == picture.pixels);
  int compared = 0;
  for (const auto& [name, sample] : samples()) {
    if (!name.starts_with("resize_")) continue;
    CAPTURE(name);
    const Picture resized = kt::data::resize(picture, sample.rows, sample.cols);
    CHECK(resized.rows == sample.rows);
    CHECK(resized.cols == sample.cols);
    CHECK(resized.pixels == sample.colours);
    // Any number of channels: the first and the third one, and one of them.
    for (const std::size_t channels : {1, 2}) {
      Picture some{{}, 13, 17, static_cast<std::int64_t>(channels)};
      Bytes expected;
      for (std::size_t k = 0; k < picture.pixels.size(); k += 3) {
        for (std::size_t c = 0; c < channels; ++c) some.pixels.push_back(picture.pixels[k + 2 * c]);
      }
      for (std::size_t k = 0; k < sample.colours.size(); k += 3) {
        for (std::size_t c = 0; c < channels; ++c) expected.push_back(sample.colours[k + 2 * c]);
      }
      CHECK(kt::data::resize(some, sample.rows, sample.cols).pixels == expected);
    }
    ++compared;
  }
  CHECK(compared == 9);
  CHECK(kt::data::resize(picture, 13, 17).pixels == picture.pixels);
}

TEST_CASE("pictures: parts") {
  const Picture picture = pattern(4, 5);
  const Picture part = kt::data::crop(picture, 1, 2, 2, 3);
  CHECK(part.rows == 2);
  CHECK(part.cols == 3);
  for (std::int64_t row = 0; row < 2; ++row) {
    for (std::int64_t k = 0; k < 9; ++k) {
      CHECK(part.pixels[static_cast<std::size_t>(row * 9 + k)] ==
            picture.pixels[static_cast<std::size_t>((row + 1) * 15 + 6 + k)]);
    }
  }
  CHECK(kt::data::crop(picture, 0, 0, 4, 5).pixels == picture.pixels);
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  for (const auto& [row, col, rows, cols] :
       std::vector<std::array<std::int64_t, 4>>{{-1, 0, 1, 1},
                                                {0, -1, 1, 1},
                                                {0, 0, 5, 1},
                                                {0, 3, 1, 3},
                                                {4, 0, 1, 1},
                                                {0, 0, 0, 1},
                                                {0, 0, 1, -1},
                                                {most, 0, 1, 1},
                                                {0, 1, 1, most}}) {
    CHECK_THROWS_AS((void)kt::data::crop(picture, row, col, rows, cols), kt::ValueError);
  }
}
