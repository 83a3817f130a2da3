// Folders of pictures as data sets.
#include <algorithm>
#include <filesystem>

#include "tests/data/picture_tools.h"

namespace {

namespace kt = kroton;
namespace fs = std::filesystem;
using kt::data::Batch;
using kt::data::Fit;
using kt::data::ImageFolder;
using kt::data::ImageFolderOptions;
using kt::data::Loader;
using kt::data::Picture;
using kt::data::Unreadable;

// A tree of files.
class Tree {
 public:
  fs::path path() const { return files_.path(); }
  void folder(const std::string& name) const { fs::create_directories(path() / name); }
  void text(const std::string& name, const std::string& content = "not a picture") const {
    folder(fs::path(name).parent_path().string());
    (void)files_.write(name, Bytes(content.begin(), content.end()));
  }
  // A grey picture whose columns have these values.
  void columns(const std::string& name, const Bytes& values, std::int64_t rows = 1) const {
    folder(fs::path(name).parent_path().string());
    Picture picture{{}, rows, static_cast<std::int64_t>(values.size()), 1};
    for (std::int64_t row = 0; row < rows; ++row) {
      picture.pixels.insert(picture.pixels.end(), values.begin(), values.end());
    }
    kt::data::write_png(path() / name, picture);
  }
  std::string error(const ImageFolderOptions& options = {}) const {
    const std::string message = error_of([&] { return ImageFolder(path(), options).count(); });
    // Without where the tree is.
    const std::string where = "ImageFolder: " + path().string();
    return message.starts_with(where) ? message.substr(where.size()) : message;
  }

 private:
  Files files_;
};

std::vector<std::string> names_of(const ImageFolder& folder, const fs::path& root) {
  std::vector<std::string> names;
  for (const fs::path& path : folder.paths()) {
    names.push_back(path.lexically_relative(root).generic_string());
  }
  return names;
}

constexpr ImageFolderOptions tiny{.rows = 1, .cols = 1, .channels = 1};

Batch all_of(const ImageFolder& folder) {
  std::vector<std::uint32_t> rows;
  for (std::uint32_t k = 0; k < folder.count(); ++k) rows.push_back(k);
  return folder.dataset().make(rows, 0);
}

}  // namespace

TEST_CASE("image folder: classes and files in order") {
  const Tree tree;
  tree.columns("dogs/b.PNG", {51});
  tree.columns("dogs/a.jpeg", {102});  // a PNG all the same
  tree.columns("dogs/more/c.Jpg", {153});
  tree.columns("cats/10.png", {204});
  tree.columns("cats/9.png", {255});
  tree.columns("cats/.hidden.png", {1});
  tree.columns(".hidden/1.png", {1});
  tree.columns("cats/.hidden/1.png", {1});
  tree.columns("beside.png", {1});
  tree.text("cats/list.txt");
  tree.text("cats/png");
  tree.text("readme");
  const ImageFolder folder(tree.path(), tiny);
  CHECK(folder.class_names() == std::vector<std::string>{"cats", "dogs"});
  CHECK(folder.count() == 5);
  CHECK(names_of(folder, tree.path()) == std::vector<std::string>{"cats/10.png", "cats/9.png",
                                                                  "dogs/a.jpeg", "dogs/b.PNG",
                                                                  "dogs/more/c.Jpg"});
  CHECK(folder.labels() == std::vector<std::int64_t>{0, 0, 1, 1, 1});
  CHECK(folder.skipped().empty());
  const Batch batch = all_of(folder);
  CHECK(kt::all_close(batch.x, kt::Array::from({0.8F, 1.0F, 0.4F, 0.2F, 0.6F}, {5, 1, 1, 1})));
  CHECK(kt::array_equal(batch.labels, kt::Array::from(folder.labels())));
  // In another order of classes.
  const ImageFolder turned(tree.path(),
                           {.rows = 1, .cols = 1, .channels = 1, .classes = {"dogs", "cats"}});
  CHECK(turned.class_names() == std::vector<std::string>{"dogs", "cats"});
  CHECK(turned.labels() == std::vector<std::int64_t>{0, 0, 0, 1, 1});
  CHECK(names_of(turned, tree.path())[0] == "dogs/a.jpeg");
  // The data set goes on without the folder; threads make the same of it.
  const kt::data::Dataset data = ImageFolder(tree.path(), tiny).dataset();
  Loader alone(data, {.batch = 2}), threaded(data, {.batch = 2, .threads = 3});
  alone.start(1);
  threaded.start(1);
  while (const auto expected = alone.next()) {
    const auto got = threaded.next();
    REQUIRE(got.has_value());
    CHECK(kt::array_equal(got->x, expected->x));
    CHECK(kt::array_equal(got->labels, expected->labels));
  }
  const Batch none = data.make({}, 0);
  CHECK(none.x.shape() == kt::Shape{0, 1, 1, 1});
  CHECK_THROWS_AS(data.make(std::vector<std::uint32_t>{5}, 0), kt::ValueError);
}

