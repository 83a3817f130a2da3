#include "tests/fuzz_readers/readers.h"

#include <kroton/kroton.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "tests/train/written_by_others.h"

namespace fuzz_readers {

namespace {

namespace kt = kroton;
namespace fs = std::filesystem;

Bytes bytes_of(std::string_view text) { return {text.begin(), text.end()}; }

Bytes gzipped(const Files& directory, const Bytes& bytes) {
  return contents(directory.write_gzipped("zipped", bytes));
}

void require(bool holds, const char* what) {
  if (!holds) throw std::logic_error(what);
}

Bytes idx(std::uint8_t kind, std::vector<std::uint8_t> sizes, std::size_t count) {
  Bytes bytes = {0, 0, 8, kind};
  for (const std::uint8_t size : sizes) bytes.insert(bytes.end(), {0, 0, 0, size});
  for (std::size_t k = 0; k < count; ++k) bytes.push_back(static_cast<std::uint8_t>(k % 10));
  return bytes;
}

void add_idx(std::vector<Reader>& all, const Files& directory) {
  const Bytes images = idx(3, {3, 4, 5}, 60);
  all.push_back({"idx_images",
                 "images",
                 {images, gzipped(directory, images)},
                 {},
                 [](const fs::path& path, Random&) {
                   const auto read = kt::data::read_idx_images(path);
                   require(static_cast<std::int64_t>(read.pixels.size()) ==
                               read.count * read.rows * read.cols,
                           "as many pixels as the sizes say");
                 }});
  const Bytes labels = idx(1, {20}, 20);
  all.push_back({"idx_labels",
                 "labels",
                 {labels, gzipped(directory, labels)},
                 {},
                 [](const fs::path& path, Random&) {
                   for (const std::uint8_t label : kt::data::read_idx_labels(path)) {
                     require(label < 10, "labels are below 10");
                   }
                 }});
}

void add_cifar(std::vector<Reader>& all, const Files& directory) {
  const auto records = [](std::size_t labels, std::size_t count) {
    Bytes bytes(count * (labels + 3072));
    for (std::size_t k = 0; k < bytes.size(); ++k) bytes[k] = static_cast<std::uint8_t>(k % 7);
    return bytes;
  };
  directory.write("test_batch.bin", records(1, 1));
  const Bytes cifar10 = records(1, 2);
  all.push_back({"cifar10",
                 "data_batch_1.bin",
                 {cifar10, gzipped(directory, cifar10)},
                 {},
                 [](const fs::path& path, Random&) {
                   const auto read = kt::data::load_cifar10(path.parent_path());
                   require(read.train_images.pixels.size() == read.train_labels.size() * 3072,
                           "a picture for each label");
                 }});
  directory.write("test.bin", records(2, 1));
  const Bytes cifar100 = records(2, 2);
  all.push_back({"cifar100",
                 "train.bin",
                 {cifar100, gzipped(directory, cifar100)},
                 {},
                 [](const fs::path& path, Random&) {
                   const auto read = kt::data::load_cifar100(path.parent_path());
                   require(read.train_images.pixels.size() == read.train_labels.size() * 3072 &&
                               read.train_labels.size() == read.train_coarse_labels.size(),
                           "a picture and a group for each label");
                 }});
}

bool same(const kt::data::Table& a, const kt::data::Table& b) {
  if (a.rows() != b.rows() || a.columns() != b.columns()) return false;
  for (std::int64_t k = 0; k < a.columns(); ++k) {
    const auto& left = a.column(k);
    const auto& right = b.column(k);
    if (left.name() != right.name() || left.type() != right.type()) return false;
    for (std::int64_t row = 0; row < a.rows(); ++row) {
      if (left.is_missing(row) != right.is_missing(row)) return false;
    }
    const std::string& name = left.name();
    if (left.type() == kt::data::ColumnType::text
            ? left.texts() != right.texts()
            : !kt::array_equal(a.number(name), b.number(name), true)) {
      return false;
    }
  }
  return true;
}

// With other options each time. What was read is written, and the same when it is read again.
void read_csv(const fs::path& path, Random& random) {
  using kt::data::ColumnType;
  const auto one_in = [&](std::uint64_t n) { return random() % n == 0; };
  kt::data::CsvOptions options;
  if (one_in(4)) options.separator = ";\t |"[random() % 4];
  if (one_in(8)) options.quote = "\0'"[random() % 2];
  if (one_in(4)) options.comment = '#';
  options.header = !one_in(4);
  options.trim = one_in(4);
  options.skip_rows = one_in(8) ? static_cast<std::int64_t>(random() % 3) : 0;
  if (one_in(8)) options.missing = {"?", "-1"};
  if (one_in(8)) options.columns = {{"x", static_cast<ColumnType>(random() % 3)}};
  if (one_in(8)) options.names = {"a", "b", "c"};
  const kt::data::Table table = kt::data::read_csv(path, options);
  std::map<std::string, ColumnType> types;
  for (std::int64_t k = 0; k < table.columns(); ++k) {
    const auto& column = table.column(k);
    require(column.size() == table.rows(), "columns of one length");
    const auto codes = table.codes(column.name());
    require(codes.codes.size() == table.rows(), "a code for each row");
    if (column.type() != ColumnType::text) {
      require(table.matrix({column.name()}).size() == table.rows(), "a number for each row");
    }
    types[column.name()] = column.type();
  }
  // A header's empty names and names like those of columns without a name do not come back.
  if (table.columns() == 0 || !one_in(4)) return;
  const fs::path written = path.parent_path() / "written.csv";
  kt::data::write_csv(written, table);
  require(same(table, kt::data::read_csv(written, {.columns = types})), "the same table again");
}

void add_texts(std::vector<Reader>& all, const Files& directory) {
  const Bytes numbers = bytes_of("x,y,z\n1,2.5,-3e2\n4,NA,6\n,8,9\n10,inf,12\n");
  const Bytes texts = bytes_of(
      "\xef\xbb\xbfname,\"a \"\"b\"\"\",x\r\n\"one, "
      "two\",\"line\nbreak\",1\r\nthree,,2\r\n\"\",x,3");
  const Bytes others = bytes_of("# a\nx;y|z\n 1 ;'a';\"b\"\n\n2\t3;4;?\n");
  all.push_back({"csv",
                 "table.csv",
                 {numbers, texts, others, gzipped(directory, texts)},
                 {",",
                  "\"",
                  "\"\"",
                  "\n",
                  "\r",
                  "\r\n",
                  ";",
                  "\t",
                  "'",
                  "#",
                  " ",
                  "-",
                  "+",
                  ".",
                  "e",
                  "1e999",
                  "-1e-999",
                  "9223372036854775808",
                  "nan",
                  "inf",
                  "NA",
                  "\\",
                  std::string(1, '\0'),
                  "\xff\xfe",
                  "\xef\xbb\xbf",
                  "0x1",
                  "nan(1)",
                  "-0"},
                 read_csv,
                 true});
  const Bytes utf8 = bytes_of("plain \xc3\xa9 \xe2\x82\xac \xf0\x9f\x99\x82 text\n");
  all.push_back({"text",
                 "text.txt",
                 {utf8, gzipped(directory, utf8)},
                 {"\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff", "\xef\xbb\xbf", "'"},
                 [](const fs::path& path, Random& random) {
                   const bool bytes = random() % 4 == 0;
                   const std::string text = kt::data::read_text(path, {.bytes = bytes});
                   const auto pairs = kt::data::BytePairEncoding::learn(text, 270);
                   require(pairs.decode(pairs.encode(text)) == text, "the same bytes again");
                   const kt::data::WordVocabulary words(text, {.lower_case = true});
                   require(words.size() <= static_cast<std::int64_t>(text.size()) + 1,
                           "at most a word for each byte");
                   if (bytes) return;
                   const kt::data::CharacterVocabulary characters(text);
                   require(characters.decode(characters.encode(text)) == text,
                           "the same characters again");
                 }});
  const fs::path path = directory.path() / "pairs";
  kt::data::BytePairEncoding::learn("the then these \\ \xff\xff \xff\xff aaaaaaaa", 270).save(path);
  all.push_back({"byte_pairs",
                 "pairs",
                 {contents(path), gzipped(directory, contents(path))},
                 {" ", "\n", "256", "255", "\\x", "\\", "-", "merges", "99999999999999999999"},
                 [](const fs::path& file, Random&) {
                   const auto pairs = kt::data::BytePairEncoding::load(file);
                   const std::string text = "the \xff\xff aaaa then\n";
                   require(pairs.decode(pairs.encode(text)) == text, "the same bytes again");
                   pairs.save(file);
                   require(kt::data::BytePairEncoding::load(file).merges() == pairs.merges(),
                           "the same merges again");
                 }});
}

std::vector<Bytes> written_by_others(std::string_view ending) {
  std::vector<Bytes> files;
  for (const auto& [name, bytes] : array_files::written_by_others()) {
    if (name.ends_with(ending) && bytes.size() < 10'000) files.push_back(bytes);
  }
  return files;
}

void add_arrays(std::vector<Reader>& all, const Files& directory) {
  all.push_back({"npy",
                 "array.npy",
                 written_by_others(".npy"),
                 {"'descr'", "'<f8'", "'>i2'", "'|O'", "True", "(", ")", ",", "9223372036854775807",
                  "{", "}", "\n"},
                 [](const fs::path& path, Random&) { (void)kt::load_npy(path); }});
  all.push_back({"npz",
                 "arrays.npz",
                 written_by_others(".npz"),
                 {"PK\x03\x04", "PK\x01\x02", "PK\x05\x06", ".npy"},
                 [](const fs::path& path, Random&) { (void)kt::load_npz(path); }});
  const std::vector<std::string> json = {"{",
                                         "}",
                                         "[",
                                         "]",
                                         ":",
                                         ",",
                                         "\"",
                                         "\\u0000",
                                         "\\",
                                         "\"dtype\"",
                                         "\"shape\"",
                                         "\"data_offsets\"",
                                         "\"F64\"",
                                         "-1",
                                         "1e9",
                                         "18446744073709551615",
                                         "\"__metadata__\""};
  all.push_back({"safetensors", "arrays.safetensors", written_by_others(".safetensors"), json,
                 [](const fs::path& path, Random&) {
                   (void)kt::load_safetensors(path);
                   (void)kt::read_safetensors_metadata(path);
                 }});
  const std::vector<kt::Shared> state = {kt::shared(kt::Array::zeros({2, 3}), "w"),
                                         kt::shared(kt::Array::zeros({3}, kt::f64), "b"),
                                         kt::shared(kt::Array(std::int64_t{7}), "steps")};
  const fs::path path = directory.path() / "checkpoint";
  kt::save_checkpoint(path, state, {{"epoch", "3"}});
  all.push_back({"checkpoint",
                 "checkpoint",
                 {contents(path)},
                 json,
                 [state](const fs::path& file, Random& random) {
                   const bool lenient = random() % 2 == 0;
                   (void)kt::load_checkpoint(file, state,
                                             {.allow_missing = lenient, .allow_extra = lenient});
                   require(state[0].get_value().shape() == kt::Shape{2, 3}, "the same shape");
                 }});
}

}  // namespace

std::vector<Reader> readers(const Files& directory) {
  std::vector<Reader> all;
  add_idx(all, directory);
  add_cifar(all, directory);
  add_texts(all, directory);
  add_arrays(all, directory);
  return all;
}

}  // namespace fuzz_readers
