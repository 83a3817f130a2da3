// Pictures in folders, one for each class.
//
//     kt::data::ImageFolder train("photos/train", {.rows = 128, .cols = 128});
//     kt::data::ImageFolder test("photos/test",
//                                {.rows = 128, .cols = 128, .classes = train.class_names()});
//     kt::data::Loader loader(train.dataset(), {.batch = 32, .threads = 4});
#pragma once
#include <kroton/dataset.h>
#include <kroton/image.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace kroton::data {

// How pictures of any size become pictures of one.
enum class Fit {
  stretch,       // to the size, whatever becomes of the proportions
  fit_and_crop,  // the largest part in the middle that has the proportions, to the size
};

// What becomes of a picture that cannot be read.
enum class Unreadable {
  refuse,  // IoError when a batch with it is made
  skip,    // all pictures are read once at the start, and those that cannot be are left out
};

struct ImageFolderOptions {
  std::int64_t rows = 224;
  std::int64_t cols = 224;
  std::int64_t channels = 3;  // 1: grey
  Fit resize = Fit::stretch;
  // JPEG files much larger than the size are read at a half, a quarter or an eighth of theirs:
  // several times faster, and values differ slightly (PictureOptions::least_rows).
  bool fast = false;
  Unreadable unreadable = Unreadable::refuse;
  // The classes there must be, in the order of their labels; none: those there are.
  std::vector<std::string> classes = {};
  std::int64_t max_pixels = PictureOptions{}.max_pixels;  // of a file, see PictureOptions
  int threads = 0;  // that look for pictures to skip; 0: as many as processors
};

// A folder that holds a folder for each class. The pictures of a class are the files in its folder,
// and in folders in it, that end in .jpg, .jpeg or .png in small or capital letters. What begins
// with a dot is left out, as are files beside the folders of classes; folders in a class that are
// symbolic links are not gone into. The format is known by the contents (read_picture).
class ImageFolder {
 public:
  // ValueError for options out of range and for a class named twice. IoError, naming the folder,
  // for one that cannot be read, that has no folders in it, or whose classes are others than those
  // given, and for a class without pictures (with `skip`: without any that can be read).
  explicit ImageFolder(const std::filesystem::path& path, const ImageFolderOptions& options = {});

  // The class of each label: the folders' names in ascending order of their bytes, or as given.
  const std::vector<std::string>& class_names() const;

  // The number of pictures, without those skipped.
  std::int64_t count() const;
  // The files, in the order of the data set's rows: class after class, in each by name.
  const std::vector<std::filesystem::path>& paths() const;
  const std::vector<std::int64_t>& labels() const;

  struct Skipped {
    std::filesystem::path path;
    std::string reason;
  };
  // What was left out and why, in the order of the files.
  const std::vector<Skipped>& skipped() const;

  // Pictures as f32 (batch, channels, rows, cols) with values from 0 to 1, and their labels as i64
  // (batch). Files are read each time they are asked for. Needs the ImageFolder no longer.
  Dataset dataset() const;

 private:
  struct State;
  std::shared_ptr<const State> state_;
};

}  // namespace kroton::data
