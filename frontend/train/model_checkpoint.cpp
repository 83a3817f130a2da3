// Checkpoints while a training runs, and what their paths are made of.
#include <kroton/callbacks.h>
#include <kroton/error.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <string_view>

namespace kroton::nn {

namespace {

bool is_count(const std::string& name) { return name == "epoch" || name == "batch"; }

// A number from the front of a text, which it takes away; 0 where there is none.
int number_of(std::string_view& text) {
  int number = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
  text.remove_prefix(static_cast<std::size_t>(read.ptr - text.data()));
  return number;
}

}  // namespace

std::vector<ModelCheckpoint::Piece> ModelCheckpoint::pieces_of(const std::string& path) {
  std::vector<Piece> pieces;
  std::string_view left = path;
  while (!left.empty()) {
    const std::size_t first = left.find('{');
    const std::size_t close = first == left.npos ? left.npos : left.find('}', first);
    if (close == left.npos) break;
    const std::size_t open = left.rfind('{', close);
    if (open > 0) pieces.push_back({.text = std::string(left.substr(0, open))});
    std::string_view field = left.substr(open + 1, close - open - 1);
    Piece piece{.text = "{" + std::string(field) + "}"};
    left.remove_prefix(close + 1);
    const std::size_t colon = field.find(':');
    std::string_view how = colon == field.npos ? "" : field.substr(colon + 1);
    piece.name = field.substr(0, colon);
    piece.form = is_count(piece.name) ? 'd' : 'f';
    piece.zeros = how.starts_with('0');
    const bool has_digits = how.find('.') != how.npos;
    piece.width = number_of(how);
    if (has_digits && how.starts_with('.')) {
      how.remove_prefix(1);
      piece.digits = number_of(how);
    }
    if (how.size() == 1) piece.form = how[0];
    const std::string_view forms = is_count(piece.name) ? "d" : "feg";
    const bool is_form = how.size() <= 1 && forms.find(piece.form) != forms.npos &&
                         !(has_digits && piece.form == 'd');
    if (piece.name.empty() || !is_form || std::clamp(piece.width, 0, 30) != piece.width ||
        std::clamp(piece.digits, 0, 30) != piece.digits) {
      throw ValueError("ModelCheckpoint: " + piece.text + " of the path " + path +
                       " is no field: expected a name, or as {epoch:02d} or {loss:.3f}");
    }
    pieces.push_back(std::move(piece));
  }
  if (!left.empty()) pieces.push_back({.text = std::string(left)});
  return pieces;
}

ModelCheckpoint::ModelCheckpoint(std::filesystem::path path, ModelCheckpointOptions options)
    : path_(path.string()),
      pieces_(pieces_of(path_)),
      options_(std::move(options)),
      monitor_(options_.monitor, options_.maximize, 0, "ModelCheckpoint") {
  if (path_.empty()) throw ValueError("ModelCheckpoint: the path is empty");
  if (options_.every_batches < 0) {
    throw ValueError("ModelCheckpoint: every_batches is " + std::to_string(options_.every_batches) +
                     ", expected at least 0");
  }
  if (options_.every_batches == 0) return;
  if (options_.best_only) {
    throw ValueError(
        "ModelCheckpoint: best_only is known at the end of an epoch, every_batches "
        "saves before it");
  }
  for (const Piece& piece : pieces_) {
    if (piece.name.empty() || is_count(piece.name)) continue;
    throw ValueError("ModelCheckpoint: " + piece.text + " of the path " + path_ +
                     " is known at the end of an epoch, every_batches saves before it");
  }
}

void ModelCheckpoint::on_train_begin(FitState& fit) {
  monitor_.reset();
  if (options_.best_only) monitor_.check(fit);
  std::string names = "epoch, batch";
  for (const std::string& name : fit.names) names += ", " + name;
  for (const Piece& piece : pieces_) {
    if (piece.name.empty() || is_count(piece.name)) continue;
    if (std::ranges::find(fit.names, piece.name) != fit.names.end()) continue;
    throw ValueError("ModelCheckpoint: " + piece.text + " of the path " + path_ +
                     " is nothing that is measured; there are " + names);
  }
  const std::filesystem::path directory = std::filesystem::path(path_).parent_path();
  // A directory of each epoch may be made by then.
  const std::string text = directory.string();
  if (directory.empty() || text.find('{') != std::string::npos) return;
  std::error_code ignored;
  if (std::filesystem::is_directory(directory, ignored)) return;
  throw IoError("ModelCheckpoint: " + path_ + ": there is no directory " + text);
}

void ModelCheckpoint::save(const FitState& fit) const {
  std::string path;
  for (const Piece& piece : pieces_) {
    if (piece.name.empty()) {
      path += piece.text;
      continue;
    }
    char text[512];
    const int width = piece.width;
    if (is_count(piece.name)) {
      const long long count = piece.name == "epoch" ? fit.epoch : fit.batch;
      std::snprintf(text, sizeof text, piece.zeros ? "%0*lld" : "%*lld", width, count);
    } else {
      const std::string form = std::string(piece.zeros ? "%0*.*" : "%*.*") + piece.form;
      const double value = fit.history.back()[piece.name];
      std::snprintf(text, sizeof text, form.c_str(), width, piece.digits, value);
    }
    path += text;
  }
  fit.trainer.save(path, fit.place());
}

void ModelCheckpoint::on_batch_end(FitState& fit, const Measured&) {
  // The end of the epoch saves after its last batch.
  const bool is_due = options_.every_batches > 0 && fit.batch % options_.every_batches == 0;
  if (is_due && fit.batch < fit.batches) save(fit);
}

void ModelCheckpoint::on_epoch_end(FitState& fit) {
  if (!options_.best_only || monitor_.observe(fit)) save(fit);
}

}  // namespace kroton::nn
