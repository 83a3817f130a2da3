// Pictures in files that are damaged, cut off, or made to do harm.
#include "tests/data/picture_tools.h"

#include <thread>

namespace {

using namespace pictures;
using kt::data::PictureOptions;
using kt::data::read_picture;

std::string error_of_file(const Bytes& file, const PictureOptions& options = {}) {
  return error_of([&] { return read_picture(file, "p", options); });
}

// Reads it or reports an error, and returns whether it could be read.
bool is_read(const Bytes& file) {
  try {
    const Picture picture = read_picture(file, "p", {.max_pixels = 1 << 20});
    CHECK(picture.pixels.size() ==
          static_cast<std::size_t>(picture.rows * picture.cols * picture.channels));
    return true;
  } catch (const kt::IoError& error) {
    CHECK(std::string_view(error.what()).starts_with("p: "));
    return false;
  }
}

// The sizes in the header of a JPEG or PNG file become these.
Bytes with_size(Bytes file, unsigned rows, unsigned cols) {
  if (file[0] == 0x89) {
    for (std::size_t k = 0; k < 4; ++k) {
      file[16 + k] = static_cast<std::uint8_t>(cols >> (24 - 8 * k));
      file[20 + k] = static_cast<std::uint8_t>(rows >> (24 - 8 * k));
    }
    const auto crc = static_cast<std::uint32_t>(crc32(0, file.data() + 12, 17));
    for (std::size_t k = 0; k < 4; ++k) {
      file[29 + k] = static_cast<std::uint8_t>(crc >> (24 - 8 * k));
    }
    return file;
  }
  for (std::size_t k = 2; k + 8 < file.size(); k += 2U + file[k + 2] * 256U + file[k + 3]) {
    if (file[k + 1] < 0xc0 || file[k + 1] > 0xc2) continue;
    for (std::size_t b = 0; b < 2; ++b) {
      file[k + 5 + b] = static_cast<std::uint8_t>(rows >> (8 - 8 * b));
      file[k + 7 + b] = static_cast<std::uint8_t>(cols >> (8 - 8 * b));
    }
    return file;
  }
  FAIL("no frame header");
  return file;
}

}  // namespace

TEST_CASE("damaged pictures: what they are instead") {
  using namespace std::string_literals;
  const auto error = [](const std::string& text) {
    return error_of_file(Bytes(text.begin(), text.end()));
  };
  CHECK(error("") == "p: expected a JPEG or PNG file, got an empty file");
  CHECK(error("GIF89a") == "p: expected a JPEG or PNG file, got a GIF file");
  CHECK(error("BM1234") == "p: expected a JPEG or PNG file, got a BMP file");
  CHECK(error("II*\0abcd"s) == "p: expected a JPEG or PNG file, got a TIFF file");
  CHECK(error("RIFF1234WEBPVP8 ") == "p: expected a JPEG or PNG file, got a WebP file");
  CHECK(error("\x01\xff") == "p: expected a JPEG or PNG file, got a file that begins with 01 ff");
  CHECK(error("\xff\xd8\xff").starts_with("p: the file ends early: "));
  CHECK(error("\x89PNG\r\n\x1a\n").starts_with("p: the file ends early: "));
  const Files files;
  const std::string missing = (files.path() / "none.jpg").string();
  CHECK(error_of([&] { return read_picture(missing); }) == missing + ": no such file");
  const std::string folder = files.path().string();
  CHECK(error_of([&] { return read_picture(folder); }) == folder + ": not a file");
  const auto path = files.write("short.png", Bytes{0x89, 'P', 'N', 'G'});
  CHECK(error_of([&] {
          return read_picture(path);
        }).starts_with(path.string() + ": expected a JPEG or PNG file"));
}

