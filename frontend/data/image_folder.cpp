#include <kroton/error.h>
#include <kroton/image_folder.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <limits>
#include <mutex>
#include <optional>
#include <set>
#include <system_error>
#include <thread>
#include <utility>

#include "frontend/data/picture_parts.h"

namespace kroton::data {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view folder_prefix = "ImageFolder: ";

[[noreturn]] void fail(const fs::path& path, const std::string& what) {
  throw IoError(std::string(folder_prefix) + path.string() + ": " + what);
}

void check(const ImageFolderOptions& o) {
  const auto refuse = [](const std::string& what) {
    throw ValueError(std::string(folder_prefix) + what);
  };
  constexpr std::int64_t most = std::int64_t{1} << 31;
  if (o.rows < 1 || o.cols < 1 || o.rows > most / o.cols) {
    refuse("expected a size from 1 x 1 to 2^31 pixels, got " + std::to_string(o.rows) + " x " +
           std::to_string(o.cols));
  }
  if (o.channels != 1 && o.channels != 3) {
    refuse("expected 1 or 3 channels, got " + std::to_string(o.channels));
  }
  if (o.threads < 0) refuse("threads is " + std::to_string(o.threads));
  std::set<std::string> names;
  for (const std::string& name : o.classes) {
    if (!names.insert(name).second) refuse("class \"" + name + "\" is given twice");
  }
}

bool is_hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

bool is_picture(const fs::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png";
}

// The names of the folders in a folder.
std::vector<std::string> folders_in(const fs::path& path) {
  std::vector<std::string> names;
  std::error_code error;
  if (!fs::exists(path, error)) fail(path, "no such folder");
  if (!fs::is_directory(path, error)) fail(path, "not a folder");
  fs::directory_iterator at(path, error);
  for (; !error && at != fs::directory_iterator(); at.increment(error)) {
    std::error_code unknown;  // a link to nothing is no folder
    if (at->is_directory(unknown) && !is_hidden(at->path())) {
      names.push_back(at->path().filename().string());
    }
  }
  if (error) fail(path, error.message());
  std::ranges::sort(names);
  return names;
}

// The pictures of a class, by name.
std::vector<fs::path> pictures_in(const fs::path& path) {
  std::vector<fs::path> paths;
  std::error_code error;
  fs::recursive_directory_iterator at(path, error);
  for (; !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
    if (is_hidden(at->path())) {
      at.disable_recursion_pending();
      continue;
    }
    std::error_code unknown;
    if (is_picture(at->path()) && at->is_regular_file(unknown)) paths.push_back(at->path());
  }
  if (error) fail(path, error.message());
  std::ranges::sort(paths, {}, [](const fs::path& p) { return p.generic_string(); });
  return paths;
}

// "cats", "dogs" and 3 more
std::string listed(const std::vector<std::string>& names) {
  constexpr std::size_t most = 8;
  std::string text;
  for (std::size_t k = 0; k < std::min(names.size(), most); ++k) {
    text += (k == 0 ? "\"" : ", \"") + names[k] + '"';
  }
  if (names.size() > most) text += " and " + std::to_string(names.size() - most) + " more";
  return text;
}

void check_classes(const fs::path& path, std::vector<std::string> expected,
                   const std::vector<std::string>& there) {
  std::ranges::sort(expected);
  std::vector<std::string> missing, extra;
  std::ranges::set_difference(expected, there, std::back_inserter(missing));
  std::ranges::set_difference(there, expected, std::back_inserter(extra));
  if (missing.empty() && extra.empty()) return;
  std::string what;
  if (!missing.empty()) what = "no folder for the classes " + listed(missing);
  if (!extra.empty()) {
    what += (what.empty() ? "" : "; ") + ("folders that are no class: " + listed(extra));
  }
  fail(path, what);
}

// The part in the middle that has the proportions of the size asked for.
Picture middle(Picture picture, std::int64_t rows, std::int64_t cols) {
  const std::int64_t height = std::clamp<std::int64_t>(picture.cols * rows / cols, 1, picture.rows);
  const std::int64_t width = std::clamp<std::int64_t>(picture.rows * cols / rows, 1, picture.cols);
  if (height == picture.rows && width == picture.cols) return picture;
  return crop(picture, (picture.rows - height) / 2, (picture.cols - width) / 2, height, width);
}

}  // namespace