TEST_CASE("image folder: pictures of other proportions") {
  const Tree tree;
  tree.columns("wide/1.png", {0, 0, 255, 255, 102, 102}, 2);
  const auto first = [&](Fit fit, std::int64_t rows, std::int64_t cols) {
    return all_of(ImageFolder(tree.path(), {.rows = rows, .cols = cols, .resize = fit})).x;
  };
  // The middle; all of it.
  const kt::Array middle = first(Fit::fit_and_crop, 2, 2);
  CHECK(middle.shape() == kt::Shape{1, 3, 2, 2});
  CHECK(kt::array_equal(middle, kt::Array::ones({1, 3, 2, 2})));
  const kt::Array all = first(Fit::stretch, 2, 2);
  CHECK(all.row(0).row(0).data<float>()[0] < 0.4);
  CHECK(all.row(0).row(0).data<float>()[1] < 0.7);
  CHECK(kt::array_equal(first(Fit::stretch, 2, 6), first(Fit::fit_and_crop, 2, 6)));
  CHECK(kt::array_equal(first(Fit::fit_and_crop, 8, 8), kt::Array::ones({1, 3, 8, 8})));
  // At a part of the size where that is enough, of JPEG files; a PNG is read as it is.
  Bytes smooth;
  for (int k = 0; k < 80 * 160; ++k) smooth.push_back(static_cast<std::uint8_t>(k / 160 + k % 160));
  const Bytes jpeg = pictures::jpeg_file(
      {.space = JCS_GRAYSCALE, .stored = JCS_GRAYSCALE, .channels = 1}, 80, 160, smooth);
  tree.text("photo/1.jpg", std::string(jpeg.begin(), jpeg.end()));
  for (const Fit fit : {Fit::stretch, Fit::fit_and_crop}) {
    const auto read = [&](bool fast) {
      return all_of(ImageFolder(tree.path(), {.rows = 9, .cols = 9, .resize = fit, .fast = fast}))
          .x.row(0);
    };
    const kt::Array slow = read(false), fast = read(true);
    CHECK_FALSE(kt::array_equal(slow, fast));
    CHECK(kt::all_close(slow, fast, 0, 0.02));
  }
  fs::remove_all(tree.path() / "photo");

  CHECK(kt::array_equal(all_of(ImageFolder(tree.path(), {.rows = 2, .cols = 2, .fast = true})).x,
                        all));
  // A strip of less than a pixel is one.
  CHECK(first(Fit::fit_and_crop, 100, 1).shape() == kt::Shape{1, 3, 100, 1});
  CHECK(first(Fit::fit_and_crop, 1, 100).shape() == kt::Shape{1, 3, 1, 100});
}

