// What a training writes: tables, lines of JSON, records of events.
#include <doctest/doctest.h>
#include <zlib.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>

#include "frontend/train/crc32c.h"
#include "tests/tools/error_text.h"
#include "tests/tools/temporary_directory.h"
#include "tests/train/trainer_tools.h"

namespace test_training_log {

using namespace kroton;         // NOLINT: tests
using namespace error_text;     // NOLINT: tests
using namespace trainer_tools;  // NOLINT: tests

namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> lines_of(const std::string& path) {
  std::istringstream text(text_of(path));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

std::uint64_t little_endian(const std::string& bytes, std::size_t at, std::size_t size) {
  REQUIRE(at + size <= bytes.size());
  std::uint64_t value = 0;
  for (std::size_t k = 0; k < size; ++k) {
    value |= std::uint64_t{static_cast<unsigned char>(bytes[at + k])} << (8 * k);
  }
  return value;
}

// The data of all records of a file, their CRCs checked.
std::vector<std::string> records_of(const std::filesystem::path& path) {
  const std::string bytes = text_of(path);
  std::vector<std::string> records;
  std::size_t at = 0;
  while (at < bytes.size()) {
    const auto length = static_cast<std::size_t>(little_endian(bytes, at, 8));
    CHECK(little_endian(bytes, at + 8, 4) == files::masked_crc32c(bytes.substr(at, 8)));
    const std::string data = bytes.substr(at + 12, length);
    CHECK(little_endian(bytes, at + 12 + length, 4) == files::masked_crc32c(data));
    records.push_back(data);
    at += 16 + length;
  }
  CHECK(at == bytes.size());
  return records;
}

// A protocol buffer: the last value of each field, as bytes or as the bits of a number.
struct Fields {
  std::map<int, std::string> bytes;
  std::map<int, std::uint64_t> bits;

  explicit Fields(const std::string& message) {
    std::size_t at = 0;
    const auto varint = [&] {
      std::uint64_t value = 0;
      for (int shift = 0;; shift += 7) {
        const auto byte = little_endian(message, at++, 1);
        value |= (byte & 0x7f) << shift;
        if (byte < 0x80) return value;
      }
    };
    while (at < message.size()) {
      const std::uint64_t tag = varint();
      const int field = static_cast<int>(tag >> 3);
      if ((tag & 7) == 0) bits[field] = varint();
      if ((tag & 7) == 1 || (tag & 7) == 5) {
        const std::size_t size = (tag & 7) == 1 ? 8 : 4;
        bits[field] = little_endian(message, at, size);
        at += size;
      }
      if ((tag & 7) == 2) {
        const auto size = static_cast<std::size_t>(varint());
        REQUIRE(at + size <= message.size());
        bytes[field] = message.substr(at, size);
        at += size;
      }
    }
  }
  double real(int field) const { return std::bit_cast<double>(bits.at(field)); }
  float single(int field) const {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits.at(field)));
  }
};

struct Value {
  std::int64_t step;
  std::string tag;
  Fields fields;
};

// The values of a file of events, which begins with its version.
std::vector<Value> values_of(const std::filesystem::path& path) {
  const std::vector<std::string> records = records_of(path);
  REQUIRE(!records.empty());
  CHECK(Fields(records[0]).bytes.at(3) == "brain.Event:2");
  std::vector<Value> values;
  for (std::size_t k = 1; k < records.size(); ++k) {
    const Fields event(records[k]);
    CHECK(event.real(1) > 1.7e9);  // seconds since 1970
    const Fields value(Fields(event.bytes.at(5)).bytes.at(1));
    values.push_back({static_cast<std::int64_t>(event.bits.at(2)), value.bytes.at(1), value});
  }
  return values;
}

std::vector<double> reals_of(const std::string& packed) {
  std::vector<double> values;
  for (std::size_t at = 0; at < packed.size(); at += 8) {
    values.push_back(std::bit_cast<double>(little_endian(packed, at, 8)));
  }
  return values;
}

std::filesystem::path only_file_in(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) files.push_back(entry);
  REQUIRE(files.size() == 1);
  return files[0];
}

}  // namespace

TEST_CASE("log: CRC-32C of known texts") {
  CHECK(files::crc32c("") == 0);
  CHECK(files::crc32c("123456789") == 0xe3069283);
  CHECK(files::crc32c(std::string(32, '\0')) == 0x8a9136aa);  // RFC 3720, B.4
  CHECK(files::crc32c(std::string(32, '\xff')) == 0x62a8ab43);
  CHECK(files::masked_crc32c("") == 0xa282ead8);
}

