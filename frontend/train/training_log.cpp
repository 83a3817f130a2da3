// Tables and JSON lines.
#include <fcntl.h>
#include <kroton/error.h>
#include <kroton/training_log.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cmath>
#include <fstream>
#include <system_error>

#include "frontend/train/json_header.h"
#include "frontend/train/log_file.h"

namespace kroton::files {

namespace {

[[noreturn]] void fail(const std::filesystem::path& path, int error) {
  throw IoError(path.string() + ": cannot be written: " + std::generic_category().message(error));
}

}  // namespace

LogFile::LogFile(const std::filesystem::path& path, bool append) : path_(path) {
  if (append) {
    std::ifstream before(path);
    std::getline(before, first_line_);
  }
  descriptor_ = ::open(path.c_str(),
                       O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (append ? 0 : O_TRUNC), 0666);
  if (descriptor_ < 0) fail(path, errno);
}

LogFile::~LogFile() { ::close(descriptor_); }

void LogFile::write(std::string_view text) {
  while (!text.empty()) {
    const ssize_t done = ::write(descriptor_, text.data(), text.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail(path_, errno);
    text.remove_prefix(static_cast<std::size_t>(done));
  }
}

std::string digits_of(double value) {
  char text[32];
  const auto [end, error] = std::to_chars(text, text + sizeof text, value);
  return {text, end};
}

}  // namespace kroton::files

namespace kroton::nn {

namespace {

// What both logs say of an epoch.
NamedValues row_of(const Epoch& epoch) {
  NamedValues row = {{"epoch", epoch.number}, {"steps", static_cast<double>(epoch.steps)}};
  for (auto& value : epoch.values()) row.push_back(std::move(value));
  row.emplace_back("seconds", epoch.seconds);
  row.emplace_back("examples_per_second", epoch.examples_per_second);
  return row;
}

void check_every(const char* owner, std::int64_t every_batches) {
  if (every_batches >= 0) return;
  throw ValueError(std::string(owner) + ": every_batches is " + std::to_string(every_batches) +
                   ", expected at least 0");
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + '"';
}

}  // namespace

// ---- CsvLog

struct CsvLog::File : files::LogFile {
  using LogFile::LogFile;
  std::string columns = first_line();
};

CsvLog::CsvLog(const std::filesystem::path& path, const LogOptions& options) {
  if (options.every_batches != 0) {
    throw ValueError("CsvLog: rows are of epochs, every_batches is for JsonLog");
  }
  file_ = std::make_shared<File>(path, options.append);
}

void CsvLog::write(const NamedValues& row) {
  if (row.empty()) throw ValueError("CsvLog: a row without values");
  std::string columns, values;
  for (const auto& [name, value] : row) {
    columns += (columns.empty() ? "" : ",") + csv_field(name);
    values += (values.empty() ? "" : ",") + files::digits_of(value);
  }
  if (file_->columns.empty()) {
    file_->write(columns + '\n');
    file_->columns = columns;
  }
  if (columns != file_->columns) {
    throw ValueError("CsvLog: " + file_->path().string() + " has the columns " + file_->columns +
                     ", the row has " + columns);
  }
  file_->write(values + '\n');
}

void CsvLog::on_epoch_end(FitState& fit) { write(row_of(fit.history.back())); }

// ---- JsonLog

struct JsonLog::File : files::LogFile {
  using LogFile::LogFile;
};

JsonLog::JsonLog(const std::filesystem::path& path, const LogOptions& options) : options_(options) {
  check_every("JsonLog", options.every_batches);
  file_ = std::make_shared<File>(path, options.append);
}

void JsonLog::write(const NamedValues& values) {
  std::string line;
  for (const auto& [name, value] : values) {
    line += (line.empty() ? "{" : ", ") + files::json_string(name) + ": ";
    line += std::isfinite(value) ? files::digits_of(value) : "null";
  }
  file_->write((line.empty() ? "{" : line) + "}\n");
}

void JsonLog::on_batch_end(FitState& fit, const Measured& of_batch) {
  if (options_.every_batches == 0 || fit.batch % options_.every_batches != 0) return;
  NamedValues values = {{"epoch", fit.epoch},
                        {"batch", static_cast<double>(fit.batch)},
                        {"steps", static_cast<double>(fit.trainer.steps())},
                        {"loss", of_batch.loss}};
  values.insert(values.end(), of_batch.metrics.begin(), of_batch.metrics.end());
  write(values);
}

void JsonLog::on_epoch_end(FitState& fit) { write(row_of(fit.history.back())); }

}  // namespace kroton::nn