TEST_CASE("damaged pictures: more pixels than allowed or than there can be") {
  const Bytes jpeg = samples().at("baseline.jpg").file, png = samples().at("colours.png").file;
  const Bytes progressive = samples().at("progressive.jpg").file;
  constexpr PictureOptions all{.max_pixels = std::int64_t{1} << 62};
  for (const Bytes& file : {jpeg, progressive}) {
    const Bytes huge = with_size(file, 65500, 65500);
    CHECK(error_of_file(huge) ==
          "p: 65500 rows of 65500 pixels, more than the 134217728 that max_pixels allows");
    CHECK(error_of_file(huge, all) == "p: the header says 65500 rows of 65500 pixels, more than " +
                                          std::to_string(file.size()) + " bytes can hold");
  }
  const Bytes huge = with_size(png, 2147483647, 2147483647);
  CHECK(error_of_file(huge).find("2147483647 pixels, more than the 134217728 that") !=
        std::string::npos);
  CHECK(error_of_file(huge, all).find("bytes can hold") != std::string::npos);
  CHECK(error_of_file(jpeg, {.max_pixels = 13 * 17 - 1}) ==
        "p: 13 rows of 17 pixels, more than the 220 that max_pixels allows");
  CHECK(read_picture(jpeg, "p", {.max_pixels = 13 * 17}).rows == 13);
  // More rows than there are data for.
  CHECK(error_of_file(with_size(jpeg, 26, 17)).starts_with("p: "));
  CHECK(error_of_file(with_size(progressive, 26, 17)).starts_with("p: "));
  CHECK(error_of_file(with_size(png, 26, 17)).starts_with("p: "));
  // Pictures of one colour take little, and are read.
  const Bytes grey(1000 * 1000, 128);
  const JpegKind kind{.space = JCS_GRAYSCALE, .stored = JCS_GRAYSCALE, .channels = 1};
  for (const bool is_progressive : {false, true}) {
    JpegKind written = kind;
    written.is_progressive = is_progressive;
    CHECK(read_picture(jpeg_file(written, 1000, 1000, grey), "p", {.channels = 1}).pixels == grey);
  }
  // As large as the file allows, and cut off: no more is used than what there are data for.
  const Bytes cut = with_size(samples().at("grey.jpg").file, 400, 65500);
  CHECK(error_of_file(cut).find("bytes can hold") != std::string::npos);
  Bytes padded = with_size(samples().at("grey.jpg").file, 2048, 65500);
  padded.insert(padded.end() - 2, 300000, 0);
  CHECK(error_of_file(padded).starts_with("p: libjpeg says: "));
  const Bytes flat = kt::data::to_png({grey, 1000, 1000, 1});
  CHECK(read_picture(flat, "p", {.channels = 1}).pixels == grey);
}

TEST_CASE("damaged pictures: cut off anywhere") {
  for (const char* name : {"baseline.jpg", "sampled.jpg", "progressive.jpg", "restarts.jpg",
                           "grey.jpg", "cmyk.jpg", "colours.png", "palette4.png"}) {
    CAPTURE(name);
    const Bytes& file = samples().at(name).file;
    const bool is_png = file[0] == 0x89;
    for (std::size_t size = 0; size < file.size(); ++size) {
      const Bytes part(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size));
      const std::string error = error_of_file(part);
      if (error == "no error") {
        // Only the end marker is missing, of a JPEG in one scan.
        CAPTURE(size);
        CHECK_FALSE(is_png);
        CHECK(name != std::string("progressive.jpg"));
        CHECK(size + 2 >= file.size());
        CHECK(difference(read_picture(part, "p").pixels, samples().at(name).colours) <= 2);
      } else if (size > 8) {
        CHECK(error.starts_with("p: the file ends early: "));
      }
    }
  }
}

TEST_CASE("damaged pictures: too many scans") {
  // First the average of each block, then all else of it: that scan again and again.
  const Bytes file = jpeg_file({.space = JCS_GRAYSCALE,
                                .stored = JCS_GRAYSCALE,
                                .channels = 1,
                                .scans = {{1, {0}, 0, 0, 0, 0}, {1, {0}, 1, 63, 0, 0}}},
                               8, 8, Bytes(64, 128));
  const std::string text(file.begin(), file.end());
  const std::size_t begin = text.rfind("\xff\xda"), end = text.rfind("\xff\xd9");
  const auto repeated = [&](int count) {
    std::string more = text.substr(0, begin);
    for (int k = 0; k < count; ++k) more += text.substr(begin, end - begin);
    more += text.substr(end);
    return Bytes(more.begin(), more.end());
  };
  CHECK(read_picture(repeated(400), "p", {.channels = 1}).pixels == Bytes(64, 128));
  CHECK(error_of_file(repeated(600)) == "p: more than 500 scans");
}

TEST_CASE("damaged pictures: ten thousand of them") {
  std::vector<Bytes> files;
  for (const auto& [name, sample] : samples()) {
    if (!sample.file.empty()) files.push_back(sample.file);
  }
  auto random = [state = std::uint64_t{1}](std::size_t below) mutable {
    state = state * 6364136223846793005U + 1442695040888963407U;
    return static_cast<std::size_t>(state >> 33) % below;
  };
  int read = 0;
  for (int k = 0; k < 10000; ++k) {
    Bytes file = files[static_cast<std::size_t>(k) % files.size()];
    const std::size_t changes = 1 + random(4);
    for (std::size_t n = 0; n < changes && !file.empty(); ++n) {
      const auto at = static_cast<std::ptrdiff_t>(random(file.size()));
      switch (random(5)) {
        case 0:
          file[static_cast<std::size_t>(at)] = static_cast<std::uint8_t>(random(256));
          break;
        case 1:
          file[static_cast<std::size_t>(at)] ^= static_cast<std::uint8_t>(1U << random(8));
          break;
        case 2:
          file.insert(file.begin() + at, static_cast<std::uint8_t>(random(256)));
          break;
        case 3:
          file.erase(file.begin() + at);
          break;
        default: {
          const std::size_t from = random(file.size());
          const auto count = std::min(random(40), file.size() - std::max(from, std::size_t(at)));
          std::copy_n(Bytes(file.begin() + static_cast<std::ptrdiff_t>(from), file.end()).begin(),
                      count, file.begin() + at);
        }
      }
    }
    // The checksum does not keep a PNG's header from being tried.
    if (file.size() > 33 && file[0] == 0x89 && k % 2 == 0) {
      const auto crc = static_cast<std::uint32_t>(crc32(0, file.data() + 12, 17));
      for (std::size_t b = 0; b < 4; ++b)
        file[29 + b] = static_cast<std::uint8_t>(crc >> (24 - 8 * b));
    }
    if (is_read(file)) ++read;
  }
  // Some are still pictures, and most are not.
  CHECK(read > 100);
  CHECK(read < 9000);
}