TEST_CASE("log: a table of numbers that can be read back") {
  const TemporaryDirectory folder;
  nn::CsvLog log(folder.file("a.csv"));
  log.write({{"step", 1}, {"a \"b\", c", 0.1}});
  nn::CsvLog copy = log;
  copy.write({{"step", 1e300}, {"a \"b\", c", 1.0 / 3}});
  log.write({{"step", not_a_number}, {"a \"b\", c", -infinity}});
  CHECK(text_of(folder.file("a.csv")) ==
        "step,\"a \"\"b\"\", c\"\n1,0.1\n1e+300,0.3333333333333333\nnan,-inf\n");
  CHECK(contains(value_error([&] { log.write({{"step", 1}}); }),
                 "a.csv has the columns step,\"a \"\"b\"\", c\", the row has step"));
  CHECK(value_error([&] { log.write({}); }) == "CsvLog: a row without values");
  // Goes on, or begins anew.
  nn::CsvLog more(folder.file("a.csv"), {.append = true});
  more.write({{"step", 4}, {"a \"b\", c", 5}});
  CHECK(lines_of(folder.file("a.csv")).size() == 5);
  CHECK(contains(value_error([&] { more.write({{"other", 1}}); }), "has the columns step,"));
  const nn::CsvLog anew(folder.file("a.csv"));
  CHECK(text_of(folder.file("a.csv")).empty());
  CHECK(contains(message_of<IoError>([&] { nn::CsvLog(folder.file("none/a.csv")); }),
                 "none/a.csv: cannot be written: No such file or directory"));
  CHECK(contains(value_error([&] { nn::CsvLog(folder.file("b.csv"), {.every_batches = 1}); }),
                 "every_batches is for JsonLog"));
}

TEST_CASE("log: lines of JSON") {
  const TemporaryDirectory folder;
  nn::JsonLog log(folder.file("a.jsonl"));
  log.write({{"a", 1}, {"\"b\"\n", 0.25}, {"c", not_a_number}, {"d", infinity}});
  log.write({});
  CHECK(text_of(folder.file("a.jsonl")) ==
        "{\"a\": 1, \"\\\"b\\\"\\u000a\": 0.25, \"c\": null, \"d\": null}\n{}\n");
  CHECK(contains(value_error([&] { nn::JsonLog(folder.file("b"), {.every_batches = -1}); }),
                 "every_batches is -1"));
}

TEST_CASE("log: what a training writes") {
  const TemporaryDirectory folder;
  const Clouds clouds;
  Setup s;
  const auto history = s.trainer.fit(
      clouds.points, clouds.labels,
      {.epochs = 2,
       .validation_split = 0.2,
       .callbacks = {nn::CsvLog(folder.file("log.csv")),
                     nn::JsonLog(folder.file("log.jsonl"), {.every_batches = 4}),
                     nn::TensorBoardLog(folder.file("runs"),
                                        {.every_batches = 3, .histograms_every_epochs = 2})}});
  const auto rows = lines_of(folder.file("log.csv"));
  REQUIRE(rows.size() == 3);
  CHECK(
      rows[0] ==
      "epoch,steps,loss,accuracy,validation_loss,validation_accuracy,seconds,examples_per_second");
  CHECK(rows[2].starts_with("2,16,"));
  double epoch = 0, steps = 0, loss = 0;
  CHECK(std::sscanf(rows[1].c_str(), "%lf,%lf,%lf", &epoch, &steps, &loss) == 3);
  CHECK(steps == 8);
  CHECK(loss == history[0].train.loss);

  const auto objects = lines_of(folder.file("log.jsonl"));
  REQUIRE(objects.size() == 2 * 3);
  CHECK(objects[0].starts_with("{\"epoch\": 1, \"batch\": 4, \"steps\": 4, \"loss\": "));
  CHECK(objects[5].starts_with("{\"epoch\": 2, \"steps\": 16, \"loss\": "));
  CHECK(contains(objects[5], "\"validation_accuracy\": "));

  const auto train = values_of(only_file_in(folder.file("runs/train")));
  std::vector<std::string> tags;
  for (const Value& value : train) tags.push_back(value.tag);
  const std::vector<std::string> of_epoch = {"loss", "accuracy", "speed/examples_per_second",
                                             "speed/waiting"};
  std::vector<std::string> wanted;
  for (const int k : {1, 2}) {
    for (int batch = 0; batch < 2; ++batch) {
      wanted.insert(wanted.end(), {"batch/loss", "batch/accuracy"});
    }
    wanted.insert(wanted.end(), of_epoch.begin(), of_epoch.end());
    if (k == 2) {
      for (const Shared& v : s.trainer.network().state()) wanted.push_back(v.name());
    }
  }
  CHECK(tags == wanted);
  CHECK(train[0].step == 3);
  CHECK(train[4].step == 8);
  CHECK(train[4].fields.single(2) == static_cast<float>(history[0].train.loss));
  const auto validation = values_of(only_file_in(folder.file("runs/validation")));
  REQUIRE(validation.size() == 4);
  CHECK(validation[3].tag == "accuracy");
  CHECK(validation[3].step == 16);
  CHECK(validation[3].fields.single(2) == static_cast<float>(history[1]["validation_accuracy"]));
}

