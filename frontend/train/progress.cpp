#include "frontend/train/progress.h"

#include <kroton/callbacks.h>
#include <kroton/error.h>

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>

#if __has_include(<ext/stdio_sync_filebuf.h>)
#include <ext/stdio_filebuf.h>
#include <ext/stdio_sync_filebuf.h>
#endif

namespace kroton::nn {

namespace {

// The file that a stream writes to, as std::cout and std::cerr do; -1 where that is not known.
int descriptor_of(const std::ostream& stream) {
#if __has_include(<ext/stdio_sync_filebuf.h>)
  if (auto* of_c = dynamic_cast<__gnu_cxx::stdio_sync_filebuf<char>*>(stream.rdbuf())) {
    return ::fileno(of_c->file());
  }
  // After std::ios::sync_with_stdio(false).
  if (auto* own = dynamic_cast<__gnu_cxx::stdio_filebuf<char>*>(stream.rdbuf())) return own->fd();
#endif
  return -1;
}

std::string formatted(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string with_commas(double value) {
  if (!(value < 1e15)) return formatted("%g", value);
  const std::string digits = formatted("%.0f", value);
  std::string text;
  for (std::size_t k = 0; k < digits.size(); ++k) {
    if (k > 0 && (digits.size() - k) % 3 == 0) text += ',';
    text += digits[k];
  }
  return text;
}

std::string duration(double seconds) {
  if (seconds < 0.0995) return formatted("%.0f ms", 1000 * seconds);
  if (seconds < 9.95) return formatted("%.1f s", seconds);
  if (seconds < 119.5) return formatted("%.0f s", seconds);
  const auto whole = static_cast<long long>(std::llround(seconds));
  char text[64];
  if (whole < 3600) {
    std::snprintf(text, sizeof text, "%lld:%02lld min", whole / 60, whole % 60);
  } else {
    std::snprintf(text, sizeof text, "%lld:%02lld h", whole / 3600, whole / 60 % 60);
  }
  return text;
}

// Four places where that says something, else powers of ten.
std::string value_text(double value) {
  const double size = std::abs(value);
  const bool is_plain = size == 0 || (size >= 1e-3 && size < 1e6) || !std::isfinite(value);
  return formatted(is_plain ? "%.4f" : "%.3e", value);
}

std::string head_of(const FitState& fit) {
  return "epoch " + std::to_string(fit.epoch) + '/' + std::to_string(fit.options.epochs) + "  ";
}

// "  waiting 12 %", or nothing where steps do not wait.
std::string waiting_text(const char* what, double part) {
  return part < 0.005 ? "" : "  " + (what + formatted(" %.0f %%", 100 * part));
}

}  // namespace

std::string text_of(const Measured& measured) {
  std::string text = "loss " + value_text(measured.loss);
  for (const auto& [name, value] : measured.metrics) text += "  " + name + ' ' + value_text(value);
  return text;
}

int terminal_columns(const std::ostream& stream) {
  const int descriptor = descriptor_of(stream);
  if (descriptor < 0 || ::isatty(descriptor) == 0) return 0;
  winsize size{};
  const bool is_known = ::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return is_known ? size.ws_col : 80;
}

ProgressLine::ProgressLine(std::ostream& stream)
    : stream_(stream), redraws_(terminal_columns(stream) > 0) {}

ProgressLine::~ProgressLine() {
  // What an error's message follows.
  if (is_open_) stream_ << std::endl;
}

void ProgressLine::show(const std::string& line) {
  // A line that is wider would not be overwritten as a whole.
  const auto columns = static_cast<std::size_t>(std::max(terminal_columns(stream_) - 1, 1));
  stream_ << '\r' << line.substr(0, columns) << "\x1b[K" << std::flush;
  is_open_ = true;
}

void ProgressLine::on_batch_end(FitState& fit, const Measured&) {
  constexpr std::chrono::milliseconds between(200);
  if (!redraws_ || Clock::now() - shown_ < between) return;
  shown_ = Clock::now();
  const double part = static_cast<double>(fit.batch) / static_cast<double>(fit.batches);
  const double seconds = std::max(fit.seconds, 1e-9);
  const double done = static_cast<double>(fit.batch - fit.first_batch);
  const double left = static_cast<double>(fit.batches - fit.batch) * seconds / done;
  const double speed =
      done / static_cast<double>(fit.batches) * static_cast<double>(fit.examples) / seconds;
  show(head_of(fit) + formatted("%.0f %%  ", 100 * part) + text_of(fit.so_far()) + "  " +
       with_commas(speed) + "/s  " + duration(left) + " left" +
       waiting_text("waiting", fit.waiting / seconds));
}

void ProgressLine::on_epoch_end(FitState& fit) {
  const Epoch& epoch = fit.history.back();
  std::string line = head_of(fit) + text_of(epoch.train);
  if (epoch.validation) line += "  validation: " + text_of(*epoch.validation);
  line += "  " + duration(epoch.seconds) + "  " + with_commas(epoch.examples_per_second) +
          " examples/s" + waiting_text("waiting for data", epoch.waiting);
  stream_ << (is_open_ ? "\r" : "") << line << (is_open_ ? "\x1b[K" : "") << std::endl;
  is_open_ = false;
}

// ---- ProgressPrinter

ProgressPrinter::ProgressPrinter(std::ostream& stream, std::int64_t every)
    : stream_(&stream), every_(every) {
  if (every >= 1) return;
  throw ValueError("ProgressPrinter: every is " + std::to_string(every) + ", expected at least 1");
}

void ProgressPrinter::Means::add(const Measured& of_batch, double count) {
  sums.metrics.resize(of_batch.metrics.size());
  sums.loss += of_batch.loss * count;
  for (std::size_t k = 0; k < of_batch.metrics.size(); ++k) {
    sums.metrics[k].first = of_batch.metrics[k].first;
    sums.metrics[k].second += of_batch.metrics[k].second * count;
  }
  examples += count;
  ++batches;
}

Measured ProgressPrinter::Means::values() const {
  Measured means = sums;
  const double count = std::max(examples, 1.0);
  means.loss /= count;
  for (auto& metric : means.metrics) metric.second /= count;
  return means;
}

std::string ProgressPrinter::line_of(const Means& means) const {
  return text_of(means.values()) + "  (" + with_commas(means.examples) + " examples)";
}

void ProgressPrinter::update(const Measured& of_batch, std::int64_t examples) {
  if (examples < 1) {
    throw ValueError("ProgressPrinter: a minibatch of " + std::to_string(examples) + " examples");
  }
  recent_.add(of_batch, static_cast<double>(examples));
  all_.add(of_batch, static_cast<double>(examples));
  if (recent_.batches < every_) return;
  *stream_ << "minibatches " << all_.batches - recent_.batches + 1 << " to " << all_.batches << ": "
           << line_of(recent_) << std::endl;
  recent_ = {};
}

Measured ProgressPrinter::summary() {
  *stream_ << "all " << all_.batches << " minibatches: " << line_of(all_) << std::endl;
  const Measured means = all_.values();
  recent_ = all_ = {};
  return means;
}

}  // namespace kroton::nn