TEST_CASE("damaged pictures: in several threads at once") {
  const Bytes good = samples().at("progressive.jpg").file, png = samples().at("colours.png").file;
  const Bytes cut(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(good.size() / 2));
  const Bytes cut_png(png.begin(), png.begin() + static_cast<std::ptrdiff_t>(png.size() / 2));
  std::vector<int> faults(4);
  {
    std::vector<std::jthread> threads;
    for (int& fault : faults) {
      threads.emplace_back([&] {
        for (int k = 0; k < 200; ++k) {
          if (read_picture(good, "p").rows != 13 || read_picture(png, "p").rows != 13) ++fault;
          for (const Bytes& file : {cut, cut_png}) {
            if (!error_of_file(file).starts_with("p: the file ends early: ")) ++fault;
          }
        }
      });
    }
  }
  CHECK(faults == std::vector<int>(4));
}

TEST_CASE("pictures: bad arguments") {
  using namespace kt::data;
  const Bytes png = samples().at("colours.png").file;
  for (const std::int64_t channels : {-1, 0, 2, 4}) {
    CHECK_THROWS_AS((void)read_picture(png, "p", {.channels = channels}), kt::ValueError);
  }
  const Picture good = pattern(2, 3);
  for (const Picture& bad :
       {Picture{}, Picture{{}, 0, 3, 3}, Picture{{}, 1, 1, 0}, Picture{{1, 2}, 1, 1, 1},
        Picture{{1, 2, 3}, 1, 1, 1}, Picture{{1}, -1, -1, 1},
        Picture{{1}, std::int64_t{1} << 40, std::int64_t{1} << 40, 1}}) {
    CHECK_THROWS_AS((void)to_png(bad), kt::ShapeError);
    CHECK_THROWS_AS((void)to_array(bad), kt::ShapeError);
    CHECK_THROWS_AS((void)resize(bad, 1, 1), kt::ShapeError);
    CHECK_THROWS_AS((void)crop(bad, 0, 0, 1, 1), kt::ShapeError);
  }
  CHECK_THROWS_WITH_AS((void)to_png({{1, 2}, 1, 1, 2}),
                       "to_png: expected a picture of 1 or 3 channels, got 2", kt::ShapeError);
  for (const auto& [rows, cols] : std::vector<std::array<std::int64_t, 2>>{
           {0, 1}, {1, 0}, {-5, 5}, {1 << 20, 1 << 20}, {std::int64_t{1} << 62, 4}}) {
    CHECK_THROWS_AS((void)resize(good, rows, cols), kt::ValueError);
  }
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS((void)to_picture(kt::Array::zeros({2, 2}, kt::f64)), kt::TypeError);
  CHECK_THROWS_AS((void)to_picture(kt::Array::zeros({2, 2, 2})), kt::ShapeError);
  CHECK_THROWS_AS((void)to_picture(kt::Array::zeros({4})), kt::ShapeError);
  CHECK_THROWS_AS((void)to_picture(kt::Array::zeros({3, 0, 2})), kt::ShapeError);
  CHECK_THROWS_WITH_AS((void)to_picture(kt::Array::from({{0.0F, 0.0F}, {nan, 0.0F}})),
                       "to_picture: NaN at row 1, column 0, channel 0", kt::ValueError);
  const kt::Array few = kt::Array::zeros({2, 3, 4});
  CHECK_THROWS_AS((void)tile(kt::Array::zeros({2, 2}), 1), kt::ShapeError);
  CHECK_THROWS_AS((void)tile(kt::Array::zeros({0, 2, 2}), 1), kt::ShapeError);
  CHECK_THROWS_AS((void)tile(kt::Array::zeros({2, 2, 2}, kt::i64), 1), kt::TypeError);
  CHECK_THROWS_AS((void)tile(few, 0), kt::ValueError);
  CHECK_THROWS_AS((void)tile(few, 1, {.gap = -1}), kt::ValueError);
  CHECK_THROWS_AS((void)tile(kt::Array::full({1, 1, 1}, nan), 1, {.stretch = true}),
                  kt::ValueError);
  const Files files;
  CHECK_THROWS_AS(write_png(files.path() / "no" / "folder.png", good), kt::IoError);
  CHECK_THROWS_AS(write_png("", good), kt::IoError);
}