TEST_CASE("log: events of curves and histograms") {
  const TemporaryDirectory folder;
  nn::EventFile file(folder.file("a/b"));
  CHECK(file.path().filename().string().starts_with("events.out.tfevents."));
  file.scalar("curve", 7, 0.5);
  file.scalar("curve", -1, 1e300);
  file.scalar(std::string(300, 'x'), std::int64_t{1} << 40, not_a_number);
  Array values = Array::arange(0, 60, 1, f64).reshape({6, 10});
  file.histogram("h", 1, values);
  values(0, 0) = not_a_number;
  file.histogram("h", 2, values);
  file.histogram("same", 0, Array::full({17}, 3, i64));
  file.histogram("none", 0, Array::zeros({0}));
  const auto events = values_of(file.path());
  REQUIRE(events.size() == 7);
  CHECK(events[0].step == 7);
  CHECK(events[0].fields.single(2) == 0.5F);
  CHECK(events[1].step == -1);
  CHECK(std::isinf(events[1].fields.single(2)));
  CHECK(events[2].step == std::int64_t{1} << 40);
  CHECK(events[2].tag.size() == 300);
  CHECK(std::isnan(events[2].fields.single(2)));
  const Fields h(events[3].fields.bytes.at(5));
  CHECK(h.real(1) == 0);
  CHECK(h.real(2) == 59);
  CHECK(h.real(3) == 60);
  CHECK(h.real(4) == 59 * 60 / 2);
  CHECK(h.real(5) == 59 * 60 * 119 / 6);
  const auto limits = reals_of(h.bytes.at(6)), counts = reals_of(h.bytes.at(7));
  REQUIRE(limits.size() == 30);
  CHECK(limits.back() == 59);
  CHECK(counts == std::vector<double>(30, 2));
  const Fields with_nan(events[4].fields.bytes.at(5));
  CHECK(with_nan.real(1) == 1);
  CHECK(with_nan.real(3) == 59);
  for (const std::size_t k : {5, 6}) {
    double total = 0;
    for (const double count : reals_of(Fields(events[k].fields.bytes.at(5)).bytes.at(7))) {
      total += count;
    }
    CHECK(total == (k == 5 ? 17 : 0));
  }
  CHECK(contains(type_error([&] { file.histogram("b", 0, Array::zeros({2}, boolean)); }),
                 "a histogram of booleans: b"));
}

TEST_CASE("log: events of pictures and texts") {
  const TemporaryDirectory folder;
  nn::EventFile file(folder.file("run"));
  Array picture = Array::zeros({3, 2, 4});
  picture(0, 0, 1) = 1;
  picture(1, 1, 3) = 0.5;
  picture(2, 0, 0) = 7;
  picture(2, 1, 0) = -7;
  picture(2, 1, 1) = not_a_number;
  file.image("picture", 3, picture);
  file.text("note", 4, "a *text*");
  const auto events = values_of(file.path());
  REQUIRE(events.size() == 2);
  const Fields image(events[0].fields.bytes.at(4));
  CHECK(image.bits.at(1) == 2);
  CHECK(image.bits.at(2) == 4);
  CHECK(image.bits.at(3) == 3);
  const std::string png = image.bytes.at(4);
  CHECK(png.starts_with("\x89PNG\r\n\x1a\n"));
  // The rows of the only IDAT chunk, each after the number of its filter.
  const std::size_t at = png.find("IDAT");
  REQUIRE(at != std::string::npos);
  std::string raw(64, '\0');
  uLongf size = raw.size();
  REQUIRE(::uncompress(reinterpret_cast<Bytef*>(raw.data()), &size,
                       reinterpret_cast<const Bytef*>(png.data() + at + 4),
                       static_cast<uLong>(png.size() - at - 4)) == Z_OK);
  raw.resize(size);
  std::string wanted(26, '\0');
  wanted[3] = '\xff';        // blue of (0, 0)
  wanted[4] = '\xff';        // red of (0, 1)
  wanted[13 + 11] = '\x80';  // green of (1, 3)
  CHECK(raw == wanted);
  CHECK(events[1].fields.bytes.at(8).find("a *text*") != std::string::npos);
  CHECK(events[1].fields.bytes.at(9).find("text") != std::string::npos);
  CHECK(contains(shape_error([&] { file.image("p", 0, Array::zeros({2, 2, 2})); }),
                 "the picture p is (2, 2, 2), expected (channels, rows, columns)"));
  CHECK(contains(type_error([&] { file.image("p", 0, Array::zeros({1, 2, 2}, i64)); }),
                 "the picture p is i64, expected f32"));
  CHECK(contains(message_of<IoError>([&] { nn::EventFile(file.path() / "below"); }),
                 "cannot be made: Not a directory"));
  CHECK(contains(value_error([&] { nn::TensorBoardLog(folder.file("x"), {.every_batches = -1}); }),
                 "every_batches is -1"));
}

}  // namespace test_training_log
