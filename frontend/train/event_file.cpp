// TensorBoard's events: records of protocol buffers, which are written by hand.
#include <kroton/error.h>
#include <kroton/training_log.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>

#include "frontend/train/crc32c.h"
#include "frontend/train/log_file.h"

namespace kroton::nn {

namespace {

// ---- Protocol buffers. Source: https://protobuf.dev/programming-guides/encoding

void put_varint(std::string& to, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) to += static_cast<char>(value | 0x80);
  to += static_cast<char>(value);
}

template <class T>
void put_little_endian(std::string& to, T bits) {
  for (std::size_t k = 0; k < sizeof bits; ++k) to += static_cast<char>(bits >> (8 * k));
}

class Message {
 public:
  void whole(int field, std::int64_t value) {
    tag(field, 0);
    put_varint(bytes_, static_cast<std::uint64_t>(value));
  }
  void real(int field, double value) {
    tag(field, 1);
    put_little_endian(bytes_, std::bit_cast<std::uint64_t>(value));
  }
  void real(int field, float value) {
    tag(field, 5);
    put_little_endian(bytes_, std::bit_cast<std::uint32_t>(value));
  }
  void text(int field, std::string_view value) {
    tag(field, 2);
    put_varint(bytes_, value.size());
    bytes_ += value;
  }
  void message(int field, const Message& value) { text(field, value.bytes_); }
  void reals(int field, const std::vector<double>& values) {
    std::string packed;
    for (const double value : values) {
      put_little_endian(packed, std::bit_cast<std::uint64_t>(value));
    }
    text(field, packed);
  }
  const std::string& bytes() const { return bytes_; }

 private:
  void tag(int field, int kind) {
    put_varint(bytes_, static_cast<std::uint64_t>(field) << 3 | static_cast<std::uint64_t>(kind));
  }
  std::string bytes_;
};

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string record_of(const std::string& bytes) {
  std::string record;
  put_little_endian(record, static_cast<std::uint64_t>(bytes.size()));
  put_little_endian(record, files::masked_crc32c(record));
  record += bytes;
  put_little_endian(record, files::masked_crc32c(bytes));
  return record;
}

// A path that no other file of this or another process has.
std::filesystem::path path_in(const std::filesystem::path& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) throw IoError(directory.string() + ": cannot be made: " + error.message());
  static std::atomic<int> made = 0;
  char host[256] = "localhost";
  if (::gethostname(host, sizeof host - 1) != 0) std::strcpy(host, "localhost");
  return directory /
         ("events.out.tfevents." + std::to_string(static_cast<std::int64_t>(seconds_now())) + '.' +
          host + '.' + std::to_string(::getpid()) + '.' + std::to_string(made++));
}

// ---- PNG. Source: https://www.w3.org/TR/png-3

void put_big_endian(std::string& to, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) to += static_cast<char>(value >> shift);
}

void put_chunk(std::string& to, std::string_view kind, std::string_view bytes) {
  put_big_endian(to, static_cast<std::uint32_t>(bytes.size()));
  const std::string body = std::string(kind) + std::string(bytes);
  to += body;
  put_big_endian(to,
                 static_cast<std::uint32_t>(::crc32(0, reinterpret_cast<const Bytef*>(body.data()),
                                                    static_cast<uInt>(body.size()))));
}

// Of a picture (channels, rows, columns).
std::string png_of(const Array& picture) {
  const Array elements = picture.contiguous();
  const auto values = elements.data<float>();
  const auto channels = static_cast<std::size_t>(picture.shape()[0]);
  const auto rows = static_cast<std::size_t>(picture.shape()[1]);
  const auto columns = static_cast<std::size_t>(picture.shape()[2]);
  std::string raw;
  raw.reserve(rows * (1 + columns * channels));
  for (std::size_t i = 0; i < rows; ++i) {
    raw += '\0';  // no filter
    for (std::size_t j = 0; j < columns; ++j) {
      for (std::size_t c = 0; c < channels; ++c) {
        const float value = values[(c * rows + i) * columns + j];
        // A NaN is black.
        raw += static_cast<char>(std::lround(255 * (value > 0 ? std::min(value, 1.0F) : 0.0F)));
      }
    }
  }
  uLongf size = ::compressBound(static_cast<uLong>(raw.size()));
  std::string packed(size, '\0');
  if (::compress2(reinterpret_cast<Bytef*>(packed.data()), &size,
                  reinterpret_cast<const Bytef*>(raw.data()), static_cast<uLong>(raw.size()),
                  6) != Z_OK) {
    throw InternalError("EventFile: a picture cannot be compressed");
  }
  packed.resize(size);
  std::string head;
  put_big_endian(head, static_cast<std::uint32_t>(columns));
  put_big_endian(head, static_cast<std::uint32_t>(rows));
  head += '\x08';                           // bits
  head += channels == 1 ? '\x00' : '\x02';  // grey or red, green and blue
  head.append(3, '\0');
  std::string png = "\x89PNG\r\n\x1a\n";
  put_chunk(png, "IHDR", head);
  put_chunk(png, "IDAT", packed);
  put_chunk(png, "IEND", "");
  return png;
}

}  // namespace

// ---- EventFile

struct EventFile::File : files::LogFile {
  using LogFile::LogFile;

  void event(std::int64_t step, int field, const Message& what) {
    Message event;
    event.real(1, seconds_now());
    event.whole(2, step);
    event.message(field, what);
    write(record_of(event.bytes()));
  }
  // A value of that tag: summary.value[0].
  void value(const std::string& tag, std::int64_t step, Message value) {
    value.text(1, tag);
    Message summary;
    summary.message(1, value);
    event(step, 5, summary);
  }
};