TEST_CASE("image folder: pictures that cannot be read") {
  const Tree tree;
  tree.columns("a/1.png", {10});
  tree.text("a/2.png", "nothing");
  tree.columns("b/1.png", {20});
  tree.text("b/0.jpg", "\xff\xd8\xff");
  tree.columns("b/2.png", {0, 0, 0, 0}, 4);
  const ImageFolder refusing(tree.path(), tiny);
  CHECK(refusing.count() == 5);
  CHECK(refusing.skipped().empty());
  CHECK(error_of([&] { return all_of(refusing); }).find("2.png: expected a JPEG or PNG file") !=
        std::string::npos);
  for (const int threads : {0, 1, 2, 5}) {
    ImageFolderOptions options = tiny;
    options.unreadable = Unreadable::skip;
    options.threads = threads;
    options.max_pixels = 15;
    const ImageFolder folder(tree.path(), options);
    CHECK(names_of(folder, tree.path()) == std::vector<std::string>{"a/1.png", "b/1.png"});
    CHECK(folder.labels() == std::vector<std::int64_t>{0, 1});
    CHECK(all_of(folder).x.shape() == kt::Shape{2, 1, 1, 1});
    REQUIRE(folder.skipped().size() == 3);
    CHECK(folder.skipped()[0].path == tree.path() / "a" / "2.png");
    CHECK(folder.skipped()[0].reason.find("expected a JPEG or PNG file") != std::string::npos);
    CHECK(folder.skipped()[1].reason.find("the file ends early") != std::string::npos);
    CHECK(folder.skipped()[2].reason.find("more than the 15 that max_pixels") != std::string::npos);
  }
  fs::remove(tree.path() / "a" / "1.png");
  CHECK(tree.error({.unreadable = Unreadable::skip})
            .starts_with("/a: no picture in it can be read; "));
}

TEST_CASE("image folder: bad input") {
  const Tree tree;
  CHECK(tree.error() == ": no folders in it; expected one for each class");
  tree.columns("1.png", {1});
  CHECK(tree.error() == ": no folders in it; expected one for each class");
  tree.columns("b/1.png", {1});
  tree.folder("a");
  CHECK(tree.error() == "/a: no .jpg, .jpeg or .png file in it");
  tree.text("a/1.txt");
  CHECK(tree.error() == "/a: no .jpg, .jpeg or .png file in it");
  tree.columns("a/1.png", {1});
  CHECK(tree.error() == "no error");
  CHECK(tree.error({.classes = {"a", "b"}}) == "no error");
  CHECK(tree.error({.classes = {"a", "b", "c"}}) == ": no folder for the classes \"c\"");
  CHECK(tree.error({.classes = {"b"}}) == ": folders that are no class: \"a\"");
  CHECK(tree.error({.classes = {"x", "b"}}) ==
        ": no folder for the classes \"x\"; folders that are no class: \"a\"");
  const std::string missing = (tree.path() / "none").string();
  CHECK(error_of([&] { return ImageFolder(missing).count(); }) ==
        "ImageFolder: " + missing + ": no such folder");
  const std::string file = (tree.path() / "1.png").string();
  CHECK(error_of([&] { return ImageFolder(file).count(); }) ==
        "ImageFolder: " + file + ": not a folder");
  for (const ImageFolderOptions& bad :
       {ImageFolderOptions{.rows = 0}, ImageFolderOptions{.cols = -1},
        ImageFolderOptions{.rows = 1 << 20, .cols = 1 << 20}, ImageFolderOptions{.channels = 2},
        ImageFolderOptions{.classes = {"a", "b", "a"}}, ImageFolderOptions{.threads = -1}}) {
    CHECK_THROWS_AS(ImageFolder(tree.path(), bad), kt::ValueError);
  }
  // A class may be a link to a folder; links to nothing are left out.
  fs::create_directory_symlink(tree.path() / "b", tree.path() / "c");
  fs::create_directory_symlink(tree.path() / "none", tree.path() / "d");
  fs::create_symlink(tree.path() / "none", tree.path() / "b" / "2.png");
  const ImageFolder folder(tree.path(), tiny);
  CHECK(folder.class_names() == std::vector<std::string>{"a", "b", "c"});
  CHECK(folder.count() == 3);
}
