// What a training writes beside its progress line: tables, JSON lines, TensorBoard's events. Each
// is a callback of Trainer::fit, and can be written to by a loop of one's own.
//
//     trainer.fit(examples, {.epochs = 10, .callbacks = {kt::nn::CsvLog("log.csv"),
//                                                        kt::nn::TensorBoardLog("runs/first")}});
//
// Files are opened when a log is made, and what is written is with the system at the end of each
// call: a training that is killed leaves what it has logged. IoError, naming the file and what the
// system says, where a file cannot be written. Copies write to the same file.
#pragma once
#include <kroton/callbacks.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace kroton::nn {

struct LogOptions {
  bool append = false;  // else a file that is there is replaced
  // JsonLog: also after so many batches; 0: only after epochs.
  std::int64_t every_batches = 0;
};

// A table with a row for each epoch: epoch, steps, the values of the epoch, seconds,
// examples_per_second. As RFC 4180 has it, with lines that end in "\n"; numbers have the digits
// that give them back, NaN is "nan" and infinity "inf".
class CsvLog : public Callback {
 public:
  // ValueError for `every_batches`: rows have the columns of an epoch. With `append` the columns
  // of the file are those that rows must have.
  explicit CsvLog(const std::filesystem::path& path, const LogOptions& options = {});
  // A row. The first one makes the columns; ValueError where another one has others.
  void write(const NamedValues& row);
  void on_epoch_end(FitState& fit) override;

 private:
  struct File;
  std::shared_ptr<File> file_;
};

// A JSON object in each line, of the same values; of batches {"epoch", "batch", "steps", "loss",
// ...}. What is not finite is null, as JSON has no name for it.
class JsonLog : public Callback {
 public:
  explicit JsonLog(const std::filesystem::path& path, const LogOptions& options = {});
  void write(const NamedValues& values);
  void on_batch_end(FitState& fit, const Measured& of_batch) override;
  void on_epoch_end(FitState& fit) override;

 private:
  struct File;
  std::shared_ptr<File> file_;
  LogOptions options_;
};

// A file of events, as TensorBoard reads it: "events.out.tfevents." and the time in a folder, which
// is made. A folder is a run; its files are read in the order of their names.
// Sources: TensorFlow's core/util/event.proto, core/framework/summary.proto and
// core/lib/io/record_writer.h (TFRecord).
class EventFile {
 public:
  explicit EventFile(const std::filesystem::path& directory);
  // One number of the curve `tag`, kept as f32.
  void scalar(const std::string& tag, std::int64_t step, double value);
  // How the elements are distributed, in 30 bins of one width; those that are not finite are left
  // out. TypeError for booleans.
  void histogram(const std::string& tag, std::int64_t step, const Array& values);
  // A picture (channels, rows, columns) of 1 or 3 channels with values from 0 to 1, others are
  // brought there. ShapeError for another shape, TypeError for another dtype than f32.
  void image(const std::string& tag, std::int64_t step, const Array& picture);
  // A text, in Markdown.
  void text(const std::string& tag, std::int64_t step, const std::string& text);
  const std::filesystem::path& path() const;

 private:
  struct File;
  std::shared_ptr<File> file_;
};

struct TensorBoardOptions {
  std::int64_t every_batches = 0;  // the loss and the metrics of so many-th batches; 0: none
  // Histograms of the network's parameters after so many epochs; 0: none.
  int histograms_every_epochs = 0;
};
// Curves over the steps, in the runs "train" and "validation" of a folder, so that TensorBoard
// shows both in one chart: the loss and each metric by its name, of batches "batch/loss", and so
// on; "speed/examples_per_second", "speed/waiting".
class TensorBoardLog : public Callback {
 public:
  explicit TensorBoardLog(std::filesystem::path directory, const TensorBoardOptions& options = {});
  void on_batch_end(FitState& fit, const Measured& of_batch) override;
  void on_epoch_end(FitState& fit) override;
  // For what a program has beside: pictures, say.
  EventFile& train() { return train_; }

 private:
  std::filesystem::path directory_;
  TensorBoardOptions options_;
  EventFile train_;
  std::optional<EventFile> validation_;
};

}  // namespace kroton::nn