EventFile::EventFile(const std::filesystem::path& directory)
    : file_(std::make_shared<File>(path_in(directory), false)) {
  Message version;
  version.real(1, seconds_now());
  version.text(3, "brain.Event:2");
  file_->write(record_of(version.bytes()));
}

const std::filesystem::path& EventFile::path() const { return file_->path(); }

void EventFile::scalar(const std::string& tag, std::int64_t step, double value) {
  Message of_value;
  of_value.real(2, static_cast<float>(value));
  file_->value(tag, step, of_value);
}

void EventFile::histogram(const std::string& tag, std::int64_t step, const Array& values) {
  if (values.dtype() == boolean) throw TypeError("EventFile: a histogram of booleans: " + tag);
  constexpr std::size_t bins = 30;
  const Array elements = values.cast(f64).contiguous();
  double least = std::numeric_limits<double>::infinity(), largest = -least;
  double count = 0, sum = 0, squares = 0;
  for (const double x : elements.data<double>()) {
    if (!std::isfinite(x)) continue;
    least = std::min(least, x);
    largest = std::max(largest, x);
    ++count;
    sum += x;
    squares += x * x;
  }
  if (count == 0) least = largest = 0;
  // Equal values lie in the middle of bins around them.
  const double margin = least < largest ? 0 : std::max(std::abs(least) * 1e-3, 1e-6);
  const double low = least - margin, width = (largest - least + 2 * margin) / bins;
  std::vector<double> limits, counts(bins, 0);
  for (std::size_t k = 1; k <= bins; ++k) {
    limits.push_back(k == bins ? largest + margin : low + width * static_cast<double>(k));
  }
  for (const double x : elements.data<double>()) {
    if (!std::isfinite(x)) continue;
    const auto at = static_cast<std::size_t>(std::max((x - low) / width, 0.0));
    ++counts[std::min(at, bins - 1)];
  }
  Message histogram;
  histogram.real(1, least);
  histogram.real(2, largest);
  histogram.real(3, count);
  histogram.real(4, sum);
  histogram.real(5, squares);
  histogram.reals(6, limits);
  histogram.reals(7, counts);
  Message of_value;
  of_value.message(5, histogram);
  file_->value(tag, step, of_value);
}

void EventFile::image(const std::string& tag, std::int64_t step, const Array& picture) {
  const Shape& shape = picture.shape();
  if (picture.dtype() != f32) {
    throw TypeError("EventFile: the picture " + tag + " is " +
                    std::string(name_of(picture.dtype())) + ", expected f32");
  }
  if (shape.rank() != 3 || (shape[0] != 1 && shape[0] != 3) || shape[1] < 1 || shape[2] < 1) {
    throw ShapeError("EventFile: the picture " + tag + " is " + to_string(shape) +
                     ", expected (channels, rows, columns) of 1 or 3 channels");
  }
  Message of_image;
  of_image.whole(1, shape[1]);
  of_image.whole(2, shape[2]);
  of_image.whole(3, shape[0]);
  of_image.text(4, png_of(picture));
  Message of_value;
  of_value.message(4, of_image);
  file_->value(tag, step, of_value);
}

void EventFile::text(const std::string& tag, std::int64_t step, const std::string& text) {
  constexpr std::int64_t strings = 7;  // DT_STRING
  Message size, shape, tensor, plugin, metadata;
  size.whole(1, 1);
  shape.message(2, size);
  tensor.whole(1, strings);
  tensor.message(2, shape);
  tensor.text(8, text);
  plugin.text(1, "text");
  metadata.message(1, plugin);
  Message of_value;
  of_value.message(8, tensor);
  of_value.message(9, metadata);
  file_->value(tag, step, of_value);
}

// ---- TensorBoardLog

TensorBoardLog::TensorBoardLog(std::filesystem::path directory, const TensorBoardOptions& options)
    : directory_(std::move(directory)), options_(options), train_(directory_ / "train") {
  if (options.every_batches < 0 || options.histograms_every_epochs < 0) {
    throw ValueError("TensorBoardLog: every_batches is " + std::to_string(options.every_batches) +
                     " and histograms_every_epochs " +
                     std::to_string(options.histograms_every_epochs) + ", expected at least 0");
  }
}

void TensorBoardLog::on_batch_end(FitState& fit, const Measured& of_batch) {
  if (options_.every_batches == 0 || fit.batch % options_.every_batches != 0) return;
  train_.scalar("batch/loss", fit.trainer.steps(), of_batch.loss);
  for (const auto& [name, value] : of_batch.metrics) {
    train_.scalar("batch/" + name, fit.trainer.steps(), value);
  }
}

void TensorBoardLog::on_epoch_end(FitState& fit) {
  const Epoch& epoch = fit.history.back();
  const auto write = [&](EventFile& file, const Measured& measured) {
    file.scalar("loss", epoch.steps, measured.loss);
    for (const auto& [name, value] : measured.metrics) file.scalar(name, epoch.steps, value);
  };
  write(train_, epoch.train);
  train_.scalar("speed/examples_per_second", epoch.steps, epoch.examples_per_second);
  train_.scalar("speed/waiting", epoch.steps, epoch.waiting);
  if (epoch.validation) {
    if (!validation_) validation_.emplace(directory_ / "validation");
    write(*validation_, *epoch.validation);
  }
  const int every = options_.histograms_every_epochs;
  if (every == 0 || epoch.number % every != 0) return;
  for (const Shared& parameter : fit.trainer.network().state()) {
    train_.histogram(parameter.name(), epoch.steps, parameter.get_value());
  }
}

}  // namespace kroton::nn