struct ImageFolder::State {
  State(const fs::path& path, const ImageFolderOptions& o) : options(o) {
    check(o);
    std::vector<std::string> there = folders_in(path);
    if (there.empty()) fail(path, "no folders in it; expected one for each class");
    if (!o.classes.empty()) check_classes(path, o.classes, there);
    names = o.classes.empty() ? std::move(there) : o.classes;
    for (std::size_t label = 0; label < names.size(); ++label) {
      const std::vector<fs::path> found = pictures_in(path / names[label]);
      if (found.empty()) fail(path / names[label], "no .jpg, .jpeg or .png file in it");
      paths.insert(paths.end(), found.begin(), found.end());
      labels.resize(paths.size(), static_cast<std::int64_t>(label));
    }
    if (o.unreadable == Unreadable::skip) skip_unreadable(path);
    if (paths.size() > std::numeric_limits<std::uint32_t>::max()) {
      fail(path, "more than 2^32 pictures");
    }
  }

  Picture read(const fs::path& path) const {
    return read_picture(path, {.channels = options.channels,
                               .max_pixels = options.max_pixels,
                               .least_rows = options.fast ? options.rows : 0,
                               .least_cols = options.fast ? options.cols : 0});
  }

  void skip_unreadable(const fs::path& path) {
    const std::vector<std::string> reasons = reasons_against();
    std::vector<fs::path> kept;
    std::vector<std::int64_t> kept_labels;
    for (std::size_t k = 0; k < paths.size(); ++k) {
      if (reasons[k].empty()) {
        kept.push_back(paths[k]);
        kept_labels.push_back(labels[k]);
      } else {
        skipped.push_back({paths[k], reasons[k]});
      }
      const bool is_last_of_class = k + 1 == paths.size() || labels[k + 1] != labels[k];
      if (is_last_of_class && (kept_labels.empty() || kept_labels.back() != labels[k])) {
        fail(path / names[static_cast<std::size_t>(labels[k])],
             "no picture in it can be read; " + reasons[k]);
      }
    }
    paths = std::move(kept);
    labels = std::move(kept_labels);
  }

  // Why each picture cannot be read; empty where it can.
  std::vector<std::string> reasons_against() const {
    std::vector<std::string> reasons(paths.size());
    std::atomic<std::size_t> next{0};
    std::mutex mutex;
    std::exception_ptr other;
    const auto work = [&] {
      for (std::size_t k = next++; k < paths.size(); k = next++) {
        try {
          (void)read(paths[k]);
        } catch (const IoError& error) {
          reasons[k] = error.what();
        } catch (...) {
          // Not the file's fault, such as too little memory.
          const std::lock_guard lock(mutex);
          other = std::current_exception();
          next = paths.size();
        }
      }
    };
    const std::size_t wanted = options.threads > 0 ? static_cast<std::size_t>(options.threads)
                                                   : std::thread::hardware_concurrency();
    {
      std::vector<std::jthread> threads;
      for (std::size_t k = 1; k < std::min(wanted, paths.size()); ++k) threads.emplace_back(work);
      work();
    }
    if (other) std::rethrow_exception(other);
    return reasons;
  }

  Batch make(Rows rows) const {
    const auto count = static_cast<std::int64_t>(rows.size());
    Batch batch{Array::empty({count, options.channels, options.rows, options.cols}, f32),
                Array::empty({count}, i64)};
    float* x = batch.x.data<float>().data();
    std::int64_t* label = batch.labels.data<std::int64_t>().data();
    for (const std::uint32_t row : rows) {
      if (row >= paths.size()) {
        throw ValueError(std::string(folder_prefix) + "row " + std::to_string(row) +
                         " is out of range for " + std::to_string(paths.size()) + " pictures");
      }
      Picture picture = read(paths[row]);
      if (options.resize == Fit::fit_and_crop) {
        picture = middle(std::move(picture), options.rows, options.cols);
      }
      x = write_planes(data::resize(picture, options.rows, options.cols), x);
      *label++ = labels[row];
    }
    return batch;
  }

  ImageFolderOptions options;
  std::vector<std::string> names;
  std::vector<fs::path> paths;
  std::vector<std::int64_t> labels;
  std::vector<Skipped> skipped;
};

ImageFolder::ImageFolder(const fs::path& path, const ImageFolderOptions& options)
    : state_(std::make_shared<const State>(path, options)) {}

const std::vector<std::string>& ImageFolder::class_names() const { return state_->names; }
std::int64_t ImageFolder::count() const { return static_cast<std::int64_t>(state_->paths.size()); }
const std::vector<fs::path>& ImageFolder::paths() const { return state_->paths; }
const std::vector<std::int64_t>& ImageFolder::labels() const { return state_->labels; }
const std::vector<ImageFolder::Skipped>& ImageFolder::skipped() const { return state_->skipped; }

Dataset ImageFolder::dataset() const {
  return {.count = count(),
          .make = [state = state_](Rows rows, std::uint64_t) { return state->make(rows); }};
}

}  // namespace kroton::data
